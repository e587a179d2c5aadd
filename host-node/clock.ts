/** The machine's clock on Node: uv_hrtime, one monotonic clock for every thread of the process. */

/** A clock origin that other threads can be given: hrtime in nanoseconds, in decimal. */
export function makeClockOrigin(): string {
  return process.hrtime.bigint().toString();
}

/** Readings of both clocks; the first ones are slow, since the functions are compiled on first use. */
const SAMPLES = 200;

/**
 * Nanoseconds since the origin. performance.now() is read because it is the cheaper of the two and makes no bigint; both
 * count the same clock from different beginnings. The difference of those is measured between two readings that are as
 * close as can be had: threads that disagree by more than a guest's own synchronisation takes make it distrust its TSC.
 */
export function clockSince(origin: string): () => number {
  const now = performance.now.bind(performance);
  const originNs = BigInt(origin);
  let offsetNs = 0;
  let closestNs = Infinity;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const before = now();
    const hrtimeNs = Number(process.hrtime.bigint() - originNs);
    const after = now();
    const apartNs = (after - before) * 1e6;
    if (apartNs >= closestNs) continue;
    closestNs = apartNs;
    offsetNs = hrtimeNs - ((before + after) / 2) * 1e6;
  }
  let lastNs = 0;
  return () => {
    const nowNs = now() * 1e6 + offsetNs;
    // Rounding of the sum must not let time go backwards.
    if (nowNs > lastNs) lastNs = nowNs;
    return lastNs;
  };
}
