/** A disk whose traffic is counted, for the page's status line. */
import { totalBytes, type BlockBackend } from '../../devices/storage/block-backend.ts';

export class CountedBackend implements BlockBackend {
  readBytes = 0;
  writtenBytes = 0;

  constructor(
    private readonly disk: BlockBackend,
    private readonly fetched: () => number,
  ) {}

  get fetchedBytes(): number {
    return this.fetched();
  }

  get sizeBytes(): number {
    return this.disk.sizeBytes;
  }

  get logicalSectorBytes(): number {
    return this.disk.logicalSectorBytes;
  }

  get physicalSectorBytes(): number {
    return this.disk.physicalSectorBytes;
  }

  get readOnly(): boolean {
    return this.disk.readOnly;
  }

  get canDiscard(): boolean {
    return this.disk.canDiscard;
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    await this.disk.read(offset, into);
    this.readBytes += totalBytes(into);
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    await this.disk.write(offset, from);
    this.writtenBytes += totalBytes(from);
  }

  flush(): Promise<void> {
    return this.disk.flush();
  }

  discard(offset: number, length: number): Promise<void> {
    return this.disk.discard(offset, length);
  }

  close(): Promise<void> {
    return this.disk.close();
  }
}
