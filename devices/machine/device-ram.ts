/**
 * Device memory out of the core's RAM pool, and which of its pages the guest has stored to.
 *
 * A clean page is PAGE_TRACKED: no vCPU keeps a translation for stores to it, so the first store takes the core's slow path, which marks the
 * page PAGE_DIRTY and lets the next ones pass. takeDirty() makes dirty pages tracked again and asks all vCPUs to drop their translations. A
 * vCPU stores unseen until it has done so; R_RING_SEEN tells when, and until then the page counts as dirty at every call.
 */
import {
  CFG_NCPUS,
  CHUNK_COUNT,
  CHUNK_DEVICE,
  CHUNK_RAM,
  CHUNK_SIZE,
  CHUNKS,
  CODE_RING_SEQ,
  PAGE_DIRTY,
  PAGE_FLAGS,
  PAGE_TRACKED,
  POOL_USED_CHUNKS,
  R_RING_SEEN,
} from '../../core-as/layout.ts';
import { DEVICE_RAM_PAGE_BYTES, pageRanges, type DeviceRam, type PageRange } from '../bus/device-ram.ts';
import { poolBytes, vcpuBlock, type CoreExports, type CoreState, type MemoryPlan } from './core.ts';

/** Pages that were made clean while vCPUs could still store to them unseen. */
interface Unsettled {
  readonly pages: readonly number[];
  /** CODE_RING_SEQ that every vCPU must have seen. */
  readonly sequence: number;
}

export class CoreDeviceRam implements DeviceRam {
  readonly bytes: Uint8Array;
  readonly #flags: Uint8Array;
  readonly #flagWords: Uint32Array;
  #mappedChunk: number | undefined;
  #unsettled: Unsettled[] = [];

  private constructor(
    private readonly state: CoreState,
    private readonly exports: Pick<CoreExports, 'flushAllVcpus'>,
    private readonly linear: number,
    private readonly chunkCount: number,
  ) {
    const { buffer } = state.memory;
    const lengthBytes = chunkCount * CHUNK_SIZE;
    this.bytes = new Uint8Array(buffer, linear, lengthBytes);
    const pageCount = lengthBytes / DEVICE_RAM_PAGE_BYTES;
    const flagsAt = PAGE_FLAGS + linear / DEVICE_RAM_PAGE_BYTES;
    this.#flags = new Uint8Array(buffer, flagsAt, pageCount);
    this.#flagWords = new Uint32Array(buffer, flagsAt, pageCount / 4);
    this.#flags.fill(PAGE_DIRTY);
  }

  /**
   * Takes memory from the pool, before the guest does. Throws RangeError when the plan has no room for it (planMemory's `deviceChunks`).
   */
  static allocate(
    state: CoreState,
    exports: Pick<CoreExports, 'flushAllVcpus'>,
    plan: MemoryPlan,
    lengthBytes: number,
  ): CoreDeviceRam {
    const chunkCount = Math.ceil(lengthBytes / CHUNK_SIZE);
    const first = Atomics.add(state.i32, POOL_USED_CHUNKS >> 2, chunkCount);
    const linear = plan.poolStart + first * CHUNK_SIZE;
    if ((first + chunkCount) * CHUNK_SIZE > poolBytes(plan)) throw new RangeError('no room for device memory');
    return new CoreDeviceRam(state, exports, linear, chunkCount);
  }

  map(gpa: number | undefined): void {
    if (this.#mappedChunk !== undefined) this.#setChunks(this.#mappedChunk, () => 0);
    this.#mappedChunk = gpa === undefined ? undefined : gpa / CHUNK_SIZE;
    if (this.#mappedChunk !== undefined) {
      this.#setChunks(this.#mappedChunk, (i) => (this.linear + i * CHUNK_SIZE) | CHUNK_RAM | CHUNK_DEVICE);
    }
    this.exports.flushAllVcpus();
  }

  /** Chunks beyond the table are reached through the MMIO door, slowly. */
  #setChunks(firstChunk: number, entry: (index: number) => number): void {
    for (let i = 0; i < this.chunkCount && firstChunk + i < CHUNK_COUNT; i++) {
      this.state.setU32(CHUNKS + (firstChunk + i) * 4, entry(i));
    }
  }

  takeDirty(): PageRange[] {
    const reported = this.#settle();
    const pages: number[] = [];
    for (let word = 0; word < this.#flagWords.length; word++) {
      // Four clean pages at once: a screen that does not change costs a walk over its flags.
      if ((Atomics.load(this.#flagWords, word) & (PAGE_DIRTY * 0x01010101)) === 0) continue;
      for (let page = 4 * word; page < 4 * word + 4; page++) {
        if ((Atomics.and(this.#flags, page, ~PAGE_DIRTY & 0xff) & PAGE_DIRTY) === 0) continue;
        Atomics.or(this.#flags, page, PAGE_TRACKED);
        pages.push(page);
      }
    }
    if (pages.length > 0) {
      this.exports.flushAllVcpus();
      this.#unsettled.push({ pages, sequence: this.state.u32(CODE_RING_SEQ) });
    }
    for (const page of pages) reported.add(page);
    return pageRanges([...reported].sort((a, b) => a - b));
  }

  /** Forgets what every vCPU has seen; returns the pages that may have been stored to unseen since the last call. */
  #settle(): Set<number> {
    const vcpus = this.state.u32(CFG_NCPUS);
    const seen = Array.from({ length: vcpus }, (_, vcpu) => this.state.u32(vcpuBlock(vcpu) + R_RING_SEEN));
    const pages = new Set<number>();
    for (const { pages: unsettled } of this.#unsettled) for (const page of unsettled) pages.add(page);
    // Sequences wrap: the difference tells which is later. What has been seen now was stored before this call, and is reported once more.
    this.#unsettled = this.#unsettled.filter(({ sequence }) => seen.some((at) => ((at - sequence) | 0) < 0));
    return pages;
  }
}
