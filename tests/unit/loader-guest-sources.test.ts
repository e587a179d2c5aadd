import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadKernel } from '../../devices/firmware/loaders/loader.ts';

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

/** The guests of the machine tests: their sources assemble to something that the loaders take. */
describe.skipIf(!hasNasm)('assembled guests (skipped where nasm is not installed)', () => {
  it.each([
    ['hello-multiboot', 'multiboot', 0x100020n],
    ['hello-long', 'pvh', 0x2000c4n],
  ])('%s boots by %s', (name, protocol, rip) => {
    const directory = mkdtempSync(join(tmpdir(), 'webhyve-guest-'));
    try {
      const output = join(directory, name);
      const include = new URL('../guest/asm/', import.meta.url).pathname;
      const source = join(include, `${name}.asm`);
      const nasm = spawnSync('nasm', ['-i', include, '-f', 'bin', '-o', output, source], { encoding: 'utf8' });
      expect(nasm.stderr).toBe('');
      const image = loadKernel({
        kernel: readFileSync(output),
        commandLine: 'x',
        modules: [],
        lowmemBytes: 0x1000000,
        highmemBytes: 0,
      });
      expect(image.protocol).toBe(protocol);
      expect(image.registers.rip).toBe(rip);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
