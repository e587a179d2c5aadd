/**
 * The legacy virtio PCI transport (virtio 0.9.5, 2.1; virtio 1.0, 4.1.4.8), as bhyve offers it: registers in I/O BAR0, the MSI-X table in
 * BAR1. Device models extend {@link VirtioDevice}.
 */
import type { GuestMemory } from '../bus/guest-memory.ts';
import { allOnes, type AccessSize } from '../bus/port-bus.ts';
import type { Counters } from '../device.ts';
import type { DeviceContext } from '../device-context.ts';
import { PciFunction } from '../pci/function.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { VirtQueue } from './queue.ts';

export const VIRTIO_VENDOR_ID = 0x1af4;

/** Feature bits of every device (virtio 0.9.5, 2.2.2 and appendix B). */
export const VIRTIO_F_NOTIFY_ON_EMPTY = 24;
export const VIRTIO_RING_F_INDIRECT_DESC = 28;
export const VIRTIO_RING_F_EVENT_IDX = 29;

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

export const ISR_QUEUE = 0x01;
export const ISR_CONFIG = 0x02;
export const NO_VECTOR = 0xffff;

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

/** A hostile guest must not fill the host's log. */
const MAX_LOGGED_PROBLEMS = 16;

export interface VirtioDeviceOptions {
  readonly memory: GuestMemory;
  /** False (-W): no MSI-X capability and no BAR1, MSI with one message only. */
  readonly msix: boolean;
  readonly log: (text: string) => void;
}

/** What every virtio device takes from the machine. */
export function virtioOptions(context: DeviceContext): VirtioDeviceOptions {
  return { memory: context.memory, msix: context.virtioMsix, log: (text) => context.log(text) };
}

export interface VirtioIdentity {
  readonly deviceId: number;
  /** Virtio device type; the subsystem id. */
  readonly type: number;
  readonly classCode: number;
}

export abstract class VirtioDevice extends PciFunction {
  readonly queues: readonly VirtQueue[];
  /** Times that a queue broke. */
  brokenQueues = 0;
  /** Requests that failed because of what the guest asked for. */
  badRequests = 0;
  protected readonly memory: GuestMemory;
  readonly #log: (text: string) => void;
  #problemsLogged = 0;
  readonly #hostFeatures: number;
  readonly #configBytes: number;
  #guestFeatures = 0;
  #queueSelect = 0;
  #status = 0;
  /** The driver has reset the device and its backend still moves data of requests from before. */
  #draining = false;
  #statusBeforeReset = 0;
  #isr = 0;
  #configVector = NO_VECTOR;

  constructor(
    kind: string,
    identity: VirtioIdentity,
    options: VirtioDeviceOptions,
    device: {
      readonly queueSizes: readonly number[];
      readonly featureBits: readonly number[];
      readonly configBytes: number;
    },
  ) {
    super(kind, {
      vendorId: VIRTIO_VENDOR_ID,
      deviceId: identity.deviceId,
      classCode: identity.classCode,
      subclass: 0,
      subsystemVendorId: VIRTIO_VENDOR_ID,
      subsystemId: identity.type,
    });
    this.memory = options.memory;
    this.#log = options.log;
    this.#configBytes = device.configBytes;
    this.#hostFeatures = device.featureBits.reduce((bits, bit) => bits | (1 << bit), 0) >>> 0;
    this.queues = device.queueSizes.map(
      (size) =>
        new VirtQueue(options.memory, size, (problem) => {
          this.brokenQueues++;
          this.problem(problem);
        }),
    );
    if (options.msix) this.addMsix(device.queueSizes.length + 1, 1);
    this.addMsi(1);
    this.requestIntx();
    this.addBar(0, 'io', CONFIG_OFFSET_MSIX + device.configBytes, {
      posted: [{ offset: REG_QUEUE_NOTIFY, lengthBytes: 2 }],
    });
  }

