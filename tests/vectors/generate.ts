/**
 * Records the vectors: makes random instances of every form, runs them on this processor and writes data/integer-*.bin
 * and data/wide-*.bin.
 *
 *     node tests/vectors/generate.mjs [group ...]
 *
 * Needs gcc and an x86-64 Linux with RDFSBASE for programs. Run it only to add forms or vectors; a new run makes new vectors of
 * the groups it is given.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VectorBuilder, type Encoding } from './assemble.ts';
import {
  COMPARED_FLAGS,
  type MemoryRun,
  type StoredForm,
  type StoredVector,
  encodeFile,
  newStoredVector,
} from './format.ts';
import { type Form, formsByGroup } from './forms.ts';
import { cpuName, generateWide } from './wide/generate.ts';
import { Prng, REGISTER_COUNT, seedOfName, seedOfVector } from './random.ts';
import { CODE_ADDRESS, IMAGE_SIZE_BYTES, backgroundImage, imageOffsetOf } from './windows.ts';

const ENCODINGS_PER_FORM = 62;
const VECTORS_PER_ENCODING = 5;
const TRAP_SINGLE_STEP = 1;

interface Made {
  readonly form: Form;
  readonly encodings: { readonly encoding: Encoding; readonly vectors: VectorBuilder[] }[];
}

function make(form: Form, prng: Prng): Made {
  const formSeed = seedOfName(form.id);
  let ordinal = 0;
  const encodings: Made['encodings'] = [];
  for (let n = 0; n < ENCODINGS_PER_FORM; n++) {
    const encoding = form.make(prng);
    const vectors: VectorBuilder[] = [];
    for (let v = 0; v < VECTORS_PER_ENCODING; v++) {
      const vector = new VectorBuilder(seedOfVector(formSeed, ordinal++), prng);
      encoding.prepare(vector);
      vectors.push(vector);
    }
    encodings.push({ encoding, vectors });
  }
  return { form, encodings };
}

/** The case as the harness wants it. */
function writeCase(chunks: Buffer[], encoding: Encoding, vector: VectorBuilder): void {
  const head = Buffer.alloc(160 + 8 + 32 + 8);
  for (let register = 0; register < 16; register++) head.writeBigUInt64LE(vector.get(register), register * 8);
  head.writeBigUInt64LE(BigInt(vector.flags | 0x202), 128);
  head.writeBigUInt64LE(BigInt(CODE_ADDRESS + encoding.codeOffset), 136);
  head.writeBigUInt64LE(vector.get(16), 144);
  head.writeBigUInt64LE(vector.get(17), 152);
  head.writeUInt32LE(encoding.code.length, 160);
  head.writeUInt32LE(encoding.repeat ? 1 : 0, 164);
  Buffer.from(encoding.code).copy(head, 168);
  head.writeUInt32LE(vector.patched.length, 200);
  chunks.push(head);
  for (const { imageOffset, bytes } of vector.patched) {
    const patch = Buffer.alloc(8 + Math.ceil(bytes.length / 8) * 8);
    patch.writeUInt32LE(imageOffset, 0);
    patch.writeUInt32LE(bytes.length, 4);
    patch.set(bytes, 8);
    chunks.push(patch);
  }
}

class Results {
  #at = 0;
  constructor(readonly bytes: Buffer) {}

  next(form: Form, encoding: Encoding, vector: VectorBuilder): StoredVector {
    const at = this.#at;
    const u64 = (offset: number): bigint => this.bytes.readBigUInt64LE(at + offset);
    const stored = newStoredVector();
    stored.overrideMask = vector.overrideMask;
    stored.overrides.set(vector.registers);
    stored.patches = [...vector.patches];
    const trap = this.bytes.readUInt32LE(at + 168);
    const faulted = trap !== TRAP_SINGLE_STEP;
    stored.outcome = faulted ? trap + 1 : 0;
    stored.errorCode = faulted ? this.bytes.readUInt32LE(at + 172) : 0;
    const setPair = (into: Uint32Array, index: number, value: bigint): void => {
      into[index] = Number(value & 0xffffffffn);
      into[index + 1] = Number(value >> 32n);
    };
    if (trap === 14) setPair(stored.special, 0, u64(160));
    const expectedRip = BigInt(CODE_ADDRESS + encoding.codeOffset + (faulted ? 0 : encoding.code.length));
    setPair(stored.special, 2, BigInt.asUintN(64, u64(136) - expectedRip));
    for (let register = 0; register < REGISTER_COUNT; register++) {
      const value = u64(register < 16 ? register * 8 : 144 + (register - 16) * 8);
      const change = value ^ vector.get(register);
      if (change === 0n) continue;
      stored.changeMask |= 1 << register;
      setPair(stored.changes, register * 2, change);
    }
    stored.flagChanges = (Number(u64(128) & 0xffffffffn) ^ vector.flags) & COMPARED_FLAGS;
    const count = this.bytes.readUInt32LE(at + 176);
    let cursor = at + 184;
    const differences: MemoryRun[] = [];
    for (let n = 0; n < count; n++) {
      const imageOffset = this.bytes.readUInt32LE(cursor);
      const lengthBytes = this.bytes.readUInt32LE(cursor + 4);
      const bytes = Uint8Array.from(this.bytes.subarray(cursor + 8, cursor + 8 + lengthBytes));
      differences.push({ imageOffset, lengthBytes, bytes });
      cursor += 8 + Math.ceil(lengthBytes / 8) * 8;
    }
    stored.differences =
      form.id.startsWith('pushf') && !faulted ? clearStoredTrapFlag(differences, u64(32), u64(128)) : differences;
    this.#at = cursor;
    return stored;
  }
}

