/**
 * The disk `virtio-blk` (virtio 0.9.5, appendix D). Requests run at the same time and are given back in the order in which the backend finishes.
 */
import { VIRTIO_BLK_OPTIONS } from '../config/declarations/block.ts';
import { readSettings } from '../config/settings-of.ts';
import { writeZeroes } from '../block/zeroes.ts';
import { defaultSerial } from '../block/default-serial.ts';
import { GuestAddressError } from '../bus/guest-memory.ts';
import type { Counters } from '../device.ts';
import { openDisk, type DeviceBuilder } from '../device-context.ts';
import type { BlockBackend } from '../backends/block.ts';
import { VIRTIO_RING_F_INDIRECT_DESC, virtioOptions, VirtioDevice, type VirtioDeviceOptions } from './device.ts';
import type { Chain, Segment, VirtQueue } from './queue.ts';

const QUEUE_SIZE = 128;
/** Two descriptors of a chain are the header and the status byte. */
const SEG_MAX = QUEUE_SIZE - 2;
/** Unit of sector numbers, whatever the logical sector size is. */
const SECTOR_BYTES = 512;
/** bhyve's bound on one discard: 16 MiB. */
const MAX_DISCARD_SECTORS = (16 * 1024 * 1024) / SECTOR_BYTES;
/**
 * No single transfer may be longer. Drivers stay far below (Linux: 1280 KiB); without the bound a guest could queue terabytes of reads
 * into the same page.
 */
export const MAX_TRANSFER_BYTES = 64 * 1024 * 1024;

/** Feature bits (appendix D; MQ, DISCARD, WRITE_ZEROES: virtio 1.1, 5.2.3). */
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_MQ = 12;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

/** Request types. */
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
/** Legacy barrier flag in the type field. */
const VIRTIO_BLK_T_BARRIER = 0x80000000;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

const HEADER_BYTES = 16;
/** The range of a DISCARD or WRITE ZEROES request. */
const RANGE_BYTES = 16;
const RANGE_UNMAP = 1;
const ID_BYTES = 20;
const CONFIG_BYTES = 60;

interface Outcome {
  readonly status: number;
  /** Bytes of data that the device wrote for the driver, without the status byte. */
  readonly dataBytes: number;
}

const OK: Outcome = { status: VIRTIO_BLK_S_OK, dataBytes: 0 };
const IO_ERROR: Outcome = { status: VIRTIO_BLK_S_IOERR, dataBytes: 0 };
const UNSUPPORTED: Outcome = { status: VIRTIO_BLK_S_UNSUPP, dataBytes: 0 };

function segmentBytes(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.lengthBytes, 0);
}

/** The part [start, end) of the bytes that segments describe one after the other. */
function sliceSegments(segments: readonly Segment[], start: number, end: number): Segment[] {
  const slice: Segment[] = [];
  let at = 0;
  for (const { gpa, lengthBytes } of segments) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, lengthBytes);
    if (from < to) slice.push({ gpa: gpa + from, lengthBytes: to - from });
    at += lengthBytes;
  }
  return slice;
}

export interface VirtioBlkOptions extends VirtioDeviceOptions {
  readonly backend: BlockBackend;
  /** At most 20 characters count. */
  readonly serial: string;
  /** Request queues for drivers of virtio 1.0; legacy drivers know the first alone. Default: 1, as in bhyve. */
  readonly queueCount?: number | undefined;
}

export class VirtioBlk extends VirtioDevice {
  /** Requests that the backend failed. */
  backendErrors = 0;
  readonly #backend: BlockBackend;
  readonly #config = new Uint8Array(CONFIG_BYTES);
  readonly #id = new Uint8Array(ID_BYTES);
  #sectorCount: number;

