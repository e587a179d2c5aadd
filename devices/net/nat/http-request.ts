/** Reads HTTP/1.1 requests out of a stream (RFC 9112), for hosts that make connections by other means than sockets. */
import { joined } from '../wire.ts';

const MAX_HEAD_BYTES = 32 * 1024;
const MAX_BODY_BYTES = 16 * 1024 * 1024;

export interface HttpRequest {
  readonly method: string;
  /** Path and query, or a whole address. */
  readonly target: string;
  readonly host: string;
  /** Names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

type Head = Omit<HttpRequest, 'body'> & { readonly bodyBytes: number };

function parseHead(text: string): Head | undefined {
  const [start = '', ...lines] = text.split('\r\n');
  const [, method, target] = /^([A-Z]{1,16}) (\S{1,8192}) HTTP\/1\.[01]$/.exec(start) ?? [];
  if (method === undefined || target === undefined) return undefined;
  const headers: (readonly [string, string])[] = [];
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    headers.push([name.toLowerCase(), value]);
  }
  const find = (wanted: string): string | undefined => headers.find(([name]) => name === wanted)?.[1];
  const host = find('host') ?? '';
  const length = find('content-length') ?? '0';
  // Bodies in chunks are sent by few clients; they are refused rather than guessed at.
  const valid = /^[\w.:[\]-]*$/.test(host) && /^\d{1,9}$/.test(length) && find('transfer-encoding') === undefined;
  return valid ? { method, target, host, headers, bodyBytes: Number(length) } : undefined;
}

export class HttpRequestReader {
  #bytes: Uint8Array = new Uint8Array();
  #head: Head | undefined;

  /** Requests that are complete now; undefined when the stream is not one of requests, or one is too long. */
  push(bytes: Uint8Array): HttpRequest[] | undefined {
    this.#bytes = joined([this.#bytes, bytes]);
    const requests: HttpRequest[] = [];
    for (;;) {
      if (!this.#head) {
        const end = endOfHead(this.#bytes);
        if (end === undefined) return this.#bytes.length > MAX_HEAD_BYTES ? undefined : requests;
        const head = parseHead(new TextDecoder('latin1').decode(this.#bytes.subarray(0, end)));
        if (!head || head.bodyBytes > MAX_BODY_BYTES) return undefined;
        this.#head = head;
        this.#bytes = this.#bytes.slice(end + 4);
      }
      const { bodyBytes, ...head } = this.#head;
      if (this.#bytes.length < bodyBytes) return requests;
      requests.push({ ...head, body: this.#bytes.slice(0, bodyBytes) });
      this.#bytes = this.#bytes.slice(bodyBytes);
      this.#head = undefined;
    }
  }
}

/** Place of the empty line. */
function endOfHead(bytes: Uint8Array): number | undefined {
  for (let at = 0; at + 3 < bytes.length && at <= MAX_HEAD_BYTES; at++) {
    if (bytes[at] === 13 && bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at;
  }
  return undefined;
}
