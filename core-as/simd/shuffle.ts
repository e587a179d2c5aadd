/** Shuffles, blends, widening and broadcasts (SDM Vol. 2). Operands are addresses, so that an immediate can pick elements by load. */
import { aesInverseMixColumns, aesKeyGenAssist } from './aes';
import { carrylessMultiply } from './carryless';
import * as op from './operations';

/** Dword `(selector >> shift) & 3` of a lane. */
// @ts-ignore: decorator
@inline
function pickDword(address: u32, selector: u32, shift: u32): u32 {
  return address + (((selector >> shift) & 3) << 2);
}

/** Dwords picked by four 2-bit fields, two from each operand. */
function shuffleDwords(low: u32, high: u32, selector: u32): v128 {
  let r = v128.load32_zero(pickDword(low, selector, 0));
  r = v128.load_lane<u32>(pickDword(low, selector, 2), r, 1);
  r = v128.load_lane<u32>(pickDword(high, selector, 4), r, 2);
  return v128.load_lane<u32>(pickDword(high, selector, 6), r, 3);
}

/** Four words picked by 2-bit fields, as a quadword. */
export function shuffleWords(address: u32, selector: u32): u64 {
  return (
    load<u16>(address + ((selector & 3) << 1)) |
    ((<u64>load<u16>(address + (((selector >> 2) & 3) << 1))) << 16) |
    ((<u64>load<u16>(address + (((selector >> 4) & 3) << 1))) << 32) |
    ((<u64>load<u16>(address + (((selector >> 6) & 3) << 1))) << 48)
  );
}

// @ts-ignore: decorator
@inline
function quadwords(low: u64, high: u64): v128 {
  return i64x2.replace_lane(i64x2.splat(<i64>low), 1, <i64>high);
}

/** Bits 0-3 as dword masks. */
// @ts-ignore: decorator
@inline
function dwordMask(bits: u32): v128 {
  const selected = v128.and(i32x4.splat(<i32>bits), i32x4(1, 2, 4, 8));
  return i32x4.ne(selected, i32x4.splat(0));
}

/** Bits 0-7 as word masks. */
// @ts-ignore: decorator
@inline
function wordMask(bits: u32): v128 {
  const selected = v128.and(i16x8.splat(<i16>bits), i16x8(1, 2, 4, 8, 16, 32, 64, 128));
  return i16x8.ne(selected, i16x8.splat(0));
}

/** Bits 0-1 as quadword masks. */
// @ts-ignore: decorator
@inline
function quadwordMask(bits: u32): v128 {
  const selected = v128.and(i64x2.splat(<i64>bits), i64x2(1, 2));
  return i64x2.ne(selected, i64x2.splat(0));
}

