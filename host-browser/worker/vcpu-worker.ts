/** Entry of a vCPU's Worker: one message starts it, and it blocks until the machine tells it to quit. */
import type { VcpuThreadStart } from '../../devices/machine/host.ts';
import { vcpuThreadMain } from '../../devices/machine/vcpu-thread.ts';
import { clockSince, sharedClock } from '../clock.ts';
import { workerScope } from '../spawn-worker.ts';
import type { WaiterStart, WaitRequest } from './wait-async.ts';

/** What the machine's worker posts. */
export interface VcpuWorkerStart {
  readonly start: VcpuThreadStart;
  /** For {@link sharedClock}. */
  readonly lastReading: Int32Array;
}

/** Blocks in place of a thread that must not, once for each request. */
function serveWaits(): void {
  workerScope.addEventListener('message', ({ data }: MessageEvent<WaitRequest>) => {
    Atomics.wait(data.words, data.index, data.value);
    workerScope.postMessage('woken');
  });
}

let started = false;
workerScope.addEventListener('message', ({ data }: MessageEvent<VcpuWorkerStart | WaiterStart>) => {
  if (started) return;
  started = true;
  if ('waiter' in data) {
    serveWaits();
    return;
  }
  const { start, lastReading } = data;
  vcpuThreadMain(start, sharedClock(clockSince(start.clockOrigin), lastReading));
});
