/**
 * Disks on all controllers in one Debian kernel, exercised by Debian's own tools, and checked on the host afterwards. Takes minutes, so it
 * runs only when asked for: DISKS=1.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readSync, truncateSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { diskTools, diskToolsMissing, mountTools } from '../support/guest-tools.ts';
import { bootLinux, destroyTestMachines, linuxMissing, scratchDirectory } from '../support/machine.ts';

const MIB = 1 << 20;

beforeEach(async (context) => {
  if (process.env['DISKS'] === undefined) context.skip('takes minutes: set DISKS=1');
  const iso = spawnSync('xorriso', ['-version']).status === 0 ? undefined : 'xorriso is missing';
  const reason = iso ?? (await linuxMissing('generic')) ?? diskToolsMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(destroyTestMachines);

function sha256(path: string, lengthBytes: number): string {
  const hash = createHash('sha256');
  const bytes = Buffer.alloc(lengthBytes);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, lengthBytes, 0);
  closeSync(file);
  return hash.update(bytes).digest('hex');
}

/** Disks with an image on the host, and where the kernel finds each (it names them as it pleases). */
const DISKS = {
  virtio: '0000:00:03.0/virtio*/block/*',
  ahci0: '0000:00:04.0/ata1/host*/target*/*/block/*',
  ahci1: '0000:00:04.0/ata2/host*/target*/*/block/*',
  nvme: '0000:00:05.0/nvme/nvme*/nvme*n1',
  scsi0: '0000:00:07.0/virtio*/host*/target*:0:0/*:0:0:0/block/*',
  scsi1: '0000:00:07.0/virtio*/host*/target*:0:0/*:0:0:1/block/*',
} as const;
const OTHERS = {
  ram: '0000:00:06.0/nvme/nvme*/nvme*n1',
  sata_cd: '0000:00:04.0/ata3/host*/target*/*/block/*',
  scsi_cd: '0000:00:07.0/virtio*/host*/target*:0:3/*/block/*',
} as const;
const IMAGE_MIB = 64;

/** After a reboot each disk has its file system, clean, and what was copied there. */
async function findAgain(args: readonly string[]): Promise<void> {
  await using guest = await bootLinux({ variant: 'generic', args });
  const run = async (command: string): Promise<void> => {
    const { output, status } = await guest.com1.run(command, { timeout: 60_000 });
    expect(status, `status of: ${command}\n${output}`).toBe(0);
  };
  await run(mountTools('/dev/vda'));
  for (const [name, path] of Object.entries(DISKS)) {
    await run(`${name}=$(basename $(echo /sys/devices/pci0000:00/${path})); t /usr/sbin/e2fsck -fn /dev/$${name}`);
    await run(`mount -t ext4 /dev/$${name} /mnt && cmp /tools/usr/bin/bash /mnt/bash && umount /mnt`);
  }
  guest.com1.send('poweroff -f\n');
  expect(await guest.machine.exited).toMatchObject({ code: 1 });
}

