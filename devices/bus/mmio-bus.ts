/** Memory-mapped I/O of the user half: disjoint ranges of guest-physical addresses, found by binary search. */
import { allOnes, RangeTakenError, type AccessSize } from './port-bus.ts';
import { PostedRanges, type PostedListener, type PostedRange } from './posted-ranges.ts';

export interface MmioHandler {
  /** A guest load at `offset` bytes into the range. Wider accesses arrive as 4-byte ones, low part first. */
  readMmio(offset: number, size: AccessSize): number;
  writeMmio(offset: number, size: AccessSize, value: number): void;
}

interface Range {
  readonly name: string;
  readonly base: number;
  readonly length: number;
  readonly handler: MmioHandler;
}

export class MmioBus {
  #ranges: Range[] = [];
  unclaimedReads = 0;
  unclaimedWrites = 0;

  readonly #posted = new PostedRanges();

  /** Claims [base, base + length). Throws {@link RangeTakenError} when it overlaps another range. Returns a function that releases it. */
  claim(name: string, base: number, length: number, handler: MmioHandler): () => void {
    const range: Range = { name, base, length, handler };
    const at = this.#ranges.findIndex((other) => other.base > base);
    const index = at === -1 ? this.#ranges.length : at;
    const before = this.#ranges[index - 1];
    const after = this.#ranges[index];
    if (before && before.base + before.length > base) throw new RangeTakenError(`${name} overlaps ${before.name}`);
    if (after && base + length > after.base) throw new RangeTakenError(`${name} overlaps ${after.name}`);
    this.#ranges.splice(index, 0, range);
    return () => {
      this.#ranges = this.#ranges.filter((other) => other !== range);
    };
  }

  /**
   * Writes within these parts of a claim that begins at `base` need no answer: doorbells, whose effect no driver waits for. Returns a function that ends
   * that.
   */
  post(base: number, parts: readonly PostedRange[]): () => void {
    return this.#posted.add(base, parts);
  }

  /** Tells a listener of every posted range, now and whenever they change. */
  watchPosted(listener: PostedListener): void {
    this.#posted.watch(listener);
  }

  #find(gpa: number): Range | undefined {
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const range = this.#ranges[middle];
      if (!range) return undefined;
      if (gpa < range.base) high = middle - 1;
      else if (gpa >= range.base + range.length) low = middle + 1;
      else return range;
    }
    return undefined;
  }

  read(gpa: number, size: AccessSize): number {
    const range = this.#find(gpa);
    if (!range) {
      this.unclaimedReads++;
      return allOnes(size);
    }
    return (range.handler.readMmio(gpa - range.base, size) & allOnes(size)) >>> 0;
  }

  write(gpa: number, size: AccessSize, value: number): void {
    const range = this.#find(gpa);
    if (!range) {
      this.unclaimedWrites++;
      return;
    }
    range.handler.writeMmio(gpa - range.base, size, (value & allOnes(size)) >>> 0);
  }
}
