/** fetch() with errors that say what to do. */
import type { LoadProgress } from '../port/protocol.ts';
import { FileError } from './byte-source.ts';

export type Progress = (progress: LoadProgress) => void;

/** Fetches; rejects with {@link FileError} when there is no answer, or one that is no success. */
export async function fetchOrExplain(url: URL, headers: Record<string, string> = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { headers });
  } catch (error) {
    const crossOrigin = url.protocol.startsWith('http') && url.origin !== globalThis.location.origin;
    const reason = crossOrigin
      ? 'its server cannot be reached or does not let this page read it (it must send Access-Control-Allow-Origin)'
      : `its server cannot be reached (${error instanceof Error ? error.message : String(error)})`;
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
  progress: Progress,
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
