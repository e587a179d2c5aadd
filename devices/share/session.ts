/** What one client of a 9P server has: its dialect, its fids and its locks; and what operations on them need. */
import { FidTable } from './fids.ts';
import { LockTable } from './locks.ts';
import {
  QTDIR,
  QTFILE,
  QTSYMLINK,
  READ_HEADER_BYTES,
  type MessageReader,
  type MessageWriter,
  type Qid,
} from './messages.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, ShareError, type ShareAttributes, type ShareBackend } from '../backends/share.ts';

/** bhyve's msize: the longest message in either direction. */
export const MAX_MESSAGE_BYTES = 128 * 4096;

export type Dialect = '9P2000.L' | '9P2000.u' | '9P2000';

/** One request and the room for its answer, wherever they lie. */
export interface NinePExchange {
  readonly requestBytes: number;
  readonly replyBytes: number;
  /** Copies a part of the request. Each part is asked for once: a guest may change it at any time. */
  copyRequest(start: number, end: number): Uint8Array;
  /** The data of a Twrite where it lies. */
  requestViews(start: number, end: number): Uint8Array[];
  /** Where the data of an answer goes. */
  replyViews(start: number, end: number): Uint8Array[];
  /** Puts the beginning of the answer there. */
  writeReply(bytes: Uint8Array): void;
}

/** What an operation answers: a body, or how much data it has put behind the header of Rread. */
export type OperationResult = MessageWriter | { readonly dataBytes: number };

/** What an operation works with; the reader stands at the message's body. */
export interface Request {
  readonly session: Session;
  readonly reader: MessageReader;
  readonly exchange: NinePExchange;
}

export type Operation = (request: Request) => Promise<OperationResult>;

export class Session {
  readonly fids = new FidTable();
  readonly locks = new LockTable();
  /** Undefined before Tversion. */
  dialect: Dialect | undefined;
  msize = MAX_MESSAGE_BYTES;
  bytesRead = 0;
  bytesWritten = 0;

  constructor(
    readonly backend: ShareBackend,
    /** Nothing can be changed. */
    readonly readOnly: boolean,
  ) {}

  /** The longest answer to this request. */
  replyLimit(exchange: NinePExchange): number {
    return Math.min(this.msize, exchange.replyBytes);
  }

  /** How much data fits behind the header of Rread. */
  dataLimit(exchange: NinePExchange): number {
    return Math.max(0, this.replyLimit(exchange) - READ_HEADER_BYTES);
  }

  /** EROFS when nothing can be changed here. */
  checkWritable(): void {
    if (this.readOnly) throw new ShareError('EROFS');
  }

  /** Every fid and every lock goes. */
  async reset(): Promise<void> {
    this.dialect = undefined;
    this.msize = MAX_MESSAGE_BYTES;
    this.locks.clear();
    await this.fids.clear();
  }
}

export function qidOf({ id, mode, modificationNs, sizeBytes }: ShareAttributes): Qid {
  // The version tells a caching client that the file has changed (QEMU's formula).
  const version = (Number(BigInt.asUintN(32, modificationNs)) ^ (sizeBytes << 8)) >>> 0;
  return { type: qidType(mode), version, path: id };
}

export function qidType(mode: number): number {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return QTDIR;
  return type === S_IFLNK ? QTSYMLINK : QTFILE;
}
