/** The engine's garbage collector, at the program's request. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: unknown;

/** Collects all garbage of this thread; does nothing where the engine does not offer that. */
export function collectGarbage(): void {
  // A context costs milliseconds, which most threads never need. One that is made while the flag is set has the function.
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('globalThis.gc ?? null');
    setFlagsFromString('--no-expose-gc');
  }
  if (typeof collect === 'function') (collect as () => void)();
}
