/**
 * Lanewise integer operations on one 128-bit lane (SDM Vol. 2: PADDB ... PXOR), and their 64-bit MMX forms.
 * 256-bit forms apply them to each half.
 */
import { aesDecrypt, aesEncrypt } from './aes';
import * as op from './operations';

// @ts-ignore: decorator
@inline
function splat32(value: u32): v128 {
  return i32x4.splat(<i32>value);
}

/** Even- or odd-numbered 16-bit lanes of both operands, as the horizontal operations pair them. */
// @ts-ignore: decorator
@inline
function evenWords(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}
// @ts-ignore: decorator
@inline
function oddWords(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** PMULHW and PMULHUW: the upper halves of the eight 32-bit products. */
// @ts-ignore: decorator
@inline
function upperWords(low: v128, high: v128): v128 {
  return v128.shuffle<u16>(low, high, 1, 3, 5, 7, 9, 11, 13, 15);
}

/** PMULHRSW: differs from Wasm's q15 product in -1 * -1, which wraps instead of saturating. */
function multiplyHighRound(a: v128, b: v128): v128 {
  const minimum = i16x8.splat(-0x8000);
  const both = v128.and(i16x8.eq(a, minimum), i16x8.eq(b, minimum));
  return v128.xor(i16x8.q15mulr_sat_s(a, b), both);
}

/** PMADDUBSW: unsigned bytes of a times signed bytes of b, neighbours added with saturation. */
function multiplyAddBytes(a: v128, b: v128): v128 {
  const even = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
  return i16x8.add_sat_s(even, odd);
}

/** PSADBW: sums of eight absolute differences. */
function sumAbsoluteDifferences(a: v128, b: v128): v128 {
  const difference = i8x16.sub(i8x16.max_u(a, b), i8x16.min_u(a, b));
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(difference));
  return i64x2.add(v128.and(sums, i64x2.splat(0xffffffff)), i64x2.shr_u(sums, 32));
}

/** Low 32 bits of each 64-bit lane. */
// @ts-ignore: decorator
@inline
function evenDwords(a: v128): v128 {
  return v128.shuffle<u32>(a, a, 0, 2, 0, 2);
}

/** PSIGNx: b's sign applied to a. */
// @ts-ignore: decorator
@inline
function applySign(a: v128, negated: v128, isNegative: v128, isZero: v128): v128 {
  return v128.andnot(v128.bitselect(negated, a, isNegative), isZero);
}

/** VPERMILPS with a register of indices: swizzle bytes 4 * index + 0..3. */
function permuteSingles(a: v128, control: v128): v128 {
  const first = i32x4.shl(v128.and(control, splat32(3)), 2);
  const indices = i32x4.add(i32x4.mul(first, splat32(0x01010101)), splat32(0x03020100));
  return i8x16.swizzle(a, indices);
}

/** VPERMILPD with a register of indices: bit 1 of each quadword. */
function permuteDoubles(a: v128, control: v128): v128 {
  const upper = i64x2.shr_s(i64x2.shl(control, 62), 63);
  return v128.bitselect(v128.shuffle<u64>(a, a, 1, 1), v128.shuffle<u64>(a, a, 0, 0), upper);
}

/** VPSRLVD, VPSRAVD, VPSLLVD: a count of 32 or more gives zero, or for the arithmetic shift the sign. */
function shiftDwordsVariable(operation: u32, a: v128, counts: v128): v128 {
  let result = i32x4.splat(0);
  result = i32x4.replace_lane(
    result,
    0,
    shiftDword(operation, i32x4.extract_lane(a, 0), i32x4.extract_lane(counts, 0)),
  );
  result = i32x4.replace_lane(
    result,
    1,
    shiftDword(operation, i32x4.extract_lane(a, 1), i32x4.extract_lane(counts, 1)),
  );
  result = i32x4.replace_lane(
    result,
    2,
    shiftDword(operation, i32x4.extract_lane(a, 2), i32x4.extract_lane(counts, 2)),
  );
  result = i32x4.replace_lane(
    result,
    3,
    shiftDword(operation, i32x4.extract_lane(a, 3), i32x4.extract_lane(counts, 3)),
  );
  return result;
}

