/** Base address registers (PCI Local Bus 3.0, 6.2.5.1). */
import type { DeviceRam } from '../bus/device-ram.ts';
import type { PostedRange } from '../bus/posted-ranges.ts';
import { BAR_IO, BAR_MEM64, BAR_PREFETCH } from './registers.ts';

export type BarKind = 'io' | 'mem32' | 'mem64';

const MINIMUM_BYTES = { io: 4, mem32: 16, mem64: 16 } as const;
/** 64-bit BARs of more than this lie above 4 GiB; smaller ones below, where every driver reaches them. */
export const MEM64_BELOW_4G_MAX_BYTES = 128 * 1024 * 1024;
/** Beyond this no processor address reaches (MAXPHYADDR of at most 52 bits): upper half of 2^52. */
const HIGH_LIMIT = 2 ** 20;

/** A BAR's size: the next power of two, and at least what the specification's granularity demands. */
export function barSizeBytes(kind: BarKind, wantedBytes: number): number {
  let size: number = MINIMUM_BYTES[kind];
  while (size < wantedBytes) size *= 2;
  return size;
}

export interface BarOptions {
  /** Writes in these ranges are posted: doorbells, whose effect no driver waits for. */
  readonly posted?: readonly PostedRange[] | undefined;
  /** Memory that the guest reaches through the BAR without the device being asked. */
  readonly ram?: DeviceRam | undefined;
}

/** One BAR of a function: its decoder, and the claim it holds on a bus while the decoder is on. */
export class Bar {
  readonly index: number;
  readonly kind: BarKind;
  readonly sizeBytes: number;
  posted: readonly PostedRange[];
  readonly ram: DeviceRam | undefined;
  // Two halves, since a guest that sizes the BAR writes 64 one bits, which no double holds.
  #low = 0;
  #high = 0;
  /** The address that is claimed on the bus right now. */
  claimedAddress: number | undefined;
  /** The address that another claim kept it from taking. */
  conflictAddress: number | undefined;
  release: (() => void) | undefined;
  /** Ends what {@link posted} says for the address that is claimed. */
  withdrawPosted: (() => void) | undefined;

  constructor(index: number, kind: BarKind, wantedBytes: number, options: BarOptions = {}) {
    this.index = index;
    this.kind = kind;
    this.sizeBytes = barSizeBytes(kind, wantedBytes);
    this.posted = options.posted ?? [];
    this.ram = options.ram;
  }

  /** Registers that the BAR takes: a 64-bit one takes two. */
  get registerCount(): number {
    return this.kind === 'mem64' ? 2 : 1;
  }

  /** The read-only low bits of the register. */
  get typeBits(): number {
    if (this.kind === 'io') return BAR_IO;
    if (this.kind === 'mem32') return 0;
    return this.sizeBytes > MEM64_BELOW_4G_MAX_BYTES ? BAR_MEM64 | BAR_PREFETCH : BAR_MEM64;
  }

  /** Address in the register, decoded or not; exact while {@link decodable}. */
  get address(): number {
    return this.#high * 2 ** 32 + this.#low;
  }

  /** Sets the address; it must be aligned to the size. */
  assign(address: number): void {
    this.#low = address % 2 ** 32;
    this.#high = Math.floor(address / 2 ** 32);
  }

  /** Value of the register's low or high half. */
  registerValue(high: boolean): number {
    return high ? this.#high : (this.#low | this.typeBits) >>> 0;
  }

  /** A guest's write: address bits below the size do not exist, which is also how a guest finds the size. */
  writeRegister(high: boolean, value: number): void {
    if (high) {
      const highMask = this.sizeBytes > 2 ** 32 ? ~(this.sizeBytes / 2 ** 32 - 1) : ~0;
      this.#high = (value & highMask) >>> 0;
      return;
    }
    const sizeMask = this.sizeBytes >= 2 ** 32 ? 0 : ~(this.sizeBytes - 1);
    const portMask = this.kind === 'io' ? 0xffff : ~0;
    this.#low = (value & sizeMask & portMask) >>> 0;
  }

  /** True when the address can be decoded at all. */
  get decodable(): boolean {
    return this.#high < HIGH_LIMIT;
  }
}
