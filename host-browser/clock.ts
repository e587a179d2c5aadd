/** The machine's clock in a browser: performance.now(), which counts one monotonic clock from each thread's own beginning. */

/** A clock origin that other threads can be given: milliseconds since 1970 on the monotonic clock, in decimal. */
export function makeClockOrigin(): string {
  return String(performance.timeOrigin + performance.now());
}

/** Nanoseconds since the origin, agreeing with the other threads of this browser to its clock's resolution. */
export function clockSince(origin: string): () => number {
  const now = performance.now.bind(performance);
  const offsetMs = performance.timeOrigin - Number(origin);
  let lastNs = 0;
  return () => {
    const nowNs = (now() + offsetMs) * 1e6;
    // Rounding of the sum must not let time go backwards.
    if (nowNs > lastNs) lastNs = nowNs;
    return lastNs;
  };
}

const NS_PER_TICK = 1000;
/** Threads disagree by less than this, in ticks; beyond it the shared word is from long ago. */
const MOST_APART = 1_000_000;

/**
 * The same clock, never behind what another thread of the machine has read. Browsers round both performance.now() and timeOrigin, by 5 µs and
 * more, so that two threads may see each other's time run backwards; a guest that finds that in its TSC distrusts it. `last` is a word of
 * shared memory with the latest reading in microseconds, modulo 2^32.
 */
export function sharedClock(nowNs: () => number, last: Int32Array): () => number {
  return () => {
    const own = Math.floor(nowNs() / NS_PER_TICK);
    for (;;) {
      const seen = Atomics.load(last, 0);
      const ahead = (seen - own) | 0;
      if (ahead >= 0 && ahead < MOST_APART) return (own + ahead) * NS_PER_TICK;
      if (Atomics.compareExchange(last, 0, seen, own | 0) === seen) return own * NS_PER_TICK;
    }
  };
}
