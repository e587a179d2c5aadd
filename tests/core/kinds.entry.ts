/** The core, and what tests/core/kinds.test.ts asks about its micro-ops. */
import { BLOCK_HEADER, MODE_SINGLE, findBlock } from '../../core-as/cpu/code-cache';
import { mode } from '../../core-as/cpu/state';

export * from '../../core-as/index';
export { kindOfRow, kindProperties } from '../../core-as/cpu/kinds';

/** The first micro-op of the block of one instruction that was decoded at a linear address in the mode that the vCPU is in, or 0. */
export function firstUop(linear: u32): u32 {
  const block = findBlock(linear, mode | MODE_SINGLE);
  return block ? block + BLOCK_HEADER : 0;
}
