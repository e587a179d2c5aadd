/** The display in Chromium: a guest of our own that draws, and says which keys and pointer it sees. */
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CDPSession, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ISOLATION_HEADERS, serveStatic } from '../../host-node/web/static-server.ts';
import { contentSecurityPolicy } from '../../host-node/web/page-files.ts';
import {
  browserBundle,
  chromiumBrowser,
  chromiumMissing,
  closeChromium,
  openPage,
  servePage,
  takeScreenshots,
  waitForScreen,
  watchPage,
} from '../support/browser.ts';
import { DISPLAY_MACHINE, displayGuest, displayGuestMissing, squareColour } from '../support/display-guest.ts';

/** Pictures of every state are made for docs/screenshots alone. */
const DOCUMENTING = process.env['WEBHYVE_SCREENSHOTS'] !== undefined;

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

/** A place in the page's pixels. */
interface Place {
  readonly x: number;
  readonly y: number;
}

function hexColour(colour: number): string {
  return colour.toString(16).padStart(6, '0');
}

const KEY_A = 0x1e;

test('the page: a picture, keys by place, the mouse, pasted text', async () => {
  const server = await servePage([...DISPLAY_MACHINE, '-f', `multiboot,${kernel}`, 'vm']);
  const page = await (await chromiumBrowser()).newPage({ viewport: { width: 1280, height: 800 } });
  try {
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
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
    await openPage(page, server.origin);
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

/** What fingers do on the glass: `at` are the places of all that touch it. */
async function touch(devtools: CDPSession, type: 'touchStart' | 'touchMove' | 'touchEnd', at: Place[]): Promise<void> {
  await devtools.send('Input.dispatchTouchEvent', { type, touchPoints: at.map(({ x, y }, id) => ({ x, y, id })) });
}

/** The pointer's notes from the page to its machine, as `buttons x y`, without repetitions. */
function pointerNotes(page: Page): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { pointerNotes: string[] }).pointerNotes.splice(0));
}

test('fingers: one drags with the left button, two that tap are the right one, two that move turn the wheel', async () => {
  const server = await servePage([...DISPLAY_MACHINE, '-f', `multiboot,${kernel}`, 'vm']);
  const phone = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 3, hasTouch: true, isMobile: true };
  const context = await (await chromiumBrowser()).newContext(phone);
  const page = await context.newPage();
  try {
    const complaints = await watchPage(page);
    await page.addInitScript(() => {
      const notes: string[] = [];
      Object.assign(globalThis, { pointerNotes: notes });
      const post: (this: Worker, message: unknown, transfer: Transferable[]) => void = Worker.prototype.postMessage;
      const watched = function (this: Worker, message: unknown, transfer: Transferable[] = []): void {
        const { name, data } = message as { name?: string; data?: { buttons: number; x: number; y: number } };
        if (name === 'pointer' && data) notes.push(`${data.buttons} ${data.x} ${data.y}`);
        post.call(this, message, transfer);
      };
      Object.assign(Worker.prototype, { postMessage: watched });
    });
    await openPage(page, server.origin);
    await page.tap('#start');
    await page.waitForSelector('body[data-state=running]');
    await expect.poll(() => colours(page, STRIPES), { timeout: 60_000 }).toEqual(STRIPE_COLOURS);
    // What the page says of a machine that runs moves nothing.
    const canvas = await page.waitForSelector('canvas');
    const box = await canvas.boundingBox();
    await expect.poll(() => page.textContent('#memory')).toContain('touched');
    expect(await canvas.boundingBox()).toEqual(box);
    if (!box) throw new Error('the canvas is not shown');
    // The picture of 640 pixels is scaled to the phone's width.
    const place = (x: number, y: number): Place => ({
      x: box.x + ((x + 0.5) * box.width) / 640,
      y: box.y + ((y + 0.5) * box.height) / 480,
    });
    const devtools = await context.newCDPSession(page);

    await touch(devtools, 'touchStart', [place(100, 100)]);
    // Longer than a second finger may take.
    await page.waitForTimeout(200);
    await touch(devtools, 'touchMove', [place(220, 160)]);
    await touch(devtools, 'touchEnd', []);
    const dragged = await pointerNotes(page);
    expect(dragged[0]).toBe('0 100 100');
    expect(dragged).toContain('1 100 100');
    expect(dragged).toContain('1 220 160');
    // The browser has its own idea of where a finger that moved has left the glass.
    const [released = '', x = 0, y = 0] = dragged.at(-1)?.split(' ').map(Number) ?? [];
    expect(released).toBe(0);
    expect(Math.hypot(x - 220, y - 160)).toBeLessThan(16);

    const [one, other] = [place(300, 200), place(360, 200)];
    await touch(devtools, 'touchStart', [one]);
    await touch(devtools, 'touchStart', [one, other]);
    await touch(devtools, 'touchEnd', []);
    // Where the first finger was; RFB's button 3. The left button was never down.
    expect(await pointerNotes(page)).toEqual(['0 300 200', '4 300 200', '0 300 200']);

    await touch(devtools, 'touchStart', [one]);
    await touch(devtools, 'touchStart', [one, other]);
    for (const movedPx of [12, 24, 36, 48]) {
      await touch(
        devtools,
        'touchMove',
        [one, other].map(({ x, y }) => ({ x, y: y + movedPx })),
      );
    }
    await touch(devtools, 'touchEnd', []);
    const turned = await pointerNotes(page);
    // Fingers that go down pull the page down, which a wheel does that is turned up: RFB's button 4, and no click at the end.
    expect(turned.filter((note) => note.startsWith('8 '))).toHaveLength(2);
    expect(turned.filter((note) => !/^[08] /.test(note))).toEqual([]);

    await page.tap('#tab-console-com1');
    const text = await waitForScreen(page, /m 02 00 00\nm 00 00 00/);
    expect(text).toMatch(/m 01 00 00\nm 01 [0-9a-f]{2} [0-9a-f]{2}\n(m 01 .*\n)*m 00 00 00/);
    expect(complaints.errors).toEqual([]);
  } finally {
    await context.close();
    await server.close();
  }
});

