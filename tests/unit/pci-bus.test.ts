import { describe, expect, test } from 'vitest';
import { md5 } from '../../devices/bus/md5.ts';
import { builderOf } from '../../devices/catalog.ts';
import { DummyDevice } from '../../devices/pci/dummy.ts';
import { PciFunction } from '../../devices/pci/function.ts';
import { HostBridge } from '../../devices/pci/hostbridge.ts';
import { Lpc } from '../../devices/pci/lpc.ts';
import { SnapshotError, type DeviceState } from '../../devices/snapshot.ts';
import { PciUart } from '../../devices/serial/pci-uart.ts';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import type { BarKind } from '../../devices/pci/bar.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeRandom } from '../support/fake-random.ts';

/** A function with whatever a test needs. */
class Sample extends PciFunction {
  writes: string[] = [];

  constructor(parts: {
    bars?: [number, BarKind, number][];
    msi?: number;
    msix?: number;
    intx?: boolean;
    pcie?: number;
  }) {
    super('sample', { vendorId: 0x1234, deviceId: 0x5678, classCode: 0xff, subclass: 0x01, progIf: 2, revisionId: 3 });
    for (const [index, kind, size] of parts.bars ?? []) this.addBar(index, kind, size);
    if (parts.msix) this.addMsix(parts.msix, 1);
    if (parts.msi) this.addMsi(parts.msi);
    if (parts.pcie !== undefined) this.addPcieCapability(parts.pcie);
    if (parts.intx ?? true) this.requestIntx();
  }

  protected override readBar(index: number, offset: number, _size: AccessSize): number {
    return index * 0x1000 + offset;
  }

  protected override writeBar(index: number, offset: number, size: AccessSize, value: number): void {
    this.writes.push(`${index}:${offset}:${size}:${value}`);
  }

  line(asserted: boolean): void {
    this.setIntx(asserted);
  }

  message(vector: number): void {
    if (this.msixEnabled) this.raiseMsix(vector);
    else this.raiseMsi(vector);
  }
}

const slot = (number: number, func = 0) => ({ bus: 0, slot: number, func });

describe('configuration mechanism 1', () => {
  test('reads the identification of a host bridge by byte, word and dword', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(0), new HostBridge());
    machine.pci.configure();
    machine.ports.write(0xcf8, 4, 0x80000000);
    expect(machine.ports.read(0xcfc, 4)).toBe(0x12751275);
    expect(machine.ports.read(0xcfe, 2)).toBe(0x1275);
    expect(machine.ports.read(0xcfd, 1)).toBe(0x12);
    machine.ports.write(0xcf8, 4, 0x80000008);
    expect(machine.ports.read(0xcfc, 4)).toBe(0x06000000);
    expect(machine.capability(0, 0x10)).toBe(0x40);
    // Root port, version 2; link capabilities as bhyve's.
    expect(machine.config(0, 0x42, 2)).toBe(0x42);
    expect(machine.config(0, 0x40 + 12, 4)).toBe(0x411);
  });

  test('the address register takes dwords alone, and its enable bit counts', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(0), new HostBridge());
    machine.pci.configure();
    machine.ports.write(0xcf8, 4, 0xffffffff);
    expect(machine.ports.read(0xcf8, 4)).toBe(0x80fffffc);
    machine.ports.write(0xcf8, 2, 0);
    expect(machine.ports.read(0xcf8, 4)).toBe(0x80fffffc);
    expect(machine.ports.read(0xcf8, 1)).toBe(0xff);
    machine.ports.write(0xcf8, 4, 0);
    expect(machine.ports.read(0xcfc, 4)).toBe(0xffffffff);
  });

  test('absent functions and unaligned accesses read all ones', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(0), new HostBridge());
    machine.pci.configure();
    expect(machine.config(1, 0, 4)).toBe(0xffffffff);
    expect(machine.config(0, 0, 2, 1)).toBe(0xffff);
    expect(machine.config(0, 1, 2)).toBe(0xffff);
    machine.ports.write(0xcf8, 4, 0x80000000);
    expect(machine.ports.read(0xcfd, 2)).toBe(0xffff);
    expect(machine.ports.read(0xcfe, 4)).toBe(0xffffffff);
  });

  test('extended configuration space is empty', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(0), new HostBridge());
    machine.pci.configure();
    expect(machine.config(0, 0x100, 4)).toBe(0);
    expect(machine.config(0, 0x100, 2)).toBe(0xffff);
    expect(machine.config(0, 0x104, 4)).toBe(0xffffffff);
    machine.setConfig(0, 0x100, 4, 0x12345678);
    expect(machine.config(0, 0x100, 4)).toBe(0);
  });

  test('header fields are read-only, the multifunction bit is computed', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(4), new Sample({}));
    machine.pci.add(slot(5), new Sample({}));
    machine.pci.add(slot(5, 3), new Sample({}));
    machine.pci.configure();
    for (const offset of [0x00, 0x08, 0x0c, 0x2c, 0x30, 0x34]) machine.setConfig(4, offset, 4, 0xffffffff);
    expect(machine.config(4, 0, 4)).toBe(0x56781234);
    expect(machine.config(4, 8, 4)).toBe(0xff010203);
    expect(machine.config(4, 0x0c, 4)).toBe(0x0000ffff);
    expect(machine.config(4, 0x30, 4)).toBe(0);
    expect(machine.config(5, 0x0e, 1)).toBe(0x80);
    expect(machine.config(5, 0x0c, 4, 3)).toBe(0x00800000);
    machine.setConfig(4, 4, 4, 0xffffffff);
    expect(machine.config(4, 4, 4)).toBe(0x0000077f);
    machine.setConfig(4, 0x3c, 1, 0x0b);
    expect(machine.config(4, 0x3c, 2)).toBe(0x010b);
  });
});

