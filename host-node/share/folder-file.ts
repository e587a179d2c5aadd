/** An open file of a shared folder. */
import { closeSync, fdatasync, fsync, readv, readvSync, writev, writevSync } from 'node:fs';
import type { OnTheSpot } from '../disk/on-the-spot.ts';
import { ShareError, type Awaitable, type ShareFile } from '../../devices/backends/share.ts';

type Transfer = (
  descriptor: number,
  views: Uint8Array[],
  position: number,
  done: (error: NodeJS.ErrnoException | null, bytes: number) => void,
) => void;
type SynchronousTransfer = (descriptor: number, views: Uint8Array[], position: number) => number;

/** fsync(2) or fdatasync(2), on a thread of libuv's. */
export function syncDescriptor(descriptor: number, dataOnly: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    (dataOnly ? fdatasync : fsync)(descriptor, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

export class FolderFile implements ShareFile {
  #descriptor: number | undefined;

  /** Takes the descriptor over; `closed` hears of its end. `spot`: transfers that need not go to the pool of threads. */
  constructor(
    descriptor: number,
    private readonly closed: () => void,
    private readonly spot: OnTheSpot | undefined,
  ) {
    this.#descriptor = descriptor;
  }

  get #open(): number {
    if (this.#descriptor === undefined) throw new ShareError('EBADF');
    return this.#descriptor;
  }

  #transfer(
    offset: number,
    views: readonly Uint8Array[],
    later: Transfer,
    now: SynchronousTransfer,
  ): Awaitable<number> {
    const descriptor = this.#open;
    const used = views.filter((view) => view.length > 0);
    if (used.length === 0) return 0;
    const lengthBytes = used.reduce((sum, view) => sum + view.length, 0);
    if (this.spot?.allows(lengthBytes) === true) return this.spot.run(() => now(descriptor, used, offset));
    return new Promise((resolve, reject) => {
      later(descriptor, used, offset, (error, bytes) => {
        if (error) reject(error);
        else resolve(bytes);
      });
    });
  }

  read(offset: number, views: readonly Uint8Array[]): Awaitable<number> {
    return this.#transfer(offset, views, readv, readvSync);
  }

  write(offset: number, views: readonly Uint8Array[]): Awaitable<number> {
    return this.#transfer(offset, views, writev, writevSync);
  }

  sync(dataOnly: boolean): Promise<void> {
    return syncDescriptor(this.#open, dataOnly);
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
    this.closed();
  }
}
