/**
 * Conversions between the register format and binary32, binary64, integers and packed BCD (SDM volume 1, sections 4.2,
 * 4.7 and 8.3.3). Conventions: float80.ts. A conversion from memory never rounds.
 */
import {
  BIAS,
  EXPONENT_MASK,
  INDEFINITE_SIG,
  INTEGER_BIT,
  QUIET_BIT,
  SIGN,
  control,
  isInfinity,
  isNaN80,
  isUnsupported,
  normalExponent,
  normalSignificand,
  raise,
  raiseOnly,
  roundsUp,
  setResult,
  setRoundedUp,
} from './float80';
import { EX_INVALID, EX_OVERFLOW, EX_PRECISION, EX_UNDERFLOW, RC_DOWN, RC_MASK, RC_NEAREST, RC_UP } from './state';

/** The value that the last fromBinary32/64 call widened was denormal, although its register form is not. */
export let wasDenormal: bool = false;

// @ts-ignore: decorator
@inline
export function clearWasDenormal(): void {
  wasDenormal = false;
}

/** Widens a binary32; signaling NaNs stay signaling. */
export function fromBinary32(bits: u32): void {
  fromBinary((bits >> 16) & SIGN, (bits >> 23) & 0xff, (<u64>(bits & 0x7fffff)) << 40, 0xff, BIAS - 127);
}

/** Widens a binary64; signaling NaNs stay signaling. */
export function fromBinary64(bits: u64): void {
  fromBinary(
    (<u32>(bits >> 48)) & SIGN,
    (<u32>(bits >> 52)) & 0x7ff,
    (bits & 0xfffffffffffff) << 11,
    0x7ff,
    BIAS - 1023,
  );
}

// @ts-ignore: decorator
@inline
function fromBinary(sign: u32, exponent: u32, fraction: u64, exponentMax: u32, biasDifference: i32): void {
  wasDenormal = false;
  if (exponent === 0) {
    if (fraction === 0) setResult(sign, 0);
    else {
      wasDenormal = true;
      const zeros = <i32>clz<u64>(fraction);
      setResult(sign | (biasDifference + 1 - zeros), fraction << zeros);
    }
  } else if (exponent === exponentMax) setResult(sign | EXPONENT_MASK, fraction | INTEGER_BIT);
  else setResult(sign | (<i32>exponent + biasDifference), fraction | INTEGER_BIT);
}

/** The binary32 (low 32 bits) nearest to a value under FCW.RC. */
export function toBinary32(se: u32, sig: u64): u64 {
  return toBinary(se, sig, 40, 0xff, BIAS - 127);
}

/** The binary64 nearest to a value under FCW.RC. */
export function toBinary64(se: u32, sig: u64): u64 {
  return toBinary(se, sig, 11, 0x7ff, BIAS - 1023);
}

// @ts-ignore: decorator
@inline
function toBinary(se: u32, sig: u64, drop: u64, exponentMax: i32, biasDifference: i32): u64 {
  const sign = se & SIGN;
  const exponent = <i32>(se & EXPONENT_MASK) - biasDifference;
  const fractionBits = 63 - drop;
  const signBit: u64 = (<u64>(sign >> 15)) << (fractionBits + (exponentMax === 0xff ? 8 : 11));
  // Ordinary values whose rounding cannot leave the normal range.
  if (exponent > 0 && exponent < exponentMax - 1 && <i64>sig < 0) {
    const rest = sig << (64 - drop);
    let kept = sig >> drop;
    if (rest) {
      raise(EX_PRECISION);
      if (roundsUp(sign, kept, rest)) {
        setRoundedUp(true);
        kept++; // a carry out of the significand increments the exponent below
      }
    }
    return signBit | (((<u64>(exponent - 1)) << fractionBits) + kept);
  }
  return toBinarySpecial(se, sig, drop, exponentMax, biasDifference, signBit);
}

