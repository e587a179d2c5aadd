/**
 * The recorded outcomes of decorated instructions: a line of JSON about them, then, raw-deflated, an outcome (0, 1 + vector, NOT_COMPARED) for each number, and a digest of all that it did.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';

export const RECORDED_SEED = 20261128;
export const RECORDED_COUNT = 60_000;
/** Outcome of an instruction that is not compared. */
export const NOT_COMPARED = 0xff;

export interface Recorded {
  readonly cpu: string;
  readonly outcomes: Uint8Array;
  readonly digests: Uint32Array;
}

export function encodeRecorded(outcomes: Uint8Array, digests: Uint32Array, cpu: string): Uint8Array {
  const about = `${JSON.stringify({ cpu, seed: RECORDED_SEED, count: outcomes.length })}\n`;
  const payload = Buffer.concat([outcomes, Buffer.from(digests.buffer, digests.byteOffset, digests.byteLength)]);
  return Buffer.concat([Buffer.from(about, 'latin1'), deflateRawSync(payload, { level: 9 })]);
}

export function decodeRecorded(file: Uint8Array): Recorded {
  const end = file.indexOf(0x0a);
  const about = JSON.parse(Buffer.from(file.subarray(0, end)).toString('latin1')) as { cpu: string; count: number };
  const payload = Uint8Array.from(inflateRawSync(file.subarray(end + 1)));
  const digests = new Uint32Array(payload.slice(about.count).buffer);
  return { cpu: about.cpu, outcomes: payload.subarray(0, about.count), digests };
}
