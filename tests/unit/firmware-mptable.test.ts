import { describe, expect, it } from 'vitest';
import { FirmwareTableError } from '../../devices/firmware/acpi/parameters.ts';
import { buildMpTable } from '../../devices/firmware/mptable.ts';

const ENTRY_BYTES = [20, 8, 8, 8, 8];

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

function entriesOf(table: Uint8Array): string[] {
  const entries: string[] = [];
  for (let at = 16 + 44; at < table.length;) {
    const size = ENTRY_BYTES[table[at] ?? -1];
    if (size === undefined) throw new Error(`entry type ${table[at]}`);
    entries.push(Buffer.from(table.subarray(at, at + size)).toString('hex'));
    at += size;
  }
  return entries;
}

describe('MP table', () => {
  const routing = [
    { slot: 2, pin: 1, ioapicPin: 16 },
    { slot: 31, pin: 4, ioapicPin: 23 },
  ];
  const table = buildMpTable({ cpus: 3, routing });
  const view = new DataView(table.buffer);
  const entries = entriesOf(table);

  it('has a floating pointer to a configuration table, both with correct checksums', () => {
    expect(Buffer.from(table.subarray(0, 4)).toString()).toBe('_MP_');
    expect(view.getUint32(4, true)).toBe(0xf0010);
    expect(sum(table.subarray(0, 16))).toBe(0);
    expect(Buffer.from(table.subarray(16, 20)).toString()).toBe('PCMP');
    expect(view.getUint16(20, true)).toBe(table.length - 16);
    expect(sum(table.subarray(16))).toBe(0);
    expect(Buffer.from(table.subarray(24, 44)).toString()).toBe('BHyVe   Hypervisor  ');
    expect(view.getUint16(16 + 34, true)).toBe(entries.length);
    expect(view.getUint32(16 + 36, true)).toBe(0xfee00000);
  });

  it('marks the first processor as the bootstrap processor', () => {
    expect(entries.slice(0, 3)).toEqual([
      '00001003a5060000fffbebbf0000000000000000',
      '00011001a5060000fffbebbf0000000000000000',
      '00021001a5060000fffbebbf0000000000000000',
    ]);
  });

  it('lists buses, the I/O APIC and interrupts in the order of the specification', () => {
    expect(entries.slice(3, 6)).toEqual(['0100504349202020', '0101495341202020', '020011010000c0fe']);
    const interrupts = entries.slice(6);
    expect(interrupts.slice(0, 3)).toEqual(['0303000001000000', '0300000001010001', '0300000001000002']);
    expect(interrupts[9]).toBe('03000f0001090009');
    expect(interrupts[15]).toBe('03000000010f000f');
    expect(interrupts.slice(16)).toEqual([
      '0300000000080010',
      '03000000007f0017',
      '040300000000ff00',
      '040100000000ff01',
    ]);
  });

  it('refuses what does not fit', () => {
    expect(() => buildMpTable({ cpus: 0, routing })).toThrow(FirmwareTableError);
    expect(() => buildMpTable({ cpus: 254, routing })).toThrow('4 KiB');
  });
});
