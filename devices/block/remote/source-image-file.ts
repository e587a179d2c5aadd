/** A file that is read by ranges, as the drivers of image formats see files. */
import { totalBytes } from '../../backends/block.ts';
import type { ImageFile } from '../image-file.ts';
import { scatter, sliceViews } from '../scatter.ts';
import type { ByteSource } from './byte-source.ts';

export class SourceImageFile implements ImageFile {
  readonly readOnly = true;

  constructor(private readonly source: ByteSource) {}

  sizeBytes(): Promise<number> {
    return Promise.resolve(this.source.sizeBytes);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const lengthBytes = totalBytes(into);
    const present = Math.max(0, Math.min(lengthBytes, this.source.sizeBytes - offset));
    if (present > 0) scatter(into, await this.source.read(offset, present));
    for (const view of sliceViews(into, present, lengthBytes)) view.fill(0);
  }

  write(): Promise<void> {
    return Promise.reject(new Error('the image is read-only'));
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
