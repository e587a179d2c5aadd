/**
 * IEEE 754 arithmetic in integers with SSE's rules: every rounding mode, DAZ, FTZ, all six flags, x86 NaN results
 * (SDM Vol. 1 chapters 4.8, 11.5 and 14.5). float.ts calls it where the machine's own floating point would not do.
 *
 * A finite non-zero number is sign, exponent and a significand with its leading one in bit 63: significand * 2^(exponent - 63).
 */
import { R_MXCSR } from '../layout';

export const FLAG_INVALID: u32 = 0x01;
export const FLAG_DENORMAL: u32 = 0x02;
export const FLAG_ZERO_DIVIDE: u32 = 0x04;
export const FLAG_OVERFLOW: u32 = 0x08;
export const FLAG_UNDERFLOW: u32 = 0x10;
export const FLAG_PRECISION: u32 = 0x20;
/** Conditions seen before a result is computed (SDM Vol. 1 11.5.2). */
const FLAGS_BEFORE: u32 = FLAG_INVALID | FLAG_DENORMAL | FLAG_ZERO_DIVIDE;
const FLAGS_ALL: u32 = 0x3f;

const MXCSR_DAZ: u32 = 0x40;
const MXCSR_MASK_SHIFT: u32 = 7;
const MXCSR_RC_SHIFT: u32 = 13;
const MXCSR_FTZ: u32 = 0x8000;

/** Rounding control, MXCSR[14:13] and the low bits of ROUNDPS' immediate. */
export const ROUND_NEAREST: u32 = 0;
export const ROUND_DOWN: u32 = 1;
export const ROUND_UP: u32 = 2;
export const ROUND_ZERO: u32 = 3;

export const FORMAT_SINGLE: u32 = 0;
export const FORMAT_DOUBLE: u32 = 1;
export const FORMAT_HALF: u32 = 2;

export const KIND_ADD: u32 = 0;
export const KIND_SUB: u32 = 1;
export const KIND_MUL: u32 = 2;
export const KIND_DIV: u32 = 3;
export const KIND_MIN: u32 = 4;
export const KIND_MAX: u32 = 5;
export const KIND_SQRT: u32 = 6;
export const KIND_CMP: u32 = 7;

// The instruction in flight. Globals are private to an instance, that is, to a vCPU.
let mxcsr: u32 = 0;
let raised: u32 = 0;
let rounding: u32 = 0;
/** Significand and exponent that unpack() found. */
let unpackedSignificand: u64 = 0;
let unpackedExponent: i32 = 0;

/** Starts a floating-point instruction: reads MXCSR, forgets flags. */
// @ts-ignore: decorator
@inline
export function floatBegin(cpu: u32): void {
  mxcsr = load<u32>(cpu, R_MXCSR);
  raised = 0;
  rounding = (mxcsr >> MXCSR_RC_SHIFT) & 3;
}

/** Sets the rounding mode of this instruction (VCVTPS2PH's immediate). */
export function floatSetRounding(mode: u32): void {
  rounding = mode;
}

// @ts-ignore: decorator
@inline
export function floatRaise(flags: u32): void {
  raised |= flags;
}

/** Ends the instruction: flags become sticky. False when one of them is unmasked: no result may be written. */
export function floatCommit(cpu: u32): bool {
  if (!raised) return true;
  const unmasked = raised & ~(mxcsr >> MXCSR_MASK_SHIFT) & FLAGS_ALL;
  // An exception raised before computing keeps the instruction from computing at all.
  if (unmasked & FLAGS_BEFORE) raised &= FLAGS_BEFORE;
  store<u32>(cpu, load<u32>(cpu, R_MXCSR) | raised, R_MXCSR);
  return !unmasked;
}

// @ts-ignore: decorator
@inline
export function floatRounding(): u32 {
  return rounding;
}

// @ts-ignore: decorator
@inline
export function denormalsAreZeros(): bool {
  return (mxcsr & MXCSR_DAZ) !== 0;
}

/** Nobody can tell whether a result was exact: PE is sticky already and masked. */
// @ts-ignore: decorator
@inline
export function precisionIsKnown(): bool {
  const bits = FLAG_PRECISION | (FLAG_PRECISION << MXCSR_MASK_SHIFT);
  return (mxcsr & bits) === bits;
}

