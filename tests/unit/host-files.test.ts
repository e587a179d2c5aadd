import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BlockSettings } from '../../devices/backends/block.ts';
import { BLOCK_OPTIONS } from '../../devices/config/declarations/block.ts';
import { readSettings } from '../../devices/config/settings-of.ts';
import { BackingFileError, FileBackend } from '../../host-node/disk/file-backend.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'webhyve-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const open = (path: string, settings: Partial<BlockSettings> = {}): Promise<FileBackend> =>
  FileBackend.open({ ...readSettings(BLOCK_OPTIONS, () => undefined), ...settings, path });

function image(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

/** Views like those of guest memory: pieces of a shared buffer. */
function sharedViews(...lengths: number[]): Uint8Array[] {
  const buffer = new SharedArrayBuffer(lengths.reduce((sum, length) => sum + length, 0));
  let at = 0;
  return lengths.map((length) => {
    const view = new Uint8Array(buffer, at, length);
    at += length;
    return view;
  });
}

test('reads and writes through many views of shared memory', async () => {
  const path = image('disk', new Uint8Array(1 << 20));
  const disk = await open(path);
  expect(disk).toMatchObject({ sizeBytes: 1 << 20, logicalSectorBytes: 512, readOnly: false });
  const lengths = Array.from({ length: 1200 }, (_, i) => 1 + (i % 7));
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const out = sharedViews(...lengths);
  let value = 0;
  for (const view of out) for (let i = 0; i < view.length; i++) view[i] = value++ & 0xff;
  await disk.write(4096, out);
  await disk.flush();
  const expected = Uint8Array.from({ length: total }, (_, i) => i & 0xff);
  expect(new Uint8Array(readFileSync(path).subarray(4096, 4096 + total))).toEqual(expected);
  const back = sharedViews(total - 10, 10);
  await disk.read(4096, back);
  expect(Uint8Array.from(back.flatMap((view) => [...view]))).toEqual(expected);
  await disk.close();
  await expect(disk.read(0, sharedViews(512))).rejects.toThrow('closed');
});

test('nothing outside the disk', async () => {
  const disk = await open(image('small', new Uint8Array(1500)));
  expect(disk.sizeBytes).toBe(1024);
  await expect(disk.read(1024, sharedViews(512))).rejects.toThrow(RangeError);
  await expect(disk.write(-512, sharedViews(512))).rejects.toThrow(RangeError);
  await expect(disk.write(512, sharedViews(1024))).rejects.toThrow(RangeError);
  await disk.close();
});

test('a file that shrank is an error, not a hang', async () => {
  const path = image('shrinking', new Uint8Array(8192));
  const disk = await open(path);
  writeFileSync(path, new Uint8Array(512));
  await expect(disk.read(4096, sharedViews(512))).rejects.toThrow(/shorter/);
  await disk.close();
});

test('ro, and files that may not be written', async () => {
  const path = image('read-only', new Uint8Array(4096));
  const ro = await open(path, { ro: true });
  expect(ro.readOnly).toBe(true);
  await expect(ro.write(0, sharedViews(512))).rejects.toThrow(/read-only/);
  await ro.close();
  chmodSync(path, 0o444);
  const fallback = await open(path);
  // Root may write anyway.
  expect(fallback.readOnly).toBe(process.getuid?.() !== 0);
  await fallback.close();
});

test('sector sizes', async () => {
  const path = image('sectors', new Uint8Array(10_000));
  const disk = await open(path, { sectorsize: { logicalBytes: 4096, physicalBytes: 8192 } });
  expect(disk).toMatchObject({ sizeBytes: 8192, logicalSectorBytes: 4096, physicalSectorBytes: 8192 });
  await disk.close();
});

test("bhyve's words for what cannot be opened", async () => {
  await expect(open('/no/such/disk')).rejects.toThrow(
    new BackingFileError('Could not open backing file: /no/such/disk: No such file or directory'),
  );
  await expect(open(directory)).rejects.toThrow(`Could not open backing file: ${directory}: Is a directory`);
});

test('an image has one writer and any number of readers', async () => {
  const path = image('locked', new Uint8Array(4096));
  const disk = await open(path);
  await expect(open(path)).rejects.toThrow(`Could not open backing file: ${path}: another machine uses it`);
  const reader = await open(path, { ro: true });
  await reader.close();
  await disk.close();
  const again = await open(path);
  await again.close();
});

test('the lock goes with its process, however that ends', async () => {
  const path = image('killed', new Uint8Array(4096));
  const { dev, ino } = statSync(path, { bigint: true });
  const name = `webhyve-disk-${dev.toString(16)}-${ino.toString(16)}`;
  const script = `require('net').createServer().listen('\\0${name}', () => console.log('locked'))`;
  const holder = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  await expect(open(path)).rejects.toThrow('another machine uses it');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await (await open(path)).close();
});

test('discarded space is given back and reads as zeros, and zeros that may not be unmapped stay allocated', async (context) => {
  const path = image('holes', new Uint8Array(1 << 20).fill(0xaa));
  const disk = await open(path);
  if (!disk.canDiscard) {
    await disk.close();
    context.skip('no koffi, or a file system without holes');
  }
  const allocated = (): number => statSync(path).blocks * 512;
  await disk.flush();
  const before = allocated();
  await disk.discard(65536, 262144);
  await disk.flush();
  expect(allocated()).toBeLessThanOrEqual(before - 262144);
  const view = sharedViews(512);
  await disk.read(65536, view);
  expect(view[0]?.every((byte) => byte === 0)).toBe(true);
  const unmapped = allocated();
  await disk.writeZeroes(524288, 65536, false);
  await disk.flush();
  expect(allocated()).toBe(unmapped);
  await disk.read(524288, view);
  expect(view[0]?.every((byte) => byte === 0)).toBe(true);
  expect(statSync(path).size).toBe(1 << 20);
  await disk.close();
  const kept = await open(path, { nodelete: true });
  expect(kept.canDiscard).toBe(false);
  await kept.close();
});

test('nocache opens with O_DIRECT, sync and direct with O_SYNC; odd buffers go another way', async (context) => {
  const path = image('direct', new Uint8Array(1 << 20).fill(0x11));
  const flags = (): number => {
    for (const fd of readdirSync('/proc/self/fd')) {
      try {
        if (readlinkSync(`/proc/self/fd/${fd}`) !== path) continue;
        return parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0', 8);
      } catch {
        // A descriptor that is gone again.
      }
    }
    return 0;
  };
  const O_DIRECT = constants.O_DIRECT;
  if (process.platform !== 'linux') context.skip('/proc');
  const direct = await open(path, { nocache: true });
  expect(flags() & O_DIRECT).toBe(O_DIRECT);
  const odd = [
    new Uint8Array(new SharedArrayBuffer(3000), 1, 1000),
    new Uint8Array(new SharedArrayBuffer(600), 8, 536),
  ];
  odd[0]?.fill(0x22);
  odd[1]?.fill(0x33);
  await direct.write(4096, [...odd]);
  const back = [new Uint8Array(new SharedArrayBuffer(2000), 3, 1536)];
  await direct.read(4096, back);
  expect([back[0]?.[0], back[0]?.[999], back[0]?.[1000], back[0]?.[1535]]).toEqual([0x22, 0x22, 0x33, 0x33]);
  await direct.close();
  for (const option of [{ sync: true }, { direct: true }]) {
    const disk = await open(path, option);
    expect(flags() & constants.O_SYNC).toBe(constants.O_SYNC);
    await disk.close();
  }
});

test('a file that grows is noticed', async () => {
  const path = image('growing', new Uint8Array(4096));
  const disk = await open(path);
  const resized = new Promise<void>((resolve) => disk.onResized(resolve));
  truncateSync(path, 8192);
  await resized;
  expect(disk.sizeBytes).toBe(8192);
  await disk.close();
});
