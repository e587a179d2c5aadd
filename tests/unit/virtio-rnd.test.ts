import { expect, test } from 'vitest';
import * as L from '../../devices/virtio/transport/legacy.ts';
import { MAX_ENTROPY_BYTES, VirtioRnd } from '../../devices/virtio/rnd.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import { FakeRandom } from '../support/fake-random.ts';

function setUp() {
  let next = 0;
  const { machine, device } = FakeMachine.with(
    (it) =>
      new VirtioRnd({ memory: it.memory, msix: true, log: (text) => it.log.push(text) }, (into) => {
        // Web Cryptography refuses shared memory; a device that passed guest memory on would fail in browsers.
        if (into.buffer instanceof SharedArrayBuffer) throw new TypeError('shared memory');
        for (let i = 0; i < into.length; i++) into[i] = ++next;
      }),
  );
  const driver = new FakeDriver(machine);
  driver.start();
  return { machine, device, driver };
}

test('identification', () => {
  const { machine, driver } = setUp();
  expect(machine.config(3, 0, 4)).toBe(0x10051af4);
  expect(machine.config(3, 0x2c, 4)).toBe(0x00041af4);
  expect(machine.config(3, 8, 4)).toBe(0x10000000);
  expect(driver.read(L.REG_HOST_FEATURES, 4)).toBe(0);
  expect(driver.size).toBe(64);
  driver.write(L.REG_QUEUE_SELECT, 2, 1);
  expect(driver.read(L.REG_QUEUE_SIZE, 2)).toBe(0);
});

test('fills all buffers of a request', () => {
  const { machine, driver } = setUp();
  driver.add([
    { gpa: 0x40000, lengthBytes: 3, write: true },
    { gpa: 0x1fffff, lengthBytes: 5000, write: true },
  ]);
  driver.notify();
  expect(driver.used()).toEqual([{ id: 0, lengthBytes: 5003 }]);
  expect([0, 1, 2].map((i) => machine.memory.readU8(0x40000 + i))).toEqual([1, 2, 3]);
  expect(machine.memory.readU8(0x1fffff + 4999)).toBe(5003 & 0xff);
  expect(machine.interrupts.asserted().pins).toEqual([16]);
});

test('bounds what one request gets, and survives bad addresses', () => {
  const { machine, device, driver } = setUp();
  driver.add([{ gpa: 0, lengthBytes: 1 }]);
  driver.add([{ gpa: 0x100000, lengthBytes: 0xffffffff, write: true }]);
  driver.add([{ gpa: 0xfee00000, lengthBytes: 16, write: true }]);
  driver.notify();
  expect(driver.used()).toEqual([
    { id: 0, lengthBytes: 0 },
    { id: 1, lengthBytes: MAX_ENTROPY_BYTES },
    { id: 2, lengthBytes: 0 },
  ]);
  expect(device.badRequests).toBe(1);
  expect(machine.memory.readU8(0x100000 + MAX_ENTROPY_BYTES)).toBe(0);
});

test('a broken ring rests until the driver resets the device', () => {
  const { machine, device, driver } = setUp();
  driver.makeAvailable(64);
  driver.notify();
  expect(device.brokenQueues).toBe(1);
  expect(machine.log).toEqual(['virtio-rnd: descriptor index 64 out of range, driver confused?']);
  driver.add([{ gpa: 0x40000, lengthBytes: 8, write: true }]);
  driver.notify();
  expect(driver.used()).toEqual([]);
  driver.start();
  driver.add([{ gpa: 0x40000, lengthBytes: 8, write: true }]);
  driver.notify();
  expect(driver.used().length).toBe(1);
  driver.write(L.REG_QUEUE_NOTIFY, 2, 7);
  expect(machine.log.at(-1)).toBe('virtio-rnd: queue 7 notify out of range');
});

test('round trip of a snapshot', () => {
  const { machine, driver } = setUp();
  driver.enableMsix();
  driver.add([{ gpa: 0x40000, lengthBytes: 8, write: true }]);
  driver.notify();
  const state = structuredClone(machine.pci.save());
  const other = setUp();
  other.machine.pci.restore(state);
  expect(other.machine.pci.save()).toEqual(state);
});

test('random rings never throw', () => {
  const random = new FakeRandom(0x4d);
  const { machine, device, driver } = setUp();
  let answered = 0;
  for (let round = 0; round < 30_000; round++) {
    if (round % 16 === 0) {
      answered += driver.used().length;
      driver.start();
    }
    const count = 1 + random.below(3);
    const buffers = Array.from({ length: count }, () => ({
      gpa: random.pick([0x40000, 0x1fffff, random.nasty()]),
      lengthBytes: random.pick([1, 64, random.below(300), random.below(200) === 0 ? random.nasty() : 8]),
      write: random.below(8) > 0,
    }));
    driver.add(buffers);
    if (random.below(50) === 0) driver.makeAvailable(random.below(70));
    if (random.below(50) === 0) machine.memory.writeU16(driver.availGpa + 2, random.below(0x10000));
    if (random.below(50) === 0)
      driver.setDescriptor(driver.ringGpa, random.below(64), random.nasty(), 8, random.below(8), random.below(66));
    driver.notify();
  }
  expect(answered).toBeGreaterThan(5000);
  expect(device.brokenQueues).toBeGreaterThan(100);
});
