/** Ranges of a bus in which writes are posted: the vCPU that writes waits for no answer. */

/** Part of a claimed range, relative to its beginning. */
export interface PostedRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Told when writes to a range become posted, or stop being so. */
export type PostedListener = (first: number, lengthBytes: number, posted: boolean) => void;

export class PostedRanges {
  readonly #ranges = new Set<{ readonly first: number; readonly lengthBytes: number }>();
  readonly #listeners: PostedListener[] = [];

  /** Adds the posted parts of a claim that begins at `base`; returns a function that takes them away. */
  add(base: number, parts: readonly PostedRange[]): () => void {
    const added = parts.map(({ offset, lengthBytes }) => ({ first: base + offset, lengthBytes }));
    for (const range of added) {
      this.#ranges.add(range);
      for (const listener of this.#listeners) listener(range.first, range.lengthBytes, true);
    }
    return () => {
      for (const range of added) {
        if (!this.#ranges.delete(range)) continue;
        for (const listener of this.#listeners) listener(range.first, range.lengthBytes, false);
      }
    };
  }

  /** Tells a listener of every range, now and whenever they change. */
  watch(listener: PostedListener): void {
    this.#listeners.push(listener);
    for (const { first, lengthBytes } of this.#ranges) listener(first, lengthBytes, true);
  }
}
