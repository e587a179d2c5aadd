/**
 * Allocation of clusters in a qcow2 image. New clusters come from the end of the file, many at a time: their refcounts are on the disk before
 * anything refers to them, so that a crash of the host leaks some clusters and damages nothing.
 */
import type { ImageFile } from '../image-file.ts';
import { Qcow2Error, type Qcow2Header } from './header.ts';

/** Clusters that are reserved at once. */
const BATCH_CLUSTERS = 64;

export class Refcounts {
  readonly #clusterBytes: number;
  #nextFree = 0;
  #reservedEnd = 0;
  #work: Promise<unknown> = Promise.resolve();
  #table: DataView | undefined;

  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
  ) {
    this.#clusterBytes = 2 ** header.clusterBits;
  }

  /** Entries of one refcount block. */
  get #perBlock(): number {
    return (this.#clusterBytes * 8) / this.header.refcountBits;
  }

  /** The offset of a cluster that nothing uses; its contents are zeros. One caller at a time is served. */
  allocate(): Promise<number> {
    const result = this.#work.then(async () => {
      if (this.#nextFree >= this.#reservedEnd) await this.#reserve();
      const offset = this.#nextFree;
      this.#nextFree += this.#clusterBytes;
      return offset;
    });
    this.#work = result.catch(() => undefined);
    return result;
  }

  async #reserve(): Promise<void> {
    const { file } = this;
    this.#table ??= await this.#loadTable();
    let end = Math.ceil((await file.sizeBytes()) / this.#clusterBytes);
    const wanted = new Set<number>();
    // Refcount blocks that are missing for the new clusters lie among them.
    for (;;) {
      const before = wanted.size;
      const last = end + before + BATCH_CLUSTERS - 1;
      for (let block = Math.floor(end / this.#perBlock); block <= Math.floor(last / this.#perBlock); block++) {
        if (block >= this.header.refcountTableEntries)
          throw new Qcow2Error('the qcow2 image is full: its refcount table ends');
        if (this.#blockOffset(block) === 0) wanted.add(block);
      }
      if (wanted.size === before) break;
    }
    const first = end;
    for (const block of wanted) {
      const offset = end++ * this.#clusterBytes;
      await file.write(offset, [new Uint8Array(this.#clusterBytes)]);
      this.#table.setBigUint64(8 * block, BigInt(offset));
    }
    const total = end - first + BATCH_CLUSTERS;
    await this.#setCounts(first, total);
    for (const block of wanted) {
      const entry = new Uint8Array(8);
      new DataView(entry.buffer).setBigUint64(0, this.#table.getBigUint64(8 * block));
      await file.write(this.header.refcountTableOffset + 8 * block, [entry]);
    }
    // The file ends behind the reserved clusters, so that the next start counts from there.
    await file.write((first + total) * this.#clusterBytes - 1, [new Uint8Array(1)]);
    await file.flush();
    this.#nextFree = end * this.#clusterBytes;
    this.#reservedEnd = (first + total) * this.#clusterBytes;
  }

  async #loadTable(): Promise<DataView> {
    const bytes = new Uint8Array(this.header.refcountTableEntries * 8);
    await this.file.read(this.header.refcountTableOffset, [bytes]);
    return new DataView(bytes.buffer);
  }

  #blockOffset(block: number): number {
    return Number((this.#table?.getBigUint64(8 * block) ?? 0n) & ~0x1ffn);
  }

  /** Sets the refcounts of clusters [first, first + count) to 1. */
  async #setCounts(first: number, count: number): Promise<void> {
    const { refcountBits } = this.header;
    for (let cluster = first; cluster < first + count;) {
      const block = Math.floor(cluster / this.#perBlock);
      const from = cluster % this.#perBlock;
      const to = Math.min(this.#perBlock, from + first + count - cluster);
      const startByte = Math.floor((from * refcountBits) / 8);
      const bytes = new Uint8Array(Math.ceil((to * refcountBits) / 8) - startByte);
      const at = this.#blockOffset(block) + startByte;
      // Entries narrower than a byte share it with their neighbours.
      await this.file.read(at, [bytes]);
      for (let entry = from; entry < to; entry++) setEntry(bytes, entry * refcountBits - startByte * 8, refcountBits);
      await this.file.write(at, [bytes]);
      cluster += to - from;
    }
  }
}

/** Writes the value 1 into an entry: big-endian for whole bytes, from the lowest bits up for parts of one. */
function setEntry(bytes: Uint8Array, bit: number, width: number): void {
  const byte = bit >> 3;
  if (width < 8) {
    const shift = bit & 7;
    const mask = ((1 << width) - 1) << shift;
    bytes[byte] = ((bytes[byte] ?? 0) & ~mask) | (1 << shift);
    return;
  }
  bytes.fill(0, byte, byte + width / 8);
  bytes[byte + width / 8 - 1] = 1;
}
