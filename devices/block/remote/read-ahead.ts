/** A snapshot that lies somewhere else, read in order: the next pieces are on their way while one is used. */
import { SnapshotError, type SnapshotSource } from '../../snapshot.ts';
import type { ByteSource } from './byte-source.ts';

const PIECE_BYTES = 4 * 1024 * 1024;
/** Pieces on their way: more than the connections that a browser opens to one server. */
const AHEAD = 6;

export class ReadAheadSource implements SnapshotSource {
  readonly lengthBytes: number;
  /** Pieces that were asked for and not yet used up, in order. */
  readonly #pieces: Promise<Uint8Array>[] = [];
  #asked = 0;
  /** Offset in the first piece. */
  #at = 0;

  constructor(private readonly source: ByteSource) {
    this.lengthBytes = source.sizeBytes;
    this.#ask();
  }

  #ask(): void {
    while (this.#pieces.length < AHEAD && this.#asked < this.lengthBytes) {
      const lengthBytes = Math.min(PIECE_BYTES, this.lengthBytes - this.#asked);
      const piece = this.source.read(this.#asked, lengthBytes);
      // Its reader hears of a failure when it comes to it.
      piece.catch(() => undefined);
      this.#pieces.push(piece);
      this.#asked += lengthBytes;
    }
  }

  async read(into: Uint8Array): Promise<void> {
    let filled = 0;
    while (filled < into.length) {
      const [first] = this.#pieces;
      if (first === undefined) throw new SnapshotError('the snapshot is cut short');
      const piece = await first;
      const part = piece.subarray(this.#at, this.#at + into.length - filled);
      into.set(part, filled);
      filled += part.length;
      this.#at += part.length;
      if (this.#at === piece.length) {
        void this.#pieces.shift();
        this.#at = 0;
        this.#ask();
      }
    }
  }
}