function toBinarySpecial(se: u32, sig: u64, drop: u64, exponentMax: i32, biasDifference: i32, signBit: u64): u64 {
  const sign = se & SIGN;
  const fractionBits = 63 - drop;
  const infinity: u64 = (<u64>exponentMax) << fractionBits;
  const fractionMask = ((<u64>1) << fractionBits) - 1;
  if (isUnsupported(se, sig)) {
    raise(EX_INVALID);
    return ((<u64>((exponentMax << 1) | 1)) << (fractionBits - 1)) | ((<u64>(exponentMax + 1)) << fractionBits);
  }
  if (isNaN80(se, sig)) {
    if ((sig & QUIET_BIT) === 0) raise(EX_INVALID);
    return signBit | infinity | (((sig | QUIET_BIT) >> drop) & fractionMask);
  }
  if (isInfinity(se, sig)) return signBit | infinity;
  if (sig === 0) return signBit;

  const exponent = normalExponent(se, sig) - biasDifference;
  sig = normalSignificand(sig);
  let kept = sig >> drop;
  let rest = sig << (64 - drop);
  const up = rest !== 0 && roundsUp(sign, kept, rest);
  const unboundedExponent = exponent + <i32>((kept + <u64>up) >> (fractionBits + 1));
  if (unboundedExponent >= exponentMax) {
    raise(EX_OVERFLOW);
    if ((control & EX_OVERFLOW) === 0) return 0; // not stored, and nothing said about precision
    raise(EX_PRECISION);
    const mode = control & RC_MASK;
    const toInfinity = mode === RC_NEAREST || mode === (sign ? RC_DOWN : RC_UP);
    setRoundedUp(toInfinity);
    return signBit | (toInfinity ? infinity : infinity - 1);
  }
  if (unboundedExponent > 0) {
    // The normal range, or up into it from just below.
    if (rest) raise(EX_PRECISION);
    setRoundedUp(up);
    if (exponent > 0) return signBit | (((<u64>(exponent - 1)) << fractionBits) + kept + <u64>up);
    return signBit | ((<u64>1) << fractionBits);
  }
  // Tiny.
  if ((control & EX_UNDERFLOW) === 0) {
    raise(EX_UNDERFLOW);
    return 0; // not stored, and nothing said about precision
  }
  const shift = <u64>(1 - exponent) + drop;
  if (shift < 64) {
    kept = sig >> shift;
    rest = sig << (64 - shift);
  } else {
    kept = 0;
    rest = shift === 64 ? sig : 1;
  }
  if (rest) {
    raise(EX_PRECISION | EX_UNDERFLOW);
    const denormalUp = roundsUp(sign, kept, rest);
    setRoundedUp(denormalUp);
    kept += <u64>denormalUp;
  }
  return signBit | kept;
}

/** A signed integer as a value. */
export function fromInteger(value: i64): void {
  const sign: u32 = value < 0 ? SIGN : 0;
  const magnitude = <u64>(value < 0 ? 0 - value : value);
  if (magnitude === 0) {
    setResult(0, 0);
    return;
  }
  const zeros = <i32>clz<u64>(magnitude);
  setResult(sign | (BIAS + 63 - zeros), magnitude << zeros);
}

/** Larger than any magnitude that roundToMagnitude() returns for a value that fits. */
const TOO_LARGE: u64 = u64.MAX_VALUE;

/** |value| rounded to an integer (by FCW.RC, or truncated), at most 2^63; TOO_LARGE otherwise and for no number. */
function roundToMagnitude(se: u32, sig: u64, truncate: bool): u64 {
  const exponent = <i32>(se & EXPONENT_MASK);
  if (exponent > BIAS + 63 || isUnsupported(se, sig)) return TOO_LARGE;
  if (sig === 0) return 0;
  let kept: u64;
  let rest: u64;
  const shift = <u64>(BIAS + 63 - exponent);
  if (shift === 0) {
    kept = sig;
    rest = 0;
  } else if (shift < 64) {
    kept = sig >> shift;
    rest = sig << (64 - shift);
  } else {
    kept = 0;
    rest = shift === 64 ? sig : 1;
  }
  if (rest) {
    raise(EX_PRECISION);
    if (!truncate && roundsUp(se & SIGN, kept, rest)) {
      setRoundedUp(true);
      kept++;
    }
  }
  return kept;
}

/**
 * A value as a two's complement integer of 16, 32 or 64 bits. What does not fit is #IA and the integer indefinite, the
 * most negative integer (SDM volume 1, table 4-4).
 */
export function toInteger(se: u32, sig: u64, bits: u32, truncate: bool): u64 {
  const magnitude = roundToMagnitude(se, sig, truncate);
  const limit: u64 = (<u64>1) << (bits - 1);
  const negative = (se & SIGN) !== 0;
  if (magnitude > limit || (magnitude === limit && !negative)) {
    raiseOnly(EX_INVALID); // nothing was rounded after all
    return limit;
  }
  return negative ? 0 - magnitude : magnitude;
}

/**
 * Packed BCD (ten bytes at an address, 18 digits and a sign) as a value. Digits above 9 count as what their bits say.
 */
export function fromBcd(address: u32): void {
  let magnitude: u64 = 0;
  for (let i: u32 = 9; i !== 0; i--) {
    const pair = <u64>load<u8>(address + i - 1);
    magnitude = magnitude * 100 + (pair >> 4) * 10 + (pair & 15);
  }
  const sign = ((<u32>load<u8>(address, 9)) << 8) & SIGN;
  if (magnitude === 0) {
    setResult(sign, 0);
    return;
  }
  const zeros = <i32>clz<u64>(magnitude);
  setResult(sign | (BIAS + 63 - zeros), magnitude << zeros);
}

/**
 * Stores the packed BCD integer nearest to a value at an address; the packed indefinite if it has more than 18 digits.
 */
export function toBcd(se: u32, sig: u64, address: u32): void {
  let magnitude = roundToMagnitude(se, sig, false);
  if (magnitude > 999_999_999_999_999_999) {
    raiseOnly(EX_INVALID);
    store<u64>(address, INDEFINITE_SIG);
    store<u16>(address, 0xffff, 8);
    return;
  }
  for (let i: u32 = 0; i < 9; i++) {
    const pair = magnitude % 100;
    magnitude /= 100;
    store<u8>(address + i, ((pair / 10) << 4) | (pair % 10));
  }
  store<u8>(address, (se & SIGN) >> 8, 9);
}
