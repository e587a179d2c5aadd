/** The control socket of one machine. */
import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { ControlError } from '../../devices/machine/control.ts';
import { readLines, type Reply } from './control-protocol.ts';

/** Connections at a time; bhyvectl makes one. */
const MAX_CONNECTIONS = 16;
/** How long a client may take to read its last reply when the process ends. */
const CLOSE_PATIENCE_MS = 1000;

function idOf(request: unknown): number {
  if (typeof request !== 'object' || request === null || !('id' in request)) return 0;
  return typeof request.id === 'number' ? request.id : 0;
}

export class ControlServer {
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #pending = new Set<Promise<void>>();
  /** Answers requests; those that come before it is set wait for it. */
  readonly #handler: Promise<(request: unknown) => Promise<object>>;
  #setHandler: ((handler: (request: unknown) => Promise<object>) => void) | undefined;

  private constructor() {
    this.#handler = new Promise((resolve) => {
      this.#setHandler = resolve;
    });
    this.#server = createServer((socket) => this.#connected(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens at the path. The socket does not keep the process alive. */
  static async listen(path: string): Promise<ControlServer> {
    const control = new ControlServer();
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen(path, () => {
        control.#server.off('error', reject);
        resolve();
      });
    });
    if (process.platform !== 'win32') chmodSync(path, 0o700);
    control.#server.unref();
    return control;
  }

  /** From now on requests are answered. */
  serve(handler: (request: unknown) => Promise<object>): void {
    this.#setHandler?.(handler);
  }

  #connected(socket: Socket): void {
    this.#connections.add(socket);
    socket.unref();
    socket.on('close', () => this.#connections.delete(socket));
    // A client that goes away in the middle is its own concern.
    socket.on('error', () => socket.destroy());
    readLines(socket, (text) => {
      const answered = this.#answer(socket, text).finally(() => this.#pending.delete(answered));
      this.#pending.add(answered);
    });
  }

  async #answer(socket: Socket, text: string): Promise<void> {
    let request: unknown;
    let reply: Reply;
    try {
      request = JSON.parse(text);
      const handle = await this.#handler;
      reply = { id: idOf(request), result: await handle(request) };
    } catch (error) {
      const errno = error instanceof ControlError ? error.errno : error instanceof SyntaxError ? 'EINVAL' : 'EIO';
      reply = { id: idOf(request), errno, message: error instanceof Error ? error.message : String(error) };
    }
    await new Promise<void>((resolve) => {
      if (socket.destroyed) resolve();
      else socket.write(`${JSON.stringify(reply)}\n`, () => resolve());
    });
  }

  /** Stops listening, lets the requests that are under way be answered, and closes. */
  async close(): Promise<void> {
    this.#server.close();
    this.serve(() => Promise.reject(new ControlError('ENXIO', 'the machine has ended')));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_PATIENCE_MS);
    });
    await Promise.race([Promise.all(this.#pending), patience]);
    clearTimeout(timer);
    for (const socket of this.#connections) socket.destroy();
  }
}
