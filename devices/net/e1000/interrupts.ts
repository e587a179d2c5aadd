/** Causes, masks and moderation of the card's one interrupt line (manual, 13.4.17 to 13.4.21). */
import type { Clock } from '../../bus/clock.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { INT_ALL } from './registers.ts';

/** Unit of ITR. */
const ITR_UNIT_NS = 256;
const INITIAL_ITR = 250;
/**
 * The host's timers are late by up to a millisecond, twenty times what drivers ask for (Linux: 14 to 250 us), and what waits for one is a request's
 * answer. So a shorter wait is left out: a driver that polls keeps its interrupts masked while there is work, which moderates them as well.
 */
const SHORTEST_WAIT_NS = 1_000_000;

export class InterruptCauses {
  #causes = 0;
  #mask = 0;
  #itr = INITIAL_ITR;
  #lastRaisedNs = -Infinity;
  #asserted = false;
  #cancel: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly setLine: (asserted: boolean) => void,
  ) {}

  get mask(): number {
    return this.#mask;
  }

  get itr(): number {
    return this.#itr;
  }

  set itr(value: number) {
    this.#itr = value & 0xffff;
  }

  /** Something happened. */
  raise(causes: number): void {
    this.#causes |= causes & INT_ALL;
    this.#update();
  }

  /** ICR: reading takes all causes. */
  take(): number {
    const causes = this.#causes;
    this.#causes = 0;
    this.#update();
    return causes;
  }

  /** ICR: ones clear causes. */
  clear(causes: number): void {
    this.#causes &= ~causes;
    this.#update();
  }

  enable(causes: number): void {
    this.#mask |= causes & INT_ALL;
    this.#update();
  }

  disable(causes: number): void {
    this.#mask &= ~causes;
    this.#update();
  }

  #update(): void {
    const wanted = (this.#causes & this.#mask) !== 0;
    if (!wanted) {
      this.#cancel?.();
      this.#cancel = undefined;
      if (this.#asserted) this.#set(false);
      return;
    }
    if (this.#asserted || this.#cancel) return;
    const now = this.clock.nowNs();
    const allowedNs = this.#lastRaisedNs + this.#itr * ITR_UNIT_NS;
    if (allowedNs - now < SHORTEST_WAIT_NS) {
      this.#lastRaisedNs = now;
      this.#set(true);
      return;
    }
    this.#cancel = this.clock.at(allowedNs, () => {
      this.#cancel = undefined;
      this.#update();
    });
  }

  #set(asserted: boolean): void {
    this.#asserted = asserted;
    this.setLine(asserted);
  }

  reset(): void {
    this.#causes = 0;
    this.#mask = 0;
    this.#itr = INITIAL_ITR;
    this.#lastRaisedNs = -Infinity;
    this.#update();
  }

  save(): { readonly [field: string]: StateValue } {
    return { causes: this.#causes, mask: this.#mask, itr: this.#itr, asserted: this.#asserted };
  }

  prepareRestore(fields: StateFields): () => void {
    const causes = fields.integer('causes', INT_ALL);
    const mask = fields.integer('mask', INT_ALL);
    const itr = fields.integer('itr', 0xffff);
    const asserted = fields.flag('asserted');
    return () => {
      this.#cancel?.();
      this.#cancel = undefined;
      this.#causes = causes;
      this.#mask = mask;
      this.#itr = itr;
      this.#lastRaisedNs = -Infinity;
      this.#asserted = asserted;
    };
  }

  /** Takes up what was waiting when the snapshot was made. */
  resume(): void {
    this.#update();
  }
}
