/** Entry of a vCPU's worker thread. */
import { workerData } from 'node:worker_threads';
import type { VcpuThreadStart } from '../devices/machine/host.ts';
import { vcpuThreadMain } from '../devices/machine/vcpu-thread.ts';
import { clockSince } from './clock.ts';
import { collectGarbage } from './garbage.ts';

const start = workerData as VcpuThreadStart;
vcpuThreadMain(start, clockSince(start.clockOrigin), collectGarbage);
