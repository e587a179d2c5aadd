/**
 * Linux's drivers for virtio-input and HD Audio through pauses, snapshots and resets, with keys and buttons held and while sound plays. Takes a minute:
 * DESKTOP=1.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, type TestContext } from 'vitest';
import { parseWav } from '../../host-node/audio/wav.ts';
import { desktopGuest, LOAD_DRIVERS, type DesktopGuest } from '../support/desktop-guest.ts';
import { EventReader, runIn } from '../support/guest-events.ts';
import { testSound, TEST_SOUND_RATE_HZ } from '../support/test-sound.ts';
import {
  BASIC_ARGS,
  destroyTestMachines,
  linuxMissing,
  QUICK_CMDLINE,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

afterEach(destroyTestMachines);

const PATIENCE_MS = 300_000;

async function guestFiles(context: TestContext): Promise<DesktopGuest> {
  if (process.env['DESKTOP'] === undefined) context.skip('takes a minute: set DESKTOP=1');
  const missing = await linuxMissing('generic');
  if (missing !== undefined) context.skip(missing);
  return desktopGuest().catch((error: unknown): never => context.skip(String(error)));
}

/** Boots to the shell, drivers loaded. */
async function boot(argv: readonly string[], files: DesktopGuest): Promise<TestMachine> {
  const guest = await testMachine(argv, { cmdline: QUICK_CMDLINE, ...files });
  guest.machine.start();
  await guest.com1.expect('/ # ', { timeout: PATIENCE_MS });
  await runIn(guest, 'dmesg -n 1');
  expect(await runIn(guest, LOAD_DRIVERS)).not.toContain('failed');
  return guest;
}

test(
  'virtio keyboard, tablet and mouse: held through pause, snapshot and reset',
  { timeout: PATIENCE_MS },
  async (context) => {
    const files = await guestFiles(context);
    const scratch = scratchDirectory();
    try {
      const argv = (socket: string): string[] => [
        ...[...BASIC_ARGS, '-m', '512M', '-s', `29,fbuf,w=1024,h=768,rfb=unix:${join(scratch.path, socket)}`],
        ...['-s', '25,virtio-input,keyboard', '-s', '26,virtio-input,tablet', '-s', '27,virtio-input,mouse', 'input'],
      ];
      const guest = await boot(argv('first'), files);
      const { display } = guest.machine;
      if (!display) throw new Error('there is no display');
      await runIn(guest, 'insmod /desktop/virtio_input.ko; sleep 1');

      // The pointer at a pixel, its buttons and its wheel.
      const tablet = await EventReader.open(guest, 'bhyve virtio tablet');
      await display.click(700, 300);
      display.pointer(701, 301, 16);
      display.pointer(701, 301, 0);
      const absolute = await tablet.until('REL_WHEEL -1');
      const at = (axis: string): number =>
        Number(
          absolute
            .filter((line) => line.startsWith(`${axis} `))
            .at(-1)
            ?.split(' ')[1],
        );
      expect([Math.round((at('ABS_X') * 1023) / 32767), Math.round((at('ABS_Y') * 767) / 32767)]).toEqual([701, 301]);
      expect(absolute.filter((line) => line.startsWith('BTN'))).toEqual(['BTN_LEFT 1', 'BTN_LEFT 0']);

      // Without the tablet's driver the mouse has the pointer: what it tells are distances.
      await runIn(
        guest,
        'for d in /sys/bus/virtio/drivers/virtio_input/virtio*; do grep -q tablet $d/input/input*/name && echo ${d##*/} > /sys/bus/virtio/drivers/virtio_input/unbind; done; true',
      );
      const mouse = await EventReader.open(guest, 'bhyve virtio mouse');
      display.pointer(500, 400, 0);
      display.pointer(510, 380, 4);
      display.pointer(513, 389, 0);
      const relative = await mouse.until('BTN_RIGHT 0');
      expect(relative.slice(-6)).toEqual(['REL_X 10', 'REL_Y -20', 'BTN_RIGHT 1', 'REL_X 3', 'REL_Y 9', 'BTN_RIGHT 0']);

      // A key that is held while the machine stands still is held afterwards, and comes up when it is let go.
      const keys = await EventReader.open(guest, 'bhyve virtio keyboard');
      display.key('a', true);
      await keys.until('KEY_A 1');
      await guest.machine.pause();
      display.key('a', false);
      guest.machine.resume();
      await keys.until('KEY_A 0');

      // The driver is taken away and comes back: the key that was held then is forgotten, and can be pressed again.
      display.key('b', true);
      await keys.until('KEY_B 1');
      const drivers = '/sys/bus/virtio/drivers/virtio_input';
      await runIn(
        guest,
        `k=$(for d in ${drivers}/virtio*; do grep -q keyboard $d/input/input*/name && echo \${d##*/}; done); echo $k > ${drivers}/unbind; echo $k > ${drivers}/bind; sleep 1`,
      );
      display.key('b', false);
      const again = await EventReader.open(guest, 'bhyve virtio keyboard');
      display.press('b');
      expect(await again.until('KEY_B 0')).toEqual(['KEY_B 1', 'KEY_B 0']);

      // A snapshot with Shift and a button held. In the copy nobody holds them: they come up before what is pressed next.
      display.key('Shift', true);
      await again.until('KEY_LEFTSHIFT 1');
      display.pointer(600, 389, 1);
      await mouse.until('BTN_LEFT 1');
      const state = await guest.machine.snapshot();
      await guest.machine.destroy();
      await using copy = await testMachine(argv('second'), { cmdline: QUICK_CMDLINE, ...files, restored: true });
      await copy.machine.restore(state);
      copy.machine.start();
      const copied = { keys: again.in(copy), mouse: mouse.in(copy) };
      copy.machine.display?.type('c');
      expect(await copied.keys.until('KEY_C 0')).toEqual(['KEY_LEFTSHIFT 0', 'KEY_C 1', 'KEY_C 0']);
      copy.machine.display?.pointer(600, 389, 0);
      expect(await copied.mouse.until('BTN_LEFT 0')).toEqual(['BTN_LEFT 0']);
      expect(copy.machine.deviceErrors).toBe(0);
    } finally {
      scratch.remove();
    }
  },
);

