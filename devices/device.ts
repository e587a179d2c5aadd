/**
 * What the machine asks of every device, PCI function or part of the platform. {@link DeviceSet} drives the calls and asserts their
 * order: start, then any number of pause and resume pairs, with save and restore while paused, and close at the end.
 */
import type { DeviceState, Stateful } from './snapshot.ts';

/** Counts of errors and drops by name; names are short English phrases (`bad requests`), values never shrink. */
export type Counters = Readonly<Record<string, number>>;

export interface Device extends Stateful {
  /** The machine starts: backends may deliver input from here on. */
  start(): void;

  /**
   * Resolves when the device stands still: it holds back input from its backends, and no request is in flight any more. From then until
   * {@link resume} it neither touches guest memory nor raises an interrupt. The vCPUs are stopped already.
   */
  pause(): Promise<void> | void;

  resume(): void;

  /**
   * Back to the state after power-on. Resolves when every request that was in flight has been drained or abandoned: no DMA of the device
   * lands in guest memory afterwards.
   */
  reset(): Promise<void> | void;

  /** Gives the host's resources back. The machine is over; a device that was never started is closed as well. */
  close(): Promise<void> | void;

  counters(): Counters;
}

/** A device without input, requests in flight or resources of the host: only its state counts. */
export abstract class PassiveDevice implements Device {
  start(): void {}

  pause(): void {}

  resume(): void {}

  abstract reset(): void;
  abstract save(): DeviceState;
  abstract restore(state: DeviceState): void;

  close(): Promise<void> | void {}

  counters(): Counters {
    return {};
  }
}
