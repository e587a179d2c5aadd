/**
 * QEMU's firmware configuration device (QEMU, docs/specs/fw_cfg.rst) as far as bhyve 14 has it (lpc.fwcfg=qemu):
 * a 16-bit selector at port 0x510 and an 8-bit data port at 0x511, without DMA.
 */
import { allOnes, type AccessSize, type PortBus, type PortHandler } from '../bus/port-bus.ts';
import { StateFields } from '../platform/state-fields.ts';
import { PassiveDevice, type Counters } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import { FirmwareTableError } from './acpi/parameters.ts';
import { ascii, ByteWriter } from './byte-writer.ts';

export const FW_CFG_SELECTOR_PORT = 0x510;
export const FW_CFG_DATA_PORT = 0x511;

const KEY_SIGNATURE = 0x00;
const KEY_ID = 0x01;
const KEY_NB_CPUS = 0x05;
const KEY_MAX_CPUS = 0x0f;
const KEY_FILE_DIR = 0x19;
const KEY_FILE_FIRST = 0x20;
/** Traditional interface only; bit 1 would announce DMA. */
const ID_TRADITIONAL = 1;
/** Bit 15 asks for an item of the architecture, bit 14 for the (absent) write channel; the rest is the index. */
const KEY_MASK = 0x3fff;
const KEY_ARCHITECTURE = 0x8000;

const FILE_NAME_BYTES = 56;
const MAX_FILES = KEY_MASK + 1 - KEY_FILE_FIRST;

const STATE_KIND = 'fw-cfg';
const STATE_VERSION = 1;

export interface FwCfgFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const bigEndian32 = (value: number): Uint8Array =>
  Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);

export class FwCfg extends PassiveDevice implements PortHandler {
  /** Accesses of a wrong width or direction. */
  badAccesses = 0;
  readonly #items = new Map<number, Uint8Array>();
  #selector = 0;
  #offset = 0;

  /** Throws FirmwareTableError for files whose names are too long or occur twice. */
  constructor(ports: PortBus, cpus: number, files: readonly FwCfgFile[]) {
    super();
    this.#items.set(KEY_SIGNATURE, ascii('QEMU'));
    this.#items.set(KEY_ID, new ByteWriter().u32(ID_TRADITIONAL).finish());
    this.#items.set(KEY_NB_CPUS, new ByteWriter().u16(cpus).finish());
    this.#items.set(KEY_MAX_CPUS, new ByteWriter().u16(cpus).finish());
    this.#addFiles(files);
    ports.claim('fw_cfg', FW_CFG_SELECTOR_PORT, 2, this);
  }

  #addFiles(files: readonly FwCfgFile[]): void {
    if (files.length > MAX_FILES) throw new FirmwareTableError(`${files.length} fw_cfg files are too many`);
    const sorted = [...files].sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
    const directory = new ByteWriter().bytes(bigEndian32(sorted.length));
    for (const [index, { name, bytes }] of sorted.entries()) {
      const encoded = new TextEncoder().encode(name);
      if (encoded.length === 0 || encoded.length >= FILE_NAME_BYTES || encoded.includes(0)) {
        throw new FirmwareTableError(`"${name}" is not a fw_cfg file name`);
      }
      if (sorted[index + 1]?.name === name) throw new FirmwareTableError(`the fw_cfg file "${name}" exists twice`);
      const key = KEY_FILE_FIRST + index;
      this.#items.set(key, bytes);
      directory
        .bytes(bigEndian32(bytes.length))
        .u8(key >> 8)
        .u8(key & 0xff)
        .u16(0)
        .bytes(encoded)
        .zeros(FILE_NAME_BYTES - encoded.length);
    }
    this.#items.set(KEY_FILE_DIR, directory.finish());
  }

  readPort(port: number, size: AccessSize): number {
    if (port === FW_CFG_SELECTOR_PORT && size === 2) return this.#selector;
    if (port === FW_CFG_DATA_PORT && size === 1) return this.#readByte();
    this.badAccesses++;
    return allOnes(size);
  }

  writePort(port: number, size: AccessSize, value: number): void {
    if (port === FW_CFG_SELECTOR_PORT && size === 2) {
      this.#selector = value;
      this.#offset = 0;
    } else {
      this.badAccesses++;
    }
  }

  /** A missing item and everything past an item's end read as zero. */
  #readByte(): number {
    if (this.#selector & KEY_ARCHITECTURE) return 0;
    const item = this.#items.get(this.#selector & KEY_MASK);
    if (!item || this.#offset >= item.length) return 0;
    return item[this.#offset++] ?? 0;
  }

  override counters(): Counters {
    return { 'bad accesses': this.badAccesses };
  }

  reset(): void {
    this.#selector = 0;
    this.#offset = 0;
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { selector: this.#selector, offset: this.#offset },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const selector = fields.integer('selector', 0xffff);
    const offset = fields.integer('offset', 0xffffffff);
    this.#selector = selector;
    this.#offset = offset;
  }
}
