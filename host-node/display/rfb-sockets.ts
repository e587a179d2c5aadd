/** RFB clients on sockets: TCP over IPv4 and IPv6, and UNIX sockets. */
import { createServer, type Server, type Socket } from 'node:net';
import type { RfbAddress } from '../../devices/backends/display.ts';
import type { RfbConnection, RfbServer } from '../../devices/display/rfb/server.ts';
import { listenAtPath } from '../console/socket.ts';

/** A client that has been told goodbye has this long to read it. */
const FAREWELL_MS = 1_000;
/** A viewer whose machine went away without a word is found out after this. */
const KEEP_ALIVE_MS = 30_000;
/** Clients that connect at the same time: a UNIX socket turns away those that find no room here. */
const BACKLOG = 64;

/** Listens at the address; connections wait until somebody takes them. Rejects with the system's error. */
export async function listenRfb(address: RfbAddress): Promise<Server> {
  if (address.kind === 'unix') return listenAtPath(address.path, BACKLOG);
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port }, () => {
      server.off('error', reject);
      // Errors from here on concern single connections; the listener stays.
      server.on('error', () => undefined);
      resolve();
    });
  });
  return server;
}

/** Gives the listener's clients to the server. */
export function serveSockets(listener: Server, rfb: RfbServer): void {
  listener.on('connection', (socket: Socket) => {
    // The errors of a connection end it, which 'close' tells.
    socket.on('error', () => undefined);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const connection: RfbConnection | undefined = rfb.accept({
      send: (bytes) =>
        new Promise((resolve) => {
          if (socket.destroyed || socket.writableEnded) resolve();
          else socket.write(bytes, () => resolve());
        }),
      close: () => {
        if (socket.destroyed) return;
        socket.end();
        setTimeout(() => socket.destroy(), FAREWELL_MS).unref();
      },
    });
    socket.on('data', (bytes: Buffer) => connection?.receive(bytes));
    socket.on('close', () => connection?.closed());
    socket.resume();
  });
}
