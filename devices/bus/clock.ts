/** Machine time for devices: monotonic nanoseconds since the machine was created. */
export interface Clock {
  nowNs(): number;
  /** Calls back once, not before the given time; returns a function that cancels. */
  at(deadlineNs: number, callback: () => void): () => void;
}
