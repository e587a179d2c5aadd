/** A Serial ATA disk over a block backend: the command set of ACS-3 that bhyve's disk has, and SMART. */
import type { BlockBackend } from '../backends/block.ts';
import { gather, scatter } from '../block/scatter.ts';
import * as A from './command.ts';
import { identifyDevice, SECTOR_BYTES, type AtaIdentity, type AtaSettings } from './identify.ts';
import type { Counters } from '../device.ts';
import * as L from './logs.ts';
import * as C from './opcodes.ts';
import * as M from './smart.ts';

const SIGNATURE = 0x00000101;
/** Fastest Ultra DMA mode. */
const DEFAULT_TRANSFER_MODE = 0x46;
const DEFAULT_MULTIPLE_SECTORS = 128;
/** A data set management range list of more blocks is refused; IDENTIFY says one. */
const MAX_TRIM_BLOCKS = 64;
const TRIM_RANGE_BYTES = 8;

const SF_ENABLE_WRITE_CACHE = 0x02;
const SF_SET_TRANSFER_MODE = 0x03;
const SF_ENABLE_SATA = 0x10;
const SF_DISABLE_LOOK_AHEAD = 0x55;
const SF_DISABLE_WRITE_CACHE = 0x82;
const SF_DISABLE_SATA = 0x90;
const SF_ENABLE_LOOK_AHEAD = 0xaa;

export interface AtaDiskOptions {
  readonly backend: BlockBackend;
  readonly identity: AtaIdentity;
  /** Machine time in nanoseconds, for the hours that SMART shows. */
  readonly nowNs: () => number;
}

export class AtaDisk implements A.AtaDevice {
  readonly signature = SIGNATURE;
  readonly isPacketDevice = false;
  readonly #backend: BlockBackend;
  readonly #identity: AtaIdentity;
  readonly #nowNs: () => number;
  #transferMode = DEFAULT_TRANSFER_MODE;
  #multipleSectors = DEFAULT_MULTIPLE_SECTORS;
  #writeCache = true;
  #readLookAhead = true;
  #smart = true;
  #queuedFailure: L.QueuedError | undefined;
  #readErrors = 0;
  #writeErrors = 0;

  constructor({ backend, identity, nowNs }: AtaDiskOptions) {
    this.#backend = backend;
    this.#identity = identity;
    this.#nowNs = nowNs;
  }

  get #sectors(): number {
    return Math.floor(this.#backend.sizeBytes / this.#backend.logicalSectorBytes);
  }

  counters(): Counters {
    return { 'read errors': this.#readErrors, 'write errors': this.#writeErrors };
  }

  close(): Promise<void> {
    return this.#backend.close();
  }

  reset(): void {
    this.#multipleSectors = DEFAULT_MULTIPLE_SECTORS;
    this.#transferMode = DEFAULT_TRANSFER_MODE;
    this.#writeCache = true;
    this.#readLookAhead = true;
  }

  powerOn(): void {
    this.reset();
    this.#smart = true;
    this.#queuedFailure = undefined;
  }

  isQueued(command: number): boolean {
    return command === C.READ_FPDMA_QUEUED || command === C.WRITE_FPDMA_QUEUED || command === C.SEND_FPDMA_QUEUED;
  }

  queuedError(tag: number, registers: A.AtaRegisters, { status, error }: A.AtaResult): void {
    const { lba, count, device } = registers;
    this.#queuedFailure = { tag, status, error, lba, count, device };
  }

  save(): A.AtaDeviceState {
    return {
      transferMode: this.#transferMode,
      multipleSectors: this.#multipleSectors,
      writeCache: this.#writeCache ? 1 : 0,
      readLookAhead: this.#readLookAhead ? 1 : 0,
      smart: this.#smart ? 1 : 0,
    };
  }

  restore(state: A.AtaDeviceState): void {
    this.#transferMode = state['transferMode'] ?? DEFAULT_TRANSFER_MODE;
    this.#multipleSectors = state['multipleSectors'] ?? DEFAULT_MULTIPLE_SECTORS;
    this.#writeCache = state['writeCache'] !== 0;
    this.#readLookAhead = state['readLookAhead'] !== 0;
    this.#smart = state['smart'] !== 0;
  }

  get #settings(): AtaSettings {
    return {
      transferMode: this.#transferMode,
      multipleSectors: this.#multipleSectors,
      writeCache: this.#writeCache,
      readLookAhead: this.#readLookAhead,
      smart: this.#smart,
    };
  }

