/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1 (SDM volume 1, sections 8.3.7 to 8.3.10).
 *
 * Everything is computed with about 120 significant bits and rounded once, so that results are the correctly rounded
 * ones but for about one argument in 2^50. Arguments of trigonometric functions are reduced by the 66-bit pi that the
 * SDM documents (8.3.8). Conventions: float80.ts. A wide number is a significand of 128 bits, bit 127 set (wHigh,
 * wLow), with a biased exponent (wExponent).
 */
import {
  BIAS,
  EXPONENT_MASK,
  INTEGER_BIT,
  SIGN,
  denormalAllowed,
  invalidResult,
  isDenormal,
  isInfinity,
  isZero,
  normalExponent,
  normalSignificand,
  propagateOne,
  propagateTwo,
  raise,
  resultSe,
  resultSig,
  roundExtended,
  setResult,
  setRoundedUp,
} from './float80';
import { EX_PRECISION, EX_UNDERFLOW, EX_ZERO_DIVIDE } from './state';
import {
  ARCTANGENTS,
  INVERSE_FACTORIALS,
  INVERSE_ODD,
  LN2_HIGH,
  LN2_LOW,
  PI_HIGH,
  PI_LOW,
  TWO_OVER_LN2_HIGH,
  TWO_OVER_LN2_LOW,
  series,
  seriesLow,
} from './series';
import { divide128By128, multiply128High, wideLow } from './wide';

/** Returned when |argument| >= 2^63: C2 is set and nothing else happens. */
export const ARGUMENT_OUT_OF_RANGE: u32 = 1;
const DONE: u32 = 0;

/** Second result of sineAndCosine. */
export let cosineSe: u32 = 0;
export let cosineSig: u64 = 0;

let wHigh: u64 = 0;
let wLow: u64 = 0;
let wExponent: i32 = 0;

/** Makes bit 127 of a non-zero number the leading one. */
function normalizeWide(high: u64, low: u64, exponent: i32): void {
  if (high === 0) {
    high = low;
    low = 0;
    exponent -= 64;
  }
  const zeros = clz<u64>(high);
  if (zeros) {
    high = (high << zeros) | (low >> (64 - zeros));
    low <<= zeros;
  }
  setWide(high, low, exponent - <i32>zeros);
}

function setWide(high: u64, low: u64, exponent: i32): void {
  wHigh = high;
  wLow = low;
  wExponent = exponent;
}

/** w *= a wide number. */
function multiplyWide(high: u64, low: u64, exponent: i32): void {
  normalizeWide(multiply128High(wHigh, wLow, high, low), wideLow, wExponent + exponent - BIAS + 1);
}

/** w = a / b, wide numbers. */
function divideWide(aHigh: u64, aLow: u64, aExponent: i32, bHigh: u64, bLow: u64, bExponent: i32): void {
  let exponent = aExponent - bExponent + BIAS - 1;
  if (aHigh > bHigh || (aHigh === bHigh && aLow >= bLow)) {
    aLow = (aHigh << 63) | (aLow >> 1);
    aHigh >>= 1;
    exponent++;
  }
  const high = divide128By128(aHigh, aLow, bHigh, bLow);
  normalizeWide(high, wideLow, exponent);
}

let fixedLow: u64 = 0;

/** (high:low) >> count, any count; the low half in fixedLow. */
function shiftRight(high: u64, low: u64, count: i32): u64 {
  if (count >= 128) {
    fixedLow = 0;
    return 0;
  }
  if (count >= 64) {
    fixedLow = high >> (count - 64);
    return 0;
  }
  if (count === 0) {
    fixedLow = low;
    return high;
  }
  fixedLow = (low >> count) | (high << (64 - count));
  return high >> count;
}

/** Rounds w, of which digits beyond the last are known to exist. */
// @ts-ignore: decorator
@inline
function roundInexact(sign: u32): void {
  roundExtended(sign, wExponent, wHigh, wLow | 1);
}

