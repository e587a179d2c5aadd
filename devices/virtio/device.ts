/**
 * A virtio PCI function (virtio 1.0, 4.1): features, queues, interrupts and life cycle of every device type. The registers through which a
 * driver reaches them are the transports' (transport/legacy.ts, transport/modern.ts); the rings are the queues' (queue.ts). Device types
 * extend {@link VirtioDevice}.
 */
import type { GuestMemory } from '../bus/guest-memory.ts';
import type { AccessSize } from '../bus/port-bus.ts';
import type { Counters } from '../device.ts';
import type { DeviceContext } from '../device-context.ts';
import { PciFunction } from '../pci/function.ts';
import { CAP_VENDOR_SPECIFIC } from '../pci/registers.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { VirtQueue } from './queue.ts';
import { CONFIG_OFFSET_MSIX, LegacyTransport, REG_QUEUE_NOTIFY } from './transport/legacy.ts';
import {
  MODERN_BAR_BYTES,
  modernCapabilities,
  ModernTransport,
  NOTIFY_MULTIPLIER,
  NOTIFY_OFFSET,
  VIRTIO_F_VERSION_1,
} from './transport/modern.ts';
import { ISR_CONFIG, ISR_QUEUE, NO_VECTOR, type TransportTarget, type VirtioTransport } from './transport/target.ts';

export const VIRTIO_VENDOR_ID = 0x1af4;
/** Device ids of virtio 1.0 are this plus the device type (virtio 1.0, 4.1.2). */
const MODERN_DEVICE_ID_BASE = 0x1040;
const MODERN_REVISION = 1;

/** Feature bits of every device (virtio 0.9.5, 2.2.2 and appendix B). */
export const VIRTIO_F_NOTIFY_ON_EMPTY = 24;
export const VIRTIO_RING_F_INDIRECT_DESC = 28;
export const VIRTIO_RING_F_EVENT_IDX = 29;

const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;

// Fields of the window onto the modern registers in configuration space, from the start of its capability (virtio 1.0, 4.1.4.7).
const WINDOW_BAR = 4;
const WINDOW_OFFSET = 8;
const WINDOW_LENGTH = 12;
const WINDOW_DATA = 16;

/** A hostile guest must not fill the host's log. */
const MAX_LOGGED_PROBLEMS = 16;

export interface VirtioDeviceOptions {
  readonly memory: GuestMemory;
  /** False (-W): no MSI-X capability and no BAR1, MSI with one message only. */
  readonly msix: boolean;
  readonly log: (text: string) => void;
  /** Default: transitional. */
  readonly transport?: VirtioTransport | undefined;
}

/** What every virtio device takes from the machine. */
export function virtioOptions(context: DeviceContext): VirtioDeviceOptions {
  return {
    memory: context.memory,
    msix: context.virtioMsix,
    transport: context.virtioTransport,
    log: (text) => context.log(text),
  };
}

export interface VirtioIdentity {
  /** PCI device id for legacy drivers; a type that has none is known by its modern id alone. */
  readonly deviceId?: number | undefined;
  /** Virtio device type (virtio 1.0, 5); the subsystem id for legacy drivers. */
  readonly type: number;
  readonly subsystemId?: number | undefined;
  readonly classCode: number;
  readonly subclass?: number | undefined;
}

export interface VirtioShape {
  readonly queueSizes: readonly number[];
  readonly featureBits: readonly number[];
  /** Offered to drivers of virtio 1.0 only. */
  readonly modernFeatureBits?: readonly number[] | undefined;
  readonly configBytes: number;
}

const bitsOf = (bits: readonly number[]): bigint => bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);

