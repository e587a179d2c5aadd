/** L2 tables and refcount blocks in memory: big-endian 64-bit tables of one cluster, the most recently used kept. */
import type { ImageFile } from '../image-file.ts';
import { Qcow2Error } from './header.ts';

/** Tables kept: with clusters of 64 KiB 16 MiB of them, for 128 GiB of disk. */
const MAX_TABLES = 256;

export class TableCache {
  readonly #tables = new Map<number, Promise<DataView>>();
  /** Tables whose changes are on their way to the file, with how many: they stay in memory until then. */
  readonly #pinned = new Map<number, number>();

  constructor(
    private readonly file: ImageFile,
    private readonly clusterBytes: number,
  ) {}

  /** The cluster at an offset of the file. */
  get(offset: number): Promise<DataView> {
    let table = this.#tables.get(offset);
    if (table) {
      this.#tables.delete(offset);
    } else {
      if (offset % this.clusterBytes !== 0) throw new Qcow2Error('damaged qcow2 image: a table is not aligned');
      table = this.#load(offset);
      table.catch(() => this.#tables.delete(offset));
    }
    this.#tables.set(offset, table);
    for (const old of this.#tables.keys()) {
      if (this.#tables.size <= MAX_TABLES) break;
      if (!this.#pinned.has(old)) this.#tables.delete(old);
    }
    return table;
  }

  async #load(offset: number): Promise<DataView> {
    const bytes = new Uint8Array(this.clusterBytes);
    await this.file.read(offset, [bytes]);
    return new DataView(bytes.buffer);
  }

  /** Changes an entry, in memory and in the file. */
  async update(offset: number, index: number, entry: bigint): Promise<void> {
    const table = await this.get(offset);
    this.#pinned.set(offset, (this.#pinned.get(offset) ?? 0) + 1);
    try {
      table.setBigUint64(8 * index, entry);
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, entry);
      await this.file.write(offset + 8 * index, [bytes]);
    } finally {
      const pins = (this.#pinned.get(offset) ?? 1) - 1;
      if (pins === 0) this.#pinned.delete(offset);
      else this.#pinned.set(offset, pins);
    }
  }

  /** A new table of zeros, which the file holds already. */
  put(offset: number, table: DataView): void {
    this.#tables.set(offset, Promise.resolve(table));
  }
}
