/**
 * Copy on write that lasts: changes to a disk that is only read are kept in two files of the private file system. NAME holds the
 * changed blocks, one after the other as they came; NAME.index holds a header and, for each block of the disk, its place in NAME (0: unchanged).
 * A block is written before the index says where it is, and flush() brings the blocks to safety before the index.
 */
import { checkRange, totalBytes, type BlockBackend } from '../../devices/backends/block.ts';
import { FileError } from '../../devices/block/remote/byte-source.ts';
import { explainQuota, openOpfsFile, readViews, writeViews, type SyncAccessHandle } from './opfs.ts';

/** A page, as most guests write. */
export const OVERLAY_BLOCK_BYTES = 4096;
const HEADER_BYTES = 4096;
const FORMAT = 'webhyve-overlay-1';
export const INDEX_SUFFIX = '.index';

/** What the base was when the overlay was begun; JSON in the header. */
interface Header {
  readonly format: typeof FORMAT;
  readonly base: string;
  readonly validator: string;
  readonly sizeBytes: number;
}

function readHeader(handle: SyncAccessHandle, name: string): Header {
  const bytes = new Uint8Array(HEADER_BYTES);
  readViews(handle, 0, [bytes]);
  try {
    const header = JSON.parse(new TextDecoder().decode(bytes).replace(/\0+$/, '')) as Header;
    if (header.format === FORMAT) return header;
  } catch {
    // Falls to the message below.
  }
  throw new FileError(`opfs:${name}: this is no overlay`);
}

export class OpfsOverlay implements BlockBackend {
  readonly readOnly = false;
  readonly canDiscard = false;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly sizeBytes: number;
  /** Place + 1 of each changed block in the file of blocks, by block number. */
  readonly #places: Uint32Array;
  #usedPlaces: number;
  /** Block numbers whose index entry has not been written yet. */
  readonly #unwritten = new Set<number>();
  #closed = false;
  /** Writes that copy a block of the base wait for it: one after the other, so that none works on a block that another is copying. */
  #last: Promise<void> = Promise.resolve();

