/**
 * The arithmetic flags, kept lazily: every operation leaves its sign-extended result and its carries, and a flag is derived when read.
 *
 * R_LAZY_RESULT (i64): ZF = result is 0; SF = result is negative (xor AUX_SIGN_FLIP); PF = parity of the low byte xor bits 8-15 of aux.
 * R_LAZY_AUX (u32): bit 31 CF; bit 30 the carry into the top bit, so OF = bit 31 ^ bit 30; bit 3 AF; bit 0 flips SF.
 *
 * Result and aux can represent any combination of the six flags, so nothing else is ever stored.
 */
import { R_LAZY_AUX, R_LAZY_RESULT, R_RFLAGS } from '../layout';
import { ARITHMETIC_FLAGS, FLAG_AF, FLAG_CF, FLAG_OF, FLAG_PF, FLAG_SF, FLAG_ZF, cpu as thisCpu } from './state';

export const AUX_CARRY: u32 = 0x80000000;
export const AUX_OVERFLOW_BITS: u32 = 0xc0000000;
const AUX_SIGN_FLIP: u32 = 1;

// @ts-ignore: decorator
@inline
export function setLazy(cpu: u32, result: i64, aux: u32): void {
  store<i64>(cpu, result, R_LAZY_RESULT);
  store<u32>(cpu, aux, R_LAZY_AUX);
}

// @ts-ignore: decorator
@inline
export function lazyResult(cpu: u32): i64 {
  return load<i64>(cpu, R_LAZY_RESULT);
}

// @ts-ignore: decorator
@inline
export function lazyAux(cpu: u32): u32 {
  return load<u32>(cpu, R_LAZY_AUX);
}

/** Carries out of each bit of a + b (+ carry) = r. */
// @ts-ignore: decorator
@inline
export function addCarries<T>(a: T, b: T, r: T): T {
  return (a & b) | ((a | b) & ~r);
}

/** Borrows out of each bit of a - b (- borrow) = r. */
// @ts-ignore: decorator
@inline
export function subBorrows<T>(a: T, b: T, r: T): T {
  return (~a & b) | ((~a | b) & r);
}

// @ts-ignore: decorator
@inline
export function aux8(carries: u32): u32 {
  return ((carries << 24) & AUX_OVERFLOW_BITS) | (carries & 8);
}
// @ts-ignore: decorator
@inline
export function aux16(carries: u32): u32 {
  return ((carries << 16) & AUX_OVERFLOW_BITS) | (carries & 8);
}
// @ts-ignore: decorator
@inline
export function aux32(carries: u32): u32 {
  return carries & (AUX_OVERFLOW_BITS | 8);
}
// @ts-ignore: decorator
@inline
export function aux64(carries: u64): u32 {
  return ((<u32>(carries >> 32)) & AUX_OVERFLOW_BITS) | ((<u32>carries) & 8);
}

/** Aux of explicit CF and OF (each 0 or 1), AF clear. */
// @ts-ignore: decorator
@inline
export function auxCarryOverflow(carry: u32, overflow: u32): u32 {
  return (carry << 31) | ((carry ^ overflow) << 30);
}

/** Aux of INC and DEC: CF stays, OF and AF are the operation's. */
// @ts-ignore: decorator
@inline
export function keepCarry(r: u32, aux: u32): u32 {
  const ov = (aux ^ (aux << 1)) >> 31;
  return auxCarryOverflow(lazyAux(r) >> 31, ov) | (aux & 8);
}

/** Sign-extends the low bits of a result for R_LAZY_RESULT; sizeBytes is 1, 2, 4 or 8. */
// @ts-ignore: decorator
@inline
export function signExtend(value: u64, sizeBytes: u32): i64 {
  const shift = <u64>(64 - (sizeBytes << 3));
  return (<i64>(value << shift)) >> shift;
}

