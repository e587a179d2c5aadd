/** FCOM, FUCOM, FCOMI, FTST and FXAM (SDM volume 1, sections 8.3.6 and 8.1.3.3). Conventions: float80.ts. */
import {
  EXPONENT_MASK,
  SIGN,
  isDenormal,
  isInfinity,
  isNaN80,
  isNormal,
  isSignaling,
  isUnsupported,
  isZero,
  normalExponent,
  normalSignificand,
  raise,
} from './float80';
import { C0, C2, C3, EX_DENORMAL, EX_INVALID } from './state';

/** Outcomes of compare(), as condition codes C3, C2 and C0 (bits 14, 10 and 8 of the status word). */
export const GREATER: u32 = 0;
export const LESS: u32 = C0;
export const EQUAL: u32 = C3;
export const UNORDERED: u32 = C0 | C2 | C3;
export const COMPARE_CODES: u32 = C0 | C2 | C3;

/** Compares a with b; `quiet` forms (FUCOM*) accept quiet NaNs without #IA. */
export function compare(aSe: u32, aSig: u64, bSe: u32, bSig: u64, quiet: bool): u32 {
  if (!isNormal(aSe, aSig) || !isNormal(bSe, bSig)) {
    if (isUnsupported(aSe, aSig) || isUnsupported(bSe, bSig)) {
      raise(EX_INVALID);
      return UNORDERED;
    }
    if (isNaN80(aSe, aSig) || isNaN80(bSe, bSig)) {
      if (!quiet || isSignaling(aSe, aSig) || isSignaling(bSe, bSig)) raise(EX_INVALID);
      return UNORDERED;
    }
    if (isDenormal(aSe, aSig) || isDenormal(bSe, bSig)) raise(EX_DENORMAL);
    if (aSig === 0) return bSig === 0 ? EQUAL : bSe & SIGN ? GREATER : LESS;
    if (bSig === 0) return aSe & SIGN ? LESS : GREATER;
  }
  if ((aSe ^ bSe) & SIGN) return aSe & SIGN ? LESS : GREATER;
  const aExponent = normalExponent(aSe, aSig);
  const bExponent = normalExponent(bSe, bSig);
  const a = normalSignificand(aSig);
  const b = normalSignificand(bSig);
  if (aExponent === bExponent && a === b) return EQUAL;
  const smaller = aExponent < bExponent || (aExponent === bExponent && a < b);
  return smaller === ((aSe & SIGN) === 0) ? LESS : GREATER;
}

/** C3, C2 and C0 as ZF, PF and CF (bits 6, 2 and 0), as FCOMI sets them. */
// @ts-ignore: decorator
@inline
export function codesToFlags(codes: u32): u32 {
  return (codes >> 8) & 0x45;
}

/** FXAM's class of a value that is not empty, without C1. */
export function classCodes(se: u32, sig: u64): u32 {
  if (isUnsupported(se, sig)) return 0;
  if (isZero(se, sig)) return C3;
  if ((se & EXPONENT_MASK) === 0) return C3 | C2;
  if (isInfinity(se, sig)) return C2 | C0;
  if (isNaN80(se, sig)) return C0;
  return C2;
}
