/** Hextile encoding (RFC 6143, 7.7.4): tiles of 16 by 16 pixels, each a background with rectangles on it, or plain pixels. */
import type { PixelFormat } from './pixel-format.ts';

const TILE = 16;
const TILE_PIXELS = TILE * TILE;
const RAW = 1;
const BACKGROUND_SPECIFIED = 2;
const FOREGROUND_SPECIFIED = 4;
const ANY_SUBRECTS = 8;
const SUBRECTS_COLOURED = 16;
const MAX_SUBRECTS = 255;

/** Encodes a rectangle of converted pixels. */
export function encodeHextile(
  pixels: Uint32Array,
  width: number,
  height: number,
  format: PixelFormat,
): Uint8Array<ArrayBuffer> {
  const tiles = Math.ceil(width / TILE) * Math.ceil(height / TILE);
  const out = new Uint8Array(tiles * (1 + TILE_PIXELS * format.bytesPerPixel));
  const encoder = new TileEncoder(format, out);
  for (let y = 0; y < height; y += TILE) {
    for (let x = 0; x < width; x += TILE) {
      encoder.tile(pixels, width, x, y, Math.min(TILE, width - x), Math.min(TILE, height - y));
    }
  }
  return out.slice(0, encoder.end);
}

class TileEncoder {
  end = 0;
  /** Colours that the decoder still has of the tile before. */
  #background: number | undefined;
  #foreground: number | undefined;
  readonly #tile = new Uint32Array(TILE_PIXELS);
  readonly #done = new Uint8Array(TILE_PIXELS);

  constructor(
    private readonly format: PixelFormat,
    private readonly out: Uint8Array,
  ) {}

  tile(pixels: Uint32Array, stride: number, x: number, y: number, width: number, height: number): void {
    for (let row = 0; row < height; row++) {
      const from = (y + row) * stride + x;
      this.#tile.set(pixels.subarray(from, from + width), row * width);
    }
    const start = this.end;
    const rawEnd = start + 1 + width * height * this.format.bytesPerPixel;
    if (this.#subrects(width, height, rawEnd)) return;
    this.out[start] = RAW;
    this.end = this.format.writePixels(this.#tile.subarray(0, width * height), this.out, start + 1);
    this.#background = undefined;
    this.#foreground = undefined;
  }

  /** False when the tile would not be shorter than plain pixels. */
  #subrects(width: number, height: number, limit: number): boolean {
    const { format, out } = this;
    const [background, foreground, more] = this.#colours(width * height);
    const maskAt = this.end;
    let mask = 0;
    let at = maskAt + 1;
    if (background !== this.#background) {
      mask |= BACKGROUND_SPECIFIED;
      at = format.writePixel(background, out, at);
    }
    if (foreground !== undefined) {
      mask |= ANY_SUBRECTS;
      if (more) mask |= SUBRECTS_COLOURED;
      else if (foreground !== this.#foreground) {
        mask |= FOREGROUND_SPECIFIED;
        at = format.writePixel(foreground, out, at);
      }
      const countAt = at++;
      const subrectBytes = 2 + (more ? format.bytesPerPixel : 0);
      let count = 0;
      this.#done.fill(0);
      for (let index = 0; index < width * height; index++) {
        const colour = this.#tile[index] ?? 0;
        if (this.#done[index] || colour === background) continue;
        if (count === MAX_SUBRECTS || at + subrectBytes >= limit) return false;
        const x = index % width;
        const y = (index - x) / width;
        const [subWidth, subHeight] = this.#grow(x, y, width, height, colour);
        if (more) at = format.writePixel(colour, out, at);
        out[at++] = (x << 4) | y;
        out[at++] = ((subWidth - 1) << 4) | (subHeight - 1);
        count++;
      }
      out[countAt] = count;
    }
    if (at >= limit) return false;
    out[maskAt] = mask;
    this.end = at;
    this.#background = background;
    // A tile with coloured rectangles leaves no foreground behind (7.7.4).
    this.#foreground = more ? undefined : (foreground ?? this.#foreground);
    return true;
  }

  /** The more frequent of the first two colours, the other one, and whether there are more. */
  #colours(count: number): [background: number, foreground: number | undefined, more: boolean] {
    const first = this.#tile[0] ?? 0;
    let second: number | undefined;
    let ofFirst = 0;
    let more = false;
    for (let i = 0; i < count; i++) {
      const colour = this.#tile[i] ?? 0;
      if (colour === first) ofFirst++;
      else if (second === undefined) second = colour;
      else if (colour !== second) more = true;
    }
    if (second === undefined || more || ofFirst * 2 >= count) return [first, second, more];
    return [second, first, false];
  }

  /** The largest run to the right, extended downwards; its pixels count as done. */
  #grow(x: number, y: number, width: number, height: number, colour: number): [width: number, height: number] {
    let right = x + 1;
    while (right < width && this.#tile[y * width + right] === colour && !this.#done[y * width + right]) right++;
    let bottom = y + 1;
    rows: for (; bottom < height; bottom++) {
      for (let column = x; column < right; column++) {
        const index = bottom * width + column;
        if (this.#tile[index] !== colour || this.#done[index]) break rows;
      }
    }
    for (let row = y; row < bottom; row++) this.#done.fill(1, row * width + x, row * width + right);
    return [right - x, bottom - y];
  }
}