test('sound that plays goes on in a copy with the next sample', { timeout: PATIENCE_MS }, async (context) => {
  const files = await guestFiles(context);
  const SECONDS = 6;
  const scratch = scratchDirectory();
  try {
    const sound = testSound(TEST_SOUND_RATE_HZ * SECONDS);
    const disk = join(scratch.path, 'sound.img');
    writeFileSync(disk, sound);
    const wav = (name: string): string => join(scratch.path, `${name}.wav`);
    const argv = (name: string): string[] => [
      ...[...BASIC_ARGS, '-m', '512M', '-s', `3,virtio-blk,${disk},ro`, '-s', `28,hda,play=${wav(name)}`, 'sound'],
    ];
    const guest = await boot(argv('first'), files);
    await runIn(guest, 'mknod /dev/null c 1 3 2>/dev/null; amixer -q -c 0 sset Master 100% unmute; true');
    guest.com1.send(`aplay -q -D hw:0,0 -t raw -f S16_LE -r ${TEST_SOUND_RATE_HZ} -c 2 /dev/vda; echo played $?\n`);
    // Somewhere in the second second.
    while (statSync(wav('first')).size < TEST_SOUND_RATE_HZ * 4 * 1.3)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await guest.machine.pause();
    const state = await guest.machine.snapshot();
    await guest.machine.destroy();

    await using copy = await testMachine(argv('second'), { cmdline: QUICK_CMDLINE, ...files, restored: true });
    await copy.machine.restore(state);
    copy.machine.start();
    await copy.com1.expect('played 0', { timeout: PATIENCE_MS });
    expect(copy.machine.deviceErrors).toBe(0);
    await copy.machine.destroy();
    const [before, after] = ['first', 'second'].map((name) => parseWav(readFileSync(wav(name))).samples);
    const played = Buffer.concat([before ?? Buffer.of(), after ?? Buffer.of()]);
    expect(before?.length).toBeGreaterThan(TEST_SOUND_RATE_HZ * 4);
    expect(before?.length).toBeLessThan(sound.length);
    // Sample by sample: nothing is missing between the two files, and nothing is in both.
    expect(played.subarray(0, sound.length).equals(sound)).toBe(true);
  } finally {
    scratch.remove();
  }
});
