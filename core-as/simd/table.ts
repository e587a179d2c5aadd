/**
 * Which SIMD instruction an encoding is: MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA, F16C, FMA, AVX and AVX2
 * (SDM Vol. 2 opcode maps, appendix A). The rows in table-*.ts are the only description; decoder, executor and tests read it.
 */
import {
  SIMD_ALIGNED,
  SIMD_ALIGNED_VEX,
  SIMD_FEATURE_AVX,
  SIMD_FEATURE_AVX2,
  SIMD_FEATURE_MASK,
  SIMD_FEATURE_SHIFT,
  SIMD_FEATURE_SSE42,
  SIMD_MEMORY_ONLY,
  SIMD_NO_VVVV,
  SIMD_REGISTER_ONLY,
  SIMD_USES_VEX,
} from './descriptor';
import {
  DIGIT_PRESENT,
  DIGIT_SHIFT,
  ENCODING_LEGACY,
  ENCODING_VEX_L0,
  ENCODING_VEX_L1,
  L1_IS_AVX2,
  W0,
  W1,
} from './row';
import { ROWS_0F, ROW_COUNT_0F } from './table-0f';
import { ROWS_0F38, ROW_COUNT_0F38 } from './table-0f38';
import { ROWS_0F3A, ROW_COUNT_0F3A } from './table-0f3a';

/** The `vex` argument of simdDescribe for VEX encodings; 0 is a legacy encoding. */
export const SIMD_VEX: u32 = 1;

export const SIMD_MAP_0F: u32 = 1;
export const SIMD_MAP_0F38: u32 = 2;
export const SIMD_MAP_0F3A: u32 = 3;

/**
 * Describes an instruction, or answers 0 if it is not a SIMD instruction. `map` is SIMD_MAP_*, `prefix` the mandatory one
 * (0 none, 1 = 66, 2 = F3, 3 = F2), `vexW` REX.W or VEX.W. The fields of the answer are SIMD_* in descriptor.ts.
 */
export function simdDescribe(map: u32, prefix: u32, opcode: u32, modrm: u32, vex: u32, vexL: u32, vexW: u32): u32 {
  let rows: usize = 0;
  let count: u32 = 0;
  switch (map) {
    case SIMD_MAP_0F:
      rows = ROWS_0F;
      count = ROW_COUNT_0F;
      break;
    case SIMD_MAP_0F38:
      rows = ROWS_0F38;
      count = ROW_COUNT_0F38;
      break;
    case SIMD_MAP_0F3A:
      rows = ROWS_0F3A;
      count = ROW_COUNT_0F3A;
      break;
    default:
      return 0;
  }
  const key = (opcode << 4) | prefix;
  let low: u32 = 0;
  let high: u32 = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rowKey(rows, middle) < key) low = middle + 1;
    else high = middle;
  }
  const isRegister = modrm >> 6 === 3;
  const encoding = !vex ? ENCODING_LEGACY : vexL ? ENCODING_VEX_L1 : ENCODING_VEX_L0;
  const wrongW = vexW ? W0 : W1;
  const wrongForm = isRegister ? SIMD_MEMORY_ONLY : SIMD_REGISTER_ONLY;
  for (; low < count && rowKey(rows, low) === key; ++low) {
    const row = load<u64>(rows + (low << 3));
    if (!(row & encoding) || row & wrongW || (<u32>row) & wrongForm) continue;
    const digit = <u32>(row >> DIGIT_SHIFT);
    if (digit && digit !== (DIGIT_PRESENT | ((modrm >> 3) & 7))) continue;
    return vex ? vexDescriptor(row, vexL) : (<u32>row) & ~(SIMD_NO_VVVV | SIMD_ALIGNED_VEX);
  }
  return 0;
}

/** Row `index` of a map's rows, 0 past the end: for tests that walk the table. */
export function simdTableRow(map: u32, index: u32): u64 {
  if (map === SIMD_MAP_0F) return index < ROW_COUNT_0F ? load<u64>(ROWS_0F + (index << 3)) : 0;
  if (map === SIMD_MAP_0F38) return index < ROW_COUNT_0F38 ? load<u64>(ROWS_0F38 + (index << 3)) : 0;
  if (map === SIMD_MAP_0F3A) return index < ROW_COUNT_0F3A ? load<u64>(ROWS_0F3A + (index << 3)) : 0;
  return 0;
}

/** `opcode << 4 | prefix` of a row. */
// @ts-ignore: decorator
@inline
function rowKey(rows: usize, index: u32): u32 {
  return load<u32>(rows + (index << 3), 4) & 0xfff;
}

/** The VEX form: promoted SSE instructions belong to AVX, some of their 256-bit forms to AVX2. */
function vexDescriptor(row: u64, vexL: u32): u32 {
  let descriptor = ((<u32>row) & ~SIMD_ALIGNED) | SIMD_USES_VEX;
  if (((descriptor >> SIMD_FEATURE_SHIFT) & SIMD_FEATURE_MASK) <= SIMD_FEATURE_SSE42 || row & L1_IS_AVX2) {
    const feature = vexL && row & L1_IS_AVX2 ? SIMD_FEATURE_AVX2 : SIMD_FEATURE_AVX;
    descriptor = (descriptor & ~(SIMD_FEATURE_MASK << SIMD_FEATURE_SHIFT)) | (feature << SIMD_FEATURE_SHIFT);
  }
  return descriptor;
}
