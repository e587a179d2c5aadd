/** Which parts of a picture have changed: one bit for each square of {@link TILE_PIXELS} by {@link TILE_PIXELS} pixels. */

/** Side of a tile in pixels. */
export const TILE_PIXELS = 32;

/** A rectangle in pixels; the origin is the upper left corner. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export class TileMap {
  readonly columns: number;
  readonly rows: number;
  #bits: Uint8Array;
  #count = 0;

  /** A map of a picture of that many pixels, with no tile set. */
  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.columns = Math.ceil(width / TILE_PIXELS);
    this.rows = Math.ceil(height / TILE_PIXELS);
    this.#bits = new Uint8Array(this.columns * this.rows);
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Tiles that are set. */
  get count(): number {
    return this.#count;
  }

  get size(): number {
    return this.#bits.length;
  }

  set(index: number): void {
    if (this.#bits[index] !== 0) return;
    this.#bits[index] = 1;
    this.#count++;
  }

  setAll(): void {
    this.#bits.fill(1);
    this.#count = this.#bits.length;
  }

  clear(): void {
    this.#bits.fill(0);
    this.#count = 0;
  }

  /** Sets every tile that the rectangle touches. The rectangle may reach over the edges. */
  setRectangle(rectangle: Rectangle): void {
    const span = this.#tilesOf(rectangle);
    for (let row = span.top; row < span.bottom; row++) {
      for (let column = span.left; column < span.right; column++) this.set(row * this.columns + column);
    }
  }

  /** True when a tile that the rectangle touches is set. */
  touches(rectangle: Rectangle): boolean {
    const span = this.#tilesOf(rectangle);
    for (let row = span.top; row < span.bottom; row++) {
      for (let column = span.left; column < span.right; column++) {
        if (this.#bits[row * this.columns + column]) return true;
      }
    }
    return false;
  }

  /** Adds the tiles of a map of the same size. */
  add(other: TileMap): void {
    if (other.isEmpty) return;
    for (let index = 0; index < this.#bits.length; index++) if (other.#bits[index]) this.set(index);
  }

  /** Takes out the tiles that touch the rectangle, as a map of their own. */
  takeWithin(rectangle: Rectangle): TileMap {
    const taken = new TileMap(this.width, this.height);
    const span = this.#tilesOf(rectangle);
    for (let row = span.top; row < span.bottom; row++) {
      for (let column = span.left; column < span.right; column++) {
        const index = row * this.columns + column;
        if (!this.#bits[index]) continue;
        this.#bits[index] = 0;
        this.#count--;
        taken.set(index);
      }
    }
    return taken;
  }

  /** The set tiles as rectangles that do not overlap: runs within a row of tiles, joined with equal runs below. */
  rectangles(): Rectangle[] {
    const done: Rectangle[] = [];
    /** Runs that reach down to the row above, by `first column * columns + end column`. */
    let open = new Map<number, { x: number; y: number; width: number; height: number }>();
    for (let row = 0; row < this.rows; row++) {
      const reached = new Map<number, { x: number; y: number; width: number; height: number }>();
      const y = row * TILE_PIXELS;
      const height = Math.min(TILE_PIXELS, this.height - y);
      for (let column = 0; column < this.columns; column++) {
        if (!this.#bits[row * this.columns + column]) continue;
        const first = column;
        while (column + 1 < this.columns && this.#bits[row * this.columns + column + 1]) column++;
        const key = first * (this.columns + 1) + column;
        const above = open.get(key);
        open.delete(key);
        if (above) above.height += height;
        const x = first * TILE_PIXELS;
        reached.set(key, above ?? { x, y, width: Math.min((column + 1) * TILE_PIXELS, this.width) - x, height });
      }
      done.push(...open.values());
      open = reached;
    }
    done.push(...open.values());
    return done.sort((a, b) => a.y - b.y || a.x - b.x);
  }

  #tilesOf(rectangle: Rectangle): { left: number; right: number; top: number; bottom: number } {
    const limit = (value: number, maximum: number): number => Math.max(0, Math.min(maximum, value));
    return {
      left: limit(Math.floor(rectangle.x / TILE_PIXELS), this.columns),
      right: limit(Math.ceil((rectangle.x + rectangle.width) / TILE_PIXELS), this.columns),
      top: limit(Math.floor(rectangle.y / TILE_PIXELS), this.rows),
      bottom: limit(Math.ceil((rectangle.y + rectangle.height) / TILE_PIXELS), this.rows),
    };
  }
}
