/** Machine time that a test moves. */
import type { Clock } from '../../devices/bus/clock.ts';

interface Timer {
  readonly deadlineNs: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  #timers: Timer[] = [];

  /** A machine's time is no whole number of nanoseconds. */
  constructor(startNs = 0) {
    this.#now = startNs;
  }

  nowNs(): number {
    return this.#now;
  }

  at(deadlineNs: number, callback: () => void): () => void {
    const timer = { deadlineNs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass; what falls due is called at its time. */
  advance(ns: number): void {
    const end = this.#now + ns;
    for (;;) {
      const next = this.#timers.reduce<Timer | undefined>(
        (first, timer) => (!first || timer.deadlineNs < first.deadlineNs ? timer : first),
        undefined,
      );
      if (!next || next.deadlineNs > end) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.deadlineNs);
      next.callback();
    }
    this.#now = end;
  }
}