describe('BARs', () => {
  const bars: [number, BarKind, number][] = [
    [0, 'io', 0x20],
    [1, 'mem32', 0x3000],
    [2, 'mem64', 0x10000],
    [4, 'mem64', 256 * 1024 * 1024],
  ];

  function machineWithBars(): { machine: FakeMachine; device: Sample } {
    return FakeMachine.with(() => new Sample({ bars }));
  }

  test('get addresses by decreasing size, 64-bit ones above 128 MiB in the high window', () => {
    const { machine } = machineWithBars();
    expect(machine.config(3, 0x10, 4)).toBe(0x2001);
    expect(machine.config(3, 0x18, 4)).toBe(0xc0000004);
    expect(machine.config(3, 0x1c, 4)).toBe(0);
    expect(machine.config(3, 0x14, 4)).toBe(0xc0010000);
    expect(machine.config(3, 0x20, 4)).toBe(0x0000000c);
    expect(machine.config(3, 0x24, 4)).toBe(8); // 32 GiB
    const [bus] = machine.pci.describe();
    expect(bus).toMatchObject({
      bus: 0,
      io: { base: 0x2000, limit: 0x2040 },
      mem32: { base: 0xc0000000, limit: 0xc0200000 },
      mem64: { base: 2 ** 35, limit: 2 ** 35 + 1024 * 1024 * 1024 },
    });
  });

  test('tell their size', () => {
    const { machine } = machineWithBars();
    for (let offset = 0x10; offset < 0x28; offset += 4) machine.setConfig(3, offset, 4, 0xffffffff);
    const values = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map((offset) => machine.config(3, offset, 4));
    expect(values).toEqual([0xffe1, 0xffffc000, 0xffff0004, 0xffffffff, 0xf000000c, 0xffffffff]);
    machine.setConfig(3, 0x18, 2, 0);
    expect(machine.config(3, 0x18, 4)).toBe(0xffff0004);
  });

  test('decode while enabled, at the address that the guest set', () => {
    const { machine, device } = machineWithBars();
    expect(machine.ports.read(0x2004, 1)).toBe(4);
    expect(machine.mmio.read(0xc0010008, 4)).toBe(0x1008);
    machine.mmio.write(2 ** 35 + 0x10, 4, 99);
    expect(device.writes).toEqual(['4:16:4:99']);
    machine.setConfig(3, 4, 2, 0);
    expect(machine.ports.claimed(0x2004)).toBe(false);
    expect(machine.mmio.read(0xc0010008, 4)).toBe(0xffffffff);
    machine.setConfig(3, 0x10, 4, 0x3000);
    machine.setConfig(3, 0x14, 4, 0xd0000000);
    machine.setConfig(3, 4, 2, 3);
    expect(machine.ports.read(0x3004, 1)).toBe(4);
    expect(machine.mmio.read(0xd0000008, 4)).toBe(0x1008);
    machine.setConfig(3, 0x10, 4, 0x4000);
    expect(machine.ports.claimed(0x3004)).toBe(false);
    expect(machine.ports.read(0x4008, 2)).toBe(8);
  });

  test('an access that runs over the end of a BAR does not reach the device', () => {
    const { machine, device } = machineWithBars();
    expect(machine.ports.read(0x201f, 4)).toBe(0xffffffff);
    machine.ports.write(0x201f, 2, 1);
    expect(device.writes).toEqual([]);
    expect(device.badAccesses).toBe(2);
  });

  test('ports that another device has are not handed out', () => {
    const machine = new FakeMachine();
    // As pc-testdev: 24 interrupt lines from the first port on that BARs may use.
    machine.ports.claim('test irq lines', 0x2000, 24, { readPort: () => 0, writePort: () => undefined });
    const [large, small] = [new Sample({ bars: [[0, 'io', 64]] }), new Sample({ bars: [[0, 'io', 8]] })];
    machine.pci.add(slot(1), large);
    machine.pci.add(slot(2), small);
    machine.pci.configure();
    expect([large, small].map((fn) => fn.bars[0]?.address)).toEqual([0x2040, 0x2080]);
    expect([large, small].map((fn) => fn.barConflicts)).toEqual([0, 0]);
  });

  test('one that collides is told of and stays dark until the other goes', () => {
    const messages: string[] = [];
    const machine = new FakeMachine({ message: (text) => messages.push(text) });
    const first = new Sample({ bars: [[0, 'io', 8]] });
    const second = new Sample({ bars: [[0, 'io', 8]] });
    machine.pci.add(slot(1), first);
    machine.pci.add(slot(2), second);
    machine.pci.configure();
    machine.setConfig(2, 0x10, 4, 0x2000);
    expect(second.barConflicts).toBe(1);
    expect(messages).toEqual([
      'pci 0:2.0: BAR 0 decodes nothing: port 0x2000 wanted by sample BAR0 belongs to sample BAR0',
    ]);
    machine.ports.write(0x2000, 1, 7);
    expect([first.writes.length, second.writes.length]).toEqual([1, 0]);
    machine.setConfig(1, 0x10, 4, 0x5000);
    machine.ports.write(0x2000, 1, 7);
    expect([first.writes.length, second.writes.length]).toEqual([1, 1]);
    // The interrupt controllers' own ports cannot be taken either.
    machine.setConfig(1, 0x10, 4, 0xcf8);
    machine.ports.write(0xcf8, 4, 0x80000000);
    expect(first.writes.length).toBe(1);
  });

  test('conflicts that a guest makes by the hundred are counted, and told of twenty times', () => {
    const messages: string[] = [];
    const machine = new FakeMachine({ message: (text) => messages.push(text) });
    const sample = new Sample({ bars: [[0, 'io', 8]] });
    machine.ports.claim('other', 0x6000, 0x1000, { readPort: () => 0, writePort: () => undefined });
    machine.pci.add(slot(1), sample);
    machine.pci.configure();
    for (let i = 0; i < 200; i++) machine.setConfig(1, 0x10, 4, 0x6000 + 8 * i);
    expect(sample.barConflicts).toBe(200);
    expect(messages.length).toBe(20);
  });

  test('with a boot ROM decoders start off', () => {
    const machine = new FakeMachine({ bootRom: true });
    machine.pci.add(slot(3), new Sample({ bars }));
    machine.pci.configure();
    expect(machine.config(3, 4, 2)).toBe(4);
    expect(machine.config(3, 0x10, 4)).toBe(0x2001);
    expect(machine.ports.claimed(0x2000)).toBe(false);
  });

  test('too many for the address space are refused', () => {
    const machine = new FakeMachine();
    machine.pci.add(slot(1), new Sample({ bars: [[0, 'mem32', 2 ** 28]] }));
    machine.pci.add(slot(2), new Sample({ bars: [[0, 'mem32', 2 ** 28]] }));
    machine.pci.add(slot(3), new Sample({ bars: [[0, 'mem32', 4096]] }));
    expect(() => machine.pci.configure()).toThrow(/no room for BAR 0/);
  });
});

