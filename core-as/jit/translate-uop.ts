/** The micro-ops of straight-line code in WebAssembly: moves, arithmetic, stack; what is rare runs in the interpreter's code. */
import { R_JIT_BANK } from '../layout';
import {
  F,
  HELPER,
  IMMEDIATE,
  OPERATION_ADC,
  OPERATION_ADD,
  OPERATION_CMP,
  OPERATION_INC,
  OPERATION_NEG,
  OPERATION_NOT,
  OPERATION_OR,
  OPERATION_SAR,
  OPERATION_SBB,
  OPERATION_SHR,
  OPERATION_SUB,
  OPERATION_TEST,
  OPERATION_XOR,
  READS_CL,
  READS_FLAGS,
  READS_MEMORY,
  SIGNED,
  WRITES_FLAGS,
  WRITES_MEMORY,
  familyOf,
  fromLog2,
  isRun,
  kindProperties,
  operationOf,
  toLog2,
} from '../cpu/kinds';
import { RAX, RBP, RCX, RDX, RSP } from '../cpu/state';
import { SUB_SIZE_SHIFT, T0, T1, UOP_SIZE, U_D, U_IMM, U_KIND, U_OFF, U_S, U_SUB } from '../cpu/uops';
import { cutSum, slotBytes } from './address-width';
import { isCalled, runInHelper } from './exits';
import * as f from './flags';
import { close, openIf } from './labels';
import {
  LOCAL_AUX,
  LOCAL_BANK,
  LOCAL_CPU,
  LOCAL_FLAG_A,
  LOCAL_FLAG_B,
  LOCAL_GPR,
  LOCAL_KIND,
  LOCAL_RESULT,
  LOCAL_STATUS,
  LOCAL_VALUE,
  LOCAL_VALUE2,
  loadRegisters,
  popRegister,
  pushRegister,
  setRegister,
  sizeMask,
  storeRegisters,
} from './locals';
import { pushEffectiveAddress, readMemory, readModify, writeBack, writeMemory } from './memory';
import { forgetRanges } from './ranges';
import { translateVector } from './vector';
import { forgetVectorChecks } from './vector-operands';
import { translateX } from './translate-x';
import { hasVectorOperand, isVectorInLine } from './vector-forms';
import { isXInLine } from './x-forms';
import * as w from './wasm';

/** The stack pointer moves down by a slot. */
export function commitPush(): void {
  w.get(LOCAL_GPR + RSP);
  w.const64(slotBytes());
  w.byte(w.I64_SUB);
  cutSum();
  setRegister(RSP);
}

export function moveStack(bytes: i64): void {
  w.get(LOCAL_GPR + RSP);
  w.const64(bytes);
  w.byte(w.I64_ADD);
  cutSum();
  setRegister(RSP);
}

