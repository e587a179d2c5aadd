/**
 * Atomics.waitAsync for browsers that lack it (Firefox before 145): a Worker that may block waits in its place. Without shared memory only this
 * thread changes the word, and looking at it now and then will do.
 */
import { spawnWorker } from '../spawn-worker.ts';

/** What a waiting Worker is told. */
export interface WaitRequest {
  readonly words: Int32Array;
  readonly index: number;
  readonly value: number;
}

/** What a vCPU's Worker is told to make it one that waits. */
export interface WaiterStart {
  readonly waiter: true;
}

type WaitResult =
  { readonly async: false; readonly value: 'not-equal' } | { readonly async: true; readonly value: Promise<'ok'> };

const LOOK_MS = 4;

class Waiters {
  readonly #idle: Worker[] = [];

  constructor(private readonly script: URL) {}

  #take(): Worker {
    const idle = this.#idle.pop();
    if (idle) return idle;
    const worker = spawnWorker(this.script, 'webhyve wait');
    const start: WaiterStart = { waiter: true };
    worker.postMessage(start);
    return worker;
  }

  wait(request: WaitRequest): Promise<'ok'> {
    const worker = this.#take();
    return new Promise((resolve) => {
      worker.onmessage = () => {
        this.#idle.push(worker);
        resolve('ok');
      };
      worker.postMessage(request);
    });
  }
}

async function look({ words, index, value }: WaitRequest): Promise<'ok'> {
  while (Atomics.load(words, index) === value) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return 'ok';
}

/** Gives this thread an Atomics.waitAsync when it has none. `script` is the address of vcpu-worker.js; undefined without shared memory. */
export function provideWaitAsync(script: URL | undefined): void {
  if (typeof Atomics.waitAsync === 'function') return;
  const waiters = script && new Waiters(script);
  const waitAsync = (words: Int32Array, index: number, value: number): WaitResult => {
    if (Atomics.load(words, index) !== value) return { async: false, value: 'not-equal' };
    const request = { words, index, value };
    return { async: true, value: waiters ? waiters.wait(request) : look(request) };
  };
  Object.defineProperty(Atomics, 'waitAsync', { value: waitAsync, configurable: true, writable: true });
}
