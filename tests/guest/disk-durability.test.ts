/** A disk that the guest itself makes a file system on: everything it wrote is there, after a power-off and after a kill. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { gzipSync } from 'node:zlib';
import { CpioWriter } from '../../host-node/setup/cpio.mjs';
import { linuxGuest, linuxMissing, scratchDirectory } from '../support/machine.ts';
import { bootLinuxProgram, killPrograms, type Program } from '../support/machine-program.ts';

const MIB = 1 << 20;
const MKE2FS = ['/sbin/mke2fs', '/usr/sbin/mke2fs'].find((path) => existsSync(path));

beforeEach(async (context) => {
  if (MKE2FS === undefined || spawnSync('e2fsck', ['-V']).status !== 0) {
    context.skip('mke2fs or e2fsck is missing (package e2fsprogs)');
  }
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(killPrograms);

/** The guest's initramfs with the host's mke2fs and its libraries after it: the kernel unpacks one archive after another. */
async function initrdWithMke2fs(path: string): Promise<string> {
  const { initrd } = await linuxGuest();
  const program = MKE2FS ?? '';
  const archive = new CpioWriter();
  archive.file('sbin/mke2fs.ext4', readFileSync(program), 0o755);
  const libraries = execFileSync('ldd', [program], { encoding: 'utf8' });
  for (const [, library = ''] of libraries.matchAll(/(\/\S+) \(0x/g)) {
    archive.file(library.slice(1), readFileSync(library), 0o755);
  }
  copyFileSync(initrd, path);
  appendFileSync(path, gzipSync(archive.finish(), { level: 1 }));
  return path;
}

async function succeed(program: Program, command: string, timeout?: number): Promise<void> {
  const { status, output } = await program.run(command, timeout);
  expect(status, `status of: ${command}\n${output}`).toBe(0);
}

function sumOnImage(image: string, name: string, out: string): string {
  spawnSync('debugfs', ['-R', `dump ${name} ${out}`, image]);
  return createHash('md5').update(readFileSync(out)).digest('hex');
}

test('the guest makes ext4, writes 200 MiB and powers off', { timeout: 400_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'disk.img');
    const source = join(scratch.path, 'source');
    writeFileSync(image, '');
    truncateSync(image, 256 * MIB);
    const bytes = randomBytes(20 * MIB);
    writeFileSync(source, bytes);
    const program = await bootLinuxProgram({
      initrd: await initrdWithMke2fs(join(scratch.path, 'initrd')),
      args: ['-s', `3,virtio-blk,${image}`, '-s', `4,virtio-blk,${source},ro`],
    });
    await succeed(program, 'mke2fs.ext4 -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -J size=4 /dev/vda');
    await succeed(program, 'mount -t ext4 /dev/vda /mnt');
    await succeed(program, 'for i in 0 1 2 3 4 5 6 7 8 9; do cp /dev/vdb /mnt/$i || exit 1; done', 150_000);
    await succeed(program, 'umount /mnt');
    program.console.send('poweroff -f\n');
    expect(await program.ended).toMatchObject({ code: 1 });
    const check = spawnSync('e2fsck', ['-fn', image], { encoding: 'utf8' });
    expect(check.status, check.stdout).toBe(0);
    const wanted = createHash('md5').update(bytes).digest('hex');
    for (let i = 0; i < 10; i++)
      expect(sumOnImage(image, `/${i}`, join(scratch.path, 'out')), `file ${i}`).toBe(wanted);
  } finally {
    scratch.remove();
  }
});

test('kill -9 while the guest writes: nothing that it had synchronized is lost', { timeout: 400_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const image = join(scratch.path, 'disk.img');
    const source = join(scratch.path, 'source');
    const bytes = randomBytes(2 * MIB);
    writeFileSync(source, bytes);
    writeFileSync(image, '');
    truncateSync(image, 128 * MIB);
    const made = spawnSync(MKE2FS ?? '', ['-q', '-t', 'ext4', image], { encoding: 'utf8' });
    expect(made.status, made.stderr).toBe(0);
    const program = await bootLinuxProgram({
      args: ['-s', `3,virtio-blk,${image}`, '-s', `4,virtio-blk,${source},ro`],
    });
    await succeed(program, 'mount -t ext4 /dev/vda /mnt');
    // A file counts when its name is printed: data and directory entry are on the disk by then, says the guest.
    program.console.send(
      'i=0; while :; do dd if=/dev/vdb of=/mnt/$i bs=256k conv=fsync 2>/dev/null; echo "synced $i."; i=$((i+1)); done\n',
    );
    await program.console.expect('synced 7.', { timeout: 90_000 });
    await program.kill();
    const synced = [...program.console.transcript.matchAll(/^synced (\d+)\./gm)].map((match) => Number(match[1]));
    expect(synced.length).toBeGreaterThanOrEqual(8);

    // The journal is replayed as the next mount would; then there is nothing to repair.
    const replay = spawnSync('e2fsck', ['-E', 'journal_only', '-y', image], { encoding: 'utf8' });
    expect(replay.status ?? 8, replay.stdout + replay.stderr).toBeLessThan(2);
    const check = spawnSync('e2fsck', ['-fn', image], { encoding: 'utf8' });
    expect(check.status, check.stdout).toBe(0);
    const wanted = createHash('md5').update(bytes).digest('hex');
    for (const i of synced) expect(sumOnImage(image, `/${i}`, join(scratch.path, 'out')), `file ${i}`).toBe(wanted);
  } finally {
    scratch.remove();
  }
});
