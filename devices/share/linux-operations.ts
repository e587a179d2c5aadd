/** The messages of 9P2000.L: the system calls of Linux, one by one (include/net/9p/9p.h of Linux; the diod project's protocol.md). */
import { Fid } from './fids.ts';
import { LOCK_TYPE_UNLCK, LOCK_TYPE_WRLCK, type LockRange } from './locks.ts';
import * as M from './messages.ts';
import { MessageWriter, READ_HEADER_BYTES, QID_BYTES } from './messages.ts';
import { qidOf, qidType, type Operation, type Request } from './session.ts';
import { checkName, scatter } from './shared-operations.ts';
import {
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  ShareError,
  type ShareChanges,
  type ShareEntry,
  type ShareNode,
  type ShareOpenMode,
} from '../backends/share.ts';

/** Flags of Tlopen and Tlcreate: those of open(2) on Linux for x86. */
const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_DSYNC = 0o10000;
const O_DIRECTORY = 0o200000;

const AT_REMOVEDIR = 0x200;

/** Bits of Tsetattr. Times come from the server's clock unless the bit _SET is there, too. */
const SETATTR_MODE = 0x001;
const SETATTR_UID = 0x002;
const SETATTR_GID = 0x004;
const SETATTR_SIZE = 0x008;
const SETATTR_ATIME = 0x010;
const SETATTR_MTIME = 0x020;
const SETATTR_ATIME_SET = 0x080;
const SETATTR_MTIME_SET = 0x100;

/** P9_GETATTR_BASIC: everything up to the change time. */
const GETATTR_BASIC = 0x7ffn;
const NS_PER_SECOND = 1_000_000_000n;

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;
/** XATTR_SIZE_MAX of Linux. */
const MAX_XATTR_BYTES = 65_536;

const LOCK_SUCCESS = 0;
const LOCK_BLOCKED = 1;
const MAX_CLIENT_ID_BYTES = 1024;

/** statfs(2)'s type of a 9P mount: what Linux itself shows. */
const V9FS_MAGIC = 0x01021997;

function openModeOf(flags: number): ShareOpenMode {
  const access = flags & O_ACCMODE;
  const write = access === O_WRONLY || access === O_RDWR;
  return {
    read: access !== O_WRONLY,
    write,
    truncate: (flags & O_TRUNC) !== 0,
    synchronous: (flags & O_DSYNC) !== 0,
  };
}

const open: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const flags = reader.u32();
  return session.fids.use(number, async (fid) => {
    if (fid.isOpen) throw new ShareError('EBUSY', 'the fid is open');
    const mode = openModeOf(flags);
    const attributes = await fid.node.attributes();
    if ((attributes.mode & S_IFMT) === S_IFDIR) {
      if (mode.write || mode.truncate) throw new ShareError('EISDIR');
      fid.isDirectory = true;
    } else {
      if ((flags & O_DIRECTORY) !== 0) throw new ShareError('ENOTDIR');
      // Devices and FIFOs of a host are none of the guest's; its own kernel opens those that it made here.
      if ((attributes.mode & S_IFMT) !== S_IFREG) throw new ShareError('EACCES', 'not a regular file');
      if (mode.write || mode.truncate) session.checkWritable();
      const file = await fid.node.open(mode);
      if (fid.isOpen) {
        await file.close();
        throw new ShareError('EBUSY', 'the fid is open');
      }
      fid.file = file;
      fid.openMode = mode;
    }
    const now = mode.truncate ? await fid.node.attributes() : attributes;
    return new MessageWriter().qid(qidOf(now)).u32(0);
  });
};

const create: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  const flags = reader.u32();
  const permissions = reader.u32() & 0o7777;
  const gid = reader.u32();
  session.checkWritable();
  return session.fids.use(number, async (fid) => {
    if (fid.isOpen || fid.users > 1) throw new ShareError('EBUSY', 'the fid is open or in use');
    const mode = openModeOf(flags | O_CREAT);
    const owner = { uid: fid.uid, gid };
    const { node, file } = await fid.node.create(name, mode, (flags & O_EXCL) !== 0, permissions, owner);
    // From here on the fid is the new file. Others that came meanwhile keep the directory alive until they end.
    if (fid.isOpen || fid.users > 1) {
      await file.close();
      node.release();
      throw new ShareError('EBUSY', 'the fid is in use');
    }
    fid.node.release();
    fid.node = node;
    fid.file = file;
    fid.openMode = mode;
    return new MessageWriter().qid(qidOf(await node.attributes())).u32(0);
  });
};

