/**
 * Pairs of micro-ops that the interpreter runs in one step: a comparison with the branch on it, and the stack and register moves that functions begin
 * and end with. The pair's first micro-op says so in U_OP; both stay what they are for everybody else, and the second can be resumed at.
 */
import { K, UOP_SIZE, U_KIND, U_OP } from './uops';

/** What U_OP can hold beside K, of which SIMD_R stands for the kinds behind it. */
export const enum PAIR {
  CMP32_JB = K.SIMD_R + 1,
  CMP32_JNB,
  CMP32_JZ,
  CMP32_JNZ,
  CMP32_JBE,
  CMP32_JNBE,
  CMPI32_JB,
  CMPI32_JNB,
  CMPI32_JZ,
  CMPI32_JNZ,
  CMPI32_JBE,
  CMPI32_JNBE,
  CMP64_JB,
  CMP64_JNB,
  CMP64_JZ,
  CMP64_JNZ,
  CMP64_JBE,
  CMP64_JNBE,
  CMPI64_JB,
  CMPI64_JNB,
  CMPI64_JZ,
  CMPI64_JNZ,
  CMPI64_JBE,
  CMPI64_JNBE,
  CMP8_JZ,
  CMP8_JNZ,
  CMPI8_JZ,
  CMPI8_JNZ,
  TEST8_JZ,
  TEST8_JNZ,
  TESTI8_JZ,
  TESTI8_JNZ,
  TEST32_JZ,
  TEST32_JNZ,
  TESTI32_JZ,
  TESTI32_JNZ,
  TEST64_JZ,
  TEST64_JNZ,
  MOV64_MOV64,
  LD64_LD64,
  PUSH_PUSH,
  PUSH_MOV64,
  POP_POP,
  POP_RET,
}

/** Conditions from JB to JNBE, and of those JZ and JNZ. */
function withOrder(first: u32, branch: u32): u32 {
  return branch >= <u32>K.JB && branch <= <u32>K.JNBE ? first + (branch - K.JB) : 0;
}
function withZero(first: u32, branch: u32): u32 {
  return branch === K.JZ || branch === K.JNZ ? first + (branch - K.JZ) : 0;
}

/** The pair of two kinds, or 0. */
function pairOf(first: u32, second: u32): u32 {
  switch (<i32>first) {
    case K.CMP32:
      return withOrder(PAIR.CMP32_JB, second);
    case K.CMPI32:
      return withOrder(PAIR.CMPI32_JB, second);
    case K.CMP64:
      return withOrder(PAIR.CMP64_JB, second);
    case K.CMPI64:
      return withOrder(PAIR.CMPI64_JB, second);
    case K.CMP8:
      return withZero(PAIR.CMP8_JZ, second);
    case K.CMPI8:
      return withZero(PAIR.CMPI8_JZ, second);
    case K.TEST8:
      return withZero(PAIR.TEST8_JZ, second);
    case K.TESTI8:
      return withZero(PAIR.TESTI8_JZ, second);
    case K.TEST32:
      return withZero(PAIR.TEST32_JZ, second);
    case K.TESTI32:
      return withZero(PAIR.TESTI32_JZ, second);
    case K.TEST64:
      return withZero(PAIR.TEST64_JZ, second);
    case K.MOV64:
      return second === K.MOV64 ? PAIR.MOV64_MOV64 : 0;
    case K.LD64:
      return second === K.LD64 ? PAIR.LD64_LD64 : 0;
    case K.PUSH:
      return second === K.PUSH ? PAIR.PUSH_PUSH : second === K.MOV64 ? PAIR.PUSH_MOV64 : 0;
    case K.POP:
      return second === K.POP ? PAIR.POP_POP : second === K.RET ? PAIR.POP_RET : 0;
  }
  return 0;
}

/** Finds the pairs among micro-ops, from the first one on; none is in two. */
export function fuse(first: u32, end: u32): void {
  for (let p = first; p + UOP_SIZE < end; p += UOP_SIZE) {
    const pair = pairOf(load<u8>(p, U_KIND), load<u8>(p + UOP_SIZE, U_KIND));
    if (!pair) continue;
    store<u8>(p, <u8>pair, U_OP);
    p += UOP_SIZE;
  }
}

assert(K.JNBE - K.JB === 5 && K.JZ - K.JB === 2 && K.JNZ - K.JZ === 1);
assert(PAIR.CMP32_JNBE - PAIR.CMP32_JB === 5 && PAIR.CMPI64_JNBE - PAIR.CMPI64_JB === 5);
assert(PAIR.POP_RET <= <i32>u8.MAX_VALUE);
