/**
 * Decoded and compiled code that is no longer good: pages that were written, a cache that is full, what other vCPUs announce in the code
 * ring. Blocks (code-cache.ts) and regions (jit/jit.ts) go together here, and know nothing of each other's end.
 */
import { dropRegionsWith, forgetRegions, REGION_TABLES } from '../jit/jit';
import { CACHE_REGIONS, CODE_RING, CODE_RING_ENTRIES, CODE_RING_SEQ, R_RING_SEEN } from '../layout';
import { newGeneration } from '../mmu/generation';
import { RING_BECAME_CODE, RING_FLUSH, noteWrite } from '../mmu/physical';
import { dropWriteTranslations, flushAll } from '../mmu/tlb';
import { bindBlocks, emptyBlocks, firstBlockOfPage, freeBlock, hasRoomForBlock, unlinkBlocksOf } from './code-cache';
import { cpu } from './state';

let ringSeen: u32 = 0;

/** Binds this instance to its cache and empties it. */
export function initCodeCache(): void {
  bindBlocks(CACHE_REGIONS + REGION_TABLES);
  dropAllCode();
}

/** Forgets every block and every region. */
function dropAllCode(): void {
  emptyBlocks();
  forgetRegions();
  ringSeen = atomic.load<u32>(CODE_RING_SEQ);
}

/** Where the next block goes; starts the cache again when it is full. */
export function reserveBlock(): u32 {
  if (!hasRoomForBlock()) dropAllCode();
  return freeBlock;
}

/** Drops the code of a linear page (given by number). */
function dropPage(linearPage: u32): void {
  if (!firstBlockOfPage(linearPage)) return;
  newGeneration();
  dropRegionsWith(linearPage);
  unlinkBlocksOf(linearPage);
}

/** Does what the code ring asks since it was last read. */
export function readCodeRing(): void {
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
      if (dropWriteTranslations(entry & 0xfffff)) noteWrite((entry & 0xfffff) << 12, 1);
    } else dropPage(entry);
    ringSeen++;
  }
  atomic.store<u32>(cpu, ringSeen, R_RING_SEEN);
}