export abstract class VirtioDevice extends PciFunction {
  readonly queues: readonly VirtQueue[];
  /** Times that a queue broke. */
  brokenQueues = 0;
  /** Requests that failed because of what the guest asked for. */
  badRequests = 0;
  protected readonly memory: GuestMemory;
  readonly #log: (text: string) => void;
  #problemsLogged = 0;
  readonly #legacyFeatures: bigint;
  readonly #modernFeatures: bigint;
  readonly #configBytes: number;
  readonly #legacy: LegacyTransport | undefined;
  readonly #modern: ModernTransport | undefined;
  /** Offset of the window's capability in configuration space; 0 without one. */
  #window = 0;
  #driverFeatures = 0n;
  /** The same, as two words: the paths of requests look at bits, and BigInt is slow. */
  #driverFeatureWords: readonly [low: number, high: number] = [0, 0];
  #queueSelect = 0;
  #status = 0;
  #statusBeforeReset = 0;
  /** The driver has reset the device and its backend still moves data of requests from before. */
  #draining = false;
  #isr = 0;
  #configVector = NO_VECTOR;
  #configGeneration = 0;

  constructor(kind: string, identity: VirtioIdentity, options: VirtioDeviceOptions, shape: VirtioShape) {
    const transport = options.transport ?? 'transitional';
    const modernOnly = transport === 'modern' || identity.deviceId === undefined;
    super(kind, {
      vendorId: VIRTIO_VENDOR_ID,
      deviceId: (modernOnly ? undefined : identity.deviceId) ?? MODERN_DEVICE_ID_BASE + identity.type,
      revisionId: modernOnly ? MODERN_REVISION : 0,
      classCode: identity.classCode,
      subclass: identity.subclass ?? 0,
      subsystemVendorId: VIRTIO_VENDOR_ID,
      subsystemId: identity.subsystemId ?? identity.type,
    });
    this.memory = options.memory;
    this.#log = options.log;
    this.#configBytes = shape.configBytes;
    this.#legacyFeatures = bitsOf(shape.featureBits);
    this.#modernFeatures = this.#legacyFeatures | bitsOf(shape.modernFeatureBits ?? []);
    this.queues = shape.queueSizes.map((size) => this.#makeQueue(size));
    const target = this.#target();
    if (options.msix) this.addMsix(shape.queueSizes.length + 1, MSIX_BAR);
    this.addMsi(1);
    this.requestIntx();
    if (transport !== 'modern') {
      this.#legacy = new LegacyTransport(target, () => this.msixEnabled);
      this.addBar(LEGACY_BAR, 'io', CONFIG_OFFSET_MSIX + shape.configBytes, {
        posted: [{ offset: REG_QUEUE_NOTIFY, lengthBytes: 2 }],
      });
    }
    if (transport !== 'legacy') this.#modern = this.#addModernTransport(target);
  }

  #makeQueue(size: number): VirtQueue {
    const broken = (problem: string): void => {
      this.brokenQueues++;
      this.problem(problem);
    };
    return new VirtQueue(this.memory, size, broken, () => this.busMaster);
  }

  #addModernTransport(target: TransportTarget): ModernTransport {
    const queueCount = this.queues.length;
    this.addBar(MODERN_BAR, 'mem64', MODERN_BAR_BYTES, {
      posted: [{ offset: NOTIFY_OFFSET, lengthBytes: NOTIFY_MULTIPLIER * queueCount }],
    });
    for (const body of modernCapabilities(MODERN_BAR, queueCount, this.#configBytes)) {
      const mask = new Uint8Array(body.length);
      this.#window = this.addCapability(CAP_VENDOR_SPECIFIC, body, mask);
    }
    // The window's own fields are the driver's to set (4.1.4.7): BAR, offset and length.
    for (const field of [WINDOW_BAR, ...range(WINDOW_OFFSET, WINDOW_DATA)]) {
      this.setConfigMask(this.#window + field, 0xff);
    }
    return new ModernTransport(target);
  }

  /** The device as its transports see it. */
  #target(): TransportTarget {
    const device = this;
    return {
      queues: device.queues,
      get deviceFeatures() {
        return device.#modernFeatures;
      },
      legacyFeatures: device.#legacyFeatures,
      get driverFeatures() {
        return device.#driverFeatures;
      },
      set driverFeatures(accepted) {
        device.#accept(accepted);
      },
      configBytes: device.#configBytes,
      get queueSelect() {
        return device.#queueSelect;
      },
      set queueSelect(index) {
        device.#queueSelect = index;
      },
      get configVector() {
        return device.#configVector;
      },
      set configVector(vector) {
        device.#configVector = vector;
      },
      get configGeneration() {
        return device.#configGeneration;
      },
      get status() {
        // The reset shows once nothing of before can land in guest memory any more (virtio 1.0, 4.1.4.3.1).
        return device.#draining ? device.#statusBeforeReset : device.#status;
      },
      setStatus: (status) => {
        if (status === 0) device.#resetByDriver();
        else device.#status = status;
      },
      takeIsr: () => {
        const isr = device.#isr;
        device.#isr = 0;
        if (isr !== 0) device.setIntx(false);
        return isr;
      },
      checkedVector: (vector) => (vector < device.msixVectorCount ? vector : NO_VECTOR),
      readConfiguration: (offset, size) => device.readDeviceRegister(offset, size),
      writeConfiguration: (offset, size, value) => device.writeDeviceRegister(offset, size, value),
      notify: (index) => device.#notify(index),
      badAccess: (what) => {
        device.badAccesses++;
        if (what !== undefined) device.problem(what);
      },
    };
  }

