/** How long a TCP sender waits for an acknowledgement (RFC 6298), and how much it has under way (RFC 5681, RFC 6582). */

const INITIAL_RTO_MS = 1000;
/** RFC 6298 says one second; this link is short, and Linux has the same. */
const MIN_RTO_MS = 200;
const MAX_RTO_MS = 60_000;
/** Clock granularity G. */
const GRANULARITY_MS = 4;

/** Retransmission timeout from measured round trips. */
export class RoundTripTimer {
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #baseMs = INITIAL_RTO_MS;
  #backoff = 1;

  get timeoutMs(): number {
    return Math.min(this.#baseMs * this.#backoff, MAX_RTO_MS);
  }

  measured(roundTripMs: number): void {
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
    } else {
      this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - roundTripMs);
      this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * roundTripMs;
    }
    const wanted = this.#smoothedMs + Math.max(GRANULARITY_MS, 4 * this.#variationMs);
    this.#baseMs = Math.max(MIN_RTO_MS, wanted);
  }

  backOff(): void {
    this.#backoff = Math.min(this.#backoff * 2, 1024);
  }

  /** Something new was acknowledged. */
  progress(): void {
    this.#backoff = 1;
  }
}

/** Segments under way at the start: the link is the guest's memory, which loses nothing unless it leads elsewhere. */
const INITIAL_SEGMENTS = 64;
const MAX_WINDOW_BYTES = 8 * 1024 * 1024;

/** The congestion window, in bytes. */
export class CongestionWindow {
  bytes: number;
  #threshold = MAX_WINDOW_BYTES;

  constructor(readonly segmentBytes: number) {
    this.bytes = INITIAL_SEGMENTS * segmentBytes;
  }

  /** New bytes were acknowledged outside of a recovery. */
  acknowledged(bytes: number): void {
    if (this.bytes < this.#threshold) this.bytes += bytes;
    else this.bytes += Math.max(1, Math.floor((this.segmentBytes * bytes) / this.bytes));
    this.bytes = Math.min(this.bytes, MAX_WINDOW_BYTES);
  }

  /** A segment was lost. The three that told of it have left the network; `counted`: what has left is counted apart (RFC 6675). */
  lost(inFlightBytes: number, counted: boolean): void {
    this.#threshold = Math.max(inFlightBytes / 2, 2 * this.segmentBytes);
    this.bytes = this.#threshold + (counted ? 0 : 3 * this.segmentBytes);
  }

  /** One more segment has left the network while a lost one is replaced. */
  inflate(): void {
    this.bytes = Math.min(this.bytes + this.segmentBytes, MAX_WINDOW_BYTES);
  }

  /** What was lost has arrived. */
  recovered(): void {
    this.bytes = Math.max(this.#threshold, 2 * this.segmentBytes);
  }

  /** Nothing came back in time. */
  timedOut(inFlightBytes: number): void {
    this.#threshold = Math.max(inFlightBytes / 2, 2 * this.segmentBytes);
    this.bytes = this.segmentBytes;
  }
}
