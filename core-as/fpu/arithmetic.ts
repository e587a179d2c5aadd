/** FADD, FSUB, FMUL, FDIV, FSQRT (SDM volume 1, section 8.3.5). Conventions: float80.ts. */
import {
  EXPONENT_MASK,
  BIAS,
  INTEGER_BIT,
  SIGN,
  control,
  denormalAllowed,
  invalidResult,
  isDenormal,
  isInfinity,
  isNormal,
  isZero,
  normalExponent,
  normalSignificand,
  propagateOne,
  propagateTwo,
  raise,
  roundResult,
  setResult,
} from './float80';
import { EX_ZERO_DIVIDE, RC_DOWN, RC_MASK } from './state';
import { divide128, multiplyHigh, squareRoot128, wideCarry, wideRemainder } from './wide';

/** a + b. */
export function add(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (isNormal(aSe, aSig) && isNormal(bSe, bSig))
    addFinite(aSe & SIGN, exponentOf(aSe), aSig, bSe & SIGN, exponentOf(bSe), bSig);
  else addSpecial(aSe, aSig, bSe, bSig, 0);
}

/** a - b. */
export function subtract(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (isNormal(aSe, aSig) && isNormal(bSe, bSig))
    addFinite(aSe & SIGN, exponentOf(aSe), aSig, (bSe ^ SIGN) & SIGN, exponentOf(bSe), bSig);
  else addSpecial(aSe, aSig, bSe, bSig, SIGN);
}

// @ts-ignore: decorator
@inline
function exponentOf(se: u32): i32 {
  return <i32>(se & EXPONENT_MASK);
}

function addSpecial(aSe: u32, aSig: u64, bSe: u32, bSig: u64, flip: u32): void {
  if (propagateTwo(aSe, aSig, bSe, bSig)) return;
  bSe ^= flip; // not before: the sign of a NaN stays
  const aInfinite = isInfinity(aSe, aSig);
  const bInfinite = isInfinity(bSe, bSig);
  if (aInfinite && bInfinite && aSe !== bSe) {
    invalidResult();
    return;
  }
  if ((isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) && !denormalAllowed()) return;
  if (aInfinite) setResult(aSe, aSig);
  else if (bInfinite) setResult(bSe, bSig);
  else if (aSig === 0 && bSig === 0) setResult((aSe ^ bSe) & SIGN ? exactZeroSign() : aSe, 0);
  else if (aSig === 0) roundResult(bSe & SIGN, normalExponent(bSe, bSig), normalSignificand(bSig), 0);
  else if (bSig === 0) roundResult(aSe & SIGN, normalExponent(aSe, aSig), normalSignificand(aSig), 0);
  else
    addFinite(
      aSe & SIGN,
      normalExponent(aSe, aSig),
      normalSignificand(aSig),
      bSe & SIGN,
      normalExponent(bSe, bSig),
      normalSignificand(bSig),
    );
}

/** Sign of x - x (SDM volume 1, 4.8.3.1). */
// @ts-ignore: decorator
@inline
function exactZeroSign(): u32 {
  return (control & RC_MASK) === RC_DOWN ? SIGN : 0;
}

/** Sum of two finite values with bit 63 of their significands set. */
function addFinite(aSign: u32, aExponent: i32, aSig: u64, bSign: u32, bExponent: i32, bSig: u64): void {
  // Make a the larger one in magnitude.
  if (aExponent < bExponent || (aExponent === bExponent && aSig < bSig)) {
    const sign = aSign;
    const exponent = aExponent;
    const sig = aSig;
    aSign = bSign;
    aExponent = bExponent;
    aSig = bSig;
    bSign = sign;
    bExponent = exponent;
    bSig = sig;
  }
  const shift = <u32>(aExponent - bExponent);
  let rest: u64 = 0;
  if (shift) {
    if (shift < 64) {
      rest = bSig << (64 - shift);
      bSig >>= shift;
    } else if (shift < 128) {
      rest = shift === 64 ? bSig : (bSig >> (shift - 64)) | (<u64>(bSig << (128 - shift) !== 0));
      bSig = 0;
    } else {
      rest = 1;
      bSig = 0;
    }
  }
  if (aSign === bSign) {
    let sum = aSig + bSig;
    if (sum < aSig) {
      rest = (sum << 63) | (rest >> 1) | (rest & 1);
      sum = (sum >> 1) | INTEGER_BIT;
      aExponent++;
    }
    roundResult(aSign, aExponent, sum, rest);
    return;
  }
  let difference = aSig - bSig - <u64>(rest !== 0);
  rest = 0 - rest;
  if (difference === 0) {
    if (rest === 0) {
      setResult(exactZeroSign(), 0);
      return;
    }
    difference = rest;
    rest = 0;
    aExponent -= 64;
  }
  const zeros = <u32>clz<u64>(difference);
  if (zeros) {
    difference = (difference << zeros) | (rest >> (64 - zeros));
    rest <<= zeros;
  }
  roundResult(aSign, aExponent - <i32>zeros, difference, rest);
}

