/** A file system on virtio-blk: written by the host's tools, changed by Linux, checked by the host's tools again. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bootLinux, destroyTestMachines, linuxGuest, linuxMissing, scratchDirectory } from '../support/machine.ts';

function toolMissing(): string | undefined {
  for (const tool of ['mke2fs', 'e2fsck', 'debugfs']) {
    if (spawnSync(tool, ['-V']).status !== 0) return `${tool} is missing (package e2fsprogs)`;
  }
  if (spawnSync('lspci', ['--version']).status !== 0) return 'lspci is missing (package pciutils)';
  return undefined;
}

beforeEach(async (context) => {
  const reason = toolMissing() ?? (await linuxMissing());
  if (reason !== undefined) context.skip(reason);
  const { modules } = await linuxGuest();
  if (modules.length > 0 && !modules.some((name) => name.includes('virtio_blk'))) {
    context.skip('the guest has no driver for virtio-blk');
  }
}, 300_000);
afterEach(destroyTestMachines);

function tool(name: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(name, args, { encoding: 'utf8' });
  expect(status, `${name} ${args.join(' ')}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

const MODERN = ['CommonCfg', 'Notify', 'ISR', 'DeviceCfg'];

/**
 * The registers that Linux' driver chooses: /sys shows the negotiated features, bit 32 of which is VERSION_1. lspci decodes what Linux reads
 * from the function's configuration space.
 */
test.each([
  ['modern registers, MSI-X', [], { version1: '1', structures: MODERN, ports: true }],
  ['modern registers alone', ['-o', 'virtio.transport=modern'], { version1: '1', structures: MODERN, ports: false }],
  ['legacy registers, MSI', ['-W', '-o', 'virtio.transport=legacy'], { version1: '0', structures: [], ports: true }],
])('ext4 both ways, %s', { timeout: 240_000 }, async (_name, args, { version1, structures, ports }) => {
  const scratch = scratchDirectory();
  try {
    const content = join(scratch.path, 'content');
    mkdirSync(content);
    const bytes = Uint8Array.from({ length: 5_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    writeFileSync(join(content, 'from-host'), bytes);
    const image = join(scratch.path, 'disk.img');
    tool('mke2fs', '-q', '-t', 'ext4', '-d', content, image, '64M');

    await using guest = await bootLinux({ args: [...args, '-s', `3,virtio-blk,${image}`] });
    const run = async (command: string): Promise<string> => {
      const { output, status } = await guest.com1.run(command, { timeout: 90_000 });
      expect(status, `status of: ${command}\n${output}`).toBe(0);
      return output;
    };
    expect((await run('cat /sys/bus/virtio/devices/virtio0/features'))[32]).toBe(version1);
    const config = await run('hexdump -v -e \'"%02_ax:" 16/1 " %02x" "\\n"\' /sys/bus/pci/devices/0000:00:03.0/config');
    const dump = join(scratch.path, 'config');
    writeFileSync(dump, `00:03.0 disk\n${config}`);
    const decoded = tool('lspci', '-F', dump, '-nvv');
    expect(
      [...decoded.matchAll(/VirtIO: (\w+)/g)].map(([, name]) => name).filter((name) => name !== '<unknown>'),
    ).toEqual(structures);
    expect(/Region \d: I\/O ports/.test(decoded)).toBe(ports);
    expect(await run('cat /sys/block/vda/size')).toBe(`${(64 * 2 ** 20) / 512}\n`);
    await run('mount -t ext4 /dev/vda /mnt');
    expect(await run('md5sum /mnt/from-host')).toContain(md5(bytes));
    await run('cp /mnt/from-host /mnt/copy && head -c 3000000 /dev/urandom > /mnt/random && sync');
    const randomSum = (await run('md5sum /mnt/random')).split(' ')[0];
    await run('echo 3 > /proc/sys/vm/drop_caches; md5sum /mnt/copy | grep -q ' + md5(bytes));
    await run('umount /mnt');
    expect(await run('cat /proc/interrupts')).toMatch(/virtio0/);
    guest.com1.send('poweroff -f\n');
    expect(await guest.machine.exited).toMatchObject({ code: 1 });
    expect(guest.machine.deviceErrors).toBe(0);

    tool('e2fsck', '-fn', image);
    for (const [name, sum] of [
      ['copy', md5(bytes)],
      ['random', randomSum],
    ] as const) {
      const out = join(scratch.path, name);
      tool('debugfs', '-R', `dump /${name} ${out}`, image);
      expect(md5(readFileSync(out)), name).toBe(sum);
    }
  } finally {
    scratch.remove();
  }
});

test('a read-only disk cannot be written', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'disk.img');
    writeFileSync(image, new Uint8Array(1 << 20).fill(0x5a));
    await using guest = await bootLinux({ args: ['-s', `3,virtio-blk,${image},ro`] });
    const { output } = await guest.com1.run(
      'head -c 4 /dev/vda | od -An -tx1; echo x | dd of=/dev/vda conv=fsync; sync',
    );
    expect(output).toContain('5a 5a 5a 5a');
    guest.com1.send('poweroff -f\n');
    await guest.machine.exited;
    expect(readFileSync(image).every((byte) => byte === 0x5a)).toBe(true);
  } finally {
    scratch.remove();
  }
});
