import { describe, expect, it } from 'vitest';
import { LoaderError, type BootImage, type BootRequest } from '../../devices/firmware/loaders/boot-image.ts';
import { detectProtocol, isLoaderProtocol, loadKernel } from '../../devices/firmware/loaders/loader.ts';

const MIB = 0x100000;
const SETUP_BYTES = 0x400;
const PAYLOAD_BYTES = 0x1000;

/** A bzImage of protocol 2.15: one setup sector, 4 KiB payload that starts with 0xAA bytes. */
function bzImage(patch?: (view: DataView) => void): Uint8Array {
  const file = new Uint8Array(SETUP_BYTES + PAYLOAD_BYTES);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, 1);
  view.setUint32(0x1f4, PAYLOAD_BYTES / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, 0x6a);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, 0x020f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x214, 0x100000, true);
  view.setUint32(0x22c, 0x37ffffff, true);
  view.setUint32(0x230, 0x200000, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, 0x3f, true);
  view.setUint32(0x238, 2047, true);
  view.setBigUint64(0x258, 0x1000000n, true);
  view.setUint32(0x260, 8 * MIB, true);
  file.fill(0xaa, SETUP_BYTES);
  patch?.(view);
  return file;
}

const request = (kernel: Uint8Array, more: Partial<BootRequest> = {}): BootRequest => ({
  kernel,
  commandLine: 'console=ttyS0',
  modules: [],
  lowmemBytes: 64 * MIB,
  highmemBytes: 0,
  rsdpGpa: 0xf2400,
  ...more,
});

function at(image: BootImage, gpa: number | bigint): DataView {
  const segment = image.segments.find((candidate) => candidate.gpa === Number(gpa));
  if (!segment) throw new Error(`nothing is loaded at 0x${gpa.toString(16)}`);
  return new DataView(segment.bytes.buffer, segment.bytes.byteOffset, segment.bytes.byteLength);
}
const zeroPageOf = (image: BootImage): DataView => at(image, image.registers.gpr['rsi'] ?? 0n);

function expectDisjoint(image: BootImage): void {
  const sorted = [...image.segments].sort((left, right) => left.gpa - right.gpa);
  for (const [index, { gpa, bytes }] of sorted.entries()) {
    expect(gpa + bytes.length).toBeLessThanOrEqual(sorted[index + 1]?.gpa ?? Infinity);
  }
}

