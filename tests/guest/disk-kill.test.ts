/**
 * kill -9 while a guest writes to a disk on each controller: nothing that it had synchronized is lost. The guest is booted once; every round goes on
 * from its snapshot. Runs only when asked for: DISK_KILLS says how many rounds.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runBhyvectl } from '../../host-node/registry/bhyvectl.ts';
import { Registry } from '../../host-node/registry/registry.ts';
import { openRuntimeDir } from '../../host-node/registry/runtime-dir.ts';
import { DISK_PLACES } from '../support/disk-places.ts';
import { killPrograms, startProgram } from '../support/machine-program.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
} from '../support/machine.ts';
import { useRuntimeFolder } from '../support/runtime-folder.ts';

const MIB = 1 << 20;
const ROUNDS = Number(process.env['DISK_KILLS'] ?? 0);
const MKE2FS = ['/sbin/mke2fs', '/usr/sbin/mke2fs'].find((path) => existsSync(path));
const SOURCE_BYTES = 512 * 1024;
/** Files that each controller must have finished before the kill. */
const FILES = 4;

const scratch = useRuntimeFolder();
beforeEach(async (context) => {
  if (ROUNDS === 0) context.skip('takes minutes: set DISK_KILLS to the number of rounds');
  if (MKE2FS === undefined || spawnSync('e2fsck', ['-V']).status !== 0) context.skip('e2fsprogs is missing');
  const reason = await linuxMissing('generic');
  if (reason !== undefined) context.skip(reason);
}, 300_000);
afterEach(killPrograms);
afterEach(destroyTestMachines);

test(`${ROUNDS} kills`, { timeout: 560_000 + ROUNDS * 60_000 }, async () => {
  const at = (name: string): string => join(scratch.path, name);
  const bytes = randomBytes(SOURCE_BYTES);
  const sum = createHash('md5').update(bytes).digest('hex');
  writeFileSync(at('source'), bytes);
  writeFileSync(at('pristine'), '');
  truncateSync(at('pristine'), 64 * MIB);
  const made = spawnSync(MKE2FS ?? '', ['-q', '-t', 'ext4', at('pristine')], { encoding: 'utf8' });
  expect(made.status, made.stderr).toBe(0);
  const images = Object.keys(DISK_PLACES).map((name) => at(`${name}.img`));
  const renew = (): void => images.forEach((image) => copyFileSync(at('pristine'), image));
  renew();
  const devices = [
    ...['-m', '256M', '-s', `2,virtio-blk,${at('source')},ro`, '-s', `3,virtio-blk,${images[0]}`],
    ...['-s', `4,ahci,hd:${images[1]}`, '-s', `5,nvme,${images[2]}`, '-s', `6,virtio-scsi,target=${images[3]}`],
  ];
  const suspended = at('suspended');
  {
    await using guest = await bootLinux({ variant: 'generic', args: devices, register: true });
    for (const [name, path] of Object.entries(DISK_PLACES)) {
      const found = `${name}=$(basename $(echo /sys/devices/pci0000:00/${path})); test -b /dev/$${name}; mkdir -p /m/${name}`;
      expect(await guest.com1.run(found)).toMatchObject({ status: 0 });
    }
    await guest.com1.run('cat /dev/vda >/tmp/source; sync; echo 3 >/proc/sys/vm/drop_caches');
    const status = await runBhyvectl(['--vm=test', `--suspend=${suspended}`], () => new Registry(openRuntimeDir()), {
      stdout: () => undefined,
      stderr: (text) => process.stderr.write(text),
    });
    expect(status).toBe(0);
    await guest.machine.waitForExit();
  }
  const { kernel, initrd } = await linuxGuest('generic');
  const argv = [...BASIC_ARGS, ...devices, '-f', `kexec,${kernel},${initrd},${QUICK_CMDLINE}`, '-r', suspended];
  let kept = 0;
  for (let round = 0; round < ROUNDS; round++) {
    renew();
    const program = await startProgram(argv);
    // A file counts when its name is printed: data and directory entry are on the disk by then, says the guest.
    const loop = Object.keys(DISK_PLACES).map(
      (name) =>
        `( mount -t ext4 /dev/$${name} /m/${name}; i=0; while :; do dd if=/tmp/source of=/m/${name}/$i bs=64k conv=fsync 2>/dev/null && echo "${name} synced $i."; i=$((i+1)); done ) &`,
    );
    program.console.send(`stty -echo; ${loop.join(' ')}\n`);
    for (const name of Object.keys(DISK_PLACES)) {
      while (!program.console.transcript.includes(`${name} synced ${FILES - 1}.`)) {
        await program.console.expect(/synced \d+\./, { timeout: 120_000 });
      }
    }
    await program.kill();
    const { transcript } = program.console;
    for (const [index, name] of Object.keys(DISK_PLACES).entries()) {
      const image = images[index] ?? '';
      const synced = [...transcript.matchAll(new RegExp(`${name} synced (\\d+)\\.`, 'g'))].map(
        (match) => match[1] ?? '',
      );
      expect(synced.length, name).toBeGreaterThanOrEqual(FILES);
      // The journal is replayed as the next mount would; then there is nothing to repair.
      const replay = spawnSync('e2fsck', ['-E', 'journal_only', '-y', image], { encoding: 'utf8' });
      expect(replay.status ?? 8, `${name}: ${replay.stdout}${replay.stderr}`).toBeLessThan(2);
      const check = spawnSync('e2fsck', ['-fn', image], { encoding: 'utf8' });
      expect(check.status, `${name}: ${check.stdout}`).toBe(0);
      for (const file of synced) {
        spawnSync('debugfs', ['-R', `dump /${file} ${at('out')}`, image]);
        expect(
          createHash('md5')
            .update(readFileSync(at('out')))
            .digest('hex'),
          `${name} ${file}`,
        ).toBe(sum);
        kept++;
      }
    }
  }
  process.stderr.write(`${ROUNDS} kills, ${kept} synchronized files kept\n`);
});
