/** Frames from outside that wait until the guest's card has room: a few, as a network card's own memory holds; what is more is lost. */
import type { NetworkFrame, NetworkPort } from '../backends/network.ts';
import { framesFor } from './offload.ts';

const MAX_FRAMES = 512;

export class ReceiveQueue {
  /** Frames that found no room. */
  dropped = 0;
  #port: NetworkPort | undefined;
  readonly #waiting: NetworkFrame[] = [];

  attach(port: NetworkPort): void {
    this.#port = port;
    this.ready();
  }

  /** Hands a frame over, or keeps it; its parts must not change any more. */
  push(frame: NetworkFrame): void {
    for (const piece of framesFor(this.#port?.offload ?? NOTHING, frame)) {
      if (this.#waiting.length === 0 && this.#port?.receive(piece)) continue;
      if (this.#waiting.length < MAX_FRAMES) this.#waiting.push(piece);
      else this.dropped++;
    }
  }

  /** The card has room again. */
  ready(): void {
    let taken = 0;
    for (const frame of this.#waiting) {
      if (!this.#port?.receive(frame)) break;
      taken++;
    }
    this.#waiting.splice(0, taken);
  }
}

const NOTHING = { checksum: false, tcp4: false, tcp6: false };
