/**
 * Numbers of what is known about translations and code, for caches keyed by linear addresses (jit/jump-cache.ts): what was noted under another
 * number is stale. Each address space has its own, so that coming back to it finds what is still true.
 */
import { R_JUMPS, R_JUMPS_SIZE } from '../layout';
import { SPACES, SPACE_GENERATION, space, spaceNotes } from './banks';

/** One bit less than the jump cache's tags have room for, which also say what code a jump leads to. */
const LAST: u64 = 0x3fff;

/** The number in use, 1 to LAST. */
export let generation: u64 = 0;

let newest: u64 = 0;
let cpuBlock: u32 = 0;

export function bindGeneration(cpu: u32): void {
  cpuBlock = cpu;
}

function forgetAll(): void {
  for (let n: u32 = 0; n < SPACES; n++) store<u64>(spaceNotes(n), 0, SPACE_GENERATION);
}

function next(): void {
  newest++;
  if (newest > LAST || newest === 1) {
    newest = 1;
    memory.fill(cpuBlock + R_JUMPS, 0, R_JUMPS_SIZE);
    forgetAll();
  }
  generation = newest;
  store<u64>(spaceNotes(space), generation, SPACE_GENERATION);
}

/** Translations or code have changed, in any address space. */
export function newGeneration(): void {
  forgetAll();
  next();
}

/** Translations of the address space in use have changed, and of no other. */
export function newGenerationOfSpace(): void {
  next();
}

/** Another space is in use. */
export function resumeGeneration(): void {
  generation = load<u64>(spaceNotes(space), SPACE_GENERATION);
  if (!generation) next();
}
