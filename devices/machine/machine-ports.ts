/** The machine's port bus: knows which writes a vCPU's thread may post without waiting for the device. */
import { PortBus, type PortHandler } from '../bus/port-bus.ts';

/** Legacy virtio header: queue notify, a doorbell whose effect no driver waits for (virtio 1.0, 4.1.4.8). */
const VIRTIO_QUEUE_NOTIFY = 0x10;
const VIRTIO_QUEUE_NOTIFY_BYTES = 2;

export class MachinePortBus extends PortBus {
  readonly #posted = new Set<number>();
  /** Told when ports become posted, or stop being so. */
  onPosted: ((first: number, count: number, posted: boolean) => void) | undefined;

  override claim(name: string, first: number, count: number, handler: PortHandler): () => void {
    const release = super.claim(name, first, count, handler);
    if (!/^virtio-\S+ BAR0$/.test(name)) return release;
    const notify = first + VIRTIO_QUEUE_NOTIFY;
    this.#posted.add(notify);
    this.onPosted?.(notify, VIRTIO_QUEUE_NOTIFY_BYTES, true);
    return () => {
      this.#posted.delete(notify);
      this.onPosted?.(notify, VIRTIO_QUEUE_NOTIFY_BYTES, false);
      release();
    };
  }

  /** Tells {@link onPosted} of what was claimed before it was set. */
  announcePosted(): void {
    for (const notify of this.#posted) this.onPosted?.(notify, VIRTIO_QUEUE_NOTIFY_BYTES, true);
  }
}
