/** The legacy virtio PCI registers (virtio 0.9.5, 2.1; virtio 1.0, 4.1.4.8), as bhyve has them: in an I/O BAR, device configuration behind. */
import { allOnes, type AccessSize } from '../../bus/port-bus.ts';
import type { TransportTarget } from './target.ts';
import { NO_VECTOR } from './target.ts';

/** Registers in BAR0. */
export const REG_HOST_FEATURES = 0x00;
export const REG_GUEST_FEATURES = 0x04;
export const REG_QUEUE_PFN = 0x08;
export const REG_QUEUE_SIZE = 0x0c;
export const REG_QUEUE_SELECT = 0x0e;
export const REG_QUEUE_NOTIFY = 0x10;
export const REG_STATUS = 0x12;
export const REG_ISR = 0x13;
/** Only while MSI-X is enabled; device configuration moves up behind them. */
export const REG_CONFIG_VECTOR = 0x14;
export const REG_QUEUE_VECTOR = 0x16;
export const CONFIG_OFFSET = 0x14;
export const CONFIG_OFFSET_MSIX = 0x18;

const REGISTER_SIZES: Readonly<Record<number, { readonly name: string; readonly size: AccessSize }>> = {
  [REG_HOST_FEATURES]: { name: 'HOSTCAP', size: 4 },
  [REG_GUEST_FEATURES]: { name: 'GUESTCAP', size: 4 },
  [REG_QUEUE_PFN]: { name: 'PFN', size: 4 },
  [REG_QUEUE_SIZE]: { name: 'QNUM', size: 2 },
  [REG_QUEUE_SELECT]: { name: 'QSEL', size: 2 },
  [REG_QUEUE_NOTIFY]: { name: 'QNOTIFY', size: 2 },
  [REG_STATUS]: { name: 'STATUS', size: 1 },
  [REG_ISR]: { name: 'ISR', size: 1 },
  [REG_CONFIG_VECTOR]: { name: 'CFGVEC', size: 2 },
  [REG_QUEUE_VECTOR]: { name: 'QVEC', size: 2 },
};

/** Only the low half of the feature bits exists here. */
const FEATURES_MASK = 0xffff_ffffn;

export class LegacyTransport {
  constructor(
    private readonly target: TransportTarget,
    private readonly msixEnabled: () => boolean,
  ) {}

  get #configStart(): number {
    return this.msixEnabled() ? CONFIG_OFFSET_MSIX : CONFIG_OFFSET;
  }

  /** False when the access has the register's width; bhyve's message otherwise. */
  #refused(offset: number, size: AccessSize, what: 'read from' | 'write to'): boolean {
    const register = REGISTER_SIZES[offset];
    if (register?.size === size) return false;
    this.target.badAccess(`${what} ${register?.name ?? 'unknown register'}: bad size ${size}`);
    return true;
  }

  read(offset: number, size: AccessSize): number {
    const { target } = this;
    const configStart = this.#configStart;
    if (offset >= configStart) {
      if (offset + size <= configStart + target.configBytes)
        return target.readConfiguration(offset - configStart, size);
      target.badAccess();
      return allOnes(size);
    }
    if (this.#refused(offset, size, 'read from')) return allOnes(size);
    const queue = target.queues[target.queueSelect];
    switch (offset) {
      case REG_HOST_FEATURES:
        return Number(target.legacyFeatures & FEATURES_MASK);
      case REG_GUEST_FEATURES:
        return Number(target.driverFeatures & FEATURES_MASK);
      case REG_QUEUE_PFN:
        return queue?.pfn ?? 0;
      case REG_QUEUE_SIZE:
        return queue?.maxSize ?? 0;
      case REG_QUEUE_SELECT:
        return target.queueSelect;
      case REG_QUEUE_NOTIFY:
        return 0;
      case REG_STATUS:
        return target.status;
      case REG_ISR:
        return target.takeIsr();
      case REG_CONFIG_VECTOR:
        return target.configVector;
      default:
        return queue?.msixVector ?? NO_VECTOR;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { target } = this;
    const configStart = this.#configStart;
    if (offset >= configStart) {
      if (offset + size > configStart + target.configBytes) target.badAccess();
      else target.writeConfiguration(offset - configStart, size, value);
      return;
    }
    if (this.#refused(offset, size, 'write to')) return;
    const queue = target.queues[target.queueSelect];
    switch (offset) {
      case REG_GUEST_FEATURES:
        target.driverFeatures = BigInt(value);
        break;
      case REG_QUEUE_PFN:
        queue?.setPfn(value);
        break;
      case REG_QUEUE_SELECT:
        target.queueSelect = value;
        break;
      case REG_QUEUE_NOTIFY:
        target.notify(value);
        break;
      case REG_STATUS:
        target.setStatus(value);
        break;
      case REG_CONFIG_VECTOR:
        target.configVector = target.checkedVector(value);
        break;
      case REG_QUEUE_VECTOR:
        if (queue) queue.msixVector = target.checkedVector(value);
        break;
      default:
        // Host features, queue size and ISR are read-only.
        target.badAccess();
    }
  }
}