// ---------------------------------------------------------------------------------------------------------------------
// Formats

// @ts-ignore: decorator
@inline
export function signBit(format: u32): u64 {
  return format === FORMAT_DOUBLE ? 0x8000000000000000 : format === FORMAT_SINGLE ? 0x80000000 : 0x8000;
}

/** The bits of infinity, also the mask of the exponent field. */
// @ts-ignore: decorator
@inline
export function infinityBits(format: u32): u64 {
  return format === FORMAT_DOUBLE ? 0x7ff0000000000000 : format === FORMAT_SINGLE ? 0x7f800000 : 0x7c00;
}

/** Bits of the stored fraction. */
// @ts-ignore: decorator
@inline
function fractionBits(format: u32): u32 {
  return format === FORMAT_DOUBLE ? 52 : format === FORMAT_SINGLE ? 23 : 10;
}

/** Largest exponent of a finite number; the smallest normal one is 1 - bias. */
// @ts-ignore: decorator
@inline
function exponentBias(format: u32): i32 {
  return format === FORMAT_DOUBLE ? 1023 : format === FORMAT_SINGLE ? 127 : 15;
}

// @ts-ignore: decorator
@inline
export function quietBit(format: u32): u64 {
  return format === FORMAT_DOUBLE ? 0x0008000000000000 : format === FORMAT_SINGLE ? 0x00400000 : 0x200;
}

/** The QNaN floating-point indefinite: negative, quiet, no payload. */
// @ts-ignore: decorator
@inline
export function indefinite(format: u32): u64 {
  return signBit(format) | infinityBits(format) | quietBit(format);
}

// @ts-ignore: decorator
@inline
export function isNan(bits: u64, format: u32): bool {
  return (bits & (signBit(format) - 1)) > infinityBits(format);
}

// @ts-ignore: decorator
@inline
export function isSignaling(bits: u64, format: u32): bool {
  return isNan(bits, format) && !(bits & quietBit(format));
}

// @ts-ignore: decorator
@inline
export function isDenormal(bits: u64, format: u32): bool {
  const magnitude = bits & (signBit(format) - 1);
  return magnitude !== 0 && magnitude < (<u64>1) << fractionBits(format);
}

/** Applies DAZ to an operand, or else raises DE for a denormal. */
export function denormalOperand(bits: u64, format: u32): u64 {
  if (!isDenormal(bits, format)) return bits;
  if (mxcsr & MXCSR_DAZ) return bits & signBit(format);
  raised |= FLAG_DENORMAL;
  return bits;
}

/** Leaves the significand and exponent of a finite number in unpacked*; the significand of zero is 0. */
function unpack(bits: u64, format: u32): void {
  const fraction = fractionBits(format);
  const magnitude = bits & (signBit(format) - 1);
  const field = <i32>(magnitude >> fraction);
  const significand = magnitude & (((<u64>1) << fraction) - 1);
  if (field) {
    unpackedSignificand = (significand | ((<u64>1) << fraction)) << (63 - fraction);
    unpackedExponent = field - exponentBias(format);
  } else {
    const leading = significand ? clz<u64>(significand) : 0;
    unpackedSignificand = significand << leading;
    unpackedExponent = 1 - exponentBias(format) + (63 - <i32>fraction) - <i32>leading;
  }
}

/** Shifts right; what falls out leaves a one in the lowest bit. */
// @ts-ignore: decorator
@inline
function shiftRightSticky(value: u64, count: u32): u64 {
  if (!count) return value;
  if (count > 63) return <u64>(value !== 0);
  return (value >> count) | (<u64>(value << (64 - count) !== 0));
}

/** Rounds a significand to its top `precision` bits; the carry out of bit 63 shows as a result of 2^precision. */
// @ts-ignore: decorator
@inline
function roundSignificand(negative: bool, significand: u64, precision: u32): u64 {
  const drop = 64 - precision;
  const rest = significand & (((<u64>1) << drop) - 1);
  let kept = significand >> drop;
  if (!rest) return kept;
  const half = (<u64>1) << (drop - 1);
  switch (rounding) {
    case ROUND_NEAREST:
      if (rest > half || (rest === half && kept & 1)) ++kept;
      break;
    case ROUND_DOWN:
      if (negative) ++kept;
      break;
    case ROUND_UP:
      if (!negative) ++kept;
      break;
    default:
      break;
  }
  return kept;
}

