/**
 * Guest memory that is larger than the pool: 2 MiB chunks that nobody has touched for a while go to a swap file and come back when they
 * are touched (docs/memory.md).
 *
 * A chunk may be taken away when it is _idle_: it was marked CHUNK_IDLE, all vCPUs have dropped their translations since, and nobody has
 * looked it up again (whoever does clears the mark). Everything here runs on the devices' thread; vCPUs ask for chunks through their
 * mailboxes, in the middle of an instruction, so an answer must not depend on the vCPU that asks. That is what the reserve is for: while fewer
 * chunks are ready, MEMORY_LOW keeps each vCPU that was given one at its next block boundary, where it holds no address.
 */
import {
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CHUNK_BUSY,
  CHUNK_CLEAN,
  CHUNK_COUNT,
  CHUNK_DEVICE,
  CHUNK_IDLE,
  CHUNK_OUT,
  CHUNK_RAM,
  CHUNK_READONLY,
  CHUNK_SIZE,
  CHUNKS,
  CODE_RING_SEQ,
  MEMORY_LOW,
  PAGE_CODE,
  PAGE_FLAGS,
  PEND_MEMORY,
  POOL_USED_CHUNKS,
  R_RING_SEEN,
} from '../../core-as/layout.ts';
import { WASM_PAGE_BYTES, poolBytes, vcpuBlock, type CoreExports, type CoreState, type MemoryPlan } from './core.ts';
import { SwapSlots, type SwapFile } from './swap-slots.ts';
import { isZero } from './zeros.ts';

const PAGES_A_CHUNK = CHUNK_SIZE / 4096;
/** Chunks that one vCPU may need in the middle of a block, and that all of them may need besides. */
const RESERVE_A_VCPU = 16;
const RESERVE = 32;
/** So much of the pool may the reserve be, and so much may devices hold on to. */
const RESERVE_SHARE = 4;
const PIN_SHARE = 4;

/** After so long without a chunk for anybody there will be none: the vCPUs hold all of them in the middle of their instructions. */
const PATIENCE_NS = 30e9;

/** {@link Pager.chunk} has nothing to give as long as some vCPU has not reached a block boundary. */
export const NOT_YET = -1;

/** A chunk's linear address is the entry without its low bits. */
function addressOf(entry: number): number {
  return (entry & ~0xfff) >>> 0;
}

export interface PagerOptions {
  readonly state: CoreState;
  readonly plan: MemoryPlan;
  readonly exports: Pick<CoreExports, 'flushAllVcpus' | 'dropChunkCode'>;
  readonly swap: SwapFile;
  /** The vCPU is not inside run(), and reads the code ring before it executes anything: it holds no address that it will use again. */
  readonly isOutside: (vcpu: number) => boolean;
  nowNs(): number;
  /** The swap file does not do what it should; the machine ends. */
  readonly failed: (message: string) => void;
}

/** Something that may be given out once every vCPU has seen the code ring up to a place. */
interface Announced {
  readonly sequence: number;
}
interface IdleChunk extends Announced {
  readonly index: number;
}
interface DroppedFrame extends Announced {
  readonly linear: number;
}

export interface PagerCounters {
  readonly evictions: number;
  readonly chunksBroughtIn: number;
  readonly chunksWritten: number;
  readonly rests: number;
}

export class Pager {
  readonly counters = { evictions: 0, chunksBroughtIn: 0, chunksWritten: 0, rests: 0 };
  readonly #state: CoreState;
  readonly #options: PagerOptions;
  readonly #slots: SwapSlots;
  readonly #endChunk: number;
  /** 2 MiB pieces of the pool that hold nothing. */
  #free: number[] = [];
  /** Pieces whose decoded code is being dropped. */
  #dropped: DroppedFrame[] = [];
  /** Chunks marked idle, the longest idle first; some may have been touched meanwhile. */
  #idle: IdleChunk[] = [];
  /** Where the next search for chunks begins. */
  #hand = 0;
  readonly #pins = new Map<number, number>();
  readonly #reserve: number;
  readonly #maxPins: number;
  #broken = false;
  /** When a request could not be answered first, of those that could not since. */
  #waitsSinceNs: number | undefined;

