/**
 * A guest with more memory than its process holds: chunks of 2 MiB go to a file and come back, with their page tables, their code and devices'
 * requests among them (docs/memory.md). swapped-memory-long.test.ts has Linux.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { CHUNK_SIZE } from '../../core-as/layout.ts';
import {
  BASIC_ARGS,
  destroyTestMachines,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const SOURCE = join(import.meta.dirname, 'asm', 'swapped.asm');
const INCLUDES = join(import.meta.dirname, '..', 'system', 'guests/');
const hasNasm = spawnSync('nasm', ['-v']).status === 0;

afterEach(destroyTestMachines);

describe('an assembled guest', () => {
  const assembled = (): Uint8Array => {
    const scratch = scratchDirectory();
    const image = join(scratch.path, 'swapped');
    execFileSync('nasm', ['-i', INCLUDES, '-f', 'bin', '-o', image, SOURCE]);
    const kernel = readFileSync(image);
    scratch.remove();
    return kernel;
  };

  /** Memory that the guest leaves alone. */
  const DMA_GPA = 288 << 20;
  const DMA_CHUNKS = 16;

  /** What a disk does: views are held while something else happens, then written. Returns how many chunks it wrote to. */
  async function requests({ machine }: TestMachine, until: () => boolean): Promise<number> {
    let count = 0;
    for (; !until(); count++) {
      const gpa = DMA_GPA + (count % DMA_CHUNKS) * CHUNK_SIZE + CHUNK_SIZE - 2048;
      const lengthBytes = count % DMA_CHUNKS === DMA_CHUNKS - 1 ? 2048 : 4096;
      const views = machine.memory.views(gpa, lengthBytes);
      const release = machine.memory.hold();
      await delay(5);
      if (until()) break;
      for (const view of views) view.fill(count & 0xff);
      machine.memory.written(gpa, lengthBytes);
      release();
      await delay(5);
      if (until()) break;
      const back = new Uint8Array(lengthBytes);
      machine.memory.read(gpa, back);
      expect(back.every((byte) => byte === (count & 0xff))).toBe(true);
    }
    return count;
  }

  test.for(['thread', 'inline'] as const)(
    'checks 256 MiB in 64 (%s)',
    { timeout: 240_000 },
    async (backend, context) => {
      if (!hasNasm) return context.skip('nasm is not installed');
      const kernel = assembled();
      const args = ['-c', '2', '-m', '320M', '-l', 'pc-testdev', '-o', 'memory.resident=64M'];
      const make = (): Promise<TestMachine> => testMachine([...BASIC_ARGS, ...args, 'test'], { kernel, backend });
      await using guest = await make();
      const { machine } = guest;
      machine.start();
      const written = requests(guest, () => machine.status === 'ending' || machine.status === 'ended');
      await guest.com1.expect('!', { timeout: 120_000 });
      const snapshot = await machine.snapshot();
      expect(await machine.waitForExit({ timeout: 120_000 })).toMatchObject({ code: 1, reason: 'exit' });
      expect(guest.com1.transcript).toContain('wrong=0\n');
      expect(guest.messages).toEqual([]);
      expect(await written).toBeGreaterThan(0);
      const stats = machine.stats();
      expect(Number(stats['Swapped memory'])).toBeGreaterThan(180 << 20);
      expect(Number(stats['Resident memory'])).toBeLessThanOrEqual(64 << 20);
      expect(Number(stats['chunks read from swap'])).toBeGreaterThan(128);

      await using again = await make();
      await again.machine.restore(snapshot);
      again.machine.start();
      expect(await again.machine.waitForExit({ timeout: 120_000 })).toMatchObject({ code: 1, reason: 'exit' });
      expect(again.com1.transcript).toContain('wrong=0\n');
    },
  );
});
