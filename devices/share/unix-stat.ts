/** The stat of 9P2000 and 9P2000.u (stat(5)): what Tstat answers, Twstat takes, and directories consist of when they are read. */
import type { Fid } from './fids.ts';
import { MessageWriter, NONUNAME, type MessageReader } from './messages.ts';
import { qidOf, type Session } from './session.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFSOCK,
  ShareError,
  type ShareAttributes,
  type ShareNode,
} from '../backends/share.ts';

/** Bits of a mode above the permissions; those from DMSYMLINK down are .u's. */
export const DMDIR = 0x80000000;
export const DMSYMLINK = 0x02000000;
export const DMLINK = 0x01000000;
export const DMDEVICE = 0x00800000;
export const DMNAMEDPIPE = 0x00200000;
export const DMSOCKET = 0x00100000;
export const DMSETUID = 0x00080000;
export const DMSETGID = 0x00040000;

const NS_PER_SECOND = 1_000_000_000n;
const MAX_STRING_BYTES = 4096;

/** In a Twstat, a field with all bits set is left alone. */
export const UNCHANGED = 0xffffffff;
const UNCHANGED_SIZE = 0xffffffffffffffffn;

function unixMode(mode: number): number {
  let result = mode & 0o777;
  if ((mode & 0o4000) !== 0) result |= DMSETUID;
  if ((mode & 0o2000) !== 0) result |= DMSETGID;
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return (result | DMDIR) >>> 0;
    case S_IFLNK:
      return (result | DMSYMLINK) >>> 0;
    case S_IFIFO:
      return (result | DMNAMEDPIPE) >>> 0;
    case S_IFSOCK:
      return (result | DMSOCKET) >>> 0;
    case S_IFBLK:
    case S_IFCHR:
      return (result | DMDEVICE) >>> 0;
    default:
      return result;
  }
}

async function extensionOf(node: ShareNode, it: ShareAttributes): Promise<string> {
  switch (it.mode & S_IFMT) {
    case S_IFLNK:
      return node.readLink();
    case S_IFBLK:
      return `b ${it.deviceMajor} ${it.deviceMinor}`;
    case S_IFCHR:
      return `c ${it.deviceMajor} ${it.deviceMinor}`;
    default:
      return '';
  }
}

/** The stat of a file with its own length in front, as it stands in a directory. */
export async function writeStat(session: Session, node: ShareNode, name: string, body: MessageWriter): Promise<void> {
  const it = await node.attributes();
  const sizeAt = body.lengthBytes;
  body.u16(0).u16(0).u32(0).qid(qidOf(it)).u32(unixMode(it.mode));
  for (const ns of [it.accessNs, it.modificationNs]) body.u32(Number(BigInt.asUintN(32, ns / NS_PER_SECOND)));
  body.u64((it.mode & S_IFMT) === S_IFDIR ? 0n : BigInt(it.sizeBytes)).string(name);
  // Users as numbers in text; the last modifier is not known.
  body.string(String(it.uid)).string(String(it.gid)).string('');
  if (session.dialect === '9P2000.u') {
    body.string(await extensionOf(node, it));
    body.u32(it.uid).u32(it.gid).u32(NONUNAME);
  }
  body.setU16(sizeAt, body.lengthBytes - sizeAt - 2);
}

/** The name that a node has now; the root's is `/`. */
export async function nameOf(node: ShareNode): Promise<string> {
  const place = await node.place();
  place?.parent.release();
  return place?.name ?? '/';
}

/** Whole stats of a directory's entries for a Tread at `offset`, which is 0 or where the last one ended. */
export async function readDirectoryStats(
  session: Session,
  fid: Fid,
  offset: number,
  count: number,
): Promise<Uint8Array> {
  const entries = await session.fids.listing(fid, offset === 0);
  if (offset === 0) fid.directoryRead = { offsetBytes: 0, index: 0 };
  const at = fid.directoryRead;
  if (offset !== at.offsetBytes) throw new ShareError('EINVAL', 'directories are read from where the last read ended');
  const body = new MessageWriter();
  let { index } = at;
  for (; index < entries.length; index++) {
    const entry = entries[index];
    if (!entry) break;
    const before = body.lengthBytes;
    let node: ShareNode;
    try {
      node = await fid.node.lookup(entry.name);
    } catch {
      // It has gone since the directory was listed.
      continue;
    }
    try {
      await writeStat(session, node, entry.name, body);
    } finally {
      node.release();
    }
    if (body.lengthBytes > count) {
      if (before === 0) throw new ShareError('EINVAL', 'no room for an entry');
      fid.directoryRead = { offsetBytes: offset + before, index };
      return body.bytes.subarray(0, before);
    }
  }
  fid.directoryRead = { offsetBytes: offset + body.lengthBytes, index };
  return body.bytes;
}

/** What a Twstat changes; undefined fields stay as they are. */
export interface StatChanges {
  readonly mode: number | undefined;
  readonly accessNs: bigint | undefined;
  readonly modificationNs: bigint | undefined;
  readonly sizeBytes: number | undefined;
  readonly name: string;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

/** Reads the stat of a Twstat. */
export function readStat(session: Session, reader: MessageReader): StatChanges {
  // size[2], type[2], dev[4] and the qid are the server's.
  reader.u16();
  reader.u16();
  reader.u32();
  reader.u8();
  reader.u32();
  reader.u64();
  const word = (): number | undefined => {
    const value = reader.u32();
    return value === UNCHANGED ? undefined : value;
  };
  const seconds = (): bigint | undefined => {
    const value = word();
    return value === undefined ? undefined : BigInt(value) * NS_PER_SECOND;
  };
  const mode = word();
  const accessNs = seconds();
  const modificationNs = seconds();
  const size = reader.u64();
  if (size !== UNCHANGED_SIZE && size > BigInt(Number.MAX_SAFE_INTEGER)) throw new ShareError('EFBIG');
  const sizeBytes = size === UNCHANGED_SIZE ? undefined : Number(size);
  const name = reader.string(MAX_STRING_BYTES);
  for (let i = 0; i < 3; i++) reader.string(MAX_STRING_BYTES);
  let uid: number | undefined;
  let gid: number | undefined;
  if (session.dialect === '9P2000.u') {
    reader.string(MAX_STRING_BYTES);
    uid = word();
    gid = word();
  }
  return { mode, accessNs, modificationNs, sizeBytes, name, uid, gid };
}
