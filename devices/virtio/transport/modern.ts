/**
 * The virtio 1.0 PCI registers (virtio 1.0, 4.1.4): four structures in one memory BAR, found through vendor-specific capabilities, and the
 * window onto them in configuration space.
 */
import { allOnes, type AccessSize } from '../../bus/port-bus.ts';
import { RegisterMap, wideRegister } from '../../bus/register-map.ts';
import { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { NO_VECTOR, STATUS_FEATURES_OK, type TransportTarget } from './target.ts';

/** VIRTIO_F_VERSION_1: the driver keeps to virtio 1.0 (6). */
export const VIRTIO_F_VERSION_1 = 32;

/** cfg_type of the capabilities (4.1.4). */
export const CFG_COMMON = 1;
export const CFG_NOTIFY = 2;
export const CFG_ISR = 3;
export const CFG_DEVICE = 4;
export const CFG_PCI = 5;

/** Where the structures lie in the BAR: a page each, as in QEMU. */
export const COMMON_OFFSET = 0x0000;
export const ISR_OFFSET = 0x1000;
export const DEVICE_OFFSET = 0x2000;
export const NOTIFY_OFFSET = 0x3000;
const STRUCTURE_BYTES = 0x1000;
export const MODERN_BAR_BYTES = 0x4000;
/** Distance between the notification addresses of neighbouring queues. */
export const NOTIFY_MULTIPLIER = 4;

/** Length of the common configuration structure (4.1.4.3). */
export const COMMON_BYTES = 0x38;
const CAPABILITY_BYTES = 16;

/** A capability without its first two bytes, as PciFunction.addCapability takes it (4.1.4). */
function capability(
  cfgType: number,
  barIndex: number,
  offset: number,
  lengthBytes: number,
  extra: number[],
): Uint8Array {
  const body = new Uint8Array(CAPABILITY_BYTES - 2 + 4 * extra.length);
  const fields = new DataView(body.buffer);
  fields.setUint8(0, CAPABILITY_BYTES + 4 * extra.length);
  fields.setUint8(1, cfgType);
  fields.setUint8(2, barIndex);
  fields.setUint32(6, offset, true);
  fields.setUint32(10, lengthBytes, true);
  extra.forEach((value, index) => fields.setUint32(14 + 4 * index, value, true));
  return body;
}

/** All capabilities of a device with that much configuration, in the order of the specification; the last is the window. */
export function modernCapabilities(barIndex: number, queueCount: number, configBytes: number): Uint8Array[] {
  return [
    capability(CFG_COMMON, barIndex, COMMON_OFFSET, COMMON_BYTES, []),
    capability(CFG_NOTIFY, barIndex, NOTIFY_OFFSET, NOTIFY_MULTIPLIER * queueCount, [NOTIFY_MULTIPLIER]),
    capability(CFG_ISR, barIndex, ISR_OFFSET, 1, []),
    ...(configBytes > 0 ? [capability(CFG_DEVICE, barIndex, DEVICE_OFFSET, configBytes, [])] : []),
    capability(CFG_PCI, 0, 0, 0, [0]),
  ];
}

export class ModernTransport {
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  /** Everything that the driver wrote as accepted, bits that were never offered included. */
  #asked = 0n;
  readonly #common: RegisterMap;

  constructor(private readonly target: TransportTarget) {
    const queue = (): TransportTarget['queues'][number] | undefined => target.queues[target.queueSelect];
    const word = (bits: bigint, select: number): number =>
      select > 1 ? 0 : Number((bits >> BigInt(32 * select)) & 0xffff_ffffn);
    const place = (name: 'desc' | 'avail' | 'used', offset: number): ReturnType<typeof wideRegister> =>
      wideRegister(
        `queue_${name}`,
        offset,
        () => queue()?.place[name] ?? [0, 0],
        (low, high) => queue()?.setPlace(name, low, high),
      );
    this.#common = new RegisterMap(
      [
        {
          name: 'device_feature_select',
          offset: 0x00,
          bytes: 4,
          read: () => this.#deviceFeatureSelect,
          write: (value) => (this.#deviceFeatureSelect = value),
        },
        {
          name: 'device_feature',
          offset: 0x04,
          bytes: 4,
          read: () => word(target.deviceFeatures | (1n << BigInt(VIRTIO_F_VERSION_1)), this.#deviceFeatureSelect),
        },
        {
          name: 'driver_feature_select',
          offset: 0x08,
          bytes: 4,
          read: () => this.#driverFeatureSelect,
          write: (value) => (this.#driverFeatureSelect = value),
        },
        {
          name: 'driver_feature',
          offset: 0x0c,
          bytes: 4,
          read: () => word(this.#asked, this.#driverFeatureSelect),
          write: (value) => this.#writeFeatures(value),
        },
        {
          name: 'config_msix_vector',
          offset: 0x10,
          bytes: 2,
          read: () => target.configVector,
          write: (value) => (target.configVector = target.checkedVector(value)),
        },
        { name: 'num_queues', offset: 0x12, bytes: 2, read: () => target.queues.length },
        {
          name: 'device_status',
          offset: 0x14,
          bytes: 1,
          read: () => target.status,
          write: (value) => this.#writeStatus(value),
        },
        { name: 'config_generation', offset: 0x15, bytes: 1, read: () => target.configGeneration },
        {
          name: 'queue_select',
          offset: 0x16,
          bytes: 2,
          read: () => target.queueSelect,
          write: (value) => (target.queueSelect = value),
        },
        {
          name: 'queue_size',
          offset: 0x18,
          bytes: 2,
          read: () => queue()?.size ?? 0,
          write: (value) => queue()?.resize(value),
        },
        {
          name: 'queue_msix_vector',
          offset: 0x1a,
          bytes: 2,
          read: () => queue()?.msixVector ?? NO_VECTOR,
          write: (value) => {
            const selected = queue();
            if (selected) selected.msixVector = target.checkedVector(value);
          },
        },
        {
          name: 'queue_enable',
          offset: 0x1c,
          bytes: 2,
          read: () => (queue()?.enabled ? 1 : 0),
          write: (value) => {
            // The driver must not write 0 (4.1.4.3.2).
            if (value === 1) queue()?.enable();
          },
        },
        { name: 'queue_notify_off', offset: 0x1e, bytes: 2, read: () => (queue() ? target.queueSelect : 0) },
        ...place('desc', 0x20),
        ...place('avail', 0x28),
        ...place('used', 0x30),
      ],
      () => target.badAccess(),
    );
  }

  #writeFeatures(value: number): void {
    const select = this.#driverFeatureSelect;
    if (select > 1) {
      // Bits from 64 on do not exist: none of them can have been offered.
      if (value !== 0) this.target.badAccess(`driver feature word ${select}: 0x${value.toString(16)}`);
      return;
    }
    const shift = BigInt(32 * select);
    this.#asked = (this.#asked & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
    this.target.driverFeatures = this.#asked;
  }

  /** FEATURES_OK sticks only when every accepted bit was offered and VERSION_1 is among them (3.1.1, 6.1). */
  #writeStatus(value: number): void {
    const { target } = this;
    const version1 = 1n << BigInt(VIRTIO_F_VERSION_1);
    const acceptable = (this.#asked & ~(target.deviceFeatures | version1)) === 0n && (this.#asked & version1) !== 0n;
    target.setStatus(acceptable ? value : value & ~STATUS_FEATURES_OK);
  }

  /** The device was reset. */
  reset(): void {
    this.#deviceFeatureSelect = 0;
    this.#driverFeatureSelect = 0;
    this.#asked = 0n;
  }

  read(offset: number, size: AccessSize): number {
    const { target } = this;
    const within = offset % STRUCTURE_BYTES;
    switch (offset - within) {
      case COMMON_OFFSET:
        return this.#common.read(within, size);
      case ISR_OFFSET:
        if (within === 0 && size === 1) return target.takeIsr();
        break;
      case DEVICE_OFFSET:
        if (within + size <= target.configBytes) return target.readConfiguration(within, size);
        break;
      case NOTIFY_OFFSET:
        return 0;
    }
    target.badAccess();
    return allOnes(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { target } = this;
    const within = offset % STRUCTURE_BYTES;
    switch (offset - within) {
      case COMMON_OFFSET:
        this.#common.write(within, size, value);
        return;
      case DEVICE_OFFSET:
        if (within + size <= target.configBytes) {
          target.writeConfiguration(within, size, value);
          return;
        }
        break;
      case NOTIFY_OFFSET:
        // The address alone tells the queue.
        if (within % NOTIFY_MULTIPLIER === 0) {
          target.notify(within / NOTIFY_MULTIPLIER);
          return;
        }
        break;
    }
    target.badAccess();
  }

  save(): { readonly [field: string]: StateValue } {
    return {
      deviceFeatureSelect: this.#deviceFeatureSelect,
      driverFeatureSelect: this.#driverFeatureSelect,
      askedLow: Number(this.#asked & 0xffff_ffffn),
      askedHigh: Number(this.#asked >> 32n),
    };
  }

  prepareRestore(fields: StateFields): () => void {
    const deviceFeatureSelect = fields.integer('deviceFeatureSelect', 0xffffffff);
    const driverFeatureSelect = fields.integer('driverFeatureSelect', 0xffffffff);
    const asked =
      BigInt(fields.integer('askedLow', 0xffffffff)) | (BigInt(fields.integer('askedHigh', 0xffffffff)) << 32n);
    return () => {
      this.#deviceFeatureSelect = deviceFeatureSelect;
      this.#driverFeatureSelect = driverFeatureSelect;
      this.#asked = asked;
    };
  }
}
