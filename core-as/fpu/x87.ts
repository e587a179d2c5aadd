/**
 * The x87 FPU as the interpreter sees it (SDM volume 1, chapter 8; volume 2 for each instruction): one function for memory
 * forms, one for register forms. Reference: the SDM; where processors differ in what the SDM leaves open, the recorded
 * vectors under tests/core/vectors/x87 decide. Two documented differences follow Intel, not AMD: FOP is the opcode of the last
 * instruction with an unmasked exception, and FXSAVE always stores the pointers.
 */
import { C0, C1, C2, C3, EX_ALL, EX_DENORMAL, EX_INVALID, EX_STACK, EX_ZERO_DIVIDE } from './state';
import {
  FPU_CONTROL,
  FPU_CS,
  FPU_DP,
  FPU_DS,
  FPU_FOP,
  FPU_IP,
  FPU_LAST_OPCODE,
  FPU_STATUS,
  FPU_TOP,
  STATUS_BUSY,
  STATUS_ERROR_SUMMARY,
  X87_NO_STORE,
  X87_OK,
  X87_UNDEFINED,
  initialize,
  isEmpty,
  markEmpty,
  markValid,
  pop,
  push,
  setControlWord,
  setRegister,
  signExponent,
  significand,
  stackRegister,
  x87StatusWord,
} from './state';
import { add, divide, multiply, squareRoot, subtract } from './arithmetic';
import { COMPARE_CODES, UNORDERED, classCodes, codesToFlags, compare } from './compare';
import { loadConstant } from './constants';
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
  BIAS,
  INDEFINITE_SE,
  INDEFINITE_SIG,
  INTEGER_BIT,
  QUIET_BIT,
  SIGN,
  begin,
  control,
  isNaN80,
  isSignaling,
  raise,
  raiseOnly,
  raised,
  resultSe,
  resultSig,
  setResult,
} from './float80';
import { fnsave, fnstenv, frstor, loadEnvironment } from './image';
import { extract, extractedSe, extractedSig, reduced, remainder, remainderCodes, roundToIntegral, scale } from './remainder';
import {
  commit,
  commitNarrowing,
  overflowMasked,
  popTimes,
  pushResult,
  roomToPush,
  setCodes,
  storeIndefinite,
  storeResult,
  underflowMasked,
} from './stack';
import {
  ARGUMENT_OUT_OF_RANGE,
  arctangent,
  cosineSe,
  cosineSig,
  exponential2Minus1,
  logarithm2,
  logarithm2Plus1,
  sineAndCosine,
  tangent,
} from './transcendental';

export { X87_NO_STORE, X87_OK, X87_UNDEFINED, x87StatusWord } from './state';
export { fxrstorX87, fxsaveX87, x87InitXsave, x87Reset } from './image';
export { emms, mmxBegin, mmxRegister, mmxWritten } from './mmx';

// ---------------------------------------------------------------------------------------------------------------------
// Facts about encodings

/** Bit 8 of x87OperandBytes: the instruction stores to memory. */
export const X87_STORES: u32 = 0x100;
/** Bit 9: undefined opcode. */
export const X87_NO_SUCH_OPERAND: u32 = 0x200;

