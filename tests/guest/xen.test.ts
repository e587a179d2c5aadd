/**
 * Xen with Linux as its first domain: a hypervisor that takes several multiboot modules, each with arguments, and a low memory as a BIOS leaves
 * it; and xen.efi, which the firmware starts from a disk.
 */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { debianFile } from '../support/debian-package.ts';
import { FIRMWARE_CODE, FIRMWARE_VARIABLES, firmwareMissing } from '../support/firmware.ts';
import { makeFat } from '../support/grub-media.ts';
import { hostHas } from '../support/host-programs.ts';
import { BASIC_ARGS, linuxGuest, linuxMissing, scratchDirectory } from '../support/machine.ts';
import { killPrograms, type Program, startProgram } from '../support/machine-program.ts';

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
  await useFirstDomain(guest);
});

/** Waits for Xen and the first domain's shell, uses a device of the machine there, and powers off. */
async function useFirstDomain(guest: Program): Promise<void> {
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
}

/** Named as the program is, BOOTX64. */
const XEN_CONFIGURATION = `[global]
default=dom0
[dom0]
options=com1=115200,8n1 console=com1 dom0_mem=400M
kernel=vmlinuz console=hvc0 cryptomgr.notests quiet loglevel=1
ramdisk=initrd.img
`;

test('xen.efi, started by the firmware from a disk', { timeout: TIMEOUT_MS }, async (context) => {
  if (firmwareMissing !== undefined) return context.skip(firmwareMissing);
  if (!hostHas('mformat', '--version')) return context.skip('mtools is not installed');
  const missing = await linuxMissing('generic');
  if (missing !== undefined) return context.skip(missing);
  const xen = debianFile('xen-hypervisor-4.17-amd64', /^boot\/xen-4\.17-amd64\.efi$/);
  if (xen === undefined) return context.skip('the package xen-hypervisor-4.17-amd64 cannot be downloaded');
  const { kernel, initrd } = await linuxGuest('generic');
  const scratch = scratchDirectory();
  try {
    const configuration = join(scratch.path, 'xen.cfg');
    writeFileSync(configuration, XEN_CONFIGURATION);
    const disk = join(scratch.path, 'esp.img');
    const files = { 'BOOTX64.CFG': configuration, vmlinuz: kernel, 'initrd.img': initrd };
    makeFat(disk, xen, Object.fromEntries(Object.entries(files).map(([name, file]) => [`/EFI/BOOT/${name}`, file])));
    const variables = join(scratch.path, 'variables.fd');
    copyFileSync(FIRMWARE_VARIABLES, variables);
    const guest = await startProgram([
      ...BASIC_ARGS,
      ...['-m', '1G', '-s', '3,virtio-rnd', '-s', `4,ahci-hd,${disk}`, '-l', `bootrom,${FIRMWARE_CODE},${variables}`],
      `xen-efi-${process.pid}`,
    ]);
    await useFirstDomain(guest);
  } finally {
    scratch.remove();
  }
});
