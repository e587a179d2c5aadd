/** Wakes the devices' thread whenever a vCPU's thread, or the core, bumps HOST_DOORBELL. */
import { HOST_DOORBELL } from '../../core-as/layout.ts';
import type { CoreState } from './core.ts';
import { ringHostDoorbell } from './mailbox.ts';

/**
 * A vCPU that was just answered often asks again within microseconds (a driver walking PCI configuration space): rounds of looking for
 * that before the event loop gets its turn, so that not every access pays for waking a thread.
 */
const ROUNDS = 64;
/** Looks at the doorbell between two rounds; some tens of microseconds. */
const LOOKS = 2000;
/** The same when an access is likely to come: a driver reads several registers in a row, and some after each interrupt. */
const LONG_LOOKS = 10_000;
/** After looking for long in vain, the next so many expectations are worth no more than others, twice as many each time: the vCPU has no processor to run on. */
const MAX_DOUBTS = 64;
/**
 * Steps that promises take, at most, from a backend that answered at once to the request's completion: they run before the looking, which would hold
 * them up.
 */
const PROMISE_STEPS = 12;

export class HostPump {
  #running = false;
  #accessExpected = false;
  /** Expectations to pass over, and how many it was the last time. */
  #doubts = 0;
  #doubtfulness = 0;

  constructor(
    private readonly state: CoreState,
    private readonly service: () => void,
    private readonly yieldNow: () => Promise<void>,
  ) {}

  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#turn();
  }

  stop(): void {
    this.#running = false;
    ringHostDoorbell(this.state);
  }

  /** Asks for another turn, from any thread. */
  ring(): void {
    ringHostDoorbell(this.state);
  }

  /** A vCPU is likely to access a device soon: it is worth looking for that for longer, once. On the devices' thread. */
  expectAccess(): void {
    this.#accessExpected = true;
  }

  #takeExpectation(): boolean {
    if (!this.#accessExpected) return false;
    this.#accessExpected = false;
    if (this.#doubts === 0) return true;
    this.#doubts--;
    return false;
  }

  #learn(came: boolean): void {
    this.#doubtfulness = came ? 0 : Math.min(2 * this.#doubtfulness + 1, MAX_DOUBTS);
    this.#doubts = this.#doubtfulness;
  }

  readonly #turn = async (): Promise<void> => {
    if (!this.#running) return;
    const { i32 } = this.state;
    // The word before the work: whatever is left undone because it came later changes the word.
    let seen = Atomics.load(i32, HOST_DOORBELL >> 2);
    let served = seen;
    for (let round = 0; round < ROUNDS; round++) {
      this.service();
      for (let step = 0; step < PROMISE_STEPS; step++) await undefined;
      if (!this.#running) return;
      served = seen;
      const isLong = this.#takeExpectation();
      const looks = isLong ? LONG_LOOKS : LOOKS;
      for (let look = 0; look < looks && seen === served; look++) seen = Atomics.load(i32, HOST_DOORBELL >> 2);
      if (isLong) this.#learn(seen !== served);
      if (seen === served) break;
    }
    // Compared with what was served, not with what was seen last: after the last round those may differ.
    const wait = Atomics.waitAsync(i32, HOST_DOORBELL >> 2, served);
    // A task of the event loop, not a microtask: timers and input get their turn however busy the guest is.
    if (wait.async) void wait.value.then(this.#turn);
    else void this.yieldNow().then(this.#turn);
  };
}
