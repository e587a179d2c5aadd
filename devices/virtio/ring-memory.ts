/**
 * A virtqueue's rings in guest memory. Guests run on other threads while a device looks: indices are read and written atomically
 * (sequentially consistent), so whatever was written before an index is visible to whoever has read that index (virtio 1.0, 2.4).
 */
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';

interface Piece {
  /** Offset of its first byte in the region. */
  readonly start: number;
  readonly lengthBytes: number;
  readonly view: DataView;
  readonly words: Uint16Array;
}

/** A contiguous guest-physical region, aligned to a page; in host memory it may be in pieces, cut at 2 MiB. */
export class RingMemory {
  readonly gpa: number;
  readonly lengthBytes: number;
  readonly #memory: GuestMemory;
  readonly #pieces: Piece[] = [];
  /** The rings are no longer there: their memory may move. */
  readonly release: () => void;
  readonly #first: Piece;

  /** Throws GuestAddressError when the region is not RAM. */
  constructor(memory: GuestMemory, gpa: number, lengthBytes: number) {
    this.gpa = gpa;
    this.lengthBytes = lengthBytes;
    this.#memory = memory;
    let start = 0;
    const { views, release } = memory.keep(gpa, lengthBytes);
    this.release = release;
    for (const bytes of views) {
      const { buffer, byteOffset, byteLength } = bytes;
      this.#pieces.push({
        start,
        lengthBytes: byteLength,
        view: new DataView(buffer, byteOffset, byteLength),
        words: new Uint16Array(buffer, byteOffset, byteLength >> 1),
      });
      start += byteLength;
    }
    const first = this.#pieces[0];
    if (!first) throw new GuestAddressError(gpa, lengthBytes);
    this.#first = first;
  }

  /** The piece that holds an offset. Fields never straddle two, since pieces are cut at page boundaries. */
  #piece(offset: number): Piece {
    if (offset < this.#first.lengthBytes) return this.#first;
    for (const piece of this.#pieces) if (offset < piece.start + piece.lengthBytes) return piece;
    throw new GuestAddressError(this.gpa + offset, 1);
  }

  u16(offset: number): number {
    const piece = this.#piece(offset);
    return piece.view.getUint16(offset - piece.start, true);
  }

  u32(offset: number): number {
    const piece = this.#piece(offset);
    return piece.view.getUint32(offset - piece.start, true);
  }

  /** A 64-bit field as a number. Addresses from 2^53 up come out inexact, but never as something that is RAM. */
  u64(offset: number): number {
    const piece = this.#piece(offset);
    const at = offset - piece.start;
    return piece.view.getUint32(at + 4, true) * 2 ** 32 + piece.view.getUint32(at, true);
  }

  setU32(offset: number, value: number): void {
    const piece = this.#piece(offset);
    piece.view.setUint32(offset - piece.start, value, true);
  }

  setU16(offset: number, value: number): void {
    const piece = this.#piece(offset);
    piece.view.setUint16(offset - piece.start, value, true);
  }

  /** Reads an index that the driver publishes. */
  loadIndex(offset: number): number {
    const piece = this.#piece(offset);
    return Atomics.load(piece.words, (offset - piece.start) >> 1);
  }

  /** Publishes an index: everything written before is visible to whoever sees it. */
  storeIndex(offset: number, value: number): void {
    const piece = this.#piece(offset);
    Atomics.store(piece.words, (offset - piece.start) >> 1, value);
  }

  /** Tells the core that bytes changed. */
  written(offset: number, lengthBytes: number): void {
    this.#memory.written(this.gpa + offset, lengthBytes);
  }
}
