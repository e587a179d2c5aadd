import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { FirmwareTableError } from '../../devices/firmware/acpi/parameters.ts';
import { buildFirmwareTables } from '../../devices/firmware/firmware-tables.ts';
import { buildSmbios, isUuid, systemUuid, type SmbiosParameters } from '../../devices/firmware/smbios.ts';

const GIB = 0x4000_0000;
/** TSC_HZ of core-as/time.ts is 2,013,265,920. */
const TSC_MHZ = 2013;
const PARAMETERS: SmbiosParameters = {
  uuid: '00112233-4455-6677-8899-aabbccddeeff',
  vmName: 'vm0',
  hostName: 'host',
  sockets: 2,
  coresPerSocket: 2,
  threadsPerCore: 2,
  lowmemBytes: 3 * GIB,
  highmemBytes: GIB,
};

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

interface Structure {
  readonly type: number;
  readonly handle: number;
  readonly area: DataView;
  readonly strings: readonly string[];
}

/** Walks the structure table as DSP0134 6.1 describes. */
function structuresOf(all: Uint8Array): Structure[] {
  const structures: Structure[] = [];
  let at = 0x1f;
  while (at < all.length) {
    const length = all[at + 1] ?? 0;
    const area = new DataView(all.buffer, all.byteOffset + at, length);
    const strings: string[] = [];
    let cursor = at + length;
    if (all[cursor] === 0 && all[cursor + 1] === 0) cursor += 2;
    else {
      while (all[cursor] !== 0) {
        const end = all.indexOf(0, cursor);
        strings.push(Buffer.from(all.subarray(cursor, end)).toString());
        cursor = end + 1;
      }
      cursor++;
    }
    structures.push({ type: area.getUint8(0), handle: area.getUint16(2, true), area, strings });
    at = cursor;
  }
  return structures;
}

function only(structures: readonly Structure[], type: number): Structure {
  const [found] = structures.filter((structure) => structure.type === type);
  if (!found) throw new Error(`no structure of type ${type}`);
  return found;
}

