/** The far end of a serial line in tests. */
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';

/** A client of a port's socket, keeping everything it hears. */
export class Client {
  readonly #chunks: Buffer[] = [];
  receivedBytes = 0;
  #pauseAtBytes = Infinity;

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.receivedBytes += chunk.length;
      if (this.receivedBytes >= this.#pauseAtBytes) socket.pause();
    });
    socket.on('error', () => undefined);
  }

  /** To a UNIX socket's path or a TCP port of this host. */
  static connect(where: string | number): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = typeof where === 'string' ? connect({ path: where }) : connect({ host: '127.0.0.1', port: where });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new Client(socket)));
    });
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  forget(): void {
    this.#chunks.length = 0;
    this.receivedBytes = 0;
  }

  /** Reads no more once it has so much. */
  pauseAt(lengthBytes: number): void {
    this.#pauseAtBytes = lengthBytes;
  }

  async until(lengthBytes: number, timeoutMs = 90_000): Promise<Buffer> {
    await expect
      .poll(() => this.receivedBytes, { timeout: timeoutMs, interval: 20 })
      .toBeGreaterThanOrEqual(lengthBytes);
    return this.received;
  }

  send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  async leave(): Promise<void> {
    const closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.destroy();
    await closed;
  }
}

/** Bytes of every value, in no pattern that a lost or doubled block would keep. */
export function pattern(lengthBytes: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (Math.imul(i, 2654435761) >>> 24) ^ (i & 0xff));
}
