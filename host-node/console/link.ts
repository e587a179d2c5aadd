/**
 * A serial port's far end that comes and goes: a client of a socket, the other half of a null modem, a pseudo-terminal.
 *
 * - Bytes are handed over one write at a time, so that it is always known which of them the host's system has taken. What it has
 *   not when the far end goes is kept for the next one, as is what the guest prints meanwhile: for {@link RECONNECT_MS} it waits when
 *   64 KiB have come together, so that who attaches again in time reads on where the last reader was cut off; then the newest
 *   {@link BACKLOG_BYTES} stay. That is also what the first reader finds.
 * - A port that follows the carrier (virtio-console) tells its guest; beyond those two seconds nothing is kept for it.
 * - While a far end is attached and does not read, at most {@link HIGH_WATER_BYTES} and one write wait here; then the guest does.
 * - Everything that the far end sent before it went reaches the guest, also when writing to it fails first.
 */
import type { Readable } from 'node:stream';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';

/** Output kept while nothing is attached: a boot's messages. */
export const BACKLOG_BYTES = 64 * 1024;
/** Unsent output at which the guest's transmitter pauses, and at which it goes on. */
const HIGH_WATER_BYTES = 64 * 1024;
const LOW_WATER_BYTES = 16 * 1024;
/** Pieces are joined up to this much: a UNIX socket takes such a write as a whole or not at all. The rings of a UART give no larger ones. */
const WRITE_BYTES = 16 * 1024;
/** So long the guest's transmitter waits, once 64 KiB are kept, for somebody to take the place of a far end that went. */
export const RECONNECT_MS = 2000;
/** Longest wait at the end for a reader that does not read. */
const CLOSE_PATIENCE_MS = 1000;

/** An open connection. Its input is paused until a link has it. */
export interface FarEnd {
  readonly input: Readable;
  /**
   * Sends up to 16 KiB; `done` once the system has them or refused them, also after {@link destroy}. One write at a time.
   * `takenBytes` of a failed write: how many of the first bytes it may have taken; the others are for the next far end.
   */
  write(bytes: Uint8Array, done: (error: Error | undefined, takenBytes: number) => void): void;
  destroy(): void;
}

export class LinkBackend implements CharacterBackend {
  /** Bytes that the guest printed while nobody was attached and that did not fit the backlog. */
  droppedBytes = 0;
  #port: CharacterPort | undefined;
  #end: FarEnd | undefined;
  /** Called when the attached end goes. */
  #forget: (() => void) | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #writing = false;
  /** Writing to the attached end has failed; what it sent is still being read. */
  #deaf = false;
  /** The attached end is gone, but for the write on its way. */
  #leaving = false;
  #blocked = false;
  /** Runs while the guest waits for the next far end. */
  #reconnecting: ReturnType<typeof setTimeout> | undefined;
  #held = false;
  #closed = false;
  #idle: (() => void) | undefined;

  /** `detached`: the far end went (not called after close). `released`: gives back what belongs to the backend at its end. */
  constructor(
    private readonly detached: () => void = () => undefined,
    private readonly released: () => Promise<void> = () => Promise.resolve(),
  ) {}

  get attached(): boolean {
    return this.#end !== undefined;
  }