describe('INTx', () => {
  test('pins spread over a slot, I/O APIC pins go round, links follow', () => {
    const machine = new FakeMachine();
    for (let func = 0; func < 5; func++) machine.pci.add(slot(2, func), new Sample({}));
    for (let number = 3; number < 9; number++) machine.pci.add(slot(number), new Sample({}));
    machine.pci.configure();
    expect([0, 1, 2, 3, 4].map((func) => machine.config(2, 0x3d, 1, func))).toEqual([1, 2, 3, 4, 1]);
    const routing = machine.pci.describe()[0]?.routing ?? [];
    expect(routing.map(({ slot: s, pin, ioApicPin, pirqLink }) => [s, pin, ioApicPin, pirqLink])).toEqual([
      [2, 1, 16, 1],
      [2, 2, 17, 2],
      [2, 3, 18, 3],
      [2, 4, 19, 4],
      [3, 1, 20, 5],
      [4, 1, 21, 6],
      [5, 1, 22, 7],
      [6, 1, 23, 8],
      [7, 1, 16, 1],
      [8, 1, 17, 2],
    ]);
    // Least used of the permitted IRQs; 1 and 12 are reserved, the SCI counts as a user of 9.
    expect([2, 3, 4, 5, 6].map((s) => machine.config(s, 0x3c, 1))).toEqual([3, 7, 10, 11, 14]);
    expect(machine.config(8, 0x3c, 1)).toBe(4);
  });

  test('with a boot ROM the fixed formula holds', () => {
    const machine = new FakeMachine({ bootRom: true, reservedIrqs: [1, 12, 4, 3] });
    machine.pci.add(slot(3), new Sample({}));
    machine.pci.add(slot(31), new Sample({}));
    machine.pci.configure();
    expect(machine.pci.describe()[0]?.routing).toEqual([
      { slot: 3, pin: 1, ioApicPin: 16, pirqLink: 1 },
      { slot: 31, pin: 1, ioApicPin: 20, pirqLink: 5 },
    ]);
    expect([machine.config(3, 0x3c, 1), machine.config(31, 0x3c, 1)]).toEqual([5, 6]);
  });

  test('reaches the I/O APIC pin and the link, wired-OR', () => {
    const machine = new FakeMachine();
    const devices = Array.from({ length: 9 }, () => new Sample({}));
    devices.forEach((device, index) => machine.pci.add(slot(index + 1), device));
    machine.pci.configure();
    const [first, last] = [devices[0], devices[8]];
    first?.line(true);
    last?.line(true);
    expect(machine.interrupts.asserted()).toEqual({ isa: [3], pins: [16] });
    first?.line(false);
    expect(machine.interrupts.asserted()).toEqual({ isa: [3], pins: [16] });
    last?.line(false);
    expect(machine.interrupts.asserted()).toEqual({ isa: [], pins: [] });
  });

  test('obeys the interrupt disable bit, and shows in the status register', () => {
    const { machine, device } = FakeMachine.with(() => new Sample({}));
    device.line(true);
    expect(machine.config(3, 6, 2) & 8).toBe(8);
    machine.setConfig(3, 4, 2, 0x400);
    expect(machine.interrupts.asserted().pins).toEqual([]);
    expect(machine.config(3, 6, 2) & 8).toBe(8);
    machine.setConfig(3, 4, 2, 0);
    expect(machine.interrupts.asserted().pins).toEqual([16]);
    void machine.pci.reset();
    expect(machine.interrupts.asserted()).toEqual({ isa: [], pins: [] });
  });

  test('the LPC bridge re-routes a link, also while it is asserted', () => {
    const machine = new FakeMachine();
    const device = new Sample({});
    machine.pci.add(slot(3), device);
    machine.pci.add(slot(31), new Lpc());
    machine.pci.configure();
    expect(machine.config(31, 0, 4)).toBe(0x70008086);
    expect(machine.config(31, 0x60, 4)).toBe(0x80808003);
    device.line(true);
    expect(machine.interrupts.asserted().isa).toEqual([3]);
    machine.setConfig(31, 0x60, 1, 0x0a);
    expect(machine.interrupts.asserted().isa).toEqual([10]);
    expect(machine.config(31, 0x60, 1)).toBe(0x0a);
    machine.setConfig(31, 0x60, 1, 0x80);
    expect(machine.interrupts.asserted().isa).toEqual([]);
    machine.setConfig(31, 0x60, 1, 0x08); // not a permitted IRQ
    expect(machine.interrupts.asserted()).toEqual({ isa: [], pins: [16] });
    machine.setConfig(31, 0x68, 1, 0xff);
    expect(machine.config(31, 0x68, 1)).toBe(0x8f);
    void machine.pci.reset();
    expect(machine.config(31, 0x60, 4)).toBe(0x80808003);
  });
});

