/**
 * Numbers of what is known about translations and code, for caches keyed by linear addresses (jit/jump-cache.ts): what was noted under another
 * number is stale. Each address space has its own, so that coming back to it finds what is still true.
 */
import { R_JUMPS, R_JUMPS_SIZE } from '../layout';
import { SPACES, space } from './banks';

const LAST: u64 = 0x7fff;

/** The number in use, 1 to LAST. */
export let generation: u64 = 0;

let newest: u64 = 0;
/** u64 per space: its number; 0: none yet. */
const ofSpace = memory.data(8 * 8);
let cpuBlock: u32 = 0;

export function bindGeneration(cpu: u32): void {
  cpuBlock = cpu;
}

function next(): void {
  newest++;
  if (newest > LAST || newest === 1) {
    newest = 1;
    memory.fill(cpuBlock + R_JUMPS, 0, R_JUMPS_SIZE);
    memory.fill(ofSpace, 0, SPACES * 8);
  }
  generation = newest;
  store<u64>(ofSpace + (space << 3), generation);
}

/** Translations or code have changed, in any address space. */
export function newGeneration(): void {
  memory.fill(ofSpace, 0, SPACES * 8);
  next();
}

/** Translations of the address space in use have changed, and of no other. */
export function newGenerationOfSpace(): void {
  next();
}

/** Another space is in use. */
export function resumeGeneration(): void {
  generation = load<u64>(ofSpace + (space << 3));
  if (!generation) next();
}

assert(SPACES === 8);
