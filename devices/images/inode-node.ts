/** What ext2 and UFS have in common, both being of one family: directories are files of records that lead to inodes by number. */
import { ImageError, viewOf, type ImageNode } from './image.ts';

/** Before the name: u32 inode, u16 bytes of the record, and two bytes of which one is the name's length. */
const RECORD_HEADER_BYTES = 8;

export abstract class InodeNode implements ImageNode {
  abstract get type(): ImageNode['type'];
  abstract contents(): Promise<Uint8Array>;
  /** Reads an inode of the same file system. */
  protected abstract inodeNumbered(inode: number): Promise<ImageNode>;

  /** `kind` is for messages; a name's length is the byte at `nameBytesAt` of a record. */
  protected constructor(
    private readonly kind: string,
    private readonly nameBytesAt: number,
  ) {}

  async #entries(): Promise<Map<string, number>> {
    const entries = new Map<string, number>();
    const bytes = await this.contents();
    const view = viewOf(bytes);
    for (let at = 0; at + RECORD_HEADER_BYTES <= bytes.length;) {
      const inode = view.getUint32(at, true);
      const recordBytes = view.getUint16(at + 4, true);
      const nameAt = at + RECORD_HEADER_BYTES;
      const nameBytes = view.getUint8(at + this.nameBytesAt);
      if (recordBytes < RECORD_HEADER_BYTES + nameBytes || at + recordBytes > bytes.length) {
        throw new ImageError(`A directory of the ${this.kind} file system is damaged.`);
      }
      // What is deleted has no inode, nor have the index of a large directory and checksums of ext4.
      if (inode !== 0) entries.set(new TextDecoder().decode(bytes.subarray(nameAt, nameAt + nameBytes)), inode);
      at += recordBytes;
    }
    return entries;
  }

  async child(name: string): Promise<ImageNode | undefined> {
    const inode = (await this.#entries()).get(name);
    return inode === undefined ? undefined : this.inodeNumbered(inode);
  }

  async names(): Promise<string[]> {
    return [...(await this.#entries()).keys()].filter((name) => name !== '.' && name !== '..').sort();
  }
}
