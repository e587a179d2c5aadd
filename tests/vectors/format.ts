/**
 * The files of recorded vectors: what an instruction did on a real processor.
 *
 *   file     "WHV1", u32 length of a JSON header, header (VectorFileHeader), raw-deflated payload
 *   payload  varint forms; each: varint name length, name (ASCII), varint encodings
 *   encoding varint code offset, u8 length, bytes, u8 flags (1: repeat until RIP moves), varint vectors
 *   vector   varint overridden registers (bit mask), their values; varint patches, each: varint (image offset << 1 | explicit), varint
 *            length, bytes if explicit; u8 outcome (0 completed, 1 + vector of the fault), varint error code and value of CR2
 *            for a #PF; value RIP - expected RIP; varint changed registers, their values XOR input; varint flags XOR input;
 *            varint memory differences, each: varint image offset, varint length, bytes
 *   value    u8 bytes that follow (0-8), the significant low bytes
 *
 * Input registers, flags and patches without explicit bytes follow from the vector's seed (random.ts); the expected
 * RIP is that of the next instruction, or of this one when it faulted. Flags are those of COMPARED_FLAGS.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { REGISTER_COUNT } from './random.ts';

export interface VectorFileHeader {
  readonly format: 1;
  readonly group: string;
  /** The processor the vectors were recorded on. */
  readonly cpu: string;
  readonly forms: number;
  readonly vectors: number;
}

/** CF PF AF ZF SF DF OF NT AC ID: what user mode can see and set. */
export const COMPARED_FLAGS = 0x244cd5;

export interface MemoryRun {
  readonly imageOffset: number;
  readonly lengthBytes: number;
  /** Undefined in a patch whose bytes follow from the seed. */
  readonly bytes: Uint8Array | undefined;
}

/** A vector as stored; 64-bit values are (low, high) pairs in Uint32Arrays of REGISTER_COUNT pairs. */
export interface StoredVector {
  overrideMask: number;
  readonly overrides: Uint32Array;
  patches: MemoryRun[];
  /** 0, or 1 + exception vector. */
  outcome: number;
  errorCode: number;
  /** CR2, then RIP minus expected RIP. */
  readonly special: Uint32Array;
  changeMask: number;
  readonly changes: Uint32Array;
  flagChanges: number;
  differences: MemoryRun[];
}

export interface StoredEncoding {
  readonly codeOffset: number;
  readonly code: Uint8Array;
  readonly repeat: boolean;
  readonly vectors: readonly StoredVector[];
}

export interface StoredForm {
  readonly id: string;
  readonly encodings: readonly StoredEncoding[];
}

export function newStoredVector(): StoredVector {
  return {
    overrideMask: 0,
    overrides: new Uint32Array(REGISTER_COUNT * 2),
    patches: [],
    outcome: 0,
    errorCode: 0,
    special: new Uint32Array(4),
    changeMask: 0,
    changes: new Uint32Array(REGISTER_COUNT * 2),
    flagChanges: 0,
    differences: [],
  };
}

/** Grows as needed. */
export class Writer {
  #bytes = new Uint8Array(1 << 20);
  #length = 0;

