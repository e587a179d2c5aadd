/** The 9P server over both backends: a tree in memory and a folder of this host. */
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryTree } from '../../devices/share/memory-tree.ts';
import * as M from '../../devices/share/messages.ts';
import { NinePServer } from '../../devices/share/server.ts';
import { MAX_MESSAGE_BYTES } from '../../devices/share/session.ts';
import type { ShareBackend } from '../../devices/backends/share.ts';
import { FolderShare } from '../../host-node/share/folder.ts';
import { NinePClient } from '../support/nine-p-client.ts';

const ENOENT = 2;
const EEXIST = 17;
const ENOTDIR = 20;
const EISDIR = 21;
const EINVAL = 22;
const EROFS = 30;
const ENOTEMPTY = 39;
const ENODATA = 61;
const ROOT = 0;

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const errno = (value: number) => expect.objectContaining({ errno: value }) as Error;

const folders: string[] = [];
const servers: NinePServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'webhyve-share-'));
  folders.push(path);
  return path;
}

const backends: readonly (readonly [string, () => ShareBackend])[] = [
  ['a tree in memory', () => new MemoryTree()],
  ...(process.platform === 'linux' ? ([['a folder', () => FolderShare.open(scratch())]] as const) : []),
];

async function mount(backend: ShareBackend, readOnly = false, dialect = '9P2000.L'): Promise<NinePClient> {
  const server = new NinePServer({ backend, readOnly });
  servers.push(server);
  const client = new NinePClient(server);
  await client.version(dialect);
  await client.attach(ROOT);
  return client;
}

