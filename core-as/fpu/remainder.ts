/** FPREM, FPREM1, FRNDINT, FSCALE, FXTRACT (SDM volume 1, sections 8.3.5 and 8.3.8). Conventions: float80.ts. */
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
  roundsUp,
  setResult,
  setRoundedUp,
} from './float80';
import { C0, C1, C2, C3, EX_PRECISION, EX_ZERO_DIVIDE } from './state';
import { divide128, wideRemainder } from './wide';

/** What FPREM and FPREM1 leave in C3 (quotient bit 1), C2 (reduction incomplete), C1 (bit 0) and C0 (bit 2). */
export let remainderCodes: u32 = 0;
/** False if the operands allow no quotient (NaNs, invalid ones): the condition codes but C2 then stay. */
export let reduced: bool = false;

/**
 * Remainder of a / b: quotient truncated (FPREM) or rounded to nearest even (FPREM1). An exponent difference of 64 and
 * more is reduced by 32 to 63 only and C2 is set; software repeats the instruction.
 */
export function remainder(aSe: u32, aSig: u64, bSe: u32, bSig: u64, nearest: bool): void {
  remainderCodes = 0;
  reduced = false;
  if (propagateTwo(aSe, aSig, bSe, bSig)) return;
  if (isInfinity(aSe, aSig) || isZero(bSe, bSig)) {
    invalidResult();
    return;
  }
  if ((isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) && !denormalAllowed()) return;
  reduced = true;
  if (aSig === 0) {
    setResult(aSe, 0);
    return;
  }
  let sign = aSe & SIGN;
  const aExponent = normalExponent(aSe, aSig);
  if (isInfinity(bSe, bSig)) {
    roundExtended(sign, aExponent, normalSignificand(aSig), 0);
    return;
  }
  let exponent = normalExponent(bSe, bSig);
  const divisor = normalSignificand(bSig);
  let rest = normalSignificand(aSig);
  let distance = aExponent - exponent;
  const shortest: i32 = nearest ? -1 : 0;
  if (distance < shortest) {
    roundExtended(sign, aExponent, rest, 0);
    return;
  }
  const partial = distance >= 64;
  if (partial) {
    // Leave a multiple of 32 to do; the reduction then takes 32 to 63 quotient bits.
    const step = (distance & 31) | 32;
    exponent += distance - step;
    distance = step;
  }
  let quotient: u64 = 0;
  if (distance < 0) {
    // FPREM1 with 1/4 < |a / b| < 1. Above one half the quotient is 1; the tie goes to the even 0.
    if (rest <= divisor) {
      roundExtended(sign, aExponent, rest, 0);
      return;
    }
    setQuotient(1);
    // 2 * divisor - rest in units of a's last place; below 2^64 because divisor < rest, so wrapping does no harm.
    finishRemainder(sign ^ SIGN, aExponent, (divisor << 1) - rest);
    return;
  }
  // rest * 2^distance / divisor, one leading quotient bit apart so that the high half stays below the divisor.
  if (rest >= divisor) {
    rest -= divisor;
    quotient = (<u64>1) << distance;
  }
  if (distance) {
    quotient += divide128(rest >> (64 - distance), rest << distance, divisor);
    rest = wideRemainder;
  }
  if (partial) {
    remainderCodes = C2;
    finishRemainder(sign, exponent, rest);
    return;
  }
  if (nearest) {
    const complement = divisor - rest;
    if (rest > complement || (rest === complement && (quotient & 1) !== 0)) {
      rest = complement;
      quotient++;
      sign ^= SIGN;
    }
  }
  setQuotient(quotient);
  if (rest === 0) setResult(aSe & SIGN, 0);
  else finishRemainder(sign, exponent, rest);
}

function setQuotient(quotient: u64): void {
  const q = <u32>quotient;
  remainderCodes = (q & 4 ? C0 : 0) | (q & 2 ? C3 : 0) | (q & 1 ? C1 : 0);
}

