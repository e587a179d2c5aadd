/**
 * A file system that a host gives to guests. The 9P server (nine-p-server.ts) knows nothing about the host but this.
 *
 * Names, link targets and names of extended attributes are *byte strings*: one character, U+0000 to U+00FF, for each byte. File names of
 * Linux are bytes that need not be UTF-8, and they pass through unchanged; {@link bytesToName} and {@link nameToBytes} convert.
 */

/** What a backend returns: hosts whose calls do not wait need not make promises. */
export type Awaitable<T> = T | Promise<T>;

/**
 * A failure that the guest learns of. `code` is a name of errno(3) as Linux has it; the server translates errors of any class that have
 * such a code, so a host's own errors (`ENOENT` of Node) pass through. Errors without one become EIO and are counted.
 */
export class ShareError extends Error {
  override readonly name = 'ShareError';
  constructor(
    readonly code: string,
    message: string = code,
  ) {
    super(message);
  }
}

/** Types of files in the bits S_IFMT of a mode (inode(7)). */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

export interface ShareAttributes {
  /** Names the object for as long as it exists: two nodes with the same id are the same file. Below 2^64. */
  readonly id: bigint;
  /** Type and permissions, as in stat(2). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  /** Best size of a transfer. */
  readonly blockBytes: number;
  /** Space taken, in units of 512 bytes. */
  readonly blocks: number;
  /** Numbers of a device file. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Nanoseconds since 1970. */
  readonly accessNs: bigint;
  readonly modificationNs: bigint;
  readonly changeNs: bigint;
}

/** What {@link ShareNode.setAttributes} changes; what is absent stays. */
export interface ShareChanges {
  /** Permissions, without the type. */
  readonly permissions?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  /** Nanoseconds since 1970, or the present time. */
  readonly accessNs?: bigint | 'now';
  readonly modificationNs?: bigint | 'now';
}

export interface ShareOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface ShareSpace {
  readonly blockBytes: number;
  readonly blocks: bigint;
  readonly freeBlocks: bigint;
  /** Free for users without privileges. */
  readonly availableBlocks: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
}

export interface ShareEntry {
  readonly name: string;
  readonly id: bigint;
  /** Bits S_IFMT. */
  readonly type: number;
}

export interface ShareOpenMode {
  readonly read: boolean;
  readonly write: boolean;
  readonly truncate: boolean;
  /** A write is durable when it resolves (O_SYNC, O_DSYNC). */
  readonly synchronous: boolean;
}

/** An open file: it stays usable when its name is changed or removed. */
export interface ShareFile {
  /** Fills the views from `offset` on; resolves with how many bytes there were. */
  read(offset: number, views: readonly Uint8Array[]): Awaitable<number>;
  /** Resolves with how many bytes were written, which is all of them unless the device is full. */
  write(offset: number, views: readonly Uint8Array[]): Awaitable<number>;
  /** Resolves when what was written is durable. */
  sync(dataOnly: boolean): Awaitable<void>;
  close(): Awaitable<void>;
}

export interface SharePlace {
  readonly parent: ShareNode;
  readonly name: string;
}

/**
 * A file, directory or symbolic link, held by the one who looked it up until {@link release}. It follows the object when the
 * object is renamed. Names given to a directory's methods are single components, never empty, `.` or `..`, without `/` and NUL, of at most 255 bytes.
 * No method follows a symbolic link.
 */
export interface ShareNode {
  attributes(): Awaitable<ShareAttributes>;
  setAttributes(changes: ShareChanges): Awaitable<void>;
  /** Where it lies now; undefined for the root, and for what has no name any more. The parent is held for the caller, who releases it. */
  place(): Awaitable<SharePlace | undefined>;
  readLink(): Awaitable<string>;
  open(mode: ShareOpenMode): Awaitable<ShareFile>;
  space(): Awaitable<ShareSpace>;
  /** Resolves when a directory's names are durable. */
  syncDirectory(): Awaitable<void>;

  lookup(name: string): Awaitable<ShareNode>;
  /** The directory as it is now, without `.` and `..`. */
  list(): Awaitable<ShareEntry[]>;
  /** Makes and opens a file; an existing one is opened unless `exclusive`. */
  create(
    name: string,
    mode: ShareOpenMode,
    exclusive: boolean,
    permissions: number,
    owner: ShareOwner,
  ): Awaitable<{ readonly node: ShareNode; readonly file: ShareFile }>;
  makeDirectory(name: string, permissions: number, owner: ShareOwner): Awaitable<ShareNode>;
  makeSymlink(name: string, target: string, owner: ShareOwner): Awaitable<ShareNode>;
  /** `mode` with its type: a regular file, FIFO, socket or device. */
  makeSpecial(name: string, mode: number, major: number, minor: number, owner: ShareOwner): Awaitable<ShareNode>;
  makeLink(name: string, to: ShareNode): Awaitable<void>;
  /** Removes a name: of a directory (`directory`), which must be empty, or of anything else. */
  remove(name: string, directory: boolean): Awaitable<void>;
  /** Moves what has `name` here, taking the place of what has the new name. */
  rename(name: string, newParent: ShareNode, newName: string): Awaitable<void>;

  /** The names of its extended attributes. */
  listXattrs(): Awaitable<string[]>;
  /** Throws ENODATA when there is none of that name. */
  getXattr(name: string): Awaitable<Uint8Array>;
  /** `create`: EEXIST if it exists; `replace`: ENODATA if it does not. */
  setXattr(
    name: string,
    value: Uint8Array,
    flags: { readonly create: boolean; readonly replace: boolean },
  ): Awaitable<void>;
  removeXattr(name: string): Awaitable<void>;

  /** Another hold of the same object. */
  hold(): ShareNode;
  release(): void;
}

/** Which files to share. */
export interface ShareSettings {
  /** A folder of the host, or `memory:` for files that the program keeps in memory. */
  readonly path: string;
  readonly readOnly: boolean;
}

export interface ShareBackend {
  /** Nothing can be changed, whatever the device's options say. */
  readonly readOnly: boolean;
  /** The directory that guests mount, held for the caller. */
  root(): Awaitable<ShareNode>;
  close(): Awaitable<void>;
}

/** Bytes as a byte string. */
export function bytesToName(bytes: Uint8Array): string {
  let name = '';
  for (const byte of bytes) name += String.fromCharCode(byte);
  return name;
}

/** A byte string as bytes. */
export function nameToBytes(name: string): Uint8Array {
  return Uint8Array.from(name, (character) => character.charCodeAt(0));
}

/** A text, encoded as UTF-8, as a byte string. */
export function textToName(text: string): string {
  return bytesToName(new TextEncoder().encode(text));
}

/** The text that a byte string is in UTF-8; sequences that are not become U+FFFD. */
export function nameToText(name: string): string {
  return new TextDecoder().decode(nameToBytes(name));
}
