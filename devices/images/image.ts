/** File systems in disk images, as far as a loader needs them: files by their paths, read only. Everything in an image is checked. */

/** Reads bytes of a disk or of a part of it. Rejects with {@link ImageError} beyond its end. */
export type ReadRange = (offset: number, lengthBytes: number) => Promise<Uint8Array>;

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The image is damaged, or not what it should be; the message is one sentence. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** A file system in an image. */
export interface ImageFiles {
  /** What it is, for messages. */
  readonly kind: string;
  /** A whole file by its absolute path, links followed; undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Names in a directory; undefined when there is none. */
  list(path: string): Promise<string[] | undefined>;
}

/** No file that a loader reads is longer. */
export const MAX_FILE_BYTES = 512 * 1024 * 1024;
/** Symbolic links in one path. */
export const MAX_LINKS = 16;

/** One object of a file system, as {@link resolvePath} sees it. */
export interface ImageNode {
  readonly type: 'file' | 'directory' | 'link' | 'other';
  /** A file's contents, or a link's target. */
  contents(): Promise<Uint8Array>;
  /** What has a name in a directory. */
  child(name: string): Promise<ImageNode | undefined>;
  names(): Promise<string[]>;
}

/** The object at a path, links followed; undefined when there is none. */
export async function resolvePath(root: ImageNode, path: string): Promise<ImageNode | undefined> {
  let left = path.split('/').filter((name) => name !== '' && name !== '.');
  const trail: ImageNode[] = [root];
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    const directory = trail.at(-1);
    if (!directory) return undefined;
    if (name === '..') {
      if (trail.length > 1) trail.pop();
      continue;
    }
    const node = directory.type === 'directory' ? await directory.child(name) : undefined;
    if (!node) return undefined;
    if (node.type !== 'link') {
      trail.push(node);
      continue;
    }
    if (++links > MAX_LINKS) throw new ImageError(`Too many symbolic links in ${path}.`);
    const target = new TextDecoder().decode(await node.contents());
    if (target.startsWith('/')) trail.splice(1);
    left = [...target.split('/').filter((part) => part !== '' && part !== '.'), ...left];
  }
  return trail.at(-1);
}

/** {@link ImageFiles} over a root. */
export function imageFiles(kind: string, root: ImageNode): ImageFiles {
  return {
    kind,
    async read(path) {
      const node = await resolvePath(root, path);
      return node?.type === 'file' ? node.contents() : undefined;
    },
    async list(path) {
      const node = await resolvePath(root, path);
      return node?.type === 'directory' ? node.names() : undefined;
    },
  };
}
