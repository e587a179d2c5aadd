/** fetch() with errors that say what to do. */
import { FileError } from './byte-source.ts';

/** A file is on its way over the network. */
export interface LoadProgress {
  readonly url: string;
  readonly doneBytes: number;
  /** Undefined when the server does not say. */
  readonly totalBytes: number | undefined;
}

export type Progress = (progress: LoadProgress) => void;

/** The host's part in a download. */
export interface DownloadHost {
  readonly progress: Progress;
  /** A line for the user. */
  readonly message: (text: string) => void;
  /** Why fetch() got no answer, where the host knows more than the error says. */
  readonly unreachable?: (url: URL) => string | undefined;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** What the browser has kept will do however old it is, or will not. */
  readonly cache?: 'force-cache' | 'reload';
}

/** Fetches; rejects with {@link FileError} when there is no answer, or one that is no success. */
export async function fetchOrExplain(url: URL, host: DownloadHost, options: RequestOptions = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    const reason = host.unreachable?.(url) ?? `its server cannot be reached (${reasonOf(error)})`;
    throw new FileError(`${url.href}: ${reason}`, { cause: error });
  }
  if (response.ok) return response;
  await response.body?.cancel();
  const status = response.statusText === '' ? `${response.status}` : `${response.status} ${response.statusText}`;
  throw new FileError(`${url.href}: the server answers ${status}`);
}

/** Reads a response to its end; `lengthBytes` is what its headers promise, if they do. */
export async function readBody(
  response: Response,
  url: URL,
  { progress }: DownloadHost,
  lengthBytes: number | undefined,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let doneBytes = 0;
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const part = await reader?.read();
      if (part === undefined || part.done) break;
      pieces.push(part.value);
      doneBytes += part.value.length;
      progress({ url: url.href, doneBytes, totalBytes: lengthBytes });
    }
  } catch (error) {
    throw new FileError(`${url.href}: the connection broke after ${doneBytes} bytes`, { cause: error });
  }
  const bytes = new Uint8Array(doneBytes);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** The length that a response's headers promise; undefined when its body is compressed on the way or it does not say. */
export function promisedBytes(response: Response): number | undefined {
  const length = response.headers.get('content-length');
  return length === null || response.headers.has('content-encoding') ? undefined : Number(length);
}

/** Node's fetch() says "fetch failed" and has the reason in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
