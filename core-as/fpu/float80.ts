/**
 * Double extended-precision values (SDM volume 1, sections 4.2.2 and 4.8): classes, NaN propagation, rounding.
 *
 * A value travels as two integers: `se` (sign in bit 15, biased exponent in bits 0-14) and `sig` (64 bits, the integer
 * bit explicit). A function that computes leaves its result in resultSe/resultSig, exceptions in `raised` and the
 * rounding direction in `roundedUp`; x87.ts commits these to the status word. The globals belong to one instance, that
 * is one vCPU.
 */
import {
  EX_BEFORE,
  EX_DENORMAL,
  EX_INVALID,
  EX_OVERFLOW,
  EX_PRECISION,
  EX_UNDERFLOW,
  FPU_CONTROL,
  PC_DOUBLE,
  PC_EXTENDED,
  PC_MASK,
  PC_SINGLE,
  RC_DOWN,
  RC_MASK,
  RC_NEAREST,
  RC_UP,
  RC_ZERO,
} from './state';

export const SIGN: u32 = 0x8000;
export const EXPONENT_MASK: u32 = 0x7fff;
export const EXPONENT_MAX: i32 = 0x7fff;
export const BIAS: i32 = 0x3fff;
export const INTEGER_BIT: u64 = 0x8000000000000000;
export const QUIET_BIT: u64 = 0x4000000000000000;
/** The real indefinite: what a masked invalid operation yields. */
export const INDEFINITE_SE: u32 = 0xffff;
export const INDEFINITE_SIG: u64 = 0xc000000000000000;
/** Added to or taken from the exponent of an unmasked underflow or overflow (SDM volume 1, 8.5.4). */
export const EXPONENT_WRAP: i32 = 24576;

/** Exponent of the unit in the last place of a denormal and of the smallest normal number. */
const MIN_EXPONENT: i32 = 1;

export let resultSe: u32 = 0;
export let resultSig: u64 = 0;
/** EX_* raised since begin(). */
export let raised: u32 = 0;
/** The last rounding increased the magnitude: C1. */
export let roundedUp: bool = false;
/** FCW of the current operation. */
export let control: u32 = 0;

/** Starts an operation of a vCPU. */
// @ts-ignore: decorator
@inline
export function begin(cpu: u32): void {
  control = load<u32>(cpu, FPU_CONTROL);
  raised = 0;
  roundedUp = false;
}

// @ts-ignore: decorator
@inline
export function raise(exceptions: u32): void {
  raised |= exceptions;
}

// @ts-ignore: decorator
@inline
export function setRoundedUp(value: bool): void {
  roundedUp = value;
}

/**
 * Forgets everything raised but `exceptions`: a fault that comes before the computation cancels what that would raise.
 */
export function raiseOnly(exceptions: u32): void {
  raised = exceptions;
  roundedUp = false;
}

/** Is an exception raised that forbids computing at all? */
// @ts-ignore: decorator
@inline
export function faulted(): bool {
  return (raised & ~control & EX_BEFORE) !== 0;
}

// @ts-ignore: decorator
@inline
export function setResult(se: u32, sig: u64): void {
  resultSe = se;
  resultSig = sig;
}

/** The invalid-operation response: the real indefinite. */
export function invalidResult(): void {
  raised |= EX_INVALID;
  resultSe = INDEFINITE_SE;
  resultSig = INDEFINITE_SIG;
}

/** Raises #D; false if it is unmasked, so that the operation must not go on. */
// @ts-ignore: decorator
@inline
export function denormalAllowed(): bool {
  raised |= EX_DENORMAL;
  return (control & EX_DENORMAL) !== 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Classes

/** A normal number: no zero, denormal, infinity, NaN or unsupported encoding. */
// @ts-ignore: decorator
@inline
export function isNormal(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) - 1 < 0x7ffe && <i64>sig < 0;
}

/** Unnormals, pseudo-infinities and pseudo-NaNs (SDM volume 1, table 8-3): the integer bit is missing. */
// @ts-ignore: decorator
@inline
export function isUnsupported(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) !== 0 && <i64>sig >= 0;
}

// @ts-ignore: decorator
@inline
export function isNaN80(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) === 0x7fff && sig << 1 !== 0;
}

// @ts-ignore: decorator
@inline
export function isSignaling(se: u32, sig: u64): bool {
  return isNaN80(se, sig) && (sig & QUIET_BIT) === 0;
}

// @ts-ignore: decorator
@inline
export function isInfinity(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) === 0x7fff && sig === INTEGER_BIT;
}

// @ts-ignore: decorator
@inline
export function isZero(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) === 0 && sig === 0;
}

