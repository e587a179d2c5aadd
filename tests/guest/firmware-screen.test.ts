/**
 * EDK2's BHYVE firmware on the screen: the manual's UEFI examples with a viewer. WEBHYVE_FIRMWARE names a folder with BHYVE_CODE.fd and
 * BHYVE_VARS.fd. Pictures of the steps go to artifacts/screenshots, or to the folder that WEBHYVE_SCREENSHOTS names.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Image } from '../../devices/display/display-user.ts';
import type { MachineDisplay } from '../../devices/display/machine-display.ts';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import { freePort } from '../support/free-port.ts';
import { grubMediaMissing, makeBootDisc, makeBootDisk, type BootMedia } from '../support/grub-media.ts';
import type { RfbClient } from '../support/rfb-client.ts';
import { openViewer } from '../support/rfb-viewer.ts';
import {
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PATIENCE_MS = 600_000;
const KEY_ENTER = 0xff0d;
const KEY_ESCAPE = 0xff1b;
const KEY_DOWN = 0xff54;
const KEY_SHIFT = 0xffe1;

let scratch = { path: '', remove: (): void => {} };
beforeEach((context) => {
  if (firmwareMissing !== undefined) context.skip(firmwareMissing);
  scratch = scratchDirectory();
});
afterEach(async () => {
  await destroyTestMachines();
  scratch.remove();
});

/** The manual's words; address, firmware and disks are this test's. */
function uefiArgs(screen: string, rom: string, disks: readonly string[] = []): string[] {
  return [
    ...['-c', '2', '-m', '4G', '-w', '-H', '-s', '0,hostbridge', ...disks, '-s', `29,fbuf,${screen}`],
    ...['-s', '30,xhci,tablet', '-s', '31,lpc', '-l', 'com1,stdio', '-l', `bootrom,${rom}`, 'uefivm'],
  ];
}

/** Firmware with variables of this test, and a screen at a socket of this test. */
function screenArgs(options: string): string[] {
  const variables = join(scratch.path, 'vars.fd');
  if (!existsSync(variables)) copyFileSync(FIRMWARE_VARIABLES, variables);
  return uefiArgs(`tcp=unix:${join(scratch.path, 'vnc')},w=800,h=600${options}`, `${FIRMWARE_CODE},${variables}`);
}

/** Firmware as FreeBSD's package has it: one file, the variables in front. */
function wholeFirmware(): string {
  const whole = join(scratch.path, 'BHYVE_UEFI.fd');
  writeFileSync(whole, Buffer.concat([readFileSync(FIRMWARE_VARIABLES), readFileSync(FIRMWARE_CODE)]));
  return whole;
}

function press(client: RfbClient, keysym: number): void {
  client.key(keysym, true);
  client.key(keysym, false);
}

/** Types a line in a moment, as pasted text comes. Firmware's driver keeps 32 scan codes and forgets the oldest: the keyboard waits for it. */
function type(client: RfbClient, text: string): void {
  for (const character of text) {
    const shifted = /[A-Z_!"<>:@?|]/.test(character);
    if (shifted) client.key(KEY_SHIFT, true);
    press(client, character === '\r' ? KEY_ENTER : character.charCodeAt(0));
    if (shifted) client.key(KEY_SHIFT, false);
  }
}

/** Pixels of a colour in a part of the picture. */
function count(
  { width, pixels }: Image,
  colour: number,
  [x, y, w, h]: readonly [number, number, number, number],
): number {
  let found = 0;
  for (let row = y; row < y + h; row++) {
    for (let at = row * width + x; at < row * width + x + w; at++) if (pixels[at] === colour) found++;
  }
  return found;
}

function displayOf({ machine }: TestMachine): MachineDisplay {
  if (!machine.display) throw new Error('the machine has no display');
  return machine.display;
}

async function keepPicture(display: MachineDisplay, name: string): Promise<void> {
  const folder = join(root, process.env['WEBHYVE_SCREENSHOTS'] ?? 'artifacts/screenshots');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `firmware-${name}.png`), await display.png());
}

