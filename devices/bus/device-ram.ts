/** Memory that a device owns and that the guest reaches through a BAR at the speed of RAM: a framebuffer. */

/** Pages of {@link DEVICE_RAM_PAGE_BYTES}, counted from the beginning of the memory. */
export interface PageRange {
  readonly firstPage: number;
  readonly pageCount: number;
}

export const DEVICE_RAM_PAGE_BYTES = 4096;
/** Sizes are multiples of this. */
export const DEVICE_RAM_GRANULE_BYTES = 2 * 1024 * 1024;

export interface DeviceRam {
  /** The memory itself, which the guest may change at any time. It stays where it is for the life of the machine. */
  readonly bytes: Uint8Array;

  /** The guest sees the memory at this address from now on, a multiple of 2 MiB; undefined: nowhere. */
  map(gpa: number | undefined): void;

  /**
   * Pages that the guest has stored to since the last call, in order; all of them at the first. A page may be reported again without another
   * store, and none is ever missed: bytes read after the call are at least as new as the stores that made the page dirty.
   */
  takeDirty(): PageRange[];
}

/** Joins neighbouring page numbers, given in ascending order. */
export function pageRanges(pages: Iterable<number>): PageRange[] {
  const ranges: { firstPage: number; pageCount: number }[] = [];
  for (const page of pages) {
    const last = ranges.at(-1);
    if (last && last.firstPage + last.pageCount === page) last.pageCount++;
    else ranges.push({ firstPage: page, pageCount: 1 });
  }
  return ranges;
}
