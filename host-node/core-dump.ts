/** Core files of machines (-C). */
import { closeSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { coreFile } from '../devices/debug/core-file.ts';
import { coreSource } from '../devices/machine/core-dump.ts';
import type { Machine } from '../devices/machine/machine.ts';

const PAGE_BYTES = 4096;

const ZEROS = Buffer.alloc(PAGE_BYTES);

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, ZEROS.subarray(0, bytes.length)) === 0;
}

/** Writes all of `bytes` but pages of zeros, which stay holes. */
function writeSparse(descriptor: number, offset: number, bytes: Uint8Array): void {
  let start = 0;
  const flush = (end: number): void => {
    while (start < end) start += writeSync(descriptor, bytes, start, end - start, offset + start);
  };
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    if (!isZero(bytes.subarray(at, at + PAGE_BYTES))) continue;
    flush(at);
    start = at + PAGE_BYTES;
  }
  flush(bytes.length);
}

/**
 * Writes the guest's memory and registers to a file that only its owner can read, replacing an older one. The machine is paused or has
 * ended. Returns at the end; throws what the host says.
 */
export function writeCoreFile(machine: Machine, path: string): void {
  const core = coreFile(coreSource(machine));
  // A new file: another user's link of that name is not followed.
  const temporary = `${path}.${process.pid}`;
  const descriptor = openSync(temporary, 'wx', 0o600);
  try {
    ftruncateSync(descriptor, core.sizeBytes);
    writeSparse(descriptor, 0, core.headers);
    for (const { offset, bytes } of core.contents()) writeSparse(descriptor, offset, bytes);
    closeSync(descriptor);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
