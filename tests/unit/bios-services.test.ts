/** The BIOS services for kernels in real mode: the bytes are what the source says, and the tables behind them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { BIOS_OFFSET, BIOS_SEGMENT, biosServices } from '../../devices/firmware/bios/image.ts';
import { SERVICES } from '../../devices/firmware/bios/services.ts';

const DIRECTORY = fileURLToPath(new URL('../../devices/firmware/bios/', import.meta.url));
const MIB = 0x100000;
const GIB = 1024 * MIB;

/** The file services.ts for the assembled bytes. */
function render(bytes: Uint8Array): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,100}/g)
    ?.map((line) => `    '${line}',`);
  return [
    '/**',
    ' * services.asm, assembled. Written by tests/unit/bios-services.test.ts: run it with BIOS_SERVICES=write after a change, where nasm is',
    ' * installed.',
    ' */',
    'export const SERVICES: Uint8Array = Uint8Array.from(',
    '  atob(',
    `    [`,
    ...(lines ?? []).map((line) => `  ${line}`),
    "    ].join(''),",
    '  ),',
    '  (character) => character.charCodeAt(0),',
    ');',
    '',
  ].join('\n');
}

describe('the services of a BIOS', () => {
  it('are services.asm, assembled', (context) => {
    if (spawnSync('nasm', ['-v']).status !== 0) context.skip('nasm is not installed');
    const scratch = mkdtempSync(join(tmpdir(), 'webhyve-bios-'));
    try {
      const out = join(scratch, 'services.bin');
      execFileSync('nasm', ['-f', 'bin', '-o', out, join(DIRECTORY, 'services.asm')]);
      const assembled = readFileSync(out);
      if (process.env['BIOS_SERVICES'] === 'write') writeFileSync(join(DIRECTORY, 'services.ts'), render(assembled));
      else expect(Buffer.from(SERVICES).equals(assembled)).toBe(true);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });

  it('begin with a directory of handlers inside the code', () => {
    const { handlers, entryOffset } = biosServices({ lowmemBytes: 64 * MIB, highmemBytes: 0 }, 0);
    const offsets = [entryOffset, ...handlers.values()];
    expect(new Set(offsets).size).toBe(11);
    for (const offset of offsets) {
      expect(offset).toBeGreaterThanOrEqual(BIOS_OFFSET + offsets.length * 2);
      expect(offset).toBeLessThan(BIOS_OFFSET + SERVICES.length);
    }
  });

  it.each([
    [2 * MIB, 0, [0, 1024, 1024, 0, 3]],
    [16 * MIB, 0, [0, 15 * 1024, 15 * 1024, 0, 3]],
    [3 * GIB, GIB, [0, 0xfc00, 15 * 1024, 3056 * 16, 4]],
  ])('state the memory of a machine with %i and %i bytes', (lowmemBytes, highmemBytes, expected) => {
    const { segment } = biosServices({ lowmemBytes, highmemBytes }, 0);
    expect(segment.gpa).toBe(BIOS_SEGMENT * 16 + BIOS_OFFSET);
    const facts = new DataView(segment.bytes.buffer, segment.bytes.byteOffset + SERVICES.length);
    const words = [1, 3, 5, 7].map((at) => facts.getUint16(at, true));
    expect([facts.getUint8(0), ...words]).toEqual(expected);
    expect(segment.bytes.length).toBe(SERVICES.length + 9 + 20 * (expected[4] ?? 0));
    // The last range of the map ends where memory does.
    const last = 9 + 20 * ((expected[4] ?? 0) - 1);
    const end = facts.getBigUint64(last, true) + facts.getBigUint64(last + 8, true);
    expect(end).toBe(BigInt(highmemBytes > 0 ? 4 * GIB + highmemBytes : lowmemBytes));
  });

  it('know the last PCI bus', () => {
    const { segment } = biosServices({ lowmemBytes: 64 * MIB, highmemBytes: 0 }, 7);
    expect(segment.bytes[SERVICES.length]).toBe(7);
  });
});
