/** Command headers, tables and physical region descriptors in guest memory (AHCI 1.3.1, 4.2). Everything is read once. */
import { DataLengthError, type AtaData } from '../ata/command.ts';
import { GuestRegions } from '../block/guest-regions.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import { COMMAND_FIS_BYTES } from './fis.ts';
import * as R from './registers.ts';

/** Entries of the table read at once. */
const PRD_BATCH = 128;
const PACKET_BYTES = 16;

export interface CommandHeader {
  readonly flags: number;
  readonly tableGpa: number;
  readonly prdCount: number;
}

/** The header of a command slot. Throws GuestAddressError. */
export function readHeader(memory: GuestMemory, listGpa: number, slot: number): CommandHeader {
  const bytes = new Uint8Array(16);
  memory.read(listGpa + slot * R.HEADER_BYTES, bytes);
  const view = new DataView(bytes.buffer);
  return {
    flags: view.getUint16(0, true),
    prdCount: view.getUint16(2, true),
    // Aligned to 128 bytes: the low bits are reserved.
    tableGpa: view.getUint32(12, true) * 2 ** 32 + ((view.getUint32(8, true) & ~0x7f) >>> 0),
  };
}

/** The command FIS and the packet of a command table, copied. Throws GuestAddressError. */
export function readTable(memory: GuestMemory, tableGpa: number): { fis: Uint8Array; packet: Uint8Array } {
  const bytes = new Uint8Array(COMMAND_FIS_BYTES + PACKET_BYTES);
  memory.read(tableGpa, bytes);
  return {
    fis: bytes.subarray(0, COMMAND_FIS_BYTES),
    packet: bytes.subarray(R.TABLE_PACKET, R.TABLE_PACKET + PACKET_BYTES),
  };
}

/** Guest memory that a command's descriptors name. Descriptors are read as far as the command needs them. */
export class PrdTable implements AtaData {
  /** A descriptor asked for an interrupt (its I bit). */
  interrupt = false;
  readonly #memory: GuestMemory;
  readonly #gpa: number;
  readonly #count: number;
  #regions: GuestRegions;
  /** What keeps the views that were given out. */
  readonly #holds: (() => void)[] = [];

  constructor(memory: GuestMemory, { tableGpa, prdCount }: CommandHeader) {
    this.#memory = memory;
    this.#gpa = tableGpa + R.TABLE_PRDT;
    this.#count = prdCount;
    this.#regions = new GuestRegions(memory);
  }

  take(lengthBytes: number): Uint8Array[] {
    this.#collect(lengthBytes);
    const found = this.#regions.lengthBytes;
    if (found < lengthBytes) throw new DataLengthError(`descriptors for ${found} of ${lengthBytes} bytes`);
    return this.#views();
  }

  available(limitBytes: number): Uint8Array[] {
    this.#collect(limitBytes);
    return this.#views();
  }

  #views(): Uint8Array[] {
    const views = this.#regions.views();
    this.#holds.push(this.#memory.hold());
    return views;
  }

  /** Nobody uses the views any more. */
  release(): void {
    for (const release of this.#holds.splice(0)) release();
  }

  #collect(limitBytes: number): void {
    const regions = new GuestRegions(this.#memory);
    this.#regions = regions;
    for (let first = 0; first < this.#count && regions.lengthBytes < limitBytes; first += PRD_BATCH) {
      const batch = new Uint8Array(Math.min(PRD_BATCH, this.#count - first) * R.PRD_BYTES);
      this.#memory.read(this.#gpa + first * R.PRD_BYTES, batch);
      const entries = new DataView(batch.buffer);
      for (let at = 0; at < batch.length && regions.lengthBytes < limitBytes; at += R.PRD_BYTES) {
        const gpa = entries.getUint32(at + 4, true) * 2 ** 32 + entries.getUint32(at, true);
        const word = entries.getUint32(at + 12, true);
        // Counts are even numbers of bytes: bit 0 of the field is always set (4.2.3.3).
        const lengthBytes = Math.min((word & R.PRD_COUNT_MASK) + 1, limitBytes - regions.lengthBytes);
        if (word & R.PRD_INTERRUPT) this.interrupt = true;
        regions.add(gpa, lengthBytes);
      }
    }
  }

  /** Tells the core that the device stored this many bytes, from the first descriptor on. */
  written(lengthBytes: number): void {
    this.#regions.written(lengthBytes);
  }
}
