/**
 * Transfers on the devices' own thread. What lies in the page cache is copied in a microsecond or two, while handing the same copy to Node's pool of
 * threads takes thirty to a hundred. But a copy that has to wait for the disk holds up all devices. So what such transfers took is added up, less 1 % of the time that
 * has passed; while the sum is more than a moment, transfers go to the pool. The thread waits for one disk 1 % of its time at most, and a transfer that is late
 * because others use the processor changes nothing.
 */
import { statfsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';

/** Longer transfers of a disk, which has several under way, cost the thread more than the pool does. */
export const ON_THE_SPOT_BYTES = 128 * 1024;
/** A transfer of ON_THE_SPOT_BYTES that took no longer did not wait for the disk; a processor that others use as well makes some of them late. */
const PROMPT_MS = 0.25;
/** How much of the time the thread may wait for one disk, and how much of it may come at once. */
const WAITING_SHARE = 0.01;
const MOMENT_MS = 10;

/** File systems over a network or a program, which may not answer for minutes (linux/magic.h; statfs(2)). */
const REMOTE_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x6969, // NFS
  0x517b, // SMB
  0xff534d42, // CIFS
  0xfe534d42, // SMB2
  0x65735546, // FUSE
  0x00c36400, // Ceph
  0x01021997, // 9P
  0x5346414f, // AFS
  0x7461636f, // OCFS2
  0x01161970, // GFS2
  0x0bd00bd0, // Lustre
  0x564c, // NCP
  0x73757245, // Coda
]);

const isNear = (fileSystem: number): boolean => !REMOTE_FILE_SYSTEMS.has(fileSystem >>> 0);

export class OnTheSpot {
  /** What late transfers took, and when that was said; it shrinks as time passes. */
  #waitedMs = 0;
  #waitedAtMs = 0;
  readonly #promptMs: number;

  private constructor(private readonly maxBytes: number) {
    this.#promptMs = (PROMPT_MS * maxBytes) / ON_THE_SPOT_BYTES;
  }

  /** The same as {@link of}, for transfers of up to so many bytes, and at once: on a file system that a path leads to. */
  static now(path: string, maxBytes: number): OnTheSpot | undefined {
    if (process.platform !== 'linux') return undefined;
    try {
      return isNear(statfsSync(path).type) ? new OnTheSpot(maxBytes) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Undefined where every transfer has to go to the pool: the file may be far away. */
  static async of(path: string): Promise<OnTheSpot | undefined> {
    // The numbers are Linux's.
    if (process.platform !== 'linux') return undefined;
    try {
      const { type } = await statfs(path);
      return isNear(type) ? new OnTheSpot(ON_THE_SPOT_BYTES) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whether a transfer of that length may be done now. */
  allows(lengthBytes: number): boolean {
    return (
      lengthBytes <= this.maxBytes && (this.#waitedMs <= MOMENT_MS || this.#waited(performance.now()) <= MOMENT_MS)
    );
  }

  #waited(nowMs: number): number {
    this.#waitedMs = Math.max(0, this.#waitedMs - WAITING_SHARE * (nowMs - this.#waitedAtMs));
    this.#waitedAtMs = nowMs;
    return this.#waitedMs;
  }

  /** Does a transfer that is allowed. */
  run<T>(transfer: () => T): T {
    const startMs = performance.now();
    try {
      return transfer();
    } finally {
      const endMs = performance.now();
      const tookMs = endMs - startMs;
      if (tookMs > this.#promptMs) this.#waitedMs = this.#waited(endMs) + tookMs;
    }
  }
}
