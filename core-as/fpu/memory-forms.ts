/** The memory forms of x87 instructions (SDM volume 2). */
import {
  clearWasDenormal,
  fromBcd,
  fromBinary32,
  fromBinary64,
  fromInteger,
  toBcd,
  toBinary32,
  toBinary64,
  toInteger,
  wasDenormal,
} from './convert';
import {
  INDEFINITE_SE,
  INDEFINITE_SIG,
  QUIET_BIT,
  begin,
  isSignaling,
  raise,
  raised,
  resultSe,
  resultSig,
  setResult,
} from './float80';
import { fnsave, fnstenv, frstor, loadEnvironment } from './image';
import { compareStack, noteDenormalOperand, operate } from './operate';
import {
  commit,
  commitNarrowing,
  popTimes,
  pushResult,
  roomToPush,
  storeIndefinite,
  storeResult,
  underflowMasked,
} from './stack';
import {
  EX_DENORMAL,
  EX_INVALID,
  FPU_CONTROL,
  X87_NO_STORE,
  X87_OK,
  X87_UNDEFINED,
  isEmpty,
  pop,
  push,
  setControlWord,
  setRegister,
  signExponent,
  significand,
  stackRegister,
  x87StatusWord,
} from './state';

/**
 * Executes a memory form. Operand bytes to load are at `buffer`; bytes to store are left there. X87_NO_STORE: an
 * unmasked exception forbids the store. X87_UNDEFINED: no such instruction.
 */
export function x87Memory(cpu: u32, opcode: u32, reg: u32, buffer: u32, operandSize16: bool, realMode: bool): i32 {
  begin(cpu);
  switch (opcode & 7) {
    case 0:
      fromBinary32(load<u32>(buffer));
      operateMemory(cpu, reg);
      return X87_OK;
    case 1:
      return memoryD9(cpu, reg, buffer, operandSize16, realMode);
    case 2:
      clearWasDenormal();
      fromInteger(<i64>load<i32>(buffer));
      operateMemory(cpu, reg);
      return X87_OK;
    case 3:
      return memoryDB(cpu, reg, buffer);
    case 4:
      fromBinary64(load<u64>(buffer));
      operateMemory(cpu, reg);
      return X87_OK;
    case 5:
      return memoryDD(cpu, reg, buffer, operandSize16, realMode);
    case 6:
      clearWasDenormal();
      fromInteger(<i64>load<i16>(buffer));
      operateMemory(cpu, reg);
      return X87_OK;
    default:
      return memoryDF(cpu, reg, buffer);
  }
}

/** FADD ... FDIVR, FCOM, FCOMP with a memory operand, which the caller put into the result. */
function operateMemory(cpu: u32, reg: u32): void {
  const operandSe = resultSe;
  const operandSig = resultSig;
  if ((reg & 6) === 2) {
    compareStack(cpu, operandSe, operandSig, isEmpty(cpu, 0), reg & 1, false);
    return;
  }
  if (isEmpty(cpu, 0)) {
    if (underflowMasked(cpu)) storeIndefinite(cpu, 0);
    return;
  }
  const register = stackRegister(cpu, 0);
  operate(reg, signExponent(register), significand(register), operandSe, operandSig);
  if (wasDenormal) noteDenormalOperand();
  if (commit(cpu)) setRegister(register, resultSe, resultSig);
}

/** FLD from the result: signaling NaNs are quieted with #IA, denormals raise #D. */
function loadBinary(cpu: u32): void {
  if (isSignaling(resultSe, resultSig)) {
    raise(EX_INVALID);
    setResult(resultSe, resultSig | QUIET_BIT);
  } else if (wasDenormal) raise(EX_DENORMAL);
  // Only #IA keeps the value off the stack: an unmasked #D is reported after the load.
  if (!commit(cpu) && (raised & EX_INVALID) !== 0) return;
  push(cpu);
  storeResult(cpu, 0);
}

/** Operand of a store: ST(0), or the indefinite after a masked stack underflow. False if nothing may be stored. */
function takeOperand(cpu: u32): bool {
  if (isEmpty(cpu, 0)) {
    setResult(INDEFINITE_SE, INDEFINITE_SIG);
    return underflowMasked(cpu);
  }
  const register = stackRegister(cpu, 0);
  setResult(signExponent(register), significand(register));
  return true;
}

