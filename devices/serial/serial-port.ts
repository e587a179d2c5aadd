/** Joins a UART's rings, its console and a character backend; no byte is lost or doubled, whoever is slow. */
import { UART_RING_SIZE } from '../../core-as/layout.ts';
import type { CharacterBackend } from '../backends/character.ts';
import type { Device } from '../device.ts';
import { StateFields } from '../platform/state-fields.ts';
import type { DeviceState } from '../snapshot.ts';
import { Console } from './console.ts';
import type { UartRings } from './uart-rings.ts';

/**
 * After output was taken the next is left to come together for so long: guests print a byte at a time, and each wake-up of this thread
 * costs more than the byte. The first byte after a pause goes at once.
 */
const GATHER_MS = 1;
const GATHER_BYTES = UART_RING_SIZE / 2;

/**
 * Input comes in bursts, with a rest after each until the guest has nothing more to do. A driver takes input as fast as it is offered, in its
 * interrupt handler; offered without end it leaves no time to whoever reads, and its buffers run over (Linux drops what they do not
 * hold). A burst fits the buffer of a terminal's line discipline.
 */
const BURST_BYTES = 4096;
const LOOK_MS = 1;
/** A guest that is always busy gets its next burst after so many looks. */
const MOST_LOOKS = 10;

/** Input held for a guest that does not read: beyond this much the backend is asked to wait. */
const INPUT_HIGH_WATER = 4096;

const STATE_KIND = 'serial-port';
const STATE_VERSION = 1;
/** What a snapshot may hold of input that the guest has not taken. */
const MAX_SAVED_INPUT_BYTES = 16 * 1024 * 1024;

export class SerialPort implements Device {
  readonly console: Console;
  #input: Uint8Array[] = [];
  #inputBytes = 0;
  #held = false;
  #outputBlocked = false;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #burstLeft = BURST_BYTES;
  #looking: ReturnType<typeof setTimeout> | undefined;
  #paused = false;
  /** Why the machine ended, for those who still wait for its console. */
  endReason = 'ended';

  constructor(
    name: string,
    private readonly rings: UartRings,
    private readonly backend: CharacterBackend | undefined,
    /** Whether the guest waits for something to happen; without it input does not come in bursts. */
    private readonly guestRests?: () => boolean,
  ) {
    this.console = new Console(name, (bytes) => this.#receive(bytes));
  }

  /** Attaches the port: from here on the guest's output is kept. */
  start(): void {
    this.rings.notifyAt(0);
    this.rings.setConnected(true);
    this.backend?.open({
      receive: (bytes) => this.#receive(bytes),
      drained: () => {
        this.#outputBlocked = false;
        this.service();
      },
    });
  }

  #receive(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    // A copy: the backend may reuse its buffer.
    this.#input.push(bytes.slice());
    this.#inputBytes += bytes.length;
    this.service();
  }

  /** The UART's rings changed, or the host did. */
  service(): void {
    this.#serviceInput();
    this.#serviceOutput();
  }

  /**
   * Input waits. Output that the guest has written goes on its way, which the guest cannot see, even to a far end that is slow: whoever saves
   * the machine now and ends it would see what is left printed by both machines.
   */
  pause(): void {
    this.#paused = true;
    const blocked = this.#outputBlocked;
    this.#outputBlocked = false;
    while (this.#serviceOutput()) this.#outputBlocked = false;
    this.#outputBlocked ||= blocked;
    clearTimeout(this.#looking);
    this.#looking = undefined;
  }

  resume(): void {
    this.#paused = false;
    this.#burstLeft = BURST_BYTES;
    this.service();
  }

  /** True when there was some. */
  #serviceOutput(): boolean {
    let some = false;
    // While the backend is full the guest's bytes stay in the ring, and its transmitter stays busy.
    while (!this.#outputBlocked && this.rings.hasOutput) {
      const bytes = this.rings.takeOutput();
      if (bytes.length === 0) break;
      some = true;
      this.console.deliver(bytes);
      if (this.backend && !this.backend.write(bytes)) this.#outputBlocked = true;
    }
    if (some) this.#gather();
    return some;
  }

  #gather(): void {
    if (this.#gathering !== undefined) return;
    this.rings.notifyAt(GATHER_BYTES);
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      if (this.#serviceOutput()) return;
      this.rings.notifyAt(0);
      // What came just before that was not announced.
      this.#serviceOutput();
    }, GATHER_MS);
  }

  #serviceInput(): void {
    while (this.#burstLeft > 0 && !this.#paused) {
      const first = this.#input[0];
      if (!first) break;
      const offered = this.guestRests ? first.subarray(0, this.#burstLeft) : first;
      const taken = this.rings.putInput(offered);
      this.#inputBytes -= taken;
      if (this.guestRests) this.#burstLeft -= taken;
      if (taken < first.length) this.#input[0] = first.subarray(taken);
      else this.#input.shift();
      if (taken < offered.length) break;
    }
    // The rest begins when the guest has taken the last byte, which it announces.
    if (!this.#paused && this.#burstLeft === 0 && this.#looking === undefined && this.rings.inputWaiting === 0)
      this.#rest(MOST_LOOKS);
    const held = this.#inputBytes > INPUT_HIGH_WATER;
    if (held !== this.#held) {
      this.#held = held;
      this.backend?.hold(held);
    }
  }

  #rest(looksLeft: number): void {
    this.#looking = setTimeout(() => {
      this.#looking = undefined;
      if (looksLeft > 1 && !this.guestRests?.()) {
        this.#rest(looksLeft - 1);
        return;
      }
      this.#burstLeft = BURST_BYTES;
      this.#serviceInput();
    }, LOOK_MS);
  }

  /** The UART itself is the core's; a reset of the machine leaves the far end alone. */
  reset(): void {}

  counters(): Readonly<Record<string, number>> {
    return {};
  }

  /** Input that came from the far end and that the guest's UART has not got yet. */
  save(): DeviceState {
    const input = new Uint8Array(this.#inputBytes);
    let at = 0;
    for (const piece of this.#input) {
      input.set(piece, at);
      at += piece.length;
    }
    return { kind: STATE_KIND, version: STATE_VERSION, fields: { inputBytes: input.length, input } };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const input = fields.bytes('input', fields.integer('inputBytes', MAX_SAVED_INPUT_BYTES));
    this.#input = input.length > 0 ? [input.slice()] : [];
    this.#inputBytes = input.length;
  }

  /** Takes the last output, then lets the backend finish. */
  async close(): Promise<void> {
    this.#outputBlocked = false;
    this.service();
    clearTimeout(this.#gathering);
    clearTimeout(this.#looking);
    this.console.close(this.endReason);
    await this.backend?.close();
  }
}