/** Translates a micro-op that is not a branch; `end` is where those of its node end. */
export function translateUop(p: u32, kind: i32, end: u32): void {
  const properties = kindProperties(kind);
  const d: u32 = load<u8>(p, U_D);
  const s: u32 = load<u8>(p, U_S);
  const log2 = toLog2(properties);
  const immediate = (properties & IMMEDIATE) !== 0;
  switch (familyOf(properties)) {
    case F.NOP:
      return;
    case F.FENCE:
      w.fence();
      return;
    case F.MOVE: {
      const from = fromLog2(properties);
      pushRegister(s, from);
      extendMoved(properties, from);
      popRegister(d, log2, !(properties & SIGNED));
      return;
    }
    case F.MOVE_IMMEDIATE:
      w.const64(load<i64>(p, U_IMM) & sizeMask(log2));
      popRegister(d, log2, true);
      return;
    case F.LEA:
      pushEffectiveAddress(p);
      popRegister(d, log2, log2 === 3);
      return;
    case F.LOAD: {
      const from = fromLog2(properties);
      if (properties & WRITES_MEMORY) readModify(p, from, end);
      else readMemory(p, from, end);
      extendMoved(properties, from);
      popRegister(d, log2, !(properties & SIGNED));
      return;
    }
    case F.WRITE_BACK:
      pushRegister(s, log2);
      writeBack(p, log2);
      return;
    case F.STORE:
      pushSource(p, s, log2, immediate);
      w.set(LOCAL_VALUE);
      writeMemory(p, log2, end);
      return;
    case F.ALU:
      translateAlu(p, operationOf(properties), d, s, log2, immediate);
      return;
    case F.UNARY:
      translateUnary(p, operationOf(properties), d, log2, end);
      return;
    case F.SHIFT:
      shift(shiftKind(operationOf(properties)), d, log2, load<u32>(p, U_IMM));
      return;
    case F.SHIFT_SIZED:
      translateShift(p, d, (properties & READS_CL) !== 0);
      return;
    case F.IMUL:
      translateImul(p, d, s, log2, immediate);
      return;
    case F.XCHG:
      pushRegister(d, log2);
      pushRegister(s, log2);
      popRegister(d, log2, true);
      popRegister(s, log2, true);
      return;
    case F.BSWAP:
      swapBytes(d, log2 === 3);
      return;
    case F.WIDEN:
      pushRegister(RAX << 3, log2);
      f.extend(log2);
      w.const64(63);
      w.byte(w.I64_SHR_S);
      popRegister(RDX << 3, log2, log2 === 3);
      return;
    case F.SETCC:
      f.pushCondition(load<u32>(p, U_SUB));
      w.byte(w.I64_EXTEND_I32_U);
      popRegister(d, log2, true);
      return;
    case F.CMOV:
      pushRegister(s, log2);
      pushRegister(d, log2);
      f.pushCondition(load<u32>(p, U_SUB));
      w.byte(w.SELECT);
      popRegister(d, log2, true);
      return;
    case F.PUSH:
      pushSource(p, s, log2, immediate);
      w.set(LOCAL_VALUE);
      writeMemory(p, log2, end);
      commitPush();
      return;
    case F.POP:
      readMemory(p, log2, end);
      w.set(LOCAL_VALUE);
      moveStack(slotBytes());
      w.get(LOCAL_VALUE);
      popRegister(d, log2, true);
      return;
    case F.LEAVE:
      readMemory(p, log2, end);
      w.get(LOCAL_GPR + RBP);
      w.const64(slotBytes());
      w.byte(w.I64_ADD);
      cutSum();
      setRegister(RSP);
      setRegister(RBP);
      return;
    case F.X:
      if (isXInLine(p) && !isCalled(p)) {
        translateX(p, end);
        return;
      }
      break;
    case F.SIMD:
      if (isVectorInLine(p) && !(hasVectorOperand(p) && isCalled(p))) {
        translateVector(p, end);
        return;
      }
      break;
  }
  run(p);
  if (isRun(kind)) forgetVectorChecks();
}

/** Extends the i64 on the stack as a move or load does; zero-extension from its size has happened. */
function extendMoved(properties: u32, from: u32): void {
  if (properties & SIGNED) f.extend(from);
}

/** Pushes what is stored or pushed: a register, zero-extended, or the immediate. */
function pushSource(p: u32, s: u32, log2: u32, immediate: bool): void {
  if (immediate) w.const64(load<i64>(p, U_IMM));
  else pushRegister(s, log2);
}

/** Pushes the second operand of an arithmetic micro-op, zero-extended from its size. */
function pushOperand(p: u32, s: u32, log2: u32, immediate: bool): void {
  if (immediate) w.const64(load<i64>(p, U_IMM) & sizeMask(log2));
  else pushRegister(s, log2);
}

function translateAlu(p: u32, operation: u32, d: u32, s: u32, log2: u32, immediate: bool): void {
  switch (operation) {
    case OPERATION_ADD:
    case OPERATION_SUB:
    case OPERATION_CMP: {
      pushRegister(d, log2);
      pushOperand(p, s, log2, immediate);
      w.set(LOCAL_FLAG_B);
      w.set(LOCAL_FLAG_A);
      f.setFlagKind((operation === OPERATION_ADD ? f.F_ADD : f.F_SUB) | log2);
      if (operation === OPERATION_CMP) return;
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(operation === OPERATION_ADD ? w.I64_ADD : w.I64_SUB);
      if (operation === OPERATION_SUB) {
        popRegister(d, log2, log2 === 3);
        return;
      }
      finish(d, log2);
      return;
    }
    case OPERATION_ADC:
    case OPERATION_SBB:
      translateCarry(p, d, s, log2, operation === OPERATION_SBB, immediate);
      return;
    default: {
      // OR, AND, XOR, TEST
      const zero = operation === OPERATION_XOR && !immediate && d === s;
      if (zero) w.const64(0);
      else {
        pushRegister(d, log2);
        pushOperand(p, s, log2, immediate);
        w.byte(operation === OPERATION_OR ? w.I64_OR : operation === OPERATION_XOR ? w.I64_XOR : w.I64_AND);
      }
      w.tee(LOCAL_RESULT);
      if (operation === OPERATION_TEST) w.byte(w.DROP);
      else popRegister(d, log2, true);
      if (log2 < 3) {
        w.get(LOCAL_RESULT);
        f.extend(log2);
        w.set(LOCAL_RESULT);
      }
      w.const32(0);
      w.set(LOCAL_AUX);
      f.setFlagKind(f.F_LOGIC);
    }
  }
}

