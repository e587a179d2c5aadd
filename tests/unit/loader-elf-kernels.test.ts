import { describe, expect, it } from 'vitest';
import { ByteWriter, concatBytes } from '../../devices/firmware/byte-writer.ts';
import { LoaderError, type BootImage, type BootRequest } from '../../devices/firmware/loaders/boot-image.ts';
import { readElf } from '../../devices/firmware/loaders/elf.ts';
import { detectProtocol, loadKernel } from '../../devices/firmware/loaders/loader.ts';

const MIB = 0x100000;

interface Segment {
  readonly type?: number;
  readonly vaddr: number;
  readonly paddr: number;
  readonly bytes: Uint8Array;
  readonly memoryBytes?: number;
  readonly alignment?: number;
}

/** An ELF executable with the given program headers; contents follow at 0x200, 256-byte aligned. */
function elf(bits: 32 | 64, entry: number, segments: readonly Segment[]): Uint8Array {
  const header = new ByteWriter();
  header.bytes(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1)).zeros(9);
  header
    .u16(2)
    .u16(bits === 64 ? 62 : 3)
    .u32(1);
  if (bits === 64) header.u64(entry).u64(64).u64(0).u32(0).u16(64).u16(56).u16(segments.length).zeros(6);
  else header.u32(entry).u32(52).u32(0).u32(0).u16(52).u16(32).u16(segments.length).zeros(6);
  const contents: Uint8Array[] = [];
  let offset = 0x200;
  for (const { type = 1, vaddr, paddr, bytes, memoryBytes = bytes.length, alignment = 4 } of segments) {
    if (bits === 64)
      header.u32(type).u32(7).u64(offset).u64(vaddr).u64(paddr).u64(bytes.length).u64(memoryBytes).u64(alignment);
    else header.u32(type).u32(offset).u32(vaddr).u32(paddr).u32(bytes.length).u32(memoryBytes).u32(7).u32(alignment);
    const padded = new Uint8Array(Math.ceil(bytes.length / 256) * 256);
    padded.set(bytes);
    contents.push(padded);
    offset += padded.length;
  }
  header.zeros(0x200 - header.lengthBytes);
  return concatBytes(header.finish(), ...contents);
}

function multibootHeader(flags: number, addresses: readonly number[] = []): Uint8Array {
  const writer = new ByteWriter()
    .u32(0x1badb002)
    .u32(flags)
    .u32(-(0x1badb002 + flags) >>> 0);
  for (const address of addresses) writer.u32(address);
  return writer.finish();
}

function xenNote(entry: number, descriptionBytes: 4 | 8 = 4): Uint8Array {
  const other = new ByteWriter().u32(4).u32(5).u32(6).text('Xen\0').text('linux').zeros(3);
  const writer = new ByteWriter().u32(4).u32(descriptionBytes).u32(18).text('Xen\0').u32(entry);
  return concatBytes(other.finish(), writer.zeros(descriptionBytes - 4).finish());
}

const request = (kernel: Uint8Array, more: Partial<BootRequest> = {}): BootRequest => ({
  kernel,
  kernelName: 'test.flat',
  commandLine: 'one two',
  modules: [],
  lowmemBytes: 32 * MIB,
  highmemBytes: 0,
  rsdpGpa: 0xf2400,
  ...more,
});

function at(image: BootImage, gpa: number | bigint): DataView {
  const segment = image.segments.find((candidate) => candidate.gpa === Number(gpa));
  if (!segment) throw new Error(`nothing is loaded at 0x${gpa.toString(16)}`);
  return new DataView(segment.bytes.buffer, segment.bytes.byteOffset, segment.bytes.byteLength);
}
const textAt = (image: BootImage, gpa: number): string => {
  const view = at(image, gpa);
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString();
};

