/** Linux's drivers for the screen's devices: keyboard, tablet and sound, used by evtest, aplay and arecord. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parseWav } from '../../host-node/audio/wav.ts';
import { desktopGuest, LOAD_DRIVERS } from '../support/desktop-guest.ts';
import { testSound, TEST_SOUND_RATE_HZ, wavFile } from '../support/test-sound.ts';
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

const RATE = TEST_SOUND_RATE_HZ;
const SECONDS = 2;

async function run(guest: TestMachine, command: string, timeout = 60_000): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

/** An event of Linux's (uapi input.h): type, code, value. */
type InputEvent = readonly [type: number, code: number, value: number];
const EV_KEY = 1;
const EV_REL = 2;
const KEY_ENTER = 28;
const KEY_LEFTSHIFT = 42;
const REL_WHEEL = 8;

/** The last bytes of a struct input_event as hexdump writes them. */
function hexadecimal([type, code, value]: InputEvent): string {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(type, 0);
  bytes.writeUInt16LE(code, 2);
  bytes.writeInt32LE(value, 4);
  return bytes.toString('hex');
}

/**
 * Runs evtest on the input device of that name while `act` does something, and returns what it saw up to the event `last`. evtest writes when it
 * ends: a second reader tells when it has seen everything.
 */
async function eventsOf(
  guest: TestMachine,
  name: string,
  last: InputEvent,
  act: () => Promise<void> | void,
): Promise<string> {
  const find = `for e in /sys/class/input/event*; do grep -q '${name}' $e/device/name && echo /dev/input/\${e##*/}; done; true`;
  const device = /\/dev\/input\/event\d+/.exec(await run(guest, find))?.[0];
  expect(device, `an input device ${name}`).toBeDefined();
  const reader = (command: string, pid: string): string =>
    `(${command} & echo $! > ${pid}); until ls -l /proc/$(cat ${pid})/fd | grep -q ${device}; do sleep 0.1; done`;
  await run(guest, reader(`evtest ${device} > /tmp/events 2>&1`, '/tmp/evtest'));
  await run(guest, reader(`cat ${device} > /tmp/raw`, '/tmp/cat'));
  await act();
  const wait = `until hexdump -v -e '24/1 "%02x" "\\n"' /tmp/raw | grep -q ${hexadecimal(last)}$; do sleep 0.1; done`;
  await run(guest, `${wait}; kill $(cat /tmp/evtest) $(cat /tmp/cat)`);
  // What was killed has ended when its process is gone.
  await run(guest, 'while [ -d /proc/$(cat /tmp/evtest) ]; do sleep 0.1; done');
  return run(guest, 'cat /tmp/events');
}

test('keyboard, tablet and sound', { timeout: 300_000 }, async (context) => {
  const missing = await linuxMissing('generic');
  if (missing !== undefined) context.skip(missing);
  const guestFiles = await desktopGuest().catch((error: unknown): never => context.skip(String(error)));
  const scratch = scratchDirectory();
  try {
    const recorded = testSound(RATE * SECONDS * 3);
    writeFileSync(join(scratch.path, 'in.wav'), wavFile(recorded));
    const argv = [
      ...[...BASIC_ARGS, '-m', '512M', '-K', 'de'],
      ...['-s', `29,fbuf,rfb=unix:${join(scratch.path, 'vnc')}`, '-s', '30,xhci,tablet'],
      ...['-s', `28,hda,play=${join(scratch.path, 'out.wav')},rec=${join(scratch.path, 'in.wav')}`],
      ...['-s', '27,virtio-input,keyboard'],
      'desktop',
    ];
    await using guest = await testMachine(argv, { cmdline: QUICK_CMDLINE, ...guestFiles });
    guest.machine.start();
    await guest.com1.expect('/ # ', { timeout: 150_000 });
    // The kernel's own messages would stand between a command's.
    await run(guest, 'dmesg -n 1');
    expect(await run(guest, LOAD_DRIVERS)).not.toContain('failed');
    const display = guest.machine.display;
    if (!display) throw new Error('there is no display');

    // Upper case, punctuation and AltGr of a German keyboard.
    const keys = await eventsOf(guest, 'AT ', [EV_KEY, KEY_ENTER, 0], () => display.type('Zy/@\n'));
    const pressed = [...keys.matchAll(/type 1 \(EV_KEY\), code \d+ \((KEY_\w+)\), value 1/g)].map(([, key]) => key);
    expect(pressed).toEqual([
      ...['KEY_LEFTSHIFT', 'KEY_Y', 'KEY_Z', 'KEY_LEFTSHIFT', 'KEY_7', 'KEY_RIGHTALT', 'KEY_Q', 'KEY_ENTER'],
    ]);

    // The pointer at a pixel: the tablet divides the screen into 32768 parts each way.
    const { width, height } = display.size;
    const events = await eventsOf(guest, 'BHYVE HID Tablet', [EV_REL, REL_WHEEL, 1], async () => {
      await display.click(700, 300);
      display.pointer(701, 301, 8);
      display.pointer(701, 301, 0);
    });
    const last = (name: string): number =>
      Number([...events.matchAll(new RegExp(`\\(${name}\\), value (-?\\d+)`, 'g'))].at(-1)?.[1]);
    expect(Math.floor((last('ABS_X') * width) / 32768 + 0.999)).toBe(701);
    expect(Math.floor((last('ABS_Y') * height) / 32768 + 0.999)).toBe(301);
    expect(events).toMatch(/\(BTN_LEFT\), value 1[\s\S]*\(BTN_LEFT\), value 0/);
    expect(events).toContain('(REL_WHEEL), value 1');

    // A virtio keyboard has the keys as soon as its driver is there.
    await run(guest, 'insmod /desktop/virtio_input.ko; sleep 1');
    const virtio = await eventsOf(guest, 'bhyve virtio keyboard', [EV_KEY, KEY_LEFTSHIFT, 0], () =>
      display.press('Shift', 'ArrowLeft'),
    );
    expect([...virtio.matchAll(/\((KEY_\w+)\), value ([01])/g)].map(([, key, value]) => `${key} ${value}`)).toEqual([
      ...['KEY_LEFTSHIFT 1', 'KEY_LEFT 1', 'KEY_LEFT 0', 'KEY_LEFTSHIFT 0'],
    ]);

    // What the guest records and plays again is what it was given.
    await run(
      guest,
      'mknod /dev/null c 1 3 2>/dev/null; amixer -q -c 0 sset Master 100% unmute; amixer -q -c 0 sset Capture 100% cap; true',
    );
    await run(guest, `arecord -q -D hw:0,0 -d ${SECONDS} -f S16_LE -r ${RATE} -c 2 /tmp/heard.wav`);
    await run(guest, 'aplay -q -D hw:0,0 /tmp/heard.wav');
    await run(guest, 'sleep 1');
    expect(guest.machine.deviceErrors).toBe(0);
    await guest.machine.destroy();
    const { format, samples } = parseWav(readFileSync(join(scratch.path, 'out.wav')));
    expect(format).toEqual({ sampleRateHz: RATE, channels: 2 });
    // Sample by sample: nothing is missing, nothing is there twice.
    const frames = RATE * SECONDS;
    expect(samples.length).toBeGreaterThanOrEqual(frames * 4);
    expect(samples.subarray(0, frames * 4).equals(recorded.subarray(0, frames * 4))).toBe(true);
  } finally {
    scratch.remove();
  }
});
