/** The machine's clock on Node: uv_hrtime, one monotonic clock for every thread of the process. */

/** A clock origin that other threads can be given: hrtime in nanoseconds, in decimal. */
export function makeClockOrigin(): string {
  return process.hrtime.bigint().toString();
}

/** Nanoseconds since the origin. performance.now() is read because it makes no bigint; both count the same clock. */
export function clockSince(origin: string): () => number {
  const sinceOriginNs = Number(process.hrtime.bigint() - BigInt(origin));
  const offsetNs = sinceOriginNs - performance.now() * 1e6;
  let lastNs = 0;
  return () => {
    const nowNs = performance.now() * 1e6 + offsetNs;
    // Rounding of the sum must not let time go backwards.
    if (nowNs > lastNs) lastNs = nowNs;
    return lastNs;
  };
}
