/** Which SSE and AVX instructions are translated in line (jit/vector.ts), and what they read and write. */
import { simdFeatureOff } from '../cpu/features';
import {
  UOP_SIMD_ALIGNED,
  UOP_SIMD_MMX,
  UOP_SIMD_NO_STATE,
  UOP_SIMD_NO_XMM,
  UOP_SIMD_VEX,
  simdBytes,
  simdFeature,
  simdFlags,
} from '../cpu/simd-uop';
import { RCX } from '../cpu/state';
import { K, REG_ZERO, UOP_SIZE, U_D, U_IMM, U_KIND, U_OFF, U_S, U_SEG, U_SUB } from '../cpu/uops';
import * as op from '../simd/operations';
import { EXECUTE_VEX_L } from '../simd/status';
import { isPlain } from './address-width';
import * as w from './wasm';

/** No instruction of WebAssembly does the same (its 0 is a load). */
const NO_OPCODE: u32 = 0;

/** Operations up to OP_PACKUSDW, in the order of their ids, and WebAssembly's that does the same to 128 bits (core specification 5.4.8). */
// prettier-ignore
const BINARY = memory.data<u32>([
  op.OP_PAND, w.V128_AND,
  op.OP_PANDN, NO_OPCODE,
  op.OP_POR, w.V128_OR,
  op.OP_PXOR, w.V128_XOR,
  op.OP_PADDB, w.I8X16_ADD,
  op.OP_PADDW, w.I16X8_ADD,
  op.OP_PADDD, w.I32X4_ADD,
  op.OP_PADDQ, w.I64X2_ADD,
  op.OP_PSUBB, w.I8X16_SUB,
  op.OP_PSUBW, w.I16X8_SUB,
  op.OP_PSUBD, w.I32X4_SUB,
  op.OP_PSUBQ, w.I64X2_SUB,
  op.OP_PADDSB, w.I8X16_ADD_SAT_S,
  op.OP_PADDSW, w.I16X8_ADD_SAT_S,
  op.OP_PADDUSB, w.I8X16_ADD_SAT_U,
  op.OP_PADDUSW, w.I16X8_ADD_SAT_U,
  op.OP_PSUBSB, w.I8X16_SUB_SAT_S,
  op.OP_PSUBSW, w.I16X8_SUB_SAT_S,
  op.OP_PSUBUSB, w.I8X16_SUB_SAT_U,
  op.OP_PSUBUSW, w.I16X8_SUB_SAT_U,
  op.OP_PMULLW, w.I16X8_MUL,
  op.OP_PMULHW, NO_OPCODE,
  op.OP_PMULHUW, NO_OPCODE,
  op.OP_PMULHRSW, NO_OPCODE,
  op.OP_PMULLD, w.I32X4_MUL,
  op.OP_PMULUDQ, NO_OPCODE,
  op.OP_PMULDQ, NO_OPCODE,
  op.OP_PMADDWD, w.I32X4_DOT_I16X8_S,
  op.OP_PMADDUBSW, NO_OPCODE,
  op.OP_PSADBW, NO_OPCODE,
  op.OP_PAVGB, w.I8X16_AVGR_U,
  op.OP_PAVGW, w.I16X8_AVGR_U,
  op.OP_PMINUB, w.I8X16_MIN_U,
  op.OP_PMINSW, w.I16X8_MIN_S,
  op.OP_PMAXUB, w.I8X16_MAX_U,
  op.OP_PMAXSW, w.I16X8_MAX_S,
  op.OP_PMINSB, w.I8X16_MIN_S,
  op.OP_PMINUW, w.I16X8_MIN_U,
  op.OP_PMINSD, w.I32X4_MIN_S,
  op.OP_PMINUD, w.I32X4_MIN_U,
  op.OP_PMAXSB, w.I8X16_MAX_S,
  op.OP_PMAXUW, w.I16X8_MAX_U,
  op.OP_PMAXSD, w.I32X4_MAX_S,
  op.OP_PMAXUD, w.I32X4_MAX_U,
  op.OP_PCMPEQB, w.I8X16_EQ,
  op.OP_PCMPEQW, w.I16X8_EQ,
  op.OP_PCMPEQD, w.I32X4_EQ,
  op.OP_PCMPEQQ, w.I64X2_EQ,
  op.OP_PCMPGTB, w.I8X16_GT_S,
  op.OP_PCMPGTW, w.I16X8_GT_S,
  op.OP_PCMPGTD, w.I32X4_GT_S,
  op.OP_PCMPGTQ, w.I64X2_GT_S,
  op.OP_PUNPCKLBW, NO_OPCODE,
  op.OP_PUNPCKLWD, NO_OPCODE,
  op.OP_PUNPCKLDQ, NO_OPCODE,
  op.OP_PUNPCKLQDQ, NO_OPCODE,
  op.OP_PUNPCKHBW, NO_OPCODE,
  op.OP_PUNPCKHWD, NO_OPCODE,
  op.OP_PUNPCKHDQ, NO_OPCODE,
  op.OP_PUNPCKHQDQ, NO_OPCODE,
  op.OP_PACKSSWB, w.I8X16_NARROW_I16X8_S,
  op.OP_PACKSSDW, w.I16X8_NARROW_I32X4_S,
  op.OP_PACKUSWB, w.I8X16_NARROW_I16X8_U,
  op.OP_PACKUSDW, w.I16X8_NARROW_I32X4_U,
]);

