/** ext2, ext3 and ext4 (Documentation/filesystems/ext4 of Linux), for reading, as GRUB reads them: what a journal still holds is not looked at. */
import {
  ImageError,
  imageFiles,
  MAX_FILE_BYTES,
  viewOf,
  type ImageFiles,
  type ImageNode,
  type ReadRange,
} from './image.ts';
import { InodeNode } from './inode-node.ts';

const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_BYTES = 1024;
const MAGIC = 0xef53;
const ROOT_INODE = 2;
const OLD_INODE_BYTES = 128;
const DESCRIPTOR_BYTES = 32;
const INCOMPAT_64BIT = 0x80;
/** What is there must be understood, but for these: file types, a journal to recover, extents, 64 bits, multiple mounts, flexible groups, attributes in inodes, seeds of checksums, large directories. */
const INCOMPAT_KNOWN = 0x2 | 0x4 | 0x40 | INCOMPAT_64BIT | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000;
const DIRECT_BLOCKS = 12;
const BLOCK_POINTERS = 40;
const FLAG_ENCRYPTED = 0x800;
const FLAG_EXTENTS = 0x80000;
const FLAG_INLINE_DATA = 0x10000000;
/** Targets of links below this lie in the inode. */
const SHORT_LINK_BYTES = 60;
const EXTENT_MAGIC = 0xf30a;
const EXTENT_BYTES = 12;
const MAX_EXTENT_DEPTH = 5;
/** Of one object: enough for a file of the largest size in which no two blocks follow each other. */
const MAX_EXTENT_NODES = 10_000;
/** Longer extents are reserved and not written: zeros. */
const MAX_WRITTEN_EXTENT = 32768;
const S_IFMT = 0o170000;

/** Where a directory's record has the length of its name. */
const NAME_BYTES_AT = 6;

interface Superblock {
  readonly blockBytes: number;
  readonly firstBlock: number;
  readonly inodes: number;
  readonly inodesPerGroup: number;
  readonly inodeBytes: number;
  readonly descriptorBytes: number;
}

/** Blocks of a file that follow each other on the disk too. */
interface Run {
  readonly logical: number;
  readonly physical: number;
  count: number;
}

function readSuperblock(bytes: Uint8Array): Superblock | undefined {
  const view = viewOf(bytes);
  if (view.getUint16(56, true) !== MAGIC) return undefined;
  const isDynamic = view.getUint32(76, true) > 0;
  const incompatible = isDynamic ? view.getUint32(96, true) : 0;
  const unknown = incompatible & ~INCOMPAT_KNOWN;
  if (unknown !== 0) {
    throw new ImageError(`The ext2 file system has features that are not understood (0x${unknown.toString(16)}).`);
  }
  const logBlock = view.getUint32(24, true);
  const superblock = {
    blockBytes: 1024 << Math.min(logBlock, 7),
    firstBlock: view.getUint32(20, true),
    inodes: view.getUint32(0, true),
    inodesPerGroup: view.getUint32(40, true),
    inodeBytes: isDynamic ? view.getUint16(88, true) : OLD_INODE_BYTES,
    descriptorBytes: incompatible & INCOMPAT_64BIT ? view.getUint16(254, true) : DESCRIPTOR_BYTES,
  };
  const { inodesPerGroup, inodeBytes, descriptorBytes, blockBytes } = superblock;
  const sound =
    logBlock <= 6 &&
    inodesPerGroup > 0 &&
    inodeBytes >= OLD_INODE_BYTES &&
    inodeBytes <= blockBytes &&
    descriptorBytes >= DESCRIPTOR_BYTES &&
    descriptorBytes <= blockBytes;
  if (!sound) throw new ImageError('The superblock of the ext2 file system makes no sense.');
  return superblock;
}

class ExtNode extends InodeNode {
  readonly #view: DataView;
  #nodesRead = 0;

  constructor(
    private readonly fs: Superblock,
    private readonly readRange: ReadRange,
    private readonly inode: Uint8Array,
  ) {
    super('ext2', NAME_BYTES_AT);
    this.#view = viewOf(inode);
  }

  get type(): ImageNode['type'] {
    const types: Readonly<Record<number, ImageNode['type']>> = {
      0o040000: 'directory',
      0o100000: 'file',
      0o120000: 'link',
    };
    return types[this.#view.getUint16(0, true) & S_IFMT] ?? 'other';
  }

  get #flags(): number {
    return this.#view.getUint32(32, true);
  }