describe.each(backends)('%s', (_name, backend) => {
  test('files are written, read, resized and listed', async () => {
    const client = await mount(backend());
    await client.create(ROOT, 1, 'file');
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 24);
    expect(await client.write(1, 0, bytes)).toBe(bytes.length);
    expect(Buffer.compare(await client.read(1, 0, bytes.length), bytes)).toBe(0);
    expect(await client.read(1, 299_990, 100)).toEqual(bytes.slice(299_990));
    expect(await client.read(1, 400_000, 100)).toEqual(new Uint8Array());
    await client.setattr(1, { size: 10 });
    await client.setattr(1, { size: 20 });
    expect(await client.read(1, 0, 100)).toEqual(Uint8Array.from([...bytes.subarray(0, 10), ...new Uint8Array(10)]));
    await client.write(1, 1_000_000, text('far'));
    expect((await client.getattr(1)).size).toBe(1_000_003);
    expect(await client.read(1, 999_998, 10)).toEqual(text('\0\0far'));
    await client.mkdir(ROOT, 'directory');
    await client.walk(ROOT, 2);
    await client.lopen(2);
    const entries = await client.readdir(2);
    expect(entries.map(({ name, type }) => [name, type]).sort()).toEqual([
      ['.', 4],
      ['..', 4],
      ['directory', 4],
      ['file', 8],
    ]);
    // Each offset goes on where its entry ended.
    const first = entries[0];
    expect((await client.readdir(2, first?.offset)).map(({ name }) => name)).toEqual(
      entries.slice(1).map(({ name }) => name),
    );
    expect(await client.readdir(2, entries.at(-1)?.offset)).toEqual([]);
  });

  test('open files and directories survive renames and removals', async () => {
    const client = await mount(backend());
    await client.create(ROOT, 1, 'a');
    await client.write(1, 0, text('first'));
    await client.mkdir(ROOT, 'd');
    await client.walk(ROOT, 2, 'd');
    await client.rename(ROOT, 'a', 2, 'b');
    await client.rename(ROOT, 'd', ROOT, 'e');
    expect(await client.read(1, 0, 10)).toEqual(text('first'));
    await client.walk(ROOT, 3, 'e', 'b');
    expect((await client.getattr(3)).qid.path).toBe((await client.getattr(1)).qid.path);
    await client.walk(3, 4, '..', '..', '..');
    expect((await client.getattr(4)).qid.path).toBe((await client.getattr(ROOT)).qid.path);
    await client.unlink(2, 'b');
    await client.write(1, 5, text(' second'));
    expect(await client.read(1, 0, 100)).toEqual(text('first second'));
    expect((await client.getattr(3)).nlink).toBe(0);
    await expect(client.walk(2, 5, 'b')).rejects.toEqual(errno(ENOENT));
    await client.unlink(ROOT, 'e', 0x200);
    await expect(client.create(2, 6, 'x')).rejects.toEqual(errno(ENOENT));
  });

  test('what rename(2), unlink(2) and link(2) refuse', async () => {
    const client = await mount(backend());
    await client.mkdir(ROOT, 'd');
    await client.walk(ROOT, 1, 'd');
    await client.mkdir(1, 'below');
    await client.create(ROOT, 2, 'file');
    await client.walk(1, 3, 'below');
    await expect(client.rename(ROOT, 'd', 3, 'x')).rejects.toEqual(errno(EINVAL));
    await expect(client.rename(ROOT, 'file', ROOT, 'd')).rejects.toEqual(errno(EISDIR));
    await expect(client.rename(ROOT, 'd', ROOT, 'file')).rejects.toEqual(errno(ENOTDIR));
    await expect(client.rename(ROOT, 'none', ROOT, 'x')).rejects.toEqual(errno(ENOENT));
    await expect(client.unlink(ROOT, 'd')).rejects.toEqual(errno(EISDIR));
    await expect(client.unlink(ROOT, 'file', 0x200)).rejects.toEqual(errno(ENOTDIR));
    await expect(client.unlink(ROOT, 'd', 0x200)).rejects.toEqual(errno(ENOTEMPTY));
    await expect(client.mkdir(ROOT, 'd')).rejects.toEqual(errno(EEXIST));
    await expect(client.create(ROOT, 9, 'file', 0o302)).rejects.toEqual(errno(EEXIST));
    await client.link(1, 2, 'second');
    expect((await client.getattr(2)).nlink).toBe(2);
    await expect(client.link(1, 2, 'second')).rejects.toEqual(errno(EEXIST));
    await client.unlink(ROOT, 'file');
    await client.walk(ROOT, 4, 'd', 'second');
    expect((await client.getattr(4)).nlink).toBe(1);
    for (const name of ['', '.', '..', 'a/b', '/', 'a\0']) {
      await expect(client.mkdir(ROOT, name), name).rejects.toEqual(errno(EINVAL));
    }
  });

  test('symbolic links are for the guest to follow', async () => {
    const client = await mount(backend());
    await client.symlink(ROOT, 'link', '../../../etc/passwd');
    await client.walk(ROOT, 1, 'link');
    expect(await client.readlink(1)).toBe('../../../etc/passwd');
    expect((await client.getattr(1)).mode & 0o170000).toBe(0o120000);
    await expect(client.lopen(1)).rejects.toThrow();
    expect(await client.walk(ROOT, 2, 'link', 'x').catch((error: unknown) => error)).toHaveLength(1);
    await expect(client.create(ROOT, 3, 'link', 0o102)).rejects.toThrow();
  });

  test('attributes: permissions, owners, times', async () => {
    const client = await mount(backend());
    await client.create(ROOT, 1, 'file', 0o302, 0o600);
    expect((await client.getattr(1)).mode).toBe(0o100600);
    await client.setattr(1, { mode: 0o4755, mtimeNs: 1_000_000_000_250_000_000n });
    const attributes = await client.getattr(1);
    expect(attributes.mode).toBe(0o104755);
    expect(Number(attributes.mtimeNs - 1_000_000_000_250_000_000n)).toBeLessThan(1000);
    if (process.getuid?.() === 0) {
      await client.setattr(1, { uid: 1234, gid: 4321 });
      expect(await client.getattr(1)).toMatchObject({ uid: 1234, gid: 4321 });
      await client.attach(9, 77);
      await client.create(9, 2, 'of-user');
      expect(await client.getattr(2)).toMatchObject({ uid: 77, gid: 0 });
    }
  });

  test('extended attributes', async () => {
    const client = await mount(backend());
    await client.create(ROOT, 1, 'file');
    await expect(client.xattrGet(1, 2, 'user.a')).rejects.toEqual(errno(ENODATA));
    await client.xattrSet(1, 2, 'user.a', text('value'));
    await client.xattrSet(1, 2, 'user.b', new Uint8Array());
    expect(await client.xattrGet(1, 2, 'user.a')).toEqual(text('value'));
    expect(await client.xattrGet(1, 2, '')).toEqual(text('user.a\0user.b\0'));
    await expect(client.xattrSet(1, 2, 'user.a', text('x'), 1)).rejects.toEqual(errno(EEXIST));
    await expect(client.xattrSet(1, 2, 'user.c', text('x'), 2)).rejects.toEqual(errno(ENODATA));
    await client.rename(ROOT, 'file', ROOT, 'renamed');
    expect(await client.xattrGet(1, 2, 'user.a')).toEqual(text('value'));
    await client.xattrSet(1, 2, 'user.a', new Uint8Array(), 2);
    expect(await client.xattrGet(1, 2, '')).toEqual(text('user.b\0'));
  });

  test('special files are the guest kernel’s business', async () => {
    const client = await mount(backend());
    const body = new M.MessageWriter().u32(ROOT).string('tty').u32(0o020666).u32(4).u32(64).u32(0);
    await client.call(M.TMKNOD, body);
    await client.walk(ROOT, 1, 'tty');
    const { mode, rdev } = await client.getattr(1);
    expect([mode, rdev]).toEqual([0o020666, (4n << 8n) | 64n]);
    await expect(client.lopen(1)).rejects.toThrow();
  });

  test('locks: shared, exclusive, in pieces', async () => {
    const client = await mount(backend());
    await client.create(ROOT, 1, 'file');
    expect(await client.lock(1, 1, 0, 100, 10)).toBe(true);
    expect(await client.lock(1, 0, 50, 10, 11)).toBe(false);
    expect(await client.lock(1, 2, 40, 20, 10)).toBe(true);
    expect(await client.lock(1, 0, 50, 10, 11)).toBe(true);
    expect(await client.getlock(1, 1, 0, 0, 12)).toEqual({ type: 1, start: 0, length: 40, process: 10 });
    expect(await client.getlock(1, 1, 55, 1, 12)).toEqual({ type: 0, start: 50, length: 10, process: 11 });
    expect(await client.getlock(1, 1, 200, 0, 12)).toMatchObject({ type: 2 });
    await client.version();
    expect(client.server.session.locks.count).toBe(0);
  });

  test('a read-only share changes nothing', async () => {
    const client = await mount(backend(), true);
    await expect(client.create(ROOT, 1, 'file')).rejects.toEqual(errno(EROFS));
    await expect(client.mkdir(ROOT, 'd')).rejects.toEqual(errno(EROFS));
    await expect(client.setattr(ROOT, { mode: 0o700 })).rejects.toEqual(errno(EROFS));
    await client.walk(ROOT, 2);
    await expect(client.call(M.TREMOVE, new M.MessageWriter().u32(2))).rejects.toEqual(errno(EROFS));
    // The fid is gone all the same (clunk(5)).
    await expect(client.clunk(2)).rejects.toEqual(errno(9));
  });

  test('9P2000.u: create, stat, wstat, directories, remove', async () => {
    const client = await mount(backend(), false, '9P2000.u');
    expect(client.dialect).toBe('9P2000.u');
    const writer = (): M.MessageWriter => new M.MessageWriter();
    await client.walk(ROOT, 1);
    await client.call(M.TCREATE, writer().u32(1).string('file').u32(0o644).u8(2).string(''));
    await client.write(1, 0, text('hello'));
    await client.walk(ROOT, 2);
    await client.call(M.TCREATE, writer().u32(2).string('link').u32(0x02000000).u8(0).string('file'));
    await client.walk(ROOT, 3, 'file');
    const stat = await client.call(M.TSTAT, writer().u32(3));
    stat.u16();
    stat.u16();
    stat.u16();
    stat.u32();
    for (const read of [() => stat.u8(), () => stat.u32(), () => stat.u64()]) read();
    expect(stat.u32()).toBe(0o644);
    stat.u64();
    expect(stat.u64()).toBe(5n);
    expect(stat.string(255)).toBe('file');
    const same = 0xffffffff;
    const change = writer()
      .u16(0)
      .u16(0xffff)
      .u32(same)
      .u8(0xff)
      .u32(same)
      .u64(2n ** 64n - 1n)
      .u32(same);
    change.u32(same).u32(same).u64(2n).string('renamed').string('').string('').string('').string('');
    change.u32(same).u32(same).u32(same);
    await client.call(M.TWSTAT, writer().u32(3).u16(change.lengthBytes).append(change.bytes));
    await client.walk(ROOT, 4, 'renamed');
    await client.call(M.TOPEN, writer().u32(4).u8(0));
    expect(await client.read(4, 0, 100)).toEqual(text('he'));
    await client.walk(ROOT, 5);
    await client.call(M.TOPEN, writer().u32(5).u8(0));
    const listing = await client.read(5, 0, 8000);
    expect(new TextDecoder('latin1').decode(listing)).toMatch(/renamed[^]*link|link[^]*renamed/);
    expect(await client.read(5, listing.length, 8000)).toEqual(new Uint8Array());
    await client.call(M.TREMOVE, writer().u32(4));
    await expect(client.walk(ROOT, 6, 'renamed')).rejects.toEqual(errno(ENOENT));
  });
});

