/** Finding room in guest memory for what a loader adds to a kernel, next to what the kernel itself occupies. */
import { CONVENTIONAL_MEMORY_END, FIRMWARE_TABLES_END, FIRMWARE_TABLES_START, LOW_MEGABYTE_END } from '../layout.ts';
import { LoaderError, type BootSegment, type ZeroRange } from './boot-image.ts';

interface Range {
  readonly start: number;
  readonly end: number;
}

export const PAGE_BYTES = 0x1000;

export const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;
export const alignDown = (value: number, alignment: number): number => Math.floor(value / alignment) * alignment;

/** Collects the segments of one boot image; refuses overlaps, the firmware tables and anything that is not low RAM. */
export class Placement {
  readonly segments: BootSegment[] = [];
  readonly zeroRanges: ZeroRange[] = [];
  /** Sorted, disjoint. */
  readonly #occupied: Range[] = [];

  constructor(readonly lowmemBytes: number) {
    if (lowmemBytes < LOW_MEGABYTE_END + PAGE_BYTES) {
      throw new LoaderError('The machine has too little memory to load a kernel.');
    }
    // The first page has the real-mode interrupt vectors and the BIOS data area (low-memory.ts).
    this.#occupied.push({ start: 0, end: PAGE_BYTES }, { start: FIRMWARE_TABLES_START, end: FIRMWARE_TABLES_END });
  }

  #overlapping(start: number, end: number): Range | undefined {
    return this.#occupied.find((range) => start < range.end && range.start < end);
  }

  #occupy(start: number, end: number): void {
    if (start === end) return;
    this.#occupied.push({ start, end });
    this.#occupied.sort((left, right) => left.start - right.start);
  }

  /**
   * Puts a part of the kernel where the file demands it, with zeros up to `memoryBytes`; `scratchBytes` more are kept
   * free but need no value. `what` is the subject of the error's sentence.
   */
  fixed(what: string, gpa: number, bytes: Uint8Array, memoryBytes = bytes.length, scratchBytes = 0): void {
    const lengthBytes = Math.max(memoryBytes, bytes.length);
    const end = gpa + lengthBytes + scratchBytes;
    if (!(gpa >= 0) || end > this.lowmemBytes) {
      throw new LoaderError(
        `${what} needs memory at 0x${gpa.toString(16)}-0x${end.toString(16)}, which the machine does not have.`,
      );
    }
    if (lengthBytes === 0) return;
    if (this.#overlapping(gpa, end)) {
      throw new LoaderError(
        `${what} at 0x${gpa.toString(16)}-0x${end.toString(16)} overlaps another part or the firmware.`,
      );
    }
    this.#occupy(gpa, end);
    if (bytes.length > 0) this.segments.push({ gpa, bytes });
    if (lengthBytes > bytes.length) {
      this.zeroRanges.push({ gpa: gpa + bytes.length, lengthBytes: lengthBytes - bytes.length });
    }
  }

  /** Lowest free place from `from` up, conventional memory first. */
  findLow(lengthBytes: number, alignment: number, from = PAGE_BYTES): number | undefined {
    const limits: readonly Range[] = [
      { start: from, end: CONVENTIONAL_MEMORY_END },
      { start: Math.max(from, LOW_MEGABYTE_END), end: this.lowmemBytes },
    ];
    for (const { start, end } of limits) {
      let at = alignUp(start, alignment);
      while (at + lengthBytes <= end) {
        const blocker = this.#overlapping(at, at + lengthBytes);
        if (!blocker) return at;
        at = alignUp(blocker.end, alignment);
      }
    }
    return undefined;
  }

  /** Highest free place above 1 MiB that ends at or below `limit`. */
  findHigh(lengthBytes: number, alignment: number, limit: number): number | undefined {
    let at = alignDown(Math.min(limit, this.lowmemBytes) - lengthBytes, alignment);
    while (at >= LOW_MEGABYTE_END) {
      const blocker = this.#overlapping(at, at + lengthBytes);
      if (!blocker) return at;
      at = alignDown(blocker.start - lengthBytes, alignment);
    }
    return undefined;
  }

  /** Reserves a low place now, to be filled by {@link fill} when the contents are known. */
  reserveLow(what: string, lengthBytes: number, alignment: number, from = PAGE_BYTES): number {
    const gpa = this.findLow(lengthBytes, alignment, from);
    if (gpa === undefined) throw new LoaderError(`There is no room in memory for ${what} of ${lengthBytes} bytes.`);
    this.#occupy(gpa, gpa + lengthBytes);
    return gpa;
  }

  /** Contents of a place that {@link reserveLow} gave. */
  fill(gpa: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.segments.push({ gpa, bytes });
  }

  placeLow(what: string, bytes: Uint8Array, alignment: number, from = PAGE_BYTES): number {
    const gpa = this.reserveLow(what, bytes.length, alignment, from);
    this.fill(gpa, bytes);
    return gpa;
  }

  placeHigh(what: string, bytes: Uint8Array, alignment: number, limit: number): number {
    const gpa = this.findHigh(bytes.length, alignment, limit);
    if (gpa === undefined) throw new LoaderError(`There is no room in memory for ${what} of ${bytes.length} bytes.`);
    this.#occupy(gpa, gpa + bytes.length);
    this.fill(gpa, bytes);
    return gpa;
  }
}
