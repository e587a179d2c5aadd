/** Copy on write: changes stay in an overlay, the base is never written. */
import {
  checkRange,
  totalBytes,
  type BlockBackend,
  type VolatileBlock,
  type VolatileBlocks,
} from '../backends/block.ts';

/** Granule of the overlay: a page, as most guests write. A multiple of any logical sector size that bhyve takes in practice. */
export const OVERLAY_BLOCK_BYTES = 4096;

/** A writable disk over a base that is only read. The overlay is in memory. */
export class OverlayBackend implements BlockBackend {
  readonly readOnly = false;
  readonly canDiscard = true;
  readonly volatileBlocks: VolatileBlocks = {
    blockBytes: OVERLAY_BLOCK_BYTES,
    list: () => this.#list(),
    replace: (blocks) => this.#replace(blocks),
  };
  readonly #base: BlockBackend;
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(base: BlockBackend) {
    this.#base = base;
  }

  get sizeBytes(): number {
    return this.#base.sizeBytes;
  }

  get logicalSectorBytes(): number {
    return this.#base.logicalSectorBytes;
  }

  get physicalSectorBytes(): number {
    return this.#base.physicalSectorBytes;
  }

  /** Blocks that differ from the base. */
  #list(): VolatileBlock[] {
    return [...this.#blocks].map(([index, bytes]) => ({ index, bytes })).sort((a, b) => a.index - b.index);
  }

  #replace(blocks: Iterable<VolatileBlock>): void {
    this.#blocks.clear();
    for (const { index, bytes } of blocks) this.#blocks.set(index, bytes.slice());
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    checkRange(this.sizeBytes, offset, totalBytes(into));
    const fromBase: Promise<void>[] = [];
    // Neighbouring pieces of the base are read in one request.
    let runOffset = 0;
    let run: Uint8Array[] = [];
    let runBytes = 0;
    const endRun = (): void => {
      if (run.length > 0) fromBase.push(this.#base.read(runOffset, run));
      run = [];
      runBytes = 0;
    };
    for (const { at, view } of OverlayBackend.#pieces(offset, into)) {
      const index = Math.floor(at / OVERLAY_BLOCK_BYTES);
      const block = this.#blocks.get(index);
      if (block) {
        const start = at % OVERLAY_BLOCK_BYTES;
        view.set(block.subarray(start, start + view.length));
        endRun();
      } else {
        if (runBytes === 0) runOffset = at;
        run.push(view);
        runBytes += view.length;
      }
    }
    endRun();
    await Promise.all(fromBase);
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    checkRange(this.sizeBytes, offset, totalBytes(from));
    for (const { at, view } of OverlayBackend.#pieces(offset, from)) {
      const index = Math.floor(at / OVERLAY_BLOCK_BYTES);
      const start = at % OVERLAY_BLOCK_BYTES;
      const whole = view.length === OVERLAY_BLOCK_BYTES;
      const block = this.#blocks.get(index) ?? (whole ? this.#emptyBlock(index) : await this.#copyBlock(index));
      block.set(view, start);
    }
  }

  #emptyBlock(index: number): Uint8Array {
    const block = new Uint8Array(OVERLAY_BLOCK_BYTES);
    this.#blocks.set(index, block);
    return block;
  }

  async #copyBlock(index: number): Promise<Uint8Array> {
    const copy = new Uint8Array(OVERLAY_BLOCK_BYTES);
    const start = index * OVERLAY_BLOCK_BYTES;
    const present = Math.min(OVERLAY_BLOCK_BYTES, this.sizeBytes - start);
    await this.#base.read(start, [copy.subarray(0, present)]);
    // Another write may have brought the block in while this one waited; its data must not be lost.
    const already = this.#blocks.get(index);
    if (already) return already;
    this.#blocks.set(index, copy);
    return copy;
  }

  /** The views cut at block boundaries. */
  static *#pieces(offset: number, views: readonly Uint8Array[]): Generator<{ at: number; view: Uint8Array }> {
    let at = offset;
    for (const view of views) {
      let done = 0;
      while (done < view.length) {
        const room = OVERLAY_BLOCK_BYTES - (at % OVERLAY_BLOCK_BYTES);
        const length = Math.min(room, view.length - done);
        yield { at, view: view.subarray(done, done + length) };
        at += length;
        done += length;
      }
    }
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  /** Discarded ranges read as zeros where they cover whole blocks; the rest stays as it is. */

  async discard(offset: number, length: number): Promise<void> {
    checkRange(this.sizeBytes, offset, length);
    const first = Math.ceil(offset / OVERLAY_BLOCK_BYTES);
    const end = Math.floor((offset + length) / OVERLAY_BLOCK_BYTES);
    // Zero blocks cost memory, so only blocks that the overlay holds already are emptied.
    for (const index of this.#blocks.keys()) {
      if (index >= first && index < end) this.#blocks.get(index)?.fill(0);
    }
  }

  close(): Promise<void> {
    return this.#base.close();
  }
}
