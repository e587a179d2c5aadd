/** A software TPM on a UNIX socket: `swtpm socket --tpm2 --server type=unixio,path=PATH ...` (its data channel carries bare commands). */
import { connect, type Socket } from 'node:net';
import type { TpmBackend } from '../devices/backends/tpm.ts';

/** tag[2] size[4] code[4], big-endian. */
const HEADER_BYTES = 10;
const MAX_ANSWER_BYTES = 65_536;

interface Waiting {
  resolve(answer: Uint8Array): void;
  reject(error: Error): void;
}

export class Swtpm implements TpmBackend {
  #received = Buffer.alloc(0);
  #waiting: Waiting | undefined;
  #lost: Error | undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#lose(error));
    socket.on('close', () => this.#lose(new Error('the software TPM has closed its socket')));
    // The machine keeps the process alive, not its TPM.
    socket.unref();
  }

  static open(path: string): Promise<Swtpm> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Swtpm(socket));
      });
    });
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#waiting?.reject(this.#lost);
    this.#waiting = undefined;
  }

  #receive(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#received.length < HEADER_BYTES) return;
    const size = this.#received.readUInt32BE(2);
    if (size < HEADER_BYTES || size > MAX_ANSWER_BYTES || !this.#waiting) {
      this.socket.destroy(new Error('the software TPM answers nonsense'));
      return;
    }
    if (this.#received.length < size) return;
    const answer = Uint8Array.from(this.#received.subarray(0, size));
    this.#received = this.#received.subarray(size);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting.resolve(answer);
  }

  execute(command: Uint8Array): Promise<Uint8Array> {
    if (this.#lost) return Promise.reject(this.#lost);
    if (this.#waiting) return Promise.reject(new Error('a command is under way'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.socket.write(command);
    });
  }

  close(): void {
    this.socket.destroy();
  }
}