test('versions and sessions', async () => {
  const server = new NinePServer({ backend: new MemoryTree(), readOnly: false });
  const client = new NinePClient(server);
  await expect(client.attach(ROOT)).rejects.toThrow();
  expect(await client.version('9P2000.x')).toBe('9P2000');
  expect(await client.version('SMB')).toBe('unknown');
  expect(await client.version('9P2000.L', 10_000_000)).toBe('9P2000.L');
  expect(client.msize).toBe(MAX_MESSAGE_BYTES);
  await expect(client.version('9P2000.L', 100)).rejects.toThrow();
  await client.version();
  await client.attach(ROOT);
  await client.create(ROOT, 1, 'x');
  expect(server.session.fids.count).toBe(2);
  await client.version();
  expect(server.session.fids.count).toBe(0);
});

test('what a program writes the guest reads, and back', async () => {
  const tree = new MemoryTree({ files: { 'in/data.txt': 'héllo', 'bin/tool': new Uint8Array([1, 2, 3]) } });
  const client = await mount(tree);
  await client.walk(ROOT, 1, 'in', 'data.txt');
  await client.lopen(1);
  expect(new TextDecoder().decode(await client.read(1, 0, 100))).toBe('héllo');
  await client.mkdir(ROOT, 'out');
  await client.walk(ROOT, 2, 'out');
  await client.create(2, 3, 'result');
  await client.write(3, 0, text('42'));
  expect(tree.readText('/out/result')).toBe('42');
  expect(tree.list('/')).toEqual(['bin', 'in', 'out']);
  tree.write('out/result', 'more');
  expect(await client.read(3, 0, 100)).toEqual(text('more'));
  tree.remove('out');
  expect(tree.exists('out')).toBe(false);
  expect(() => tree.read('nothing')).toThrow(/ENOENT: nothing/);
});

