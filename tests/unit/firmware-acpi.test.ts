import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FirmwareTableError, type AcpiParameters } from '../../devices/firmware/acpi/parameters.ts';
import { buildAcpiTables, type PlacedTable } from '../../devices/firmware/acpi/tables.ts';

const BUS_0 = {
  bus: 0,
  io: { base: 0x2000, length: 0x80a0 },
  mem32: { base: 0xc0000000, length: 0x10000000 },
  mem64: { base: 0x8_0000_0000, length: 0x8_0000_0000 },
  routing: [
    { slot: 2, pin: 1, ioapicPin: 16, pirqLink: 0 },
    { slot: 31, pin: 4, ioapicPin: 23, pirqLink: 7 },
  ],
};
const BUS_1 = {
  bus: 1,
  io: { base: 0xb000, length: 0x20 },
  mem32: { base: 0xd0000000, length: 0x100000 },
  mem64: { base: 0, length: 0 },
  routing: [{ slot: 2, pin: 1, ioapicPin: 18, pirqLink: 2 }],
};
const ECAM = { base: 0xe0000000, buses: 256 };

const FULL: AcpiParameters = {
  cpus: 16,
  lpc: { bus: 0, slot: 31, func: 0 },
  comPorts: [1, 2, 3, 4],
  buses: [BUS_0, BUS_1],
  ecam: ECAM,
  hpet: true,
  generationIdGpa: 0xff000000,
  fwCfg: true,
  tpmGpa: 0xfed40000,
  domains: [
    { id: 0, cpus: [0, 1, 2], memory: [{ base: 0, length: 0x10000000 }] },
    {
      id: 1,
      cpus: [3],
      memory: [
        { base: 0x10000000, length: 0xb0000000 },
        { base: 0x1_0000_0000, length: 0x10000000 },
      ],
    },
  ],
};
const MINIMAL: AcpiParameters = {
  cpus: 1,
  comPorts: [],
  buses: [{ ...BUS_0, routing: [] }],
  hpet: false,
};
const WITHOUT_LPC: AcpiParameters = { cpus: 2, comPorts: [], buses: [BUS_0], ecam: ECAM, hpet: true };

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const viewOf = (table: PlacedTable): DataView =>
  new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
function find(tables: readonly PlacedTable[], name: string): PlacedTable {
  const table = tables.find((candidate) => candidate.name === name);
  if (!table) throw new Error(`no ${name}`);
  return table;
}

describe.each([
  ['everything', FULL],
  ['a minimal machine', MINIMAL],
  ['no LPC bridge', WITHOUT_LPC],
])('ACPI tables of %s', (_name, parameters) => {
  const tables = buildAcpiTables(parameters);

  it('have correct checksums and lengths', () => {
    for (const table of tables) {
      if (table.name === 'RSDP') {
        expect(sum(table.bytes.subarray(0, 20))).toBe(0);
        expect(sum(table.bytes)).toBe(0);
        expect(viewOf(table).getUint32(20, true)).toBe(table.bytes.length);
      } else {
        expect(viewOf(table).getUint32(4, true), table.name).toBe(table.bytes.length);
        if (table.name !== 'FACS') expect(sum(table.bytes), table.name).toBe(0);
      }
    }
  });

  it('do not overlap and end below 1 MiB', () => {
    const sorted = [...tables].sort((left, right) => left.gpa - right.gpa);
    expect(sorted[0]?.gpa).toBe(0xf2400);
    for (const [index, table] of sorted.entries()) {
      expect(table.gpa + table.bytes.length).toBeLessThanOrEqual(sorted[index + 1]?.gpa ?? 0x100000);
    }
  });

  it('are all reachable from the RSDP by both root tables', () => {
    const rsdp = viewOf(find(tables, 'RSDP'));
    const rsdt = find(tables, 'RSDT');
    const xsdt = find(tables, 'XSDT');
    expect(rsdp.getUint32(16, true)).toBe(rsdt.gpa);
    expect(rsdp.getBigUint64(24, true)).toBe(BigInt(xsdt.gpa));
    const by32: number[] = [];
    for (let at = 36; at < rsdt.bytes.length; at += 4) by32.push(viewOf(rsdt).getUint32(at, true));
    const by64: number[] = [];
    for (let at = 36; at < xsdt.bytes.length; at += 8) by64.push(Number(viewOf(xsdt).getBigUint64(at, true)));
    const wanted = tables
      .filter(({ name }) => ['MADT', 'FADT', 'HPET', 'MCFG', 'SRAT', 'TPM2'].includes(name))
      .map(({ gpa }) => gpa);
    expect([...by32].sort()).toEqual([...wanted].sort());
    expect([...by64].sort()).toEqual([...wanted].sort());
    const fadt = viewOf(find(tables, 'FADT'));
    expect(fadt.getUint32(36, true)).toBe(find(tables, 'FACS').gpa);
    expect(fadt.getUint32(40, true)).toBe(find(tables, 'DSDT').gpa);
    expect(fadt.getBigUint64(132, true)).toBe(BigInt(find(tables, 'FACS').gpa));
    expect(fadt.getBigUint64(140, true)).toBe(BigInt(find(tables, 'DSDT').gpa));
    expect(find(tables, 'FACS').gpa % 64).toBe(0);
  });
});

