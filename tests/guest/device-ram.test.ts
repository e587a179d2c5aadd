/** Memory of a device behind a BAR: the guest stores at memory speed, and the host sees which pages it has stored to. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { DisplayBackend } from '../../devices/backends/display.ts';
import { DEVICE_RAM_PAGE_BYTES } from '../../devices/bus/device-ram.ts';
import { Fbuf } from '../../devices/display/fbuf.ts';
import { CoreDeviceRam } from '../../devices/machine/device-ram.ts';
import type { Machine } from '../../host-node/index.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxMissing,
  payloadMachine,
  scratchDirectory,
  testMachine,
} from '../support/machine.ts';

afterEach(destroyTestMachines);

const HERE = 0xd000_0000;
const THERE = 0xd800_0000;
const RAM_BYTES = 4 * 1024 * 1024;
const PAGES = RAM_BYTES / DEVICE_RAM_PAGE_BYTES;
/** The page whose first word the guest counts up without end. */
const COUNTED_PAGE = 1;

const dword = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
/** mov dword [address], value */
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...dword(address), ...dword(value)];
/** inc dword [address] */
const count = (address: number): number[] => [0xff, 0x05, ...dword(address)];
const printByte = (char: string): number[] => [0x66, 0xba, 0xf8, 0x03, 0xb0, char.charCodeAt(0), 0xee];

function guestCode(): number[] {
  const stored = [3, 5, PAGES - 1].flatMap((page) => store(HERE + page * DEVICE_RAM_PAGE_BYTES, page));
  const loop = [HERE, THERE].flatMap((base) => count(base + COUNTED_PAGE * DEVICE_RAM_PAGE_BYTES));
  const rest = [...stored, ...printByte('!'), ...loop];
  return [...rest, 0xeb, 0x100 - loop.length - 2];
}

test.for(['thread', 'inline'] as const)('dirty pages, and a move, %s', { timeout: 60_000 }, async (backend) => {
  await using guest = await payloadMachine(guestCode(), { backend, args: ['-c', '2'] });
  const { machine } = guest;
  const ram = CoreDeviceRam.allocate(machine.state, machine.core.exports, machine.plan, RAM_BYTES);
  const counter = new Uint32Array(ram.bytes.buffer, ram.bytes.byteOffset + COUNTED_PAGE * DEVICE_RAM_PAGE_BYTES, 1);
  const counted = (): number => Atomics.load(counter, 0);
  ram.map(HERE);
  expect(ram.takeDirty()).toEqual([{ firstPage: 0, pageCount: PAGES }]);
  machine.start();
  await guest.com1.expect('!');
  // The second vCPU never ran: it looks at nothing, and stores nothing.
  const pages = new Set<number>();
  const take = (): void => {
    for (const { firstPage, pageCount } of ram.takeDirty())
      for (let i = 0; i < pageCount; i++) pages.add(firstPage + i);
  };
  await expect.poll(() => (take(), counted())).toBeGreaterThan(1000);
  for (const page of [COUNTED_PAGE, 3, 5, PAGES - 1]) expect(pages).toContain(page);
  expect(ram.bytes[5 * DEVICE_RAM_PAGE_BYTES]).toBe(5);

  // What is stored to all the time is dirty all the time, and nothing else stays so.
  for (let round = 0; round < 20; round++) {
    const before = counted();
    await expect.poll(counted).toBeGreaterThan(before);
    pages.clear();
    take();
    expect(pages).toContain(COUNTED_PAGE);
  }
  await expect.poll(() => (pages.clear(), take(), [...pages])).toEqual([COUNTED_PAGE]);

  // The same memory at another address: the guest's stores reach it there. A vCPU that moves a BAR waits for the device meanwhile.
  await machine.pause();
  const moved = counted();
  ram.map(THERE);
  machine.resume();
  await expect.poll(counted).toBeGreaterThan(moved);
  await machine.pause();
  const unmapped = counted();
  ram.map(undefined);
  machine.resume();
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(counted()).toBe(unmapped);
});

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

/** The bytes that NASM makes of asm/NAME.asm. */
function assemble(name: string, out: string): Uint8Array {
  const includes = join(import.meta.dirname, '../system/guests/');
  const source = join(import.meta.dirname, `asm/${name}.asm`);
  execFileSync('nasm', ['-i', includes, '-w-prefix-lock', '-f', 'bin', '-o', out, source]);
  return readFileSync(out);
}

/** A display that nobody looks at: what is dirty stays so until the test asks. */
const unseen = (): Promise<DisplayBackend> =>
  Promise.resolve({ show: () => undefined, firstViewer: Promise.resolve(), close: () => Promise.resolve() });

function fbufOf(machine: Machine): Fbuf {
  for (const { fn } of machine.platform.pci.functions()) if (fn instanceof Fbuf) return fn;
  throw new Error('the machine has no fbuf');
}

const FBUF = ['-s', '4,fbuf,tcp=127.0.0.1:5900'] as const;

