/** The origin's private file system (File System Standard): images that stay in this browser. For Workers only. */
import { checkRange, totalBytes, type BlockBackend } from '../../devices/backends/block.ts';
import { FileError } from '../../devices/block/remote/byte-source.ts';

/** FileSystemSyncAccessHandle, which TypeScript knows for workers only. */
export interface SyncAccessHandle {
  read(into: Uint8Array, options: { readonly at: number }): number;
  write(from: Uint8Array, options: { readonly at: number }): number;
  truncate(sizeBytes: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

type SyncFile = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncAccessHandle> };

/** Folder of the images; pages on the same origin may keep other things beside it. */
export const OPFS_FOLDER = 'webhyve';
const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
/** Of the quota: what a browser that tells it truly has in use when a write finds no room. */
const FULL_SHARE = 0.5;
const NAME = /^[\p{L}\p{N}_][\p{L}\p{N} ._-]{0,199}$/u;

/** Throws {@link FileError} unless it is one a file can have. */
export function checkOpfsName(name: string): void {
  if (!NAME.test(name)) {
    throw new FileError(`opfs:${name}: a name is letters, digits, blanks and . _ - and begins with a letter or digit`);
  }
}

/** The folder of the images. Rejects with {@link FileError} where the browser has no such storage. */
export async function opfsFolder(): Promise<FileSystemDirectoryHandle> {
  try {
    const root = await navigator.storage.getDirectory();
    return await root.getDirectoryHandle(OPFS_FOLDER, { create: true });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new FileError(`opfs: this browser keeps no files for this page (${detail}); private windows often do not`, {
      cause: error,
    });
  }
}

function errorName(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.name : '';
}

/** Opens a file for this worker alone. `create`: makes it when it is missing. */
export async function openOpfsFile(name: string, create: boolean): Promise<SyncAccessHandle> {
  checkOpfsName(name);
  const folder = await opfsFolder();
  try {
    const file = (await folder.getFileHandle(name, { create })) as SyncFile;
    return await file.createSyncAccessHandle();
  } catch (error) {
    const kind = errorName(error);
    if (kind === 'NotFoundError') {
      throw new FileError(`opfs:${name}: there is no such image (opfs:${name}?size=64M makes an empty one)`);
    }
    if (kind === 'NoModificationAllowedError' || kind === 'InvalidStateError') {
      throw new FileError(`opfs:${name}: another machine or tab has it open`);
    }
    throw new FileError(`opfs:${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** The error of a write that found no room, as a sentence; others as they are. */
export async function explainQuota(name: string, error: unknown): Promise<Error> {
  if (errorName(error) !== 'QuotaExceededError') return error instanceof Error ? error : new Error(String(error));
  const { usage = 0, quota = 0 } = await navigator.storage.estimate().catch((): StorageEstimate => ({}));
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  // Browsers that hide how much room there is (Chromium says 10 GiB to everybody) are not quoted.
  const detail = usage > FULL_SHARE * quota ? ` (${mib(usage)} of ${mib(quota)} in use)` : '';
  return new FileError(`opfs:${name}: the browser's quota for this page is full${detail}`, {
    cause: error,
  });
}

/** Reads views from consecutive places; throws when the file ends before. */
export function readViews(handle: SyncAccessHandle, offset: number, into: readonly Uint8Array[]): void {
  let at = offset;
  for (const view of into) {
    for (let done = 0; done < view.length;) {
      const count = handle.read(done === 0 ? view : view.subarray(done), { at: at + done });
      if (count === 0) throw new Error('the file is shorter than it was');
      done += count;
    }
    at += view.length;
  }
}

export function writeViews(handle: SyncAccessHandle, offset: number, from: readonly Uint8Array[]): void {
  let at = offset;
  for (const view of from) {
    for (let done = 0; done < view.length;) {
      const count = handle.write(done === 0 ? view : view.subarray(done), { at: at + done });
      if (count === 0) throw new DOMException('nothing could be written', 'QuotaExceededError');
      done += count;
    }
    at += view.length;
  }
}

/** A raw image in the private file system. Bytes move between it and guest RAM without a copy. */
export class OpfsBackend implements BlockBackend {
  readonly logicalSectorBytes = SECTOR_BYTES;
  readonly physicalSectorBytes = PAGE_BYTES;
  readonly canDiscard = false;
  readonly sizeBytes: number;
  #closed = false;

  private constructor(
    private readonly name: string,
    private readonly handle: SyncAccessHandle,
    readonly readOnly: boolean,
    private readonly message: (text: string) => void,
  ) {
    const sizeBytes = handle.getSize();
    this.sizeBytes = sizeBytes - (sizeBytes % SECTOR_BYTES);
  }

  /** Opens an image; `createBytes` is the size of the one to make when there is none. */
  static async open(
    name: string,
    options: { readonly createBytes?: number | undefined; readonly readOnly: boolean },
    message: (text: string) => void,
  ): Promise<OpfsBackend> {
    const { createBytes, readOnly } = options;
    const handle = await openOpfsFile(name, createBytes !== undefined);
    try {
      if (createBytes !== undefined && handle.getSize() === 0) handle.truncate(createBytes);
      return new OpfsBackend(name, handle, readOnly, message);
    } catch (error) {
      handle.close();
      throw await explainQuota(name, error);
    }
  }

  #check(offset: number, lengthBytes: number): void {
    if (this.#closed) throw new Error('the disk is closed');
    checkRange(this.sizeBytes, offset, lengthBytes);
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    this.#check(offset, totalBytes(into));
    readViews(this.handle, offset, into);
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    if (this.readOnly) throw new Error('the disk is read-only');
    this.#check(offset, totalBytes(from));
    try {
      writeViews(this.handle, offset, from);
    } catch (error) {
      const explained = await explainQuota(this.name, error);
      this.message(explained.message);
      throw explained;
    }
  }

  async flush(): Promise<void> {
    if (!this.readOnly && !this.#closed) this.handle.flush();
  }

  discard(): Promise<void> {
    return Promise.reject(new Error('this disk cannot discard'));
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.handle.flush();
      this.handle.close();
    }
    return Promise.resolve();
  }
}
