/**
 * From the linear address of code to the region that is entered there, so that regions follow each other without a look at page
 * translations and blocks. Whatever changes those makes entries stale by a new generation number (mmu/generation.ts).
 */
import { JUMP_COUNT, R_CPL, R_JUMPS } from '../layout';
import { cpu } from '../cpu/state';
import { generation } from '../mmu/generation';

/** What code a jump leads to, in its tag: a program may have 64-bit and 32-bit code at one address. */
export const JUMP_64: u64 = 0;
export const JUMP_FLAT: u64 = 1 << 63;

// @ts-ignore: decorator
@inline
function place(target: u64): u32 {
  return cpu + R_JUMPS + (((<u32>(target ^ (target >> 12))) & (JUMP_COUNT - 1)) << 4);
}

/** The address's 48 bits with the generation and the privilege, which decides what may be executed. */
// @ts-ignore: decorator
@inline
function tag(target: u64, code: u64): u64 {
  return (target & 0xffffffffffff) | (((generation << 1) | (load<u32>(cpu, R_CPL) === 3 ? 1 : 0)) << 48) | code;
}

/** B_JIT of the block at the address, or 0: unknown. */
// @ts-ignore: decorator
@inline
export function findJump(target: u64, code: u64): u32 {
  const at = place(target);
  return load<u64>(at) === tag(target, code) ? load<u32>(at, 8) : 0;
}

/** Notes where a region is entered. */
export function rememberJump(target: u64, entry: u32, code: u64): void {
  const at = place(target);
  store<u64>(at, tag(target, code));
  store<u32>(at, entry, 8);
}
