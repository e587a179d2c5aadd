/** A file that holds an image in a format of its own (qcow2). */
import { open, type FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import { totalBytes } from '../../devices/backends/block.ts';
import type { ImageFile } from '../../devices/block/image-file.ts';
import { dropViews, sliceViews } from '../../devices/block/scatter.ts';
import { lockFile } from './file-lock.ts';

export class NodeImageFile implements ImageFile {
  private constructor(
    private readonly handle: FileHandle,
    readonly readOnly: boolean,
    private readonly unlock: () => Promise<void>,
  ) {}

  /** Opens for writing unless `readOnly`; a file that may not be written is opened read-only instead. */
  static async open(path: string, readOnly: boolean, flags = 0): Promise<NodeImageFile> {
    const writable = readOnly ? undefined : await open(path, constants.O_RDWR | flags).catch(() => undefined);
    if (writable) {
      try {
        return new NodeImageFile(writable, false, await lockFile(await writable.stat({ bigint: true })));
      } catch (error) {
        await writable.close();
        throw error;
      }
    }
    return new NodeImageFile(await open(path, constants.O_RDONLY | flags), true, () => Promise.resolve());
  }

  async sizeBytes(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  async read(offset: number, into: Uint8Array[]): Promise<void> {
    const length = totalBytes(into);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.handle.readv(dropViews(into, done), offset + done);
      if (bytesRead === 0) {
        for (const view of sliceViews(into, done, length)) view.fill(0);
        return;
      }
      done += bytesRead;
    }
  }

  async write(offset: number, from: Uint8Array[]): Promise<void> {
    const length = totalBytes(from);
    for (let done = 0; done < length;) {
      const { bytesWritten } = await this.handle.writev(dropViews(from, done), offset + done);
      if (bytesWritten === 0) throw new Error('nothing could be written');
      done += bytesWritten;
    }
  }

  flush(): Promise<void> {
    return this.handle.datasync();
  }

  async close(): Promise<void> {
    await this.handle.close();
    await this.unlock();
  }
}
