/**
 * Floating-point instructions of SSE and AVX in line: arithmetic, square roots, minima, comparisons and conversions of scalars and of whole vectors.
 *
 * Compiled code computes with the engine's own operations and stores the result if that is all the instruction does: round to nearest, raise
 * nothing that MXCSR does not show already. So no operand may be denormal, no result an infinity, NaN or tiny, all exceptions must be masked, and
 * the precision flag, which then needs no computing, set. Anything else is run by the interpreter's code (simd/float.ts).
 */
import { REG_ZERO, U_IMM } from '../cpu/uops';
import { R_MXCSR } from '../layout';
import * as op from '../simd/operations';
import { EXECUTE_W } from '../simd/status';
import * as f from './flags';
import { close, openIf, openIfValue } from './labels';
import {
  LOCAL_AUX,
  LOCAL_CPU,
  LOCAL_F32,
  LOCAL_F64,
  LOCAL_RESULT,
  LOCAL_STATUS,
  LOCAL_V128,
  LOCAL_VALUE2,
  popRegister,
  pushRegister,
} from './locals';
import { KIND_CMP, flagsOf, halves, vectorRead, vectorWritten } from './vector-forms';
import {
  clearUpper,
  copyFirst,
  destination,
  firstSource,
  isPlainKnown,
  notePlain,
  pushFirst,
  pushSecond,
  pushSecondBase,
  pushSecondScalar,
  registerOperand,
  runSlowly,
  storeHalf,
} from './vector-operands';
import * as w from './wasm';

/** MXCSR without its other flags, when arithmetic in line is exact: masks all set, precision flag set, nearest, no flushing. */
const MXCSR_MODE: u32 = 0xffe0;
const MXCSR_PLAIN: u32 = 0x1fa0;

/** Formats, the low bits of an operation's id. */
const DOUBLE_PACKED: u32 = 1;
const DOUBLE_SCALAR: u32 = 3;

/** Kinds of arithmetic, in the order of their ids (simd/operations.ts), which that of WebAssembly's operations follows. */
const KIND_SUB: u32 = 1;
const KIND_DIV: u32 = 3;
const KIND_MIN: u32 = 4;
const KIND_SQRT: u32 = 6;

/** Predicates of CMPxx that are in line (SDM vol. 2, table 3-1); the next four are their opposites. */
const PREDICATE_EQ: u32 = 0;
const PREDICATE_LT: u32 = 1;
const PREDICATE_UNORD: u32 = 3;

/** Operands and result: numbers of locals from LOCAL_F64, LOCAL_F32 or LOCAL_V128. */
const FIRST: u32 = 0;
const SECOND: u32 = 1;
const RESULT: u32 = 2;
/** v128 alone: the result of the upper half, and lanes that are not as they must be. */
const UPPER: u32 = 3;
const BAD: u32 = 4;

/**
 * Bits of a double without its sign, moved up by one: zeros less 1 are the greatest number, denormals less 1 lie below the least normal number, NaNs
 * lie above infinity.
 */
const INFINITE_64: u64 = 0xffe0000000000000;
const EXPONENT_SHIFT_64: u64 = 53;
const INFINITE_32: u32 = 0xff000000;
const EXPONENT_SHIFT_32: u32 = 24;
/** Exponents that are neither the least of normal numbers, where a result may come from below, nor that of infinity. */
const SAFE_EXPONENTS_64: u32 = 0x7fd;
const SAFE_EXPONENTS_32: u32 = 0xfd;

