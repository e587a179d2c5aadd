/** Little-endian bytes, appended or patched: how every firmware table and boot structure is put together. */

/** Bytes of an ASCII string. Throws on anything else: table strings have no other character set. */
export function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) throw new RangeError(`"${text}" is not ASCII`);
    bytes[index] = code;
  }
  return bytes;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let lengthBytes = 0;
  for (const part of parts) lengthBytes += part.length;
  const all = new Uint8Array(lengthBytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The byte that makes the sum of [from, to) zero modulo 256, given that its own place now holds zero. */
export function checksumByte(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let sum = 0;
  for (let index = from; index < to; index++) sum += bytes[index] ?? 0;
  return -sum & 0xff;
}

/** A growing little-endian byte string. Methods return the writer, so that a table reads top to bottom like its spec. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #lengthBytes = 0;

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  #grow(count: number): number {
    const at = this.#lengthBytes;
    const wanted = at + count;
    if (wanted > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(wanted, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#lengthBytes = wanted;
    return at;
  }

  #view(count: number): DataView {
    const at = this.#grow(count);
    return new DataView(this.#bytes.buffer, at, count);
  }

  u8(value: number): this {
    this.#view(1).setUint8(0, value);
    return this;
  }

  u16(value: number): this {
    this.#view(2).setUint16(0, value, true);
    return this;
  }

  u32(value: number): this {
    this.#view(4).setUint32(0, value, true);
    return this;
  }

  u64(value: number | bigint): this {
    this.#view(8).setBigUint64(0, BigInt(value), true);
    return this;
  }

  /** Raw bytes. */
  bytes(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** ASCII in a field of `width` bytes, padded with spaces or, when told so, NULs. Longer text is an error. */
  text(text: string, width = text.length, pad = 0x20): this {
    const bytes = ascii(text);
    if (bytes.length > width) throw new RangeError(`"${text}" is longer than ${width} bytes`);
    const at = this.#grow(width);
    this.#bytes.fill(pad, at, at + width);
    this.#bytes.set(bytes, at);
    return this;
  }

  zeros(count: number): this {
    this.#grow(count);
    return this;
  }

  patchU8(at: number, value: number): this {
    this.#bytes[at] = value;
    return this;
  }

  patchU16(at: number, value: number): this {
    new DataView(this.#bytes.buffer).setUint16(at, value, true);
    return this;
  }

  patchU32(at: number, value: number): this {
    new DataView(this.#bytes.buffer).setUint32(at, value, true);
    return this;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#lengthBytes);
  }
}
