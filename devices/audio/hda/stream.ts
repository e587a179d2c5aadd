/**
 * A stream descriptor: samples between a cyclic buffer of the guest and an audio backend, at the pace of the machine's clock (HDA
 * specification 1.0a, 3.3.35 to 3.3.43 and 4.5).
 */
import type { AudioBackend, PcmFormat } from '../../backends/audio.ts';
import { frameBytes } from '../../backends/audio.ts';
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import type { Register } from '../../bus/register-map.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import type { Converter } from './codec.ts';
import * as R from './registers.ts';

/** A guest that the host serves late loses at most this much of the clock: a burst would overrun what it has written. */
const MAX_STEP_NS = 20_000_000;
/** A guest that wants interrupts and has not seen the last one is waited for, up to this. */
const MAX_HOLD_NS = 1_000_000_000;
/** Entries of a buffer descriptor list: LVI has 8 bits. */
const MAX_ENTRIES = 256;
/** Bytes moved by one step, for any format. */
const MAX_STEP_BYTES = 32 * 1024;
const NS_PER_SECOND = 1_000_000_000;
const BASE_RATES = [48_000, 44_100] as const;
const BITS_16 = 1;

/** An entry of a buffer descriptor list. */
interface BufferEntry {
  readonly gpa: number;
  readonly lengthBytes: number;
  readonly interrupt: boolean;
}

export interface StreamHost {
  readonly memory: GuestMemory;
  mayAccess(): boolean;
  /** The codec's converter for this stream, and what it is connected to; undefined when none listens to the stream. */
  route(stream: HdaStream): { readonly converter: Converter; readonly backend: AudioBackend } | undefined;
  /** Status or control has changed: interrupts follow. */
  changed(): void;
  /** The stream has begun to run, or has stopped. */
  runChanged(): void;
  /** LPIB has changed. */
  moved(stream: HdaStream): void;
}

export class HdaStream {
  /** Lists and buffers that are not in memory, and formats that the codec does not have. */
  errors = 0;
  #controlLow = 0;
  /** Traffic priority, direction, and the stream tag in the upper four bits. */
  #controlHigh = 0;
  #status = 0;
  #position = 0;
  #cyclicBytes = 0;
  #lastValid = 0;
  #format = 0;
  #bdl: [low: number, high: number] = [0, 0];
  /** Entry of the list that is being played, and how far. */
  #entry = 0;
  #entryOffset = 0;
  /** Read when the entry was begun. */
  #current: BufferEntry | undefined;
  /** Machine time up to which samples have been moved. */
  #playedToNs = 0;
  /** When the guest was last told that an entry is complete. */
  #completedNs = 0;
  #begun: PcmFormat | undefined;

  constructor(
    readonly index: number,
    private readonly host: StreamHost,
  ) {}

  get isOutput(): boolean {
    return this.index >= R.INPUT_STREAMS;
  }

