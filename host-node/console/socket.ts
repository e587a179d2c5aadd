/** Serial ports on sockets: `tcp=ADDRESS:PORT` and `unix=PATH` listen and serve one client at a time. */
import { createServer, type Server, type Socket } from 'node:net';
import { rm } from 'node:fs/promises';
import type { CharacterBackend, CharacterPort } from '../../devices/serial/character-backend.ts';
import { StreamBackend } from './stream-backend.ts';

/** Output is discarded while nobody is connected, as on an unplugged cable; further clients are turned away. */
export class SocketServerBackend implements CharacterBackend {
  #port: CharacterPort | undefined;
  #client: { readonly socket: Socket; readonly backend: StreamBackend } | undefined;
  #held = false;

  private constructor(
    private readonly server: Server,
    private readonly unixPath: string | undefined,
  ) {
    server.on('connection', (socket) => this.#connected(socket));
    // Errors after listening began concern single connections; the listener stays.
    server.on('error', () => undefined);
  }

  static async listenTcp(host: string, port: number): Promise<SocketServerBackend> {
    return new SocketServerBackend(await listening({ host, port }), undefined);
  }

  static async listenUnix(path: string): Promise<SocketServerBackend> {
    return new SocketServerBackend(await listening({ path }), path);
  }

  /** Port that was bound, for a server asked to listen on port 0. */
  get port(): number {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  #connected(socket: Socket): void {
    if (this.#client) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    const backend = new StreamBackend(socket, socket);
    this.#client = { socket, backend };
    socket.on('close', () => {
      if (this.#client?.socket === socket) this.#client = undefined;
      this.#port?.drained();
    });
    if (this.#port) backend.open(this.#port);
    if (this.#held) backend.hold(true);
  }

  open(port: CharacterPort): void {
    this.#port = port;
    this.#client?.backend.open(port);
  }

  write(bytes: Uint8Array): boolean {
    return this.#client ? this.#client.backend.write(bytes) : true;
  }

  hold(held: boolean): void {
    this.#held = held;
    this.#client?.backend.hold(held);
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.server.close();
    if (client) {
      await client.backend.close();
      client.socket.destroy();
    }
    if (this.unixPath !== undefined) await rm(this.unixPath, { force: true });
  }
}

async function listening(where: { host: string; port: number } | { path: string }): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...where, backlog: 1 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return server;
}
