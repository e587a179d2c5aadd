/** What an ATA device exchanges with its host adapter: register contents, data, results (ACS-3; Serial ATA 3.2). */

import type { Counters } from '../device.ts';

/** Status register. */
export const ATA_ERR = 0x01;
export const ATA_DRQ = 0x08;
/** Bit 4: seek complete, as ATA-1 had it and drivers still expect it. */
export const ATA_DSC = 0x10;
export const ATA_DF = 0x20;
export const ATA_DRDY = 0x40;
export const ATA_BSY = 0x80;
export const STATUS_READY = ATA_DRDY | ATA_DSC;

/** Error register. */
export const ERROR_ABORT = 0x04;
export const ERROR_NOT_FOUND = 0x10;
export const ERROR_UNCORRECTABLE = 0x40;

/** Register contents of a command, in the names of ACS-3. */
export interface AtaRegisters {
  readonly command: number;
  /** 16 bits. */
  readonly features: number;
  /** 48 bits. */
  readonly lba: number;
  /** 16 bits. */
  readonly count: number;
  readonly device: number;
  /** 32 bits; bit 0 is TRIM for the data set management commands. */
  readonly auxiliary: number;
}

/** Host memory of one command. */
export interface AtaData {
  /**
   * Views of exactly `lengthBytes` of the host's memory. Throws DataLengthError when the host described less, GuestAddressError when some of it is
   * not RAM.
   */
  take(lengthBytes: number): Uint8Array[];
  /** Bytes that the host described, counted up to `limitBytes`. */
  available(limitBytes: number): Uint8Array[];
}

/** The host's scatter list is shorter than the command's data. */
export class DataLengthError extends Error {
  override readonly name = 'DataLengthError';
}

/** How the end of a command is told: by which FIS (Serial ATA 3.2, 11). */
export type AtaProtocol = 'non-data' | 'pio-in' | 'pio-out' | 'dma' | 'packet' | 'queued';

export interface AtaResult {
  readonly protocol: AtaProtocol;
  readonly status: number;
  readonly error: number;
  /** Bytes that went to or came from host memory. */
  readonly transferredBytes: number;
  /** Bytes among them that the device wrote into host memory. */
  readonly storedBytes: number;
  /** Registers that the command changed; others come back as they were sent. */
  readonly lba?: number;
  readonly count?: number;
  readonly device?: number;
}

export interface AtaCommand {
  readonly registers: AtaRegisters;
  /** The 12 or 16 bytes of a PACKET command. */
  readonly packet: Uint8Array;
  readonly data: AtaData;
}

/** A device on a Serial ATA port. */
export interface AtaDevice {
  /** LBA and count registers after a reset (Serial ATA 3.2, 11.5): tells disks and packet devices apart. */
  readonly signature: number;
  readonly isPacketDevice: boolean;
  /**
   * Does a command. Resolves with what the device answers, also when it fails; throws (or rejects) DataLengthError and GuestAddressError alone.
   */
  execute(command: AtaCommand): AtaResult | Promise<AtaResult>;
  /** True for the commands that may be queued (their tag is in the count register). */
  isQueued(command: number): boolean;
  /** Software reset or COMRESET: settings go back to their defaults. */
  reset(): void;
  /** The machine is switched on: what survives the other resets is forgotten as well, and a tray is closed. */
  powerOn(): void;
  /** A queued command failed; its answer is kept for log page 10h. */
  queuedError(tag: number, registers: AtaRegisters, result: AtaResult): void;
  save(): AtaDeviceState;
  restore(state: AtaDeviceState): void;
  counters(): Counters;
  close(): Promise<void>;
}

/** Numbers that a snapshot holds of a device. */
export type AtaDeviceState = Readonly<Record<string, number>>;

export function ok(protocol: AtaProtocol, transferredBytes = 0, storedBytes = 0): AtaResult {
  return { protocol, status: STATUS_READY, error: 0, transferredBytes, storedBytes };
}

export function failed(error: number, protocol: AtaProtocol = 'non-data'): AtaResult {
  return { protocol, status: STATUS_READY | ATA_ERR, error, transferredBytes: 0, storedBytes: 0 };
}

export const aborted: AtaResult = failed(ERROR_ABORT);

/** ATA strings: two characters a word, the first in the high byte; padded with blanks. */
export function putAtaText(words: DataView, firstWord: number, wordCount: number, text: string): void {
  for (let i = 0; i < wordCount * 2; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x20;
    words.setUint8(2 * firstWord + (i ^ 1), code >= 0x20 && code < 0x7f ? code : 0x3f);
  }
}

/** Word 255: signature A5h and a checksum that makes all 512 bytes add up to zero. */
export function sealIdentify(bytes: Uint8Array): void {
  bytes[510] = 0xa5;
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += bytes[i] ?? 0;
  bytes[511] = -sum & 0xff;
}
