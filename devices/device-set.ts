/** Drives the life cycle of a machine's devices, in the order in which they were added, and asserts that it is kept. */
import type { Counters, Device } from './device.ts';

type Phase = 'built' | 'running' | 'pausing' | 'paused' | 'closed';

/** How long closing may take before the machine ends without the device. */
const CLOSE_PATIENCE_MS = 5_000;

export interface DeviceSetOptions {
  /** A device failed to do what the machine asked: something for the user to read. */
  readonly failed: (name: string, what: string, error: unknown) => void;
  readonly closePatienceMs?: number | undefined;
}

export class DeviceSet {
  readonly #devices = new Map<string, Device>();
  readonly #options: DeviceSetOptions;
  #phase: Phase = 'built';
  #pausing: Promise<void> | undefined;

  constructor(options: DeviceSetOptions) {
    this.#options = options;
  }

  /** Adds a device under a name that no other has; it joins the phase of the others at {@link start}. */
  add(name: string, device: Device): void {
    if (this.#phase !== 'built') throw new Error(`${name}: the machine has started`);
    if (this.#devices.has(name)) throw new Error(`there are two devices ${name}`);
    this.#devices.set(name, device);
  }

  entries(): ReadonlyMap<string, Device> {
    return this.#devices;
  }

  #expect(...phases: readonly Phase[]): void {
    if (!phases.includes(this.#phase)) throw new Error(`the devices are ${this.#phase}`);
  }

  start(): void {
    this.#expect('built');
    this.#phase = 'running';
    for (const device of this.#devices.values()) device.start();
  }

  /**
   * Resolves when every device stands still; rejects with the first error of one that cannot. Devices that were not started stand still
   * already.
   */
  pause(): Promise<void> {
    if (this.#phase === 'pausing') return this.#pausing ?? Promise.resolve();
    if (this.#phase !== 'running') return Promise.resolve();
    this.#phase = 'pausing';
    this.#pausing = Promise.all([...this.#devices.values()].map(async (device) => device.pause())).then(() => {
      if (this.#phase === 'pausing') this.#phase = 'paused';
    });
    return this.#pausing;
  }

  resume(): void {
    if (this.#phase === 'built') return;
    this.#expect('paused');
    this.#phase = 'running';
    for (const device of this.#devices.values()) device.resume();
  }

  /** Resolves when no device has anything in flight. The vCPUs are stopped. */
  async reset(): Promise<void> {
    this.#expect('built', 'running', 'paused');
    await Promise.all([...this.#devices.values()].map(async (device) => device.reset()));
  }

  /**
   * Closes every device, the one that was added last first. Never rejects and takes a bounded time: a device that fails or hangs is
   * reported and left behind.
   */
  async close(): Promise<void> {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    await Promise.all([...this.#devices].reverse().map(([name, device]) => this.#close(name, device)));
  }

  async #close(name: string, device: Device): Promise<void> {
    const patienceMs = this.#options.closePatienceMs ?? CLOSE_PATIENCE_MS;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${patienceMs} ms`)), patienceMs);
    });
    try {
      await Promise.race([(async () => device.close())(), expired]);
    } catch (error) {
      this.#options.failed(name, 'close', error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Counters of all devices that have any, by the device's name. */
  counters(): Readonly<Record<string, Counters>> {
    return Object.fromEntries(
      [...this.#devices]
        .map(([name, device]) => [name, device.counters()] as const)
        .filter(([, c]) => Object.keys(c).length > 0),
    );
  }
}
