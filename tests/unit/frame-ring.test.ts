/** The ring between the thread that reads a tap device and the devices' thread, both of which may put frames in. */
import { expect, test } from 'vitest';
import * as Ring from '../../host-node/network/frame-ring.mjs';

const frame = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);

test('frames of every length come out as they went in, over the end of the ring many times', () => {
  const ring = Ring.createRing();
  for (let index = 0; index < 300; index++) {
    const lengths = [1 + (index % 7), 60, 65_000];
    for (const length of lengths) expect(Ring.push(ring, frame(length, index))).toBe(true);
    expect(Ring.isEmpty(ring)).toBe(false);
    for (const length of lengths) {
      // Compared by Buffer: expect() takes a second for a long array.
      expect(Buffer.compare(Ring.peek(ring) ?? new Uint8Array(), frame(length, index))).toBe(0);
      Ring.consume(ring);
    }
    expect(Ring.isEmpty(ring)).toBe(true);
  }
});

test('an empty ring has room for a look of the devices’ thread: fifteen short frames and a long one', () => {
  const ring = Ring.createRing();
  for (let index = 0; index < 15; index++) expect(Ring.push(ring, frame(2048, index))).toBe(true);
  expect(Ring.push(ring, frame(65_600, 15))).toBe(true);
});

test('one thread writes at a time', () => {
  const ring = Ring.createRing();
  expect(Ring.beginWriting(ring)).toBe(true);
  expect(Ring.beginWriting(ring)).toBe(false);
  Ring.endWriting(ring);
  expect(Ring.beginWriting(ring)).toBe(true);
});

test('the writer tells the reader once for all frames until that finds the ring empty', () => {
  const ring = Ring.createRing();
  Ring.push(ring, frame(60, 1));
  expect(Ring.mustTell(ring)).toBe(true);
  expect(Ring.mustTell(ring)).toBe(false);
  Ring.peek(ring);
  Ring.consume(ring);
  // Whether it is empty is asked without a wish to be told.
  expect(Ring.isEmpty(ring)).toBe(true);
  expect(Ring.mustTell(ring)).toBe(false);
  expect(Ring.peek(ring)).toBeUndefined();
  expect(Ring.mustTell(ring)).toBe(true);
});
