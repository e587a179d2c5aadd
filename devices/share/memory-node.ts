/** One object of a tree in memory. Its methods never wait. */
import { BLOCK_BYTES, type MemoryUsage } from './memory-usage.ts';
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
} from '../backends/share.ts';

/** Extended attributes of one object, as much as ext4 holds in a block. */
const MAX_XATTR_BYTES = 65_536;
/** Files may be sparse: 64 TiB. */
const MAX_FILE_BYTES = 2 ** 46;

function nowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

export class MemoryNode implements ShareNode {
  readonly #usage: MemoryUsage;
  readonly #id: bigint;
  #mode: number;
  #uid: number;
  #gid: number;
  #links = 0;
  #sizeBytes = 0;
  /** Contents of a regular file by block; what is absent is zeros. */
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #entries = new Map<string, MemoryNode>();
  #target = '';
  readonly #xattrs = new Map<string, Uint8Array>();
  #parent: MemoryNode | undefined;
  /** One of its names in the parent. */
  #name = '';
  #accessNs: bigint;
  #modificationNs: bigint;
  #changeNs: bigint;
  /** Fids and open files that keep contents alive when the last name is gone. */
  #holds = 0;
  #freed = false;
  #deviceMajor = 0;
  #deviceMinor = 0;

  private constructor(usage: MemoryUsage, mode: number, { uid, gid }: ShareOwner) {
    this.#usage = usage;
    this.#id = usage.takeNode();
    this.#mode = mode;
    this.#uid = uid;
    this.#gid = gid;
    this.#accessNs = this.#modificationNs = this.#changeNs = nowNs();
  }

  /** A tree's root: it has no name and never goes. */
  static makeRoot(usage: MemoryUsage, permissions: number): MemoryNode {
    const root = new MemoryNode(usage, S_IFDIR | permissions, { uid: 0, gid: 0 });
    root.#links = 1;
    return root;
  }

  get isDirectory(): boolean {
    return (this.#mode & S_IFMT) === S_IFDIR;
  }

  get kind(): 'file' | 'directory' | 'symlink' | 'other' {
    switch (this.#mode & S_IFMT) {
      case S_IFREG:
        return 'file';
      case S_IFDIR:
        return 'directory';
      case S_IFLNK:
        return 'symlink';
      default:
        return 'other';
    }
  }

  get owner(): ShareOwner {
    return { uid: this.#uid, gid: this.#gid };
  }

  #directory(): Map<string, MemoryNode> {
    if (!this.isDirectory) throw new ShareError('ENOTDIR');
    return this.#entries;
  }

  #regular(): void {
    if (this.isDirectory) throw new ShareError('EISDIR');
    if ((this.#mode & S_IFMT) !== S_IFREG) throw new ShareError('EINVAL', 'not a regular file');
  }

  #changed(contents: boolean): void {
    this.#changeNs = nowNs();
    if (contents) this.#modificationNs = this.#changeNs;
  }

  attributes(): ShareAttributes {
    return {
      id: this.#id,
      mode: this.#mode,
      uid: this.#uid,
      gid: this.#gid,
      linkCount: this.isDirectory ? 2 : this.#links,
      sizeBytes: this.isDirectory ? this.#entries.size * 32 : this.#target.length + this.#sizeBytes,
      blockBytes: 4096,
      blocks: this.#blocks.size * (BLOCK_BYTES / 512),
      deviceMajor: this.#deviceMajor,
      deviceMinor: this.#deviceMinor,
      accessNs: this.#accessNs,
      modificationNs: this.#modificationNs,
      changeNs: this.#changeNs,
    };
  }

  setAttributes(changes: ShareChanges): void {
    if (changes.sizeBytes !== undefined) this.#resize(changes.sizeBytes);
    if (changes.permissions !== undefined) this.#mode = (this.#mode & S_IFMT) | changes.permissions;
    if (changes.uid !== undefined) this.#uid = changes.uid;
    if (changes.gid !== undefined) this.#gid = changes.gid;
    const now = nowNs();
    if (changes.accessNs !== undefined) this.#accessNs = changes.accessNs === 'now' ? now : changes.accessNs;
    if (changes.modificationNs !== undefined) {
      this.#modificationNs = changes.modificationNs === 'now' ? now : changes.modificationNs;
    }
    this.#changeNs = now;
  }

  #resize(sizeBytes: number): void {
    this.#regular();
    if (sizeBytes > MAX_FILE_BYTES) throw new ShareError('EFBIG');
    for (const [index, block] of this.#blocks) {
      const end = sizeBytes - index * BLOCK_BYTES;
      if (end <= 0) {
        this.#blocks.delete(index);
        this.#usage.giveBlocks(1);
      } else if (end < BLOCK_BYTES) {
        block.fill(0, end);
      }
    }
    this.#sizeBytes = sizeBytes;
    this.#changed(true);
  }

