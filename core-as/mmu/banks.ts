/**
 * Where translations are kept: banks of TLB entries, and which of them are in use.
 *
 * A _space_ holds the translations of one address space (one PCID): three banks for data accesses, one per privilege, and two for instruction
 * fetches. A write of CR3 picks a space, so that coming back to an address space finds what was translated there.
 */
import {
  CACHE_TLB,
  DATA_BANK_COUNT,
  DATA_BANK_SIZE,
  FETCH_BANK_COUNT,
  FETCH_BANK_SIZE,
  ITLB_ENTRIES,
  R_CODE_CACHE,
  R_ITLB_BANK,
  R_SPACES,
  R_SPACE_NOTES_SIZE,
  R_TLB,
  R_TLB_SIZE,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_SPACE_COUNT,
  TLB_SPACE_SIZE,
} from '../layout';

/** Bytes of a data bank: read entries, then write entries. */
export const TLB_BANK_SIZE: u32 = DATA_BANK_SIZE;
/** Offset of the write entries of a bank. */
export const TLB_WRITE: u32 = TLB_BANK_SIZE / 2;
/** Bytes of the entries of a bank for one kind of access and one half of the address space. */
export const TLB_HALF: u32 = TLB_WRITE / 2;
/** An entry's offset in its half: the page number's low bits. In the bank: bit 63 picks the half. */
export const TLB_INDEX_SHIFT: u32 = 8;
export const TLB_INDEX_MASK: u32 = TLB_HALF - TLB_ENTRY_SIZE;
export const TLB_HALF_SHIFT: u32 = 47;
/** Bytes of an entry. */
export const TLB_ENTRY_BYTES: u32 = TLB_ENTRY_SIZE;
/** Tag of an empty entry: no page address, for its low bits. */
export const TAG_NONE: u64 = u64.MAX_VALUE;
/** An entry: u64 tag, u32 linear address minus the low 32 bits of the page address (of instruction fetches: of the page), u32 flags. */
export const E_LINEAR: u32 = 8;
export const E_FLAGS: u32 = 12;
export const TLB_BANK_SUPERVISOR: u32 = 0;
export const TLB_BANK_USER: u32 = 1;
/** Supervisor with EFLAGS.AC set while CR4.SMAP is on. */
export const TLB_BANK_AC: u32 = 2;
export const DATA_BANKS: u32 = DATA_BANK_COUNT;
/** Bytes of a bank of instruction translations. */
export const ITLB_BANK_SIZE: u32 = FETCH_BANK_SIZE;
export const ITLB_BANKS: u32 = FETCH_BANK_COUNT;
/** As for data: bytes of one half, an entry's offset in it, and the half. */
export const ITLB_HALF: u32 = ITLB_BANK_SIZE / 2;
export const ITLB_INDEX_MASK: u32 = ITLB_HALF - TLB_ENTRY_SIZE;
export const ITLB_HALF_SHIFT: u32 = 50;

/** Rows of entries in a space: those of a bank for one kind of access and one half of the address space. */
export const BANK_ROWS: u32 = 16;
export const SPACE_SIZE: u32 = TLB_SPACE_SIZE;
/** As many as Linux uses PCIDs (6), and some that it does not need to give up at once. */
export const SPACES: u32 = TLB_SPACE_COUNT;

/** Address of the bank for data accesses at the current privilege. */
export let tlbBank: u32 = 0;
/** Address of the bank of instruction translations at the current privilege. */
export let itlbBank: u32 = 0;
/** An empty bank that is never filled: every access takes the slow path, which checks alignment and data breakpoints. */
export let checkedBank: u32 = 0;
/** The space in use. */
export let space: u32 = 0;

let block: u32 = 0;
let dataBankNow: u32 = 0;
let checkedNow: bool = false;
let userNow: bool = false;

/** Offset of the empty bank in a vCPU block. */
export const CHECKED_BANK: u32 = R_TLB + SPACE_SIZE;

