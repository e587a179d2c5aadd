/** Which chunk of guest memory lies where in the swap file. */
import { CHUNK_SIZE } from '../../core-as/layout.ts';

/** A file of the host for memory that does not fit the pool. Its methods return when they are done, and throw what the host says. */
export interface SwapFile {
  /** Reads bytes; what was never written reads as zeros. */
  read(into: Uint8Array, offset: number): void;
  write(from: Uint8Array, offset: number): void;
  close(): void;
}

export class SwapSlots {
  readonly #slots = new Map<number, number>();
  /** Slots that hold what nobody needs. */
  readonly #released: number[] = [];
  #count = 0;
  #closed = false;

  constructor(private readonly file: SwapFile) {}

  /** Chunks that have a slot, in order. */
  get chunks(): number[] {
    return [...this.#slots.keys()].sort((a, b) => a - b);
  }

  /** Reads part of a chunk. False: it has no slot, and its bytes are zeros. */
  read(chunk: number, offset: number, into: Uint8Array): boolean {
    const slot = this.#slots.get(chunk);
    if (this.#closed) throw new Error('it is closed');
    if (slot === undefined) into.fill(0);
    else this.file.read(into, slot * CHUNK_SIZE + offset);
    return slot !== undefined;
  }

  /** Writes part of a chunk; the rest stays what it was. */
  write(chunk: number, offset: number, from: Uint8Array): void {
    if (this.#closed) throw new Error('it is closed');
    let slot = this.#slots.get(chunk);
    if (slot === undefined) {
      slot = this.#released.pop();
      if (slot === undefined) slot = this.#count++;
      else if (from.length < CHUNK_SIZE) this.file.write(new Uint8Array(CHUNK_SIZE), slot * CHUNK_SIZE);
      this.#slots.set(chunk, slot);
    }
    this.file.write(from, slot * CHUNK_SIZE + offset);
  }

  /** The chunk is all zeros, or somewhere else. */
  release(chunk: number): void {
    const slot = this.#slots.get(chunk);
    if (slot === undefined) return;
    this.#slots.delete(chunk);
    this.#released.push(slot);
  }

  /** Once; what is read or written afterwards is an error. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.file.close();
  }
}
