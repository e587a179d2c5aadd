/**
 * The folder in which running machines are found by name: what /dev/vmm is on FreeBSD, but each user's own.
 *
 *   DIR/NAME          one file a machine: a {@link MachineRecord} as JSON
 *   DIR/.run/         control sockets, and files on their way to their names
 *   DIR/nmdmNA, ...   sockets: ends of null modems (host-node/console/nmdm.ts)
 */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** A name is a file's name, and leaves room for what is appended on the way. */
const MAX_NAME_BYTES = 200;
/** sun_path of a socket address, less its final zero byte: 104 bytes on the BSDs, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = 103;
const OWNER_ONLY = 0o700;
const WRITABLE_BY_OTHERS = 0o022;

/** The machines of this user cannot be found by name; the message says why. */
export class RuntimeDirError extends Error {
  override readonly name = 'RuntimeDirError';
}

export interface RuntimeDir {
  readonly path: string;
  /** Sockets and temporary files. */
  readonly runPath: string;
}

/** `WEBHYVE_RUNTIME_DIR`, or `webhyve` in `XDG_RUNTIME_DIR`, or `webhyve-UID` in the folder for temporary files. */
export function runtimeDirPath(environment: NodeJS.ProcessEnv = process.env): string {
  const own = environment['WEBHYVE_RUNTIME_DIR'];
  if (own) return own;
  const xdg = environment['XDG_RUNTIME_DIR'];
  if (xdg) return join(xdg, 'webhyve');
  const { uid, username } = userInfo();
  return join(tmpdir(), `webhyve-${uid === -1 ? username : uid}`);
}

/**
 * A folder in which nobody else can put anything: others could answer in a machine's place. It is made when it is not there; one that is there
 * stays as it is, since it may be the system's, and is refused when it does not fit.
 */
function ownFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: OWNER_ONLY });
  const stat = lstatSync(path);
  if (!stat.isDirectory()) throw new RuntimeDirError(`${path} is not a folder`);
  const uid = process.getuid?.();
  if (uid === undefined) return;
  if (stat.uid !== uid) throw new RuntimeDirError(`${path} belongs to another user`);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) throw new RuntimeDirError(`${path} can be written by other users`);
}

/** Makes the folder when it is not there. Throws {@link RuntimeDirError}. */
export function openRuntimeDir(path = runtimeDirPath()): RuntimeDir {
  const runPath = join(path, '.run');
  try {
    ownFolder(path);
    ownFolder(runPath);
  } catch (error) {
    if (error instanceof RuntimeDirError) throw error;
    throw new RuntimeDirError(error instanceof Error ? error.message : String(error));
  }
  return { path, runPath };
}

/** Whether a machine can have this name: it becomes the name of a file. */
export function isMachineName(name: string): boolean {
  if (name === '' || name.startsWith('.') || Buffer.byteLength(name) > MAX_NAME_BYTES) return false;
  return !/[/\\\0]/.test(name);
}

/** Where a machine's control socket is bound; `id` makes it one of its kind. A named pipe on Windows. */
export function socketPath(dir: RuntimeDir, id: string): string {
  if (process.platform === 'win32') {
    const folder = createHash('sha256').update(dir.path).digest('hex').slice(0, 12);
    return `\\\\.\\pipe\\webhyve-${folder}-${id}`;
  }
  const path = join(dir.runPath, id);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw new RuntimeDirError(`${path} is too long for a socket; set WEBHYVE_RUNTIME_DIR to a shorter folder`);
  }
  return path;
}
