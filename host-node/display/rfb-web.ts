/**
 * RFB in a browser: a small web server with noVNC's viewer on one page, and RFB over WebSocket. Both want a token, since any page that the
 * user visits could connect to a port of the user's own machine.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import type { RfbAddress } from '../../devices/backends/display.ts';
import type { RfbConnection, RfbServer } from '../../devices/display/rfb/server.ts';

const TOKEN_BYTES = 16;
/** Longest message of a viewer: more than any that it has to send. */
const MAX_MESSAGE_BYTES = 256 * 1024;
const SOCKET_PATH = '/rfb';
const SCRIPT_PATH = '/viewer.js';

/** The page. The script takes the token from the page's own address. */
const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>bhyve</title>
<style>html, body { margin: 0; height: 100%; background: #222; color: #ccc; font: 14px sans-serif }
#screen { width: 100%; height: 100% } #status { position: fixed; left: 8px; bottom: 8px }</style>
<div id="screen"></div><div id="status" role="status"></div>
<script type="module" src="${SCRIPT_PATH.slice(1)}"></script>
`;

export interface RfbWeb {
  /** What a user opens; the token is in it. */
  readonly url: string;
  close(): Promise<void>;
}

/** Listens and serves. `script` is the viewer's code, read when the first page asks for it. */
export async function serveWeb(address: RfbAddress, rfb: () => RfbServer, script: URL): Promise<RfbWeb> {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES, perMessageDeflate: false });
  const server = createServer((request, response) => void answer(request, response, token, script));
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname !== SOCKET_PATH || !isToken(url.searchParams.get('token'), token)) {
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (client) => serveClient(client, rfb()));
  });
  await listen(server, address);
  server.on('error', () => undefined);
  return {
    url: `${origin(server, address)}/?token=${token}`,
    close: async () => {
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, address: RfbAddress): Promise<void> {
  const where = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function origin(server: Server, address: RfbAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}:`;
  const { port } = server.address() as AddressInfo;
  return `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`;
}

function isToken(given: string | null, token: string): boolean {
  const bytes = Buffer.from(given ?? '');
  const wanted = Buffer.from(token);
  return bytes.length === wanted.length && timingSafeEqual(bytes, wanted);
}

async function answer(request: IncomingMessage, response: ServerResponse, token: string, script: URL): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (request.method !== 'GET') {
    response.writeHead(405).end();
    return;
  }
  try {
    if (url.pathname === SCRIPT_PATH) {
      response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(await readFile(script));
    } else if (url.pathname === '/' && isToken(url.searchParams.get('token'), token)) {
      // The token must not leave through links or other sites' frames.
      const headers = { 'Referrer-Policy': 'no-referrer', 'Content-Security-Policy': "frame-ancestors 'none'" };
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', ...headers }).end(PAGE);
    } else {
      response.writeHead(url.pathname === '/' ? 403 : 404).end();
    }
  } catch {
    response.writeHead(500).end();
  }
}

function serveClient(client: WebSocket, rfb: RfbServer): void {
  const connection: RfbConnection | undefined = rfb.accept({
    send: (bytes) =>
      new Promise((resolve) => {
        // The callback is not called once the connection is over.
        if (client.readyState !== client.OPEN) resolve();
        else client.send(bytes, () => resolve());
      }),
    close: () => client.close(),
  });
  client.on('message', (data: RawData) => {
    for (const part of Array.isArray(data) ? data : [data]) connection?.receive(new Uint8Array(part));
  });
  client.on('error', () => undefined);
  client.on('close', () => connection?.closed());
}
