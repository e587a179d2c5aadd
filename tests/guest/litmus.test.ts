/**
 * Memory order between vCPUs: litmus tests in an assembled guest (asm/litmus.asm). What x86-TSO forbids must not be seen in any round; what it
 * allows is counted, to know whether the vCPUs ran at the same time at all.
 *
 * LITMUS_MS=2000 in the environment gives each test more than its 60 ms, LITMUS_CPUS the number of vCPUs. The counts are printed then.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BASIC_ARGS, destroyTestMachines, scratchDirectory, testMachine } from '../support/machine.ts';

const MS = Number(process.env.LITMUS_MS ?? 60);
const CPUS = Number(process.env.LITMUS_CPUS ?? 2);
/** On a busy host a round may take a whole slice of its scheduler, and there are some forty tests. */
const PATIENCE_MS = 60_000 + MS * 400;
const SOURCE = join(import.meta.dirname, 'asm/litmus.asm');
const INCLUDES = join(import.meta.dirname, '../system/guests/');

/** Tests for two, for three and for four processors. */
const TESTS = [0, 0, 36, 37, 38];

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

beforeEach((context) => {
  if (!hasNasm) context.skip('nasm is not installed');
});
afterEach(destroyTestMachines);

test.for([true, false])('nothing that x86-TSO forbids (cpu.jit=%s)', { timeout: PATIENCE_MS }, async (jit) => {
  const scratch = scratchDirectory();
  const image = join(scratch.path, 'litmus');
  execFileSync('nasm', ['-i', INCLUDES, '-w-prefix-lock', '-f', 'bin', '-o', image, SOURCE]);
  const kernel = readFileSync(image);
  scratch.remove();
  const argv = [...BASIC_ARGS, '-c', String(CPUS), '-l', 'pc-testdev', '-o', `cpu.jit=${jit}`];
  await using guest = await testMachine([...argv, '-f', `multiboot,/litmus,,${MS.toString(16)}`, 'test'], {
    readFile: () => Promise.resolve(kernel),
  });
  guest.machine.start();
  expect(await guest.machine.waitForExit({ timeout: PATIENCE_MS })).toMatchObject({ code: 1, reason: 'exit' });
  const text = guest.com1.transcript.replaceAll('\r', '');
  if (process.env.LITMUS_MS) console.log(text);
  expect(text).toMatch(new RegExp(`^processors=${CPUS}\n[^]*end\n$`));
  const lines = [...text.matchAll(/^(.*): (forbidden|allowed, seen) ([0-9a-f]+) of ([0-9a-f]+) rounds$/gm)];
  expect(lines).toHaveLength(TESTS[CPUS] ?? 0);
  for (const [line, , , , rounds = ''] of lines) expect(parseInt(rounds, 16), line).toBeGreaterThan(0);
  const seen = lines.filter(([, , kind, count]) => kind === 'forbidden' && count !== '0').map(([line]) => line);
  expect(seen).toEqual([]);
});
