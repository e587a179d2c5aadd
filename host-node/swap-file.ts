/** Files for guest memory that a process has no room for. They have no name as soon as they are open, so that nothing is left of them. */
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SwapFile } from '../devices/machine/swap-slots.ts';

/** /tmp is memory itself on many systems. */
const BIG_FILES_FOLDER = '/var/tmp';

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function placeOf(path: string | undefined): string {
  const folder =
    path ?? (process.env['TMPDIR'] === undefined && isFolder(BIG_FILES_FOLDER) ? BIG_FILES_FOLDER : tmpdir());
  return path === undefined || isFolder(folder) ? join(folder, `webhyve-swap.${process.pid}.${randomUUID()}`) : path;
}

/** Opens a new file at a path, or in the folder that it names. Rejects when that cannot be: also when the file exists. */
export async function openSwapFile(path: string | undefined): Promise<SwapFile> {
  const place = placeOf(path);
  const descriptor = openSync(place, 'wx+', 0o600);
  rmSync(place);
  return {
    read(into, offset) {
      for (let done = 0; done < into.length;) {
        const count = readSync(descriptor, into, done, into.length - done, offset + done);
        if (count === 0) {
          into.fill(0, done);
          return;
        }
        done += count;
      }
    },
    write(from, offset) {
      for (let done = 0; done < from.length;) {
        done += writeSync(descriptor, from, done, from.length - done, offset + done);
      }
    },
    close: () => closeSync(descriptor),
  };
}
