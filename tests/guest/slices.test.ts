/**
 * A timer of half a millisecond beside every kind of instruction whose work has no bound or is out of proportion (asm/slices.asm): its
 * interrupts come in between. SLICES=1 in the environment prints the counts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BASIC_ARGS, destroyTestMachines, scratchDirectory, testMachine } from '../support/machine.ts';

const SOURCE = join(import.meta.dirname, 'asm/slices.asm');
const INCLUDES = join(import.meta.dirname, '../system/guests/');
const PATIENCE_MS = 120_000;
const KINDS = 39;
/**
 * In 40 ms 80 interrupts are due. The host's other work takes some of the time: what is asked for is a tenth, and where work is not charged
 * there is one, or none.
 */
const FEWEST_TICKS = 8;

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

beforeEach((context) => {
  if (!hasNasm) context.skip('nasm is not installed');
});
afterEach(destroyTestMachines);

test.for([true, false])('timers are looked at beside long work (cpu.jit=%s)', { timeout: PATIENCE_MS }, async (jit) => {
  const scratch = scratchDirectory();
  const image = join(scratch.path, 'slices');
  execFileSync('nasm', ['-i', INCLUDES, '-w-prefix-lock', '-f', 'bin', '-o', image, SOURCE]);
  const kernel = readFileSync(image);
  scratch.remove();
  const argv = [
    ...BASIC_ARGS,
    '-m',
    '256M',
    '-l',
    'pc-testdev',
    '-o',
    `cpu.jit=${jit}`,
    '-f',
    'multiboot,/slices',
    'test',
  ];
  await using guest = await testMachine(argv, { readFile: () => Promise.resolve(kernel) });
  guest.machine.start();
  expect(await guest.machine.waitForExit({ timeout: PATIENCE_MS })).toMatchObject({ code: 1, reason: 'exit' });
  const text = guest.com1.transcript.replaceAll('\r', '');
  const lines = [...text.matchAll(/^(.*): ticks ([0-9a-f]+), longest ([0-9a-f]+) microseconds$/gm)];
  const rows = lines.map(([, name = '', ticks = '', longest = '']) => {
    return { name, ticks: parseInt(ticks, 16), longestUs: parseInt(longest, 16) };
  });
  if (process.env.SLICES) console.table(rows);
  expect(text.endsWith('end\n'), text).toBe(true);
  expect(rows).toHaveLength(KINDS);
  expect(rows.filter(({ ticks }) => ticks < FEWEST_TICKS)).toEqual([]);
});