// ---------------------------------------------------------------------------------------------------------------------
// Trigonometric functions

/** pi / 2 in units of 2^-65: the 66-bit pi of the SDM, 0xC90FDAA22168C234C x 2^-66, halved. */
const HALF_PI_HIGH: u64 = 0x3;
const HALF_PI_LOW: u64 = 0x243f6a8885a308d3;
/** pi / 4 truncated to 64 bits. */
const QUARTER_PI_SIG: u64 = 0xc90fdaa22168c234;

/** Quadrant of the reduced argument; its sign relative to the argument. */
let quadrant: u32 = 0;
let reducedNegative: bool = false;
/** The reduced argument, |r| <= pi / 4, and the square of it (Q0.128). */
let rHigh: u64 = 0;
let rLow: u64 = 0;
let rExponent: i32 = 0;
let r2High: u64 = 0;
let r2Low: u64 = 0;

/** Reduces a positive finite argument below 2^63. */
function reduce(exponent: i32, sig: u64): void {
  quadrant = 0;
  reducedNegative = false;
  if (exponent < BIAS - 1 || (exponent === BIAS - 1 && sig <= QUARTER_PI_SIG)) {
    rHigh = sig;
    rLow = 0;
    rExponent = exponent;
  } else {
    // Long division; the divisor exceeds the first partial remainder.
    let high: u64 = 0;
    let low = sig;
    let quotient: u32 = 0;
    for (let n = exponent - BIAS + 2; n > 0; n--) {
      high = (high << 1) | (low >> 63);
      low <<= 1;
      quotient <<= 1;
      if (high > HALF_PI_HIGH || (high === HALF_PI_HIGH && low >= HALF_PI_LOW)) {
        high -= HALF_PI_HIGH + <u64>(low < HALF_PI_LOW);
        low -= HALF_PI_LOW;
        quotient |= 1;
      }
    }
    const complementLow = HALF_PI_LOW - low;
    const complementHigh = HALF_PI_HIGH - high - <u64>(HALF_PI_LOW < low);
    if (complementHigh < high || (complementHigh === high && complementLow < low)) {
      high = complementHigh;
      low = complementLow;
      quotient++;
      reducedNegative = true;
    }
    quadrant = quotient & 3;
    normalizeWide(high, low, BIAS + 127 - 65);
    rHigh = wHigh;
    rLow = wLow;
    rExponent = wExponent;
  }
  const squareHigh = multiply128High(rHigh, rLow, rHigh, rLow);
  r2High = shiftRight(squareHigh, wideLow, 2 * (BIAS - 1 - rExponent));
  r2Low = fixedLow;
}

/** Small squares need fewer terms. */
// @ts-ignore: decorator
@inline
function lastTerm(parity: u32): u32 {
  return (r2High >> 56 ? 26 : 18) + parity;
}

/** w = |sin r|. */
function sineOfReduced(): void {
  let high = series(INVERSE_FACTORIALS, 1, 2, lastTerm(1), r2High, r2Low, true);
  let low = seriesLow;
  if (<i64>high < 0) {
    // sin r < r, however close.
    high = i64.MAX_VALUE;
    low = u64.MAX_VALUE;
  }
  normalizeWide(multiply128High(rHigh, rLow, high, low), wideLow, rExponent + 1);
}

/** w = cos r. */
function cosineOfReduced(): void {
  let high = series(INVERSE_FACTORIALS, 0, 2, lastTerm(0), r2High, r2Low, true);
  let low = seriesLow;
  if (<i64>high < 0) {
    high = i64.MAX_VALUE;
    low = u64.MAX_VALUE;
  }
  normalizeWide(high, low, BIAS);
}

/** Deals with what is no finite number, zero apart; true if so. */
function trigonometricSpecial(se: u32, sig: u64): bool {
  if (propagateOne(se, sig)) return true;
  if (isInfinity(se, sig)) {
    invalidResult();
    return true;
  }
  return isDenormal(se, sig) && !denormalAllowed();
}

