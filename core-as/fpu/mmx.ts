/** The MMX registers, which alias the significands of the physical x87 registers (SDM volume 3, section 12.2). */
import { FPU_REGISTERS, FPU_TOP, FPU_VALID } from './state';

/** Address of MMn: the 64-bit significand of physical register n. */
// @ts-ignore: decorator
@inline
export function mmxRegister(cpu: u32, n: u32): u32 {
  return cpu + FPU_REGISTERS + ((n & 7) << 4);
}

/** What every MMX instruction but EMMS does to the stack: TOP = 0, all tags valid. */
// @ts-ignore: decorator
@inline
export function mmxBegin(cpu: u32): void {
  store<u32>(cpu, 0, FPU_TOP);
  store<u32>(cpu, 0xff, FPU_VALID);
}

/** What writing MMn does to the rest of its register: sign and exponent become all ones. */
// @ts-ignore: decorator
@inline
export function mmxWritten(cpu: u32, n: u32): void {
  store<u64>(mmxRegister(cpu, n), 0xffff, 8);
}

/** EMMS: TOP = 0, all tags empty. */
export function emms(cpu: u32): void {
  store<u32>(cpu, 0, FPU_TOP);
  store<u32>(cpu, 0, FPU_VALID);
}
