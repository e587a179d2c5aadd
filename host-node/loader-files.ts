/** What the commands that load a kernel for bhyve have in common: files of images and folders, and what ends them. */
import { open, readdir, readFile, type FileHandle } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { errnoText } from '../devices/config/index.ts';
import { openVolumes, type Volume } from '../devices/images/disk.ts';
import { ImageError, type ImageFiles, type ReadRange } from '../devices/images/image.ts';

/** What ends the run: a text for standard error and a status. */
export class LoadFailure extends Error {
  constructor(
    message: string,
    readonly status = 1,
  ) {
    super(message);
  }
}

function rangeOf(handle: FileHandle, sizeBytes: number): ReadRange {
  return async (offset, lengthBytes) => {
    if (!(offset >= 0) || !(lengthBytes >= 0) || offset + lengthBytes > sizeBytes) {
      throw new ImageError('The image is shorter than its file system.');
    }
    const bytes = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const { bytesRead } = await handle.read(bytes, done, lengthBytes - done, offset + done);
      if (bytesRead === 0) throw new ImageError('The image is shorter than it was.');
      done += bytesRead;
    }
    return bytes;
  };
}

/** A folder of this host as a loader's file system. */
export function folderFiles(folder: string): ImageFiles {
  const root = resolve(folder);
  const place = (path: string): string | undefined => {
    const full = join(root, path);
    return full === root || full.startsWith(root + sep) ? full : undefined;
  };
  return {
    kind: 'folder',
    async read(path) {
      const full = place(path);
      return full === undefined ? undefined : readFile(full).catch(() => undefined);
    },
    async list(path) {
      const full = place(path);
      return full === undefined ? undefined : readdir(full).catch(() => undefined);
    },
  };
}

/** An image's file systems, until `close`. */
export interface OpenedImage {
  readonly volumes: readonly Volume[];
  close(): Promise<void>;
}

export async function openImageFile(path: string): Promise<OpenedImage> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw new LoadFailure(`Could not open '${path}': ${errnoText(error)}`);
  }
  try {
    const { size } = await handle.stat();
    return { volumes: await openVolumes(rangeOf(handle, size)), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}
