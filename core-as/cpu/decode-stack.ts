/** The stack, and near calls, returns and jumps through operands: micro-ops of their own in 64-bit mode and in 32-bit code with flat segments. */
import { branchSize, stackSize } from './decode-forms';
import {
  asize,
  dmode,
  emit,
  emitBranch,
  emitImm,
  emitLoad,
  emitX,
  emitXImm,
  emitXModrm,
  frameOperand,
  osize,
  rmSource,
  s32next,
  setAddress,
  setEnds,
  u16next,
} from './decode-state';
import { MODE_FLAT, RBP, RSP } from './state';
import { K, SEG_A32, STACK_APART, SUB_LINKABLE, SUB_SIZE_SHIFT, T0, U_S, U_SEG, U_SUB, X } from './uops';

/** The micro-op of a branch or a stack access with operands of a size, by that of 64-bit mode; 0: the interpreter has a function for it (X). */
function stackKind(kind: u32, sizeBytes: u32): u32 {
  if (sizeBytes === 8) return kind;
  return sizeBytes === 4 && dmode === MODE_FLAT ? kind + STACK_APART : 0;
}

/** emitX with a register as its rm operand. */
function emitRegisterX(x: u32, sizeBytes: u32, offset: u32): void {
  const p = emitX(x, sizeBytes);
  store<u8>(p, <u8>offset, U_S);
  store<u8>(p, <u8>(asize | 0x80), U_SEG);
}

export function push(offset: u32): void {
  const size = stackSize();
  const kind = stackKind(K.PUSH, size);
  if (kind) emit(kind, 0, offset);
  else emitRegisterX(X.PUSH_RM, size, offset);
}

export function pop(offset: u32): void {
  const size = stackSize();
  const kind = stackKind(K.POP, size);
  if (kind) emit(kind, offset, 0);
  else emitRegisterX(X.POP_RM, size, offset);
}

export function pushImmediate(imm: i64): void {
  const size = stackSize();
  const kind = stackKind(K.PUSH, size);
  if (kind === K.PUSH) emitImm(K.PUSHI, 0, imm);
  else if (kind) {
    emitImm(K.MOVI64, T0, imm & 0xffffffff);
    emit(kind, 0, T0);
  } else emitXImm(X.PUSH_IMM, size, imm);
}

/** PUSH of modrm.rm. */
export function pushOperand(): void {
  const size = stackSize();
  const kind = stackKind(K.PUSH, size);
  if (kind) emitFromOperand(kind, size);
  else emitXModrm(X.PUSH_RM, size);
}

/** LEAVE. In 32-bit code it is a load, which may fault, and two moves. */
export function leave(): void {
  const size = stackSize();
  if (size === 8) emit(K.LEAVE, 0, 0);
  else if (size === 4 && dmode === MODE_FLAT && asize === SEG_A32) {
    frameOperand(0);
    emitLoad(K.LD32, T0);
    frameOperand(4);
    setAddress(emit(K.LEA32, RSP << 3, 0));
    emit(K.MOV32, RBP << 3, T0);
  } else emitX(X.LEAVE, size);
}

/** A micro-op whose source is modrm.rm. */
function emitFromOperand(kind: u32, sizeBytes: u32): void {
  const s = rmSource(sizeBytes);
  emit(kind, 0, s);
}

/** JMP near through modrm.rm. */
export function jumpToOperand(): void {
  const size = branchSize();
  if (size === 8) emitFromOperand(K.JMPR, 8);
  else if (size === 4 && dmode === MODE_FLAT) {
    const s = rmSource(4);
    // Of 64 bits.
    if (s !== T0) emit(K.MOV32, T0, s);
    emit(K.JMPR, 0, T0);
  } else emitXModrm(X.JMP_RM, size);
}

/** CALL near through modrm.rm. */
export function callOperand(): void {
  const kind = stackKind(K.CALLR, branchSize());
  if (kind) emitFromOperand(kind, branchSize());
  else emitXModrm(X.CALL_RM, osize);
}

/** CALL near, relative. */
export function callRelative(pageOffset: u32, start: u32): void {
  const relative = branchSize() === 2 ? <i64>(<i16>u16next()) : s32next();
  const kind = stackKind(K.CALL, branchSize());
  if (kind) {
    const p = emitBranch(kind, relative, pageOffset, start);
    store<u32>(p, SUB_LINKABLE, U_SUB);
  } else {
    const p = emitBranch(K.CALL_X, relative, pageOffset, start);
    store<u32>(p, X.CALL_REL | (osize << SUB_SIZE_SHIFT), U_SUB);
  }
  setEnds();
}

export function nearReturn(extra: i64): void {
  setEnds();
  const kind = stackKind(K.RET, branchSize());
  if (kind) emitImm(kind, 0, extra);
  else emitXImm(X.RET, osize, extra);
}
