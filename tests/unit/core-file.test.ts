/** The core file's own bytes: headers, notes, and the mappings of a 64-bit kernel (a real debugger reads one in tests/guest/options.test.ts). */
import { expect, test } from 'vitest';
import {
  coreFile,
  kernelMappings,
  type CoreSegment,
  type CoreSource,
  type CoreVcpu,
} from '../../devices/debug/core-file.ts';

const FLAT: CoreSegment = { selector: 0x10, base: 0n, limit: 0xffffffff, access: 0xa09b };
const PAGE = 0x1000;

function cpu(cr3: bigint): CoreVcpu {
  return {
    gpr: { rax: 1n, r15: 2n },
    rip: 0xffffffff81000000n,
    rflags: 2n,
    cr0: 0x8000_0001n,
    cr2: 0n,
    cr3,
    cr4: 0x20n,
    efer: 0x500n,
    segments: { cs: FLAT, ds: FLAT, es: FLAT, fs: FLAT, gs: FLAT, ss: FLAT, ldtr: FLAT, tr: FLAT },
    gdt: { base: 0n, limit: 0 },
    idt: { base: 0n, limit: 0 },
    kernelGsBase: 0n,
  };
}

/** 16 MiB whose words are in a map. */
function memory(words: ReadonlyMap<number, bigint>): CoreSource {
  return {
    vcpus: [cpu(0x1000n)],
    ranges: [{ gpa: 0, lengthBytes: 16 << 20 }],
    pieces: () => [],
    readU64: (gpa) => words.get(gpa) ?? 0n,
  };
}

test('mappings of the upper half are joined, and end where memory does', () => {
  const words = new Map<number, bigint>([
    [0x1000 + 8 * 511, 0x2003n],
    [0x2000 + 8 * 510, 0x3003n],
    // Two large pages that follow each other, one that does not lie in memory, and a table.
    [0x3000 + 8 * 8, 0x400083n],
    [0x3000 + 8 * 9, 0x600083n],
    [0x3000 + 8 * 10, 0x40000083n],
    [0x3000 + 8 * 11, 0x4003n],
    [0x4000 + 8 * 5, BigInt(7 * PAGE) | 1n | (1n << 63n)],
    // The lower half is a process's.
    [0x1000, 0x2003n],
  ]);
  const source = memory(words);
  const boot = source.vcpus[0];
  if (!boot) throw new Error('no vCPU');
  expect(kernelMappings(boot, source)).toEqual([
    { virtual: 0xffffffff81000000n, gpa: 0x400000, lengthBytes: 0x400000 },
    { virtual: 0xffffffff81605000n, gpa: 7 * PAGE, lengthBytes: PAGE },
  ]);
  const core = coreFile(source);
  const view = new DataView(core.headers.buffer);
  expect(view.getUint16(56, true)).toBe(1 + 2 + 1);
  expect(core.sizeBytes % PAGE).toBe(0);
  expect(core.sizeBytes).toBe(Math.ceil(core.headers.length / PAGE) * PAGE + (16 << 20));
});

test('a table that points at itself is no trap', () => {
  const words = new Map<number, bigint>();
  for (let index = 0; index < 512; index++) words.set(0x1000 + 8 * index, 0x1003n);
  const source = memory(words);
  const boot = source.vcpus[0];
  if (!boot) throw new Error('no vCPU');
  expect(kernelMappings(boot, source).length).toBe(20_000);
  // Nor is one whose pages are nowhere.
  const nowhere = { ...source, ranges: [{ gpa: 8 << 20, lengthBytes: PAGE }] };
  expect(kernelMappings(boot, nowhere)).toEqual([]);
});