/**
 * Rounds significand * 2^(exponent - 63) (leading one in bit 63, lowest bit sticky) to a format, raising OE, UE and PE.
 * Tininess is detected after rounding (SDM Vol. 1 4.9.1.5).
 */
export function roundPack(negative: bool, exponent: i32, significand: u64, format: u32): u64 {
  const fraction = fractionBits(format);
  const precision = fraction + 1;
  const bias = exponentBias(format);
  const sign = negative ? signBit(format) : 0;
  const rest = significand & (((<u64>1) << (64 - precision)) - 1);
  let kept = roundSignificand(negative, significand, precision);
  let rounded = exponent;
  if (kept >> precision) {
    kept >>= 1;
    ++rounded;
  }
  if (rounded > bias) {
    // An unmasked overflow or underflow reports whether rounding without exponent limits was inexact.
    raised |= FLAG_OVERFLOW | (rest || mxcsr & (FLAG_OVERFLOW << MXCSR_MASK_SHIFT) ? FLAG_PRECISION : 0);
    const towardZero =
      rounding === ROUND_ZERO || (rounding === ROUND_DOWN && !negative) || (rounding === ROUND_UP && negative);
    return sign | (infinityBits(format) - <u64>towardZero);
  }
  if (rounded < 1 - bias) {
    const masked = (mxcsr & (FLAG_UNDERFLOW << MXCSR_MASK_SHIFT)) !== 0;
    if (masked && mxcsr & MXCSR_FTZ && format !== FORMAT_HALF) {
      raised |= FLAG_UNDERFLOW | FLAG_PRECISION;
      return sign;
    }
    if (!masked) {
      raised |= FLAG_UNDERFLOW | (rest ? FLAG_PRECISION : 0);
      return sign;
    }
    const shifted = shiftRightSticky(significand, <u32>(1 - bias - exponent));
    if (shifted & (((<u64>1) << (64 - precision)) - 1)) raised |= FLAG_UNDERFLOW | FLAG_PRECISION;
    // A carry into the smallest normal number is right as it stands: the exponent field becomes 1.
    return sign | roundSignificand(negative, shifted, precision);
  }
  if (rest) raised |= FLAG_PRECISION;
  return sign | (((<u64>(rounded + bias)) << fraction) + (kept - ((<u64>1) << fraction)));
}

/** The NaN that a two-operand instruction answers: the first operand's, else the second's, made quiet. */
function propagateNan(a: u64, b: u64, format: u32): u64 {
  if (isSignaling(a, format) || isSignaling(b, format)) raised |= FLAG_INVALID;
  return (isNan(a, format) ? a : b) | quietBit(format);
}

function invalid(format: u32): u64 {
  raised |= FLAG_INVALID;
  return indefinite(format);
}

// ---------------------------------------------------------------------------------------------------------------------
// Operations

/** ADD, SUB, MUL, DIV, MIN, MAX of two numbers, SQRT of the second. */
export function softArithmetic(kind: u32, a: u64, b: u64, format: u32): u64 {
  if (kind === KIND_SQRT) return softSquareRoot(b, format);
  if (kind === KIND_MIN || kind === KIND_MAX) return softMinMax(kind, a, b, format);
  if (isNan(a, format) || isNan(b, format)) return propagateNan(a, b, format);
  const raisedBefore = raised;
  a = denormalOperand(a, format);
  b = denormalOperand(b, format);
  const sign = signBit(format);
  switch (kind) {
    case KIND_ADD:
      return softAdd(a, b, format);
    case KIND_SUB:
      return softAdd(a, b ^ sign, format);
    case KIND_MUL:
      return softMultiply(a, b, format);
    default:
      return softDivide(a, b, raisedBefore, format);
  }
}

