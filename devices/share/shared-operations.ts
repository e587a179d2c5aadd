/** The messages that every dialect has: attaching, walking, reading, writing, clunking. */
import { Fid } from './fids.ts';
import {
  MAX_NAME_BYTES,
  MAX_WALK_NAMES,
  MessageWriter,
  NOFID,
  NONUNAME,
  READ_HEADER_BYTES,
  TATTACH,
  TAUTH,
  TCLUNK,
  TREAD,
  TREMOVE,
  TWALK,
  TWRITE,
  WRITE_HEADER_BYTES,
  type Qid,
} from './messages.ts';
import { qidOf, type Operation, type Request, type Session } from './session.ts';
import { S_IFDIR, S_IFMT, ShareError, type ShareNode } from '../backends/share.ts';
import { readDirectoryStats } from './unix-stat.ts';

/** Names of users are no part of any share: Linux sends numbers. */
const MAX_USER_NAME_BYTES = 65_535;

/** A name that an object can have; EINVAL, ENOENT or ENAMETOOLONG otherwise. */
export function checkName(name: string): string {
  if (name === '' || name.includes('/') || name.includes('\0')) throw new ShareError('EINVAL', 'not a name');
  if (name === '.' || name === '..') throw new ShareError('EINVAL', 'not a name of its own');
  if (name.length > MAX_NAME_BYTES) throw new ShareError('ENAMETOOLONG');
  return name;
}

export async function isDirectory(node: ShareNode): Promise<boolean> {
  return ((await node.attributes()).mode & S_IFMT) === S_IFDIR;
}

const auth: Operation = () => Promise.reject(new ShareError('EOPNOTSUPP', 'no authentication'));

const attach: Operation = async ({ session, reader }) => {
  const number = reader.u32();
  const authFid = reader.u32();
  reader.string(MAX_USER_NAME_BYTES);
  reader.string(MAX_USER_NAME_BYTES);
  const uid = session.dialect === '9P2000' ? NONUNAME : reader.u32();
  if (authFid !== NOFID) throw new ShareError('EINVAL', 'no authentication');
  session.fids.checkFree(number);
  const root = await session.backend.root();
  // NONUNAME: the user is known by name only, and names are the guest's.
  const fid = new Fid(root, uid === NONUNAME ? 0 : uid);
  const qid = qidOf(await root.attributes());
  await session.fids.add(number, fid);
  return new MessageWriter().qid(qid);
};

/** One step: `..` of the root is the root. */
async function step(node: ShareNode, name: string): Promise<ShareNode> {
  if (name === '.') return node.hold();
  if (name === '..') return (await node.place())?.parent ?? node.hold();
  return node.lookup(checkName(name));
}

const walk: Operation = async ({ session, reader }) => {
  const number = reader.u32();
  const newNumber = reader.u32();
  const count = reader.u16();
  if (count > MAX_WALK_NAMES) throw new ShareError('EINVAL', 'too many names');
  const names = Array.from({ length: count }, () => reader.string(MAX_NAME_BYTES));
  return session.fids.use(number, async (fid) => {
    if (number !== newNumber) session.fids.checkFree(newNumber);
    else if (fid.isOpen || fid.users > 1) throw new ShareError('EBUSY', 'the fid is open or in use');
    let node = fid.node.hold();
    const qids: Qid[] = [];
    try {
      for (const name of names) {
        const next = await step(node, name);
        node.release();
        node = next;
        qids.push(qidOf(await node.attributes()));
      }
    } catch (error) {
      if (qids.length === 0) {
        node.release();
        throw error;
      }
    }
    const body = new MessageWriter().u16(qids.length);
    for (const qid of qids) body.qid(qid);
    if (qids.length < names.length) {
      // A walk that did not reach its end leaves the fids alone (walk(5)).
      node.release();
    } else if (number === newNumber) {
      fid.node.release();
      fid.node = node;
    } else {
      await session.fids.add(newNumber, new Fid(node, fid.uid));
    }
    return body;
  });
};

const read: Operation = (request) => {
  const { session, reader } = request;
  const number = reader.u32();
  const offset = reader.size();
  const wanted = reader.u32();
  return session.fids.use(number, async (fid) => {
    const count = Math.min(wanted, session.dataLimit(request.exchange));
    const dataBytes = await readInto(request, fid, offset, count);
    session.bytesRead += dataBytes;
    return { dataBytes };
  });
};

