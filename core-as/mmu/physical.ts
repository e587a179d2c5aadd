/** Guest-physical memory: 2 MiB chunks of the pool in linear memory, and the marks on pages that hold decoded code. */
import { NOTE_POOL_EXHAUSTED, hostChunk, hostNote } from '../host';
import { kickVcpu } from '../kick';
import {
  CFGF_PAGED,
  CFG_FLAGS,
  CFG_HIGHMEM,
  CFG_LOWMEM,
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CFG_POOL_START,
  CFG_ROM_BYTES,
  CHUNKS,
  CHUNK_BUSY,
  CHUNK_CLEAN,
  CHUNK_COUNT,
  CHUNK_DEVICE,
  CHUNK_IDLE,
  CHUNK_OUT,
  CHUNK_RAM,
  CHUNK_READONLY,
  CHUNK_SHIFT,
  CHUNK_SIZE,
  CODE_RING,
  CODE_RING_ENTRIES,
  CODE_RING_LOCK,
  CODE_RING_SEQ,
  PAGE_CODE,
  PAGE_DIRTY,
  PAGE_FLAGS,
  PAGE_TRACKED,
  PEND_KICK,
  PEND_STOP,
  POOL_EXHAUSTED,
  POOL_USED_CHUNKS,
} from '../layout';

const CHUNK_FLAGS: u32 = 0xfff;

/**
 * Linear address of a RAM chunk, taking it from the pool on first touch. 0 when the chunk is not RAM or the pool is used up
 * (POOL_EXHAUSTED is then set and the machine stops).
 */
export function commitChunk(index: u32): u32 {
  if (index >= <u32>CHUNK_COUNT) return 0;
  const slot = CHUNKS + (index << 2);
  for (;;) {
    const entry = atomic.load<u32>(slot);
    if (!(entry & CHUNK_RAM)) return 0;
    if (entry & ~CHUNK_FLAGS) {
      if (!(entry & CHUNK_IDLE)) return entry & ~CHUNK_FLAGS;
      // It is in use again. The host takes it away by the same kind of exchange: one of the two is first.
      if (atomic.cmpxchg<u32>(slot, entry, entry & ~CHUNK_IDLE) === entry) return entry & ~CHUNK_FLAGS;
      continue;
    }
    if (entry & CHUNK_BUSY) continue;
    if (entry & CHUNK_OUT) return broughtIn(index);
    // One thread takes the chunk; the others spin for the few instructions that takes.
    if (atomic.cmpxchg<u32>(slot, entry, entry | CHUNK_BUSY) !== entry) continue;
    const start = nextOfPool();
    atomic.store<u32>(slot, start | entry);
    return start ? start : broughtIn(index);
  }
}

/** Takes 2 MiB of the pool that were never used; 0: there are no more. The host takes some the same way. */
function nextOfPool(): u32 {
  let start: u64;
  let number: u32;
  do {
    number = atomic.load<u32>(POOL_USED_CHUNKS);
    start = <u64>load<u32>(CFG_POOL_START) + ((<u64>number) << CHUNK_SHIFT);
    if (start + CHUNK_SIZE > (<u64>load<u32>(CFG_POOL_END_PAGES)) << 16) return 0;
  } while (atomic.cmpxchg<u32>(POOL_USED_CHUNKS, number, number + 1) !== number);
  return <u32>start;
}

/** Asks the host for a chunk that the pool has no room for. Without an answer the machine stops. */
function broughtIn(index: u32): u32 {
  const linear: u32 = load<u32>(CFG_FLAGS) & CFGF_PAGED ? hostChunk(index) : 0;
  if (linear) return linear;
  if (atomic.xchg<u32>(POOL_EXHAUSTED, 1) === 0) {
    hostNote(NOTE_POOL_EXHAUSTED, <f64>((<u64>index) << CHUNK_SHIFT), 0);
    const count = load<u32>(CFG_NCPUS);
    for (let i: u32 = 0; i < count; i++) kickVcpu(i, PEND_STOP);
  }
  return 0;
}

/** True when the byte is RAM (or read-only memory). */
// @ts-ignore: decorator
@inline
function inRam(gpa: u64): bool {
  return gpa < load<u64>(CFG_LOWMEM) || gpa >= 0x100000000 - <u64>load<u32>(CFG_ROM_BYTES);
}

/** Linear address of a guest-physical byte for reading; 0 when it is not memory. */
export function ramRead(gpa: u64): u32 {
  const index = gpa >> CHUNK_SHIFT;
  if (index >= <u64>CHUNK_COUNT) return 0;
  const entry = load<u32>(CHUNKS + ((<u32>index) << 2));
  if (!(entry & CHUNK_RAM) || !(entry & CHUNK_DEVICE || inRam(gpa))) return 0;
  let base = entry & ~CHUNK_FLAGS;
  if (!base || entry & CHUNK_IDLE) base = commitChunk(<u32>index);
  return base ? base + ((<u32>gpa) & (CHUNK_SIZE - 1)) : 0;
}

/** Linear address of a guest-physical byte for writing; 0 when it is not writable memory. */
export function ramWrite(gpa: u64): u32 {
  const index = gpa >> CHUNK_SHIFT;
  if (index >= <u64>CHUNK_COUNT) return 0;
  const slot = CHUNKS + ((<u32>index) << 2);
  if (load<u32>(slot) & CHUNK_READONLY) return 0;
  const linear = ramRead(gpa);
  // Looked at after the chunk is there: it may just have been brought in.
  if (load<u32>(slot) & CHUNK_CLEAN) atomic.and<u32>(slot, ~CHUNK_CLEAN);
  return linear;
}

