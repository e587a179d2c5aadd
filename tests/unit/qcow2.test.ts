/** qcow2 images made by qemu-img: read, written in place, and checked by qemu-img again. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import { parseHeader } from '../../devices/block/qcow2/header.ts';
import { BLOCK_OPTIONS } from '../../devices/config/declarations/block.ts';
import { readSettings } from '../../devices/config/settings-of.ts';
import { openDisk } from '../../host-node/disk/open-disk.ts';
import { FakeRandom } from '../support/fake-random.ts';

const MIB = 1 << 20;
const SIZE = 8 * MIB;
const hasQemuImg = spawnSync('qemu-img', ['--version']).status === 0;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-qcow2-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const open = (path: string, settings: Partial<BlockSettings> = {}): Promise<BlockBackend> =>
  openDisk({ ...readSettings(BLOCK_OPTIONS, () => undefined), ...settings, path });
const qemuImg = (...args: string[]): string => execFileSync('qemu-img', args, { cwd: directory, encoding: 'utf8' });

function pattern(seed: number, lengthBytes = SIZE): Uint8Array {
  const random = new FakeRandom(seed);
  const bytes = new Uint8Array(lengthBytes);
  // Half of it zeros, the rest random by pages: something to compress, something not.
  for (let at = 0; at < lengthBytes; at += 4096) {
    if (random.below(2) === 0) continue;
    const word = random.u32();
    for (let i = 0; i < 4096; i++) bytes[at + i] = random.below(3) === 0 ? random.below(256) : word & 0xff;
  }
  return bytes;
}

async function contents(disk: BlockBackend): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes.subarray(0, 1000), bytes.subarray(1000, 300_000), bytes.subarray(300_000)]);
  return bytes;
}

/** Random writes and discards, mirrored in `bytes`. */
async function scribble(disk: BlockBackend, bytes: Uint8Array, seed: number): Promise<void> {
  const random = new FakeRandom(seed);
  for (let i = 0; i < 60; i++) {
    const works: Promise<void>[] = [];
    // Several at once, in regions that do not touch but share clusters.
    for (let lane = 0; lane < 4; lane++) {
      const offset = lane * 2 * MIB + 512 * random.below(3000);
      const length = 512 * (1 + random.below(300));
      const data = new Uint8Array(length).fill(1 + random.below(255));
      bytes.set(data, offset);
      works.push(disk.write(offset, [data.subarray(0, 512), data.subarray(512)]));
    }
    await Promise.all(works);
  }
  await disk.flush();
}