// @ts-ignore: decorator
@inline
export function carry(cpu: u32): u32 {
  return lazyAux(cpu) >> 31;
}
// @ts-ignore: decorator
@inline
export function overflow(cpu: u32): u32 {
  const aux = lazyAux(cpu);
  return (aux ^ (aux << 1)) >> 31;
}
// @ts-ignore: decorator
@inline
export function zero(cpu: u32): u32 {
  return u32(lazyResult(cpu) === 0);
}
// @ts-ignore: decorator
@inline
export function sign(cpu: u32): u32 {
  return (<u32>((<u64>lazyResult(cpu)) >> 63)) ^ (lazyAux(cpu) & AUX_SIGN_FLIP);
}
// @ts-ignore: decorator
@inline
export function parity(cpu: u32): u32 {
  const low = ((<u32>lazyResult(cpu)) ^ (lazyAux(cpu) >> 8)) & 0xff;
  return (popcnt<u32>(low) & 1) ^ 1;
}
// @ts-ignore: decorator
@inline
export function less(cpu: u32): u32 {
  return sign(cpu) ^ overflow(cpu);
}

/** Sets CF, leaving the other flags. */
export function setCarry(cpu: u32, value: u32): void {
  const aux = lazyAux(cpu);
  const ov = (aux ^ (aux << 1)) >> 31;
  store<u32>(cpu, (aux & ~AUX_OVERFLOW_BITS) | auxCarryOverflow(value & 1, ov), R_LAZY_AUX);
}

/** Sets ZF alone: used where an instruction defines ZF only (VERR, CMPXCHG8B ...). */
export function setZero(cpu: u32, value: u32): void {
  setArithmeticFlags(cpu, (arithmeticFlags(cpu) & ~FLAG_ZF) | (value ? FLAG_ZF : 0));
}

/** The six arithmetic flags in their RFLAGS positions. */
export function arithmeticFlags(cpu: u32): u32 {
  const aux = lazyAux(cpu);
  return (
    (aux >> 31) |
    (parity(cpu) << 2) |
    ((aux & 8) << 1) |
    (zero(cpu) << 6) |
    (sign(cpu) << 7) |
    (((aux ^ (aux << 1)) >> 31) << 11)
  );
}

/** Sets all six arithmetic flags from their RFLAGS positions. */
export function setArithmeticFlags(cpu: u32, rflags: u32): void {
  const cf = rflags & FLAG_CF;
  const ov = (rflags & FLAG_OF) >> 11;
  const sf = (rflags & FLAG_SF) >> 7;
  let aux = auxCarryOverflow(cf, ov) | ((rflags & FLAG_AF) >> 1) | sf;
  const pf = (rflags & FLAG_PF) >> 2;
  if (rflags & FLAG_ZF) {
    // Result 0: even parity; one flipped bit makes it odd.
    if (!pf) aux |= 0x100;
    setLazy(cpu, 0, aux);
  } else {
    // Result 1: odd parity, not negative.
    if (pf) aux |= 0x100;
    setLazy(cpu, 1, aux);
  }
}

/** The whole RFLAGS register of a vCPU. */
export function rflags(cpu: u32): u64 {
  return (<u64>(load<u32>(cpu, R_RFLAGS) & ~ARITHMETIC_FLAGS)) | arithmeticFlags(cpu) | 2;
}

/** Writes the whole RFLAGS register; the caller re-derives modes when TF, VM or AC changed. */
export function writeRflags(cpu: u32, value: u64): void {
  store<u64>(cpu, (value & ~(<u64>ARITHMETIC_FLAGS)) | 2, R_RFLAGS);
  setArithmeticFlags(cpu, <u32>value);
}

/** Evaluates condition code 0-15 (SDM vol. 1, appendix B) on this instance's vCPU. */
export function condition(code: u32): bool {
  const cpu = thisCpu;
  let result: u32 = 0;
  switch (code >> 1) {
    case 0:
      result = overflow(cpu);
      break;
    case 1:
      result = carry(cpu);
      break;
    case 2:
      result = zero(cpu);
      break;
    case 3:
      result = carry(cpu) | zero(cpu);
      break;
    case 4:
      result = sign(cpu);
      break;
    case 5:
      result = parity(cpu);
      break;
    case 6:
      result = less(cpu);
      break;
    default:
      result = less(cpu) | zero(cpu);
      break;
  }
  return (result ^ (code & 1)) !== 0;
}
