/**
 * 9P messages on the wire. Numbers and layouts: intro(5) of Plan 9 for 9P2000, the 9P2000.u extension ("Plan 9 Remote Resource Protocol, Unix
 * extension"), and 9P2000.L ("9P2000.L protocol" of the diod project; include/net/9p/9p.h of Linux). All integers are little-endian.
 */
import { bytesToName, ShareError } from '../backends/share.ts';

export const RLERROR = 7;
export const TSTATFS = 8;
export const TLOPEN = 12;
export const TLCREATE = 14;
export const TSYMLINK = 16;
export const TMKNOD = 18;
export const TRENAME = 20;
export const TREADLINK = 22;
export const TGETATTR = 24;
export const TSETATTR = 26;
export const TXATTRWALK = 30;
export const TXATTRCREATE = 32;
export const TREADDIR = 40;
export const TFSYNC = 50;
export const TLOCK = 52;
export const TGETLOCK = 54;
export const TLINK = 70;
export const TMKDIR = 72;
export const TRENAMEAT = 74;
export const TUNLINKAT = 76;
export const TVERSION = 100;
export const TAUTH = 102;
export const TATTACH = 104;
export const RERROR = 107;
export const TFLUSH = 108;
export const TWALK = 110;
export const TOPEN = 112;
export const TCREATE = 114;
export const TREAD = 116;
export const TWRITE = 118;
export const TCLUNK = 120;
export const TREMOVE = 122;
export const TSTAT = 124;
export const TWSTAT = 126;

/** size[4] type[1] tag[2] */
export const HEADER_BYTES = 7;
/** The header of Twrite before its data: fid[4] offset[8] count[4]. */
export const WRITE_HEADER_BYTES = HEADER_BYTES + 16;
/** The header of Rread and Rreaddir before their data: count[4]. */
export const READ_HEADER_BYTES = HEADER_BYTES + 4;

export const NOFID = 0xffffffff;
export const NONUNAME = 0xffffffff;
/** A walk has no more elements (MAXWELEM). */
export const MAX_WALK_NAMES = 16;
export const MAX_NAME_BYTES = 255;
/** PATH_MAX: no symbolic link's target is longer. */
export const MAX_TARGET_BYTES = 4096;

/** Types in a qid. */
export const QTDIR = 0x80;
export const QTSYMLINK = 0x02;
export const QTFILE = 0x00;
export const QID_BYTES = 13;

export interface Qid {
  readonly type: number;
  readonly version: number;
  readonly path: bigint;
}

/** Reads the fields of a message's body one after the other. A field that is cut off makes the message malformed (EINVAL). */
export class MessageReader {
  readonly #view: DataView;
  #at = 0;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.bytes.length) throw new ShareError('EINVAL', 'a 9P message is too short');
    this.#at += count;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** A 64-bit offset or length as a number; beyond 2^53 EINVAL. */
  size(): number {
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ShareError('EINVAL', 'an offset is beyond 2^53');
    return Number(value);
  }

  /** A string as a byte string; ENAMETOOLONG beyond `maxBytes`. */
  string(maxBytes: number): string {
    const length = this.u16();
    const at = this.#take(length);
    if (length > maxBytes) throw new ShareError('ENAMETOOLONG');
    return bytesToName(this.bytes.subarray(at, at + length));
  }
}

/** Where a message is built. */
class MessageBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }
}

/** Most answers are shorter. */
const USUAL_MESSAGE_BYTES = 256;
const MAX_SPARE_BUFFERS = 16;
/** Buffers of messages that were sent: making one takes longer than filling it. */
const spareBuffers: MessageBuffer[] = [];

/** Builds a message; grows as it is written. Room for the header is in front of the body. */
export class MessageWriter {
  #buffer: MessageBuffer;
  /** Of the body. */
  lengthBytes = 0;

  constructor() {
    this.#buffer = spareBuffers.pop() ?? new MessageBuffer(USUAL_MESSAGE_BYTES);
  }

  /** The message was sent: nothing of this writer is used any more. */
  release(): void {
    if (this.#buffer.bytes.length === USUAL_MESSAGE_BYTES && spareBuffers.length < MAX_SPARE_BUFFERS) {
      spareBuffers.push(this.#buffer);
    }
    this.#buffer = RELEASED;
  }

  get #view(): DataView {
    return this.#buffer.view;
  }

  #grow(count: number): number {
    const at = HEADER_BYTES + this.lengthBytes;
    this.lengthBytes += count;
    if (at + count > this.#buffer.bytes.length) {
      const buffer = new MessageBuffer(2 * (at + count));
      buffer.bytes.set(this.#buffer.bytes);
      this.#buffer = buffer;
    }
    return at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  string(name: string): this {
    this.u16(name.length);
    const at = this.#grow(name.length);
    const { bytes } = this.#buffer;
    for (let i = 0; i < name.length; i++) bytes[at + i] = name.charCodeAt(i);
    return this;
  }

  qid({ type, version, path }: Qid): this {
    return this.u8(type).u32(version).u64(path);
  }

  append(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#buffer.bytes.set(bytes, at);
    return this;
  }

  /** Changes a number that is in the body already. */
  setU16(at: number, value: number): void {
    this.#view.setUint16(HEADER_BYTES + at, value, true);
  }

  /** The body, where it lies: good until more is written. */
  get bytes(): Uint8Array {
    return this.#buffer.bytes.subarray(HEADER_BYTES, HEADER_BYTES + this.lengthBytes);
  }

  /** The whole message, where it lies. `dataBytes`: what follows it that is not in this writer counts as well. */
  message(type: number, tag: number, dataBytes = 0): Uint8Array {
    const length = HEADER_BYTES + this.lengthBytes;
    this.#view.setUint32(0, length + dataBytes, true);
    this.#view.setUint8(4, type);
    this.#view.setUint16(5, tag, true);
    return this.#buffer.bytes.subarray(0, length);
  }
}

const RELEASED = new MessageBuffer(0);

/** A whole message: size, type and tag before the body. */
export function frame(type: number, tag: number, body: Uint8Array): Uint8Array {
  return new MessageWriter().append(body).message(type, tag);
}
