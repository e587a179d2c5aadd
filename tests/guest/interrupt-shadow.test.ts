/** The shadow of STI against what comes from other threads: asm/sti-nmi.asm, in each tier. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { BASIC_ARGS, destroyTestMachines, scratchDirectory, testMachine } from '../support/machine.ts';

const BURST = 100;
const EXIT_STATUS_OF_0 = 1;

afterEach(destroyTestMachines);

test.for([true, false])('no NMI comes right after STI (cpu.jit=%s)', { timeout: 60_000 }, async (jit, context) => {
  if (spawnSync('nasm', ['-v']).status !== 0) context.skip('nasm is not installed');
  const scratch = scratchDirectory();
  const image = join(scratch.path, 'sti-nmi.elf');
  execFileSync('nasm', ['-f', 'bin', '-o', image, join(import.meta.dirname, 'asm', 'sti-nmi.asm')]);
  const kernel = readFileSync(image);
  scratch.remove();
  const argv = [...BASIC_ARGS, '-l', 'pc-testdev', '-o', `cpu.jit=${jit}`, '-f', 'kexec,/sti-nmi', 'test'];
  await using guest = await testMachine(argv, { readFile: () => Promise.resolve(kernel) });
  const { machine } = guest;
  machine.start();
  await guest.com1.expect('!');
  while (machine.running) {
    for (let n = 0; n < BURST; n++) machine.core.exports.raiseNmi(0);
    await setImmediate();
  }
  expect(await machine.exited).toMatchObject({ code: EXIT_STATUS_OF_0, reason: 'exit' });
});
