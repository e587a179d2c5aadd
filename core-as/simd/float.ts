/**
 * Floating-point arithmetic of SSE and AVX. Round-to-nearest on normal operands with a normal result is the machine's own;
 * everything else goes to softfloat.ts. The inexact flag costs an error-free transformation only until it is sticky.
 */
import { R_SIMD_SCRATCH, R_YMM } from '../layout';
import * as op from './operations';
import {
  FLAG_PRECISION,
  FORMAT_DOUBLE,
  FORMAT_SINGLE,
  KIND_ADD,
  KIND_DIV,
  KIND_MAX,
  KIND_MIN,
  KIND_MUL,
  KIND_SQRT,
  KIND_SUB,
  ORDER_EQUAL,
  ORDER_GREATER,
  ORDER_LESS,
  ROUND_NEAREST,
  floatBegin,
  floatCommit,
  floatRaise,
  floatRounding,
  precisionIsKnown,
  softArithmetic,
  softCompare,
  softFusedMultiplyAdd,
} from './softfloat';

/** Results wait here until floatCommit: scratch slot 6. Slot 7 is the interpreter's copy of a memory operand. */
export const RESULT: u32 = R_SIMD_SCRATCH + 6 * 32;

const NORMAL_SPAN_64: u32 = 0x7fe;
const NORMAL_SPAN_32: u32 = 0xfe;

// ---------------------------------------------------------------------------------------------------------------------
// One lane

/** A normal number. */
// @ts-ignore: decorator
@inline
function isNormal64(bits: u64): bool {
  return ((<u32>(bits >> 52)) & 0x7ff) - 1 < NORMAL_SPAN_64;
}
// @ts-ignore: decorator
@inline
function isNormal32(bits: u32): bool {
  return ((bits >> 23) & 0xff) - 1 < NORMAL_SPAN_32;
}

