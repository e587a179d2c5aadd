/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM Vol. 2 section 4.1). Masks have one bit per element, element 0 in bit 0. */
import { setArithmeticFlags } from '../cpu/flags';
import { R_GPR, R_YMM } from '../layout';
import * as op from './operations';

const RAX = R_GPR;
const RCX = R_GPR + 8;
const RDX = R_GPR + 16;

const FLAG_CF: u32 = 0x001;
const FLAG_ZF: u32 = 0x040;
const FLAG_SF: u32 = 0x080;
const FLAG_OF: u32 = 0x800;

/** Source data format: imm8[1:0]. */
const FORMAT_WORDS: u32 = 1;
const FORMAT_SIGNED: u32 = 2;

/** Elements of an explicit length: |register|, at most all. */
function explicitLength(cpu: u32, register: u32, wide: bool, elements: u32): u32 {
  const value = wide ? load<i64>(cpu + register) : <i64>load<i32>(cpu + register);
  // The magnitude of the most negative number is correct when read as unsigned.
  const magnitude = <u64>(value < 0 ? -value : value);
  return magnitude < <u64>elements ? <u32>magnitude : elements;
}

/** Elements before the first zero. */
function implicitLength(a: v128, words: bool, elements: u32): u32 {
  const zeros = words
    ? <u32>i16x8.bitmask(i16x8.eq(a, i32x4.splat(0)))
    : <u32>i8x16.bitmask(i8x16.eq(a, i32x4.splat(0)));
  return zeros ? <u32>ctz<u32>(zeros) : elements;
}

/** Element `index` of a register at `address`, in all elements. */
// @ts-ignore: decorator
@inline
function splatElement(address: u32, index: u32, words: bool): v128 {
  return words ? i16x8.splat(load<i16>(address + (index << 1))) : i8x16.splat(load<i8>(address + index));
}

// @ts-ignore: decorator
@inline
function equalMask(a: v128, b: v128, words: bool): u32 {
  return words ? <u32>i16x8.bitmask(i16x8.eq(a, b)) : <u32>i8x16.bitmask(i8x16.eq(a, b));
}

/** Elements of `b` that lie in [low, high]. */
function rangeMask(low: v128, high: v128, b: v128, format: u32): u32 {
  switch (format & 3) {
    case 0:
      return <u32>i8x16.bitmask(v128.and(i8x16.ge_u(b, low), i8x16.le_u(b, high)));
    case FORMAT_WORDS:
      return <u32>i16x8.bitmask(v128.and(i16x8.ge_u(b, low), i16x8.le_u(b, high)));
    case FORMAT_SIGNED:
      return <u32>i8x16.bitmask(v128.and(i8x16.ge_s(b, low), i8x16.le_s(b, high)));
    default:
      return <u32>i16x8.bitmask(v128.and(i16x8.ge_s(b, low), i16x8.le_s(b, high)));
  }
}

/** IntRes1: the aggregation that imm8[3:2] selects. */
function aggregate(firstAt: u32, lengthA: u32, b: v128, lengthB: u32, elements: u32, control: u32): u32 {
  const words: bool = (control & FORMAT_WORDS) !== 0;
  const all = ((<u32>1) << elements) - 1;
  const validA = (((<u32>1) << lengthA) - 1) & all;
  const validB = (((<u32>1) << lengthB) - 1) & all;
  let result: u32 = 0;
  switch ((control >> 2) & 3) {
    case 0: // equal any
      for (let j: u32 = 0; j < lengthA; ++j) result |= equalMask(splatElement(firstAt, j, words), b, words);
      return result & validB;
    case 1: // ranges: a lower bound without its upper bound matches nothing
      for (let j: u32 = 0; j + 1 < lengthA; j += 2) {
        const low = splatElement(firstAt, j, words);
        result |= rangeMask(low, splatElement(firstAt, j + 1, words), b, control);
      }
      return result & validB;
    case 2: // equal each: two invalid elements are equal
      result = equalMask(v128.load(firstAt), b, words) & validA & validB;
      return result | (~validA & ~validB & all);
    default: // equal ordered: comparisons past the register's end are not made
      result = all;
      for (let j: u32 = 0; j < lengthA; ++j) {
        const matches = equalMask(splatElement(firstAt, j, words), b, words) & validB;
        result &= (matches >> j) | (all & ~(all >> j));
      }
      return result;
  }
}

/** Executes one of the four; `firstAt` and `secondAt` are the addresses of the operands. `wide` is REX.W or VEX.W. */
export function compareStrings(cpu: u32, operation: u32, firstAt: u32, secondAt: u32, control: u32, wide: bool): void {
  const words: bool = (control & FORMAT_WORDS) !== 0;
  const elements: u32 = words ? 8 : 16;
  const all = ((<u32>1) << elements) - 1;
  const b = v128.load(secondAt);
  const isExplicit = operation === op.OP_PCMPESTRI || operation === op.OP_PCMPESTRM;
  const lengthA = isExplicit
    ? explicitLength(cpu, RAX, wide, elements)
    : implicitLength(v128.load(firstAt), words, elements);
  const lengthB = isExplicit ? explicitLength(cpu, RDX, wide, elements) : implicitLength(b, words, elements);
  let result = aggregate(firstAt, lengthA, b, lengthB, elements, control);
  // Polarity: imm8[5] masks the negation that imm8[4] asks for to the valid elements of the second operand.
  if (control & 0x10) result ^= control & 0x20 ? (((<u32>1) << lengthB) - 1) & all : all;

  if (operation === op.OP_PCMPESTRI || operation === op.OP_PCMPISTRI) {
    const index = !result ? elements : control & 0x40 ? 31 - <u32>clz<u32>(result) : <u32>ctz<u32>(result);
    store<u64>(cpu, index, RCX);
  } else {
    store<u64>(cpu, 0, R_YMM);
    store<u64>(cpu, 0, R_YMM + 8);
    if (!(control & 0x40)) store<u32>(cpu, result, R_YMM);
    else if (words) for (let i: u32 = 0; i < 8; ++i) store<u16>(cpu + (i << 1), 0 - ((result >> i) & 1), R_YMM);
    else for (let i: u32 = 0; i < 16; ++i) store<u8>(cpu + i, 0 - ((result >> i) & 1), R_YMM);
  }
  let flags: u32 = result ? FLAG_CF : 0;
  if (lengthB < elements) flags |= FLAG_ZF;
  if (lengthA < elements) flags |= FLAG_SF;
  if (result & 1) flags |= FLAG_OF;
  setArithmeticFlags(cpu, flags);
}