async function readInto({ session, exchange }: Request, fid: Fid, offset: number, count: number): Promise<number> {
  const views = exchange.replyViews(READ_HEADER_BYTES, READ_HEADER_BYTES + count);
  if (fid.xattr) {
    if (fid.xattr.store) throw new ShareError('EBADF', 'the attribute is being written');
    return scatter(fid.xattr.value.subarray(Math.min(offset, fid.xattr.value.length)), views);
  }
  if (fid.isDirectory) {
    if (session.dialect === '9P2000.L') throw new ShareError('EISDIR');
    return scatter(await readDirectoryStats(session, fid, offset, count), views);
  }
  if (!fid.file || fid.openMode?.read !== true) throw new ShareError('EBADF', 'not open for reading');
  return fid.file.read(offset, views);
}

/** Copies bytes into views, as far as these go. */
export function scatter(bytes: Uint8Array, views: readonly Uint8Array[]): number {
  let done = 0;
  for (const view of views) {
    const piece = bytes.subarray(done, done + view.length);
    view.set(piece);
    done += piece.length;
  }
  return done;
}

const write: Operation = ({ session, reader, exchange }) => {
  const number = reader.u32();
  const offset = reader.size();
  const count = reader.u32();
  return session.fids.use(number, async (fid) => {
    if (count > exchange.requestBytes - WRITE_HEADER_BYTES) throw new ShareError('EINVAL', 'less data than announced');
    const views = exchange.requestViews(WRITE_HEADER_BYTES, WRITE_HEADER_BYTES + count);
    const written = fid.xattr ? writeXattr(fid, offset, views) : await writeFile(fid, offset, views);
    session.bytesWritten += written;
    return new MessageWriter().u32(written);
  });
};

async function writeFile(fid: Fid, offset: number, views: readonly Uint8Array[]): Promise<number> {
  if (!fid.file || fid.openMode?.write !== true) throw new ShareError('EBADF', 'not open for writing');
  return fid.file.write(offset, views);
}

function writeXattr(fid: Fid, offset: number, views: readonly Uint8Array[]): number {
  const { xattr } = fid;
  if (!xattr?.store) throw new ShareError('EBADF', 'the attribute is being read');
  let at = offset;
  for (const view of views) {
    if (at + view.length > xattr.value.length) throw new ShareError('ENOSPC', 'more than was announced');
    xattr.value.set(view, at);
    at += view.length;
  }
  xattr.store.writtenBytes = Math.max(xattr.store.writtenBytes, at);
  return at - offset;
}

/** The name goes with the fid (ORCLOSE, Tremove). */
async function removeName(session: Session, fid: Fid): Promise<void> {
  session.checkWritable();
  const place = await fid.node.place();
  if (!place) throw new ShareError('EBUSY', 'the root, or nothing that has a name');
  try {
    await place.parent.remove(place.name, await isDirectory(fid.node));
  } finally {
    place.parent.release();
  }
}

/** Ends a fid after `last`, also when that fails: a clunked fid is gone whatever the answer says (clunk(5)). */
function end({ session, reader }: Request, last: (fid: Fid) => Promise<void>): Promise<MessageWriter> {
  const number = reader.u32();
  return session.fids.use(number, async (fid) => {
    try {
      await last(fid);
    } finally {
      // Another request may have been quicker.
      if (!fid.clunked) await session.fids.remove(number);
    }
    return new MessageWriter();
  });
}

async function storeXattr({ node, xattr }: Fid): Promise<void> {
  if (!xattr?.store) return;
  if (xattr.store.writtenBytes !== xattr.value.length) throw new ShareError('EINVAL', 'the attribute is incomplete');
  // Replacing it by nothing is how Linux removes one.
  if (xattr.value.length === 0 && xattr.store.replace) await node.removeXattr(xattr.name);
  else await node.setXattr(xattr.name, xattr.value, xattr.store);
}

const clunk: Operation = (request) =>
  end(request, async (fid) => {
    if (fid.xattr) await storeXattr(fid);
    else if (fid.removeOnClose) await removeName(request.session, fid);
  });

const remove: Operation = (request) => end(request, (fid) => removeName(request.session, fid));

export const SHARED_OPERATIONS: Readonly<Record<number, Operation>> = {
  [TAUTH]: auth,
  [TATTACH]: attach,
  [TWALK]: walk,
  [TREAD]: read,
  [TWRITE]: write,
  [TCLUNK]: clunk,
  [TREMOVE]: remove,
};