function softAdd(a: u64, b: u64, format: u32): u64 {
  const sign = signBit(format);
  const infinity = infinityBits(format);
  const magnitudeA = a & (sign - 1);
  const magnitudeB = b & (sign - 1);
  if (magnitudeA === infinity) return magnitudeB === infinity && a !== b ? invalid(format) : a;
  if (magnitudeB === infinity) return b;
  if (!magnitudeA && !magnitudeB) return a === b ? a : rounding === ROUND_DOWN ? sign : 0;
  let big = a;
  let small = b;
  if (magnitudeA < magnitudeB) {
    big = b;
    small = a;
  }
  const negative = (big & sign) !== 0;
  unpack(small, format);
  const smallExponent = unpackedExponent;
  let other = unpackedSignificand;
  unpack(big, format);
  let exponent = unpackedExponent;
  let significand = unpackedSignificand;
  if (!other) return roundPack(negative, exponent, significand, format);
  // One bit of headroom; at least ten bits remain below the significands.
  other = shiftRightSticky(other >> 1, <u32>(exponent - smallExponent));
  significand >>= 1;
  exponent += 1;
  if ((big ^ small) & sign) {
    significand -= other;
    if (!significand) return rounding === ROUND_DOWN ? sign : 0;
  } else {
    significand += other;
  }
  const leading = <i32>clz<u64>(significand);
  return roundPack(negative, exponent - leading, significand << leading, format);
}

/** Upper 64 bits of a 128-bit product. */
function multiplyHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const middle = a1 * b0 + ((a0 * b0) >> 32);
  const carry = a0 * b1 + (middle & 0xffffffff);
  return a1 * b1 + (middle >> 32) + (carry >> 32);
}

function softMultiply(a: u64, b: u64, format: u32): u64 {
  const sign = (a ^ b) & signBit(format);
  const infinity = infinityBits(format);
  const magnitudeA = a & (signBit(format) - 1);
  const magnitudeB = b & (signBit(format) - 1);
  if (magnitudeA === infinity || magnitudeB === infinity) {
    return magnitudeA && magnitudeB ? sign | infinity : invalid(format);
  }
  if (!magnitudeA || !magnitudeB) return sign;
  unpack(a, format);
  let exponent = unpackedExponent;
  let significand = unpackedSignificand;
  unpack(b, format);
  exponent += unpackedExponent;
  const low = significand * unpackedSignificand;
  significand = multiplyHigh(significand, unpackedSignificand) | (<u64>(low !== 0));
  const leading = <i32>clz<u64>(significand);
  return roundPack(sign !== 0, exponent + 1 - leading, significand << leading, format);
}

function softDivide(a: u64, b: u64, raisedBefore: u32, format: u32): u64 {
  const sign = (a ^ b) & signBit(format);
  const infinity = infinityBits(format);
  const magnitudeA = a & (signBit(format) - 1);
  const magnitudeB = b & (signBit(format) - 1);
  if (magnitudeA === infinity) return magnitudeB === infinity ? invalid(format) : sign | infinity;
  if (magnitudeB === infinity) return sign;
  if (!magnitudeB) {
    if (!magnitudeA) return invalid(format);
    // A denormal dividend goes unreported: #Z takes the place of #D.
    raised = raisedBefore | FLAG_ZERO_DIVIDE;
    return sign | infinity;
  }
  if (!magnitudeA) return sign;
  unpack(a, format);
  let exponent = unpackedExponent;
  let remainder = unpackedSignificand >> 1;
  unpack(b, format);
  exponent -= unpackedExponent;
  const divisor = unpackedSignificand >> 1;
  // Significands are below 2^63 now, so a doubled remainder fits. One quotient bit per step, format's precision plus three.
  const steps = fractionBits(format) + 4;
  let quotient: u64 = 0;
  for (let step: u32 = 0; step < steps; ++step) {
    quotient <<= 1;
    if (remainder >= divisor) {
      remainder -= divisor;
      quotient |= 1;
    }
    remainder <<= 1;
  }
  // The first quotient bit weighs 2^0.
  quotient = (quotient << 1) | (<u64>(remainder !== 0));
  const leading = <i32>clz<u64>(quotient);
  return roundPack(sign !== 0, exponent + 63 - <i32>steps - leading, quotient << leading, format);
}

