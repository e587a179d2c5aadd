/**
 * A 9P session in a snapshot. Fids are kept by the paths that they have at that time and found again by them; what has no name any more, or
 * is gone when the snapshot is restored, answers ESTALE from then on. The share's files are not part of a snapshot, as a disk's sectors are not.
 */
import { bytesToName, nameToBytes, type ShareNode } from '../backends/share.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';
import { Fid, MAX_FIDS } from './fids.ts';
import { LOCK_TYPE_WRLCK, MAX_LOCKS, type StoredLock } from './locks.ts';
import { MAX_MESSAGE_BYTES, type Dialect, type Session } from './session.ts';
import { StaleNode } from './stale-node.ts';

const DIALECTS: readonly (Dialect | undefined)[] = [undefined, '9P2000.L', '9P2000.u', '9P2000'];
const MAX_UINT32 = 0xffffffff;
const MAX_UINT64 = 2n ** 64n - 1n;
const MAX_PATH_BYTES = 1 << 20;
const MAX_VALUE_BYTES = 1 << 20;

type State = { readonly [field: string]: StateValue };

/** The state of a device without a session. */
export const NO_SESSION: State = {
  dialect: 0,
  msize: MAX_MESSAGE_BYTES,
  fidCount: 0,
  fids: [],
  lockCount: 0,
  locks: [],
};

function savedBytes(name: string, bytes: Uint8Array): State {
  return { [`${name}Bytes`]: bytes.length, [name]: bytes.slice() };
}

function readBytes(fields: StateFields, name: string, maxBytes: number): Uint8Array {
  return fields.bytes(name, fields.integer(`${name}Bytes`, maxBytes));
}

/** Names from the root to a node, `/` between them; undefined when it has no place. */
async function pathOf(node: ShareNode, root: bigint): Promise<string | undefined> {
  const names: string[] = [];
  let at = node.hold();
  try {
    for (;;) {
      const place = await at.place();
      if (!place) return (await at.attributes()).id === root ? names.reverse().join('/') : undefined;
      names.push(place.name);
      at.release();
      at = place.parent;
    }
  } catch {
    // It went while it was looked for.
    return undefined;
  } finally {
    at.release();
  }
}

async function saveFid(number: number, fid: Fid, root: bigint): Promise<State> {
  const path = await pathOf(fid.node, root);
  const { openMode: mode, xattr } = fid;
  return {
    number,
    uid: fid.uid,
    stale: path === undefined,
    ...savedBytes('path', nameToBytes(path ?? '')),
    isFile: fid.file !== undefined,
    isDirectory: fid.isDirectory,
    reads: mode?.read === true,
    writes: mode?.write === true,
    synchronous: mode?.synchronous === true,
    removeOnClose: fid.removeOnClose,
    directoryOffset: fid.directoryRead.offsetBytes,
    directoryIndex: fid.directoryRead.index,
    isXattr: xattr !== undefined,
    storesXattr: xattr?.store !== undefined,
    createsXattr: xattr?.store?.create === true,
    replacesXattr: xattr?.store?.replace === true,
    xattrWritten: xattr?.store?.writtenBytes ?? 0,
    ...savedBytes('xattrName', nameToBytes(xattr?.name ?? '')),
    ...savedBytes('xattrValue', xattr?.value ?? new Uint8Array()),
  };
}

/** The session as it stands; no request is under way. */
export async function saveSession(session: Session): Promise<State> {
  if (session.dialect === undefined) return NO_SESSION;
  const root = await session.backend.root();
  const rootId = (await root.attributes()).id;
  root.release();
  const fids: State[] = [];
  for (const [number, fid] of session.fids.entries()) fids.push(await saveFid(number, fid, rootId));
  const locks = session.locks.stored().map((lock) => ({
    ...{ file: lock.file, type: lock.type, start: lock.start, length: lock.length, processId: lock.processId },
    ...savedBytes('clientId', nameToBytes(lock.clientId)),
  }));
  return {
    dialect: DIALECTS.indexOf(session.dialect),
    msize: session.msize,
    fidCount: fids.length,
    fids,
    lockCount: locks.length,
    locks,
  };
}

