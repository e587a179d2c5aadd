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

/** Where a queue's three parts lie, each a guest-physical address as its low and high 32 bits. */
export interface QueuePlace {
  readonly desc: readonly [low: number, high: number];
  readonly avail: readonly [low: number, high: number];
  readonly used: readonly [low: number, high: number];
}

const NOWHERE: QueuePlace = { desc: [0, 0], avail: [0, 0], used: [0, 0] };

/** The three parts in guest memory, while the driver has placed them. */
interface Rings {
  readonly desc: RingMemory;
  readonly avail: RingMemory;
  readonly used: RingMemory;
}

export class VirtQueue {
  /** What the device offers; the driver of a modern transport may use less. */
  readonly maxSize: number;
  /** MSI-X vector, or 0xFFFF for none. */
  msixVector = 0xffff;
  features: RingFeatures = NO_FEATURES;
  /** The driver's ring made no sense; only a reset helps. */
  broken = false;
  readonly #memory: GuestMemory;
  /** From the first request with one on. */
  #indirect: IndirectTable | undefined;
  readonly #onBroken: (problem: string) => void;
  readonly #mayAccess: () => boolean;
  #size: number;
  /** Page number of the legacy ring; 0: none, or placed by a modern driver. */
  #pfn = 0;
  #place = NOWHERE;
  #rings: Rings | undefined;
  /** Next entry of the available ring to take, modulo 2^16. */
  #nextAvail = 0;
  /** Next entry of the used ring to fill, modulo 2^16. */
  #nextUsed = 0;
  /** What the used ring's index says. */
  #published = 0;
  /** Used index at the last decision about an interrupt. */
  #signalledUsed = 0;
  /** Heads that were taken and not given back. */
  readonly #taken = new Set<number>();

  /** `mayAccess`: whether the function may touch guest memory at present (bus mastering); the queue rests while it may not. */
  constructor(
    memory: GuestMemory,
    size: number,
    onBroken: (problem: string) => void,
    mayAccess: () => boolean = (): boolean => true,
  ) {
    if (size < 1 || size > 32768 || (size & (size - 1)) !== 0) throw new RangeError(`queue size ${size}`);
    this.#memory = memory;
    this.maxSize = size;
    this.#size = size;
    this.#onBroken = onBroken;
    this.#mayAccess = mayAccess;
  }

  /** Entries of the rings. */
  get size(): number {
    return this.#size;
  }

  get pfn(): number {
    return this.#pfn;
  }

  /** Requests that were taken and not given back. */
  get inFlight(): number {
    return this.#taken.size;
  }

  /** The driver has placed the rings. */
  get enabled(): boolean {
    return this.#rings !== undefined;
  }

  get ready(): boolean {
    return this.#rings !== undefined && !this.broken && this.#mayAccess();
  }

  get place(): QueuePlace {
    return this.#place;
  }

  /** Part of an address, before the queue is enabled (virtio 1.0, 4.1.4.3). */
  setPlace(part: keyof QueuePlace, low: number | undefined, high: number | undefined): void {
    if (this.#rings) return;
    const [oldLow, oldHigh] = this.#place[part];
    this.#place = { ...this.#place, [part]: [low ?? oldLow, high ?? oldHigh] };
  }

  /** The driver wants smaller rings; what is no power of two, or more than was offered, is ignored. */
  resize(size: number): void {
    if (this.#rings || size < 1 || size > this.maxSize || (size & (size - 1)) !== 0) return;
    this.#size = size;
  }

  /** The driver has placed the three parts and hands the queue over. */
  enable(): void {
    if (this.#rings) return;
    this.#start();
    this.#mapRings();
  }

  /** The driver places a legacy ring (page number), or takes it away (0). Indices start from zero. */
  setPfn(pfn: number): void {
    this.#pfn = pfn;
    this.#start();
    this.#releaseRings();
    this.#place = NOWHERE;
    if (pfn === 0) return;
    const desc = pfn * 2 ** PFN_SHIFT;
    const avail = desc + this.size * DESCRIPTOR_BYTES;
    const used = Math.ceil((avail + 6 + 2 * this.size) / RING_ALIGN_BYTES) * RING_ALIGN_BYTES;
    this.#place = { desc: split(desc), avail: split(avail), used: split(used) };
    this.#mapRings();
  }

  #start(): void {
    this.#nextAvail = 0;
    this.#nextUsed = 0;
    this.#published = 0;
    this.#signalledUsed = 0;
    this.#taken.clear();
  }

  // Layout of the parts (virtio 1.0, 2.4).
  get #usedEventOffset(): number {
    return 4 + 2 * this.#size;
  }

  get #availEventOffset(): number {
    return 4 + USED_ELEMENT_BYTES * this.#size;
  }

