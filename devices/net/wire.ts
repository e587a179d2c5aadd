/** Numbers as networks write them: most significant byte first. Offsets beyond the array read as zero. */

export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return ((readU16(bytes, at) << 16) | readU16(bytes, at + 2)) >>> 0;
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  writeU16(bytes, at, value >>> 16);
  writeU16(bytes, at + 2, value & 0xffff);
}

/** Bytes of all parts together. */
export function lengthOf(parts: readonly Uint8Array[]): number {
  let lengthBytes = 0;
  for (const part of parts) lengthBytes += part.length;
  return lengthBytes;
}

/** A private copy of the parts in one piece. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The range [start, end) of the parts, without copying. */
export function sliceParts(parts: readonly Uint8Array[], start: number, end: number): Uint8Array[] {
  const slices: Uint8Array[] = [];
  let at = 0;
  for (const part of parts) {
    if (at >= end) break;
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, part.length);
    if (from < to) slices.push(from === 0 && to === part.length ? part : part.subarray(from, to));
    at += part.length;
  }
  return slices;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  // Of every frame: a loop costs a fraction of a callback for each byte.
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}
