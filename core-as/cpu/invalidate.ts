/** Code that is no longer what was decoded: blocks and compiled regions go together. */
import {
  CHUNK_SHIFT,
  CODE_RING,
  CODE_RING_ENTRIES,
  CODE_RING_SEQ,
  HOST_DOORBELL,
  MEMORY_LOW,
  R_RING_SEEN,
} from '../layout';
import { dropRegionsWith, forgetRegions } from '../jit/jit';
import { RING_BECAME_CODE, RING_DROP_CHUNK, RING_FLUSH, noteWrite } from '../mmu/physical';
import { flushAll } from '../mmu/tlb';
import { dropWriters } from '../mmu/writers';
import {
  bindCodeCache,
  dropAllBlocks,
  dropBlocksOf,
  firstBlockOfPage,
  freeBlock,
  beginBlock,
  ringSeen,
  setRingSeen,
} from './code-cache';
import { cpu } from './state';

/** Binds this instance to its cache of code and empties it. */
export function initCodeCache(): void {
  bindCodeCache();
  dropAllCode();
}

/** Forgets every block and region. */
function dropAllCode(): void {
  dropAllBlocks();
  forgetRegions();
}

/** Where a block of the longest size can go; starts the cache again when it is full. */
export function reserveBlock(): u32 {
  if (!beginBlock()) dropAllCode();
  return freeBlock;
}

/** Drops the blocks of a linear page (given by number), and the ways into regions with code of it. */
function dropPage(linearPage: u32): void {
  if (!firstBlockOfPage(linearPage)) return;
  dropRegionsWith(linearPage);
  dropBlocksOf(linearPage);
}

/** dropPage() for 2 MiB of linear memory. */
function dropChunk(number: u32): void {
  const pagesShift: u32 = CHUNK_SHIFT - 12;
  for (let page: u32 = 0; page < 1 << pagesShift; page++) dropPage((number << pagesShift) + page);
}

/** Does what the code ring asks since it was last read. */
export function readCodeRing(): void {
  followCodeRing();
  // The host waits for this.
  if (!atomic.load<u32>(MEMORY_LOW)) return;
  atomic.add<i32>(HOST_DOORBELL, 1);
  atomic.notify(HOST_DOORBELL, i32.MAX_VALUE);
}

function followCodeRing(): void {
  const sequence = atomic.load<u32>(CODE_RING_SEQ);
  if (sequence - ringSeen > <u32>CODE_RING_ENTRIES / 2) {
    // Too far behind to know which pages: drop all code, and all translations, for any page may have become code.
    flushAll();
    dropAllCode();
    atomic.store<u32>(cpu, ringSeen, R_RING_SEEN);
    return;
  }
  while (ringSeen !== sequence) {
    const entry = atomic.load<u32>(CODE_RING + ((ringSeen % CODE_RING_ENTRIES) << 2));
    if (entry & RING_FLUSH) flushAll();
    else if (entry & RING_BECAME_CODE) {
      // This vCPU could write to the page unseen until now, perhaps after the other one had decoded it.
      if (dropWriters(entry & 0xfffff)) noteWrite((entry & 0xfffff) << 12, 1);
    } else if (entry & RING_DROP_CHUNK) dropChunk(entry & ~RING_DROP_CHUNK);
    else dropPage(entry);
    setRingSeen(ringSeen + 1);
  }
  atomic.store<u32>(cpu, ringSeen, R_RING_SEEN);
}