function finishRemainder(sign: u32, exponent: i32, rest: u64): void {
  if (rest === 0) setResult(sign, 0);
  else roundExtended(sign, exponent - <i32>clz<u64>(rest), normalSignificand(rest), 0);
}

/** Rounds to an integral value by FCW.RC (FRNDINT). */
export function roundToIntegral(se: u32, sig: u64): void {
  if (propagateOne(se, sig)) return;
  if (isDenormal(se, sig) && !denormalAllowed()) return;
  const fractionBits = BIAS + 63 - <i32>(se & EXPONENT_MASK);
  if (fractionBits <= 0 || sig === 0) {
    setResult(se, sig);
    return;
  }
  const sign = se & SIGN;
  if (fractionBits >= 64) {
    // |value| < 1
    const up = roundsUp(sign, 0, fractionBits === 64 ? sig : 1);
    raise(EX_PRECISION);
    setRoundedUp(up);
    if (up) setResult(sign | BIAS, INTEGER_BIT);
    else setResult(sign, 0);
    return;
  }
  const rest = sig << (64 - fractionBits);
  let kept = sig >> fractionBits;
  if (rest === 0) {
    setResult(se, sig);
    return;
  }
  raise(EX_PRECISION);
  if (roundsUp(sign, kept, rest)) {
    setRoundedUp(true);
    kept++;
  }
  kept <<= fractionBits;
  if (kept) setResult(se, kept);
  else setResult(se + 1, INTEGER_BIT);
}

/** a * 2^trunc(b) (FSCALE). Not governed by precision control. */
export function scale(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (propagateTwo(aSe, aSig, bSe, bSig)) return;
  const bNegative = (bSe & SIGN) !== 0;
  if (isInfinity(bSe, bSig)) {
    if (bNegative ? isInfinity(aSe, aSig) : isZero(aSe, aSig)) {
      invalidResult();
      return;
    }
    if (isDenormal(aSe, aSig) && !denormalAllowed()) return;
    if (bNegative) setResult(aSe & SIGN, 0);
    else setResult((aSe & SIGN) | EXPONENT_MASK, INTEGER_BIT);
    return;
  }
  if ((isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) && !denormalAllowed()) return;
  if (isInfinity(aSe, aSig) || aSig === 0) {
    setResult(aSe, aSig);
    return;
  }
  const bExponent = <i32>(bSe & EXPONENT_MASK) - BIAS;
  // Far beyond what any exponent can absorb: 2^16.
  let distance: i32 = 0;
  if (bExponent >= 16) distance = 0x10000;
  else if (bExponent >= 0) distance = <i32>(bSig >> (63 - bExponent));
  roundExtended(aSe & SIGN, normalExponent(aSe, aSig) + (bNegative ? -distance : distance), normalSignificand(aSig), 0);
}

/** FXTRACT: the significand is left as the result, the exponent as a value in extractedSe/extractedSig. */
export function extract(se: u32, sig: u64): void {
  if (propagateOne(se, sig)) {
    extractedSe = resultSe;
    extractedSig = resultSig;
    return;
  }
  if (isZero(se, sig)) {
    raise(EX_ZERO_DIVIDE);
    extractedSe = SIGN | EXPONENT_MASK;
    extractedSig = INTEGER_BIT;
    setResult(se, sig);
    return;
  }
  if (isInfinity(se, sig)) {
    extractedSe = EXPONENT_MASK;
    extractedSig = INTEGER_BIT;
    setResult(se, sig);
    return;
  }
  if (isDenormal(se, sig) && !denormalAllowed()) return;
  const exponent = normalExponent(se, sig) - BIAS;
  const magnitude = <u64>(exponent < 0 ? -exponent : exponent);
  if (magnitude === 0) {
    extractedSe = 0;
    extractedSig = 0;
  } else {
    const zeros = <i32>clz<u64>(magnitude);
    extractedSe = (exponent < 0 ? SIGN : 0) | (BIAS + 63 - zeros);
    extractedSig = magnitude << zeros;
  }
  setResult((se & SIGN) | BIAS, normalSignificand(sig));
}

export let extractedSe: u32 = 0;
export let extractedSig: u64 = 0;
