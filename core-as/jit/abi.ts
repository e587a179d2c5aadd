/**
 * What compiled regions, the core and the host agree on. Like layout.ts this file is read by both compilers: untyped integer constants only.
 *
 * A region is a WebAssembly function `(cpu, bank, budget, entry: i32, page: i64) -> i32`: it returns the byte offset of a record in its table of
 * sites, which says where and why it was left. It imports the machine's memory and a small table of helpers, nothing else: importing the core's
 * own table is costly on older engines (a copy for every instance).
 */

// A site: a place where a region can be left (jit/exits.ts).
/** i32: where to go on, relative to the page that the region was entered with. */
export const S_OFFSET = 0;
/** u32: the micro-op that the site belongs to. */
export const S_UOP = 4;
/** u32: linear address of the page that holds the micro-op's code. */
export const S_PAGE = 8;
/** u8: instructions that the region has taken from the budget and not executed. */
export const S_REST = 12;
/** u8: SITE_*. */
export const S_CODE = 13;
/** u8: how the access was translated (FORM_*). */
export const S_FORM = 14;
/** u8: how often the region was left here, for SITE_ASIDE. */
export const S_TIMES = 15;
export const SITE_SIZE = 16;

/** Go on at S_OFFSET. */
export const SITE_GO = 0;
/** Go on at the linear address R_JIT_TARGET; the first site of every region, whose record need not be read. */
export const SITE_DYNAMIC = 1;
/** A side exit: the interpreter runs the micro-op at S_UOP, before which the state is that of its instruction's start. */
export const SITE_ASIDE = 2;
/** An exception is pending at the micro-op S_UOP. */
export const SITE_FAULT = 3;
/** A micro-op that a helper ran asks for what R_JIT_STATUS says: JIT_*. */
export const SITE_STATUS = 4;

/** S_FORM: the check covers several accesses. */
export const FORM_GROUPED = 1;
/** S_FORM: one access. */
export const FORM_SINGLE = 2;
/** S_FORM: not a memory access, or one that cannot be translated otherwise. */
export const FORM_FIXED = 0;

/** R_JIT_STATUS: leave for R_JIT_TARGET. */
export const JIT_GO = 0;
/** An exception is pending at the micro-op. */
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
/** (site i32, page i64) -> i32: the site's micro-op as the interpreter runs it: 0, or not when the region is to be left by SITE_STATUS. */
export const HELPER_RUN = 4;
/** (kind i32, a i64, b i64, result i64, aux i32): flags of an operation into R_LAZY_*. */
export const HELPER_FLAGS = 5;
/** (site i32, operand i32) -> i32: the site's SIMD micro-op with its memory operand, if it has one, at a linear memory address: 0, or not when it faults. */
export const HELPER_VECTOR = 6;
/** (site i32, page i64) -> i32: the MOVS or STOS of a site: 0, or not when the region is to be left by SITE_STATUS. */
export const HELPER_STRING = 7;
export const HELPER_COUNT = 8;

export const WRITE_OK = 0;
export const WRITE_FAULT = 1;
/** Written, but the page held code: leave the region after this instruction. */
export const WRITE_LEAVE = 2;

// What the host is told of a region that is to be shown (jit/dump.ts): a record, and behind it one for each node.
/** u64: linear address that its first page is mapped at. */
export const DUMP_PAGE = 0;
/** u32: address of the function's body, and its bytes. */
export const DUMP_BODY = 8;
export const DUMP_BODY_BYTES = 12;
/** u32: nodes. */
export const DUMP_NODES = 16;
export const DUMP_HEADER = 24;
/** i64: distance of the node's page from the first one. */
export const D_DISTANCE = 0;
/** u32: its first micro-op, and the end of its last one. */
export const D_FIRST = 8;
export const D_END = 12;
/** u32: linear memory address of its page. */
export const D_LINEAR = 16;
export const DUMP_NODE_SIZE = 24;