/** Vectors of constants, 16 bytes each. i64x2 compares signed numbers alone, so bounds of doubles are moved by 2 ** 63. */
// prettier-ignore
const VECTORS = memory.data<u64>([
  // Double: what is added to make denormals the least of all numbers, and the least that is not one of them.
  0x7fffffffffffffff, 0x7fffffffffffffff, 0x801fffffffffffff, 0x801fffffffffffff,
  // Infinity.
  0x8000000000000000, 0x8000000000000000, 0x7fdfffffffffffff, 0x7fdfffffffffffff,
  // Safe results: 2 ** 63 less the least of them, and the greatest.
  0x7fc0000000000000, 0x7fc0000000000000, 0x7f9fffffffffffff, 0x7f9fffffffffffff,
  // Single, unsigned: 1, the least number that is not denormal, infinity, the least safe result, so many of them.
  0xffffffffffffffff, 0xffffffffffffffff, 0x00ffffff00ffffff, 0x00ffffff00ffffff,
  0xff000000ff000000, 0xff000000ff000000,
  0xfe000000fe000000, 0xfe000000fe000000, 0xfd000000fd000000, 0xfd000000fd000000,
]);
const LIFT_64: u32 = 0;
const LEAST_64: u32 = 16;
const HALF_64: u32 = 32;
const GREATEST_64: u32 = 48;
const SAFE_64: u32 = 64;
const MOST_SAFE_64: u32 = 80;
const LIFT_32: u32 = 96;
const LEAST_32: u32 = 112;
const GREATEST_32: u32 = 128;
const SAFE_32: u32 = 144;
const MOST_SAFE_32: u32 = 160;

/** Translates an operation that isFloatInLine. Its memory operand has been checked. */
export function translateFloat(p: u32, id: u32): void {
  if (id >= op.OP_CMPSD + 1) {
    translateOther(p, id);
    return;
  }
  const kind = (id - op.OP_FP_FIRST) >> 2;
  const format = id & 3;
  if (format > DOUBLE_PACKED) scalarArithmetic(p, kind, format === DOUBLE_SCALAR);
  else packedArithmetic(p, kind, format === DOUBLE_PACKED);
}

