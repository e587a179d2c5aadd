/** Fids: the numbers by which a 9P client names files (intro(5)), and what each of them stands for. */
import { ShareError, type ShareEntry, type ShareFile, type ShareNode, type ShareOpenMode } from '../backends/share.ts';

/** A client needs one for each cached directory entry; beyond this it is hostile. */
export const MAX_FIDS = 1 << 20;
/** Directories are read as they were when reading began; no more listings than these are kept. */
const MAX_LISTINGS = 64;

/** An extended attribute that is being read (Txattrwalk) or written (Txattrcreate). */
export interface XattrTransfer {
  readonly name: string;
  readonly value: Uint8Array;
  /** Absent while reading. Written when the fid is clunked. */
  readonly store?: { readonly create: boolean; readonly replace: boolean; writtenBytes: number };
}

export class Fid {
  file: ShareFile | undefined;
  openMode: ShareOpenMode | undefined;
  /** An opened directory. */
  isDirectory = false;
  listing: readonly ShareEntry[] | undefined;
  /** Where the next Tread of an opened directory goes on (9P2000, .u). */
  directoryRead = { offsetBytes: 0, index: 0 };
  xattr: XattrTransfer | undefined;
  /** Removed by Tremove or opened with ORCLOSE: the name goes with the fid. */
  removeOnClose = false;
  /** Requests that are using it. */
  users = 0;
  /** Clunked: it goes when the last request has ended. */
  clunked = false;

  constructor(
    public node: ShareNode,
    /** The user who attached. */
    readonly uid: number,
  ) {}

  get isOpen(): boolean {
    return this.file !== undefined || this.isDirectory || this.xattr !== undefined;
  }

  async release(): Promise<void> {
    const { file } = this;
    this.file = undefined;
    try {
      await file?.close();
    } finally {
      this.node.release();
    }
  }
}

export class FidTable {
  readonly #fids = new Map<number, Fid>();
  /** Fids with a listing, least recently read first. */
  readonly #listings = new Set<Fid>();

  get count(): number {
    return this.#fids.size;
  }

  entries(): IterableIterator<[number, Fid]> {
    return this.#fids.entries();
  }

  get(number: number): Fid {
    const fid = this.#fids.get(number);
    if (!fid) throw new ShareError('EBADF', `fid ${number} is not in use`);
    return fid;
  }

  /** EBADF when the number is in use already. */
  checkFree(number: number): void {
    if (this.#fids.has(number)) throw new ShareError('EBADF', `fid ${number} is in use`);
    if (this.#fids.size >= MAX_FIDS) throw new ShareError('ENFILE');
  }

  /** Gives a number to a fid, unless another request took it meanwhile: then the fid is released and EBADF thrown. */
  async add(number: number, fid: Fid): Promise<void> {
    try {
      this.checkFree(number);
    } catch (error) {
      await fid.release();
      throw error;
    }
    this.#fids.set(number, fid);
  }

  /** Runs `use` with the fid, which is not released before it has ended. */
  async use<T>(number: number, use: (fid: Fid) => Promise<T>): Promise<T> {
    const fid = this.get(number);
    fid.users++;
    try {
      return await use(fid);
    } finally {
      fid.users--;
      if (fid.clunked && fid.users === 0) await fid.release();
    }
  }

  /** Takes the number away. The fid is released when no request uses it any more. */
  async remove(number: number): Promise<void> {
    const fid = this.get(number);
    this.#fids.delete(number);
    this.#listings.delete(fid);
    fid.listing = undefined;
    fid.clunked = true;
    if (fid.users === 0) await fid.release();
  }

  /** Takes all numbers away at once; resolves when what no request uses has been released. */
  async clear(): Promise<void> {
    const fids = [...this.#fids.values()];
    this.#fids.clear();
    this.#listings.clear();
    for (const fid of fids) {
      fid.listing = undefined;
      fid.clunked = true;
    }
    for (const fid of fids) if (fid.users === 0) await fid.release();
  }

  /** A directory's entries as they were when offset 0 was read last. */
  async listing(fid: Fid, fromStart: boolean): Promise<readonly ShareEntry[]> {
    if (fromStart) fid.listing = undefined;
    fid.listing ??= await fid.node.list();
    this.#listings.delete(fid);
    if (!fid.clunked) this.#listings.add(fid);
    for (const oldest of this.#listings) {
      if (this.#listings.size <= MAX_LISTINGS) break;
      this.#listings.delete(oldest);
      oldest.listing = undefined;
    }
    return fid.listing ?? [];
  }
}