test('fio, file systems and the tools that describe disks', { timeout: 560_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = (name: string): string => join(scratch.path, `${name}.img`);
    for (const name of Object.keys(DISKS)) {
      writeFileSync(image(name), '');
      truncateSync(image(name), IMAGE_MIB * MIB);
    }
    writeFileSync(join(scratch.path, 'hello'), 'hello from the disc\n');
    const iso = join(scratch.path, 'disc.iso');
    expect(spawnSync('xorriso', ['-as', 'mkisofs', '-quiet', '-o', iso, join(scratch.path, 'hello')]).status).toBe(0);
    const args = [
      ...[
        '-m',
        '768M',
        '-c',
        '2',
        '-s',
        `2,virtio-blk,${diskTools()},ro`,
        '-s',
        `3,virtio-blk,${image('virtio')},ser=VIRTIOSERIAL,queues=2`,
      ],
      ...['-s', `4,ahci,hd:${image('ahci0')},ser=AHCISERIAL,model=AHCI MODEL,nmrr=1,hd:${image('ahci1')},cd:${iso}`],
      ...['-s', `5,nvme,${image('nvme')},ser=NVMESERIAL,eui64=0x589cfc0012345678`, '-s', '6,nvme,ram=64'],
      ...[
        '-s',
        `7,virtio-scsi,target=0:${image('scsi0')},ser=SCSISERIAL,target=0:${image('scsi1')},target=3:${iso},backend=cd`,
      ],
    ];
    await using guest = await bootLinux({ variant: 'generic', args });
    const run = async (command: string, timeout = 120_000): Promise<string> => {
      const { output, status } = await guest.com1.run(command, { timeout });
      expect(status, `status of: ${command}\n${output}`).toBe(0);
      return output.replaceAll('\r', '');
    };
    await run(mountTools('/dev/vda'));
    // Shell variables with the kernel's names: $ahci0 and so on.
    for (const [name, path] of Object.entries({ ...DISKS, ...OTHERS })) {
      await run(`${name}=$(basename $(echo /sys/devices/pci0000:00/${path})); test -b /dev/$${name}`);
    }

    // What the tools say is what was configured.
    expect((await run('t lsblk -dno TYPE')).match(/^(disk|rom)$/gm)).toHaveLength(10);
    // Without udev lsblk knows the serial number of the NVMe disk alone.
    const columns = await run('t lsblk -O -P /dev/$ahci0 /dev/$nvme /dev/$scsi0');
    for (const line of [
      /MODEL="AHCI MODEL +".* ROTA="0".* SIZE="64M".* TRAN="sata" TYPE="disk"/,
      /MODEL="bhyve-NVMe +".* SERIAL="NVMESERIAL +" SIZE="64M".* TRAN="nvme" TYPE="disk"/,
      /LOG-SEC="512".* MODEL="CTLDISK +".* PHY-SEC="4096".* SIZE="64M".* VENDOR="FREEBSD "/,
    ])
      expect(columns).toMatch(line);
    // Bits of smartctl's status tell of the disk's health; of its own only the first two are errors.
    const smart = async (disk: string): Promise<string> => run(`t smartctl -a /dev/${disk}; test $(($? & 3)) = 0`);
    const sata = await smart('$ahci0');
    for (const text of ['AHCI MODEL', 'AHCISERIAL', 'Solid State Device', 'PASSED', 'SMART Attributes Data Structure'])
      expect(sata).toContain(text);
    const health = /NVMESERIAL[^]*test result: PASSED[^]*Critical Warning: +0x00[^]*Percentage Used: +0%/;
    expect(await smart('${nvme%n1}')).toMatch(health);
    expect(await smart('$scsi0')).toMatch(/SCSISERIAL[^]*SMART Health Status: OK/);
    expect(await run('t hdparm -I /dev/$ahci0')).toMatch(/Queue depth: 32[^]*Data Set Management TRIM supported/);
    const controller = await run('t nvme id-ctrl /dev/${nvme%n1}');
    expect(controller).toMatch(/vid +: 0xfb5d[^]*sn +: NVMESERIAL[^]*mn +: bhyve-NVMe[^]*mdts +: 9/);
    expect(await run('t nvme id-ns /dev/$nvme')).toMatch(/eui64 +: 589cfc0012345678/);
    expect(await run('t nvme smart-log /dev/${nvme%n1}')).toMatch(/critical_warning\s+: 0/);
    expect(await run('t sg_inq /dev/$scsi0')).toMatch(/FREEBSD[^]*CTLDISK[^]*SCSISERIAL/);
    const vpd = await run(
      't sg_vpd -p bl /dev/$scsi0; t sg_vpd -p lbpv /dev/$scsi0; t sg_luns /dev/$scsi0; t sg_opcodes /dev/$scsi0',
    );
    expect(vpd).toMatch(/Unmap command supported \(LBPU\): 1[^]*Unmap/);
    expect(await run('echo $(cat /sys/block/$virtio/serial)')).toBe('VIRTIOSERIAL\n');

    // Queues for both processors, zeros without data.
    expect(await run('ls /sys/block/$virtio/mq /sys/block/$nvme/mq | grep -c "^[01]$"')).toBe('4\n');
    await run('test $(cat /sys/block/$virtio/queue/write_zeroes_max_bytes) -gt 0');
    await run('t /usr/sbin/blkdiscard -z -o 1048576 -l 1048576 /dev/$virtio');

    // Data: sequential, random and mixed with flushes and trims, verified by fio.
    const job = (name: string): string =>
      `t fio --name=${name} --filename=/dev/$${name} --ioengine=libaio --direct=1 --verify=crc32c --verify_state_save=0 --iodepth=16 --thread --output-format=terse`;
    for (const disk of ['virtio', 'ahci0', 'nvme', 'ram', 'scsi0']) {
      await run(`${job(disk)} --rw=write --bs=256k --size=8M >/dev/null`);
      await run(`${job(disk)} --rw=randrw --bs=4k --size=4M --fsync=64 >/dev/null`);
      await run(`t /usr/sbin/blkdiscard -o 16777216 -l 8388608 /dev/$${disk}`);
      await run(`${job(disk)} --rw=randwrite --bs=4k --offset=16M --size=2M >/dev/null`);
    }
    // File systems on each: written, mounted again, checked.
    for (const disk of [...Object.keys(DISKS), 'ram']) {
      await run(`t /usr/sbin/mke2fs -q -t ext4 -E nodiscard /dev/$${disk} && mount -t ext4 /dev/$${disk} /mnt`);
      await run('cp /tools/usr/bin/bash /mnt/bash && sync && fstrim /mnt; umount /mnt');
      await run(`mount -t ext4 /dev/$${disk} /mnt && cmp /tools/usr/bin/bash /mnt/bash && umount /mnt`);
      await run(`t /usr/sbin/e2fsck -fn /dev/$${disk}`);
    }
    // Discs: read, ejected, drawn in again.
    for (const drive of ['sata_cd', 'scsi_cd']) {
      await run(`mount -t iso9660 -o ro /dev/$${drive} /mnt && grep -q 'hello from' /mnt/hello && umount /mnt`);
      expect(await run(`t eject /dev/$${drive}; t sg_turs /dev/$${drive} 2>&1; true`)).toMatch(/not ready/i);
      await run(`t eject -t /dev/$${drive}; sleep 1; mount -t iso9660 -o ro /dev/$${drive} /mnt && umount /mnt`);
    }
    // The user changes the disc while the guest looks on, and takes it out.
    writeFileSync(join(scratch.path, 'second'), 'the second disc\n');
    const other = join(scratch.path, 'other.iso');
    expect(spawnSync('xorriso', ['-as', 'mkisofs', '-quiet', '-o', other, join(scratch.path, 'second')]).status).toBe(
      0,
    );
    for (const [drive, name] of [
      ['sata_cd', 'pci.0.4.0.port.2'],
      ['scsi_cd', 'pci.0.7.0.target.2'],
    ] as const) {
      const changer = guest.machine.cdDrives.get(name);
      await changer?.insert(other);
      await run(`mount -t iso9660 -o ro /dev/$${drive} /mnt && grep -q 'the second' /mnt/second && umount /mnt`);
      await changer?.remove();
      expect(changer?.hasMedium).toBe(false);
      expect(await run(`mount -t iso9660 -o ro /dev/$${drive} /mnt 2>&1; true`)).toMatch(/no medium/i);
      await changer?.insert(iso);
      await run(`mount -t iso9660 -o ro /dev/$${drive} /mnt && grep -q 'hello from' /mnt/hello && umount /mnt`);
    }
    const sums = await run(
      `for d in ${Object.keys(DISKS)
        .map((name) => `$${name}`)
        .join(' ')}; do head -c ${IMAGE_MIB * MIB} /dev/$d | sha256sum; done`,
    );
    // Every SCSI unit says at its first command that it was switched on (SPC-4, 5.14).
    expect(
      await run('dmesg | grep -iE "i/o error|failed command|abort|reset" | grep -v "Power-on or device reset" ; true'),
    ).toBe('');
    guest.com1.send('poweroff -f\n');
    expect(await guest.machine.exited).toMatchObject({ code: 1 });
    expect(guest.machine.deviceErrors).toBe(0);
    const lines = sums.trim().split('\n');
    for (const [index, name] of Object.keys(DISKS).entries()) {
      expect(lines[index], name).toContain(sha256(image(name), IMAGE_MIB * MIB));
      expect(spawnSync('e2fsck', ['-fn', image(name)]).status, name).toBe(0);
    }
    await findAgain(args);
  } finally {
    scratch.remove();
  }
});
