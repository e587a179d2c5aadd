/** Vector instructions that put bytes into another order, known when they are translated: shuffles, interleavings, byte shifts, blends. */
import { U_IMM } from '../cpu/uops';
import * as op from '../simd/operations';
import { pushFirst, pushSecond, pushZeroVector } from './vector-operands';
import * as w from './wasm';

/** Bytes 0 to 15 are those of the first operand, the next 16 those of the second. */
const SECOND: u32 = 16;

/** Pushes half 0 or 1 of the result of an operation that isPermutation. */
export function permute(p: u32, id: u32, half: u32): void {
  const imm: u32 = load<u8>(p, U_IMM);
  if (id === op.OP_PSLLDQ || id === op.OP_PSRLDQ) {
    shiftBytes(p, imm, half, id === op.OP_PSLLDQ);
    return;
  }
  if (id === op.OP_PALIGNR) {
    alignRight(p, imm, half);
    return;
  }
  pushFirst(p, half);
  pushSecond(p, half);
  w.vector(w.I8X16_SHUFFLE);
  for (let byte: u32 = 0; byte < 16; byte++) w.byte(sourceOf(id, imm, half, byte));
}

/** Which byte of the two operands comes to a place of the result (SDM vol. 2). */
function sourceOf(id: u32, imm: u32, half: u32, byte: u32): u32 {
  const word = byte >> 1;
  const dword = byte >> 2;
  const quadword = byte >> 3;
  switch (id) {
    case op.OP_PSHUFD:
    case op.OP_VPERMILPS:
      return SECOND + (field(imm, dword) << 2) + (byte & 3);
    case op.OP_PSHUFLW:
      return SECOND + (word < 4 ? (field(imm, word) << 1) + (byte & 1) : byte);
    case op.OP_PSHUFHW:
      return SECOND + (word < 4 ? byte : 8 + (field(imm, word - 4) << 1) + (byte & 1));
    case op.OP_SHUFPS:
      return (dword < 2 ? 0 : SECOND) + (field(imm, dword) << 2) + (byte & 3);
    case op.OP_SHUFPD:
      return (quadword ? SECOND : 0) + (((imm >> ((half << 1) + quadword)) & 1) << 3) + (byte & 7);
    case op.OP_BLENDPS:
    case op.OP_VPBLENDD:
      return blend((imm >> (half << 2)) >> dword, byte);
    case op.OP_BLENDPD:
      return blend((imm >> (half << 1)) >> quadword, byte);
    case op.OP_PBLENDW:
      return blend(imm >> word, byte);
    case op.OP_MOVSLDUP:
      return SECOND + (byte & ~4);
    case op.OP_MOVSHDUP:
      return SECOND + (byte | 4);
    case op.OP_MOVHLPS:
      return quadword ? byte : SECOND + 8 + byte;
    default:
      return interleaved((id - op.OP_PUNPCKLBW) & 3, id >= op.OP_PUNPCKHBW, byte);
  }
}

/** Two bits of a selector. */
function field(selector: u32, n: u32): u32 {
  return (selector >> (n << 1)) & 3;
}

function blend(selected: u32, byte: u32): u32 {
  return selected & 1 ? SECOND + byte : byte;
}

/** Elements of the low or high halves of two vectors by turns. */
function interleaved(log2Bytes: u32, high: bool, byte: u32): u32 {
  const element = byte >> log2Bytes;
  const from = (high ? 8 : 0) + ((element >> 1) << log2Bytes) + (byte & ((1 << log2Bytes) - 1));
  return element & 1 ? SECOND + from : from;
}

function shiftBytes(p: u32, count: u32, half: u32, left: bool): void {
  pushSecond(p, half);
  pushZeroVector();
  w.vector(w.I8X16_SHUFFLE);
  for (let byte: u32 = 0; byte < 16; byte++) {
    const from = left ? byte - count : byte + count;
    w.byte(from < 16 ? from : SECOND);
  }
}

/** 16 bytes from byte `count` of the second operand followed by the first; zeros past the end. */
function alignRight(p: u32, count: u32, half: u32): void {
  if (count > 31) {
    pushZeroVector();
    return;
  }
  if (count > 16) pushZeroVector();
  else pushSecond(p, half);
  pushFirst(p, half);
  w.vector(w.I8X16_SHUFFLE);
  for (let byte: u32 = 0; byte < 16; byte++) {
    const from = byte + count;
    // Beyond the first operand: a zero of the vector in the second one's place.
    w.byte(from < 32 ? from : 0);
  }
}