test.for([
  ['two threads', {}, []],
  ['two threads, interpreter', {}, ['-o', 'cpu.jit=false']],
  ['inline', { backend: 'inline' as const }, []],
] as const)(
  'a vCPU moves a BAR while another stores to it, %s',
  { timeout: 120_000 },
  async ([, host, args], context) => {
    if (!hasNasm) context.skip('nasm is not installed');
    const scratch = scratchDirectory();
    const kernel = assemble('moving-bar', join(scratch.path, 'moving-bar'));
    scratch.remove();
    const argv = [
      ...BASIC_ARGS,
      '-c',
      '2',
      ...FBUF,
      '-l',
      'pc-testdev',
      ...args,
      '-f',
      'multiboot,/moving-bar',
      'test',
    ];
    await using guest = await testMachine(argv, {
      readFile: () => Promise.resolve(kernel),
      backends: { display: unseen },
      ...host,
    });
    const { pixels } = fbufOf(guest.machine);
    guest.machine.start();
    expect(await guest.machine.waitForExit({ timeout: 110_000 })).toMatchObject({ code: 1, reason: 'exit' });
    const [, rounds = '', lost] = /^rounds=(\w+)\r*\nlost=(\w+)\r*\n$/.exec(guest.com1.transcript) ?? [
      guest.com1.transcript,
    ];
    expect(lost, guest.com1.transcript).toBe('0');
    expect(pixels[0]).toBe(parseInt(rounds, 16));
  },
);

test(
  'Linux stores to 16 MiB of a BAR as to memory, and the host sees exactly the pages',
  { timeout: 240_000 },
  async (context) => {
    const reason = hasNasm ? await linuxMissing() : 'nasm is not installed';
    if (reason !== undefined) context.skip(reason);
    const scratch = scratchDirectory();
    try {
      const program = join(scratch.path, 'bar-store');
      const lengthBytes = assemble('bar-store', program).length;
      truncateSync(program, 4096);
      const args = [...FBUF, '-s', `5,virtio-blk,${program},ro`];
      await using guest = await bootLinux({ args, backends: { display: unseen } });
      const run = async (command: string): Promise<string> => {
        const { output, status } = await guest.com1.run(command, { timeout: 60_000 });
        expect(status, `status of: ${command}\n${output}`).toBe(0);
        return output;
      };
      await run(`head -c ${lengthBytes} /dev/vda > /tmp/store; chmod +x /tmp/store`);
      const bar = '/sys/bus/pci/devices/0000:00:04.0/resource1';
      await run('printf "\\002\\000" | dd of=/sys/bus/pci/devices/0000:00:04.0/config bs=1 seek=4 conv=notrunc');
      const fbuf = fbufOf(guest.machine);
      const pages = new Set<number>();
      const take = (): number => {
        const ranges = fbuf.takeDirty();
        for (const { firstPage, pageCount } of ranges) for (let i = 0; i < pageCount; i++) pages.add(firstPage + i);
        return ranges.length;
      };
      await expect.poll(take).toBe(0);

      pages.clear();
      await run(`/tmp/store ${bar} pages`);
      take();
      expect([...pages]).toEqual(Array.from({ length: 12 }, (_, i) => 1 << i));
      await expect.poll(take).toBe(0);
      expect(fbuf.pixels[2048 * 1024]).toBe(0x5a);

      pages.clear();
      const seconds = async (file: string): Promise<number> => {
        const [, minutes, rest] = /real\s+(\d+)m ([\d.]+)s/.exec(await run(`time /tmp/store ${file} fill`)) ?? [];
        return Number(minutes) * 60 + Number(rest);
      };
      const ownSeconds = await seconds('/dev/zero');
      const barSeconds = await seconds(bar);
      take();
      expect([...pages]).toEqual(Array.from({ length: 4096 }, (_, i) => i));
      expect(fbuf.pixels.subarray(0, 4 << 20).every((pixel) => pixel === 64)).toBe(true);
      expect(fbuf.pixels[4 << 20]).toBe(0);
      // Stores that left for the device would take a thousand times as long.
      expect(barSeconds).toBeLessThan(20 * ownSeconds + 2);
      console.log(`1 GiB to a BAR: ${barSeconds} s, to memory: ${ownSeconds} s`);
    } finally {
      scratch.remove();
    }
  },
);

/** out DX, EAX */
const outDword = (port: number, value: number): number[] => [
  ...[0x66, 0xba, port & 0xff, port >> 8],
  ...[0xb8, ...dword(value), 0xef],
];

test('a machine whose guest has moved a BAR goes on in a copy', { timeout: 120_000 }, async () => {
  const MOVED = 0xd800_0000;
  // BAR1 of 0:4.0, as firmware places it anew; then a word that counts up without end.
  const loop = count(MOVED);
  const code = [...outDword(0xcf8, 0x8000_2014), ...outDword(0xcfc, MOVED), ...printByte('!'), ...loop];
  const machineOf = (): ReturnType<typeof payloadMachine> =>
    payloadMachine([...code, 0xeb, 0x100 - loop.length - 2], { args: FBUF, backends: { display: unseen } });
  await using guest = await machineOf();
  guest.machine.start();
  await guest.com1.expect('!', { timeout: 60_000 });
  await expect.poll(() => fbufOf(guest.machine).pixels[0]).toBeGreaterThan(1000);
  const snapshot = await guest.machine.snapshot();
  await guest.machine.destroy();
  await using copy = await machineOf();
  await copy.machine.restore(snapshot);
  const { pixels } = fbufOf(copy.machine);
  const counted = pixels[0] ?? 0;
  expect(counted).toBeGreaterThan(1000);
  copy.machine.start();
  await expect.poll(() => pixels[0]).toBeGreaterThan(counted);
  expect(copy.machine.deviceErrors).toBe(0);
});
