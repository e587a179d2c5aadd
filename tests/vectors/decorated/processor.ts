/** Decorated instructions on this machine's own processor, by harness.c. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { COMPARED_FLAGS } from '../format.ts';
import { Results } from '../wide/format.ts';
import { STATE_FLAGS, STATE_MXCSR, STATE_WORDS, WIDE_WORDS } from '../wide/state.ts';
import { CODE_ADDRESS, IMAGE_SIZE_BYTES, backgroundImage } from '../windows.ts';
import { reduce } from './case.ts';
import { type Decorated, decorate, decoratedState } from './generate.ts';
import { ruleOf } from './rules.ts';

const TRAP_SINGLE_STEP = 1;
const CASE_BYTES = 208 + WIDE_WORDS * 4;

/** Builds the harness into a directory and returns its path. */
export function buildHarness(root: string, directory: string): string {
  const harness = join(directory, 'harness');
  const source = join(root, 'tests/vectors/harness.c');
  execFileSync('gcc', ['-O1', '-Wall', '-fno-stack-protector', '-o', harness, source], { stdio: 'inherit' });
  return harness;
}

/** Runs `count` instructions from a number on; calls `each` with what every one of them did, reduced as the core's is. */
export function runOnProcessor(
  harness: string,
  seed: number,
  first: number,
  count: number,
  each: (number: number, instruction: Decorated, output: Uint32Array, results: Results) => void,
): void {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(IMAGE_SIZE_BYTES, 0);
  head.writeUInt32LE(count, 4);
  const cases = Buffer.alloc(count * CASE_BYTES);
  const input = new Uint32Array(STATE_WORDS);
  const instructions: Decorated[] = [];
  for (let n = 0; n < count; n++) {
    const instruction = decorate(seed, first + n);
    instructions.push(instruction);
    decoratedState(seed, first + n, instruction, input);
    const at = n * CASE_BYTES;
    for (let word = 0; word < 32; word++) cases.writeUInt32LE(input[word] ?? 0, at + word * 4);
    cases.writeBigUInt64LE(BigInt((input[STATE_FLAGS] ?? 0) | 0x202), at + 128);
    cases.writeBigUInt64LE(BigInt(CODE_ADDRESS + instruction.codeOffset), at + 136);
    for (let word = 0; word < 4; word++) cases.writeUInt32LE(input[32 + word] ?? 0, at + 144 + word * 4);
    cases.writeUInt32LE(instruction.code.length, at + 160);
    cases.writeUInt32LE(instruction.repeat ? 1 : 0, at + 164);
    Buffer.from(instruction.code).copy(cases, at + 168);
    cases.writeUInt32LE(0, at + 200);
    cases.writeUInt32LE(1, at + 204);
    for (let word = 0; word < WIDE_WORDS; word++)
      cases.writeUInt32LE(input[STATE_MXCSR + word] ?? 0, at + 208 + word * 4);
  }
  const run = spawnSync(harness, {
    input: Buffer.concat([head, backgroundImage(), cases]),
    maxBuffer: 1 << 30,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const bytes = run.stdout;
  let at = 0;
  const output = new Uint32Array(STATE_WORDS);
  for (let n = 0; n < count; n++) {
    const instruction = instructions[n];
    if (!instruction) break;
    if (at + 176 + WIDE_WORDS * 4 > bytes.length) {
      const code = Buffer.from(instruction.code).toString('hex');
      throw new Error(`the harness ended (${run.signal ?? run.status}) at number ${first + n}: ${code}`);
    }
    decoratedState(seed, first + n, instruction, input);
    const results = new Results();
    for (let word = 0; word < 32; word++) output[word] = bytes.readUInt32LE(at + word * 4);
    for (let word = 0; word < 4; word++) output[32 + word] = bytes.readUInt32LE(at + 144 + word * 4);
    output[STATE_FLAGS] =
      ((input[STATE_FLAGS] ?? 0) & ~COMPARED_FLAGS) | (bytes.readUInt32LE(at + 128) & COMPARED_FLAGS);
    for (let word = 0; word < WIDE_WORDS; word++) output[STATE_MXCSR + word] = bytes.readUInt32LE(at + 176 + word * 4);
    const trap = bytes.readUInt32LE(at + 168);
    if (trap !== TRAP_SINGLE_STEP) {
      results.outcome = trap + 1;
      results.errorCode = bytes.readUInt32LE(at + 172);
    }
    const pair = (value: bigint, index: number): void => {
      results.special[index] = Number(value & 0xffffffffn);
      results.special[index + 1] = Number(BigInt.asUintN(64, value) >> 32n);
    };
    if (trap === 14) pair(bytes.readBigUInt64LE(at + 160), 0);
    pair(BigInt.asUintN(64, bytes.readBigUInt64LE(at + 136) - BigInt(CODE_ADDRESS + instruction.codeOffset)), 2);
    let cursor = at + 176 + WIDE_WORDS * 4;
    const runs = bytes.readUInt32LE(cursor);
    cursor += 8;
    for (let index = 0; index < runs; index++) {
      const imageOffset = bytes.readUInt32LE(cursor);
      const lengthBytes = bytes.readUInt32LE(cursor + 4);
      for (let byte = 0; byte < lengthBytes; byte++) results.addByte(imageOffset + byte, bytes[cursor + 8 + byte] ?? 0);
      cursor += 8 + Math.ceil(lengthBytes / 8) * 8;
    }
    at = cursor;
    reduce(instruction, ruleOf(instruction), input, output, results);
    each(first + n, instruction, output, results);
  }
}
