/** CORB and RIRB: commands to the codec and its responses, through rings in guest memory or one by one (HDA specification 1.0a, 4.4). */
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import { wideRegister, type Register } from '../../bus/register-map.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import * as R from './registers.ts';

export interface CommandHost {
  readonly memory: GuestMemory;
  mayAccess(): boolean;
  /** The codec's response to a command; undefined when no codec has the address. */
  command(word: number): number | undefined;
  changed(): void;
}

const SCALARS = [
  ...['corbLow', 'corbHigh', 'corbWrite', 'corbRead', 'corbControl', 'rirbLow', 'rirbHigh', 'rirbWrite', 'rirbCount'],
  ...['rirbControl', 'rirbStatus', 'responses', 'immediateOut', 'immediateIn', 'immediateStatus'],
] as const;

export class CommandRings {
  /** Rings that are not in memory. */
  errors = 0;
  commands = 0;
  #corb: [low: number, high: number] = [0, 0];
  #corbWrite = 0;
  #corbRead = 0;
  #corbControl = 0;
  #rirb: [low: number, high: number] = [0, 0];
  #rirbWrite = 0;
  #rirbCount = 0;
  #rirbControl = 0;
  #rirbStatus = 0;
  /** Responses since the guest has last seen the interrupt. */
  #responses = 0;
  #immediateOut = 0;
  #immediateIn = 0;
  #immediateStatus = 0;

  constructor(private readonly host: CommandHost) {}

