/**
 * Viewers of a running machine, over real sockets: one with a wrong password, ten that hang in the handshake, garbage at every step, one that reads
 * nothing while the guest draws. The guest is one of our own (tests/guest/asm/display-echo.asm).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { vncKey } from '../../devices/display/rfb/handshake.ts';
import { desEncrypt } from '../../host-node/display/des.ts';
import { displayGuest, displayGuestMissing, squareColour } from '../support/display-guest.ts';
import { BASIC_ARGS, destroyTestMachines, testMachine } from '../support/machine.ts';
import type { RfbClient } from '../support/rfb-client.ts';
import { viewerOver } from '../support/rfb-viewer.ts';

const VERSION = 'RFB 003.008\n';
const PASSWORD = 'geheim';
const RAW = 0;
const KEY_A = 0x1e;

let folder = '';
const sockets: Socket[] = [];
beforeEach((context) => {
  if (displayGuestMissing !== undefined) context.skip(displayGuestMissing);
  folder = mkdtempSync(join(tmpdir(), 'webhyve-viewers-'));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await destroyTestMachines();
  rmSync(folder, { recursive: true, force: true });
});

function dial(): Socket {
  const socket = connect({ path: join(folder, 'vnc') });
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

function viewer(socket = dial()): RfbClient {
  return viewerOver(socket);
}

function answer(password: string): (challenge: Uint8Array) => Uint8Array {
  return (challenge) => desEncrypt(vncKey(password), challenge);
}

/** Bytes without a meaning, the same in every run. */
function garbage(lengthBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  let state = seed;
  for (let at = 0; at < lengthBytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[at] = state >> 16;
  }
  return bytes;
}

test('wait, and viewers that mean ill: the guest goes on', { timeout: 300_000 }, async () => {
  const kernel = readFileSync(displayGuest(folder));
  const options = `29,fbuf,w=640,h=480,rfb=unix:${join(folder, 'vnc')},wait,password=${PASSWORD},viewers=2`;
  const argv = [...BASIC_ARGS, '-m', '64M', '-s', options, '-f', 'multiboot,/payload', 'viewers'];
  await using guest = await testMachine(argv, { readFile: () => Promise.resolve(kernel) });
  const { display } = guest.machine;
  if (!display) throw new Error('there is no display');
  guest.machine.start();

  // Nobody who has not got through the handshake is a viewer: no processor runs.
  expect(await viewer().open(VERSION, answer('Geheim'))).toBe('Auth Failed: Invalid Password.');
  const steps: readonly Buffer[] = [
    Buffer.alloc(0),
    Buffer.from('RFB'),
    Buffer.from(VERSION),
    Buffer.concat([Buffer.from(VERSION), Buffer.of(2)]),
    Buffer.concat([Buffer.from(VERSION), Buffer.of(2), Buffer.alloc(15)]),
  ];
  for (const step of [...steps, ...steps]) dial().write(step);
  for (const [index, step] of steps.entries()) dial().write(Buffer.concat([step, garbage(65_536, index + 1)]));
  expect([guest.machine.running, guest.com1.transcript]).toEqual([false, '']);

  const good = viewer();
  expect(await good.open(VERSION, answer(PASSWORD))).toBeUndefined();
  await good.init();
  await guest.com1.expect('ready', { timeout: 120_000 });
  good.setEncodings(RAW);
  good.request(false);
  await good.update();

  // Garbage after the handshake ends that viewer alone, whatever it begins with.
  for (let seed = 1; seed <= 8; seed++) {
    const socket = dial();
    const bad = viewer(socket);
    expect(await bad.open(VERSION, answer(PASSWORD))).toBeUndefined();
    await bad.init();
    socket.write(Buffer.concat([Buffer.of(0x40 + seed), garbage(65_536, seed)]));
    await expect(bad.read(1 << 20)).rejects.toThrow('closed');
  }

  // One that asks for everything and reads nothing, while the guest draws as fast as it can.
  const socket = dial();
  const deaf = viewer(socket);
  expect(await deaf.open(VERSION, answer(PASSWORD))).toBeUndefined();
  await deaf.init();
  socket.pause();
  const residentBytes = process.memoryUsage().rss;
  display.press('F2');
  for (let i = 0; i < 500; i++) deaf.request(false);
  for (let frame = 0; frame < 30; frame++) {
    good.request(true);
    await good.update();
  }
  // 500 pictures would be 600 MB.
  expect(process.memoryUsage().rss - residentBytes).toBeLessThan(300 * 2 ** 20);

  // The guest hears keys, and the good viewer sees what they do.
  display.press('F12');
  display.type('a');
  await guest.com1.expect('k 9e', { timeout: 120_000 });
  await display.waitForRest(200, { timeout: 120_000 });
  for (;;) {
    good.request(false);
    await good.update();
    if (good.pixels.includes(squareColour(KEY_A))) break;
  }
  expect(guest.machine.deviceErrors).toBe(0);
  socket.destroy();
});

test(
  'a snapshot while keys are held: in the copy they come up before the next one goes down',
  { timeout: 120_000 },
  async () => {
    const kernel = readFileSync(displayGuest(folder));
    const argv = (socket: string): string[] => [
      ...[...BASIC_ARGS, '-m', '64M', '-s', `29,fbuf,w=640,h=480,rfb=unix:${join(folder, socket)}`],
      ...['-f', 'multiboot,/payload', 'held'],
    ];
    const options = { readFile: () => Promise.resolve(kernel) };
    await using guest = await testMachine(argv('first'), options);
    guest.machine.start();
    await guest.com1.expect('ready', { timeout: 60_000 });
    guest.machine.display?.key('Shift', true);
    guest.machine.display?.key('A', true);
    await guest.com1.expect('k 2a', { timeout: 60_000 });
    await guest.com1.expect('k 1e', { timeout: 60_000 });
    const picture = await guest.machine.display?.waitForRest(100, { timeout: 60_000 });
    const state = await guest.machine.snapshot();
    await guest.machine.destroy();

    await using copy = await testMachine(argv('second'), { ...options, restored: true });
    await copy.machine.restore(state);
    // What the guest had drawn is there at once.
    const shown = copy.machine.display?.image();
    expect(shown?.pixels).toEqual(picture?.pixels);
    copy.machine.start();
    copy.machine.display?.type('b');
    await copy.com1.expect('k b0', { timeout: 60_000 });
    const codes = [...copy.com1.transcript.matchAll(/k ([0-9a-f]{2})/g)].map(([, code]) => code);
    expect(codes.slice(0, 2).sort()).toEqual(['9e', 'aa']);
    expect(codes.slice(2)).toEqual(['30', 'b0']);
  },
);
