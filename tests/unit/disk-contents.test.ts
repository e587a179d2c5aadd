/** Disks in memory (`ram=`, `snapshot=1`): a snapshot of the machine holds what the guest wrote to them. */
import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { DiskContents } from '../../devices/block/disk-contents.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { OverlayBackend } from '../../devices/block/overlay-backend.ts';
import { RamDisk } from '../../devices/block/ram-disk.ts';
import { SnapshotError, type DeviceState } from '../../devices/snapshot.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { destroyTestMachines, payloadMachine } from '../support/machine.ts';

const MIB = 1 << 20;
const SIZE = 4 * MIB;
afterEach(destroyTestMachines);

const DISKS: readonly [name: string, make: () => BlockBackend][] = [
  ['ram=', () => new RamDisk(SIZE)],
  ['snapshot=1', () => new OverlayBackend(new MemoryBackend(new Uint8Array(SIZE - 512).fill(7)))],
];

function contentsOf(disk: BlockBackend): DiskContents {
  if (!disk.volatileBlocks) throw new Error('the disk keeps nothing in memory');
  return new DiskContents(disk, disk.volatileBlocks);
}

async function read(disk: BlockBackend): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.sizeBytes);
  await disk.read(0, [bytes]);
  return bytes;
}

describe.each(DISKS)('%s', (_name, make) => {
  test('a copy reads as the original, whatever it held before', async () => {
    const random = new FakeRandom(0xd15c);
    const disk = make();
    for (let i = 0; i < 200; i++) {
      const offset = 512 * random.below(disk.sizeBytes / 512 - 40);
      await disk.write(offset, [new Uint8Array(512 * (1 + random.below(40))).fill(random.below(3))]);
    }
    await disk.discard(MIB, 64 * 1024);
    const state = structuredClone(contentsOf(disk).save());
    const copy = make();
    await copy.write(8192, [new Uint8Array(MIB).fill(0xee)]);
    contentsOf(copy).restore(state);
    expect(Buffer.compare(await read(copy), await read(disk))).toBe(0);
    expect(isDeepStrictEqual(contentsOf(copy).save(), state)).toBe(true);
    // The state is not the disk's own memory.
    await copy.write(0, [new Uint8Array(512).fill(0x99)]);
    expect(Buffer.compare(await read(copy), await read(disk))).not.toBe(0);
  });

  test('a state that does not fit is refused, and the disk stays as it was', async () => {
    const disk = make();
    await disk.write(0, [new Uint8Array(4096).fill(1)]);
    const before = await read(disk);
    const contents = contentsOf(disk);
    const state = contents.save();
    const blocks = Math.ceil(disk.sizeBytes / 4096);
    const broken: DeviceState[] = [
      { ...state, kind: 'nvme' },
      { ...state, version: 2 },
      ...[
        { sizeBytes: disk.sizeBytes + 512 },
        { indices: [blocks] },
        { indices: [-1] },
        { indices: [0, 1] },
        { bytes: new Uint8Array(4095) },
        { indices: Array.from({ length: blocks + 1 }, () => 0), bytes: new Uint8Array((blocks + 1) * 4096) },
      ].map((fields) => ({ ...state, fields: { ...state.fields, ...fields } })),
    ];
    for (const bad of broken) expect(() => contents.restore(bad)).toThrow(SnapshotError);
    expect(Buffer.compare(await read(disk), before)).toBe(0);
  });
});

test("a machine's snapshot holds them, and a machine with another disk refuses it", { timeout: 300_000 }, async () => {
  const HLT = [0xfa, 0xf4];
  const build = (mib: number): ReturnType<typeof payloadMachine> =>
    payloadMachine(HLT, { args: ['-m', '64M', '-s', `3,nvme,ram=${mib}`], backend: 'inline' });
  await using first = await build(4);
  const part = first.machine.platform.devices.entries().get('disk-contents-0');
  expect(part).toBeInstanceOf(DiskContents);
  const disk = new RamDisk(4 * MIB, 4096);
  await disk.write(MIB, [new Uint8Array(8192).fill(0x5a)]);
  const state = contentsOf(disk).save();
  part?.restore(state);
  const snapshot = await first.machine.snapshot();
  await using second = await build(4);
  await second.machine.restore(snapshot);
  expect(second.machine.platform.devices.entries().get('disk-contents-0')?.save()).toEqual(state);
  await using other = await build(8);
  await expect(other.machine.restore(snapshot)).rejects.toThrow('sizeBytes');
});
