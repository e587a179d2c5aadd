/**
 * A disk in a qcow2 image, versions 2 and 3: backing files, compressed clusters, zero clusters. Written in place: a cluster that is not the image's own
 * is copied to a new one first. Images with internal snapshots, or with refcounts that are marked as wrong, are only read.
 */
import { checkRange, totalBytes, type BlockBackend } from '../../backends/block.ts';
import type { ImageFile } from '../image-file.ts';
import { scatter, sliceViews } from '../scatter.ts';
import { autoclearOffset, HEADER_PROBE_BYTES, parseHeader, Qcow2Error, type Qcow2Header } from './header.ts';
import { Refcounts } from './refcounts.ts';
import { TableCache } from './table-cache.ts';

const ENTRY_COPIED = 1n << 63n;
const ENTRY_COMPRESSED = 1n << 62n;
const ENTRY_ZERO = 1n;
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
const SECTOR_BYTES = 512;
/** Decompressed clusters kept. */
const MAX_DECOMPRESSED = 32;

export interface Qcow2Options {
  /** Inflates a raw deflate stream; bytes after its end are ignored. */
  readonly inflateRaw: (bytes: Uint8Array, lengthBytes: number) => Promise<Uint8Array>;
  /** Opens the image that this one is based on, read-only. */
  readonly openBacking: (path: string) => Promise<BlockBackend>;
}

/** What a cluster of the disk is. */
type Mapping =
  | { readonly kind: 'none' }
  /** With a cluster of its own, whose contents do not count. */
  | { readonly kind: 'zero'; readonly offset: number }
  | { readonly kind: 'data'; readonly offset: number; readonly own: boolean }
  | { readonly kind: 'compressed'; readonly offset: number; readonly lengthBytes: number };

export class Qcow2Backend implements BlockBackend {
  readonly logicalSectorBytes = SECTOR_BYTES;
  readonly physicalSectorBytes = 4096;
  readonly canDiscard: boolean;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly header: Qcow2Header;
  readonly #file: ImageFile;
  readonly #options: Qcow2Options;
  readonly #l1: DataView;
  readonly #backing: BlockBackend | undefined;
  readonly #tables: TableCache;
  readonly #refcounts: Refcounts;
  readonly #clusterBytes: number;
  readonly #decompressed = new Map<number, Promise<Uint8Array>>();
  /** Clusters that are being copied, by number: a second write waits for the first. */
  readonly #allocating = new Map<number, Promise<void>>();

  private constructor(
    file: ImageFile,
    header: Qcow2Header,
    l1: DataView,
    backing: BlockBackend | undefined,
    options: Qcow2Options,
  ) {
    this.#file = file;
    this.header = header;
    this.#l1 = l1;
    this.#backing = backing;
    this.#options = options;
    this.#clusterBytes = 2 ** header.clusterBits;
    this.sizeBytes = header.sizeBytes - (header.sizeBytes % SECTOR_BYTES);
    this.readOnly = file.readOnly || header.isDirty || header.snapshotCount > 0;
    this.canDiscard = !this.readOnly && header.version === 3;
    this.#tables = new TableCache(file, this.#clusterBytes);
    this.#refcounts = new Refcounts(file, header);
  }

  /** Opens an image. Rejects with Qcow2Error or what reading the file rejects with; the file is the caller's until then. */
  static async open(file: ImageFile, options: Qcow2Options): Promise<Qcow2Backend> {
    const bytes = new Uint8Array(HEADER_PROBE_BYTES);
    await file.read(0, [bytes]);
    const header = parseHeader(bytes);
    const l1 = new Uint8Array(header.l1Entries * 8);
    await file.read(header.l1Offset, [l1]);
    const backing = header.backingFile === undefined ? undefined : await options.openBacking(header.backingFile);
    const backend = new Qcow2Backend(file, header, new DataView(l1.buffer), backing, options);
    const autoclear = autoclearOffset(header);
    if (!backend.readOnly && autoclear !== undefined) await file.write(autoclear, [new Uint8Array(8)]);
    return backend;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Where clusters are

  #l2Offset(cluster: number): { readonly offset: number; readonly own: boolean } {
    const entry = this.#l1.getBigUint64(8 * Math.floor(cluster / (this.#clusterBytes / 8)));
    return { offset: Number(entry & OFFSET_MASK), own: (entry & ENTRY_COPIED) !== 0n };
  }

