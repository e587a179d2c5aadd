/** A worker thread that is there before its vCPU is: Node takes some 40 ms to start one, while the machine is put together. */
import { Worker } from 'node:worker_threads';
import type { VcpuThread, VcpuThreadStart } from '../devices/machine/host.ts';

export class WaitingThread {
  readonly #worker: Worker;
  #ended = false;
  #error: Error | undefined;
  #failed: ((error: Error) => void) | undefined;

  /** `message` shows the user what the thread has to say. A thread that is never told to run does not keep the process alive. */
  constructor(workerUrl: URL, name: string, message: (text: string) => void) {
    this.#worker = new Worker(workerUrl, { execArgv: [], name });
    this.#worker.unref();
    this.#worker.on('message', (text: unknown) => message(String(text)));
    this.#worker.on('error', (error: unknown) => {
      this.#error = error instanceof Error ? error : new Error(String(error));
      this.#failed?.(this.#error);
    });
    this.#worker.on('exit', () => {
      this.#ended = true;
    });
  }

  /** Has the thread run a vCPU. `failed` is called when it ends by an error, or has. */
  run(start: VcpuThreadStart, failed: (error: Error) => void): VcpuThread {
    this.#failed = failed;
    if (this.#error) failed(this.#error);
    this.#worker.ref();
    this.#worker.postMessage(start);
    return {
      terminate: async () => {
        if (!this.#ended) await this.#worker.terminate();
      },
    };
  }
}
