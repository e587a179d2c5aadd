/** How much a tree in memory holds, bounded, since its guest is hostile. */
import { ShareError } from '../backends/share.ts';

/** Unit of storage of file contents. */
export const BLOCK_BYTES = 65_536;
/** What an object takes besides its contents, more or less. */
const MAX_NODES = 1_000_000;

export class MemoryUsage {
  readonly maxBlocks: number;
  usedBlocks = 0;
  nodes = 0;
  readonly maxNodes = MAX_NODES;
  #nextId = 1n;

  constructor(maxBytes: number) {
    this.maxBlocks = Math.floor(maxBytes / BLOCK_BYTES);
  }

  /** Throws ENOSPC when there is no room. */
  takeBlock(): Uint8Array {
    if (this.usedBlocks >= this.maxBlocks) throw new ShareError('ENOSPC');
    this.usedBlocks++;
    return new Uint8Array(BLOCK_BYTES);
  }

  giveBlocks(count: number): void {
    this.usedBlocks -= count;
  }

  takeNode(): bigint {
    if (this.nodes >= this.maxNodes) throw new ShareError('ENOSPC');
    this.nodes++;
    return this.#nextId++;
  }

  giveNode(): void {
    this.nodes--;
  }
}
