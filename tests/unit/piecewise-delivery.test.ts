/** Long packets for a card that cuts none and whose ring is short: nothing is lost, nothing comes twice. */
import { expect, test } from 'vitest';
import { FULL_OFFLOAD, NO_OFFLOAD, type NetworkFrame, type NetworkPort } from '../../devices/backends/network.ts';
import { PiecewiseDelivery } from '../../devices/net/piecewise-delivery.ts';
import { joined, readU32, writeU16 } from '../../devices/net/wire.ts';

const HEADER_BYTES = 54;
const SEGMENT_BYTES = 1000;

/** A TCP packet of ten segments, which was left to its receiver to cut. */
function longPacket(): NetworkFrame {
  const frame = new Uint8Array(HEADER_BYTES + 10 * SEGMENT_BYTES);
  frame.set([0x52, 0x54, 0, 1, 2, 3, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45]);
  writeU16(frame, 16, frame.length - 14);
  frame.set([64, 6], 22);
  frame.set([0x50, 0x10], 46);
  return {
    parts: [frame],
    offload: {
      checksumStart: 34,
      checksumOffset: 16,
      segmentation: { kind: 'tcp4', segmentBytes: SEGMENT_BYTES },
    },
  };
}

/** A card with room for so many frames at a time. */
class ShortRing implements NetworkPort {
  room = 0;
  readonly frames: Uint8Array[] = [];

  constructor(readonly offload = NO_OFFLOAD) {}

  receive(frame: NetworkFrame): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.frames.push(joined(frame.parts));
    return true;
  }

  drained(): void {}
  linkChanged(): void {}
}

test('the rest of a packet waits until the card has room', () => {
  const card = new ShortRing();
  const delivery = new PiecewiseDelivery();
  const packet = longPacket();
  const answers: boolean[] = [];
  for (const room of [0, 3, 0, 4, 3]) {
    card.room = room;
    answers.push(delivery.deliver(packet, card));
  }
  expect(answers).toEqual([false, false, false, false, true]);
  expect(card.frames.map((frame) => readU32(frame, 38))).toEqual(
    Array.from({ length: 10 }, (_, index) => index * SEGMENT_BYTES),
  );
  // The next packet begins at its beginning.
  card.room = 20;
  expect(delivery.deliver(packet, card)).toBe(true);
  expect(card.frames).toHaveLength(20);
});

test('a card that cuts for itself gets the packet whole', () => {
  const card = new ShortRing(FULL_OFFLOAD);
  card.room = 1;
  expect(new PiecewiseDelivery().deliver(longPacket(), card)).toBe(true);
  expect(card.frames[0]).toHaveLength(HEADER_BYTES + 10 * SEGMENT_BYTES);
});
