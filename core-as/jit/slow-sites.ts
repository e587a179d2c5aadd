/**
 * Instructions at which regions were often left aside: what the translator tries there next.
 *
 * A byte per hash of an instruction's linear address. Two instructions with one hash share it, which costs speed, never correctness.
 */
import { CACHE_SLOW_SITES_SIZE } from '../layout';

/** One check for the accesses around it, if there are any. */
export const ACCESS_GROUPED: u32 = 0;
/** A check of its own. */
export const ACCESS_SINGLE: u32 = 1;
/** What the check finds wrong is done by a helper, and the region goes on. */
export const ACCESS_CALLED: u32 = 2;

let table: u32 = 0;

/** Places the table, and empties it. */
export function initSlowSites(address: u32): void {
  table = address;
  memory.fill(table, 0, CACHE_SLOW_SITES_SIZE);
}

// @ts-ignore: decorator
@inline
function place(linear: u32): u32 {
  return table + ((linear ^ (linear >> 15)) & (CACHE_SLOW_SITES_SIZE - 1));
}

/** In a byte: ACCESS_*; from bit 4 on how often the region around the block that starts there was formed again. */
const FORM_MASK: u32 = 3;
const REFORMED_SHIFT: u32 = 4;
const MOST_REFORMED: u32 = 15;

/** ACCESS_* for the instruction at a linear address. */
export function formOf(linear: u32): u32 {
  return load<u8>(place(linear)) & FORM_MASK;
}

export function setForm(linear: u32, form: u32): void {
  store<u8>(place(linear), <u8>((load<u8>(place(linear)) & ~FORM_MASK) | form));
}

/** How often the region around a block was formed again, at most MOST_REFORMED. */
export function timesReformed(linear: u32): u32 {
  return load<u8>(place(linear)) >> REFORMED_SHIFT;
}

export function noteReformed(linear: u32): void {
  const now: u32 = load<u8>(place(linear));
  if (now >> REFORMED_SHIFT < MOST_REFORMED) store<u8>(place(linear), <u8>(now + (1 << REFORMED_SHIFT)));
}