/** Shifts by an immediate, in the order of their ids, and WebAssembly's. */
// prettier-ignore
const SHIFT = memory.data<u32>([
  op.OP_PSLLW_I, w.I16X8_SHL,
  op.OP_PSLLD_I, w.I32X4_SHL,
  op.OP_PSLLQ_I, w.I64X2_SHL,
  op.OP_PSRLW_I, w.I16X8_SHR_U,
  op.OP_PSRLD_I, w.I32X4_SHR_U,
  op.OP_PSRLQ_I, w.I64X2_SHR_U,
  op.OP_PSRAW_I, w.I16X8_SHR_S,
  op.OP_PSRAD_I, w.I32X4_SHR_S,
]);

/** Widening moves: bytes of a lane's source, and WebAssembly's opcodes one after the other. Two of a byte to eight are not among them. */
// prettier-ignore
const WIDENING: u32 = <u32>memory.data<u32>([
  op.OP_PMOVSXBW, 8, w.I16X8_EXTEND_LOW_I8X16_S, NO_OPCODE,
  op.OP_PMOVZXBW, 8, w.I16X8_EXTEND_LOW_I8X16_U, NO_OPCODE,
  op.OP_PMOVSXWD, 8, w.I32X4_EXTEND_LOW_I16X8_S, NO_OPCODE,
  op.OP_PMOVZXWD, 8, w.I32X4_EXTEND_LOW_I16X8_U, NO_OPCODE,
  op.OP_PMOVSXDQ, 8, w.I64X2_EXTEND_LOW_I32X4_S, NO_OPCODE,
  op.OP_PMOVZXDQ, 8, w.I64X2_EXTEND_LOW_I32X4_U, NO_OPCODE,
  op.OP_PMOVSXBD, 4, w.I16X8_EXTEND_LOW_I8X16_S, w.I32X4_EXTEND_LOW_I16X8_S,
  op.OP_PMOVZXBD, 4, w.I16X8_EXTEND_LOW_I8X16_U, w.I32X4_EXTEND_LOW_I16X8_U,
  op.OP_PMOVSXWQ, 4, w.I32X4_EXTEND_LOW_I16X8_S, w.I64X2_EXTEND_LOW_I32X4_S,
  op.OP_PMOVZXWQ, 4, w.I32X4_EXTEND_LOW_I16X8_U, w.I64X2_EXTEND_LOW_I32X4_U,
]);
const WIDENINGS: u32 = 10;
const WIDENING_ROW: u32 = 16;

/** WebAssembly's opcode for an operation up to OP_PACKUSDW, or 0. */
export function binaryOpcode(id: u32): u32 {
  const row = BINARY + ((id - op.OP_PAND) << 3);
  assert(load<u32>(row) === id);
  return load<u32>(row, 4);
}

/** WebAssembly's opcode for OP_PSLLW_I to OP_PSRAD_I. */
export function shiftOpcode(id: u32): u32 {
  const row = SHIFT + ((id - op.OP_PSLLW_I) << 3);
  assert(load<u32>(row) === id);
  return load<u32>(row, 4);
}

// @ts-ignore: decorator
@inline
export function flagsOf(p: u32): u32 {
  return simdFlags(load<u64>(p, U_IMM));
}

// @ts-ignore: decorator
@inline
export function operation(p: u32): u32 {
  return load<u32>(p, U_SUB);
}

export function isVex(p: u32): bool {
  return (load<u64>(p, U_IMM) & UOP_SIMD_VEX) !== 0;
}

