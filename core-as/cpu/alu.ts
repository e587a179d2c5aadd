/** Integer arithmetic with flags for operands whose size is known at run time only: the less frequent instructions. */
import { R_LAZY_AUX } from '../layout';
import {
  AUX_OVERFLOW_BITS,
  addCarries,
  auxCarryOverflow,
  carry,
  keepCarry,
  lazyAux,
  setLazy,
  signExtend,
  subBorrows,
} from './flags';
import { cpu } from './state';

// ---------------------------------------------------------------------------------------------------------------------
// By size at run time (the less frequent instructions)

// @ts-ignore: decorator
@inline
function mask(sizeBytes: u32): u64 {
  return u64.MAX_VALUE >> (64 - (sizeBytes << 3));
}

function auxSized(carries: u64, sizeBytes: u32): u32 {
  const top = <u64>((sizeBytes << 3) - 2);
  return ((<u32>((carries >> top) & 3)) << 30) | ((<u32>carries) & 8);
}

/** a op b with flags, op 0-7 in the order ADD OR ADC SBB AND SUB XOR CMP; the result is not masked. */
export function aluSized(operation: u32, a: u64, b: u64, sizeBytes: u32): u64 {
  const m = mask(sizeBytes);
  a &= m;
  b &= m;
  let v: u64 = 0;
  let aux: u32 = 0;
  switch (operation) {
    case 0:
      v = a + b;
      aux = auxSized(addCarries<u64>(a, b, v), sizeBytes);
      break;
    case 1:
      v = a | b;
      break;
    case 2:
      v = a + b + carry(cpu);
      aux = auxSized(addCarries<u64>(a, b, v), sizeBytes);
      break;
    case 3:
      v = a - b - carry(cpu);
      aux = auxSized(subBorrows<u64>(a, b, v), sizeBytes);
      break;
    case 4:
      v = a & b;
      break;
    case 6:
      v = a ^ b;
      break;
    default:
      v = a - b;
      aux = auxSized(subBorrows<u64>(a, b, v), sizeBytes);
  }
  setLazy(cpu, signExtend(v, sizeBytes), aux);
  return v;
}

/** INC (0), DEC (1), NEG (2), NOT (3) with flags. */
export function unarySized(operation: u32, a: u64, sizeBytes: u32): u64 {
  const m = mask(sizeBytes);
  a &= m;
  let v: u64;
  switch (operation) {
    case 0:
      v = a + 1;
      setLazy(cpu, signExtend(v, sizeBytes), keepCarry(cpu, auxSized(addCarries<u64>(a, 1, v), sizeBytes)));
      return v;
    case 1:
      v = a - 1;
      setLazy(cpu, signExtend(v, sizeBytes), keepCarry(cpu, auxSized(subBorrows<u64>(a, 1, v), sizeBytes)));
      return v;
    case 2:
      v = 0 - a;
      setLazy(cpu, signExtend(v, sizeBytes), auxSized(subBorrows<u64>(0, a, v), sizeBytes));
      return v;
    default:
      return ~a;
  }
}

/**
 * Shifts and rotates: operation is modrm.reg (ROL ROR RCL RCR SHL SHR SHL SAR); count as in CL or the immediate. OF for counts
 * other than 1 (architecturally undefined) is what the last single step would give.
 */
export function shiftSized(operation: u32, value: u64, count: u32, sizeBytes: u32): u64 {
  const bits = sizeBytes << 3;
  count &= sizeBytes === 8 ? 63 : 31;
  const m = mask(sizeBytes);
  value &= m;
  if (!count) return value;
  let v: u64;
  let cf: u32;
  const top = <u64>(bits - 1);
  switch (operation) {
    case 0: {
      const n = <u64>(count & (bits - 1));
      v = n ? ((value << n) | (value >> (bits - n))) & m : value;
      cf = (<u32>v) & 1;
      rotateFlags(cf, cf ^ (<u32>(v >> top)));
      return v;
    }
    case 1: {
      const n = <u64>(count & (bits - 1));
      v = n ? ((value >> n) | (value << (bits - n))) & m : value;
      cf = <u32>(v >> top);
      rotateFlags(cf, cf ^ ((<u32>(v >> (top - 1))) & 1));
      return v;
    }
    case 2:
    case 3: {
      // Through carry: a rotation of bits + 1 positions, one bit at a time (counts are small after the modulus).
      let n = count % (bits + 1);
      cf = carry(cpu);
      v = value;
      if (operation === 2) {
        while (n--) {
          const next = <u32>(v >> top);
          v = ((v << 1) | cf) & m;
          cf = next;
        }
        rotateFlags(cf, cf ^ (<u32>(v >> top)));
      } else {
        while (n--) {
          const next = (<u32>v) & 1;
          v = (v >> 1) | ((<u64>cf) << top);
          cf = next;
        }
        rotateFlags(cf, ((<u32>(v >> top)) ^ (<u32>(v >> (top - 1)))) & 1);
      }
      return v;
    }
    case 5:
      // SHR: count may exceed the width of 8- and 16-bit operands.
      v = count >= bits ? 0 : value >> count;
      cf = count > bits ? 0 : (<u32>(value >> (count - 1))) & 1;
      setLazy(
        cpu,
        signExtend(v, sizeBytes),
        auxCarryOverflow(cf, count > bits ? 0 : (<u32>((value >> (count - 1)) >> top)) & 1),
      );
      return v;
    case 7: {
      const wide = signExtend(value, sizeBytes);
      v = (<u64>(wide >> count)) & m;
      cf = (<u32>(wide >> (count - 1))) & 1;
      setLazy(cpu, signExtend(v, sizeBytes), auxCarryOverflow(cf, 0));
      return v;
    }
    default:
      v = count >= bits ? 0 : (value << count) & m;
      cf = count > bits ? 0 : (<u32>(value >> (bits - count))) & 1;
      setLazy(cpu, signExtend(v, sizeBytes), auxCarryOverflow(cf, cf ^ (<u32>(v >> top))));
      return v;
  }
}

