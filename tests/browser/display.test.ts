/** The display in Chromium: a guest of our own that draws, and says which keys and pointer it sees. */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ISOLATION_HEADERS, serveStatic } from '../../host-node/web/static-server.ts';
import { contentSecurityPolicy } from '../../host-node/web/page-files.ts';
import {
  browserBundle,
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  servePage,
  takeScreenshots,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { DISPLAY_MACHINE, displayGuest, displayGuestMissing, squareColour } from '../support/display-guest.ts';

let folder = '';
let kernel = '';

beforeEach((context) => {
  const reason = chromiumMissing ?? displayGuestMissing;
  if (reason !== undefined) context.skip(reason);
});
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webhyve-display-'));
  if (displayGuestMissing === undefined) kernel = displayGuest(folder);
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await closeChromium();
});

/** What the canvas has at places of the display: colours 0xRRGGBB. */
function colours(page: Page, places: readonly (readonly [x: number, y: number])[]): Promise<string[]> {
  return page.evaluate((list) => {
    const element = document.querySelector('webhyve-machine');
    const canvas = (element?.shadowRoot ?? document).querySelector('canvas');
    const copy = new OffscreenCanvas(640, 480);
    const context = copy.getContext('2d');
    if (!canvas || !context) return [];
    context.drawImage(canvas, 0, 0);
    return list.map(([x, y]) => {
      const [red = 0, green = 0, blue = 0] = context.getImageData(x, y, 1, 1).data;
      return ((red << 16) | (green << 8) | blue).toString(16).padStart(6, '0');
    });
  }, places);
}

const STRIPES = [
  [100, 400],
  [200, 400],
  [400, 400],
  [600, 400],
] as const;
const STRIPE_COLOURS = ['ff0000', '00ff00', '0000ff', 'ffffff'];

function hexColour(colour: number): string {
  return colour.toString(16).padStart(6, '0');
}

const KEY_A = 0x1e;

test('the page: a picture, keys by place, the mouse, pasted text', async () => {
  const server = await servePage([...DISPLAY_MACHINE, '-f', `multiboot,${kernel}`, 'vm']);
  const page = await (await chromiumBrowser()).newPage({ viewport: { width: 1280, height: 800 } });
  try {
    const complaints = await watchPage(page);
    await page.goto(server.origin);
    await page.click('#start');
    await page.waitForSelector('body[data-state=running]');
    expect(await page.getAttribute('#tab-console-display', 'aria-selected')).toBe('true');
    await expect.poll(() => colours(page, STRIPES), { timeout: 60_000 }).toEqual(STRIPE_COLOURS);
    // A pixel of the display is a square of the screen's pixels.
    const size = await page.evaluate(() => {
      const canvas = document.querySelector('canvas');
      return canvas && { width: canvas.clientWidth, rendering: canvas.style.imageRendering };
    });
    expect(size).toEqual({ width: 640, rendering: 'pixelated' });

    // The page's layout has no say: the code is the key's place, whatever the key writes.
    await page.keyboard.press('KeyA');
    await expect.poll(() => colours(page, [[16, 16]]), { timeout: 60_000 }).toEqual([hexColour(squareColour(KEY_A))]);
    await page.keyboard.press('Shift+KeyB');
    await page.keyboard.press('ArrowUp');
    // F1 is the guest's here, and no help opens.
    await page.keyboard.press('F1');
    expect(await page.isVisible('#help')).toBe(false);
    await page.evaluate(() => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', 'z!');
      document.activeElement?.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
    });
    await takeScreenshots(page, 'display');
    const canvas = await page.waitForSelector('canvas');
    const box = await canvas.boundingBox();
    if (!box) throw new Error('the canvas is not shown');
    await page.mouse.move(box.x + 100, box.y + 50);
    await page.mouse.down({ button: 'right' });
    await page.mouse.up({ button: 'right' });

    await page.click('#tab-console-com1');
    const text = await waitForScreen(page, /m 02 00 00\nm 00 00 00/);
    const codes = [...text.matchAll(/^k (..)$/gm)].map(([, code]) => code).join(' ');
    expect(codes).toContain('1e 9e 2a 30 b0 aa e0 48 e0 c8 3b bb');
    // z, and ! with Shift held.
    expect(codes).toContain('2c ac 2a 02 82 aa');
    expect(complaints.errors).toEqual([]);

    // The machine ends and starts again: the display has a new canvas.
    await page.click('#reset');
    await page.click('#tab-console-display');
    await expect
      .poll(() => colours(page, [[16, 16], ...STRIPES]), { timeout: 60_000 })
      .toEqual(['ff0000', ...STRIPE_COLOURS]);
    await page.click('#turn-off');
    await page.waitForSelector('body[data-state=off]');
    expect(complaints.errors).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});