  #releaseRings(): void {
    if (this.#rings) for (const ring of Object.values(this.#rings) as RingMemory[]) ring.release();
    this.#rings = undefined;
  }

  #mapRings(): void {
    const mapped: RingMemory[] = [];
    const map = (part: keyof QueuePlace, lengthBytes: number, alignment: number): RingMemory => {
      const [low, high] = this.#place[part];
      if (low % alignment !== 0) throw new RingError(`the ${part} ring is not aligned`);
      const ring = new RingMemory(this.#memory, high * 2 ** 32 + low, lengthBytes);
      mapped.push(ring);
      return ring;
    };
    try {
      this.#rings = {
        desc: map('desc', this.#size * DESCRIPTOR_BYTES, 16),
        avail: map('avail', this.#usedEventOffset + 2, 2),
        used: map('used', this.#availEventOffset + 2, 4),
      };
    } catch (error) {
      for (const ring of mapped) ring.release();
      if (error instanceof RingError) this.#break(error.message);
      else if (error instanceof GuestAddressError) this.#break('rings are not in guest memory');
      else throw error;
    }
  }

  reset(): void {
    this.broken = false;
    this.msixVector = 0xffff;
    this.features = NO_FEATURES;
    this.#size = this.maxSize;
    this.setPfn(0);
  }

  #break(problem: string): void {
    if (this.broken) return;
    this.broken = true;
    this.#onBroken(problem);
  }

  /** Takes the next request, or returns undefined when there is none or the queue is broken. */
  pop(): Chain | undefined {
    const rings = this.#rings;
    if (!rings || !this.ready) return undefined;
    try {
      return this.#pop(rings);
    } catch (error) {
      if (error instanceof RingError) this.#break(error.message);
      else if (error instanceof GuestAddressError) this.#break('an indirect table is not in guest memory');
      else throw error;
      return undefined;
    }
  }

  #pop({ desc, avail }: Rings): Chain | undefined {
    const pending = (avail.loadIndex(2) - this.#nextAvail) & 0xffff;
    if (pending === 0) return undefined;
    if (pending > this.size) throw new RingError(`ndesc (${pending}) out of range, driver confused?`);
    const head = avail.u16(4 + 2 * (this.#nextAvail % this.size));
    if (this.#taken.has(head)) throw new RingError(`descriptor ${head} made available twice, driver confused?`);
    const chain = this.#readChain(desc, head);
    this.#taken.add(head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    return chain;
  }

  /** Reads a chain again, for a request that was in flight when a snapshot was taken. */
  reread(head: number): Chain | undefined {
    const rings = this.#rings;
    if (!rings || !this.ready || !this.#taken.has(head)) return undefined;
    try {
      return this.#readChain(rings.desc, head);
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
    const table = (this.#indirect ??= new IndirectTable(this.#memory));
    table.load(gpa, lengthBytes);
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
    if (!this.fill(head, writtenBytes)) return false;
    this.publish();
    return true;
  }

  /**
   * The first half of {@link push}: the driver does not see the request until {@link publish}. A frame in several buffers has to become visible
   * whole (virtio 1.2, 5.1.6.4): a driver that polls would miss its other buffers.
   */
  fill(head: number, writtenBytes: number): boolean {
    const used = this.#rings?.used;
    if (!this.#taken.delete(head) || !used || !this.ready) return false;
    const element = 4 + USED_ELEMENT_BYTES * (this.#nextUsed % this.size);
    used.setU32(element, head);
    used.setU32(element + 4, writtenBytes);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    return true;
  }

  /** Shows the driver everything that was filled. */
  publish(): void {
    const used = this.#rings?.used;
    if (!used || !this.ready) return;
    used.storeIndex(2, this.#nextUsed);
    let count = (this.#nextUsed - this.#published) & 0xffff;
    for (let first = this.#published; count > 0;) {
      const index = first % this.size;
      const run = Math.min(count, this.size - index);
      used.written(4 + USED_ELEMENT_BYTES * index, USED_ELEMENT_BYTES * run);
      first += run;
      count -= run;
    }
    used.written(0, 4);
    this.#published = this.#nextUsed;
  }

  /** Whether the driver wants an interrupt for what was given back since the last call (virtio 1.0, 2.4.7). */
  takeInterrupt(): boolean {
    const avail = this.#rings?.avail;
    if (!avail || !this.ready) return false;
    const before = this.#signalledUsed;
    this.#signalledUsed = this.#nextUsed;
    if (before === this.#nextUsed) return false;
    if (this.features.notifyOnEmpty && this.#nextAvail === avail.loadIndex(2)) return true;
    if (!this.features.eventIndex) return (avail.loadIndex(0) & AVAIL_F_NO_INTERRUPT) === 0;
    const event = avail.loadIndex(this.#usedEventOffset);
    return ((this.#nextUsed - event - 1) & 0xffff) < ((this.#nextUsed - before) & 0xffff);
  }

  /**
   * The device found the queue empty and wants to hear of the next request. True when one has come meanwhile: the caller looks again.
   */
  enableNotify(): boolean {
    const rings = this.#rings;
    if (!rings || !this.ready) return false;
    const { avail, used } = rings;
    const at = this.features.eventIndex ? this.#availEventOffset : 0;
    used.storeIndex(at, this.features.eventIndex ? this.#nextAvail : 0);
    used.written(at, 2);
    return avail.loadIndex(2) !== this.#nextAvail;
  }

  /** The device will look at the queue by itself: the driver need not notify. A hint only. */
  disableNotify(): void {
    const used = this.#rings?.used;
    if (!used || !this.ready || this.features.eventIndex) return;
    used.storeIndex(0, USED_F_NO_NOTIFY);
    used.written(0, 2);
  }

  save(): { [field: string]: StateValue } {
    return {
      pfn: this.#pfn,
      size: this.#size,
      enabled: this.enabled,
      place: [...this.#place.desc, ...this.#place.avail, ...this.#place.used],
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
    const size = fields.integer('size', this.maxSize);
    const enabled = fields.flag('enabled');
    const [descLow = 0, descHigh = 0, availLow = 0, availHigh = 0, usedLow = 0, usedHigh = 0] = fields.integers(
      'place',
      6,
      0xffffffff,
    );
    const msixVector = fields.integer('msixVector', 0xffff);
    const broken = fields.flag('broken');
    const nextAvail = fields.integer('nextAvail', 0xffff);
    const nextUsed = fields.integer('nextUsed', 0xffff);
    const signalledUsed = fields.integer('signalledUsed', 0xffff);
    const taken = fields.integers('taken', this.maxSize, this.maxSize - 1);
    return () => {
      this.broken = broken;
      this.setPfn(pfn);
      this.resize(size);
      if (pfn === 0) {
        this.#place = { desc: [descLow, descHigh], avail: [availLow, availHigh], used: [usedLow, usedHigh] };
        if (enabled) this.enable();
      }
      this.msixVector = msixVector;
      this.#nextAvail = nextAvail;
      this.#nextUsed = nextUsed;
      this.#published = nextUsed;
      this.#signalledUsed = signalledUsed;
      for (const head of taken) this.#taken.add(head);
    };
  }

  /** Heads in flight, in the order in which they were taken. */
  takenHeads(): number[] {
    return [...this.#taken];
  }
}

function split(gpa: number): readonly [low: number, high: number] {
  return [gpa % 2 ** 32, Math.floor(gpa / 2 ** 32)];
}

/** The copy of an indirect table: it may lie at any address, and the driver may change it while the device reads. One for all requests of a queue. */
class IndirectTable implements DescriptorTable {
  readonly #bytes = new Uint8Array(MAX_CHAIN_DESCRIPTORS * DESCRIPTOR_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(private readonly memory: GuestMemory) {}

  /** Copies a table of at most {@link MAX_CHAIN_DESCRIPTORS}. */
  load(gpa: number, lengthBytes: number): void {
    this.memory.read(gpa, this.#bytes.subarray(0, lengthBytes));
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
