/** What the guest has received out of order, by its selective acknowledgements (RFC 2018), and what is lost by them (RFC 6675). */
import { sequenceAdd, sequenceDistance } from './tcp-segment.ts';

/** DupThresh of RFC 6675. */
const DUPLICATES_OF_A_LOSS = 3;
/** A guest may name any blocks; those beyond are forgotten, and their bytes sent again. */
const MAX_RANGES = 256;

/** From the first sequence number to the one after the last. */
export type SequenceRange = readonly [start: number, end: number];

/** Bytes between what the guest has. */
interface Hole {
  readonly start: number;
  readonly end: number;
  readonly lost: boolean;
}

export class SackScoreboard {
  /** In order, apart from one another, above what is acknowledged. */
  #ranges: SequenceRange[] = [];

  constructor(private readonly segmentBytes: number) {}

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /**
   * Takes the blocks of an acknowledgement of everything before `una`. Blocks beyond `highest`, or below `una` (RFC 2883), say nothing about
   * what is missing. True when a byte was new.
   */
  add(blocks: readonly SequenceRange[], una: number, highest: number): boolean {
    let isNew = false;
    for (const [start, end] of blocks) {
      const isSense =
        sequenceDistance(start, una) >= 0 && sequenceDistance(end, start) > 0 && sequenceDistance(end, highest) <= 0;
      if (isSense && this.#merge(start, end)) isNew = true;
    }
    return isNew;
  }

  #merge(start: number, end: number): boolean {
    const within = ([from, to]: SequenceRange): boolean =>
      sequenceDistance(start, from) >= 0 && sequenceDistance(end, to) <= 0;
    if (this.#ranges.some(within)) return false;
    let [first, last] = [start, end];
    const apart: SequenceRange[] = [];
    for (const range of this.#ranges) {
      const [from, to] = range;
      if (sequenceDistance(to, first) < 0 || sequenceDistance(from, last) > 0) apart.push(range);
      else {
        if (sequenceDistance(from, first) < 0) first = from;
        if (sequenceDistance(to, last) > 0) last = to;
      }
    }
    if (apart.length >= MAX_RANGES) return false;
    apart.push([first, last]);
    this.#ranges = apart.sort(([a], [b]) => sequenceDistance(a, b));
    return true;
  }

  /** Everything before `una` is acknowledged. */
  advance(una: number): void {
    if (this.#ranges.length === 0) return;
    this.#ranges = this.#ranges.filter(([, end]) => sequenceDistance(end, una) > 0);
  }

  /** The guest may have dropped what it had (RFC 2018, 8): after a timeout nothing is taken for received. */
  clear(): void {
    this.#ranges = [];
  }

  /** IsLost of RFC 6675, 4: three blocks, or more than two segments' bytes, arrived that were sent later. */
  *#holes(una: number): Generator<Hole> {
    let laterBytes = this.#ranges.reduce((sum, [start, end]) => sum + sequenceDistance(end, start), 0);
    let laterBlocks = this.#ranges.length;
    let at = una;
    for (const [start, end] of this.#ranges) {
      const lost = laterBlocks >= DUPLICATES_OF_A_LOSS || laterBytes > (DUPLICATES_OF_A_LOSS - 1) * this.segmentBytes;
      if (sequenceDistance(start, at) > 0) yield { start: at, end: start, lost };
      laterBytes -= sequenceDistance(end, start);
      laterBlocks--;
      at = end;
    }
  }

  /** True when the first byte that is not acknowledged is lost. */
  firstIsLost(una: number): boolean {
    const { value } = this.#holes(una).next();
    return value !== undefined && value.start === una && value.lost;
  }

  /** Bytes that are under way (RFC 6675, 4: SetPipe), when `resentTo` ends what was sent again and `next` what was sent at all. */
  pipeBytes(una: number, next: number, resentTo: number): number {
    const last = this.#ranges.at(-1)?.[1] ?? una;
    let bytes = Math.max(0, sequenceDistance(next, last));
    for (const { start, end, lost } of this.#holes(una)) {
      if (!lost) bytes += sequenceDistance(end, start);
      const resent = Math.min(sequenceDistance(resentTo, start), sequenceDistance(end, start));
      if (resent > 0) bytes += resent;
    }
    return bytes;
  }

  /** The first lost bytes that were not sent again yet, at most `maxBytes`; undefined when there are none (RFC 6675, 4: NextSeg, rule 1). */
  nextLost(una: number, resentTo: number, maxBytes: number): SequenceRange | undefined {
    for (const { start, end, lost } of this.#holes(una)) {
      const from = sequenceDistance(resentTo, start) > 0 ? resentTo : start;
      const left = sequenceDistance(end, from);
      if (left > 0) return lost ? [from, sequenceAdd(from, Math.min(left, maxBytes))] : undefined;
    }
    return undefined;
  }
}
