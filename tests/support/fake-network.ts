/** The far end of a network card's cable, in the hands of a test. */
import {
  FULL_OFFLOAD,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
  type OffloadCapabilities,
} from '../../devices/backends/network.ts';
import { joined } from '../../devices/net/wire.ts';
import type { FakeRandom } from './fake-random.ts';

export interface SentFrame {
  readonly bytes: Uint8Array;
  readonly offload: NetworkFrame['offload'];
}

export class FakeNetwork implements NetworkBackend {
  port: NetworkPort | undefined;
  /** Frames that the card sent, oldest first. */
  readonly sent: SentFrame[] = [];
  /** It takes no frames. */
  busy = false;
  /** Times that the card said that it has room again. */
  readyCalls = 0;
  closed = false;

  constructor(readonly offload: OffloadCapabilities = FULL_OFFLOAD) {}

  open(port: NetworkPort): void {
    this.port = port;
  }

  send(frame: NetworkFrame): boolean {
    if (this.busy) return false;
    this.sent.push({ bytes: joined(frame.parts), offload: frame.offload });
    return true;
  }

  receiveReady(): void {
    this.readyCalls++;
  }

  counters(): Record<string, number> {
    return {};
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** Delivers a frame; false when the card has no room. */
  deliver(bytes: Uint8Array, offload?: NetworkFrame['offload']): boolean {
    return this.port?.receive({ parts: [bytes], offload }) ?? false;
  }

  /** Takes frames again. */
  drain(): void {
    this.busy = false;
    this.port?.drained();
  }

  /** Something happens on the cable. */
  act(random: FakeRandom): void {
    this.sent.length = 0;
    switch (random.below(5)) {
      case 0:
        this.port?.linkChanged(random.below(2) === 0);
        this.port?.linkChanged(true);
        break;
      case 1:
        this.busy = random.below(3) === 0;
        if (!this.busy) this.drain();
        break;
      default: {
        const frame = new Uint8Array(random.pick([0, 14, 60, random.below(1600), random.below(70_000)]));
        for (let at = 0; at < Math.min(frame.length, 64); at++) frame[at] = random.u32();
        if (random.below(2) === 0) frame.fill(0xff, 0, 6);
        if (frame.length >= 15 && random.below(2) === 0) frame.set([0x08, 0x00, 0x45], 12);
        this.deliver(frame);
      }
    }
  }
}
