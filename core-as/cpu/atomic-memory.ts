/**
 * Atomic operations on guest memory, also where Wasm has none: operands that are not naturally aligned, and 16 bytes.
 *
 * An operand inside one aligned word of 8 bytes is exchanged with that word. One that covers two words takes WIDE_LOCK, which excludes
 * its like, and exchanges both words one after the other; when somebody who takes no lock changes the second word in between, the first
 * one is put back and all starts again. So no write of anybody's is lost. What is left: until it is put back, the first word
 * may be seen by others.
 */
import { WIDE_LOCK } from '../layout';
import { writePointer } from '../mmu/tlb';

/** Linear address for an atomic operation, or 0 when it must go the slow way: a device, a page of decoded code, two pages. */
export function atomicPointer(address: u64, sizeBytes: u32): u32 {
  if (((<u32>address) & 0xfff) + sizeBytes > 0x1000) return 0;
  return writePointer(address);
}

/** A value to try compareSwap with. */
export function loadPlain(q: u32, sizeBytes: u32): u64 {
  return sizeBytes === 8 ? load<u64>(q) : sizeBytes === 4 ? load<u32>(q) : sizeBytes === 2 ? load<u16>(q) : load<u8>(q);
}

// @ts-ignore: decorator
@inline
function aligned(q: u32, sizeBytes: u32): bool {
  return !(q & (sizeBytes - 1));
}

/** Replaces 1, 2, 4 or 8 bytes if they still are `old`. May fail without reason when the operand is not aligned. */
export function compareSwap(q: u32, sizeBytes: u32, old: u64, value: u64): bool {
  if (!aligned(q, sizeBytes)) return compareSwapUnaligned(q, sizeBytes, old, value);
  return compareExchangeAligned(q, sizeBytes, old, value) === old;
}

function compareExchangeAligned(q: u32, sizeBytes: u32, expected: u64, value: u64): u64 {
  if (sizeBytes === 8) return atomic.cmpxchg<u64>(q, expected, value);
  if (sizeBytes === 4) return atomic.cmpxchg<u32>(q, <u32>expected, <u32>value);
  if (sizeBytes === 2) return atomic.cmpxchg<u16>(q, <u16>expected, <u16>value);
  return atomic.cmpxchg<u8>(q, <u8>expected, <u8>value);
}

/** compareSwap that returns what was there. */
export function compareExchangeAtomic(q: u32, sizeBytes: u32, expected: u64, value: u64): u64 {
  if (aligned(q, sizeBytes)) return compareExchangeAligned(q, sizeBytes, expected, value);
  let old: u64;
  do {
    old = loadPlain(q, sizeBytes);
    // The destination is written in any case.
  } while (!compareSwap(q, sizeBytes, old, old === expected ? value : old));
  return old;
}

/** Stores a value and returns what was there. */
export function exchangeAtomic(q: u32, sizeBytes: u32, value: u64): u64 {
  if (aligned(q, sizeBytes)) {
    if (sizeBytes === 8) return atomic.xchg<u64>(q, value);
    if (sizeBytes === 4) return atomic.xchg<u32>(q, <u32>value);
    if (sizeBytes === 2) return atomic.xchg<u16>(q, <u16>value);
    return atomic.xchg<u8>(q, <u8>value);
  }
  let old: u64;
  do {
    old = loadPlain(q, sizeBytes);
  } while (!compareSwap(q, sizeBytes, old, value));
  return old;
}

/** Adds and returns what was there. */
export function addAtomic(q: u32, sizeBytes: u32, value: u64): u64 {
  if (aligned(q, sizeBytes)) {
    if (sizeBytes === 8) return atomic.add<u64>(q, value);
    if (sizeBytes === 4) return atomic.add<u32>(q, <u32>value);
    if (sizeBytes === 2) return atomic.add<u16>(q, <u16>value);
    return atomic.add<u8>(q, <u8>value);
  }
  let old: u64;
  do {
    old = loadPlain(q, sizeBytes);
  } while (!compareSwap(q, sizeBytes, old, old + value));
  return old;
}

function compareSwapUnaligned(q: u32, sizeBytes: u32, old: u64, value: u64): bool {
  const word = q & ~7;
  const shift = <u64>((q & 7) << 3);
  const mask = u64.MAX_VALUE >> (64 - <u64>(sizeBytes << 3));
  value &= mask;
  const low = atomic.load<u64>(word);
  const lowChanged = (low & ~(mask << shift)) | (value << shift);
  if ((q & 7) + sizeBytes <= 8) {
    return ((low >> shift) & mask) === old && atomic.cmpxchg<u64>(word, low, lowChanged) === low;
  }
  // Two words, so shift is not 0.
  const high = atomic.load<u64>(word + 8);
  if ((((low >> shift) | (high << (64 - shift))) & mask) !== old) return false;
  const highChanged = (high & ~(mask >> (64 - shift))) | (value >> (64 - shift));
  return compareExchangeWords(word, low, high, lowChanged, highChanged);
}

/** What compareExchangeWords found. */
export let foundLow: u64 = 0;
export let foundHigh: u64 = 0;

/** CMPXCHG16B of an aligned linear address: true when both words were as expected and were replaced. */
export function compareExchangeWords(q: u32, low: u64, high: u64, newLow: u64, newHigh: u64): bool {
  while (atomic.cmpxchg<i32>(WIDE_LOCK, 0, 1) !== 0) {}
  let equal: bool;
  for (;;) {
    foundLow = atomic.load<u64>(q);
    foundHigh = atomic.load<u64>(q, 8);
    if (atomic.load<u64>(q) !== foundLow) continue;
    equal = foundLow === low && foundHigh === high;
    if (!equal) break;
    if (atomic.cmpxchg<u64>(q, low, newLow) !== low) continue;
    if (atomic.cmpxchg<u64>(q, high, newHigh, 8) === high) break;
    atomic.cmpxchg<u64>(q, newLow, low);
  }
  atomic.store<i32>(WIDE_LOCK, 0);
  return equal;
}
