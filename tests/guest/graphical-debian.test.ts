/**
 * Debian on the screen, as it is installed from a disk with UEFI firmware: GRUB, a login on the console, then Xorg with a terminal, a window manager and
 * programs that draw, all through a viewer's keys and pointer. The keyboard is a German one. Takes minutes: DESKTOP=1, and WEBHYVE_FIRMWARE with the
 * folder of BHYVE_CODE.fd. Pictures of the steps go to artifacts/screenshots, or to the folder that WEBHYVE_SCREENSHOTS names.
 */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { ConsoleFont } from '../../devices/display/console-font.ts';
import type { Image } from '../../devices/display/display-user.ts';
import type { MachineDisplay } from '../../devices/display/machine-display.ts';
import { debianFile } from '../support/debian-package.ts';
import { debianSystemMissing } from '../support/debian-system.ts';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import { freePort } from '../support/free-port.ts';
import { graphicalDebian } from '../support/graphical-debian.ts';
import { grubMediaMissing } from '../support/grub-media.ts';
import { destroyTestMachines, scratchDirectory, testMachine, type TestMachine } from '../support/machine.ts';
import type { RfbClient } from '../support/rfb-client.ts';
import { openViewer } from '../support/rfb-viewer.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE_MS = 900_000;
const TITLE = 'Debian on the disk';
const [WIDTH, HEIGHT] = [800, 600];

