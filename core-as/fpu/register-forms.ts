/** The register forms of x87 instructions (SDM volume 2). */
import { squareRoot } from './arithmetic';
import { UNORDERED, classCodes, codesToFlags, compare } from './compare';
import { loadConstant } from './constants';
import { clearWasDenormal } from './convert';
import { BIAS, INTEGER_BIT, SIGN, begin, isNaN80, resultSe, resultSig, setResult } from './float80';
import { compareStack, operate } from './operate';
import {
  extract,
  extractedSe,
  extractedSig,
  reduced,
  remainder,
  remainderCodes,
  roundToIntegral,
  scale,
} from './remainder';
import {
  commit,
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
  C0,
  C1,
  C2,
  C3,
  EX_ALL,
  EX_STACK,
  FPU_STATUS,
  FPU_TOP,
  STATUS_BUSY,
  STATUS_ERROR_SUMMARY,
  X87_OK,
  X87_UNDEFINED,
  initialize,
  isEmpty,
  markEmpty,
  markValid,
  pop,
  push,
  setRegister,
  signExponent,
  significand,
  stackRegister,
} from './state';
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

/** Executes a register form that does not touch RFLAGS. FNSTSW AX does nothing here: the caller reads x87StatusWord. */
export function x87Register(cpu: u32, opcode: u32, modrm: u32): i32 {
  begin(cpu);
  clearWasDenormal();
  const reg = (modrm >> 3) & 7;
  const i = modrm & 7;
  switch (opcode & 7) {
    case 0:
      if ((reg & 6) === 2) compareRegister(cpu, i, reg & 1, false);
      else operateRegister(cpu, reg, i, 0, 0);
      return X87_OK;
    case 1:
      return registerD9(cpu, modrm);
    case 2:
      if (modrm !== 0xe9) return X87_UNDEFINED;
      compareRegister(cpu, 1, 2, true);
      return X87_OK;
    case 3:
      return registerDB(cpu, modrm);
    case 4:
      if ((reg & 6) === 2) compareRegister(cpu, i, reg & 1, false);
      else operateRegister(cpu, reg, i, i, 0);
      return X87_OK;
    case 5:
      return registerDD(cpu, reg, i);
    case 6:
      if (reg === 3) {
        if (i !== 1) return X87_UNDEFINED;
        compareRegister(cpu, 1, 2, false);
      } else if (reg === 2) compareRegister(cpu, i, 1, false);
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

/**
 * True if ST(0) and ST(1) hold values; otherwise the underflow has been dealt with, ST(destination) being the result.
 */
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
      return i === 0 ? X87_OK : X87_UNDEFINED; // FNOP
    case 3: // FSTP, undocumented encoding: of an empty register it only pops
      if (isEmpty(cpu, 0)) {
        commit(cpu);
        pop(cpu);
      } else storeRegister(cpu, i, 1);
      return X87_OK;
    case 4:
      return signAndTest(cpu, i);
    case 5:
      if (i === 7) return X87_UNDEFINED;
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
      setCodes(cpu, C2, 0);
      if (!operandAndRoom(cpu)) return;
      if (tangent(signExponent(st0), significand(st0)) === ARGUMENT_OUT_OF_RANGE) outOfRange(cpu);
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
      remainder(signExponent(st0), significand(st0), signExponent(st1), significand(st1), n === 5);
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
      setCodes(cpu, C2, 0);
      if (!operandAndRoom(cpu)) return;
      if (sineAndCosine(signExponent(st0), significand(st0), true, true) === ARGUMENT_OUT_OF_RANGE) outOfRange(cpu);
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
      setCodes(cpu, C2, 0);
      if (!operandPresent(cpu)) return;
      const sine = n === 14;
      if (sineAndCosine(resultSe, resultSig, sine, !sine) === ARGUMENT_OUT_OF_RANGE) {
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
      return i === 0 ? X87_OK : X87_UNDEFINED;
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
 * Executes FCMOVcc and the FCOMI family, for which x87UsesFlags() is true: takes RFLAGS' ZF, PF and CF in their places
 * and returns the new RFLAGS (the FCOMI family writes ZF, PF and CF and clears OF, SF and AF; FCMOVcc changes none).
 */
export function x87RegisterFlags(cpu: u32, opcode: u32, modrm: u32, rflags: u32): u32 {
  begin(cpu);
  clearWasDenormal();
  const reg = (modrm >> 3) & 7;
  const i = modrm & 7;
  if (reg >= 4) return compareToFlags(cpu, i, reg === 5, opcode === 0xdf ? 1 : 0, rflags);
  let condition: bool;
  switch (reg) {
    case 0:
      condition = (rflags & CF) !== 0;
      break;
    case 1:
      condition = (rflags & ZF) !== 0;
      break;
    case 2:
      condition = (rflags & (CF | ZF)) !== 0;
      break;
    default:
      condition = (rflags & PF) !== 0;
      break;
  }
  if (opcode === 0xdb) condition = !condition;
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
