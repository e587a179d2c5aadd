/**
 * Locked operations on guest memory, also where Wasm has no atomic ones: operands that are not naturally aligned, that lie in two pages,
 * and 16 bytes.
 *
 * An operand inside one aligned word of 8 bytes is exchanged with that word. One that covers two words takes WIDE_LOCK, which excludes
 * its like, and exchanges both words one after the other; when somebody who takes no lock changes the second word in between, the first
 * one is put back and all starts again. So no write of anybody's is lost. What is left: until it is put back, the first word
 * may be seen by others.
 *
 * beginLocked() finds the operand, compareSwap() and its like work on it, endLocked() tells of a write to decoded code, or to a page whose writes are counted.
 */
import { WIDE_LOCK } from '../layout';
import { locateLocked, lockedPage1, lockedPage2 } from '../mmu/locked-operand';
import { isCodePage, isWatchedPage, noteWrite } from '../mmu/physical';
import { tlbEntry } from '../mmu/tlb';
import { E_LINEAR, TLB_WRITE, tlbBank } from '../mmu/banks';
import { FAULTED, faulted, leaveBlock } from './state';
import { WORK_DROP_CODE, charge } from './work';

/** Linear address of the operand's second word where that lies in another page; 0: it follows the first one. */
let splitWord: u32 = 0;
/** The operand did not come from the TLB: it may lie in pages whose writes are noted. */
let slowly: bool = false;

/**
 * Linear address of the operand of a locked operation. 0 after a fault, and where some of it is a device's: the caller then does it
 * without a lock.
 */
export function beginLocked(address: u64, sizeBytes: u32): u32 {
  splitWord = 0;
  slowly = false;
  const e = tlbEntry(tlbBank, address) + TLB_WRITE;
  if (load<u64>(e) === ((address + sizeBytes - 1) & ~0xfff)) return load<u32>(e, E_LINEAR) + <u32>address;
  if (!locateLocked(address, sizeBytes) || faulted & FAULTED) return 0;
  slowly = true;
  splitWord = lockedPage2;
  return lockedPage1;
}

/** The operation that beginLocked() began at `q` is done. */
export function endLocked(q: u32): void {
  if (!slowly) return;
  // Bytes before and after the operand in its words count as written, too: its pages matter, and those are the same.
  noteWritten(q);
  if (splitWord) noteWritten(splitWord);
}

function noteWritten(linear: u32): void {
  if (!isWatchedPage(linear)) return;
  const code = isCodePage(linear);
  noteWrite(linear, 1);
  if (!code) return;
  charge(WORK_DROP_CODE);
  leaveBlock();
}

/** A value to try compareSwap with. */
export function loadPlain(q: u32, sizeBytes: u32): u64 {
  if (splitWord) {
    const shift = <u64>((q & 7) << 3);
    const words = (atomic.load<u64>(q & ~7) >> shift) | (atomic.load<u64>(splitWord) << (64 - shift));
    return words & (u64.MAX_VALUE >> (64 - <u64>(sizeBytes << 3)));
  }
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
  const second = splitWord ? splitWord : word + 8;
  const high = atomic.load<u64>(second);
  if ((((low >> shift) | (high << (64 - shift))) & mask) !== old) return false;
  const highChanged = (high & ~(mask >> (64 - shift))) | (value >> (64 - shift));
  return compareExchangeWords(word, second, low, high, lowChanged, highChanged);
}

/** What compareExchangeWords found. */
export let foundLow: u64 = 0;
export let foundHigh: u64 = 0;

/** Exchanges two aligned words of 8 bytes at linear addresses: true when both were as expected and were replaced. */
export function compareExchangeWords(q: u32, second: u32, low: u64, high: u64, newLow: u64, newHigh: u64): bool {
  while (atomic.cmpxchg<i32>(WIDE_LOCK, 0, 1) !== 0) {}
  let equal: bool;
  for (;;) {
    foundLow = atomic.load<u64>(q);
    foundHigh = atomic.load<u64>(second);
    if (atomic.load<u64>(q) !== foundLow) continue;
    equal = foundLow === low && foundHigh === high;
    if (!equal) break;
    if (atomic.cmpxchg<u64>(q, low, newLow) !== low) continue;
    if (atomic.cmpxchg<u64>(second, high, newHigh) === high) break;
    atomic.cmpxchg<u64>(q, newLow, low);
  }
  atomic.store<i32>(WIDE_LOCK, 0);
  return equal;
}