  private constructor(
    private readonly name: string,
    private readonly base: BlockBackend,
    private readonly blocks: SyncAccessHandle,
    private readonly index: SyncAccessHandle,
    private readonly message: (text: string) => void,
  ) {
    this.sizeBytes = base.sizeBytes;
    this.logicalSectorBytes = base.logicalSectorBytes;
    this.physicalSectorBytes = base.physicalSectorBytes;
    this.#places = new Uint32Array(Math.ceil(base.sizeBytes / OVERLAY_BLOCK_BYTES));
    readViews(index, HEADER_BYTES, [new Uint8Array(this.#places.buffer)]);
    this.#usedPlaces = Math.floor(blocks.getSize() / OVERLAY_BLOCK_BYTES);
    for (const place of this.#places) {
      if (place > this.#usedPlaces) throw new FileError(`opfs:${name}: the overlay is damaged`);
    }
  }

  /** Opens or begins the overlay NAME over a base. Rejects when it belongs to another one, or the base has changed since. */
  static async open(
    name: string,
    base: BlockBackend,
    origin: { readonly url: string; readonly validator: string },
    message: (text: string) => void,
  ): Promise<OpfsOverlay> {
    let blocks: SyncAccessHandle | undefined;
    let index: SyncAccessHandle | undefined;
    try {
      blocks = await openOpfsFile(name, true);
      index = await openOpfsFile(name + INDEX_SUFFIX, true);
      const entries = Math.ceil(base.sizeBytes / OVERLAY_BLOCK_BYTES);
      if (index.getSize() === 0) {
        if (blocks.getSize() !== 0) throw new FileError(`opfs:${name}: this is an image, not an overlay over a base`);
        const header: Header = {
          format: FORMAT,
          base: origin.url,
          validator: origin.validator,
          sizeBytes: base.sizeBytes,
        };
        const bytes = new Uint8Array(HEADER_BYTES);
        const text = new TextEncoder().encode(JSON.stringify(header));
        if (text.length > HEADER_BYTES) throw new FileError(`opfs:${name}: the base's address is too long`);
        bytes.set(text);
        index.truncate(HEADER_BYTES + entries * 4);
        writeViews(index, 0, [bytes]);
      }
      const header = readHeader(index, name);
      if (header.sizeBytes !== base.sizeBytes || header.validator !== origin.validator) {
        throw new FileError(
          `opfs:${name}: the overlay belongs to another version of its base ${header.base}: ` +
            'delete it, or give the base that it was begun with',
        );
      }
      return new OpfsOverlay(name, base, blocks, index, message);
    } catch (error) {
      blocks?.close();
      index?.close();
      throw await explainQuota(name, error);
    }
  }

  #check(offset: number, lengthBytes: number): void {
    if (this.#closed) throw new Error('the disk is closed');
    checkRange(this.sizeBytes, offset, lengthBytes);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const lengthBytes = totalBytes(into);
    this.#check(offset, lengthBytes);
    const bytes = new Uint8Array(lengthBytes);
    await this.#readInto(offset, bytes);
    let at = 0;
    for (const view of into) {
      view.set(bytes.subarray(at, at + view.length));
      at += view.length;
    }
  }

  /** Runs of unchanged blocks come from the base with one request each. */
  async #readInto(offset: number, bytes: Uint8Array): Promise<void> {
    const fromBase: Promise<void>[] = [];
    for (let at = 0; at < bytes.length;) {
      const block = Math.floor((offset + at) / OVERLAY_BLOCK_BYTES);
      const within = (offset + at) % OVERLAY_BLOCK_BYTES;
      const place = this.#places[block] ?? 0;
      let take = Math.min(OVERLAY_BLOCK_BYTES - within, bytes.length - at);
      if (place !== 0) {
        readViews(this.blocks, (place - 1) * OVERLAY_BLOCK_BYTES + within, [bytes.subarray(at, at + take)]);
      } else {
        for (let next = block + 1; at + take < bytes.length && (this.#places[next] ?? 0) === 0; next++) {
          take = Math.min(take + OVERLAY_BLOCK_BYTES, bytes.length - at);
        }
        fromBase.push(this.base.read(offset + at, [bytes.subarray(at, at + take)]));
      }
      at += take;
    }
    await Promise.all(fromBase);
  }

  write(offset: number, from: Uint8Array[]): Promise<void> {
    const lengthBytes = totalBytes(from);
    const bytes = new Uint8Array(lengthBytes);
    let at = 0;
    for (const view of from) {
      bytes.set(view, at);
      at += view.length;
    }
    const written = this.#last.then(() => this.#write(offset, bytes));
    this.#last = written.catch(() => undefined);
    return written;
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#check(offset, bytes.length);
    try {
      for (let at = 0; at < bytes.length;) {
        const block = Math.floor((offset + at) / OVERLAY_BLOCK_BYTES);
        const within = (offset + at) % OVERLAY_BLOCK_BYTES;
        const take = Math.min(OVERLAY_BLOCK_BYTES - within, bytes.length - at);
        await this.#writeBlock(block, within, bytes.subarray(at, at + take));
        at += take;
      }
      // With the request, so that an acknowledged write outlives this tab.
      this.#writeIndex();
    } catch (error) {
      const explained = await explainQuota(this.name, error);
      this.message(explained.message);
      throw explained;
    }
  }

  async #writeBlock(block: number, within: number, bytes: Uint8Array): Promise<void> {
    const place = this.#places[block] ?? 0;
    if (place !== 0) {
      writeViews(this.blocks, (place - 1) * OVERLAY_BLOCK_BYTES + within, [bytes]);
      return;
    }
    let whole = bytes;
    if (bytes.length < OVERLAY_BLOCK_BYTES) {
      whole = new Uint8Array(OVERLAY_BLOCK_BYTES);
      const start = block * OVERLAY_BLOCK_BYTES;
      await this.base.read(start, [whole.subarray(0, Math.min(OVERLAY_BLOCK_BYTES, this.sizeBytes - start))]);
      whole.set(bytes, within);
    }
    writeViews(this.blocks, this.#usedPlaces * OVERLAY_BLOCK_BYTES, [whole]);
    this.#usedPlaces++;
    this.#places[block] = this.#usedPlaces;
    this.#unwritten.add(block);
  }

  #writeIndex(): void {
    const blocks = [...this.#unwritten].sort((a, b) => a - b);
    this.#unwritten.clear();
    for (let i = 0; i < blocks.length;) {
      const first = blocks[i] ?? 0;
      let count = 1;
      while (blocks[i + count] === first + count) count++;
      const entries = this.#places.slice(first, first + count);
      writeViews(this.index, HEADER_BYTES + first * 4, [new Uint8Array(entries.buffer)]);
      i += count;
    }
  }

  async flush(): Promise<void> {
    await this.#last;
    if (this.#closed) return;
    this.blocks.flush();
    this.index.flush();
  }

  discard(): Promise<void> {
    return Promise.reject(new Error('this disk cannot discard'));
  }

  async close(): Promise<void> {
    await this.flush();
    if (this.#closed) return;
    this.#closed = true;
    this.blocks.close();
    this.index.close();
    await this.base.close();
  }
}
