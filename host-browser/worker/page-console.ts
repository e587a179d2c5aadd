/** The far end of a serial or virtio-console port that is in the page. */
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import type { PagePort } from '../port/protocol.ts';

/** Output that the page has not dealt with: at the first the guest's transmitter waits, at the second it goes on. */
const HIGH_WATER_BYTES = 256 * 1024;
const LOW_WATER_BYTES = 64 * 1024;
/**
 * What follows within this time of the last output goes with it, up to a size. A page draws its terminal for each, which takes as much of a processor as the
 * guest that boots: 30 times a second are enough, and the first of a pause, such as a key's echo, goes at once.
 */
const GATHER_MS = 33;
const GATHER_BYTES = 16 * 1024;

export class PageConsole implements CharacterBackend {
  #port: CharacterPort | undefined;
  #unacknowledgedBytes = 0;
  #blocked = false;
  #held = false;
  /** Input that came while the guest took none. */
  #input: Uint8Array[] = [];
  readonly #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #sendTimer: ReturnType<typeof setTimeout> | undefined;
  #sentMs = -Infinity;

  constructor(
    /** What the page calls it; settled before the machine starts. */
    public name: string,
    private readonly page: PagePort,
  ) {}

  open(port: CharacterPort): void {
    this.#port = port;
    port.carrier?.(true);
    this.#deliver();
  }

  write(bytes: Uint8Array): boolean {
    // A copy: the guest's side may use its buffer again.
    this.#gathered.push(bytes.slice());
    this.#gatheredBytes += bytes.length;
    this.#unacknowledgedBytes += bytes.length;
    const waitMs = this.#sentMs + GATHER_MS - performance.now();
    if (waitMs <= 0 || this.#gatheredBytes >= GATHER_BYTES) this.#send();
    else this.#sendTimer ??= setTimeout(() => this.#send(), waitMs);
    this.#blocked = this.#unacknowledgedBytes >= HIGH_WATER_BYTES;
    return !this.#blocked;
  }

  #send(): void {
    clearTimeout(this.#sendTimer);
    this.#sendTimer = undefined;
    if (this.#gatheredBytes === 0) return;
    const bytes = new Uint8Array(this.#gatheredBytes);
    let at = 0;
    for (const piece of this.#gathered.splice(0)) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.#gatheredBytes = 0;
    this.#sentMs = performance.now();
    this.page.tell('output', { console: this.name, bytes }, [bytes.buffer]);
  }

  /** The page has dealt with so much output. */
  taken(lengthBytes: number): void {
    this.#unacknowledgedBytes = Math.max(0, this.#unacknowledgedBytes - lengthBytes);
    if (!this.#blocked || this.#unacknowledgedBytes > LOW_WATER_BYTES) return;
    this.#blocked = false;
    this.#port?.drained();
  }

  /** The page typed. */
  input(bytes: Uint8Array): void {
    this.#input.push(bytes);
    this.#deliver();
  }

  #deliver(): void {
    while (this.#port && !this.#held) {
      const bytes = this.#input.shift();
      if (!bytes) return;
      this.#port.receive(bytes);
    }
  }

  hold(held: boolean): void {
    this.#held = held;
    this.#deliver();
  }

  close(): Promise<void> {
    this.#input = [];
    this.#send();
    return Promise.resolve();
  }
}
