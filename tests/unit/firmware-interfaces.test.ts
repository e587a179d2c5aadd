import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { PortBus, type AccessSize } from '../../devices/bus/port-bus.ts';
import { buildAcpiTables } from '../../devices/firmware/acpi/tables.ts';
import { FwCfg } from '../../devices/firmware/fw-cfg.ts';
import { fwCfgFiles } from '../../devices/firmware/fw-cfg-files.ts';
import { Fwctl, fwctlVariables } from '../../devices/firmware/fwctl.ts';
import { SnapshotError } from '../../devices/snapshot.ts';
import { FakeRandom } from '../support/fake-random.ts';

const text = (bytes: readonly number[]): string => String.fromCharCode(...bytes);

describe('fwctl', () => {
  function identified(): { ports: PortBus; device: Fwctl } {
    const ports = new PortBus();
    const device = new Fwctl(ports, fwctlVariables(6));
    ports.write(0x510, 2, 0);
    expect(text([0, 1, 2, 3].map(() => ports.read(0x511, 1)))).toBe('BHYV');
    return { ports, device };
  }
  /** Sends a request; returns the words of the response. */
  function ask(ports: PortBus, operation: number, payload: string, sizeBytes?: number): number[] {
    const bytes = Buffer.alloc(Math.ceil(payload.length / 4) * 4);
    bytes.write(payload, 'latin1');
    ports.write(0x510, 4, sizeBytes ?? 12 + bytes.length);
    ports.write(0x510, 4, operation);
    ports.write(0x510, 4, 77);
    for (let at = 0; at < bytes.length; at += 4) ports.write(0x510, 4, bytes.readUInt32LE(at));
    const size = ports.read(0x510, 4);
    const words = [size];
    for (let at = 4; at < size; at += 4) words.push(ports.read(0x510, 4));
    return words;
  }

  it('answers the number of processors, again and again', () => {
    const { ports, device } = identified();
    for (let round = 0; round < 2; round++) {
      expect(ask(ports, 4, 'hw.ncpu\0')).toEqual([24, 4, 77, 0, 4, 0]);
      expect(ask(ports, 3, 'hw.ncpu\0')).toEqual([28, 3, 77, 0, 4, 0, 6]);
    }
    expect(device.errors).toBe(0);
  });

  it('identifies itself as often as it is asked to, whatever was under way', () => {
    // edk2 2022.11 first looks for QEMU's fw_cfg, with the same write and four reads, and then for this.
    const { ports } = identified();
    const again = (): void => {
      ports.write(0x510, 2, 0);
      expect(text([0, 1, 2, 3].map(() => ports.read(0x511, 1)))).toBe('BHYV');
    };
    again();
    ports.write(0x510, 4, 20);
    again();
    expect(ask(ports, 3, 'hw.ncpu\0')[6]).toBe(6);
    ports.write(0x510, 2, 0);
    ports.read(0x511, 1);
    again();
    expect(ask(ports, 3, 'hw.ncpu\0')[6]).toBe(6);
  });

  it('reports unknown names, operations and sizes', () => {
    const { ports, device } = identified();
    expect(ask(ports, 3, 'hw.mem\0')).toEqual([16, 3, 77, 2]);
    expect(ask(ports, 5, 'hw.ncpu\0')).toEqual([16, 5, 77, 2]);
    expect(ask(ports, 3, 'x'.repeat(84))).toEqual([16, 3, 77, 7]);
    expect(ask(ports, 3, 'x'.repeat(80))).toEqual([16, 3, 77, 2]);
    expect(ask(ports, 3, '', 0)).toEqual([16, 3, 77, 40]);
    expect(device.errors).toBe(5);
    expect(ask(ports, 3, 'hw.ncpu\0')[6]).toBe(6);
  });

  it('reads all-ones outside the phases and ignores stray writes', () => {
    const ports = new PortBus();
    const device = new Fwctl(ports, fwctlVariables(1));
    expect(ports.read(0x511, 1)).toBe(0xff);
    expect(ports.read(0x510, 4)).toBe(0xffffffff);
    expect(ports.read(0x510, 2)).toBe(0xffff);
    ports.write(0x510, 4, 12);
    ports.write(0x510, 2, 1);
    expect(device.errors).toBe(5);
    ports.write(0x510, 2, 0);
    expect(ports.read(0x511, 1)).toBe(0x42);
  });

  it('continues from a saved state at every point of a conversation', () => {
    const steps: ((ports: PortBus) => number | undefined)[] = [];
    for (const word of [20, 3, 9, 0x6e2e7768, 0x00757063]) {
      steps.push((ports) => {
        ports.write(0x510, 4, word);
        return undefined;
      });
    }
    for (let word = 0; word < 7; word++) steps.push((ports) => ports.read(0x510, 4));
    for (let split = 0; split <= steps.length; split++) {
      const before = identified();
      const answers = steps.slice(0, split).map((step) => step(before.ports));
      const ports = new PortBus();
      const after = new Fwctl(ports, fwctlVariables(6));
      after.restore(before.device.save());
      answers.push(...steps.slice(split).map((step) => step(ports)));
      expect(answers.slice(5)).toEqual([28, 3, 9, 0, 4, 0, 6]);
      expect(ask(ports, 4, 'hw.ncpu\0')).toEqual([24, 4, 77, 0, 4, 0]);
    }
  });

  it('refuses a state in which nothing is left to read, and stays as it was', () => {
    const { device } = identified();
    const state = device.save();
    const broken = { ...state, fields: { ...state.fields, phase: 3, responseOffset: 0, responseBytes: 0 } };
    expect(() => device.restore(broken)).toThrow(SnapshotError);
    expect(device.save()).toEqual(state);
  });
});