// @ts-ignore: decorator
@inline
function tooLarge(se: u32): bool {
  const exponent = <i32>(se & EXPONENT_MASK);
  return exponent >= BIAS + 63 && exponent !== <i32>EXPONENT_MASK;
}

/** FSIN (the result), FCOS (cosineSe, cosineSig), or both. */
export function sineAndCosine(se: u32, sig: u64, wantSine: bool, wantCosine: bool): u32 {
  if (trigonometricSpecial(se, sig)) {
    cosineSe = resultSe;
    cosineSig = resultSig;
    return DONE;
  }
  if (tooLarge(se)) return ARGUMENT_OUT_OF_RANGE;
  if (sig === 0) {
    cosineSe = BIAS;
    cosineSig = INTEGER_BIT;
    setResult(se, 0);
    return DONE;
  }
  reduce(normalExponent(se, sig), normalSignificand(sig));
  const negative = (se & SIGN) !== 0;
  const swapped = (quadrant & 1) !== 0;
  const sineNegative = quadrant >= 2 !== (swapped ? negative : negative !== reducedNegative);
  const cosineNegative = swapped ? (quadrant === 1) !== reducedNegative : quadrant === 2;
  if (wantCosine) {
    if (swapped) sineOfReduced();
    else cosineOfReduced();
    roundInexact(cosineNegative ? SIGN : 0);
    cosineSe = resultSe;
    cosineSig = resultSig;
  }
  if (wantSine) {
    if (swapped) cosineOfReduced();
    else sineOfReduced();
    setRoundedUp(false);
    roundInexact(sineNegative ? SIGN : 0);
  }
  return DONE;
}

/** FPTAN's quotient. */
export function tangent(se: u32, sig: u64): u32 {
  if (trigonometricSpecial(se, sig)) return DONE;
  if (tooLarge(se)) return ARGUMENT_OUT_OF_RANGE;
  if (sig === 0) {
    setResult(se, 0);
    return DONE;
  }
  reduce(normalExponent(se, sig), normalSignificand(sig));
  if (rExponent < BIAS - 64 && quadrant === 0) {
    // tan r exceeds r, but by less than 2^-128 r.
    setWide(rHigh, rLow, rExponent);
    roundInexact(se & SIGN);
    return DONE;
  }
  sineOfReduced();
  const sineHigh = wHigh;
  const sineLow = wLow;
  const sineExponent = wExponent;
  cosineOfReduced();
  let negative = ((se & SIGN) !== 0) !== reducedNegative;
  if (quadrant & 1) {
    negative = !negative;
    divideWide(wHigh, wLow, wExponent, sineHigh, sineLow, sineExponent);
  } else divideWide(sineHigh, sineLow, sineExponent, wHigh, wLow, wExponent);
  roundInexact(negative ? SIGN : 0);
  return DONE;
}

// ---------------------------------------------------------------------------------------------------------------------
// Arctangent

/** pi x n / 4, inexact. */
function quarterPis(sign: u32, n: u32): void {
  // 3 pi / 4 = pi / 2 + pi / 4 is the only multiple that is no power of two times pi.
  if (n === 3) {
    const low = (PI_LOW >> 1) | (PI_HIGH << 63);
    const quarterLow = (PI_LOW >> 2) | (PI_HIGH << 62);
    const sum = low + quarterLow;
    normalizeWide((PI_HIGH >> 1) + (PI_HIGH >> 2) + <u64>(sum < low), sum, BIAS + 1);
  } else normalizeWide(PI_HIGH, PI_LOW, n === 4 ? BIAS + 1 : n === 2 ? BIAS : BIAS - 1);
  roundInexact(sign);
}

