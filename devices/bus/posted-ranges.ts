/** Ranges of a bus in which writes are posted: the vCPU that writes waits for no answer. */

/** Part of a claimed range, relative to its beginning. */
export interface PostedRange {
  readonly offset: number;
  readonly lengthBytes: number;
  /** Nobody sees the effect of such a write before another access reaches the device: it may wait until the devices' thread is awake for something else. */
  readonly quiet?: boolean | undefined;
}

/** A posted range where it is claimed. */
export interface PlacedRange {
  readonly first: number;
  readonly lengthBytes: number;
  readonly quiet: boolean;
}

/** Told that writes to the changed ranges are posted from now on, or no longer, and which ranges there are now. */
export type PostedListener = (changed: readonly PlacedRange[], posted: boolean, all: ReadonlySet<PlacedRange>) => void;

export class PostedRanges {
  readonly #ranges = new Set<PlacedRange>();
  readonly #listeners: PostedListener[] = [];

  /** Adds the posted parts of a claim that begins at `base`; returns a function that takes them away. */
  add(base: number, parts: readonly PostedRange[]): () => void {
    let added = parts.map(({ offset, lengthBytes, quiet = false }) => ({ first: base + offset, lengthBytes, quiet }));
    for (const range of added) this.#ranges.add(range);
    this.#tell(added, true);
    return () => {
      for (const range of added) this.#ranges.delete(range);
      this.#tell(added, false);
      added = [];
    };
  }

  #tell(changed: readonly PlacedRange[], posted: boolean): void {
    if (changed.length > 0) for (const listener of this.#listeners) listener(changed, posted, this.#ranges);
  }

  /** Tells a listener of every range, now and whenever they change. */
  watch(listener: PostedListener): void {
    this.#listeners.push(listener);
    if (this.#ranges.size > 0) listener([...this.#ranges], true, this.#ranges);
  }
}
