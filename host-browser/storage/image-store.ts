/** The images that this browser keeps (OPFS), as a page lists and changes them. */
import { FileError } from '../../devices/block/remote/byte-source.ts';
import { checkOpfsName, opfsFolder } from './opfs.ts';
import { INDEX_SUFFIX } from './opfs-overlay.ts';

export interface StoredImage {
  readonly name: string;
  readonly sizeBytes: number;
  /** It holds changes over a base, not a whole disk. */
  readonly overlay: boolean;
}

type Entries = FileSystemDirectoryHandle & AsyncIterable<readonly [string, FileSystemHandle]>;

/** All images by name. Rejects with {@link FileError} where the browser keeps no files. */
export async function listImages(): Promise<StoredImage[]> {
  const folder = (await opfsFolder()) as Entries;
  const files = new Map<string, File>();
  for await (const [name, handle] of folder) {
    if (handle.kind === 'file') files.set(name, await (handle as FileSystemFileHandle).getFile());
  }
  return [...files]
    .filter(([name]) => !(name.endsWith(INDEX_SUFFIX) && files.has(name.slice(0, -INDEX_SUFFIX.length))))
    .map(([name, file]) => ({ name, sizeBytes: file.size, overlay: files.has(name + INDEX_SUFFIX) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

async function write(name: string, content: Blob | undefined, sizeBytes: number): Promise<void> {
  checkOpfsName(name);
  const folder = await opfsFolder();
  const exists = await folder.getFileHandle(name).then(
    () => true,
    () => false,
  );
  if (exists) throw new FileError(`opfs:${name}: there is an image of that name`);
  const file = await folder.getFileHandle(name, { create: true });
  try {
    const stream = await file.createWritable();
    if (content) await content.stream().pipeTo(stream);
    else {
      await stream.truncate(sizeBytes);
      await stream.close();
    }
  } catch (error) {
    await folder.removeEntry(name).catch(() => undefined);
    if (error instanceof DOMException && error.name === 'QuotaExceededError') {
      throw new FileError(`opfs:${name}: the browser has no room for ${Math.ceil(sizeBytes / 2 ** 20)} MiB`);
    }
    throw error;
  }
}

/** Makes an empty image. */
export function createImage(name: string, sizeBytes: number): Promise<void> {
  return write(name, undefined, sizeBytes);
}

/** Keeps a copy of a file. */
export function importImage(name: string, content: Blob): Promise<void> {
  return write(name, content, content.size);
}

export async function readImage(name: string): Promise<File> {
  return await (await (await opfsFolder()).getFileHandle(name)).getFile();
}

/** Removes an image, with its index when it is an overlay. Rejects while a machine has it open. */
export async function deleteImage(name: string): Promise<void> {
  const folder = await opfsFolder();
  try {
    await folder.removeEntry(name);
  } catch (error) {
    throw new FileError(`opfs:${name}: it cannot be deleted while a machine has it open`, { cause: error });
  }
  await folder.removeEntry(name + INDEX_SUFFIX).catch(() => undefined);
}