/** w = arctan(a / b) for 0 < a <= b, 64-bit significands. */
function arctangentOfRatio(aExponent: i32, aSig: u64, bExponent: i32, bSig: u64): void {
  if (aExponent === bExponent && aSig === bSig) {
    normalizeWide(load<u64>(<u32>ARCTANGENTS, 256), load<u64>(<u32>ARCTANGENTS, 264), BIAS);
    return;
  }
  divideWide(aSig, 0, aExponent, bSig, 0, bExponent);
  let index: u32 = 0;
  let negative = false;
  if (wExponent >= BIAS - 5) {
    // arctan t = arctan c + arctan((t - c) / (1 + t c)), c = index / 16
    const tHigh = shiftRight(wHigh, wLow, BIAS - wExponent);
    const tLow = fixedLow;
    index = <u32>((tHigh + 0x0400000000000000) >> 59);
    const center = (<u64>index) << 59;
    let zHigh = tHigh - center;
    let zLow = tLow;
    negative = <i64>zHigh < 0;
    if (negative) {
      zHigh = 0 - zHigh - <u64>(zLow !== 0);
      zLow = 0 - zLow;
    }
    // 1 + t c, Q1.127, just below 2 at most
    const productHigh = multiply128High(tHigh, tLow, center, 0);
    const denominatorHigh = INTEGER_BIT + ((productHigh << 1) | (wideLow >> 63));
    const denominatorLow = wideLow << 1;
    if ((zHigh | zLow) === 0) {
      const entry = <u32>ARCTANGENTS + (index << 4);
      normalizeWide(load<u64>(entry), load<u64>(entry, 8), BIAS);
      return;
    }
    normalizeWide(zHigh, zLow, BIAS);
    divideWide(wHigh, wLow, wExponent, denominatorHigh, denominatorLow, BIAS);
  }
  const squareHigh = multiply128High(wHigh, wLow, wHigh, wLow);
  const z2High = shiftRight(squareHigh, wideLow, 2 * (BIAS - 1 - wExponent));
  let high = series(INVERSE_ODD, 0, 1, 11, z2High, fixedLow, true);
  let low = seriesLow;
  if (<i64>high < 0) {
    high = i64.MAX_VALUE;
    low = u64.MAX_VALUE;
  }
  normalizeWide(multiply128High(wHigh, wLow, high, low), wideLow, wExponent + 1);
  if (index === 0) return;
  const zHigh = shiftRight(wHigh, wLow, BIAS - wExponent);
  const zLow = fixedLow;
  const entry = <u32>ARCTANGENTS + (index << 4);
  const centerHigh = load<u64>(entry);
  const centerLow = load<u64>(entry, 8);
  if (negative) {
    normalizeWide(centerHigh - zHigh - <u64>(centerLow < zLow), centerLow - zLow, BIAS);
  } else {
    const sum = centerLow + zLow;
    normalizeWide(centerHigh + zHigh + <u64>(sum < centerLow), sum, BIAS);
  }
}

