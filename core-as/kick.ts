/** Reaching a vCPU from another thread, or from its own device code. */
import { R_DOORBELL, R_PENDING, VCPU, VCPU_STRIDE } from './layout';

/** Address of a vCPU's block. */
// @ts-ignore: decorator
@inline
export function vcpuBlock(index: u32): u32 {
  return VCPU + index * VCPU_STRIDE;
}

/** Sets PEND_* bits of a vCPU and wakes its thread if it sleeps. May be called from any thread. */
export function kickVcpu(index: u32, pendingBits: u32): void {
  const block = vcpuBlock(index);
  atomic.or<u32>(block, pendingBits, R_PENDING);
  atomic.add<i32>(block, 1, R_DOORBELL);
  atomic.notify(block + R_DOORBELL, i32.MAX_VALUE);
}
