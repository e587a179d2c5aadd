/** A snapshot read in order from a source that answers in any order. */
import { expect, test } from 'vitest';
import type { ByteSource } from '../../devices/block/remote/byte-source.ts';
import { ReadAheadSource } from '../../devices/block/remote/read-ahead.ts';
import { FakeRandom } from '../support/fake-random.ts';

const SIZE_BYTES = 36 * 2 ** 20 + 12_345;
const byteAt = (offset: number): number => ((offset * 7) ^ (offset >>> 13)) & 0xff;

class SlowSource implements ByteSource {
  readonly sizeBytes = SIZE_BYTES;
  readonly validator = '';
  readonly fetchedBytes = 0;
  readonly #waiting: (() => void)[] = [];
  /** Reads from this offset on fail. */
  failsAt = Infinity;
  largestOffset = 0;

  read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    this.largestOffset = Math.max(this.largestOffset, offset);
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        if (offset + lengthBytes > this.failsAt) reject(new Error('the connection broke'));
        else resolve(Uint8Array.from({ length: lengthBytes }, (_, i) => byteAt(offset + i)));
      });
      // The newest first, the oldest last: a worst case of order.
      setTimeout(() => this.#waiting.pop()?.());
    });
  }
}

test('every byte in its place, whatever the order of answers, with a bounded number on their way', async () => {
  const source = new SlowSource();
  const snapshot = new ReadAheadSource(source);
  expect(snapshot.lengthBytes).toBe(SIZE_BYTES);
  const random = new FakeRandom(17);
  for (let at = 0; at < SIZE_BYTES;) {
    const into = new Uint8Array(Math.min(1 + random.below(3_000_000), SIZE_BYTES - at));
    await snapshot.read(into);
    const wrong = into.findIndex((byte, i) => byte !== byteAt(at + i));
    expect(wrong).toBe(-1);
    at += into.length;
    expect(source.largestOffset).toBeLessThanOrEqual(at + 28 * 2 ** 20);
  }
  await expect(snapshot.read(new Uint8Array(1))).rejects.toThrow('cut short');
});

test('a piece that fails is heard of when it is read, and not before', async () => {
  const source = new SlowSource();
  source.failsAt = 9 * 2 ** 20;
  const snapshot = new ReadAheadSource(source);
  await snapshot.read(new Uint8Array(8 * 2 ** 20));
  await expect(snapshot.read(new Uint8Array(1))).rejects.toThrow('the connection broke');
});