function translateOther(p: u32, id: u32): void {
  switch (id) {
    case op.OP_UCOMISS:
    case op.OP_COMISS:
      compare(p, false);
      return;
    case op.OP_UCOMISD:
    case op.OP_COMISD:
      compare(p, true);
      return;
    case op.OP_CVTSS2SD:
    case op.OP_CVTSD2SS:
      changePrecision(p, id === op.OP_CVTSS2SD);
      return;
    case op.OP_CVTSI2SS:
    case op.OP_CVTSI2SD:
      convertInteger(p, id === op.OP_CVTSI2SD);
      return;
    case op.OP_CVTTSS2SI:
    case op.OP_CVTTSD2SI:
      truncate(p, id === op.OP_CVTTSD2SI);
      return;
    case op.OP_CVTDQ2PS:
      convertIntegers(p);
      return;
    default:
      convertToDoubles(p);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Ways

/** Pushes an i32 that is not 0 unless MXCSR is plain. */
function pushIsNotPlain(): void {
  if (isPlainKnown()) {
    w.const32(0);
    return;
  }
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_MXCSR);
  w.const32(MXCSR_MODE);
  w.byte(w.I32_AND);
  w.const32(MXCSR_PLAIN);
  w.byte(w.I32_XOR);
}

/**
 * Has the interpreter's code run the instruction if the i32 on the stack is not 0; what is translated next is the other way. `plain`: a 0 there
 * says that MXCSR is plain.
 */
function otherwise(p: u32, plain: bool): void {
  openIf();
  if (!runSlowly(p) && plain) notePlain();
  w.byte(w.ELSE);
}

// ---------------------------------------------------------------------------------------------------------------------
// Scalars

function scalarLocal(n: u32, wide: bool): u32 {
  return (wide ? LOCAL_F64 : LOCAL_F32) + n;
}

/** Loads the first source into FIRST. */
function readFirst(p: u32, wide: bool): void {
  w.get(LOCAL_CPU);
  w.access(wide ? w.F64_LOAD : w.F32_LOAD, firstSource(p));
  w.set(scalarLocal(FIRST, wide));
}

/** Loads the second operand, a number, into SECOND. */
function readSecond(p: u32, wide: bool): void {
  const offset = pushSecondBase(p);
  w.access(wide ? w.F64_LOAD : w.F32_LOAD, offset);
  w.set(scalarLocal(SECOND, wide));
}

function pushScalar(n: u32, wide: bool): void {
  w.get(scalarLocal(n, wide));
}

/** Pushes the bits of a number without its sign, moved up by one. */
function pushMagnitude(n: u32, wide: bool): void {
  pushScalar(n, wide);
  if (wide) {
    w.byte(w.I64_REINTERPRET_F64);
    w.const64(1);
    w.byte(w.I64_SHL);
  } else {
    w.byte(w.I32_REINTERPRET_F32);
    w.const32(1);
    w.byte(w.I32_SHL);
  }
}

/** Pushes the biased exponent (i32). */
function pushExponent(n: u32, wide: bool): void {
  pushMagnitude(n, wide);
  if (wide) {
    w.const64(EXPONENT_SHIFT_64);
    w.byte(w.I64_SHR_U);
    w.byte(w.I32_WRAP_I64);
  } else {
    w.const32(EXPONENT_SHIFT_32);
    w.byte(w.I32_SHR_U);
  }
}

/** Pushes whether a number is denormal or the least normal one (i32). */
function pushIsDenormal(n: u32, wide: bool): void {
  pushMagnitude(n, wide);
  if (wide) {
    w.const64(-1);
    w.byte(w.I64_ADD);
    w.const64(EXPONENT_SHIFT_64);
    w.byte(w.I64_SHR_U);
    w.byte(w.I64_EQZ);
  } else {
    w.const32(-1);
    w.byte(w.I32_ADD);
    w.const32(EXPONENT_SHIFT_32);
    w.byte(w.I32_SHR_U);
    w.byte(w.I32_EQZ);
  }
}

/** Pushes whether a number is infinite or a NaN (i32). */
function pushIsNotFinite(n: u32, wide: bool): void {
  pushExponent(n, wide);
  w.const32(wide ? 0x7ff : 0xff);
  w.byte(w.I32_EQ);
}

/** Pushes whether a number is a NaN (i32). */
function pushIsNan(n: u32, wide: bool): void {
  pushMagnitude(n, wide);
  if (wide) {
    w.const64(<i64>INFINITE_64);
    w.byte(w.I64_GT_U);
  } else {
    w.const32(<i32>INFINITE_32);
    w.byte(w.I32_GT_U);
  }
}

function pushIsZero(n: u32, wide: bool): void {
  pushMagnitude(n, wide);
  w.byte(wide ? w.I64_EQZ : w.I32_EQZ);
}

/** Pushes whether the result of a product, a quotient or a change of precision may be tiny or too large, and is not an exact zero. */
function pushIsUnsafe(kind: u32, wide: bool): void {
  pushExponent(RESULT, wide);
  w.const32(2);
  w.byte(w.I32_SUB);
  w.const32(wide ? SAFE_EXPONENTS_64 : SAFE_EXPONENTS_32);
  w.byte(w.I32_GE_U);
  openIfValue(w.TYPE_I32);
  pushIsZero(FIRST, wide);
  if (kind !== KIND_DIV) {
    pushIsZero(SECOND, wide);
    w.byte(w.I32_OR);
  }
  pushIsZero(RESULT, wide);
  w.byte(w.I32_AND);
  w.byte(w.I32_EQZ);
  w.byte(w.ELSE);
  w.const32(0);
  close();
}

function scalarArithmetic(p: u32, kind: u32, wide: bool): void {
  readFirst(p, wide);
  readSecond(p, wide);
  if (kind === KIND_CMP) {
    scalarMask(p, wide);
    return;
  }
  const result = scalarLocal(RESULT, wide);
  if (kind === KIND_SQRT) {
    pushScalar(SECOND, wide);
    w.byte(wide ? w.F64_SQRT : w.F32_SQRT);
  } else if (kind < KIND_MIN) {
    pushScalar(FIRST, wide);
    pushScalar(SECOND, wide);
    // Sum, difference, product and quotient follow each other.
    w.byte((wide ? w.F64_ADD : w.F32_ADD) + kind);
  } else {
    // The second one, when they are equal.
    pushScalar(FIRST, wide);
    pushScalar(SECOND, wide);
    pushScalar(FIRST, wide);
    pushScalar(SECOND, wide);
    w.byte((wide ? w.F64_LT : w.F32_LT) + (kind - KIND_MIN));
    w.byte(w.SELECT);
  }
  w.set(result);

  pushIsDenormal(SECOND, wide);
  if (kind !== KIND_SQRT) {
    pushIsDenormal(FIRST, wide);
    w.byte(w.I32_OR);
  }
  const rounds = kind < KIND_MIN || kind === KIND_SQRT;
  if (!rounds) {
    pushIsNan(FIRST, wide);
    w.byte(w.I32_OR);
    pushIsNan(SECOND, wide);
  } else {
    if (kind <= KIND_SUB || kind === KIND_SQRT) pushIsNotFinite(RESULT, wide);
    else pushIsUnsafe(kind, wide);
    w.byte(w.I32_OR);
    pushIsNotPlain();
  }
  w.byte(w.I32_OR);
  otherwise(p, rounds);
  storeScalar(p, wide);
  close();
}

/** RESULT into the low part of the destination, whose upper one is the first source's. */
function storeScalar(p: u32, wide: bool): void {
  const to = destination(p);
  copyFirst(p, to);
  w.get(LOCAL_CPU);
  pushScalar(RESULT, wide);
  w.access(wide ? w.F64_STORE : w.F32_STORE, to);
  clearUpper(p, to);
}

/** Pushes the answer of a predicate for two numbers (i32). */
function pushPredicate(predicate: u32, wide: bool): void {
  const asked = predicate & 3;
  if (asked === PREDICATE_UNORD) w.const32(0);
  else if (asked === PREDICATE_EQ) pushComparison(wide ? w.F64_EQ : w.F32_EQ, wide);
  else if (asked === PREDICATE_LT) pushComparison(wide ? w.F64_LT : w.F32_LT, wide);
  else {
    // Less or equal: not greater, of numbers.
    pushComparison(wide ? w.F64_GT : w.F32_GT, wide);
    w.byte(w.I32_EQZ);
  }
  if (predicate & 4) w.byte(w.I32_EQZ);
}

function pushComparison(opcode: u32, wide: bool): void {
  pushScalar(FIRST, wide);
  pushScalar(SECOND, wide);
  w.byte(opcode);
}

/** Pushes whether one of the operands is denormal or a NaN (i32). */
function pushIsOdd(wide: bool): void {
  for (let n = FIRST; n <= SECOND; n++) {
    pushIsDenormal(n, wide);
    if (n > FIRST) w.byte(w.I32_OR);
    pushIsNan(n, wide);
    w.byte(w.I32_OR);
  }
}

/** CMPSS, CMPSD. */
function scalarMask(p: u32, wide: bool): void {
  const to = destination(p);
  pushIsOdd(wide);
  otherwise(p, false);
  copyFirst(p, to);
  w.get(LOCAL_CPU);
  w.const64(0);
  pushPredicate(load<u8>(p, U_IMM), wide);
  w.byte(w.I64_EXTEND_I32_U);
  w.byte(w.I64_SUB);
  w.access(wide ? w.I64_STORE : w.I64_STORE32, to);
  clearUpper(p, to);
  close();
}

/** ZF, PF and CF of a comparison of numbers: not unordered. OF, SF and AF are 0. */
function compare(p: u32, wide: bool): void {
  w.get(LOCAL_CPU);
  w.access(wide ? w.F64_LOAD : w.F32_LOAD, registerOperand(p));
  w.set(scalarLocal(FIRST, wide));
  readSecond(p, wide);
  pushIsOdd(wide);
  openIf();
  if (runSlowly(p)) f.loadCanonical();
  w.byte(w.ELSE);
  pushComparison(wide ? w.F64_EQ : w.F32_EQ, wide);
  w.byte(w.I32_EQZ);
  w.tee(LOCAL_STATUS);
  w.byte(w.I64_EXTEND_I32_U);
  w.set(LOCAL_RESULT);
  // The interpreter's form (cpu/flags.ts): CF in bit 31, CF ^ OF in bit 30; bit 8 makes the parity of a result of 0 odd.
  w.const32(<i32>0xc0000000);
  w.const32(0);
  pushComparison(wide ? w.F64_LT : w.F32_LT, wide);
  w.byte(w.SELECT);
  w.const32(0);
  w.const32(0x100);
  w.get(LOCAL_STATUS);
  w.byte(w.SELECT);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
  close();
  f.flagsBecomeCanonical();
}

// ---------------------------------------------------------------------------------------------------------------------
// Conversions

/** CVTSS2SD is exact; CVTSD2SS rounds. */
function changePrecision(p: u32, widens: bool): void {
  readSecond(p, !widens);
  pushScalar(SECOND, !widens);
  w.byte(widens ? w.F64_PROMOTE_F32 : w.F32_DEMOTE_F64);
  w.set(scalarLocal(RESULT, widens));
  pushIsDenormal(SECOND, !widens);
  if (widens) pushIsNan(SECOND, false);
  else {
    pushExponent(RESULT, false);
    w.const32(2);
    w.byte(w.I32_SUB);
    w.const32(SAFE_EXPONENTS_32);
    w.byte(w.I32_GE_U);
    openIfValue(w.TYPE_I32);
    pushIsZero(SECOND, true);
    w.byte(w.I32_EQZ);
    w.byte(w.ELSE);
    w.const32(0);
    close();
    w.byte(w.I32_OR);
    pushIsNotPlain();
  }
  w.byte(w.I32_OR);
  otherwise(p, !widens);
  storeScalar(p, widens);
  close();
}

/** CVTSI2SS, CVTSI2SD. */
function convertInteger(p: u32, wide: bool): void {
  const wideInteger = (flagsOf(p) & EXECUTE_W) !== 0;
  if (vectorRead(p) !== REG_ZERO) pushRegister(vectorRead(p), wideInteger ? 3 : 2);
  else pushSecondScalar(p, wideInteger);
  w.set(LOCAL_VALUE2);
  // 32 bits are exact in a double.
  const rounds = wideInteger || !wide;
  if (rounds) {
    pushIsNotPlain();
    otherwise(p, true);
  }
  w.get(LOCAL_VALUE2);
  if (!wideInteger) w.byte(w.I64_EXTEND32_S);
  w.byte(wide ? w.F64_CONVERT_I64_S : w.F32_CONVERT_I64_S);
  w.set(scalarLocal(RESULT, wide));
  storeScalar(p, wide);
  if (rounds) close();
}

/** CVTTSS2SI, CVTTSD2SI. */
function truncate(p: u32, wide: bool): void {
  const wideInteger = (flagsOf(p) & EXECUTE_W) !== 0;
  readSecond(p, wide);
  // Below 2^31 or 2^63, which leaves out NaNs.
  pushExponent(SECOND, wide);
  w.const32((wide ? 1023 : 127) + (wideInteger ? 63 : 31));
  w.byte(w.I32_GE_U);
  pushIsDenormal(SECOND, wide);
  w.byte(w.I32_OR);
  pushIsNotPlain();
  w.byte(w.I32_OR);
  otherwise(p, true);
  pushScalar(SECOND, wide);
  w.byte(wide ? w.I64_TRUNC_F64_S : w.I64_TRUNC_F32_S);
  popRegister(vectorWritten(p), wideInteger ? 3 : 2, wideInteger);
  close();
}

/** CVTDQ2PS. */
function convertIntegers(p: u32): void {
  const to = destination(p);
  pushIsNotPlain();
  otherwise(p, true);
  for (let half: u32 = 0; half < halves(p); half++) {
    w.get(LOCAL_CPU);
    pushSecond(p, half);
    w.vector(w.F32X4_CONVERT_I32X4_S);
    storeHalf(to, half);
  }
  if (halves(p) === 1) clearUpper(p, to);
  close();
}

/** CVTDQ2PD, exact: the upper half first, for the register may be its own source. */
function convertToDoubles(p: u32): void {
  const to = destination(p);
  for (let half = halves(p); half-- > 0;) {
    w.get(LOCAL_CPU);
    const offset = pushSecondBase(p);
    w.vectorAccess(w.V128_LOAD64_ZERO, offset + (half << 3));
    w.vector(w.F64X2_CONVERT_LOW_I32X4_S);
    storeHalf(to, half);
  }
  if (halves(p) === 1) clearUpper(p, to);
}

// ---------------------------------------------------------------------------------------------------------------------
// Vectors

function pushVector(n: u32): void {
  w.get(LOCAL_V128 + n);
}

function pushConstant(offset: u32): void {
  w.const32(0);
  w.vectorAccess(w.V128_LOAD, <u32>VECTORS + offset);
}

/** Pushes the bits of all numbers without their signs, moved up by one. */
function pushMagnitudes(n: u32, wide: bool): void {
  pushVector(n);
  pushVector(n);
  w.vector(wide ? w.I64X2_ADD : w.I32X4_ADD);
}

/** Pushes which lanes are denormal. */
function pushDenormals(n: u32, wide: bool): void {
  pushMagnitudes(n, wide);
  pushConstant(wide ? LIFT_64 : LIFT_32);
  w.vector(wide ? w.I64X2_ADD : w.I32X4_ADD);
  pushConstant(wide ? LEAST_64 : LEAST_32);
  w.vector(wide ? w.I64X2_LT_S : w.I32X4_LT_U);
}

/** Pushes which lanes are infinite or NaNs. */
function pushNotFinite(n: u32, wide: bool): void {
  pushMagnitudes(n, wide);
  if (wide) {
    pushConstant(HALF_64);
    w.vector(w.I64X2_ADD);
    pushConstant(GREATEST_64);
    w.vector(w.I64X2_GT_S);
  } else {
    pushConstant(GREATEST_32);
    w.vector(w.I32X4_GE_U);
  }
}

/** Pushes which lanes are NaNs. */
function pushNans(n: u32, wide: bool): void {
  pushVector(n);
  pushVector(n);
  w.vector(wide ? w.F64X2_NE : w.F32X4_NE);
}

function pushZeros(n: u32, wide: bool): void {
  pushVector(n);
  w.vector(w.V128_CONST);
  w.zeros(16);
  w.vector(wide ? w.F64X2_EQ : w.F32X4_EQ);
}

/** Pushes which lanes of a product or quotient may be tiny or too large, and are not exact zeros. */
function pushUnsafe(kind: u32, result: u32, wide: bool): void {
  pushMagnitudes(result, wide);
  pushConstant(wide ? SAFE_64 : SAFE_32);
  w.vector(wide ? w.I64X2_ADD : w.I32X4_ADD);
  pushConstant(wide ? MOST_SAFE_64 : MOST_SAFE_32);
  w.vector(wide ? w.I64X2_GT_S : w.I32X4_GE_U);
  pushZeros(FIRST, wide);
  if (kind !== KIND_DIV) {
    pushZeros(SECOND, wide);
    w.vector(w.V128_OR);
  }
  pushZeros(result, wide);
  w.vector(w.V128_AND);
  w.vector(w.V128_ANDNOT);
}

/** Pushes the result of a kind of arithmetic with FIRST and SECOND. */
function pushPacked(p: u32, kind: u32, wide: bool): void {
  if (kind === KIND_CMP) {
    pushMasks(load<u8>(p, U_IMM), wide);
    return;
  }
  if (kind === KIND_SQRT) {
    pushVector(SECOND);
    w.vector(wide ? w.F64X2_SQRT : w.F32X4_SQRT);
    return;
  }
  if (kind < KIND_MIN) {
    pushVector(FIRST);
    pushVector(SECOND);
    w.vector((wide ? w.F64X2_ADD : w.F32X4_ADD) + kind);
    return;
  }
  // WebAssembly's pmin gives its first operand when the two are equal.
  pushVector(SECOND);
  pushVector(FIRST);
  w.vector((wide ? w.F64X2_PMIN : w.F32X4_PMIN) + (kind - KIND_MIN));
}

function pushMasks(predicate: u32, wide: bool): void {
  const asked = predicate & 3;
  // Less or equal: the second one is not less than the first.
  const swapped = asked > PREDICATE_LT && asked !== PREDICATE_UNORD;
  pushVector(swapped ? SECOND : FIRST);
  pushVector(asked === PREDICATE_UNORD ? FIRST : swapped ? FIRST : SECOND);
  // Numbers are never unordered: no number differs from itself.
  if (asked === PREDICATE_UNORD) w.vector(wide ? w.F64X2_NE : w.F32X4_NE);
  else if (asked === PREDICATE_EQ) w.vector(wide ? w.F64X2_EQ : w.F32X4_EQ);
  else w.vector(wide ? w.F64X2_LT : w.F32X4_LT);
  if (swapped !== ((predicate & 4) !== 0)) w.vector(w.V128_NOT);
}

function packedArithmetic(p: u32, kind: u32, wide: bool): void {
  const to = destination(p);
  const count = halves(p);
  const rounds = kind < KIND_MIN || kind === KIND_SQRT;
  for (let half: u32 = 0; half < count; half++) {
    const result = half ? UPPER : RESULT;
    pushFirst(p, half);
    w.set(LOCAL_V128 + FIRST);
    pushSecond(p, half);
    w.set(LOCAL_V128 + SECOND);
    pushPacked(p, kind, wide);
    w.set(LOCAL_V128 + result);
    pushDenormals(SECOND, wide);
    if (kind !== KIND_SQRT) {
      pushDenormals(FIRST, wide);
      w.vector(w.V128_OR);
    }
    if (!rounds) {
      pushNans(FIRST, wide);
      w.vector(w.V128_OR);
      pushNans(SECOND, wide);
    } else if (kind <= KIND_SUB || kind === KIND_SQRT) pushNotFinite(result, wide);
    else pushUnsafe(kind, result, wide);
    w.vector(w.V128_OR);
    if (half) {
      pushVector(BAD);
      w.vector(w.V128_OR);
    }
    w.set(LOCAL_V128 + BAD);
  }
  pushVector(BAD);
  w.vector(w.V128_ANY_TRUE);
  if (rounds) {
    pushIsNotPlain();
    w.byte(w.I32_OR);
  }
  otherwise(p, rounds);
  for (let half: u32 = 0; half < count; half++) {
    w.get(LOCAL_CPU);
    pushVector(half ? UPPER : RESULT);
    storeHalf(to, half);
  }
  if (count === 1) clearUpper(p, to);
  close();
}

assert(op.OP_ADDPD - op.OP_ADDPS === DOUBLE_PACKED && (op.OP_ADDPS & 3) === 0);
assert((op.OP_CMPPS - op.OP_FP_FIRST) >> 2 === KIND_CMP && (op.OP_SQRTPS - op.OP_FP_FIRST) >> 2 === KIND_SQRT);
assert((op.OP_MINPS - op.OP_FP_FIRST) >> 2 === KIND_MIN && (op.OP_DIVPS - op.OP_FP_FIRST) >> 2 === KIND_DIV);