function memoryD9(cpu: u32, reg: u32, buffer: u32, operandSize16: bool, realMode: bool): i32 {
  switch (reg) {
    case 0:
      if (!roomToPush(cpu)) return X87_OK;
      fromBinary32(load<u32>(buffer));
      loadBinary(cpu);
      return X87_OK;
    case 2:
    case 3: {
      const empty = isEmpty(cpu, 0);
      if (!takeOperand(cpu)) return X87_NO_STORE;
      const bits = toBinary32(resultSe, resultSig);
      if (!empty && !commitNarrowing(cpu)) return X87_NO_STORE;
      store<u32>(buffer, <u32>bits);
      if (reg & 1) pop(cpu);
      return X87_OK;
    }
    case 4:
      loadEnvironment(cpu, buffer, operandSize16, realMode);
      return X87_OK;
    case 5:
      setControlWord(cpu, <u32>load<u16>(buffer));
      return X87_OK;
    case 6:
      fnstenv(cpu, buffer, operandSize16, realMode);
      return X87_OK;
    case 7:
      store<u16>(buffer, load<u32>(cpu, FPU_CONTROL));
      return X87_OK;
    default:
      return X87_UNDEFINED;
  }
}

/** FIST, FISTP (by FCW.RC) and FISTTP (truncating). */
function storeInteger(cpu: u32, buffer: u32, bits: u32, truncate: bool, pops: u32): i32 {
  const empty = isEmpty(cpu, 0);
  if (!takeOperand(cpu)) return X87_NO_STORE;
  const value = toInteger(resultSe, resultSig, bits, truncate);
  if (!empty && !commit(cpu)) return X87_NO_STORE;
  if (bits === 16) store<u16>(buffer, value);
  else if (bits === 32) store<u32>(buffer, <u32>value);
  else store<u64>(buffer, value);
  popTimes(cpu, pops);
  return X87_OK;
}

function memoryDB(cpu: u32, reg: u32, buffer: u32): i32 {
  switch (reg) {
    case 0:
      if (!roomToPush(cpu)) return X87_OK;
      fromInteger(<i64>load<i32>(buffer));
      pushResult(cpu);
      return X87_OK;
    case 1:
      return storeInteger(cpu, buffer, 32, true, 1);
    case 2:
    case 3:
      return storeInteger(cpu, buffer, 32, false, reg & 1);
    case 5:
      if (!roomToPush(cpu)) return X87_OK;
      setResult(<u32>load<u16>(buffer, 8), load<u64>(buffer));
      pushResult(cpu);
      return X87_OK;
    case 7: {
      const empty = isEmpty(cpu, 0);
      if (!takeOperand(cpu)) return X87_NO_STORE;
      if (!empty) commit(cpu);
      store<u64>(buffer, resultSig);
      store<u16>(buffer, resultSe, 8);
      pop(cpu);
      return X87_OK;
    }
    default:
      return X87_UNDEFINED;
  }
}

function memoryDD(cpu: u32, reg: u32, buffer: u32, operandSize16: bool, realMode: bool): i32 {
  switch (reg) {
    case 0:
      if (!roomToPush(cpu)) return X87_OK;
      fromBinary64(load<u64>(buffer));
      loadBinary(cpu);
      return X87_OK;
    case 1:
      return storeInteger(cpu, buffer, 64, true, 1);
    case 2:
    case 3: {
      const empty = isEmpty(cpu, 0);
      if (!takeOperand(cpu)) return X87_NO_STORE;
      const bits = toBinary64(resultSe, resultSig);
      if (!empty && !commitNarrowing(cpu)) return X87_NO_STORE;
      store<u64>(buffer, bits);
      if (reg & 1) pop(cpu);
      return X87_OK;
    }
    case 4:
      frstor(cpu, buffer, operandSize16, realMode);
      return X87_OK;
    case 6:
      fnsave(cpu, buffer, operandSize16, realMode);
      return X87_OK;
    case 7:
      store<u16>(buffer, x87StatusWord(cpu));
      return X87_OK;
    default:
      return X87_UNDEFINED;
  }
}

function memoryDF(cpu: u32, reg: u32, buffer: u32): i32 {
  switch (reg) {
    case 0:
      if (!roomToPush(cpu)) return X87_OK;
      fromInteger(<i64>load<i16>(buffer));
      pushResult(cpu);
      return X87_OK;
    case 1:
      return storeInteger(cpu, buffer, 16, true, 1);
    case 2:
    case 3:
      return storeInteger(cpu, buffer, 16, false, reg & 1);
    case 4:
      if (!roomToPush(cpu)) return X87_OK;
      fromBcd(buffer);
      pushResult(cpu);
      return X87_OK;
    case 5:
      if (!roomToPush(cpu)) return X87_OK;
      fromInteger(load<i64>(buffer));
      pushResult(cpu);
      return X87_OK;
    case 6: {
      const empty = isEmpty(cpu, 0);
      if (!takeOperand(cpu)) return X87_NO_STORE;
      const low = load<u64>(buffer);
      const high = load<u16>(buffer, 8);
      toBcd(resultSe, resultSig, buffer);
      if (!empty && !commit(cpu)) {
        store<u64>(buffer, low);
        store<u16>(buffer, high, 8);
        return X87_NO_STORE;
      }
      pop(cpu);
      return X87_OK;
    }
    default:
      return storeInteger(cpu, buffer, 64, false, 1);
  }
}
