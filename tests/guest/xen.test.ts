/** Xen with Linux as its first domain: a hypervisor that takes several multiboot modules, each with arguments, and a low memory as a BIOS leaves it. */
import { afterEach, expect, test } from 'vitest';
import { debianFile } from '../support/debian-package.ts';
import { BASIC_ARGS, linuxGuest, linuxMissing } from '../support/machine.ts';
import { killPrograms, startProgram } from '../support/machine-program.ts';

const TIMEOUT_MS = 400_000;
const WAIT_MS = 300_000;

afterEach(killPrograms);

test('Xen boots by multiboot, and a shell runs in its dom0', { timeout: TIMEOUT_MS }, async (context) => {
  const missing = await linuxMissing('generic');
  if (missing !== undefined) return context.skip(missing);
  const xen = debianFile('xen-hypervisor-4.17-amd64', /^boot\/xen-4\.17-amd64\.gz$/);
  if (xen === undefined) return context.skip('the package xen-hypervisor-4.17-amd64 cannot be downloaded');
  // The kernel for virtual machines cannot be a first domain.
  const { kernel, initrd } = await linuxGuest('generic');
  const guest = await startProgram([
    ...BASIC_ARGS,
    ...['-m', '768M', '-s', '3,virtio-rnd', '-f', `multiboot,${xen},,com1=115200,8n1 console=com1 dom0_mem=400M`],
    ...['-f', `module,${kernel},console=hvc0 cryptomgr.notests quiet loglevel=1`, '-f', `module,${initrd}`],
    `xen-${process.pid}`,
  ]);
  await guest.console.expect('Xen version 4.17', { timeout: WAIT_MS });
  await guest.console.expect('webhyve guest ready', { timeout: WAIT_MS });
  await guest.console.expect('/ # ', { timeout: WAIT_MS });
  expect(await guest.run('cat /sys/hypervisor/type', WAIT_MS)).toEqual({ output: 'xen\n', status: 0 });
  // The virtio function is behind Xen's interrupts.
  expect(await guest.run('dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c', WAIT_MS)).toMatchObject({
    output: '64\n',
  });
  guest.console.send('poweroff -f\n');
  expect(await guest.ended).toEqual({ code: 1, signal: null });
});