/** Pops an i64 result (not cut) into a register and, sign-extended, into LOCAL_RESULT. */
function finish(d: u32, log2: u32): void {
  w.tee(LOCAL_RESULT);
  popRegister(d, log2, log2 === 3);
  if (log2 === 3) return;
  w.get(LOCAL_RESULT);
  f.extend(log2);
  w.set(LOCAL_RESULT);
}

/** ADC and SBB: canonical flags at once. */
function translateCarry(p: u32, d: u32, s: u32, log2: u32, subtract: bool, immediate: bool): void {
  // Before the operands' locals change, for the carry is derived from them.
  f.pushCondition(2);
  w.set(LOCAL_STATUS);
  pushRegister(d, log2);
  pushOperand(p, s, log2, immediate);
  w.set(LOCAL_FLAG_B);
  w.tee(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.byte(subtract ? w.I64_SUB : w.I64_ADD);
  w.get(LOCAL_STATUS);
  w.byte(w.I64_EXTEND_I32_U);
  w.byte(subtract ? w.I64_SUB : w.I64_ADD);
  w.set(LOCAL_RESULT);
  f.pushFirst(subtract);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_AND);
  f.pushFirst(subtract);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_OR);
  w.get(LOCAL_RESULT);
  if (!subtract) {
    w.const64(-1);
    w.byte(w.I64_XOR);
  }
  w.byte(w.I64_AND);
  w.byte(w.I64_OR);
  f.setCarries(log2);
  w.get(LOCAL_RESULT);
  finish(d, log2);
  f.setFlagKind(f.F_CANONICAL);
}

/** The micro-op cannot end the region and sets all flags without reading one: what they were before it is of no interest. */
function replacesFlags(p: u32): bool {
  const properties = kindProperties(load<u8>(p, U_KIND));
  return (properties & (WRITES_FLAGS | READS_FLAGS | READS_MEMORY | WRITES_MEMORY | HELPER)) === WRITES_FLAGS;
}

function translateUnary(p: u32, operation: u32, d: u32, log2: u32, end: u32): void {
  if (operation === OPERATION_NOT) {
    pushRegister(d, log2);
    w.const64(-1);
    w.byte(w.I64_XOR);
    popRegister(d, log2, log2 === 3);
    return;
  }
  if (operation === OPERATION_NEG) {
    pushRegister(d, log2);
    w.set(LOCAL_FLAG_B);
    w.const64(0);
    w.set(LOCAL_FLAG_A);
    w.const64(0);
    w.get(LOCAL_FLAG_B);
    w.byte(w.I64_SUB);
    popRegister(d, log2, log2 === 3);
    f.setFlagKind(f.F_SUB | log2);
    return;
  }
  // Another node may begin with leaving the region.
  if (p + UOP_SIZE >= end || !replacesFlags(p + UOP_SIZE)) f.carryIntoAux();
  pushRegister(d, log2);
  w.const64(operation === OPERATION_INC ? 1 : -1);
  w.byte(w.I64_ADD);
  finish(d, log2);
  f.setFlagKind((operation === OPERATION_INC ? f.F_INC : f.F_DEC) | log2);
}

/** SHL, SHR, SAR by a constant that is not 0 and, for 8- and 16-bit operands, may exceed their width. */
function shift(operation: u32, d: u32, log2: u32, count: u32): void {
  count &= log2 === 3 ? 63 : 31;
  pushRegister(d, log2);
  w.set(LOCAL_FLAG_A);
  w.const64(count);
  w.set(LOCAL_FLAG_B);
  pushShifted(operation, log2);
  finish(d, log2);
  f.setFlagKind(operation | log2);
}

