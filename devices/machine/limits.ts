/** What ends a machine from outside: a signal and a limit of time. */
import type { Machine } from './machine.ts';

export interface MachineLimits {
  /** Destroys the machine when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after which the machine ends with an error, wherever it is. */
  readonly timeLimit?: number | undefined;
}

/** Watches over a machine until it has ended. */
export function limitMachine(machine: Machine, { signal, timeLimit }: MachineLimits): void {
  const ends = new AbortController();
  signal?.addEventListener('abort', () => void machine.destroy(), { once: true, signal: ends.signal });
  const expire = (): void => {
    machine.fail(`the machine's time limit of ${timeLimit} ms is over`);
    // It may be paused, or not even started.
    void machine.destroy();
  };
  const timer = timeLimit === undefined ? undefined : setTimeout(expire, timeLimit);
  void machine.exited.then(() => {
    clearTimeout(timer);
    ends.abort();
  });
}
