/** Guests of tests/guest/asm, assembled when they are wanted: long mode from a PVH entry, the shadow of STI. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  BASIC_ARGS,
  destroyTestMachines,
  scratchDirectory,
  testMachine,
  type TestMachine,
} from '../support/machine.ts';

const SOURCES = join(import.meta.dirname, 'asm');
/** Interrupts that are sent before this thread rests. */
const BURST = 100;

const hasNasm = spawnSync('nasm', ['-v']).status === 0;

beforeEach((context) => {
  if (!hasNasm) context.skip('nasm is not installed');
});
afterEach(destroyTestMachines);

function guestMachine(name: string, args: readonly string[] = [], cmdline = ''): Promise<TestMachine> {
  const scratch = scratchDirectory();
  const image = join(scratch.path, name);
  execFileSync('nasm', ['-i', `${SOURCES}/`, '-f', 'bin', '-o', image, join(SOURCES, `${name}.asm`)]);
  const kernel = readFileSync(image);
  scratch.remove();
  return testMachine([...BASIC_ARGS, '-l', 'pc-testdev', ...args, 'test'], { kernel, cmdline });
}

/** Both guests end by writing their verdict, 0 when all is well, to the debug exit port: (verdict << 1) | 1. */
const PASSED = { code: 1, reason: 'exit' };

test('a PVH guest goes on in long mode and has its command line', async () => {
  await using guest = await guestMachine('hello-long', [], 'a, b');
  guest.machine.start();
  expect(await guest.machine.waitForExit()).toMatchObject(PASSED);
  expect(guest.com1.transcript).toBe('hello from long mode: a, b\n');
});

test.for(['true', 'false', 'always'])(
  'no NMI comes right after STI (cpu.jit=%s)',
  { timeout: 180_000 },
  async (jit) => {
    await using guest = await guestMachine('sti-nmi', ['-o', `cpu.jit=${jit}`]);
    const { machine } = guest;
    machine.start();
    await guest.com1.expect('!');
    while (machine.running) {
      for (let n = 0; n < BURST; n++) machine.core.exports.raiseNmi(0);
      await setImmediate();
    }
    expect(await machine.exited).toMatchObject(PASSED);
  },
);
