/**
 * Columns of the instruction table (table-0f.ts, table-0f38.ts, table-0f3a.ts) and the packed descriptor that simdDescribe
 * makes of a row.
 *
 * A row is one u64: the low half is the descriptor of the instruction's legacy form, bits 32-43 are `opcode << 4 | prefix`
 * (prefix 0 none, 1 = 66, 2 = F3, 3 = F2), bits 48 up say which encodings the row describes.
 */

// ---------------------------------------------------------------------------------------------------------------------
// Descriptor: bits 0-9 operation id

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

// ---------------------------------------------------------------------------------------------------------------------
// Columns: memory operand

export const BYTES1: u64 = 1 << 10;
export const BYTES2: u64 = 2 << 10;
export const BYTES4: u64 = 3 << 10;
export const BYTES8: u64 = 4 << 10;
export const BYTES16: u64 = 5 << 10;
export const BYTES32: u64 = 6 << 10;
export const VECTOR: u64 = 7 << 10;
export const HALF: u64 = 8 << 10;
export const QUARTER: u64 = 9 << 10;
export const EIGHTH: u64 = 10 << 10;
export const SPECIAL: u64 = 11 << 10;

// Columns: the descriptor's flags
export const WRITE: u64 = 1 << 14;
export const ALIGN: u64 = 1 << 15;
export const IMM8: u64 = 1 << 16;
export const MMX_STATE: u64 = 1 << 17;
export const VSIB: u64 = 1 << 18;
export const ALIGN_VEX: u64 = 1 << 25;
export const MEM: u64 = 1 << 26;
export const REG: u64 = 1 << 27;
export const NO_VVVV: u64 = 1 << 28;
export const XM: u64 = 1 << 29;
export const W_IS_GPR: u64 = 1 << 30;
export const NO_MODRM: u64 = 0x80000000;

// Columns: CPUID feature of the legacy form (VEX forms of MMX to SSE4.2 instructions belong to AVX or AVX2)
export const MMX: u64 = 0 << 20;
export const SSE: u64 = 1 << 20;
export const SSE2: u64 = 2 << 20;
export const SSE3: u64 = 3 << 20;
export const SSSE3: u64 = 4 << 20;
export const SSE41: u64 = 5 << 20;
export const SSE42: u64 = 6 << 20;
export const AES: u64 = 7 << 20;
export const PCLMUL: u64 = 8 << 20;
export const SHA: u64 = 9 << 20;
export const F16C: u64 = 10 << 20;
export const FMA: u64 = 11 << 20;
export const AVX: u64 = 12 << 20;
export const AVX2: u64 = 13 << 20;

// Columns: encodings. L legacy, X VEX with L = 0, Y VEX with L = 1, Y2 the same where L = 1 belongs to AVX2.
export const ENCODING_LEGACY: u64 = 1 << 48;
export const ENCODING_VEX_L0: u64 = 1 << 49;
export const ENCODING_VEX_L1: u64 = 1 << 50;
export const L1_IS_AVX2: u64 = 1 << 51;
export const L: u64 = 1 << 48;
export const LX: u64 = 3 << 48;
export const LXY: u64 = 7 << 48;
export const LXY2: u64 = 15 << 48;
export const Y: u64 = 4 << 48;
export const XY: u64 = 6 << 48;
export const XY2: u64 = 14 << 48;

// Columns: conditions on W (REX.W or VEX.W) and on ModRM.reg as an opcode extension
export const W0: u64 = 1 << 52;
export const W1: u64 = 1 << 53;
export const DIGIT_SHIFT: u32 = 56;
/** Set when the row has a digit. */
export const DIGIT_PRESENT: u32 = 8;
export const DIGIT2: u64 = 10 << 56;
export const DIGIT3: u64 = 11 << 56;
export const DIGIT4: u64 = 12 << 56;
export const DIGIT6: u64 = 14 << 56;
export const DIGIT7: u64 = 15 << 56;