/** True when ramWrite() of a byte that ramRead() has found would change nothing: its chunk is writable, and was written since it was brought in. */
// @ts-ignore: decorator
@inline
export function isWrittenRam(gpa: u64): bool {
  return !(load<u32>(CHUNKS + ((<u32>(gpa >> CHUNK_SHIFT)) << 2)) & (CHUNK_READONLY | CHUNK_CLEAN));
}

/** Marks RAM in the chunk table as CFG_LOWMEM and CFG_HIGHMEM say; nothing is committed. */
export function mapRam(): void {
  const low = load<u64>(CFG_LOWMEM);
  for (let gpa: u64 = 0; gpa < low; gpa += CHUNK_SIZE)
    store<u32>(CHUNKS + ((<u32>(gpa >> CHUNK_SHIFT)) << 2), CHUNK_RAM);
  const high: u64 = 0x100000000 + load<u64>(CFG_HIGHMEM);
  for (let gpa: u64 = 0x100000000; gpa < high; gpa += CHUNK_SIZE) {
    const index = <u32>(gpa >> CHUNK_SHIFT);
    if (index < <u32>CHUNK_COUNT) store<u32>(CHUNKS + (index << 2), CHUNK_RAM);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Code pages

/** An entry of the code ring: the page became code, so write translations of it must go. */
export const RING_BECAME_CODE: u32 = 0x80000000;
/** An entry of the code ring: all translations must go. */
export const RING_FLUSH: u32 = 0x40000000;
/** An entry of the code ring: the 2 MiB of linear memory with this number get other contents; their decoded code must go. */
export const RING_DROP_CHUNK: u32 = 0x20000000;

function announce(entry: u32): void {
  // The slot is written before the sequence moves; a reader that is more than a ring behind drops everything.
  while (atomic.cmpxchg<u32>(CODE_RING_LOCK, 0, 1) !== 0) {}
  const sequence = atomic.load<u32>(CODE_RING_SEQ);
  atomic.store<u32>(CODE_RING + ((sequence % CODE_RING_ENTRIES) << 2), entry);
  atomic.store<u32>(CODE_RING_SEQ, sequence + 1);
  atomic.store<u32>(CODE_RING_LOCK, 0);
  const count = load<u32>(CFG_NCPUS);
  for (let i: u32 = 0; i < count; i++) kickVcpu(i, PEND_KICK);
}

/** Makes every vCPU drop its translations at its next block boundary; it then shows the ring's sequence in R_RING_SEEN. */
export function flushAllVcpus(): void {
  announce(RING_FLUSH);
}

/** Makes every vCPU drop its decoded code of 2 MiB of linear memory, in which nothing runs any more. False when there is none. */
export function dropChunkCode(linear: u32): bool {
  let found = false;
  const first = PAGE_FLAGS + (linear >> 12);
  for (let flags = first; flags < first + (CHUNK_SIZE >> 12); flags++) {
    if (!(load<u8>(flags) & PAGE_CODE)) continue;
    atomic.and<u8>(flags, ~PAGE_CODE);
    found = true;
  }
  if (found) announce((linear >> CHUNK_SHIFT) | RING_DROP_CHUNK);
  return found;
}

/** True when no store to the linear page may go by a translation: it holds decoded code, or its first store is to be seen. */
// @ts-ignore: decorator
@inline
export function isWatchedPage(linear: u32): bool {
  return (load<u8>(PAGE_FLAGS + (linear >> 12)) & (PAGE_CODE | PAGE_TRACKED)) !== 0;
}

/** A page of a device's memory was stored to: later stores need not be seen before the host looks again. */
function markDirty(flags: u32): void {
  atomic.or<u8>(flags, PAGE_DIRTY);
  atomic.and<u8>(flags, ~PAGE_TRACKED);
}

/** True when some vCPU holds decoded code of the linear page. */
// @ts-ignore: decorator
@inline
export function isCodePage(linear: u32): bool {
  return (load<u8>(PAGE_FLAGS + (linear >> 12)) & PAGE_CODE) !== 0;
}

/** Marks a linear page as holding decoded code. Returns true when it was not marked before. */
export function markCodePage(linear: u32): bool {
  const flags = PAGE_FLAGS + (linear >> 12);
  if (load<u8>(flags) & PAGE_CODE) return false;
  atomic.or<u8>(flags, PAGE_CODE);
  if (load<u32>(CFG_NCPUS) > 1) announce((linear >> 12) | RING_BECAME_CODE);
  return true;
}

/** Bytes of linear memory were changed other than by a vCPU's fast store path: drop decoded code of those pages, mark tracked ones. */
export function noteWrite(linear: u32, lengthBytes: u32): void {
  if (!lengthBytes) return;
  const last = (linear + lengthBytes - 1) >> 12;
  for (let page = linear >> 12; page <= last; page++) {
    const flags = load<u8>(PAGE_FLAGS + page);
    if (flags & PAGE_TRACKED) markDirty(PAGE_FLAGS + page);
    if (flags & PAGE_CODE) {
      atomic.and<u8>(PAGE_FLAGS + page, ~PAGE_CODE);
      announce(page);
    }
  }
}
