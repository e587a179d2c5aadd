/** An RFB client for tests: speaks the protocol over bytes and keeps the picture that a viewer would show. */
import { inflateSync, constants, createInflate, type Inflate } from 'node:zlib';

/** The client's pixels are compared in this form: 0x00RRGGBB. */
export interface ClientFormat {
  readonly bitsPerPixel: number;
  readonly depth: number;
  readonly bigEndian: boolean;
  readonly trueColour: boolean;
  readonly max: readonly [number, number, number];
  readonly shift: readonly [number, number, number];
}

export const FORMAT_32: ClientFormat = {
  bitsPerPixel: 32,
  depth: 24,
  bigEndian: false,
  trueColour: true,
  max: [255, 255, 255],
  shift: [16, 8, 0],
};

export class RfbClient {
  width = 0;
  height = 0;
  pixels = new Uint32Array(0);
  name = '';
  format = FORMAT_32;
  colourMap: number[] = [];
  /** Encodings of the rectangles received, in order. */
  encodings: number[] = [];
  updates = 0;
  /** Pixels of all rectangles received. */
  drawnPixels = 0;
  /** What was received and not read, in pieces, and how much that is. */
  #pieces: Buffer[] = [];
  #received = 0;
  #waiting: { count: number; resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | undefined;
  #closed = false;
  readonly #zlib = new ContinuousInflate();
  readonly #zrle = new ContinuousInflate();

  constructor(readonly send: (bytes: Uint8Array) => void) {}

  receive(bytes: Uint8Array): void {
    this.#pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    this.#received += bytes.length;
    this.#deliver();
  }

  closed(): void {
    this.#closed = true;
    this.#waiting?.reject(new Error('the server closed the connection'));
    this.#waiting = undefined;
  }