/** Rotates set CF and OF and leave the others. */
function rotateFlags(cf: u32, ov: u32): void {
  store<u32>(cpu, (lazyAux(cpu) & ~AUX_OVERFLOW_BITS) | auxCarryOverflow(cf, ov & 1), R_LAZY_AUX);
}

/** SHLD (right false) or SHRD of `value` with bits from `other`. Counts beyond a 16-bit operand repeat the pair as processors do. */
export function doubleShift(right: bool, value: u64, other: u64, count: u32, sizeBytes: u32): u64 {
  const bits = sizeBytes << 3;
  count &= sizeBytes === 8 ? 63 : 31;
  const m = mask(sizeBytes);
  value &= m;
  other &= m;
  if (!count) return value;
  let v: u64;
  let cf: u32;
  if (sizeBytes === 2 && count > 16) {
    // Undefined by the SDM; processors shift the 48-bit value value:other:value.
    const n = <u64>(count - 16);
    if (right) {
      v = ((other >> n) | (value << (16 - n))) & m;
      cf = (<u32>(other >> (n - 1))) & 1;
    } else {
      v = ((other << n) | (value >> (16 - n))) & m;
      cf = (<u32>(other >> (16 - n))) & 1;
    }
  } else if (right) {
    v = count === bits ? other : ((value >> count) | (other << (bits - count))) & m;
    cf = (<u32>(value >> (count - 1))) & 1;
  } else {
    v = count === bits ? other : ((value << count) | (other >> (bits - count))) & m;
    cf = (<u32>(value >> (bits - count))) & 1;
  }
  const ov = (<u32>((v ^ value) >> (bits - 1))) & 1;
  setLazy(cpu, signExtend(v, sizeBytes), auxCarryOverflow(cf, ov));
  return v;
}

// ---------------------------------------------------------------------------------------------------------------------
// 64 x 64 -> 128, 128 / 64

/** High half of an unsigned product. */
export function mulHighUnsigned(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const low = aLow * bLow;
  const middle1 = aHigh * bLow + (low >> 32);
  const middle2 = aLow * bHigh + (middle1 & 0xffffffff);
  return aHigh * bHigh + (middle1 >> 32) + (middle2 >> 32);
}

/** High half of a signed product. */
export function mulHighSigned(a: i64, b: i64): i64 {
  return <i64>mulHighUnsigned(<u64>a, <u64>b) - (a < 0 ? b : 0) - (b < 0 ? a : 0);
}

/** Remainder of the last divide128. */
export let remainder: u64 = 0;

/** (high:low) / divisor, for high < divisor (the quotient fits); the remainder is left in `remainder`. */
export function divide128(high: u64, low: u64, divisor: u64): u64 {
  if (!high) {
    remainder = low % divisor;
    return low / divisor;
  }
  // Knuth's algorithm D with two 32-bit digits of a normalised divisor.
  const shift = clz<u64>(divisor);
  const d = divisor << shift;
  const dHigh = d >> 32;
  const dLow = d & 0xffffffff;
  let n32 = shift ? (high << shift) | (low >> (64 - shift)) : high;
  const n10 = low << shift;
  const n1 = n10 >> 32;
  const n0 = n10 & 0xffffffff;
  let q1 = n32 / dHigh;
  let r = n32 - q1 * dHigh;
  while (q1 >> 32 || q1 * dLow > ((r << 32) | n1)) {
    q1--;
    r += dHigh;
    if (r >> 32) break;
  }
  n32 = ((n32 << 32) | n1) - q1 * d;
  let q0 = n32 / dHigh;
  r = n32 - q0 * dHigh;
  while (q0 >> 32 || q0 * dLow > ((r << 32) | n0)) {
    q0--;
    r += dHigh;
    if (r >> 32) break;
  }
  remainder = (((n32 << 32) | n0) - q0 * d) >> shift;
  return (q1 << 32) | q0;
}