describe('Linux 64-bit protocol', () => {
  const image = loadKernel(request(bzImage()));
  const { registers } = image;

  it('is chosen by the header and enters at 0x200 in long mode', () => {
    expect(image.protocol).toBe('linux64');
    expect(registers.rip).toBe(0x1000200n);
    expect(registers.rflags).toBe(2n);
    expect(registers.cr0).toBe(0x80000031n);
    expect(registers.cr4).toBe(0x20n);
    expect(registers.efer).toBe(0x500n);
    expect(registers.segments.cs).toEqual({ selector: 0x10, base: 0n, limit: 0xffffffff, access: 0xa09b });
    expect(registers.segments.ds).toEqual({ selector: 0x18, base: 0n, limit: 0xffffffff, access: 0xc093 });
    expect(registers.segments.tr.access).toBe(0x8b);
    expect(registers.segments.ldtr.access).toBe(0x10000);
    expectDisjoint(image);
  });

  it('provides a GDT whose descriptors equal the segment registers', () => {
    const gdt = at(image, registers.gdt.base);
    expect(gdt.byteLength).toBe(registers.gdt.limit + 1);
    expect(gdt.getBigUint64(0x10, true)).toBe(0x00af9b000000ffffn);
    expect(gdt.getBigUint64(0x18, true)).toBe(0x00cf93000000ffffn);
  });

  it('provides page tables that map every 2 MiB page below 4 GiB to itself', () => {
    const tables = at(image, registers.cr3);
    const base = Number(registers.cr3);
    const entry = (table: number, index: number): number => Number(tables.getBigUint64(table - base + index * 8, true));
    const address = (value: number): number => Math.floor(value / 0x1000) * 0x1000;
    for (const gpa of [0, 0x200000, 0x1000000, 0x3fffffff, 0x40000000, 0xbfffffff, 0xfee00000, 0xffffffff]) {
      const pml4e = entry(base, 0);
      expect(pml4e & 3).toBe(3);
      const pdpte = entry(address(pml4e), Math.floor(gpa / 0x40000000));
      expect(pdpte & 3).toBe(3);
      const pde = entry(address(pdpte), Math.floor(gpa / 0x200000) % 512);
      expect(pde & 0x83).toBe(0x83);
      expect(pde - (pde % 0x1000)).toBe(gpa - (gpa % 0x200000));
    }
  });

  it('fills the zero page', () => {
    const page = zeroPageOf(image);
    expect(page.byteLength).toBe(0x1000);
    expect(page.getUint32(0x202, true)).toBe(0x53726448);
    expect(page.getUint16(0x1fe, true)).toBe(0xaa55);
    expect(page.getUint8(0x210)).toBe(0xff);
    expect(page.getBigUint64(0x70, true)).toBe(0xf2400n);
    expect(page.getUint32(0x1e0, true)).toBe(63 * 1024);
    const line = at(image, page.getUint32(0x228, true));
    expect(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString()).toBe('console=ttyS0\0');
    expect(page.getUint8(0x1e8)).toBe(3);
    const map = [0, 1, 2].map((index) => [
      page.getBigUint64(0x2d0 + index * 20, true),
      page.getBigUint64(0x2d8 + index * 20, true),
      page.getUint32(0x2e0 + index * 20, true),
    ]);
    expect(map).toEqual([
      [0n, 0x9fc00n, 1],
      [0x9fc00n, 0x60400n, 2],
      [0x100000n, 63n * BigInt(MIB), 1],
    ]);
  });

  it('loads the payload where the kernel prefers it', () => {
    const payload = at(image, 0x1000000);
    expect(payload.byteLength).toBe(PAYLOAD_BYTES);
    expect(payload.getUint8(0)).toBe(0xaa);
    const noPreference = loadKernel(request(bzImage((view) => view.setBigUint64(0x258, 0n, true))));
    expect(noPreference.registers.rip).toBe(0x200200n);
  });

  it('reports memory above 4 GiB', () => {
    const page = zeroPageOf(loadKernel(request(bzImage(), { lowmemBytes: 0xc0000000, highmemBytes: 0x40000000 })));
    expect(page.getUint8(0x1e8)).toBe(4);
    expect(page.getBigUint64(0x2d0 + 60, true)).toBe(0x1_0000_0000n);
    expect(page.getBigUint64(0x2d8 + 60, true)).toBe(0x40000000n);
  });
});

describe('initial RAM disk', () => {
  const place = (image: BootImage): [number, number] => {
    const page = zeroPageOf(image);
    return [page.getUint32(0x218, true), page.getUint32(0x21c, true)];
  };
  const module = { bytes: new Uint8Array(5000).fill(0x55) };

  it('goes as high as memory allows', () => {
    const image = loadKernel(request(bzImage(), { modules: [module] }));
    expect(place(image)).toEqual([64 * MIB - 0x2000, 5000]);
    expect(at(image, 64 * MIB - 0x2000).getUint8(4999)).toBe(0x55);
  });

  it('stays below initrd_addr_max unless the kernel takes it anywhere', () => {
    const low = bzImage((view) => view.setUint16(0x236, 1, true));
    const options = { modules: [module], lowmemBytes: 0xc0000000 };
    expect(place(loadKernel(request(low, options)))[0]).toBe(0x38000000 - 0x2000);
    expect(place(loadKernel(request(bzImage(), options)))[0]).toBe(0xc0000000 - 0x2000);
  });

  it('is the concatenation of several files, each padded to 4 bytes', () => {
    const image = loadKernel(
      request(bzImage(), { modules: [{ bytes: Uint8Array.of(1, 2, 3) }, { bytes: Uint8Array.of(4) }] }),
    );
    const [gpa, size] = place(image);
    expect(size).toBe(8);
    expect(at(image, gpa).getBigUint64(0, true)).toBe(0x00000004_00030201n);
  });

  it('must fit beside the kernel', () => {
    const huge = { bytes: new Uint8Array(50 * MIB) };
    expect(() => loadKernel(request(bzImage(), { modules: [huge] }))).toThrow(
      'no room in memory for the initial RAM disk',
    );
  });
});

