/** Guest memory that a scatter-gather list names, in order: PRD tables, PRP lists and virtqueue chains end up as this. */
import type { GuestMemory } from '../bus/guest-memory.ts';

interface Region {
  readonly gpa: number;
  lengthBytes: number;
}

export class GuestRegions {
  readonly #memory: GuestMemory;
  readonly #regions: Region[] = [];
  #lengthBytes = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Bytes added so far. */
  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** Appends a region; one that continues the last is joined to it, so that a transfer has few views. */
  add(gpa: number, lengthBytes: number): void {
    const last = this.#regions.at(-1);
    if (last && last.gpa + last.lengthBytes === gpa) last.lengthBytes += lengthBytes;
    else this.#regions.push({ gpa, lengthBytes });
    this.#lengthBytes += lengthBytes;
  }

  /** Views of all regions. Throws GuestAddressError when some of them is not RAM. */
  views(): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (const { gpa, lengthBytes } of this.#regions) views.push(...this.#memory.views(gpa, lengthBytes));
    return views;
  }

  /** Tells the core that the first bytes have been changed through the views. */
  written(lengthBytes: number): void {
    let left = lengthBytes;
    for (const region of this.#regions) {
      if (left <= 0) return;
      const part = Math.min(region.lengthBytes, left);
      this.#memory.written(region.gpa, part);
      left -= part;
    }
  }
}
