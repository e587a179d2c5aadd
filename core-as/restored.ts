/**
 * State that a restored snapshot put into the core's memory, looked at before anything uses it. A snapshot may come from anywhere: what
 * a guest can bring about itself may be in it, but nothing that would lead the core out of its own arrays.
 */
import { platformIsSound } from './intc/platform';
import { FPU_TOP } from './fpu/state';
import { MXCSR_MASK } from './cpu/xsave';
import { vcpuBlock } from './kick';
import { ACT_SHUTDOWN, CFG_NCPUS, R_ACTIVITY, R_CPL, R_INDEX, R_MXCSR, R_SIPI, R_XCR0, R_ZERO } from './layout';

/** XCR0's x87, SSE and AVX, of which the first is always on. */
const XCR0_X87: u64 = 1;
const XCR0_KNOWN: u64 = 7;

function vcpuIsSound(index: u32): bool {
  const block = vcpuBlock(index);
  const xcr0 = load<u64>(block, R_XCR0);
  return (
    load<u32>(block, R_INDEX) === index &&
    load<u64>(block, R_ZERO) === 0 &&
    load<u32>(block, R_CPL) <= 3 &&
    load<u32>(block, R_ACTIVITY) <= <u32>ACT_SHUTDOWN &&
    load<u32>(block, R_SIPI) <= 0x100 &&
    load<u32>(block, FPU_TOP) <= 7 &&
    (load<u32>(block, R_MXCSR) & ~MXCSR_MASK) === 0 &&
    (xcr0 & XCR0_X87) !== 0 &&
    (xcr0 & ~XCR0_KNOWN) === 0
  );
}

/** False when the interrupt controllers, the timers, a UART or a vCPU hold what they cannot. */
export function restoredStateIsSound(): bool {
  const count = load<u32>(CFG_NCPUS);
  for (let index: u32 = 0; index < count; index++) {
    if (!vcpuIsSound(index)) return false;
  }
  return platformIsSound();
}
