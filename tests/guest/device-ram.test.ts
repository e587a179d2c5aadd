/** Memory of a device behind a BAR: the guest stores at memory speed, and the host sees which pages it has stored to. */
import { afterEach, expect, test } from 'vitest';
import { DEVICE_RAM_PAGE_BYTES } from '../../devices/bus/device-ram.ts';
import { CoreDeviceRam } from '../../devices/machine/device-ram.ts';
import { destroyTestMachines, payloadMachine } from '../support/machine.ts';

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
