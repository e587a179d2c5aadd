/** The pixel format that a client asks for (RFC 6143, 7.4), and pixels of a display converted to it. */
import type { Frame } from '../frame.ts';
import type { Rectangle } from '../tile-map.ts';
import { RfbError, SERVER_SET_COLOUR_MAP } from './protocol.ts';

export const PIXEL_FORMAT_BYTES = 16;
const BITS_PER_PIXEL = [8, 16, 32];
const COLOUR_MAX = 255;
const COLOUR_MAP_ENTRIES = 256;

interface Channel {
  readonly max: number;
  readonly shift: number;
}

/** Clients without true colours get a map of 3 bits red, 3 bits green and 2 bits blue. */
const MAPPED_RED: Channel = { max: 7, shift: 5 };
const MAPPED_GREEN: Channel = { max: 7, shift: 2 };
const MAPPED_BLUE: Channel = { max: 3, shift: 0 };

export class PixelFormat {
  readonly bytesPerPixel: number;
  /** Value in the client's format of each red, green and blue, 0-255. */
  readonly #red: Uint32Array;
  readonly #green: Uint32Array;
  readonly #blue: Uint32Array;
  /** The client's pixels are the display's own. */
  readonly #identical: boolean;
  /** Bytes of a compressed pixel (7.7.5), and which byte of the pixel they begin with. */
  readonly compressedBytes: number;
  readonly #compressedFirst: number;

  constructor(
    readonly bitsPerPixel: number,
    readonly depth: number,
    readonly bigEndian: boolean,
    readonly trueColour: boolean,
    readonly red: Channel,
    readonly green: Channel,
    readonly blue: Channel,
  ) {
    this.bytesPerPixel = bitsPerPixel / 8;
    this.#red = levels(red);
    this.#green = levels(green);
    this.#blue = levels(blue);
    const colourBits = this.white;
    this.#identical = bitsPerPixel === 32 && !bigEndian && isDisplayFormat(red, green, blue);
    const low = colourBits < 0x1000000;
    const high = (colourBits & 0xff) === 0;
    const short = trueColour && bitsPerPixel === 32 && depth <= 24 && (low || high);
    this.compressedBytes = short ? 3 : this.bytesPerPixel;
    // The three bytes that carry colour, in the order in which they are sent.
    this.#compressedFirst = short && low === bigEndian ? 1 : 0;
  }

  /** The display's own format, which a client is told first: 32 bits, little-endian, 0x00RRGGBB. */
  static display(): PixelFormat {
    const channel = (shift: number): Channel => ({ max: COLOUR_MAX, shift });
    // bhyve says depth 32; depth 24 is what the pixels have, and what lets ZRLE send three bytes.
    return new PixelFormat(32, 24, false, true, channel(16), channel(8), channel(0));
  }

  /** Reads a PIXEL_FORMAT. Throws {@link RfbError} when no pixel can have it. */
  static parse(field: DataView, offset: number): PixelFormat {
    const bitsPerPixel = field.getUint8(offset);
    const depth = field.getUint8(offset + 1);
    const bigEndian = field.getUint8(offset + 2) !== 0;
    if (!BITS_PER_PIXEL.includes(bitsPerPixel)) throw new RfbError(`pixels of ${bitsPerPixel} bits`);
    if (field.getUint8(offset + 3) === 0) {
      if (bitsPerPixel !== 8) throw new RfbError(`a colour map for pixels of ${bitsPerPixel} bits`);
      return new PixelFormat(8, depth, false, false, MAPPED_RED, MAPPED_GREEN, MAPPED_BLUE);
    }
    const channel = (index: number): Channel => {
      const max = field.getUint16(offset + 4 + 2 * index);
      const shift = field.getUint8(offset + 10 + index);
      if (max === 0 || shift >= bitsPerPixel || max * 2 ** shift >= 2 ** bitsPerPixel) {
        throw new RfbError(`colours up to ${max} at bit ${shift} of ${bitsPerPixel}`);
      }
      return { max, shift };
    };
    return new PixelFormat(bitsPerPixel, depth, bigEndian, true, channel(0), channel(1), channel(2));
  }

