/** The sender of the user-mode network's TCP against receivers that lose, reorder, and lie in their selective acknowledgements. */
import { expect, test } from 'vitest';
import { TcpReceiver } from '../../devices/net/nat/tcp-receiver.ts';
import { sequenceAdd, sequenceDistance } from '../../devices/net/nat/tcp-segment.ts';
import { TcpSender, type SenderOutput } from '../../devices/net/nat/tcp-sender.ts';
import { joined } from '../../devices/net/wire.ts';
import { FakeNatHost } from '../support/fake-nat-host.ts';
import { FakeRandom } from '../support/fake-random.ts';

const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 60_000);
const MSS = 100;
const WINDOW = 8000;
/** Sequence numbers wrap in the middle. */
const FIRST = 0xffff_f000;

interface Segment {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  readonly fin: boolean;
}

/** The byte at a place of the stream. */
const byteAt = (at: number): number => (at * 7 + (at >>> 8)) & 0xff;
const stream = (from: number, length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => byteAt(from + at));

class Rig implements SenderOutput {
  readonly host = new FakeNatHost();
  readonly sender: TcpSender;
  readonly wire: Segment[] = [];
  readonly blocked = false;
  readonly burstBytes = 3 * MSS;
  readonly bufferBytes = 1 << 20;
  ended = false;

  constructor() {
    this.sender = new TcpSender(this.host, this, FIRST, MSS);
    this.sender.opened(WINDOW, 1, FIRST);
  }

  emit(sequence: number, payload: readonly Uint8Array[], payloadBytes: number, fin: boolean): void {
    const bytes = joined(payload);
    const from = sequenceDistance(sequence, FIRST);
    // Whatever the guest says, the bytes are those of their place, and none is sent that is not under way or new.
    expect(bytes.length).toBe(payloadBytes);
    if (bytes.some((byte, at) => byte !== byteAt(from + at))) throw new Error(`wrong bytes at ${from}`);
    if (sequenceDistance(sequence, this.sender.unacknowledged) < 0) throw new Error(`${from} was acknowledged`);
    this.wire.push({ sequence, bytes, fin });
  }

  hold(): void {}

  gaveUp(): void {
    this.ended = true;
  }
}

test.each([1, 2, 3, 4, 5])('a cable that loses every %i0th segment and swaps others: all bytes arrive', (tenths) => {
  const random = new FakeRandom(tenths);
  const rig = new Rig();
  const lengthBytes = 200_000;
  let received = 0;
  let finished = false;
  const receiver = new TcpReceiver(
    FIRST,
    (bytes) => {
      if (bytes.some((byte, at) => byte !== byteAt(received + at))) throw new Error(`wrong bytes at ${received}`);
      received += bytes.length;
    },
    () => (finished = true),
  );
  receiver.window(0, WINDOW);
  rig.sender.push(stream(0, lengthBytes));
  rig.sender.finish();
  for (let turns = 0; !rig.sender.finAcknowledged && turns < 1_000_000; turns++) {
    if (rig.wire.length === 0) rig.host.advance(50);
    const [segment] = rig.wire.splice(random.below(8) === 0 ? random.below(Math.min(rig.wire.length, 6)) : 0, 1);
    if (!segment || random.below(10 * tenths) === 0) continue;
    receiver.take(segment.sequence, segment.bytes, segment.fin);
    const window = receiver.window(0, WINDOW);
    rig.sender.acknowledge(1, receiver.next, window, true, receiver.sackBlocks());
  }
  expect([received, finished, rig.ended]).toEqual([lengthBytes, true, false]);
  // Holes are filled, and not much else is sent again.
  expect(rig.sender.retransmissions).toBeLessThan((3 * lengthBytes) / MSS / tenths);
});

test(`${OPERATIONS} acknowledgements of a guest that lies`, () => {
  const random = new FakeRandom(2018);
  let rig = new Rig();
  let pushed = 0;
  for (let operation = 0; operation < OPERATIONS; operation++) {
    if (rig.ended || pushed > 2_000_000) {
      rig = new Rig();
      pushed = 0;
    }
    const { sender } = rig;
    const near = (): number =>
      sequenceAdd(sender.unacknowledged, random.pick([0, 1, MSS, -MSS, random.below(2 * WINDOW) - WINDOW / 2]));
    const blocks = Array.from({ length: random.below(5) }, () => {
      const start = near();
      return [start, random.below(8) === 0 ? near() : sequenceAdd(start, random.below(4 * MSS))] as const;
    });
    switch (random.below(8)) {
      case 0:
        sender.push(stream(pushed, MSS * 4));
        pushed += MSS * 4;
        break;
      case 1:
        rig.host.advance(random.below(300));
        break;
      case 2:
        sender.acknowledge(1, near(), random.below(WINDOW), random.below(2) === 0, blocks);
        break;
      default:
        sender.acknowledge(1, sender.unacknowledged, WINDOW, true, blocks);
    }
    // One acknowledgement sends no more than a window.
    const sentBytes = rig.wire.splice(0).reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(sentBytes).toBeLessThanOrEqual(4 * WINDOW);
  }
});
