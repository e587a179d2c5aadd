/** Bytes and numbers of the WebAssembly binary format (core specification 2.0, 5.2). */

export class WasmReader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  /** Throws RangeError at the end. */
  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new RangeError('the bytes end in the middle of an operation');
    return value;
  }

  /** An LEB128 number below 2^53. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** A signed LEB128 number. */
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(Number(shift) + 7, value);
    }
  }
}
