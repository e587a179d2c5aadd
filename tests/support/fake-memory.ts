/**
 * Guest memory for tests: chunks of one shared buffer that are not neighbours, like the machine's, with guard bytes between them. Who
 * writes past a view that it was given, or through its `buffer`, hits a guard.
 */
import { GuestAddressError, type GuestMemory } from '../../devices/bus/guest-memory.ts';

export const FAKE_CHUNK_BYTES = 0x200000;

const GUARD_BYTES = 4096;
const GUARD = 0xc3;
const STRIDE = FAKE_CHUNK_BYTES + GUARD_BYTES;

export class FakeMemory implements GuestMemory {
  readonly highBytes = 0;
  /** Bytes reported through {@link written}. */
  writtenBytes = 0;
  /** Ranges reported through {@link written}, while recording. */
  writtenRanges: { gpa: number; lengthBytes: number }[] | undefined;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #data: DataView;

  constructor(readonly lowBytes = 4 * FAKE_CHUNK_BYTES) {
    const count = Math.ceil(lowBytes / FAKE_CHUNK_BYTES);
    this.#bytes = new Uint8Array(new SharedArrayBuffer(count * STRIDE + GUARD_BYTES));
    this.#data = new DataView(this.#bytes.buffer);
    for (let at = 0; at < this.#bytes.length; at += STRIDE) this.#bytes.fill(GUARD, at, at + GUARD_BYTES);
  }

  /** False when somebody wrote outside guest memory. */
  get guardsIntact(): boolean {
    for (let at = 0; at < this.#bytes.length; at += STRIDE) {
      if (this.#bytes.subarray(at, at + GUARD_BYTES).some((byte) => byte !== GUARD)) return false;
    }
    return true;
  }

  /** 32-bit words of a range within one chunk, for another thread. */
  words(gpa: number, lengthBytes: number): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.#bytes.buffer, this.#at(gpa), lengthBytes / 4);
  }

  /** Place of a guest address in the buffer. */
  #at(gpa: number): number {
    return gpa + GUARD_BYTES * (1 + Math.floor(gpa / FAKE_CHUNK_BYTES));
  }

  contains(gpa: number, lengthBytes: number): boolean {
    if (lengthBytes === 0) return true;
    return Number.isSafeInteger(gpa) && gpa >= 0 && lengthBytes > 0 && gpa + lengthBytes <= this.lowBytes;
  }

  views(gpa: number, lengthBytes: number): Uint8Array[] {
    if (!this.contains(gpa, lengthBytes)) throw new GuestAddressError(gpa, lengthBytes);
    const views: Uint8Array[] = [];
    let at = gpa;
    while (at < gpa + lengthBytes) {
      const offset = at % FAKE_CHUNK_BYTES;
      const length = Math.min(FAKE_CHUNK_BYTES - offset, gpa + lengthBytes - at);
      views.push(this.#bytes.subarray(this.#at(at), this.#at(at) + length));
      at += length;
    }
    return views;
  }

  /** Holds and rings that were not released yet. */
  held = 0;

  hold(): () => void {
    this.held++;
    let released = false;
    return () => {
      if (!released) this.held--;
      released = true;
    };
  }

  keep(gpa: number, lengthBytes: number): { views: Uint8Array[]; release: () => void } {
    const views = this.views(gpa, lengthBytes);
    return { views, release: this.hold() };
  }

  written(gpa: number, lengthBytes: number): void {
    if (!this.contains(gpa, lengthBytes)) throw new GuestAddressError(gpa, lengthBytes);
    this.writtenBytes += lengthBytes;
    this.writtenRanges?.push({ gpa, lengthBytes });
  }

  read(gpa: number, into: Uint8Array): void {
    let at = 0;
    for (const view of this.views(gpa, into.length)) {
      into.set(view, at);
      at += view.length;
    }
  }

  write(gpa: number, from: Uint8Array): void {
    let at = 0;
    for (const view of this.views(gpa, from.length)) {
      view.set(from.subarray(at, at + view.length));
      at += view.length;
    }
    this.written(gpa, from.length);
  }

  fill(gpa: number, lengthBytes: number, value: number): void {
    for (const view of this.views(gpa, lengthBytes)) view.fill(value);
    this.written(gpa, lengthBytes);
  }

  /** Where a value lies, if it lies in one chunk; undefined when it straddles two. */
  #direct(gpa: number, size: number): number | undefined {
    if (!this.contains(gpa, size)) throw new GuestAddressError(gpa, size);
    return (gpa % FAKE_CHUNK_BYTES) + size <= FAKE_CHUNK_BYTES ? this.#at(gpa) : undefined;
  }

  #load(gpa: number, size: number): DataView {
    const bytes = new Uint8Array(size);
    this.read(gpa, bytes);
    return new DataView(bytes.buffer);
  }

  #store(gpa: number, size: number, set: (view: DataView) => void): void {
    const bytes = new Uint8Array(size);
    set(new DataView(bytes.buffer));
    this.write(gpa, bytes);
  }

  readU8(gpa: number): number {
    return this.#load(gpa, 1).getUint8(0);
  }
  readU16(gpa: number): number {
    const at = this.#direct(gpa, 2);
    return at === undefined ? this.#load(gpa, 2).getUint16(0, true) : this.#data.getUint16(at, true);
  }
  readU32(gpa: number): number {
    const at = this.#direct(gpa, 4);
    return at === undefined ? this.#load(gpa, 4).getUint32(0, true) : this.#data.getUint32(at, true);
  }
  readU64(gpa: number): bigint {
    return this.#load(gpa, 8).getBigUint64(0, true);
  }
  writeU8(gpa: number, value: number): void {
    this.#store(gpa, 1, (view) => view.setUint8(0, value));
  }
  writeU16(gpa: number, value: number): void {
    this.#store(gpa, 2, (view) => view.setUint16(0, value, true));
  }
  writeU32(gpa: number, value: number): void {
    this.#store(gpa, 4, (view) => view.setUint32(0, value, true));
  }
  writeU64(gpa: number, value: bigint): void {
    this.#store(gpa, 8, (view) => view.setBigUint64(0, value, true));
  }
}
