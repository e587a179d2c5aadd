/**
 * The viewers that people have: vncsnapshot, gvnccapture (gvncviewer), TigerVNC's viewer and noVNC in Chromium see the colours of a running machine, and
 * the two with a keyboard type and point. The guest is one of our own (tests/guest/asm/display-echo.asm). What is not installed is skipped by name.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, type TestContext } from 'vitest';
import { chromiumBrowser, chromiumMissing, closeChromium } from '../support/browser.ts';
import { displayGuest, displayGuestMissing } from '../support/display-guest.ts';
import { freePort } from '../support/free-port.ts';
import { hostRun } from '../support/host-programs.ts';
import {
  BASIC_ARGS,
  destroyTestMachines,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const PATIENCE_MS = 60_000;
const [WIDTH, HEIGHT] = [640, 480];
/** The guest's stripes, from left to right: 0xRRGGBB. */
const STRIPES = [0xff0000, 0x00ff00, 0x0000ff, 0xffffff];
/** Of RFB's "display 0". */
const FIRST_PORT = 5900;

let scratch = { path: '', remove: (): void => {} };
const children: ChildProcess[] = [];
beforeEach(() => {
  scratch = scratchDirectory();
});
afterEach(async () => {
  for (const child of children.splice(0).reverse()) {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await gone;
  }
  await closeChromium();
  await destroyTestMachines();
  scratch.remove();
});

/** Skips the test when a program is missing. */
function needs(context: TestContext, programs: Readonly<Record<string, string>>): void {
  if (displayGuestMissing !== undefined) context.skip(displayGuestMissing);
  for (const [program, debianPackage] of Object.entries(programs)) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) {
      context.skip(`${program} is not installed (Debian's package ${debianPackage})`);
    }
  }
}

/** The guest on a port of 127.0.0.1, as a number and as RFB's display. */
async function start(
  options = '',
  words: readonly string[] = [],
): Promise<{ guest: TestMachine; port: number; display: number }> {
  const kernel = readFileSync(displayGuest(scratch.path));
  let port = 0;
  while (port < FIRST_PORT) port = await freePort();
  const fbuf = `29,fbuf,w=${WIDTH},h=${HEIGHT},rfb=127.0.0.1:${port},viewers=2${options}`;
  const argv = [...BASIC_ARGS, ...words, '-m', '64M', '-s', fbuf, '-f', 'multiboot,/payload', 'viewers'];
  const guest = await testMachine(argv, { readFile: () => Promise.resolve(kernel) });
  guest.machine.start();
  await guest.com1.expect('ready', { timeout: PATIENCE_MS });
  return { guest, port, display: port - FIRST_PORT };
}

/** Colours in the middle of the four stripes of a picture file. */
function stripesOf(file: string): number[] {
  const size = execFileSync('identify', ['-format', '%w %h', file], { encoding: 'utf8' });
  expect(size).toBe(`${WIDTH} ${HEIGHT}`);
  const pixels = execFileSync('convert', [file, '-depth', '8', 'rgb:-'], { maxBuffer: 1 << 24 });
  return STRIPES.map((_, stripe) => pixels.readUIntBE(3 * ((HEIGHT / 2) * WIDTH + (stripe + 0.5) * (WIDTH / 4)), 3));
}

/** Every channel of every stripe within `tolerance` of what the guest has drawn. */
function expectStripes(seen: readonly number[], tolerance: number): void {
  const channels = (colours: readonly number[]): number[] =>
    colours.flatMap((colour) => [colour >> 16, (colour >> 8) & 0xff, colour & 0xff]);
  const wanted = channels(STRIPES);
  const wrong = channels(seen).filter((value, at) => Math.abs(value - (wanted[at] ?? 0)) > tolerance);
  expect(wrong, `colours ${seen.map((colour) => colour.toString(16)).join()}`).toEqual([]);
}

