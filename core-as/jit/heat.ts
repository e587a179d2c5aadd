/**
 * How hot a block must be to be compiled: a budget of bytes of WebAssembly for the time that the interpreter takes.
 *
 * A block's way through the engine's two compilers costs as much as some thousand runs of it in the interpreter. While much is compiled (a boot, a new
 * program) only blocks of HOT_MOST entries are worth that, and the engine's optimizing compiler keeps up. When a guest then goes on for
 * long with code that runs once for each request or packet, time in the interpreter earns bytes, and ever cooler blocks are compiled, down to
 * HOT_LEAST.
 */

/** Entries of a block in the interpreter between two looks at whether it is hot; a power of two. */
export const HEAT_STEP: u32 = 512;
/** Entries of a block that make it hot, when much was compiled just before and when nothing was. */
const HOT_MOST: u32 = 4000;
const HOT_LEAST: u32 = 1000;
/**
 * A block takes part in the region around a hot one if it was entered so often, or a quarter as often as that. Blocks in the middle of a region
 * are no hotter than WARM.
 */
export const WARM: u32 = 1000;
/** Bytes that HEAT_STEP entries of a block earn: those take about 20 µs, and a byte about 0.3 µs of all processors together (docs/performance.md). */
const EARNED: u32 = 64;
/** With so many bytes not earned yet it takes HOT_MOST entries. */
const MOST_DEBT: u32 = 256 * 1024;

let debt: u32 = MOST_DEBT;

/** A block was entered HEAT_STEP times more. */
export function earn(): void {
  debt -= min<u32>(debt, EARNED);
}

/** So many bytes of WebAssembly were made. */
export function spend(bytes: u32): void {
  debt = min<u32>(debt + bytes, MOST_DEBT);
}

/** Entries that make a block hot in this moment. */
export function hotNow(): u32 {
  return HOT_LEAST + <u32>((<u64>(HOT_MOST - HOT_LEAST) * debt) / MOST_DEBT);
}

assert(popcnt(HEAT_STEP) === 1);
assert(HEAT_STEP <= HOT_LEAST);
assert(HOT_LEAST % HEAT_STEP !== 0 && WARM <= HOT_LEAST, 'what is hot, at a multiple of HEAT_STEP, is more than warm');
