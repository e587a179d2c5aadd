/** The one namespace: I/O commands over a block backend (NVM Express 1.4, 6). */
import type { BlockBackend } from '../backends/block.ts';
import { gather } from '../block/scatter.ts';
import { writeZeroes } from '../block/zeroes.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import { dataRegions, NvmeError, type NvmeCommand } from './command.ts';
import type { Health } from './health.ts';
import * as R from './registers.ts';

export const NAMESPACE_ID = 1;
const DSM_DEALLOCATE = 1 << 2;
const DSM_RANGE_BYTES = 16;
const FORCE_UNIT_ACCESS = 1 << 30;

export interface NamespaceOptions {
  readonly memory: GuestMemory;
  readonly backend: BlockBackend;
  readonly blockBytes: number;
  readonly health: Health;
  /** Dataset management is offered (`dsm=`). */
  readonly datasetManagement: boolean;
  /** True while the host has the write cache switched on. */
  readonly hasWriteCache: () => boolean;
}

export class NvmeNamespace {
  /** Requests that the backend failed. */
  backendErrors = 0;
  readonly backend: BlockBackend;
  readonly #options: NamespaceOptions;

  constructor(options: NamespaceOptions) {
    this.#options = options;
    this.backend = options.backend;
  }

  get blockBytes(): number {
    return this.#options.blockBytes;
  }

  get blocks(): number {
    return Math.floor(this.backend.sizeBytes / this.blockBytes);
  }

  /** Does an I/O command. Resolves when it is done; throws or rejects NvmeError and GuestAddressError. */
  execute(command: NvmeCommand): Promise<void> {
    switch (command.opcode) {
      case R.IO_FLUSH:
        return this.#flush();
      case R.IO_READ:
        return this.#read(command);
      case R.IO_WRITE:
        return this.#write(command);
      case R.IO_DATASET_MANAGEMENT:
        if (!this.#options.datasetManagement) throw new NvmeError(R.SC_INVALID_OPCODE);
        return this.#datasetManagement(command);
      default:
        throw new NvmeError(R.SC_INVALID_OPCODE);
    }
  }

  #range(command: NvmeCommand): { offset: number; lengthBytes: number } {
    const { startBlock } = command;
    const blocks = (command.dword(12) & 0xffff) + 1;
    if (startBlock + blocks > this.blocks) throw new NvmeError(R.SC_LBA_OUT_OF_RANGE);
    return { offset: startBlock * this.blockBytes, lengthBytes: blocks * this.blockBytes };
  }

  async #read(command: NvmeCommand): Promise<void> {
    const { offset, lengthBytes } = this.#range(command);
    const regions = dataRegions(this.#options.memory, command, lengthBytes);
    const views = regions.views();
    const { health } = this.#options;
    health.readCommands++;
    health.readBytes += lengthBytes;
    try {
      await this.backend.read(offset, views);
    } catch {
      this.#mediaError(R.SC_UNRECOVERED_READ);
    } finally {
      // Whatever happened, some of it may have been stored.
      regions.written(lengthBytes);
    }
  }

  async #write(command: NvmeCommand): Promise<void> {
    if (this.backend.readOnly) throw new NvmeError(R.SC_WRITE_TO_READ_ONLY);
    const { offset, lengthBytes } = this.#range(command);
    const views = dataRegions(this.#options.memory, command, lengthBytes).views();
    const { health } = this.#options;
    health.writeCommands++;
    health.writtenBytes += lengthBytes;
    try {
      await this.backend.write(offset, views);
      if (command.dword(12) & FORCE_UNIT_ACCESS || !this.#options.hasWriteCache()) await this.backend.flush();
    } catch {
      this.#mediaError(R.SC_WRITE_FAULT);
    }
  }

  async #flush(): Promise<void> {
    if (this.backend.readOnly) return;
    try {
      await this.backend.flush();
    } catch {
      this.#mediaError(R.SC_WRITE_FAULT);
    }
  }

  #mediaError(status: number): never {
    this.backendErrors++;
    this.#options.health.mediaErrors++;
    throw new NvmeError(status);
  }

  async #datasetManagement(command: NvmeCommand): Promise<void> {
    const count = (command.dword(10) & 0xff) + 1;
    const views = dataRegions(this.#options.memory, command, count * DSM_RANGE_BYTES).views();
    const list = new DataView(gather(views, count * DSM_RANGE_BYTES).buffer);
    // The other attributes are hints of how the data will be used.
    if ((command.dword(11) & DSM_DEALLOCATE) === 0) return;
    if (this.backend.readOnly) throw new NvmeError(R.SC_WRITE_TO_READ_ONLY);
    const ranges: [offset: number, lengthBytes: number][] = [];
    for (let at = 0; at < count * DSM_RANGE_BYTES; at += DSM_RANGE_BYTES) {
      const blocks = list.getUint32(at + 4, true);
      const start = list.getUint32(at + 12, true) * 2 ** 32 + list.getUint32(at + 8, true);
      if (start + blocks > this.blocks) throw new NvmeError(R.SC_LBA_OUT_OF_RANGE);
      if (blocks > 0) ranges.push([start * this.blockBytes, blocks * this.blockBytes]);
    }
    // `dsm=enable` over a backend that cannot discard: the command is understood and changes nothing.
    if (!this.backend.canDiscard) return;
    try {
      for (const [offset, lengthBytes] of ranges) await this.backend.discard(offset, lengthBytes);
    } catch {
      this.#mediaError(R.SC_WRITE_FAULT);
    }
  }

  /** Format NVM with user data erase: everything reads as zeros. */
  async erase(): Promise<void> {
    if (this.backend.readOnly) throw new NvmeError(R.SC_WRITE_TO_READ_ONLY);
    try {
      await writeZeroes(this.backend, 0, this.blocks * this.blockBytes, true);
      await this.backend.flush();
    } catch {
      this.#mediaError(R.SC_WRITE_FAULT);
    }
  }
}
