/**
 * Files of wide vectors: instructions on SSE, AVX, MMX and x87 registers.
 *
 *   file     "WHW1", u32 length of a JSON header, header (VectorFileHeader), raw-deflated payload
 *   payload  varint forms; each: varint name length, name (ASCII), varint encodings
 *   encoding varint code offset, u8 length, bytes, u8 style (state.ts), varint vectors
 *   vector   varint overridden general registers (bit mask), their values; varint other overridden words of the state, each:
 *            varint word, u32 value; patches as in format.ts; u8 outcome (0 completed, 1 + vector of the fault) | 0x80 if the results
 *            follow in full, else u32 digest of them
 *   results  varint error code, value of CR2 for a #PF; value RIP - expected RIP; varint changed words, each: varint word minus the one
 *            before, u32 value; varint changed bytes of memory, as runs: varint image offset, varint length, bytes
 *
 * The results of a vector are mostly random bits that do not compress, and there are more than a million. So a part of each form's
 * vectors has them in full, to show what is wrong when something is, and the others have a digest of the same.
 */
import { type MemoryRun, PayloadReader, type VectorFileHeader, Writer, assembleFile } from '../format.ts';
import { REGISTER_COUNT } from '../random.ts';
import { STATE_WORDS } from './state.ts';

const MAGIC = 'WHW1';
const MEMORY_CHANGES = 8192;

/** What an instruction did. */
export class Results {
  /** 0, or 1 + exception vector. */
  outcome = 0;
  errorCode = 0;
  /** CR2, then RIP minus expected RIP; low and high halves. */
  readonly special = new Uint32Array(4);
  words = 0;
  readonly wordIndex = new Uint16Array(STATE_WORDS);
  readonly wordValue = new Uint32Array(STATE_WORDS);
  bytes = 0;
  /** Image offset << 8 | value. */
  readonly memory = new Uint32Array(MEMORY_CHANGES);

  clear(): void {
    this.outcome = 0;
    this.errorCode = 0;
    this.special.fill(0);
    this.words = 0;
    this.bytes = 0;
  }

  addByte(imageOffset: number, value: number): void {
    if (this.bytes < MEMORY_CHANGES) this.memory[this.bytes++] = (imageOffset << 8) | value;
  }

  /** Takes the words that differ. */
  setWords(input: Uint32Array, output: Uint32Array): void {
    this.words = 0;
    for (let word = 0; word < STATE_WORDS; word++) {
      if (input[word] === output[word]) continue;
      this.wordIndex[this.words] = word;
      this.wordValue[this.words++] = output[word] as number;
    }
  }

