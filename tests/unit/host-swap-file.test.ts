import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { machineSettings, parseCommandLine } from '../../devices/config/index.ts';
import { openSwapFile } from '../../host-node/swap-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'webhyve-swap-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test.for(['', 'file'])(
  'a file in a folder, or at a path, has no name and reads as zeros where nothing was written (%s)',
  async (name) => {
    const file = await openSwapFile(join(folder, name));
    expect(readdirSync(folder)).toEqual([]);
    const shared = new Uint8Array(new SharedArrayBuffer(8192));
    shared.fill(7);
    file.write(shared, 3 * 2 ** 30);
    const back = new Uint8Array(8194).fill(1);
    file.read(back, 3 * 2 ** 30 - 1);
    expect([back[0], back[1], back[8192], back[8193]]).toEqual([0, 7, 7, 0]);
    file.read(back, 2 ** 40);
    expect(back.every((byte) => byte === 0)).toBe(true);
    file.close();
    expect(() => file.read(back, 0)).toThrow();
  },
);

test('a file that is there already is not taken', async () => {
  const path = join(folder, 'mine');
  writeFileSync(path, 'something');
  await expect(openSwapFile(path)).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(openSwapFile(join(folder, 'no', 'file'))).rejects.toMatchObject({ code: 'ENOENT' });
});

const settings = (...words: string[]): ReturnType<typeof machineSettings> =>
  machineSettings(
    parseCommandLine([...words, 'vm'], {
      programName: 'bhyve',
      readTextFile: () => '',
    }).tree,
  );

test('memory.resident is a size as -m takes it, and large enough for what instructions touch', () => {
  expect(settings('-m', '24G')).toMatchObject({ residentBytes: undefined, swapPath: undefined });
  expect(settings('-m', '8G', '-o', 'memory.resident=1G', '-o', 'memory.swap=/data')).toMatchObject({
    residentBytes: 2 ** 30,
    swapPath: '/data',
  });
  expect(settings('-c', '2', '-o', 'memory.resident=64').residentBytes).toBe(64 * 2 ** 20);
  expect(() => settings('-c', '2', '-o', 'memory.resident=63M')).toThrow(
    expect.objectContaining({ status: 4 }) as Error,
  );
});