/** Makes something below a directory's fid and answers its qid. */
function make(
  { session }: Request,
  number: number,
  maker: (fid: Fid) => Promise<ShareNode> | ShareNode,
): Promise<MessageWriter> {
  session.checkWritable();
  return session.fids.use(number, async (fid) => {
    const node = await maker(fid);
    try {
      return new MessageWriter().qid(qidOf(await node.attributes()));
    } finally {
      node.release();
    }
  });
}

const symlink: Operation = (request) => {
  const { reader } = request;
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  const target = reader.string(M.MAX_TARGET_BYTES);
  const gid = reader.u32();
  if (target === '' || target.includes('\0')) throw new ShareError('EINVAL', 'not a target');
  return make(request, number, (fid) => fid.node.makeSymlink(name, target, { uid: fid.uid, gid }));
};

const mknod: Operation = (request) => {
  const { reader } = request;
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  const mode = reader.u32();
  const major = reader.u32();
  const minor = reader.u32();
  const gid = reader.u32();
  return make(request, number, (fid) => fid.node.makeSpecial(name, mode, major, minor, { uid: fid.uid, gid }));
};

const mkdir: Operation = (request) => {
  const { reader } = request;
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  const permissions = reader.u32() & 0o7777;
  const gid = reader.u32();
  return make(request, number, (fid) => fid.node.makeDirectory(name, permissions, { uid: fid.uid, gid }));
};

const link: Operation = ({ session, reader }) => {
  const directory = reader.u32();
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  session.checkWritable();
  return session.fids.use(directory, (into) =>
    session.fids.use(number, async (fid) => {
      await into.node.makeLink(name, fid.node);
      return new MessageWriter();
    }),
  );
};

const rename: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const directory = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  session.checkWritable();
  return session.fids.use(number, (fid) =>
    session.fids.use(directory, async (into) => {
      const place = await fid.node.place();
      if (!place) throw new ShareError('EBUSY', 'the root, or nothing that has a name');
      try {
        await place.parent.rename(place.name, into.node, name);
      } finally {
        place.parent.release();
      }
      return new MessageWriter();
    }),
  );
};

const renameAt: Operation = ({ session, reader }) => {
  const oldDirectory = reader.u32();
  const oldName = checkName(reader.string(M.MAX_NAME_BYTES));
  const newDirectory = reader.u32();
  const newName = checkName(reader.string(M.MAX_NAME_BYTES));
  session.checkWritable();
  return session.fids.use(oldDirectory, (from) =>
    session.fids.use(newDirectory, async (to) => {
      await from.node.rename(oldName, to.node, newName);
      return new MessageWriter();
    }),
  );
};

const unlinkAt: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const name = checkName(reader.string(M.MAX_NAME_BYTES));
  const flags = reader.u32();
  session.checkWritable();
  return session.fids.use(number, async (fid) => {
    await fid.node.remove(name, (flags & AT_REMOVEDIR) !== 0);
    return new MessageWriter();
  });
};

const readLink: Operation = ({ session, reader }) =>
  session.fids.use(reader.u32(), async (fid) => new MessageWriter().string(await fid.node.readLink()));

/** Linux's encoding of a device number (new_encode_dev). */
export function encodeDevice(major: number, minor: number): bigint {
  return BigInt(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0);
}

const getAttributes: Operation = ({ session, reader }) =>
  session.fids.use(reader.u32(), async (fid) => {
    const it = await fid.node.attributes();
    const body = new MessageWriter().u64(GETATTR_BASIC).qid(qidOf(it));
    body.u32(it.mode).u32(it.uid).u32(it.gid);
    body.u64(BigInt(it.linkCount)).u64(encodeDevice(it.deviceMajor, it.deviceMinor)).u64(BigInt(it.sizeBytes));
    body.u64(BigInt(it.blockBytes)).u64(BigInt(it.blocks));
    for (const ns of [it.accessNs, it.modificationNs, it.changeNs]) {
      // Seconds round down, so that nanoseconds of times before 1970 are positive.
      const remainder = ((ns % NS_PER_SECOND) + NS_PER_SECOND) % NS_PER_SECOND;
      body.u64(BigInt.asUintN(64, (ns - remainder) / NS_PER_SECOND)).u64(remainder);
    }
    // Birth time, generation and data version are not said to be valid.
    return body.u64(0n).u64(0n).u64(0n).u64(0n);
  });