describe('message-signalled interrupts', () => {
  test('MSI sends as many messages as the guest allows', () => {
    const { machine, device } = FakeMachine.with(() => new Sample({ msi: 4, intx: true }));
    const cap = machine.capability(3, 5);
    expect(machine.config(3, cap + 2, 2)).toBe(0x84);
    device.message(0);
    expect(machine.interrupts.messages).toEqual([]);
    machine.setConfig(3, cap, 4, 0xffffffff);
    expect(machine.config(3, cap, 4) & 0xffff).toBe(0x0005);
    machine.setConfig(3, cap + 4, 4, 0xfee01003);
    machine.setConfig(3, cap + 8, 4, 0);
    machine.setConfig(3, cap + 12, 2, 0x41);
    machine.setConfig(3, cap + 2, 2, 0x11); // two messages
    device.message(0);
    device.message(1);
    device.message(2);
    expect(machine.interrupts.messages).toEqual([
      { address: 0xfee01000n, data: 0x41 },
      { address: 0xfee01000n, data: 0x42 },
    ]);
    device.line(true);
    expect(machine.interrupts.asserted().pins).toEqual([]);
    machine.setConfig(3, cap + 2, 2, 0);
    expect(machine.interrupts.asserted().pins).toEqual([16]);
  });

  test('MSI-X keeps a masked message until the mask goes', () => {
    const { machine, device } = FakeMachine.with(() => new Sample({ msix: 3 }));
    const cap = machine.capability(3, 0x11);
    const table = machine.bar(3, 1);
    expect(machine.config(3, cap + 2, 2)).toBe(2);
    expect(machine.config(3, cap + 4, 4)).toBe(1);
    expect(machine.config(3, cap + 8, 4)).toBe(0x1001);
    expect(device.bars[0]?.sizeBytes).toBe(0x2000);
    expect(machine.mmio.read(table + 12, 4)).toBe(1);
    machine.setConfig(3, cap + 2, 2, 0x8000);
    machine.mmio.write(table + 16, 4, 0xfee00000);
    machine.mmio.write(table + 24, 4, 0x31);
    device.message(1);
    device.message(3);
    expect(machine.interrupts.messages).toEqual([]);
    expect(machine.mmio.read(table + 0x1000, 4)).toBe(2);
    machine.mmio.write(table + 28, 4, 0);
    expect(machine.interrupts.messages).toEqual([{ address: 0xfee00000n, data: 0x31 }]);
    expect(machine.mmio.read(table + 0x1000, 4)).toBe(0);
    machine.setConfig(3, cap + 2, 2, 0xc000);
    device.message(1);
    device.message(1);
    expect(machine.interrupts.messages.length).toBe(1);
    machine.setConfig(3, cap + 2, 2, 0x8000);
    expect(machine.interrupts.messages.length).toBe(2);
    machine.mmio.write(table + 0x1000, 4, 0xffffffff);
    expect(machine.mmio.read(table + 0x1000, 4)).toBe(0);
    machine.mmio.write(table + 16, 2, 0);
    expect(machine.mmio.read(table + 16, 4)).toBe(0xfee00000);
  });

  test('MSI wins when both are on', () => {
    const { machine, device } = FakeMachine.with(() => new Sample({ msix: 2, msi: 1 }));
    machine.setConfig(3, machine.capability(3, 0x11) + 2, 2, 0x8000);
    expect(device.msixEnabled).toBe(true);
    machine.setConfig(3, machine.capability(3, 5) + 2, 2, 1);
    expect(device.msixEnabled).toBe(false);
  });
});

