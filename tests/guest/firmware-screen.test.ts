/**
 * EDK2's BHYVE firmware on the screen: the manual's UEFI example with a viewer. WEBHYVE_FIRMWARE names a folder with BHYVE_CODE.fd and
 * BHYVE_VARS.fd. It has not been seen to pass as a whole; the logo, the Shell and typing were seen by hand. A disk with GRUB and Linux is made where Debian's grub-efi-amd64-bin and mtools are installed.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Image } from '../../devices/display/display-user.ts';
import type { MachineDisplay } from '../../devices/display/machine-display.ts';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import { RfbClient } from '../support/rfb-client.ts';
import {
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const BOOT_TIMEOUT_MS = 240_000;

let scratch = { path: '', remove: (): void => {} };
beforeEach((context) => {
  if (firmwareMissing !== undefined) context.skip(firmwareMissing);
  scratch = scratchDirectory();
});
afterEach(async () => {
  await destroyTestMachines();
  scratch.remove();
});

/** The manual's line; the address, the firmware's path and the disk are this test's. */
function uefiArgs(options: string, disk: readonly string[] = []): string[] {
  const variables = join(scratch.path, 'vars.fd');
  if (!existsSync(variables)) copyFileSync(FIRMWARE_VARIABLES, variables);
  return [
    ...['-c', '2', '-m', '1G', '-w', '-H', '-s', '0,hostbridge', ...disk],
    ...[
      '-s',
      `29,fbuf,tcp=unix:${join(scratch.path, 'vnc')},w=800,h=600${options}`,
      '-s',
      '30,xhci,tablet',
      '-s',
      '31,lpc',
    ],
    ...['-l', 'com1,stdio', '-l', `bootrom,${FIRMWARE_CODE},${variables}`, 'uefivm'],
  ];
}

async function viewer(): Promise<RfbClient> {
  const socket = connect({ path: join(scratch.path, 'vnc') });
  const client = new RfbClient((bytes) => socket.write(bytes));
  socket.on('data', (bytes: Buffer) => client.receive(bytes));
  socket.on('close', () => client.closed());
  expect(await client.open()).toBeUndefined();
  await client.init();
  client.setEncodings(16, 1, -223, -258);
  return client;
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

test('wait, logo, Shell, and a snapshot with a key held', { timeout: 400_000 }, async () => {
  await using guest = await testMachine(uefiArgs(',wait'));
  const display = displayOf(guest);
  guest.machine.start();
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Nothing runs before somebody looks.
  expect([guest.machine.running, guest.com1.transcript]).toEqual([false, '']);
  const client = await viewer();
  // The logo in the middle: white ground, and TianoCore's orange.
  const logo = await display.waitForImage((image) => count(image, 0xffffff, [303, 271, 193, 58]) > 3000, {
    timeout: BOOT_TIMEOUT_MS,
  });
  expect(
    logo.pixels.filter((pixel) => (pixel & 0xff0000) === 0xff0000 && (pixel & 0xff) < 0x40).length,
  ).toBeGreaterThan(200);
  await guest.com1.expect('startup.nsh', { timeout: BOOT_TIMEOUT_MS });
  client.key(0xff1b, true);
  client.key(0xff1b, false);
  await guest.com1.expect('Shell>', { timeout: BOOT_TIMEOUT_MS });
  for (const character of 'echo A-b_C!\r') {
    const keysym = character === '\r' ? 0xff0d : character.charCodeAt(0);
    const shifted = /[A-Z_!]/.test(character);
    if (shifted) client.key(0xffe1, true);
    client.key(keysym, true);
    client.key(keysym, false);
    if (shifted) client.key(0xffe1, false);
  }
  await guest.com1.expect('\nA-b_C!', { timeout: 60_000 });
  // What the viewer shows is what the guest has drawn.
  await display.waitForRest(500);
  client.request(false);
  await client.update();
  const shown = display.image();
  expect([client.width, client.height]).toEqual([800, 600]);
  expect(client.pixels.filter((pixel, at) => pixel !== shown.pixels[at]).length).toBeLessThan(300);
  // The Shell's prompt is yellow on black.
  expect(count(shown, 0xffff00, [0, 0, 800, 600]) + count(shown, 0xffff55, [0, 0, 800, 600])).toBeGreaterThan(50);

  client.key(0xffe1, true);
  const state = await guest.machine.snapshot();
  await guest.machine.destroy();
  await using copy = await testMachine(uefiArgs(''));
  await copy.machine.restore(state);
  copy.machine.start();
  displayOf(copy).type('echo held\n');
  // The viewer that held Shift is gone, and Shift with it.
  await copy.com1.expect('\nheld', { timeout: 60_000 });
  expect(displayOf(copy).size).toEqual({ width: 800, height: 600 });
});

test('GRUB, then a console of Linux on the screen, typed into', { timeout: 500_000 }, async (context) => {
  const missing = await linuxMissing('generic');
  if (missing !== undefined) context.skip(missing);
  const tool = (program: string, ...words: string[]): boolean =>
    spawnSync(program, words, { env: { ...process.env, MTOOLS_SKIP_CHECK: '1' } }).status === 0;
  const { kernel, initrd } = await linuxGuest('generic');
  const disk = join(scratch.path, 'disk.img');
  const grub = join(scratch.path, 'BOOTX64.EFI');
  const config = join(scratch.path, 'grub.cfg');
  writeFileSync(
    config,
    [
      ...['set timeout=3', 'menuentry "Linux on the screen" {', 'search --set=root --file /linux'],
      ...['linux /linux console=ttyS0 console=tty0 cryptomgr.notests', 'initrd /initrd', '}'],
    ].join('\n'),
  );
  const grubModules = 'part_gpt part_msdos fat normal linux search efi_gop gfxterm terminal all_video';
  const words = ['-O', 'x86_64-efi', '-o', grub, `--modules=${grubModules}`, '--locales=', '--fonts=', '--themes='];
  if (!tool('grub-mkstandalone', ...words, `boot/grub/grub.cfg=${config}`)) context.skip('needs grub-efi-amd64-bin');
  writeFileSync(disk, Buffer.alloc(96 * 1024 * 1024));
  if (!tool('mformat', '-i', disk, '-F', '::')) context.skip('needs mtools');
  tool('mmd', '-i', disk, '::/EFI', '::/EFI/BOOT');
  for (const [from, to] of [
    [grub, '::/EFI/BOOT/BOOTX64.EFI'],
    [kernel, '::/linux'],
    [initrd, '::/initrd'],
  ] as const) {
    expect(tool('mcopy', '-i', disk, from, to)).toBe(true);
  }
  await using guest = await testMachine(uefiArgs('', ['-s', `4,ahci-hd,${disk}`]));
  const display = displayOf(guest);
  guest.machine.start();
  await guest.com1.expect('Linux on the screen', { timeout: BOOT_TIMEOUT_MS });
  display.press('Enter');
  await guest.com1.expect('webhyve guest ready', { timeout: BOOT_TIMEOUT_MS });
  await display.waitForRest(1500, { timeout: 60_000 });
  const before = display.image();
  display.type('echo "User: Mr. O\'Hara <x@y>" > /dev/ttyS0; dmesg | grep -i efifb > /dev/ttyS0\n');
  await guest.com1.expect("User: Mr. O'Hara <x@y>", { timeout: 60_000 });
  await guest.com1.expect('efifb', { timeout: 60_000 });
  const after = await display.waitForRest(500);
  expect(after.pixels.some((pixel, at) => pixel !== before.pixels[at])).toBe(true);
  expect(guest.machine.deviceErrors).toBe(0);
});
