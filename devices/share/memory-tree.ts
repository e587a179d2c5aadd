/**
 * A file system in memory: what a program gives a guest and takes back (`vm.fs`), without a host's files. Paths of the program are texts that
 * begin anywhere (`/a/b` and `a/b` are the same); the guest sees changes at once unless it caches.
 */
import { NoBackendError, type BackendOpeners } from '../backends/kinds.ts';
import { MemoryNode } from './memory-node.ts';
import { MemoryUsage } from './memory-usage.ts';
import { nameToText, ShareError, S_IFREG, textToName, type ShareBackend, type ShareNode } from '../backends/share.ts';

/** Bytes that files may have together. */
export const DEFAULT_TREE_BYTES = 1024 * 1024 * 1024;

const FILE_PERMISSIONS = 0o644;
const DIRECTORY_PERMISSIONS = 0o755;

export interface MemoryTreeOptions {
  /** What files may have together; a guest that wants more gets ENOSPC. 1 GiB by default. */
  readonly maxBytes?: number;
  /** Files to begin with, by path: bytes, or text that is written as UTF-8. */
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
}

export interface TreeStatus {
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly sizeBytes: number;
  /** Permissions. */
  readonly permissions: number;
  readonly modified: Date;
}

export class MemoryTree implements ShareBackend {
  readonly readOnly = false;
  readonly #usage: MemoryUsage;
  readonly #root: MemoryNode;

  constructor(options: MemoryTreeOptions = {}) {
    this.#usage = new MemoryUsage(options.maxBytes ?? DEFAULT_TREE_BYTES);
    this.#root = MemoryNode.makeRoot(this.#usage, DIRECTORY_PERMISSIONS);
    for (const [path, content] of Object.entries(options.files ?? {})) this.write(path, content);
  }

  root(): ShareNode {
    return this.#root.hold();
  }

  /** Nothing to give back: the tree belongs to the program, and outlives the machine. */
  close(): void {}

  static #names(path: string): string[] {
    const names = path.split('/').filter((name) => name !== '' && name !== '.');
    if (names.includes('..')) throw new ShareError('EINVAL', `${path}: ".." in a path`);
    return names.map(textToName);
  }

  #find(path: string): MemoryNode {
    let node = this.#root;
    try {
      for (const name of MemoryTree.#names(path)) node = node.child(name);
    } catch (error) {
      throw error instanceof ShareError ? new ShareError(error.code, `${error.code}: ${path}`) : error;
    }
    return node;
  }

  /** The directory that a path's last name is in, made if need be, and that name. */
  #parent(path: string): [MemoryNode, string] {
    const names = MemoryTree.#names(path);
    const last = names.pop();
    if (last === undefined) throw new ShareError('EISDIR', `EISDIR: ${path}`);
    let node = this.#root;
    for (const name of names) {
      if (!node.has(name)) node.makeDirectory(name, DIRECTORY_PERMISSIONS, node.owner).release();
      node = node.child(name);
    }
    return [node, last];
  }

  /** Writes a whole file; directories on the way are made. Text is written as UTF-8. `permissions` count for a new file. */
  write(path: string, content: Uint8Array | string, permissions = FILE_PERMISSIONS): void {
    const [parent, name] = this.#parent(path);
    if (!parent.has(name)) parent.makeSpecial(name, S_IFREG | permissions, 0, 0, parent.owner).release();
    const node = parent.child(name);
    node.setAttributes({ sizeBytes: 0 });
    node.write(0, [typeof content === 'string' ? new TextEncoder().encode(content) : content]);
  }

  /** A whole file. Throws {@link ShareError} with `code` ENOENT, EISDIR... */
  read(path: string): Uint8Array {
    const node = this.#find(path);
    const bytes = new Uint8Array(node.attributes().sizeBytes);
    node.read(0, [bytes]);
    return bytes;
  }

  /** A whole file as text in UTF-8. */
  readText(path: string): string {
    return new TextDecoder().decode(this.read(path));
  }

  /** Names in a directory, sorted. */
  list(path = '/'): string[] {
    return this.#find(path)
      .list()
      .map(({ name }) => nameToText(name))
      .sort();
  }

  makeDirectory(path: string): void {
    const [parent, name] = this.#parent(path);
    if (!parent.has(name)) parent.makeDirectory(name, DIRECTORY_PERMISSIONS, parent.owner).release();
    else if (!parent.child(name).isDirectory) throw new ShareError('EEXIST', `EEXIST: ${path}`);
  }

  exists(path: string): boolean {
    try {
      this.#find(path);
      return true;
    } catch (error) {
      if (error instanceof ShareError) return false;
      throw error;
    }
  }

  status(path: string): TreeStatus {
    const node = this.#find(path);
    const { mode, sizeBytes, modificationNs } = node.attributes();
    return {
      type: node.kind,
      sizeBytes,
      permissions: mode & 0o7777,
      modified: new Date(Number(modificationNs / 1_000_000n)),
    };
  }

  /** Removes a file, or a directory with everything in it. */
  remove(path: string): void {
    const [parent, name] = this.#parent(path);
    const node = parent.child(name);
    if (node.isDirectory) for (const child of this.list(path)) this.remove(`${path}/${child}`);
    parent.remove(name, node.isDirectory);
  }
}

/** The path by which a share of the machine's own tree is configured. */
export const MEMORY_SHARE_PATH = 'memory:';

/** A host's backends, with a tree in memory as the share {@link MEMORY_SHARE_PATH}. */
export function withMemoryShare(backends: BackendOpeners, tree: MemoryTree): BackendOpeners {
  const { share } = backends;
  return {
    ...backends,
    share: (settings) => {
      if (settings.path === MEMORY_SHARE_PATH) return Promise.resolve(tree);
      return share ? share(settings) : Promise.reject(new NoBackendError('share'));
    },
  };
}