function softSquareRoot(a: u64, format: u32): u64 {
  if (isNan(a, format)) return propagateNan(a, a, format);
  const sign = signBit(format);
  if (a & sign && a !== sign && !(mxcsr & MXCSR_DAZ && isDenormal(a, format))) return invalid(format);
  a = denormalOperand(a, format);
  if (!(a & (sign - 1)) || a === infinityBits(format)) return a;
  unpack(a, format);
  const exponent = unpackedExponent >> 1;
  // Radicand in [1, 4) with 62 fraction bits when the exponent is even, one more bit when odd.
  let radicand = unpackedExponent & 1 ? unpackedSignificand : unpackedSignificand >> 1;
  const lost = unpackedExponent & 1 ? 0 : unpackedSignificand & 1;
  let root: u64 = 0;
  let remainder: u64 = 0;
  const steps = fractionBits(format) + 4;
  for (let step: u32 = 0; step < steps; ++step) {
    remainder = (remainder << 2) | (radicand >> 62);
    radicand <<= 2;
    const trial = (root << 2) | 1;
    root <<= 1;
    if (remainder >= trial) {
      remainder -= trial;
      root |= 1;
    }
  }
  root = (root << 1) | (<u64>((remainder | radicand | lost) !== 0));
  const leading = <i32>clz<u64>(root);
  return roundPack(false, exponent + 63 - <i32>steps - leading, root << leading, format);
}

/** MIN and MAX: the second operand unless the first is strictly smaller or greater; any NaN is invalid. */
function softMinMax(kind: u32, a: u64, b: u64, format: u32): u64 {
  if (isNan(a, format) || isNan(b, format)) {
    raised |= FLAG_INVALID;
    return mxcsr & MXCSR_DAZ && isDenormal(b, format) ? b & signBit(format) : b;
  }
  a = denormalOperand(a, format);
  b = denormalOperand(b, format);
  const order = orderOf(a, b, format);
  return order === (kind === KIND_MIN ? ORDER_LESS : ORDER_GREATER) ? a : b;
}

export const ORDER_LESS: u32 = 1;
export const ORDER_EQUAL: u32 = 2;
export const ORDER_GREATER: u32 = 4;
export const ORDER_UNORDERED: u32 = 8;

/** Order of two numbers that are not NaN. */
function orderOf(a: u64, b: u64, format: u32): u32 {
  const sign = signBit(format);
  if (!((a | b) & (sign - 1)) || a === b) return ORDER_EQUAL;
  if ((a ^ b) & sign) return a & sign ? ORDER_LESS : ORDER_GREATER;
  return a < b !== ((a & sign) !== 0) ? ORDER_LESS : ORDER_GREATER;
}

/** Compares; a QNaN is invalid only if `signaling`, an SNaN always. */
export function softCompare(a: u64, b: u64, signaling: bool, format: u32): u32 {
  if (isNan(a, format) || isNan(b, format)) {
    if (signaling || isSignaling(a, format) || isSignaling(b, format)) raised |= FLAG_INVALID;
    return ORDER_UNORDERED;
  }
  return orderOf(denormalOperand(a, format), denormalOperand(b, format), format);
}

/** Conversion between formats. */
export function softConvert(bits: u64, from: u32, to: u32): u64 {
  const negative = (bits & signBit(from)) !== 0;
  const sign = negative ? signBit(to) : 0;
  const magnitude = bits & (signBit(from) - 1);
  if (magnitude > infinityBits(from)) {
    if (!(bits & quietBit(from))) raised |= FLAG_INVALID;
    const payload = magnitude & (infinityBits(from) ^ (signBit(from) - 1));
    const widths = <i32>fractionBits(to) - <i32>fractionBits(from);
    return sign | infinityBits(to) | quietBit(to) | (widths >= 0 ? payload << widths : payload >> -widths);
  }
  if (magnitude === infinityBits(from)) return sign | infinityBits(to);
  // Half-precision denormals are ordinary numbers (SDM Vol. 1 14.4.1).
  if (from !== FORMAT_HALF) bits = denormalOperand(bits, from);
  if (!(bits & (signBit(from) - 1))) return sign;
  unpack(bits, from);
  return roundPack(negative, unpackedExponent, unpackedSignificand, to);
}

/** Conversion of a signed integer. */
export function softFromInteger(value: i64, format: u32): u64 {
  if (!value) return 0;
  const negative = value < 0;
  const magnitude = <u64>(negative ? -value : value);
  const leading = <i32>clz<u64>(magnitude);
  return roundPack(negative, 63 - leading, magnitude << leading, format);
}

// ---------------------------------------------------------------------------------------------------------------------
// Fused multiply-add

/**
 * (negateProduct ? -a * b : a * b) + (negateAddend ? -c : c) with one rounding. Of several NaNs, a's is the result,
 * else b's, else c's.
 */