  /** The brightest pixel. */
  get white(): number {
    return ((this.#red[COLOUR_MAX] ?? 0) | (this.#green[COLOUR_MAX] ?? 0) | (this.#blue[COLOUR_MAX] ?? 0)) >>> 0;
  }

  /** Writes the PIXEL_FORMAT structure. */
  write(into: DataView, offset: number): void {
    into.setUint8(offset, this.bitsPerPixel);
    into.setUint8(offset + 1, this.depth);
    into.setUint8(offset + 2, this.bigEndian ? 1 : 0);
    into.setUint8(offset + 3, this.trueColour ? 1 : 0);
    for (const [index, channel] of [this.red, this.green, this.blue].entries()) {
      into.setUint16(offset + 4 + 2 * index, channel.max);
      into.setUint8(offset + 10 + index, channel.shift);
    }
  }

  /** The SetColourMapEntries message (7.6.2) for a client without true colours. */
  colourMapMessage(): Uint8Array {
    const message = new Uint8Array(6 + 6 * COLOUR_MAP_ENTRIES);
    const view = new DataView(message.buffer);
    view.setUint8(0, SERVER_SET_COLOUR_MAP);
    view.setUint16(4, COLOUR_MAP_ENTRIES);
    for (let index = 0; index < COLOUR_MAP_ENTRIES; index++) {
      for (const [i, { max, shift }] of [this.red, this.green, this.blue].entries()) {
        view.setUint16(6 + 6 * index + 2 * i, Math.round((((index >> shift) & max) * 0xffff) / max));
      }
    }
    return message;
  }

  /** Pixels of a part of the frame as numbers in the client's format. What lies outside the frame is black. */
  convert(frame: Frame, rectangle: Rectangle): Uint32Array {
    const out = new Uint32Array(rectangle.width * rectangle.height);
    this.#convertInto(frame, rectangle, out);
    return out;
  }

  #convertInto(frame: Frame, { x, y, width, height }: Rectangle, out: Uint32Array): void {
    const columns = Math.max(0, Math.min(width, frame.width - x));
    const rows = Math.max(0, Math.min(height, frame.height - y));
    for (let row = 0; row < rows; row++) {
      const from = (y + row) * frame.width + x;
      const source = frame.pixels.subarray(from, from + columns);
      const at = row * width;
      if (this.#identical) for (let i = 0; i < columns; i++) out[at + i] = (source[i] ?? 0) & 0xffffff;
      else this.#convertRow(source, out, at);
    }
  }

  /** A message of `headerBytes`, a multiple of 4, and the pixels of a part of the frame as PIXELs behind them. */
  rawMessage(frame: Frame, rectangle: Rectangle, headerBytes: number): Uint8Array<ArrayBuffer> {
    const pixelCount = rectangle.width * rectangle.height;
    const message = new Uint8Array(headerBytes + pixelCount * this.bytesPerPixel);
    // Typed arrays of every host that runs this are little-endian, too.
    if (this.bytesPerPixel === 4 && !this.bigEndian) {
      this.#convertInto(frame, rectangle, new Uint32Array(message.buffer, headerBytes, pixelCount));
    } else {
      this.writePixels(this.convert(frame, rectangle), message, headerBytes);
    }
    return message;
  }

  #convertRow(source: Uint32Array, out: Uint32Array, at: number): void {
    for (let i = 0; i < source.length; i++) {
      const pixel = source[i] ?? 0;
      out[at + i] =
        (this.#red[(pixel >>> 16) & 0xff] ?? 0) |
        (this.#green[(pixel >>> 8) & 0xff] ?? 0) |
        (this.#blue[pixel & 0xff] ?? 0);
    }
  }

  /** Writes converted pixels as PIXELs; returns the offset behind them. */
  writePixels(pixels: Uint32Array, into: Uint8Array, offset: number): number {
    if (this.bytesPerPixel === 4 && !this.bigEndian) {
      // Typed arrays of every host that runs this are little-endian too.
      into.set(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength), offset);
      return offset + pixels.byteLength;
    }
    let at = offset;
    for (let i = 0; i < pixels.length; i++) at = this.writePixel(pixels[i] ?? 0, into, at);
    return at;
  }

  /** Writes one converted pixel; returns the offset behind it. */
  writePixel(pixel: number, into: Uint8Array, offset: number): number {
    const bytes = this.bytesPerPixel;
    if (this.bigEndian) for (let i = 0; i < bytes; i++) into[offset + i] = pixel >>> (8 * (bytes - 1 - i));
    else for (let i = 0; i < bytes; i++) into[offset + i] = pixel >>> (8 * i);
    return offset + bytes;
  }

  /** Writes one converted pixel as a CPIXEL (7.7.5); returns the offset behind it. */
  writeCompressed(pixel: number, into: Uint8Array, offset: number): number {
    const bytes = this.compressedBytes;
    if (bytes === this.bytesPerPixel) return this.writePixel(pixel, into, offset);
    const first = this.#compressedFirst;
    for (let i = 0; i < bytes; i++) {
      into[offset + i] = pixel >>> (8 * (this.bigEndian ? 3 - first - i : first + i));
    }
    return offset + bytes;
  }
}

function levels({ max, shift }: Channel): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, level) => (Math.round((level * max) / COLOUR_MAX) << shift) >>> 0);
}

function isDisplayFormat(red: Channel, green: Channel, blue: Channel): boolean {
  const at = (channel: Channel, shift: number): boolean => channel.max === COLOUR_MAX && channel.shift === shift;
  return at(red, 16) && at(green, 8) && at(blue, 0);
}