function expectDisjoint(image: BootImage): void {
  const ranges = [
    ...image.segments.map(({ gpa, bytes }) => [gpa, gpa + bytes.length] as const),
    ...image.zeroRanges.map(({ gpa, lengthBytes }) => [gpa, gpa + lengthBytes] as const),
    [0, 0x1000] as const,
    [0xf0000, 0x100000] as const,
  ].sort((left, right) => left[0] - right[0]);
  for (const [index, [, end]] of ranges.entries()) {
    expect(end).toBeLessThanOrEqual(ranges[index + 1]?.[0] ?? Infinity);
  }
}

const code = concatBytes(multibootHeader(3), new Uint8Array(100).fill(0x90));

describe('multiboot', () => {
  it.each([32, 64] as const)('loads an ELF%i kernel by physical addresses', (bits) => {
    const image = loadKernel(
      request(elf(bits, 0xc0100010, [{ vaddr: 0xc0100000, paddr: 0x100000, bytes: code, memoryBytes: 0x3000 }])),
    );
    const { registers } = image;
    expect(image.protocol).toBe('multiboot');
    expect(registers.rip).toBe(0x100010n);
    expect(registers.gpr['rax']).toBe(0x2badb002n);
    expect(registers.cr0).toBe(0x11n);
    expect(registers.efer).toBe(0n);
    expect(registers.segments.cs.access).toBe(0xc09b);
    expect(registers.rflags).toBe(2n);
    expect(at(image, 0x100000).byteLength).toBe(code.length);
    expect(image.zeroRanges).toEqual([{ gpa: 0x100000 + code.length, lengthBytes: 0x3000 - code.length }]);
    expectDisjoint(image);
  });

  it('describes memory, command line and modules', () => {
    const modules = [
      { bytes: new Uint8Array(10).fill(1), commandLine: 'first' },
      { bytes: new Uint8Array(5000).fill(2), name: '/boot/second', commandLine: 'with arguments' },
      { bytes: new Uint8Array(0) },
    ];
    const image = loadKernel(
      request(elf(32, 0x100000, [{ vaddr: 0x100000, paddr: 0x100000, bytes: code, memoryBytes: 0x5000 }]), {
        modules,
        highmemBytes: MIB,
      }),
    );
    expectDisjoint(image);
    const info = at(image, image.registers.gpr['rbx'] ?? 0n);
    expect(info.getUint32(0, true)).toBe(0x24d);
    expect(info.getUint32(4, true)).toBe(639);
    expect(info.getUint32(8, true)).toBe(31 * 1024);
    expect(textAt(image, info.getUint32(16, true))).toBe('test.flat one two\0');
    expect(textAt(image, info.getUint32(64, true))).toBe('webhyve\0');
    expect(info.getUint32(20, true)).toBe(3);
    const list = at(image, info.getUint32(24, true));
    const start = list.getUint32(0, true);
    expect(start % 0x1000).toBe(0);
    expect(start).toBeGreaterThanOrEqual(0x105000);
    expect(list.getUint32(4, true)).toBe(start + 10);
    expect(at(image, start).getUint8(0)).toBe(1);
    expect(textAt(image, list.getUint32(8, true))).toBe('first\0');
    expect(textAt(image, list.getUint32(16 + 8, true))).toBe('/boot/second with arguments\0');
    expect(list.getUint32(20, true) - list.getUint32(16, true)).toBe(5000);
    expect(list.getUint32(36, true)).toBe(list.getUint32(32, true));
    const map = at(image, info.getUint32(48, true));
    expect(info.getUint32(44, true)).toBe(4 * 24);
    expect(map.getUint32(0, true)).toBe(20);
    expect(map.getBigUint64(72 + 4, true)).toBe(0x1_0000_0000n);
    expect(map.getBigUint64(72 + 12, true)).toBe(BigInt(MIB));
  });

  it('loads by the addresses in the header', () => {
    const file = concatBytes(
      new Uint8Array(8),
      multibootHeader(0x10003, [0x200008, 0x200000, 0, 0x209000, 0x200040]),
      code,
    );
    const image = loadKernel(request(file));
    expect(image.registers.rip).toBe(0x200040n);
    expect(at(image, 0x200000).byteLength).toBe(file.length);
    expect(image.zeroRanges).toEqual([{ gpa: 0x200000 + file.length, lengthBytes: 0x9000 - file.length }]);
    const partly = concatBytes(multibootHeader(0x10000, [0x200000, 0x200000, 0x200020, 0, 0x200000]), code);
    expect(at(loadKernel(request(partly)), 0x200000).byteLength).toBe(0x20);
  });

  it('keeps its structures off a kernel in conventional memory', () => {
    const low = elf(32, 0x4000, [{ vaddr: 0x1000, paddr: 0x1000, bytes: code, memoryBytes: 0x40000 }]);
    const image = loadKernel(request(low));
    expectDisjoint(image);
    expect(Number(image.registers.gpr['rbx'])).toBeGreaterThanOrEqual(0x41000);
  });

  it.each<[string, Uint8Array, string]>([
    ['a video mode', multibootHeader(4), 'video mode'],
    ['unknown features', multibootHeader(0x20), 'flags 0x20'],
    ['no addresses', concatBytes(multibootHeader(0), new Uint8Array(64)), 'neither an ELF file'],
    ['a cut header', multibootHeader(0x10000, [1, 2]), 'truncated'],
    ['load address above header', multibootHeader(0x10000, [0x100000, 0x100001, 0, 0, 0]), 'outside the file'],
    ['load address too far below', multibootHeader(0x10000, [0x100000, 0x1000, 0, 0, 0]), 'outside the file'],
    ['load end before start', multibootHeader(0x10000, [0x100000, 0x100000, 0x1000, 0, 0]), 'load end before'],
    ['load end past file', multibootHeader(0x10000, [0x100000, 0x100000, 0x200000, 0, 0]), 'truncated'],
    ['BSS end before load end', multibootHeader(0x10000, [0x100000, 0x100000, 0, 0x100001, 0]), 'BSS end'],
    ['too high', multibootHeader(0x10000, [0xfffffff0, 0xfffffff0, 0, 0, 0]), 'does not have'],
    ['over the firmware', multibootHeader(0x10000, [0xf2400, 0xf2400, 0, 0, 0]), 'overlaps'],
    ['over the vectors', multibootHeader(0x10000, [0, 0, 0, 0, 0]), 'overlaps'],
    ['entry nowhere', elf(32, 0x500000, [{ vaddr: 0x100000, paddr: 0x100000, bytes: code }]), 'none of its segments'],
  ])('refuses %s', (_name, file, message) => {
    expect(() => loadKernel(request(file), 'multiboot')).toThrow(LoaderError);
    expect(() => loadKernel(request(file), 'multiboot')).toThrow(message);
  });

  it('needs a valid checksum within the first 8 KiB', () => {
    const late = concatBytes(new Uint8Array(8192 - 8), multibootHeader(0));
    expect(() => loadKernel(request(late), 'multiboot')).toThrow('no multiboot header');
    const wrong = multibootHeader(0);
    wrong[8] = (wrong[8] ?? 0) ^ 1;
    expect(() => loadKernel(request(wrong), 'multiboot')).toThrow('no multiboot header');
  });
});