const TABLES = buildAcpiTables({
  cpus: 2,
  lpc: { bus: 0, slot: 31, func: 0 },
  comPorts: [1],
  buses: [
    {
      bus: 0,
      io: { base: 0x2000, length: 0x1000 },
      mem32: { base: 0xc0000000, length: 0x100000 },
      mem64: { base: 0, length: 0 },
      routing: [],
    },
  ],
  ecam: { base: 0xe0000000, buses: 256 },
  hpet: true,
});

describe('fw_cfg', () => {
  const files = [
    ...fwCfgFiles({
      cpus: 2,
      lowmemBytes: 0xc0000000,
      highmemBytes: 0x40000000,
      bootDevices: [
        { slot: 4, func: 0, bootIndex: 2 },
        { slot: 10, func: 1, bootIndex: 1 },
      ],
      acpiTables: TABLES,
    }),
    { name: 'opt/user', bytes: Uint8Array.of(1, 2, 3) },
  ];
  const ports = new PortBus();
  const device = new FwCfg(ports, 2, files);
  const read = (key: number, count: number): Buffer => {
    ports.write(0x510, 2, key);
    return Buffer.from(Array.from({ length: count }, () => ports.read(0x511, 1)));
  };
  function directory(): { name: string; size: number; key: number }[] {
    const count = read(0x19, 4).readUInt32BE(0);
    const all = read(0x19, 4 + count * 64);
    return Array.from({ length: count }, (_, index) => {
      const entry = all.subarray(4 + index * 64, 68 + index * 64);
      return {
        size: entry.readUInt32BE(0),
        key: entry.readUInt16BE(4),
        name: entry.subarray(8, entry.indexOf(0, 8)).toString(),
      };
    });
  }
  const file = (name: string): Buffer => {
    const entry = directory().find((candidate) => candidate.name === name);
    if (!entry) throw new Error(`no file ${name}`);
    return read(entry.key, entry.size);
  };

  it('identifies itself and counts processors', () => {
    expect(read(0, 4).toString()).toBe('QEMU');
    expect(read(1, 4).readUInt32LE(0)).toBe(1);
    expect(read(5, 2).readUInt16LE(0)).toBe(2);
    expect(read(0xf, 2).readUInt16LE(0)).toBe(2);
    expect(ports.read(0x510, 2)).toBe(0xf);
  });

  it('lists files sorted by name and serves their bytes', () => {
    expect(directory().map(({ name, key }) => [name, key])).toEqual([
      ['bootorder', 0x20],
      ['etc/acpi/rsdp', 0x21],
      ['etc/acpi/tables', 0x22],
      ['etc/e820', 0x23],
      ['etc/table-loader', 0x24],
      ['opt/bhyve/hw.ncpu', 0x25],
      ['opt/user', 0x26],
    ]);
    expect(file('opt/user')).toEqual(Buffer.of(1, 2, 3));
    expect(file('opt/bhyve/hw.ncpu').readUInt32LE(0)).toBe(2);
    expect(file('bootorder').toString()).toBe('/pci@i0cf8/pci@10,1\n/pci@i0cf8/pci@4,0\n\0');
    const e820 = file('etc/e820');
    expect(e820.length).toBe(60);
    expect(e820.readBigUInt64LE(8)).toBe(0xa0000n);
    expect(e820.readBigUInt64LE(40)).toBe(0x1_0000_0000n);
  });

  it('reads zero past an item, from missing items and from the architecture’s own', () => {
    expect(read(0, 6)).toEqual(Buffer.from('QEMU\0\0'));
    expect(read(0x3000, 2)).toEqual(Buffer.of(0, 0));
    expect(read(0x8000, 2)).toEqual(Buffer.of(0, 0));
    const before = device.badAccesses;
    expect(ports.read(0x511, 4)).toBe(0xffffffff);
    expect(ports.read(0x510, 1)).toBe(0xff);
    ports.write(0x511, 1, 5);
    expect(device.badAccesses).toBe(before + 3);
  });

  it('refuses names that do not fit the directory', () => {
    const make = (...names: string[]) =>
      new FwCfg(
        new PortBus(),
        1,
        names.map((name) => ({ name, bytes: new Uint8Array(1) })),
      );
    expect(() => make('x'.repeat(56))).toThrow('not a fw_cfg file name');
    expect(() => make('')).toThrow('not a fw_cfg file name');
    expect(() => make('a', 'b', 'a')).toThrow('exists twice');
    expect(() => make('x'.repeat(55))).not.toThrow();
  });

  it('continues reading after a restore', () => {
    ports.write(0x510, 2, 0);
    ports.read(0x511, 1);
    const otherPorts = new PortBus();
    const other = new FwCfg(otherPorts, 2, files);
    other.restore(device.save());
    expect(otherPorts.read(0x511, 1)).toBe(0x45); // the E of QEMU
    expect(() => other.restore({ kind: 'fwctl', version: 1, fields: {} })).toThrow(SnapshotError);
  });

  it('gives firmware a script that rebuilds correct ACPI tables at another address', () => {
    const blobs = new Map<string, Buffer>();
    const bases = new Map<string, number>();
    const script = file('etc/table-loader');
    const nameAt = (at: number): string => script.subarray(at, script.indexOf(0, at)).toString();
    const blob = (name: string): Buffer => {
      const found = blobs.get(name);
      if (!found) throw new Error(`${name} was not allocated`);
      return found;
    };
    let nextBase = 0x1000_0000;
    for (let at = 0; at < script.length; at += 128) {
      const name = nameAt(at + 4);
      if (script.readUInt32LE(at) === 1) {
        blobs.set(name, Buffer.from(file(name)));
        bases.set(name, nextBase);
        nextBase += 0x10_0000;
      } else if (script.readUInt32LE(at) === 2) {
        const base = bases.get(nameAt(at + 60)) ?? 0;
        const offset = script.readUInt32LE(at + 116);
        const size = script.readUInt8(at + 120);
        blob(name).writeUIntLE(blob(name).readUIntLE(offset, Math.min(size, 6)) + base, offset, Math.min(size, 6));
      } else {
        const [result, start, length] = [60, 64, 68].map((field) => script.readUInt32LE(at + field));
        const range = blob(name).subarray(start ?? 0, (start ?? 0) + (length ?? 0));
        blob(name).writeUInt8(-range.reduce((total, byte) => total + byte, 0) & 0xff, result ?? 0);
      }
    }
    const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
    const rsdp = blob('etc/acpi/rsdp');
    expect(sum(rsdp.subarray(0, 20))).toBe(0);
    expect(sum(rsdp)).toBe(0);
    const tables = blob('etc/acpi/tables');
    const base = bases.get('etc/acpi/tables') ?? 0;
    const tableAt = (address: number): Buffer => {
      const from = tables.subarray(address - base);
      return from.subarray(0, from.readUInt32LE(4));
    };
    const xsdt = tableAt(Number(rsdp.readBigUInt64LE(24)));
    expect(sum(xsdt)).toBe(0);
    const signatures: string[] = [];
    for (let at = 36; at < xsdt.length; at += 8) {
      const table = tableAt(Number(xsdt.readBigUInt64LE(at)));
      expect(sum(table)).toBe(0);
      signatures.push(table.subarray(0, 4).toString());
    }
    expect(signatures).toEqual(['FACP', 'APIC', 'HPET', 'MCFG']);
    const fadt = tableAt(Number(xsdt.readBigUInt64LE(36)));
    expect(tableAt(fadt.readUInt32LE(40)).subarray(0, 4).toString()).toBe('DSDT');
    expect(
      tableAt(Number(fadt.readBigUInt64LE(132)))
        .subarray(0, 4)
        .toString(),
    ).toBe('FACS');
  });
});

