/** One object of a shared folder (folder.ts), named by a descriptor. */
import {
  chmodSync,
  chownSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  type BigIntStats,
} from 'node:fs';
import {
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  ShareError,
  type ShareAttributes,
  type ShareChanges,
  type ShareEntry,
  type ShareFile,
  type ShareNode,
  type ShareOpenMode,
  type ShareOwner,
  type SharePlace,
  type ShareSpace,
} from '../../devices/backends/share.ts';
import { closeDescriptor, descriptorPath, entryPath, O_PATH, openEntry, type DescriptorOwner } from './descriptors.ts';
import type { FolderShare } from './folder.ts';
import { FolderFile, syncDescriptor } from './folder-file.ts';
import { METADATA_DIRECTORY, type Metadata } from './metadata.ts';

/** What Linux bounds the extended attributes of one object to on most file systems. */
const MAX_XATTR_BYTES = 65_536;

interface FolderPlace {
  readonly parent: FolderNode;
  readonly name: string;
}

function seconds(ns: bigint): number {
  return Number(ns) / 1e9;
}

function permissionsOf({ mode }: BigIntStats): number {
  return Number(mode) & 0o7777;
}

function openFlags(mode: ShareOpenMode): number {
  const access = mode.write ? (mode.read ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY;
  return (
    access |
    (mode.truncate ? constants.O_TRUNC : 0) |
    (mode.synchronous ? constants.O_SYNC : 0) |
    constants.O_NONBLOCK |
    constants.O_NOCTTY
  );
}

export class FolderNode implements ShareNode, DescriptorOwner {
  readonly #share: FolderShare;
  readonly #id: bigint;
  readonly #inode: bigint;
  readonly #birthNs: bigint;
  readonly #onRootDevice: boolean;
  #descriptor: number | undefined;
  /** Never closed while the node lives: it has no name by which it could be found again. */
  #pinned = false;
  #isRoot = false;
  #place: FolderPlace | undefined;
  #holds = 1;
  #metadata: Metadata | undefined;

  /** Takes the descriptor over; held once. */
  constructor(share: FolderShare, descriptor: number, stats: BigIntStats, place: FolderPlace | undefined) {
    this.#share = share;
    this.#descriptor = descriptor;
    this.#id = share.idOf(stats);
    this.#inode = stats.ino;
    this.#birthNs = stats.birthtimeNs;
    this.#onRootDevice = share.onRootDevice(stats);
    this.#place = place;
    place?.parent.hold();
    if (place) share.descriptors.touch(this);
    else this.#isRoot = this.#pinned = true;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Descriptors and places

  isSame(stats: BigIntStats): boolean {
    return stats.ino === this.#inode && stats.birthtimeNs === this.#birthNs;
  }

  #descriptorNow(): number {
    if (this.#descriptor === undefined) this.#reopen();
    else if (!this.#pinned) this.#share.descriptors.touch(this);
    if (this.#descriptor === undefined) throw new ShareError('ESTALE');
    return this.#descriptor;
  }

  /** Finds the object again by its place. */
  #reopen(): void {
    if (!this.#place) throw new ShareError('ESTALE');
    const descriptor = openEntry(this.#place.parent.#descriptorNow(), this.#place.name);
    if (!this.isSame(fstatSync(descriptor, { bigint: true }))) {
      closeDescriptor(descriptor);
      throw new ShareError('ESTALE');
    }
    this.#descriptor = descriptor;
    this.#share.descriptors.touch(this);
  }

  closeDescriptor(): void {
    if (this.#descriptor === undefined) return;
    closeDescriptor(this.#descriptor);
    this.#descriptor = undefined;
  }

  /** Its name is about to go: from now on only the descriptor names it. */
  #pin(): void {
    if (this.#pinned || !this.#share.takePin()) return;
    this.#descriptorNow();
    this.#pinned = true;
    this.#share.descriptors.forget(this);
  }

  /** The kernel's name of the object itself. */
  get #self(): string {
    return descriptorPath(this.#descriptorNow());
  }

  #entry(name: string): Buffer {
    return entryPath(this.#descriptorNow(), name);
  }

  /** Names that the guest neither sees nor makes. */
  #isHidden(name: string): boolean {
    return name === METADATA_DIRECTORY && this.#isRoot;
  }

  #checkNotHidden(name: string): void {
    if (this.#isHidden(name)) throw new ShareError('EACCES', 'a name that webhyve uses');
  }

  /** It has been found at a place, or moved to it. */
  moved(parent: FolderNode, name: string): void {
    if (this.#place?.parent === parent && this.#place.name === name) return;
    if (this.#isRoot) return;
    const before = this.#place;
    parent.hold();
    this.#place = { parent, name };
    before?.parent.release();
  }

  /** The place, confirmed; another program of the host may have moved it. */
  #confirmedPlace(): FolderPlace | undefined {
    if (this.#isRoot) return undefined;
    if (this.#place && this.#isAt(this.#place)) return this.#place;
    return this.#search();
  }

  #isAt({ parent, name }: FolderPlace): boolean {
    const stats = lstatSync(parent.#entry(name), { bigint: true, throwIfNoEntry: false });
    return stats !== undefined && this.isSame(stats);
  }

  /** Asks the kernel where it is now, and walks there from the root. */
  #search(): FolderPlace | undefined {
    const root = readlinkSync(this.#share.rootNode.#self, 'latin1');
    const path = readlinkSync(this.#self, 'latin1');
    const prefix = root === '/' ? '/' : `${root}/`;
    if (!path.startsWith(prefix)) return undefined;
    const names = path.slice(prefix.length).split('/');
    const last = names.pop();
    if (last === undefined || last === '') return undefined;
    let parent = this.#share.rootNode.hold();
    try {
      for (const name of names) {
        const next = parent.lookup(name);
        parent.release();
        parent = next;
      }
      if (!this.#isAt({ parent, name: last })) return undefined;
      this.moved(parent, last);
    } catch {
      // Gone, or on its way elsewhere.
      return undefined;
    } finally {
      parent.release();
    }
    return this.#place;
  }

  place(): SharePlace | undefined {
    const place = this.#confirmedPlace();
    return place ? { parent: place.parent.hold(), name: place.name } : undefined;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Attributes

  #stats(): BigIntStats {
    return fstatSync(this.#descriptorNow(), { bigint: true });
  }

  #metadataNow(): Metadata {
    this.#metadata ??= this.#onRootDevice
      ? this.#share.metadata.read(this.#inode, this.#birthNs)
      : { special: undefined, xattrs: new Map() };
    return this.#metadata;
  }

  attributes(): ShareAttributes {
    const stats = this.#stats();
    let mode = Number(stats.mode);
    let deviceMajor = Number(((stats.rdev >> 8n) & 0xfffn) | ((stats.rdev >> 32n) & ~0xfffn));
    let deviceMinor = Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xffffff00n));
    // An empty file may stand for something else.
    const special = stats.size === 0n && (mode & S_IFMT) === S_IFREG ? this.#metadataNow().special : undefined;
    if (special) {
      mode = (mode & ~S_IFMT) | special.type;
      deviceMajor = special.major;
      deviceMinor = special.minor;
    }
    return {
      id: this.#id,
      mode,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      linkCount: Number(stats.nlink),
      sizeBytes: Number(stats.size),
      blockBytes: Number(stats.blksize),
      blocks: Number(stats.blocks),
      deviceMajor,
      deviceMinor,
      accessNs: stats.atimeNs,
      modificationNs: stats.mtimeNs,
      changeNs: stats.ctimeNs,
    };
  }

  setAttributes(changes: ShareChanges): void {
    const stats = this.#stats();
    const type = Number(stats.mode) & S_IFMT;
    const { uid, gid, permissions, sizeBytes } = changes;
    const newUid = uid !== undefined && BigInt(uid) !== stats.uid ? uid : -1;
    const newGid = gid !== undefined && BigInt(gid) !== stats.gid ? gid : -1;
    if (newUid !== -1 || newGid !== -1) chownSync(this.#self, newUid, newGid);
    // Links have no permissions of their own.
    if (permissions !== undefined && type !== S_IFLNK) chmodSync(this.#self, permissions);
    if (sizeBytes !== undefined) {
      if (type === S_IFDIR) throw new ShareError('EISDIR');
      if (type !== S_IFREG || this.#metadataNow().special) throw new ShareError('EINVAL', 'not a regular file');
      truncateSync(this.#self, sizeBytes);
    }
    if (changes.accessNs !== undefined || changes.modificationNs !== undefined) {
      const now = Date.now() / 1000;
      const time = (value: bigint | 'now' | undefined, before: bigint): number =>
        value === 'now' ? now : seconds(value ?? before);
      utimesSync(this.#self, time(changes.accessNs, stats.atimeNs), time(changes.modificationNs, stats.mtimeNs));
    }
  }

  space(): ShareSpace {
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(this.#self, { bigint: true });
    return {
      blockBytes: Number(bsize),
      blocks,
      freeBlocks: bfree,
      availableBlocks: bavail,
      files,
      freeFiles: ffree,
    };
  }

  readLink(): string {
    const place = this.#confirmedPlace();
    if (!place) throw new ShareError('ENOENT');
    const target = readlinkSync(place.parent.#entry(place.name), 'latin1');
    // Another may have taken its place between.
    if (!this.#isAt(place)) throw new ShareError('ESTALE');
    return target;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Files

  open(mode: ShareOpenMode): ShareFile {
    const attributes = this.attributes();
    if ((attributes.mode & S_IFMT) !== S_IFREG) throw new ShareError('EACCES', 'not a regular file');
    const slot = this.#share.takeOpenFile();
    return this.#opened(slot, () => openSync(this.#self, openFlags(mode)));
  }

  /** An open file that gives its slot back when it is closed. */
  #opened(giveBack: () => void, open: () => number): FolderFile {
    try {
      return new FolderFile(open(), giveBack, this.#onRootDevice ? this.#share.spot : undefined);
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  create(
    name: string,
    mode: ShareOpenMode,
    exclusive: boolean,
    permissions: number,
    owner: ShareOwner,
  ): { node: ShareNode; file: ShareFile } {
    this.#checkNotHidden(name);
    let descriptor = -1;
    let file: FolderFile;
    try {
      // An existing one is never opened by its name: it may be a FIFO, which waits, or a link.
      const flags = openFlags(mode) | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      file = this.#opened(this.#share.takeOpenFile(), () => {
        descriptor = openSync(this.#entry(name), flags, permissions);
        return descriptor;
      });
    } catch (error) {
      if (exclusive || !(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      return this.#openExisting(name, mode);
    }
    try {
      // The process's umask took some away.
      fchmodSync(descriptor, permissions);
      if (process.geteuid?.() === 0) fchownSync(descriptor, owner.uid, owner.gid);
      const node = this.#share.adopt(openSync(descriptorPath(descriptor), O_PATH), this, name);
      return { node, file };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #openExisting(name: string, mode: ShareOpenMode): { node: ShareNode; file: ShareFile } {
    const node = this.lookup(name);
    try {
      return { node, file: node.open(mode) };
    } catch (error) {
      node.release();
      throw error;
    }
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Directories

  lookup(name: string): FolderNode {
    if (this.#isHidden(name)) throw new ShareError('ENOENT');
    return this.#share.adopt(openEntry(this.#descriptorNow(), name), this, name);
  }

  list(): ShareEntry[] {
    const entries: ShareEntry[] = [];
    for (const name of readdirSync(this.#self, 'latin1')) {
      if (this.#isHidden(name)) continue;
      const stats = lstatSync(this.#entry(name), { bigint: true, throwIfNoEntry: false });
      if (stats) entries.push({ name, id: this.#share.idOf(stats), type: Number(stats.mode) & S_IFMT });
    }
    return entries;
  }

  async syncDirectory(): Promise<void> {
    const descriptor = openSync(this.#self, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await syncDescriptor(descriptor, false);
    } finally {
      closeDescriptor(descriptor);
    }
  }

  /** The mode and the owner that the guest asked for, on what was just made. */
  #settle(node: FolderNode, permissions: number | undefined, owner: ShareOwner): FolderNode {
    try {
      if (process.geteuid?.() === 0) chownSync(node.#self, owner.uid, owner.gid);
      if (permissions !== undefined && permissionsOf(node.#stats()) !== permissions) chmodSync(node.#self, permissions);
    } catch (error) {
      node.release();
      throw error;
    }
    return node;
  }

  makeDirectory(name: string, permissions: number, owner: ShareOwner): ShareNode {
    this.#checkNotHidden(name);
    mkdirSync(this.#entry(name), permissions);
    return this.#settle(this.lookup(name), permissions, owner);
  }

  makeSymlink(name: string, target: string, owner: ShareOwner): ShareNode {
    this.#checkNotHidden(name);
    symlinkSync(Buffer.from(target, 'latin1'), this.#entry(name));
    return this.#settle(this.lookup(name), undefined, owner);
  }

  makeSpecial(name: string, mode: number, major: number, minor: number, owner: ShareOwner): ShareNode {
    const type = mode & S_IFMT;
    if (type === S_IFDIR || type === S_IFLNK) throw new ShareError('EINVAL', 'not a special file');
    const openMode = { read: false, write: true, truncate: false, synchronous: false };
    const { node, file } = this.create(name, openMode, true, mode & 0o7777, owner);
    void file.close();
    if (type !== 0 && type !== S_IFREG && node instanceof FolderNode) {
      node.#metadataNow().special = { type, major, minor };
      node.#store();
    }
    return node;
  }

  makeLink(name: string, to: ShareNode): void {
    this.#checkNotHidden(name);
    if (!(to instanceof FolderNode)) throw new ShareError('EXDEV');
    const place = to.#confirmedPlace();
    if (!place) throw new ShareError('ENOENT');
    linkSync(place.parent.#entry(place.name), this.#entry(name));
    if (to.#isAt({ parent: this, name })) return;
    // Something else had taken the name when the link was made.
    unlinkSync(this.#entry(name));
    throw new ShareError('ESTALE');
  }

  /** What a name stands for just before it goes: its descriptor must outlive the name, its metadata must not. */
  #beforeRemoval(name: string): BigIntStats | undefined {
    const stats = lstatSync(this.#entry(name), { bigint: true, throwIfNoEntry: false });
    const node = stats && this.#share.known(stats);
    if (node) {
      node.#metadataNow();
      node.#pin();
    }
    return stats;
  }

  #afterRemoval(stats: BigIntStats | undefined): void {
    if (stats && (stats.nlink <= 1n || (Number(stats.mode) & S_IFMT) === S_IFDIR) && this.#share.onRootDevice(stats)) {
      this.#share.metadata.remove(stats.ino);
    }
  }

  remove(name: string, directory: boolean): void {
    this.#checkNotHidden(name);
    const stats = this.#beforeRemoval(name);
    if (directory) rmdirSync(this.#entry(name));
    else unlinkSync(this.#entry(name));
    this.#afterRemoval(stats);
  }

  rename(name: string, newParent: ShareNode, newName: string): void {
    if (!(newParent instanceof FolderNode)) throw new ShareError('EXDEV');
    this.#checkNotHidden(name);
    newParent.#checkNotHidden(newName);
    const moving = lstatSync(this.#entry(name), { bigint: true, throwIfNoEntry: false });
    const replaced = newParent.#beforeRemoval(newName);
    renameSync(this.#entry(name), newParent.#entry(newName));
    if (moving) this.#share.known(moving)?.moved(newParent, newName);
    if (moving?.ino !== replaced?.ino) this.#afterRemoval(replaced);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Extended attributes

  #xattrs(name: string): Map<string, Uint8Array> {
    // The guest's kernel keeps POSIX ACLs there; a share has none.
    if (!this.#onRootDevice || name.startsWith('system.')) throw new ShareError('EOPNOTSUPP');
    return this.#metadataNow().xattrs;
  }

  #store(): void {
    // Without a name it is gone with the last descriptor.
    if (this.#stats().nlink === 0n) return;
    this.#share.metadata.write(this.#inode, this.#birthNs, this.#metadataNow());
  }

  listXattrs(): string[] {
    return this.#onRootDevice ? [...this.#metadataNow().xattrs.keys()] : [];
  }

  getXattr(name: string): Uint8Array {
    const value = this.#xattrs(name).get(name);
    if (!value) throw new ShareError('ENODATA');
    return value;
  }

  setXattr(name: string, value: Uint8Array, flags: { readonly create: boolean; readonly replace: boolean }): void {
    const xattrs = this.#xattrs(name);
    if (flags.create && xattrs.has(name)) throw new ShareError('EEXIST');
    if (flags.replace && !xattrs.has(name)) throw new ShareError('ENODATA');
    let total = name.length + value.length;
    for (const [other, bytes] of xattrs) if (other !== name) total += other.length + bytes.length;
    if (total > MAX_XATTR_BYTES) throw new ShareError('ENOSPC');
    xattrs.set(name, value.slice());
    this.#store();
  }

  removeXattr(name: string): void {
    if (!this.#xattrs(name).delete(name)) throw new ShareError('ENODATA');
    this.#store();
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Holds

  hold(): this {
    this.#holds++;
    return this;
  }

  release(): void {
    this.#holds--;
    if (this.#holds > 0 || this.#isRoot) return;
    if (this.#pinned) this.#share.givePin();
    this.#share.descriptors.forget(this);
    this.closeDescriptor();
    this.#share.forget(this.#id, this);
    this.#place?.parent.release();
    this.#place = undefined;
  }
}
