/**
 * Instructions at which regions were often left aside: what the translator tries there next.
 *
 * A byte per hash of an instruction's linear address. Two instructions with one hash share it, which costs speed, never correctness.
 */
import { R_CODE_CACHE } from '../layout';
import { cpu } from '../cpu/state';

/** One check for the accesses around it, if there are any. */
export const ACCESS_GROUPED: u32 = 0;
/** A check of its own. */
export const ACCESS_SINGLE: u32 = 1;
/** What the check finds wrong is done by a helper, and the region goes on. */
export const ACCESS_CALLED: u32 = 2;

const ENTRIES: u32 = 0x10000;
/** Bytes of the table at its place in the code cache. */
export const SLOW_SITES_BYTES: u32 = ENTRIES;

let table: u32 = 0;

/** Places the table, `offset` bytes into this vCPU's code cache, and empties it. */
export function initSlowSites(offset: u32): void {
  table = load<u32>(cpu, R_CODE_CACHE) + offset;
  memory.fill(table, 0, ENTRIES);
}

// @ts-ignore: decorator
@inline
function place(linear: u32): u32 {
  return table + ((linear ^ (linear >> 15)) & (ENTRIES - 1));
}

/** ACCESS_* for the instruction at a linear address. */
export function formOf(linear: u32): u32 {
  return load<u8>(place(linear));
}

export function setForm(linear: u32, form: u32): void {
  store<u8>(place(linear), <u8>form);
}
