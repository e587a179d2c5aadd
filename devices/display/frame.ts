/**
 * The picture that viewers are shown: a copy of the guest's framebuffer, brought up to date from the pages that the guest wrote. All viewers
 * encode from the copy, so a guest that draws meanwhile never tears a rectangle in two.
 */
import type { PageRange } from '../bus/device-ram.ts';
import { TILE_PIXELS, TileMap, type Rectangle } from './tile-map.ts';

/** Largest width and height that a picture can have: the limits of bhyve's fbuf (version 15). */
export const MAX_WIDTH = 3840;
export const MAX_HEIGHT = 2160;
/** A page of dirty tracking holds this many pixels of 32 bits. */
const PAGE_PIXELS = 1024;
/** Scrolling is looked for when at least this share of the picture was written. */
const SCROLL_MINIMUM_SHARE = 0.25;
/** And it counts when this share of the rows is found moved by the same distance. */
const SCROLL_MATCH_SHARE = 0.5;
/** Of a row every so many pixels are looked at; what the others hold is compared afterwards. No divisor of a glyph's width: every column counts. */
const SCROLL_STEP_PIXELS = 5;

/** Rows that moved: what lies at `y` now lay at `sourceY` before. The whole width moves. */
export interface Scroll {
  readonly y: number;
  readonly sourceY: number;
  readonly height: number;
}

export interface FrameChange {
  /** Rows that moved, before the tiles changed. */
  readonly scroll: Scroll | undefined;
  /** Tiles that differ from the picture before, after {@link scroll} was applied to it. */
  readonly tiles: TileMap;
}

export class Frame {
  #width = 0;
  #height = 0;
  #pixels = new Uint32Array(0);

  /** Width in pixels. */
  get width(): number {
    return this.#width;
  }

  /** Height in pixels. */
  get height(): number {
    return this.#height;
  }

  /** Pixels 0x00RRGGBB, row after row, `width` a row. The upper eight bits mean nothing. */
  get pixels(): Uint32Array {
    return this.#pixels;
  }

  /** Gives the picture a size and fills it from `source`, which may be shorter: what it lacks is black. */
  resize(width: number, height: number, source: Uint32Array): void {
    this.#width = width;
    this.#height = height;
    this.#pixels = new Uint32Array(width * height);
    this.#pixels.set(source.subarray(0, this.#pixels.length));
  }

  /** Takes over what changed in the written pages; undefined when they hold what they held before. */
  update(source: Uint32Array, written: readonly PageRange[]): FrameChange | undefined {
    const end = Math.min(this.#pixels.length, source.length);
    let pixelsWritten = 0;
    const spans: [first: number, end: number][] = [];
    for (const { firstPage, pageCount } of written) {
      const first = Math.min(end, firstPage * PAGE_PIXELS);
      const last = Math.min(end, (firstPage + pageCount) * PAGE_PIXELS);
      if (last > first) spans.push([first, last]);
      pixelsWritten += last - first;
    }
    if (pixelsWritten === 0) return undefined;
    const scroll = pixelsWritten >= end * SCROLL_MINIMUM_SHARE ? this.#findScroll(source) : undefined;
    if (scroll) {
      const { y, sourceY, height } = scroll;
      this.#pixels.copyWithin(y * this.#width, sourceY * this.#width, (sourceY + height) * this.#width);
    }
    const tiles = new TileMap(this.#width, this.#height);
    // A scrolled row may differ from the copy although nobody wrote to its page.
    if (scroll) this.#compare(source, 0, end, tiles);
    else for (const [first, last] of spans) this.#compare(source, first, last, tiles);
    return tiles.isEmpty && !scroll ? undefined : { scroll, tiles };
  }

  /** Copies pixels [first, end) that differ and sets their tiles. */
  #compare(source: Uint32Array, first: number, end: number, tiles: TileMap): void {
    const pixels = this.#pixels;
    const width = this.#width;
    let at = first;
    while (at < end) {
      const row = Math.floor(at / width);
      const x = at - row * width;
      const tileColumn = Math.floor(x / TILE_PIXELS);
      const segmentEnd = Math.min(end, row * width + Math.min(width, (tileColumn + 1) * TILE_PIXELS));
      while (at < segmentEnd && pixels[at] === source[at]) at++;
      if (at === segmentEnd) continue;
      tiles.set(Math.floor(row / TILE_PIXELS) * tiles.columns + tileColumn);
      // Pixel by pixel: making two views of so few costs more than the copying.
      for (; at < segmentEnd; at++) pixels[at] = source[at] ?? 0;
    }
  }

  /** Looks for the vertical distance by which most rows moved, as a text console's do. */
  #findScroll(source: Uint32Array): Scroll | undefined {
    const rows = Math.floor(Math.min(this.#pixels.length, source.length) / this.#width);
    const before = this.#rowHashes(this.#pixels, rows);
    const now = this.#rowHashes(source, rows);
    const whereBefore = new Map<number, number>();
    // Rows that occur more than once say nothing about a distance.
    for (const [row, hash] of before.entries()) whereBefore.set(hash, whereBefore.has(hash) ? -1 : row);
    const votes = new Map<number, number>();
    for (const [row, hash] of now.entries()) {
      const old = whereBefore.get(hash);
      if (old !== undefined && old > row) votes.set(old - row, (votes.get(old - row) ?? 0) + 1);
    }
    let distance = 0;
    let most = 0;
    for (const [candidate, count] of votes) if (count > most) [distance, most] = [candidate, count];
    if (distance === 0) return undefined;
    // Blank rows, which had no vote, count for the distance that the others voted for.
    let first = -1;
    let last = -1;
    let matches = 0;
    for (let row = 0; row + distance < rows; row++) {
      if (now[row] !== before[row + distance]) continue;
      if (first === -1) first = row;
      last = row;
      matches++;
    }
    if (matches < rows * SCROLL_MATCH_SHARE) return undefined;
    return { y: first, sourceY: first + distance, height: last - first + 1 };
  }

  #rowHashes(pixels: Uint32Array, rows: number): Int32Array {
    const hashes = new Int32Array(rows);
    for (let row = 0; row < rows; row++) {
      let hash = 0x811c9dc5 | 0;
      const end = (row + 1) * this.#width;
      for (let at = row * this.#width; at < end; at += SCROLL_STEP_PIXELS)
        hash = Math.imul(hash ^ (pixels[at] ?? 0), 0x01000193);
      hashes[row] = hash;
    }
    return hashes;
  }
}

/** The rectangle of a picture that a scroll changes. */
export function scrollTarget(scroll: Scroll, width: number): Rectangle {
  return { x: 0, y: scroll.y, width, height: scroll.height };
}

/** The rectangle of a picture that a scroll reads. */
export function scrollSource(scroll: Scroll, width: number): Rectangle {
  return { x: 0, y: scroll.sourceY, width, height: scroll.height };
}