export function halves(p: u32): u32 {
  return flagsOf(p) & EXECUTE_VEX_L ? 2 : 1;
}

export function inMemory(p: u32): bool {
  return load<u8>(p, U_KIND) !== K.SIMD_R;
}

/** The only reason to leave the region for the instruction is that its memory operand is not to be had. */
export function hasVectorOperand(p: u32): bool {
  return inMemory(p) && !(isOperationInLine(p) && operation(p) >= op.OP_FP_FIRST);
}

export function vectorBytes(p: u32): u32 {
  return simdBytes(load<u64>(p, U_IMM));
}

/** True when a SIMD_* micro-op is translated: the operation itself, or a call of HELPER_VECTOR around which its operands are. */
export function isVectorInLine(p: u32): bool {
  const kind: i32 = load<u8>(p, U_KIND);
  const imm = load<u64>(p, U_IMM);
  if (kind === K.SIMD_SPECIAL || imm & UOP_SIMD_MMX || simdFeatureOff(simdFeature(imm))) return false;
  // Of an instruction that is several micro-ops.
  if (load<u16>(p - UOP_SIZE, U_OFF) === load<u16>(p, U_OFF)) return false;
  if (kind !== K.SIMD_R && !isPlain(load<u8>(p, U_SEG))) return false;
  return isOperationInLine(p) || (kind !== K.SIMD_ST && !(imm & (UOP_SIMD_NO_STATE | UOP_SIMD_NO_XMM)));
}

/** True when the operation of a micro-op that isVectorInLine is WebAssembly, and no helper's. */
export function isOperationInLine(p: u32): bool {
  const kind: i32 = load<u8>(p, U_KIND);
  const id = operation(p);
  if (isPermutation(id) || widenedBytes(id)) return true;
  if (id >= op.OP_FP_FIRST) return isFloatInLine(p, id);
  if (id <= op.OP_PACKUSDW) return id === op.OP_PANDN || binaryOpcode(id) !== 0 || isWideProduct(id);
  if (id >= op.OP_PSLLW_I && id <= op.OP_PSRAD_I) return true;
  switch (id) {
    case op.OP_PSHUFB:
    case op.OP_MOV:
    case op.OP_VPBROADCASTB:
    case op.OP_VPBROADCASTW:
    case op.OP_VPBROADCASTD:
    case op.OP_VPBROADCASTQ:
    case op.OP_LOAD32:
    case op.OP_LOAD64:
    case op.OP_MOVD_FROM_GPR:
    case op.OP_MOVD_TO_GPR:
    case op.OP_PABSB:
    case op.OP_PABSW:
    case op.OP_PABSD:
      return true;
    case op.OP_MOVSS:
    case op.OP_MOVSD:
    case op.OP_MOVMSKPS:
    case op.OP_MOVMSKPD:
    case op.OP_PMOVMSKB:
      return kind === K.SIMD_R;
    case op.OP_VZERO:
      return !(flagsOf(p) & EXECUTE_VEX_L);
    case op.OP_LOAD_LOW:
    case op.OP_LOAD_HIGH:
      return kind === K.SIMD_LD;
    case op.OP_STORE:
    case op.OP_STORE_MOVSS:
    case op.OP_STORE_MOVSD:
    case op.OP_STORE_LOW:
    case op.OP_STORE_HIGH:
    case op.OP_MOVQ_STORE:
      return kind === K.SIMD_ST;
    default:
      return false;
  }
}

/** The operation puts bytes of its operands into another order, known when it is translated (jit/permute.ts). */
export function isPermutation(id: u32): bool {
  if (id >= op.OP_PUNPCKLBW && id <= op.OP_PUNPCKHQDQ) return true;
  switch (id) {
    case op.OP_PSHUFD:
    case op.OP_VPERMILPS:
    case op.OP_PSHUFLW:
    case op.OP_PSHUFHW:
    case op.OP_SHUFPS:
    case op.OP_SHUFPD:
    case op.OP_PALIGNR:
    case op.OP_PSLLDQ:
    case op.OP_PSRLDQ:
    case op.OP_BLENDPS:
    case op.OP_BLENDPD:
    case op.OP_VPBLENDD:
    case op.OP_PBLENDW:
    case op.OP_MOVSLDUP:
    case op.OP_MOVSHDUP:
    case op.OP_MOVHLPS:
      return true;
    default:
      return false;
  }
}