describe('ACPI table contents', () => {
  const tables = buildAcpiTables(FULL);

  it('MADT lists processors, the I/O APIC, both overrides and the NMI', () => {
    const { bytes } = find(tables, 'MADT');
    const entries: string[] = [];
    for (let at = 44; at < bytes.length; at += bytes[at + 1] ?? 1) {
      entries.push(Buffer.from(bytes.subarray(at, at + (bytes[at + 1] ?? 1))).toString('hex'));
    }
    expect(entries.slice(0, 16)).toEqual(
      Array.from({ length: 16 }, (_, cpu) => {
        const id = cpu.toString(16).padStart(2, '0');
        return `0008${id}${id}01000000`;
      }),
    );
    expect(entries.slice(16)).toEqual([
      '010c00000000c0fe00000000',
      '020a0000020000000500',
      '020a0009090000000f00',
      '0406ff050001',
    ]);
  });

  it('SRAT puts processors and memory into domains; TPM2 leads to the control area', () => {
    const srat = viewOf(find(tables, 'SRAT'));
    const entries: (number | bigint)[][] = [];
    for (let at = 48; at < srat.byteLength; at += srat.getUint8(at + 1)) {
      if (srat.getUint8(at) === 0)
        entries.push([srat.getUint8(at + 2), srat.getUint8(at + 3), srat.getUint32(at + 4, true)]);
      else
        entries.push([srat.getUint32(at + 2, true), srat.getBigUint64(at + 8, true), srat.getBigUint64(at + 16, true)]);
    }
    expect(entries).toEqual([
      ...[0, 1, 2].map((cpu) => [0, cpu, 1]),
      [1, 3, 1],
      [0, 0n, 0x10000000n],
      [1, 0x10000000n, 0xb0000000n],
      [1, 0x1_0000_0000n, 0x10000000n],
    ]);
    const tpm2 = viewOf(find(tables, 'TPM2'));
    expect([tpm2.getBigUint64(40, true), tpm2.getUint32(48, true)]).toEqual([0xfed40040n, 7]);
  });

  it('FADT states the PM block, the reset register and the flags', () => {
    const table = find(tables, 'FADT');
    const fadt = viewOf(table);
    expect(table.bytes.length).toBe(0x10c);
    expect(fadt.getUint8(8)).toBe(5);
    expect(fadt.getUint16(46, true)).toBe(9);
    expect(fadt.getUint32(48, true)).toBe(0xb2);
    expect([fadt.getUint8(52), fadt.getUint8(53)]).toEqual([0xa0, 0xa1]);
    expect([56, 64, 76, 80].map((at) => fadt.getUint32(at, true))).toEqual([0x400, 0x404, 0x408, 0x40c]);
    expect([88, 89, 91, 92].map((at) => fadt.getUint8(at))).toEqual([4, 2, 4, 2]);
    expect(fadt.getUint8(108)).toBe(0x32);
    expect(fadt.getUint16(109, true)).toBe(0x14);
    expect(fadt.getUint32(112, true)).toBe(0x81525);
    expect([fadt.getUint8(116), fadt.getUint8(117)]).toEqual([1, 8]);
    expect(fadt.getBigUint64(120, true)).toBe(0xcf9n);
    expect(fadt.getUint8(128)).toBe(6);
  });

  it('leaves out what the machine lacks', () => {
    const names = buildAcpiTables(MINIMAL).map(({ name }) => name);
    expect(names).toEqual(['RSDP', 'RSDT', 'XSDT', 'MADT', 'FADT', 'FACS', 'DSDT']);
  });

  it('refuses what it cannot express', () => {
    expect(() => buildAcpiTables({ ...FULL, cpus: 0 })).toThrow(FirmwareTableError);
    expect(() => buildAcpiTables({ ...FULL, cpus: 255 })).toThrow(FirmwareTableError);
    expect(() => buildAcpiTables({ ...FULL, comPorts: [5] })).toThrow('COM5');
    expect(() => buildAcpiTables({ ...FULL, lpc: { bus: 9, slot: 1, func: 0 } })).toThrow('bus 9');
    expect(() => buildAcpiTables({ ...FULL, ecam: { base: 0, buses: 257 } })).toThrow('257');
  });
});

