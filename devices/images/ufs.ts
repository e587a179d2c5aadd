/** UFS2 of FreeBSD (sys/ufs/ffs/fs.h, sys/ufs/ufs/dinode.h, dir.h), little-endian, for reading. */
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

/** Where it may lie (SBLOCKSEARCH). */
const SUPERBLOCK_OFFSETS = [65_536, 8192, 0, 262_144];
const SUPERBLOCK_BYTES = 1376;
const FS_UFS2_MAGIC = 0x19540119;
const MAGIC_OFFSET = 1372;
const ROOT_INODE = 2;
const INODE_BYTES = 256;
const DIRECT_BLOCKS = 12;
const INDIRECT_LEVELS = 3;
const DIRECT_OFFSET = 112;
const INDIRECT_OFFSET = DIRECT_OFFSET + 8 * DIRECT_BLOCKS;
/** Targets of links up to here lie in the inode. */
const SHORT_LINK_BYTES = 120;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Where a directory's record has the length of its name. */
const NAME_BYTES_AT = 7;

interface Superblock {
  readonly inodeBlock: number;
  readonly blockBytes: number;
  readonly fragmentBytes: number;
  readonly inodesPerGroup: number;
  readonly fragmentsPerGroup: number;
}

function readSuperblock(bytes: Uint8Array): Superblock | undefined {
  const view = viewOf(bytes);
  if (view.getInt32(MAGIC_OFFSET, true) !== FS_UFS2_MAGIC) return undefined;
  const superblock = {
    inodeBlock: view.getInt32(16, true),
    blockBytes: view.getInt32(48, true),
    fragmentBytes: view.getInt32(52, true),
    inodesPerGroup: view.getInt32(184, true),
    fragmentsPerGroup: view.getInt32(188, true),
  };
  const { blockBytes, fragmentBytes, inodesPerGroup, fragmentsPerGroup } = superblock;
  const sound =
    blockBytes >= 4096 &&
    blockBytes <= 65_536 &&
    fragmentBytes >= 512 &&
    blockBytes % fragmentBytes === 0 &&
    inodesPerGroup > 0 &&
    fragmentsPerGroup > 0;
  if (!sound) throw new ImageError('The superblock of the UFS file system makes no sense.');
  return superblock;
}

class UfsNode extends InodeNode {
  readonly #view: DataView;

  constructor(
    private readonly fs: Superblock,
    private readonly readRange: ReadRange,
    private readonly inode: Uint8Array,
  ) {
    super('UFS', NAME_BYTES_AT);
    this.#view = viewOf(inode);
  }

  get type(): ImageNode['type'] {
    switch (this.#view.getUint16(0, true) & S_IFMT) {
      case S_IFDIR:
        return 'directory';
      case S_IFREG:
        return 'file';
      case S_IFLNK:
        return 'link';
      default:
        return 'other';
    }
  }

  get #sizeBytes(): number {
    const size = Number(this.#view.getBigUint64(16, true));
    if (size > MAX_FILE_BYTES) throw new ImageError('A file of the UFS file system is too large for a loader.');
    return size;
  }

  /** The addresses of an object's blocks, in fragments; 0 is a hole. */
  async #blocks(count: number): Promise<number[]> {
    const blocks: number[] = [];
    for (let i = 0; i < DIRECT_BLOCKS && blocks.length < count; i++) {
      blocks.push(Number(this.#view.getBigUint64(DIRECT_OFFSET + 8 * i, true)));
    }
    for (let level = 0; level < INDIRECT_LEVELS && blocks.length < count; level++) {
      const address = Number(this.#view.getBigUint64(INDIRECT_OFFSET + 8 * level, true));
      await this.#indirect(address, level, count, blocks);
    }
    return blocks;
  }

  async #indirect(address: number, level: number, count: number, blocks: number[]): Promise<void> {
    const { blockBytes, fragmentBytes } = this.fs;
    const entries = blockBytes / 8;
    if (address === 0) {
      for (let left = entries ** (level + 1); left > 0 && blocks.length < count; left--) blocks.push(0);
      return;
    }
    const view = viewOf(await this.readRange(address * fragmentBytes, blockBytes));
    for (let i = 0; i < entries && blocks.length < count; i++) {
      const entry = Number(view.getBigUint64(8 * i, true));
      if (level === 0) blocks.push(entry);
      else await this.#indirect(entry, level - 1, count, blocks);
    }
  }

  async contents(): Promise<Uint8Array> {
    const size = this.#sizeBytes;
    if (this.type === 'link' && size < SHORT_LINK_BYTES) {
      return this.inode.slice(DIRECT_OFFSET, DIRECT_OFFSET + size);
    }
    const { blockBytes, fragmentBytes } = this.fs;
    const bytes = new Uint8Array(size);
    const blocks = await this.#blocks(Math.ceil(size / blockBytes));
    for (const [index, address] of blocks.entries()) {
      const at = index * blockBytes;
      if (address !== 0) bytes.set(await this.readRange(address * fragmentBytes, Math.min(blockBytes, size - at)), at);
    }
    return bytes;
  }

  protected inodeNumbered(inode: number): Promise<ImageNode> {
    return readInode(this.fs, this.readRange, inode);
  }
}

async function readInode(fs: Superblock, readRange: ReadRange, inode: number): Promise<UfsNode> {
  const group = Math.floor(inode / fs.inodesPerGroup);
  const start = (group * fs.fragmentsPerGroup + fs.inodeBlock) * fs.fragmentBytes;
  const bytes = await readRange(start + (inode % fs.inodesPerGroup) * INODE_BYTES, INODE_BYTES);
  return new UfsNode(fs, readRange, bytes);
}

/** The file system, if there is a UFS2 one. */
export async function openUfs(readRange: ReadRange): Promise<ImageFiles | undefined> {
  for (const offset of SUPERBLOCK_OFFSETS) {
    const bytes = await readRange(offset, SUPERBLOCK_BYTES).catch(() => undefined);
    const superblock = bytes && readSuperblock(bytes);
    if (superblock) return imageFiles('UFS', await readInode(superblock, readRange, ROOT_INODE));
  }
  return undefined;
}