test('a tree in memory is bounded, and removed files give their room back', async () => {
  const tree = new MemoryTree({ maxBytes: 1 << 20 });
  const client = await mount(tree);
  await client.create(ROOT, 1, 'file');
  expect(await client.write(1, 0, new Uint8Array(500_000))).toBe(500_000);
  await client.setattr(1, { size: 2 ** 40 });
  let at = 500_000;
  for (;;) {
    const written = await client.write(1, at, new Uint8Array(100_000)).catch(() => 0);
    at += written;
    if (written === 0) break;
  }
  expect(at).toBeLessThanOrEqual(1 << 20);
  await client.unlink(ROOT, 'file');
  await client.clunk(1);
  tree.write('again', new Uint8Array(1 << 20));
  expect(tree.read('again').length).toBe(1 << 20);
});

describe.runIf(process.platform === 'linux')('a folder of the host', () => {
  test('the guest and the host see the same files; metadata stays hidden', async () => {
    const folder = scratch();
    writeFileSync(join(folder, 'from-host'), 'host');
    const client = await mount(FolderShare.open(folder));
    await client.walk(ROOT, 1, 'from-host');
    await client.xattrSet(1, 2, 'user.a', text('x'));
    await client.create(ROOT, 3, 'na\u00ff\u00fe');
    expect(readdirSync(folder, 'latin1').sort()).toEqual(['.webhyve-metadata', 'from-host', 'na\u00ff\u00fe']);
    await client.walk(ROOT, 4);
    await client.lopen(4);
    expect((await client.readdir(4)).map(({ name }) => name).sort()).toEqual(['.', '..', 'from-host', 'naÿþ']);
    await expect(client.walk(ROOT, 5, '.webhyve-metadata')).rejects.toEqual(errno(ENOENT));
    await expect(client.mkdir(ROOT, '.webhyve-metadata')).rejects.toThrow();
    await expect(client.rename(ROOT, 'from-host', ROOT, '.webhyve-metadata')).rejects.toThrow();
    await client.unlink(ROOT, 'from-host');
    expect(readdirSync(join(folder, '.webhyve-metadata'))).toEqual([]);
  });

  test('attributes outlive the process', async () => {
    const folder = scratch();
    const first = await mount(FolderShare.open(folder));
    await first.create(ROOT, 1, 'file');
    await first.xattrSet(1, 2, 'security.capability', text('cap'));
    await first.server.close();
    const second = await mount(FolderShare.open(folder));
    await second.walk(ROOT, 1, 'file');
    expect(await second.xattrGet(1, 2, 'security.capability')).toEqual(text('cap'));
  });

  test('links of the host to the outside are links for the guest, never a way', async () => {
    const outside = scratch();
    writeFileSync(join(outside, 'secret'), 'secret');
    const folder = scratch();
    symlinkSync(outside, join(folder, 'out'));
    symlinkSync(join(outside, 'secret'), join(folder, 'secret'));
    const client = await mount(FolderShare.open(folder));
    expect(await client.walk(ROOT, 1, 'out', 'secret')).toHaveLength(1);
    await client.walk(ROOT, 2, 'secret');
    await expect(client.lopen(2, 2)).rejects.toThrow();
    await expect(client.create(ROOT, 3, 'secret', 0o1102)).rejects.toThrow();
    await client.walk(ROOT, 4, 'out');
    await expect(client.create(4, 5, 'planted')).rejects.toThrow();
    await client.setattr(2, { mode: 0o777 });
    await client.setattr(2, { size: 0 }).catch(() => undefined);
    await client.setattr(2, { mtimeNs: 1n }).catch(() => undefined);
    const before = lstatSync(join(outside, 'secret'));
    expect(before.mtimeMs).toBeGreaterThan(1e12);
    if (process.getuid?.() === 0) {
      await client.setattr(2, { uid: 5, gid: 6 });
      expect(lstatSync(join(folder, 'secret'))).toMatchObject({ uid: 5, gid: 6 });
      expect(lstatSync(join(outside, 'secret'))).toMatchObject({ uid: 0 });
    }
    await client.link(ROOT, 2, 'second');
    expect(lstatSync(join(folder, 'second')).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
    expect(lstatSync(join(outside, 'secret')).mode & 0o777).toBe(0o644);
    expect(readdirSync(outside)).toEqual(['secret']);
  });

  test('objects that another program moves are found again', async () => {
    const folder = scratch();
    const client = await mount(FolderShare.open(folder));
    await client.mkdir(ROOT, 'd');
    await client.walk(ROOT, 1, 'd');
    await client.create(1, 2, 'file');
    const { renameSync } = await import('node:fs');
    renameSync(join(folder, 'd'), join(folder, 'elsewhere'));
    renameSync(join(folder, 'elsewhere', 'file'), join(folder, 'moved'));
    await client.link(1, 2, 'again');
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual(['again']);
    await client.walk(1, 3, '..');
    expect((await client.getattr(3)).qid.path).toBe((await client.getattr(ROOT)).qid.path);
  });

  test('few descriptors are enough for many files', async () => {
    const folder = scratch();
    const share = FolderShare.open(folder, { maxDescriptors: 8 });
    const client = await mount(share);
    for (let i = 0; i < 100; i++) {
      await client.create(ROOT, 1000, `file${i}`);
      await client.write(1000, 0, text(String(i)));
      await client.clunk(1000);
      await client.walk(ROOT, i + 1, `file${i}`);
    }
    expect(share.descriptors.size).toBe(8);
    for (let i = 0; i < 100; i++) {
      await client.lopen(i + 1);
      expect(await client.read(i + 1, 0, 10)).toEqual(text(String(i)));
      await client.clunk(i + 1);
    }
    expect(share.nodeCount).toBe(1);
  });
});
