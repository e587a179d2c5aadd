/** The devices' clock: machine time, and timers that follow it through pauses and counted time. */
import { CFG_FLAGS, CFG_TIME_OFFSET_NS, CFGF_DETERMINISTIC } from '../../core-as/layout.ts';
import type { Clock } from '../bus/clock.ts';
import type { CoreState } from './core.ts';
import { machineNowNs } from './vcpu-loop.ts';

interface Timer {
  readonly deadlineNs: number;
  readonly callback: () => void;
}

/** setTimeout takes 31 bits of milliseconds; a longer wait is made in steps. */
const LONGEST_TIMEOUT_MS = 0x7fff_ffff;

export class MachineClock implements Clock {
  /** Sorted by deadline; equal deadlines keep the order in which they were set. */
  readonly #timers: Timer[] = [];
  #hostTimer: ReturnType<typeof setTimeout> | undefined;
  #stoppedAtNs: number | undefined = undefined;

  constructor(
    private readonly state: CoreState,
    private readonly hostNowNs: () => number,
  ) {}

  nowNs(): number {
    return this.#stoppedAtNs ?? machineNowNs(this.state, this.hostNowNs);
  }

  at(deadlineNs: number, callback: () => void): () => void {
    const timer: Timer = { deadlineNs, callback };
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#timers[middle]?.deadlineNs ?? Infinity) <= deadlineNs) low = middle + 1;
      else high = middle;
    }
    this.#timers.splice(low, 0, timer);
    if (low === 0) this.#arm();
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at === -1) return;
      this.#timers.splice(at, 1);
      if (at === 0) this.#arm();
    };
  }

  /** Machine time of the first timer; Infinity when none is set. */
  get nextDeadlineNs(): number {
    return this.#timers[0]?.deadlineNs ?? Infinity;
  }

  /** Calls back every timer that is due. */
  runDue(): void {
    if (this.#stoppedAtNs !== undefined || this.#timers.length === 0) return;
    const nowNs = this.nowNs();
    // Timers that callbacks set wait for the next call, so that a zero delay cannot hold this loop.
    let due = 0;
    while ((this.#timers[due]?.deadlineNs ?? Infinity) <= nowNs) due++;
    if (due === 0) return;
    for (const timer of this.#timers.splice(0, due)) timer.callback();
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#hostTimer);
    this.#hostTimer = undefined;
    // Counted time advances between slices only; the inline loop asks for runDue() there.
    if (this.#stoppedAtNs !== undefined || (this.state.u32(CFG_FLAGS) & CFGF_DETERMINISTIC) !== 0) return;
    const first = this.#timers[0];
    if (!first || first.deadlineNs === Infinity) return;
    const waitMs = Math.min(Math.max(0, Math.ceil((first.deadlineNs - this.nowNs()) / 1e6)), LONGEST_TIMEOUT_MS);
    this.#hostTimer = setTimeout(() => {
      this.runDue();
      this.#arm();
    }, waitMs);
  }

  /** Machine time stands still (pause, snapshot). */
  stop(): void {
    if (this.#stoppedAtNs !== undefined) return;
    this.#stoppedAtNs = this.nowNs();
    clearTimeout(this.#hostTimer);
  }

  /** Machine time goes on from where it stopped, or from another time (restore). */
  resume(fromNs = this.#stoppedAtNs): void {
    if (fromNs === undefined) return;
    if ((this.state.u32(CFG_FLAGS) & CFGF_DETERMINISTIC) === 0) {
      this.state.setF64(CFG_TIME_OFFSET_NS, fromNs - this.hostNowNs());
    }
    this.#stoppedAtNs = undefined;
    this.#arm();
  }

  /** Drops all timers. */
  close(): void {
    this.#timers.length = 0;
    clearTimeout(this.#hostTimer);
  }
}
