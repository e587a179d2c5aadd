/**
 * What guests want files to have and Node cannot give them: extended attributes, and FIFOs, sockets and devices, which stand as empty files
 * on the host. It is kept in a directory of the share's root that the guest does not see, one file an object, named by inode.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { entryPath } from './descriptors.ts';

export const METADATA_DIRECTORY = '.webhyve-metadata';

export interface SpecialFile {
  /** Bits S_IFMT. */
  readonly type: number;
  readonly major: number;
  readonly minor: number;
}

export interface Metadata {
  special: SpecialFile | undefined;
  /** Values by name (byte strings). */
  readonly xattrs: Map<string, Uint8Array>;
}

interface StoredMetadata {
  readonly birthNs: string;
  readonly special?: SpecialFile;
  readonly xattrs?: Readonly<Record<string, string>>;
}

export class MetadataStore {
  readonly #directory: string;
  #exists: boolean;

  /** `root` is a descriptor of the share's root. */
  constructor(root: number) {
    this.#directory = entryPath(root, METADATA_DIRECTORY).toString('latin1');
    this.#exists = statSync(this.#directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
  }

  #path(inode: bigint): string {
    return `${this.#directory}/${inode}`;
  }

  /** What is known of an object; `birthNs` tells it from an earlier one with the same inode number. */
  read(inode: bigint, birthNs: bigint): Metadata {
    const metadata: Metadata = { special: undefined, xattrs: new Map() };
    if (!this.#exists) return metadata;
    let stored: StoredMetadata;
    try {
      stored = JSON.parse(readFileSync(this.#path(inode), 'utf8')) as StoredMetadata;
    } catch {
      // None, or one that somebody has spoilt.
      return metadata;
    }
    if (stored.birthNs !== String(birthNs)) return metadata;
    metadata.special = stored.special;
    for (const [name, value] of Object.entries(stored.xattrs ?? {})) {
      metadata.xattrs.set(name, new Uint8Array(Buffer.from(value, 'base64')));
    }
    return metadata;
  }

  /** Keeps an object's metadata, or removes it when there is nothing to keep. */
  write(inode: bigint, birthNs: bigint, { special, xattrs }: Metadata): void {
    if (!special && xattrs.size === 0) {
      this.remove(inode);
      return;
    }
    if (!this.#exists) {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      this.#exists = true;
    }
    const stored: StoredMetadata = {
      birthNs: String(birthNs),
      ...(special ? { special } : {}),
      xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [name, Buffer.from(value).toString('base64')])),
    };
    const path = this.#path(inode);
    writeFileSync(`${path}.new`, JSON.stringify(stored), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** The object has gone. */
  remove(inode: bigint): void {
    if (this.#exists) rmSync(this.#path(inode), { force: true });
  }
}