test('the dummy device raises MSI and keeps what is written', () => {
  const { machine } = FakeMachine.with(() => new DummyDevice());
  const cap = machine.capability(3, 5);
  machine.setConfig(3, cap + 4, 4, 0xfee00000);
  machine.setConfig(3, cap + 2, 2, 0x21);
  machine.ports.write(machine.bar(3, 0) + 4, 4, 6);
  expect(machine.interrupts.messages).toEqual([{ address: 0xfee00000n, data: 2 }]);
  machine.mmio.write(machine.bar(3, 2) + 0x10, 4, 0xdeadbeef);
  expect(machine.mmio.read(machine.bar(3, 2) + 0x12, 2)).toBe(0xdead);
});

test('the PCI uart passes registers on and tells the core where its BAR and its interrupt lead', () => {
  let irq = false;
  let intx = 0;
  const log: string[] = [];
  const core = {
    read: (register: number) => 0x60 + register,
    write: (register: number, value: number) => {
      log.push(`${register}=${value}`);
      irq = value === 1;
    },
    irqLevel: () => irq,
    decode: (port: number | undefined) => log.push(`at ${port}`),
    route: (lines: number) => {
      intx = lines;
    },
  };
  const { machine } = FakeMachine.with(() => new PciUart(core, 4));
  expect(machine.config(3, 0, 4)).toBe(0x2000131f);
  const base = machine.bar(3, 0);
  // The core answers at the BAR's address itself, for as long as it is decoded there.
  expect(log.splice(0)).toEqual([`at ${base}`]);
  expect(machine.ports.read(base + 5, 1)).toBe(0x65);
  machine.ports.write(base + 1, 1, 1);
  expect(log).toEqual(['1=1']);
  expect(machine.ports.read(base, 2)).toBe(0xffff);
  // The line is the core's, and so is its level in the status register.
  expect(machine.interrupts.asserted().pins).toEqual([]);
  expect(machine.config(3, 6, 2) & 8).toBe(8);
  irq = false;
  expect(machine.config(3, 6, 2) & 8).toBe(0);
  const home = (1 << 16) | (1 << machine.config(3, 0x3c, 1));
  expect(intx).toBe(home);
  machine.setConfig(3, 4, 2, 0x401);
  expect(intx).toBe(0);
  machine.setConfig(3, 4, 2, 1);
  expect(intx).toBe(home);
  machine.pci.pirqs.writeLink(1, 10);
  expect(intx).toBe((1 << 16) | (1 << 10));
  machine.pci.pirqs.writeLink(1, 0x80);
  expect(intx).toBe(1 << 16);
  void machine.pci.reset();
  expect(intx).toBe(home);
});

