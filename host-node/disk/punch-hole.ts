/**
 * Giving space of a file back: fallocate(2) of Linux, through koffi, for Node has no call of its own. koffi is an optional dependency
 * with prebuilt binaries, loaded when the first writable disk is opened; without it disks offer no TRIM. The program fallocate(1) would
 * cost a process for each range.
 */
import { createRequire } from 'node:module';
import { promisify } from 'node:util';

type Koffi = typeof import('koffi');

/** linux/falloc.h */
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;
const EINTR = 4;
const EOPNOTSUPP = 95;

type Fallocate = (fd: number, mode: number, offset: number, lengthBytes: number) => Promise<void>;

class FallocateError extends Error {
  constructor(readonly errno: number) {
    super(`fallocate: error ${errno}`);
  }
}

let loaded: Fallocate | undefined | null = null;

function load(): Fallocate | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const require = createRequire(import.meta.url);
    const koffi = require('koffi') as Koffi;
    const libc = koffi.load('libc.so.6');
    const call = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
    // Runs on a thread of koffi's: punching a large hole takes a while, and machines go on meanwhile.
    const run = promisify(
      (fd: number, mode: number, offset: number, length: number, done: (error: Error | null) => void) => {
        call.async(fd, mode, offset, length, (error: Error | null, result: number) => {
          done(error ?? (result === 0 ? null : new FallocateError(koffi.errno())));
        });
      },
    );
    return async (fd, mode, offset, length) => {
      for (;;) {
        try {
          await run(fd, mode, offset, length);
          return;
        } catch (error) {
          if (!(error instanceof FallocateError) || error.errno !== EINTR) throw error;
        }
      }
    };
  } catch {
    return undefined;
  }
}

function fallocate(): Fallocate | undefined {
  if (loaded === null) loaded = load();
  return loaded;
}

/** What can be done to a file's space. */
export class FileSpace {
  #zeroRange = true;

  private constructor(
    private readonly call: Fallocate,
    private readonly fd: number,
  ) {}

  /** Undefined where there is no way, or the file system has none. */
  static async of(fd: number, sizeBytes: number): Promise<FileSpace | undefined> {
    const call = fallocate();
    if (!call) return undefined;
    // Beyond the end of the file there is nothing to lose: a hole there shows whether the file system makes holes.
    const probed = await call(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, sizeBytes, 4096).then(
      () => true,
      () => false,
    );
    return probed ? new FileSpace(call, fd) : undefined;
  }

  /** The range reads as zeros and takes no space. */
  punchHole(offset: number, lengthBytes: number): Promise<void> {
    return this.call(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, lengthBytes);
  }

  /** The range reads as zeros and keeps its space. False: the file system has no such way. */
  async zeroRange(offset: number, lengthBytes: number): Promise<boolean> {
    if (!this.#zeroRange) return false;
    try {
      await this.call(this.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, lengthBytes);
      return true;
    } catch (error) {
      if (!(error instanceof FallocateError) || error.errno !== EOPNOTSUPP) throw error;
      this.#zeroRange = false;
      return false;
    }
  }
}
