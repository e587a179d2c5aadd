/**
 * Regions of 64-bit code and of 32-bit code with flat segments (cpu/state.ts: MODE_FLAT) are translated alike but for the width of addresses,
 * of the stack's slots and of what branches take from registers. What differs is said here.
 */
import { CS, FS, MODE_FLAT } from '../cpu/state';
import { SEG_A32, SEG_A64 } from '../cpu/uops';
import * as w from './wasm';

/** The region that is being translated is 32-bit code. */
export let isNarrow: bool = false;

/** A region of blocks of a mode is begun. */
export function setWidth(mode: u32): void {
  isNarrow = mode === MODE_FLAT;
}

/** log2 of the bytes of an address. */
// @ts-ignore: decorator
@inline
export function addressLog2(): u32 {
  return isNarrow ? 2 : 3;
}

/** Bytes of a slot of the stack. */
// @ts-ignore: decorator
@inline
export function slotBytes(): i64 {
  return isNarrow ? 4 : 8;
}

/** U_SEG of an operand: its address is the sum of its parts, cut to nothing but the width of the code's addresses, in a flat segment. */
export function isPlain(seg: u32): bool {
  return (seg & 0x30) === (isNarrow ? SEG_A32 : SEG_A64) && !hasOwnSegment(seg);
}

/** U_SEG of an operand: its segment has a base or, in narrow code, rights of its own: nothing can be written to CS. */
export function hasOwnSegment(seg: u32): bool {
  return (seg & 7) >= FS || (isNarrow && (seg & 7) === CS);
}

/** Cuts the sum of addresses on the stack (i64) to the width that they have. */
export function cutSum(): void {
  if (isNarrow) cutTo32();
}

/** Cuts the i64 on the stack to 32 bits. */
export function cutTo32(): void {
  w.byte(w.I32_WRAP_I64);
  w.byte(w.I64_EXTEND_I32_U);
}

/** An address as it is known when it is translated, cut likewise. */
export function cutConstant(address: i64): i64 {
  return isNarrow ? address & 0xffffffff : address;
}