/** PMULUDQ, PMULDQ. */
function isWideProduct(id: u32): bool {
  return id === op.OP_PMULUDQ || id === op.OP_PMULDQ;
}

/** Row of a widening move in WIDENING; 0: the operation is none that is in line. */
function wideningRow(id: u32): u32 {
  for (let row: u32 = WIDENING; row < WIDENING + WIDENINGS * WIDENING_ROW; row += WIDENING_ROW) {
    if (load<u32>(row) === id) return row;
  }
  return 0;
}

/** Bytes of each lane's source when the operation is a widening move in line; 0: it is none. */
export function widenedBytes(id: u32): u32 {
  const row = wideningRow(id);
  return row ? load<u32>(row, 4) : 0;
}

/** WebAssembly's opcodes of a widening move: the second one, if there is one, goes on with what the first has made. */
export function widenOpcode(id: u32, second: bool): u32 {
  return load<u32>(wideningRow(id) + (second ? 12 : 8));
}

/** Arithmetic of OP_FP_FIRST and what follows: the number of CMPPS's kind, the last one. */
export const KIND_CMP: u32 = 7;

/** True when an operation from OP_FP_FIRST on is WebAssembly (jit/float.ts). */
function isFloatInLine(p: u32, id: u32): bool {
  const kind = (id - op.OP_FP_FIRST) >> 2;
  if (kind < KIND_CMP) return true;
  // The predicates of SSE.
  if (kind === KIND_CMP) return load<u8>(p, U_IMM) < 8;
  switch (id) {
    case op.OP_UCOMISS:
    case op.OP_UCOMISD:
    case op.OP_COMISS:
    case op.OP_COMISD:
    case op.OP_CVTSS2SD:
    case op.OP_CVTSD2SS:
    case op.OP_CVTSI2SS:
    case op.OP_CVTSI2SD:
    case op.OP_CVTTSS2SI:
    case op.OP_CVTTSD2SI:
    case op.OP_CVTDQ2PS:
    case op.OP_CVTDQ2PD:
      return true;
    default:
      return false;
  }
}

/** The instruction's operation is compiled code that needs locals for floating point. */
export function isFloat(p: u32): bool {
  return operation(p) >= op.OP_FP_FIRST && isOperationInLine(p);
}

/** Byte offset of the general register that the instruction writes; REG_ZERO: none. */
export function vectorWritten(p: u32): u32 {
  switch (operation(p)) {
    case op.OP_MOVMSKPS:
    case op.OP_MOVMSKPD:
    case op.OP_PMOVMSKB:
    case op.OP_PEXTRW_REG:
    case op.OP_CVTSS2SI:
    case op.OP_CVTSD2SI:
    case op.OP_CVTTSS2SI:
    case op.OP_CVTTSD2SI:
      return (<u32>load<u8>(p, U_D)) << 3;
    case op.OP_PCMPESTRI:
    case op.OP_PCMPISTRI:
      return RCX << 3;
    case op.OP_MOVD_TO_GPR:
    case op.OP_PEXTRB:
    case op.OP_PEXTRW:
    case op.OP_PEXTRD:
    case op.OP_EXTRACTPS:
      return inMemory(p) ? REG_ZERO : (<u32>load<u8>(p, U_S)) << 3;
    default:
      return REG_ZERO;
  }
}

/** The instruction sets the arithmetic flags. */
export function vectorSetsFlags(p: u32): bool {
  switch (operation(p)) {
    case op.OP_PTEST:
    case op.OP_VTESTPS:
    case op.OP_VTESTPD:
    case op.OP_PCMPESTRM:
    case op.OP_PCMPESTRI:
    case op.OP_PCMPISTRM:
    case op.OP_PCMPISTRI:
    case op.OP_UCOMISS:
    case op.OP_UCOMISD:
    case op.OP_COMISS:
    case op.OP_COMISD:
      return true;
    default:
      return false;
  }
}

/** Byte offset of the general register that is its source; REG_ZERO: none. */
export function vectorRead(p: u32): u32 {
  const id = operation(p);
  const reads = !inMemory(p) && (id === op.OP_MOVD_FROM_GPR || id === op.OP_CVTSI2SD || id === op.OP_CVTSI2SS);
  return reads ? (<u32>load<u8>(p, U_S)) << 3 : REG_ZERO;
}

/** A memory operand must be aligned, or #GP is raised. */
export function isAligned(p: u32): bool {
  return (load<u64>(p, U_IMM) & UOP_SIMD_ALIGNED) !== 0;
}