export function softFusedMultiplyAdd(
  a: u64,
  b: u64,
  c: u64,
  negateProduct: bool,
  negateAddend: bool,
  format: u32,
): u64 {
  const sign = signBit(format);
  const infinity = infinityBits(format);
  if (isNan(a, format) || isNan(b, format) || isNan(c, format)) {
    if (isSignaling(a, format) || isSignaling(b, format) || isSignaling(c, format)) raised |= FLAG_INVALID;
    return (isNan(a, format) ? a : isNan(b, format) ? b : c) | quietBit(format);
  }
  const raisedBefore = raised;
  a = denormalOperand(a, format);
  b = denormalOperand(b, format);
  c = denormalOperand(c, format);
  const productSign = (a ^ b ^ (negateProduct ? sign : 0)) & sign;
  if (negateAddend) c ^= sign;
  const addendSign = c & sign;
  const magnitudeA = a & (sign - 1);
  const magnitudeB = b & (sign - 1);
  const magnitudeC = c & (sign - 1);
  if (magnitudeA === infinity || magnitudeB === infinity) {
    if (magnitudeA && magnitudeB && (magnitudeC !== infinity || productSign === addendSign))
      return productSign | infinity;
    // An invalid operation does not report a denormal operand besides.
    raised = raisedBefore;
    return invalid(format);
  }
  if (magnitudeC === infinity) return c;
  const productIsZero = !magnitudeA || !magnitudeB;
  if (productIsZero && !magnitudeC) {
    return productSign === addendSign ? productSign : rounding === ROUND_DOWN ? sign : 0;
  }
  unpack(c, format);
  const addend = unpackedSignificand;
  const addendExponent = unpackedExponent;
  if (productIsZero) return roundPack(addendSign !== 0, addendExponent, addend, format);
  unpack(a, format);
  const significandA = unpackedSignificand;
  const exponentA = unpackedExponent;
  unpack(b, format);
  const productExponent = exponentA + unpackedExponent;
  // Product halved and addend: leading ones in bit 125 or 126, and 125, of 128 bits; the bits shifted out are zeros.
  let low = significandA * unpackedSignificand;
  let high = multiplyHigh(significandA, unpackedSignificand);
  low = (low >> 1) | (high << 63);
  high >>= 1;
  let otherHigh = addend >> 2;
  let otherLow: u64 = 0;
  let exponent = productExponent;
  let negative = productSign !== 0;
  if (addend) {
    const distance = productExponent - addendExponent;
    if (distance >= 0) {
      otherLow = shiftRightSticky128Low(otherHigh, otherLow, <u32>distance);
      otherHigh = distance < 64 ? otherHigh >> distance : 0;
    } else {
      const shiftedLow = shiftRightSticky128Low(high, low, <u32>-distance);
      high = -distance < 64 ? high >> -distance : 0;
      low = shiftedLow;
      exponent = addendExponent;
    }
    if (productSign === addendSign) {
      low += otherLow;
      high += otherHigh + <u64>(low < otherLow);
    } else {
      const productIsLess = high < otherHigh || (high === otherHigh && low < otherLow);
      if (productIsLess) {
        negative = !negative;
        const difference = otherLow - low;
        high = otherHigh - high - <u64>(otherLow < low);
        low = difference;
      } else {
        const borrow = <u64>(low < otherLow);
        low -= otherLow;
        high = high - otherHigh - borrow;
      }
      if (!(high | low)) return rounding === ROUND_DOWN ? sign : 0;
    }
  }
  if (!high) {
    high = low;
    low = 0;
    exponent -= 64;
  }
  const leading = <i32>clz<u64>(high);
  if (leading) {
    high = (high << leading) | (low >> (64 - leading));
    low <<= leading;
  }
  return roundPack(negative, exponent + 2 - leading, high | (<u64>(low !== 0)), format);
}

/** Low half of a 128-bit number shifted right, with sticky lowest bit. */
function shiftRightSticky128Low(high: u64, low: u64, count: u32): u64 {
  if (!count) return low;
  if (count < 64) {
    return (low >> count) | (high << (64 - count)) | (<u64>(low << (64 - count) !== 0));
  }
  if (count === 64) return high | (<u64>(low !== 0));
  return shiftRightSticky(high, count - 64) | (<u64>(low !== 0));
}
