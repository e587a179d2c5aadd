/** Text on a screen: fonts of consoles, and waiting for what a console shows. */
import { expect, test } from 'vitest';
import { ConsoleFont, ConsoleFontError } from '../../devices/display/console-font.ts';
import { Display } from '../../devices/display/display.ts';
import { DisplayTimeoutError } from '../../devices/display/display-user.ts';
import { MachineDisplay } from '../../devices/display/machine-display.ts';
import { InputRouter } from '../../devices/input/input-router.ts';

const WIDTH = 8;
const HEIGHT = 16;

/** Glyphs that differ from each other and from a blank: the code's bits in a row of their own. */
function glyph(code: number): number[] {
  return Array.from({ length: HEIGHT }, (_, row) => (row === 4 ? code & 0x7f : row === 9 ? 0x3c : 0));
}

/** A font of ASCII in PSF version 1, without a table or with one that puts é and A on the same glyphs as others. */
function psf1(table: boolean): Uint8Array {
  const bytes = [0x36, 0x04, table ? 0x02 : 0x00, HEIGHT];
  for (let code = 0; code < 256; code++) {
    bytes.push(...(code > 0x20 && code < 0x7f ? glyph(code) : Array.from({ length: HEIGHT }, () => 0)));
  }
  if (table) {
    for (let code = 0; code < 256; code++) {
      // `e` is é as well; what comes after 0xFFFE are sequences of several characters.
      const units = code === 0x65 ? [0xe9, 0x65, 0xfffe, 0x65, 0x301] : [code];
      for (const unit of [...units, 0xffff]) bytes.push(unit & 0xff, unit >> 8);
    }
  }
  return Uint8Array.from(bytes);
}

function psf2(): Uint8Array {
  const header = new DataView(new ArrayBuffer(32));
  for (const [index, value] of [0x864ab572, 0, 32, 1, 2, HEIGHT, HEIGHT, WIDTH].entries()) {
    header.setUint32(4 * index, value, true);
  }
  const text = new TextEncoder();
  const table = [...text.encode('A'), 0xff, ...text.encode('ß'), 0xfe, ...text.encode('ss'), 0xff];
  return Uint8Array.from([...new Uint8Array(header.buffer), ...glyph(0x41), ...glyph(0x42), ...table]);
}

interface Screen {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** Writes a text in a row of cells; `ink` on `ground`. */
function write(screen: Screen, row: number, column: number, text: string, ink: number, ground: number): void {
  for (const [index, character] of [...text].entries()) {
    const rows = character === ' ' ? [] : glyph(character.charCodeAt(0));
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        const lit = (((rows[y] ?? 0) >> (7 - x)) & 1) === 1;
        const at = (row * HEIGHT + y) * screen.width + (column + index) * WIDTH + x;
        screen.pixels[at] = lit ? ink : ground;
      }
    }
  }
}

/** Seven columns and a bit, three rows and a bit. */
function screen(): Screen {
  return { width: 100, height: 60, pixels: new Uint32Array(6000) };
}

test('lines of a console, in any colours, also inverted; what is no glyph is told', () => {
  const shown = screen();
  write(shown, 0, 0, 'Debian 12', 0xaaaaaa, 0x000000);
  write(shown, 1, 2, 'login:', 0x000000, 0xffffff);
  write(shown, 2, 0, 'ok', 0x00ff00, 0x0000ff);
  shown.pixels[2 * HEIGHT * 100 + 3 * WIDTH + 300] = 1;
  for (const table of [false, true]) {
    const font = ConsoleFont.fromPsf(psf1(table));
    expect(font.readLines(shown)).toEqual(['Debian 12', '  login:', 'ok \ufffd']);
  }
});

test('version 2, with characters beyond ASCII', () => {
  const shown = screen();
  write(shown, 0, 0, 'AB', 1, 0);
  expect(ConsoleFont.fromPsf(psf2()).readLines(shown)[0]).toBe('Aß');
});

test('what is no font is refused', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(100), psf1(true).subarray(0, 5000), psf2().subarray(0, 60)]) {
    expect(() => ConsoleFont.fromPsf(bytes)).toThrow(ConsoleFontError);
  }
  const huge = psf2();
  new DataView(huge.buffer).setUint32(16, 0xffffffff, true);
  expect(() => ConsoleFont.fromPsf(huge)).toThrow(ConsoleFontError);
});

test('waitForText sees what is drawn later, and says what was shown instead', async () => {
  const shown = screen();
  let dirty = false;
  const display = new MachineDisplay(
    new Display(
      {
        ...shown,
        takeDirty: () => {
          const pages = dirty ? [{ firstPage: 0, pageCount: 8 }] : [];
          dirty = false;
          return pages;
        },
      },
      new InputRouter(),
    ),
  );
  const font = ConsoleFont.fromPsf(psf1(false));
  const waiting = display.waitForText(/^login: \w$/m, { font, timeout: 60_000 });
  write(shown, 1, 0, 'login: x', 0xffffff, 0);
  dirty = true;
  expect(await waiting).toEqual(['', 'login: x', '']);
  expect(display.text({ font: psf1(false) })).toEqual(['', 'login: x', '']);
  const vain = display.waitForText('Password:', { font, timeout: 1 });
  await expect(vain).rejects.toThrow(DisplayTimeoutError);
  await expect(vain).rejects.toThrow('the display did not show "Password:"; it has:\nlogin: x');
  display.display.close();
});
