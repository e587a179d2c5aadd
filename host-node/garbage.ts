/** The engine's garbage collector, at the program's request. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A function that collects all garbage of this thread; undefined where the engine does not offer one. */
export function garbageCollector(): (() => void) | undefined {
  setFlagsFromString('--expose-gc');
  // A context made while the flag is set has the function.
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  return typeof collect === 'function' ? (collect as () => void) : undefined;
}