/** A denormal or pseudo-denormal. */
// @ts-ignore: decorator
@inline
export function isDenormal(se: u32, sig: u64): bool {
  return (se & EXPONENT_MASK) === 0 && sig !== 0;
}

/** Exponent of a finite non-zero value once its significand is shifted so that bit 63 is set. */
// @ts-ignore: decorator
@inline
export function normalExponent(se: u32, sig: u64): i32 {
  const exponent = <i32>(se & EXPONENT_MASK);
  return exponent ? exponent : 1 - <i32>clz<u64>(sig);
}

// @ts-ignore: decorator
@inline
export function normalSignificand(sig: u64): u64 {
  return sig << clz<u64>(sig);
}

/**
 * Deals with one operand that is a NaN or has no meaning; true if it was one (SDM volume 1, table 4-7).
 * The result is then the quieted NaN or the indefinite.
 */
export function propagateOne(se: u32, sig: u64): bool {
  if (isUnsupported(se, sig)) {
    invalidResult();
    return true;
  }
  if (!isNaN80(se, sig)) return false;
  if ((sig & QUIET_BIT) === 0) raised |= EX_INVALID;
  setResult(se, sig | QUIET_BIT);
  return true;
}

/**
 * Deals with two operands of which one may be a NaN or has no meaning; true if so. Of two NaNs of a kind the one with
 * the larger significand wins, then the positive one; of a quiet and a signaling one the quiet one (SDM volume 1, table
 * 4-7).
 */
