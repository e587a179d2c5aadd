/** Writing zeros where a backend has no cheaper way. */
import type { BlockBackend } from '../backends/block.ts';

const CHUNK_BYTES = 1 << 20;
/** Shared by all: nobody writes into it. */
const ZEROES = new Uint8Array(CHUNK_BYTES);

/** Views of zeros, `lengthBytes` together. At most 1 MiB of memory stands behind them, whatever the length. */
export function zeroViews(lengthBytes: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let left = lengthBytes; left > 0; left -= CHUNK_BYTES)
    views.push(ZEROES.subarray(0, Math.min(left, CHUNK_BYTES)));
  return views;
}

/** Requests of this size follow one another, so that a guest's "zero the disk" does not hold the backend for itself. */
const STEP_BYTES = 8 * CHUNK_BYTES;

/**
 * Makes the range read as zeros. `mayUnmap`: the backend may give the space back; otherwise it stays allocated where the backend can tell
 * the two apart.
 */
export async function writeZeroes(
  backend: BlockBackend,
  offset: number,
  lengthBytes: number,
  mayUnmap: boolean,
): Promise<void> {
  if (backend.writeZeroes) return backend.writeZeroes(offset, lengthBytes, mayUnmap);
  for (let done = 0; done < lengthBytes; done += STEP_BYTES) {
    await backend.write(offset + done, zeroViews(Math.min(STEP_BYTES, lengthBytes - done)));
  }
}

/** Writes one logical block again and again over the range. */
export async function writePattern(
  backend: BlockBackend,
  offset: number,
  lengthBytes: number,
  block: Uint8Array,
): Promise<void> {
  const chunk = new Uint8Array(Math.min(lengthBytes, Math.floor(CHUNK_BYTES / block.length) * block.length));
  for (let at = 0; at < chunk.length; at += block.length) chunk.set(block, at);
  for (let done = 0; done < lengthBytes; done += chunk.length) {
    await backend.write(offset + done, [chunk.subarray(0, Math.min(chunk.length, lengthBytes - done))]);
  }
}