function shiftDword(operation: u32, value: i32, count: u32): i32 {
  if (operation === op.OP_VPSRAVD) return value >> (<i32>(count < 31 ? count : 31));
  if (count > 31) return 0;
  return operation === op.OP_VPSRLVD ? <i32>((<u32>value) >> count) : value << (<i32>count);
}

function shiftQwordsVariable(operation: u32, a: v128, counts: v128): v128 {
  const low = shiftQword(operation, i64x2.extract_lane(a, 0), i64x2.extract_lane(counts, 0));
  const high = shiftQword(operation, i64x2.extract_lane(a, 1), i64x2.extract_lane(counts, 1));
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

function shiftQword(operation: u32, value: u64, count: u64): u64 {
  if (count > 63) return 0;
  return operation === op.OP_VPSRLVQ ? value >> count : value << count;
}

/** One lane of a two-source integer operation. */
export function integerBinary(operation: u32, a: v128, b: v128): v128 {
  switch (operation) {
    case op.OP_PAND:
      return v128.and(a, b);
    case op.OP_PANDN:
      return v128.andnot(b, a);
    case op.OP_POR:
      return v128.or(a, b);
    case op.OP_PXOR:
      return v128.xor(a, b);
    case op.OP_PADDB:
      return i8x16.add(a, b);
    case op.OP_PADDW:
      return i16x8.add(a, b);
    case op.OP_PADDD:
      return i32x4.add(a, b);
    case op.OP_PADDQ:
      return i64x2.add(a, b);
    case op.OP_PSUBB:
      return i8x16.sub(a, b);
    case op.OP_PSUBW:
      return i16x8.sub(a, b);
    case op.OP_PSUBD:
      return i32x4.sub(a, b);
    case op.OP_PSUBQ:
      return i64x2.sub(a, b);
    case op.OP_PADDSB:
      return i8x16.add_sat_s(a, b);
    case op.OP_PADDSW:
      return i16x8.add_sat_s(a, b);
    case op.OP_PADDUSB:
      return i8x16.add_sat_u(a, b);
    case op.OP_PADDUSW:
      return i16x8.add_sat_u(a, b);
    case op.OP_PSUBSB:
      return i8x16.sub_sat_s(a, b);
    case op.OP_PSUBSW:
      return i16x8.sub_sat_s(a, b);
    case op.OP_PSUBUSB:
      return i8x16.sub_sat_u(a, b);
    case op.OP_PSUBUSW:
      return i16x8.sub_sat_u(a, b);
    case op.OP_PMULLW:
      return i16x8.mul(a, b);
    case op.OP_PMULHW:
      return upperWords(i32x4.extmul_low_i16x8_s(a, b), i32x4.extmul_high_i16x8_s(a, b));
    case op.OP_PMULHUW:
      return upperWords(i32x4.extmul_low_i16x8_u(a, b), i32x4.extmul_high_i16x8_u(a, b));
    case op.OP_PMULHRSW:
      return multiplyHighRound(a, b);
    case op.OP_PMULLD:
      return i32x4.mul(a, b);
    case op.OP_PMULUDQ:
      return i64x2.extmul_low_i32x4_u(evenDwords(a), evenDwords(b));
    case op.OP_PMULDQ:
      return i64x2.extmul_low_i32x4_s(evenDwords(a), evenDwords(b));
    case op.OP_PMADDWD:
      return i32x4.dot_i16x8_s(a, b);
    case op.OP_PMADDUBSW:
      return multiplyAddBytes(a, b);
    case op.OP_PSADBW:
      return sumAbsoluteDifferences(a, b);
    case op.OP_PAVGB:
      return i8x16.avgr_u(a, b);
    case op.OP_PAVGW:
      return i16x8.avgr_u(a, b);
    case op.OP_PMINUB:
      return i8x16.min_u(a, b);
    case op.OP_PMINSW:
      return i16x8.min_s(a, b);
    case op.OP_PMAXUB:
      return i8x16.max_u(a, b);
    case op.OP_PMAXSW:
      return i16x8.max_s(a, b);
    case op.OP_PMINSB:
      return i8x16.min_s(a, b);
    case op.OP_PMINUW:
      return i16x8.min_u(a, b);
    case op.OP_PMINSD:
      return i32x4.min_s(a, b);
    case op.OP_PMINUD:
      return i32x4.min_u(a, b);
    case op.OP_PMAXSB:
      return i8x16.max_s(a, b);
    case op.OP_PMAXUW:
      return i16x8.max_u(a, b);
    case op.OP_PMAXSD:
      return i32x4.max_s(a, b);
    case op.OP_PMAXUD:
      return i32x4.max_u(a, b);
    case op.OP_PCMPEQB:
      return i8x16.eq(a, b);
    case op.OP_PCMPEQW:
      return i16x8.eq(a, b);
    case op.OP_PCMPEQD:
      return i32x4.eq(a, b);
    case op.OP_PCMPEQQ:
      return i64x2.eq(a, b);
    case op.OP_PCMPGTB:
      return i8x16.gt_s(a, b);
    case op.OP_PCMPGTW:
      return i16x8.gt_s(a, b);
    case op.OP_PCMPGTD:
      return i32x4.gt_s(a, b);
    case op.OP_PCMPGTQ:
      return i64x2.gt_s(a, b);
    case op.OP_PUNPCKLBW:
      return v128.shuffle<u8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    case op.OP_PUNPCKLWD:
      return v128.shuffle<u16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    case op.OP_PUNPCKLDQ:
      return v128.shuffle<u32>(a, b, 0, 4, 1, 5);
    case op.OP_PUNPCKLQDQ:
      return v128.shuffle<u64>(a, b, 0, 2);
    case op.OP_PUNPCKHBW:
      return v128.shuffle<u8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    case op.OP_PUNPCKHWD:
      return v128.shuffle<u16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    case op.OP_PUNPCKHDQ:
      return v128.shuffle<u32>(a, b, 2, 6, 3, 7);
    case op.OP_PUNPCKHQDQ:
      return v128.shuffle<u64>(a, b, 1, 3);
    case op.OP_PACKSSWB:
      return i8x16.narrow_i16x8_s(a, b);
    case op.OP_PACKSSDW:
      return i16x8.narrow_i32x4_s(a, b);
    case op.OP_PACKUSWB:
      return i8x16.narrow_i16x8_u(a, b);
    case op.OP_PACKUSDW:
      return i16x8.narrow_i32x4_u(a, b);
    case op.OP_PSHUFB:
      return i8x16.swizzle(a, v128.and(b, i8x16.splat(-0x71)));
    case op.OP_PHADDW:
      return i16x8.add(evenWords(a, b), oddWords(a, b));
    case op.OP_PHADDD:
      return i32x4.add(v128.shuffle<u32>(a, b, 0, 2, 4, 6), v128.shuffle<u32>(a, b, 1, 3, 5, 7));
    case op.OP_PHADDSW:
      return i16x8.add_sat_s(evenWords(a, b), oddWords(a, b));
    case op.OP_PHSUBW:
      return i16x8.sub(evenWords(a, b), oddWords(a, b));
    case op.OP_PHSUBD:
      return i32x4.sub(v128.shuffle<u32>(a, b, 0, 2, 4, 6), v128.shuffle<u32>(a, b, 1, 3, 5, 7));
    case op.OP_PHSUBSW:
      return i16x8.sub_sat_s(evenWords(a, b), oddWords(a, b));
    case op.OP_PSIGNB:
      return applySign(a, i8x16.neg(a), i8x16.shr_s(b, 7), i8x16.eq(b, i32x4.splat(0)));
    case op.OP_PSIGNW:
      return applySign(a, i16x8.neg(a), i16x8.shr_s(b, 15), i16x8.eq(b, i32x4.splat(0)));
    case op.OP_PSIGND:
      return applySign(a, i32x4.neg(a), i32x4.shr_s(b, 31), i32x4.eq(b, i32x4.splat(0)));
    case op.OP_VPERMILPS_V:
      return permuteSingles(a, b);
    case op.OP_VPERMILPD_V:
      return permuteDoubles(a, b);
    case op.OP_VPSRLVD:
    case op.OP_VPSRAVD:
    case op.OP_VPSLLVD:
      return shiftDwordsVariable(operation, a, b);
    case op.OP_VPSRLVQ:
    case op.OP_VPSLLVQ:
      return shiftQwordsVariable(operation, a, b);
    case op.OP_MOVHLPS:
      return v128.shuffle<u64>(b, a, 1, 3);
    case op.OP_AESENC:
      return aesEncrypt(a, b, false);
    case op.OP_AESENCLAST:
      return aesEncrypt(a, b, true);
    case op.OP_AESDEC:
      return aesDecrypt(a, b, false);
    case op.OP_AESDECLAST:
      return aesDecrypt(a, b, true);
    default:
      return a;
  }
}

/**
 * The MMX form: operands and result in the low 64 bits. Operations that pair lanes of both operands see them side by side
 * in one vector instead.
 */
export function integerBinaryMmx(operation: u32, a: v128, b: v128): v128 {
  switch (operation) {
    case op.OP_PUNPCKHBW:
    case op.OP_PUNPCKHWD:
    case op.OP_PUNPCKHDQ: {
      // The upper halves' interleaving is the upper half of the lower halves' interleaving.
      const interleaved = integerBinary(operation - op.OP_PUNPCKHBW + op.OP_PUNPCKLBW, a, b);
      return v128.shuffle<u64>(interleaved, interleaved, 1, 1);
    }
    case op.OP_PACKSSWB:
    case op.OP_PACKSSDW:
    case op.OP_PACKUSWB:
    case op.OP_PHADDW:
    case op.OP_PHADDD:
    case op.OP_PHADDSW:
    case op.OP_PHSUBW:
    case op.OP_PHSUBD:
    case op.OP_PHSUBSW: {
      const joined = v128.shuffle<u64>(a, b, 0, 2);
      return integerBinary(operation, joined, joined);
    }
    case op.OP_PSHUFB:
      return i8x16.swizzle(a, v128.and(b, i8x16.splat(-0x79)));
    default:
      return integerBinary(operation, a, b);
  }
}

/** Shifts of all elements by one count, 0 to 2^64 - 1; counts at or past the element's width clear it or leave its sign. */
export function shiftElements(operation: u32, a: v128, count: u64): v128 {
  const count16 = <i32>(count < 16 ? count : 15);
  const count32 = <i32>(count < 32 ? count : 31);
  switch (operation) {
    case op.OP_PSLLW:
      return count < 16 ? i16x8.shl(a, count16) : i32x4.splat(0);
    case op.OP_PSLLD:
      return count < 32 ? i32x4.shl(a, count32) : i32x4.splat(0);
    case op.OP_PSLLQ:
      return count < 64 ? i64x2.shl(a, <i32>count) : i32x4.splat(0);
    case op.OP_PSRLW:
      return count < 16 ? i16x8.shr_u(a, count16) : i32x4.splat(0);
    case op.OP_PSRLD:
      return count < 32 ? i32x4.shr_u(a, count32) : i32x4.splat(0);
    case op.OP_PSRLQ:
      return count < 64 ? i64x2.shr_u(a, <i32>count) : i32x4.splat(0);
    case op.OP_PSRAW:
      return i16x8.shr_s(a, count16);
    case op.OP_PSRAD:
      return i32x4.shr_s(a, count32);
    default:
      return a;
  }
}

// @ts-ignore: decorator
@lazy
const BYTE_NUMBERS: usize = memory.data<u8>([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/** PSLLDQ and PSRLDQ: a swizzle whose indices past either end select zero. */
export function shiftBytes(operation: u32, a: v128, count: u32): v128 {
  if (count > 15) return i32x4.splat(0);
  const numbers = v128.load(BYTE_NUMBERS);
  const amount = i8x16.splat(<i8>count);
  // Subtraction wraps to 240 and up, addition reaches 30 at most: both lie outside the vector.
  return i8x16.swizzle(a, operation === op.OP_PSLLDQ ? i8x16.sub(numbers, amount) : i8x16.add(numbers, amount));
}
