/** ZRLE encoding (RFC 6143, 7.7.6) before compression: tiles of 64 by 64 pixels as one colour, a palette, runs, or plain pixels. */
import type { PixelFormat } from './pixel-format.ts';

const TILE = 64;
const SUBENCODING_RAW = 0;
const SUBENCODING_SOLID = 1;
const SUBENCODING_PLAIN_RLE = 128;
/** Plus the number of colours. */
const SUBENCODING_PALETTE_RLE = 128;
const MAX_PACKED_COLOURS = 16;
const MAX_RLE_COLOURS = 127;
const RUN_FLAG = 0x80;

/** Encodes a rectangle of converted pixels; what comes back is to be compressed. */
export function encodeZrle(
  pixels: Uint32Array,
  width: number,
  height: number,
  format: PixelFormat,
): Uint8Array<ArrayBuffer> {
  const tiles = Math.ceil(width / TILE) * Math.ceil(height / TILE);
  const out = new Uint8Array(tiles + width * height * format.compressedBytes);
  const tile = new Uint32Array(TILE * TILE);
  let at = 0;
  for (let y = 0; y < height; y += TILE) {
    const rows = Math.min(TILE, height - y);
    for (let x = 0; x < width; x += TILE) {
      const columns = Math.min(TILE, width - x);
      for (let row = 0; row < rows; row++) {
        const from = (y + row) * width + x;
        tile.set(pixels.subarray(from, from + columns), row * columns);
      }
      at = encodeTile(tile.subarray(0, columns * rows), columns, rows, format, out, at);
    }
  }
  return out.slice(0, at);
}

/** What a tile is made of. */
interface Census {
  /** Colours in the order of their first occurrence; undefined when there are more than a palette takes. */
  readonly palette: ReadonlyMap<number, number> | undefined;
  /** Bytes of plain runs, without the colours. */
  readonly runLengthBytes: number;
  readonly runs: number;
  /** Bytes of the runs' indices and lengths when a palette holds the colours. */
  readonly paletteRunBytes: number;
}

function takeCensus(tile: Uint32Array): Census {
  let palette: Map<number, number> | undefined = new Map();
  let runLengthBytes = 0;
  let paletteRunBytes = 0;
  let runs = 0;
  for (let i = 0; i < tile.length;) {
    const colour = tile[i] ?? 0;
    const end = runEnd(tile, i);
    const lengthBytes = Math.floor((end - i - 1) / 255) + 1;
    runLengthBytes += lengthBytes;
    paletteRunBytes += end - i === 1 ? 1 : 1 + lengthBytes;
    runs++;
    if (palette && !palette.has(colour)) {
      if (palette.size === MAX_RLE_COLOURS) palette = undefined;
      else palette.set(colour, palette.size);
    }
    i = end;
  }
  return { palette, runLengthBytes, runs, paletteRunBytes };
}

function runEnd(tile: Uint32Array, start: number): number {
  const colour = tile[start];
  let end = start + 1;
  while (end < tile.length && tile[end] === colour) end++;
  return end;
}

function bitsPerIndex(colours: number): number {
  return colours <= 2 ? 1 : colours <= 4 ? 2 : 4;
}

function encodeTile(
  tile: Uint32Array,
  width: number,
  height: number,
  format: PixelFormat,
  out: Uint8Array,
  start: number,
): number {
  const { palette, runLengthBytes, runs, paletteRunBytes } = takeCensus(tile);
  const colourBytes = format.compressedBytes;
  const paletteBytes = (palette?.size ?? 0) * colourBytes;
  let at = start + 1;
  if (palette?.size === 1) {
    out[start] = SUBENCODING_SOLID;
    return format.writeCompressed(tile[0] ?? 0, out, at);
  }
  const raw = tile.length * colourBytes;
  const plainRle = runs * colourBytes + runLengthBytes;
  const paletteRle = palette ? paletteBytes + paletteRunBytes : Infinity;
  const packed =
    palette && palette.size <= MAX_PACKED_COLOURS
      ? paletteBytes + height * Math.ceil((width * bitsPerIndex(palette.size)) / 8)
      : Infinity;
  const best = Math.min(raw, plainRle, paletteRle, packed);
  if (best === raw) {
    out[start] = SUBENCODING_RAW;
    for (let i = 0; i < tile.length; i++) at = format.writeCompressed(tile[i] ?? 0, out, at);
    return at;
  }
  if (palette && best !== plainRle) {
    out[start] = best === packed ? palette.size : SUBENCODING_PALETTE_RLE + palette.size;
    for (const colour of palette.keys()) at = format.writeCompressed(colour, out, at);
    if (best === packed) return writePacked(tile, width, palette, out, at);
  } else {
    out[start] = SUBENCODING_PLAIN_RLE;
  }
  for (let i = 0; i < tile.length;) {
    const end = runEnd(tile, i);
    const colour = tile[i] ?? 0;
    if (best === plainRle) {
      at = writeRunLength(end - i, out, format.writeCompressed(colour, out, at));
    } else {
      const index = palette?.get(colour) ?? 0;
      out[at++] = end - i === 1 ? index : index | RUN_FLAG;
      if (end - i > 1) at = writeRunLength(end - i, out, at);
    }
    i = end;
  }
  return at;
}

function writePacked(
  tile: Uint32Array,
  width: number,
  palette: ReadonlyMap<number, number>,
  out: Uint8Array,
  start: number,
): number {
  const bits = bitsPerIndex(palette.size);
  let at = start;
  for (let row = 0; row < tile.length; row += width) {
    let byte = 0;
    let filled = 0;
    for (let i = row; i < row + width; i++) {
      byte = (byte << bits) | (palette.get(tile[i] ?? 0) ?? 0);
      filled += bits;
      if (filled === 8) {
        out[at++] = byte;
        byte = 0;
        filled = 0;
      }
    }
    if (filled > 0) out[at++] = byte << (8 - filled);
  }
  return at;
}

/** A run of `length` pixels: bytes whose sum is one less; all but the last are 255. */
function writeRunLength(length: number, out: Uint8Array, start: number): number {
  let at = start;
  let rest = length - 1;
  for (; rest >= 255; rest -= 255) out[at++] = 255;
  out[at++] = rest;
  return at;
}
