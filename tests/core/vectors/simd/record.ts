/**
 * Records vectors.bin on this machine's CPU. From the repository's root, on x86-64 Linux with AVX2, FMA, AES and SHA:
 *
 *   gcc -O1 -o build/simd-harness tests/core/vectors/simd/harness.c
 *   npx esbuild tests/core/vectors/simd/record.ts --bundle --packages=external --platform=node --format=esm --outfile=build/record/record.mjs
 *   node build/record/record.mjs build/simd-harness tests/core/vectors/simd/vectors.bin
 *
 * The file is gzip of: per form u32 key, u8 number of cases, and per case u8 status, u8 number of changed words, and
 * for each of those u8 index and u64 value (little-endian).
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { STATE, caseCount, enumerateForms, formKey, formName, makeCase } from './forms';
import { loadSimd } from './machine';

const [harness, output] = process.argv.slice(2);
if (!harness || !output) throw new Error('usage: record.mjs HARNESS VECTORS');
const simd = await loadSimd();
const chunks: Uint8Array[] = [];
for (const form of enumerateForms(simd.describe)) {
  const count = caseCount(form);
  const input = new Uint8Array(count * STATE.size);
  for (let i = 0; i < count; i++) makeCase(form, i, input.subarray(i * STATE.size, (i + 1) * STATE.size));
  const run = spawnSync(harness, { input, maxBuffer: 1 << 28 });
  if (run.stdout.length !== input.length) throw new Error(`${formName(form)}: the harness stopped early`);
  const bytes: number[] = [];
  for (let i = 0; i < count; i++) {
    const before = Buffer.from(input.buffer, i * STATE.size, STATE.size);
    const after = run.stdout.subarray(i * STATE.size, (i + 1) * STATE.size);
    const changed: number[] = [];
    for (let word = 0; word < STATE.words; word++) {
      const at = word * 8;
      if (before.compare(after, at, at + 8, at, at + 8)) changed.push(word, ...after.subarray(at, at + 8));
    }
    bytes.push(after.readUInt32LE(STATE.status), changed.length / 9, ...changed);
  }
  const header = Buffer.alloc(5);
  header.writeUInt32LE(formKey(form), 0);
  header.writeUInt8(count, 4);
  chunks.push(header, Uint8Array.from(bytes));
}
writeFileSync(output, gzipSync(Buffer.concat(chunks), { level: 9 }));