/** FPATAN: arctan(y / x), with the quadrant of the point (x, y) (SDM volume 2, table 3-30). */
export function arctangent(ySe: u32, ySig: u64, xSe: u32, xSig: u64): void {
  if (propagateTwo(ySe, ySig, xSe, xSig)) return;
  if ((isDenormal(ySe, ySig) || isDenormal(xSe, xSig)) && !denormalAllowed()) return;
  const sign = ySe & SIGN;
  const xNegative = (xSe & SIGN) !== 0;
  const xInfinite = isInfinity(xSe, xSig);
  if (isInfinity(ySe, ySig)) {
    quarterPis(sign, xInfinite ? (xNegative ? 3 : 1) : 2);
    return;
  }
  if (xInfinite || ySig === 0) {
    if (xNegative) quarterPis(sign, 4);
    else setResult(sign, 0);
    return;
  }
  if (xSig === 0) {
    quarterPis(sign, 2);
    return;
  }
  const yExponent = normalExponent(ySe, ySig);
  const xExponent = normalExponent(xSe, xSig);
  const y = normalSignificand(ySig);
  const x = normalSignificand(xSig);
  const steep = yExponent > xExponent || (yExponent === xExponent && y > x);
  if (steep) arctangentOfRatio(xExponent, x, yExponent, y);
  else arctangentOfRatio(yExponent, y, xExponent, x);
  if (steep || xNegative) {
    // pi / 2 - w, pi / 2 + w or pi - w, in Q2.126
    const high = shiftRight(wHigh, wLow, BIAS + 1 - wExponent);
    const low = fixedLow;
    const baseHigh = steep ? PI_HIGH >> 1 : PI_HIGH;
    const baseLow = steep ? (PI_LOW >> 1) | (PI_HIGH << 63) : PI_LOW;
    if (steep && xNegative) {
      const sum = baseLow + low;
      normalizeWide(baseHigh + high + <u64>(sum < baseLow), sum, BIAS + 1);
    } else normalizeWide(baseHigh - high - <u64>(baseLow < low), baseLow - low, BIAS + 1);
  }
  roundInexact(sign);
}

// ---------------------------------------------------------------------------------------------------------------------
// Exponential and logarithm

/** F2XM1: 2^x - 1 for -1 <= x <= 1. */
export function exponential2Minus1(se: u32, sig: u64): void {
  if (propagateOne(se, sig)) return;
  const sign = se & SIGN;
  if (isInfinity(se, sig)) {
    if (sign) setResult(SIGN | BIAS, INTEGER_BIT);
    else setResult(se, sig);
    return;
  }
  if (sig === 0) {
    setResult(se, 0);
    return;
  }
  if (isDenormal(se, sig) && !denormalAllowed()) return;
  const exponent = normalExponent(se, sig);
  if (exponent >= BIAS) {
    // 2^1 - 1 and 2^-1 - 1 are exact, not that processors say so. Beyond, the result is undefined: the operand stays.
    raise(EX_PRECISION);
    if (exponent === BIAS && sig === INTEGER_BIT) setResult(sign | (sign ? BIAS - 1 : BIAS), INTEGER_BIT);
    else setResult(se, sig);
    return;
  }
  wHigh = normalSignificand(sig);
  wLow = 0;
  wExponent = exponent;
  multiplyWide(LN2_HIGH, LN2_LOW, BIAS - 1);
  // e^t - 1 = t (1 + t / 2! + t^2 / 3! + ...)
  const tHigh = shiftRight(wHigh, wLow, BIAS - 1 - wExponent);
  const tLow = fixedLow;
  const high = series(INVERSE_FACTORIALS, 1, 1, tHigh >> 56 ? 28 : 14, tHigh, tLow, sign !== 0);
  const low = seriesLow;
  normalizeWide(multiply128High(wHigh, wLow, high, low), wideLow, wExponent + 1);
  roundInexact(sign);
}

/** Square root of two as a 64-bit significand. */
const SQRT2_SIG: u64 = 0xb504f333f9de6484;

/** w = 2 / ln 2 x artanh(w) = log2((1 + w) / (1 - w)), 0 < w < 0.2. */
function logarithmOfRatio(): void {
  const squareHigh = multiply128High(wHigh, wLow, wHigh, wLow);
  const z2High = shiftRight(squareHigh, wideLow, 2 * (BIAS - 1 - wExponent));
  const high = series(INVERSE_ODD, 0, 1, z2High >> 56 ? 19 : 11, z2High, fixedLow, false);
  const low = seriesLow;
  normalizeWide(multiply128High(wHigh, wLow, high, low), wideLow, wExponent + 1);
  multiplyWide(TWO_OVER_LN2_HIGH, TWO_OVER_LN2_LOW, BIAS + 1);
}

