/** Element-wise memory access for SIMD instructions that do it themselves. */
import { readLinear, writeLinear } from './operand';
import { FAULTED, faulted } from './state';

/** Reads 1, 2, 4 or 8 bytes at a linear address of this instance's vCPU. */
export function simdLoad(_cpu: u32, linearAddress: u64, sizeBytes: u32): u64 {
  return readLinear(linearAddress, sizeBytes);
}

/** Writes 1, 2, 4 or 8 bytes at a linear address. */
export function simdStore(_cpu: u32, linearAddress: u64, sizeBytes: u32, value: u64): void {
  writeLinear(linearAddress, sizeBytes, value);
}

/** True after an access that raised a fault. */
export function accessFaulted(): bool {
  return (faulted & FAULTED) !== 0;
}
