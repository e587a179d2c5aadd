/** What a disk device needs from the keeper of its sectors. */
import type { BLOCK_OPTIONS } from '../config/declarations/block.ts';
import type { Settings } from '../config/settings-of.ts';

/** How to open a disk: the block options of bhyve_config(5), parsed, and the path of the image. */
export type BlockSettings = Omit<Settings<typeof BLOCK_OPTIONS>, 'path'> & { readonly path: string };

/**
 * A block store. Offsets and lengths are bytes; a device model never asks beyond {@link sizeBytes} and only for whole logical sectors.
 * Requests may run at the same time and finish in any order; overlapping ones are the guest's own affair. The views passed to
 * {@link read} and {@link write} are guest memory (usually backed by a SharedArrayBuffer), which the guest may change meanwhile.
 *
 * Durability: a write may be acknowledged as soon as it survives the end of the process by any signal (the operating system's page
 * cache); what was acknowledged before {@link flush} was called survives a crash of the host once flush resolves (fdatasync).
 *
 * A rejected promise fails that one request; the device goes on.
 */
export interface BlockBackend {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canDiscard: boolean;
  /** Fills the views, one after the other, from `offset`. */
  read(offset: number, into: Uint8Array[]): Promise<void>;
  /** Stores the views, one after the other, at `offset`. */
  write(offset: number, from: Uint8Array[]): Promise<void>;
  flush(): Promise<void>;
  /** The range's contents are no longer needed; it reads as zeros or as before. */
  discard(offset: number, length: number): Promise<void>;
  /**
   * Makes the range read as zeros more cheaply than by writing them; `mayUnmap` allows to give the space back. Absent where the backend
   * has no such way.
   */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): Promise<void>;
  /** Blocks that no file keeps and that end with the process: a snapshot of the machine holds them. Absent where a file keeps everything. */
  readonly volatileBlocks?: VolatileBlocks | undefined;
  /** Sets the one listener that hears when {@link sizeBytes} has changed. Absent where it never does. */
  onResized?(listener: () => void): void;
  close(): Promise<void>;
}

export interface VolatileBlock {
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** The blocks of a disk that are in memory alone. */
export interface VolatileBlocks {
  readonly blockBytes: number;
  /** Every block, by increasing index. */
  list(): Iterable<VolatileBlock>;
  /** Puts others in the place of all: their indices lie in the disk. */
  replace(blocks: Iterable<VolatileBlock>): void;
}

/** Bytes of all views together. */
export function totalBytes(views: readonly Uint8Array[]): number {
  return views.reduce((sum, view) => sum + view.length, 0);
}

/** Throws RangeError when a request does not lie in the store. */
export function checkRange(sizeBytes: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > sizeBytes) {
    throw new RangeError(`block range ${offset}+${length} outside ${sizeBytes} bytes`);
  }
}