/** X11's names for keys that write nothing, and characters that the German layout has on AltGr or Shift. */
const KEY_ENTER = 0xff0d;
const KEY_SHIFT = 0xffe1;
const KEY_CONTROL = 0xffe3;
const KEY_ALT_GR = 0xfe03;
const WITH_ALT_GR = '@{[]}\\~|€';
const WITH_SHIFT = /[A-ZÄÖÜ!"§$%&/()=?*';:_>°]/;

/** The root window's colour is the test's own, red is xterm's. */
const [WHITE, BLACK, GROUND, RED] = [0xffffff, 0, 0x204060, 0xcd0000];

const SCREEN = [0, 0, WIDTH, HEIGHT] as const;

type Region = readonly [x: number, y: number, width: number, height: number];

afterEach(destroyTestMachines);

function missing(): string | undefined {
  if (process.env['DESKTOP'] === undefined) return 'takes minutes: set DESKTOP=1';
  return firmwareMissing ?? grubMediaMissing() ?? debianSystemMissing();
}

/** Types as a viewer does whose user has a German keyboard: Shift and AltGr are keys of their own. */
async function type(client: RfbClient, text: string): Promise<void> {
  for (const character of text) {
    const modifier = WITH_ALT_GR.includes(character) ? KEY_ALT_GR : WITH_SHIFT.test(character) ? KEY_SHIFT : undefined;
    const keysym = character === '\n' ? KEY_ENTER : (character.codePointAt(0) ?? 0);
    if (modifier !== undefined) client.key(modifier, true);
    client.key(keysym, true);
    client.key(keysym, false);
    if (modifier !== undefined) client.key(modifier, false);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Pixels of a region that `accept` takes. */
function count({ width, pixels }: Image, [x, y, w, h]: Region, accept: (pixel: number) => boolean): number {
  let found = 0;
  for (let row = y; row < y + h; row++) {
    for (let at = row * width + x; at < row * width + x + w; at++) if (accept(pixels[at] ?? 0)) found++;
  }
  return found;
}

const is =
  (colour: number) =>
  (pixel: number): boolean =>
    pixel === colour;

/** The smallest region that holds what `accept` takes. */
function bounds(image: Image, [x, y, w, h]: Region, accept: (pixel: number) => boolean): Region {
  let [left, top, right, bottom] = [x + w, y + h, x, y];
  for (let row = y; row < y + h; row++) {
    for (let column = x; column < x + w; column++) {
      if (!accept(image.pixels[row * image.width + column] ?? 0)) continue;
      [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
      [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
    }
  }
  return [left, top, right - left, bottom - top];
}

async function keepPicture(display: MachineDisplay, name: string): Promise<void> {
  const folder = join(root, process.env['WEBHYVE_SCREENSHOTS'] ?? 'artifacts/screenshots');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `debian-${name}.png`), await display.png());
}

/** The machine, a viewer of it, and what the test sees. */
interface Desk {
  readonly guest: TestMachine;
  readonly client: RfbClient;
  readonly display: MachineDisplay;
  readonly font: ConsoleFont;
}

function sees({ display }: Desk, accept: (image: Image) => boolean): Promise<Image> {
  return display.waitForImage(accept, { timeout: PATIENCE_MS });
}

function reads({ display, font }: Desk, pattern: RegExp): Promise<unknown> {
  return display.waitForText(pattern, { font, timeout: PATIENCE_MS });
}

/** Waits until nothing has moved for a moment. */
function rest({ display }: Desk, quietMs = 500): Promise<Image> {
  return display.waitForRest(quietMs, { timeout: PATIENCE_MS });
}

/** From firmware to a shell of root on the screen. */
async function logIn(desk: Desk): Promise<void> {
  const { guest, client, display } = desk;
  await guest.com1.expect(TITLE, { timeout: PATIENCE_MS });
  await keepPicture(display, 'grub');
  await type(client, '\n');
  await reads(desk, /^debian login:/m);
  // A name that no system has: upper case, punctuation, AltGr.
  await type(client, 'Zy_X@[{~}]!?=\n');
  await reads(desk, /^debian login: Zy_X@\[\{~\}\]!\?=\n+Password:/m);
  await keepPicture(display, 'login');
  await type(client, '\n');
  await reads(desk, /Login incorrect\n+debian login:/m);
  await type(client, 'root\n');
  await reads(desk, /root@debian:~#/m);
  await keepPicture(display, 'console');
}

/** Xorg with a terminal, and then a window manager, a colour behind all, and eyes that follow the pointer. */
async function startX(desk: Desk): Promise<void> {
  const { guest, client, display } = desk;
  await type(client, 'startx /usr/bin/xterm -geometry 70x16+20+40\n');
  // 70 by 16 white characters where they were put, on black.
  const terminal: Region = [20, 40, 424, 214];
  await sees(desk, (image) => count(image, terminal, is(WHITE)) > 85_000 && count(image, SCREEN, is(WHITE)) < 95_000);
  // The keyboard follows the pointer: what is typed before that has arrived is lost.
  client.pointer(0, 300, 200);
  await sees(desk, (image) => count(image, [290, 190, 30, 30], is(BLACK)) > 20);
  const before = count(await rest(desk), terminal, is(BLACK));
  await keepPicture(display, 'xterm');
  await type(client, "echo '<Xterm: @{~}!>' > /dev/ttyS0\n");
  await guest.com1.expect('<Xterm: @{~}!>', { timeout: PATIENCE_MS });
  await sees(desk, (image) => count(image, terminal, is(BLACK)) > before + 300);

  await type(client, "xsetroot -solid '#204060'; twm & xeyes -geometry 200x140+560+30 & clear\n");
  const eyes: Region = [560, 30, 200, 160];
  await sees(
    desk,
    (image) => count(image, SCREEN, is(GROUND)) > 0.5 * WIDTH * HEIGHT && count(image, eyes, is(WHITE)) > 5000,
  );
  await rest(desk, 1000);
  await keepPicture(display, 'windows');
}

/** The pointer's picture goes as far as the pointer, to the pixel. */
async function point(desk: Desk): Promise<void> {
  const { client, display } = desk;
  const bare: Region = [470, 300, 320, 290];
  const other = (pixel: number): boolean => pixel !== GROUND;
  const pointerAt = async (x: number, y: number): Promise<Region> => {
    client.pointer(0, x, y);
    await sees(desk, (image) => count(image, [x - 20, y - 20, 40, 40], other) > 20);
    return bounds(await rest(desk), bare, other);
  };
  const [left, top, width, height] = await pointerAt(520, 350);
  expect(await pointerAt(681, 503)).toEqual([left + 161, top + 153, width, height]);
  await keepPicture(display, 'pointer');
}

/** The window manager moves the terminal by its title; returns where its white is then. */
async function moveTerminal(desk: Desk): Promise<Region> {
  const { client, display } = desk;
  const [titleX, titleY] = [200, 50];
  const drag = async (buttons: number, right: number, down: number): Promise<void> => {
    client.pointer(buttons, titleX + right, titleY + down);
    await rest(desk, 300);
  };
  await drag(0, 0, 0);
  const [x, y, width, height] = bounds(display.image(), [0, 0, 460, 300], is(WHITE));
  await drag(1, 0, 0);
  await drag(1, 15, 50);
  await drag(1, 25, 150);
  await drag(1, 30, 250);
  await drag(0, 30, 250);
  const moved: Region = [x + 30, y + 250, width, height];
  await sees(desk, (image) => count(image, moved, is(WHITE)) > 80_000);
  const image = await rest(desk);
  await keepPicture(display, 'moved');
  expect(bounds(image, [0, 280, 540, 320], is(WHITE))).toEqual(moved);
  // What it covered is drawn again.
  expect(count(image, [20, 60, 400, 150], is(GROUND))).toBe(400 * 150);
  return moved;
}

/** The terminal in colour, and gears that Mesa draws without a graphics card. */
async function turnGears(desk: Desk, terminal: Region): Promise<void> {
  const { guest, client, display } = desk;
  client.pointer(0, terminal[0] + 300, terminal[1] + 150);
  await type(client, "clear; printf '\\e[41m\\e[2J'\n");
  await sees(desk, (image) => count(image, terminal, is(RED)) > 80_000);
  await keepPicture(display, 'red');
  await type(client, 'glxgears -geometry 200x200+560+300 > /dev/ttyS0\n');
  const gears: Region = [560, 320, 204, 204];
  const channels = (pixel: number): number[] => [pixel >> 16, (pixel >> 8) & 0xff, pixel & 0xff];
  const mostly = (channel: number) => (pixel: number) =>
    channels(pixel).every((value, at) => (at === channel ? value > 0x80 : value < 0x60));
  await sees(desk, (image) => [0, 1, 2].every((channel) => count(image, gears, mostly(channel)) > 200));
  await keepPicture(display, 'gears');
  const [x, y, width, height] = gears;
  const first = display.image({ x, y, width, height });
  await sees(desk, () => {
    const now = display.image({ x, y, width, height });
    return now.pixels.filter((pixel, at) => pixel !== first.pixels[at]).length > 500;
  });
  // It reports every five seconds; the first time it has been compiling.
  await guest.com1.expect(/\d+ frames in [\d.]+ seconds/, { timeout: PATIENCE_MS });
  const { groups } = await guest.com1.expect(/(\d+) frames in ([\d.]+) seconds/, { timeout: PATIENCE_MS });
  console.log(`glxgears: ${groups[0]} frames in ${groups[1]} s`);
  expect(Number(groups[0])).toBeGreaterThan(1);
  client.key(KEY_CONTROL, true);
  await type(client, 'c');
  client.key(KEY_CONTROL, false);
  await sees(desk, (image) => count(image, gears, is(GROUND)) > 40_000);
}

test(
  'Debian: GRUB, a login, Xorg, a terminal, windows and what moves',
  { timeout: 2 * PATIENCE_MS },
  async (context) => {
    const reason = missing();
    if (reason !== undefined) context.skip(reason);
    const psf =
      debianFile('console-setup-linux', /consolefonts\/Lat15-Fixed16\.psf\.gz$/) ??
      context.skip('console-setup-linux cannot be fetched');
    const font = ConsoleFont.fromPsf(gunzipSync(readFileSync(psf)));
    const scratch = scratchDirectory();
    try {
      const [disk, variables] = [join(scratch.path, 'disk.img'), join(scratch.path, 'vars.fd')];
      graphicalDebian(disk, TITLE);
      copyFileSync(FIRMWARE_VARIABLES, variables);
      const port = await freePort();
      // The manual's line for a machine with a screen; port, paths and the keyboard are this test's.
      await using guest = await testMachine([
        ...['-c', '2', '-m', '4G', '-w', '-H', '-K', 'de', '-s', '0,hostbridge', '-s', `4,ahci-hd,${disk}`],
        ...['-s', '5,virtio-net,slirp', '-s', `29,fbuf,tcp=127.0.0.1:${port},w=${WIDTH},h=${HEIGHT},wait`],
        ...['-s', '30,xhci,tablet', '-s', '31,lpc', '-l', 'com1,stdio'],
        ...['-l', `bootrom,${FIRMWARE_CODE},${variables}`, 'uefivm'],
      ]);
      const { display } = guest.machine;
      if (!display) throw new Error('the machine has no display');
      guest.machine.start();
      const desk: Desk = { guest, display, font, client: await openViewer({ host: '127.0.0.1', port }) };
      await logIn(desk);
      await startX(desk);
      await point(desk);
      await turnGears(desk, await moveTerminal(desk));
      // What the viewer shows is what the guest has drawn.
      const shown = await rest(desk);
      desk.client.request(false);
      await desk.client.update();
      expect(desk.client.pixels.filter((pixel, at) => pixel !== shown.pixels[at]).length).toBeLessThan(300);
      // The terminal ends, and X with it: the console is there again.
      await type(desk.client, 'exit\n');
      await sees(desk, (image) => count(image, SCREEN, is(GROUND)) === 0);
      await type(desk.client, 'echo $((6*7)) again\n');
      await reads(desk, /^42 again/m);
      await keepPicture(display, 'console-again');
      expect(guest.machine.deviceErrors).toBe(0);
    } finally {
      scratch.remove();
    }
  },
);
