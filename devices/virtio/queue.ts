/**
 * A split virtqueue (virtio 0.9.5, 2.3; virtio 1.0, 2.4), the device's side. The driver is a guest and may write anything into its rings: a ring
 * that makes no sense breaks the queue, which then rests until the device is reset, as in bhyve.
 */
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { RingMemory } from './ring-memory.ts';

export const PFN_SHIFT = 12;
const RING_ALIGN_BYTES = 4096;

const DESCRIPTOR_BYTES = 16;
const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_INDIRECT = 4;

const AVAIL_F_NO_INTERRUPT = 1;
const USED_F_NO_NOTIFY = 1;
const USED_ELEMENT_BYTES = 8;

/** No driver's chain is longer; a longer one loops (the same bound as bhyve's). */
export const MAX_CHAIN_DESCRIPTORS = 512;

/** One buffer of a chain. Its address is checked when it is used. */
export interface Segment {
  readonly gpa: number;
  readonly lengthBytes: number;
}

/** A request: what the device may read, then what it may write. */
export interface Chain {
  /** Index of the first descriptor: the request's identity. */
  readonly head: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
}

/** Driver features that change how rings work. */
export interface RingFeatures {
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  readonly notifyOnEmpty: boolean;
}

const NO_FEATURES: RingFeatures = { indirect: false, eventIndex: false, notifyOnEmpty: false };

/** Where descriptors are read from: the ring or an indirect table. */
type DescriptorTable = Pick<RingMemory, 'u16' | 'u32' | 'u64'>;

/** What is wrong with a ring. */
class RingError extends Error {}

export class VirtQueue {
  readonly size: number;
  /** MSI-X vector, or 0xFFFF for none. */
  msixVector = 0xffff;
  features: RingFeatures = NO_FEATURES;
  /** The driver's ring made no sense; only a reset helps. */
  broken = false;
  readonly #memory: GuestMemory;
  readonly #onBroken: (problem: string) => void;
  #pfn = 0;
  #ring: RingMemory | undefined;
  /** Next entry of the available ring to take, modulo 2^16. */
  #nextAvail = 0;
  /** Next entry of the used ring to fill, modulo 2^16. */
  #nextUsed = 0;
  /** Used index at the last decision about an interrupt. */
  #signalledUsed = 0;
  /** Heads that were taken and not given back. */
  readonly #taken = new Set<number>();

  constructor(memory: GuestMemory, size: number, onBroken: (problem: string) => void) {
    if (size < 1 || size > 32768 || (size & (size - 1)) !== 0) throw new RangeError(`queue size ${size}`);
    this.#memory = memory;
    this.size = size;
    this.#onBroken = onBroken;
  }

  get pfn(): number {
    return this.#pfn;
  }

  /** Requests that were taken and not given back. */
  get inFlight(): number {
    return this.#taken.size;
  }

  get ready(): boolean {
    return this.#ring !== undefined && !this.broken;
  }

