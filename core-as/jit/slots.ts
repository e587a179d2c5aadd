/**
 * What is known of each compiled region, by its slot in the core's table: where its sites are, the block that it was formed around, how often it
 * was entered and left aside.
 */
import { B_HEAT, B_JIT } from '../cpu/code-cache';
import {
  CACHE_SLOT_ASIDES,
  CACHE_SLOT_ENTRIES,
  CACHE_SLOT_SEEDS,
  CACHE_SLOT_SITES,
  REGION_SLOTS,
  R_CODE_CACHE,
} from '../layout';
import { cpu } from '../cpu/state';

/** B_JIT of a block: the slot in the low 15 bits, the node's number from bit 16 on. */
export const SLOT_MASK: u32 = 0x7fff;

/** A region that keeps apart from others is formed again after so many entries, any other one after so many more. */
const ENTRIES_APART: u32 = 1 << 18;
const ENTRIES: u32 = 1 << 22;

let sites: u32 = 0;
let seeds: u32 = 0;
let asides: u32 = 0;
/** Two words a slot: entries that are left until it is formed again, and how many those were at first. */
let entered: u32 = 0;

/** Binds this instance to its vCPU's slots. */
export function bindSlots(): void {
  const cache = load<u32>(cpu, R_CODE_CACHE);
  sites = cache + CACHE_SLOT_SITES;
  seeds = cache + CACHE_SLOT_SEEDS;
  asides = cache + CACHE_SLOT_ASIDES;
  entered = cache + CACHE_SLOT_ENTRIES;
}

/** Notes a region: its sites, its seed, and whether it has no blocks of other regions. */
export function noteSlot(slot: u32, siteTable: u32, seed: u32, apart: bool): void {
  store<u32>(sites + (slot << 2), siteTable);
  store<u32>(seeds + (slot << 2), seed);
  store<u32>(asides + (slot << 2), 0);
  const limit = apart ? ENTRIES_APART : ENTRIES;
  store<u32>(entered + (slot << 3), limit);
  store<u32>(entered + (slot << 3), limit, 4);
}

/** Address of the table of sites of the region that B_JIT `entry` leads to. */
// @ts-ignore: decorator
@inline
export function sitesOf(entry: u32): u32 {
  return load<u32>(sites + ((entry & SLOT_MASK) << 2));
}

/** The block that a slot's region was formed around. */
export function seedOf(slot: u32): u32 {
  return load<u32>(seeds + (slot << 2));
}

/** A region was left aside once more. Returns how often it was. */
export function countAside(slot: u32): u32 {
  const all = load<u32>(asides + (slot << 2)) + 1;
  store<u32>(asides + (slot << 2), all);
  return all;
}

/** The region that B_JIT `entry` leads to is entered. True when it is time to form it again. */
// @ts-ignore: decorator
@inline
export function countEntry(entry: u32): bool {
  const at = entered + ((entry & SLOT_MASK) << 3);
  const left = load<u32>(at) - 1;
  store<u32>(at, left);
  return !left;
}

/** How often a block was entered: by the interpreter, or the region that it leads to by anybody. */
export function heatOf(block: u32): u32 {
  const heat = load<u32>(block, B_HEAT);
  const slot = load<u32>(block, B_JIT) & SLOT_MASK;
  if (!slot) return heat;
  const at = entered + (slot << 3);
  return heat + load<u32>(at, 4) - load<u32>(at);
}

assert(SLOT_MASK === <u32>REGION_SLOTS - 1);
