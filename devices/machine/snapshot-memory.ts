/**
 * Guest memory in a snapshot: which chunk of the pool holds which part of guest-physical memory, a map of the pages that hold anything but
 * zeros, and those pages. The used part of the pool comes first, in its order, then the chunks that are in the swap file (pager.ts). Pages go
 * through one small buffer in both directions: a snapshot takes no memory worth mentioning beside the guest's.
 */
import {
  CHUNK_DEVICE,
  CHUNK_OUT,
  CHUNK_RAM,
  CHUNK_READONLY,
  CHUNKS,
  CHUNK_COUNT,
  CHUNK_SIZE,
  POOL_USED_CHUNKS,
} from '../../core-as/layout.ts';
import { SnapshotError, type SnapshotSink, type SnapshotSource } from '../snapshot.ts';
import { poolBytes, type CoreState, type MemoryPlan } from './core.ts';
import type { Pager } from './pager.ts';
import { isZero } from './zeros.ts';

const PAGE_BYTES = 4096;
const PAGES_A_CHUNK = CHUNK_SIZE / PAGE_BYTES;
/** What is read or written at once. */
const BUFFER_BYTES = 1024 * 1024;
/** CHUNK_* bits of an entry of the chunk table; the rest is the chunk's address. */
const CHUNK_FLAGS = 0xfff;
/** What a chunk is; other bits say what is being done with it. */
const KIND_FLAGS = CHUNK_RAM | CHUNK_READONLY | CHUNK_DEVICE;
export const CHUNK_TABLE_BYTES = CHUNK_COUNT * 4;

/** The machine whose memory it is. */
export interface MemoryOwner {
  readonly state: CoreState;
  readonly plan: MemoryPlan;
  readonly pager: Pager | undefined;
}

/** A bit for each page of so many chunks, the lowest page in bit 0 of byte 0. */
export function pageMapBytes(chunks: number): number {
  return (chunks * PAGES_A_CHUNK) / 8;
}

/** The chunk table as a snapshot keeps it. */
export function chunkTable({ state }: MemoryOwner): Uint8Array {
  const table = new Uint32Array(state.memory.buffer, CHUNKS, CHUNK_COUNT).slice();
  for (let chunk = 0; chunk < CHUNK_COUNT; chunk++) {
    table[chunk] = (table[chunk] ?? 0) & (~CHUNK_FLAGS | KIND_FLAGS);
  }
  return new Uint8Array(table.buffer);
}

/** The chunks that a snapshot holds, by their number in it: the used part of the pool, and then those in the swap file. */
export class SavedChunks {
  readonly count: number;
  readonly #usedChunks: number;
  readonly #scratch = new Uint8Array(CHUNK_SIZE);

  constructor(
    private readonly owner: MemoryOwner,
    private readonly outside: readonly number[],
  ) {
    owner.pager?.scrub();
    this.#usedChunks = owner.state.u32(POOL_USED_CHUNKS);
    this.count = this.#usedChunks + outside.length;
  }

