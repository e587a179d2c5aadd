/** Long packets for a card that takes them only in pieces, and not always all pieces at once. */
import type { NetworkFrame, NetworkPort } from '../backends/network.ts';
import { framesFor } from './offload.ts';

export class PiecewiseDelivery {
  #pieces: readonly NetworkFrame[] = [];
  #delivered = 0;

  /**
   * Delivers a frame as the card takes it: whole, or in pieces. False: the card had no room for some of it; the next call, for the same frame, goes
   * on there.
   */
  deliver(frame: NetworkFrame, port: NetworkPort): boolean {
    if (this.#delivered === 0) this.#pieces = framesFor(port.offload, frame);
    for (let piece = this.#pieces[this.#delivered]; piece; piece = this.#pieces[this.#delivered]) {
      if (!port.receive(piece)) return false;
      this.#delivered++;
    }
    this.#delivered = 0;
    this.#pieces = [];
    return true;
  }
}
