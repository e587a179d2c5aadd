/**
 * Columns of the instruction table (table-0f.ts, table-0f38.ts, table-0f3a.ts).
 *
 * A row is one u64: the low half is the descriptor (descriptor.ts) of the instruction's legacy form, bits 32-43 are `opcode << 4 | prefix`
 * (prefix 0 none, 1 = 66, 2 = F3, 3 = F2), bits 48 up say which encodings the row describes.
 */
import {
  SIMD_ALIGNED,
  SIMD_ALIGNED_VEX,
  SIMD_FEATURE_AES,
  SIMD_FEATURE_AVX,
  SIMD_FEATURE_AVX2,
  SIMD_FEATURE_F16C,
  SIMD_FEATURE_FMA,
  SIMD_FEATURE_MMX,
  SIMD_FEATURE_PCLMUL,
  SIMD_FEATURE_SHA,
  SIMD_FEATURE_SHIFT,
  SIMD_FEATURE_SSE,
  SIMD_FEATURE_SSE2,
  SIMD_FEATURE_SSE3,
  SIMD_FEATURE_SSE41,
  SIMD_FEATURE_SSE42,
  SIMD_FEATURE_SSSE3,
  SIMD_IMM8,
  SIMD_MEMORY_ONLY,
  SIMD_MMX_STATE,
  SIMD_NO_MODRM,
  SIMD_NO_VVVV,
  SIMD_RAISES_XM,
  SIMD_REGISTER_ONLY,
  SIMD_SIZE_1,
  SIMD_SIZE_16,
  SIMD_SIZE_2,
  SIMD_SIZE_32,
  SIMD_SIZE_4,
  SIMD_SIZE_8,
  SIMD_SIZE_EIGHTH,
  SIMD_SIZE_HALF,
  SIMD_SIZE_QUARTER,
  SIMD_SIZE_SHIFT,
  SIMD_SIZE_SPECIAL,
  SIMD_SIZE_VECTOR,
  SIMD_VSIB,
  SIMD_WRITES,
  SIMD_W_IS_GPR,
} from './descriptor';

// Memory operand
export const BYTES1: u64 = SIMD_SIZE_1 << SIMD_SIZE_SHIFT;
export const BYTES2: u64 = SIMD_SIZE_2 << SIMD_SIZE_SHIFT;
export const BYTES4: u64 = SIMD_SIZE_4 << SIMD_SIZE_SHIFT;
export const BYTES8: u64 = SIMD_SIZE_8 << SIMD_SIZE_SHIFT;
export const BYTES16: u64 = SIMD_SIZE_16 << SIMD_SIZE_SHIFT;
export const BYTES32: u64 = SIMD_SIZE_32 << SIMD_SIZE_SHIFT;
export const VECTOR: u64 = SIMD_SIZE_VECTOR << SIMD_SIZE_SHIFT;
export const HALF: u64 = SIMD_SIZE_HALF << SIMD_SIZE_SHIFT;
export const QUARTER: u64 = SIMD_SIZE_QUARTER << SIMD_SIZE_SHIFT;
export const EIGHTH: u64 = SIMD_SIZE_EIGHTH << SIMD_SIZE_SHIFT;
export const SPECIAL: u64 = SIMD_SIZE_SPECIAL << SIMD_SIZE_SHIFT;

// the descriptor's flags
export const WRITE: u64 = SIMD_WRITES;
export const ALIGN: u64 = SIMD_ALIGNED;
export const IMM8: u64 = SIMD_IMM8;
export const MMX_STATE: u64 = SIMD_MMX_STATE;
export const VSIB: u64 = SIMD_VSIB;
export const ALIGN_VEX: u64 = SIMD_ALIGNED_VEX;
export const MEM: u64 = SIMD_MEMORY_ONLY;
export const REG: u64 = SIMD_REGISTER_ONLY;
export const NO_VVVV: u64 = SIMD_NO_VVVV;
export const XM: u64 = SIMD_RAISES_XM;
export const W_IS_GPR: u64 = SIMD_W_IS_GPR;
export const NO_MODRM: u64 = SIMD_NO_MODRM;

// CPUID feature of the legacy form (VEX forms of MMX to SSE4.2 instructions belong to AVX or AVX2)
export const MMX: u64 = SIMD_FEATURE_MMX << SIMD_FEATURE_SHIFT;
export const SSE: u64 = SIMD_FEATURE_SSE << SIMD_FEATURE_SHIFT;
export const SSE2: u64 = SIMD_FEATURE_SSE2 << SIMD_FEATURE_SHIFT;
export const SSE3: u64 = SIMD_FEATURE_SSE3 << SIMD_FEATURE_SHIFT;
export const SSSE3: u64 = SIMD_FEATURE_SSSE3 << SIMD_FEATURE_SHIFT;
export const SSE41: u64 = SIMD_FEATURE_SSE41 << SIMD_FEATURE_SHIFT;
export const SSE42: u64 = SIMD_FEATURE_SSE42 << SIMD_FEATURE_SHIFT;
export const AES: u64 = SIMD_FEATURE_AES << SIMD_FEATURE_SHIFT;
export const PCLMUL: u64 = SIMD_FEATURE_PCLMUL << SIMD_FEATURE_SHIFT;
export const SHA: u64 = SIMD_FEATURE_SHA << SIMD_FEATURE_SHIFT;
export const F16C: u64 = SIMD_FEATURE_F16C << SIMD_FEATURE_SHIFT;
export const FMA: u64 = SIMD_FEATURE_FMA << SIMD_FEATURE_SHIFT;
export const AVX: u64 = SIMD_FEATURE_AVX << SIMD_FEATURE_SHIFT;
export const AVX2: u64 = SIMD_FEATURE_AVX2 << SIMD_FEATURE_SHIFT;

// encodings. L legacy, X VEX with L = 0, Y VEX with L = 1, Y2 the same where L = 1 belongs to AVX2.
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

// conditions on W (REX.W or VEX.W) and on ModRM.reg as an opcode extension
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
