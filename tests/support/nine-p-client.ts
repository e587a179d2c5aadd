/** A 9P client that calls a server directly, for tests: messages as bytes, answers taken apart. */
import { MessageReader, MessageWriter, RERROR, RLERROR, frame } from '../../devices/share/messages.ts';
import * as M from '../../devices/share/messages.ts';
import type { NinePServer } from '../../devices/share/server.ts';
import type { NinePExchange } from '../../devices/share/session.ts';

/** An exchange in two plain buffers. */
export class BufferExchange implements NinePExchange {
  readonly reply: Uint8Array;

  constructor(
    readonly request: Uint8Array,
    readonly replyBytes: number,
  ) {
    this.reply = new Uint8Array(replyBytes);
  }

  get requestBytes(): number {
    return this.request.length;
  }

  copyRequest(start: number, end: number): Uint8Array {
    return this.request.slice(start, end);
  }

  requestViews(start: number, end: number): Uint8Array[] {
    return [this.request.subarray(start, end)];
  }

  replyViews(start: number, end: number): Uint8Array[] {
    // In two pieces, as guest memory would be.
    const middle = start + ((end - start) >> 1);
    return [this.reply.subarray(start, middle), this.reply.subarray(middle, end)];
  }

  writeReply(bytes: Uint8Array): void {
    this.reply.set(bytes);
  }
}

/** An answer that is an error. */
export class NinePError extends Error {
  constructor(
    readonly errno: number,
    readonly text: string,
  ) {
    super(`errno ${errno} ${text}`);
  }
}

export interface Entry {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
}

export class NinePClient {
  #tag = 0;
  dialect = '';
  msize = 0;

  constructor(
    readonly server: NinePServer,
    readonly replyBytes = 1 << 20,
  ) {}

  async call(type: number, body: MessageWriter, tag = this.#tag++ & 0x7fff): Promise<MessageReader> {
    const exchange = new BufferExchange(frame(type, tag, body.bytes), this.replyBytes);
    const length = await this.server.serve(exchange);
    const header = new MessageReader(exchange.reply);
    const size = header.u32();
    const replyType = header.u8();
    const replyTag = header.u16();
    if (size !== length || replyTag !== tag)
      throw new Error(`answer of ${size} (${length}) bytes with tag ${replyTag}`);
    const reader = new MessageReader(exchange.reply.subarray(M.HEADER_BYTES, size));
    if (replyType === RLERROR) throw new NinePError(reader.u32(), '');
    if (replyType === RERROR) {
      const text = reader.string(1000);
      throw new NinePError(this.dialect === '9P2000.u' ? reader.u32() : 0, text);
    }
    if (replyType !== type + 1) throw new Error(`answer of type ${replyType} to ${type}`);
    return reader;
  }

  async version(dialect = '9P2000.L', msize = 1 << 20): Promise<string> {
    const answer = await this.call(M.TVERSION, new MessageWriter().u32(msize).string(dialect), 0xffff);
    this.msize = answer.u32();
    this.dialect = answer.string(100);
    return this.dialect;
  }

  async attach(fid: number, uid = 0): Promise<M.Qid> {
    const body = new MessageWriter().u32(fid).u32(M.NOFID).string('root').string('');
    return qid(await this.call(M.TATTACH, this.dialect === '9P2000' ? body : body.u32(uid)));
  }

  async walk(fid: number, newFid: number, ...names: string[]): Promise<M.Qid[]> {
    const body = new MessageWriter().u32(fid).u32(newFid).u16(names.length);
    for (const name of names) body.string(name);
    const answer = await this.call(M.TWALK, body);
    return Array.from({ length: answer.u16() }, () => qid(answer));
  }

  async clunk(fid: number): Promise<void> {
    await this.call(M.TCLUNK, new MessageWriter().u32(fid));
  }

  async lopen(fid: number, flags = 0): Promise<M.Qid> {
    return qid(await this.call(M.TLOPEN, new MessageWriter().u32(fid).u32(flags)));
  }

  /** Makes a file below a clone of `directory`, which is then open as `fid`. */
  async create(directory: number, fid: number, name: string, flags = 0o302, mode = 0o644): Promise<M.Qid> {
    await this.walk(directory, fid);
    const body = new MessageWriter().u32(fid).string(name).u32(flags).u32(mode).u32(0);
    return qid(await this.call(M.TLCREATE, body));
  }

  async read(fid: number, offset: number, count: number): Promise<Uint8Array> {
    const answer = await this.call(M.TREAD, new MessageWriter().u32(fid).u64(BigInt(offset)).u32(count));
    const length = answer.u32();
    return answer.bytes.slice(4, 4 + length);
  }

  async write(fid: number, offset: number, bytes: Uint8Array): Promise<number> {
    const body = new MessageWriter().u32(fid).u64(BigInt(offset)).u32(bytes.length).append(bytes);
    return (await this.call(M.TWRITE, body)).u32();
  }

