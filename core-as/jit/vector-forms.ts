/** Which SSE and AVX instructions are translated in line (jit/vector.ts), and what they read and write. */
import { SIMD_ALIGNED, SIMD_FEATURE_SHIFT, SIMD_MMX } from '../cpu/decode-0f';
import { simdFeatureOff } from '../cpu/features';
import { FS } from '../cpu/state';
import { K, REG_ZERO, SEG_A32, UOP_SIZE, U_D, U_IMM, U_KIND, U_OFF, U_S, U_SEG, U_SUB } from '../cpu/uops';
import * as op from '../simd/operations';

/** U_IMM bits 16 on. */
export const VEX: u32 = 1;
export const VEX_L: u32 = 2;
export const VEX_W: u32 = 4;

/** By operation id up to OP_PACKUSDW: WebAssembly's operation (core specification 5.4.8) that does the same to 128 bits; 0: none. */
export const BINARY = memory.data<u8>([
  0, 78, 0, 80, 81, 110, 142, 174, 206, 113, 145, 177, 209, 111, 143, 112, 144, 114, 146, 115, 147, 149, 0, 0, 0, 181,
  0, 0, 186, 0, 0, 123, 155, 119, 150, 121, 152, 118, 151, 182, 183, 120, 153, 184, 185, 35, 45, 55, 214, 39, 49, 59,
  217, 0, 0, 0, 0, 0, 0, 0, 0, 101, 133, 102, 134,
]);

// @ts-ignore: decorator
@inline
export function flagsOf(p: u32): u32 {
  return load<u8>(p, U_IMM + 2) & 15;
}

// @ts-ignore: decorator
@inline
export function operation(p: u32): u32 {
  return load<u32>(p, U_SUB);
}

export function isVex(p: u32): bool {
  return (flagsOf(p) & VEX) !== 0;
}

export function halves(p: u32): u32 {
  return flagsOf(p) & VEX_L ? 2 : 1;
}

export function inMemory(p: u32): bool {
  return load<u16>(p, U_KIND) !== K.SIMD_R;
}

export function vectorBytes(p: u32): u32 {
  return load<u8>(p, U_IMM + 3);
}

/** True when a SIMD_* micro-op is translated here. */
export function isVectorInLine(p: u32): bool {
  const kind: i32 = load<u16>(p, U_KIND);
  const imm = load<u64>(p, U_IMM);
  if (kind === K.SIMD_SPECIAL || imm & SIMD_MMX || simdFeatureOff((<u32>(imm >> SIMD_FEATURE_SHIFT)) & 31))
    return false;
  // Of an instruction that is several micro-ops.
  if (load<u16>(p - UOP_SIZE, U_OFF) === load<u16>(p, U_OFF)) return false;
  if (kind !== K.SIMD_R) {
    const segment: u32 = load<u8>(p, U_SEG);
    if ((segment & 7) >= FS || (segment & 0x30) >= SEG_A32) return false;
  }
  const id = operation(p);
  if (id <= op.OP_PACKUSDW) return id === op.OP_PANDN || isUnpack(id) || load<u8>(BINARY + id) !== 0;
  if (id >= op.OP_PSLLW_I && id <= op.OP_PSRAD_I) return true;
  switch (id) {
    case op.OP_PSHUFB:
    case op.OP_MOV:
    case op.OP_VPBROADCASTB:
    case op.OP_VPBROADCASTW:
    case op.OP_VPBROADCASTD:
    case op.OP_VPBROADCASTQ:
    case op.OP_PSHUFD:
    case op.OP_LOAD32:
    case op.OP_LOAD64:
    case op.OP_MOVD_FROM_GPR:
    case op.OP_MOVD_TO_GPR:
    case op.OP_ADDSD:
    case op.OP_SUBSD:
    case op.OP_MULSD:
    case op.OP_DIVSD:
    case op.OP_UCOMISD:
    case op.OP_COMISD:
    case op.OP_CVTSI2SD:
    case op.OP_CVTTSD2SI:
      return true;
    case op.OP_MOVSS:
    case op.OP_MOVSD:
    case op.OP_MOVMSKPS:
    case op.OP_MOVMSKPD:
    case op.OP_PMOVMSKB:
      return kind === K.SIMD_R;
    case op.OP_VZERO:
      return !(flagsOf(p) & VEX_L);
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

export function isUnpack(id: u32): bool {
  return id >= op.OP_PUNPCKLBW && id <= op.OP_PUNPCKHQDQ;
}

/** Byte offset of the general register that the instruction writes; REG_ZERO: none. */
export function vectorWritten(p: u32): u32 {
  switch (operation(p)) {
    case op.OP_MOVMSKPS:
    case op.OP_MOVMSKPD:
    case op.OP_PMOVMSKB:
    case op.OP_CVTTSD2SI:
      return (<u32>load<u8>(p, U_D)) << 3;
    case op.OP_MOVD_TO_GPR:
      return inMemory(p) ? REG_ZERO : (<u32>load<u8>(p, U_S)) << 3;
    default:
      return REG_ZERO;
  }
}

/** Byte offset of the general register that is its source; REG_ZERO: none. */
export function vectorRead(p: u32): u32 {
  const id = operation(p);
  const reads = !inMemory(p) && (id === op.OP_MOVD_FROM_GPR || id === op.OP_CVTSI2SD);
  return reads ? (<u32>load<u8>(p, U_S)) << 3 : REG_ZERO;
}

/** A memory operand must be aligned, or #GP is raised. */
export function isAligned(p: u32): bool {
  return (load<u64>(p, U_IMM) & SIMD_ALIGNED) !== 0;
}