test('a phone: keys on the screen, and fingers', async () => {
  const server = await servePage([...DISPLAY_MACHINE, '-f', `multiboot,${kernel}`, 'vm']);
  const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 3, hasTouch: true, isMobile: true };
  const context = await (await chromiumBrowser()).newContext(phone);
  const page = await context.newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(server.origin);
    await page.tap('#start');
    await page.waitForSelector('body[data-state=running]');
    await expect.poll(() => colours(page, STRIPES), { timeout: 60_000 }).toEqual(STRIPE_COLOURS);
    // A device without a keyboard gets one, and nothing of the page is cut off.
    await page.waitForSelector('.screen-keys:not([hidden])');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    const label = (code: string): Promise<string | null> => page.textContent(`.screen-key[data-code=${code}]`);
    expect([await label('KeyA'), await label('Digit1')]).toEqual(['a', '1']);
    await page.tap('.screen-key[data-code=ShiftLeft]');
    expect([await label('KeyA'), await label('Digit1')]).toEqual(['A', '!']);
    await page.tap('.screen-key[data-code=KeyA]');
    expect(await page.getAttribute('.screen-key[data-code=ShiftLeft]', 'aria-pressed')).toBe('false');
    await page.tap('.screen-key[data-code=Enter]');
    await page.tap('canvas', { position: { x: 40, y: 30 } });
    await expect.poll(() => colours(page, [[16, 16]]), { timeout: 60_000 }).toEqual([hexColour(squareColour(0x2a))]);
    await takeScreenshots(page, 'display-keys');
    await page.tap('#tab-console-com1');
    const text = await waitForScreen(page, /m 01 00 00\nm 00 00 00/);
    const codes = [...text.matchAll(/^k (..)$/gm)].map(([, code]) => code).join(' ');
    expect(codes).toContain('2a 1e 9e aa 1c 9c');
    expect(complaints.errors).toEqual([]);
  } finally {
    await context.close();
    await server.close();
  }
});

test('the element and the library: a display on a page of its own', async () => {
  const bundle = await browserBundle();
  for (const name of readdirSync(bundle)) copyFileSync(join(bundle, name), join(folder, name));
  writeFileSync(
    join(folder, 'index.html'),
    `<!doctype html><meta charset="utf-8"><title>t</title><script type="module" src="./element.js"></script>
    <webhyve-machine args="${DISPLAY_MACHINE.join(' ')} vm" kernel="display-echo.bin" autostart></webhyve-machine>`,
  );
  const find = (path: string): { file: string } => ({ file: join(folder, path === '/' ? 'index.html' : path) });
  const headers = { ...ISOLATION_HEADERS, 'content-security-policy': contentSecurityPolicy(['data:']) };
  const server = await serveStatic({ find, headers }, '127.0.0.1', 0);
  const page = await (await chromiumBrowser()).newPage();
  try {
    const complaints = await watchPage(page);
    await page.goto(server.origin);
    await expect.poll(() => colours(page, STRIPES), { timeout: 60_000 }).toEqual(STRIPE_COLOURS);
    const seen = await page.evaluate(async (colour) => {
      const { machine } = document.querySelector('webhyve-machine') ?? {};
      if (!machine?.display) throw new Error('no display');
      await machine.consoles['com1']?.expect('ready', { timeout: 60_000 });
      const { display } = machine;
      const before = await display.image({ x: 639, y: 479, width: 1, height: 1 });
      const changed = display.waitForImage(({ pixels }) => pixels[0] === colour, {
        timeout: 60_000,
      });
      await display.type('a');
      const { width, height } = await changed;
      const refused = await display.type('a\u0416').catch((error: unknown) => String(error));
      const png = [...(await display.png()).subarray(1, 4)].map((byte) => String.fromCharCode(byte)).join('');
      await machine.fs.write('in/a.txt', 'text');
      const files = [await machine.fs.list('in'), await machine.fs.readText('in/a.txt'), await machine.fs.exists('b')];
      return { before: [...before.pixels], size: { width, height }, refused, png, files };
    }, squareColour(KEY_A));
    expect(seen).toEqual({
      before: [0xffffff],
      size: { width: 640, height: 480 },
      refused: 'RangeError: no key of layout us writes "\u0416"',
      png: 'PNG',
      files: [['a.txt'], 'text', false],
    });
    // The button shows the console instead.
    await page.click('text=Console');
    await expect.poll(() => page.isVisible('.xterm')).toBe(true);
    expect(complaints.errors.filter((text) => !text.includes('404'))).toEqual([]);
  } finally {
    await page.close();
    await server.close();
  }
});