  u8(value: number): void {
    if (this.#length === this.#bytes.length) {
      const larger = new Uint8Array(this.#length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#length++] = value;
  }
  varint(value: number): void {
    for (; value > 127; value = Math.floor(value / 128)) this.u8((value & 127) | 128);
    this.u8(value);
  }
  bytes(bytes: Iterable<number>): void {
    for (const byte of bytes) this.u8(byte);
  }
  value(pairs: Uint32Array, at: number): void {
    const low = pairs[at] as number;
    const high = pairs[at + 1] as number;
    const length = high ? 8 - (Math.clz32(high) >> 3) : 4 - (Math.clz32(low) >> 3);
    this.u8(length);
    for (let byte = 0; byte < length; byte++) this.u8(((byte < 4 ? low : high) >>> ((byte & 3) * 8)) & 0xff);
  }
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

export function encodeFile(forms: readonly StoredForm[], about: { group: string; cpu: string }): Uint8Array {
  const out = new Writer();
  let vectors = 0;
  out.varint(forms.length);
  for (const form of forms) {
    out.varint(form.id.length);
    out.bytes(Buffer.from(form.id, 'latin1'));
    out.varint(form.encodings.length);
    for (const encoding of form.encodings) {
      out.varint(encoding.codeOffset);
      out.u8(encoding.code.length);
      out.bytes(encoding.code);
      out.u8(encoding.repeat ? 1 : 0);
      out.varint(encoding.vectors.length);
      for (const vector of encoding.vectors) encodeVector(out, vector);
      vectors += encoding.vectors.length;
    }
  }
  return assembleFile('WHV1', { format: 1, ...about, forms: forms.length, vectors }, out.finish());
}

/** Magic, header, payload. */
export function assembleFile(magic: string, header: VectorFileHeader, payload: Uint8Array): Uint8Array {
  const json = Buffer.from(JSON.stringify(header), 'latin1');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([Buffer.from(magic, 'latin1'), length, json, deflateRawSync(payload, { level: 9 })]);
}

function encodeVector(out: Writer, vector: StoredVector): void {
  out.varint(vector.overrideMask);
  for (let register = 0; register < REGISTER_COUNT; register++) {
    if (vector.overrideMask & (1 << register)) out.value(vector.overrides, register * 2);
  }
  out.varint(vector.patches.length);
  for (const patch of vector.patches) {
    out.varint((patch.imageOffset << 1) | (patch.bytes ? 1 : 0));
    out.varint(patch.lengthBytes);
    if (patch.bytes) out.bytes(patch.bytes);
  }
  out.u8(vector.outcome);
  if (vector.outcome) {
    out.varint(vector.errorCode);
    if (vector.outcome === 15) out.value(vector.special, 0);
  }
  out.value(vector.special, 2);
  out.varint(vector.changeMask);
  for (let register = 0; register < REGISTER_COUNT; register++) {
    if (vector.changeMask & (1 << register)) out.value(vector.changes, register * 2);
  }
  out.varint(vector.flagChanges);
  out.varint(vector.differences.length);
  for (const run of vector.differences) {
    out.varint(run.imageOffset);
    out.varint(run.lengthBytes);
    out.bytes(run.bytes ?? []);
  }
}

/** The header and the payload's primitives of a file of vectors. */
export class PayloadReader {
  readonly header: VectorFileHeader;
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(file: Uint8Array, magic: string) {
    const buffer = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
    if (buffer.toString('latin1', 0, 4) !== magic) throw new Error('not a file of vectors');
    const headerLength = buffer.readUInt32LE(4);
    this.header = JSON.parse(buffer.toString('latin1', 8, 8 + headerLength)) as VectorFileHeader;
    this.#bytes = inflateRawSync(buffer.subarray(8 + headerLength));
  }

  u8(): number {
    if (this.#at >= this.#bytes.length) throw new Error('file of vectors ends early');
    return this.#bytes[this.#at++] as number;
  }
  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }
  bytes(length: number): Uint8Array {
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new Error('file of vectors ends early');
    return this.#bytes.subarray(from, this.#at);
  }
  name(): string {
    return Buffer.from(this.bytes(this.varint())).toString('latin1');
  }
  /** True when the payload has been read to its last byte. */
  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
  /** A 64-bit value as a (low, high) pair. */
  value(into: Uint32Array, at: number): void {
    const length = this.u8();
    let low = 0;
    let high = 0;
    for (let byte = 0; byte < length; byte++) {
      if (byte < 4) low |= this.u8() << (byte * 8);
      else high |= this.u8() << ((byte - 4) * 8);
    }
    into[at] = low;
    into[at + 1] = high;
  }
}

/** Reads a payload vector by vector; the one StoredVector is reused, so that hundreds of thousands cost no garbage. */
export class VectorReader extends PayloadReader {
  readonly vector: StoredVector = newStoredVector();

  constructor(file: Uint8Array) {
    super(file, 'WHV1');
  }

  /** The next vector, in {@link vector}. */
  read(): StoredVector {
    const vector = this.vector;
    vector.overrideMask = this.varint();
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.overrideMask & (1 << register)) this.value(vector.overrides, register * 2);
    }
    vector.patches.length = 0;
    for (let count = this.varint(); count > 0; count--) {
      const where = this.varint();
      const lengthBytes = this.varint();
      const bytes = where & 1 ? this.bytes(lengthBytes) : undefined;
      vector.patches.push({ imageOffset: where >>> 1, lengthBytes, bytes });
    }
    vector.outcome = this.u8();
    vector.errorCode = 0;
    vector.special.fill(0);
    if (vector.outcome) {
      vector.errorCode = this.varint();
      if (vector.outcome === 15) this.value(vector.special, 0);
    }
    this.value(vector.special, 2);
    vector.changeMask = this.varint();
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.changeMask & (1 << register)) this.value(vector.changes, register * 2);
    }
    vector.flagChanges = this.varint();
    vector.differences.length = 0;
    for (let count = this.varint(); count > 0; count--) {
      const imageOffset = this.varint();
      const lengthBytes = this.varint();
      vector.differences.push({ imageOffset, lengthBytes, bytes: this.bytes(lengthBytes) });
    }
    return vector;
  }
}
