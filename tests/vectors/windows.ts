/**
 * Where the vectors' code and memory lie. The same virtual addresses are mapped by the harness that recorded the
 * vectors on a real processor (tests/vectors/harness.c) and by the replayer (tests/vectors/replayer.ts).
 *
 * The page after every window is unmapped, so that an access that runs past its end faults. One window lies above 4 GiB, so that a
 * truncated address shows. A vector names memory by its image offset: the windows laid one after the other.
 */
import { Prng } from './random.ts';

export interface Window {
  readonly name: string;
  readonly address: bigint;
  readonly sizeBytes: number;
  readonly writable: boolean;
  /** Offset of the window's first byte in the memory image. */
  readonly imageOffset: number;
}

/** The instruction under test lies here; two pages, so that it may cross from one to the other. */
export const CODE_ADDRESS = 0x10000000;
export const CODE_SIZE_BYTES = 0x2000;
/** Where most instructions are placed. */
export const CODE_DEFAULT_OFFSET = 0x800;

export const DATA_ADDRESS = 0x10010000n;
export const READ_ONLY_ADDRESS = 0x10020000n;
export const STACK_ADDRESS = 0x10030000n;
export const HIGH_ADDRESS = 0x123450010000n;

export const DATA: Window = {
  name: 'data',
  address: DATA_ADDRESS,
  sizeBytes: 0x2000,
  writable: true,
  imageOffset: 0,
};
export const READ_ONLY: Window = {
  name: 'read-only',
  address: READ_ONLY_ADDRESS,
  sizeBytes: 0x1000,
  writable: false,
  imageOffset: 0x2000,
};
export const STACK: Window = {
  name: 'stack',
  address: STACK_ADDRESS,
  sizeBytes: 0x2000,
  writable: true,
  imageOffset: 0x3000,
};
export const HIGH: Window = {
  name: 'high',
  address: HIGH_ADDRESS,
  sizeBytes: 0x2000,
  writable: true,
  imageOffset: 0x5000,
};

export const WINDOWS: readonly Window[] = [DATA, READ_ONLY, STACK, HIGH];
export const IMAGE_SIZE_BYTES = 0x7000;

/** What the memory image holds before a vector's own patches. */
export function backgroundImage(): Uint8Array {
  const prng = new Prng(0x62687976);
  const image = new Uint8Array(IMAGE_SIZE_BYTES);
  for (let at = 0; at < image.length; at++) image[at] = prng.next() & 0xff;
  return image;
}

/** Image offset of a linear address, or -1 where nothing is mapped. */
export function imageOffsetOf(address: bigint): number {
  for (const window of WINDOWS) {
    const offset = address - window.address;
    if (offset >= 0n && offset < BigInt(window.sizeBytes)) return window.imageOffset + Number(offset);
  }
  return -1;
}
