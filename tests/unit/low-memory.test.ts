import { describe, expect, it } from 'vitest';
import { biosDataArea, lowMemory } from '../../devices/firmware/low-memory.ts';

/** The first MiB with everything in its place. */
function lowMegabyte(comPorts: readonly number[]): DataView {
  const bytes = new Uint8Array(0x100000);
  for (const { gpa, bytes: segment } of lowMemory(comPorts)) bytes.set(segment, gpa);
  return new DataView(bytes.buffer);
}

describe('the BIOS data area', () => {
  it('has the COM ports, the memory below 1 MiB and the EBDA', () => {
    const memory = lowMegabyte([1, 3]);
    expect([0x400, 0x402, 0x404, 0x406].map((at) => memory.getUint16(at, true))).toEqual([0x3f8, 0x3e8, 0, 0]);
    expect(memory.getUint16(0x413, true)).toBe(639);
    // The EBDA begins where conventional memory ends, and says how many KiB it has.
    expect(memory.getUint16(0x40e, true) * 16).toBe(639 * 1024);
    expect(memory.getUint8(639 * 1024)).toBe(1);
    // A floating-point unit; two serial ports in bits 11:9.
    expect(memory.getUint16(0x410, true)).toBe(0x402);
  });

  it('has an empty keyboard buffer', () => {
    const area = new DataView(biosDataArea([]).buffer);
    expect([0x1a, 0x1c, 0x80, 0x82].map((at) => area.getUint16(at, true))).toEqual([0x1e, 0x1e, 0x1e, 0x3e]);
    expect(area.getUint16(0, true)).toBe(0);
  });
});

describe('interrupt vectors', () => {
  const memory = lowMegabyte([]);
  /** The code that a vector leads to, up to its IRET. */
  const handler = (vector: number): number[] => {
    const at = memory.getUint16(vector * 4 + 2, true) * 16 + memory.getUint16(vector * 4, true);
    const bytes = [...new Uint8Array(memory.buffer, at, 16)];
    return bytes.slice(0, bytes.indexOf(0xcf) + 1);
  };

  it('lead to code in the ROM area that ends below the reset vector', () => {
    for (let vector = 0; vector < 256; vector++) {
      const at = memory.getUint16(vector * 4 + 2, true) * 16 + memory.getUint16(vector * 4, true);
      expect(at).toBeGreaterThanOrEqual(0xf0000);
      expect(at + handler(vector).length).toBeLessThanOrEqual(0xffff0);
      expect(handler(vector).at(-1)).toBe(0xcf);
    }
  });

  it.each([0, 1, 3, 0x0f + 0x12, 0x80, 0xff])('%i: returns', (vector) => {
    expect(handler(vector)).toEqual([0xcf]);
  });

  it.each([0x10, 0x13, 0x15, 0x16, 0x1a])('%i: sets carry in the caller’s flags and AH', (vector) => {
    // or byte [bp+6], 1 with IP, CS and FLAGS above the saved BP; mov ah, 86h
    expect(handler(vector)).toEqual([0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xb4, 0x86, 0xcf]);
  });

  it('of the 8259s end their interrupts', () => {
    expect(handler(0x08)).toEqual([0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf]);
    expect(handler(0x0f)).toEqual(handler(0x08));
    expect(handler(0x70)).toEqual([0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf]);
    expect(handler(0x77)).toEqual(handler(0x70));
  });

  it('lead to the services of a BIOS where a kernel has them', () => {
    const bios = { segment: 0xe000, offsets: new Map([[0x10, 0x1234]]) };
    const [vectors] = lowMemory([], bios);
    const view = new DataView(vectors?.bytes.buffer ?? new ArrayBuffer(0));
    expect([view.getUint16(0x40, true), view.getUint16(0x42, true)]).toEqual([0x1234, 0xe000]);
    expect(view.getUint16(0x13 * 4 + 2, true)).toBe(0xf000);
  });
});
