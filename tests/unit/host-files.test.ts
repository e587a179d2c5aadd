import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BlockSettings } from '../../devices/backends/block.ts';
import { BLOCK_OPTIONS } from '../../devices/config/declarations/block.ts';
import { readSettings } from '../../devices/config/settings-of.ts';
import { BackingFileError, FileBackend } from '../../host-node/files.ts';

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
  expect(disk).toMatchObject({ sizeBytes: 1 << 20, logicalSectorBytes: 512, readOnly: false, canDiscard: false });
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
