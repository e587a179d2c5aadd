/** Bytes that lie somewhere else and are read by ranges: a file on a server, a published image in chunks, a file that the user dropped. */
import { checkRange, totalBytes, type BlockBackend } from '../../devices/backends/block.ts';

export interface ByteSource {
  readonly sizeBytes: number;
  /** Changes when the bytes do: what an overlay remembers of its base. */
  readonly validator: string;
  /** What came over the network so far. */
  readonly fetchedBytes: number;
  /** Exactly `lengthBytes` bytes from `offset`; the caller keeps within {@link sizeBytes}. Rejects with a message for the user. */
  read(offset: number, lengthBytes: number): Promise<Uint8Array>;
}

/** A file that could not be read or opened; the message names it. */
export class FileError extends Error {
  override readonly name = 'FileError';
}

/** A file that the page holds: dropped, picked, or made by a program. */
export class BlobSource implements ByteSource {
  readonly sizeBytes: number;
  readonly validator: string;
  readonly fetchedBytes = 0;

  constructor(private readonly blob: Blob) {
    this.sizeBytes = blob.size;
    this.validator = `${blob.size}`;
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    return new Uint8Array(await this.blob.slice(offset, offset + lengthBytes).arrayBuffer());
  }
}

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

/** A read-only disk over a source. */
export class SourceBackend implements BlockBackend {
  readonly logicalSectorBytes = SECTOR_BYTES;
  readonly physicalSectorBytes = PAGE_BYTES;
  readonly readOnly = true;
  readonly canDiscard = false;
  readonly sizeBytes: number;
  #closed = false;

  constructor(readonly source: ByteSource) {
    this.sizeBytes = source.sizeBytes - (source.sizeBytes % SECTOR_BYTES);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    if (this.#closed) throw new Error('the disk is closed');
    const lengthBytes = totalBytes(into);
    checkRange(this.sizeBytes, offset, lengthBytes);
    const bytes = await this.source.read(offset, lengthBytes);
    let at = 0;
    for (const view of into) {
      view.set(bytes.subarray(at, at + view.length));
      at += view.length;
    }
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
