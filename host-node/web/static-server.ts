/** A server of files for pages on this machine: ranges, validators, and the headers that shared memory needs. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { extname } from 'node:path';
import type { AddressInfo } from 'node:net';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** What a page needs for `crossOriginIsolated`, and so for shared memory between its workers. */
export const ISOLATION_HEADERS: Readonly<Record<string, string>> = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
};

/** What is behind an address: a file of this machine, or bytes. */
export type Content = { readonly file: string } | { readonly bytes: Uint8Array; readonly type: string };

export interface StaticServerOptions {
  /** By the path of the address, decoded, with its leading slash. */
  find(path: string): Content | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

/** One range of bytes (RFC 9110, 14.1.2) as [first, last]; undefined: none is asked for; null: it cannot be satisfied. */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): readonly [number, number] | null | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  // Several ranges, and what is no range at all, may be answered with the whole file.
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const first = match[1] === '' ? Math.max(0, sizeBytes - Number(match[2])) : Number(match[1]);
  const last = match[1] === '' || match[2] === '' ? sizeBytes - 1 : Math.min(sizeBytes - 1, Number(match[2]));
  return first > last || first >= sizeBytes ? null : [first, last];
}

async function answer(request: IncomingMessage, response: ServerResponse, options: StaticServerOptions): Promise<void> {
  for (const [name, value] of Object.entries(options.headers)) response.setHeader(name, value);
  const refuse = (status: number): void => {
    response.writeHead(status, { 'content-type': 'text/plain' });
    response.end(`${status}\n`);
  };
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405);
  let path: string;
  try {
    path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
  } catch {
    return refuse(400);
  }
  const content = options.find(path);
  if (!content) return refuse(404);
  response.setHeader('cache-control', 'no-cache');
  if ('bytes' in content) {
    response.writeHead(200, { 'content-type': content.type, 'content-length': content.bytes.length });
    response.end(request.method === 'HEAD' ? undefined : content.bytes);
    return;
  }
  const found = await stat(content.file).catch(() => undefined);
  if (!found?.isFile()) return refuse(404);
  const etag = `"${found.size.toString(16)}-${Math.round(found.mtimeMs).toString(16)}"`;
  response.setHeader('etag', etag);
  response.setHeader('accept-ranges', 'bytes');
  response.setHeader('content-type', TYPES[extname(content.file)] ?? 'application/octet-stream');
  const ifRange = request.headers['if-range'];
  const range = ifRange === undefined || ifRange === etag ? parseRange(request.headers.range, found.size) : undefined;
  if (range === null) {
    response.setHeader('content-range', `bytes */${found.size}`);
    return refuse(416);
  }
  if (!range && request.headers['if-none-match'] === etag) {
    response.writeHead(304);
    response.end();
    return;
  }
  const [first, last] = range ?? [0, found.size - 1];
  if (range) response.setHeader('content-range', `bytes ${first}-${last}/${found.size}`);
  response.writeHead(range ? 206 : 200, { 'content-length': last - first + 1 });
  if (request.method === 'HEAD' || last < first) {
    response.end();
    return;
  }
  const stream = createReadStream(content.file, { start: first, end: last });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

export interface RunningServer {
  /** `http://HOST:PORT`. */
  readonly origin: string;
  readonly server: Server;
  close(): Promise<void>;
}

/** Listens on an address of this machine; port 0 takes any. Rejects when it cannot. */
export async function serveStatic(options: StaticServerOptions, host: string, port: number): Promise<RunningServer> {
  const server = createServer((request, response) => {
    answer(request, response, options).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  const shown = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    origin: `http://${shown}:${address.port}`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
