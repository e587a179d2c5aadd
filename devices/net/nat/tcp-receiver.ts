/**
 * The receiving half of a TCP connection (RFC 9293, 3.10.7.4): puts segments in order and says how much more may come, which is what the
 * host's socket has room for.
 */
import { MAX_SACK_BLOCKS, sequenceAdd, sequenceDistance } from './tcp-segment.ts';

/** Scales the 16 bits of the header to 2 MiB. */
export const RECEIVE_WINDOW_SHIFT = 5;
/** Pieces held out of order; more are dropped and come again. */
const MAX_PIECES = 512;

interface Piece {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  readonly fin: boolean;
}

function endOf(piece: Piece): number {
  return sequenceAdd(piece.sequence, piece.bytes.length + (piece.fin ? 1 : 0));
}

export type Arrival = 'inOrder' | 'outOfOrder' | 'old' | 'outside';

export class TcpReceiver {
  /** Next sequence number expected. */
  next: number;
  finReceived = false;
  /** The window is never taken back (RFC 9293, 3.8.6): its right edge. */
  #edge: number;
  /** Out of order, by sequence, not overlapping. */
  readonly #pieces: Piece[] = [];
  #latest: number | undefined;

  constructor(
    firstSequence: number,
    private readonly deliver: (bytes: Uint8Array) => void,
    private readonly ended: () => void,
  ) {
    this.next = firstSequence;
    this.#edge = firstSequence;
  }

  /** Window to advertise while the host's socket has `pendingBytes` and may have `bufferBytes`, in bytes. */
  window(pendingBytes: number, bufferBytes: number): number {
    const free = Math.max(0, bufferBytes - pendingBytes);
    const edge = sequenceAdd(this.next, free);
    if (sequenceDistance(edge, this.#edge) > 0) this.#edge = edge;
    return Math.max(0, sequenceDistance(this.#edge, this.next));
  }

  /** What was advertised last and is not used yet. */
  get advertised(): number {
    return Math.max(0, sequenceDistance(this.#edge, this.next));
  }

  /** True when bytes or a reset at this place may be acted upon. */
  inWindow(sequence: number): boolean {
    const distance = sequenceDistance(sequence, this.next);
    return distance >= 0 && distance <= Math.max(0, sequenceDistance(this.#edge, this.next));
  }

  /** Takes what a segment carries. */
  take(sequence: number, payload: Uint8Array, fin: boolean): Arrival {
    const lengthBytes = payload.length + (fin ? 1 : 0);
    if (lengthBytes === 0) return 'inOrder';
    if (this.finReceived) return 'old';
    const start = sequenceDistance(sequence, this.next);
    const room = this.advertised;
    if (start + lengthBytes <= 0) return 'old';
    if (start > room) return 'outside';
    // Cut off what was there before, and what the window does not allow.
    const from = Math.max(0, -start);
    const to = Math.min(payload.length, room - start);
    const piece: Piece = {
      sequence: sequenceAdd(sequence, from),
      bytes: payload.subarray(Math.min(from, payload.length), Math.max(from, to)),
      fin: fin && to === payload.length,
    };
    if (piece.bytes.length === 0 && !piece.fin) return 'outside';
    if (start > 0) {
      this.#keep(piece);
      return 'outOfOrder';
    }
    this.#accept(piece);
    this.#drain();
    return 'inOrder';
  }

  #accept(piece: Piece): void {
    this.next = endOf(piece);
    if (piece.bytes.length > 0) this.deliver(piece.bytes);
    if (!piece.fin) return;
    this.finReceived = true;
    this.#pieces.length = 0;
    this.ended();
  }

  #keep(piece: Piece): void {
    this.#latest = piece.sequence;
    if (this.#pieces.length >= MAX_PIECES) return;
    let index = this.#pieces.length;
    while (index > 0 && sequenceDistance(this.#pieces[index - 1]?.sequence ?? 0, piece.sequence) > 0) index--;
    const before = this.#pieces[index - 1];
    const after = this.#pieces[index];
    // Retransmissions have the bounds of the first transmission, or cover it: an overlap is not worth keeping.
    if (before && sequenceDistance(endOf(before), piece.sequence) > 0) return;
    if (after && sequenceDistance(endOf(piece), after.sequence) > 0) return;
    this.#pieces.splice(index, 0, piece);
  }

  #drain(): void {
    for (let piece = this.#pieces[0]; piece; piece = this.#pieces[0]) {
      const gap = sequenceDistance(piece.sequence, this.next);
      if (gap > 0) return;
      this.#pieces.shift();
      if (sequenceDistance(endOf(piece), this.next) <= 0) continue;
      this.#accept({ sequence: this.next, bytes: piece.bytes.subarray(-gap), fin: piece.fin });
    }
  }

  /** Blocks for a selective acknowledgement, the one that came last in front (RFC 2018, 4). */
  sackBlocks(): (readonly [number, number])[] {
    const blocks: [number, number][] = [];
    for (const piece of this.#pieces) {
      const last = blocks.at(-1);
      if (last && last[1] === piece.sequence) last[1] = endOf(piece);
      else blocks.push([piece.sequence, endOf(piece)]);
    }
    const latest = this.#latest;
    if (latest === undefined) return blocks;
    const isLatest = ([start, end]: readonly [number, number]): boolean =>
      sequenceDistance(latest, start) >= 0 && sequenceDistance(latest, end) < 0;
    const first = blocks.find(isLatest);
    return first
      ? [first, ...blocks.filter((block) => block !== first)].slice(0, MAX_SACK_BLOCKS - 1)
      : blocks.slice(0, MAX_SACK_BLOCKS - 1);
  }
}
