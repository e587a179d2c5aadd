/**
 * This vCPU's decoded code.
 *
 * Blocks are keyed by the *linear* address of their first byte (guest-physical memory has one linear address), so they survive every change
 * of the guest's page tables. A block is a 32-byte header and its micro-ops; the blocks of a page form a list, and a write to a page
 * drops them all. Memory of dropped blocks is not reused until the whole cache is full and starts again.
 *
 * The cache lies at R_CODE_CACHE: TLBs of address spaces, the JIT's tables, hash heads, page heads (one u32 per 4 KiB of linear memory), then blocks.
 */
import {
  CACHE_BLOCKS,
  CACHE_HASH,
  CACHE_HASH_COUNT,
  CACHE_HASH_SIZE,
  CACHE_PAGES,
  CACHE_PAGES_SIZE,
  CODE_RING_SEQ,
  R_CODE_CACHE,
  R_CODE_CACHE_SIZE,
} from '../layout';
import { markCodePage } from '../mmu/physical';
import { dropWriters } from '../mmu/writers';
import { newGeneration } from '../mmu/generation';
import { UOP_SIZE } from './uops';
import { cpu } from './state';

/** Block header: u32 linear address of the first byte. */
export const B_ADDRESS: u32 = 0;
/** u32: decoding mode; MODE_SINGLE in it for blocks of one instruction. */
export const B_MODE: u32 = 4;
const B_HASH_NEXT: u32 = 8;
const B_PAGE_NEXT: u32 = 12;
/** u32: linear address of the second page for an instruction that crosses into it, else 0. */
export const B_PAGE2: u32 = 16;
const B_PAGE2_NEXT: u32 = 20;
/** u32: times entered by the interpreter. */
export const B_HEAT: u32 = 24;
/** u32: the compiled region that can be entered here, 0: none (jit/jit.ts). */
export const B_JIT: u32 = 28;
export const BLOCK_HEADER: u32 = 32;
/** B_MODE of a dropped block. */
export const MODE_DEAD: u32 = 0xff;

/** In B_MODE: the block holds one instruction only (single step, interrupt shadow). */
export const MODE_SINGLE: u32 = 4;

/** Longest block: 64 instructions of up to 6 micro-ops, and the END. */
export const MAX_BLOCK_INSNS: u32 = 64;
export const MAX_BLOCK_BYTES: u32 = BLOCK_HEADER + (MAX_BLOCK_INSNS * 6 + 1) * UOP_SIZE;

let hashBase: u32 = 0;
let pageBase: u32 = 0;
let blocksStart: u32 = 0;
let blocksEnd: u32 = 0;
/** Where the next block goes. */
export let freeBlock: u32 = 0;
/** Sequence of the code ring up to which it has been read. */
export let ringSeen: u32 = 0;
export function setRingSeen(sequence: u32): void {
  ringSeen = sequence;
}

/** Statistics. */
export let blocksDecoded: u32 = 0;
export let pagesDropped: u32 = 0;

/** Binds this instance to its cache; dropAllBlocks comes next. */
export function bindCodeCache(): void {
  const cache = load<u32>(cpu, R_CODE_CACHE);
  hashBase = cache + CACHE_HASH;
  pageBase = cache + CACHE_PAGES;
  blocksStart = cache + CACHE_BLOCKS;
  blocksEnd = cache + load<u32>(cpu, R_CODE_CACHE_SIZE);
}

/** Forgets every block; regions must go with them (invalidate.ts). */
export function dropAllBlocks(): void {
  memory.fill(hashBase, 0, CACHE_HASH_SIZE + CACHE_PAGES_SIZE);
  freeBlock = blocksStart;
  ringSeen = atomic.load<u32>(CODE_RING_SEQ);
  newGeneration();
}

// @ts-ignore: decorator
@inline
function hashSlot(linear: u32, mode: u32): u32 {
  return hashBase + (((linear ^ (linear >> 14) ^ (mode << 11)) & (CACHE_HASH_COUNT - 1)) << 2);
}

