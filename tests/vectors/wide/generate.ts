/** Records wide vectors: data/wide-GROUP.bin. Started by generate.mjs. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMPARED_FLAGS } from '../format.ts';
import { Prng, REGISTER_COUNT, seedOfName, seedOfVector } from '../random.ts';
import { CODE_ADDRESS, IMAGE_SIZE_BYTES, backgroundImage } from '../windows.ts';
import { WideBuilder, type WideEncoding, type WideForm } from './form.ts';
import { Results, type WideFormRecord, type WideVector, encodeWideFile } from './format.ts';
import { simdGroups, x87Groups } from './groups.ts';
import { normalise } from './rules.ts';
import { STATE_FLAGS, STATE_MXCSR, STATE_WORDS, WIDE_WORDS } from './state.ts';
import { loadDescribe } from './describe.ts';

const ENCODINGS_PER_FORM = 30;
const VECTORS_PER_ENCODING = 10;
const TRAP_SINGLE_STEP = 1;
const FORMS_PER_RUN = 32;

interface Made {
  readonly form: WideForm;
  readonly encodings: { readonly encoding: WideEncoding; readonly vectors: WideBuilder[] }[];
}

function make(form: WideForm): Made {
  const prng = new Prng(seedOfName(`generator of ${form.id}`));
  const formSeed = seedOfName(form.id);
  let ordinal = 0;
  const encodings: Made['encodings'] = [];
  for (let n = 0; n < ENCODINGS_PER_FORM; n++) {
    let encoding = form.make(prng);
    let attempts = 0;
    const vectors: WideBuilder[] = [];
    while (vectors.length < VECTORS_PER_ENCODING) {
      const vector = new WideBuilder(seedOfVector(formSeed, ordinal + vectors.length), prng, encoding.style);
      encoding.prepare(vector);
      if (form.accepts === undefined || form.accepts(vector)) vectors.push(vector);
      else if (++attempts > 200) {
        // An encoding that no vector can use, such as one with a fixed address.
        encoding = form.make(prng);
        vectors.length = 0;
        attempts = 0;
      }
    }
    ordinal += VECTORS_PER_ENCODING;
    encodings.push({ encoding, vectors });
  }
  return { form, encodings };
}

/** The case as the harness wants it. */
function writeCase(chunks: Buffer[], encoding: WideEncoding, vector: WideBuilder): void {
  const head = Buffer.alloc(160 + 8 + 32 + 8 + WIDE_WORDS * 4);
  for (let register = 0; register < 16; register++) head.writeBigUInt64LE(vector.get(register), register * 8);
  head.writeBigUInt64LE(BigInt(vector.flags | 0x202), 128);
  head.writeBigUInt64LE(BigInt(CODE_ADDRESS + encoding.codeOffset), 136);
  head.writeBigUInt64LE(vector.get(16), 144);
  head.writeBigUInt64LE(vector.get(17), 152);
  head.writeUInt32LE(encoding.code.length, 160);
  head.writeUInt32LE(encoding.repeat ? 1 : 0, 164);
  Buffer.from(encoding.code).copy(head, 168);
  head.writeUInt32LE(vector.patched.length, 200);
  head.writeUInt32LE(1, 204);
  for (let word = 0; word < WIDE_WORDS; word++) {
    head.writeUInt32LE(vector.state[STATE_MXCSR + word] as number, 208 + word * 4);
  }
  chunks.push(head);
  for (const { imageOffset, bytes } of vector.patched) {
    const patch = Buffer.alloc(8 + Math.ceil(bytes.length / 8) * 8);
    patch.writeUInt32LE(imageOffset, 0);
    patch.writeUInt32LE(bytes.length, 4);
    patch.set(bytes, 8);
    chunks.push(patch);
  }
}

class Recorded {
  #at = 0;
  constructor(readonly bytes: Buffer) {}

