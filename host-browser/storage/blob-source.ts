/** Files that the page has itself. */
import type { ByteSource } from '../../devices/block/remote/byte-source.ts';

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
