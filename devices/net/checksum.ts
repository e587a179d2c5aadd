/** The Internet checksum (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words. */
import { writeU16 } from './wire.ts';

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** A partial sum: carries are folded in by {@link finishChecksum}. Exact for up to 2^37 words. */
export type PartialSum = number;

function swapped(sum: number): number {
  const folded = fold(sum);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

function fold(sum: PartialSum): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** Adds bytes to a sum; they must begin at an even offset of what is summed, and an odd length is padded with a zero byte. */
export function addToSum(sum: PartialSum, bytes: Uint8Array, start = 0, end = bytes.length): PartialSum {
  const length = end - start;
  const words = length >> 1;
  let total = 0;
  if (LITTLE_ENDIAN && words > 16 && ((bytes.byteOffset + start) & 1) === 0) {
    // Summing in the processor's byte order and swapping the result is the same sum (RFC 1071, 2 B).
    const view = new Uint16Array(bytes.buffer, bytes.byteOffset + start, words);
    for (let i = 0; i < words; i++) total += view[i] ?? 0;
    total = swapped(total);
  } else {
    for (let at = start; at + 1 < end; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  }
  if (length & 1) total += (bytes[end - 1] ?? 0) << 8;
  return sum + total;
}

/** Adds parts that follow one another, from byte `start` of them on. */
export function addPartsToSum(sum: PartialSum, parts: readonly Uint8Array[], start = 0): PartialSum {
  let total = sum;
  let skip = start;
  let odd = false;
  for (const part of parts) {
    if (skip >= part.length) {
      skip -= part.length;
      continue;
    }
    const own = addToSum(0, part, skip);
    total += odd ? swapped(own) : own;
    if ((part.length - skip) & 1) odd = !odd;
    skip = 0;
  }
  return total;
}

/** The checksum as it stands in a header. */
export function finishChecksum(sum: PartialSum): number {
  return ~fold(sum) & 0xffff;
}

/** The sum without complement, as a partial checksum field holds it (virtio 1.2, 5.1.6.2). */
export function foldedSum(sum: PartialSum): number {
  return fold(sum);
}

/** Sum of the pseudo-header of TCP, UDP and ICMPv6 (RFC 9293, 3.1; RFC 8200, 8.1). */
export function pseudoHeaderSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  lengthBytes: number,
): PartialSum {
  return addToSum(addToSum(0, source), destination) + protocol + (lengthBytes >>> 16) + (lengthBytes & 0xffff);
}

/** Writes the checksum of `bytes[start, end)` to `field`, which counts as zero. */
export function storeChecksum(
  bytes: Uint8Array,
  field: number,
  start = 0,
  end = bytes.length,
  sum: PartialSum = 0,
): void {
  writeU16(bytes, field, 0);
  writeU16(bytes, field, finishChecksum(addToSum(sum, bytes, start, end)));
}
