/** The operands of a SIMD micro-op (K.SIMD_*) beside its registers and address: the fields of U_IMM. U_SUB is the operation's id. */
import { EXECUTE_VEX } from '../simd/status';

/** Bits 0-7: the immediate byte. Bits 8-11: VEX.vvvv. */
const VVVV_SHIFT: u64 = 8;
/** Bits 16-19: EXECUTE_* (simd/status.ts). */
const FLAGS_SHIFT: u64 = 16;
export const UOP_SIMD_VEX: u64 = (<u64>EXECUTE_VEX) << FLAGS_SHIFT;
/** Bits 24-31: bytes of the memory operand. */
const BYTES_SHIFT: u64 = 24;
/** The memory operand must be aligned to its size, or #GP is raised. */
export const UOP_SIMD_ALIGNED: u64 = 1 << 32;
/** The memory operand is a base and a vector of indices. */
export const UOP_SIMD_VSIB: u64 = 1 << 33;
/** MMX registers are used. */
export const UOP_SIMD_MMX: u64 = 1 << 34;
/** No XMM registers are used, so that CR4.OSFXSR does not matter. */
export const UOP_SIMD_NO_XMM: u64 = 1 << 35;
/** No registers of either file are used (MOVNTI). */
export const UOP_SIMD_NO_STATE: u64 = 1 << 36;
/** Bits 40-44: SIMD_FEATURE_* (simd/descriptor.ts). */
const FEATURE_SHIFT: u64 = 40;
/** Bits 48-51: the index register of a VSIB operand. */
const INDEX_SHIFT: u64 = 48;

/** The fields that follow from the prefixes and the descriptor. */
export function simdImmediate(vvvv: u32, flags: u32, feature: u32): u64 {
  return ((<u64>vvvv) << VVVV_SHIFT) | ((<u64>flags) << FLAGS_SHIFT) | ((<u64>feature) << FEATURE_SHIFT);
}

/** The field of a memory operand's bytes. */
export function simdBytesField(bytes: u32): u64 {
  return (<u64>bytes) << BYTES_SHIFT;
}

/** The fields of a VSIB operand. */
export function simdVsibFields(index: u32): u64 {
  return UOP_SIMD_VSIB | ((<u64>index) << INDEX_SHIFT);
}

// @ts-ignore: decorator
@inline
export function simdVvvv(imm: u64): u32 {
  return (<u32>(imm >> VVVV_SHIFT)) & 15;
}

/** EXECUTE_*. */
// @ts-ignore: decorator
@inline
export function simdFlags(imm: u64): u32 {
  return (<u32>(imm >> FLAGS_SHIFT)) & 15;
}

/** Bytes of the memory operand. */
// @ts-ignore: decorator
@inline
export function simdBytes(imm: u64): u32 {
  return (<u32>(imm >> BYTES_SHIFT)) & 0xff;
}

/** SIMD_FEATURE_*. */
// @ts-ignore: decorator
@inline
export function simdFeature(imm: u64): u32 {
  return (<u32>(imm >> FEATURE_SHIFT)) & 31;
}

/** The index register of a VSIB operand. */
// @ts-ignore: decorator
@inline
export function simdIndex(imm: u64): u32 {
  return (<u32>(imm >> INDEX_SHIFT)) & 15;
}