/**
 * w = |log2(significand x 2^k)|, significand:rest in [1, 2) as Q1.127. Returns its sign; w's exponent is 0 for log2(1).
 */
function logarithmOf(k: i32, high: u64, low: u64): u32 {
  let above = true;
  let numeratorHigh = high - INTEGER_BIT;
  let numeratorLow = low;
  // Denominator m + 1, halved so that it fits.
  let denominatorHigh = (high >> 1) + 0x4000000000000000;
  let denominatorExponent = BIAS + 1;
  if (high > SQRT2_SIG) {
    // m / 2 - 1 over m / 2 + 1, doubled: m - 2 over m + 2
    k++;
    above = false;
    numeratorLow = 0 - low;
    numeratorHigh = 0 - high - <u64>(low !== 0);
    denominatorHigh = (high >> 1) + INTEGER_BIT;
    denominatorExponent = BIAS + 1;
  }
  const denominatorLow = (low >> 1) | (high << 63);
  const exact = (numeratorHigh | numeratorLow) === 0;
  if (!exact) {
    normalizeWide(numeratorHigh, numeratorLow, BIAS);
    divideWide(wHigh, wLow, wExponent, denominatorHigh, denominatorLow, denominatorExponent);
    logarithmOfRatio();
    if (k === 0) return above ? 0 : SIGN;
  } else if (k === 0) {
    wHigh = 0;
    wLow = 0;
    wExponent = 0;
    return 0;
  }
  // k + log2(m) with 15 integer bits.
  const magnitude = k < 0 ? -k : k;
  let sumHigh = (<u64>magnitude) << 49;
  let sumLow: u64 = 0;
  if (!exact) {
    const partHigh = shiftRight(wHigh, wLow, BIAS + 14 - wExponent);
    const partLow = fixedLow;
    if (above === k > 0) {
      sumLow = partLow;
      sumHigh += partHigh;
    } else {
      sumLow = 0 - partLow;
      sumHigh -= partHigh + <u64>(partLow !== 0);
    }
  }
  normalizeWide(sumHigh, sumLow, BIAS + 14);
  return k < 0 ? SIGN : 0;
}

/** w *= y, rounded. `exact`: w has no digits beyond its last. */
function multiplyByY(sign: u32, ySe: u32, ySig: u64, exact: bool): void {
  multiplyWide(normalSignificand(ySig), 0, normalExponent(ySe, ySig));
  raise(EX_PRECISION); // processors say so even of exact results
  roundExtended((ySe & SIGN) ^ sign, wExponent, wHigh, exact ? wLow : wLow | 1);
  if ((resultSe & EXPONENT_MASK) === 0) raise(EX_UNDERFLOW); // masked, or the exponent would have been wrapped
}

