/** Store order between vCPUs (docs/memory-ordering.md). */
import { R_FENCE } from '../layout';
import { cpu } from './state';

/**
 * Makes every store of this vCPU visible to the others before anything after it is read. For fences, serializing instructions (SDM vol. 3,
 * 9.3), port I/O, accesses to devices, and before an event is delivered (12.10).
 *
 * An exchange, since the optimizer (Binaryen 130) takes `atomic.fence` out of the core's code. On x86 it is an XCHG with memory, which is a
 * full fence and takes less time than MFENCE.
 */
// @ts-ignore: decorator
@inline
export function drainStores(): void {
  atomic.xchg<u32>(cpu, 0, R_FENCE);
}
