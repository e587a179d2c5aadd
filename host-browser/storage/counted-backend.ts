/** A disk as the machine has it: with the sector sizes that were asked for, its traffic counted for the page's status line. */
import {
  totalBytes,
  type BlockBackend,
  type BlockSettings,
  type VolatileBlocks,
} from '../../devices/backends/block.ts';

export class CountedBackend implements BlockBackend {
  readBytes = 0;
  writtenBytes = 0;

  constructor(
    private readonly disk: BlockBackend,
    private readonly sectors: BlockSettings['sectorsize'],
    private readonly fetched: () => number,
    /** Blocks in memory that the machine's snapshots hold. */
    readonly volatileBlocks: VolatileBlocks | undefined,
  ) {}

  get fetchedBytes(): number {
    return this.fetched();
  }

  get sizeBytes(): number {
    const { sizeBytes } = this.disk;
    return sizeBytes - (sizeBytes % this.logicalSectorBytes);
  }

  get logicalSectorBytes(): number {
    return this.sectors?.logicalBytes ?? this.disk.logicalSectorBytes;
  }

  get physicalSectorBytes(): number {
    return this.sectors?.physicalBytes ?? this.disk.physicalSectorBytes;
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