interface SavedFid {
  readonly number: number;
  readonly uid: number;
  /** Undefined: it had no place. */
  readonly path: string | undefined;
  readonly isFile: boolean;
  readonly mode: {
    readonly read: boolean;
    readonly write: boolean;
    readonly truncate: false;
    readonly synchronous: boolean;
  };
  apply(fid: Fid): void;
}

function readFid(fields: StateFields): SavedFid {
  const isFile = fields.flag('isFile');
  const isDirectory = fields.flag('isDirectory');
  const path = bytesToName(readBytes(fields, 'path', MAX_PATH_BYTES));
  const removeOnClose = fields.flag('removeOnClose');
  const directoryRead = {
    offsetBytes: fields.integer('directoryOffset', Number.MAX_SAFE_INTEGER),
    index: fields.integer('directoryIndex', Number.MAX_SAFE_INTEGER),
  };
  const name = bytesToName(readBytes(fields, 'xattrName', MAX_VALUE_BYTES));
  const value = readBytes(fields, 'xattrValue', MAX_VALUE_BYTES);
  const store = {
    create: fields.flag('createsXattr'),
    replace: fields.flag('replacesXattr'),
    writtenBytes: fields.integer('xattrWritten', value.length),
  };
  const isXattr = fields.flag('isXattr');
  const storesXattr = fields.flag('storesXattr');
  return {
    number: fields.integer('number', MAX_UINT32),
    uid: fields.integer('uid', MAX_UINT32),
    path: fields.flag('stale') ? undefined : path,
    isFile,
    mode: {
      read: fields.flag('reads'),
      write: fields.flag('writes'),
      truncate: false,
      synchronous: fields.flag('synchronous'),
    },
    apply(fid) {
      fid.isDirectory = isDirectory;
      fid.removeOnClose = removeOnClose;
      fid.directoryRead = directoryRead;
      if (isXattr) fid.xattr = { name, value: value.slice(), ...(storesXattr ? { store: { ...store } } : {}) };
    },
  };
}

/** What {@link restoreSession} needs, checked. */
export interface SavedSession {
  readonly dialect: Dialect | undefined;
  readonly msize: number;
  readonly fids: readonly SavedFid[];
  readonly locks: readonly StoredLock[];
}

export function readSession(fields: StateFields): SavedSession {
  const locks = fields.groups('locks', fields.integer('lockCount', MAX_LOCKS)).map((lock) => ({
    file: lock.big('file', MAX_UINT64),
    type: lock.integer('type', LOCK_TYPE_WRLCK),
    start: lock.big('start', MAX_UINT64),
    length: lock.big('length', MAX_UINT64),
    processId: lock.integer('processId', MAX_UINT32),
    clientId: bytesToName(readBytes(lock, 'clientId', MAX_VALUE_BYTES)),
  }));
  return {
    dialect: DIALECTS[fields.integer('dialect', DIALECTS.length - 1)],
    msize: fields.integer('msize', MAX_MESSAGE_BYTES),
    fids: fields.groups('fids', fields.integer('fidCount', MAX_FIDS)).map(readFid),
    locks,
  };
}

async function findNode(session: Session, path: string | undefined): Promise<ShareNode> {
  if (path === undefined) return new StaleNode();
  let node = await session.backend.root();
  try {
    for (const name of path.split('/').filter((part) => part !== '')) {
      const next = await node.lookup(name);
      node.release();
      node = next;
    }
  } catch {
    node.release();
    return new StaleNode();
  }
  return node;
}

/** Puts a saved session in the place of the present one. Never rejects because of what has become of the files. */
export async function restoreSession(session: Session, saved: SavedSession): Promise<void> {
  await session.reset();
  session.dialect = saved.dialect;
  session.msize = saved.msize;
  session.locks.load(saved.locks);
  for (const { number, uid, path, isFile, mode, apply } of saved.fids) {
    const fid = new Fid(await findNode(session, path), uid);
    apply(fid);
    if (isFile) {
      fid.openMode = mode;
      try {
        fid.file = await fid.node.open(mode);
      } catch {
        // It may be reached no longer: requests are told ESTALE.
        fid.node.release();
        fid.node = new StaleNode();
        fid.file = { read: staleFile, write: staleFile, sync: staleFile, close: () => undefined };
      }
    }
    await session.fids.add(number, fid);
  }
}

function staleFile(): never {
  return new StaleNode().attributes();
}