  #deliver(): void {
    const waiting = this.#waiting;
    if (!waiting || this.#received < waiting.count) return;
    this.#waiting = undefined;
    const { count } = waiting;
    const [first] = this.#pieces;
    const whole = first && first.length >= count ? first : Buffer.concat(this.#pieces);
    const rest = whole.subarray(count);
    this.#pieces = whole === first ? this.#pieces.slice(1) : [];
    if (rest.length > 0) this.#pieces.unshift(rest);
    this.#received -= count;
    waiting.resolve(whole.subarray(0, count));
  }

  read(count: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#closed && this.#received < count) {
        reject(new Error('the server closed the connection'));
        return;
      }
      this.#waiting = { count, resolve, reject };
      this.#deliver();
    });
  }

  /** The handshake; `des` answers a challenge. Returns the failure text, or undefined when the server let the client in. */
  async open(
    version = 'RFB 003.008\n',
    answer?: (challenge: Uint8Array) => Uint8Array,
    type = answer ? 2 : 1,
  ): Promise<string | undefined> {
    const offered = (await this.read(12)).toString('latin1');
    if (offered !== 'RFB 003.008\n') throw new Error(`version ${offered}`);
    this.send(Buffer.from(version, 'latin1'));
    const minor = version === 'RFB 003.008\n' ? 8 : version === 'RFB 003.007\n' ? 7 : 3;
    if (minor === 3) {
      type = (await this.read(4)).readUInt32BE();
    } else {
      const count = (await this.read(1)).readUInt8();
      const types = [...(await this.read(count))];
      if (!types.includes(type) && type !== 99) throw new Error(`types ${types.join()}`);
      this.send(Uint8Array.of(type));
    }
    if (type === 2) this.send(answer?.(await this.read(16)) ?? new Uint8Array(16));
    if (type !== 1 || minor === 8) {
      const result = (await this.read(4)).readUInt32BE();
      if (result !== 0) {
        if (minor < 8) return 'failed';
        return (await this.read((await this.read(4)).readUInt32BE())).toString();
      }
    }
    this.send(Uint8Array.of(1));
    return undefined;
  }

  /** ServerInit. */
  async init(): Promise<void> {
    const header = await this.read(24);
    this.#resize(header.readUInt16BE(0), header.readUInt16BE(2));
    this.name = (await this.read(header.readUInt32BE(20))).toString();
  }

  setFormat(format: ClientFormat): void {
    this.format = format;
    const message = Buffer.alloc(20);
    message.writeUInt8(format.bitsPerPixel, 4);
    message.writeUInt8(format.depth, 5);
    message.writeUInt8(format.bigEndian ? 1 : 0, 6);
    message.writeUInt8(format.trueColour ? 1 : 0, 7);
    for (let i = 0; i < 3; i++) {
      message.writeUInt16BE(format.max[i] ?? 0, 8 + 2 * i);
      message.writeUInt8(format.shift[i] ?? 0, 14 + i);
    }
    this.send(message);
  }

  setEncodings(...encodings: number[]): void {
    const message = Buffer.alloc(4 + 4 * encodings.length);
    message.writeUInt8(2, 0);
    message.writeUInt16BE(encodings.length, 2);
    for (const [i, encoding] of encodings.entries()) message.writeInt32BE(encoding, 4 + 4 * i);
    this.send(message);
  }

  request(incremental: boolean, x = 0, y = 0, width = this.width, height = this.height): void {
    const message = Buffer.alloc(10);
    message.writeUInt8(3, 0);
    message.writeUInt8(incremental ? 1 : 0, 1);
    for (const [i, value] of [x, y, width, height].entries()) message.writeUInt16BE(value, 2 + 2 * i);
    this.send(message);
  }

  key(keysym: number, down: boolean): void {
    const message = Buffer.alloc(8);
    message.writeUInt8(4, 0);
    message.writeUInt8(down ? 1 : 0, 1);
    message.writeUInt32BE(keysym, 4);
    this.send(message);
  }

  extendedKey(keysym: number, code: number, down: boolean): void {
    const message = Buffer.alloc(12);
    message.writeUInt8(255, 0);
    message.writeUInt16BE(down ? 1 : 0, 2);
    message.writeUInt32BE(keysym, 4);
    message.writeUInt32BE(code, 8);
    this.send(message);
  }

  pointer(buttons: number, x: number, y: number): void {
    const message = Buffer.alloc(6);
    message.writeUInt8(5, 0);
    message.writeUInt8(buttons, 1);
    message.writeUInt16BE(x, 2);
    message.writeUInt16BE(y, 4);
    this.send(message);
  }

  #resize(width: number, height: number): void {
    const old = { width: this.width, height: this.height, pixels: this.pixels };
    this.width = width;
    this.height = height;
    this.pixels = new Uint32Array(width * height);
    for (let y = 0; y < Math.min(height, old.height); y++) {
      const row = old.pixels.subarray(y * old.width, y * old.width + Math.min(width, old.width));
      this.pixels.set(row, y * width);
    }
  }

  /** Reads messages until a framebuffer update was read whole. */
  async update(): Promise<void> {
    for (;;) {
      const type = (await this.read(1)).readUInt8();
      if (type === 1) {
        const header = await this.read(5);
        const count = header.readUInt16BE(3);
        for (let i = 0; i < count; i++) {
          const rgb = await this.read(6);
          this.colourMap[i] = (rgb.readUInt8(0) << 16) | (rgb.readUInt8(2) << 8) | rgb.readUInt8(4);
        }
        continue;
      }
      if (type !== 0) throw new Error(`message ${type}`);
      const count = (await this.read(3)).readUInt16BE(1);
      for (let i = 0; i < count; i++) await this.#rectangle();
      this.updates++;
      return;
    }
  }

  async #rectangle(): Promise<void> {
    const header = await this.read(12);
    const [x, y, width, height] = [0, 2, 4, 6].map((at) => header.readUInt16BE(at)) as [number, number, number, number];
    const encoding = header.readInt32BE(8);
    this.encodings.push(encoding);
    const bytes = this.format.bitsPerPixel / 8;
    switch (encoding) {
      case 0:
        return this.#draw(x, y, width, height, this.#pixelsOf(await this.read(width * height * bytes)));
      case 1: {
        const from = await this.read(4);
        return this.#copy(x, y, width, height, from.readUInt16BE(0), from.readUInt16BE(2));
      }
      case 5:
        return this.#hextile(x, y, width, height);
      case 6: {
        const data = await this.read((await this.read(4)).readUInt32BE());
        return this.#draw(x, y, width, height, this.#pixelsOf(await this.#zlib.inflate(data)));
      }
      case 16: {
        const data = await this.read((await this.read(4)).readUInt32BE());
        return this.#zrleTiles(x, y, width, height, await this.#zrle.inflate(data));
      }
      case -223:
        return this.#resize(width, height);
      case -239:
        await this.read(width * height * bytes + Math.ceil(width / 8) * height);
        return;
      case -258:
        return;
      default:
        throw new Error(`encoding ${encoding}`);
    }
  }

  #value(bytes: Buffer, at: number, count: number): number {
    return this.format.bigEndian ? bytes.readUIntBE(at, count) : bytes.readUIntLE(at, count);
  }

  /** A pixel in the client's format as 0x00RRGGBB. */
  #colour(value: number): number {
    if (!this.format.trueColour) return this.colourMap[value] ?? -1;
    const { max, shift } = this.format;
    let colour = 0;
    for (let i = 0; i < 3; i++) {
      const limit = max[i] ?? 0;
      colour = (colour << 8) | Math.round(((value >>> (shift[i] ?? 0)) & limit) * (255 / limit));
    }
    return colour;
  }

  #pixelsOf(bytes: Buffer): Uint32Array {
    const size = this.format.bitsPerPixel / 8;
    const pixels = new Uint32Array(bytes.length / size);
    if (this.format === FORMAT_32) {
      // The client's pixels are those that are compared.
      new Uint8Array(pixels.buffer).set(bytes);
      return pixels;
    }
    for (let i = 0; i < pixels.length; i++) pixels[i] = this.#colour(this.#value(bytes, i * size, size));
    return pixels;
  }

  #draw(x: number, y: number, width: number, height: number, pixels: Uint32Array): void {
    if (pixels.length !== width * height) throw new Error(`${pixels.length} pixels for ${width}x${height}`);
    if (x + width > this.width || y + height > this.height) throw new Error('a rectangle outside the picture');
    this.drawnPixels += pixels.length;
    for (let row = 0; row < height; row++) {
      this.pixels.set(pixels.subarray(row * width, (row + 1) * width), (y + row) * this.width + x);
    }
  }

  #copy(x: number, y: number, width: number, height: number, fromX: number, fromY: number): void {
    const copied = new Uint32Array(width * height);
    for (let row = 0; row < height; row++) {
      const at = (fromY + row) * this.width + fromX;
      copied.set(this.pixels.subarray(at, at + width), row * width);
    }
    this.#draw(x, y, width, height, copied);
  }

  async #hextile(x: number, y: number, width: number, height: number): Promise<void> {
    const bytes = this.format.bitsPerPixel / 8;
    const one = async (): Promise<number> => this.#colour(this.#value(await this.read(bytes), 0, bytes));
    let background: number | undefined;
    let foreground: number | undefined;
    for (let top = 0; top < height; top += 16) {
      for (let left = 0; left < width; left += 16) {
        const w = Math.min(16, width - left);
        const h = Math.min(16, height - top);
        const mask = (await this.read(1)).readUInt8();
        if (mask & 1) {
          this.#draw(x + left, y + top, w, h, this.#pixelsOf(await this.read(w * h * bytes)));
          background = undefined;
          foreground = undefined;
          continue;
        }
        if (mask & 2) background = await one();
        if (background === undefined) throw new Error('no background');
        if (mask & 4) foreground = await one();
        this.#draw(x + left, y + top, w, h, new Uint32Array(w * h).fill(background));
        if (!(mask & 8)) continue;
        const count = (await this.read(1)).readUInt8();
        for (let i = 0; i < count; i++) {
          const colour = mask & 16 ? await one() : foreground;
          if (colour === undefined) throw new Error('no foreground');
          const where = await this.read(2);
          const [at, size] = [where.readUInt8(0), where.readUInt8(1)];
          const [w2, h2] = [(size >> 4) + 1, (size & 15) + 1];
          if ((at >> 4) + w2 > w || (at & 15) + h2 > h) throw new Error('a subrectangle outside its tile');
          this.#draw(x + left + (at >> 4), y + top + (at & 15), w2, h2, new Uint32Array(w2 * h2).fill(colour));
        }
        if (mask & 16) foreground = undefined;
      }
    }
  }

  #zrleTiles(x: number, y: number, width: number, height: number, data: Buffer): void {
    const { bitsPerPixel, depth, max, shift } = this.format;
    const all = max.reduce((sum, value, i) => sum + value * 2 ** (shift[i] ?? 0), 0);
    const short = this.format.trueColour && bitsPerPixel === 32 && depth <= 24 && (all < 2 ** 24 || all % 256 === 0);
    const size = short ? 3 : bitsPerPixel / 8;
    let at = 0;
    const colour = (): number => {
      let value = this.#value(data, at, size);
      // Colours in the upper three bytes.
      if (short && all >= 2 ** 24) value *= 256;
      at += size;
      return this.#colour(value);
    };
    const runLength = (): number => {
      let length = 1;
      for (;;) {
        const byte = data.readUInt8(at++);
        length += byte;
        if (byte !== 255) return length;
      }
    };
    for (let top = 0; top < height; top += 64) {
      for (let left = 0; left < width; left += 64) {
        const w = Math.min(64, width - left);
        const h = Math.min(64, height - top);
        const tile = new Uint32Array(w * h);
        const kind = data.readUInt8(at++);
        if (kind === 0) {
          for (let i = 0; i < tile.length; i++) tile[i] = colour();
        } else if (kind === 1) {
          tile.fill(colour());
        } else if (kind <= 16) {
          const palette = Array.from({ length: kind }, colour);
          const bits = kind === 2 ? 1 : kind <= 4 ? 2 : 4;
          for (let row = 0; row < h; row++) {
            for (let column = 0; column < w; column++) {
              const bit = column * bits;
              const byte = data.readUInt8(at + (bit >> 3));
              tile[row * w + column] = palette[(byte >> (8 - bits - (bit & 7))) & ((1 << bits) - 1)] ?? -1;
            }
            at += Math.ceil((w * bits) / 8);
          }
        } else if (kind === 128) {
          for (let i = 0; i < tile.length;) {
            const value = colour();
            const end = i + runLength();
            tile.fill(value, i, end);
            i = end;
          }
        } else if (kind >= 130) {
          const palette = Array.from({ length: kind - 128 }, colour);
          for (let i = 0; i < tile.length;) {
            const index = data.readUInt8(at++);
            const end = i + (index & 128 ? runLength() : 1);
            tile.fill(palette[index & 127] ?? -1, i, end);
            i = end;
          }
        } else {
          throw new Error(`ZRLE tile ${kind}`);
        }
        this.#draw(x + left, y + top, w, h, tile);
      }
    }
    if (at !== data.length) throw new Error(`${data.length - at} bytes left in a ZRLE rectangle`);
  }
}