const setAttributes: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const valid = reader.u32();
  const permissions = reader.u32() & 0o7777;
  const uid = reader.u32();
  const gid = reader.u32();
  const size = reader.u64();
  const time = (): bigint => BigInt.asIntN(64, reader.u64()) * NS_PER_SECOND + (reader.u64() % NS_PER_SECOND);
  const accessNs = time();
  const modificationNs = time();
  const has = (bit: number): boolean => (valid & bit) !== 0;
  if (has(SETATTR_SIZE) && size > BigInt(Number.MAX_SAFE_INTEGER)) throw new ShareError('EFBIG');
  session.checkWritable();
  const changes: ShareChanges = {
    ...(has(SETATTR_MODE) ? { permissions } : {}),
    ...(has(SETATTR_UID) ? { uid } : {}),
    ...(has(SETATTR_GID) ? { gid } : {}),
    ...(has(SETATTR_SIZE) ? { sizeBytes: Number(size) } : {}),
    ...(has(SETATTR_ATIME) ? { accessNs: has(SETATTR_ATIME_SET) ? accessNs : ('now' as const) } : {}),
    ...(has(SETATTR_MTIME) ? { modificationNs: has(SETATTR_MTIME_SET) ? modificationNs : ('now' as const) } : {}),
  };
  return session.fids.use(number, async (fid) => {
    await fid.node.setAttributes(changes);
    return new MessageWriter();
  });
};

const xattrWalk: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const newNumber = reader.u32();
  const name = reader.string(M.MAX_NAME_BYTES);
  return session.fids.use(number, async (fid) => {
    session.fids.checkFree(newNumber);
    let value: Uint8Array;
    if (name === '') {
      const names = await fid.node.listXattrs();
      const list = new MessageWriter();
      for (const each of names) for (const character of `${each}\0`) list.u8(character.charCodeAt(0));
      value = list.bytes;
    } else {
      value = await fid.node.getXattr(name);
    }
    const reading = new Fid(fid.node.hold(), fid.uid);
    reading.xattr = { name, value };
    await session.fids.add(newNumber, reading);
    return new MessageWriter().u64(BigInt(value.length));
  });
};

const xattrCreate: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const name = reader.string(M.MAX_NAME_BYTES);
  const size = reader.size();
  const flags = reader.u32();
  session.checkWritable();
  if (name === '') throw new ShareError('EINVAL', 'not a name');
  if (size > MAX_XATTR_BYTES) throw new ShareError('ENOSPC');
  return session.fids.use(number, (fid) => {
    if (fid.isOpen) throw new ShareError('EBUSY', 'the fid is open');
    const store = { create: (flags & XATTR_CREATE) !== 0, replace: (flags & XATTR_REPLACE) !== 0, writtenBytes: 0 };
    fid.xattr = { name, value: new Uint8Array(size), store };
    return Promise.resolve(new MessageWriter());
  });
};

/** qid, the offset to go on from, type, name. */
function directoryEntry(entry: ShareEntry, offset: number, body: MessageWriter): void {
  body.qid({ type: qidType(entry.type), version: 0, path: entry.id });
  // The type is that of getdents(2): S_IFMT's bits without the permissions.
  body
    .u64(BigInt(offset))
    .u8(entry.type >> 12)
    .string(entry.name);
}