  /** The driver says that there is something in a queue. */
  protected abstract queueNotified(index: number, queue: VirtQueue): void;

  /** The driver reset the device. Queues and features are clear already. */
  protected driverReset(): void {}

  /** A read of device configuration; offset + size never exceed it. */
  protected abstract readDeviceRegister(offset: number, size: AccessSize): number;

  /** A write to device configuration. Most devices have nothing there to write. */
  protected writeDeviceRegister(_offset: number, _size: AccessSize, _value: number): void {
    this.badAccesses++;
  }

  protected get queue0(): VirtQueue {
    const queue = this.queues[0];
    if (!queue) throw new Error(`${this.kind} has no queues`);
    return queue;
  }

  /** True when the driver accepted a feature bit that was offered. */
  protected negotiated(bit: number): boolean {
    return (this.#guestFeatures & (1 << bit)) !== 0;
  }

  /** Logs something the guest did wrong, a few times per device. */
  protected problem(text: string): void {
    if (this.#problemsLogged++ < MAX_LOGGED_PROBLEMS) this.#log(`${this.kind}: ${text}`);
  }

  /** Interrupts the driver for a queue if it wants to know about what was given back. */
  protected signalQueue(queue: VirtQueue): void {
    if (queue.takeInterrupt()) this.#interrupt(ISR_QUEUE, queue.msixVector);
  }

  /** Interrupts the driver: device configuration has changed. */
  protected signalConfig(): void {
    this.#interrupt(ISR_CONFIG, this.#configVector);
  }

  #interrupt(isr: number, vector: number): void {
    if (this.msixEnabled) {
      this.raiseMsix(vector);
      return;
    }
    this.#isr |= isr;
    this.raiseMsi(0);
    this.setIntx(true);
  }

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index !== 0) return super.readBar(index, offset, size);
    const configStart = this.msixEnabled ? CONFIG_OFFSET_MSIX : CONFIG_OFFSET;
    if (offset >= configStart) {
      if (offset + size <= configStart + this.#configBytes) return this.readDeviceRegister(offset - configStart, size);
      return super.readBar(index, offset, size);
    }
    const register = REGISTER_SIZES[offset];
    if (register?.size !== size) {
      this.badAccesses++;
      this.problem(`read from ${register?.name ?? 'unknown register'}: bad size ${size}`);
      return allOnes(size);
    }
    const queue = this.queues[this.#queueSelect];
    switch (offset) {
      case REG_HOST_FEATURES:
        return this.#hostFeatures;
      case REG_GUEST_FEATURES:
        return this.#guestFeatures;
      case REG_QUEUE_PFN:
        return queue?.pfn ?? 0;
      case REG_QUEUE_SIZE:
        return queue?.size ?? 0;
      case REG_QUEUE_SELECT:
        return this.#queueSelect;
      case REG_QUEUE_NOTIFY:
        return 0;
      case REG_STATUS:
        // The reset shows once nothing of before can land in guest memory any more (virtio 1.0, 4.1.4.3.1).
        return this.#draining ? this.#statusBeforeReset : this.#status;
      case REG_ISR: {
        const isr = this.#isr;
        this.#isr = 0;
        if (isr !== 0) this.setIntx(false);
        return isr;
      }
      case REG_CONFIG_VECTOR:
        return this.#configVector;
      default:
        return queue?.msixVector ?? NO_VECTOR;
    }
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index !== 0) {
      super.writeBar(index, offset, size, value);
      return;
    }
    const configStart = this.msixEnabled ? CONFIG_OFFSET_MSIX : CONFIG_OFFSET;
    if (offset >= configStart) {
      if (offset + size <= configStart + this.#configBytes) this.writeDeviceRegister(offset - configStart, size, value);
      else super.writeBar(index, offset, size, value);
      return;
    }
    const register = REGISTER_SIZES[offset];
    if (register?.size !== size) {
      this.badAccesses++;
      this.problem(`write to ${register?.name ?? 'unknown register'}: bad size ${size}`);
      return;
    }
    const queue = this.queues[this.#queueSelect];
    switch (offset) {
      case REG_GUEST_FEATURES:
        this.#guestFeatures = (value & this.#hostFeatures) >>> 0;
        this.#applyFeatures();
        break;
      case REG_QUEUE_PFN:
        queue?.setPfn(value);
        break;
      case REG_QUEUE_SELECT:
        this.#queueSelect = value;
        break;
      case REG_QUEUE_NOTIFY:
        this.#notify(value);
        break;
      case REG_STATUS:
        if (value === 0) this.#resetByDriver();
        else this.#status = value;
        break;
      case REG_CONFIG_VECTOR:
        this.#configVector = this.#checkedVector(value);
        break;
      case REG_QUEUE_VECTOR:
        if (queue) queue.msixVector = this.#checkedVector(value);
        break;
      default:
        // Host features, queue size and ISR are read-only.
        this.badAccesses++;
    }
  }

  /** A vector that the table does not have reads back as none (virtio 1.0, 4.1.5.1.2). */
  #checkedVector(vector: number): number {
    return vector < this.msixVectorCount ? vector : NO_VECTOR;
  }

  #applyFeatures(): void {
    const features = {
      indirect: this.negotiated(VIRTIO_RING_F_INDIRECT_DESC),
      eventIndex: this.negotiated(VIRTIO_RING_F_EVENT_IDX),
      notifyOnEmpty: this.negotiated(VIRTIO_F_NOTIFY_ON_EMPTY),
    };
    for (const queue of this.queues) queue.features = features;
  }

