/**
 * Where jumps and calls through registers and memory were seen to go, for the region compiler.
 *
 * U_LINK of a K.JMPR or K.CALLR holds the address of a record: targets as distances from the code's page (i64), in the order in which they
 * were met, up to the first 0.
 */
import { allocate, freeBlock } from './code-cache';
import { U_LINK } from './uops';

/** More targets than these are not noted: the jump then has no few places that it goes to. */
export const MAX_TARGETS: u32 = 8;

/** Notes a target. One that is the page's first byte is not noted. */
export function noteTarget(p: u32, distance: i64): void {
  let record = load<u32>(p, U_LINK);
  if (!record) {
    // A block that is not kept lies where the record would.
    if (p >= freeBlock) return;
    record = allocate(MAX_TARGETS << 3);
    if (!record) return;
    memory.fill(record, 0, MAX_TARGETS << 3);
    store<u32>(p, record, U_LINK);
  }
  for (let i: u32 = 0; i < MAX_TARGETS; i++) {
    const at = record + (i << 3);
    const known = load<i64>(at);
    if (known === distance) return;
    if (known) continue;
    store<i64>(at, distance);
    return;
  }
}

/** The n-th target of a jump, 0: there is none. */
export function seenTarget(p: u32, n: u32): i64 {
  const record = load<u32>(p, U_LINK);
  return record && n < MAX_TARGETS ? load<i64>(record + (n << 3)) : 0;
}