  #identify(): Uint8Array {
    const { logicalSectorBytes, physicalSectorBytes, canDiscard } = this.#backend;
    const geometry = { logicalSectorBytes, physicalSectorBytes, sectors: this.#sectors, canTrim: canDiscard };
    return identifyDevice(this.#identity, geometry, this.#settings);
  }

  execute(command: A.AtaCommand): A.AtaResult | Promise<A.AtaResult> {
    const { registers } = command;
    switch (registers.command) {
      case C.IDENTIFY_DEVICE:
        return this.#returnPages(command, this.#identify(), 'pio-in');
      case C.READ_FPDMA_QUEUED:
        return this.#read(command, registers.lba, orMost(registers.features, 0x10000), 'queued');
      case C.WRITE_FPDMA_QUEUED:
        return this.#write(command, registers.lba, orMost(registers.features, 0x10000), 'queued', fuaBit(registers));
      case C.SEND_FPDMA_QUEUED:
        // Subcommand in count 12:8; data set management is the only one.
        if (((registers.count >> 8) & 0x1f) !== 0 || (registers.auxiliary & 1) === 0)
          return A.failed(A.ERROR_ABORT, 'queued');
        return this.#trim(command, registers.features, 'queued');
      case C.READ_DMA_EXT:
        return this.#read(command, registers.lba, orMost(registers.count, 0x10000), 'dma');
      case C.READ_DMA:
        return this.#read(command, lba28(registers), orMost(registers.count & 0xff, 0x100), 'dma');
      case C.READ_SECTORS_EXT:
      case C.READ_MULTIPLE_EXT:
        return this.#read(command, registers.lba, orMost(registers.count, 0x10000), 'pio-in');
      case C.READ_SECTORS:
      case C.READ_MULTIPLE:
        return this.#read(command, lba28(registers), orMost(registers.count & 0xff, 0x100), 'pio-in');
      case C.WRITE_DMA_EXT:
        return this.#write(command, registers.lba, orMost(registers.count, 0x10000), 'dma', false);
      case C.WRITE_DMA_FUA_EXT:
        return this.#write(command, registers.lba, orMost(registers.count, 0x10000), 'dma', true);
      case C.WRITE_DMA:
        return this.#write(command, lba28(registers), orMost(registers.count & 0xff, 0x100), 'dma', false);
      case C.WRITE_SECTORS_EXT:
      case C.WRITE_MULTIPLE_EXT:
        return this.#write(command, registers.lba, orMost(registers.count, 0x10000), 'pio-out', false);
      case C.WRITE_SECTORS:
      case C.WRITE_MULTIPLE:
        return this.#write(command, lba28(registers), orMost(registers.count & 0xff, 0x100), 'pio-out', false);
      case C.READ_VERIFY_EXT:
        return this.#verify(registers.lba, orMost(registers.count, 0x10000));
      case C.READ_VERIFY:
        return this.#verify(lba28(registers), orMost(registers.count & 0xff, 0x100));
      case C.FLUSH_CACHE:
      case C.FLUSH_CACHE_EXT:
        return this.#flush();
      case C.DATA_SET_MANAGEMENT:
        if ((registers.features & 1) === 0) return A.aborted;
        return this.#trim(command, registers.count, 'dma');
      case C.READ_LOG_EXT:
        return this.#readLog(command, 'pio-in');
      case C.READ_LOG_DMA_EXT:
        return this.#readLog(command, 'dma');
      case C.SET_FEATURES:
        return this.#setFeatures(registers);
      case C.SET_MULTIPLE:
        return this.#setMultiple(registers.count & 0xff);
      case C.SMART:
        return this.#smartCommand(command);
      case C.READ_NATIVE_MAX_EXT:
      case C.READ_NATIVE_MAX:
        return { ...A.ok('non-data'), lba: this.#sectors - 1 };
      case C.EXECUTE_DEVICE_DIAGNOSTIC:
        return { ...A.ok('non-data'), error: 0x01, lba: SIGNATURE >>> 8, count: SIGNATURE & 0xff };
      case C.CHECK_POWER_MODE:
        return { ...A.ok('non-data'), count: 0xff };
      case C.STANDBY:
      case C.STANDBY_IMMEDIATE:
        // The heads are parked only when the data is safe.
        return this.#flush();
      case C.NOP:
      case C.IDLE:
      case C.IDLE_IMMEDIATE:
      case C.SLEEP:
      case C.RECALIBRATE:
      case C.SEEK:
        return registers.command === C.NOP ? A.aborted : A.ok('non-data');
      default:
        return A.aborted;
    }
  }

  #outside(lba: number, count: number): boolean {
    return lba + count > this.#sectors;
  }

  async #read({ data }: A.AtaCommand, lba: number, count: number, protocol: A.AtaProtocol): Promise<A.AtaResult> {
    if (this.#outside(lba, count)) return A.failed(A.ERROR_NOT_FOUND | A.ERROR_ABORT, protocol);
    const lengthBytes = count * this.#backend.logicalSectorBytes;
    const views = data.take(lengthBytes);
    try {
      await this.#backend.read(lba * this.#backend.logicalSectorBytes, views);
    } catch {
      this.#readErrors++;
      // Some of it may have been read.
      return { ...A.failed(A.ERROR_UNCORRECTABLE, protocol), lba, storedBytes: lengthBytes };
    }
    return A.ok(protocol, lengthBytes, lengthBytes);
  }

  async #write(
    { data }: A.AtaCommand,
    lba: number,
    count: number,
    protocol: A.AtaProtocol,
    durable: boolean,
  ): Promise<A.AtaResult> {
    if (this.#outside(lba, count)) return A.failed(A.ERROR_NOT_FOUND | A.ERROR_ABORT, protocol);
    if (this.#backend.readOnly) return A.failed(A.ERROR_ABORT, protocol);
    const lengthBytes = count * this.#backend.logicalSectorBytes;
    const views = data.take(lengthBytes);
    try {
      await this.#backend.write(lba * this.#backend.logicalSectorBytes, views);
      if (durable || !this.#writeCache) await this.#backend.flush();
    } catch {
      this.#writeErrors++;
      return { ...A.failed(A.ERROR_ABORT, protocol), lba };
    }
    return A.ok(protocol, lengthBytes);
  }

  /** Checks that sectors can be read, without giving them to the host. */
  async #verify(lba: number, count: number): Promise<A.AtaResult> {
    if (this.#outside(lba, count)) return A.failed(A.ERROR_NOT_FOUND);
    const sectorBytes = this.#backend.logicalSectorBytes;
    const buffer = new Uint8Array(Math.min(count * sectorBytes, 1 << 20));
    for (let done = 0; done < count * sectorBytes; done += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, count * sectorBytes - done));
      try {
        await this.#backend.read(lba * sectorBytes + done, [part]);
      } catch {
        this.#readErrors++;
        return { ...A.failed(A.ERROR_UNCORRECTABLE), lba: lba + Math.floor(done / sectorBytes) };
      }
    }
    return A.ok('non-data');
  }

  async #flush(): Promise<A.AtaResult> {
    if (this.#backend.readOnly) return A.ok('non-data');
    try {
      await this.#backend.flush();
    } catch {
      this.#writeErrors++;
      return A.aborted;
    }
    return A.ok('non-data');
  }

  /** TRIM: blocks of 64 ranges; a range is 48 bits of address and 16 of count, and empty when the count is 0 (ACS-3 7.7). */
  async #trim({ data }: A.AtaCommand, blocks: number, protocol: A.AtaProtocol): Promise<A.AtaResult> {
    if (!this.#backend.canDiscard || this.#backend.readOnly || blocks === 0 || blocks > MAX_TRIM_BLOCKS) {
      return A.failed(A.ERROR_ABORT, protocol);
    }
    const lengthBytes = blocks * SECTOR_BYTES;
    const list = new DataView(gather(data.take(lengthBytes), lengthBytes).buffer);
    const ranges: [lba: number, count: number][] = [];
    for (let at = 0; at < lengthBytes; at += TRIM_RANGE_BYTES) {
      const lba = list.getUint16(at + 4, true) * 2 ** 32 + list.getUint32(at, true);
      const count = list.getUint16(at + 6, true);
      if (count === 0) continue;
      if (this.#outside(lba, count)) return A.failed(A.ERROR_NOT_FOUND | A.ERROR_ABORT, protocol);
      ranges.push([lba, count]);
    }
    const sectorBytes = this.#backend.logicalSectorBytes;
    try {
      for (const [lba, count] of ranges) await this.#backend.discard(lba * sectorBytes, count * sectorBytes);
    } catch {
      this.#writeErrors++;
      return A.failed(A.ERROR_ABORT, protocol);
    }
    return A.ok(protocol, lengthBytes);
  }

  /** Gives pages to the host: as many as it asked for. */
  #returnPages({ data }: A.AtaCommand, bytes: Uint8Array, protocol: A.AtaProtocol): A.AtaResult {
    const stored = scatter(data.take(bytes.length), bytes);
    return A.ok(protocol, stored, stored);
  }

