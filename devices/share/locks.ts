/** Advisory byte-range locks of POSIX (fcntl(2)) as Tlock and Tgetlock of 9P2000.L set and ask for them. */
import { ShareError } from '../backends/share.ts';

export const LOCK_TYPE_RDLCK = 0;
export const LOCK_TYPE_WRLCK = 1;
export const LOCK_TYPE_UNLCK = 2;

/** A hostile guest must not fill the host's memory with locks. */
export const MAX_LOCKS = 65_536;

export interface LockRange {
  readonly type: number;
  /** First byte. */
  readonly start: bigint;
  /** Bytes; 0 reaches to the end of any file. */
  readonly length: bigint;
  readonly processId: number;
  readonly clientId: string;
}

/** A lock with the file that it is on. */
export interface StoredLock extends LockRange {
  readonly file: bigint;
}

interface HeldLock {
  readonly type: number;
  readonly start: bigint;
  /** First byte behind it. */
  readonly end: bigint;
  readonly processId: number;
  readonly clientId: string;
}

const END_OF_ANY_FILE = 1n << 64n;

function held({ type, start, length, processId, clientId }: LockRange): HeldLock {
  return { type, start, end: length === 0n ? END_OF_ANY_FILE : start + length, processId, clientId };
}

function rangeOf({ type, start, end, processId, clientId }: HeldLock): LockRange {
  return { type, start, length: end === END_OF_ANY_FILE ? 0n : end - start, processId, clientId };
}

const sameOwner = (a: HeldLock, b: HeldLock): boolean => a.processId === b.processId && a.clientId === b.clientId;
const overlap = (a: HeldLock, b: HeldLock): boolean => a.start < b.end && b.start < a.end;

export class LockTable {
  readonly #byFile = new Map<bigint, HeldLock[]>();
  #count = 0;

  /** Locks that are held. */
  get count(): number {
    return this.#count;
  }

  /** The lock that keeps the wanted one from being set; undefined when nothing does. */
  conflict(file: bigint, wanted: LockRange): LockRange | undefined {
    const other = this.#conflict(file, held(wanted));
    if (!other) return undefined;
    return rangeOf(other);
  }

  /** All locks, for a snapshot. */
  stored(): StoredLock[] {
    return [...this.#byFile].flatMap(([file, locks]) => locks.map((lock) => ({ file, ...rangeOf(lock) })));
  }

  /** Locks of a snapshot in the place of the present ones. */
  load(locks: readonly StoredLock[]): void {
    this.clear();
    for (const lock of locks) this.set(lock.file, lock);
  }

  #conflict(file: bigint, wanted: HeldLock): HeldLock | undefined {
    return this.#byFile
      .get(file)
      ?.find(
        (lock) =>
          !sameOwner(lock, wanted) &&
          overlap(lock, wanted) &&
          (lock.type === LOCK_TYPE_WRLCK || wanted.type === LOCK_TYPE_WRLCK),
      );
  }

  /** Sets or removes a lock; false when another owner's is in the way. The owner's earlier locks give way where they overlap. */
  set(file: bigint, range: LockRange): boolean {
    const wanted = held(range);
    if (wanted.type !== LOCK_TYPE_UNLCK && this.#conflict(file, wanted)) return false;
    const before = this.#byFile.get(file) ?? [];
    const after: HeldLock[] = [];
    for (const lock of before) {
      if (!sameOwner(lock, wanted) || !overlap(lock, wanted)) {
        after.push(lock);
        continue;
      }
      if (lock.start < wanted.start) after.push({ ...lock, end: wanted.start });
      if (wanted.end < lock.end) after.push({ ...lock, start: wanted.end });
    }
    if (wanted.type !== LOCK_TYPE_UNLCK) after.push(wanted);
    this.#replace(file, before, after);
    return true;
  }

  #replace(file: bigint, before: readonly HeldLock[], after: HeldLock[]): void {
    const count = this.#count + after.length - before.length;
    if (count > MAX_LOCKS && after.length > before.length) throw new ShareError('ENOLCK');
    this.#count = count;
    if (after.length === 0) this.#byFile.delete(file);
    else this.#byFile.set(file, after);
  }

  /** The session is over. */
  clear(): void {
    this.#byFile.clear();
    this.#count = 0;
  }
}