/** Waits for the logo in the middle: white ground, and TianoCore's orange. */
async function seeLogo(display: MachineDisplay): Promise<void> {
  await display.waitForImage(
    (image) => {
      const orange = image.pixels.filter((pixel) => (pixel & 0xff0000) === 0xff0000 && (pixel & 0xff) < 0x40).length;
      return count(image, 0xffffff, [303, 271, 193, 58]) > 3000 && orange > 200;
    },
    { timeout: PATIENCE_MS },
  );
}

/** Firmware's prompt, without the five seconds that it waits for. */
async function seeShell({ com1 }: TestMachine, client: RfbClient): Promise<void> {
  await com1.expect('startup.nsh', { timeout: PATIENCE_MS });
  press(client, KEY_ESCAPE);
  await com1.expect('Shell>', { timeout: PATIENCE_MS });
}

/** Types until the answer comes: what is typed before somebody reads it is lost. */
async function untilAnswered(
  com1: TestMachine['com1'],
  text: string,
  answer: string,
  client: RfbClient,
): Promise<void> {
  for (let answered = false; !answered;) {
    type(client, text);
    answered = await com1.expect(answer, { timeout: 10_000 }).then(
      () => true,
      () => false,
    );
  }
}

test('wait, logo, Shell, and a snapshot with a key held', { timeout: PATIENCE_MS }, async () => {
  await using guest = await testMachine(screenArgs(',wait'));
  const display = displayOf(guest);
  guest.machine.start();
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Nothing runs before somebody looks.
  expect([guest.machine.running, guest.com1.transcript]).toEqual([false, '']);
  const client = await openViewer({ path: join(scratch.path, 'vnc') });
  await seeLogo(display);
  await keepPicture(display, 'logo');
  await seeShell(guest, client);
  await untilAnswered(guest.com1, 'echo A-b_C!\r', '\nA-b_C!', client);
  // What the viewer shows is what the guest has drawn.
  await display.waitForRest(500, { timeout: PATIENCE_MS });
  await keepPicture(display, 'shell');
  client.request(false);
  await client.update();
  const shown = display.image();
  expect([client.width, client.height]).toEqual([800, 600]);
  expect(client.pixels.filter((pixel, at) => pixel !== shown.pixels[at]).length).toBeLessThan(300);
  // The Shell's prompt is yellow on black.
  expect(count(shown, 0xffff00, [0, 0, 800, 600]) + count(shown, 0xffff55, [0, 0, 800, 600])).toBeGreaterThan(50);

  client.key(KEY_SHIFT, true);
  const state = await guest.machine.snapshot();
  await guest.machine.destroy();
  await using copy = await testMachine(screenArgs(''));
  await copy.machine.restore(state);
  copy.machine.start();
  // The viewer that held Shift is gone, and Shift with it.
  displayOf(copy).type('echo held\n');
  await copy.com1.expect('\nheld', { timeout: PATIENCE_MS });
  expect(displayOf(copy).size).toEqual({ width: 800, height: 600 });
});

test('setup, the boot manager, and variables that are kept', { timeout: PATIENCE_MS }, async () => {
  const VARIABLE = 'Kept -guid 12345678-1234-1234-1234-123456789abc';
  {
    await using guest = await testMachine(screenArgs(''));
    const display = displayOf(guest);
    guest.machine.start();
    const client = await openViewer({ path: join(scratch.path, 'vnc') });
    await seeShell(guest, client);
    await untilAnswered(guest.com1, `setvar ${VARIABLE} -bs -nv =5a6b\rsetvar ${VARIABLE}\r`, '5A 6B', client);
    await untilAnswered(guest.com1, 'exit\r', 'Boot Manager', client);
    await display.waitForRest(500, { timeout: PATIENCE_MS });
    await keepPicture(display, 'setup');
    press(client, KEY_DOWN);
    press(client, KEY_DOWN);
    await display.waitForRest(500, { timeout: PATIENCE_MS });
    press(client, KEY_ENTER);
    await guest.com1.expect('EFI Internal Shell', { timeout: PATIENCE_MS });
    await display.waitForRest(500, { timeout: PATIENCE_MS });
    await keepPicture(display, 'boot-manager');
  }
  await using guest = await testMachine(screenArgs(''));
  guest.machine.start();
  const client = await openViewer({ path: join(scratch.path, 'vnc') });
  await seeShell(guest, client);
  await untilAnswered(guest.com1, `setvar ${VARIABLE}\r`, '5A 6B', client);
});

