/** A bad cable between two networks: it loses, doubles, delays and reorders frames, by a seed, in both directions. */
import {
  NO_OFFLOAD,
  type NetworkBackend,
  type NetworkFrame,
  type NetworkPort,
} from '../../devices/backends/network.ts';
import { framesFor } from '../../devices/net/offload.ts';
import { joined } from '../../devices/net/wire.ts';
import { FakeRandom } from './fake-random.ts';

export interface Impairment {
  /** Frames of a thousand that are lost, doubled, or come late. */
  readonly lost?: number;
  readonly doubled?: number;
  readonly late?: number;
  /** Every frame's way, in milliseconds, and how much longer a late one's is. */
  readonly delayMs?: number;
  readonly lateMs?: number;
  /** Frames of a thousand in which a bit is turned over. */
  readonly damaged?: number;
}

export class LossyLink implements NetworkBackend {
  readonly offload = NO_OFFLOAD;
  lostFrames = 0;
  readonly #random: FakeRandom;
  #closed = false;

  constructor(
    private readonly far: NetworkBackend,
    private readonly impairment: Impairment,
    seed = 1,
  ) {
    this.#random = new FakeRandom(seed);
  }

  open(port: NetworkPort): void {
    this.far.open({
      offload: NO_OFFLOAD,
      receive: (frame) => {
        this.#carry(frame, (bytes) => port.receive({ parts: [bytes] }));
        return true;
      },
      drained: () => port.drained(),
      linkChanged: (up) => port.linkChanged(up),
    });
  }

  send(frame: NetworkFrame): boolean {
    for (const piece of framesFor(NO_OFFLOAD, frame)) this.#carry(piece, (bytes) => this.far.send({ parts: [bytes] }));
    return true;
  }

  #carry(frame: NetworkFrame, deliver: (bytes: Uint8Array) => void): void {
    const { lost = 0, doubled = 0, late = 0, delayMs = 0, lateMs = 5, damaged = 0 } = this.impairment;
    const happens = (thousandths: number): boolean => this.#random.below(1000) < thousandths;
    if (happens(lost)) {
      this.lostFrames++;
      return;
    }
    const bytes = joined(frame.parts);
    if (happens(damaged)) {
      const at = 14 + this.#random.below(bytes.length - 14);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.below(8));
    }
    const arrive = (): void => {
      if (!this.#closed) deliver(bytes);
    };
    const waitMs = delayMs + (happens(late) ? lateMs : 0);
    if (waitMs === 0) arrive();
    else setTimeout(arrive, waitMs);
    if (happens(doubled)) setTimeout(arrive, waitMs + 1);
  }

  receiveReady(): void {
    this.far.receiveReady();
  }

  counters(): Readonly<Record<string, number>> {
    return this.far.counters();
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.far.close();
  }
}