  constructor(options: VirtioBlkOptions) {
    const { backend } = options;
    const featureBits = [
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_BLK_SIZE,
      VIRTIO_BLK_F_FLUSH,
      VIRTIO_BLK_F_TOPOLOGY,
      VIRTIO_RING_F_INDIRECT_DESC,
    ];
    if (backend.canDiscard) featureBits.push(VIRTIO_BLK_F_DISCARD);
    if (backend.readOnly) featureBits.push(VIRTIO_BLK_F_RO);
    const { queueCount = 1 } = options;
    const modernFeatureBits = backend.readOnly ? [] : [VIRTIO_BLK_F_WRITE_ZEROES];
    if (queueCount > 1) modernFeatureBits.push(VIRTIO_BLK_F_MQ);
    super('virtio-blk', { deviceId: 0x1001, type: 0x0002, classCode: 0x01 }, options, {
      queueSizes: Array.from({ length: queueCount }, () => QUEUE_SIZE),
      featureBits,
      modernFeatureBits,
      configBytes: CONFIG_BYTES,
    });
    this.#backend = backend;
    this.#sectorCount = Math.floor(backend.sizeBytes / SECTOR_BYTES);
    new TextEncoder().encodeInto(options.serial, this.#id);
    backend.onResized?.(() => this.resized());

    const fields = new DataView(this.#config.buffer);
    fields.setBigUint64(0, BigInt(this.#sectorCount), true);
    fields.setUint32(12, SEG_MAX, true);
    fields.setUint32(20, backend.logicalSectorBytes, true);
    const perPhysical = backend.physicalSectorBytes / backend.logicalSectorBytes;
    fields.setUint8(24, perPhysical > 1 ? Math.floor(Math.log2(perPhysical)) : 0);
    fields.setUint16(34, queueCount, true);
    fields.setUint32(36, MAX_DISCARD_SECTORS, true);
    fields.setUint32(40, 1, true);
    fields.setUint32(44, Math.max(backend.logicalSectorBytes, backend.physicalSectorBytes) / SECTOR_BYTES, true);
    fields.setUint32(48, MAX_DISCARD_SECTORS, true);
    fields.setUint32(52, 1, true);
    fields.setUint8(56, backend.canDiscard ? 1 : 0);
  }

  /** The backend has another size now: the driver learns it by a configuration interrupt. */
  resized(): void {
    this.#sectorCount = Math.floor(this.#backend.sizeBytes / SECTOR_BYTES);
    new DataView(this.#config.buffer).setBigUint64(0, BigInt(this.#sectorCount), true);
    this.signalConfig();
  }

  protected override deviceConfig(): Uint8Array {
    return this.#config;
  }

  protected override queueNotified(_index: number, queue: VirtQueue): void {
    // At most one round over the ring: a driver that adds while we look notifies again.
    for (let count = 0; count < queue.size; count++) {
      const chain = queue.pop();
      if (!chain) break;
      this.#start(queue, chain);
    }
    // Requests that could be answered at once share one interrupt.
    this.signalQueue(queue);
  }

  #start(queue: VirtQueue, chain: Chain): void {
    const outcome = this.#execute(chain);
    if (!(outcome instanceof Promise)) {
      this.#finish(queue, chain, outcome);
      return;
    }
    const finish = (result: Outcome): void => {
      this.#finish(queue, chain, result);
      this.signalQueue(queue);
    };
    this.requests.begin(outcome, finish, () => {
      this.backendErrors++;
      finish(IO_ERROR);
    });
  }

  /** Writes the status byte and gives the request back. */
  #finish(queue: VirtQueue, chain: Chain, outcome: Outcome): void {
    const last = chain.writable.findLast((segment) => segment.lengthBytes > 0);
    let written = 0;
    if (last) {
      try {
        this.memory.writeU8(last.gpa + last.lengthBytes - 1, outcome.status);
        written = outcome.dataBytes + 1;
      } catch (error) {
        if (!(error instanceof GuestAddressError)) throw error;
        this.badRequests++;
      }
    }
    queue.push(chain.head, written);
  }

  /** Does what a request says, or starts it. Problems of the request end up in the outcome. */
  #execute(chain: Chain): Outcome | Promise<Outcome> {
    const readBytes = segmentBytes(chain.readable);
    const writeBytes = segmentBytes(chain.writable);
    if (readBytes < HEADER_BYTES || writeBytes < 1) {
      this.badRequests++;
      this.problem('request without header or status byte');
      return IO_ERROR;
    }
    try {
      const header = new DataView(this.#readBytes(sliceSegments(chain.readable, 0, HEADER_BYTES), HEADER_BYTES).buffer);
      const type = (header.getUint32(0, true) & ~VIRTIO_BLK_T_BARRIER) >>> 0;
      const sector = header.getUint32(12, true) * 2 ** 32 + header.getUint32(8, true);
      const dataOut = sliceSegments(chain.readable, HEADER_BYTES, readBytes);
      const dataIn = sliceSegments(chain.writable, 0, writeBytes - 1);
      switch (type) {
        case VIRTIO_BLK_T_IN:
          return this.#read(sector, dataIn);
        case VIRTIO_BLK_T_OUT:
          return this.#write(sector, dataOut);
        case VIRTIO_BLK_T_FLUSH:
          return this.#backend.flush().then(() => OK);
        case VIRTIO_BLK_T_GET_ID:
          return this.#identify(dataIn);
        case VIRTIO_BLK_T_DISCARD:
          return this.#discard(dataOut);
        case VIRTIO_BLK_T_WRITE_ZEROES:
          return this.#writeZeroes(dataOut);
        default:
          return UNSUPPORTED;
      }
    } catch (error) {
      if (error instanceof GuestAddressError) return this.#reject();
      // A backend that throws instead of rejecting fails the one request, too.
      this.backendErrors++;
      return IO_ERROR;
    }
  }

  #reject(): Outcome {
    this.badRequests++;
    return IO_ERROR;
  }

  #readBytes(segments: readonly Segment[], lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    let at = 0;
    for (const segment of segments) {
      this.memory.read(segment.gpa, bytes.subarray(at, at + segment.lengthBytes));
      at += segment.lengthBytes;
    }
    return bytes;
  }

  /** Views of a transfer's buffers, or undefined when the transfer does not fit the disk or is not in whole sectors. */
  #transfer(sector: number, segments: readonly Segment[]): Uint8Array[] | undefined {
    const lengthBytes = segmentBytes(segments);
    if (lengthBytes > MAX_TRANSFER_BYTES || lengthBytes % this.#backend.logicalSectorBytes !== 0) return undefined;
    if (sector + lengthBytes / SECTOR_BYTES > this.#sectorCount) return undefined;
    if ((sector * SECTOR_BYTES) % this.#backend.logicalSectorBytes !== 0) return undefined;
    return segments.flatMap(({ gpa, lengthBytes: length }) => this.memory.views(gpa, length));
  }

  #read(sector: number, segments: readonly Segment[]): Outcome | Promise<Outcome> {
    const views = this.#transfer(sector, segments);
    if (!views) return this.#reject();
    return this.#backend.read(sector * SECTOR_BYTES, views).then(() => {
      for (const segment of segments) this.memory.written(segment.gpa, segment.lengthBytes);
      return { status: VIRTIO_BLK_S_OK, dataBytes: segmentBytes(segments) };
    });
  }