/** The harness single-steps, so PUSHF stored TF set: bit 0 of the second byte of the image, which lies at the new RSP. */
function clearStoredTrapFlag(differences: readonly MemoryRun[], rsp: bigint, rflags: bigint): MemoryRun[] {
  const imageOffset = imageOffsetOf(rsp + 1n);
  // A later run wins where two overlap.
  return [...differences, { imageOffset, lengthBytes: 1, bytes: Uint8Array.of(Number((rflags >> 8n) & 0xfen)) }];
}

export async function generate(root: string, wanted: readonly string[]): Promise<void> {
  const build = mkdtempSync(join(tmpdir(), 'vectors-'));
  try {
    const harness = join(build, 'harness');
    const source = join(root, 'tests/vectors/harness.c');
    execFileSync('gcc', ['-O1', '-Wall', '-fno-stack-protector', '-o', harness, source], { stdio: 'inherit' });
    // Elsewhere for trials.
    const data = process.env.VECTOR_DATA ?? join(root, 'tests/vectors/data');
    mkdirSync(data, { recursive: true });
    await generateWide(harness, data, cpuName(), wanted);
    for (const [group, forms] of formsByGroup()) {
      if (wanted.length && !wanted.includes(group)) continue;
      const stored: StoredForm[] = [];
      // In portions: the harness's input and output lie in memory.
      for (let first = 0; first < forms.length; first += 64) {
        stored.push(...record(harness, forms.slice(first, first + 64)));
      }
      const file = encodeFile(stored, { group, cpu: cpuName() });
      writeFileSync(join(data, `integer-${group}.bin`), file);
      const faults = new Map<number, number>();
      for (const form of stored)
        for (const encoding of form.encodings)
          for (const vector of encoding.vectors) faults.set(vector.outcome, (faults.get(vector.outcome) ?? 0) + 1);
      const summary = [...faults].sort((a, b) => a[0] - b[0]).map(([o, n]) => `${o ? `#${o - 1}` : 'ok'} ${n}`);
      process.stdout.write(`${group}: ${forms.length} forms, ${file.length} bytes; ${summary.join(', ')}\n`);
    }
  } finally {
    rmSync(build, { recursive: true });
  }
}

function record(harness: string, forms: readonly Form[]): StoredForm[] {
  const made = forms.map((form) => make(form, new Prng(seedOfName(`generator of ${form.id}`))));
  const chunks: Buffer[] = [];
  let cases = 0;
  for (const { encodings } of made) {
    for (const { encoding, vectors } of encodings) {
      for (const vector of vectors) writeCase(chunks, encoding, vector);
      cases += vectors.length;
    }
  }
  const head = Buffer.alloc(8);
  head.writeUInt32LE(IMAGE_SIZE_BYTES, 0);
  head.writeUInt32LE(cases, 4);
  const run = spawnSync(harness, {
    input: Buffer.concat([head, backgroundImage(), ...chunks]),
    maxBuffer: 1 << 30,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`the harness failed: ${run.status ?? run.signal}`);
  const results = new Results(run.stdout);
  return made.map(({ form, encodings }) => ({
    id: form.id,
    encodings: encodings.map(({ encoding, vectors }) => ({
      codeOffset: encoding.codeOffset,
      code: Uint8Array.from(encoding.code),
      repeat: encoding.repeat,
      vectors: vectors.map((vector) => results.next(form, encoding, vector)),
    })),
  }));
}