  #notify(index: number): void {
    const queue = this.queues[index];
    if (!queue) {
      this.badRequests++;
      this.problem(`queue ${index} notify out of range`);
      return;
    }
    if (queue.ready) this.queueNotified(index, queue);
  }

  #resetByDriver(): void {
    if (this.requests.inFlight > 0 && !this.#draining) {
      this.#draining = true;
      this.#statusBeforeReset = this.#status;
      const drained = this.requests.abandon().then(() => {
        this.#draining = false;
      });
      this.attachment.stall(drained);
    }
    for (const queue of this.queues) queue.reset();
    this.#guestFeatures = 0;
    this.#queueSelect = 0;
    this.#status = 0;
    this.#isr = 0;
    this.#configVector = NO_VECTOR;
    this.setIntx(false);
    this.driverReset();
  }

  protected override resetDevice(): void {
    this.#resetByDriver();
  }

  protected override deviceCounters(): Counters {
    return { 'bad requests': this.badRequests, 'broken queues': this.brokenQueues };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      guestFeatures: this.#guestFeatures,
      queueSelect: this.#queueSelect,
      status: this.#status,
      isr: this.#isr,
      configVector: this.#configVector,
      queues: this.queues.map((queue) => queue.save()),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const guestFeatures = fields.integer('guestFeatures', 0xffffffff);
    const queueSelect = fields.integer('queueSelect', 0xffff);
    const status = fields.integer('status', 0xff);
    const isr = fields.integer('isr', 0xff);
    const configVector = fields.integer('configVector', 0xffff);
    const queues = fields.groups('queues', this.queues.length);
    const restoreQueues = this.queues.flatMap((queue, index) => {
      const saved = queues[index];
      return saved ? [queue.prepareRestore(saved)] : [];
    });
    return () => {
      this.#guestFeatures = (guestFeatures & this.#hostFeatures) >>> 0;
      this.#applyFeatures();
      this.#queueSelect = queueSelect;
      this.#status = status;
      this.#isr = isr;
      this.#configVector = configVector;
      for (const restore of restoreQueues) restore();
      this.afterRestore();
    };
  }

  /** Takes up again what was in flight when the snapshot was made. */
  protected afterRestore(): void {}
}
