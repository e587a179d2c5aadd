/**
 * GuestMemory of a machine whose memory is larger than the pool (pager.ts).
 *
 * Views pin their chunks. What is not in the pool, when devices hold on to a good part of it already or vCPUs need what is left, is given out as a
 * copy, which `written` puts into its place: a request with thousands of scattered pages needs no room in the pool.
 */
import { CHUNK_SIZE } from '../../core-as/layout.ts';
import { GuestAddressError } from '../bus/guest-memory.ts';
import { chunkIndexOf } from './core.ts';
import { CoreGuestMemory, type ChunkSource } from './guest-memory.ts';
import type { Pager } from './pager.ts';

/** Bytes given out as a copy; they lie in one chunk. */
interface Copy {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** Part of a range that lies in one chunk. */
interface Piece {
  readonly index: number;
  readonly gpa: number;
  /** Of its first byte in the chunk. */
  readonly offset: number;
  /** In the range. */
  readonly at: number;
  readonly lengthBytes: number;
}

function* pieces(gpa: number, lengthBytes: number): Generator<Piece> {
  for (let at = 0; at < lengthBytes;) {
    const offset = (gpa + at) % CHUNK_SIZE;
    const take = Math.min(lengthBytes - at, CHUNK_SIZE - offset);
    yield { index: chunkIndexOf(gpa + at), gpa: gpa + at, offset, at, lengthBytes: take };
    at += take;
  }
}

export class PagedGuestMemory extends CoreGuestMemory {
  /** Copies that somebody may write to, in the order in which they were given out. */
  readonly #copies = new Set<Copy>();
  /** Given out since the turn began or the last hold: numbers of pinned chunks, and copies. */
  #recent: (number | Copy)[] = [];

  constructor(
    memory: WebAssembly.Memory,
    lowBytes: number,
    highBytes: number,
    source: ChunkSource,
    private readonly pager: Pager,
  ) {
    super(memory, lowBytes, highBytes, source);
  }

  #bytes(linear: number, { offset, lengthBytes }: Piece): Uint8Array {
    return new Uint8Array(this.buffer, linear + offset, lengthBytes);
  }

  override views(gpa: number, lengthBytes: number): Uint8Array[] {
    this.check(gpa, lengthBytes);
    const views: Uint8Array[] = [];
    for (const piece of pieces(gpa, lengthBytes)) {
      const linear = this.pager.mayPin(piece.index) ? this.pager.acquire(piece.index) : 0;
      if (linear !== 0) {
        this.pager.pin(piece.index);
        this.#recent.push(piece.index);
        views.push(this.#bytes(linear, piece));
      } else {
        const copy = { gpa: piece.gpa, bytes: new Uint8Array(piece.lengthBytes) };
        this.#load(piece, copy.bytes);
        this.#copies.add(copy);
        this.#recent.push(copy);
        views.push(copy.bytes);
      }
    }
    return views;
  }

  /** Chunks come and go: every access looks for its own. */
  protected override near(): undefined {
    return undefined;
  }

  override hold(): () => void {
    const held = this.#recent;
    this.#recent = [];
    return () => {
      this.#release(held);
      held.length = 0;
    };
  }

  override turnBegins(): void {
    this.#release(this.#recent);
    this.#recent = [];
  }

  #release(given: readonly (number | Copy)[]): void {
    for (const one of given) {
      if (typeof one === 'number') this.pager.unpin(one);
      else this.#copies.delete(one);
    }
  }

  override keep(gpa: number, lengthBytes: number): { views: readonly Uint8Array[]; release: () => void } {
    this.check(gpa, lengthBytes);
    const kept: number[] = [];
    const release = (): void => {
      for (const index of kept.splice(0)) this.pager.unpin(index);
    };
    const views: Uint8Array[] = [];
    for (const piece of pieces(gpa, lengthBytes)) {
      // Rings are few, and nothing else will do for them: they may use the reserve.
      const linear = this.pager.resident(piece.index) || Math.max(this.pager.chunk(piece.index, -1), 0);
      if (linear === 0) {
        release();
        throw new GuestAddressError(gpa, lengthBytes);
      }
      this.pager.pin(piece.index);
      kept.push(piece.index);
      views.push(this.#bytes(linear, piece));
    }
    return { views, release };
  }

  override written(gpa: number, lengthBytes: number): void {
    this.check(gpa, lengthBytes);
    for (const copy of this.#copies) {
      const start = Math.max(gpa, copy.gpa);
      const end = Math.min(gpa + lengthBytes, copy.gpa + copy.bytes.length);
      if (start < end) this.write(start, copy.bytes.subarray(start - copy.gpa, end - copy.gpa));
    }
    for (const piece of pieces(gpa, lengthBytes)) {
      const linear = this.pager.resident(piece.index);
      if (linear === 0) continue;
      this.pager.dirty(piece.index);
      this.source.noteWrite(linear + piece.offset, piece.lengthBytes);
    }
  }

  override read(gpa: number, into: Uint8Array): void {
    this.check(gpa, into.length);
    for (const piece of pieces(gpa, into.length)) {
      this.#load(piece, into.subarray(piece.at, piece.at + piece.lengthBytes));
    }
  }

  /** What was never written needs no room to be read. */
  #load(piece: Piece, into: Uint8Array): void {
    const linear = this.pager.resident(piece.index);
    if (linear !== 0) into.set(this.#bytes(linear, piece));
    else this.pager.readOutside(piece.index, piece.offset, into);
  }

  override write(gpa: number, from: Uint8Array): void {
    this.check(gpa, from.length);
    for (const piece of pieces(gpa, from.length)) {
      this.#store(piece, from.subarray(piece.at, piece.at + piece.lengthBytes));
    }
  }

  override fill(gpa: number, lengthBytes: number, value: number): void {
    this.check(gpa, lengthBytes);
    for (const piece of pieces(gpa, lengthBytes)) this.#store(piece, new Uint8Array(piece.lengthBytes).fill(value));
  }

  #store(piece: Piece, from: Uint8Array): void {
    let linear = this.pager.acquire(piece.index);
    if (linear === 0) {
      if (this.pager.writeOutside(piece.index, piece.offset, from)) return;
      linear = this.pager.resident(piece.index);
    }
    this.pager.dirty(piece.index);
    this.#bytes(linear, piece).set(from);
    this.source.noteWrite(linear + piece.offset, piece.lengthBytes);
  }
}
