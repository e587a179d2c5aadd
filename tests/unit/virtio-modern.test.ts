/** The registers of virtio 1.0, driven as a driver finds them: through the capabilities. */
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { CAP_VENDOR_SPECIFIC } from '../../devices/pci/registers.ts';
import { VirtioRnd } from '../../devices/virtio/rnd.ts';
import { STATUS_DRIVER_OK, STATUS_FEATURES_OK, type VirtioTransport } from '../../devices/virtio/transport/target.ts';
import { CFG_COMMON, CFG_ISR, CFG_NOTIFY, CFG_PCI } from '../../devices/virtio/transport/modern.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FAKE_CHUNK_BYTES } from '../support/fake-memory.ts';
import { FakeRandom } from '../support/fake-random.ts';

const SLOT = 3;
const ACKNOWLEDGE_DRIVER = 3;
// Rings apart from each other, the used ring across the end of a chunk.
const DESC = 0x10010;
const AVAIL = 0x30002;
const USED = FAKE_CHUNK_BYTES - 8;
const BUFFER = 0x40000;

interface Structure {
  readonly capability: number;
  readonly bar: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

function setUp(transport: VirtioTransport = 'transitional') {
  const { machine, device } = FakeMachine.with(
    (it) =>
      new VirtioRnd({ memory: it.memory, msix: true, transport, log: (text) => it.log.push(text) }, (into) =>
        into.fill(0x5a),
      ),
  );
  const structures = new Map<number, Structure>();
  for (let at = machine.config(SLOT, 0x34, 1); at !== 0; at = machine.config(SLOT, at + 1, 1)) {
    if (machine.config(SLOT, at, 1) !== CAP_VENDOR_SPECIFIC) continue;
    structures.set(machine.config(SLOT, at + 3, 1), {
      capability: at,
      bar: machine.config(SLOT, at + 4, 1),
      offset: machine.config(SLOT, at + 8, 4),
      lengthBytes: machine.config(SLOT, at + 12, 4),
    });
  }
  const base = (type: number): number => {
    const structure = structures.get(type);
    if (!structure) throw new Error(`no structure ${type}`);
    return machine.bar(SLOT, structure.bar) + structure.offset;
  };
  const driver = {
    read: (offset: number, size: AccessSize): number => machine.mmio.read(base(CFG_COMMON) + offset, size),
    write: (offset: number, size: AccessSize, value: number): void =>
      machine.mmio.write(base(CFG_COMMON) + offset, size, value),
    features(low: number, high: number): number {
      driver.write(0x14, 1, 0);
      driver.write(0x14, 1, ACKNOWLEDGE_DRIVER);
      driver.write(0x08, 4, 0);
      driver.write(0x0c, 4, low);
      driver.write(0x08, 4, 1);
      driver.write(0x0c, 4, high);
      driver.write(0x14, 1, ACKNOWLEDGE_DRIVER | STATUS_FEATURES_OK);
      return driver.read(0x14, 1);
    },
    /** Places queue 0 with four entries and hands it over. */
    start(): void {
      driver.features(0, 1);
      driver.write(0x16, 2, 0);
      driver.write(0x18, 2, 4);
      driver.write(0x20, 4, DESC);
      driver.write(0x28, 4, AVAIL);
      driver.write(0x30, 4, USED);
      driver.write(0x1c, 2, 1);
      driver.write(0x14, 1, ACKNOWLEDGE_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    },
    notify: () => machine.mmio.write(base(CFG_NOTIFY), 2, 0),
    isr: () => machine.mmio.read(base(CFG_ISR), 1),
  };
  let available = 0;
  const ask = (lengthBytes: number): void => {
    machine.memory.writeU64(DESC, BigInt(BUFFER));
    machine.memory.writeU32(DESC + 8, lengthBytes);
    machine.memory.writeU16(DESC + 12, 2);
    machine.memory.writeU16(AVAIL + 4 + 2 * (available % 4), 0);
    machine.memory.writeU16(AVAIL + 2, ++available);
  };
  return { machine, device, structures, driver, ask };
}

describe('identification', () => {
  test.each([
    ['transitional', 0x10051af4, 0, 5],
    ['legacy', 0x10051af4, 0, 0],
    ['modern', 0x10441af4, 1, 5],
  ] as const)('%s', (transport, id, revision, capabilities) => {
    const { machine, structures } = setUp(transport);
    expect(machine.config(SLOT, 0, 4)).toBe(id);
    expect(machine.config(SLOT, 8, 1)).toBe(revision);
    // No device configuration: that structure is left out.
    expect(structures.size).toBe(Math.max(0, capabilities - 1));
    expect(machine.config(SLOT, 0x10, 4) & 1).toBe(transport === 'modern' ? 0 : 1);
  });
});

test('a request goes through rings wherever the driver puts them', () => {
  const { machine, driver, ask } = setUp();
  driver.start();
  expect(driver.read(0x18, 2)).toBe(4);
  expect(driver.read(0x1c, 2)).toBe(1);
  for (let round = 1; round <= 6; round++) {
    ask(16);
    driver.notify();
    expect(machine.memory.readU16(USED + 2)).toBe(round);
    expect(machine.memory.readU32(USED + 8 + 8 * ((round - 1) % 4))).toBe(16);
    expect(machine.memory.readU8(BUFFER + 15)).toBe(0x5a);
    expect(machine.interrupts.asserted().pins).toEqual([16]);
    expect(driver.isr()).toBe(1);
    expect(machine.interrupts.asserted().pins).toEqual([]);
  }
});

test('features: VERSION_1 is offered and must be accepted; nothing else may be', () => {
  const { driver } = setUp();
  driver.write(0x00, 4, 1);
  expect(driver.read(0x04, 4)).toBe(1);
  expect(driver.features(0, 1) & STATUS_FEATURES_OK).toBe(STATUS_FEATURES_OK);
  expect(driver.features(0, 0) & STATUS_FEATURES_OK).toBe(0);
  expect(driver.features(1, 1) & STATUS_FEATURES_OK).toBe(0);
  expect(driver.features(0, 3) & STATUS_FEATURES_OK).toBe(0);
});

test('rings that are not aligned, or not in memory, break the queue and nothing else', () => {
  for (const [register, value] of [
    [0x20, DESC + 4],
    [0x28, AVAIL + 1],
    [0x30, USED + 2],
    [0x24, 0x7fffffff],
  ] as const) {
    const { device, driver, ask, machine } = setUp();
    driver.features(0, 1);
    for (const [at, place] of [
      [0x20, DESC],
      [0x28, AVAIL],
      [0x30, USED],
      [register, value],
    ] as const) {
      driver.write(at, 4, place);
    }
    driver.write(0x1c, 2, 1);
    ask(16);
    driver.notify();
    expect(device.brokenQueues).toBe(1);
    expect(machine.interrupts.sent).toBe(0);
    driver.start();
    driver.notify();
    expect(machine.memory.readU16(USED + 2)).toBe(1);
  }
});

test('the window in configuration space leads to every structure', () => {
  const { machine, structures } = setUp();
  const window = structures.get(CFG_PCI)?.capability ?? 0;
  const bar = structures.get(CFG_COMMON)?.bar ?? 0;
  const through = (offset: number, size: AccessSize): void => {
    machine.setConfig(SLOT, window + 4, 1, bar);
    machine.setConfig(SLOT, window + 8, 4, offset);
    machine.setConfig(SLOT, window + 12, 4, size);
  };
  through(0x12, 2);
  expect(machine.config(SLOT, window + 16, 2)).toBe(1);
  through(0x14, 1);
  machine.setConfig(SLOT, window + 16, 1, ACKNOWLEDGE_DRIVER);
  expect(machine.config(SLOT, window + 16, 1)).toBe(ACKNOWLEDGE_DRIVER);
  through(0xfffffffe, 4);
  expect(() => machine.config(SLOT, window + 16, 4)).not.toThrow();
});

test('without bus mastering the device leaves memory and interrupts alone, and goes on when it is back', () => {
  const { machine, driver, ask } = setUp();
  driver.start();
  machine.setConfig(SLOT, 4, 2, 2);
  ask(16);
  driver.notify();
  expect(machine.memory.readU16(USED + 2)).toBe(0);
  machine.setConfig(SLOT, 4, 2, 6);
  expect(machine.memory.readU16(USED + 2)).toBe(1);
});

test('a snapshot of a started queue goes on in another machine', () => {
  const { machine, driver, ask } = setUp();
  driver.start();
  ask(16);
  const state = structuredClone(machine.pci.save());
  const other = setUp();
  const image = new Uint8Array(machine.memory.lowBytes);
  machine.memory.read(0, image);
  other.machine.memory.write(0, image);
  other.machine.pci.restore(state);
  expect(other.machine.pci.save()).toEqual(state);
  other.driver.notify();
  expect(other.machine.memory.readU16(USED + 2)).toBe(1);
  expect(other.driver.read(0x18, 2)).toBe(4);
});

test('random accesses neither throw nor write outside what the queues name', () => {
  const random = new FakeRandom(0x3040);
  const { machine, driver, ask, device } = setUp();
  for (let round = 0; round < 20_000; round++) {
    if (round % 16 === 0) driver.start();
    const size = random.pick<AccessSize>([1, 2, 4]);
    const offset = random.pick([random.below(0x3c), 0x1000 * random.below(4) + random.below(16)]);
    if (random.below(3) === 0) driver.read(offset, size);
    else driver.write(offset, size, random.pick([random.nasty(), random.below(8)]));
    if (random.below(4) === 0) {
      ask(random.below(64));
      driver.notify();
    }
  }
  expect(machine.memory.guardsIntact).toBe(true);
  expect(device.badAccesses).toBeGreaterThan(100);
  expect(machine.log.length).toBeLessThanOrEqual(16);
});
