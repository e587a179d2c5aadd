/** Disk images and block devices of the host as block backends. Data moves between the file and guest RAM without a copy. */
import { constants } from 'node:fs';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { errnoText } from '../devices/config/index.ts';
import { checkRange, totalBytes, type BlockBackend } from '../devices/storage/block-backend.ts';

/** Views handed to one system call; below the IOV_MAX (1024) of every system that Node runs on. */
const MAX_VECTORS = 512;
const DEFAULT_SECTOR_BYTES = 512;

export class BackingFileError extends Error {
  override readonly name = 'BackingFileError';
}

interface SectorSizes {
  readonly logical: number;
  readonly physical: number;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

/** `sectorsize=L[/P]`: bhyve_config(5), both powers of two, L at least 512, P at least L. */
function parseSectorSize(text: string): SectorSizes {
  const match = /^(\d+)(?:\/(\d+))?$/.exec(text);
  if (!match) throw new BackingFileError(`Invalid sector size "${text}"`);
  const logical = Number(match[1]);
  const physical = match[2] === undefined ? logical : Number(match[2]);
  if (!isPowerOfTwo(logical) || !isPowerOfTwo(physical) || logical < DEFAULT_SECTOR_BYTES || logical > physical) {
    throw new BackingFileError(`Invalid sector size ${logical}/${physical}`);
  }
  return { logical, physical };
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ['true', 'on', 'yes', '1'].includes(value.toLowerCase());
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
  static async open(path: string, options: Readonly<Record<string, string>>): Promise<FileBackend> {
    const sync = isTrue(options['sync']) || isTrue(options['direct']) ? constants.O_SYNC : 0;
    let readOnly = isTrue(options['ro']);
    let handle: FileHandle | undefined;
    try {
      if (!readOnly) {
        handle = await open(path, constants.O_RDWR | sync).catch(() => undefined);
        readOnly = handle === undefined;
      }
      handle ??= await open(path, constants.O_RDONLY | sync);
      const stat = await handle.stat();
      if (stat.isDirectory()) throw Object.assign(new Error('Is a directory'), { code: 'EISDIR' });
      const sizes =
        options['sectorsize'] === undefined
          ? { logical: DEFAULT_SECTOR_BYTES, physical: Math.max(DEFAULT_SECTOR_BYTES, stat.blksize) }
          : parseSectorSize(options['sectorsize']);
      const bytes = stat.isBlockDevice() ? await blockDeviceBytes(path) : stat.size;
      return new FileBackend(handle, bytes - (bytes % sizes.logical), sizes.logical, sizes.physical, readOnly);
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