/** Memory forms: bytes of the operand (bits 0-7), X87_STORES, X87_NO_SUCH_OPERAND. */
export function x87OperandBytes(opcode: u32, reg: u32, operandSize16: bool): u32 {
  switch (opcode & 7) {
    case 0:
    case 2:
      return 4;
    case 1:
      switch (reg) {
        case 0:
          return 4;
        case 2:
        case 3:
          return 4 | X87_STORES;
        case 4:
          return operandSize16 ? 14 : 28;
        case 5:
          return 2;
        case 6:
          return (operandSize16 ? 14 : 28) | X87_STORES;
        case 7:
          return 2 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 3:
      switch (reg) {
        case 0:
          return 4;
        case 1:
        case 2:
        case 3:
          return 4 | X87_STORES;
        case 5:
          return 10;
        case 7:
          return 10 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 4:
      return 8;
    case 5:
      switch (reg) {
        case 0:
          return 8;
        case 1:
        case 2:
        case 3:
          return 8 | X87_STORES;
        case 4:
          return operandSize16 ? 94 : 108;
        case 6:
          return (operandSize16 ? 94 : 108) | X87_STORES;
        case 7:
          return 2 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 6:
      return 2;
    default:
      switch (reg) {
        case 0:
          return 2;
        case 1:
        case 2:
        case 3:
          return 2 | X87_STORES;
        case 4:
          return 10;
        case 5:
          return 8;
        case 6:
          return 10 | X87_STORES;
        default:
          return 8 | X87_STORES;
      }
  }
}

/** Does the instruction wait for a pending exception? Not FNINIT, FNCLEX, FNSTSW, FNSTCW, FNSTENV, FNSAVE. */
export function x87IsWaiting(opcode: u32, modrm: u32): bool {
  const reg = (modrm >> 3) & 7;
  if (modrm < 0xc0) {
    if (opcode == 0xd9 || opcode == 0xdd) return reg < 6;
    return true;
  }
  if (opcode == 0xdb) return reg != 4;
  return !(opcode == 0xdf && modrm == 0xe0);
}

/** Control instructions leave the pointers to the last instruction and its operand alone (SDM volume 1, 8.1.8 and 5.2.6). */
export function x87IsControl(opcode: u32, modrm: u32): bool {
  const reg = (modrm >> 3) & 7;
  if (modrm < 0xc0) {
    if (opcode == 0xd9) return reg >= 4;
    if (opcode == 0xdd) return reg == 4 || reg >= 6;
    return false;
  }
  if (opcode == 0xd9) return modrm == 0xd0 || modrm == 0xf6 || modrm == 0xf7;
  if (opcode == 0xdb) return reg == 4;
  if (opcode == 0xdd) return reg == 0;
  if (opcode == 0xdf) return reg == 0 || modrm == 0xe0;
  return false;
}

/** FNSTSW AX. */
export function x87StoresAx(opcode: u32, modrm: u32): bool {
  return opcode == 0xdf && modrm == 0xe0;
}

/** FCMOVcc, FCOMI, FUCOMI, FCOMIP, FUCOMIP: x87RegisterFlags executes them. */
export function x87UsesFlags(opcode: u32, modrm: u32): bool {
  if (modrm < 0xc0) return false;
  const reg = (modrm >> 3) & 7;
  switch (opcode) {
    case 0xda:
      return reg < 4;
    case 0xdb:
      return reg < 4 || reg == 5 || reg == 6;
    case 0xdf:
      return reg == 5 || reg == 6;
    default:
      return false;
  }
}

/** An unmasked exception is pending: #MF is due at the next waiting instruction. */
export function x87PendingException(cpu: u32): bool {
  return (load<u32>(cpu, FPU_STATUS) & STATUS_ERROR_SUMMARY) != 0;
}

/** Notes opcode and address of a non-control instruction, before or after it is executed. */
export function x87NoteInstruction(cpu: u32, fop: u32, ip: u64, cs: u32): void {
  store<u32>(cpu, fop & 0x7ff, FPU_LAST_OPCODE);
  if (load<u32>(cpu, FPU_STATUS) & STATUS_ERROR_SUMMARY) store<u32>(cpu, fop & 0x7ff, FPU_FOP);
  store<u64>(cpu, ip, FPU_IP);
  store<u32>(cpu, cs & 0xffff, FPU_CS);
}

/** Notes the address of a non-control instruction's memory operand. */
export function x87NoteData(cpu: u32, address: u64, ds: u32): void {
  store<u64>(cpu, address, FPU_DP);
  store<u32>(cpu, ds & 0xffff, FPU_DS);
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory forms

/**
 * Executes a memory form. Operand bytes to load are at `buffer`; bytes to store are left there. X87_NO_STORE: an unmasked exception
 * forbids the store. X87_UNDEFINED: no such instruction.
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
  if ((reg & 6) == 2) {
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

/**
 * The register form of a denormal binary32 or binary64 is normal, so the operation did not see it: #D is raised afterwards, unless
 * something of higher priority came first (SDM volume 1, 4.9.2).
 */
function noteDenormalOperand(): void {
  if (raised & (EX_INVALID | EX_ZERO_DIVIDE) || isNaN80(resultSe, resultSig)) return;
  raise(EX_DENORMAL);
  if ((control & EX_DENORMAL) == 0) raiseOnly(EX_DENORMAL);
}

/** a OP b, where OP is the reg field of D8 and, since it counts from ST(0), also of DC and DE. */
function operate(reg: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  switch (reg) {
    case 0:
      add(aSe, aSig, bSe, bSig);
      break;
    case 1:
      multiply(aSe, aSig, bSe, bSig);
      break;
    case 4:
      subtract(aSe, aSig, bSe, bSig);
      break;
    case 5:
      subtract(bSe, bSig, aSe, aSig);
      break;
    case 6:
      divide(aSe, aSig, bSe, bSig);
      break;
    default:
      divide(bSe, bSig, aSe, aSig);
      break;
  }
}

/** Compares ST(0) with a value, sets the condition codes, and pops. */
function compareStack(cpu: u32, bSe: u32, bSig: u64, empty: bool, pops: u32, quiet: bool): void {
  if (empty) {
    if (underflowMasked(cpu)) popTimes(cpu, pops);
    setCodes(cpu, COMPARE_CODES, UNORDERED);
    return;
  }
  const register = stackRegister(cpu, 0);
  const codes = compare(signExponent(register), significand(register), bSe, bSig, quiet);
  if (wasDenormal && codes != UNORDERED) raise(EX_DENORMAL);
  // An unmasked exception keeps the operands on the stack, but the condition codes are set all the same.
  const proceeds = commit(cpu);
  setCodes(cpu, COMPARE_CODES, codes);
  if (proceeds) popTimes(cpu, pops);
}

/** FLD from the result: signaling NaNs are quieted with #IA, denormals raise #D. */
function loadBinary(cpu: u32): void {
  if (isSignaling(resultSe, resultSig)) {
    raise(EX_INVALID);
    setResult(resultSe, resultSig | QUIET_BIT);
  } else if (wasDenormal) raise(EX_DENORMAL);
  // Only #IA keeps the value off the stack: an unmasked #D is reported after the load.
  if (!commit(cpu) && (raised & EX_INVALID) != 0) return;
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
  if (bits == 16) store<u16>(buffer, value);
  else if (bits == 32) store<u32>(buffer, <u32>value);
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

// ---------------------------------------------------------------------------------------------------------------------
// Register forms

/** Executes a register form that does not touch RFLAGS. FNSTSW AX does nothing here: the caller reads x87StatusWord. */
export function x87Register(cpu: u32, opcode: u32, modrm: u32): i32 {
  begin(cpu);
  clearWasDenormal();
  const reg = (modrm >> 3) & 7;
  const i = modrm & 7;
  switch (opcode & 7) {
    case 0:
      if ((reg & 6) == 2) compareRegister(cpu, i, reg & 1, false);
      else operateRegister(cpu, reg, i, 0, 0);
      return X87_OK;
    case 1:
      return registerD9(cpu, modrm);
    case 2:
      if (modrm != 0xe9) return X87_UNDEFINED;
      compareRegister(cpu, 1, 2, true);
      return X87_OK;
    case 3:
      return registerDB(cpu, modrm);
    case 4:
      if ((reg & 6) == 2) compareRegister(cpu, i, reg & 1, false);
      else operateRegister(cpu, reg, i, i, 0);
      return X87_OK;
    case 5:
      return registerDD(cpu, reg, i);
    case 6:
      if (reg == 3) {
        if (i != 1) return X87_UNDEFINED;
        compareRegister(cpu, 1, 2, false);
      } else if (reg == 2) compareRegister(cpu, i, 1, false);
      else operateRegister(cpu, reg, i, i, 1);
      return X87_OK;
    default:
      return registerDF(cpu, reg, i);
  }
}

/** ST(0) OP ST(i) to ST(destination), then pops. */
function operateRegister(cpu: u32, reg: u32, i: u32, destination: u32, pops: u32): void {
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    if (!underflowMasked(cpu)) return;
    storeIndefinite(cpu, destination);
  } else {
    const a = stackRegister(cpu, 0);
    const b = stackRegister(cpu, i);
    operate(reg, signExponent(a), significand(a), signExponent(b), significand(b));
    if (!commit(cpu)) return;
    storeResult(cpu, destination);
  }
  popTimes(cpu, pops);
}

function compareRegister(cpu: u32, i: u32, pops: u32, quiet: bool): void {
  const b = stackRegister(cpu, i);
  compareStack(cpu, signExponent(b), significand(b), isEmpty(cpu, 0) || isEmpty(cpu, i), pops, quiet);
}

/** FLD ST(i). */
function loadRegister(cpu: u32, i: u32): void {
  if (isEmpty(cpu, i)) {
    // Comes before an overflow.
    if (underflowMasked(cpu)) {
      push(cpu);
      storeIndefinite(cpu, 0);
    }
    return;
  }
  if (!roomToPush(cpu)) return;
  const register = stackRegister(cpu, i);
  setResult(signExponent(register), significand(register));
  pushResult(cpu);
}

/** FXCH. */
function exchange(cpu: u32, i: u32): void {
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    if (!underflowMasked(cpu)) return;
    if (isEmpty(cpu, 0)) storeIndefinite(cpu, 0);
    if (isEmpty(cpu, i)) storeIndefinite(cpu, i);
  } else commit(cpu);
  const a = stackRegister(cpu, 0);
  const b = stackRegister(cpu, i);
  const se = signExponent(a);
  const sig = significand(a);
  setRegister(a, signExponent(b), significand(b));
  setRegister(b, se, sig);
}

/** FST, FSTP ST(i). */
function storeRegister(cpu: u32, i: u32, pops: u32): void {
  if (isEmpty(cpu, 0)) {
    if (!underflowMasked(cpu)) return;
    storeIndefinite(cpu, i);
  } else {
    commit(cpu);
    const register = stackRegister(cpu, 0);
    setRegister(stackRegister(cpu, i), signExponent(register), significand(register));
    markValid(cpu, i);
  }
  popTimes(cpu, pops);
}

/** True if ST(0) holds a value, which is put into the result; otherwise the stack underflow has been dealt with. */
function operandPresent(cpu: u32): bool {
  if (isEmpty(cpu, 0)) {
    if (underflowMasked(cpu)) storeIndefinite(cpu, 0);
    return false;
  }
  const register = stackRegister(cpu, 0);
  setResult(signExponent(register), significand(register));
  return true;
}

/** Commits and replaces ST(0) by the result. */
function replaceTop(cpu: u32): void {
  if (commit(cpu)) storeResult(cpu, 0);
}

/** True if ST(0) and ST(1) hold values; otherwise the underflow has been dealt with, ST(destination) being the result. */
function operandsPresent(cpu: u32, destination: u32): bool {
  if (!isEmpty(cpu, 0) && !isEmpty(cpu, 1)) return true;
  if (underflowMasked(cpu)) {
    storeIndefinite(cpu, destination);
    if (destination) pop(cpu);
  }
  return false;
}

/** Commits, stores the result in ST(1) and pops. */
function replaceSecond(cpu: u32): void {
  if (!commit(cpu)) return;
  storeResult(cpu, 1);
  pop(cpu);
}

/** True if ST(0) holds a value and ST(7) is empty, for FXTRACT, FPTAN and FSINCOS. */
function operandAndRoom(cpu: u32): bool {
  if (isEmpty(cpu, 0)) {
    if (underflowMasked(cpu)) {
      storeIndefinite(cpu, 0);
      push(cpu);
      storeIndefinite(cpu, 0);
    }
    return false;
  }
  if (!isEmpty(cpu, 7)) {
    if (overflowMasked(cpu)) {
      storeIndefinite(cpu, 0);
      push(cpu);
      storeIndefinite(cpu, 0);
    }
    return false;
  }
  return true;
}

/** Commits, replaces ST(0) by the result and pushes a second value. */
function replaceAndPush(cpu: u32, se: u32, sig: u64): void {
  if (!commit(cpu)) return;
  storeResult(cpu, 0);
  push(cpu);
  setRegister(stackRegister(cpu, 0), se, sig);
}

function registerD9(cpu: u32, modrm: u32): i32 {
  const i = modrm & 7;
  switch ((modrm >> 3) & 7) {
    case 0:
      loadRegister(cpu, i);
      return X87_OK;
    case 1:
      exchange(cpu, i);
      return X87_OK;
    case 2:
      return i == 0 ? X87_OK : X87_UNDEFINED; // FNOP
    case 3: // FSTP, undocumented encoding: of an empty register it only pops
      if (isEmpty(cpu, 0)) {
        commit(cpu);
        pop(cpu);
      } else storeRegister(cpu, i, 1);
      return X87_OK;
    case 4:
      return signAndTest(cpu, i);
    case 5:
      if (i == 7) return X87_UNDEFINED;
      if (!roomToPush(cpu)) return X87_OK;
      loadConstant(i);
      pushResult(cpu);
      return X87_OK;
    default:
      computeD9(cpu, modrm & 15);
      return X87_OK;
  }
}

/** FCHS, FABS, FTST, FXAM. */
function signAndTest(cpu: u32, i: u32): i32 {
  switch (i) {
    case 0:
      if (!operandPresent(cpu)) return X87_OK;
      setResult(resultSe ^ SIGN, resultSig);
      replaceTop(cpu);
      return X87_OK;
    case 1:
      if (!operandPresent(cpu)) return X87_OK;
      setResult(resultSe & ~SIGN, resultSig);
      replaceTop(cpu);
      return X87_OK;
    case 4:
      compareStack(cpu, 0, 0, isEmpty(cpu, 0), 0, false);
      return X87_OK;
    case 5: {
      const register = stackRegister(cpu, 0);
      const se = signExponent(register);
      const codes = isEmpty(cpu, 0) ? C3 | C0 : classCodes(se, significand(register));
      setCodes(cpu, C3 | C2 | C1 | C0, codes | (se & SIGN ? C1 : 0));
      return X87_OK;
    }
    default:
      return X87_UNDEFINED;
  }
}

/** D9 F0 to D9 FF. */
function computeD9(cpu: u32, n: u32): void {
  const st0 = stackRegister(cpu, 0);
  const st1 = stackRegister(cpu, 1);
  switch (n) {
    case 0: // F2XM1
      if (!operandPresent(cpu)) return;
      exponential2Minus1(resultSe, resultSig);
      replaceTop(cpu);
      return;
    case 1: // FYL2X
      if (!operandsPresent(cpu, 1)) return;
      logarithm2(signExponent(st0), significand(st0), signExponent(st1), significand(st1));
      replaceSecond(cpu);
      return;
    case 2: // FPTAN
      if (!operandAndRoom(cpu)) return;
      setCodes(cpu, C2, 0);
      if (tangent(signExponent(st0), significand(st0)) == ARGUMENT_OUT_OF_RANGE) outOfRange(cpu);
      else if (isNaN80(resultSe, resultSig)) replaceAndPush(cpu, resultSe, resultSig);
      else replaceAndPush(cpu, BIAS, INTEGER_BIT);
      return;
    case 3: // FPATAN
      if (!operandsPresent(cpu, 1)) return;
      arctangent(signExponent(st1), significand(st1), signExponent(st0), significand(st0));
      replaceSecond(cpu);
      return;
    case 4: // FXTRACT
      if (!operandAndRoom(cpu)) return;
      extract(signExponent(st0), significand(st0));
      if (commit(cpu)) {
        setRegister(st0, extractedSe, extractedSig);
        push(cpu);
        storeResult(cpu, 0);
      }
      return;
    case 5: // FPREM1
    case 8: // FPREM
      setCodes(cpu, C2, 0);
      if (!operandsPresent(cpu, 0)) return;
      remainder(signExponent(st0), significand(st0), signExponent(st1), significand(st1), n == 5);
      if (!commit(cpu)) return;
      storeResult(cpu, 0);
      if (reduced) setCodes(cpu, C0 | C1 | C2 | C3, remainderCodes);
      return;
    case 6: // FDECSTP
      commit(cpu);
      store<u32>(cpu, (load<u32>(cpu, FPU_TOP) - 1) & 7, FPU_TOP);
      return;
    case 7: // FINCSTP
      commit(cpu);
      store<u32>(cpu, (load<u32>(cpu, FPU_TOP) + 1) & 7, FPU_TOP);
      return;
    case 9: // FYL2XP1
      if (!operandsPresent(cpu, 1)) return;
      logarithm2Plus1(signExponent(st0), significand(st0), signExponent(st1), significand(st1));
      replaceSecond(cpu);
      return;
    case 10: // FSQRT
      if (!operandPresent(cpu)) return;
      squareRoot(resultSe, resultSig);
      replaceTop(cpu);
      return;
    case 11: // FSINCOS
      if (!operandAndRoom(cpu)) return;
      setCodes(cpu, C2, 0);
      if (sineAndCosine(signExponent(st0), significand(st0), true, true) == ARGUMENT_OUT_OF_RANGE) outOfRange(cpu);
      else replaceAndPush(cpu, cosineSe, cosineSig);
      return;
    case 12: // FRNDINT
      if (!operandPresent(cpu)) return;
      roundToIntegral(resultSe, resultSig);
      replaceTop(cpu);
      return;
    case 13: // FSCALE
      if (!operandsPresent(cpu, 0)) return;
      scale(signExponent(st0), significand(st0), signExponent(st1), significand(st1));
      replaceTop(cpu);
      return;
    default: {
      // FSIN, FCOS
      if (!operandPresent(cpu)) return;
      setCodes(cpu, C2, 0);
      const sine = n == 14;
      if (sineAndCosine(resultSe, resultSig, sine, !sine) == ARGUMENT_OUT_OF_RANGE) {
        outOfRange(cpu);
        return;
      }
      if (!sine) setResult(cosineSe, cosineSig);
      replaceTop(cpu);
      return;
    }
  }
}

/** A trigonometric argument of 2^63 and more: C2 = 1, nothing else. */
function outOfRange(cpu: u32): void {
  if (commit(cpu)) setCodes(cpu, C2, C2);
}

function registerDB(cpu: u32, modrm: u32): i32 {
  switch (modrm) {
    case 0xe2: // FNCLEX
      store<u32>(
        cpu,
        load<u32>(cpu, FPU_STATUS) & ~(EX_ALL | EX_STACK | STATUS_ERROR_SUMMARY | STATUS_BUSY),
        FPU_STATUS,
      );
      return X87_OK;
    case 0xe3: // FNINIT
      initialize(cpu);
      return X87_OK;
    case 0xe0: // FENI, FDISI and FSETPM of the 8087 and 80287 do nothing
    case 0xe1:
    case 0xe4:
      return X87_OK;
    default:
      return X87_UNDEFINED;
  }
}

function registerDD(cpu: u32, reg: u32, i: u32): i32 {
  switch (reg) {
    case 0: // FFREE
      commit(cpu);
      markEmpty(cpu, i);
      return X87_OK;
    case 1: // FXCH, undocumented encoding
      exchange(cpu, i);
      return X87_OK;
    case 2:
    case 3:
      storeRegister(cpu, i, reg & 1);
      return X87_OK;
    case 4:
    case 5:
      compareRegister(cpu, i, reg & 1, true);
      return X87_OK;
    default:
      return X87_UNDEFINED;
  }
}

function registerDF(cpu: u32, reg: u32, i: u32): i32 {
  switch (reg) {
    case 0: // FFREEP, undocumented: FFREE, then pop
      commit(cpu);
      markEmpty(cpu, i);
      pop(cpu);
      return X87_OK;
    case 1: // FXCH, undocumented encoding
      exchange(cpu, i);
      return X87_OK;
    case 2: // FSTP, undocumented encodings
    case 3:
      storeRegister(cpu, i, 1);
      return X87_OK;
    case 4: // FNSTSW AX
      return i == 0 ? X87_OK : X87_UNDEFINED;
    default:
      return X87_UNDEFINED;
  }
}

/** RFLAGS bits that the FCOMI family writes: OF SF ZF AF PF CF. */
const ARITHMETIC_FLAGS: u32 = 0x8d5;
const CF: u32 = 0x01;
const PF: u32 = 0x04;
const ZF: u32 = 0x40;

/**
 * Executes FCMOVcc and the FCOMI family, for which x87UsesFlags() is true: takes RFLAGS' ZF, PF and CF in their places and returns the
 * new RFLAGS (the FCOMI family writes ZF, PF and CF and clears OF, SF and AF; FCMOVcc changes none).
 */
export function x87RegisterFlags(cpu: u32, opcode: u32, modrm: u32, rflags: u32): u32 {
  begin(cpu);
  clearWasDenormal();
  const reg = (modrm >> 3) & 7;
  const i = modrm & 7;
  if (reg >= 4) return compareToFlags(cpu, i, reg == 5, opcode == 0xdf ? 1 : 0, rflags);
  let condition: bool;
  switch (reg) {
    case 0:
      condition = (rflags & CF) != 0;
      break;
    case 1:
      condition = (rflags & ZF) != 0;
      break;
    case 2:
      condition = (rflags & (CF | ZF)) != 0;
      break;
    default:
      condition = (rflags & PF) != 0;
      break;
  }
  if (opcode == 0xdb) condition = !condition;
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    if (underflowMasked(cpu)) storeIndefinite(cpu, 0);
    return rflags;
  }
  // C1 stays: the SDM defines it for stack underflow only.
  if (condition) {
    const source = stackRegister(cpu, i);
    setRegister(stackRegister(cpu, 0), signExponent(source), significand(source));
  }
  return rflags;
}

/** FCOMI, FCOMIP; quiet: FUCOMI, FUCOMIP. */
function compareToFlags(cpu: u32, i: u32, quiet: bool, pops: u32, rflags: u32): u32 {
  let codes: u32 = UNORDERED;
  let proceeds: bool;
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) proceeds = underflowMasked(cpu);
  else {
    const a = stackRegister(cpu, 0);
    const b = stackRegister(cpu, i);
    codes = compare(signExponent(a), significand(a), signExponent(b), significand(b), quiet);
    proceeds = commit(cpu); // C1 = 0; AMD processors leave it
  }
  if (proceeds) popTimes(cpu, pops);
  return (rflags & ~ARITHMETIC_FLAGS) | codesToFlags(codes);
}
