/** Entry of a vCPU's worker thread: waits to be told which one. */
import { parentPort } from 'node:worker_threads';
import type { VcpuThreadStart } from '../devices/machine/host.ts';
import { vcpuThreadMain } from '../devices/machine/vcpu-thread.ts';
import { pinThisThread } from './affinity.ts';
import { clockSince } from './clock.ts';
import { collectGarbage } from './garbage.ts';

parentPort?.once('message', (start: VcpuThreadStart) => {
  if (start.hostCpus !== undefined) {
    const problem = pinThisThread(start.hostCpus);
    if (problem !== undefined) parentPort?.postMessage(`-p: vCPU ${start.vcpu} runs anywhere: ${problem}`);
  }
  vcpuThreadMain(start, clockSince(start.clockOrigin), collectGarbage);
});
