/**
 * Machines by name. A name is taken by linking a finished record to it, which exactly one process can do; a record whose control
 * socket nobody answers is a leftover (a process that was killed) and is moved away before the name is taken.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isMachineName, socketPath, type RuntimeDir } from './runtime-dir.ts';

/**
 * `created`: by `bhyvectl --create`, no process yet. `running`: a process has it. `ended`: its process ended in an orderly way;
 * as on FreeBSD, the name stays until it is destroyed or used again.
 */
export type RecordState = 'created' | 'running' | 'ended';

export interface MachineRecord {
  /** Tells this life of the machine from all others of its name. */
  readonly id: string;
  readonly state: RecordState;
  /** The process that has or had it; 0 before there was one. */
  readonly pid: number;
  /** Control socket; empty before there was one. */
  readonly socket: string;
  /** How it ended. */
  readonly reason?: string | undefined;
}

/** A name that cannot be taken. */
export class NameError extends Error {
  override readonly name = 'NameError';
  constructor(
    readonly errno: 'EBUSY' | 'EEXIST' | 'EINVAL',
    message: string,
  ) {
    super(message);
  }
}

/** More rounds than processes that could fight for one name at the same moment. */
const MAX_ROUNDS = 50;
const CONNECT_PATIENCE_MS = 5000;

function isErrno(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

function parseRecord(text: string): MachineRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, state, pid, socket, reason } = value as Record<string, unknown>;
  if (typeof id !== 'string' || typeof pid !== 'number' || typeof socket !== 'string') return undefined;
  if (state !== 'created' && state !== 'running' && state !== 'ended') return undefined;
  return { id, state, pid, socket, reason: typeof reason === 'string' ? reason : undefined };
}

/** What a file says that is no record: somebody put it there, and it stands for no machine. */
const UNREADABLE: MachineRecord = { id: '', state: 'ended', pid: 0, socket: '' };

/** True when a process accepts connections there. The system itself says so: sockets end with their process. */
export function answers(socket: string): Promise<boolean> {
  if (socket === '') return Promise.resolve(false);
  return new Promise((resolve) => {
    const connection = connect(socket);
    const done = (result: boolean): void => {
      clearTimeout(timer);
      connection.destroy();
      resolve(result);
    };
    // A process that is stopped accepts nothing once its queue is full, and is alive all the same.
    const timer = setTimeout(() => done(true), CONNECT_PATIENCE_MS);
    connection.once('connect', () => done(true));
    connection.once('error', (error) => done(isErrno(error, 'EAGAIN') || isErrno(error, 'EACCES')));
  });
}

export class Registry {
  constructor(readonly dir: RuntimeDir) {}

  #path(name: string): string {
    if (!isMachineName(name)) throw new NameError('EINVAL', `"${name}" cannot be the name of a machine`);
    return join(this.dir.path, name);
  }

  /** A new life's number and the socket that goes with it. */
  newLife(): { readonly id: string; readonly socket: string } {
    const id = randomBytes(8).toString('hex');
    return { id, socket: socketPath(this.dir, id) };
  }

  /** Names of all records, whether their machines run or not. */
  names(): string[] {
    return readdirSync(this.dir.path, { withFileTypes: true })
      .filter((entry) => entry.isFile() && isMachineName(entry.name))
      .map(({ name }) => name)
      .sort();
  }

  /** The record of a name; undefined when there is none. Throws {@link NameError} for the name of something else. */
  read(name: string): MachineRecord | undefined {
    const path = this.#path(name);
    let text: string;
    try {
      if (!lstatSync(path).isFile()) throw new NameError('EINVAL', `"${name}" is no machine but a socket or a folder`);
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
    return parseRecord(text) ?? UNREADABLE;
  }

  #temporary(record: MachineRecord): string {
    const path = join(this.dir.runPath, `${randomBytes(8).toString('hex')}.tmp`);
    writeFileSync(path, `${JSON.stringify(record)}\n`, { mode: 0o600, flag: 'wx' });
    return path;
  }

  /**
   * Takes a name. Throws {@link NameError}: EBUSY when its machine runs, EEXIST when it exists and `mayReplace` is false. The
   * socket of `record` must be listening already, so that nobody takes the new record for a leftover.
   */
  async claim(name: string, record: MachineRecord, mayReplace: boolean): Promise<void> {
    const path = this.#path(name);
    const temporary = this.#temporary(record);
    try {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        try {
          linkSync(temporary, path);
          return;
        } catch (error) {
          if (!isErrno(error, 'EEXIST')) throw error;
        }
        const other = this.read(name);
        if (!other) continue;
        if (other.state === 'running' && (await answers(other.socket))) {
          throw new NameError('EBUSY', `a machine named "${name}" is running already (process ${other.pid})`);
        }
        if (!mayReplace) throw new NameError('EEXIST', `a machine named "${name}" exists already`);
        this.#removeLeftover(path, other);
      }
      throw new NameError('EBUSY', `other processes keep taking the name "${name}"`);
    } finally {
      rmSync(temporary, { force: true });
    }
  }

  /** Removes the record if it still is the one that was looked at; gives it back otherwise. True when it was. */
  #removeLeftover(path: string, seen: MachineRecord): boolean {
    const aside = join(this.dir.runPath, `${randomBytes(8).toString('hex')}.old`);
    try {
      renameSync(path, aside);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
    const moved = parseRecord(readFileSync(aside, 'utf8')) ?? UNREADABLE;
    const same = moved.id === seen.id;
    try {
      if (!same) linkSync(aside, path);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    } finally {
      rmSync(aside, { force: true });
    }
    if (same) this.removeSocket(seen);
    return same;
  }

  /** What a loader left for this life to boot (host-node/loaded.ts). */
  bootFolder(record: MachineRecord): string {
    return join(this.dir.runPath, `${record.id}.boot`);
  }

  /** Replaces the record of this life by another state of it; nothing happens when the name is somebody else's by now. */
  update(name: string, record: MachineRecord): void {
    if (this.read(name)?.id !== record.id) return;
    renameSync(this.#temporary(record), this.#path(name));
  }

  /** Frees the name of this life; nothing happens when it is somebody else's by now. */
  remove(name: string, record: MachineRecord): boolean {
    if (this.read(name)?.id !== record.id) return false;
    return this.#removeLeftover(this.#path(name), record);
  }

  /** Only sockets of our own folder: a record is a file, and files can hold anything. */
  removeSocket(record: MachineRecord): void {
    if (process.platform === 'win32' || !/^[0-9a-f]{16}$/.test(record.id)) return;
    rmSync(join(this.dir.runPath, record.id), { force: true });
    rmSync(this.bootFolder(record), { recursive: true, force: true });
  }
}
