/** Entry of a vCPU's Worker: one message starts it, and it blocks until the machine tells it to quit. */
import type { VcpuThreadStart } from '../../devices/machine/host.ts';
import { vcpuThreadMain } from '../../devices/machine/vcpu-thread.ts';
import { clockSince } from '../clock.ts';
import { workerScope } from '../spawn-worker.ts';

workerScope.addEventListener('message', ({ data }: MessageEvent) => {
  const start = data as VcpuThreadStart;
  vcpuThreadMain(start, clockSince(start.clockOrigin));
});
