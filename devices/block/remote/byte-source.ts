/** Bytes that lie somewhere else and are read by ranges: a file on a server, a published image in chunks, a file that a page holds. */
import { checkRange, totalBytes, type BlockBackend, type BlockSettings } from '../../backends/block.ts';
import { scatter } from '../scatter.ts';

export interface ByteSource {
  readonly sizeBytes: number;
  /** Changes when the bytes do: what an overlay remembers of its base. */
  readonly validator: string;
  /** What came over the network so far. */
  readonly fetchedBytes: number;
  /**
   * Exactly `lengthBytes` bytes from `offset`, which stay the source's own; the caller keeps within {@link sizeBytes}. Rejects with a message
   * for the user.
   */
  read(offset: number, lengthBytes: number): Promise<Uint8Array>;
}

/** A file that could not be read or opened; the message names it. */
export class FileError extends Error {
  override readonly name = 'FileError';
}

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

/** A read-only disk over a source. */
export class SourceBackend implements BlockBackend {
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly = true;
  readonly canDiscard = false;
  readonly sizeBytes: number;
  #closed = false;

  constructor(
    readonly source: ByteSource,
    sectors?: BlockSettings['sectorsize'],
  ) {
    this.logicalSectorBytes = sectors?.logicalBytes ?? SECTOR_BYTES;
    this.physicalSectorBytes = sectors?.physicalBytes ?? PAGE_BYTES;
    this.sizeBytes = source.sizeBytes - (source.sizeBytes % this.logicalSectorBytes);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    if (this.#closed) throw new Error('the disk is closed');
    const lengthBytes = totalBytes(into);
    checkRange(this.sizeBytes, offset, lengthBytes);
    scatter(into, await this.source.read(offset, lengthBytes));
  }

  write(): Promise<void> {
    return Promise.reject(new Error('the disk is read-only'));
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  discard(): Promise<void> {
    return Promise.reject(new Error('this disk cannot discard'));
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
