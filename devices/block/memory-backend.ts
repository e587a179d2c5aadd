/** A disk in memory: for tests, RAM disks and images that were fetched whole. */
import { checkRange, totalBytes, type BlockBackend } from '../backends/block.ts';

export interface MemoryBackendOptions {
  readonly logicalSectorBytes?: number;
  readonly physicalSectorBytes?: number;
  readonly readOnly?: boolean;
}

export class MemoryBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canDiscard: boolean;
  readonly #bytes: Uint8Array;
  #closed = false;

  /** Keeps (and changes) the given bytes themselves. */
  constructor(bytes: Uint8Array, options: MemoryBackendOptions = {}) {
    this.#bytes = bytes;
    this.logicalSectorBytes = options.logicalSectorBytes ?? 512;
    this.physicalSectorBytes = options.physicalSectorBytes ?? this.logicalSectorBytes;
    this.readOnly = options.readOnly ?? false;
    this.canDiscard = !this.readOnly;
    this.sizeBytes = bytes.length - (bytes.length % this.logicalSectorBytes);
  }

  #check(offset: number, length: number): void {
    if (this.#closed) throw new Error('the disk is closed');
    checkRange(this.sizeBytes, offset, length);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    this.#check(offset, totalBytes(into));
    let at = offset;
    for (const view of into) {
      view.set(this.#bytes.subarray(at, at + view.length));
      at += view.length;
    }
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    this.#check(offset, totalBytes(from));
    let at = offset;
    for (const view of from) {
      this.#bytes.set(view, at);
      at += view.length;
    }
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  async discard(offset: number, length: number): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    this.#check(offset, length);
    this.#bytes.fill(0, offset, offset + length);
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
