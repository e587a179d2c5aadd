/** Wakes the devices' thread whenever a vCPU's thread, or the core, bumps HOST_DOORBELL. */
import { HOST_DOORBELL } from '../../core-as/layout.ts';
import type { CoreState } from './core.ts';
import { ringHostDoorbell } from './mailbox.ts';

export class HostPump {
  #running = false;

  constructor(
    private readonly state: CoreState,
    private readonly service: () => void,
  ) {}

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#turn();
  }

  stop(): void {
    this.#running = false;
    ringHostDoorbell(this.state);
  }

  /** Asks for another turn, from any thread. */
  ring(): void {
    ringHostDoorbell(this.state);
  }

  readonly #turn = (): void => {
    if (!this.#running) return;
    const { i32 } = this.state;
    // The word before the work: whatever is left undone because it came later changes the word.
    const seen = Atomics.load(i32, HOST_DOORBELL >> 2);
    this.service();
    const wait = Atomics.waitAsync(i32, HOST_DOORBELL >> 2, seen);
    // A task of the event loop, not a microtask: timers and input get their turn however busy the guest is.
    if (wait.async) void wait.value.then(this.#turn);
    else setTimeout(this.#turn, 0);
  };
}
