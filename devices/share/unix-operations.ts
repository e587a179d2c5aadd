/** The messages that 9P2000 and 9P2000.u have in place of 9P2000.L's: open(5), stat(5), and the extensions for Unix. */
import type { Fid } from './fids.ts';
import { MAX_NAME_BYTES, MAX_TARGET_BYTES, MessageWriter, TCREATE, TOPEN, TSTAT, TWSTAT } from './messages.ts';
import { qidOf, type Operation, type Session } from './session.ts';
import { checkName, isDirectory } from './shared-operations.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  ShareError,
  type ShareNode,
  type ShareOpenMode,
} from '../backends/share.ts';
import {
  DMDEVICE,
  DMDIR,
  DMLINK,
  DMNAMEDPIPE,
  DMSETGID,
  DMSETUID,
  DMSOCKET,
  DMSYMLINK,
  nameOf,
  readStat,
  writeStat,
} from './unix-stat.ts';

const ACCESS = 3;
const OREAD = 0;
const OWRITE = 1;
const OEXEC = 3;
const OTRUNC = 0x10;
const ORCLOSE = 0x40;
const OEXCL = 0x1000;

function openModeOf(mode: number): ShareOpenMode {
  const access = mode & ACCESS;
  return {
    read: access !== OWRITE,
    write: access !== OREAD && access !== OEXEC,
    truncate: (mode & OTRUNC) !== 0,
    synchronous: false,
  };
}

async function openFid(session: Session, fid: Fid, mode: number): Promise<MessageWriter> {
  if (fid.isOpen) throw new ShareError('EBUSY', 'the fid is open');
  const openMode = openModeOf(mode);
  const attributes = await fid.node.attributes();
  if (openMode.write || openMode.truncate || (mode & ORCLOSE) !== 0) session.checkWritable();
  if (await isDirectory(fid.node)) {
    if (openMode.write || openMode.truncate) throw new ShareError('EISDIR');
    fid.isDirectory = true;
  } else {
    if ((attributes.mode & S_IFMT) !== S_IFREG) throw new ShareError('EACCES', 'not a regular file');
    const file = await fid.node.open(openMode);
    if (fid.isOpen) {
      await file.close();
      throw new ShareError('EBUSY', 'the fid is open');
    }
    fid.file = file;
    fid.openMode = openMode;
  }
  fid.removeOnClose = (mode & ORCLOSE) !== 0;
  return new MessageWriter().qid(qidOf(await fid.node.attributes())).u32(0);
}

const open: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const mode = reader.u8();
  return session.fids.use(number, (fid) => openFid(session, fid, mode));
};

function permissionsOf(perm: number): number {
  return (perm & 0o777) | ((perm & DMSETUID) !== 0 ? 0o4000 : 0) | ((perm & DMSETGID) !== 0 ? 0o2000 : 0);
}

/** Everything but a regular file: made by its extension, and not open afterwards unless it is a directory. */
async function createSpecial(
  session: Session,
  fid: Fid,
  name: string,
  perm: number,
  extension: string,
): Promise<ShareNode | undefined> {
  const { node } = fid;
  const owner = { uid: fid.uid, gid: (await node.attributes()).gid };
  const permissions = permissionsOf(perm);
  if ((perm & DMDIR) !== 0) return node.makeDirectory(name, permissions, owner);
  if ((perm & DMSYMLINK) !== 0) return node.makeSymlink(name, extension, owner);
  if ((perm & DMLINK) !== 0) {
    return session.fids.use(Number.parseInt(extension, 10), async (to) => {
      await node.makeLink(name, to.node);
      return node.lookup(name);
    });
  }
  if ((perm & DMNAMEDPIPE) !== 0) return node.makeSpecial(name, S_IFIFO | permissions, 0, 0, owner);
  if ((perm & DMSOCKET) !== 0) return node.makeSpecial(name, S_IFSOCK | permissions, 0, 0, owner);
  if ((perm & DMDEVICE) !== 0) {
    const [, kind, major, minor] = /^([bc]) (\d{1,9}) (\d{1,9})$/.exec(extension) ?? [];
    if (kind === undefined) throw new ShareError('EINVAL', 'not a device');
    const type = kind === 'b' ? S_IFBLK : S_IFCHR;
    return node.makeSpecial(name, type | permissions, Number(major), Number(minor), owner);
  }
  return undefined;
}

const create: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const name = checkName(reader.string(MAX_NAME_BYTES));
  const perm = reader.u32();
  const mode = reader.u8();
  const extension = session.dialect === '9P2000.u' ? reader.string(MAX_TARGET_BYTES) : '';
  session.checkWritable();
  return session.fids.use(number, async (fid) => {
    if (fid.isOpen || fid.users > 1) throw new ShareError('EBUSY', 'the fid is open or in use');
    const special = await createSpecial(session, fid, name, perm, extension);
    let node = special;
    let file;
    if (!node) {
      const owner = { uid: fid.uid, gid: (await fid.node.attributes()).gid };
      const exclusive = (mode & OEXCL) !== 0;
      ({ node, file } = await fid.node.create(name, openModeOf(mode), exclusive, permissionsOf(perm), owner));
    }
    if (fid.users > 1) {
      await file?.close();
      node.release();
      throw new ShareError('EBUSY', 'the fid is in use');
    }
    fid.node.release();
    fid.node = node;
    if (file) {
      fid.file = file;
      fid.openMode = openModeOf(mode);
    } else if (await isDirectory(node)) {
      fid.isDirectory = true;
    }
    fid.removeOnClose = (mode & ORCLOSE) !== 0;
    return new MessageWriter().qid(qidOf(await node.attributes())).u32(0);
  });
};

const stat: Operation = ({ session, reader }) =>
  session.fids.use(reader.u32(), async (fid) => {
    // The stat stands behind its own length.
    const entry = new MessageWriter();
    await writeStat(session, fid.node, await nameOf(fid.node), entry);
    return new MessageWriter().u16(entry.lengthBytes).append(entry.bytes);
  });

const writeStatOperation: Operation = ({ session, reader }) => {
  const number = reader.u32();
  reader.u16();
  const changes = readStat(session, reader);
  return session.fids.use(number, async (fid) => {
    const { mode, uid, gid, sizeBytes, accessNs, modificationNs, name } = changes;
    const nothing = Object.values(changes).every((value) => value === undefined || value === '');
    if (nothing) {
      // A wstat that changes nothing asks for the file to be made durable (stat(5)).
      await fid.file?.sync(false);
      return new MessageWriter();
    }
    session.checkWritable();
    await fid.node.setAttributes({
      ...(mode === undefined ? {} : { permissions: permissionsOf(mode) }),
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(accessNs === undefined ? {} : { accessNs }),
      ...(modificationNs === undefined ? {} : { modificationNs }),
    });
    if (name !== '') await renameInPlace(fid, checkName(name));
    return new MessageWriter();
  });
};

/** Twstat gives a file another name in its own directory. */
async function renameInPlace(fid: Fid, name: string): Promise<void> {
  const place = await fid.node.place();
  if (!place) throw new ShareError('EBUSY', 'the root, or nothing that has a name');
  try {
    if (place.name !== name) await place.parent.rename(place.name, place.parent, name);
  } finally {
    place.parent.release();
  }
}

export const UNIX_OPERATIONS: Readonly<Record<number, Operation>> = {
  [TOPEN]: open,
  [TCREATE]: create,
  [TSTAT]: stat,
  [TWSTAT]: writeStatOperation,
};
