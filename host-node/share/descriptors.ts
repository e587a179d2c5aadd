/**
 * O_PATH descriptors (open(2) of Linux): each names one object of a file system, whatever becomes of its name, without opening it. A folder
 * share keeps one for each object that the guest knows, and closes those not used lately when there are too many.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs';

/** Not among Node's constants: the value on every architecture that Node runs on. */
export const O_PATH = 0o10000000;

/** More are never kept, however many the host allows. */
const MAX_DESCRIPTORS = 65_536;
const DEFAULT_LIMIT = 1024;

/** A quarter of the open files that this process may have: disks, sockets and the guest's open files need the others. */
function descriptorBudget(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  const soft = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? DEFAULT_LIMIT);
  return Math.min(MAX_DESCRIPTORS, Math.max(64, Math.floor(soft / 4)));
}

/** Something whose descriptor may be closed while it is not used. */
export interface DescriptorOwner {
  closeDescriptor(): void;
}

export class DescriptorCache {
  readonly limit: number;
  /** Least recently used first. */
  readonly #owners = new Set<DescriptorOwner>();

  constructor(limit = descriptorBudget()) {
    this.limit = limit;
  }

  /** The owner's descriptor was used: it is the last to be closed. */
  touch(owner: DescriptorOwner): void {
    this.#owners.delete(owner);
    this.#owners.add(owner);
    if (this.#owners.size <= this.limit) return;
    for (const oldest of this.#owners) {
      this.#owners.delete(oldest);
      oldest.closeDescriptor();
      return;
    }
  }

  forget(owner: DescriptorOwner): void {
    this.#owners.delete(owner);
  }

  get size(): number {
    return this.#owners.size;
  }
}

/** The path under which /proc shows a descriptor: a link that the kernel follows to the object itself, not by its name. */
export function descriptorPath(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}

/**
 * The path of a name in a directory. The kernel begins at the directory that the descriptor names, and the name has no `/` and is not
 * `..`: no rename or symbolic link can make it lead elsewhere but by being a link itself.
 */
export function entryPath(directory: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${directory}/${name}`, 'latin1');
}

/** Names what is there, a symbolic link itself and not its target. */
export function openEntry(directory: number, name: string): number {
  return openSync(entryPath(directory, name), O_PATH | constants.O_NOFOLLOW);
}

export { closeSync as closeDescriptor };
