/** What the functions of X return: how the interpreter goes on. */

/** The instruction is complete; go on with the next micro-op. */
export const DONE: u32 = 0;
/** An exception is pending. */
export const FAULT: u32 = 1;
/** R_RIP says where to go on; modes or translations may have changed. */
export const REDISPATCH: u32 = 2;
/** Leave run() with R_EXIT_REASON. */
export const EXIT_RUN: u32 = 3;
