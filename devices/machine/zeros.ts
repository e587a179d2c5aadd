/** Whether memory holds nothing. */

/** True when all bytes are 0. Place and length are multiples of 4, and so is the array's place in its buffer. */
export function isZero(bytes: Uint8Array, offset = 0, lengthBytes = bytes.length - offset): boolean {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + offset, lengthBytes / 4);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}
