/**
 * The host of the user-mode network in a page that has neither sockets nor a relay: every name has the same address, connections to its
 * port 80 are read as HTTP/1.1 (RFC 9112) and made again by fetch(). What fetch() may reach is the browser's to say (CORS, mixed content).
 */
import { parsePrefix, type Prefix } from '../../devices/net/addresses.ts';
import { addressAnswer, questionOf } from '../../devices/net/nat/dns-message.ts';
import { dnsError } from '../../devices/net/nat/dns.ts';
import type { HostStream, HostStreamEvents, NatHost } from '../../devices/net/nat/host.ts';
import { HttpRequestReader, type HttpRequest } from '../../devices/net/nat/http-request.ts';

/** Where all names lead: addresses that are nobody's (RFC 2544). */
const FETCH_ADDRESS = '198.18.0.1';
const HTTP_PORT = 80;

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (!prefix) throw new Error(`${text} is no prefix`);
  return prefix;
}

export const FETCH_PREFIX: Prefix = prefixOf(`${FETCH_ADDRESS}/32`);

/** Headers that are about the connection, not about what it carries (RFC 9110, 7.6.1), or that a page may not set. */
const NOT_FORWARDED = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'accept-encoding',
  'expect',
]);
const NOT_RETURNED = new Set(['content-encoding', 'content-length', 'transfer-encoding', 'connection', 'keep-alive']);

/** One connection: requests in, answers out, one after the other. */
class FetchStream implements HostStream {
  readonly pendingBytes = 0;
  readonly #reader = new HttpRequestReader();
  readonly #abort = new AbortController();
  #queue: Promise<void> = Promise.resolve();
  #held = false;
  #release: (() => void) | undefined;

  constructor(private readonly events: HostStreamEvents) {
    queueMicrotask(() => {
      if (!this.#abort.signal.aborted) events.connected();
    });
  }

  write(bytes: Uint8Array): void {
    const requests = this.#reader.push(bytes);
    if (!requests) {
      this.#send('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      this.#finish();
      return;
    }
    for (const request of requests) this.#queue = this.#queue.then(() => this.#answer(request));
  }

  #send(text: string): void {
    this.events.data(new TextEncoder().encode(text));
  }

  async #answer(request: HttpRequest): Promise<void> {
    if (this.#abort.signal.aborted) return;
    try {
      const response = await fetch(addressOf(request), {
        method: request.method,
        headers: Object.fromEntries(request.headers.filter(([name]) => !NOT_FORWARDED.has(name))),
        body: request.body.length > 0 ? request.body.slice() : null,
        redirect: 'manual',
        signal: this.#abort.signal,
      });
      await this.#pass(response);
    } catch {
      if (this.#abort.signal.aborted) return;
      const body = 'The browser could not fetch this address, or its server does not let pages have it (CORS).\n';
      this.#send(
        `HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    }
    this.#finish();
  }

  /** The body's length is not known once it is decompressed: the end of the connection is its end. */
  async #pass(response: Response): Promise<void> {
    const headers = [...response.headers].filter(([name]) => !NOT_RETURNED.has(name));
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.#send(`HTTP/1.1 ${response.status} ${response.statusText}\r\nconnection: close\r\n${lines}\r\n`);
    const reader = response.body?.getReader();
    for (;;) {
      while (this.#held) await new Promise<void>((resolve) => (this.#release = resolve));
      const piece = await reader?.read();
      if (!piece || piece.done) return;
      this.events.data(piece.value);
    }
  }

  #finish(): void {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.events.ended();
    this.events.closed(undefined);
  }

  end(): void {
    // The answer is still to come.
  }

  hold(held: boolean): void {
    this.#held = held;
    if (!held) this.#release?.();
  }

  destroy(): void {
    this.#abort.abort();
    this.#release?.();
  }
}

/** A page that came by HTTPS may fetch nothing else. */
function addressOf({ host, target }: HttpRequest): string {
  const scheme = globalThis.location?.protocol === 'https:' ? 'https' : 'http';
  return /^https?:\/\//i.test(target) ? target : `${scheme}://${host}${target}`;
}

export function createFetchNatHost(after: NatHost['after']): NatHost {
  const nothing = (): Promise<never> => Promise.reject(new Error('a page has no sockets'));
  return {
    nowMs: () => performance.now(),
    after,
    random: (into) => void crypto.getRandomValues(into as Uint8Array<ArrayBuffer>),
    connectTcp: (_address, port, events) => {
      if (port === HTTP_PORT) return new FetchStream(events);
      queueMicrotask(() => events.closed('refused'));
      const ignore = (): void => undefined;
      return { pendingBytes: 0, write: ignore, end: ignore, hold: ignore, destroy: ignore };
    },
    listenTcp: nothing,
    openUdp: () => ({ send: () => undefined, close: () => undefined }),
    listenUdp: nothing,
    resolveDns: (query) => {
      const family = questionOf(query)?.family;
      return Promise.resolve(family === 4 ? addressAnswer(query, [FETCH_ADDRESS]) : dnsError(query, 0));
    },
  };
}