/** a * b. */
export function multiply(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  const sign = (aSe ^ bSe) & SIGN;
  if (isNormal(aSe, aSig) && isNormal(bSe, bSig)) {
    multiplyFinite(sign, exponentOf(aSe) + exponentOf(bSe), aSig, bSig);
    return;
  }
  if (propagateTwo(aSe, aSig, bSe, bSig)) return;
  const aInfinite = isInfinity(aSe, aSig);
  const bInfinite = isInfinity(bSe, bSig);
  if ((aInfinite && isZero(bSe, bSig)) || (bInfinite && isZero(aSe, aSig))) {
    invalidResult();
    return;
  }
  if ((isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) && !denormalAllowed()) return;
  if (aInfinite || bInfinite) setResult(sign | EXPONENT_MASK, INTEGER_BIT);
  else if (aSig === 0 || bSig === 0) setResult(sign, 0);
  else
    multiplyFinite(
      sign,
      normalExponent(aSe, aSig) + normalExponent(bSe, bSig),
      normalSignificand(aSig),
      normalSignificand(bSig),
    );
}

// @ts-ignore: decorator
@inline
function multiplyFinite(sign: u32, exponents: i32, aSig: u64, bSig: u64): void {
  let high = multiplyHigh(aSig, bSig);
  let low = aSig * bSig;
  let exponent = exponents - (BIAS - 1);
  if (<i64>high >= 0) {
    high = (high << 1) | (low >> 63);
    low <<= 1;
    exponent--;
  }
  roundResult(sign, exponent, high, low);
}

/** a / b. */
export function divide(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  const sign = (aSe ^ bSe) & SIGN;
  if (isNormal(aSe, aSig) && isNormal(bSe, bSig)) {
    divideFinite(sign, exponentOf(aSe) - exponentOf(bSe), aSig, bSig);
    return;
  }
  if (propagateTwo(aSe, aSig, bSe, bSig)) return;
  const aInfinite = isInfinity(aSe, aSig);
  const bInfinite = isInfinity(bSe, bSig);
  const aZero = isZero(aSe, aSig);
  const bZero = isZero(bSe, bSig);
  if ((aInfinite && bInfinite) || (aZero && bZero)) {
    invalidResult();
    return;
  }
  if (bZero && !aInfinite) {
    raise(EX_ZERO_DIVIDE);
    setResult(sign | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  if ((isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) && !denormalAllowed()) return;
  if (aInfinite) setResult(sign | EXPONENT_MASK, INTEGER_BIT);
  else if (aZero || bInfinite) setResult(sign, 0);
  else
    divideFinite(
      sign,
      normalExponent(aSe, aSig) - normalExponent(bSe, bSig),
      normalSignificand(aSig),
      normalSignificand(bSig),
    );
}

function divideFinite(sign: u32, exponents: i32, aSig: u64, bSig: u64): void {
  let exponent = exponents + BIAS;
  let quotient: u64;
  if (aSig >= bSig) quotient = divide128(aSig >> 1, aSig << 63, bSig);
  else {
    quotient = divide128(aSig, 0, bSig);
    exponent--;
  }
  // The rest of the quotient only matters as: nothing, below, at or above one half.
  const remainder = wideRemainder;
  let rest: u64 = 0;
  if (remainder) {
    const half = bSig - remainder;
    rest = remainder < half ? 1 : remainder === half ? INTEGER_BIT : INTEGER_BIT | 1;
  }
  roundResult(sign, exponent, quotient, rest);
}

/** Square root. */
export function squareRoot(se: u32, sig: u64): void {
  if (!isNormal(se, sig)) {
    if (propagateOne(se, sig)) return;
    if (isZero(se, sig)) {
      setResult(se, sig);
      return;
    }
  }
  if (se & SIGN) {
    invalidResult();
    return;
  }
  if (isInfinity(se, sig)) {
    setResult(se, sig);
    return;
  }
  if (isDenormal(se, sig) && !denormalAllowed()) return;
  const exponent = normalExponent(se, sig) - BIAS;
  sig = normalSignificand(sig);
  // An even exponent leaves 1 <= significand < 2, an odd one 2 <= 2 * significand < 4; the root lies in [1, 2).
  const root = exponent & 1 ? squareRoot128(sig, 0) : squareRoot128(sig >> 1, sig << 63);
  let rest: u64 = 0;
  if (wideCarry) rest = INTEGER_BIT | 1;
  else if (wideRemainder) rest = wideRemainder > root ? INTEGER_BIT | 1 : 1;
  roundResult(0, (exponent >> 1) + BIAS, root, rest);
}
