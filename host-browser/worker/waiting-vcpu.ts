/** Workers that are there before their vCPUs are: a browser takes 20 to 40 ms to start one, while the machine is put together. */
import type { VcpuThread } from '../../devices/machine/host.ts';
import { spawnWorker } from '../spawn-worker.ts';
import type { VcpuWorkerStart } from './vcpu-worker.ts';

class WaitingVcpu {
  readonly #worker: Worker;
  #error: Error | undefined;
  #failed: ((error: Error) => void) | undefined;

  constructor(script: URL) {
    this.#worker = spawnWorker(script, 'webhyve vCPU');
    this.#worker.addEventListener('error', (event) => {
      this.#error = new Error(event.message || `the vCPU's worker ${script.href} could not be started`);
      this.#failed?.(this.#error);
    });
  }

  /** Has the Worker run a vCPU. `failed` is called when it ends by an error, or has. */
  run(start: VcpuWorkerStart, failed: (error: Error) => void): VcpuThread {
    this.#failed = failed;
    if (this.#error) failed(this.#error);
    this.#worker.postMessage(start);
    return {
      terminate: () => {
        this.#worker.terminate();
        return Promise.resolve();
      },
    };
  }
}

export class WaitingVcpus {
  readonly #waiting: WaitingVcpu[] = [];

  /** `script` is the address of vcpu-worker.js. */
  constructor(readonly script: URL) {}

  /** Starts as many as are missing. */
  prepare(count: number): void {
    while (this.#waiting.length < count) this.#waiting.push(new WaitingVcpu(this.script));
  }

  run(start: VcpuWorkerStart, failed: (error: Error) => void): VcpuThread {
    return (this.#waiting.shift() ?? new WaitingVcpu(this.script)).run(start, failed);
  }
}