  // -------------------------------------------------------------------------------------------------------------------
  // For device types

  /** The driver says that there is something in a queue. */
  protected abstract queueNotified(index: number, queue: VirtQueue): void;

  /** The driver reset the device. Queues and features are clear already. */
  protected driverReset(): void {}

  /** The driver has changed the features that it accepts; `negotiated` tells which. */
  protected featuresChanged(): void {}

  /** Device configuration, of the length that the shape states. A type without any has none. */
  protected deviceConfig(): Uint8Array {
    return NO_CONFIG;
  }

  /** A read of device configuration; offset + size never exceed it. */
  protected readDeviceRegister(offset: number, size: AccessSize): number {
    const config = this.deviceConfig();
    let value = 0;
    for (let i = 0; i < size; i++) value += (config[offset + i] ?? 0) * 2 ** (8 * i);
    return value;
  }

  /** A write to device configuration. Most devices have nothing there to write. */
  protected writeDeviceRegister(_offset: number, _size: AccessSize, _value: number): void {
    this.badAccesses++;
  }

  protected get queue0(): VirtQueue {
    return this.queue(0);
  }

  protected queue(index: number): VirtQueue {
    const queue = this.queues[index];
    if (!queue) throw new RangeError(`${this.kind} has no queue ${index}`);
    return queue;
  }

  /** True when the driver accepted a feature bit that was offered. */
  protected negotiated(bit: number): boolean {
    const [low, high] = this.#driverFeatureWords;
    return (((bit < 32 ? low : high) >>> (bit & 31)) & 1) === 1;
  }