  next(form: WideForm, encoding: WideEncoding, vector: WideBuilder, isFull: boolean): WideVector {
    const { bytes } = this;
    const at = this.#at;
    const pair = (value: bigint, into: Uint32Array, index: number): void => {
      into[index] = Number(value & 0xffffffffn);
      into[index + 1] = Number(BigInt.asUintN(64, value) >> 32n);
    };
    const results = new Results();
    const input = vector.state.slice();
    input.set(vector.registers.subarray(0, REGISTER_COUNT * 2));
    const output = new Uint32Array(STATE_WORDS);
    for (let word = 0; word < 32; word++) output[word] = bytes.readUInt32LE(at + word * 4);
    for (let word = 0; word < 4; word++) output[32 + word] = bytes.readUInt32LE(at + 144 + word * 4);
    output[STATE_FLAGS] =
      ((input[STATE_FLAGS] as number) & ~COMPARED_FLAGS) | (bytes.readUInt32LE(at + 128) & COMPARED_FLAGS);
    for (let word = 0; word < WIDE_WORDS; word++) output[STATE_MXCSR + word] = bytes.readUInt32LE(at + 176 + word * 4);
    const trap = bytes.readUInt32LE(at + 168);
    const faulted = trap !== TRAP_SINGLE_STEP;
    results.outcome = faulted ? trap + 1 : 0;
    results.errorCode = faulted ? bytes.readUInt32LE(at + 172) : 0;
    if (trap === 14) pair(bytes.readBigUInt64LE(at + 160), results.special, 0);
    const expectedRip = BigInt(CODE_ADDRESS + encoding.codeOffset + (faulted ? 0 : encoding.code.length));
    pair(BigInt.asUintN(64, bytes.readBigUInt64LE(at + 136) - expectedRip), results.special, 2);
    let cursor = at + 176 + WIDE_WORDS * 4;
    const count = bytes.readUInt32LE(cursor);
    cursor += 8;
    for (let n = 0; n < count; n++) {
      const imageOffset = bytes.readUInt32LE(cursor);
      const lengthBytes = bytes.readUInt32LE(cursor + 4);
      for (let byte = 0; byte < lengthBytes; byte++)
        results.addByte(imageOffset + byte, bytes[cursor + 8 + byte] as number);
      cursor += 8 + Math.ceil(lengthBytes / 8) * 8;
    }
    this.#at = cursor;
    normalise(form.rule, input, output, results, vector.patches[0]?.imageOffset ?? 0);
    results.setWords(input, output);
    return {
      overrideMask: vector.overrideMask,
      registers: vector.registers,
      wordOverrides: [...vector.wordOverrides],
      patches: vector.patches,
      results: isFull ? results : { outcome: results.outcome, digest: results.digest() },
    };
  }
}

function record(harness: string, forms: readonly WideForm[], isAllFull: boolean): WideFormRecord[] {
  const made = forms.map(make);
  const head = Buffer.alloc(8);
  const chunks: Buffer[] = [head, Buffer.from(backgroundImage())];
  let cases = 0;
  for (const { encodings } of made) {
    for (const { encoding, vectors } of encodings) {
      for (const vector of vectors) writeCase(chunks, encoding, vector);
      cases += vectors.length;
    }
  }
  head.writeUInt32LE(IMAGE_SIZE_BYTES, 0);
  head.writeUInt32LE(cases, 4);
  const run = spawnSync(harness, {
    input: Buffer.concat(chunks),
    maxBuffer: 1 << 30,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`the harness failed: ${run.status ?? run.signal}`);
  const recorded = new Recorded(run.stdout);
  return made.map(({ form, encodings }) => ({
    id: form.id,
    encodings: encodings.map(({ encoding, vectors }) => ({
      codeOffset: encoding.codeOffset,
      code: Uint8Array.from(encoding.code),
      style: encoding.style,
      // Results within a tolerance cannot be compared by a digest.
      vectors: vectors.map((vector, index) =>
        recorded.next(form, encoding, vector, isAllFull || index === 0 || form.rule.tolerance !== undefined),
      ),
    })),
  }));
}

/** With FULL in the environment every vector has its results in full: for a look at a mismatch, not to be committed. */
export async function generateWide(
  harness: string,
  data: string,
  cpu: string,
  wanted: readonly string[],
): Promise<void> {
  const isAllFull = process.env.FULL !== undefined;
  for (const [group, forms] of [...simdGroups(await loadDescribe()), ...x87Groups()]) {
    if (wanted.length && !wanted.includes(group)) continue;
    const records: WideFormRecord[] = [];
    for (let first = 0; first < forms.length; first += FORMS_PER_RUN) {
      records.push(...record(harness, forms.slice(first, first + FORMS_PER_RUN), isAllFull));
    }
    const file = encodeWideFile(records, { group, cpu });
    writeFileSync(join(data, `wide-${group}.bin`), file);
    const outcomes = new Map<number, number>();
    for (const form of records)
      for (const encoding of form.encodings)
        for (const { results } of encoding.vectors) {
          outcomes.set(results.outcome, (outcomes.get(results.outcome) ?? 0) + 1);
        }
    const summary = [...outcomes].sort((a, b) => a[0] - b[0]).map(([o, n]) => `${o ? `#${o - 1}` : 'ok'} ${n}`);
    process.stdout.write(`${group}: ${forms.length} forms, ${file.length} bytes; ${summary.join(', ')}\n`);
  }
}

export function cpuName(): string {
  const info = readFileSync('/proc/cpuinfo', 'latin1');
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1] ?? '?';
  return `${field('vendor_id')} family ${field('cpu family')} model ${field('model')} stepping ${field('stepping')} (${field('model name')})`;
}
