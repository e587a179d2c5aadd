/**
 * Programs of this host, run by the guest from the host's own file system, on a shared folder: git, make, rsync, small files, random reads
 * and writes against a copy in memory (userland/fsx.c), locks. Takes minutes and needs root, so it runs only when asked for: SHARE_PROGRAMS=1. It
 * prints what each job took.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { bootLinux, scratchDirectory } from '../support/machine.ts';

const FSX = join(import.meta.dirname, 'userland', 'fsx.c');

beforeEach((context) => {
  if (process.env['SHARE_PROGRAMS'] === undefined) context.skip('takes minutes: set SHARE_PROGRAMS=1');
  if (process.getuid?.() !== 0) context.skip('needs root');
});

test('git, make, rsync, fsx and small files on a share', { timeout: 3_600_000 }, async () => {
  const scratch = scratchDirectory();
  try {
    const work = join(scratch.path, 'work');
    mkdirSync(work);
    const onHost = (line: string): void => {
      expect(spawnSync('sh', ['-ec', line], { cwd: work, stdio: 'ignore' }).status, line).toBe(0);
    };
    onHost('git init -q repo && cd repo && git config user.email a@b && git config user.name n');
    for (let i = 0; i < 300; i++) {
      mkdirSync(join(work, 'repo', `d${i % 10}`), { recursive: true });
      writeFileSync(join(work, 'repo', `d${i % 10}`, `f${i}.c`), `int f${i}(void) { return ${i}; }\n`.repeat(20));
    }
    onHost('cd repo && git add . && git commit -qm one && git gc -q');
    mkdirSync(join(work, 'project'));
    for (let i = 0; i < 8; i++) {
      writeFileSync(join(work, 'project', `m${i}.c`), `#include <stdio.h>\nint m${i}(int a) { return a + ${i}; }\n`);
    }
    const objects = Array.from({ length: 8 }, (_, i) => `m${i}.o`).join(' ');
    writeFileSync(join(work, 'project', 'main.c'), 'int m7(int); int main(void) { return m7(-7); }\n');
    writeFileSync(join(work, 'project', 'Makefile'), `main: main.o ${objects}\n\t$(CC) -o $@ $^\n`);
    onHost(`gcc -O2 -o fsx ${FSX}`);

    const args = [
      '-c',
      '2',
      '-m',
      '1G',
      '-s',
      '3,virtio-9p,host=/,ro',
      '-s',
      `4,virtio-9p,work=${work}`,
      '-s',
      `5,virtio-9p,again=${work}`,
    ];
    await using guest = await bootLinux({ variant: 'generic', args });
    const run = async (command: string): Promise<void> => {
      const startedMs = performance.now();
      const { output, status } = await guest.com1.run(command, { timeout: 1_200_000 });
      console.log(`${((performance.now() - startedMs) / 1000).toFixed(1)} s: ${command}\n${output.slice(-300)}`);
      expect(status, `${command}\n${output}`).toBe(0);
    };
    const options = 'trans=virtio,version=9p2000.L,msize=500000';
    await run(`mkdir /host && mount -t 9p -o ${options},cache=loose,ro host /host`);
    await run(
      `mount -t 9p -o ${options},cache=mmap work /host/mnt && mount -t proc p /host/proc && mount --bind /dev /host/dev && mount -t tmpfs t /host/tmp`,
    );
    const inside = (line: string): Promise<void> => run(`chroot /host /bin/sh -ec '${line}'`);
    await inside('cd /mnt; dd if=/dev/zero of=big bs=1M count=64 conv=fsync 2>&1 | tail -1');
    await inside('cd /mnt; echo 3 > /proc/sys/vm/drop_caches; dd if=big of=/dev/null bs=1M 2>&1 | tail -1; rm big');
    await inside('cd /mnt; ./fsx t1 20000 1; ./fsx t2 20000 2 maps');
    // Two at once, and without the guest's cache: what one has written the server must have.
    await inside('cd /mnt; ./fsx t3 5000 3 maps & ./fsx t4 5000 4; wait $!');
    await run(`mkdir /host/tmp/again && mount -t 9p -o ${options},cache=none again /host/tmp/again`);
    await inside('cd /tmp/again; ./fsx t5 10000 5');
    await run('umount /host/tmp/again');
    await inside(
      'cd /mnt; export HOME=/tmp; git config --global safe.directory "*"; git clone -q repo clone; cd clone; git fsck; git status --short | wc -l',
    );
    await inside('cd /mnt/project; make -s -j2 && ./main');
    await inside(
      'cd /mnt; rsync -a clone/ /tmp/copy/ && rsync -a /tmp/copy/ back/ && diff -r clone back && rsync -ain clone/ back/ | wc -l',
    );
    await inside(
      'cd /mnt; mkdir mail; for i in $(seq 500); do echo $i > mail/$i; done; for i in $(seq 1 2 500); do rm mail/$i; done; ls mail | wc -l; rm -r mail',
    );
    await inside('cd /mnt; flock lock sh -c "flock -n lock true; echo \\$?" | grep -q 1');
    expect(guest.machine.deviceErrors).toBe(0);
    await guest.com1.run('umount /host/mnt');
    onHost('cd clone && git fsck && git diff --exit-code && cmp ../clone/d0/f0.c ../back/d0/f0.c');
  } finally {
    scratch.remove();
  }
});
