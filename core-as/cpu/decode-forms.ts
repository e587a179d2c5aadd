/** Forms of operands and branches that the one-byte and the two-byte opcode map share. */
import {
  dmode,
  emitBranch,
  isMemory,
  osize,
  out,
  prefix66,
  rex,
  s32next,
  setEnds,
  u16next,
  undefinedOpcode,
} from './decode-state';
import { isAmd } from './features';
import { MODE_64 } from './state';
import { K, SUB_LINKABLE, UOP_SIZE, U_IMM, U_SCALE, U_SUB, X } from './uops';

/** Stack and near-branch operand size: 8 in 64-bit mode unless a 66 prefix makes it 2. */
export function stackSize(): u32 {
  return dmode === MODE_64 ? (prefix66 && !(rex & 8) ? 2 : 8) : osize;
}

/** Near branches in 64-bit mode are 64 bits wide; Intel ignores a 66 prefix there, AMD does not. */
export function branchSize(): u32 {
  if (dmode !== MODE_64) return osize;
  return osize === 2 && isAmd() ? 2 : 8;
}

/** Offsets of far pointers in memory: AMD knows none of 64 bits. */
export function farSize(): u32 {
  return osize === 8 && isAmd() ? 4 : osize;
}

/** A relative jump, conditional when code is 0-15 (16: always). */
export function jump(code: u32, relative: i64, pageOffset: u32, start: u32): void {
  if (branchSize() === 2) {
    const p = emitBranch(K.CALL_X, relative, pageOffset, start);
    store<u32>(p, code === 16 ? X.JMP_REL16 : X.JCC_REL16, U_SUB);
    store<u8>(p, <u8>code, U_SCALE);
    setEnds();
    return;
  }
  const p = emitBranch(code === 16 ? K.JMP : K.JO + code, relative, pageOffset, start);
  store<u32>(p, SUB_LINKABLE, U_SUB);
  if (code === 16) setEnds();
}

/** A conditional jump of the two-byte map. */
export function jumpNear(code: u32, pageOffset: u32, start: u32): void {
  const relative = branchSize() === 2 ? <i64>(<i16>u16next()) : s32next();
  jump(code, relative, pageOffset, start);
}

/** Gives the LOAD_FAR just emitted its segment register. */
export function loadFarSegment(s: u32): void {
  if (!isMemory) {
    undefinedOpcode();
    return;
  }
  store<u64>(out - UOP_SIZE, s, U_IMM);
  setEnds();
}