describe('snapshots', () => {
  function build(): { machine: FakeMachine; device: Sample } {
    const machine = new FakeMachine();
    const device = new Sample({ bars: [[0, 'io', 16]], msix: 2, msi: 2 });
    machine.pci.add(slot(3), device);
    machine.pci.add(slot(4), new DummyDevice());
    machine.pci.add(slot(31), new Lpc());
    machine.pci.configure();
    return { machine, device };
  }

  test('round trip', () => {
    const { machine, device } = build();
    machine.ports.write(0xcf8, 4, 0x80001810);
    machine.setConfig(3, 0x10, 4, 0x6000);
    machine.setConfig(31, 0x60, 1, 0x0b);
    machine.ports.write(machine.bar(4, 0), 4, 0x01020304);
    device.line(true);
    const state = machine.pci.save();
    const other = build();
    other.machine.pci.restore(structuredClone(state));
    expect(other.machine.pci.save()).toEqual(state);
    expect(other.machine.interrupts.asserted()).toEqual(machine.interrupts.asserted());
    expect(other.machine.ports.read(0x6004, 1)).toBe(4);
    expect(other.machine.ports.read(0xcfc, 4)).toBe(0x6001);
  });

  test('a state that does not fit changes nothing', () => {
    const { machine } = build();
    const before = machine.pci.save();
    const other = new FakeMachine();
    other.pci.add(slot(3), new Sample({}));
    other.pci.configure();
    expect(() => machine.pci.restore(other.pci.save())).toThrow(SnapshotError);
    const functions = before.fields['functions'] as unknown as Record<string, DeviceState>;
    const dummy = functions['0.4.0'] as DeviceState;
    const broken = {
      ...before,
      fields: {
        ...before.fields,
        functions: { ...functions, '0.4.0': { ...dummy, fields: { ...dummy.fields, config: new Uint8Array(3) } } },
      },
    } as DeviceState;
    expect(() => machine.pci.restore(broken)).toThrow(/config/);
    expect(machine.pci.save()).toEqual(before);
  });
});