const readDirectory: Operation = ({ session, reader, exchange }) => {
  const number = reader.u32();
  const offset = reader.size();
  const wanted = reader.u32();
  return session.fids.use(number, async (fid) => {
    if (!fid.isDirectory) throw new ShareError('ENOTDIR');
    const count = Math.min(wanted, session.dataLimit(exchange));
    const entries = await session.fids.listing(fid, offset === 0);
    const body = new MessageWriter();
    for (let index = offset; index < entries.length + 2; index++) {
      const entry = index < 2 ? await dotEntry(fid.node, index) : entries[index - 2];
      if (!entry || body.lengthBytes + QID_BYTES + 11 + entry.name.length > count) break;
      directoryEntry(entry, index + 1, body);
    }
    // Not even one fits: an empty answer would mean the directory's end.
    if (body.lengthBytes === 0 && offset < entries.length + 2) throw new ShareError('EINVAL', 'no room for an entry');
    const dataBytes = scatter(body.bytes, exchange.replyViews(READ_HEADER_BYTES, READ_HEADER_BYTES + body.lengthBytes));
    return { dataBytes };
  });
};

async function dotEntry(node: ShareNode, index: number): Promise<ShareEntry> {
  if (index === 0) return { name: '.', id: (await node.attributes()).id, type: S_IFDIR };
  const parent = (await node.place())?.parent;
  try {
    return { name: '..', id: (await (parent ?? node).attributes()).id, type: S_IFDIR };
  } finally {
    parent?.release();
  }
}

const fsync: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const dataOnly = reader.u32() !== 0;
  return session.fids.use(number, async (fid) => {
    if (!fid.isOpen) throw new ShareError('EBADF', 'not open');
    if (fid.isDirectory) await fid.node.syncDirectory();
    else await fid.file?.sync(dataOnly);
    return new MessageWriter();
  });
};

function lockRange(type: number, { reader }: Request): LockRange {
  const start = reader.u64();
  const length = reader.u64();
  const processId = reader.u32();
  return { type, start, length, processId, clientId: reader.string(MAX_CLIENT_ID_BYTES) };
}

const lock: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const type = reader.u8();
  reader.u32();
  const range = lockRange(type, request);
  if (type > LOCK_TYPE_UNLCK) throw new ShareError('EINVAL', 'not a type of lock');
  return session.fids.use(number, async (fid) => {
    const { id } = await fid.node.attributes();
    // A client that wants to wait asks again: the server never keeps a request.
    return new MessageWriter().u8(session.locks.set(id, range) ? LOCK_SUCCESS : LOCK_BLOCKED);
  });
};

const getLock: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const type = reader.u8();
  const wanted = lockRange(type, request);
  if (type > LOCK_TYPE_WRLCK) throw new ShareError('EINVAL', 'not a type of lock');
  return session.fids.use(number, async (fid) => {
    const { id } = await fid.node.attributes();
    const answer = session.locks.conflict(id, wanted) ?? { ...wanted, type: LOCK_TYPE_UNLCK };
    const body = new MessageWriter().u8(answer.type).u64(answer.start).u64(answer.length);
    return body.u32(answer.processId).string(answer.clientId);
  });
};

const statfs: Operation = ({ session, reader }) =>
  session.fids.use(reader.u32(), async (fid) => {
    const space = await fid.node.space();
    const body = new MessageWriter().u32(V9FS_MAGIC).u32(space.blockBytes);
    body.u64(space.blocks).u64(space.freeBlocks).u64(space.availableBlocks).u64(space.files).u64(space.freeFiles);
    return body.u64(0n).u32(M.MAX_NAME_BYTES);
  });

export const LINUX_OPERATIONS: Readonly<Record<number, Operation>> = {
  [M.TSTATFS]: statfs,
  [M.TLOPEN]: open,
  [M.TLCREATE]: create,
  [M.TSYMLINK]: symlink,
  [M.TMKNOD]: mknod,
  [M.TRENAME]: rename,
  [M.TREADLINK]: readLink,
  [M.TGETATTR]: getAttributes,
  [M.TSETATTR]: setAttributes,
  [M.TXATTRWALK]: xattrWalk,
  [M.TXATTRCREATE]: xattrCreate,
  [M.TREADDIR]: readDirectory,
  [M.TFSYNC]: fsync,
  [M.TLOCK]: lock,
  [M.TGETLOCK]: getLock,
  [M.TLINK]: link,
  [M.TMKDIR]: mkdir,
  [M.TRENAMEAT]: renameAt,
  [M.TUNLINKAT]: unlinkAt,
};