describe('PVH', () => {
  const text = new Uint8Array(0x300).fill(0x90);
  const note = (entry: number, size: 4 | 8 = 4): Segment => ({
    type: 4,
    vaddr: 0,
    paddr: 0,
    bytes: xenNote(entry, size),
  });
  const kernel = (bits: 32 | 64): Uint8Array =>
    elf(bits, 0xffffffff, [
      { vaddr: 0x81000000, paddr: 0x1000000, bytes: text, memoryBytes: 0x2000 },
      note(0x1000123, bits === 64 ? 8 : 4),
    ]);

  it.each([32, 64] as const)('enters an ELF%i kernel at the note’s address', (bits) => {
    const image = loadKernel(
      request(kernel(bits), { modules: [{ bytes: new Uint8Array(5000).fill(7), commandLine: 'ramdisk' }] }),
    );
    expect(image.protocol).toBe('pvh');
    expect(image.registers.rip).toBe(0x1000123n);
    expect(image.registers.cr0).toBe(0x11n);
    expect(image.registers.cr4).toBe(0n);
    expectDisjoint(image);
    const info = at(image, image.registers.gpr['rbx'] ?? 0n);
    expect(info.getUint32(0, true)).toBe(0x336ec578);
    expect(info.getUint32(4, true)).toBe(1);
    expect(info.getUint32(12, true)).toBe(1);
    expect(textAt(image, Number(info.getBigUint64(24, true)))).toBe('one two\0');
    expect(info.getBigUint64(32, true)).toBe(0xf2400n);
    expect(info.getUint32(48, true)).toBe(3);
    const module = at(image, info.getBigUint64(16, true));
    expect(module.getBigUint64(0, true)).toBe(BigInt(32 * MIB - 0x2000));
    expect(module.getBigUint64(8, true)).toBe(5000n);
    expect(textAt(image, Number(module.getBigUint64(16, true)))).toBe('ramdisk\0');
    const map = at(image, info.getBigUint64(40, true));
    expect(map.byteLength).toBe(3 * 24);
    expect([map.getBigUint64(48, true), map.getBigUint64(56, true), map.getUint32(64, true)]).toEqual([
      0x100000n,
      31n * BigInt(MIB),
      1,
    ]);
  });

  it('refuses files without a usable note', () => {
    const none = elf(64, 0x1000000, [{ vaddr: 0x1000000, paddr: 0x1000000, bytes: text }]);
    expect(() => loadKernel(request(none))).toThrow('neither a multiboot header nor a PVH entry point');
    const astray = elf(64, 0, [{ vaddr: 0, paddr: 0x1000000, bytes: text }, note(0x5000000)]);
    expect(() => loadKernel(request(astray))).toThrow('none of its segments');
    const overlap = elf(64, 0, [
      { vaddr: 0, paddr: 0x1000000, bytes: text },
      { vaddr: 0, paddr: 0x1000100, bytes: text },
      note(0x1000000),
    ]);
    expect(() => loadKernel(request(overlap))).toThrow('overlaps');
  });

  it('prefers multiboot when a kernel offers both', () => {
    const both = elf(32, 0x100010, [{ vaddr: 0x100000, paddr: 0x100000, bytes: code }, note(0x100010)]);
    expect(detectProtocol(both)).toBe('multiboot');
    expect(loadKernel(request(both), 'pvh').protocol).toBe('pvh');
  });

  it('names what is wrong with an ELF file', () => {
    const good = kernel(64);
    const patched = (offset: number, ...bytes: number[]): Uint8Array => {
      const copy = good.slice();
      copy.set(bytes, offset);
      return copy;
    };
    const cases: [Uint8Array, string][] = [
      [patched(4, 3), 'neither a 32-bit nor a 64-bit'],
      [patched(5, 2), 'little-endian'],
      [patched(16, 1), 'not an executable'],
      [patched(18, 40), 'x86'],
      [patched(54, 8), 'too short'],
      [patched(56, 0xff, 0xff), 'too many'],
      [patched(32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 'program header table'],
      [patched(64 + 8, 0xff, 0xff, 0xff, 0xff, 0xff), 'segment 0 reaches past'],
      [patched(64 + 40, 1, 0), 'larger in the file'],
      [good.subarray(0, 20), 'its header'],
    ];
    for (const [file, message] of cases) {
      expect(() => loadKernel(request(file), 'pvh')).toThrow(LoaderError);
      expect(() => loadKernel(request(file), 'pvh')).toThrow(message);
    }
  });

  it.each([0, 1, 4, 8, 4096])('finds notes of 4-byte alignment in a segment that states %i', (alignment) => {
    const gnu = new ByteWriter().u32(4).u32(20).u32(3).text('GNU\0').zeros(20).finish();
    const bytes = concatBytes(gnu, xenNote(0x1000000));
    const file = readElf(elf(64, 0, [{ type: 4, vaddr: 0, paddr: 0, bytes, alignment }]));
    expect(file.notes.map(({ owner, type }) => [owner, type])).toEqual([
      ['GNU', 3],
      ['Xen', 6],
      ['Xen', 18],
    ]);
  });

  it('finds notes of 8-byte alignment', () => {
    const property = new ByteWriter().u32(4).u32(16).u32(5).text('GNU\0').zeros(16).finish();
    // Four bytes of name and three: the description begins 24 bytes into the note, or 20 bytes in the other reading.
    const entry = new ByteWriter().u32(4).u32(4).u32(18).text('Xen\0').u32(0x1000000).zeros(4).finish();
    const file = readElf(
      elf(64, 0, [{ type: 4, vaddr: 0, paddr: 0, bytes: concatBytes(property, entry, entry), alignment: 8 }]),
    );
    expect(file.notes.map(({ owner, type }) => [owner, type])).toEqual([
      ['GNU', 5],
      ['Xen', 18],
      ['Xen', 18],
    ]);
  });

  it('reads notes up to the first malformed one', () => {
    const endless = new ByteWriter().u32(0xffffffff).u32(0xffffffff).u32(18).zeros(64).finish();
    const bytes = concatBytes(xenNote(0x1000000), endless);
    const file = readElf(elf(64, 0, [{ type: 4, vaddr: 0, paddr: 0, bytes }]));
    expect(file.notes.map(({ owner, type }) => [owner, type])).toEqual([
      ['Xen', 6],
      ['Xen', 18],
    ]);
  });
});

describe('hostile kernel files', () => {
  /** xorshift32: the same files in every run. */
  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
  }

  it('never make a loader throw anything but a LoaderError, nor load outside memory', () => {
    const next = random(0x5eed);
    const seeds = [
      elf(32, 0x100010, [{ vaddr: 0x100000, paddr: 0x100000, bytes: code, memoryBytes: 0x3000 }]),
      elf(64, 0, [
        { vaddr: 0, paddr: 0x1000000, bytes: new Uint8Array(64) },
        { type: 4, vaddr: 0, paddr: 0, bytes: xenNote(0x1000000) },
      ]),
      concatBytes(multibootHeader(0x10003, [0x200000, 0x200000, 0, 0x209000, 0x200040]), code),
    ];
    const outcomes = { loaded: 0, refused: 0 };
    for (let round = 0; round < 3000; round++) {
      const file = (seeds[round % seeds.length] ?? code).slice(0, round % 5 === 0 ? next() % 900 : undefined);
      for (let change = next() % 6; change >= 0; change--) {
        const interesting = [0, 1, 0x7f, 0x80, 0xff, next() & 0xff];
        if (file.length > 0) file[next() % Math.min(file.length, 200)] = interesting[next() % 6] ?? 0;
      }
      for (const protocol of ['auto', 'multiboot', 'pvh'] as const) {
        try {
          const image = loadKernel(request(file), protocol);
          for (const { gpa, bytes } of image.segments) {
            if (gpa < 0 || gpa + bytes.length > 32 * MIB) throw new Error(`segment at ${gpa}`);
          }
          for (const { gpa, lengthBytes } of image.zeroRanges) {
            if (gpa < 0 || gpa + lengthBytes > 32 * MIB) throw new Error(`zero range at ${gpa}`);
          }
          outcomes.loaded++;
        } catch (error) {
          if (!(error instanceof LoaderError)) throw error;
          outcomes.refused++;
        }
      }
    }
    expect(outcomes.loaded).toBeGreaterThan(100);
    expect(outcomes.refused).toBeGreaterThan(100);
  });
});
