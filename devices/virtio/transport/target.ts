/** What the register interfaces of a virtio PCI function work on: the device, whatever its type. */
import type { AccessSize } from '../../bus/port-bus.ts';
import type { VirtQueue } from '../queue.ts';

/** Which register interfaces a function has. `transitional`: both, and the driver chooses (virtio 1.0, 1.3.1). */
export type VirtioTransport = 'legacy' | 'modern' | 'transitional';

/** Device status bits (virtio 1.0, 2.1). */
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;

export const ISR_QUEUE = 0x01;
export const ISR_CONFIG = 0x02;
export const NO_VECTOR = 0xffff;

export interface TransportTarget {
  readonly queues: readonly VirtQueue[];
  /** What is offered to drivers of virtio 1.0, and to legacy drivers. */
  readonly deviceFeatures: bigint;
  readonly legacyFeatures: bigint;
  /** What the driver accepts. Bits that were not offered are dropped. */
  driverFeatures: bigint;
  /** Bytes of device configuration. */
  readonly configBytes: number;
  queueSelect: number;
  configVector: number;
  /** Counts changes of device configuration, modulo 256. */
  readonly configGeneration: number;
  readonly status: number;
  /** Zero resets the device. */
  setStatus(status: number): void;
  /** Reads and clears the interrupt status. */
  takeIsr(): number;
  /** A vector that the table does not have reads back as none (virtio 1.0, 4.1.5.1.2). */
  checkedVector(vector: number): number;
  readConfiguration(offset: number, size: AccessSize): number;
  writeConfiguration(offset: number, size: AccessSize, value: number): void;
  notify(queue: number): void;
  /** Counts an access that no register takes. `what` describes it, for the log. */
  badAccess(what?: string): void;
}