/** Waits until the keyboard has sent these bytes, in hexadecimal, since `from`. */
async function keysSince(guest: TestMachine, from: number, bytes: string): Promise<void> {
  const codes = (): string =>
    [...guest.com1.transcript.slice(from).matchAll(/k ([0-9a-f]{2})/g)].map(([, code]) => code).join(' ');
  await expect.poll(codes, { timeout: PATIENCE_MS }).toBe(bytes);
}

/** How far the guest's mouse has moved since `from` (in steps below 128), and the buttons that it has seen pressed. */
function mouseSince(guest: TestMachine, from: number): { x: number; y: number; buttons: number } {
  const sum = { x: 0, y: 0, buttons: 0 };
  for (const [, buttons = '', x = '', y = ''] of guest.com1.transcript
    .slice(from)
    .matchAll(/m ([0-9a-f]{2}) ([0-9a-f]{2}) ([0-9a-f]{2})/g)) {
    const distance = (text: string): number => (parseInt(text, 16) << 24) >> 24;
    sum.buttons |= parseInt(buttons, 16);
    sum.x += distance(x);
    sum.y -= distance(y);
  }
  return sum;
}

test('vncsnapshot sees the colours', { timeout: 2 * PATIENCE_MS }, async (context) => {
  needs(context, { vncsnapshot: 'vncsnapshot', identify: 'imagemagick' });
  const { display } = await start();
  const file = join(scratch.path, 'screen.jpg');
  await hostRun('vncsnapshot', ['-quality', '100', `127.0.0.1:${display}`, file]);
  // JPEG is not exact.
  expectStripes(stripesOf(file), 4);
});

test('gvnccapture sees the colours', { timeout: 2 * PATIENCE_MS }, async (context) => {
  needs(context, { gvnccapture: 'gvncviewer', identify: 'imagemagick' });
  const { display } = await start();
  const file = join(scratch.path, 'screen.png');
  await hostRun('gvnccapture', ['-q', `127.0.0.1:${display}`, file]);
  expectStripes(stripesOf(file), 0);
});

/** An X server without a screen; resolves with its display's name and the file of its picture. */
async function virtualScreen(): Promise<{ name: string; picture: string }> {
  const child = spawn(
    'Xvfb',
    ['-displayfd', '3', '-screen', '0', '1024x768x24', '-fbdir', scratch.path, '-nolisten', 'tcp'],
    {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    },
  );
  children.push(child);
  const number = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.stdio[3]?.once('data', (bytes: Buffer) => resolve(bytes.toString().trim()));
  });
  return { name: `:${number}`, picture: join(scratch.path, 'Xvfb_screen0') };
}