  get running(): boolean {
    return (this.#controlLow & R.SDCTL_RUN) !== 0;
  }

  /** The tag by which converters name the stream; 0 is none. */
  get tag(): number {
    return this.#controlHigh >> 4;
  }

  /** Link position in buffer, in bytes. */
  get position(): number {
    return this.#position;
  }

  get wantsInterrupt(): boolean {
    return (
      ((this.#status & R.SDSTS_COMPLETION) !== 0 && (this.#controlLow & R.SDCTL_COMPLETION_INTERRUPT) !== 0) ||
      ((this.#status & R.SDSTS_DESCRIPTOR_ERROR) !== 0 && (this.#controlLow & R.SDCTL_ERROR_INTERRUPT) !== 0)
    );
  }

  /** The stream's format; undefined when no converter of this codec has it. */
  get format(): PcmFormat | undefined {
    const multiply = ((this.#format >> 11) & 7) + 1;
    const divide = ((this.#format >> 8) & 7) + 1;
    const base = BASE_RATES[(this.#format >> 14) & 1] ?? BASE_RATES[0];
    const channels = (this.#format & 0xf) + 1;
    const known = multiply <= 4 && ((this.#format >> 4) & 7) === BITS_16 && channels <= 2;
    return known ? { sampleRateHz: (base * multiply) / divide, channels } : undefined;
  }

  registers(): Register[] {
    const at = R.STREAM_BASE + this.index * R.STREAM_STRIDE;
    const name = `SD${this.index}`;
    return [
      {
        name: `${name}CTL`,
        offset: at,
        bytes: 1,
        read: () => this.#controlLow,
        write: (value) => this.#control(value),
      },
      { name: `${name}CTL1`, offset: at + 1, bytes: 1, write: () => undefined },
      {
        name: `${name}CTL2`,
        offset: at + 2,
        bytes: 1,
        read: () => this.#controlHigh,
        write: (value) => {
          this.#controlHigh = value & 0xfc;
        },
      },
      {
        name: `${name}STS`,
        offset: at + 3,
        bytes: 1,
        read: () => this.#status,
        write: (value) => {
          this.#status &= ~(value & R.SDSTS_WRITE_1_TO_CLEAR);
          this.host.changed();
        },
      },
      { name: `${name}LPIB`, offset: at + 4, bytes: 4, read: () => this.#position },
      this.#setting(
        `${name}CBL`,
        at + 8,
        4,
        () => this.#cyclicBytes,
        (value) => (this.#cyclicBytes = value),
      ),
      this.#setting(
        `${name}LVI`,
        at + 0xc,
        2,
        () => this.#lastValid,
        (value) => (this.#lastValid = value & 0xff),
      ),
      { name: `${name}FIFOS`, offset: at + 0x10, bytes: 2, read: () => 0xbf },
      this.#setting(
        `${name}FMT`,
        at + 0x12,
        2,
        () => this.#format,
        (value) => (this.#format = value & 0x7fff),
      ),
      this.#setting(
        `${name}BDPL`,
        at + 0x18,
        4,
        () => this.#bdl[0],
        (value) => (this.#bdl[0] = (value & ~0x7f) >>> 0),
      ),
      this.#setting(
        `${name}BDPU`,
        at + 0x1c,
        4,
        () => this.#bdl[1],
        (value) => (this.#bdl[1] = value),
      ),
    ];
  }

  /** A register that a running stream does not let itself be changed in. */
  #setting(name: string, offset: number, bytes: 2 | 4, read: () => number, set: (value: number) => void): Register {
    const write = (value: number): void => {
      if (!this.running) set(value);
    };
    return { name, offset, bytes, read, write, writeWidth: 'bytes' };
  }

  #control(value: number): void {
    const wasRunning = this.running;
    if (value & R.SDCTL_RESET) {
      this.reset();
      this.#controlLow = R.SDCTL_RESET;
    } else {
      this.#controlLow = value & R.SDCTL_LOW_WRITABLE;
    }
    if (this.running && !wasRunning) this.#status |= R.SDSTS_FIFO_READY;
    if (!this.running) this.#end();
    if (this.running !== wasRunning) this.host.runChanged();
    this.host.changed();
  }

  #end(): void {
    this.#status &= ~R.SDSTS_FIFO_READY;
    if (this.#begun) this.host.route(this)?.backend.end();
    this.#begun = undefined;
  }

  /** The clock starts for the stream. */
  startClock(nowNs: number): void {
    this.#playedToNs = nowNs;
  }

  /**
   * Moves the samples that are due. Returns when it wants to be called again, in nanoseconds from now.
   */
  advance(nowNs: number): number {
    const { format } = this;
    const bytesPerSecond = format ? format.sampleRateHz * frameBytes(format) : 0;
    if (!format || !this.host.mayAccess()) {
      if (!format) this.errors++;
      this.#playedToNs = nowNs;
      return MAX_STEP_NS;
    }
    this.#playedToNs = Math.max(this.#playedToNs, nowNs - MAX_STEP_NS);
    const whole = frameBytes(format);
    const due = Math.floor(((nowNs - this.#playedToNs) * bytesPerSecond) / NS_PER_SECOND / whole) * whole;
    const moved = this.#move(Math.min(due, MAX_STEP_BYTES), format, nowNs);
    // What the other end did not take stays due for a step: guest and host then go at its pace.
    this.#playedToNs += (moved * NS_PER_SECOND) / bytesPerSecond;
    if (moved > 0) {
      this.host.moved(this);
      this.host.changed();
    }
    const left = this.#current ? this.#current.lengthBytes - this.#entryOffset : whole;
    return Math.min(MAX_STEP_NS / 2, Math.max(1_000_000, (left * NS_PER_SECOND) / bytesPerSecond));
  }

  /** Moves up to so many bytes; returns how many. Stops behind an entry that interrupts until the guest has seen it. */
  #move(bytes: number, format: PcmFormat, nowNs: number): number {
    let moved = 0;
    try {
      for (let empty = 0; moved < bytes && empty < MAX_ENTRIES;) {
        const unseen =
          (this.#status & R.SDSTS_COMPLETION) !== 0 && (this.#controlLow & R.SDCTL_COMPLETION_INTERRUPT) !== 0;
        if (unseen && nowNs - this.#completedNs < MAX_HOLD_NS) break;
        this.#current ??= this.#readEntry();
        const { gpa, lengthBytes } = this.#current;
        const count = Math.max(0, Math.min(bytes - moved, lengthBytes - this.#entryOffset));
        if (count > 0 && !this.#transfer(gpa + this.#entryOffset, count, format)) break;
        empty = count > 0 ? 0 : empty + 1;
        moved += count;
        this.#entryOffset += count;
        this.#advancePosition(count);
        if (this.#entryOffset >= lengthBytes) this.#endEntry(nowNs);
      }
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.errors++;
      this.#controlLow &= ~R.SDCTL_RUN;
      this.#status |= R.SDSTS_DESCRIPTOR_ERROR;
      this.#current = undefined;
      this.#end();
      this.host.runChanged();
    }
    return moved;
  }

  #readEntry(): BufferEntry {
    const bytes = new Uint8Array(R.BDL_ENTRY_BYTES);
    this.host.memory.read(this.#bdl[1] * 2 ** 32 + this.#bdl[0] + this.#entry * R.BDL_ENTRY_BYTES, bytes);
    const view = new DataView(bytes.buffer);
    return {
      gpa: view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true),
      lengthBytes: view.getUint32(8, true),
      interrupt: (view.getUint32(12, true) & R.BDL_INTERRUPT) !== 0,
    };
  }

  #endEntry(nowNs: number): void {
    if (this.#current?.interrupt) {
      this.#status |= R.SDSTS_COMPLETION;
      this.#completedNs = nowNs;
    }
    this.#current = undefined;
    this.#entryOffset = 0;
    this.#entry = this.#entry >= this.#lastValid ? 0 : this.#entry + 1;
  }

  #advancePosition(bytes: number): void {
    this.#position += bytes;
    if (this.#cyclicBytes > 0) this.#position %= this.#cyclicBytes;
    else this.#position %= 2 ** 32;
  }

  /** Samples between guest memory and the backend. False: the backend is not ready. */
  #transfer(gpa: number, count: number, format: PcmFormat): boolean {
    const route = this.host.route(this);
    if (!route) {
      // A stream that no converter listens to runs all the same; what is recorded is silence.
      if (!this.isOutput) this.host.memory.fill(gpa, count, 0);
      return true;
    }
    const { backend, converter } = route;
    if (this.#begun?.sampleRateHz !== format.sampleRateHz || this.#begun.channels !== format.channels) {
      this.#begun = format;
      backend.begin(format);
    }
    const samples = new Uint8Array(count);
    if (this.isOutput) {
      this.host.memory.read(gpa, samples);
      amplify(samples, converter, format);
      return backend.play(samples);
    }
    if (!this.host.memory.contains(gpa, count)) throw new GuestAddressError(gpa, count);
    if (!backend.record(samples)) return false;
    amplify(samples, converter, format);
    this.host.memory.write(gpa, samples);
    return true;
  }

  reset(): void {
    this.#end();
    this.#controlLow = 0;
    this.#controlHigh = 0;
    this.#status = 0;
    this.#position = 0;
    this.#cyclicBytes = 0;
    this.#lastValid = 0;
    this.#format = 0;
    this.#bdl = [0, 0];
    this.#entry = 0;
    this.#entryOffset = 0;
    this.#current = undefined;
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      controlLow: this.#controlLow,
      controlHigh: this.#controlHigh,
      status: this.#status,
      position: this.#position,
      cyclicBytes: this.#cyclicBytes,
      lastValid: this.#lastValid,
      format: this.#format,
      bdlLow: this.#bdl[0],
      bdlHigh: this.#bdl[1],
      entry: this.#entry,
      entryOffset: this.#entryOffset,
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const controlLow = fields.integer('controlLow', R.SDCTL_LOW_WRITABLE);
    const controlHigh = fields.integer('controlHigh', 0xff);
    const status = fields.integer('status', 0x3f);
    const position = fields.integer('position', 0xffffffff);
    const cyclicBytes = fields.integer('cyclicBytes', 0xffffffff);
    const lastValid = fields.integer('lastValid', 0xff);
    const format = fields.integer('format', 0x7fff);
    const bdl: [number, number] = [fields.integer('bdlLow', 0xffffffff), fields.integer('bdlHigh', 0xffffffff)];
    const entry = fields.integer('entry', MAX_ENTRIES - 1);
    const entryOffset = fields.integer('entryOffset', 0xffffffff);
    // An entry that is under way is read again.
    return () => {
      this.#controlLow = controlLow;
      this.#controlHigh = controlHigh;
      this.#status = status;
      this.#position = position;
      this.#cyclicBytes = cyclicBytes;
      this.#lastValid = lastValid;
      this.#format = format;
      this.#bdl = bdl;
      this.#entry = entry;
      this.#entryOffset = entryOffset;
      this.#current = undefined;
      this.#begun = undefined;
    };
  }
}

/** Applies the converter's amplifier in place. */
function amplify(samples: Uint8Array, { gains }: Converter, { channels }: PcmFormat): void {
  if (gains[0] === 1 && gains[1] === 1) return;
  const view = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  for (let at = 0; at + 2 <= samples.length; at += 2) {
    const gain = (at / 2) % channels === 1 ? gains[1] : gains[0];
    view.setInt16(at, Math.round(view.getInt16(at, true) * gain), true);
  }
}
