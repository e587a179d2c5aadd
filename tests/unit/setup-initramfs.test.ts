import { spawnSync } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { CpioWriter } from '../../host-node/setup/cpio.mjs';
import { buildInitramfs, INIT_SCRIPT } from '../../host-node/setup/initramfs.mjs';

interface Entry {
  readonly path: string;
  readonly inode: number;
  readonly mode: number;
  readonly device: readonly [number, number];
  readonly data: string;
}

/** Reads a "newc" archive by the kernel's description of it, independently of the writer. */
function readCpio(archive: Buffer): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; ;) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const field = (index: number): number =>
      parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const nameBytes = field(11);
    const path = archive.toString('utf8', at + 110, at + 110 + nameBytes - 1);
    expect(archive[at + 110 + nameBytes - 1]).toBe(0);
    const dataAt = (at + 110 + nameBytes + 3) & ~3;
    const data = archive.toString('latin1', dataAt, dataAt + field(6));
    const entry: Entry = { path, inode: field(0), mode: field(1), device: [field(9), field(10)], data };
    at = (dataAt + field(6) + 3) & ~3;
    if (path === 'TRAILER!!!') {
      expect(at).toBe(archive.length);
      return entries;
    }
    entries.push(entry);
  }
}

const installed = (command: string): boolean => spawnSync(command, ['--version']).error === undefined;

describe('CpioWriter', () => {
  it('writes files, links, devices and the directories above them', () => {
    const archive = new CpioWriter();
    archive.file('a/b/c.txt', 'hello', 0o640);
    archive.file('a/b/d', Buffer.from([1, 2, 3, 4]));
    archive.symlink('a/link', 'b/c.txt');
    archive.characterDevice('dev/ttyS0', 4, 64);
    const entries = readCpio(archive.finish());
    expect(entries.map(({ path, mode, data }) => [path, mode.toString(8), data])).toEqual([
      ['a', '40755', ''],
      ['a/b', '40755', ''],
      ['a/b/c.txt', '100640', 'hello'],
      ['a/b/d', '100644', '\u0001\u0002\u0003\u0004'],
      ['a/link', '120777', 'b/c.txt'],
      ['dev', '40755', ''],
      ['dev/ttyS0', '20600', ''],
    ]);
    expect(entries.at(-1)?.device).toEqual([4, 64]);
    expect(new Set(entries.map(({ inode }) => inode)).size).toBe(entries.length);
  });

  it('writes what cpio reads', (context) => {
    if (!installed('cpio')) context.skip('the program cpio is not installed');
    const archive = new CpioWriter();
    archive.file('some/file', 'x'.repeat(4097));
    archive.symlink('some/link', 'file');
    const { stdout, status } = spawnSync('cpio', ['-t', '--quiet'], { input: archive.finish() });
    expect(status).toBe(0);
    expect(stdout.toString()).toBe('some\nsome/file\nsome/link\n');
  });
});

describe('the initramfs', () => {
  const build = (): Entry[] =>
    readCpio(
      gunzipSync(
        buildInitramfs({
          busybox: Buffer.from('BUSYBOX'),
          modules: [
            ['virtio', Buffer.from('V')],
            ['virtio_blk', Buffer.from('B')],
          ],
        }),
      ),
    );

  it('holds busybox, the device nodes that /init needs, and the modules in loading order', () => {
    const entries = new Map(build().map((entry) => [entry.path, entry]));
    expect(entries.get('bin/busybox')).toMatchObject({ mode: 0o100755, data: 'BUSYBOX' });
    expect(entries.get('init')).toMatchObject({ mode: 0o100755, data: INIT_SCRIPT });
    expect(entries.get('dev/console')).toMatchObject({ mode: 0o020600, device: [5, 1] });
    expect(entries.get('dev/null')).toMatchObject({ mode: 0o020666, device: [1, 3] });
    expect(entries.get('lib/modules/order')?.data).toBe('virtio\nvirtio_blk\n');
    expect(entries.get('lib/modules/virtio_blk.ko')?.data).toBe('B');
    for (const mountPoint of ['proc', 'sys', 'dev', 'mnt', 'tmp']) expect(entries.get(mountPoint)?.mode).toBe(0o040755);
  });

  it('links every program that /init uses before busybox has installed its names', () => {
    const links = build().filter(({ mode, data }) => (mode & 0o170000) === 0o120000 && data === 'busybox');
    const beforeInstall = INIT_SCRIPT.slice(0, INIT_SCRIPT.indexOf('busybox --install'));
    for (const program of ['mount', 'mkdir']) {
      expect(beforeInstall).toContain(program);
      expect(links.map(({ path }) => path)).toContain(`bin/${program}`);
    }
    expect(INIT_SCRIPT.startsWith('#!/bin/sh\n')).toBe(true);
    expect(links.map(({ path }) => path)).toContain('bin/sh');
  });

  it('is the same for the same input', () => {
    const contents = { busybox: Buffer.from('x') };
    expect(buildInitramfs(contents).equals(buildInitramfs(contents))).toBe(true);
  });

  it('has a script that a shell can read', () => {
    const { status, stderr } = spawnSync('sh', ['-n'], { input: INIT_SCRIPT });
    expect(stderr.toString()).toBe('');
    expect(status).toBe(0);
  });

  it.each([
    ['console=ttyS0 quiet', ''],
    ['webhyve.run=poweroff', 'poweroff'],
    ['a webhyve.run=uname b=c', 'uname'],
    ['a webhyve.run="uname -a; ls /" b', 'uname -a; ls /'],
  ])('takes the command out of %j', (commandLine, expected) => {
    const line = INIT_SCRIPT.split('\n').find((text) => text.startsWith('run='));
    const script = `cmdline=$1\n${line}\nprintf %s "$run"`;
    expect(spawnSync('sh', ['-c', script, 'sh', commandLine]).stdout.toString()).toBe(expected);
  });
});
