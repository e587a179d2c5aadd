/** Guest memory for tests: SharedArrayBuffer-backed, in chunks that are not neighbours, like the machine's. */
import { GuestAddressError, type GuestMemory } from '../../devices/bus/guest-memory.ts';

export const FAKE_CHUNK_BYTES = 0x200000;

export class FakeMemory implements GuestMemory {
  readonly highBytes = 0;
  /** Bytes reported through {@link written}. */
  writtenBytes = 0;
  /** Ranges reported through {@link written}, while recording. */
  writtenRanges: { gpa: number; lengthBytes: number }[] | undefined;
  readonly #chunks: Uint8Array[];

  constructor(readonly lowBytes = 4 * FAKE_CHUNK_BYTES) {
    const count = Math.ceil(lowBytes / FAKE_CHUNK_BYTES);
    this.#chunks = Array.from({ length: count }, () => new Uint8Array(new SharedArrayBuffer(FAKE_CHUNK_BYTES)));
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
      const chunk = this.#chunks[Math.floor(at / FAKE_CHUNK_BYTES)];
      if (!chunk) throw new GuestAddressError(gpa, lengthBytes);
      views.push(chunk.subarray(offset, offset + length));
      at += length;
    }
    return views;
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
    return this.#load(gpa, 2).getUint16(0, true);
  }
  readU32(gpa: number): number {
    return this.#load(gpa, 4).getUint32(0, true);
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
