/**
 * What simdDescribe (table.ts) answers of an instruction: one u32 of these fields. Decoder, table and tests read this file and no other for
 * them; like layout.ts it is read by both compilers.
 */

/** Operation id of a descriptor. */
export const SIMD_OPERATION_MASK: u32 = 0x3ff;

/** Size code of the memory operand: bits 10-13. */
export const SIMD_SIZE_SHIFT: u32 = 10;
export const SIMD_SIZE_MASK: u32 = 15;
export const SIMD_SIZE_NONE: u32 = 0;
export const SIMD_SIZE_1: u32 = 1;
export const SIMD_SIZE_2: u32 = 2;
export const SIMD_SIZE_4: u32 = 3;
export const SIMD_SIZE_8: u32 = 4;
export const SIMD_SIZE_16: u32 = 5;
export const SIMD_SIZE_32: u32 = 6;
/** 16 bytes, or 32 with VEX.L. */
export const SIMD_SIZE_VECTOR: u32 = 7;
export const SIMD_SIZE_HALF: u32 = 8;
export const SIMD_SIZE_QUARTER: u32 = 9;
export const SIMD_SIZE_EIGHTH: u32 = 10;
/** The operation accesses memory itself: simdExecuteSpecial. */
export const SIMD_SIZE_SPECIAL: u32 = 11;

/** The memory operand is written. */
export const SIMD_WRITES: u32 = 1 << 14;
/** Legacy encoding: #GP unless a memory operand is 16-byte aligned (SDM Vol. 2A 2.4.1, exception types 1, 2 and 4). */
export const SIMD_ALIGNED: u32 = 1 << 15;
export const SIMD_IMM8: u32 = 1 << 16;
/** Reads or writes MMX registers: x87 checks apply (#NM, #MF). */
export const SIMD_MMX_STATE: u32 = 1 << 17;
export const SIMD_VSIB: u32 = 1 << 18;
/** VEX-encoded: #UD unless XCR0 and CR4.OSXSAVE enable AVX. */
export const SIMD_USES_VEX: u32 = 1 << 19;
/** Feature index: bits 20-24, SIMD_FEATURE_*. */
export const SIMD_FEATURE_SHIFT: u32 = 20;
export const SIMD_FEATURE_MASK: u32 = 31;
/** The operand's alignment is checked in VEX form too: 16 or, with VEX.L, 32 bytes. */
export const SIMD_ALIGNED_VEX: u32 = 1 << 25;
export const SIMD_MEMORY_ONLY: u32 = 1 << 26;
export const SIMD_REGISTER_ONLY: u32 = 1 << 27;
/** #UD unless VEX.vvvv is 1111b. */
export const SIMD_NO_VVVV: u32 = 1 << 28;
/** May raise #XM. */
export const SIMD_RAISES_XM: u32 = 1 << 29;
/** W is the width of a general register: outside 64-bit mode describe and execute with W = 0. */
export const SIMD_W_IS_GPR: u32 = 1 << 30;
/** The opcode has no ModRM byte (EMMS, VZEROUPPER, VZEROALL). */
export const SIMD_NO_MODRM: u32 = 1 << 31;

export const SIMD_FEATURE_MMX: u32 = 0;
export const SIMD_FEATURE_SSE: u32 = 1;
export const SIMD_FEATURE_SSE2: u32 = 2;
export const SIMD_FEATURE_SSE3: u32 = 3;
export const SIMD_FEATURE_SSSE3: u32 = 4;
export const SIMD_FEATURE_SSE41: u32 = 5;
export const SIMD_FEATURE_SSE42: u32 = 6;
export const SIMD_FEATURE_AES: u32 = 7;
export const SIMD_FEATURE_PCLMUL: u32 = 8;
export const SIMD_FEATURE_SHA: u32 = 9;
export const SIMD_FEATURE_F16C: u32 = 10;
export const SIMD_FEATURE_FMA: u32 = 11;
export const SIMD_FEATURE_AVX: u32 = 12;
export const SIMD_FEATURE_AVX2: u32 = 13;