  /** The driver keeps to virtio 1.0: headers have that version's form. */
  protected get version1(): boolean {
    return this.negotiated(VIRTIO_F_VERSION_1);
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
    this.#configGeneration = (this.#configGeneration + 1) & 0xff;
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

  // -------------------------------------------------------------------------------------------------------------------
  // Accesses

  protected override readBar(index: number, offset: number, size: AccessSize): number {
    if (index === LEGACY_BAR && this.#legacy) return this.#legacy.read(offset, size);
    if (index === MODERN_BAR && this.#modern) return this.#modern.read(offset, size);
    return super.readBar(index, offset, size);
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    if (index === LEGACY_BAR && this.#legacy) this.#legacy.write(offset, size, value);
    else if (index === MODERN_BAR && this.#modern) this.#modern.write(offset, size, value);
    else super.writeBar(index, offset, size, value);
  }

  /** Where the window onto the modern registers leads, for an access to its data. */
  #throughWindow(offset: number): { readonly at: number; readonly size: AccessSize } | undefined {
    if (this.#window === 0 || offset !== this.#window + WINDOW_DATA) return undefined;
    const size = super.readConfig(this.#window + WINDOW_LENGTH, 4);
    const at = super.readConfig(this.#window + WINDOW_OFFSET, 4);
    if (super.readConfig(this.#window + WINDOW_BAR, 1) !== MODERN_BAR) return undefined;
    if ((size !== 1 && size !== 2 && size !== 4) || at % size !== 0 || at + size > MODERN_BAR_BYTES) return undefined;
    return { at, size };
  }

  override readConfig(offset: number, size: AccessSize): number {
    const window = this.#throughWindow(offset);
    if (!window || !this.#modern || window.size !== size) return super.readConfig(offset, size);
    return this.#modern.read(window.at, size);
  }

  protected override writeDeviceConfig(offset: number, size: AccessSize, value: number): boolean {
    const window = this.#throughWindow(offset);
    if (!window || !this.#modern || window.size !== size) return false;
    this.#modern.write(window.at, size, value);
    return true;
  }

  #accept(accepted: bigint): void {
    const version1 = this.#modern ? accepted & (1n << BigInt(VIRTIO_F_VERSION_1)) : 0n;
    const offered = version1 === 0n ? this.#legacyFeatures : this.#modernFeatures;
    this.#setDriverFeatures((accepted & offered) | version1);
    this.#applyFeatures();
  }

  #setDriverFeatures(features: bigint): void {
    this.#driverFeatures = features;
    this.#driverFeatureWords = [Number(features & 0xffff_ffffn), Number(features >> 32n)];
  }

  #applyFeatures(): void {
    const features = {
      indirect: this.negotiated(VIRTIO_RING_F_INDIRECT_DESC),
      eventIndex: this.negotiated(VIRTIO_RING_F_EVENT_IDX),
      notifyOnEmpty: this.negotiated(VIRTIO_F_NOTIFY_ON_EMPTY),
    };
    for (const queue of this.queues) queue.features = features;
    this.featuresChanged();
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

  /** Requests that the driver announced while it kept the device from its memory are looked at now. */
  protected override busMasterChanged(enabled: boolean): void {
    if (!enabled) return;
    for (const [index, queue] of this.queues.entries()) if (queue.ready) this.queueNotified(index, queue);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Reset, snapshots, counters

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
    this.#modern?.reset();
    this.#setDriverFeatures(0n);
    this.#queueSelect = 0;
    this.#status = 0;
    this.#isr = 0;
    this.#configVector = NO_VECTOR;
    this.setIntx(false);
    this.driverReset();
  }

  protected override resetDevice(): void {
    this.#resetByDriver();
    this.#configGeneration = 0;
  }

  protected override deviceCounters(): Counters {
    return { 'bad requests': this.badRequests, 'broken queues': this.brokenQueues };
  }

  protected override saveDevice(): { readonly [field: string]: StateValue } {
    return {
      driverFeaturesLow: this.#driverFeatureWords[0],
      driverFeaturesHigh: this.#driverFeatureWords[1],
      queueSelect: this.#queueSelect,
      status: this.#status,
      isr: this.#isr,
      configVector: this.#configVector,
      configGeneration: this.#configGeneration,
      queues: this.queues.map((queue) => queue.save()),
      ...(this.#modern ? { modern: this.#modern.save() } : {}),
    };
  }

  protected override prepareDeviceRestore(fields: StateFields): () => void {
    const low = fields.integer('driverFeaturesLow', 0xffffffff);
    const high = fields.integer('driverFeaturesHigh', 0xffffffff);
    const queueSelect = fields.integer('queueSelect', 0xffff);
    const status = fields.integer('status', 0xff);
    const isr = fields.integer('isr', 0xff);
    const configVector = fields.integer('configVector', 0xffff);
    const configGeneration = fields.integer('configGeneration', 0xff);
    const queues = fields.groups('queues', this.queues.length);
    const restoreQueues = this.queues.flatMap((queue, index) => {
      const saved = queues[index];
      return saved ? [queue.prepareRestore(saved)] : [];
    });
    const restoreModern = this.#modern?.prepareRestore(fields.group('modern'));
    return () => {
      void this.requests.abandon();
      this.#accept((BigInt(high) << 32n) | BigInt(low));
      this.#queueSelect = queueSelect;
      this.#status = status;
      this.#isr = isr;
      this.#configVector = configVector;
      this.#configGeneration = configGeneration;
      for (const restore of restoreQueues) restore();
      restoreModern?.();
      this.afterRestore();
    };
  }

  /** Takes up again what was in flight when the snapshot was made. */
  protected afterRestore(): void {}
}

const NO_CONFIG = new Uint8Array();

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}