describe('SMBIOS', () => {
  const all = buildSmbios(PARAMETERS);
  const view = new DataView(all.buffer);
  const structures = structuresOf(all);

  it('has an entry point whose two checksums, count and lengths are right', () => {
    expect(Buffer.from(all.subarray(0, 4)).toString()).toBe('_SM_');
    expect(sum(all.subarray(0, 0x1f))).toBe(0);
    expect(sum(all.subarray(0x10, 0x1f))).toBe(0);
    expect(view.getUint16(0x16, true)).toBe(all.length - 0x1f);
    expect(view.getUint32(0x18, true)).toBe(0xf101f);
    expect(view.getUint16(0x1c, true)).toBe(structures.length);
    expect([view.getUint8(6), view.getUint8(7), view.getUint8(0x1e)]).toEqual([2, 6, 0x26]);
  });

  it('holds every type once, processors per socket, handles from 1', () => {
    expect(structures.map(({ type }) => type)).toEqual([0, 1, 2, 3, 4, 4, 16, 17, 19, 19, 32, 127]);
    expect(structures.map(({ handle }) => handle)).toEqual(structures.map((_, index) => index + 1));
  });

  it('has structures of the lengths that the specification demands', () => {
    const lengths = Object.fromEntries(structures.map(({ type, area }) => [type, area.byteLength]));
    expect(lengths).toEqual({
      0: 0x18,
      1: 0x1b,
      2: 0x0f,
      3: 0x16,
      4: 0x2a,
      16: 0x17,
      17: 0x22,
      19: 0x1f,
      32: 0x0b,
      127: 0x04,
    });
  });

  it('carries the strings of bhyve 14', () => {
    expect(only(structures, 0).strings).toEqual(['BHYVE', '14.0', '10/17/2021']);
    expect(only(structures, 1).strings).toEqual(['FreeBSD', 'BHYVE', '1.0', 'None', 'None', 'Virtual Machine']);
    expect(only(structures, 4).strings[0]).toBe('CPU #0');
  });

  it('takes strings from the configuration and leaves empty ones out', () => {
    const changed = structuresOf(
      buildSmbios({ ...PARAMETERS, strings: { systemSerialNumber: 'S-1', systemVersion: '', biosVendor: 'me' } }),
    );
    const system = only(changed, 1);
    expect(system.strings).toEqual(['FreeBSD', 'BHYVE', 'S-1', 'None', 'Virtual Machine']);
    expect([4, 5, 6, 7].map((at) => system.area.getUint8(at))).toEqual([1, 2, 0, 3]);
    expect(only(changed, 0).strings[0]).toBe('me');
  });

  it('describes processors and memory', () => {
    const cpu = only(structures, 4).area;
    expect([cpu.getUint8(0x23), cpu.getUint8(0x24), cpu.getUint8(0x25)]).toEqual([2, 2, 4]);
    // The greatest and the present speed are the TSC's.
    expect([cpu.getUint16(0x14, true), cpu.getUint16(0x16, true)]).toEqual([TSC_MHZ, TSC_MHZ]);
    const array = only(structures, 16);
    expect(array.area.getUint32(7, true)).toBe(0x80000000);
    expect(array.area.getBigUint64(15, true)).toBe(BigInt(4 * GIB));
    const device = only(structures, 17).area;
    expect(device.getUint16(4, true)).toBe(array.handle);
    expect(device.getUint16(0x0c, true)).toBe(4096);
    const ranges = structures.filter(({ type }) => type === 19).map(({ area }) => area);
    expect(ranges.map((area) => [area.getUint32(4, true), area.getUint32(8, true)])).toEqual([
      [0, 0x2fffff],
      [0x400000, 0x4fffff],
    ]);
    expect(ranges[0]?.getUint16(12, true)).toBe(array.handle);
    const large = structuresOf(buildSmbios({ ...PARAMETERS, highmemBytes: 61 * GIB }));
    expect(only(large, 17).area.getUint16(0x0c, true)).toBe(0x7fff);
    expect(only(large, 17).area.getUint32(0x1c, true)).toBe(65536);
  });

  it('encodes the -U UUID with little-endian leading fields', () => {
    expect(Buffer.from(systemUuid(PARAMETERS)).toString('hex')).toBe('33221100554477668899aabbccddeeff');
    expect(isUuid('nonsense')).toBe(false);
    expect(() => systemUuid({ ...PARAMETERS, uuid: 'nonsense' })).toThrow(FirmwareTableError);
  });

  it('derives a version 3 UUID from the names otherwise', () => {
    const buffer = Buffer.alloc(3 + 256);
    buffer.write('vm0', 0);
    buffer.write('host', 3);
    const digest = createHash('md5').update(buffer).digest();
    digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x30;
    digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80;
    const derived = systemUuid({ vmName: 'vm0', hostName: 'host' });
    expect(Buffer.from(derived).toString('hex')).toBe(digest.toString('hex'));
  });

  it('refuses strings that do not fit or are not ASCII', () => {
    expect(() => buildSmbios({ ...PARAMETERS, strings: { biosVendor: 'x'.repeat(0x1400) } })).toThrow('too long');
    expect(() => buildSmbios({ ...PARAMETERS, strings: { biosVendor: 'é' } })).toThrow(FirmwareTableError);
    expect(() => buildSmbios({ ...PARAMETERS, strings: { biosVendor: 'a\0b' } })).toThrow(FirmwareTableError);
  });
});

describe('buildFirmwareTables', () => {
  it('builds what is asked for, each at its place', () => {
    const tables = buildFirmwareTables({ mpTable: { cpus: 1, routing: [] }, smbios: PARAMETERS });
    expect(tables.map(({ name, gpa }) => [name, gpa])).toEqual([
      ['MPTABLE', 0xf0000],
      ['SMBIOS', 0xf1000],
    ]);
    expect(buildFirmwareTables({})).toEqual([]);
  });
});