/** One zlib stream over many pieces. */
class ContinuousInflate {
  readonly #inflate: Inflate = createInflate({ finishFlush: constants.Z_SYNC_FLUSH });

  inflate(piece: Buffer): Promise<Buffer> {
    const parts: Buffer[] = [];
    const collect = (): void => {
      for (let part = this.#inflate.read() as Buffer | null; part; part = this.#inflate.read() as Buffer | null) {
        parts.push(part);
      }
    };
    this.#inflate.on('readable', collect);
    return new Promise((resolve, reject) => {
      this.#inflate.once('error', reject);
      this.#inflate.write(piece, () => {
        collect();
        this.#inflate.off('readable', collect);
        this.#inflate.off('error', reject);
        resolve(Buffer.concat(parts));
      });
    });
  }
}

/** Pixels of a PNG file as this project writes them: 8-bit true colour without filters. */
export function decodePng(file: Uint8Array): { width: number; height: number; pixels: Uint32Array } {
  const bytes = Buffer.from(file);
  const width = bytes.readUInt32BE(16);
  const height = bytes.readUInt32BE(20);
  const data: Buffer[] = [];
  for (let at = 8; at < bytes.length;) {
    const length = bytes.readUInt32BE(at);
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const lines = inflateSync(Buffer.concat(data));
  const pixels = new Uint32Array(width * height);
  for (let y = 0; y < height; y++) {
    const line = y * (1 + 3 * width);
    if (lines[line] !== 0) throw new Error(`filter ${lines[line]}`);
    for (let x = 0; x < width; x++) pixels[y * width + x] = lines.readUIntBE(line + 1 + 3 * x, 3);
  }
  return { width, height, pixels };
}
