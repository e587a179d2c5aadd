/** Guest-physical memory as devices see it: every address is checked, nothing outside guest RAM can be reached. */

/** A DMA address or length that does not lie in guest RAM. Devices count it and fail the one request that caused it. */
export class GuestAddressError extends Error {
  override readonly name = 'GuestAddressError';
  constructor(
    readonly gpa: number,
    readonly lengthBytes: number,
  ) {
    super(`guest address 0x${gpa.toString(16)}+${lengthBytes} is not RAM`);
  }
}

/**
 * The one DMA interface. Addresses are guest-physical byte addresses as JavaScript numbers (exact below 2^53).
 * Every method throws {@link GuestAddressError} when any byte of the range is not RAM, before it has changed anything.
 */
export interface GuestMemory {
  /** Bytes of RAM below 4 GiB. */
  readonly lowBytes: number;
  /** Bytes of RAM from 4 GiB up. */
  readonly highBytes: number;

  /** True when the whole range is RAM. A zero length is true for any address. */
  contains(gpa: number, lengthBytes: number): boolean;

  /**
   * Views of the range, in order; one view a 2 MiB chunk at most, since chunks are not neighbours in linear memory.
   * The views are valid until the caller gives the thread back, and as long as a {@link hold} that was taken before that. After writing
   * through them call {@link written}, also before.
   */
  views(gpa: number, lengthBytes: number): Uint8Array[];

  /**
   * Keeps views that were given out since this thread's turn began, or since the last hold, valid until the returned function is called. A
   * device takes a hold of what it hands to a backend (RequestTracker does that).
   */
  hold(): () => void;

  /** Views for rings: they are the memory that vCPUs see, and valid until `release` is called. */
  keep(gpa: number, lengthBytes: number): { readonly views: readonly Uint8Array[]; readonly release: () => void };

  /** Tells the core that bytes were changed through {@link views}, so that decoded code of those pages is dropped. */
  written(gpa: number, lengthBytes: number): void;

  read(gpa: number, into: Uint8Array): void;
  write(gpa: number, from: Uint8Array): void;
  fill(gpa: number, lengthBytes: number, value: number): void;

  readU8(gpa: number): number;
  readU16(gpa: number): number;
  readU32(gpa: number): number;
  readU64(gpa: number): bigint;
  writeU8(gpa: number, value: number): void;
  writeU16(gpa: number, value: number): void;
  writeU32(gpa: number, value: number): void;
  writeU64(gpa: number, value: bigint): void;
}
