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
