/**
 * Which parts of the TLB's banks may have entries, so that emptying a bank, or dropping a large page, costs what was filled and not what there is
 * room for.
 *
 * A _row_ is the entries of a bank for one kind of access and one half of the address space. Of each row two u64 have a bit per piece, a sixty-fourth
 * of the row: 0: all its entries are empty; 0: all its entries are empty or global.
 */
import {
  BANK_ROWS,
  DATA_BANKS,
  E_FLAGS,
  ITLB_HALF,
  ITLB_INDEX_MASK,
  SPACES,
  SPACE_FILLED,
  SPACE_FREE,
  SPACE_HUGE,
  SPACE_LARGE,
  SPACE_LOCAL,
  SPACE_NOTES_END,
  SPACE_PCID,
  SPACE_SIZE,
  SPACE_UNKNOWN,
  TAG_NONE,
  TLB_ENTRY_BYTES,
  TLB_HALF,
  TLB_INDEX_MASK,
  TLB_INDEX_SHIFT,
  space,
  spaceBase,
  spaceNotes,
} from './banks';

/** Rows of a data bank: reads and writes, each of both halves. */
const ROWS_OF_BANK: u32 = 4;
const DATA_ROWS: u32 = DATA_BANKS * ROWS_OF_BANK;
/** Those that follow are for instruction fetches, of both halves. */
const ROWS: u32 = BANK_ROWS;
const DATA_BYTES: u32 = DATA_ROWS * TLB_HALF;
const PIECES: u32 = 64;
const DATA_PIECE: u32 = TLB_HALF / PIECES;
const FETCH_PIECE: u32 = ITLB_HALF / PIECES;

/** In E_FLAGS: not a global page: a CR3 write drops it. */
export const ENTRY_LOCAL: u32 = 1;
/** In E_FLAGS: a part of a page larger than 4 KiB: INVLPG of any address of that page drops it. */
export const ENTRY_LARGE: u32 = 2;
/** log2 of the size of the largest pages, which have hashes of their own. */
const HUGE_SHIFT: u64 = 30;

/** Address of what SPACE_FILLED or SPACE_LOCAL tells of a row. */
// @ts-ignore: decorator
@inline
function mask(n: u32, row: u32, what: u32): u32 {
  return spaceNotes(n) + what + (row << 3);
}

// @ts-ignore: decorator
@inline
function rowAt(n: u32, row: u32): u32 {
  const base = spaceBase(n);
  return row < DATA_ROWS ? base + row * TLB_HALF : base + DATA_BYTES + (row - DATA_ROWS) * ITLB_HALF;
}

// @ts-ignore: decorator
@inline
function pieceBytes(row: u32): u32 {
  return row < DATA_ROWS ? DATA_PIECE : FETCH_PIECE;
}

/** An entry of the space in use was filled. */
// @ts-ignore: decorator
@inline
export function noteFilled(entry: u32, local: bool): void {
  const at = entry - spaceBase(space);
  let row: u32;
  let piece: u32;
  if (at < DATA_BYTES) {
    row = at / TLB_HALF;
    piece = (at % TLB_HALF) / DATA_PIECE;
  } else {
    row = DATA_ROWS + (at - DATA_BYTES) / ITLB_HALF;
    piece = ((at - DATA_BYTES) % ITLB_HALF) / FETCH_PIECE;
  }
  const filled = mask(space, row, SPACE_FILLED);
  store<u64>(filled, load<u64>(filled) | ((<u64>1) << piece));
  if (!local) return;
  const locals = mask(space, row, SPACE_LOCAL);
  store<u64>(locals, load<u64>(locals) | ((<u64>1) << piece));
}

// @ts-ignore: decorator
@inline
function pageBit(address: u64, shift: u64): u64 {
  const page = address >> shift;
  return (<u64>1) << ((page ^ (page >> 6)) & 63);
}

/** Address of the hashes of pages of a size, for an address's half. */
// @ts-ignore: decorator
@inline
function hashes(n: u32, address: u64, shift: u64): u32 {
  return spaceNotes(n) + (shift === HUGE_SHIFT ? SPACE_HUGE : SPACE_LARGE) + <u32>((address >> 63) << 3);
}

/** An entry of the space in use was filled out of a page of 2^shift bytes, more than 4 KiB. */
export function noteLarge(address: u64, shift: u64): void {
  const at = hashes(space, address, shift);
  store<u64>(at, load<u64>(at) | pageBit(address, shift));
}

function clearRow(n: u32, row: u32): void {
  const filled = mask(n, row, SPACE_FILLED);
  const bytes = pieceBytes(row);
  const from = rowAt(n, row);
  for (let left = load<u64>(filled); left; left &= left - 1) {
    memory.fill(from + <u32>ctz(left) * bytes, 0xff, bytes);
  }
  store<u64>(filled, 0);
  store<u64>(mask(n, row, SPACE_LOCAL), 0);
}

/** Empties the banks of a space. */
export function clearSpace(n: u32): void {
  if (load<u64>(spaceNotes(n), SPACE_UNKNOWN)) {
    store<u64>(spaceNotes(n), 0, SPACE_UNKNOWN);
    memory.fill(spaceBase(n), 0xff, SPACE_SIZE);
    memory.fill(spaceNotes(n) + SPACE_FILLED, 0, SPACE_NOTES_END - SPACE_FILLED);
    return;
  }
  for (let row: u32 = 0; row < ROWS; row++) clearRow(n, row);
  memory.fill(spaceNotes(n) + SPACE_LARGE, 0, SPACE_NOTES_END - SPACE_LARGE);
}