  constructor(options: PagerOptions) {
    const { state, plan } = options;
    this.#options = options;
    this.#state = state;
    this.#slots = new SwapSlots(options.swap);
    const frames = this.#poolChunks;
    this.#reserve = Math.min(RESERVE + RESERVE_A_VCPU * plan.vcpus, Math.floor(frames / RESERVE_SHARE));
    this.#maxPins = Math.floor(frames / PIN_SHARE);
    // vCPUs ask for the last chunks: the pager must know before they are used up.
    const ownBytes = Math.min(frames, 3 * this.#reserve) * CHUNK_SIZE;
    state.setU32(CFG_POOL_END_PAGES, plan.poolEndPages - ownBytes / WASM_PAGE_BYTES);
    const endGpa = plan.highBytes > 0 ? 0x1_0000_0000 + plan.highBytes : plan.lowBytes;
    this.#endChunk = Math.min(Math.ceil(endGpa / CHUNK_SIZE), CHUNK_COUNT);
  }

  get #poolChunks(): number {
    return Math.floor(poolBytes(this.#options.plan) / CHUNK_SIZE);
  }

  /** Chunks in the swap file alone, in order. */
  get outside(): number[] {
    return this.#slots.chunks.filter((index) => !this.resident(index));
  }

  /** Bytes of the pool that hold something. */
  get residentBytes(): number {
    return (this.#state.u32(POOL_USED_CHUNKS) - this.#free.length - this.#dropped.length) * CHUNK_SIZE;
  }

  get swappedBytes(): number {
    return this.outside.length * CHUNK_SIZE;
  }

  /** A chunk's linear address, 0 when it has none now. */
  resident(index: number): number {
    return addressOf(this.#entry(index));
  }

  #entry(index: number): number {
    return this.#state.u32(CHUNKS + index * 4);
  }

  #setEntry(index: number, entry: number): void {
    this.#state.setU32(CHUNKS + index * 4, entry);
  }

  #exchange(index: number, old: number, entry: number): boolean {
    return Atomics.compareExchange(this.#state.i32, (CHUNKS + index * 4) >> 2, old | 0, entry | 0) === (old | 0);
  }

  #view(linear: number): Uint8Array {
    return new Uint8Array(this.#state.memory.buffer, linear, CHUNK_SIZE);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Bringing in

  /**
   * The linear address of a chunk for a vCPU (-1: the devices' own instance of the core), which is brought in if it is not there. 0: there
   * is no room; NOT_YET: there will be.
   */
  chunk(index: number, vcpu: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= CHUNK_COUNT) return 0;
    const linear = this.#bringIn(index);
    this.balance();
    if (this.#low && vcpu >= 0) {
      this.counters.rests++;
      this.#state.kick(vcpu, PEND_MEMORY);
    }
    if (linear !== 0 || this.#broken) {
      this.#waitsSinceNs = undefined;
      return linear;
    }
    const nowNs = this.#options.nowNs();
    this.#waitsSinceNs ??= nowNs;
    return nowNs - this.#waitsSinceNs < PATIENCE_NS ? NOT_YET : 0;
  }

  /** The same for a device, which leaves the reserve to vCPUs: 0 when there is nothing else. */
  acquire(index: number): number {
    const linear = this.resident(index);
    if (linear !== 0) return linear;
    this.balance();
    return this.#low ? 0 : this.#bringIn(index);
  }

  #bringIn(index: number): number {
    const entry = this.#entry(index);
    if ((entry & CHUNK_RAM) === 0) return 0;
    if (addressOf(entry) !== 0) {
      this.touch(index);
      return addressOf(entry);
    }
    const linear = this.#takeFrame();
    if (linear === 0) return 0;
    const view = this.#view(linear);
    let saved: boolean;
    try {
      saved = this.#slots.read(index, 0, view);
    } catch (error) {
      this.#free.push(linear);
      return this.#fail('read', error);
    }
    const found = this.#settle(index, linear | CHUNK_RAM | (saved ? CHUNK_CLEAN : 0));
    if (found !== linear) this.#free.push(linear);
    else if (saved) this.counters.chunksBroughtIn++;
    return found;
  }

  /** Gives a chunk without an address its entry; returns the chunk's address, which a vCPU may just have given it. */
  #settle(index: number, entry: number): number {
    for (;;) {
      const old = this.#entry(index);
      if (addressOf(old) !== 0) return addressOf(old);
      // A vCPU is looking whether the pool has room; that takes it a few instructions.
      if ((old & CHUNK_BUSY) === 0 && this.#exchange(index, old, entry)) return addressOf(entry);
    }
  }

  #fail(what: string, error: unknown): 0 {
    if (!this.#broken) {
      this.#options.failed(`swap file: ${what} error: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#broken = true;
    return 0;
  }

  /** A piece of the pool to use; 0: none. What is in it does not matter. */
  #takeFrame(): number {
    const free = this.#free.pop() ?? this.#untouchedFrame() ?? this.#droppedFrame();
    if (free !== undefined) return free;
    for (let n = 0; n < this.#idle.length && !this.#broken;) {
      const chunk = this.#idle[n];
      if (!chunk || !this.#isSeen(chunk)) break;
      if (this.#pins.has(chunk.index)) {
        n++;
        continue;
      }
      this.#idle.splice(n, 1);
      const linear = this.#evict(chunk.index);
      if (linear === undefined) continue;
      if (!this.#dropCode(linear)) return linear;
      const dropped = this.#droppedFrame();
      if (dropped !== undefined) return dropped;
    }
    return 0;
  }

  /** The next piece of the pool that was never used, as the core takes them. */
  #untouchedFrame(): number | undefined {
    const { i32 } = this.#state;
    for (;;) {
      const number = this.#state.u32(POOL_USED_CHUNKS);
      if (number >= this.#poolChunks) return undefined;
      if (Atomics.compareExchange(i32, POOL_USED_CHUNKS >> 2, number, number + 1) !== number) continue;
      return this.#options.plan.poolStart + number * CHUNK_SIZE;
    }
  }

  #droppedFrame(): number | undefined {
    const first = this.#dropped[0];
    if (!first || !this.#isSeen(first)) return undefined;
    this.#dropped.shift();
    return first.linear;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Taking away

  /** Every vCPU has done what the code ring asked for up to there. */
  #isSeen({ sequence }: Announced): boolean {
    const count = this.#state.u32(CFG_NCPUS);
    for (let vcpu = 0; vcpu < count; vcpu++) {
      if (((this.#state.u32(vcpuBlock(vcpu) + R_RING_SEEN) - sequence) | 0) >= 0) continue;
      if (!this.#options.isOutside(vcpu)) return false;
    }
    return true;
  }

  #isIdle(index: number): boolean {
    return (this.#entry(index) & CHUNK_IDLE) !== 0;
  }

  /** Takes an idle chunk out of the pool; returns its place there, undefined when somebody has touched it. */
  #evict(index: number): number | undefined {
    const entry = this.#entry(index);
    const linear = addressOf(entry);
    if (linear === 0 || (entry & CHUNK_IDLE) === 0) return undefined;
    if (!this.#exchange(index, entry, CHUNK_RAM | CHUNK_OUT)) return undefined;
    // From here on whoever touches the chunk asks this thread for it.
    this.counters.evictions++;
    if ((entry & CHUNK_CLEAN) !== 0) return linear;
    const view = this.#view(linear);
    if (isZero(view)) {
      this.#slots.release(index);
      this.#setEntry(index, CHUNK_RAM);
      return linear;
    }
    try {
      this.#slots.write(index, 0, view);
      this.counters.chunksWritten++;
    } catch (error) {
      this.#setEntry(index, entry);
      this.#fail('write', error);
      return undefined;
    }
    return linear;
  }

  #hasCode(linear: number): boolean {
    const words = new Uint32Array(this.#state.memory.buffer, PAGE_FLAGS + linear / 4096, PAGES_A_CHUNK / 4);
    return words.some((word) => (word & (PAGE_CODE * 0x01010101)) !== 0);
  }

  /** Has all vCPUs drop decoded code of a piece of the pool, which may be used again once they have. False when there is none. */
  #dropCode(linear: number): boolean {
    if (this.#options.exports.dropChunkCode(linear) === 0) return false;
    this.#dropped.push({ linear, sequence: this.#state.u32(CODE_RING_SEQ) });
    return true;
  }

  /**
   * Keeps chunks ready: marks more of them idle when there are few, and says in MEMORY_LOW when there are too few. Called whenever one was
   * given out, and by the devices' thread at its turns.
   */
  balance(): void {
    this.#refill();
    const empty = this.#empty();
    this.#setLow(empty < (this.#low ? this.#refilled : this.#reserve));
    const ready = empty + this.#idleAndSeen();
    if (ready < 2 * this.#reserve) this.#makeReady(3 * this.#reserve - ready);
  }

  /** A request could not be answered, and has to be looked at again without anybody asking. */
  get waiting(): boolean {
    return this.#waitsSinceNs !== undefined && !this.#broken;
  }

  /** So many pieces hold nothing after {@link #refill}, if there are enough chunks that may go. */
  get #refilled(): number {
    return Math.ceil(1.25 * this.#reserve);
  }

  /**
   * Takes chunks away before anybody needs their places. Idle ones are no reserve: a guest that goes through its memory in the order in which the hand does
   * touches one after the other, which nobody hears of, and would then wait in the middle of an instruction for a chunk that only its own next block
   * boundary can make ready.
   */
  #refill(): void {
    for (let n = 0; n < this.#idle.length && !this.#broken && this.#empty() < this.#refilled;) {
      const chunk = this.#idle[n];
      if (!chunk || !this.#isSeen(chunk)) return;
      if (this.#pins.has(chunk.index)) {
        n++;
        continue;
      }
      this.#idle.splice(n, 1);
      const linear = this.#evict(chunk.index);
      if (linear !== undefined && !this.#dropCode(linear)) this.#free.push(linear);
    }
  }

  /** Something to do at the next turn, too. */
  get busy(): boolean {
    return this.#low;
  }

  get #low(): boolean {
    return this.#state.u32(MEMORY_LOW) !== 0;
  }

  #setLow(low: boolean): void {
    if (low === this.#low) return;
    this.#state.setU32(MEMORY_LOW, low ? 1 : 0);
    if (low) return;
    const count = this.#state.u32(CFG_NCPUS);
    for (let vcpu = 0; vcpu < count; vcpu++) this.#state.kick(vcpu, PEND_MEMORY);
  }

  /** Pieces of the pool that hold nothing and could be given out at once. */
  #empty(): number {
    const untouched = Math.max(0, this.#poolChunks - this.#state.u32(POOL_USED_CHUNKS));
    let empty = untouched + this.#free.length;
    for (const frame of this.#dropped) if (this.#isSeen(frame)) empty++;
    return empty;
  }

  /** Chunks that could be taken away at once, unless somebody touches them first. */
  #idleAndSeen(): number {
    let ready = 0;
    let seen: number | undefined;
    for (const chunk of this.#idle) {
      // Those of one announcement lie together.
      if (chunk.sequence !== seen && !this.#isSeen(chunk)) break;
      seen = chunk.sequence;
      if (!this.#isIdle(chunk.index) || this.#pins.has(chunk.index)) continue;
      if (!this.#hasCode(this.resident(chunk.index))) ready++;
    }
    return ready;
  }

  #makeReady(count: number): void {
    // One announcement at a time: a second one would only find what the first has found.
    const last = this.#idle.at(-1);
    if (last && !this.#isSeen(last)) return;
    this.#idle = this.#idle.filter(({ index }) => this.#isIdle(index));
    let left = count - this.#dropped.length;
    // Code takes two announcements, so it begins early.
    for (const { index } of this.#idle.slice(0, Math.max(0, left))) {
      if (this.#pins.has(index) || !this.#hasCode(this.resident(index))) continue;
      const linear = this.#evict(index);
      if (linear === undefined) continue;
      left--;
      if (!this.#dropCode(linear)) this.#free.push(linear);
    }
    this.#markIdle(left);
  }

  #markIdle(count: number): void {
    const marked: number[] = [];
    for (let looked = 0; looked < this.#endChunk && marked.length < count; looked++) {
      const index = this.#hand;
      this.#hand = (this.#hand + 1) % this.#endChunk;
      const entry = this.#entry(index);
      const mayGo = (entry & (CHUNK_RAM | CHUNK_READONLY | CHUNK_DEVICE | CHUNK_IDLE)) === CHUNK_RAM;
      if (!mayGo || addressOf(entry) === 0 || this.#pins.has(index)) continue;
      if (this.#exchange(index, entry, entry | CHUNK_IDLE)) marked.push(index);
    }
    if (marked.length === 0) return;
    this.#options.exports.flushAllVcpus();
    const sequence = this.#state.u32(CODE_RING_SEQ);
    for (const index of marked) this.#idle.push({ index, sequence });
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Devices

  /** A device uses the chunk: it is no longer idle. */
  touch(index: number): void {
    Atomics.and(this.#state.i32, (CHUNKS + index * 4) >> 2, ~CHUNK_IDLE);
  }

  /** A device changes, or may change, the chunk. */
  dirty(index: number): void {
    Atomics.and(this.#state.i32, (CHUNKS + index * 4) >> 2, ~(CHUNK_IDLE | CHUNK_CLEAN));
  }

  /** The chunk may be pinned: devices do not hold too many. */
  mayPin(index: number): boolean {
    return this.#pins.has(index) || this.#pins.size < this.#maxPins;
  }

  /** The chunk stays where it is until it was unpinned as often. */
  pin(index: number): void {
    this.#pins.set(index, (this.#pins.get(index) ?? 0) + 1);
    this.dirty(index);
  }

  unpin(index: number): void {
    const left = (this.#pins.get(index) ?? 0) - 1;
    if (left > 0) this.#pins.set(index, left);
    else this.#pins.delete(index);
  }

  /** Reads bytes of a chunk that has no place in the pool. */
  readOutside(index: number, offset: number, into: Uint8Array): void {
    try {
      this.#slots.read(index, offset, into);
    } catch (error) {
      this.#fail('read', error);
    }
  }

  /** Changes bytes of a chunk that has no place in the pool. False: it has got one. */
  writeOutside(index: number, offset: number, from: Uint8Array): boolean {
    if (this.#settle(index, CHUNK_RAM | CHUNK_OUT) !== 0) return false;
    try {
      this.#slots.write(index, offset, from);
    } catch (error) {
      this.#fail('write', error);
    }
    return true;
  }

  close(): void {
    this.#slots.close();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Snapshots: the machine stands still

  /** Makes pieces of the pool that hold nothing zeros. */
  scrub(): void {
    for (const linear of [...this.#free, ...this.#dropped.map((frame) => frame.linear)]) this.#view(linear).fill(0);
  }

  /** Nothing of guest memory is in the swap file any more: the chunk table is about to be replaced. */
  forget(): void {
    for (const chunk of this.#slots.chunks) this.#slots.release(chunk);
    this.#idle = [];
    this.#dropped = [];
    this.#free = [];
  }

  /** The chunk table was replaced: takes stock of the pool. `reserved` says which pieces belong to devices. */
  takeStock(reserved: (linear: number) => boolean): void {
    const taken = new Set<number>();
    for (let index = 0; index < CHUNK_COUNT; index++) taken.add(this.resident(index));
    const used = this.#state.u32(POOL_USED_CHUNKS);
    for (let number = 0; number < used; number++) {
      const linear = this.#options.plan.poolStart + number * CHUNK_SIZE;
      if (!taken.has(linear) && !reserved(linear)) this.#free.push(linear);
    }
    this.balance();
  }
}
