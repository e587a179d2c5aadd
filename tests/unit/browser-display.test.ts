/** A display in a page, as far as it needs no page: keys by their place, and how large a picture is drawn. */
import { describe, expect, test } from 'vitest';
import { evdevOfXtCode, KEYBOARD_CODES } from '../../devices/input/evdev.ts';
import { usLayout } from '../../devices/input/keyboard-layout.ts';
import { LAYOUT_NAMES, layoutNamed } from '../../devices/input/layouts.ts';
import { xtCodeOfDomCode } from '../../host-browser/display/key-codes.ts';
import { scaleDisplay } from '../../host-browser/display/scaling.ts';
import { canvasPixels } from '../../host-browser/worker/canvas-painter.ts';

describe('keys by their place', () => {
  test('the layout of the United States writes what the keys are named after', () => {
    for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
      expect(xtCodeOfDomCode(`Key${letter.toUpperCase()}`)).toBe(usLayout.strokesOf(letter)?.[0]?.code);
    }
    for (const digit of '0123456789') {
      expect(xtCodeOfDomCode(`Digit${digit}`)).toBe(usLayout.strokesOf(digit)?.[0]?.code);
    }
    const named = { Minus: '-', Equal: '=', Semicolon: ';', Quote: "'", Backquote: '`', Slash: '/', Space: ' ' };
    for (const [code, character] of Object.entries(named)) {
      expect(xtCodeOfDomCode(code)).toBe(usLayout.strokesOf(character)?.[0]?.code);
    }
  });

  // Numbers of Linux's input-event-codes.h.
  test.each([
    ['Escape', 1],
    ['Enter', 28],
    ['ControlRight', 97],
    ['AltRight', 100],
    ['ArrowUp', 103],
    ['ArrowRight', 106],
    ['Delete', 111],
    ['F1', 59],
    ['F10', 68],
    ['F11', 87],
    ['F12', 88],
    ['NumLock', 69],
    ['Numpad7', 71],
    ['Numpad0', 82],
    ['NumpadDecimal', 83],
    ['NumpadEnter', 96],
    ['NumpadDivide', 98],
    ['IntlBackslash', 86],
    ['IntlYen', 124],
    ['MetaLeft', 125],
    ['ContextMenu', 127],
    ['PrintScreen', 99],
    ['Pause', 119],
  ])('%s', (code, key) => {
    const xtCode = xtCodeOfDomCode(code);
    expect(xtCode === undefined ? undefined : evdevOfXtCode(xtCode)).toBe(key);
    expect(KEYBOARD_CODES).toContain(key);
  });

  test('what no PC keyboard has is no key', () => {
    for (const code of ['', 'Unidentified', 'BrowserBack', 'toString']) expect(xtCodeOfDomCode(code)).toBeUndefined();
  });

  test('every layout labels its letters', () => {
    for (const name of LAYOUT_NAMES) {
      const characters = new Set([...(layoutNamed(name)?.keys() ?? [])].map(({ character }) => character));
      expect(characters.size, name).toBeGreaterThan(60);
      expect(characters.has('1') && characters.has('?'), name).toBe(true);
    }
  });
});

describe('how large a picture is drawn', () => {
  const display = { width: 640, height: 480 };

  test.each([
    ['whole pixels where they fit', { width: 1280, height: 700 }, 1, { width: 640, height: 480, exact: true }],
    ['twice where that fits', { width: 1300, height: 1000 }, 1, { width: 1280, height: 960, exact: true }],
    ['smaller when there is no room', { width: 320, height: 480 }, 1, { width: 320, height: 240, exact: false }],
    [
      'whole pixels of a screen of 1.5',
      { width: 640, height: 480 },
      1.5,
      { width: 640 / 1.5, height: 320, exact: true },
    ],
    ['any scale on a fine screen', { width: 400, height: 700 }, 3, { width: 400, height: 300, exact: false }],
    ['nothing while it is hidden', { width: 0, height: 0 }, 1, { width: 0, height: 0, exact: false }],
  ])('%s', (_, box, density, expected) => {
    expect(scaleDisplay(display, box, density)).toEqual(expected);
  });

  test('a display without a size is nowhere', () => {
    expect(scaleDisplay({ width: 0, height: 0 }, { width: 100, height: 100 }, 1).width).toBe(0);
  });
});

test('pixels of a framebuffer as a canvas has them', () => {
  const into = new Uint32Array(2);
  canvasPixels(Uint32Array.of(0x00112233, 0xffaabbcc), into);
  expect([...new Uint8Array(into.buffer)]).toEqual([0x11, 0x22, 0x33, 0xff, 0xaa, 0xbb, 0xcc, 0xff]);
});
