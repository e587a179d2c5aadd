/** Files in memory that a page gives a guest and takes back; the guest mounts them with `-s N,virtio-9p,NAME=memory:`. */
import type { TreeStatus } from '../devices/share/memory-tree.ts';
import type { MachinePort } from './port/protocol.ts';

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

  /** Removes a file, or a directory with everything in it. */
  async remove(path: string): Promise<void> {
    await this.port.call('fs-remove', { path });
  }
}