test('the catalog builds what it names', async () => {
  const machine = new FakeMachine();
  const context = machine.context();
  for (const name of ['hostbridge', 'lpc', 'uart', 'dummy']) {
    const fn = await builderOf(name)?.(context, slot(1), { get: () => undefined });
    expect(fn?.kind).toBe(name);
  }
  const bridge = await builderOf('hostbridge')?.(context, slot(0), {
    get: (name) => (name === 'pcireg.vendor' ? '0x8086' : undefined),
  });
  expect(bridge?.readConfig(0, 4)).toBe(0x12758086);
  expect(() => builderOf('lpc')?.(context, { bus: 1, slot: 0, func: 0 }, { get: () => undefined })).toThrow(/bus 0/);
});

test('random configuration and BAR accesses neither throw nor leave a claim behind', () => {
  const random = new FakeRandom(0x50c1);
  const machine = new FakeMachine();
  const devices = [
    new Sample({
      bars: [
        [0, 'io', 32],
        [2, 'mem64', 2 ** 14],
      ],
      msix: 4,
      msi: 8,
    }),
    new Sample({
      bars: [
        [0, 'mem32', 64],
        [4, 'mem64', 2 ** 28],
      ],
      pcie: 0,
    }),
    new DummyDevice(),
    new Lpc(),
  ];
  devices.forEach((device, index) => machine.pci.add(slot(index), device));
  machine.pci.configure();
  for (let i = 0; i < 1_000_000; i++) {
    const size = random.pick<AccessSize>([1, 2, 4]);
    const number = random.below(5);
    switch (random.below(6)) {
      case 0:
        machine.setConfig(number, random.below(0x110), size, random.nasty());
        break;
      case 1:
        machine.setConfig(
          number,
          0x10 + 4 * random.below(6),
          4,
          random.pick([0x2000, 0xc0000000, 0xe0000000, random.nasty()]),
        );
        break;
      case 2:
        machine.setConfig(number, 4, 2, random.below(2048));
        break;
      case 3:
        machine.mmio.write(machine.bar(number, random.below(6)) + random.below(0x1010), size, random.nasty());
        break;
      case 4:
        machine.ports.write(random.pick([0xcf8, 0xcfc, machine.bar(number, 0) & 0xffff]), size, random.nasty());
        break;
      default:
        if (devices[0] instanceof Sample) devices[0].message(random.below(9));
    }
  }
  void machine.pci.reset();
  for (const device of devices) {
    for (const bar of device.bars) expect(bar.claimedAddress).toBe(bar.address);
  }
  for (let number = 0; number < 4; number++) machine.setConfig(number, 4, 2, 0);
  for (let port = 0x1000; port < 0x10000; port++) expect(machine.ports.claimed(port)).toBe(false);
});

test('MD5 of RFC 1321, A.5', () => {
  const hex = (text: string): string =>
    [...md5(new TextEncoder().encode(text))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  expect(hex('')).toBe('d41d8cd98f00b204e9800998ecf8427e');
  expect(hex('message digest')).toBe('f96b697d7cb7938d525a2f31aaf161d0');
  const digits = '1234567890'.repeat(8);
  expect(hex(digits)).toBe('57edf4a22be3c955ac49da2e2107b67a');
  expect(hex(digits.slice(0, 55))).toBe('c9ccf168914a1bcfc3229f1948e67da0');
});
