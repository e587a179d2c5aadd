/** Disk images and block devices of the host as block backends. Data moves between the file and guest RAM without a copy. */
import { constants } from 'node:fs';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoText } from '../devices/config/index.ts';
import { checkRange, totalBytes, type BlockBackend, type BlockSettings } from '../devices/backends/block.ts';

/** Views handed to one system call; below the IOV_MAX (1024) of every system that Node runs on. */
const MAX_VECTORS = 512;
const DEFAULT_SECTOR_BYTES = 512;

export class BackingFileError extends Error {
  override readonly name = 'BackingFileError';
}

/** A block device's size is not in its inode; Linux tells it in sysfs, in units of 512 bytes. */
async function blockDeviceBytes(path: string): Promise<number> {
  const text = await readFile(`/sys/class/block/${basename(path)}/size`, 'utf8').catch(() => '0');
  return Number(text.trim()) * 512;
}

/** Cuts a list of views into batches that one system call takes, and drops the first `done` bytes of it. */
function nextBatch(views: readonly Uint8Array[], done: number): Uint8Array[] {
  const batch: Uint8Array[] = [];
  let skip = done;
  for (const view of views) {
    if (skip >= view.length) {
      skip -= view.length;
      continue;
    }
    batch.push(skip > 0 ? view.subarray(skip) : view);
    skip = 0;
    if (batch.length === MAX_VECTORS) break;
  }
  return batch;
}

export class FileBackend implements BlockBackend {
  /** The host offers no hole punching through Node's file interface. */
  readonly canDiscard = false;
  readonly #handle: FileHandle;
  #closed = false;

  private constructor(
    handle: FileHandle,
    readonly sizeBytes: number,
    readonly logicalSectorBytes: number,
    readonly physicalSectorBytes: number,
    readonly readOnly: boolean,
  ) {
    this.#handle = handle;
  }

  /**
   * Opens an image with the block options of bhyve_config(5): `ro`, `sync`/`direct`, `sectorsize`. A file that may not be
   * written is opened read-only instead, as bhyve does. `nocache` is accepted; the host's page cache is used all the same.
   */
  static async open({ path, sync, direct, ro, sectorsize }: BlockSettings): Promise<FileBackend> {
    const syncFlag = sync || direct ? constants.O_SYNC : 0;
    let readOnly = ro;
    let handle: FileHandle | undefined;
    try {
      if (!readOnly) {
        handle = await open(path, constants.O_RDWR | syncFlag).catch(() => undefined);
        readOnly = handle === undefined;
      }
      handle ??= await open(path, constants.O_RDONLY | syncFlag);
      const stat = await handle.stat();
      if (stat.isDirectory()) throw Object.assign(new Error('Is a directory'), { code: 'EISDIR' });
      const sizes = sectorsize ?? {
        logicalBytes: DEFAULT_SECTOR_BYTES,
        physicalBytes: Math.max(DEFAULT_SECTOR_BYTES, stat.blksize),
      };
      const bytes = stat.isBlockDevice() ? await blockDeviceBytes(path) : stat.size;
      return new FileBackend(
        handle,
        bytes - (bytes % sizes.logicalBytes),
        sizes.logicalBytes,
        sizes.physicalBytes,
        readOnly,
      );
    } catch (error) {
      await handle?.close();
      if (error instanceof BackingFileError) throw error;
      throw new BackingFileError(`Could not open backing file: ${path}: ${errnoText(error)}`, { cause: error });
    }
  }

  #check(offset: number, length: number): void {
    if (this.#closed) throw new Error('the disk is closed');
    checkRange(this.sizeBytes, offset, length);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const length = totalBytes(into);
    this.#check(offset, length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.#handle.readv(nextBatch(into, done), offset + done);
      if (bytesRead === 0) throw new Error('the backing file is shorter than it was');
      done += bytesRead;
    }
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    const length = totalBytes(from);
    this.#check(offset, length);
    for (let done = 0; done < length;) {
      const { bytesWritten } = await this.#handle.writev(nextBatch(from, done), offset + done);
      if (bytesWritten === 0) throw new Error('nothing could be written');
      done += bytesWritten;
    }
  }

  async flush(): Promise<void> {
    if (!this.readOnly && !this.#closed) await this.#handle.datasync();
  }

  discard(): Promise<void> {
    return Promise.reject(new Error('this disk cannot discard'));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}
