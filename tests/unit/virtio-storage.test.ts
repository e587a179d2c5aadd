import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { OVERLAY_BLOCK_BYTES, OverlayBackend } from '../../devices/block/overlay-backend.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeRandom } from '../support/fake-random.ts';

describe('memory disk', () => {
  test('scatters and gathers, and checks its bounds', async () => {
    const disk = new MemoryBackend(new Uint8Array(2050));
    expect(disk.sizeBytes).toBe(2048);
    await disk.write(510, [Uint8Array.of(1, 2), Uint8Array.of(3)]);
    const [a, b] = [new Uint8Array(1), new Uint8Array(3)];
    await disk.read(510, [a, b]);
    expect([[...a], [...b]]).toEqual([[1], [2, 3, 0]]);
    await disk.discard(511, 1);
    await disk.read(510, [b]);
    expect([...b]).toEqual([1, 0, 3]);
    await expect(disk.read(2047, [b])).rejects.toThrow(RangeError);
    await expect(disk.write(-1, [b])).rejects.toThrow(RangeError);
    await expect(disk.read(NaN, [b])).rejects.toThrow(RangeError);
    await disk.close();
    await expect(disk.read(0, [b])).rejects.toThrow('closed');
  });

  test('read-only', async () => {
    const disk = new MemoryBackend(new Uint8Array(512), { readOnly: true });
    expect(disk.canDiscard).toBe(false);
    await expect(disk.write(0, [new Uint8Array(1)])).rejects.toThrow('read-only');
    await expect(disk.discard(0, 512)).rejects.toThrow('read-only');
  });
});

describe('overlay', () => {
  test('keeps the base unchanged, and behaves like a plain disk under random requests', async () => {
    const random = new FakeRandom(0x0e);
    const size = 10 * OVERLAY_BLOCK_BYTES + 1024;
    const baseBytes = Uint8Array.from({ length: size }, () => random.below(256));
    const original = baseBytes.slice();
    const expected = baseBytes.slice();
    const disk = new OverlayBackend(new MemoryBackend(baseBytes, { readOnly: true }));
    for (let i = 0; i < 3000; i++) {
      const offset = random.below(size);
      const lengths = [random.below(6000), random.below(300)];
      const views = lengths.map((length) => new Uint8Array(length));
      if (offset + (lengths[0] ?? 0) + (lengths[1] ?? 0) > size) continue;
      if (random.below(2) === 0) {
        let at = offset;
        for (const view of views) {
          for (let j = 0; j < view.length; j++) view[j] = random.below(256);
          expected.set(view, at);
          at += view.length;
        }
        await disk.write(offset, views);
      } else {
        await disk.read(offset, views);
        let at = offset;
        for (const view of views) {
          if (!isDeepStrictEqual(view, expected.slice(at, at + view.length))) throw new Error(`read ${i} at ${at}`);
          at += view.length;
        }
      }
    }
    expect(isDeepStrictEqual(baseBytes, original)).toBe(true);
    const again = new OverlayBackend(new MemoryBackend(baseBytes));
    again.volatileBlocks.replace(structuredClone([...disk.volatileBlocks.list()]));
    const all = new Uint8Array(size);
    await again.read(0, [all]);
    expect(isDeepStrictEqual(all, expected)).toBe(true);
    await expect(again.read(size, [new Uint8Array(1)])).rejects.toThrow(RangeError);
  });

  test('two writes to one block at the same time both count', async () => {
    const base = new FakeBlock();
    base.bytes.fill(9);
    const disk = new OverlayBackend(base);
    const first = disk.write(0, [Uint8Array.of(1)]);
    const second = disk.write(1, [Uint8Array.of(2)]);
    await settle();
    await base.complete(1);
    await base.complete(0);
    await Promise.all([first, second]);
    const back = new Uint8Array(3);
    await disk.read(0, [back]);
    expect([...back]).toEqual([1, 2, 9]);
  });

  test('discard empties blocks that it holds', async () => {
    const disk = new OverlayBackend(new MemoryBackend(new Uint8Array(4 * OVERLAY_BLOCK_BYTES).fill(7)));
    await disk.write(0, [new Uint8Array(2 * OVERLAY_BLOCK_BYTES).fill(5)]);
    await disk.discard(100, 2 * OVERLAY_BLOCK_BYTES);
    const back = new Uint8Array(4 * OVERLAY_BLOCK_BYTES);
    await disk.read(0, [back]);
    expect([0, 4095, 4096, 8191, 8192].map((at) => back[at])).toEqual([5, 5, 0, 0, 7]);
  });
});