  place(): SharePlace | undefined {
    return this.#parent ? { parent: this.#parent.hold(), name: this.#name } : undefined;
  }

  readLink(): string {
    if ((this.#mode & S_IFMT) !== S_IFLNK) throw new ShareError('EINVAL', 'not a symbolic link');
    return this.#target;
  }

  open(mode: ShareOpenMode): ShareFile {
    this.#regular();
    if (mode.truncate) this.#resize(0);
    return new OpenMemoryFile(this.hold());
  }

  space(): ShareSpace {
    const unit = BigInt(BLOCK_BYTES / 4096);
    const blocks = BigInt(this.#usage.maxBlocks) * unit;
    const freeBlocks = blocks - BigInt(this.#usage.usedBlocks) * unit;
    const files = BigInt(this.#usage.maxNodes);
    const freeFiles = files - BigInt(this.#usage.nodes);
    return { blockBytes: 4096, blocks, freeBlocks, availableBlocks: freeBlocks, files, freeFiles };
  }

  syncDirectory(): void {}

  read(offset: number, views: readonly Uint8Array[]): number {
    this.#regular();
    let at = offset;
    for (const view of views) {
      const length = Math.max(0, Math.min(view.length, this.#sizeBytes - at));
      for (let done = 0; done < length;) {
        const start = at % BLOCK_BYTES;
        const count = Math.min(length - done, BLOCK_BYTES - start);
        const block = this.#blocks.get(Math.floor(at / BLOCK_BYTES));
        if (block) view.set(block.subarray(start, start + count), done);
        else view.fill(0, done, done + count);
        done += count;
        at += count;
      }
      if (length < view.length) break;
    }
    return Math.max(0, at - offset);
  }

  write(offset: number, views: readonly Uint8Array[]): number {
    this.#regular();
    let at = offset;
    if (views.reduce((sum, view) => sum + view.length, offset) > MAX_FILE_BYTES) throw new ShareError('EFBIG');
    try {
      for (const view of views) {
        for (let done = 0; done < view.length;) {
          const index = Math.floor(at / BLOCK_BYTES);
          const start = at % BLOCK_BYTES;
          const piece = view.subarray(done, done + BLOCK_BYTES - start);
          let block = this.#blocks.get(index);
          if (!block) this.#blocks.set(index, (block = this.#usage.takeBlock()));
          block.set(piece, start);
          done += piece.length;
          at += piece.length;
        }
      }
    } catch (error) {
      // What fitted is written; the next write is told.
      if (at === offset) throw error;
    }
    if (at > offset) this.#sizeBytes = Math.max(this.#sizeBytes, at);
    this.#changed(true);
    return at - offset;
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Directories

  has(name: string): boolean {
    return this.#directory().has(name);
  }

  /** What has a name here, not held. */
  child(name: string): MemoryNode {
    const node = this.#directory().get(name);
    if (!node) throw new ShareError('ENOENT');
    return node;
  }

  lookup(name: string): MemoryNode {
    return this.child(name).hold();
  }

  list(): ShareEntry[] {
    return [...this.#directory()].map(([name, node]) => ({ name, id: node.#id, type: node.#mode & S_IFMT }));
  }

  /** Gives an object a name here. */
  #add(name: string, node: MemoryNode): void {
    if (this.#links === 0) throw new ShareError('ENOENT', 'the directory has been removed');
    this.#entries.set(name, node);
    node.#links++;
    node.#parent = this;
    node.#name = name;
    this.#changed(true);
    node.#changed(false);
  }

  #make(name: string, mode: number, owner: ShareOwner): MemoryNode {
    if (this.#directory().has(name)) throw new ShareError('EEXIST');
    if (this.#links === 0) throw new ShareError('ENOENT', 'the directory has been removed');
    const node = new MemoryNode(this.#usage, mode, owner);
    this.#add(name, node);
    return node.hold();
  }

  create(
    name: string,
    mode: ShareOpenMode,
    exclusive: boolean,
    permissions: number,
    owner: ShareOwner,
  ): { node: ShareNode; file: ShareFile } {
    const existing = this.#directory().get(name);
    if (existing && exclusive) throw new ShareError('EEXIST');
    const node = existing?.hold() ?? this.#make(name, S_IFREG | permissions, owner);
    try {
      return { node, file: node.open(mode) };
    } catch (error) {
      node.release();
      throw error;
    }
  }

  makeDirectory(name: string, permissions: number, owner: ShareOwner): MemoryNode {
    return this.#make(name, S_IFDIR | permissions, owner);
  }

  makeSymlink(name: string, target: string, owner: ShareOwner): MemoryNode {
    const node = this.#make(name, S_IFLNK | 0o777, owner);
    node.#target = target;
    return node;
  }

  makeSpecial(name: string, mode: number, major: number, minor: number, owner: ShareOwner): MemoryNode {
    const type = mode & S_IFMT;
    if (type === S_IFDIR || type === S_IFLNK) throw new ShareError('EINVAL', 'not a special file');
    const node = this.#make(name, (type === 0 ? S_IFREG : type) | (mode & 0o7777), owner);
    node.#deviceMajor = major;
    node.#deviceMinor = minor;
    return node;
  }

  makeLink(name: string, to: ShareNode): void {
    if (!(to instanceof MemoryNode)) throw new ShareError('EXDEV');
    if (to.isDirectory) throw new ShareError('EPERM');
    if (to.#links === 0) throw new ShareError('ENOENT');
    if (this.#directory().has(name)) throw new ShareError('EEXIST');
    this.#add(name, to);
  }

  remove(name: string, directory: boolean): void {
    const node = this.child(name);
    if (directory && !node.isDirectory) throw new ShareError('ENOTDIR');
    if (!directory && node.isDirectory) throw new ShareError('EISDIR');
    if (node.#entries.size > 0) throw new ShareError('ENOTEMPTY');
    this.#drop(name, node);
  }

  #drop(name: string, node: MemoryNode): void {
    this.#entries.delete(name);
    node.#links--;
    if (node.#links === 0) node.#parent = undefined;
    else if (node.#parent === this && node.#name === name) node.#findPlace(this);
    this.#changed(true);
    node.#changed(false);
    node.#freeIfUnused();
  }

  /** Of several names one has gone: another is looked for in the same directory. In others it is not found, and the object has no place. */
  #findPlace(directory: MemoryNode): void {
    this.#parent = undefined;
    for (const [name, node] of directory.#entries) {
      if (node !== this) continue;
      this.#parent = directory;
      this.#name = name;
      return;
    }
  }

  rename(name: string, newParent: ShareNode, newName: string): void {
    const node = this.child(name);
    if (!(newParent instanceof MemoryNode)) throw new ShareError('EXDEV');
    const target = newParent.#directory().get(newName);
    if (target === node) return;
    // A directory cannot move below itself.
    for (let above: MemoryNode | undefined = newParent; above; above = above.#parent) {
      if (above === node) throw new ShareError('EINVAL', 'a directory into itself');
    }
    if (target) {
      if (target.isDirectory && !node.isDirectory) throw new ShareError('EISDIR');
      if (!target.isDirectory && node.isDirectory) throw new ShareError('ENOTDIR');
      newParent.remove(newName, target.isDirectory);
    }
    newParent.#add(newName, node);
    this.#entries.delete(name);
    node.#links--;
    this.#changed(true);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Extended attributes

  listXattrs(): string[] {
    return [...this.#xattrs.keys()];
  }

  getXattr(name: string): Uint8Array {
    const value = this.#xattrs.get(name);
    if (!value) throw new ShareError('ENODATA');
    return value;
  }

  setXattr(name: string, value: Uint8Array, flags: { readonly create: boolean; readonly replace: boolean }): void {
    if (flags.create && this.#xattrs.has(name)) throw new ShareError('EEXIST');
    if (flags.replace && !this.#xattrs.has(name)) throw new ShareError('ENODATA');
    let total = value.length + name.length;
    for (const [other, bytes] of this.#xattrs) if (other !== name) total += other.length + bytes.length;
    if (total > MAX_XATTR_BYTES) throw new ShareError('ENOSPC');
    this.#xattrs.set(name, value.slice());
    this.#changed(false);
  }

  removeXattr(name: string): void {
    if (!this.#xattrs.delete(name)) throw new ShareError('ENODATA');
    this.#changed(false);
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Life

  hold(): this {
    this.#holds++;
    return this;
  }

  release(): void {
    this.#holds--;
    this.#freeIfUnused();
  }

  #freeIfUnused(): void {
    if (this.#links > 0 || this.#holds > 0 || this.#freed) return;
    this.#freed = true;
    this.#usage.giveBlocks(this.#blocks.size);
    this.#blocks.clear();
    this.#usage.giveNode();
  }
}

/** An open file keeps its object's contents when the last name goes. */
class OpenMemoryFile implements ShareFile {
  #node: MemoryNode | undefined;

  constructor(node: MemoryNode) {
    this.#node = node;
  }

  #use(): MemoryNode {
    if (!this.#node) throw new ShareError('EBADF');
    return this.#node;
  }

  read(offset: number, views: readonly Uint8Array[]): number {
    return this.#use().read(offset, views);
  }

  write(offset: number, views: readonly Uint8Array[]): number {
    return this.#use().write(offset, views);
  }

  sync(): void {}

  close(): void {
    this.#node?.release();
    this.#node = undefined;
  }
}
