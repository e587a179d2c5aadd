/** Disk images and block devices of the host as block backends. Data moves between the file and guest RAM without a copy. */
import { constants, readvSync, writevSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { checkRange, totalBytes, type BlockBackend, type BlockSettings } from '../../devices/backends/block.ts';
import { dropViews, gather, scatter } from '../../devices/block/scatter.ts';
import { zeroViews } from '../../devices/block/zeroes.ts';
import { errnoText } from '../../devices/config/index.ts';
import { blockDeviceSizes } from './block-device.ts';
import { alignedBuffer } from './bounce-buffer.ts';
import { EXCLUSIVE_OPEN_FLAGS, FileLockedError, isLocked, lockFile } from './file-lock.ts';
import { OnTheSpot } from './on-the-spot.ts';
import { FileSpace } from './punch-hole.ts';

/** Views handed to one system call; below the IOV_MAX (1024) of every system that Node runs on. */
const MAX_VECTORS = 512;
const DEFAULT_SECTOR_BYTES = 512;
/** A file's size is looked at this often: nothing tells a program that another has resized it. */
const SIZE_POLL_MS = 1000;
/** Longest transfer that goes through a buffer of ours. */
const BOUNCE_BYTES = 1 << 20;

export class BackingFileError extends Error {
  override readonly name = 'BackingFileError';
}

/** Cuts a list of views into batches that one system call takes, and drops the first `done` bytes of it. */
function nextBatch(views: readonly Uint8Array[], done: number): Uint8Array[] {
  if (done === 0 && views.length <= MAX_VECTORS) return views as Uint8Array[];
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

interface OpenFile {
  readonly handle: FileHandle;
  readonly readOnly: boolean;
  readonly unlock: () => Promise<void>;
}

/** Opens for writing when that is wanted and allowed; a file that may not be written is opened read-only instead, as bhyve does. */
async function openImage(path: string, flags: number, wantsWrite: boolean): Promise<OpenFile> {
  if (wantsWrite) {
    const handle = await open(path, constants.O_RDWR | flags | EXCLUSIVE_OPEN_FLAGS).catch((error: unknown) => {
      if (isLocked(error)) throw new FileLockedError();
      return undefined;
    });
    if (handle) {
      try {
        return { handle, readOnly: false, unlock: await lockFile(await handle.stat({ bigint: true })) };
      } catch (error) {
        await handle.close();
        throw error;
      }
    }
  }
  const handle = await open(path, constants.O_RDONLY | flags);
  return { handle, readOnly: true, unlock: () => Promise.resolve() };
}

/** Which transfers of an image may be done on the devices' thread. */
interface Spots {
  readonly reads: OnTheSpot | undefined;
  readonly writes: OnTheSpot | undefined;
}

interface Geometry {
  readonly sizeBytes: number;
  readonly logicalBytes: number;
  readonly physicalBytes: number;
}

async function geometryOf(path: string, stat: BigIntStats): Promise<Geometry> {
  if (stat.isBlockDevice()) return blockDeviceSizes(path);
  const physicalBytes = Math.max(DEFAULT_SECTOR_BYTES, Number(stat.blksize));
  return { sizeBytes: Number(stat.size), logicalBytes: DEFAULT_SECTOR_BYTES, physicalBytes };
}

export class FileBackend implements BlockBackend {
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly #file: OpenFile;
  readonly #handle: FileHandle;
  readonly #space: FileSpace | undefined;
  /** O_DIRECT: the system may refuse buffers that are not aligned. */
  readonly #isDirect: boolean;
  readonly #spots: Spots;
  #sizeBytes: number;
  #closed = false;
  #poll: NodeJS.Timeout | undefined;

  private constructor(
    file: OpenFile,
    geometry: Geometry,
    space: FileSpace | undefined,
    isDirect: boolean,
    spots: Spots,
  ) {
    this.#file = file;
    this.#spots = spots;
    this.#handle = file.handle;
    this.#space = space;
    this.#isDirect = isDirect;
    this.readOnly = file.readOnly;
    this.logicalSectorBytes = geometry.logicalBytes;
    this.physicalSectorBytes = geometry.physicalBytes;
    this.#sizeBytes = geometry.sizeBytes - (geometry.sizeBytes % geometry.logicalBytes);
  }

  /**
   * Opens an image or a block device with the block options of bhyve_config(5): `nocache` is O_DIRECT, `sync` and `direct` are O_SYNC, `ro` opens
   * read-only, `nodelete` offers no TRIM. Rejects with BackingFileError, whose message is bhyve's.
   */
  static async open(settings: BlockSettings): Promise<FileBackend> {
    const { path, nocache, sync, direct, ro, nodelete, sectorsize } = settings;
    let file: OpenFile | undefined;
    try {
      const flags = (sync || direct ? constants.O_SYNC : 0) | (nocache ? directFlag() : 0);
      file = await openImage(path, flags, !ro);
      const stat = await file.handle.stat({ bigint: true });
      if (stat.isDirectory()) throw Object.assign(new Error('Is a directory'), { code: 'EISDIR' });
      const own = await geometryOf(path, stat);
      const space = nodelete || file.readOnly ? undefined : await FileSpace.of(file.handle.fd, own.sizeBytes);
      // Without the page cache every transfer waits for the disk, and with O_SYNC every write does.
      const spot = nocache ? undefined : await OnTheSpot.of(path);
      const spots = { reads: spot, writes: sync || direct ? undefined : spot };
      return new FileBackend(file, { ...own, ...sectorsize }, space, nocache, spots);
    } catch (error) {
      await file?.unlock();
      await file?.handle.close();
      const reason = error instanceof FileLockedError ? error.message : errnoText(error);
      throw new BackingFileError(`Could not open backing file: ${path}: ${reason}`, { cause: error });
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get canDiscard(): boolean {
    return this.#space !== undefined;
  }

  /** Calls back whenever the file has another size. */
  onResized(listener: () => void): void {
    clearInterval(this.#poll);
    this.#poll = setInterval(() => {
      void this.#handle.stat().then(
        (stat) => {
          const sizeBytes = stat.size - (stat.size % this.logicalSectorBytes);
          if (this.#closed || !stat.isFile() || sizeBytes === this.#sizeBytes) return;
          this.#sizeBytes = sizeBytes;
          listener();
        },
        () => undefined,
      );
    }, SIZE_POLL_MS).unref();
  }

  #check(offset: number, length: number): void {
    if (this.#closed) throw new Error('the disk is closed');
    checkRange(this.#sizeBytes, offset, length);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const length = totalBytes(into);
    this.#check(offset, length);
    const spot = this.#spots.reads;
    if (spot?.allows(length) === true && into.length <= MAX_VECTORS) {
      const done = spot.run(() => readvSync(this.#handle.fd, into, offset));
      if (done === length) return;
    }
    try {
      await this.#readAll(offset, into, length);
    } catch (error) {
      if (!this.#refusesBuffer(error)) throw error;
      await this.#bounce(length, async (at, buffer) => {
        await this.#readAll(offset + at, [buffer], buffer.length);
        scatter(dropViews(into, at), buffer);
      });
    }
  }

  async #readAll(offset: number, into: readonly Uint8Array[], length: number): Promise<void> {
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
    const spot = this.#spots.writes;
    if (spot?.allows(length) === true && from.length <= MAX_VECTORS) {
      const done = spot.run(() => writevSync(this.#handle.fd, from, offset));
      if (done === length) return;
    }
    try {
      await this.#writeAll(offset, from, length);
    } catch (error) {
      if (!this.#refusesBuffer(error)) throw error;
      await this.#bounce(length, (at, buffer) => {
        buffer.set(gather(dropViews(from, at), buffer.length));
        return this.#writeAll(offset + at, [buffer], buffer.length);
      });
    }
  }

  async #writeAll(offset: number, from: readonly Uint8Array[], length: number): Promise<void> {
    for (let done = 0; done < length;) {
      const { bytesWritten } = await this.#handle.writev(nextBatch(from, done), offset + done);
      if (bytesWritten === 0) throw new Error('nothing could be written');
      done += bytesWritten;
    }
  }

  /** O_DIRECT and a buffer at an odd address. */
  #refusesBuffer(error: unknown): boolean {
    return this.#isDirect && error instanceof Error && 'code' in error && error.code === 'EINVAL';
  }

  /** Moves a transfer in pieces through an aligned buffer. */
  async #bounce(length: number, move: (at: number, buffer: Uint8Array) => Promise<void>): Promise<void> {
    const buffer = alignedBuffer(Math.min(length, BOUNCE_BYTES));
    for (let at = 0; at < length; at += buffer.length)
      await move(at, buffer.subarray(0, Math.min(buffer.length, length - at)));
  }

  async flush(): Promise<void> {
    if (!this.readOnly && !this.#closed) await this.#handle.datasync();
  }

  async discard(offset: number, length: number): Promise<void> {
    this.#check(offset, length);
    if (!this.#space || this.readOnly) throw new Error('this disk cannot discard');
    if (length > 0) await this.#space.punchHole(offset, length);
  }

  async writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    this.#check(offset, length);
    if (length === 0) return;
    if (mayUnmap && this.#space) {
      await this.#space.punchHole(offset, length);
      return;
    }
    if ((await this.#space?.zeroRange(offset, length)) === true) return;
    for (let done = 0; done < length; done += BOUNCE_BYTES * 8) {
      await this.write(offset + done, zeroViews(Math.min(BOUNCE_BYTES * 8, length - done)));
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#poll);
    await this.#handle.close();
    await this.#file.unlock();
  }
}

/** O_DIRECT, where the system has it. */
function directFlag(): number {
  const flag: number | undefined = constants.O_DIRECT;
  if (flag === undefined) throw new Error('nocache: this system has no O_DIRECT');
  return flag;
}