  // Layout of the legacy ring: descriptors, available ring, and from the next page on the used ring.
  get #availOffset(): number {
    return this.size * DESCRIPTOR_BYTES;
  }

  get #usedEventOffset(): number {
    return this.#availOffset + 4 + 2 * this.size;
  }

  get #usedOffset(): number {
    return Math.ceil((this.#usedEventOffset + 2) / RING_ALIGN_BYTES) * RING_ALIGN_BYTES;
  }

  get #availEventOffset(): number {
    return this.#usedOffset + 4 + USED_ELEMENT_BYTES * this.size;
  }

  get #ringBytes(): number {
    return this.#availEventOffset + 2;
  }

  /** The driver places the rings (page number), or takes them away (0). Indices start from zero. */
  setPfn(pfn: number): void {
    this.#pfn = pfn;
    this.#nextAvail = 0;
    this.#nextUsed = 0;
    this.#signalledUsed = 0;
    this.#taken.clear();
    this.#mapRing();
  }

  #mapRing(): void {
    this.#ring = undefined;
    if (this.#pfn === 0) return;
    try {
      this.#ring = new RingMemory(this.#memory, this.#pfn * 2 ** PFN_SHIFT, this.#ringBytes);
    } catch (error) {
      if (!(error instanceof GuestAddressError)) throw error;
      this.#break('rings are not in guest memory');
    }
  }

  reset(): void {
    this.broken = false;
    this.msixVector = 0xffff;
    this.features = NO_FEATURES;
    this.setPfn(0);
  }

  #break(problem: string): void {
    if (this.broken) return;
    this.broken = true;
    this.#onBroken(problem);
  }

  /** Takes the next request, or returns undefined when there is none or the queue is broken. */
  pop(): Chain | undefined {
    const ring = this.#ring;
    if (!ring || this.broken) return undefined;
    try {
      return this.#pop(ring);
    } catch (error) {
      if (error instanceof RingError) this.#break(error.message);
      else if (error instanceof GuestAddressError) this.#break('an indirect table is not in guest memory');
      else throw error;
      return undefined;
    }
  }

  #pop(ring: RingMemory): Chain | undefined {
    const pending = (ring.loadIndex(this.#availOffset + 2) - this.#nextAvail) & 0xffff;
    if (pending === 0) return undefined;
    if (pending > this.size) throw new RingError(`ndesc (${pending}) out of range, driver confused?`);
    const head = ring.u16(this.#availOffset + 4 + 2 * (this.#nextAvail % this.size));
    if (this.#taken.has(head)) throw new RingError(`descriptor ${head} made available twice, driver confused?`);
    const chain = this.#readChain(ring, head);
    this.#taken.add(head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    return chain;
  }

  /** Reads a chain again, for a request that was in flight when a snapshot was taken. */
  reread(head: number): Chain | undefined {
    const ring = this.#ring;
    if (!ring || this.broken || !this.#taken.has(head)) return undefined;
    try {
      return this.#readChain(ring, head);
    } catch (error) {
      if (error instanceof RingError || error instanceof GuestAddressError) this.#break('a saved request is gone');
      else throw error;
      return undefined;
    }
  }

  #readChain(ring: RingMemory, head: number): Chain {
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let count = 0;
    const add = (table: DescriptorTable, at: number, flags: number): void => {
      if (++count > MAX_CHAIN_DESCRIPTORS) {
        throw new RingError(`descriptor loop (count > ${MAX_CHAIN_DESCRIPTORS}) - driver confused?`);
      }
      const segment = { gpa: table.u64(at), lengthBytes: table.u32(at + 8) };
      if (flags & DESC_F_WRITE) writable.push(segment);
      else if (writable.length > 0) throw new RingError('a readable descriptor follows a writable one');
      else readable.push(segment);
    };
    for (let index = head; ;) {
      if (index >= this.size) throw new RingError(`descriptor index ${index} out of range, driver confused?`);
      const at = index * DESCRIPTOR_BYTES;
      const flags = ring.u16(at + 12);
      const next = ring.u16(at + 14);
      if (flags & DESC_F_INDIRECT) this.#readIndirect(ring.u64(at), ring.u32(at + 8), flags, add);
      else add(ring, at, flags);
      if (!(flags & DESC_F_NEXT)) return { head, readable, writable };
      index = next;
    }
  }

  #readIndirect(
    gpa: number,
    lengthBytes: number,
    flags: number,
    add: (table: DescriptorTable, at: number, flags: number) => void,
  ): void {
    if (!this.features.indirect) throw new RingError('descriptor has forbidden INDIRECT flag, driver confused?');
    if (flags & DESC_F_NEXT) throw new RingError('an indirect descriptor has a next one');
    const entries = lengthBytes / DESCRIPTOR_BYTES;
    if (lengthBytes === 0 || !Number.isInteger(entries) || entries > MAX_CHAIN_DESCRIPTORS) {
      throw new RingError(`invalid indir len 0x${lengthBytes.toString(16)}, driver confused?`);
    }
    const table = new IndirectTable(this.#memory, gpa, lengthBytes);
    for (let index = 0; ;) {
      const at = index * DESCRIPTOR_BYTES;
      const entryFlags = table.u16(at + 12);
      const next = table.u16(at + 14);
      if (entryFlags & DESC_F_INDIRECT) throw new RingError('indirect desc has INDIR flag, driver confused?');
      add(table, at, entryFlags);
      if (!(entryFlags & DESC_F_NEXT)) return;
      if (next >= entries) throw new RingError(`invalid indirect next ${next}, driver confused?`);
      index = next;
    }
  }

  /** Gives a request back. `writtenBytes` is how much of its writable part the device filled. False when it is not ours any more. */
  push(head: number, writtenBytes: number): boolean {
    const ring = this.#ring;
    if (!this.#taken.delete(head) || !ring || this.broken) return false;
    const element = this.#usedOffset + 4 + USED_ELEMENT_BYTES * (this.#nextUsed % this.size);
    ring.setU32(element, head);
    ring.setU32(element + 4, writtenBytes);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    ring.storeIndex(this.#usedOffset + 2, this.#nextUsed);
    ring.written(element, USED_ELEMENT_BYTES);
    ring.written(this.#usedOffset, 4);
    return true;
  }

  /** Whether the driver wants an interrupt for what was given back since the last call (virtio 1.0, 2.4.7). */
  takeInterrupt(): boolean {
    const ring = this.#ring;
    if (!ring || this.broken) return false;
    const before = this.#signalledUsed;
    this.#signalledUsed = this.#nextUsed;
    if (before === this.#nextUsed) return false;
    if (this.features.notifyOnEmpty && this.#nextAvail === ring.loadIndex(this.#availOffset + 2)) return true;
    if (!this.features.eventIndex) return (ring.loadIndex(this.#availOffset) & AVAIL_F_NO_INTERRUPT) === 0;
    const event = ring.loadIndex(this.#usedEventOffset);
    return ((this.#nextUsed - event - 1) & 0xffff) < ((this.#nextUsed - before) & 0xffff);
  }

  /**
   * The device found the queue empty and wants to hear of the next request. True when one has come meanwhile: the caller looks again.
   */
  enableNotify(): boolean {
    const ring = this.#ring;
    if (!ring || this.broken) return false;
    if (this.features.eventIndex) {
      ring.storeIndex(this.#availEventOffset, this.#nextAvail);
      ring.written(this.#availEventOffset, 2);
    } else {
      ring.storeIndex(this.#usedOffset, 0);
      ring.written(this.#usedOffset, 2);
    }
    return ring.loadIndex(this.#availOffset + 2) !== this.#nextAvail;
  }

  /** The device will look at the queue by itself: the driver need not notify. A hint only. */
  disableNotify(): void {
    const ring = this.#ring;
    if (!ring || this.broken || this.features.eventIndex) return;
    ring.storeIndex(this.#usedOffset, USED_F_NO_NOTIFY);
    ring.written(this.#usedOffset, 2);
  }

  save(): { [field: string]: StateValue } {
    return {
      pfn: this.#pfn,
      msixVector: this.msixVector,
      broken: this.broken,
      nextAvail: this.#nextAvail,
      nextUsed: this.#nextUsed,
      signalledUsed: this.#signalledUsed,
      taken: [...this.#taken],
    };
  }

  /** Checks the fields and returns what makes them the state. Features are the device's to restore. */
  prepareRestore(fields: StateFields): () => void {
    const pfn = fields.integer('pfn', 0xffffffff);
    const msixVector = fields.integer('msixVector', 0xffff);
    const broken = fields.flag('broken');
    const nextAvail = fields.integer('nextAvail', 0xffff);
    const nextUsed = fields.integer('nextUsed', 0xffff);
    const signalledUsed = fields.integer('signalledUsed', 0xffff);
    const taken = fields.integers('taken', this.size, this.size - 1);
    return () => {
      this.broken = broken;
      this.setPfn(pfn);
      this.msixVector = msixVector;
      this.#nextAvail = nextAvail;
      this.#nextUsed = nextUsed;
      this.#signalledUsed = signalledUsed;
      for (const head of taken) this.#taken.add(head);
    };
  }

  /** Heads in flight, in the order in which they were taken. */
  takenHeads(): number[] {
    return [...this.#taken];
  }
}

/** A copy of an indirect table: it may lie at any address, and the driver may change it while the device reads. */
class IndirectTable implements DescriptorTable {
  readonly #view: DataView;

  constructor(memory: GuestMemory, gpa: number, lengthBytes: number) {
    const bytes = new Uint8Array(lengthBytes);
    memory.read(gpa, bytes);
    this.#view = new DataView(bytes.buffer);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): number {
    return this.#view.getUint32(offset + 4, true) * 2 ** 32 + this.#view.getUint32(offset, true);
  }
}