/** Pushes LOCAL_FLAG_A shifted by LOCAL_FLAG_B, not cut; counts are below 64. */
function pushShifted(operation: u32, log2: u32): void {
  w.get(LOCAL_FLAG_A);
  if (operation === f.F_SAR) f.extend(log2);
  w.get(LOCAL_FLAG_B);
  w.byte(operation === f.F_SHL ? w.I64_SHL : operation === f.F_SHR ? w.I64_SHR_U : w.I64_SHR_S);
}

/** SHIFT_I and SHIFT_CL: rotates, and shifts of other sizes or by CL. */
function translateShift(p: u32, d: u32, byCl: bool): void {
  const sub = load<u32>(p, U_SUB);
  const sizeBytes = (sub >> SUB_SIZE_SHIFT) & 15;
  const log2: u32 = sizeBytes === 8 ? 3 : sizeBytes >> 1;
  const operation = sub & 7;
  const countMask: u32 = log2 === 3 ? 63 : 31;
  if (operation === 2 || operation === 3) {
    run(p);
    return;
  }
  if (!byCl) {
    const count = load<u32>(p, U_IMM) & countMask;
    if (!count) {
      clearUpperHalf(d, log2);
      return;
    }
    if (operation >= 4) shift(shiftKind(operation), d, log2, count);
    else {
      f.canonicalFlags();
      w.const64(count);
      w.set(LOCAL_VALUE2);
      rotate(operation === 0, d, log2);
    }
    return;
  }
  w.get(LOCAL_GPR + RCX);
  w.const64(countMask);
  w.byte(w.I64_AND);
  w.set(LOCAL_VALUE2);
  if (operation < 4) f.canonicalFlags();
  else f.settleFlags();
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_EQZ);
  w.byte(w.I32_EQZ);
  openIf();
  if (operation >= 4) {
    pushRegister(d, log2);
    w.set(LOCAL_FLAG_A);
    w.get(LOCAL_VALUE2);
    w.set(LOCAL_FLAG_B);
    pushShifted(shiftKind(operation), log2);
    finish(d, log2);
    w.const32(shiftKind(operation) | log2);
    w.set(LOCAL_KIND);
    w.byte(w.ELSE);
    clearUpperHalf(d, log2);
    close();
    f.forgetFlags();
  } else {
    rotate(operation === 0, d, log2);
    w.byte(w.ELSE);
    clearUpperHalf(d, log2);
    close();
  }
}

/** What every instruction with a 32-bit destination does, also when it changes nothing else. */
function clearUpperHalf(d: u32, log2: u32): void {
  if (log2 !== 2) return;
  pushRegister(d, 2);
  popRegister(d, 2, true);
}

function shiftKind(operation: u32): u32 {
  return operation === OPERATION_SHR ? f.F_SHR : operation === OPERATION_SAR ? f.F_SAR : f.F_SHL;
}

/** ROL or ROR by LOCAL_VALUE2 (not 0); flags are canonical before and after. */
function rotate(left: bool, d: u32, log2: u32): void {
  const bits: u32 = 8 << log2;
  pushRegister(d, log2);
  if (log2 === 3) {
    w.get(LOCAL_VALUE2);
    w.byte(left ? w.I64_ROTL : w.I64_ROTR);
  } else if (log2 === 2) {
    w.byte(w.I32_WRAP_I64);
    w.get(LOCAL_VALUE2);
    w.byte(w.I32_WRAP_I64);
    w.byte(left ? w.I32_ROTL : w.I32_ROTR);
    w.byte(w.I64_EXTEND_I32_U);
  } else {
    // The operand twice in a row, shifted: count modulo its width.
    w.const64(log2 === 1 ? 0x10001 : 0x101);
    w.byte(w.I64_MUL);
    if (left) w.const64(bits);
    w.get(LOCAL_VALUE2);
    w.const64(bits - 1);
    w.byte(w.I64_AND);
    if (left) w.byte(w.I64_SUB);
    w.byte(w.I64_SHR_U);
    w.const64(sizeMask(log2));
    w.byte(w.I64_AND);
  }
  w.tee(LOCAL_VALUE);
  popRegister(d, log2, true);
  // ROL: CF = bit 0, OF = CF ^ top bit. ROR: CF = top bit, OF = CF ^ the bit below. Aux bit 30 is CF ^ OF.
  w.get(LOCAL_AUX);
  w.const32(0x3fffffff);
  w.byte(w.I32_AND);
  pushBit(left ? 0 : bits - 1);
  w.const32(31);
  w.byte(w.I32_SHL);
  w.byte(w.I32_OR);
  pushBit(left ? bits - 1 : bits - 2);
  w.const32(30);
  w.byte(w.I32_SHL);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
}