describe.skipIf(!hasQemuImg)('qcow2', () => {
  it.each([
    ['version 2', ['-o', 'compat=0.10'], []],
    ['version 3', ['-o', 'compat=1.1'], []],
    ['small clusters', ['-o', 'cluster_size=512'], []],
    ['large clusters', ['-o', 'cluster_size=2M'], []],
    ['compressed', [], ['-c']],
    ['narrow refcounts', ['-o', 'refcount_bits=1'], []],
    ['wide refcounts', ['-o', 'refcount_bits=64,cluster_size=4k'], []],
  ])('%s: read, written in place, read by qemu-img', async (name, options, convert) => {
    const bytes = pattern(7);
    const raw = join(directory, `${name}.raw`);
    const image = join(directory, `${name}.qcow2`);
    writeFileSync(raw, bytes);
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, ...convert, raw, image);
    const disk = await open(image);
    expect(disk.sizeBytes).toBe(SIZE);
    expect(Buffer.compare(await contents(disk), bytes)).toBe(0);
    await scribble(disk, bytes, 11);
    expect(Buffer.compare(await contents(disk), bytes)).toBe(0);
    if (disk.canDiscard) {
      await disk.discard(MIB, 3 * MIB);
      const cluster = name === 'large clusters' ? 2 * MIB : 65536;
      bytes.fill(0, Math.ceil(MIB / cluster) * cluster, Math.floor((4 * MIB) / cluster) * cluster);
      await scribble(disk, bytes, 12);
      expect(Buffer.compare(await contents(disk), bytes)).toBe(0);
    }
    await disk.close();
    // Clusters that were reserved and not used are leaks, which are harmless; errors are not.
    const check = spawnSync('qemu-img', ['check', '-f', 'qcow2', image], { encoding: 'utf8' });
    expect([0, 3], check.stdout + check.stderr).toContain(check.status);
    writeFileSync(raw, bytes);
    expect(spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', raw, image]).status).toBe(0);
    // And what this program opens again is the same.
    const again = await open(image, { ro: true });
    expect(Buffer.compare(await contents(again), bytes)).toBe(0);
    await again.close();
  });

  it('an overlay over a backing file takes the writes, and its base does not', async () => {
    const bytes = pattern(21);
    writeFileSync(join(directory, 'base.raw'), bytes);
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', '-c', 'base.raw', 'base.qcow2');
    qemuImg('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2', `${SIZE + MIB}`);
    const base = statSync(join(directory, 'base.qcow2'));
    const disk = await open(join(directory, 'top.qcow2'));
    const all = new Uint8Array(SIZE + MIB);
    all.set(bytes);
    expect(Buffer.compare(await contents(disk), all)).toBe(0);
    await scribble(disk, all, 22);
    await disk.discard(0, 2 * 65536);
    all.fill(0, 0, 2 * 65536);
    expect(Buffer.compare(await contents(disk), all)).toBe(0);
    await disk.close();
    expect(statSync(join(directory, 'base.qcow2')).mtimeMs).toBe(base.mtimeMs);
    writeFileSync(join(directory, 'all.raw'), all);
    expect(spawnSync('qemu-img', ['compare', 'all.raw', 'top.qcow2'], { cwd: directory }).status).toBe(0);
  });

  it('snapshot=1 forgets what was written, and leaves the image to others', async () => {
    const bytes = pattern(31);
    const path = join(directory, 'snapshot.img');
    writeFileSync(path, bytes);
    const disk = await open(path, { snapshot: true });
    const other = await open(path, { snapshot: true });
    await disk.write(0, [new Uint8Array(4096).fill(9)]);
    expect((await contents(disk))[0]).toBe(9);
    expect((await contents(other))[0]).toBe(bytes[0]);
    await disk.close();
    await other.close();
    const after = await open(path, { ro: true });
    expect(Buffer.compare(await contents(after), bytes)).toBe(0);
    await after.close();
  });

  it('what cannot be written safely is read only, and what cannot be read is refused', async () => {
    qemuImg('create', '-q', '-f', 'qcow2', 'with-snapshot.qcow2', '1M');
    qemuImg('snapshot', '-c', 'one', 'with-snapshot.qcow2');
    const disk = await open(join(directory, 'with-snapshot.qcow2'));
    expect(disk.readOnly).toBe(true);
    await disk.close();
    writeFileSync(join(directory, 'text.qcow2'), 'no image at all');
    await expect(open(join(directory, 'text.qcow2'))).rejects.toThrow('not a qcow2 image');
    qemuImg('create', '-q', '-f', 'qcow2', '-o', 'extended_l2=on', 'extended.qcow2', '1M');
    await expect(open(join(directory, 'extended.qcow2'))).rejects.toThrow('qcow2 features 0x10 are not supported');
  });
});

describe('a hostile qcow2 header', () => {
  it('is refused or bounded, whatever it says', () => {
    const good = new Uint8Array(4096);
    const view = new DataView(good.buffer);
    view.setUint32(0, 0x514649fb);
    view.setUint32(4, 3);
    view.setUint32(20, 16);
    view.setBigUint64(24, 1n << 30n);
    view.setUint32(36, 2);
    view.setBigUint64(40, 65536n);
    view.setBigUint64(48, 131072n);
    view.setUint32(56, 1);
    view.setUint32(96, 4);
    view.setUint32(100, 104);
    expect(parseHeader(good).sizeBytes).toBe(1 << 30);
    const random = new FakeRandom(5);
    for (let i = 0; i < 20_000; i++) {
      const bytes = good.slice();
      const fields = new DataView(bytes.buffer);
      for (let n = 0; n < 3; n++) fields.setUint32(4 * random.below(26), random.nasty());
      try {
        const header = parseHeader(bytes);
        expect(header.l1Entries).toBeLessThanOrEqual(4 << 20);
        expect(header.refcountTableEntries).toBeLessThanOrEqual(1 << 20);
        expect(header.sizeBytes).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER);
      } catch (error) {
        expect(error).toMatchObject({ name: 'Qcow2Error' });
      }
    }
  });
});