  /** The bytes, until the next call. */
  bytes(number: number): Uint8Array {
    const { state, plan, pager } = this.owner;
    if (number < this.#usedChunks) {
      return new Uint8Array(state.memory.buffer, plan.poolStart + number * CHUNK_SIZE, CHUNK_SIZE);
    }
    pager?.readOutside(this.outside[number - this.#usedChunks] ?? 0, 0, this.#scratch);
    return this.#scratch;
  }
}

/** Which pages hold anything. */
export function mapPages(chunks: SavedChunks): Uint8Array {
  const map = new Uint8Array(pageMapBytes(chunks.count));
  for (let chunk = 0; chunk < chunks.count; chunk++) {
    const bytes = chunks.bytes(chunk);
    for (let page = 0; page < PAGES_A_CHUNK; page++) {
      const byte = (chunk * PAGES_A_CHUNK + page) >> 3;
      if (!isZero(bytes, page * PAGE_BYTES, PAGE_BYTES)) map[byte] = (map[byte] ?? 0) | (1 << (page & 7));
    }
  }
  return map;
}

export function countPages(map: Uint8Array): number {
  let count = 0;
  for (const byte of map) for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
  return count;
}

/** Neighbouring pages of one chunk. */
interface Run {
  readonly chunk: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** The map's runs of pages, none longer than the buffer. */
function* runs(map: Uint8Array): Generator<Run> {
  const chunks = (map.length * 8) / PAGES_A_CHUNK;
  for (let chunk = 0; chunk < chunks; chunk++) {
    let first = 0;
    let count = 0;
    const run = (): Run => ({ chunk, offset: first * PAGE_BYTES, lengthBytes: count * PAGE_BYTES });
    for (let page = 0; page < PAGES_A_CHUNK; page++) {
      const present = ((map[(chunk * PAGES_A_CHUNK + page) >> 3] ?? 0) >> (page & 7)) & 1;
      if (present && count === 0) first = page;
      if (present) count++;
      if (count > 0 && (!present || count * PAGE_BYTES === BUFFER_BYTES)) {
        yield run();
        count = 0;
      }
    }
    if (count > 0) yield run();
  }
}

/** Writes the map's pages. */
export async function writePages(chunks: SavedChunks, map: Uint8Array, sink: SnapshotSink): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let filled = 0;
  let chunk = -1;
  let bytes: Uint8Array = buffer;
  for (const run of runs(map)) {
    if (filled + run.lengthBytes > buffer.length) {
      await sink.write(buffer.subarray(0, filled));
      filled = 0;
    }
    if (run.chunk !== chunk) bytes = chunks.bytes(run.chunk);
    chunk = run.chunk;
    buffer.set(bytes.subarray(run.offset, run.offset + run.lengthBytes), filled);
    filled += run.lengthBytes;
  }
  if (filled > 0) await sink.write(buffer.subarray(0, filled));
}

/**
 * Where chunks of a snapshot go in this machine: to their places in the pool as far as it reaches, and then to the swap file, or to the rest
 * of the pool when there is none.
 */
export class RestoredChunks {
  /** By number in the snapshot: linear addresses. */
  readonly #linear = new Map<number, number>();
  /** By number in the snapshot: chunks of guest memory that go to the swap file. */
  readonly #outside = new Map<number, number>();

  /** `table` is checked. Throws SnapshotError when there is no room; nothing is changed. */
  constructor(
    private readonly owner: MemoryOwner,
    private readonly table: Uint8Array,
    usedChunks: number,
    outside: readonly number[],
  ) {
    const { plan, pager } = owner;
    const poolChunks = Math.floor(poolBytes(plan) / CHUNK_SIZE);
    const inPool = Math.min(usedChunks, poolChunks);
    for (let number = 0; number < inPool; number++) this.#linear.set(number, plan.poolStart + number * CHUNK_SIZE);
    const owners = chunksByNumber(table, plan);
    let next = inPool;
    for (let number = inPool; number < usedChunks + outside.length; number++) {
      const chunk = number < usedChunks ? owners.get(number) : outside[number - usedChunks];
      // A piece of the pool that is no part of guest memory, now: a device's, or an unused one, which holds nothing.
      if (chunk === undefined) continue;
      if (pager) this.#outside.set(number, chunk);
      else if (next < poolChunks) this.#linear.set(number, plan.poolStart + next++ * CHUNK_SIZE);
      else {
        throw new SnapshotError('the snapshot holds more memory than this machine has room for', 'memory');
      }
    }
    this.usedChunks = next;
    const entries = this.#entries;
    for (let number = usedChunks; number < usedChunks + outside.length; number++) {
      const linear = this.#linear.get(number);
      const chunk = outside[number - usedChunks];
      if (linear !== undefined && chunk !== undefined) entries[chunk] = linear | CHUNK_RAM;
    }
    for (const chunk of this.#outside.values()) entries[chunk] = CHUNK_RAM | CHUNK_OUT;
  }

  /** What the pool has in use then. */
  readonly usedChunks: number;

  get #entries(): Uint32Array {
    return new Uint32Array(this.table.buffer, this.table.byteOffset, CHUNK_COUNT);
  }

  store({ chunk, offset }: Run, bytes: Uint8Array): void {
    const linear = this.#linear.get(chunk);
    const outside = this.#outside.get(chunk);
    if (linear !== undefined) {
      new Uint8Array(this.owner.state.memory.buffer, linear + offset, bytes.length).set(bytes);
    } else if (outside !== undefined) this.owner.pager?.writeOutside(outside, offset, bytes);
  }
}

/** Which chunk of guest memory lies in which piece of the pool. */
function chunksByNumber(table: Uint8Array, plan: MemoryPlan): Map<number, number> {
  const found = new Map<number, number>();
  const entries = new Uint32Array(table.buffer, table.byteOffset, CHUNK_COUNT);
  for (const [chunk, entry] of entries.entries()) {
    const linear = entry - (entry & CHUNK_FLAGS);
    if (linear !== 0 && (entry & KIND_FLAGS) === CHUNK_RAM) found.set((linear - plan.poolStart) / CHUNK_SIZE, chunk);
  }
  return found;
}

/** Reads the map's pages into memory that is all zeros elsewhere. */
export async function readPages(chunks: RestoredChunks, map: Uint8Array, source: SnapshotSource): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let waiting: Run[] = [];
  let waitingBytes = 0;
  const readWaiting = async (): Promise<void> => {
    await source.read(buffer.subarray(0, waitingBytes));
    let at = 0;
    for (const run of waiting) {
      chunks.store(run, buffer.subarray(at, at + run.lengthBytes));
      at += run.lengthBytes;
    }
    waiting = [];
    waitingBytes = 0;
  };
  for (const run of runs(map)) {
    if (waitingBytes + run.lengthBytes > buffer.length) await readWaiting();
    waiting.push(run);
    waitingBytes += run.lengthBytes;
  }
  await readWaiting();
}

/**
 * Checks a chunk table against the machine's own: the same parts of guest-physical memory are RAM or ROM, every address is that of another
 * chunk of the used part of a pool, and what is outside has none. A table with any other address would show the guest the emulator's own
 * state. Returns the table to put in place: memory of devices is where this machine has it, until the restored BARs move it.
 */
export function checkChunkTable(
  owner: MemoryOwner,
  saved: Uint8Array,
  usedChunks: number,
  outside: readonly number[],
): Uint8Array {
  const { state, plan, pager } = owner;
  const ownPoolBytes = poolBytes(plan);
  const entries = new Uint32Array(saved.slice().buffer);
  const ownEntries = new Uint32Array(state.memory.buffer, CHUNKS, CHUNK_COUNT);
  const damaged = (): SnapshotError =>
    new SnapshotError("the snapshot's map of guest memory does not fit this machine", 'memory');
  // What this machine's pool has no room for goes to its swap file.
  const largestPoolBytes = pager ? 2 ** 32 - plan.poolStart : ownPoolBytes;
  if (usedChunks * CHUNK_SIZE > largestPoolBytes) throw damaged();
  const taken = new Set<number>();
  const take = (entry: number): void => {
    const number = (entry - (entry & CHUNK_FLAGS) - plan.poolStart) / CHUNK_SIZE;
    if (!Number.isInteger(number) || number < 0 || number >= usedChunks || taken.has(number)) throw damaged();
    // What is no plain RAM has to be where the core looks for it.
    if ((entry & KIND_FLAGS) !== CHUNK_RAM && (number + 1) * CHUNK_SIZE > ownPoolBytes) throw damaged();
    taken.add(number);
  };
  const isDevice = (entry: number): boolean => (entry & CHUNK_DEVICE) !== 0;
  for (const own of ownEntries) if (isDevice(own)) take(own);
  for (let chunk = 0; chunk < CHUNK_COUNT; chunk++) {
    const [entry, own] = [entries[chunk] ?? 0, ownEntries[chunk] ?? 0].map((either) => (isDevice(either) ? 0 : either));
    if (entry === undefined || own === undefined || (entry & CHUNK_FLAGS) !== (own & KIND_FLAGS)) throw damaged();
    const linear = entry - (entry & CHUNK_FLAGS);
    if (linear !== 0 && (entry & CHUNK_FLAGS) === 0) throw damaged();
    if (linear !== 0) take(entry);
    entries[chunk] = isDevice(ownEntries[chunk] ?? 0) ? (ownEntries[chunk] ?? 0) : entry;
  }
  const seen = new Set<number>();
  for (const chunk of outside) {
    if (entries[chunk] !== CHUNK_RAM || seen.has(chunk)) throw damaged();
    seen.add(chunk);
  }
  return new Uint8Array(entries.buffer);
}
