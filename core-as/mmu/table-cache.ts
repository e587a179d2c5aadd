/**
 * Which page tables walks have ended in: a cache of paging structures (SDM vol. 3, 4.10.3). It holds the table that maps 2 MiB of linear addresses in 4-level
 * paging, with the rights that the levels above leave, so that a walk reads one entry instead of four. It forgets everything whenever translations are
 * dropped: by a write of CR3 without the no-flush bit, INVLPG and INVPCID of anything, and changes of CR0, CR4 and EFER.
 */
import { CACHE_TABLES, CACHE_TABLES_SIZE, R_CODE_CACHE } from '../layout';

/** An entry: u64 region of 2 MiB with the turn above it, u64 root of the tables, u64 what is known. */
const ENTRY_BYTES: u32 = 32;
const E_ROOT: u32 = 8;
const E_KNOWN: u32 = 16;
const ENTRIES: u32 = CACHE_TABLES_SIZE / ENTRY_BYTES;

/** Entries of other turns are stale. The number of a region has 43 bits. */
const TURN_SHIFT: u64 = 43;
const LAST_TURN: u64 = (1 << (64 - TURN_SHIFT)) - 1;

let base: u32 = 0;
let turn: u64 = 1;

export function bindTables(cpu: u32): void {
  base = load<u32>(cpu, R_CODE_CACHE) + CACHE_TABLES;
  memory.fill(base, 0, CACHE_TABLES_SIZE);
  turn = 1;
}

export function forgetTables(): void {
  if (turn === LAST_TURN) {
    memory.fill(base, 0, CACHE_TABLES_SIZE);
    turn = 0;
  }
  turn++;
}

// @ts-ignore: decorator
@inline
function entryOf(address: u64): u32 {
  return base + ((<u32>(address >> 21)) & (ENTRIES - 1)) * ENTRY_BYTES;
}

// @ts-ignore: decorator
@inline
function tagOf(address: u64): u64 {
  return (address >> 21) | (turn << TURN_SHIFT);
}

/** What rememberTable() was told of the 2 MiB around an address, or 0. */
export function knownTable(address: u64, root: u64): u64 {
  const e = entryOf(address);
  return load<u64>(e) === tagOf(address) && load<u64>(e, E_ROOT) === root ? load<u64>(e, E_KNOWN) : 0;
}

/** Nothing is known any more of the 2 MiB around an address. */
export function forgetTable(address: u64): void {
  store<u64>(entryOf(address), 0);
}

/** `known`: the table's guest-physical address, with bits of a page-table entry. Not 0. */
export function rememberTable(address: u64, root: u64, known: u64): void {
  const e = entryOf(address);
  store<u64>(e, tagOf(address));
  store<u64>(e, root, E_ROOT);
  store<u64>(e, known, E_KNOWN);
}

assert(popcnt(ENTRIES) === 1);
