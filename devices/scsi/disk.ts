/** A SCSI disk over a block backend (SBC-3). */
import { scatter, sliceViews, viewsBytes } from '../block/scatter.ts';
import { writePattern, writeZeroes } from '../block/zeroes.ts';
import type { BlockBackend } from '../backends/block.ts';
import * as I from './inquiry.ts';
import {
  LogicalUnit,
  OP_START_STOP_UNIT,
  TransferCount,
  u16,
  u24,
  u32,
  u64,
  type LogicalUnitState,
  type ScsiIdentity,
  type ScsiTask,
} from './logical-unit.ts';
import {
  cachingPage,
  controlPage,
  modePage,
  PAGE_CACHING,
  PAGE_CONTROL,
  PAGE_ERROR_RECOVERY,
  PAGE_EXCEPTIONS,
} from './mode-pages.ts';
import * as S from './sense.ts';

export const OP_READ_6 = 0x08;
export const OP_WRITE_6 = 0x0a;
export const OP_READ_CAPACITY_10 = 0x25;
export const OP_READ_10 = 0x28;
export const OP_WRITE_10 = 0x2a;
export const OP_WRITE_AND_VERIFY_10 = 0x2e;
export const OP_VERIFY_10 = 0x2f;
export const OP_SYNCHRONIZE_CACHE_10 = 0x35;
export const OP_WRITE_SAME_10 = 0x41;
export const OP_UNMAP = 0x42;
export const OP_READ_16 = 0x88;
export const OP_COMPARE_AND_WRITE = 0x89;
export const OP_WRITE_16 = 0x8a;
export const OP_WRITE_AND_VERIFY_16 = 0x8e;
export const OP_VERIFY_16 = 0x8f;
export const OP_SYNCHRONIZE_CACHE_16 = 0x91;
export const OP_WRITE_SAME_16 = 0x93;
export const OP_SERVICE_ACTION_IN_16 = 0x9e;
export const OP_READ_12 = 0xa8;
export const OP_WRITE_12 = 0xaa;
export const SA_READ_CAPACITY_16 = 0x10;

const TYPE_DISK = 0x00;
/** Longest single transfer; the block limits page says so. */
export const MAX_TRANSFER_BYTES = 32 * 1024 * 1024;
/** Longest WRITE SAME and UNMAP, in bytes: what a host can make the backend do with one command. */
const MAX_ZERO_BYTES = 1024 * 1024 * 1024;
const MAX_UNMAP_DESCRIPTORS = 256;
/** Reading for a comparison goes through memory of ours. */
const MAX_COMPARE_BYTES = 1024 * 1024;
/** COMPARE AND WRITE takes this many blocks at most, as the block limits page says. */
const MAX_ATOMIC_BLOCKS = 8;

const WRITE_PROTECT = 0x80;
const DPO_FUA = 0x10;

export interface ScsiDiskOptions {
  /** Medium rotation rate of VPD page B1: 1 a solid state disk, 0 not reported. */
  readonly rotationRate?: number;
}

export class ScsiDisk extends LogicalUnit {
  readonly #backend: BlockBackend;
  readonly #blockBytes: number;
  readonly #rotationRate: number;
  /** WCE of the caching page: writes are durable only after SYNCHRONIZE CACHE. */
  #writeCache = true;
  #stopped = false;
  /** COMPARE AND WRITE happens one at a time. */
  #atomic: Promise<unknown> = Promise.resolve();