  /** The guest takes no input at present. */
  get held(): boolean {
    return this.#held;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Takes a far end; there must be none. */
  attach(end: FarEnd): void {
    if (this.#end || this.#closed) {
      end.destroy();
      return;
    }
    this.#end = end;
    this.#deaf = false;
    clearTimeout(this.#reconnecting);
    this.#reconnecting = undefined;
    this.#writing = false;
    const gone = (): void => this.#gone(end);
    const received = (chunk: Buffer): void => this.#port?.receive(chunk);
    end.input.on('data', received);
    end.input.on('end', gone);
    end.input.on('close', gone);
    end.input.on('error', gone);
    this.#forget = () => {
      end.input.off('data', received);
    };
    this.#port?.carrier?.(true);
    if (this.#port && !this.#held) end.input.resume();
    this.#pump();
  }

  #gone(end: FarEnd): void {
    if (this.#end !== end) return;
    this.#forget?.();
    end.destroy();
    // Whether the system took the last bytes is known when that write ends; the next far end comes after them.
    if (this.#writing && !this.#closed) this.#leaving = true;
    else this.#detach();
  }

  #detach(): void {
    this.#end = undefined;
    this.#leaving = false;
    this.#writing = false;
    if (!this.#deaf) this.#awaitNext();
    this.#settle();
    this.#idle?.();
    this.#port?.carrier?.(false);
    if (!this.#closed) this.detached();
  }

  open(port: CharacterPort): void {
    this.#port = port;
    port.carrier?.(this.#end !== undefined);
    if (!this.#held) this.#end?.input.resume();
  }

  write(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    // A copy: the guest's side may use its buffer again.
    this.#queue.push(bytes.slice());
    this.#queuedBytes += bytes.length;
    if (this.#listener) this.#pump();
    else if (!this.#expected) this.#trim();
    this.#blocked = this.#expected && this.#queuedBytes >= HIGH_WATER_BYTES;
    return !this.#blocked;
  }

  #pump(): void {
    const end = this.#listener;
    if (!end || this.#writing) return;
    const chunk = this.#takeChunk();
    if (chunk.length === 0) {
      this.#idle?.();
      return;
    }
    this.#writing = true;
    end.write(chunk, (error, takenBytes) => {
      if (this.#end !== end) return;
      this.#writing = false;
      if (error) this.#writeFailed(chunk.subarray(takenBytes));
      else if (!this.#leaving) this.#pump();
      if (this.#leaving) this.#detach();
      else this.#settle();
    });
  }

  /** The next bytes to write, as many as one write may be: guests print a byte at a time. */
  #takeChunk(): Uint8Array {
    let lengthBytes = 0;
    let count = 0;
    for (const piece of this.#queue) {
      if (count > 0 && lengthBytes + piece.length > WRITE_BYTES) break;
      lengthBytes += piece.length;
      count++;
    }
    const pieces = this.#queue.splice(0, count);
    this.#queuedBytes -= lengthBytes;
    const only = pieces[0];
    if (pieces.length === 1 && only) return only;
    const chunk = new Uint8Array(lengthBytes);
    let at = 0;
    for (const piece of pieces) {
      chunk.set(piece, at);
      at += piece.length;
    }
    return chunk;
  }

  #writeFailed(untaken: Uint8Array): void {
    this.#deaf = true;
    if (untaken.length > 0) {
      this.#queue.unshift(untaken);
      this.#queuedBytes += untaken.length;
    }
    this.#awaitNext();
    this.#idle?.();
  }

  /** The far end, unless writing to it has failed. */
  get #listener(): FarEnd | undefined {
    return this.#deaf ? undefined : this.#end;
  }

  /** Somebody will take what is queued, or may still come to do so. */
  get #expected(): boolean {
    return this.#listener !== undefined || this.#reconnecting !== undefined;
  }

  #awaitNext(): void {
    if (this.#closed) return;
    clearTimeout(this.#reconnecting);
    this.#reconnecting = setTimeout(() => {
      this.#reconnecting = undefined;
      this.#settle();
    }, RECONNECT_MS);
    this.#reconnecting.unref();
  }

  /** Lets the guest go on if there is room, or nobody to wait for. */
  #settle(): void {
    if (!this.#expected) this.#trim();
    if (!this.#expected || this.#queuedBytes <= LOW_WATER_BYTES) this.#unblock();
  }

  #unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#port?.drained();
  }

  /** Nobody reads: the newest output stays, or none. */
  #trim(): void {
    const keptBytes = this.#port?.carrier ? 0 : BACKLOG_BYTES;
    while (this.#queuedBytes > keptBytes) {
      const first = this.#queue[0];
      if (!first) return;
      const excess = Math.min(first.length, this.#queuedBytes - keptBytes);
      if (excess === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(excess);
      this.#queuedBytes -= excess;
      this.droppedBytes += excess;
    }
  }

  hold(held: boolean): void {
    this.#held = held;
    if (held) this.#end?.input.pause();
    else this.#end?.input.resume();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#reconnecting);
    this.#reconnecting = undefined;
    const end = this.#end;
    if (end) {
      end.input.pause();
      if (this.#queue.length > 0 || this.#writing) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, CLOSE_PATIENCE_MS);
          this.#idle = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      this.#gone(end);
    }
    await this.released();
  }
}