  async #map(cluster: number): Promise<Mapping> {
    const { offset } = this.#l2Offset(cluster);
    if (offset === 0) return { kind: 'none' };
    const table = await this.#tables.get(offset);
    return this.#decode(table.getBigUint64(8 * (cluster % (this.#clusterBytes / 8))));
  }

  #decode(entry: bigint): Mapping {
    if (entry & ENTRY_COMPRESSED) {
      const offsetBits = BigInt(62 - (this.header.clusterBits - 8));
      const offset = Number(entry & ((1n << offsetBits) - 1n));
      const sectors = Number((entry & (ENTRY_COMPRESSED - 1n)) >> offsetBits) + 1;
      return { kind: 'compressed', offset, lengthBytes: sectors * SECTOR_BYTES - (offset % SECTOR_BYTES) };
    }
    if (this.header.version === 3 && entry & ENTRY_ZERO) {
      return { kind: 'zero', offset: entry & ENTRY_COPIED ? Number(entry & OFFSET_MASK) : 0 };
    }
    const offset = Number(entry & OFFSET_MASK);
    if (offset === 0) return { kind: 'none' };
    if (offset % this.#clusterBytes !== 0) throw new Qcow2Error('damaged qcow2 image: a cluster is not aligned');
    return { kind: 'data', offset, own: (entry & ENTRY_COPIED) !== 0n };
  }

  /** The parts of a request by cluster. */
  *#parts(offset: number, length: number): Generator<{ cluster: number; within: number; start: number; end: number }> {
    for (let done = 0; done < length;) {
      const cluster = Math.floor((offset + done) / this.#clusterBytes);
      const within = (offset + done) % this.#clusterBytes;
      const part = Math.min(this.#clusterBytes - within, length - done);
      yield { cluster, within, start: done, end: done + part };
      done += part;
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Reading

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const length = totalBytes(into);
    checkRange(this.sizeBytes, offset, length);
    const reads: Promise<void>[] = [];
    // Clusters that follow one another in the file, too, are read at once.
    let run: { offset: number; start: number; end: number } | undefined;
    const endRun = (): void => {
      if (run) reads.push(this.#file.read(run.offset, sliceViews(into, run.start, run.end)));
      run = undefined;
    };
    for (const { cluster, within, start, end } of this.#parts(offset, length)) {
      const mapping = await this.#map(cluster);
      if (mapping.kind === 'data') {
        const at = mapping.offset + within;
        if (run && run.offset + (run.end - run.start) === at) run.end = end;
        else {
          endRun();
          run = { offset: at, start, end };
        }
        continue;
      }
      endRun();
      const views = sliceViews(into, start, end);
      reads.push(this.#readSpecial(mapping, cluster, within, views));
    }
    endRun();
    await Promise.all(reads);
  }

  async #readSpecial(mapping: Mapping, cluster: number, within: number, views: Uint8Array[]): Promise<void> {
    if (mapping.kind === 'compressed') {
      const bytes = await this.#decompress(mapping.offset, mapping.lengthBytes);
      scatter(views, bytes.subarray(within, within + totalBytes(views)));
    } else if (mapping.kind === 'none' && this.#backing) {
      await this.#readBacking(cluster * this.#clusterBytes + within, views);
    } else {
      for (const view of views) view.fill(0);
    }
  }

  /** The backing image may be smaller than this one: beyond its end are zeros. */
  async #readBacking(offset: number, views: Uint8Array[]): Promise<void> {
    const length = totalBytes(views);
    const present = Math.max(0, Math.min(length, (this.#backing?.sizeBytes ?? 0) - offset));
    if (present > 0) await this.#backing?.read(offset, sliceViews(views, 0, present));
    for (const view of sliceViews(views, present, length)) view.fill(0);
  }

  #decompress(offset: number, lengthBytes: number): Promise<Uint8Array> {
    let cluster = this.#decompressed.get(offset);
    if (!cluster) {
      cluster = this.#inflate(offset, lengthBytes);
      cluster.catch(() => this.#decompressed.delete(offset));
      this.#decompressed.set(offset, cluster);
      for (const old of this.#decompressed.keys()) {
        if (this.#decompressed.size <= MAX_DECOMPRESSED) break;
        this.#decompressed.delete(old);
      }
    }
    return cluster;
  }

  async #inflate(offset: number, lengthBytes: number): Promise<Uint8Array> {
    const packed = new Uint8Array(lengthBytes);
    await this.#file.read(offset, [packed]);
    const bytes = await this.#options.inflateRaw(packed, this.#clusterBytes);
    if (bytes.length !== this.#clusterBytes) throw new Qcow2Error('damaged qcow2 image: a compressed cluster');
    return bytes;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Writing

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    const length = totalBytes(from);
    checkRange(this.sizeBytes, offset, length);
    for (const { cluster, within, start, end } of this.#parts(offset, length)) {
      await this.#writeCluster(cluster, within, sliceViews(from, start, end), end - start);
    }
  }

  async #writeCluster(cluster: number, within: number, views: Uint8Array[], length: number): Promise<void> {
    for (;;) {
      const busy = this.#allocating.get(cluster);
      if (busy) {
        await busy;
        continue;
      }
      const mapping = await this.#map(cluster);
      if (mapping.kind === 'data' && mapping.own) {
        await this.#file.write(mapping.offset + within, views);
        return;
      }
      if (this.#allocating.has(cluster)) continue;
      const work = this.#writeNewCluster(cluster, mapping, within, views, length);
      const settled = work.then(
        () => undefined,
        () => undefined,
      );
      this.#allocating.set(cluster, settled);
      try {
        await work;
      } finally {
        this.#allocating.delete(cluster);
      }
      return;
    }
  }

  /** Data goes into a new cluster, together with what is around it in the old one; then the tables name the new one. */
  async #writeNewCluster(
    cluster: number,
    mapping: Mapping,
    within: number,
    views: Uint8Array[],
    length: number,
  ): Promise<void> {
    const spare = mapping.kind === 'zero' ? mapping.offset : 0;
    const offset = spare === 0 ? await this.#refcounts.allocate() : spare;
    if (length === this.#clusterBytes) {
      await this.#file.write(offset, views);
    } else {
      const whole = new Uint8Array(this.#clusterBytes);
      if (mapping.kind === 'data') await this.#file.read(mapping.offset, [whole]);
      else await this.#readSpecial(mapping, cluster, 0, [whole]);
      let at = within;
      for (const view of views) {
        whole.set(view, at);
        at += view.length;
      }
      await this.#file.write(offset, [whole]);
    }
    await this.#setEntry(cluster, BigInt(offset) | ENTRY_COPIED);
  }

  /** Writes an L2 entry; the table is made or copied first when it is not the image's own. */
  async #setEntry(cluster: number, entry: bigint): Promise<void> {
    const perTable = this.#clusterBytes / 8;
    const tableOffset = await this.#ownTable(Math.floor(cluster / perTable));
    await this.#tables.update(tableOffset, cluster % perTable, entry);
  }

  readonly #ownTables = new Map<number, Promise<number>>();

  #ownTable(index: number): Promise<number> {
    const entry = this.#l1.getBigUint64(8 * index);
    if (entry & ENTRY_COPIED && (entry & OFFSET_MASK) !== 0n) return Promise.resolve(Number(entry & OFFSET_MASK));
    let making = this.#ownTables.get(index);
    if (!making) {
      making = this.#makeTable(index, Number(entry & OFFSET_MASK)).finally(() => this.#ownTables.delete(index));
      this.#ownTables.set(index, making);
    }
    return making;
  }

  async #makeTable(index: number, oldOffset: number): Promise<number> {
    const bytes = new Uint8Array(this.#clusterBytes);
    if (oldOffset !== 0) await this.#file.read(oldOffset, [bytes]);
    const offset = await this.#refcounts.allocate();
    await this.#file.write(offset, [bytes]);
    this.#tables.put(offset, new DataView(bytes.buffer));
    const entry = new Uint8Array(8);
    new DataView(entry.buffer).setBigUint64(0, BigInt(offset) | ENTRY_COPIED);
    await this.#file.write(this.header.l1Offset + 8 * index, [entry]);
    this.#l1.setBigUint64(8 * index, BigInt(offset) | ENTRY_COPIED);
    return offset;
  }

  flush(): Promise<void> {
    return this.readOnly ? Promise.resolve() : this.#file.flush();
  }

  /** Whole clusters become zero clusters; the rest stays as it is. The file keeps its clusters: an image does not shrink. */
  discard(offset: number, length: number): Promise<void> {
    return this.#zeroClusters(offset, length);
  }

  async #zeroClusters(offset: number, length: number): Promise<void> {
    if (!this.canDiscard) throw new Error('this disk cannot discard');
    checkRange(this.sizeBytes, offset, length);
    const first = Math.ceil(offset / this.#clusterBytes);
    const end = Math.floor((offset + length) / this.#clusterBytes);
    for (let cluster = first; cluster < end; cluster++) {
      await this.#allocating.get(cluster);
      const mapping = await this.#map(cluster);
      if (mapping.kind === 'zero' || (mapping.kind === 'none' && !this.#backing)) continue;
      // A cluster of the image's own stays allocated under its zero flag, for the next write.
      const kept = mapping.kind === 'data' && mapping.own ? BigInt(mapping.offset) | ENTRY_COPIED : 0n;
      await this.#setEntry(cluster, kept | ENTRY_ZERO);
    }
  }

  async close(): Promise<void> {
    await this.#backing?.close();
    await this.#file.close();
  }
}
