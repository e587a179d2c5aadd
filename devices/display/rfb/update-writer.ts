/** Writes FramebufferUpdate messages (RFC 6143, 7.6.1) in the encoding that the client prefers, in bands of bounded size. */
import type { Frame, Scroll } from '../frame.ts';
import type { Rectangle } from '../tile-map.ts';
import type { FrameUpdate } from '../view.ts';
import { encodeHextile } from './hextile.ts';
import { PixelFormat } from './pixel-format.ts';
import * as P from './protocol.ts';
import { encodeZrle } from './zrle.ts';

/** Pixels of one rectangle at most, so that a slow client costs no more memory than a band. Rows of ZRLE tiles stay whole. */
const BAND_PIXELS = 64 * 1024;
const BAND_ROWS_STEP = 64;
const RECTANGLE_HEADER_BYTES = 12;
const MESSAGE_HEADER_BYTES = 4;

/** A compressor of one continuous stream in zlib format (RFC 1950). */
export interface Deflater {
  /** Compresses and flushes to a byte boundary (Z_SYNC_FLUSH). One call at a time. */
  deflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array>;
  close(): void;
}

/** The pointer that a client draws: a dot, since guests of this display draw their own. */
const CURSOR_SIZE = 5;
const CURSOR_HOTSPOT = 2;
const CURSOR_WHITE = [0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0];
const CURSOR_MASK = Uint8Array.of(0x70, 0xf8, 0xf8, 0xf8, 0x70);

/** A rectangle's encoding, or the announcement of something else. */
type Piece =
  | { readonly kind: 'pixels'; readonly rectangle: Rectangle }
  | { readonly kind: 'scroll'; readonly scroll: Scroll }
  | { readonly kind: 'size' | 'cursor' | 'extended keys' };

export class UpdateWriter {
  #format = PixelFormat.display();
  #encoding = P.ENCODING_RAW;
  #encodings: readonly number[] = [];
  #zlib: Deflater | undefined;
  #zrle: Deflater | undefined;
  /** To be sent before the next update, since nothing may come between its rectangles. */
  #colourMapDue = false;
  /** Announced once, when the client says that it takes them. */
  #cursorDue = false;
  #extendedKeysDue = false;
  #width = 0;
  #height = 0;
  #closed = false;

  constructor(
    private readonly frame: Frame,
    /** False: the client is gone. */
    private readonly send: (bytes: Uint8Array) => Promise<boolean>,
    private readonly newDeflater: (() => Deflater) | undefined,
  ) {}

  /** The size of the picture that the client believes in. */
  toldSize(width: number, height: number): void {
    this.#width = width;
    this.#height = height;
  }

  setFormat(format: PixelFormat): void {
    this.#format = format;
    this.#colourMapDue = !format.trueColour;
  }

  setEncodings(encodings: readonly number[]): void {
    const compressed = this.newDeflater ? [P.ENCODING_ZLIB, P.ENCODING_ZRLE] : [];
    const known: readonly number[] = [P.ENCODING_RAW, P.ENCODING_HEXTILE, ...compressed];
    this.#encoding = encodings.find((encoding) => known.includes(encoding)) ?? P.ENCODING_RAW;
    const isNew = (encoding: number): boolean => encodings.includes(encoding) && !this.#encodings.includes(encoding);
    this.#cursorDue ||= isNew(P.ENCODING_CURSOR);
    this.#extendedKeysDue ||= isNew(P.ENCODING_QEMU_EXTENDED_KEY);
    this.#encodings = encodings;
  }