  /** 32 bits of everything. */
  digest(): number {
    let hash = mix(this.outcome, this.errorCode);
    for (let index = 0; index < 4; index++) hash = mix(hash, this.special[index] as number);
    for (let index = 0; index < this.words; index++) {
      hash = mix(mix(hash, this.wordIndex[index] as number), this.wordValue[index] as number);
    }
    for (let index = 0; index < this.bytes; index++) hash = mix(hash, this.memory[index] as number);
    hash ^= hash >>> 16;
    hash = Math.imul(hash, 0x85ebca6b);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}

/** The step of MurmurHash3. */
function mix(hash: number, value: number): number {
  let block = Math.imul(value, 0xcc9e2d51);
  block = Math.imul((block << 15) | (block >>> 17), 0x1b873593);
  const mixed = hash ^ block;
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

/** A vector as it is being stored. */
export interface WideVector {
  readonly overrideMask: number;
  /** All general registers and bases, low and high halves. */
  readonly registers: Uint32Array;
  /** Word and value. */
  readonly wordOverrides: readonly (readonly [number, number])[];
  readonly patches: readonly MemoryRun[];
  readonly results: Results | { readonly outcome: number; readonly digest: number };
}

export interface WideEncodingRecord {
  readonly codeOffset: number;
  readonly code: Uint8Array;
  readonly style: number;
  readonly vectors: readonly WideVector[];
}

export interface WideFormRecord {
  readonly id: string;
  readonly encodings: readonly WideEncodingRecord[];
}

function u32(out: Writer, value: number): void {
  for (let shift = 0; shift < 32; shift += 8) out.u8((value >>> shift) & 0xff);
}

function encodeResults(out: Writer, results: Results): void {
  out.varint(results.errorCode);
  if (results.outcome === 15) out.value(results.special, 0);
  out.value(results.special, 2);
  out.varint(results.words);
  let previous = 0;
  for (let index = 0; index < results.words; index++) {
    const word = results.wordIndex[index] as number;
    out.varint(word - previous);
    previous = word;
    u32(out, results.wordValue[index] as number);
  }
  const runs: { imageOffset: number; bytes: number[] }[] = [];
  for (let index = 0; index < results.bytes; index++) {
    const change = results.memory[index] as number;
    const last = runs.at(-1);
    if (last && last.imageOffset + last.bytes.length === change >>> 8) last.bytes.push(change & 0xff);
    else runs.push({ imageOffset: change >>> 8, bytes: [change & 0xff] });
  }
  out.varint(runs.length);
  for (const run of runs) {
    out.varint(run.imageOffset);
    out.varint(run.bytes.length);
    out.bytes(run.bytes);
  }
}

function encodeVector(out: Writer, vector: WideVector): void {
  out.varint(vector.overrideMask);
  for (let register = 0; register < REGISTER_COUNT; register++) {
    if (vector.overrideMask & (1 << register)) out.value(vector.registers, register * 2);
  }
  out.varint(vector.wordOverrides.length);
  for (const [word, value] of vector.wordOverrides) {
    out.varint(word);
    u32(out, value);
  }
  out.varint(vector.patches.length);
  for (const patch of vector.patches) {
    out.varint((patch.imageOffset << 1) | (patch.bytes ? 1 : 0));
    out.varint(patch.lengthBytes);
    if (patch.bytes) out.bytes(patch.bytes);
  }
  const { results } = vector;
  if (results instanceof Results) {
    out.u8(results.outcome | 0x80);
    encodeResults(out, results);
  } else {
    out.u8(results.outcome);
    u32(out, results.digest);
  }
}

export function encodeWideFile(forms: readonly WideFormRecord[], about: { group: string; cpu: string }): Uint8Array {
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
      out.u8(encoding.style);
      out.varint(encoding.vectors.length);
      for (const vector of encoding.vectors) encodeVector(out, vector);
      vectors += encoding.vectors.length;
    }
  }
  const header: VectorFileHeader = { format: 1, ...about, forms: forms.length, vectors };
  return assembleFile(MAGIC, header, out.finish());
}

/** Reads vector by vector; everything it holds is reused. */
export class WideReader extends PayloadReader {
  overrideMask = 0;
  readonly overrides = new Uint32Array(REGISTER_COUNT * 2);
  readonly wordOverrides: { word: number; value: number }[] = [];
  readonly patches: MemoryRun[] = [];
  readonly results = new Results();
  /** Otherwise only the results' outcome is known, and {@link digest}. */
  isFull = false;
  digest = 0;

  constructor(file: Uint8Array) {
    super(file, MAGIC);
  }

  u32(): number {
    const [first, second, third, fourth] = [this.u8(), this.u8(), this.u8(), this.u8()];
    return (first | (second << 8) | (third << 16) | (fourth << 24)) >>> 0;
  }

  read(): void {
    this.overrideMask = this.varint();
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (this.overrideMask & (1 << register)) this.value(this.overrides, register * 2);
    }
    this.wordOverrides.length = 0;
    for (let count = this.varint(); count > 0; count--) {
      const word = this.varint();
      this.wordOverrides.push({ word, value: this.u32() });
    }
    this.patches.length = 0;
    for (let count = this.varint(); count > 0; count--) {
      const where = this.varint();
      const lengthBytes = this.varint();
      const bytes = where & 1 ? this.bytes(lengthBytes) : undefined;
      this.patches.push({ imageOffset: where >>> 1, lengthBytes, bytes });
    }
    const { results } = this;
    results.clear();
    const outcome = this.u8();
    this.isFull = (outcome & 0x80) !== 0;
    results.outcome = outcome & 0x7f;
    if (!this.isFull) {
      this.digest = this.u32();
      return;
    }
    results.errorCode = this.varint();
    if (results.outcome === 15) this.value(results.special, 0);
    this.value(results.special, 2);
    let word = 0;
    for (let count = this.varint(); count > 0; count--) {
      word += this.varint();
      results.wordIndex[results.words] = word;
      results.wordValue[results.words++] = this.u32();
    }
    for (let count = this.varint(); count > 0; count--) {
      const imageOffset = this.varint();
      const length = this.varint();
      this.bytes(length).forEach((value, at) => results.addByte(imageOffset + at, value));
    }
  }
}