test('full screen: the picture grows by whole pixels, and every key is the guest’s', async () => {
  const server = await servePage([...DISPLAY_MACHINE, '-f', `multiboot,${kernel}`, 'vm']);
  const page = await (await chromiumBrowser()).newPage({ viewport: { width: 1400, height: 1100 } });
  try {
    const complaints = await watchPage(page);
    await openPage(page, server.origin);
    await page.click('#start');
    await expect.poll(() => colours(page, STRIPES), { timeout: 60_000 }).toEqual(STRIPE_COLOURS);
    const shown = (): Promise<unknown> =>
      page.evaluate(() => ({
        full: document.fullscreenElement?.className,
        width: document.querySelector('canvas')?.clientWidth,
        focus: document.activeElement?.className,
      }));
    // Beside command line and status line there is no room for twice the size.
    expect(await shown()).toEqual({ full: undefined, width: 640, focus: 'display-screen' });
    await page.getByRole('button', { name: 'Full screen' }).click();
    await expect.poll(shown).toEqual({ full: 'display-panel', width: 1280, focus: 'display-screen' });
    for (const key of ['F6', 'Escape', 'F1']) await page.keyboard.press(key);
    expect(await page.isVisible('#help')).toBe(false);
    if (DOCUMENTING) await takeScreenshots(page, 'full-screen');
    await page.getByRole('button', { name: 'Leave full screen' }).click();
    await expect.poll(shown).toMatchObject({ full: undefined, width: 640 });
    // Out of full screen F6 is the page's again.
    await page.focus('.display-screen');
    await page.keyboard.press('F6');
    expect(await shown()).not.toMatchObject({ focus: 'display-screen' });
    await page.click('#tab-console-com1');
    const text = await waitForScreen(page, /^k bb$/m);
    const codes = [...text.matchAll(/^k (..)$/gm)].map(([, code]) => code).join(' ');
    expect(codes).toBe('40 c0 01 81 3b bb');
    expect(complaints.errors).toEqual([]);
  } finally {
    await page.close();
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
