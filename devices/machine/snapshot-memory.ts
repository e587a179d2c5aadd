/**
 * Guest memory in a snapshot: which chunk of the pool holds which part of guest-physical memory, a map of the pool's pages that
 * hold anything but zeros, and those pages in the order of the pool. Pages go through one small buffer in both
 * directions: a snapshot takes no memory worth mentioning beside the guest's.
 */
import { CHUNKS, CHUNK_COUNT, CHUNK_DEVICE, CHUNK_SIZE, POOL_USED_CHUNKS } from '../../core-as/layout.ts';
import { SnapshotError, type SnapshotSink, type SnapshotSource } from '../snapshot.ts';
import type { CoreState, MemoryPlan } from './core.ts';

const PAGE_BYTES = 4096;
const PAGES_A_CHUNK = CHUNK_SIZE / PAGE_BYTES;
/** What is read or written at once. */
const BUFFER_BYTES = 1024 * 1024;
/** CHUNK_* bits of an entry of the chunk table; the rest is the chunk's address. */
const CHUNK_FLAGS = 0xfff;
export const CHUNK_TABLE_BYTES = CHUNK_COUNT * 4;

/** A bit for each page of the pool's used part, the lowest page in bit 0 of byte 0. */
export function pageMapBytes(usedChunks: number): number {
  return (usedChunks * PAGES_A_CHUNK) / 8;
}

function isZero(words: Int32Array): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}

/** Which pages of the used part of the pool hold anything. */
export function mapPages(state: CoreState, plan: MemoryPlan): Uint8Array {
  const map = new Uint8Array(pageMapBytes(state.u32(POOL_USED_CHUNKS)));
  for (let page = 0; page < map.length * 8; page++) {
    const words = new Int32Array(state.memory.buffer, plan.poolStart + page * PAGE_BYTES, PAGE_BYTES / 4);
    const byte = page >> 3;
    if (!isZero(words)) map[byte] = (map[byte] ?? 0) | (1 << (page & 7));
  }
  return map;
}

export function countPages(map: Uint8Array): number {
  let count = 0;
  for (const byte of map) for (let bits = byte; bits !== 0; bits &= bits - 1) count++;
  return count;
}

/** Runs of pages in the map as linear addresses and lengths in bytes, none longer than the buffer. */
function* runs(map: Uint8Array, poolStart: number): Generator<readonly [linear: number, lengthBytes: number]> {
  let first = 0;
  let count = 0;
  for (let page = 0; page < map.length * 8; page++) {
    const present = ((map[page >> 3] ?? 0) >> (page & 7)) & 1;
    if (present && count === 0) first = page;
    if (present) count++;
    if (count > 0 && (!present || count * PAGE_BYTES === BUFFER_BYTES)) {
      yield [poolStart + first * PAGE_BYTES, count * PAGE_BYTES];
      count = 0;
    }
  }
  if (count > 0) yield [poolStart + first * PAGE_BYTES, count * PAGE_BYTES];
}

/** Writes the map's pages. */
export async function writePages(
  state: CoreState,
  plan: MemoryPlan,
  map: Uint8Array,
  sink: SnapshotSink,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let filled = 0;
  for (const [linear, lengthBytes] of runs(map, plan.poolStart)) {
    if (filled + lengthBytes > buffer.length) {
      await sink.write(buffer.subarray(0, filled));
      filled = 0;
    }
    buffer.set(new Uint8Array(state.memory.buffer, linear, lengthBytes), filled);
    filled += lengthBytes;
  }
  if (filled > 0) await sink.write(buffer.subarray(0, filled));
}

/** Reads the map's pages into a pool that is all zeros elsewhere. */
export async function readPages(
  state: CoreState,
  plan: MemoryPlan,
  map: Uint8Array,
  source: SnapshotSource,
): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let waiting: (readonly [number, number])[] = [];
  let waitingBytes = 0;
  const readWaiting = async (): Promise<void> => {
    await source.read(buffer.subarray(0, waitingBytes));
    let at = 0;
    for (const [linear, lengthBytes] of waiting) {
      new Uint8Array(state.memory.buffer, linear, lengthBytes).set(buffer.subarray(at, at + lengthBytes));
      at += lengthBytes;
    }
    waiting = [];
    waitingBytes = 0;
  };
  for (const run of runs(map, plan.poolStart)) {
    if (waitingBytes + run[1] > buffer.length) await readWaiting();
    waiting.push(run);
    waitingBytes += run[1];
  }
  await readWaiting();
}

/**
 * Checks a chunk table against the machine's own: the same parts of guest-physical memory are RAM or ROM, and every address is that
 * of another chunk of the pool's used part. A table with any other address would show the guest the emulator's own state. Returns the table to put in
 * place: memory of devices is where this machine has it, until the restored BARs move it.
 */
export function checkChunkTable(state: CoreState, plan: MemoryPlan, saved: Uint8Array, usedChunks: number): Uint8Array {
  const poolBytes = plan.poolEndPages * 65536 - plan.poolStart;
  const entries = new Uint32Array(saved.slice().buffer);
  const ownEntries = new Uint32Array(state.memory.buffer, CHUNKS, CHUNK_COUNT);
  const damaged = (): SnapshotError =>
    new SnapshotError("the snapshot's map of guest memory does not fit this machine", 'memory');
  if (usedChunks * CHUNK_SIZE > poolBytes) throw damaged();
  const taken = new Set<number>();
  const take = (entry: number): void => {
    const number = (entry - (entry & CHUNK_FLAGS) - plan.poolStart) / CHUNK_SIZE;
    if (!Number.isInteger(number) || number < 0 || number >= usedChunks || taken.has(number)) throw damaged();
    taken.add(number);
  };
  const isDevice = (entry: number): boolean => (entry & CHUNK_DEVICE) !== 0;
  for (const own of ownEntries) if (isDevice(own)) take(own);
  for (let chunk = 0; chunk < CHUNK_COUNT; chunk++) {
    const [entry, own] = [entries[chunk] ?? 0, ownEntries[chunk] ?? 0].map((either) => (isDevice(either) ? 0 : either));
    if (entry === undefined || own === undefined || ((entry ^ own) & CHUNK_FLAGS) !== 0) throw damaged();
    const linear = entry - (entry & CHUNK_FLAGS);
    if (linear !== 0 && (entry & CHUNK_FLAGS) === 0) throw damaged();
    if (linear !== 0) take(entry);
    entries[chunk] = isDevice(ownEntries[chunk] ?? 0) ? (ownEntries[chunk] ?? 0) : entry;
  }
  return new Uint8Array(entries.buffer);
}