const hasIasl = spawnSync('iasl', ['-v']).status === 0;

describe.skipIf(!hasIasl)('iasl (skipped where acpica-tools is not installed)', () => {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'webhyve-acpi-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const iasl = (...args: string[]): string => {
    const result = spawnSync('iasl', args, { cwd: directory, encoding: 'utf8' });
    return `${result.stdout}${result.stderr}`;
  };

  it.each([
    ['full', FULL],
    ['minimal', MINIMAL],
    ['no-lpc', WITHOUT_LPC],
  ])('disassembles every table (%s) without complaint and compiles the DSDT again', (name, parameters) => {
    for (const table of buildAcpiTables(parameters)) {
      if (table.name === 'RSDP') continue;
      const base = `${name}-${table.name}`;
      writeFileSync(join(directory, `${base}.aml`), table.bytes);
      const output = iasl('-d', `${base}.aml`);
      expect(output, base).not.toMatch(/warning|error|invalid|incorrect/i);
      const source = readFileSync(join(directory, `${base}.dsl`), 'latin1');
      expect(source, base).not.toMatch(/warning|error|invalid|incorrect/i);
      if (table.name === 'DSDT') {
        expect(source).toContain('Device (PC00)');
        expect(iasl('-p', join(directory, `${base}-again`), `${base}.dsl`)).toMatch(/0 Errors, 0 Warnings/);
      }
    }
  });

  it('shows the routing, devices and windows that were asked for', () => {
    const dsdt = find(buildAcpiTables(FULL), 'DSDT');
    writeFileSync(join(directory, 'shown.aml'), dsdt.bytes);
    iasl('-d', 'shown.aml');
    const source = readFileSync(join(directory, 'shown.dsl'), 'latin1')
      .replace(/\/\/.*$/gm, '')
      .replace(/\s+/g, ' ');
    expect(source).toContain('Package (0x04) { 0x001FFFFF, 0x03, \\_SB.PC00.ISA.LNKH, Zero }');
    expect(source).toContain('Package (0x04) { 0x0002FFFF, Zero, Zero, 0x10 }');
    for (const device of ['PC01', 'COM4', 'KBD', 'MOU', 'RTC', 'PIC', 'TIMR', 'SIO', 'LNKH', 'HPET', 'GENC', 'FWCF']) {
      expect(source).toContain(`Device (${device})`);
    }
    expect(source).toContain('IRQ (Level, ActiveLow, Shared, ) {3,4,5,6,7,9,10,11,12,14,15}');
    expect(source).toContain('Name (_ADR, 0x001F0000)');
    expect(source).toContain('Name (ADDR, Package (0x02) { 0xFF000000, Zero })');
  });
});