/** FYL2X: y log2(x) (SDM volume 2, table 3-49). */
export function logarithm2(xSe: u32, xSig: u64, ySe: u32, ySig: u64): void {
  if (propagateTwo(xSe, xSig, ySe, ySig)) return;
  const ySign = ySe & SIGN;
  const yInfinite = isInfinity(ySe, ySig);
  const xZero = isZero(xSe, xSig);
  if ((xSe & SIGN) !== 0 && !xZero) {
    invalidResult();
    return;
  }
  if (xZero) {
    if (isZero(ySe, ySig)) {
      invalidResult();
      return;
    }
    if (!yInfinite) raise(EX_ZERO_DIVIDE);
    setResult(ySign ^ (SIGN | EXPONENT_MASK), INTEGER_BIT);
    return;
  }
  if (isInfinity(xSe, xSig)) {
    if (isZero(ySe, ySig)) {
      invalidResult();
      return;
    }
    if (isDenormal(ySe, ySig) && !denormalAllowed()) return;
    setResult(ySign | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  const exponent = normalExponent(xSe, xSig);
  const sig = normalSignificand(xSig);
  const below1 = exponent < BIAS;
  if (yInfinite) {
    if (exponent === BIAS && sig === INTEGER_BIT) {
      invalidResult();
      return;
    }
    if (isDenormal(xSe, xSig) && !denormalAllowed()) return;
    setResult((ySign ^ (below1 ? SIGN : 0)) | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  if ((isDenormal(xSe, xSig) || isDenormal(ySe, ySig)) && !denormalAllowed()) return;
  if (ySig === 0) {
    setResult(ySign ^ (below1 ? SIGN : 0), 0);
    return;
  }
  const sign = logarithmOf(exponent - BIAS, sig, 0);
  if (wHigh === 0) setResult(ySign, 0);
  else multiplyByY(sign, ySe, ySig, sig === INTEGER_BIT);
}

/** FYL2XP1: y log2(x + 1) (SDM volume 2, table 3-50). For x <= -1 it is undefined: x stays. */
export function logarithm2Plus1(xSe: u32, xSig: u64, ySe: u32, ySig: u64): void {
  if (propagateTwo(xSe, xSig, ySe, ySig)) return;
  const xSign = xSe & SIGN;
  const sign = xSign ^ (ySe & SIGN);
  const yInfinite = isInfinity(ySe, ySig);
  if (isInfinity(xSe, xSig)) {
    if (xSign || isZero(ySe, ySig)) {
      invalidResult();
      return;
    }
    if (isDenormal(ySe, ySig) && !denormalAllowed()) return;
    setResult(sign | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  if (yInfinite && isZero(xSe, xSig)) {
    invalidResult();
    return;
  }
  if ((isDenormal(xSe, xSig) || isDenormal(ySe, ySig)) && !denormalAllowed()) return;
  if (isZero(xSe, xSig) || isZero(ySe, ySig)) {
    setResult(sign, 0);
    return;
  }
  if (yInfinite) {
    setResult(sign | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  const exponent = normalExponent(xSe, xSig);
  const sig = normalSignificand(xSig);
  if (xSign && exponent >= BIAS) {
    raise(EX_PRECISION);
    setResult(xSe, xSig);
    return;
  }
  if (exponent < BIAS - 2) {
    // |x| < 1/4: log2(1 + x) = 2 / ln 2 x artanh(x / (2 + x)); no digit of x is lost. 2 + x as Q2.126.
    let high = shiftRight(sig, 0, BIAS + 1 - exponent);
    let low = fixedLow;
    if (xSign) {
      low = 0 - low;
      high = INTEGER_BIT - high - <u64>(low !== 0);
    } else high += INTEGER_BIT;
    normalizeWide(high, low, BIAS + 1);
    divideWide(sig, 0, exponent, wHigh, wLow, wExponent);
    logarithmOfRatio();
    multiplyByY(xSign, ySe, ySig, false);
    return;
  }
  // 1 + x has at most 66 bits below x = 1, and digits that matter no more from 2^64 on.
  if (xSign) {
    const high = shiftRight(sig, 0, BIAS - exponent);
    const low = fixedLow;
    normalizeWide(INTEGER_BIT - high - <u64>(low !== 0), 0 - low, BIAS);
  } else if (exponent < BIAS) {
    const high = shiftRight(sig, 0, BIAS - exponent);
    normalizeWide(INTEGER_BIT + high, fixedLow, BIAS);
  } else {
    const one = shiftRight(INTEGER_BIT, 0, exponent - BIAS);
    const high = sig + one;
    if (high < sig) {
      wHigh = (high >> 1) | INTEGER_BIT;
      wLow = (fixedLow >> 1) | (high << 63);
      wExponent = exponent + 1;
    } else {
      wHigh = high;
      wLow = fixedLow;
      wExponent = exponent;
    }
  }
  const exact = wHigh === INTEGER_BIT && wLow === 0;
  const logarithmSign = logarithmOf(wExponent - BIAS, wHigh, wLow);
  multiplyByY(logarithmSign, ySe, ySig, exact);
}
