/**
 * What compiled regions, the core and the host agree on. Like layout.ts this file is read by both compilers: untyped integer constants only.
 *
 * A region is a WebAssembly function `(cpu, bank, budget, entry: i32, page: i64) -> JIT_*`. It imports the machine's memory and a small table
 * of helpers, nothing else: importing the core's own table is costly on older engines (a copy for every instance).
 */

/** Linear address `page` is where the region's page of code is mapped now; R_JIT_TARGET says where to go on. */
export const JIT_GO = 0;
/** An exception is pending at the micro-op R_JIT_UOP. */
export const JIT_FAULT = 1;
/** An X function has set R_RIP; modes or translations may have changed. */
export const JIT_REDISPATCH = 2;
/** An X function asked to leave run(). */
export const JIT_EXIT_RUN = 3;

// Helpers: their places in the table that regions import.
/** (address i64, size i32) -> i64: a read that missed the TLB; R_JIT_FAULT tells of a fault. */
export const HELPER_READ = 0;
/** (address i64, value i64, size i32) -> i32: a write that missed the TLB: WRITE_*. */
export const HELPER_WRITE = 1;
/** (address i64, size i32) -> i64: begins a read-modify-write that missed the TLB. */
export const HELPER_RMW = 2;
/** (value i64, size i32) -> i32: ends it: WRITE_*. */
export const HELPER_RMW_END = 3;
/** (micro-op i32, page i64) -> i32: a whole micro-op as the interpreter runs it: RUN_*. */
export const HELPER_RUN = 4;
/** (kind i32, a i64, b i64, result i64, aux i32): flags of an operation into R_LAZY_*. */
export const HELPER_FLAGS = 5;
export const HELPER_COUNT = 6;

export const WRITE_OK = 0;
export const WRITE_FAULT = 1;
/** Written, but the page held code: leave the region after this instruction. */
export const WRITE_LEAVE = 2;

/** The micro-op is done. */
export const RUN_OK = 0;
/** RUN_LEAVE + JIT_*: leave the region with that code. */
export const RUN_LEAVE = 1;

/** Slots of the core's table that regions can have; the host grows the table by so many. */
export const REGION_SLOTS = 0x8000;