export function propagateTwo(aSe: u32, aSig: u64, bSe: u32, bSig: u64): bool {
  if (isUnsupported(aSe, aSig) || isUnsupported(bSe, bSig)) {
    invalidResult();
    return true;
  }
  const aNaN = isNaN80(aSe, aSig);
  const bNaN = isNaN80(bSe, bSig);
  if (!aNaN && !bNaN) return false;
  const aSignals = aNaN && (aSig & QUIET_BIT) === 0;
  const bSignals = bNaN && (bSig & QUIET_BIT) === 0;
  if (aSignals || bSignals) raised |= EX_INVALID;
  let takeA: bool;
  if (!bNaN) takeA = true;
  else if (!aNaN) takeA = false;
  else if (aSignals !== bSignals) takeA = bSignals;
  else if (aSig !== bSig) takeA = aSig > bSig;
  else takeA = (aSe & SIGN) <= (bSe & SIGN);
  if (takeA) setResult(aSe, aSig | QUIET_BIT);
  else setResult(bSe, bSig | QUIET_BIT);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Rounding

/**
 * Does rounding move a value away from zero? `rest` is what lies below its last place, 2^64 standing for one unit, the
 * bits below ORed into bit 0; `odd` is the last place.
 */
// @ts-ignore: decorator
@inline
export function roundsUp(sign: u32, odd: u64, rest: u64): bool {
  const mode = control & RC_MASK;
  if (mode === RC_NEAREST) return rest > INTEGER_BIT || (rest === INTEGER_BIT && (odd & 1) !== 0);
  if (mode === RC_ZERO) return false;
  return rest !== 0 && (mode === RC_DOWN) === (sign !== 0);
}

/** Bits that the precision control drops from a 64-bit significand. The reserved encoding 1 means extended. */
// @ts-ignore: decorator
@inline
function droppedBits(): u32 {
  const precision = control & PC_MASK;
  return precision === PC_SINGLE ? 40 : precision === PC_DOUBLE ? 11 : 0;
}

/**
 * Result of +, -, *, / and square root: sign (0 or SIGN), biased exponent (any), a significand with bit 63 set and the
 * 64 bits below it, rounded to the precision that FCW.PC asks for.
 */
// @ts-ignore: decorator
@inline
export function roundResult(sign: u32, exponent: i32, sig: u64, rest: u64): void {
  if ((control & PC_MASK) === PC_EXTENDED) roundExtended(sign, exponent, sig, rest);
  else roundDropping(sign, exponent, sig, rest, droppedBits());
}

/** The same, always to 64 bits: what precision control does not govern. */
export function roundExtended(sign: u32, exponent: i32, sig: u64, rest: u64): void {
  if (<u32>(exponent - MIN_EXPONENT) >= 0x7ffe) {
    roundExtreme(sign, exponent, sig, rest, 0);
    return;
  }
  if (rest) {
    raised |= EX_PRECISION;
    if (roundsUp(sign, sig, rest)) {
      roundedUp = true;
      if (++sig === 0) {
        sig = INTEGER_BIT;
        if (++exponent === EXPONENT_MAX) {
          overflow(sign, exponent, sig, true, 0);
          return;
        }
      }
    }
  }
  resultSe = sign | exponent;
  resultSig = sig;
}

function roundDropping(sign: u32, exponent: i32, sig: u64, rest: u64, drop: u32): void {
  if (<u32>(exponent - MIN_EXPONENT) >= 0x7ffe) {
    roundExtreme(sign, exponent, sig, rest, drop);
    return;
  }
  const kept = roundAt(sign, sig, rest, drop);
  if (kept === 0) {
    sig = INTEGER_BIT;
    exponent++;
  } else sig = kept;
  if (exponent === EXPONENT_MAX) overflow(sign, exponent, sig, (raised & EX_PRECISION) !== 0, drop);
  else setResult(sign | exponent, sig);
}

/** Rounds a significand to 64 - drop bits; 0 stands for 2^64. Raises #P and tells roundedUp. */
function roundAt(sign: u32, sig: u64, rest: u64, drop: u32): u64 {
  if (drop) {
    rest = (sig << (64 - drop)) | (<u64>(rest !== 0));
    sig = (sig >> drop) << drop;
  }
  if (rest === 0) return sig;
  raised |= EX_PRECISION;
  if (roundsUp(sign, sig >> drop, rest)) {
    roundedUp = true;
    sig += (<u64>1) << drop;
  }
  return sig;
}

/** Exponent out of range: overflow, or a tiny result. Tininess is detected after rounding. */
function roundExtreme(sign: u32, exponent: i32, sig: u64, rest: u64, drop: u32): void {
  if (exponent > 0) {
    sig = roundAt(sign, sig, rest, drop);
    if (sig === 0) {
      sig = INTEGER_BIT;
      exponent++;
    }
    overflow(sign, exponent, sig, (raised & EX_PRECISION) !== 0, drop);
    return;
  }
  const before = raised;
  const unbounded = roundAt(sign, sig, rest, drop);
  const tiny = exponent < 0 || unbounded !== 0;
  if (!tiny) {
    // Rounds up to the smallest normal number.
    setResult(sign | 1, INTEGER_BIT);
    return;
  }
  if ((control & EX_UNDERFLOW) === 0) {
    raised |= EX_UNDERFLOW;
    if (unbounded === 0) exponent++;
    exponent += EXPONENT_WRAP;
    if (exponent <= 0) {
      // FSCALE reaches farther than the wrapped range does.
      setResult(sign, 0);
      roundedUp = false;
      raised |= EX_PRECISION;
      return;
    }
    setResult(sign | exponent, unbounded ? unbounded : INTEGER_BIT);
    return;
  }
  // Whether this rounding is inexact decides, not an earlier one of the same instruction (FSINCOS).
  raised = before & ~EX_PRECISION;
  roundedUp = false;
  // Denormalize.
  const shift = <u32>(1 - exponent);
  if (shift < 64) {
    rest = (sig << (64 - shift)) | (<u64>(rest !== 0));
    sig >>= shift;
  } else if (shift === 64) {
    rest = sig | (<u64>(rest !== 0));
    sig = 0;
  } else {
    rest = 1;
    sig = 0;
  }
  sig = roundAt(sign, sig, rest, drop);
  if (raised & EX_PRECISION) raised |= EX_UNDERFLOW;
  raised |= before;
  // Rounding may have carried into the integer bit: then it is the smallest normal number.
  setResult(sign | (<u32>(sig >> 63)), sig);
}

/** Exponent >= EXPONENT_MAX after rounding (SDM volume 1, 8.5.4 and table 4-11). */
function overflow(sign: u32, exponent: i32, sig: u64, inexact: bool, drop: u32): void {
  raised |= EX_OVERFLOW;
  if ((control & EX_OVERFLOW) === 0) {
    exponent -= EXPONENT_WRAP;
    if (exponent < EXPONENT_MAX) {
      setResult(sign | exponent, sig);
      return;
    }
    // FSCALE reaches farther than the wrapped range does.
    setResult(sign | EXPONENT_MASK, INTEGER_BIT);
    raised |= EX_PRECISION;
    roundedUp = true;
    return;
  }
  raised |= EX_PRECISION;
  const mode = control & RC_MASK;
  if (mode === RC_NEAREST || mode === (sign ? RC_DOWN : RC_UP)) {
    roundedUp = true;
    setResult(sign | EXPONENT_MASK, INTEGER_BIT);
  } else {
    roundedUp = false;
    setResult(sign | 0x7ffe, (u64.MAX_VALUE >> drop) << drop);
  }
}