  get wantsInterrupt(): boolean {
    return (this.#rirbStatus & R.RIRBSTS_RESPONSE) !== 0 && (this.#rirbControl & R.RIRBCTL_INTERRUPT) !== 0;
  }

  registers(): Register[] {
    const base = (value: number): number => (value & ~0x7f) >>> 0;
    return [
      ...wideRegister(
        'CORBBASE',
        0x40,
        () => this.#corb,
        (low, high) => {
          if (this.#corbControl & R.CORBCTL_RUN) return;
          if (low !== undefined) this.#corb[0] = base(low);
          if (high !== undefined) this.#corb[1] = high;
        },
      ),
      {
        name: 'CORBWP',
        offset: 0x48,
        bytes: 2,
        read: () => this.#corbWrite,
        write: (value) => this.#setWrite(value),
        writeWidth: 'bytes',
      },
      { name: 'CORBRP', offset: 0x4a, bytes: 2, read: () => this.#corbRead, write: (value) => this.#resetRead(value) },
      {
        name: 'CORBCTL',
        offset: 0x4c,
        bytes: 1,
        read: () => this.#corbControl,
        write: (value) => this.#setCorbControl(value),
      },
      { name: 'CORBSTS', offset: 0x4d, bytes: 1, write: () => undefined },
      { name: 'CORBSIZE', offset: 0x4e, bytes: 1, read: () => R.RING_SIZE_256, write: () => undefined },
      ...wideRegister(
        'RIRBBASE',
        0x50,
        () => this.#rirb,
        (low, high) => {
          if (this.#rirbControl & R.RIRBCTL_RUN) return;
          if (low !== undefined) this.#rirb[0] = base(low);
          if (high !== undefined) this.#rirb[1] = high;
        },
      ),
      {
        name: 'RIRBWP',
        offset: 0x58,
        bytes: 2,
        read: () => this.#rirbWrite,
        write: (value) => {
          if (value & R.RIRBWP_RESET) this.#rirbWrite = 0;
        },
      },
      {
        name: 'RINTCNT',
        offset: 0x5a,
        bytes: 2,
        read: () => this.#rirbCount,
        write: (value) => {
          this.#rirbCount = value & 0xff;
        },
      },
      {
        name: 'RIRBCTL',
        offset: 0x5c,
        bytes: 1,
        read: () => this.#rirbControl,
        write: (value) => {
          this.#rirbControl = value & R.RIRBCTL_WRITABLE;
          this.host.changed();
          this.run();
        },
      },
      {
        name: 'RIRBSTS',
        offset: 0x5d,
        bytes: 1,
        read: () => this.#rirbStatus,
        write: (value) => this.#clearStatus(value),
      },
      { name: 'RIRBSIZE', offset: 0x5e, bytes: 1, read: () => R.RING_SIZE_256, write: () => undefined },
      {
        name: 'ICOI',
        offset: 0x60,
        bytes: 4,
        read: () => this.#immediateOut,
        write: (value) => {
          this.#immediateOut = value;
        },
      },
      { name: 'ICII', offset: 0x64, bytes: 4, read: () => this.#immediateIn },
      {
        name: 'ICIS',
        offset: 0x68,
        bytes: 2,
        read: () => this.#immediateStatus,
        write: (value) => this.#immediate(value),
      },
    ];
  }

  #setWrite(value: number): void {
    this.#corbWrite = value & (R.RING_ENTRIES - 1);
    this.run();
  }

  #resetRead(value: number): void {
    // Software sets the bit, sees it, and clears it (3.3.21).
    if (value & R.CORBRP_RESET) this.#corbRead = R.CORBRP_RESET;
    else this.#corbRead &= R.RING_ENTRIES - 1;
  }

  #setCorbControl(value: number): void {
    this.#corbControl = value & R.CORBCTL_WRITABLE;
    this.run();
  }

  #clearStatus(value: number): void {
    this.#rirbStatus &= ~(value & R.RIRBSTS_WRITE_1_TO_CLEAR);
    if (value & R.RIRBSTS_RESPONSE) this.#responses = 0;
    this.host.changed();
    this.run();
  }

  #immediate(value: number): void {
    this.#immediateStatus &= ~(value & R.ICIS_VALID);
    if (!(value & R.ICIS_BUSY)) return;
    const response = this.host.command(this.#immediateOut);
    this.#immediateIn = response ?? 0;
    this.#immediateStatus = response === undefined ? 0 : R.ICIS_VALID;
  }

  /** Works off the commands in the CORB, until the guest has to look at the responses. */
  run(): void {
    try {
      for (let done = 0; done < R.RING_ENTRIES && this.#step(); done++);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.errors++;
      this.#corbControl &= ~R.CORBCTL_RUN;
    }
  }

  #step(): boolean {
    const read = this.#corbRead & (R.RING_ENTRIES - 1);
    const running = (this.#corbControl & R.CORBCTL_RUN) !== 0 && this.host.mayAccess();
    if (!running || read === this.#corbWrite || (this.#rirbStatus & R.RIRBSTS_RESPONSE && this.#interruptDue))
      return false;
    const next = (read + 1) % R.RING_ENTRIES;
    const { memory } = this.host;
    const word = memory.readU32(this.#corb[1] * 2 ** 32 + this.#corb[0] + 4 * next);
    this.#corbRead = next;
    this.commands++;
    const response = this.host.command(word);
    if (response !== undefined) this.#respond(response);
    if (this.#responses > 0 && (this.#interruptDue || next === this.#corbWrite)) {
      this.#rirbStatus |= R.RIRBSTS_RESPONSE;
      this.host.changed();
    }
    return true;
  }

  /** As many responses as RINTCNT demands wait to be seen; 0 means 256. */
  get #interruptDue(): boolean {
    return this.#responses >= (this.#rirbCount || R.RING_ENTRIES);
  }

  #respond(response: number): void {
    if (!(this.#rirbControl & R.RIRBCTL_RUN)) return;
    const next = (this.#rirbWrite + 1) % R.RING_ENTRIES;
    const bytes = new Uint8Array(8);
    // The second word says that it was asked for, and by codec 0.
    new DataView(bytes.buffer).setUint32(0, response, true);
    this.host.memory.write(this.#rirb[1] * 2 ** 32 + this.#rirb[0] + 8 * next, bytes);
    this.#rirbWrite = next;
    this.#responses++;
  }

  reset(): void {
    this.#set(SCALARS.map(() => 0));
  }

  #values(): number[] {
    return [
      ...[...this.#corb, this.#corbWrite, this.#corbRead, this.#corbControl],
      ...[...this.#rirb, this.#rirbWrite, this.#rirbCount, this.#rirbControl, this.#rirbStatus, this.#responses],
      ...[this.#immediateOut, this.#immediateIn, this.#immediateStatus],
    ];
  }

  #set(values: readonly number[]): void {
    const at = (index: number): number => values[index] ?? 0;
    this.#corb = [at(0), at(1)];
    this.#corbWrite = at(2) & 0xff;
    this.#corbRead = at(3) & (R.CORBRP_RESET | 0xff);
    this.#corbControl = at(4) & R.CORBCTL_WRITABLE;
    this.#rirb = [at(5), at(6)];
    this.#rirbWrite = at(7) & 0xff;
    this.#rirbCount = at(8) & 0xff;
    this.#rirbControl = at(9) & R.RIRBCTL_WRITABLE;
    this.#rirbStatus = at(10) & R.RIRBSTS_WRITE_1_TO_CLEAR;
    this.#responses = at(11);
    this.#immediateOut = at(12);
    this.#immediateIn = at(13);
    this.#immediateStatus = at(14) & (R.ICIS_VALID | R.ICIS_BUSY);
  }

  save(): { readonly [field: string]: StateValue } {
    const values = this.#values();
    return Object.fromEntries(SCALARS.map((name, index) => [name, values[index] ?? 0]));
  }

  prepareRestore(fields: StateFields): () => void {
    const values = SCALARS.map((name) => fields.integer(name, 0xffffffff));
    return () => this.#set(values);
  }
}
