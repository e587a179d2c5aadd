/** The micro-ops of straight-line code in WebAssembly: moves, arithmetic, stack; what is rare runs in the interpreter's code. */
import { R_JIT_BANK } from '../layout';
import { RBP, RCX, RDX, RSP } from '../cpu/state';
import {
  K,
  LOADS_APART,
  STORES_APART,
  SUB_SIZE_SHIFT,
  T0,
  T1,
  UOP_SIZE,
  U_D,
  U_IMM,
  U_KIND,
  U_OFF,
  U_S,
  U_SUB,
} from '../cpu/uops';
import { HELPER_RUN } from './abi';
import { isCalled, leaveWithStatus, siteOfStatus } from './exits';
import * as f from './flags';
import { close, openIf } from './labels';
import { isLoad, isRun, isSegmented, isStore } from './kinds';
import {
  LOCAL_AUX,
  LOCAL_BANK,
  LOCAL_CPU,
  LOCAL_FLAG_A,
  LOCAL_FLAG_B,
  LOCAL_GPR,
  LOCAL_KIND,
  LOCAL_PAGE,
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
import { TYPE_RUN, callHelper } from './module-types';
import { forgetRanges } from './ranges';
import { forgetVectorChecks, translateVector } from './vector';
import { translateX } from './translate-x';
import { isVectorInLine } from './vector-forms';
import { isXInLine } from './x-forms';
import * as w from './wasm';

/** RSP := RSP - 8. */
export function commitPush(): void {
  w.get(LOCAL_GPR + RSP);
  w.const64(8);
  w.byte(w.I64_SUB);
  setRegister(RSP);
}

export function moveStack(bytes: i64): void {
  w.get(LOCAL_GPR + RSP);
  w.const64(bytes);
  w.byte(w.I64_ADD);
  setRegister(RSP);
}

/** Translates a micro-op that is not a branch; `end` is where those of its node end. */
export function translateUop(p: u32, kind: i32, end: u32): void {
  const d: u32 = load<u8>(p, U_D);
  const s: u32 = load<u8>(p, U_S);
  if (isRun(kind)) {
    if (kind === K.CALL_X) {
      if (isXInLine(p) && !isCalled(p)) {
        translateX(p, end);
        return;
      }
    } else if (isVectorInLine(p)) {
      translateVector(p, end);
      return;
    }
    run(p);
    forgetVectorChecks();
    return;
  }
  if (isLoad(kind)) {
    translateLoad(p, kind, d, end);
    return;
  }
  if (isStore(kind)) {
    const k = isSegmented(kind) ? kind - <i32>STORES_APART : kind;
    const log2 = <u32>((k - K.ST8) & 3);
    if (k >= K.STI8) w.const64(load<i64>(p, U_IMM));
    else pushRegister(s, log2);
    w.set(LOCAL_VALUE);
    writeMemory(p, log2, end);
    return;
  }
  if (kind >= K.STW8 && kind <= K.STW64) {
    const log2 = <u32>(kind - K.STW8);
    pushRegister(s, log2);
    writeBack(p, log2);
    return;
  }
  if (kind >= K.ADD8 && kind <= K.TESTI64) {
    translateAlu(p, kind, d, s);
    return;
  }
  if (kind >= K.INC8 && kind <= K.NOT64) {
    translateUnary(p, kind, d, end);
    return;
  }
  if (kind >= K.SHLI32 && kind <= K.SARI64) {
    const log2 = <u32>(((kind - K.SHLI32) & 1) + 2);
    const operation: u32 = kind < K.SHRI32 ? f.F_SHL : kind < K.SARI32 ? f.F_SHR : f.F_SAR;
    shift(operation, d, log2, load<u32>(p, U_IMM));
    return;
  }
  translateRest(p, kind, d, s, end);
}

function translateLoad(p: u32, kind: i32, d: u32, end: u32): void {
  const k = isSegmented(kind) ? kind - <i32>LOADS_APART : kind;
  if (k >= K.LDW8) {
    const log2 = <u32>(k - K.LDW8);
    readModify(p, log2, end);
    popRegister(d, log2, true);
    return;
  }
  if (k <= K.LD64) {
    const log2 = <u32>(k - K.LD8);
    readMemory(p, log2, end);
    popRegister(d, log2, true);
    return;
  }
  switch (k) {
    case K.LDZ8:
    case K.LDZ16:
      readMemory(p, k === K.LDZ8 ? 0 : 1, end);
      break;
    case K.LDS8_32:
    case K.LDS8_64:
      readMemory(p, 0, end);
      f.extend(0);
      break;
    case K.LDS16_32:
    case K.LDS16_64:
      readMemory(p, 1, end);
      f.extend(1);
      break;
    default:
      readMemory(p, 2, end);
      f.extend(2);
  }
  popRegister(d, k === K.LDS8_32 || k === K.LDS16_32 ? 2 : 3, false);
}

/** Pushes the second operand of an arithmetic micro-op, zero-extended from its size. */
function pushOperand(p: u32, s: u32, log2: u32, immediate: bool): void {
  if (immediate) w.const64(load<i64>(p, U_IMM) & sizeMask(log2));
  else pushRegister(s, log2);
}

function translateAlu(p: u32, kind: i32, d: u32, s: u32): void {
  const index = <u32>(kind - K.ADD8);
  const operation = index >> 3;
  const log2 = (index >> 1) & 3;
  const immediate = (index & 1) !== 0;
  switch (operation) {
    case 0:
    case 5:
    case 7: {
      // ADD, SUB, CMP
      pushRegister(d, log2);
      pushOperand(p, s, log2, immediate);
      w.set(LOCAL_FLAG_B);
      w.set(LOCAL_FLAG_A);
      f.setFlagKind((operation === 0 ? f.F_ADD : f.F_SUB) | log2);
      if (operation === 7) return;
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(operation === 0 ? w.I64_ADD : w.I64_SUB);
      if (operation === 5) {
        popRegister(d, log2, log2 === 3);
        return;
      }
      finish(d, log2);
      return;
    }
    case 2:
    case 3: {
      translateCarry(p, d, s, log2, operation === 3, immediate);
      return;
    }
    default: {
      // OR, AND, XOR, TEST
      const zero = operation === 6 && !immediate && d === s;
      if (zero) w.const64(0);
      else {
        pushRegister(d, log2);
        pushOperand(p, s, log2, immediate);
        w.byte(operation === 1 ? w.I64_OR : operation === 6 ? w.I64_XOR : w.I64_AND);
      }
      w.tee(LOCAL_RESULT);
      if (operation === 8) w.byte(w.DROP);
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
  const kind: i32 = load<u16>(p, U_KIND);
  const operation = (kind - K.ADD8) >> 3;
  return kind >= K.ADD8 && kind <= K.TESTI64 && operation !== 2 && operation !== 3;
}

function translateUnary(p: u32, kind: i32, d: u32, end: u32): void {
  const log2 = <u32>((kind - K.INC8) & 3);
  if (kind >= K.NOT8) {
    pushRegister(d, log2);
    w.const64(-1);
    w.byte(w.I64_XOR);
    popRegister(d, log2, log2 === 3);
    return;
  }
  if (kind >= K.NEG8) {
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
  w.const64(kind < K.DEC8 ? 1 : -1);
  w.byte(w.I64_ADD);
  finish(d, log2);
  f.setFlagKind((kind < K.DEC8 ? f.F_INC : f.F_DEC) | log2);
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
  return operation === 5 ? f.F_SHR : operation === 7 ? f.F_SAR : f.F_SHL;
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

function copy(d: u32, toLog2: u32, s: u32, fromLog2: u32, signed: bool): void {
  pushRegister(s, fromLog2);
  if (signed) f.extend(fromLog2);
  popRegister(d, toLog2, !signed);
}

function translateRest(p: u32, kind: i32, d: u32, s: u32, end: u32): void {
  switch (kind) {
    case K.NOP:
      return;
    case K.FENCE:
      w.fence();
      return;
    case K.MOV8:
    case K.MOV16:
    case K.MOV32:
    case K.MOV64:
      copy(d, kind - K.MOV8, s, kind - K.MOV8, false);
      return;
    case K.MOVI8:
    case K.MOVI16: {
      const log2 = <u32>(kind - K.MOVI8);
      w.const64(load<i64>(p, U_IMM) & sizeMask(log2));
      popRegister(d, log2, true);
      return;
    }
    case K.MOVI64:
      w.const64(load<i64>(p, U_IMM));
      popRegister(d, 3, true);
      return;
    case K.ZX8:
      copy(d, 3, s, 0, false);
      return;
    case K.ZX16:
      copy(d, 3, s, 1, false);
      return;
    case K.ZX8_16:
      copy(d, 1, s, 0, false);
      return;
    case K.SX8_16:
      copy(d, 1, s, 0, true);
      return;
    case K.SX8_32:
      copy(d, 2, s, 0, true);
      return;
    case K.SX8_64:
      copy(d, 3, s, 0, true);
      return;
    case K.SX16_32:
      copy(d, 2, s, 1, true);
      return;
    case K.SX16_64:
      copy(d, 3, s, 1, true);
      return;
    case K.SX32_64:
      copy(d, 3, s, 2, true);
      return;
    case K.LEA64:
      pushEffectiveAddress(p);
      popRegister(d, 3, true);
      return;
    case K.LEA32:
      pushEffectiveAddress(p);
      popRegister(d, 2, false);
      return;
    case K.LEA_G:
      run(p);
      return;
    case K.SHIFT_I:
      translateShift(p, d, false);
      return;
    case K.SHIFT_CL:
      translateShift(p, d, true);
      return;
    case K.IMUL32:
    case K.IMUL64:
    case K.IMULI32:
    case K.IMULI64: {
      const log2: u32 = kind === K.IMUL32 || kind === K.IMULI32 ? 2 : 3;
      const immediate = kind >= K.IMULI32;
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
      return;
    }
    case K.XCHG32:
    case K.XCHG64: {
      const log2: u32 = kind === K.XCHG32 ? 2 : 3;
      pushRegister(d, log2);
      pushRegister(s, log2);
      popRegister(d, log2, true);
      popRegister(s, log2, true);
      return;
    }
    case K.BSWAP32:
    case K.BSWAP64:
      swapBytes(d, kind === K.BSWAP64);
      return;
    case K.CDQ:
      pushRegister(0, 2);
      f.extend(2);
      w.const64(63);
      w.byte(w.I64_SHR_S);
      popRegister(RDX << 3, 2, false);
      return;
    case K.CQO:
      pushRegister(0, 3);
      w.const64(63);
      w.byte(w.I64_SHR_S);
      popRegister(RDX << 3, 3, true);
      return;
    case K.SETCC:
      f.pushCondition(load<u32>(p, U_SUB));
      w.byte(w.I64_EXTEND_I32_U);
      popRegister(d, 0, true);
      return;
    case K.CMOV32:
    case K.CMOV64: {
      const log2: u32 = kind === K.CMOV32 ? 2 : 3;
      pushRegister(s, log2);
      pushRegister(d, log2);
      f.pushCondition(load<u32>(p, U_SUB));
      w.byte(w.SELECT);
      popRegister(d, log2, true);
      return;
    }
    case K.PUSH:
    case K.PUSHI:
      if (kind === K.PUSH) pushRegister(s, 3);
      else w.const64(load<i64>(p, U_IMM));
      w.set(LOCAL_VALUE);
      writeMemory(p, 3, end);
      commitPush();
      return;
    case K.POP:
      readMemory(p, 3, end);
      w.set(LOCAL_VALUE);
      moveStack(8);
      w.get(LOCAL_VALUE);
      popRegister(d, 3, true);
      return;
    case K.LEAVE:
      readMemory(p, 3, end);
      w.get(LOCAL_GPR + RBP);
      w.const64(8);
      w.byte(w.I64_ADD);
      setRegister(RSP);
      setRegister(RBP);
      return;
    default:
      run(p);
  }
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
  const site = siteOfStatus(p);
  w.const32(site);
  w.get(LOCAL_PAGE);
  callHelper(HELPER_RUN, TYPE_RUN);
  openIf();
  leaveWithStatus(site);
  close();
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