// @ts-ignore: decorator
@lazy
const BYTE_NUMBERS: usize = memory.data<u8>([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/** PALIGNR: 16 bytes from byte `count` of b followed by a; zeros past the end. */
function alignRight(a: v128, b: v128, count: u32): v128 {
  if (count > 31) return i32x4.splat(0);
  const from = i8x16.add(v128.load(BYTE_NUMBERS), i8x16.splat(<i8>count));
  // Indices 16 and up select zero; 0-15 of a are 16-31 of the pair, and what lies before wraps to 240 and up.
  return v128.or(i8x16.swizzle(b, from), i8x16.swizzle(a, i8x16.sub(from, i8x16.splat(16))));
}

/** MPSADBW: eight sums of four absolute differences; bits 1:0 place b's block, bit 2 a's. */
function multipleSums(a: u32, b: u32, control: u32): v128 {
  const aBlock = a + (control & 4);
  const bBlock = b + ((control & 3) << 2);
  let sums = i32x4.splat(0);
  for (let i: u32 = 0; i < 4; ++i) {
    const bytes = v128.load64_zero(aBlock + i);
    const against = i8x16.splat(load<i8>(bBlock + i));
    const difference = i8x16.sub(i8x16.max_u(bytes, against), i8x16.min_u(bytes, against));
    sums = i16x8.add(sums, i16x8.extend_low_i8x16_u(difference));
  }
  return sums;
}

/**
 * One 128-bit lane of an operation with an immediate or a mask. `lane` is 0 or 1: immediates with a bit or a field per element
 * go on in the upper lane. `mask` is the address of the blend mask's lane.
 */
export function shuffleLane(operation: u32, a: u32, b: u32, imm: u32, lane: u32, mask: u32): v128 {
  switch (operation) {
    case op.OP_PSHUFD:
    case op.OP_VPERMILPS:
      return shuffleDwords(b, b, imm);
    case op.OP_PSHUFLW:
      return quadwords(shuffleWords(b, imm), load<u64>(b, 8));
    case op.OP_PSHUFHW:
      return quadwords(load<u64>(b), shuffleWords(b + 8, imm));
    case op.OP_VPERMILPD: {
      const bits = imm >> (lane << 1);
      return quadwords(load<u64>(b + ((bits & 1) << 3)), load<u64>(b + ((bits & 2) << 2)));
    }
    case op.OP_SHUFPS:
      return shuffleDwords(a, b, imm);
    case op.OP_SHUFPD: {
      const bits = imm >> (lane << 1);
      return quadwords(load<u64>(a + ((bits & 1) << 3)), load<u64>(b + ((bits & 2) << 2)));
    }
    case op.OP_PALIGNR:
      return alignRight(v128.load(a), v128.load(b), imm);
    case op.OP_BLENDPS:
    case op.OP_VPBLENDD:
      return v128.bitselect(v128.load(b), v128.load(a), dwordMask(imm >> (lane << 2)));
    case op.OP_BLENDPD:
      return v128.bitselect(v128.load(b), v128.load(a), quadwordMask(imm >> (lane << 1)));
    case op.OP_PBLENDW:
      return v128.bitselect(v128.load(b), v128.load(a), wordMask(imm));
    case op.OP_MPSADBW:
      return multipleSums(a, b, imm >> (lane * 3));
    case op.OP_PCLMULQDQ:
      return carrylessMultiply(v128.load(a), v128.load(b), imm);
    case op.OP_AESKEYGENASSIST:
      return aesKeyGenAssist(v128.load(b), imm);
    case op.OP_PBLENDVB:
      return v128.bitselect(v128.load(b), v128.load(a), i8x16.shr_s(v128.load(mask), 7));
    case op.OP_BLENDVPS:
      return v128.bitselect(v128.load(b), v128.load(a), i32x4.shr_s(v128.load(mask), 31));
    default: // BLENDVPD
      return v128.bitselect(v128.load(b), v128.load(a), i64x2.shr_s(v128.load(mask), 63));
  }
}

/** PHMINPOSUW: the least word and its position. */
function minimumWord(address: u32): v128 {
  let least: u32 = 0xffff;
  let position: u32 = 0;
  for (let i: u32 = 0; i < 8; ++i) {
    const word = <u32>load<u16>(address + (i << 1));
    if (word < least) {
      least = word;
      position = i;
    }
  }
  return quadwords(least | (position << 16), 0);
}

/** One lane of a one-source operation that reads the same lane of its source. */
export function unaryLane(operation: u32, source: u32): v128 {
  switch (operation) {
    case op.OP_PABSB:
      return i8x16.abs(v128.load(source));
    case op.OP_PABSW:
      return i16x8.abs(v128.load(source));
    case op.OP_PABSD:
      return i32x4.abs(v128.load(source));
    case op.OP_MOVSLDUP: {
      const a = v128.load(source);
      return v128.shuffle<u32>(a, a, 0, 0, 2, 2);
    }
    case op.OP_MOVSHDUP: {
      const a = v128.load(source);
      return v128.shuffle<u32>(a, a, 1, 1, 3, 3);
    }
    case op.OP_MOVDDUP:
      return v128.load64_splat(source);
    case op.OP_PHMINPOSUW:
      return minimumWord(source);
    case op.OP_AESIMC:
      return aesInverseMixColumns(v128.load(source));
    default:
      return v128.load(source);
  }
}

/** Bytes of the source that one lane of a widening move reads: exactly so many are accessed. */
export function widenSourceBytes(operation: u32): u32 {
  switch (operation) {
    case op.OP_PMOVSXBD:
    case op.OP_PMOVZXBD:
    case op.OP_PMOVSXWQ:
    case op.OP_PMOVZXWQ:
      return 4;
    case op.OP_PMOVSXBQ:
    case op.OP_PMOVZXBQ:
      return 2;
    default:
      return 8;
  }
}

/** One lane of PMOVSXxx, PMOVZXxx. */
export function widenLane(operation: u32, source: u32): v128 {
  switch (operation) {
    case op.OP_PMOVSXBW:
      return i16x8.extend_low_i8x16_s(v128.load64_zero(source));
    case op.OP_PMOVSXBD:
      return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(source)));
    case op.OP_PMOVSXBQ:
      return quadwords(<u64>(<i64>load<i8>(source)), <u64>(<i64>load<i8>(source, 1)));
    case op.OP_PMOVSXWD:
      return i32x4.extend_low_i16x8_s(v128.load64_zero(source));
    case op.OP_PMOVSXWQ:
      return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(v128.load32_zero(source)));
    case op.OP_PMOVSXDQ:
      return i64x2.extend_low_i32x4_s(v128.load64_zero(source));
    case op.OP_PMOVZXBW:
      return i16x8.extend_low_i8x16_u(v128.load64_zero(source));
    case op.OP_PMOVZXBD:
      return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(source)));
    case op.OP_PMOVZXBQ:
      return quadwords(load<u8>(source), load<u8>(source, 1));
    case op.OP_PMOVZXWD:
      return i32x4.extend_low_i16x8_u(v128.load64_zero(source));
    case op.OP_PMOVZXWQ:
      return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(v128.load32_zero(source)));
    default: // PMOVZXDQ
      return i64x2.extend_low_i32x4_u(v128.load64_zero(source));
  }
}

/** VPBROADCASTx, VBROADCASTF128: the value of every lane. */
export function broadcast(operation: u32, source: u32): v128 {
  switch (operation) {
    case op.OP_VPBROADCASTB:
      return v128.load8_splat(source);
    case op.OP_VPBROADCASTW:
      return v128.load16_splat(source);
    case op.OP_VPBROADCASTD:
      return v128.load32_splat(source);
    case op.OP_VPBROADCASTQ:
      return v128.load64_splat(source);
    default: // VBROADCASTF128
      return v128.load(source);
  }
}