  /** Sends one update. False when the client is gone. */
  async write(update: FrameUpdate): Promise<boolean> {
    if (this.#colourMapDue) {
      this.#colourMapDue = false;
      if (!(await this.send(this.#format.colourMapMessage()))) return false;
    }
    const pieces = this.#pieces(update);
    const header = new Uint8Array(MESSAGE_HEADER_BYTES);
    new DataView(header.buffer).setUint16(2, pieces.length);
    if (!(await this.send(header))) return false;
    // The client's format and encodings may change while the update is on its way; each rectangle says what it is.
    for (const piece of pieces) {
      const bytes = await this.#encode(piece);
      if (!bytes || !(await this.send(bytes))) return false;
    }
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#zlib?.close();
    this.#zrle?.close();
  }

  #pieces({ scroll, rectangles }: FrameUpdate): Piece[] {
    const pieces: Piece[] = [];
    const { width, height } = this.frame;
    if (width !== this.#width || height !== this.#height) {
      if (this.#encodings.includes(P.ENCODING_DESKTOP_SIZE)) {
        this.toldSize(width, height);
        pieces.push({ kind: 'size' });
      }
    }
    if (this.#extendedKeysDue) pieces.push({ kind: 'extended keys' });
    if (this.#cursorDue) pieces.push({ kind: 'cursor' });
    this.#extendedKeysDue = false;
    this.#cursorDue = false;
    if (scroll) pieces.push({ kind: 'scroll', scroll });
    for (const rectangle of rectangles) {
      // A client that takes no other size is shown the part of the picture that it has room for.
      for (const band of bandsOf(clip(rectangle, this.#width, this.#height))) {
        pieces.push({ kind: 'pixels', rectangle: band });
      }
    }
    return pieces;
  }

  async #encode(piece: Piece): Promise<Uint8Array | undefined> {
    switch (piece.kind) {
      case 'size':
        return rectangleHeader({ x: 0, y: 0, width: this.#width, height: this.#height }, P.ENCODING_DESKTOP_SIZE);
      case 'extended keys':
        return rectangleHeader({ x: 0, y: 0, width: 0, height: 0 }, P.ENCODING_QEMU_EXTENDED_KEY);
      case 'cursor':
        return this.#cursor();
      case 'scroll':
        return this.#copyRect(piece.scroll);
      case 'pixels':
        return this.#pixels(piece.rectangle);
    }
  }

  #copyRect({ y, sourceY, height }: Scroll): Uint8Array {
    const bytes = rectangleHeader({ x: 0, y, width: this.#width, height }, P.ENCODING_COPY_RECT, 4);
    new DataView(bytes.buffer).setUint16(RECTANGLE_HEADER_BYTES + 2, sourceY);
    return bytes;
  }

  #cursor(): Uint8Array {
    const format = this.#format;
    const lengthBytes = CURSOR_WHITE.length * format.bytesPerPixel + CURSOR_MASK.length;
    const hotspot = { x: CURSOR_HOTSPOT, y: CURSOR_HOTSPOT, width: CURSOR_SIZE, height: CURSOR_SIZE };
    const bytes = rectangleHeader(hotspot, P.ENCODING_CURSOR, lengthBytes);
    let at = RECTANGLE_HEADER_BYTES;
    for (const white of CURSOR_WHITE) at = format.writePixel(white ? format.white : 0, bytes, at);
    bytes.set(CURSOR_MASK, at);
    return bytes;
  }

  async #pixels(rectangle: Rectangle): Promise<Uint8Array | undefined> {
    const format = this.#format;
    const { width, height } = rectangle;
    if (this.#encoding === P.ENCODING_RAW) {
      const message = format.rawMessage(this.frame, rectangle, RECTANGLE_HEADER_BYTES);
      writeHeader(message, rectangle, P.ENCODING_RAW);
      return message;
    }
    const pixels = format.convert(this.frame, rectangle);
    switch (this.#encoding) {
      case P.ENCODING_HEXTILE:
        return withHeader(rectangle, P.ENCODING_HEXTILE, encodeHextile(pixels, width, height, format));
      case P.ENCODING_ZRLE: {
        this.#zrle ??= this.newDeflater?.();
        const tiles = encodeZrle(pixels, width, height, format);
        return this.#compressed(rectangle, P.ENCODING_ZRLE, this.#zrle, tiles);
      }
      case P.ENCODING_ZLIB: {
        this.#zlib ??= this.newDeflater?.();
        return this.#compressed(rectangle, P.ENCODING_ZLIB, this.#zlib, plain(pixels, format));
      }
      default:
        throw new RangeError(`encoding ${this.#encoding}`);
    }
  }

  async #compressed(
    rectangle: Rectangle,
    encoding: number,
    deflater: Deflater | undefined,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array | undefined> {
    if (this.#closed || !deflater) return undefined;
    const data = await deflater.deflate(bytes);
    if (this.#closed) return undefined;
    const message = rectangleHeader(rectangle, encoding, 4 + data.length);
    new DataView(message.buffer).setUint32(RECTANGLE_HEADER_BYTES, data.length);
    message.set(data, RECTANGLE_HEADER_BYTES + 4);
    return message;
  }
}

function plain(pixels: Uint32Array, format: PixelFormat): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pixels.length * format.bytesPerPixel);
  format.writePixels(pixels, bytes, 0);
  return bytes;
}

function rectangleHeader(rectangle: Rectangle, encoding: number, moreBytes = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(RECTANGLE_HEADER_BYTES + moreBytes);
  writeHeader(bytes, rectangle, encoding);
  return bytes;
}

function writeHeader(bytes: Uint8Array<ArrayBuffer>, rectangle: Rectangle, encoding: number): void {
  const fields = new DataView(bytes.buffer);
  fields.setUint16(0, rectangle.x);
  fields.setUint16(2, rectangle.y);
  fields.setUint16(4, rectangle.width);
  fields.setUint16(6, rectangle.height);
  fields.setInt32(8, encoding);
}

function withHeader(rectangle: Rectangle, encoding: number, data: Uint8Array): Uint8Array {
  const bytes = rectangleHeader(rectangle, encoding, data.length);
  bytes.set(data, RECTANGLE_HEADER_BYTES);
  return bytes;
}

function clip({ x, y, width, height }: Rectangle, right: number, bottom: number): Rectangle {
  return { x, y, width: Math.max(0, Math.min(width, right - x)), height: Math.max(0, Math.min(height, bottom - y)) };
}

/** The rectangle from top to bottom in parts of at most {@link BAND_PIXELS}. */
function bandsOf({ x, y, width, height }: Rectangle): Rectangle[] {
  if (width === 0 || height === 0) return [];
  const rows = Math.max(1, Math.floor(BAND_PIXELS / width / BAND_ROWS_STEP)) * BAND_ROWS_STEP;
  const bands: Rectangle[] = [];
  for (let top = 0; top < height; top += rows) {
    bands.push({ x, y: y + top, width, height: Math.min(rows, height - top) });
  }
  return bands;
}