describe('Linux 32-bit protocol', () => {
  it('enters at the start of the payload without paging', () => {
    const image = loadKernel(request(bzImage()), 'linux32');
    const { registers } = image;
    expect(registers.rip).toBe(0x1000000n);
    expect(registers.cr0).toBe(0x31n);
    expect([registers.cr3, registers.cr4, registers.efer]).toEqual([0n, 0n, 0n]);
    expect(registers.segments.cs.access).toBe(0xc09b);
    expect(at(image, registers.gdt.base).getBigUint64(0x10, true)).toBe(0x00cf9b000000ffffn);
    expectDisjoint(image);
  });

  it('is chosen for kernels without a 64-bit entry', () => {
    const old = bzImage((view) => view.setUint16(0x236, 0, true));
    expect(loadKernel(request(old)).protocol).toBe('linux32');
    expect(() => loadKernel(request(old), 'linux64')).toThrow('no 64-bit entry point');
    expect(detectProtocol(bzImage((view) => view.setUint16(0x206, 0x020b, true)))).toBe('linux32');
  });
});

describe('Linux protocols 2.06 to 2.09', () => {
  it.each([0x206, 0x207, 0x208, 0x209])(
    '0x%i: loaded at 1 MiB, whatever lies where later headers have more fields',
    (version) => {
      const old = bzImage((view) => {
        view.setUint16(0x206, version, true);
        view.setUint8(0x201, 0x23c - 0x202);
        view.setBigUint64(0x258, 0x1234_5678_9abcn, true);
        view.setUint32(0x260, 0xffffffff, true);
      });
      const image = loadKernel(request(old, { modules: [{ bytes: new Uint8Array(10).fill(3) }] }));
      expect(image.protocol).toBe('linux32');
      expect(image.registers.rip).toBe(BigInt(MIB));
      expect(at(image, MIB).getUint8(0)).toBe(0xaa);
      const page = zeroPageOf(image);
      expect(page.getUint16(0x206, true)).toBe(version);
      // What follows the header of that protocol is no part of it.
      expect(page.getUint32(0x260, true)).toBe(0);
      expect(at(image, page.getUint32(0x218, true)).getUint8(9)).toBe(3);
    },
  );
});

describe('bad Linux images', () => {
  it.each<[string, (view: DataView) => void, string]>([
    ['old protocols', (view) => view.setUint16(0x206, 0x0205, true), 'boot protocol 2.05'],
    ['a zImage', (view) => view.setUint8(0x211, 0), 'zImage'],
    ['a size past the file', (view) => view.setUint32(0x1f4, 0xffffffff, true), 'truncated'],
    ['no payload', (view) => view.setUint32(0x1f4, 0, true), 'truncated'],
    ['setup sectors past the file', (view) => view.setUint8(0x1f1, 255), 'truncated'],
    ['an odd alignment', (view) => view.setUint32(0x230, 0x30000, true), 'power of two'],
    ['a low address', (view) => view.setBigUint64(0x258, 0x1000n, true), 'below 1 MiB'],
    ['an absurd address', (view) => view.setBigUint64(0x258, 0xffff_ffff_ffff_f000n, true), 'needs'],
    ['too little memory', (view) => view.setUint32(0x260, 60 * MIB, true), 'needs 76 MiB of memory to start'],
    ['a command line limit', (view) => view.setUint32(0x238, 5, true), 'at most 5'],
  ])('%s', (_name, patch, message) => {
    expect(() => loadKernel(request(bzImage(patch)))).toThrow(LoaderError);
    expect(() => loadKernel(request(bzImage(patch)))).toThrow(message);
  });

  it('truncated at every length fail with a LoaderError', () => {
    const file = bzImage();
    for (let length = 0; length < file.length - 16; length += 7) {
      expect(() => loadKernel(request(file.subarray(0, length)))).toThrow(LoaderError);
    }
  });

  it('machines with hardly any memory are refused', () => {
    expect(() => loadKernel(request(bzImage(), { lowmemBytes: MIB }))).toThrow(LoaderError);
  });

  it('protocol names are checked', () => {
    expect(isLoaderProtocol('linux64')).toBe(true);
    expect(isLoaderProtocol('grub')).toBe(false);
    expect(() => loadKernel(request(new Uint8Array(0)))).toThrow('empty');
    expect(() => loadKernel(request(new Uint8Array(4096)))).toThrow('neither a Linux bzImage');
  });
});