test('TigerVNC: colours, a German keyboard, the pointer at a pixel', { timeout: 3 * PATIENCE_MS }, async (context) => {
  needs(context, {
    ...{ xtigervncviewer: 'tigervnc-viewer', Xvfb: 'xvfb', xdotool: 'xdotool' },
    ...{ identify: 'imagemagick' },
  });
  const { guest, port } = await start('', ['-K', 'de']);
  const screen = await virtualScreen();
  const env = { ...process.env, DISPLAY: screen.name, HOME: scratch.path };
  const x = (program: string, ...words: string[]): string => execFileSync(program, words, { env, encoding: 'utf8' });
  const viewer = spawn('xtigervncviewer', ['-geometry', '+0+0', '-ReconnectOnError=0', `127.0.0.1::${port}`], {
    env,
    stdio: 'ignore',
  });
  children.push(viewer);
  let window = '';
  await expect
    .poll(
      () =>
        (window = spawnSync('xdotool', ['search', '--onlyvisible', '--name', 'TigerVNC'], {
          env,
          encoding: 'utf8',
        }).stdout.trim()),
      { timeout: PATIENCE_MS },
    )
    .toMatch(/^\d+$/);
  // Without a window manager the picture is the window.
  const geometry = x('xdotool', 'getwindowgeometry', '--shell', window);
  const number = (name: string): number => Number(new RegExp(`^${name}=(-?\\d+)$`, 'm').exec(geometry)?.[1]);
  expect([number('WIDTH'), number('HEIGHT')]).toEqual([WIDTH, HEIGHT]);
  const [left, top] = [number('X'), number('Y')];
  const shown = (): number[] => {
    const part = `${WIDTH}x${HEIGHT}+${left}+${top}`;
    const pixels = execFileSync('convert', [`xwd:${screen.picture}`, '-crop', part, '-depth', '8', 'rgb:-'], {
      maxBuffer: 1 << 24,
    });
    return STRIPES.map((_, stripe) => pixels.readUIntBE(3 * ((HEIGHT / 2) * WIDTH + (stripe + 0.5) * (WIDTH / 4)), 3));
  };
  await expect.poll(shown, { timeout: PATIENCE_MS }).toEqual(STRIPES);

  // What it sends are the keys' places, by X's key codes: in a guest with a German layout Z, ! and @. By their characters, Y would be elsewhere.
  x('xdotool', 'mousemove', String(left + 100), String(top + 100));
  x('xdotool', 'windowfocus', '--sync', window);
  let from = guest.com1.transcript.length;
  x('xdotool', 'key', '50+29');
  await keysSince(guest, from, '2a 15 aa 95');
  from = guest.com1.transcript.length;
  x('xdotool', 'key', '50+10', '108+24');
  await keysSince(guest, from, '2a 02 aa 82 e0 38 10 e0 b8 90');

  // Under xdotool the viewer tells of the pointer at clicks; between two of them the guest's mouse has gone as far as the pointer.
  x('xdotool', 'click', '1');
  await expect.poll(() => mouseSince(guest, 0).buttons, { timeout: PATIENCE_MS }).toBe(1);
  await guest.com1.expect('m 00 00 00', { timeout: PATIENCE_MS });
  from = guest.com1.transcript.length;
  x('xdotool', 'mousemove', String(left + 217), String(top + 203));
  x('xdotool', 'click', '3');
  await expect.poll(() => mouseSince(guest, from), { timeout: PATIENCE_MS }).toEqual({ x: 117, y: 103, buttons: 2 });
});

test('noVNC in Chromium: colours, keys, the pointer', { timeout: 3 * PATIENCE_MS }, async (context) => {
  needs(context, {});
  if (chromiumMissing !== undefined) context.skip(chromiumMissing);
  const { guest } = await start(`,web=127.0.0.1:${await freePort()}`);
  const url = /http:\S+/.exec(guest.messages.join('\n'))?.[0];
  if (url === undefined) throw new Error(`no address in ${guest.messages.join('\n')}`);
  const browser = await chromiumBrowser();
  const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  await page.goto(url);
  const canvas = page.locator('#screen canvas');
  const shown = (): Promise<number[]> =>
    canvas.evaluate((element, count) => {
      const { width, height } = element as HTMLCanvasElement;
      const context2d = (element as HTMLCanvasElement).getContext('2d');
      return Array.from({ length: count }, (_, stripe) => {
        const [red = 0, green = 0, blue = 0] =
          context2d?.getImageData(((stripe + 0.5) * width) / count, height / 2, 1, 1).data ?? [];
        return (red << 16) | (green << 8) | blue;
      });
    }, STRIPES.length);
  await canvas.waitFor({ timeout: PATIENCE_MS });
  await expect.poll(shown, { timeout: PATIENCE_MS }).toEqual(STRIPES);

  await canvas.hover({ position: { x: 100, y: 100 } });
  await canvas.focus();
  let from = guest.com1.transcript.length;
  await page.keyboard.press('Shift+KeyY');
  await page.keyboard.press('Digit7');
  await keysSince(guest, from, '2a 15 95 aa 08 88');
  from = guest.com1.transcript.length;
  await page.mouse.move(217, 203);
  await page.mouse.down();
  await page.mouse.up();
  await expect.poll(() => mouseSince(guest, from), { timeout: PATIENCE_MS }).toEqual({ x: 117, y: 103, buttons: 1 });
  expect(problems).toEqual([]);
});