  #readLog(command: A.AtaCommand, protocol: A.AtaProtocol): A.AtaResult {
    const { lba, count } = command.registers;
    const log = lba & 0xff;
    // Page number: bits 15:8 and 39:32 of the LBA field.
    const page = ((lba >>> 8) & 0xff) | ((Math.floor(lba / 2 ** 32) & 0xff) << 8);
    const pages: Uint8Array[] = [];
    for (let i = 0; i < Math.min(count, 2); i++) {
      const bytes = this.#logPage(log, page + i);
      if (!bytes) break;
      pages.push(bytes);
    }
    if (pages.length === 0 || pages.length < count) return A.failed(A.ERROR_ABORT, protocol);
    const bytes = new Uint8Array(pages.length * L.LOG_PAGE_BYTES);
    for (const [index, bytesOfPage] of pages.entries()) bytes.set(bytesOfPage, index * L.LOG_PAGE_BYTES);
    const result = this.#returnPages(command, bytes, protocol);
    // Reading the log page clears it (ACS-3 A.14).
    if (log === L.LOG_QUEUED_ERROR) this.#queuedFailure = undefined;
    return result;
  }

  #logPage(log: number, page: number): Uint8Array | undefined {
    if (log === L.LOG_IDENTIFY_DATA) return L.identifyDataLog(page, this.#identify());
    if (page !== 0) return undefined;
    if (log === L.LOG_DIRECTORY) return L.logDirectory();
    if (log === L.LOG_QUEUED_ERROR) return L.queuedErrorLog(this.#queuedFailure);
    return log === L.LOG_SEND_FPDMA ? L.sendFpdmaLog(this.#backend.canDiscard) : undefined;
  }

  #setFeatures({ features, count }: A.AtaRegisters): A.AtaResult {
    switch (features & 0xff) {
      case SF_ENABLE_WRITE_CACHE:
        this.#writeCache = true;
        return A.ok('non-data');
      case SF_DISABLE_WRITE_CACHE:
        this.#writeCache = false;
        return A.ok('non-data');
      case SF_ENABLE_LOOK_AHEAD:
        this.#readLookAhead = true;
        return A.ok('non-data');
      case SF_DISABLE_LOOK_AHEAD:
        this.#readLookAhead = false;
        return A.ok('non-data');
      case SF_ENABLE_SATA:
      case SF_DISABLE_SATA:
        // Asynchronous notification and power management of the link: there is no link.
        return A.aborted;
      case SF_SET_TRANSFER_MODE: {
        const mode = count & 0xff;
        // PIO modes are always on; multiword DMA 0-2, Ultra DMA 0-6.
        if ((mode & 0xf0) === 0x00) return A.ok('non-data');
        const isValid = ((mode & 0xf8) === 0x20 && (mode & 7) <= 2) || ((mode & 0xf8) === 0x40 && (mode & 7) <= 6);
        if (!isValid) return A.aborted;
        this.#transferMode = mode;
        return A.ok('non-data');
      }
      default:
        return A.aborted;
    }
  }

  #setMultiple(sectors: number): A.AtaResult {
    if (sectors > DEFAULT_MULTIPLE_SECTORS || (sectors & (sectors - 1)) !== 0) return A.aborted;
    this.#multipleSectors = sectors;
    return A.ok('non-data');
  }

  #smartCommand(command: A.AtaCommand): A.AtaResult {
    const { registers } = command;
    if (((registers.lba >>> 8) & 0xffff) !== M.SMART_KEY) return A.aborted;
    const action = registers.features & 0xff;
    if (!this.#smart && action !== M.SMART_ENABLE) return A.aborted;
    const figures: M.SmartFigures = {
      readErrors: this.#readErrors,
      powerOnHours: Math.floor(this.#nowNs() / 3.6e12),
      powerCycles: 1,
      uncorrectable: this.#readErrors,
    };
    switch (action) {
      case M.SMART_READ_DATA:
        return this.#returnPages(command, M.smartData(figures), 'pio-in');
      case M.SMART_READ_THRESHOLDS:
        return this.#returnPages(command, M.smartThresholds(figures), 'pio-in');
      case M.SMART_READ_LOG: {
        const log = (registers.count & 0xff) === 1 ? M.smartLog(registers.lba & 0xff) : undefined;
        return log ? this.#returnPages(command, log, 'pio-in') : A.aborted;
      }
      case M.SMART_ENABLE:
        this.#smart = true;
        return A.ok('non-data');
      case M.SMART_DISABLE:
        this.#smart = false;
        return A.ok('non-data');
      case M.SMART_AUTOSAVE:
      case M.SMART_EXECUTE_OFFLINE:
        return A.ok('non-data');
      case M.SMART_RETURN_STATUS:
        // Unchanged key: no threshold exceeded.
        return { ...A.ok('non-data'), lba: M.SMART_KEY << 8 };
      default:
        return A.aborted;
    }
  }
}

/** A count of 0 means the most that the field could say. */
function orMost(count: number, most: number): number {
  return count === 0 ? most : count;
}

function lba28({ lba, device }: A.AtaRegisters): number {
  return (lba & 0xffffff) | ((device & 0x0f) << 24);
}

/** FUA of the queued writes: device bit 7. */
function fuaBit({ device }: A.AtaRegisters): boolean {
  return (device & 0x80) !== 0;
}
