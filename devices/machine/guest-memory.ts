/** GuestMemory over the core's linear memory, all of which has its place there: bounds checked here, chunks committed by the core. */
import { CHUNK_SIZE } from '../../core-as/layout.ts';
import { GuestAddressError, type GuestMemory } from '../bus/guest-memory.ts';
import { chunkIndexOf, type CoreExports } from './core.ts';

const FOUR_GIB = 0x1_0000_0000;

/** The part of the core that guest memory needs; the devices' thread's own instance. */
export type ChunkSource = Pick<CoreExports, 'commitChunk' | 'noteWrite'>;

/** Copies up to this long are made byte by byte: making a view takes as long. */
const SMALL_BYTES = 64;

/** A chunk's bytes in linear memory. */
interface Chunk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

const NOTHING_TO_RELEASE = (): void => undefined;

export class CoreGuestMemory implements GuestMemory {
  protected readonly buffer: ArrayBufferLike;
  /** Views of the chunks seen so far, by chunk index: a chunk never moves once it is committed. */
  readonly #chunks = new Map<number, Chunk>();
  readonly #scratch = new Uint8Array(8);
  readonly #scratchView = new DataView(this.#scratch.buffer);

  constructor(
    memory: WebAssembly.Memory,
    readonly lowBytes: number,
    readonly highBytes: number,
    protected readonly source: ChunkSource,
  ) {
    this.buffer = memory.buffer;
  }

  /** The chunk table was replaced (restore): addresses seen so far no longer hold. */
  forgetChunks(): void {
    this.#chunks.clear();
  }

  contains(gpa: number, lengthBytes: number): boolean {
    if (lengthBytes === 0) return true;
    if (!Number.isSafeInteger(gpa) || !Number.isSafeInteger(lengthBytes) || gpa < 0 || lengthBytes < 0) return false;
    const end = gpa + lengthBytes;
    return end <= this.lowBytes || (gpa >= FOUR_GIB && end <= FOUR_GIB + this.highBytes);
  }

  protected check(gpa: number, lengthBytes: number): void {
    if (!this.contains(gpa, lengthBytes)) throw new GuestAddressError(gpa, lengthBytes);
  }

  #chunk(gpa: number): Chunk {
    const index = chunkIndexOf(gpa);
    let chunk = this.#chunks.get(index);
    if (!chunk) {
      const linear = this.source.commitChunk(index) >>> 0;
      if (linear === 0) throw new GuestAddressError(gpa, 1);
      const bytes = new Uint8Array(this.buffer, linear, CHUNK_SIZE);
      chunk = { bytes, view: new DataView(this.buffer, linear, CHUNK_SIZE) };
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }

  /**
   * The chunk that has the whole range, which is not empty, for accesses that need no view of their own; undefined: the long way. Throws
   * GuestAddressError.
   */
  protected near(gpa: number, lengthBytes: number): Chunk | undefined {
    this.check(gpa, lengthBytes);
    return (gpa % CHUNK_SIZE) + lengthBytes <= CHUNK_SIZE ? this.#chunk(gpa) : undefined;
  }

  views(gpa: number, lengthBytes: number): Uint8Array[] {
    this.check(gpa, lengthBytes);
    const views: Uint8Array[] = [];
    for (let at = gpa, left = lengthBytes; left > 0;) {
      const { bytes } = this.#chunk(at);
      const offset = at % CHUNK_SIZE;
      const take = Math.min(left, CHUNK_SIZE - offset);
      views.push(bytes.subarray(offset, offset + take));
      at += take;
      left -= take;
    }
    return views;
  }

  hold(): () => void {
    return NOTHING_TO_RELEASE;
  }

  keep(gpa: number, lengthBytes: number): { readonly views: readonly Uint8Array[]; readonly release: () => void } {
    return { views: this.views(gpa, lengthBytes), release: NOTHING_TO_RELEASE };
  }

  /** The devices' thread begins a turn: nobody is in the middle of using views. */
  turnBegins(): void {}

  written(gpa: number, lengthBytes: number): void {
    this.check(gpa, lengthBytes);
    // Devices say so for every few bytes of a ring: no views are made for it.
    for (let at = gpa, left = lengthBytes; left > 0;) {
      const offset = at % CHUNK_SIZE;
      const take = Math.min(left, CHUNK_SIZE - offset);
      this.source.noteWrite(this.#chunk(at).bytes.byteOffset + offset, take);
      at += take;
      left -= take;
    }
  }

  read(gpa: number, into: Uint8Array): void {
    const isSmall = into.length > 0 && into.length <= SMALL_BYTES;
    const near = isSmall ? this.near(gpa, into.length) : undefined;
    if (near) {
      const from = gpa % CHUNK_SIZE;
      for (let i = 0; i < into.length; i++) into[i] = near.bytes[from + i] ?? 0;
      return;
    }
    let at = 0;
    for (const view of this.views(gpa, into.length)) {
      into.set(view, at);
      at += view.length;
    }
  }

  write(gpa: number, from: Uint8Array): void {
    const near = from.length > 0 ? this.near(gpa, from.length) : undefined;
    if (near) {
      near.bytes.set(from, gpa % CHUNK_SIZE);
      this.source.noteWrite(near.bytes.byteOffset + (gpa % CHUNK_SIZE), from.length);
      return;
    }
    let at = 0;
    for (const view of this.views(gpa, from.length)) {
      view.set(from.subarray(at, at + view.length));
      this.source.noteWrite(view.byteOffset, view.byteLength);
      at += view.length;
    }
  }

  fill(gpa: number, lengthBytes: number, value: number): void {
    for (const view of this.views(gpa, lengthBytes)) {
      view.fill(value);
      this.source.noteWrite(view.byteOffset, view.byteLength);
    }
  }

  /** Copies up to 8 bytes into the scratch view; the way for values that may straddle two chunks. */
  #load(gpa: number, size: number): DataView {
    this.read(gpa, this.#scratch.subarray(0, size));
    return this.#scratchView;
  }

  #store(gpa: number, size: number): void {
    this.write(gpa, this.#scratch.subarray(0, size));
  }

  readU8(gpa: number): number {
    const near = this.near(gpa, 1);
    if (near) return near.view.getUint8(gpa % CHUNK_SIZE);
    return this.#load(gpa, 1).getUint8(0);
  }

  readU16(gpa: number): number {
    const near = this.near(gpa, 2);
    if (near) return near.view.getUint16(gpa % CHUNK_SIZE, true);
    return this.#load(gpa, 2).getUint16(0, true);
  }

  readU32(gpa: number): number {
    const near = this.near(gpa, 4);
    if (near) return near.view.getUint32(gpa % CHUNK_SIZE, true);
    return this.#load(gpa, 4).getUint32(0, true);
  }

  readU64(gpa: number): bigint {
    return this.#load(gpa, 8).getBigUint64(0, true);
  }

  writeU8(gpa: number, value: number): void {
    this.#scratchView.setUint8(0, value);
    this.#store(gpa, 1);
  }

  writeU16(gpa: number, value: number): void {
    this.#scratchView.setUint16(0, value, true);
    this.#store(gpa, 2);
  }

  writeU32(gpa: number, value: number): void {
    this.#scratchView.setUint32(0, value, true);
    this.#store(gpa, 4);
  }

  writeU64(gpa: number, value: bigint): void {
    this.#scratchView.setBigUint64(0, value, true);
    this.#store(gpa, 8);
  }
}
