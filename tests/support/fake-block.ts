/** A disk whose requests finish when a test says so. */
import type { BlockBackend } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';

interface Waiting {
  readonly what: string;
  readonly go: () => void;
  readonly fail: () => void;
}

export class FakeBlock implements BlockBackend {
  readonly logicalSectorBytes = 512;
  readonly physicalSectorBytes = 4096;
  readonly readOnly = false;
  readonly canDiscard = true;
  readonly bytes: Uint8Array;
  /** Requests that wait, oldest first. */
  waiting: Waiting[] = [];
  closed = false;
  readonly #inner: MemoryBackend;

  constructor(readonly sizeBytes = 1024 * 1024) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#inner = new MemoryBackend(this.bytes);
  }

  #wait(what: string, run: () => Promise<void>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.waiting.push({ what, go: () => resolve(run()), fail: () => reject(new Error('injected failure')) });
    });
  }

  read(offset: number, into: Uint8Array[]): Promise<void> {
    return this.#wait(`read ${offset}`, () => this.#inner.read(offset, into));
  }

  write(offset: number, from: Uint8Array[]): Promise<void> {
    return this.#wait(`write ${offset}`, () => this.#inner.write(offset, from));
  }

  flush(): Promise<void> {
    return this.#wait('flush', () => this.#inner.flush());
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#wait(`discard ${offset} ${length}`, () => this.#inner.discard(offset, length));
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** Lets the request at `index` of those that wait finish (or fail), and everything that follows from it happen. */
  async complete(index = 0, fail = false): Promise<void> {
    const [request] = this.waiting.splice(index, 1);
    if (!request) throw new Error(`no request ${index} waits`);
    if (fail) request.fail();
    else request.go();
    await settle();
  }
}

/** Runs everything that is due. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