describe('Linux real-mode protocol', () => {
  const SETUP_GPA = 0x10000;
  /** As iPXE's: protocol 2.07, and no 32-bit entry point. */
  const realModeImage = (patch?: (view: DataView) => void): Uint8Array =>
    bzImage((view) => {
      view.setUint16(0x206, 0x0207, true);
      view.setUint32(0x214, 0, true);
      view.setUint16(0x236, 0, true);
      patch?.(view);
    });

  it('is taken for an image without a 32-bit entry point, and only for that', () => {
    expect(detectProtocol(realModeImage())).toBe('linux16');
    expect(detectProtocol(realModeImage((view) => view.setUint32(0x214, MIB, true)))).toBe('linux32');
    expect(detectProtocol(bzImage((view) => view.setUint32(0x214, 0, true)))).toBe('linux64');
  });

  it('fills in the header and leaves the file as it is', () => {
    const file = realModeImage();
    const before = file.slice();
    const image = loadKernel(request(file, { modules: [{ bytes: new Uint8Array(5000) }] }));
    expect(file).toEqual(before);
    const setup = at(image, SETUP_GPA);
    expect(setup.byteLength).toBe(SETUP_BYTES);
    expect([setup.getUint8(0x210), setup.getUint8(0x211)]).toEqual([0xff, 0x81]);
    expect(setup.getUint32(0x214, true)).toBe(0);
    expect([setup.getUint32(0x21c, true), setup.getUint16(0x224, true)]).toEqual([5000, 0xde00]);
    expect(at(image, setup.getUint32(0x218, true)).byteLength).toBe(5000);
    const commandLine = at(image, setup.getUint32(0x228, true));
    expect(commandLine.getUint8(commandLine.byteLength - 1)).toBe(0);
    // Before protocol 2.10 a kernel does not say where it wants to be.
    expect(at(image, MIB).getUint8(0)).toBe(0xaa);
    expectDisjoint(image);
  });

  it('tells a kernel where its 32-bit code lies', () => {
    const image = loadKernel(request(bzImage()), 'linux16');
    expect(at(image, SETUP_GPA).getUint32(0x214, true)).toBe(0x1000000);
  });

  it('copies the setup code out of a Buffer that is a part of another', () => {
    const file = realModeImage();
    const pool = Buffer.alloc(file.length + 64);
    pool.set(file, 48);
    const kernel = pool.subarray(48, 48 + file.length);
    const setup = at(loadKernel(request(kernel)), SETUP_GPA);
    expect([setup.getUint32(0x202, true), setup.getUint32(0x228, true)]).toEqual([0x53726448, 0x1e000]);
    expect(kernel.equals(file)).toBe(true);
  });

  it('begins in real mode at the services of a BIOS, which interrupts lead to', () => {
    const { registers, biosHandlers } = loadKernel(request(realModeImage()));
    expect([registers.cr0, registers.cr4, registers.efer]).toEqual([0x10n, 0n, 0n]);
    expect(registers.segments.cs).toMatchObject({ selector: 0xe000, base: 0xe0000n, limit: 0xffff });
    expect(registers.gpr).toMatchObject({ rbx: 0x1000n, rcx: 0xe000n });
    expect(registers.idt).toEqual({ base: 0n, limit: 0x3ff });
    expect(biosHandlers?.segment).toBe(0xe000);
  });

  it.each<[string, (view: DataView) => void, string]>([
    ['a file that ends in its setup code', (view) => view.setUint8(0x1f1, 200), 'truncated'],
    ['a command line limit', (view) => view.setUint32(0x238, 5, true), 'at most 5'],
  ])('%s', (_name, patch, message) => {
    expect(() => loadKernel(request(realModeImage(patch)))).toThrow(message);
  });

  it('refuses setup code that leaves no room for a stack', () => {
    const file = new Uint8Array(0x10000 + PAYLOAD_BYTES);
    file.set(realModeImage((view) => view.setUint8(0x1f1, 0x7f)).subarray(0, SETUP_BYTES));
    expect(() => loadKernel(request(file))).toThrow('too long for real mode: 65536 bytes');
  });
});