  get #sizeBytes(): number {
    const size = this.#view.getUint32(4, true) + this.#view.getUint32(108, true) * 2 ** 32;
    if (size > MAX_FILE_BYTES) throw new ImageError('A file of the ext2 file system is too large for a loader.');
    return size;
  }

  #block(number: number): Promise<Uint8Array> {
    return this.readRange(number * this.fs.blockBytes, this.fs.blockBytes);
  }

  /** Runs of an extent tree's node, and of what lies below it. A damaged tree may lead to one node over and over. */
  async #extents(node: Uint8Array, depth: number, runs: Run[], limit: number): Promise<void> {
    const view = viewOf(node);
    const entries = view.getUint16(2, true);
    const level = view.getUint16(6, true);
    if (
      ++this.#nodesRead > MAX_EXTENT_NODES ||
      view.getUint16(0, true) !== EXTENT_MAGIC ||
      EXTENT_BYTES * (entries + 1) > node.length ||
      level !== depth
    ) {
      throw new ImageError('A file of the ext2 file system has damaged extents.');
    }
    for (let i = 1; i <= entries; i++) {
      const at = EXTENT_BYTES * i;
      const logical = view.getUint32(at, true);
      if (logical >= limit) return;
      if (level > 0) {
        const child = view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32;
        await this.#extents(await this.#block(child), level - 1, runs, limit);
        continue;
      }
      const count = view.getUint16(at + 4, true);
      const physical = view.getUint32(at + 8, true) + view.getUint16(at + 6, true) * 2 ** 32;
      const last = runs.at(-1);
      // In order, so that no image has a loader read the same blocks over and over.
      if (last && logical < last.logical + last.count) {
        throw new ImageError('A file of the ext2 file system has damaged extents.');
      }
      if (count <= MAX_WRITTEN_EXTENT) runs.push({ logical, physical, count });
    }
  }

  /** Runs of the blocks below a pointer; returns the number of the block behind them. */
  async #pointers(pointer: number, level: number, from: number, runs: Run[], limit: number): Promise<number> {
    const perBlock = this.fs.blockBytes / 4;
    if (pointer === 0) return from + perBlock ** level;
    if (level === 0) {
      const last = runs.at(-1);
      if (last && last.logical + last.count === from && last.physical + last.count === pointer) last.count++;
      else runs.push({ logical: from, physical: pointer, count: 1 });
      return from + 1;
    }
    const view = viewOf(await this.#block(pointer));
    let at = from;
    for (let i = 0; i < perBlock && at < limit; i++) {
      at = await this.#pointers(view.getUint32(4 * i, true), level - 1, at, runs, limit);
    }
    return at;
  }

  async #runs(blocks: number): Promise<Run[]> {
    const runs: Run[] = [];
    if (this.#flags & FLAG_EXTENTS) {
      const root = this.inode.subarray(BLOCK_POINTERS, BLOCK_POINTERS + SHORT_LINK_BYTES);
      const depth = viewOf(root).getUint16(6, true);
      if (depth > MAX_EXTENT_DEPTH) throw new ImageError('A file of the ext2 file system has damaged extents.');
      this.#nodesRead = 0;
      await this.#extents(root, depth, runs, blocks);
      return runs;
    }
    let at = 0;
    for (let i = 0; i < DIRECT_BLOCKS + 3 && at < blocks; i++) {
      const level = Math.max(0, i - DIRECT_BLOCKS + 1);
      at = await this.#pointers(this.#view.getUint32(BLOCK_POINTERS + 4 * i, true), level, at, runs, blocks);
    }
    return runs;
  }

  async contents(): Promise<Uint8Array> {
    const size = this.#sizeBytes;
    if (this.type === 'link' && size < SHORT_LINK_BYTES && (this.#flags & FLAG_EXTENTS) === 0) {
      return this.inode.slice(BLOCK_POINTERS, BLOCK_POINTERS + size);
    }
    if (this.#flags & (FLAG_ENCRYPTED | FLAG_INLINE_DATA)) {
      throw new ImageError('A file of the ext2 file system is encrypted, or lies in its inode.');
    }
    const { blockBytes } = this.fs;
    const bytes = new Uint8Array(size);
    for (const { logical, physical, count } of await this.#runs(Math.ceil(size / blockBytes))) {
      const at = logical * blockBytes;
      const length = Math.min(count * blockBytes, size - at);
      if (length > 0) bytes.set(await this.readRange(physical * blockBytes, length), at);
    }
    return bytes;
  }

  protected inodeNumbered(inode: number): Promise<ImageNode> {
    return readInode(this.fs, this.readRange, inode);
  }
}

async function readInode(fs: Superblock, readRange: ReadRange, inode: number): Promise<ExtNode> {
  if (inode < 1 || inode > fs.inodes) throw new ImageError('A directory of the ext2 file system is damaged.');
  const group = Math.floor((inode - 1) / fs.inodesPerGroup);
  const table = (fs.firstBlock + 1) * fs.blockBytes;
  const descriptor = viewOf(await readRange(table + group * fs.descriptorBytes, fs.descriptorBytes));
  const high = fs.descriptorBytes >= 64 ? descriptor.getUint32(40, true) : 0;
  const start = (descriptor.getUint32(8, true) + high * 2 ** 32) * fs.blockBytes;
  const bytes = await readRange(start + ((inode - 1) % fs.inodesPerGroup) * fs.inodeBytes, OLD_INODE_BYTES);
  return new ExtNode(fs, readRange, bytes);
}

/** The file system, if there is an ext2, ext3 or ext4 one. */
export async function openExt2(readRange: ReadRange): Promise<ImageFiles | undefined> {
  const bytes = await readRange(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES).catch(() => undefined);
  const superblock = bytes && readSuperblock(bytes);
  return superblock && imageFiles('ext2', await readInode(superblock, readRange, ROOT_INODE));
}
