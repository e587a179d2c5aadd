/**
 * The Debian installer's own kernel and system (the package debian-installer-12-netboot-amd64) see every disk and CD of all controllers. What the
 * installer loads from a mirror, the drivers of disks, comes from the package of the same kernel. Takes a minute: DISKS=1.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { CpioWriter } from '../../host-node/setup/cpio.mjs';
import { cacheDirectory } from '../../host-node/setup/fetch-guest.mjs';
import { selectModules } from '../../host-node/setup/modules.mjs';
import { packageFiles } from '../../host-node/setup/deb.mjs';
import { debianFile } from '../support/debian-package.ts';
import { BASIC_ARGS, destroyTestMachines, scratchDirectory, testMachine } from '../support/machine.ts';

const PATIENCE_MS = 600_000;
const PACKAGE = 'debian-installer-12-netboot-amd64';
const FOLDER = 'text/debian-installer/amd64';
const DRIVERS = ['virtio_pci', 'virtio_blk', 'ahci', 'nvme', 'virtio_scsi', 'sd_mod', 'sr_mod', 'isofs'];
/** Offset of the version's text in a bzImage, less 200h (Linux, Documentation/arch/x86/boot.rst). */
const KERNEL_VERSION = 0x20e;

afterEach(destroyTestMachines);

/** `6.1.0-50-amd64`, out of the kernel's header. */
function releaseOf(kernel: Buffer): string {
  const at = kernel.readUInt16LE(KERNEL_VERSION) + 0x200;
  return /^\S+/.exec(kernel.toString('latin1', at, at + 100))?.[0] ?? '';
}

/** The drivers as a further archive for the initial RAM disk, with a script that loads them; undefined when the package cannot be had. */
function driverArchive(release: string): Buffer | undefined {
  const kept = join(cacheDirectory(), `installer-drivers-${release}.cpio`);
  if (existsSync(kept)) return readFileSync(kept);
  const work = scratchDirectory();
  try {
    const script = `apt-get -q -o APT::Sandbox::User= download linux-image-${release} && mv *.deb kernel.deb`;
    if (spawnSync('sh', ['-c', script], { cwd: work.path }).status !== 0) return undefined;
    const files = packageFiles(join(work.path, 'kernel.deb'), (path) => /\.ko(\.\w+)?$/.test(path));
    const archive = new CpioWriter();
    archive.directory('drivers');
    const modules = selectModules(files, DRIVERS);
    for (const [name, bytes] of modules) archive.file(`drivers/${name}.ko`, bytes);
    const loading = modules.map(([name]) => `insmod /drivers/${name}.ko`);
    archive.file('drivers/load', ['#!/bin/sh', ...loading].join('\n'), 0o755);
    mkdirSync(cacheDirectory(), { recursive: true });
    writeFileSync(`${kept}.new`, archive.finish());
    renameSync(`${kept}.new`, kept);
    return readFileSync(kept);
  } finally {
    work.remove();
  }
}

test('eight disks and two discs on the five controllers', { timeout: PATIENCE_MS }, async (context) => {
  if (process.env['DISKS'] === undefined) context.skip('takes a minute: set DISKS=1');
  if (spawnSync('xorriso', ['-version']).status !== 0) context.skip('xorriso is missing');
  const kernel = debianFile(PACKAGE, new RegExp(`${FOLDER}/linux$`));
  const initrd = debianFile(PACKAGE, new RegExp(`${FOLDER}/initrd.gz$`));
  if (kernel === undefined || initrd === undefined) return context.skip(`${PACKAGE} cannot be had`);
  const drivers = driverArchive(releaseOf(readFileSync(kernel)));
  if (!drivers) return context.skip('the package of its kernel cannot be had');
  const scratch = scratchDirectory();
  try {
    const disk = (name: string): string => {
      const path = join(scratch.path, `${name}.img`);
      writeFileSync(path, '');
      truncateSync(path, 64 << 20);
      return path;
    };
    const disc = join(scratch.path, 'disc.iso');
    writeFileSync(join(scratch.path, 'file'), 'a file\n');
    const words = ['-as', 'mkisofs', '-quiet', '-V', 'DISC', '-o', disc, join(scratch.path, 'file')];
    expect(spawnSync('xorriso', words).status).toBe(0);
    // Unpacked, which the host does faster than the guest.
    const ramDisk = join(scratch.path, 'initrd');
    writeFileSync(ramDisk, Buffer.concat([gunzipSync(readFileSync(initrd)), drivers]));
    const args = [
      ...['-m', '1G', '-s', `3,virtio-blk,${disk('a')}`, '-s', `4,virtio-blk,${disk('b')}`],
      ...['-s', `5,ahci-hd,${disk('c')}`, '-s', `6,ahci,hd:${disk('d')},cd:${disc}`],
      ...['-s', `7,nvme,${disk('e')}`, '-s', '8,nvme,ram=64'],
      ...['-s', `9,virtio-scsi,target=0:${disk('f')},target=0:${disk('g')},target=1:${disc},backend=cd`],
    ];
    await using guest = await testMachine([...BASIC_ARGS, ...args, 'test'], {
      kernel,
      initrd: ramDisk,
      cmdline: 'console=ttyS0 cryptomgr.notests rdinit=/bin/sh',
    });
    guest.machine.start();
    await guest.com1.expect('~ # ', { timeout: PATIENCE_MS });
    const run = async (command: string): Promise<string> => {
      const { output, status } = await guest.com1.run(command, { timeout: PATIENCE_MS });
      expect(status, `${command}\n${output}`).toBe(0);
      return output.replaceAll('\r', '');
    };
    await run('mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; dmesg -n 1');
    await run('export PATH=/bin:/sbin:/usr/bin:/usr/sbin; mkdir -p /run; /lib/systemd/systemd-udevd --daemon');
    await run('sh /drivers/load; udevadm trigger; udevadm settle');
    // The installer's own program for finding disks and CDs.
    const disks = await run('list-devices disk');
    expect(disks.trim().split('\n').sort(), disks).toEqual(
      ['nvme0n1', 'nvme1n1', 'sda', 'sdb', 'sdc', 'sdd', 'vda', 'vdb'].map((name) => `/dev/${name}`),
    );
    expect((await run('list-devices cd')).trim().split('\n').sort()).toEqual(['/dev/sr0', '/dev/sr1']);
    for (const name of ['sr0', 'sr1']) {
      expect(await run(`mkdir -p /m; mount -t iso9660 -o ro /dev/${name} /m; cat /m/*; umount /m`)).toContain('a file');
    }
    expect(guest.machine.deviceErrors).toBe(0);
  } finally {
    scratch.remove();
  }
});
