/** A serial port's far end made of Node streams: what stdio, sockets and terminals have in common. */
import type { Readable, Writable } from 'node:stream';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';

/** Longest wait at the end for a reader that does not read. */
const CLOSE_PATIENCE_MS = 1000;

export interface StreamBackendOptions {
  /** Sees input before the guest does and may take bytes out. */
  readonly filter?: (bytes: Uint8Array) => Uint8Array;
  /** Called once at the end, after the last byte was written. */
  readonly closed?: () => void;
}

/** One pair of streams; both may be the same object. Errors of either end that direction, never the machine. */
export class StreamBackend implements CharacterBackend {
  #port: CharacterPort | undefined;
  #writable: boolean;
  #waitingForDrain = false;
  #held = false;

  constructor(
    private readonly input: Readable,
    private readonly output: Writable,
    private readonly options: StreamBackendOptions = {},
  ) {
    this.#writable = true;
    output.on('error', this.#outputFailed);
    output.on('close', this.#outputFailed);
    output.on('drain', this.#drained);
    input.on('error', this.#inputFailed);
  }

  readonly #outputFailed = (): void => {
    this.#writable = false;
    this.#drained();
  };

  readonly #inputFailed = (): void => {
    // The far end is gone: the guest simply hears nothing more.
  };

  readonly #drained = (): void => {
    if (!this.#waitingForDrain) return;
    this.#waitingForDrain = false;
    this.#port?.drained();
  };

  readonly #received = (chunk: Buffer | string): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const forGuest = this.options.filter ? this.options.filter(bytes) : bytes;
    if (forGuest.length > 0) this.#port?.receive(forGuest);
  };

  open(port: CharacterPort): void {
    this.#port = port;
    this.input.on('data', this.#received);
    if (this.#held) this.input.pause();
  }

  write(bytes: Uint8Array): boolean {
    if (!this.#writable) return true;
    if (this.output.write(bytes)) return true;
    this.#waitingForDrain = true;
    return false;
  }

  hold(held: boolean): void {
    this.#held = held;
    if (held) this.input.pause();
    else this.input.resume();
  }

  async close(): Promise<void> {
    this.input.off('data', this.#received);
    this.input.pause();
    if (this.#writable) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CLOSE_PATIENCE_MS);
        this.output.write(Buffer.alloc(0), () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    this.output.off('drain', this.#drained);
    this.options.closed?.();
  }
}
