/**
 * crash(8) on the core file (-C) of a Linux guest whose addresses are randomized. It wants the kernel's debug information, a download of 283 MB that unpacks
 * to 590 MB (linux-image-RELEASE-dbg), so the test runs only when CRASH_VMLINUX names that vmlinux.
 */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bootLinuxProgram, killPrograms } from '../support/machine-program.ts';
import { linuxGuest, linuxMissing } from '../support/machine.ts';

const vmlinux = process.env['CRASH_VMLINUX'];
const NAME = `crash-${process.pid}`;
/** Written to the current folder. */
const CORE = `${NAME}.core`;

beforeEach(async (context) => {
  if (vmlinux === undefined) context.skip("needs the kernel's debug information: set CRASH_VMLINUX");
  if (spawnSync('crash', ['--version']).status !== 0) context.skip('crash is not installed');
  const missing = await linuxMissing();
  if (missing !== undefined) context.skip(missing);
}, 300_000);
afterEach(killPrograms);
afterEach(() => rmSync(CORE, { force: true }));

test('system, log, modules and tasks', { timeout: 600_000 }, async () => {
  const guest = await bootLinuxProgram({ args: ['-C', '-c', '2', '-m', '512M'], name: NAME });
  const { release } = await linuxGuest();
  await guest.run('echo seen by crash > /dev/kmsg; (exec sleep 1000) &');
  guest.signal('SIGABRT');
  await guest.ended;
  const commands = [
    'sys',
    'log | grep seen',
    'mod | grep -c virtio',
    'list task_struct.tasks -s task_struct.comm -h init_task',
    'quit',
  ];
  const { stdout } = spawnSync('crash', ['-s', vmlinux ?? '', CORE], {
    input: `${commands.join('\n')}\n`,
    encoding: 'utf8',
    timeout: 500_000,
  });
  expect(stdout).toMatch(new RegExp(`RELEASE: ${release ?? ''}`));
  expect(stdout).toMatch(/CPUS: 2$/m);
  expect(stdout).toMatch(/seen by crash$/m);
  for (const task of ['sleep', 'kthreadd', 'swapper/0']) expect(stdout).toContain(`comm = "${task}`);
});