/** Pushes a bit of LOCAL_VALUE as an i32. */
function pushBit(n: u32): void {
  w.get(LOCAL_VALUE);
  if (n) {
    w.const64(n);
    w.byte(w.I64_SHR_U);
  }
  w.byte(w.I32_WRAP_I64);
  w.const32(1);
  w.byte(w.I32_AND);
}

function translateImul(p: u32, d: u32, s: u32, log2: u32, immediate: bool): void {
  pushRegister(immediate ? s : d, log2);
  f.extend(log2);
  if (immediate) {
    w.const64(load<i64>(p, U_IMM));
    if (log2 === 2) f.extend(2);
  } else {
    pushRegister(s, log2);
    f.extend(log2);
  }
  w.set(LOCAL_FLAG_B);
  w.tee(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_MUL);
  finish(d, log2);
  f.setFlagKind(f.F_IMUL | log2);
}

/** Reverses the bytes: pairs, then pairs of pairs. */
function swapBytes(d: u32, wide: bool): void {
  if (!wide) {
    // rotl(x & 0x00ff00ff, 24) | rotl(x & 0xff00ff00, 8)
    pushRegister(d, 2);
    w.byte(w.I32_WRAP_I64);
    w.const32(0x00ff00ff);
    w.byte(w.I32_AND);
    w.const32(24);
    w.byte(w.I32_ROTL);
    pushRegister(d, 2);
    w.byte(w.I32_WRAP_I64);
    w.const32(0xff00ff00);
    w.byte(w.I32_AND);
    w.const32(8);
    w.byte(w.I32_ROTL);
    w.byte(w.I32_OR);
    w.byte(w.I64_EXTEND_I32_U);
    popRegister(d, 2, true);
    return;
  }
  pushRegister(d, 3);
  w.set(LOCAL_VALUE);
  swapPairs(8, 0x00ff00ff00ff00ff);
  swapPairs(16, 0x0000ffff0000ffff);
  w.get(LOCAL_VALUE);
  w.const64(32);
  w.byte(w.I64_ROTL);
  popRegister(d, 3, true);
}

function swapPairs(bits: i64, mask: i64): void {
  w.get(LOCAL_VALUE);
  w.const64(bits);
  w.byte(w.I64_SHR_U);
  w.const64(mask);
  w.byte(w.I64_AND);
  w.get(LOCAL_VALUE);
  w.const64(mask);
  w.byte(w.I64_AND);
  w.const64(bits);
  w.byte(w.I64_SHL);
  w.byte(w.I64_OR);
  w.set(LOCAL_VALUE);
}

function storeTemporary(offset: u32): void {
  w.get(LOCAL_CPU);
  pushRegister(offset, 3);
  w.access(w.I64_STORE, offset);
}

function loadTemporary(offset: u32): void {
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, offset);
  popRegister(offset, 3, true);
}

/** Has the micro-op run by the interpreter's own code, on the registers in memory. */
function run(p: u32): void {
  // Temporaries hold something between micro-ops of one instruction only.
  const temporaries = load<u16>(p - UOP_SIZE, U_OFF) === load<u16>(p, U_OFF);
  storeRegisters();
  if (temporaries) {
    storeTemporary(T0);
    storeTemporary(T1);
  }
  f.leaveFlags();
  runInHelper(p);
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_JIT_BANK);
  w.set(LOCAL_BANK);
  loadRegisters();
  if (temporaries) {
    loadTemporary(T0);
    loadTemporary(T1);
  }
  f.flagsAreInMemory();
  f.settleFlags();
  forgetRanges();
}