/** What the installation disc and the disk hold: GRUB with a menu, and Linux whose console is the screen. */
async function consoleMedia(title: string): Promise<BootMedia> {
  const { kernel, initrd } = await linuxGuest();
  return {
    config: [
      ...['set timeout=5', `menuentry "${title}" {`, 'search --no-floppy --set=root --file /linux'],
      // A cursor that blinks would let the picture rest only by chance.
      'linux /linux console=ttyS0 console=tty0 vt.global_cursor_default=0 cryptomgr.notests',
      ...['initrd /initrd', '}'],
    ],
    files: { '/linux': kernel, '/initrd': initrd },
  };
}

/** GRUB's menu and then Linux's console on the screen, by a viewer. */
async function seeConsole(guest: TestMachine, client: RfbClient, title: string, name: string): Promise<void> {
  const display = displayOf(guest);
  await guest.com1.expect(title, { timeout: PATIENCE_MS });
  await keepPicture(display, `${name}-grub`);
  press(client, KEY_ENTER);
  await guest.com1.expect('Run /init as init process', { timeout: PATIENCE_MS });
  // The shell's console is the screen alone: it answers when it is there.
  const before = display.image();
  await untilAnswered(guest.com1, 'echo "User: <x@y>!" > /dev/ttyS0\r', 'User: <x@y>!', client);
  type(client, 'dmesg | grep -i efifb > /dev/ttyS0\r');
  await guest.com1.expect('efifb', { timeout: PATIENCE_MS });
  const after = await display.waitForRest(500, { timeout: PATIENCE_MS });
  expect(after.pixels.some((pixel, at) => pixel !== before.pixels[at])).toBe(true);
  await keepPicture(display, `${name}-console`);
  client.request(false);
  await client.update();
  expect(client.pixels.filter((pixel, at) => pixel !== after.pixels[at]).length).toBeLessThan(300);
  expect(guest.machine.deviceErrors).toBe(0);
}

test("the manual's examples reach GRUB and a console of Debian", { timeout: PATIENCE_MS }, async (context) => {
  const missing = grubMediaMissing() ?? (await linuxMissing());
  if (missing !== undefined) context.skip(missing);
  const [disc, disk] = [join(scratch.path, 'uefi-OS-install.iso'), join(scratch.path, 'disk.img')];
  makeBootDisc(disc, await consoleMedia('Linux on the disc'));
  makeBootDisk(disk, await consoleMedia('Linux on the disk'));
  const rom = wholeFirmware();
  for (const example of [
    { name: 'disc', title: 'Linux on the disc', address: '0.0.0.0', host: '127.0.0.1', cd: true, options: ',wait' },
    { name: 'disk', title: 'Linux on the disk', address: '[::]', host: '::1', cd: false, options: '' },
  ]) {
    const port = await freePort();
    const disks = [
      ...(example.cd ? ['-s', `3,ahci-cd,${disc}`] : []),
      '-s',
      `4,ahci-hd,${disk}`,
      '-s',
      '5,virtio-net,slirp',
    ];
    await using guest = await testMachine(
      uefiArgs(`tcp=${example.address}:${port},w=800,h=600${example.options}`, rom, disks),
    );
    guest.machine.start();
    const client = await openViewer({ host: example.host, port });
    await seeConsole(guest, client, example.title, example.name);
  }
});
