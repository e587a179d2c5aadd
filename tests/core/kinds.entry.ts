/** The core, and what tests/core/kinds.test.ts asks about its micro-ops. */
import { BLOCK_HEADER, MODE_SINGLE, findBlock } from '../../core-as/cpu/code-cache';
import { MODE_64 } from '../../core-as/cpu/state';

export * from '../../core-as/index';
export { kindOfRow, kindProperties } from '../../core-as/cpu/kinds';

/** The first micro-op of the block of one instruction that was decoded at a linear address, or 0. */
export function firstUop(linear: u32): u32 {
  const block = findBlock(linear, MODE_64 | MODE_SINGLE);
  return block ? block + BLOCK_HEADER : 0;
}