/** Error of a product, exact while neither factors nor product come near the ends of the exponent range (Dekker 1971). */
function productError(a: f64, b: f64, product: f64): f64 {
  const splitter: f64 = 134217729; // 2^27 + 1
  const a1 = a * splitter;
  const aHigh = a1 - (a1 - a);
  const aLow = a - aHigh;
  const b1 = b * splitter;
  const bHigh = b1 - (b1 - b);
  const bLow = b - bHigh;
  return aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

/** The exponent lies within +-400, so that neither splitting nor the low half of a product leaves the range. */
// @ts-ignore: decorator
@inline
function isModerate(value: f64): bool {
  return ((<u32>(reinterpret<u64>(value) >> 52)) & 0x7ff) - 623 < 801;
}

/** 1 inexact, 0 exact, 2 cannot tell here. */
function isInexact64(kind: u32, a: f64, b: f64, result: f64): u32 {
  switch (kind) {
    case KIND_ADD:
    case KIND_SUB: {
      if (!(isModerate(a) && isModerate(b))) return 2;
      const other = kind === KIND_ADD ? b : -b;
      const part = result - a;
      return <u32>(a - (result - part) + (other - part) !== 0);
    }
    case KIND_MUL:
      if (!(isModerate(a) && isModerate(b))) return 2;
      return <u32>(productError(a, b, result) !== 0);
    case KIND_DIV: {
      if (!(isModerate(a) && isModerate(b) && isModerate(result))) return 2;
      const product = result * b;
      return <u32>(product !== a || productError(result, b, product) !== 0);
    }
    default: {
      if (!isModerate(b)) return 2;
      const square = result * result;
      return <u32>(square !== b || productError(result, result, square) !== 0);
    }
  }
}

/** One double-precision operation. SQRT takes the second operand. */
export function arithmetic64(kind: u32, a: u64, b: u64): u64 {
  if (floatRounding() !== ROUND_NEAREST) return softArithmetic(kind, a, b, FORMAT_DOUBLE);
  const aIsFit = isNormal64(a) || !(a << 1) || kind === KIND_SQRT;
  const bIsFit = isNormal64(b) || !(b << 1);
  if (!aIsFit || !bIsFit) return softArithmetic(kind, a, b, FORMAT_DOUBLE);
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  let result: f64;
  switch (kind) {
    case KIND_ADD:
      result = x + y;
      break;
    case KIND_SUB:
      result = x - y;
      break;
    case KIND_MUL:
      result = x * y;
      break;
    case KIND_DIV:
      result = x / y;
      break;
    case KIND_MIN:
      return x < y ? a : b;
    case KIND_MAX:
      return x > y ? a : b;
    default:
      result = sqrt<f64>(y);
  }
  const bits = reinterpret<u64>(result);
  // The smallest exponent is left out: a result rounded up to the smallest normal number counts as tiny.
  if (((<u32>(bits >> 52)) & 0x7ff) - 2 >= NORMAL_SPAN_64 - 1) {
    const exactZero = !(bits << 1) && (kind <= KIND_SUB || (kind === KIND_MUL && (x === 0 || y === 0)));
    return exactZero ? bits : softArithmetic(kind, a, b, FORMAT_DOUBLE);
  }
  if (precisionIsKnown()) return bits;
  const inexact = isInexact64(kind, x, y, result);
  if (inexact === 2) return softArithmetic(kind, a, b, FORMAT_DOUBLE);
  if (inexact) floatRaise(FLAG_PRECISION);
  return bits;
}

/** One single-precision operation; a product of two singles is exact in double precision. */
export function arithmetic32(kind: u32, a: u32, b: u32): u32 {
  if (floatRounding() !== ROUND_NEAREST) return <u32>softArithmetic(kind, a, b, FORMAT_SINGLE);
  const aIsFit = isNormal32(a) || !(a << 1) || kind === KIND_SQRT;
  const bIsFit = isNormal32(b) || !(b << 1);
  if (!aIsFit || !bIsFit) return <u32>softArithmetic(kind, a, b, FORMAT_SINGLE);
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  const wideX = <f64>x;
  const wideY = <f64>y;
  let result: f32;
  let inexact: bool;
  switch (kind) {
    case KIND_ADD:
    case KIND_SUB: {
      const other = kind === KIND_ADD ? wideY : -wideY;
      const sum = wideX + other;
      const part = sum - wideX;
      const error = wideX - (sum - part) + (other - part);
      // From here the sum may only be demoted when nothing was lost; otherwise the native single operation rounds once.
      result = kind === KIND_ADD ? x + y : x - y;
      inexact = error !== 0 || <f64>result !== sum;
      break;
    }
    case KIND_MUL: {
      const product = wideX * wideY;
      result = <f32>product;
      inexact = <f64>result !== product;
      break;
    }
    case KIND_DIV:
      result = x / y;
      inexact = <f64>result * wideY !== wideX;
      break;
    case KIND_MIN:
      return x < y ? a : b;
    case KIND_MAX:
      return x > y ? a : b;
    default:
      result = sqrt<f32>(y);
      inexact = <f64>result * <f64>result !== wideY;
  }
  const bits = reinterpret<u32>(result);
  if (((bits >> 23) & 0xff) - 2 >= NORMAL_SPAN_32 - 1) {
    const exactZero = !(bits << 1) && (kind <= KIND_SUB || (kind === KIND_MUL && (x === 0 || y === 0)));
    return exactZero ? bits : <u32>softArithmetic(kind, a, b, FORMAT_SINGLE);
  }
  if (inexact) floatRaise(FLAG_PRECISION);
  return bits;
}

/** CMPxx predicates 0-15 as sets of ORDER_* (SDM Vol. 2 table 3-1); 16-31 repeat them with the other QNaN behaviour. */
// @ts-ignore: decorator
@lazy
const PREDICATE_ORDERS: usize = memory.data<u8>([2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15]);
/** Bit n: predicate n of 0-15 signals invalid for a QNaN: LT, LE, NLT, NLE, NGE, NGT, GE, GT. */
const PREDICATE_SIGNALS: u32 = 0x6666;

function compare(a: u64, b: u64, predicate: u32, format: u32): bool {
  const index = predicate & 15;
  const signaling: bool = (((PREDICATE_SIGNALS >> index) ^ (predicate >> 4)) & 1) !== 0;
  return (softCompare(a, b, signaling, format) & load<u8>(PREDICATE_ORDERS + index)) !== 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// One 128-bit lane at once

/** All four lanes hold a normal number or zero. */
// @ts-ignore: decorator
@inline
function areFit32(a: v128): bool {
  const magnitude = v128.and(a, i32x4.splat(0x7fffffff));
  const normal = i32x4.lt_u(i32x4.sub(magnitude, i32x4.splat(0x00800000)), i32x4.splat(0x7f000000));
  return i32x4.all_true(v128.or(normal, i32x4.eq(magnitude, i32x4.splat(0))));
}

/** All four lanes hold a normal number that is not of the smallest exponent. */
// @ts-ignore: decorator
@inline
function areSafe32(a: v128): bool {
  const magnitude = v128.and(a, i32x4.splat(0x7fffffff));
  return i32x4.all_true(i32x4.lt_u(i32x4.sub(magnitude, i32x4.splat(0x01000000)), i32x4.splat(0x7e800000)));
}

/** Both lanes hold a normal double or zero. */
// @ts-ignore: decorator
@inline
function areFit64(a: v128): bool {
  const zero = i64x2.eq(v128.and(a, i64x2.splat(i64.MAX_VALUE)), i64x2.splat(0));
  return i32x4.all_true(v128.or(zero, normalUpper64(a, 0x00100000, 0x7fe00000)));
}

/** Both lanes hold a normal double that is not of the smallest exponent. */
// @ts-ignore: decorator
@inline
function areSafe64(a: v128): bool {
  return i32x4.all_true(normalUpper64(a, 0x00200000, 0x7fd00000));
}

/** Lanes whose upper dword's magnitude lies in [smallest, smallest + span). */
// @ts-ignore: decorator
@inline
function normalUpper64(a: v128, smallest: i32, span: i32): v128 {
  const upper = v128.and(v128.shuffle<u32>(a, a, 1, 1, 3, 3), i32x4.splat(0x7fffffff));
  return i32x4.lt_u(i32x4.sub(upper, i32x4.splat(smallest)), i32x4.splat(span));
}

/** Tries a packed operation natively; true if the result, stored at `result`, is right and raises nothing new. */
function packedNative(kind: u32, format: u32, a: u32, b: u32, result: u32): bool {
  const x = v128.load(a);
  const y = v128.load(b);
  let r: v128;
  if (format === FORMAT_SINGLE) {
    if (!areFit32(y) || (kind !== KIND_SQRT && !areFit32(x))) return false;
    switch (kind) {
      case KIND_ADD:
        r = f32x4.add(x, y);
        break;
      case KIND_SUB:
        r = f32x4.sub(x, y);
        break;
      case KIND_MUL:
        r = f32x4.mul(x, y);
        break;
      case KIND_DIV:
        r = f32x4.div(x, y);
        break;
      case KIND_MIN:
        v128.store(result, f32x4.pmin(y, x));
        return true;
      case KIND_MAX:
        v128.store(result, f32x4.pmax(y, x));
        return true;
      default:
        r = f32x4.sqrt(y);
    }
    if (!areSafe32(r)) return false;
  } else {
    if (!areFit64(y) || (kind !== KIND_SQRT && !areFit64(x))) return false;
    switch (kind) {
      case KIND_ADD:
        r = f64x2.add(x, y);
        break;
      case KIND_SUB:
        r = f64x2.sub(x, y);
        break;
      case KIND_MUL:
        r = f64x2.mul(x, y);
        break;
      case KIND_DIV:
        r = f64x2.div(x, y);
        break;
      case KIND_MIN:
        v128.store(result, f64x2.pmin(y, x));
        return true;
      case KIND_MAX:
        v128.store(result, f64x2.pmax(y, x));
        return true;
      default:
        r = f64x2.sqrt(y);
    }
    if (!areSafe64(r)) return false;
  }
  v128.store(result, r);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Whole instructions. They leave the result at cpu + RESULT and answer whether it may be written.

/** Copies the committed result to a register: 16 bytes, or 32, or 16 and zeros above. */
// @ts-ignore: decorator
@inline
export function writeResult(cpu: u32, destination: u32, vex: bool, wide: bool): void {
  v128.store(destination, v128.load(cpu, RESULT));
  if (vex) v128.store(destination, wide ? v128.load(cpu, RESULT + 16) : i32x4.splat(0), 16);
}

/** ADDPS ... CMPSD: `operation` from OP_FP_FIRST on; operands are addresses. */
export function executeArithmetic(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  imm: u32,
  vex: bool,
  wide: bool,
): bool {
  const kind = (operation - op.OP_FP_FIRST) >> 2;
  const result = cpu + RESULT;
  floatBegin(cpu);
  if (operation & 2) {
    v128.store(result, v128.load(first));
    if (operation & 1) {
      const a = load<u64>(first);
      const b = load<u64>(second);
      if (operation < op.OP_CMPPS) store<u64>(result, arithmetic64(kind, a, b));
      else store<u64>(result, compare(a, b, vex ? imm & 31 : imm & 7, FORMAT_DOUBLE) ? 0xffffffffffffffff : 0);
    } else {
      const a = load<u32>(first);
      const b = load<u32>(second);
      if (operation < op.OP_CMPPS) store<u32>(result, arithmetic32(kind, a, b));
      else store<u32>(result, compare(a, b, vex ? imm & 31 : imm & 7, FORMAT_SINGLE) ? 0xffffffff : 0);
    }
    if (!floatCommit(cpu)) return false;
    writeResult(cpu, destination, vex, false);
    return true;
  }
  const format = operation & 1;
  const bytes: u32 = wide ? 32 : 16;
  // MIN and MAX never depend on rounding, but their fast path may as well wait for the common mode.
  const native = floatRounding() === ROUND_NEAREST && precisionIsKnown() && operation < op.OP_CMPPS;
  for (let at: u32 = 0; at < bytes; at += 16) {
    if (native && packedNative(kind, format, first + at, second + at, result + at)) continue;
    packedLanes(operation, first + at, second + at, result + at, vex ? imm & 31 : imm & 7);
  }
  if (!floatCommit(cpu)) return false;
  writeResult(cpu, destination, vex, wide);
  return true;
}

/** One 128-bit lane element by element. */
function packedLanes(operation: u32, first: u32, second: u32, result: u32, predicate: u32): void {
  const kind = (operation - op.OP_FP_FIRST) >> 2;
  const isCompare = operation >= op.OP_CMPPS;
  if (operation & 1) {
    for (let at: u32 = 0; at < 16; at += 8) {
      const a = load<u64>(first + at);
      const b = load<u64>(second + at);
      if (isCompare) store<u64>(result + at, compare(a, b, predicate, FORMAT_DOUBLE) ? 0xffffffffffffffff : 0);
      else store<u64>(result + at, arithmetic64(kind, a, b));
    }
  } else {
    for (let at: u32 = 0; at < 16; at += 4) {
      const a = load<u32>(first + at);
      const b = load<u32>(second + at);
      if (isCompare) store<u32>(result + at, compare(a, b, predicate, FORMAT_SINGLE) ? 0xffffffff : 0);
      else store<u32>(result + at, arithmetic32(kind, a, b));
    }
  }
}

/** HADDPx, HSUBPx, ADDSUBPx. */
export function executeHorizontal(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  vex: bool,
  wide: bool,
): bool {
  const result = cpu + RESULT;
  const bytes: u32 = wide ? 32 : 16;
  floatBegin(cpu);
  for (let lane: u32 = 0; lane < bytes; lane += 16) {
    const a = first + lane;
    const b = second + lane;
    const to = result + lane;
    switch (operation) {
      case op.OP_HADDPS:
      case op.OP_HSUBPS: {
        const kind = operation === op.OP_HADDPS ? KIND_ADD : KIND_SUB;
        store<u32>(to, arithmetic32(kind, load<u32>(a), load<u32>(a, 4)));
        store<u32>(to, arithmetic32(kind, load<u32>(a, 8), load<u32>(a, 12)), 4);
        store<u32>(to, arithmetic32(kind, load<u32>(b), load<u32>(b, 4)), 8);
        store<u32>(to, arithmetic32(kind, load<u32>(b, 8), load<u32>(b, 12)), 12);
        break;
      }
      case op.OP_HADDPD:
      case op.OP_HSUBPD: {
        const kind = operation === op.OP_HADDPD ? KIND_ADD : KIND_SUB;
        store<u64>(to, arithmetic64(kind, load<u64>(a), load<u64>(a, 8)));
        store<u64>(to, arithmetic64(kind, load<u64>(b), load<u64>(b, 8)), 8);
        break;
      }
      case op.OP_ADDSUBPS:
        for (let at: u32 = 0; at < 16; at += 4) {
          store<u32>(to + at, arithmetic32(at & 4 ? KIND_ADD : KIND_SUB, load<u32>(a + at), load<u32>(b + at)));
        }
        break;
      default:
        store<u64>(to, arithmetic64(KIND_SUB, load<u64>(a), load<u64>(b)));
        store<u64>(to, arithmetic64(KIND_ADD, load<u64>(a, 8), load<u64>(b, 8)), 8);
    }
  }
  if (!floatCommit(cpu)) return false;
  writeResult(cpu, destination, vex, wide);
  return true;
}

/**
 * DPPS and DPPD: products, then sums of pairs, then for singles the sum of both (SDM Vol. 2 DPPS). Every step rounds, and an unmasked
 * exception of one step keeps the next from happening.
 */
export function executeDotProduct(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  imm: u32,
  vex: bool,
  wide: bool,
): bool {
  const result = cpu + RESULT;
  const bytes: u32 = wide ? 32 : 16;
  const isSingle = operation === op.OP_DPPS;
  floatBegin(cpu);
  for (let at: u32 = 0; at < bytes; at += isSingle ? 4 : 8) {
    const a = first + at;
    const b = second + at;
    if (isSingle) {
      const isUsed = imm & (0x10 << ((at >> 2) & 3));
      store<u32>(result + at, isUsed ? arithmetic32(KIND_MUL, load<u32>(a), load<u32>(b)) : 0);
    } else {
      const isUsed = imm & (0x10 << (at >> 3));
      store<u64>(result + at, isUsed ? arithmetic64(KIND_MUL, load<u64>(a), load<u64>(b)) : 0);
    }
  }
  if (!floatCommit(cpu)) return false;
  floatBegin(cpu);
  for (let at: u32 = 0; at < bytes; at += isSingle ? 8 : 16) {
    const from = result + at;
    if (isSingle) store<u32>(from, arithmetic32(KIND_ADD, load<u32>(from), load<u32>(from, 4)));
    else store<u64>(from, arithmetic64(KIND_ADD, load<u64>(from), load<u64>(from, 8)));
  }
  if (!floatCommit(cpu)) return false;
  if (isSingle) {
    floatBegin(cpu);
    for (let at: u32 = 0; at < bytes; at += 16) {
      const from = result + at;
      store<u32>(from, arithmetic32(KIND_ADD, load<u32>(from), load<u32>(from, 8)));
    }
    if (!floatCommit(cpu)) return false;
  }
  for (let lane: u32 = 0; lane < bytes; lane += 16) {
    const to = result + lane;
    if (isSingle) {
      const sum = load<u32>(to);
      for (let i: u32 = 0; i < 4; ++i) store<u32>(to + (i << 2), (imm >> i) & 1 ? sum : 0);
    } else {
      const sum = load<u64>(to);
      store<u64>(to, imm & 1 ? sum : 0);
      store<u64>(to, imm & 2 ? sum : 0, 8);
    }
  }
  writeResult(cpu, destination, vex, wide);
  return true;
}

/** COMISx and UCOMISx into ZF, PF and CF; the other arithmetic flags clear. Answers the RFLAGS bits, or -1 for #XM. */
export function compareToFlags(cpu: u32, operation: u32, first: u32, second: u32): i32 {
  floatBegin(cpu);
  const signaling = operation === op.OP_COMISS || operation === op.OP_COMISD;
  const order =
    operation === op.OP_UCOMISS || operation === op.OP_COMISS
      ? softCompare(load<u32>(first), load<u32>(second), signaling, FORMAT_SINGLE)
      : softCompare(load<u64>(first), load<u64>(second), signaling, FORMAT_DOUBLE);
  if (!floatCommit(cpu)) return -1;
  if (order === ORDER_LESS) return 0x01;
  if (order === ORDER_EQUAL) return 0x40;
  return order === ORDER_GREATER ? 0 : 0x45;
}

/**
 * FMA3: `operation` from OP_FMA_FIRST on. The three orders name which operands (1 destination, 2 VEX.vvvv, 3 r/m) are the
 * factors and which the addend.
 */
export function executeFusedMultiplyAdd(
  cpu: u32,
  operation: u32,
  destination: u32,
  second: u32,
  third: u32,
  wide: bool,
): bool {
  const index = operation - op.OP_FMA_FIRST;
  const order = index / 24;
  const kind = (index % 24) >> 2;
  const format = index & 1;
  const scalar: bool = (index & 2) !== 0;
  const factorA = order === 0 ? destination : second;
  const factorB = order === 1 ? destination : third;
  const addend = order === 0 ? second : order === 1 ? third : destination;
  const step: u32 = format === FORMAT_DOUBLE ? 8 : 4;
  const bytes: u32 = scalar ? step : wide ? 32 : 16;
  const result = cpu + RESULT;
  floatBegin(cpu);
  if (scalar) v128.store(result, v128.load(destination));
  for (let at: u32 = 0; at < bytes; at += step) {
    const isOdd = (at & step) !== 0;
    // FMADDSUB subtracts in even elements, FMSUBADD in odd ones.
    const negateAddend = kind === 0 ? !isOdd : kind === 1 ? isOdd : kind === 3 || kind === 5;
    const negateProduct = kind >= 4;
    if (format === FORMAT_DOUBLE) {
      const a = load<u64>(factorA + at);
      const b = load<u64>(factorB + at);
      const c = load<u64>(addend + at);
      store<u64>(result + at, softFusedMultiplyAdd(a, b, c, negateProduct, negateAddend, FORMAT_DOUBLE));
    } else {
      const a = load<u32>(factorA + at);
      const b = load<u32>(factorB + at);
      const c = load<u32>(addend + at);
      store<u32>(result + at, fusedMultiplyAdd32(a, b, c, negateProduct, negateAddend));
    }
  }
  if (!floatCommit(cpu)) return false;
  writeResult(cpu, destination, true, !scalar && wide);
  return true;
}

/**
 * Single precision through double: the product is exact there, and a sum rounded to odd keeps enough to round once more
 * (Boldo and Melquiond 2008).
 */
function fusedMultiplyAdd32(a: u32, b: u32, c: u32, negateProduct: bool, negateAddend: bool): u32 {
  if (floatRounding() === ROUND_NEAREST && isNormal32(a) && isNormal32(b) && isNormal32(c)) {
    const product = <f64>reinterpret<f32>(negateProduct ? a ^ 0x80000000 : a) * <f64>reinterpret<f32>(b);
    const addend = <f64>reinterpret<f32>(negateAddend ? c ^ 0x80000000 : c);
    const sum = product + addend;
    const part = sum - product;
    const error = product - (sum - part) + (addend - part);
    let odd = reinterpret<u64>(sum);
    // An inexact sum with an even last bit moves toward its error: away from zero if their signs agree.
    if (error !== 0 && !(odd & 1)) odd += (reinterpret<u64>(error) ^ odd) >> 63 ? -1 : 1;
    const bits = reinterpret<u32>(<f32>reinterpret<f64>(odd));
    if (((bits >> 23) & 0xff) - 2 < NORMAL_SPAN_32 - 1) {
      if (error !== 0 || <f64>reinterpret<f32>(bits) !== sum) floatRaise(FLAG_PRECISION);
      return bits;
    }
  }
  return <u32>softFusedMultiplyAdd(a, b, c, negateProduct, negateAddend, FORMAT_SINGLE);
}

/** Address of a YMM register. */
// @ts-ignore: decorator
@inline
export function ymm(cpu: u32, register: u32): u32 {
  return cpu + R_YMM + (register << 5);
}