  constructor(backend: BlockBackend, identity: ScsiIdentity, options: ScsiDiskOptions = {}) {
    super(TYPE_DISK, false, identity);
    this.#backend = backend;
    this.#blockBytes = backend.logicalSectorBytes;
    this.#rotationRate = options.rotationRate ?? 0;
    this.raiseAttention(S.SENSE_POWER_ON);
    backend.onResized?.(() => this.raiseAttention(S.SENSE_CAPACITY_CHANGED));
    const { commands } = this;
    commands.set(OP_START_STOP_UNIT, { cdbBytes: 6, run: ({ cdb }) => this.#startStop(cdb) });
    commands.set(OP_READ_CAPACITY_10, { cdbBytes: 10, run: () => this.#readCapacity10() });
    commands.set(OP_SERVICE_ACTION_IN_16, { cdbBytes: 16, run: ({ cdb }) => this.#serviceActionIn(cdb) });
    commands.set(OP_READ_6, { cdbBytes: 6, run: (task) => this.#read(task, ...range6(task.cdb)) });
    commands.set(OP_READ_10, { cdbBytes: 10, run: (task) => this.#read(task, ...range10(task.cdb)) });
    commands.set(OP_READ_12, { cdbBytes: 12, run: (task) => this.#read(task, ...range12(task.cdb)) });
    commands.set(OP_READ_16, { cdbBytes: 16, run: (task) => this.#read(task, ...range16(task.cdb)) });
    commands.set(OP_WRITE_6, { cdbBytes: 6, run: (task) => this.#write(task, ...range6(task.cdb), false) });
    const fua = ({ cdb }: ScsiTask): boolean => ((cdb[1] ?? 0) & 0x08) !== 0;
    commands.set(OP_WRITE_10, { cdbBytes: 10, run: (task) => this.#write(task, ...range10(task.cdb), fua(task)) });
    commands.set(OP_WRITE_12, { cdbBytes: 12, run: (task) => this.#write(task, ...range12(task.cdb), fua(task)) });
    commands.set(OP_WRITE_16, { cdbBytes: 16, run: (task) => this.#write(task, ...range16(task.cdb), fua(task)) });
    // What was written is read from where it lies: there is no medium of its own to verify against.
    commands.set(OP_WRITE_AND_VERIFY_10, {
      cdbBytes: 10,
      run: (task) => this.#write(task, ...range10(task.cdb), true),
    });
    commands.set(OP_WRITE_AND_VERIFY_16, {
      cdbBytes: 16,
      run: (task) => this.#write(task, ...range16(task.cdb), true),
    });
    commands.set(OP_VERIFY_10, { cdbBytes: 10, run: (task) => this.#verify(task, ...range10(task.cdb)) });
    commands.set(OP_VERIFY_16, { cdbBytes: 16, run: (task) => this.#verify(task, ...range16(task.cdb)) });
    commands.set(OP_SYNCHRONIZE_CACHE_10, { cdbBytes: 10, run: ({ cdb }) => this.#synchronize(...range10(cdb)) });
    commands.set(OP_SYNCHRONIZE_CACHE_16, { cdbBytes: 16, run: ({ cdb }) => this.#synchronize(...range16(cdb)) });
    commands.set(OP_WRITE_SAME_10, { cdbBytes: 10, run: (task) => this.#writeSame(task, ...range10(task.cdb)) });
    commands.set(OP_WRITE_SAME_16, { cdbBytes: 16, run: (task) => this.#writeSame(task, ...range16(task.cdb)) });
    commands.set(OP_COMPARE_AND_WRITE, { cdbBytes: 16, run: (task) => this.#compareAndWrite(task) });
    if (backend.canDiscard) commands.set(OP_UNMAP, { cdbBytes: 10, run: (task) => this.#unmap(task) });
  }

  get #blocks(): number {
    return Math.floor(this.#backend.sizeBytes / this.#blockBytes);
  }

  override reset(): void {
    super.reset();
    this.#writeCache = true;
    this.#stopped = false;
  }

  override powerOn(): void {
    this.reset();
    this.raiseAttention(S.SENSE_POWER_ON);
  }

  override close(): Promise<void> {
    return this.#backend.close();
  }

  protected override saveSettings(): LogicalUnitState {
    return { writeCache: this.#writeCache ? 1 : 0, stopped: this.#stopped ? 1 : 0 };
  }

  protected override restoreSettings(state: LogicalUnitState): void {
    this.#writeCache = state['writeCache'] !== 0;
    this.#stopped = state['stopped'] === 1;
  }

  protected override checkReady(): void {
    if (this.#stopped) throw new S.CheckCondition(S.SENSE_NOT_READY_STOPPED);
  }

  protected override serviceActions(opcode: number): readonly number[] {
    return opcode === OP_SERVICE_ACTION_IN_16 ? [SA_READ_CAPACITY_16] : super.serviceActions(opcode);
  }

  protected override modePages(): ReadonlyMap<number, Uint8Array> {
    return new Map([
      [PAGE_ERROR_RECOVERY, modePage(PAGE_ERROR_RECOVERY, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
      [PAGE_CACHING, cachingPage(this.#writeCache)],
      [PAGE_CONTROL, controlPage()],
      [PAGE_EXCEPTIONS, modePage(PAGE_EXCEPTIONS, [0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ]);
  }

  protected override changeableModePage(page: number, current: Uint8Array): Uint8Array {
    const mask = super.changeableModePage(page, current);
    if (page === PAGE_CACHING) mask[2] = 0x04;
    return mask;
  }

  protected override setModePage(page: number, bytes: Uint8Array): void {
    if (page === PAGE_CACHING) this.#writeCache = ((bytes[2] ?? 0) & 0x04) !== 0;
  }

  protected override modeHeader(): { deviceSpecific: number; blockDescriptor: Uint8Array } {
    const descriptor = new Uint8Array(8);
    const view = new DataView(descriptor.buffer);
    view.setUint32(0, Math.min(this.#blocks, 0xffffffff));
    view.setUint32(4, this.#blockBytes);
    return { deviceSpecific: DPO_FUA | (this.#backend.readOnly ? WRITE_PROTECT : 0), blockDescriptor: descriptor };
  }

  protected override vpdPages(): I.VpdPages {
    const { physicalSectorBytes, canDiscard } = this.#backend;
    // Offsets below are those of the standard less the four bytes of header.
    const limits = new Uint8Array(60);
    const fields = new DataView(limits.buffer);
    limits[0] = 0x01; // WSNZ: a WRITE SAME of zero blocks is an error
    limits[1] = MAX_ATOMIC_BLOCKS;
    fields.setUint16(2, Math.max(1, Math.floor(physicalSectorBytes / this.#blockBytes)));
    fields.setUint32(4, MAX_TRANSFER_BYTES / this.#blockBytes);
    if (canDiscard) {
      fields.setUint32(16, MAX_ZERO_BYTES / this.#blockBytes);
      fields.setUint32(20, MAX_UNMAP_DESCRIPTORS);
      fields.setUint32(24, Math.max(1, Math.floor(physicalSectorBytes / this.#blockBytes)));
    }
    fields.setBigUint64(32, BigInt(MAX_ZERO_BYTES / this.#blockBytes));
    const characteristics = new Uint8Array(60);
    new DataView(characteristics.buffer).setUint16(0, this.#rotationRate);
    // UNMAP and WRITE SAME with UNMAP; thin provisioning.
    const provisioning = Uint8Array.from(canDiscard ? [0, 0xe0, 0x02, 0] : [0, 0, 0, 0]);
    return new Map([
      [I.VPD_UNIT_SERIAL, I.serialPage(this.identity.serial)],
      [I.VPD_DEVICE_ID, I.deviceIdPage(this.identity)],
      [I.VPD_BLOCK_LIMITS, limits],
      [I.VPD_BLOCK_CHARACTERISTICS, characteristics],
      [I.VPD_LOGICAL_BLOCK_PROVISIONING, provisioning],
    ]);
  }

  #startStop(cdb: Uint8Array): Promise<void> | undefined {
    const bits = cdb[4] ?? 0;
    if (bits & 0xf0) return undefined; // power conditions: there is no power to save
    if (bits & 0x02) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    this.#stopped = (bits & 0x01) === 0;
    return this.#stopped && !this.#backend.readOnly ? this.#backend.flush() : undefined;
  }

  #readCapacity10(): Uint8Array {
    this.checkReady();
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Math.min(this.#blocks - 1, 0xffffffff));
    view.setUint32(4, this.#blockBytes);
    return bytes;
  }

  #serviceActionIn(cdb: Uint8Array): Uint8Array {
    if (((cdb[1] ?? 0) & 0x1f) !== SA_READ_CAPACITY_16) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    this.checkReady();
    const bytes = new Uint8Array(32);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.#blocks - 1));
    view.setUint32(8, this.#blockBytes);
    bytes[13] = Math.max(0, Math.floor(Math.log2(this.#backend.physicalSectorBytes / this.#blockBytes)));
    bytes[14] = this.#backend.canDiscard ? 0x80 : 0;
    return bytes.subarray(0, Math.min(u32(cdb, 10), bytes.length));
  }

  #checkRange(lba: number, blocks: number): void {
    this.checkReady();
    if (lba + blocks > this.#blocks) {
      throw new S.CheckCondition({ ...S.SENSE_LBA_OUT_OF_RANGE, information: Math.min(lba, 0xffffffff) });
    }
  }

  #checkTransfer(lba: number, blocks: number, views: readonly Uint8Array[]): number {
    this.#checkRange(lba, blocks);
    const lengthBytes = blocks * this.#blockBytes;
    if (lengthBytes > MAX_TRANSFER_BYTES) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    if (viewsBytes(views) < lengthBytes) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
    return lengthBytes;
  }

  #checkWritable(): void {
    if (this.#backend.readOnly) throw new S.CheckCondition(S.SENSE_WRITE_PROTECTED);
  }

  async #read(task: ScsiTask, lba: number, blocks: number): Promise<TransferCount> {
    const lengthBytes = this.#checkTransfer(lba, blocks, task.dataIn);
    if (lengthBytes > 0) {
      const views = sliceViews(task.dataIn, 0, lengthBytes);
      await this.#orSense(this.#backend.read(lba * this.#blockBytes, views), S.SENSE_UNRECOVERED_READ_ERROR, lba);
    }
    return new TransferCount(lengthBytes, 0);
  }

  async #write(task: ScsiTask, lba: number, blocks: number, durable: boolean): Promise<TransferCount> {
    this.#checkWritable();
    const lengthBytes = this.#checkTransfer(lba, blocks, task.dataOut);
    if (lengthBytes > 0) {
      const views = sliceViews(task.dataOut, 0, lengthBytes);
      await this.#orSense(this.#backend.write(lba * this.#blockBytes, views), S.SENSE_WRITE_ERROR, lba);
    }
    await this.#settle(durable);
    return new TransferCount(0, lengthBytes);
  }

  /** Makes writes durable where the host asked for that, by FUA or by turning the write cache off. */
  async #settle(durable = false): Promise<void> {
    if (durable || !this.#writeCache) await this.#orSense(this.#backend.flush(), S.SENSE_WRITE_ERROR);
  }

  /** A backend's failure as sense data. */
  async #orSense(work: Promise<void>, sense: S.Sense, lba?: number): Promise<void> {
    try {
      await work;
    } catch {
      this.backendErrors++;
      throw new S.CheckCondition(lba === undefined ? sense : { ...sense, information: lba });
    }
  }

  async #verify(task: ScsiTask, lba: number, blocks: number): Promise<TransferCount> {
    this.#checkRange(lba, blocks);
    const byteCheck = ((task.cdb[1] ?? 0) >> 1) & 3;
    if (byteCheck === 0) return new TransferCount(0, 0);
    if (byteCheck !== 1) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    const lengthBytes = blocks * this.#blockBytes;
    if (lengthBytes > MAX_COMPARE_BYTES) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    if (viewsBytes(task.dataOut) < lengthBytes) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
    await this.#compare(lba, sliceViews(task.dataOut, 0, lengthBytes), lengthBytes);
    return new TransferCount(0, lengthBytes);
  }

  async #compare(lba: number, expected: readonly Uint8Array[], lengthBytes: number): Promise<void> {
    const stored = new Uint8Array(lengthBytes);
    if (lengthBytes > 0) {
      await this.#orSense(this.#backend.read(lba * this.#blockBytes, [stored]), S.SENSE_UNRECOVERED_READ_ERROR, lba);
    }
    let at = 0;
    for (const view of expected) {
      for (const byte of view) {
        if (byte !== stored[at]) throw new S.CheckCondition({ ...S.SENSE_MISCOMPARE, information: at });
        at++;
      }
    }
  }

  /** COMPARE AND WRITE (SBC-3 5.2): the first half of the data is compared, the second written. */
  #compareAndWrite(task: ScsiTask): Promise<TransferCount> {
    this.#checkWritable();
    const lba = u64(task.cdb, 2);
    const blocks = task.cdb[13] ?? 0;
    this.#checkRange(lba, blocks);
    const lengthBytes = blocks * this.#blockBytes;
    if (blocks > MAX_ATOMIC_BLOCKS) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    if (viewsBytes(task.dataOut) < 2 * lengthBytes) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
    const run = this.#atomic.then(async () => {
      if (lengthBytes === 0) return new TransferCount(0, 0);
      await this.#compare(lba, sliceViews(task.dataOut, 0, lengthBytes), lengthBytes);
      const views = sliceViews(task.dataOut, lengthBytes, 2 * lengthBytes);
      await this.#orSense(this.#backend.write(lba * this.#blockBytes, views), S.SENSE_WRITE_ERROR, lba);
      await this.#settle(((task.cdb[1] ?? 0) & 0x08) !== 0);
      return new TransferCount(0, 2 * lengthBytes);
    });
    this.#atomic = run.catch(() => undefined);
    return run;
  }

  async #synchronize(lba: number, blocks: number): Promise<void> {
    this.#checkRange(lba, blocks);
    if (!this.#backend.readOnly) await this.#orSense(this.#backend.flush(), S.SENSE_WRITE_ERROR);
  }

  async #writeSame(task: ScsiTask, lba: number, blocks: number): Promise<TransferCount> {
    this.#checkWritable();
    const flags = task.cdb[1] ?? 0;
    const unmap = (flags & 0x08) !== 0;
    const noData = task.cdb[0] === OP_WRITE_SAME_16 && (flags & 0x01) !== 0;
    // Protection information and the obsolete PBDATA, LBDATA bits; unmapping anchors nothing here.
    if (flags & 0xf6 || (unmap && !this.#backend.canDiscard) || blocks === 0) {
      throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    }
    this.#checkRange(lba, blocks);
    const lengthBytes = blocks * this.#blockBytes;
    if (lengthBytes > MAX_ZERO_BYTES) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB);
    const block = new Uint8Array(this.#blockBytes);
    if (!noData) {
      if (viewsBytes(task.dataOut) < block.length) throw new S.CheckCondition(S.SENSE_DATA_TOO_SHORT);
      scatterInto(block, task.dataOut);
    }
    const zero = block.every((byte) => byte === 0);
    const offset = lba * this.#blockBytes;
    const work = zero
      ? writeZeroes(this.#backend, offset, lengthBytes, unmap)
      : writePattern(this.#backend, offset, lengthBytes, block);
    await this.#orSense(work, S.SENSE_WRITE_ERROR, lba);
    await this.#settle();
    return new TransferCount(0, noData ? 0 : block.length);
  }

  async #unmap(task: ScsiTask): Promise<TransferCount> {
    this.#checkWritable();
    this.checkReady();
    if ((task.cdb[1] ?? 0) & 0x01) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_CDB); // ANCHOR
    const lengthBytes = u16(task.cdb, 7);
    if (lengthBytes === 0) return new TransferCount(0, 0);
    const list = this.parameterList(task, lengthBytes);
    if (list.length < 8) throw new S.CheckCondition(S.SENSE_PARAMETER_LIST_LENGTH);
    const count = Math.floor(Math.min(u16(list, 2), list.length - 8) / 16);
    if (count > MAX_UNMAP_DESCRIPTORS) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_PARAMETERS);
    const ranges: [lba: number, blocks: number][] = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      const lba = u64(list, 8 + 16 * i);
      const blocks = u32(list, 16 + 16 * i);
      this.#checkRange(lba, blocks);
      total += blocks;
      ranges.push([lba, blocks]);
    }
    if (total * this.#blockBytes > MAX_ZERO_BYTES) throw new S.CheckCondition(S.SENSE_INVALID_FIELD_IN_PARAMETERS);
    for (const [lba, blocks] of ranges) {
      if (blocks === 0) continue;
      const work = this.#backend.discard(lba * this.#blockBytes, blocks * this.#blockBytes);
      await this.#orSense(work, S.SENSE_WRITE_ERROR, lba);
    }
    return new TransferCount(0, lengthBytes);
  }
}

/** First block and count of the read and write commands; a count of 0 in the 6-byte ones is 256. */
function range6(cdb: Uint8Array): [lba: number, blocks: number] {
  return [u24(cdb, 1) & 0x1fffff, cdb[4] === 0 ? 256 : (cdb[4] ?? 0)];
}

function range10(cdb: Uint8Array): [lba: number, blocks: number] {
  return [u32(cdb, 2), u16(cdb, 7)];
}

function range12(cdb: Uint8Array): [lba: number, blocks: number] {
  return [u32(cdb, 2), u32(cdb, 6)];
}

function range16(cdb: Uint8Array): [lba: number, blocks: number] {
  return [u64(cdb, 2), u32(cdb, 10)];
}

function scatterInto(block: Uint8Array, views: readonly Uint8Array[]): void {
  let at = 0;
  for (const view of views) {
    if (at === block.length) return;
    at += scatter([block.subarray(at)], view.subarray(0, block.length - at));
  }
}