/** Drops what is not global of a space. Global pages with bit 63 clear go as well, for nobody has any. */
export function clearLocalsOfSpace(n: u32): void {
  for (let row: u32 = 0; row < ROWS; row++) {
    if (row & 1) clearLocals(n, row);
    else clearRow(n, row);
  }
  store<u64>(spaceNotes(n), 0, SPACE_LARGE);
  store<u64>(spaceNotes(n), 0, SPACE_HUGE);
}

function clearLocals(n: u32, row: u32): void {
  const bytes = pieceBytes(row);
  const from = rowAt(n, row);
  const locals = mask(n, row, SPACE_LOCAL);
  for (let left = load<u64>(locals); left; left &= left - 1) {
    const piece = from + <u32>ctz(left) * bytes;
    for (let entry = piece; entry < piece + bytes; entry += TLB_ENTRY_BYTES) {
      if (load<u32>(entry, E_FLAGS) & ENTRY_LOCAL) store<u64>(entry, TAG_NONE);
    }
  }
  store<u64>(locals, 0);
}

/** Offset of the entry for an address in a row. */
// @ts-ignore: decorator
@inline
function offsetInRow(row: u32, address: u64): u32 {
  return (<u32>(address >> TLB_INDEX_SHIFT)) & (row < DATA_ROWS ? TLB_INDEX_MASK : ITLB_INDEX_MASK);
}

/**
 * Drops the entries of the page that an address lies in, be it one of 4 KiB, of 2^largeShift bytes, or of 1 GiB, from all spaces; free ones are
 * emptied before they are used.
 */
export function dropPage(address: u64, largeShift: u64): void {
  for (let n: u32 = 0; n < SPACES; n++) {
    if (load<u32>(spaceNotes(n), SPACE_PCID) === SPACE_FREE) continue;
    dropEntries(n, address);
    if (load<u64>(hashes(n, address, largeShift)) & pageBit(address, largeShift)) dropLarge(n, address, largeShift);
    if (load<u64>(hashes(n, address, HUGE_SHIFT)) & pageBit(address, HUGE_SHIFT)) dropLarge(n, address, HUGE_SHIFT);
  }
}

/** The entries of 4 KiB. */
function dropEntries(n: u32, address: u64): void {
  const page = address & ~0xfff;
  for (let row = <u32>(address >> 63); row < ROWS; row += 2) {
    const offset = offsetInRow(row, address);
    if (!((load<u64>(mask(n, row, SPACE_FILLED)) >> (offset / pieceBytes(row))) & 1)) continue;
    const entry = rowAt(n, row) + offset;
    if (load<u64>(entry) === page) store<u64>(entry, TAG_NONE);
  }
}

/** The entries that are parts of a large page. */
function dropLarge(n: u32, address: u64, shift: u64): void {
  for (let row = <u32>(address >> 63); row < ROWS; row += 2) {
    const bytes = pieceBytes(row);
    const from = rowAt(n, row);
    for (let left = load<u64>(mask(n, row, SPACE_FILLED)) & piecesOf(row, address, shift); left; left &= left - 1) {
      const piece = from + <u32>ctz(left) * bytes;
      for (let entry = piece; entry < piece + bytes; entry += TLB_ENTRY_BYTES) {
        if ((load<u64>(entry) ^ address) >> shift || !(load<u32>(entry, E_FLAGS) & ENTRY_LARGE)) continue;
        store<u64>(entry, TAG_NONE);
      }
    }
  }
}

/** Pieces of a row that the entries of a page of 2^shift bytes lie in. */
function piecesOf(row: u32, address: u64, shift: u64): u64 {
  const first = address & ~(((<u64>1) << shift) - 1);
  const bytes = pieceBytes(row);
  const pieces: u64 = ((<u64>1) << shift) / ((<u64>(bytes / TLB_ENTRY_BYTES)) << 12);
  if (pieces >= PIECES) return u64.MAX_VALUE;
  const at: u64 = offsetInRow(row, first) / bytes;
  return (((<u64>1) << pieces) - 1) << at;
}

/**
 * Calls with each write entry of any space that may be filled; of free spaces too, which are emptied before they are used. True when one of the calls
 * was.
 */
export function dropFilledWrites(drop: (entry: u32, linearPage: u32) => bool, linearPage: u32): bool {
  let found = false;
  for (let n: u32 = 0; n < SPACES; n++) {
    if (load<u64>(spaceNotes(n), SPACE_UNKNOWN)) continue;
    for (let row: u32 = 0; row < DATA_ROWS; row++) {
      // Reads come first in a bank.
      if (!(row & 2)) continue;
      const from = rowAt(n, row);
      for (let left = load<u64>(mask(n, row, SPACE_FILLED)); left; left &= left - 1) {
        const piece = from + <u32>ctz(left) * DATA_PIECE;
        for (let entry = piece; entry < piece + DATA_PIECE; entry += TLB_ENTRY_BYTES) {
          if (drop(entry, linearPage)) found = true;
        }
      }
    }
  }
  return found;
}

assert(DATA_PIECE % TLB_ENTRY_BYTES === 0 && FETCH_PIECE % TLB_ENTRY_BYTES === 0);