/** The block that starts at a linear address, or 0. A block that crosses pages is only a match if the caller checks B_PAGE2. */
// @ts-ignore: decorator
@inline
export function findBlock(linear: u32, mode: u32): u32 {
  let block = load<u32>(hashSlot(linear, mode));
  while (block) {
    if (load<u32>(block, B_ADDRESS) === linear && load<u32>(block, B_MODE) === mode) break;
    block = load<u32>(block, B_HASH_NEXT);
  }
  return block;
}

/** Memory beside the blocks, which lives as long as they do. 0 when the cache is full. */
export function allocate(lengthBytes: u32): u32 {
  const start = freeBlock;
  const end = start + ((lengthBytes + 7) & ~7);
  if (end > blocksEnd) return 0;
  assert((start & 7) === 0);
  freeBlock = end;
  return start;
}

/** Bytes that a processor's caches load at once: a block's header and first micro-op lie in one of those. */
const LINE_BYTES: u32 = 64;

/** Makes a block of the longest size begin at freeBlock; false when there is no room for it. */
export function beginBlock(): bool {
  freeBlock = (freeBlock + (LINE_BYTES - 1)) & ~(LINE_BYTES - 1);
  return freeBlock + MAX_BLOCK_BYTES <= blocksEnd;
}

/** Enters a finished block whose micro-ops end at `end`, and marks its pages as code. */
export function enterBlock(block: u32, linear: u32, mode: u32, page2: u32, end: u32): void {
  assert(end <= block + MAX_BLOCK_BYTES);
  store<u32>(block, linear, B_ADDRESS);
  store<u32>(block, mode, B_MODE);
  store<u32>(block, page2, B_PAGE2);
  store<u32>(block, 0, B_PAGE2_NEXT);
  store<u32>(block, 0, B_HEAT);
  store<u32>(block, 0, B_JIT);
  const slot = hashSlot(linear, mode);
  store<u32>(block, load<u32>(slot), B_HASH_NEXT);
  store<u32>(slot, block);
  const head = pageBase + ((linear >> 12) << 2);
  store<u32>(block, load<u32>(head), B_PAGE_NEXT);
  store<u32>(head, block);
  if (markCodePage(linear)) dropWriters(linear >> 12);
  // Two virtual pages can be one physical page: such a block is on that page's list once, as its first.
  if (page2 && page2 >> 12 !== linear >> 12) {
    const head2 = pageBase + ((page2 >> 12) << 2);
    store<u32>(block, load<u32>(head2), B_PAGE2_NEXT);
    store<u32>(head2, block);
    if (markCodePage(page2)) dropWriters(page2 >> 12);
  }
  freeBlock = end;
  blocksDecoded++;
}

function unhash(block: u32): void {
  let slot = hashSlot(load<u32>(block, B_ADDRESS), load<u32>(block, B_MODE));
  for (;;) {
    const b = load<u32>(slot);
    if (!b) return;
    if (b === block) {
      store<u32>(slot, load<u32>(block, B_HASH_NEXT));
      return;
    }
    slot = b + B_HASH_NEXT;
  }
}

/** The blocks that lie in a linear page, one after another; 0 at the end. */
export function firstBlockOfPage(linearPage: u32): u32 {
  return load<u32>(pageBase + (linearPage << 2));
}
export function nextBlockOfPage(block: u32, linearPage: u32): u32 {
  return load<u32>(block, B_ADDRESS) >> 12 === linearPage
    ? load<u32>(block, B_PAGE_NEXT)
    : load<u32>(block, B_PAGE2_NEXT);
}

/** Drops the blocks of a linear page (given by number); regions with code of it must go before (invalidate.ts). */
export function dropBlocksOf(linearPage: u32): void {
  const head = pageBase + (linearPage << 2);
  let block = load<u32>(head);
  if (!block) return;
  pagesDropped++;
  newGeneration();
  store<u32>(head, 0);
  while (block) {
    // A block is on this page's list as its first or as its second page; that decides which link to follow. A dead one (dropped
    // through its other page) keeps its links.
    const first = load<u32>(block, B_ADDRESS) >> 12 === linearPage;
    const next = first ? load<u32>(block, B_PAGE_NEXT) : load<u32>(block, B_PAGE2_NEXT);
    if (load<u32>(block, B_MODE) !== MODE_DEAD) {
      unhash(block);
      store<u32>(block, MODE_DEAD, B_MODE);
    }
    block = next;
  }
}
