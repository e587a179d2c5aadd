/**
 * Fonts of text consoles: from what a cell of the screen shows to the character that it stands for. Fonts are files in the format PSF, version 1 or 2,
 * as Linux's consoles load them (kbd's psf.txt; Debian has them in /usr/share/consolefonts).
 */

const PSF1_MAGIC = 0x0436;
const PSF1_MODE_512 = 0x01;
const PSF1_MODE_TABLE = 0x06;
const PSF1_WIDTH = 8;
const PSF1_SEPARATOR = 0xffff;
const PSF1_SEQUENCE = 0xfffe;
const PSF2_MAGIC = 0x864ab572;
const PSF2_TABLE = 0x01;
const PSF2_SEPARATOR = 0xff;
const PSF2_SEQUENCE = 0xfe;
const MAX_SIDE_PIXELS = 64;
const MAX_GLYPHS = 0x10000;

/** What stands for a cell that no glyph of the font looks like. */
export const UNKNOWN_CHARACTER = '\ufffd';

/** A font that cannot be read. */
export class ConsoleFontError extends Error {
  override readonly name = 'ConsoleFontError';
}

/** The order in which characters of one glyph are preferred: plain ones first. */
function better(candidate: string, known: string | undefined): boolean {
  return known === undefined || (candidate < known && candidate >= ' ');
}

export class ConsoleFont {
  readonly #characters = new Map<string, string>();

  private constructor(
    /** Pixels of a cell. */
    readonly width: number,
    readonly height: number,
  ) {}

  /** Reads a PSF file, which must not be compressed. Throws {@link ConsoleFontError}. */
  static fromPsf(bytes: Uint8Array): ConsoleFont {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
      if (view.getUint32(0, true) === PSF2_MAGIC) return ConsoleFont.#fromPsf2(view);
      if (view.getUint16(0, true) === PSF1_MAGIC) return ConsoleFont.#fromPsf1(view);
    } catch (error) {
      if (error instanceof RangeError) throw new ConsoleFontError('the font ends in the middle of a glyph');
      throw error;
    }
    throw new ConsoleFontError('this is no font in the format PSF');
  }

  static #make(width: number, height: number, count: number): ConsoleFont {
    if (width < 1 || height < 1 || width > MAX_SIDE_PIXELS || height > MAX_SIDE_PIXELS || count > MAX_GLYPHS) {
      throw new ConsoleFontError(`a font of ${count} glyphs of ${width}x${height} pixels is none for a console`);
    }
    return new ConsoleFont(width, height);
  }

  static #fromPsf1(view: DataView): ConsoleFont {
    const mode = view.getUint8(2);
    const height = view.getUint8(3);
    const count = (mode & PSF1_MODE_512) !== 0 ? 512 : 256;
    const font = ConsoleFont.#make(PSF1_WIDTH, height, count);
    let at = 4 + count * height;
    for (let glyph = 0; glyph < count; glyph++) {
      const shape = font.#shape(view, 4 + glyph * height);
      if ((mode & PSF1_MODE_TABLE) === 0) {
        font.#add(shape, glyph);
        continue;
      }
      let single = true;
      for (let unit = view.getUint16(at, true); unit !== PSF1_SEPARATOR; unit = view.getUint16(at, true)) {
        if (unit === PSF1_SEQUENCE) single = false;
        else if (single) font.#add(shape, unit);
        at += 2;
      }
      at += 2;
    }
    return font;
  }

  static #fromPsf2(view: DataView): ConsoleFont {
    const [headerBytes, flags, count, glyphBytes, height, width] = [8, 12, 16, 20, 24, 28].map((at) =>
      view.getUint32(at, true),
    ) as [number, number, number, number, number, number];
    const font = ConsoleFont.#make(width, height, count);
    if (glyphBytes !== height * Math.ceil(width / 8)) throw new ConsoleFontError('the size of its glyphs is wrong');
    let at = headerBytes + count * glyphBytes;
    for (let glyph = 0; glyph < count; glyph++) {
      const shape = font.#shape(view, headerBytes + glyph * glyphBytes);
      if ((flags & PSF2_TABLE) === 0) {
        font.#add(shape, glyph);
        continue;
      }
      const first = at;
      while (view.getUint8(at) !== PSF2_SEPARATOR) at++;
      const entry = new Uint8Array(view.buffer, view.byteOffset + first, at - first);
      const sequences = entry.indexOf(PSF2_SEQUENCE);
      const text = new TextDecoder().decode(sequences === -1 ? entry : entry.subarray(0, sequences));
      for (const character of text) font.#add(shape, character.codePointAt(0) ?? 0);
      at++;
    }
    return font;
  }

  /** A glyph as a text of zeros and ones, row after row. */
  #shape(view: DataView, offset: number): string {
    const rowBytes = Math.ceil(this.width / 8);
    let shape = '';
    for (let y = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++) {
        shape += (view.getUint8(offset + y * rowBytes + (x >> 3)) >> (7 - (x & 7))) & 1;
      }
    }
    return shape;
  }

  #add(shape: string, codePoint: number): void {
    if (codePoint < 0x20 || codePoint > 0x10ffff) return;
    const character = String.fromCodePoint(codePoint);
    if (better(character, this.#characters.get(shape))) this.#characters.set(shape, character);
  }

  /** Lines of a picture whose cells begin in its upper left corner, without blanks at their ends. Colours do not matter. */
  readLines({
    width,
    height,
    pixels,
  }: {
    readonly width: number;
    readonly height: number;
    readonly pixels: Uint32Array;
  }): string[] {
    const lines: string[] = [];
    for (let top = 0; top + this.height <= height; top += this.height) {
      let line = '';
      for (let left = 0; left + this.width <= width; left += this.width) {
        line += this.#read(pixels, width, left, top);
      }
      lines.push(line.trimEnd());
    }
    return lines;
  }

  #read(pixels: Uint32Array, rowPixels: number, left: number, top: number): string {
    const corner = pixels[top * rowPixels + left];
    let shape = '';
    let inverse = '';
    let blank = true;
    for (let y = 0; y < this.height; y++) {
      const row = (top + y) * rowPixels + left;
      for (let x = 0; x < this.width; x++) {
        const same = pixels[row + x] === corner;
        if (!same) blank = false;
        shape += same ? '0' : '1';
        inverse += same ? '1' : '0';
      }
    }
    if (blank) return ' ';
    // The corner has the ink's colour in some glyphs: frames and blocks.
    return this.#characters.get(shape) ?? this.#characters.get(inverse) ?? UNKNOWN_CHARACTER;
  }
}