/** Address of a space's banks. The first one lies in the vCPU block, the others in the cache of code. */
// @ts-ignore: decorator
@inline
export function spaceBase(n: u32): u32 {
  return n ? load<u32>(block, R_CODE_CACHE) + CACHE_TLB + (n - 1) * SPACE_SIZE : block + R_TLB;
}

/** What is noted of a space: u32 its PCID, or SPACE_FREE. */
export const SPACE_PCID: u32 = 0;
/** u32: turn of its last use. */
export const SPACE_USED: u32 = 4;
/** u64: number of what is known about it (generation.ts), 0: none yet. */
export const SPACE_GENERATION: u32 = 8;
/** u64: not 0: nothing has been in its banks since this instance began, and what lies there from before is not known. */
export const SPACE_UNKNOWN: u32 = 16;
/** u64 x 16 each: which parts of its banks may have entries, and which may have some that are not global (filled.ts). */
export const SPACE_FILLED: u32 = 24;
export const SPACE_LOCAL: u32 = SPACE_FILLED + BANK_ROWS * 8;
/** u64 x 2 each, for addresses with bit 63 clear and set: hashes (a bit each) of large and of 1 GiB pages that it may have entries of (filled.ts). */
export const SPACE_LARGE: u32 = SPACE_LOCAL + BANK_ROWS * 8;
export const SPACE_HUGE: u32 = SPACE_LARGE + 2 * 8;
export const SPACE_NOTES_END: u32 = SPACE_HUGE + 2 * 8;
const SPACE_NOTES: u32 = R_SPACE_NOTES_SIZE;
export const SPACE_FREE: u32 = 0xffffffff;

/** Address of what is noted of a space. */
// @ts-ignore: decorator
@inline
export function spaceNotes(n: u32): u32 {
  return block + R_SPACES + n * SPACE_NOTES;
}

/** Binds this instance to its vCPU's banks. */
export function bindBanks(cpu: u32): void {
  block = cpu;
  checkedBank = cpu + CHECKED_BANK;
}

/** Picks the banks of a privilege: `data` TLB_BANK_*, or with `checked` the empty one. */
export function selectBanks(data: u32, checked: bool, user: bool): void {
  dataBankNow = data;
  checkedNow = checked;
  userNow = user;
  const base = spaceBase(space);
  tlbBank = checked ? checkedBank : base + data * TLB_BANK_SIZE;
  itlbBank = base + DATA_BANKS * TLB_BANK_SIZE + (user ? ITLB_BANK_SIZE : 0);
  store<u32>(block, itlbBank, R_ITLB_BANK);
}

/** Goes over to another space with the same privilege. */
export function selectSpace(n: u32): void {
  space = n;
  selectBanks(dataBankNow, checkedNow, userNow);
}

/** Address of the entries for addresses like this one in a bank for data. */
// @ts-ignore: decorator
@inline
export function tlbHalf(bank: u32, address: u64): u32 {
  return bank + <u32>(address >> 63) * TLB_HALF;
}

assert(1 << TLB_INDEX_SHIFT === 0x1000 / TLB_ENTRY_SIZE);
assert(TLB_HALF === <u32>(TLB_ENTRIES * TLB_ENTRY_SIZE) && popcnt(TLB_HALF) === 1);
assert(TLB_HALF_SHIFT === 63 - ctz(TLB_HALF));
assert(TLB_INDEX_MASK === (<u32>TLB_ENTRIES - 1) * TLB_ENTRY_SIZE);
assert(ITLB_HALF === <u32>(ITLB_ENTRIES * TLB_ENTRY_SIZE) && popcnt(ITLB_HALF) === 1);
assert(ITLB_HALF_SHIFT === 63 - ctz(ITLB_HALF));
assert(ITLB_INDEX_MASK === (<u32>ITLB_ENTRIES - 1) * TLB_ENTRY_SIZE);
assert(E_FLAGS + 4 === <u32>TLB_ENTRY_SIZE);
assert(BANK_ROWS === DATA_BANKS * 4 + ITLB_BANKS * 2);
assert(SPACE_NOTES_END === SPACE_NOTES);
assert(CHECKED_BANK + TLB_BANK_SIZE === <u32>(R_TLB + R_TLB_SIZE));
