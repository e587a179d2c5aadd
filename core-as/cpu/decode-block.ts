/** Decodes straight-line code from one page into a block of micro-ops. */
import { R_DECODE_BUFFER } from '../layout';
import { markCodePage } from '../mmu/physical';
import { codePage, mmioReadAny, fetchGpa } from '../mmu/tlb';
import { dropWriters } from '../mmu/writers';
import { BLOCK_HEADER, MAX_BLOCK_INSNS, MODE_SINGLE, enterBlock } from './code-cache';
import { reserveBlock } from './invalidate';
import { decodeInstruction } from './decode';
import { beginInstruction, dp, emit, ends, finishInstruction, out, setDmode, setOut, tooLong } from './decode-state';
import { fuse } from './fuse';
import { FAULTED, MODE_64, cpu, faulted } from './state';
import { endsBlock } from './kinds';
import { K, SUB_LINKABLE, UOP_SIZE, U_IMM, U_INDEX, U_KIND, U_OFF, U_SUB } from './uops';

/** Longest instruction (SDM vol. 2, 2.3.11). */
const MAX_LENGTH: u32 = 15;
/** Bytes given to the decoder where they are put together from two pages: the longest instruction's, and one that makes it too long. */
const FETCH_BYTES: u32 = MAX_LENGTH + 1;

/**
 * Decodes the block at linear address `linear` (0: the page is not memory), which is code at guest-linear address `address`. Returns its
 * first micro-op, or 0 after a fault (an instruction may cross into a page that cannot be fetched).
 */
export function decodeBlock(linear: u32, address: u64, modeKey: u32): u32 {
  const block = reserveBlock();
  setDmode(modeKey & 3);
  setOut(block + BLOCK_HEADER);
  if (!linear) return decodeFromDevice(block, address, modeKey);
  // Marked before it is read: a store by another vCPU from here on drops what is decoded.
  if (markCodePage(linear)) dropWriters(linear >> 12);
  const pageEnd = (linear & ~0xfff) + 0x1000;
  const most: u32 = modeKey & MODE_SINGLE ? 1 : MAX_BLOCK_INSNS;
  let at = linear;
  let count: u32 = 0;
  while (count < most && at < pageEnd) {
    const before = out;
    const offset = at & 0xfff;
    beginInstruction(at);
    decodeInstruction(at, offset);
    if (dp > pageEnd && at + MAX_LENGTH > pageEnd) {
      setOut(before);
      // The next block starts with it.
      if (count) break;
      return decodeCrossing(block, linear, address, modeKey);
    }
    if (dp - at > MAX_LENGTH) tooLong();
    finishInstruction(offset, dp - at, count);
    at = dp;
    count++;
    if (ends) break;
  }
  endBlock(at - (linear & ~0xfff), count);
  fuse(block + BLOCK_HEADER, out);
  enterBlock(block, linear, modeKey, 0, out);
  return block + BLOCK_HEADER;
}

/** Closes a block: execution goes on at `offset` of the page (0x1000: the next one). */
function endBlock(offset: u32, count: u32): void {
  if (ends && endsBlock(load<u8>(out - UOP_SIZE, U_KIND))) return;
  const p = emit(K.END, 0, 0);
  store<u64>(p, offset, U_IMM);
  store<u8>(p, <u8>(count - 1), U_INDEX);
  store<u16>(p, <u16>offset, U_OFF);
  store<u32>(p, SUB_LINKABLE, U_SUB);
}

/**
 * Linear address of the page after the one that `address` lies in, for the rest of an instruction; 0 after a fault, or where the page is
 * not memory (fetchGpa then says which address). Marked before it is read, as the first page is.
 */
function secondPage(address: u64, modeKey: u32): u32 {
  const next = (address | 0xfff) + 1;
  const page2 = codePage((modeKey & 3) === MODE_64 ? next : next & 0xffffffff);
  if (page2 && markCodePage(page2)) dropWriters(page2 >> 12);
  return page2;
}

/** Puts the bytes of the second page behind those of the first. */
function fetchSecond(to: u32, page2: u32, bytes: u32): void {
  if (page2) memory.copy(to, page2, bytes);
  else for (let i: u32 = 0; i < bytes; i++) store<u8>(to + i, <u8>mmioReadAny(fetchGpa + i, 1));
}

/** An instruction that lies in two pages: a block of its own. */
function decodeCrossing(block: u32, linear: u32, address: u64, modeKey: u32): u32 {
  const page2 = secondPage(address, modeKey);
  if (faulted & FAULTED) return 0;
  const buffer = cpu + R_DECODE_BUFFER;
  const inFirst = 0x1000 - (linear & 0xfff);
  memory.copy(buffer, linear, inFirst);
  fetchSecond(buffer + inFirst, page2, FETCH_BYTES - inFirst);
  decodeOne(buffer, linear & 0xfff);
  if (page2) enterBlock(block, linear, modeKey, page2, out);
  return block + BLOCK_HEADER;
}

/** Code in a page that is not memory (a device's registers, the hole): one instruction, never kept. */
function decodeFromDevice(block: u32, address: u64, modeKey: u32): u32 {
  const buffer = cpu + R_DECODE_BUFFER;
  const gpa = fetchGpa;
  const offset = (<u32>address) & 0xfff;
  const inFirst = min<u32>(FETCH_BYTES, 0x1000 - offset);
  for (let i: u32 = 0; i < inFirst; i++) store<u8>(buffer + i, <u8>mmioReadAny(gpa + i, 1));
  beginInstruction(buffer);
  decodeInstruction(buffer, offset);
  if (dp > buffer + inFirst && inFirst < MAX_LENGTH) {
    const page2 = secondPage(address, modeKey);
    if (faulted & FAULTED) return 0;
    fetchSecond(buffer + inFirst, page2, FETCH_BYTES - inFirst);
  }
  setOut(block + BLOCK_HEADER);
  decodeOne(buffer, offset);
  return block + BLOCK_HEADER;
}

function decodeOne(buffer: u32, offset: u32): void {
  beginInstruction(buffer);
  decodeInstruction(buffer, offset);
  if (dp - buffer > MAX_LENGTH) tooLong();
  finishInstruction(offset, dp - buffer, 0);
  endBlock(offset + (dp - buffer), 1);
}
