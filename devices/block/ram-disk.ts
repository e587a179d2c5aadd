/** A disk that lives in memory and takes memory only for what was written to it. */
import {
  checkRange,
  totalBytes,
  type BlockBackend,
  type VolatileBlock,
  type VolatileBlocks,
} from '../backends/block.ts';

const CHUNK_BYTES = 1 << 20;
/** What a snapshot keeps or leaves out. */
const PAGE_BYTES = 4096;

export class RamDisk implements BlockBackend {
  readonly readOnly = false;
  readonly canDiscard = true;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly volatileBlocks: VolatileBlocks = {
    blockBytes: PAGE_BYTES,
    list: () => this.#pages(),
    replace: (pages) => this.#replace(pages),
  };
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(
    readonly sizeBytes: number,
    sectorBytes = 512,
  ) {
    this.logicalSectorBytes = sectorBytes;
    this.physicalSectorBytes = Math.max(sectorBytes, 4096);
  }

  /** Bytes of memory that the contents take. */
  get allocatedBytes(): number {
    return this.#chunks.size * CHUNK_BYTES;
  }

  /** Calls back for each part of the views that lies in one chunk. */
  #each(
    offset: number,
    views: readonly Uint8Array[],
    visit: (chunk: number, at: number, part: Uint8Array) => void,
  ): void {
    checkRange(this.sizeBytes, offset, totalBytes(views));
    let at = offset;
    for (const view of views) {
      for (let done = 0; done < view.length;) {
        const within = at % CHUNK_BYTES;
        const part = view.subarray(done, done + CHUNK_BYTES - within);
        visit(Math.floor(at / CHUNK_BYTES), within, part);
        done += part.length;
        at += part.length;
      }
    }
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    this.#each(offset, into, (index, at, part) => {
      const chunk = this.#chunks.get(index);
      if (chunk) part.set(chunk.subarray(at, at + part.length));
      else part.fill(0);
    });
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    this.#each(offset, from, (index, at, part) => this.#chunkOf(index).set(part, at));
  }

  async flush(): Promise<void> {}

  discard(offset: number, length: number): Promise<void> {
    return this.writeZeroes(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    checkRange(this.sizeBytes, offset, length);
    for (let at = offset; at < offset + length;) {
      const index = Math.floor(at / CHUNK_BYTES);
      const within = at % CHUNK_BYTES;
      const part = Math.min(CHUNK_BYTES - within, offset + length - at);
      if (part === CHUNK_BYTES) this.#chunks.delete(index);
      else this.#chunks.get(index)?.fill(0, within, within + part);
      at += part;
    }
  }

  /** Pages that are not zero. */
  *#pages(): Generator<VolatileBlock> {
    for (const [chunk, content] of [...this.#chunks].sort(([a], [b]) => a - b)) {
      for (let at = 0; at < CHUNK_BYTES; at += PAGE_BYTES) {
        const bytes = content.subarray(at, at + PAGE_BYTES);
        if (bytes.some((byte) => byte !== 0)) yield { index: (chunk * CHUNK_BYTES + at) / PAGE_BYTES, bytes };
      }
    }
  }

  #replace(pages: Iterable<VolatileBlock>): void {
    this.#chunks.clear();
    for (const { index, bytes } of pages) {
      this.#each(index * PAGE_BYTES, [bytes], (chunk, at, part) => this.#chunkOf(chunk).set(part, at));
    }
  }

  #chunkOf(index: number): Uint8Array {
    let chunk = this.#chunks.get(index);
    if (!chunk) this.#chunks.set(index, (chunk = new Uint8Array(CHUNK_BYTES)));
    return chunk;
  }

  async close(): Promise<void> {
    this.#chunks.clear();
  }
}
