/** Files in memory that a page gives a guest and takes back; the guest mounts them with `-s N,virtio-9p,NAME=memory:`. */
import type { TreeStatus } from '../devices/share/memory-tree.ts';
import type { MachinePort } from './port/protocol.ts';

type Entry = readonly [name: string, handle: FileSystemDirectoryHandle | FileSystemFileHandle];

/** A folder's entries; TypeScript's DOM library has this for other kinds of projects only. */
function entriesOf(folder: FileSystemDirectoryHandle): AsyncIterable<Entry> {
  return (folder as unknown as { entries(): AsyncIterable<Entry> }).entries();
}

/** Paths begin at the tree's root, with or without a slash. What does not exist, and the like, is an Error whose message begins with ENOENT. */
export class RemoteFileTree {
  constructor(private readonly port: MachinePort) {}

  /** Writes a whole file; directories on the way are made. Text is written as UTF-8. */
  async write(path: string, content: Uint8Array | string): Promise<void> {
    await this.port.call('fs-write', { path, content });
  }

  /** A whole file. */
  read(path: string): Promise<Uint8Array> {
    return this.port.call('fs-read', { path });
  }

  /** A whole file as text in UTF-8. */
  async readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.read(path));
  }

  /** Names in a directory, sorted. */
  async list(path = '/'): Promise<string[]> {
    return [...(await this.port.call('fs-list', { path }))];
  }

  /** Type, size in bytes, permissions and time of change; undefined when there is nothing of that name. */
  status(path: string): Promise<TreeStatus | undefined> {
    return this.port.call('fs-status', { path });
  }

  async exists(path: string): Promise<boolean> {
    return (await this.status(path)) !== undefined;
  }

  async makeDirectory(path: string): Promise<void> {
    await this.port.call('fs-make-directory', { path });
  }

  /**
   * Copies what a folder of the browser holds (its private file system, or one that the user has opened) into a directory of the tree, over
   * what is there. Times and permissions are new.
   */
  async load(from: FileSystemDirectoryHandle, path = '/'): Promise<void> {
    if (path.split('/').some((name) => name !== '' && name !== '.')) await this.makeDirectory(path);
    for await (const [name, handle] of entriesOf(from)) {
      const below = `${path}/${name}`;
      if (handle.kind === 'directory') await this.load(handle, below);
      else await this.write(below, new Uint8Array(await (await handle.getFile()).arrayBuffer()));
    }
  }

  /**
   * Copies a directory of the tree into a folder of the browser, over what is there; what the folder has besides stays. Symbolic links, devices and the
   * like are left out: such folders hold none.
   */
  async save(to: FileSystemDirectoryHandle, path = '/'): Promise<void> {
    for (const name of await this.list(path)) {
      const below = `${path}/${name}`;
      const type = (await this.status(below))?.type;
      if (type === 'directory') await this.save(await to.getDirectoryHandle(name, { create: true }), below);
      else if (type === 'file') {
        const file = await (await to.getFileHandle(name, { create: true })).createWritable();
        await file.write((await this.read(below)) as Uint8Array<ArrayBuffer>);
        await file.close();
      }
    }
  }

  /** Removes a file, or a directory with everything in it. */
  async remove(path: string): Promise<void> {
    await this.port.call('fs-remove', { path });
  }
}
