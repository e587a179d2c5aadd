/** How many operations the functions of a WebAssembly module have (core specification, chapter 5). */

export interface ModuleSize {
  readonly functions: number;
  /** Bytes of the code section's bodies. */
  readonly bodyBytes: number;
  /** Operations other than `end`. */
  readonly operations: number;
}

const CODE_SECTION = 10;
const HEADER_BYTES = 8;

class Reader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new Error('the module ends too early');
    return value;
  }

  /** An LEB128 number below 2^32. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  /** A signed one, whatever its value. */
  skipSigned(): void {
    while (this.byte() >= 0x80);
  }

  skipMemoryArgument(): void {
    this.unsigned();
    this.unsigned();
  }
}

/** Reads the immediates of a vector operation (5.4.8). */
function skipVector(reader: Reader): void {
  const operation = reader.unsigned();
  if (operation <= 11 || operation === 92 || operation === 93) reader.skipMemoryArgument();
  else if (operation === 12 || operation === 13) reader.at += 16;
  else if (operation >= 21 && operation <= 34) reader.at += 1;
  else if (operation >= 84 && operation <= 91) {
    reader.skipMemoryArgument();
    reader.at += 1;
  }
}

/** Reads the immediates of an operation. */
function skipImmediates(reader: Reader, opcode: number): void {
  if (opcode >= 0x28 && opcode <= 0x3e) reader.skipMemoryArgument();
  else if (opcode >= 0x45 && opcode <= 0xc4) return;
  else {
    switch (opcode) {
      case 0x02: // block, loop, if
      case 0x03:
      case 0x04:
      case 0x41: // i32.const, i64.const
      case 0x42:
        reader.skipSigned();
        return;
      case 0x0c: // br, br_if, call, local.get, local.set, local.tee
      case 0x0d:
      case 0x10:
      case 0x20:
      case 0x21:
      case 0x22:
        reader.unsigned();
        return;
      case 0x0e: // br_table
        for (let left = reader.unsigned() + 1; left > 0; left--) reader.unsigned();
        return;
      case 0x11: // call_indirect
        reader.unsigned();
        reader.unsigned();
        return;
      case 0x05: // else, end, return, drop, select
      case 0x0b:
      case 0x0f:
      case 0x1a:
      case 0x1b:
        return;
      case 0xfd:
        skipVector(reader);
        return;
      case 0xfe: // atomic
        reader.unsigned();
        reader.skipMemoryArgument();
        return;
      default:
        throw new Error(`operation ${opcode.toString(16)} is not known here`);
    }
  }
}

export function moduleSize(module: Uint8Array): ModuleSize {
  const reader = new Reader(module);
  reader.at = HEADER_BYTES;
  let functions = 0;
  let bodyBytes = 0;
  let operations = 0;
  while (reader.at < module.length) {
    const section = reader.byte();
    const lengthBytes = reader.unsigned();
    const end = reader.at + lengthBytes;
    if (section === CODE_SECTION) {
      functions = reader.unsigned();
      for (let n = 0; n < functions; n++) {
        const bytes = reader.unsigned();
        const bodyEnd = reader.at + bytes;
        bodyBytes += bytes;
        for (let groups = reader.unsigned(); groups > 0; groups--) {
          reader.unsigned();
          reader.byte();
        }
        while (reader.at < bodyEnd) {
          const opcode = reader.byte();
          skipImmediates(reader, opcode);
          if (opcode !== 0x0b) operations++;
        }
      }
    }
    reader.at = end;
  }
  return { functions, bodyBytes, operations };
}