describe('a million accesses of a hostile guest', () => {
  const file = { name: 'opt/x', bytes: Uint8Array.from({ length: 100 }, (_, at) => at) };
  it.each([
    ['fwctl', (ports: PortBus) => new Fwctl(ports, fwctlVariables(3))],
    ['fw_cfg', (ports: PortBus) => new FwCfg(ports, 3, [file])],
  ] as const)('%s', (_name, make) => {
    const random = new FakeRandom(0xf0c4);
    let ports = new PortBus();
    let device: Fwctl | FwCfg = make(ports);
    let answers = 0;
    for (let i = 1; i <= 1_000_000; i++) {
      const size = random.pick<AccessSize>([1, 2, 4]);
      const port = 0x510 + random.below(2);
      // A request of 4 GiB only ends with the machine's reset.
      if (random.below(1000) === 0) device.reset();
      if (random.below(100) === 0) {
        // A conversation, with a word missing here and there.
        const words = [random.pick([20, 20, 12, 24]), random.pick([3, 4, 5]), i, 0x6e2e7768, 0x7570636e, 0];
        if (random.below(2) === 0) ports.write(0x510, 2, 0);
        for (let byte = 0; byte < 4; byte++) ports.read(0x511, 1);
        for (const word of words) if (random.below(20) > 0) ports.write(0x510, 4, word);
      } else if (random.below(2) === 0) {
        const value = ports.read(port, size);
        if (!Number.isInteger(value) || value < 0) throw new Error(`read ${value}`);
        if (value !== 0xff && value !== 0xffff && value !== 0xffffffff && value !== 0) answers++;
      } else {
        ports.write(port, size, random.pick([0, 3, 4, 12, 20, 92, 0x19, 0x20, 0x6e2e7768, 0x7570636e, random.nasty()]));
      }
      if (i % 10_000 === 0) {
        // The machine goes on in a copy, as if nothing had happened.
        const state = structuredClone(device.save());
        ports = new PortBus();
        device = make(ports);
        device.restore(state);
        if (!isDeepStrictEqual(device.save(), state)) throw new Error('the copy has another state');
      }
    }
    expect(answers).toBeGreaterThan(1000);
  });
});
