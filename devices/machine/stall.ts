/**
 * Devices that are busy with a reset (PciAttachment.stall): the vCPUs' accesses to devices wait until everything that was in flight has been
 * drained, as QEMU and bhyve make a driver wait that resets its device.
 */

/** A backend that hangs must not hang the guest for ever. */
export const STALL_PATIENCE_MS = 10_000;

export class Stall {
  #busy = 0;

  /** `over`: the last stall ended. `expired`: a device took too long; its requests may still move data. */
  constructor(
    private readonly over: () => void,
    private readonly expired: (device: string) => void,
  ) {}

  get active(): boolean {
    return this.#busy > 0;
  }

  /** Stalls until `until` settles or {@link STALL_PATIENCE_MS} have passed. */
  begin(device: string, until: Promise<void>): void {
    this.#busy++;
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      this.#busy--;
      if (this.#busy === 0) this.over();
    };
    const timer = setTimeout(() => {
      this.expired(device);
      end();
    }, STALL_PATIENCE_MS);
    void until.then(end, end);
  }
}