  async readdir(fid: number, offset = 0, count = 65_536): Promise<Entry[]> {
    const answer = await this.call(M.TREADDIR, new MessageWriter().u32(fid).u64(BigInt(offset)).u32(count));
    const end = answer.u32();
    const reader = new MessageReader(answer.bytes.subarray(4, 4 + end));
    const entries: Entry[] = [];
    for (let at = 0; at < end;) {
      qid(reader);
      const next = reader.size();
      const type = reader.u8();
      const name = reader.string(1000);
      at += M.QID_BYTES + 11 + name.length;
      entries.push({ name, type, offset: next });
    }
    return entries;
  }

  async mkdir(fid: number, name: string, mode = 0o755): Promise<M.Qid> {
    return qid(await this.call(M.TMKDIR, new MessageWriter().u32(fid).string(name).u32(mode).u32(0)));
  }

  async symlink(fid: number, name: string, target: string): Promise<M.Qid> {
    return qid(await this.call(M.TSYMLINK, new MessageWriter().u32(fid).string(name).string(target).u32(0)));
  }

  async readlink(fid: number): Promise<string> {
    return (await this.call(M.TREADLINK, new MessageWriter().u32(fid))).string(5000);
  }

  async link(directory: number, fid: number, name: string): Promise<void> {
    await this.call(M.TLINK, new MessageWriter().u32(directory).u32(fid).string(name));
  }

  async unlink(fid: number, name: string, flags = 0): Promise<void> {
    await this.call(M.TUNLINKAT, new MessageWriter().u32(fid).string(name).u32(flags));
  }

  async rename(from: number, name: string, to: number, newName: string): Promise<void> {
    await this.call(M.TRENAMEAT, new MessageWriter().u32(from).string(name).u32(to).string(newName));
  }

  async getattr(fid: number) {
    const answer = await this.call(M.TGETATTR, new MessageWriter().u32(fid).u64(0x7ffn));
    answer.u64();
    const id = qid(answer);
    const mode = answer.u32();
    const uid = answer.u32();
    const gid = answer.u32();
    const nlink = Number(answer.u64());
    const rdev = answer.u64();
    const size = Number(answer.u64());
    answer.u64();
    answer.u64();
    const time = (): bigint => answer.u64() * 1_000_000_000n + answer.u64();
    return { qid: id, mode, uid, gid, nlink, rdev, size, atimeNs: time(), mtimeNs: time() };
  }

  async setattr(
    fid: number,
    changes: { mode?: number; uid?: number; gid?: number; size?: number; mtimeNs?: bigint },
  ): Promise<void> {
    const { mode, uid, gid, size, mtimeNs } = changes;
    const valid =
      (mode === undefined ? 0 : 1) |
      (uid === undefined ? 0 : 2) |
      (gid === undefined ? 0 : 4) |
      (size === undefined ? 0 : 8) |
      (mtimeNs === undefined ? 0 : 0x120);
    const body = new MessageWriter().u32(fid).u32(valid);
    body
      .u32(mode ?? 0)
      .u32(uid ?? 0)
      .u32(gid ?? 0)
      .u64(BigInt(size ?? 0))
      .u64(0n)
      .u64(0n);
    body.u64((mtimeNs ?? 0n) / 1_000_000_000n).u64((mtimeNs ?? 0n) % 1_000_000_000n);
    await this.call(M.TSETATTR, body);
  }

  /** True when the lock was granted. */
  async lock(fid: number, type: number, start: number, length: number, process: number): Promise<boolean> {
    const body = new MessageWriter().u32(fid).u8(type).u32(0).u64(BigInt(start)).u64(BigInt(length));
    return (await this.call(M.TLOCK, body.u32(process).string('client'))).u8() === 0;
  }

  async getlock(fid: number, type: number, start: number, length: number, process: number) {
    const body = new MessageWriter().u32(fid).u8(type).u64(BigInt(start)).u64(BigInt(length));
    const answer = await this.call(M.TGETLOCK, body.u32(process).string('client'));
    return { type: answer.u8(), start: Number(answer.u64()), length: Number(answer.u64()), process: answer.u32() };
  }

  async xattrSet(fid: number, temporary: number, name: string, value: Uint8Array, flags = 0): Promise<void> {
    await this.walk(fid, temporary);
    const body = new MessageWriter().u32(temporary).string(name).u64(BigInt(value.length)).u32(flags);
    await this.call(M.TXATTRCREATE, body);
    if (value.length > 0) await this.write(temporary, 0, value);
    await this.clunk(temporary);
  }

  async xattrGet(fid: number, temporary: number, name: string): Promise<Uint8Array> {
    const answer = await this.call(M.TXATTRWALK, new MessageWriter().u32(fid).u32(temporary).string(name));
    const size = Number(answer.u64());
    const value = await this.read(temporary, 0, size);
    await this.clunk(temporary);
    return value;
  }
}

function qid(reader: MessageReader): M.Qid {
  return { type: reader.u8(), version: reader.u32(), path: reader.u64() };
}