  #write(sector: number, segments: readonly Segment[]): Outcome | Promise<Outcome> {
    if (this.#backend.readOnly) return this.#reject();
    const views = this.#transfer(sector, segments);
    if (!views) return this.#reject();
    return this.#backend.write(sector * SECTOR_BYTES, views).then(() => OK);
  }

  #identify(segments: readonly Segment[]): Outcome {
    let at = 0;
    for (const segment of segments) {
      const part = this.#id.subarray(at, at + Math.min(segment.lengthBytes, ID_BYTES - at));
      this.memory.write(segment.gpa, part);
      at += part.length;
    }
    return { status: VIRTIO_BLK_S_OK, dataBytes: at };
  }

  #discard(segments: readonly Segment[]): Outcome | Promise<Outcome> {
    if (!this.negotiated(VIRTIO_BLK_F_DISCARD)) return UNSUPPORTED;
    const range = this.#range(segments);
    if (!range) return this.#reject();
    // The unmap flag is for WRITE ZEROES alone, the others are reserved (virtio 1.1, 5.2.6.2).
    if (range.flags !== 0) return UNSUPPORTED;
    return this.#backend.discard(range.offset, range.lengthBytes).then(() => OK);
  }

  #writeZeroes(segments: readonly Segment[]): Outcome | Promise<Outcome> {
    if (!this.negotiated(VIRTIO_BLK_F_WRITE_ZEROES)) return UNSUPPORTED;
    const range = this.#range(segments);
    if (!range) return this.#reject();
    if (range.flags & ~RANGE_UNMAP) return UNSUPPORTED;
    return writeZeroes(this.#backend, range.offset, range.lengthBytes, (range.flags & RANGE_UNMAP) !== 0).then(
      () => OK,
    );
  }

  /** The one range of a DISCARD or WRITE ZEROES request; undefined when it makes no sense. */
  #range(segments: readonly Segment[]): { offset: number; lengthBytes: number; flags: number } | undefined {
    if (this.#backend.readOnly || segmentBytes(segments) !== RANGE_BYTES) return undefined;
    const range = new DataView(this.#readBytes(segments, RANGE_BYTES).buffer);
    const offset = (range.getUint32(4, true) * 2 ** 32 + range.getUint32(0, true)) * SECTOR_BYTES;
    const count = range.getUint32(8, true);
    const lengthBytes = count * SECTOR_BYTES;
    if (count > MAX_DISCARD_SECTORS || offset / SECTOR_BYTES + count > this.#sectorCount) return undefined;
    if (offset % this.#backend.logicalSectorBytes !== 0 || lengthBytes % this.#backend.logicalSectorBytes !== 0)
      return undefined;
    return { offset, lengthBytes, flags: range.getUint32(12, true) };
  }

  protected override closeDevice(): Promise<void> {
    return this.#backend.close();
  }

  protected override deviceCounters(): Counters {
    return { ...super.deviceCounters(), 'backend errors': this.backendErrors };
  }

  /** Requests that were in flight when the snapshot was made are done again: reads and writes of the same data. */
  protected override afterRestore(): void {
    for (const queue of this.queues) {
      for (const head of queue.takenHeads()) {
        const chain = queue.reread(head);
        if (chain) this.#start(queue, chain);
      }
      this.signalQueue(queue);
    }
  }
}

export const buildVirtioBlk: DeviceBuilder = async (context, _where, variables) => {
  const backend = await openDisk(context, variables);
  const serial = variables.get('ser') ?? variables.get('serial') ?? defaultSerial(variables.get('path') ?? '');
  const { queues } = readSettings(VIRTIO_BLK_OPTIONS, (name) => variables.get(name));
  return new VirtioBlk({ ...virtioOptions(context), backend, serial, queueCount: queues });
};
