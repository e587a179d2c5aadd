/**
 * One writer at a time for a disk image. bhyve leaves that to its user; two machines that write one image destroy it. Linux: a socket in the
 * abstract namespace (unix(7)) named after the file's device and inode, which the kernel gives back however the process ends. The BSDs and
 * macOS: O_EXLOCK, a flock(2) by open. Other systems have neither, and no lock.
 */
import { createServer } from 'node:net';
import type { BigIntStats } from 'node:fs';

/** fcntl.h of FreeBSD and macOS; Node has no names for them. */
const O_EXLOCK = 0x0020;
const O_NONBLOCK = 0x0004;
const HAS_EXLOCK = ['darwin', 'freebsd', 'openbsd', 'netbsd'].includes(process.platform);

/** Flags for opening a file that nobody else may write. */
export const EXCLUSIVE_OPEN_FLAGS = HAS_EXLOCK ? O_EXLOCK | O_NONBLOCK : 0;

/** True for the error of an open with those flags when another program holds the file. */
export function isLocked(error: unknown): boolean {
  return (
    HAS_EXLOCK && error instanceof Error && 'code' in error && (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK')
  );
}

/** Another machine writes the file. */
export class FileLockedError extends Error {
  override readonly name = 'FileLockedError';
  readonly code = 'EBUSY';
  constructor() {
    super('another machine uses it');
  }
}

/** Takes the lock of a file that is open; returns what gives it back. Rejects with FileLockedError. */
export async function lockFile({ dev, ino }: Pick<BigIntStats, 'dev' | 'ino'>): Promise<() => Promise<void>> {
  if (process.platform !== 'linux') return () => Promise.resolve();
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', () => reject(new FileLockedError()));
    server.listen(`\0webhyve-disk-${dev.toString(16)}-${ino.toString(16)}`, () => resolve());
  });
  // The lock keeps no process alive.
  server.unref();
  return () => new Promise((resolve) => server.close(() => resolve()));
}
