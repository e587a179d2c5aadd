/** The far end of a serial or virtio-console port that is in the page. */
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import type { PagePort } from '../port/protocol.ts';

/** Output that the page has not dealt with: at the first the guest's transmitter waits, at the second it goes on. */
const HIGH_WATER_BYTES = 256 * 1024;
const LOW_WATER_BYTES = 64 * 1024;

export class PageConsole implements CharacterBackend {
  #port: CharacterPort | undefined;
  #unacknowledgedBytes = 0;
  #blocked = false;
  #held = false;
  /** Input that came while the guest took none. */
  #input: Uint8Array[] = [];

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
    // A copy that is handed over: the guest's side may use its buffer again.
    const copy = bytes.slice();
    this.#unacknowledgedBytes += copy.length;
    this.page.tell('output', { console: this.name, bytes: copy }, [copy.buffer]);
    this.#blocked = this.#unacknowledgedBytes >= HIGH_WATER_BYTES;
    return !this.#blocked;
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
    return Promise.resolve();
  }
}
