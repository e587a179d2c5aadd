/** Linux's v9fs on a folder of the host and on a tree in memory: both sides see the same files, whatever either does to them. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  scratchDirectory,
  testMachine,
} from '../support/machine.ts';

beforeEach(async (context) => {
  const reason = (await linuxMissing('generic')) ?? (process.platform === 'linux' ? undefined : 'folders need Linux');
  if (reason !== undefined) context.skip(reason);
  if (!(await linuxGuest('generic')).modules.includes('9pnet_virtio')) context.skip('the guest has no 9P');
}, 300_000);
afterEach(destroyTestMachines);

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

test('a folder and a tree in memory', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const folder = join(scratch.path, 'share');
    mkdirSync(folder);
    const outside = join(scratch.path, 'outside');
    writeFileSync(outside, 'outside');
    const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    writeFileSync(join(folder, 'from-host'), bytes);
    chmodSync(join(folder, 'from-host'), 0o640);
    symlinkSync(outside, join(folder, 'leads-out'));
    await using guest = await bootLinux({
      variant: 'generic',
      args: [
        ...['-m', '512M', '-s', `3,virtio-9p,folder=${folder}`, '-s', '4,virtio-9p,memory=memory:'],
        ...['-s', `5,virtio-9p,sealed=${folder},ro`],
      ],
    });
    guest.machine.fs.write('task/input.txt', 'from the test\n');
    const run = async (command: string): Promise<string> => {
      const { output, status } = await guest.com1.run(command, { timeout: 60_000 });
      expect(status, `status of: ${command}\n${output}`).toBe(0);
      return output;
    };
    const mount = (tag: string, options = ''): Promise<string> =>
      run(`mkdir -p /${tag} && mount -t 9p -o trans=virtio,version=9p2000.L${options} ${tag} /${tag}`);
    await mount('folder', ',msize=262144');
    await mount('memory', ',version=9p2000.u');
    await mount('sealed');

    // Contents, permissions and links, from either side.
    expect(await run('md5sum /folder/from-host; stat -c %a /folder/from-host')).toContain(`${md5(bytes)}`);
    expect(await run('stat -c %a /folder/from-host')).toBe('640\n');
    await run('cp /folder/from-host /folder/copy; chmod 751 /folder/copy; chown 12:34 /folder/copy; sync');
    expect(md5(readFileSync(join(folder, 'copy')))).toBe(md5(bytes));
    expect(statSync(join(folder, 'copy')).mode & 0o777).toBe(0o751);
    await run('ln -s copy /folder/link; ln /folder/copy /folder/second; mkfifo /folder/pipe');
    expect(readlinkSync(join(folder, 'link'))).toBe('copy');
    expect(lstatSync(join(folder, 'second')).ino).toBe(lstatSync(join(folder, 'copy')).ino);
    expect(await run('(echo through > /folder/pipe &) ; cat /folder/pipe')).toBe('through\n');
    // The link to the outside is the guest's to follow: it leads to a path of the guest.
    expect((await guest.com1.run('cat /folder/leads-out')).status).not.toBe(0);
    await run('ln -sf /etc /folder/up; mkdir -p /folder/a/b; ls -a /folder/a/b/../.. > /dev/null');

    // Open files outlive their names; the host's own renames show.
    await run('exec 5<>/folder/copy; rm /folder/copy /folder/second; echo changed >&5; head -c 7 /proc/self/fd/5 >&2');
    renameSync(join(folder, 'from-host'), join(folder, 'renamed'));
    expect(await run('cat /folder/renamed | md5sum')).toContain(md5(bytes));
    await run('exec 5>&-; mv /folder/a /folder/z; rmdir /folder/z/b');
    expect(existsSync(join(folder, 'z', 'b'))).toBe(false);

    // Many small files, as an archive brings them.
    await run(
      'mkdir /tmp/many; for i in $(seq 200); do echo $i > /tmp/many/f$i; done; tar -C /tmp -cf /tmp/m.tar many',
    );
    await run('tar -C /folder -xf /tmp/m.tar; diff -r /tmp/many /folder/many; rm -r /folder/many');
    expect(existsSync(join(folder, 'many'))).toBe(false);

    // Sparse files, and the space there is.
    await run(
      'dd if=/dev/zero of=/folder/sparse bs=1 count=1 seek=10000000000; stat -c %s /folder/sparse | grep -q 10000000001',
    );
    expect(await run('df /folder | tail -1')).toContain('/folder');

    // Read-only, and the tree in memory.
    expect((await guest.com1.run('touch /sealed/x')).status).not.toBe(0);
    expect(await run('cat /memory/task/input.txt; tr a-z A-Z < /memory/task/input.txt > /memory/task/output.txt')).toBe(
      'from the test\n',
    );
    expect(guest.machine.fs.readText('task/output.txt')).toBe('FROM THE TEST\n');
    await run('umount /folder /memory /sealed');
    expect(readFileSync(outside, 'utf8')).toBe('outside');
    expect(guest.machine.deviceErrors).toBe(0);
  } finally {
    scratch.remove();
  }
});

test('a mounted share goes on after a snapshot', { timeout: 240_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    writeFileSync(join(scratch.path, 'file'), 'kept\n');
    const args = ['-m', '256M', '-s', `3,virtio-9p,folder=${scratch.path}`];
    await using guest = await bootLinux({ variant: 'generic', args });
    await guest.com1.run('mkdir /s; mount -t 9p -o trans=virtio,version=9p2000.L folder /s; exec 5</s/file; cd /s');
    const snapshot = await guest.machine.snapshot();
    await guest.machine.destroy();
    const kernel = await linuxGuest('generic');
    await using copy = await testMachine([...BASIC_ARGS, ...args, 'test'], { cmdline: QUICK_CMDLINE, ...kernel });
    await copy.machine.restore(snapshot);
    copy.machine.start();
    const { output } = await copy.com1.run('cat <&5; echo more >> file; cat /s/file', { timeout: 60_000 });
    expect(output).toBe('kept\nkept\nmore\n');
    // The generation identifier is another one: the guest's random numbers are seeded anew.
    expect((await copy.com1.run('dmesg | grep -i "machine fork"')).output).toContain('due to virtual machine fork');
  } finally {
    scratch.remove();
  }
});
