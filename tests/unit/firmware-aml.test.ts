import { describe, expect, it } from 'vitest';
import * as aml from '../../devices/firmware/acpi/aml.ts';
import * as resources from '../../devices/firmware/acpi/resources.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('AML values', () => {
  it('encodes integers in the shortest form', () => {
    expect(hex(aml.integer(0))).toBe('00');
    expect(hex(aml.integer(1))).toBe('01');
    expect(hex(aml.integer(2))).toBe('0a02');
    expect(hex(aml.integer(0xff))).toBe('0aff');
    expect(hex(aml.integer(0x100))).toBe('0b0001');
    expect(hex(aml.integer(0x10000))).toBe('0c00000100');
    expect(hex(aml.integer(0x1_0000_0000))).toBe('0e0000000001000000');
    expect(hex(aml.integer(0xffff_ffff_ffff_ffffn))).toBe('0effffffffffffffff');
    expect(() => aml.integer(-1)).toThrow(RangeError);
    expect(() => aml.integer(1n << 64n)).toThrow(RangeError);
  });

  it('compresses EISA identifiers', () => {
    expect(hex(aml.eisaId('PNP0A03'))).toBe('0c41d00a03');
    expect(hex(aml.eisaId('PNP0501'))).toBe('0c41d00501');
    expect(() => aml.eisaId('QEMU0002')).toThrow(RangeError);
  });

  it('encodes name strings with prefixes and padding', () => {
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
    expect(text(aml.path('PIC'))).toBe('PIC_');
    expect(text(aml.path('\\_S5'))).toBe('\\_S5_');
    expect(text(aml.path('\\_SB.PC00'))).toBe('\\\x2e_SB_PC00');
    expect(text(aml.path('^^A.B.C'))).toBe('^^\x2f\x03A___B___C___');
    expect(hex(aml.path('\\'))).toBe('5c00');
    expect(() => aml.path('TOOLONG')).toThrow(RangeError);
    expect(() => aml.path('lowr')).toThrow(RangeError);
  });
});

describe('AML packages', () => {
  /** Decodes a PkgLength; returns the length it states and the bytes it takes. */
  function decodeLength(bytes: Uint8Array): { total: number; size: number } {
    const lead = bytes[0] ?? 0;
    const extra = lead >> 6;
    let total = extra === 0 ? lead & 0x3f : lead & 0xf;
    for (let index = 0; index < extra; index++) total |= (bytes[1 + index] ?? 0) << (4 + 8 * index);
    return { total, size: 1 + extra };
  }

  it('states a length that covers its own bytes at every size boundary', () => {
    for (const payload of [0, 1, 50, 58, 59, 60, 61, 62, 63, 64, 4080, 4088, 4089, 4090, 4096, 70_000]) {
      const encoded = aml.buffer(new Uint8Array(payload));
      const { total, size } = decodeLength(encoded.subarray(1));
      expect(total, `buffer of ${payload}`).toBe(encoded.length - 1);
      expect(size).toBe(total <= 0x3f ? 1 : total < 0x1000 ? 2 : 3);
    }
  });

  it('counts package elements in a byte', () => {
    expect(hex(aml.packageOf(aml.integer(5), aml.integer(0)))).toBe('1205020a0500');
    expect(() => aml.packageOf(...Array.from({ length: 256 }, () => aml.integer(0)))).toThrow(RangeError);
  });

  it('encodes methods, conditions and fields', () => {
    expect(hex(aml.method('_PIC', { args: 1 }, aml.store(aml.arg(0), aml.path('PICM'))))).toBe(
      '140c' + '5f504943' + '01' + '70' + '68' + '5049434d',
    );
    expect(hex(aml.ifElse(aml.local(0), [aml.returnValue(aml.integer(1))], [aml.returnValue(aml.integer(0))]))).toBe(
      'a00460a401' + 'a103a400',
    );
    // Offset 0x60 is 768 bits: two length bytes, then an 8-bit unit.
    expect(hex(aml.field('LPCR', aml.FieldAccess.Any, [{ offsetBits: 768 }, { name: 'PIRA', bits: 8 }]))).toBe(
      '5b81' + '0e' + '4c504352' + '00' + '004030' + '50495241' + '08',
    );
    expect(() => aml.field('LPCR', aml.FieldAccess.Any, [{ name: 'PIRA', bits: 8 }, { offsetBits: 0 }])).toThrow(
      RangeError,
    );
    expect(() => aml.local(8)).toThrow(RangeError);
    expect(() => aml.arg(7)).toThrow(RangeError);
  });
});

describe('resource descriptors', () => {
  it('match the layouts of ACPI 6.4', () => {
    expect(hex(resources.ioPorts(0x3f8, 8))).toBe('4701f803f8030108');
    expect(hex(resources.irqNoFlags(4))).toBe('221000');
    expect(hex(resources.irqLevelLowShared(0xdef8))).toBe('23f8de18');
    expect(hex(resources.memory32Fixed(0xfed00000, 0x400, true))).toBe('860900010000d0fe00040000');
    expect(hex(resources.wordBusNumber(0, 1))).toBe('880d00020c00' + '00000000000000000100');
    expect(hex(resources.wordIo({ base: 0x2000, length: 0x1000 }))).toBe('880d00010c0300000020ff2f00000010');
    expect(hex(resources.qwordMemory({ base: 0x8_0000_0000, length: 0x8_0000_0000 }))).toBe(
      '8a2b00000c01' +
        '0000000000000000' +
        '0000000008000000' +
        'ffffffff0f000000' +
        '0000000000000000' +
        '0000000008000000',
    );
  });

  it('end a template with the end tag', () => {
    expect(hex(resources.resourceTemplate(resources.irqNoFlags(12)))).toBe('11080a05' + '220010' + '7900');
  });
});
