/** Asking a running machine over its control socket. */
import { connect, type Socket } from 'node:net';
import type { ControlCommand, ControlCommands } from '../../devices/machine/control.ts';
import { readLines, type Reply } from './control-protocol.ts';

/** A request that failed: the errno's name and the machine's own words. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  constructor(
    readonly errno: string,
    message: string,
  ) {
    super(message);
  }
}

/** Nothing but saving large memories takes long; that is told to wait without limit. */
const REPLY_PATIENCE_MS = 30_000;

export class ControlClient {
  #nextId = 1;
  readonly #waiting = new Map<number, (reply: Reply) => void>();

  private constructor(private readonly socket: Socket) {
    readLines(socket, (text) => {
      let reply: Reply;
      try {
        reply = JSON.parse(text) as Reply;
      } catch {
        socket.destroy();
        return;
      }
      this.#waiting.get(reply.id)?.(reply);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      for (const [id, settle] of this.#waiting) settle({ id, errno: 'ENXIO', message: 'the machine is gone' });
    });
  }

  /** Rejects with the system's error when nobody listens there. */
  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new ControlClient(socket));
      });
    });
  }

  /** Rejects with {@link RequestError}. */
  async request<C extends ControlCommand>(
    command: C,
    parameters: ControlCommands[C]['arguments'],
    timeoutMs = command === 'checkpoint' ? Infinity : REPLY_PATIENCE_MS,
  ): Promise<ControlCommands[C]['result']> {
    const id = this.#nextId++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const reply = await new Promise<Reply>((resolve) => {
      if (this.socket.destroyed) {
        resolve({ id, errno: 'ENXIO', message: 'the machine is gone' });
        return;
      }
      this.#waiting.set(id, resolve);
      if (timeoutMs !== Infinity) {
        timer = setTimeout(
          () => resolve({ id, errno: 'ETIMEDOUT', message: `no reply within ${timeoutMs} ms` }),
          timeoutMs,
        );
      }
      this.socket.write(`${JSON.stringify({ ...parameters, id, command })}\n`);
    });
    clearTimeout(timer);
    this.#waiting.delete(id);
    if ('errno' in reply) throw new RequestError(reply.errno, reply.message);
    return reply.result as ControlCommands[C]['result'];
  }

  close(): void {
    this.socket.destroy();
  }
}
