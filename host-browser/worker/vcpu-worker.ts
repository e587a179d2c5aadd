/** Entry of a vCPU's Worker: one message starts it, and it blocks until the machine tells it to quit. */
import type { VcpuThreadStart } from '../../devices/machine/host.ts';
import { vcpuThreadMain } from '../../devices/machine/vcpu-thread.ts';
import { clockSince, sharedClock } from '../clock.ts';
import { workerScope } from '../spawn-worker.ts';

/** What the machine's worker posts. */
export interface VcpuWorkerStart {
  readonly start: VcpuThreadStart;
  /** For {@link sharedClock}. */
  readonly lastReading: Int32Array;
}

workerScope.addEventListener('message', ({ data }: MessageEvent) => {
  const { start, lastReading } = data as VcpuWorkerStart;
  vcpuThreadMain(start, sharedClock(clockSince(start.clockOrigin), lastReading));
});
