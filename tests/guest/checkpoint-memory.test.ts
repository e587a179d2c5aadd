/** What a checkpoint costs: memory of the host's process beside the guest's own, and how soon a suspended guest answers again. */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import { BASIC_ARGS, linuxMissing, scratchDirectory } from '../support/machine.ts';
import { bootLinuxProgram, killPrograms, Program, programForTests } from '../support/machine-program.ts';

const NAME = `checkpoint-memory-${process.pid}`;
/** What a process may hold beside the memory that its guest has touched. */
const ALLOWANCE_MIB = 250;

let scratch: ReturnType<typeof scratchDirectory>;
beforeAll(() => {
  scratch = scratchDirectory();
});
afterAll(() => scratch.remove());
afterEach(killPrograms);
beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);

async function ctl(option: string): Promise<void> {
  let stderr = '';
  const status = await runBhyvectl([`--vm=${NAME}`, option], () => new Registry(openRuntimeDir()), {
    stdout: () => undefined,
    stderr: (text) => (stderr += text),
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
}

test('a checkpoint and a suspend hold no second copy of the guest; -r needs no kernel', async () => {
  const guest = await bootLinuxProgram({ args: ['-m', '1G'], name: NAME });
  const fill = 'mkdir -p /m; mount -t tmpfs m /m; dd if=/dev/urandom of=/m/d bs=1M count=200 2>&1';
  expect((await guest.run(`${fill} | grep -c '200+0 records out'; md5sum < /m/d > /m/sum`)).output).toBe('1\n');
  const file = join(scratch.path, 'checkpoint');
  guest.forgetPeak();
  await ctl(`--checkpoint=${file}`);
  // Pages of zeros are not in the file: its length is what the guest has touched, or less.
  const touchedMib = statSync(file).size / 2 ** 20;
  expect(touchedMib).toBeGreaterThan(200);
  expect(guest.peakResidentMib()).toBeLessThan(touchedMib + ALLOWANCE_MIB);
  guest.forgetPeak();
  await ctl(`--suspend=${file}`);
  expect(await guest.ended).toEqual({ code: 0, signal: null });

  const again = new Program(process.execPath, [await programForTests(), ...BASIC_ARGS, '-r', file]);
  expect((await again.run('md5sum < /m/d | cmp - /m/sum && echo same')).output).toBe('same\n');
  expect(again.peakResidentMib()).toBeLessThan(touchedMib + ALLOWANCE_MIB);
  rmSync(file);
});
