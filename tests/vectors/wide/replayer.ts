/** Runs wide vectors on the core, decode included, and compares every register, the memory windows and the exception. */
import {
  R_ACTIVITY,
  R_CPL,
  R_CR2,
  R_FPU,
  R_MXCSR,
  R_RIP,
  R_SEG,
  R_SIMD_SCRATCH,
  R_YMM,
  SEG_BASE,
  SEG_STRIDE,
  VCPU,
} from '../../../core-as/layout.ts';
import { COMPARED_FLAGS } from '../format.ts';
import { REGISTER_COUNT, seedOfName, seedOfVector } from '../random.ts';
import type { FormResult, Mismatch } from '../replayer.ts';
import { KERNEL_STACK_TOP, UserMachine } from '../user-machine.ts';
import { CODE_ADDRESS, IMAGE_SIZE_BYTES } from '../windows.ts';
import { Results, WideReader } from './format.ts';
import { type WideRule, normalise, tolerated } from './rules.ts';
import {
  STATE_FCW,
  STATE_FLAGS,
  STATE_FPR,
  STATE_FSW,
  STATE_FTW,
  STATE_MXCSR,
  STATE_WORDS,
  STATE_YMM,
  StyledMemory,
  drawState,
  wordName,
} from './state.ts';

/** x87 state: as in core-as/fpu/state.ts, which only the AssemblyScript compiler can read. */
const FPU_CONTROL = R_FPU + 0x80;
const FPU_STATUS = R_FPU + 0x84;
const FPU_TOP = R_FPU + 0x88;
const FPU_VALID = R_FPU + 0x8c;

const FPU_WORDS = (VCPU + R_FPU) >> 2;
const YMM_WORDS = (VCPU + R_YMM) >> 2;
const SCRATCH_WORDS = (VCPU + R_SIMD_SCRATCH) >> 2;
const BASE_WORDS = [4, 5].map((segment) => (VCPU + R_SEG + segment * SEG_STRIDE + SEG_BASE) >> 2);
const RIP_WORD = (VCPU + R_RIP) >> 2;
const CR2_WORD = (VCPU + R_CR2) >> 2;

export class WideReplayer {
  readonly #machine: UserMachine;
  readonly #words: Uint32Array;
  /** Machine memory and the memory image before the instruction. */
  readonly #imageWords: Int32Array;
  readonly #before: Buffer;
  readonly #beforeWords: Int32Array;
  readonly #input = new Uint32Array(STATE_WORDS);
  readonly #output = new Uint32Array(STATE_WORDS);
  readonly #expected = new Uint32Array(STATE_WORDS);
  readonly #results = new Results();
  readonly #patch = new Uint8Array(4096);

  /** `compiled`: in the JIT's code instead of the interpreter's. */
  constructor(module: WebAssembly.Module, compiled = false) {
    const machine = new UserMachine(module, compiled);
    this.#machine = machine;
    this.#words = new Uint32Array(machine.words.buffer);
    const { image } = machine;
    this.#imageWords = new Int32Array(image.buffer, image.byteOffset, IMAGE_SIZE_BYTES >> 2);
    const before = new Uint8Array(IMAGE_SIZE_BYTES);
    before.set(machine.background);
    this.#before = Buffer.from(before.buffer);
    this.#beforeWords = new Int32Array(before.buffer);
  }

  /** Replays a whole file. `ruleOf` gives a form's rule; undefined skips the form. */
  replay(file: Uint8Array, ruleOf: (id: string) => WideRule | undefined, examplesPerForm = 2): FormResult[] {
    const reader = new WideReader(file);
    const formResults: FormResult[] = [];
    for (let forms = reader.varint(); forms > 0; forms--) {
      const id = reader.name();
      const rule = ruleOf(id);
      const seed = seedOfName(id);
      let ordinal = 0;
      let mismatches = 0;
      const examples: Mismatch[] = [];
      for (let encodings = reader.varint(); encodings > 0; encodings--) {
        const codeOffset = reader.varint();
        const code = reader.bytes(reader.u8());
        const style = reader.u8();
        if (rule) this.#machine.writeCode(codeOffset, code, code.length);
        for (let vectors = reader.varint(); vectors > 0; vectors--) {
          reader.read();
          const number = ordinal++;
          if (!rule) continue;
          const text = this.#run(rule, seedOfVector(seed, number), style, codeOffset, code, reader);
          if (text === undefined) continue;
          mismatches++;
          if (examples.length < examplesPerForm) examples.push({ form: id, ordinal: number, text });
        }
        if (rule) this.#machine.writeCode(codeOffset, undefined, code.length);
      }
      if (rule) formResults.push({ id, vectors: ordinal, mismatches, examples });
    }
    if (!reader.atEnd) throw new Error('bytes left over in a file of vectors');
    return formResults;
  }

  #load(start: number): void {
    const input = this.#input;
    const words = this.#words;
    this.#machine.gpr.set(input.subarray(0, 32));
    BASE_WORDS.forEach((at, segment) => {
      words[at] = input[32 + segment * 2] as number;
      words[at + 1] = input[33 + segment * 2] as number;
    });
    words.set(input.subarray(STATE_YMM, STATE_FCW), YMM_WORDS);
    words[(VCPU + R_MXCSR) >> 2] = input[STATE_MXCSR] as number;
    for (let register = 0; register < 8; register++) {
      const at = FPU_WORDS + register * 4;
      const from = STATE_FPR + register * 3;
      words[at] = input[from] as number;
      words[at + 1] = input[from + 1] as number;
      words[at + 2] = input[from + 2] as number;
      words[at + 3] = 0;
    }
    const status = input[STATE_FSW] as number;
    words[(VCPU + FPU_CONTROL) >> 2] = input[STATE_FCW] as number;
    words[(VCPU + FPU_STATUS) >> 2] = status & ~0x3800;
    words[(VCPU + FPU_TOP) >> 2] = (status >> 11) & 7;
    words[(VCPU + FPU_VALID) >> 2] = input[STATE_FTW] as number;
    // Results must not depend on what an earlier instruction left in the scratch slots.
    words.fill(0xa5a5a5a5, SCRATCH_WORDS, SCRATCH_WORDS + 64);
    words[RIP_WORD] = start;
    words[RIP_WORD + 1] = 0;
    this.#machine.core.setRflags(BigInt((input[STATE_FLAGS] as number) | 0x202));
  }

  #save(exception: number, start: number, length: number): void {
    const { chunk0, gpr, view, core } = this.#machine;
    const [output, input, words, results] = [this.#output, this.#input, this.#words, this.#results];
    results.clear();
    output.set(gpr);
    BASE_WORDS.forEach((at, segment) => {
      output[32 + segment * 2] = words[at] as number;
      output[33 + segment * 2] = words[at + 1] as number;
    });
    let ripWord = RIP_WORD;
    let flags: number;
    if (exception === -1) flags = Number(core.getRflags() & 0xffffffffn);
    else {
      const frame = chunk0 + KERNEL_STACK_TOP;
      ripWord = (frame - 40) >> 2;
      flags = view.getUint32(frame - 24, true);
      output[8] = view.getUint32(frame - 16, true);
      output[9] = view.getUint32(frame - 12, true);
      results.outcome = (exception & 0xff) + 1;
      results.errorCode = exception >>> 8;
      if (results.outcome === 15) {
        results.special[0] = words[CR2_WORD] as number;
        results.special[1] = words[CR2_WORD + 1] as number;
      }
    }
    const expectedRip = start + (exception === -1 ? length : 0);
    const [low, high] = [words[ripWord] as number, words[ripWord + 1] as number];
    if (low !== expectedRip || high !== 0) {
      results.special[2] = low - expectedRip;
      results.special[3] = high - (low < expectedRip ? 1 : 0);
    }
    output[STATE_FLAGS] = ((input[STATE_FLAGS] as number) & ~COMPARED_FLAGS) | (flags & COMPARED_FLAGS);
    output[STATE_MXCSR] = words[(VCPU + R_MXCSR) >> 2] as number;
    output.set(words.subarray(YMM_WORDS, YMM_WORDS + 128), STATE_YMM);
    for (let register = 0; register < 8; register++) {
      const at = FPU_WORDS + register * 4;
      const to = STATE_FPR + register * 3;
      output[to] = words[at] as number;
      output[to + 1] = words[at + 1] as number;
      output[to + 2] = words[at + 2] as number;
    }
    output[STATE_FCW] = words[(VCPU + FPU_CONTROL) >> 2] as number;
    output[STATE_FSW] = (words[(VCPU + FPU_STATUS) >> 2] as number) | ((words[(VCPU + FPU_TOP) >> 2] as number) << 11);
    output[STATE_FTW] = words[(VCPU + FPU_VALID) >> 2] as number;
    const image = this.#imageWords;
    const before = this.#beforeWords;
    if (this.#before.equals(this.#machine.image)) return;
    for (let word = 0; word < image.length; word++) {
      if (image[word] === before[word]) continue;
      for (let at = word * 4; at < word * 4 + 4; at++) {
        const byte = this.#machine.image[at] as number;
        if (byte !== this.#before[at]) results.addByte(at, byte);
      }
    }
  }

  /** Runs one vector; returns what differs, or undefined. */
  #run(
    rule: WideRule,
    seed: number,
    style: number,
    codeOffset: number,
    code: Uint8Array,
    vector: WideReader,
  ): string | undefined {
    const [input, output, results] = [this.#input, this.#output, this.#results];
    const { image, background, core } = this.#machine;
    drawState(seed, style, input);
    const memory = new StyledMemory(seed, style, input);
    for (const patch of vector.patches) {
      let bytes = patch.bytes;
      if (!bytes) {
        bytes = this.#patch.subarray(0, patch.lengthBytes);
        memory.fill(bytes);
      }
      image.set(bytes, patch.imageOffset);
      this.#before.set(bytes, patch.imageOffset);
    }
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.overrideMask & (1 << register)) {
        input[register * 2] = vector.overrides[register * 2] as number;
        input[register * 2 + 1] = vector.overrides[register * 2 + 1] as number;
      }
    }
    for (const { word, value } of vector.wordOverrides) input[word] = value;

    const start = CODE_ADDRESS + codeOffset;
    this.#load(start);
    core.stepOne();
    const exception = core.lastException();
    this.#save(exception, start, code.length);
    // Normalising drops memory changes, but all of them have to be undone.
    const changed = results.bytes;
    const undo = changed ? results.memory.slice(0, changed) : undefined;
    normalise(rule, input, output, results, vector.patches[0]?.imageOffset ?? 0);
    results.setWords(input, output);

    const differences: string[] = [];
    const expected = vector.results;
    if (rule.gather && results.outcome === 15 && expected.outcome === 15) {
      // Only that it faults is defined.
    } else if (vector.isFull) this.#compare(rule, expected, differences);
    else if (results.outcome !== expected.outcome) {
      differences.push(`${outcomeText(results)}, expected ${outcomeText(expected)}`);
    } else if (results.digest() !== vector.digest) {
      differences.push(`digest differs; ${outcomeText(results)}, changed ${changesText(results)}`);
    }

    for (const patch of vector.patches) {
      const end = patch.imageOffset + patch.lengthBytes;
      background.copy(image, patch.imageOffset, patch.imageOffset, end);
      background.copy(this.#before, patch.imageOffset, patch.imageOffset, end);
    }
    undo?.forEach((change) => (image[change >>> 8] = background[change >>> 8] as number));
    const { view } = this.#machine;
    if (exception !== -1 || view.getUint32(VCPU + R_CPL, true) !== 3 || view.getUint32(VCPU + R_ACTIVITY, true) !== 0) {
      this.#machine.userSegments();
    }
    if (differences.length === 0) return undefined;
    const bytes = Buffer.from(code).toString('hex').replace(/../g, '$& ').trim();
    const fpu = `mxcsr ${hex(input[STATE_MXCSR])} fcw ${hex(input[STATE_FCW])} fsw ${hex(input[STATE_FSW])} ftw ${hex(input[STATE_FTW])}`;
    const registers = Array.from({ length: 16 }, (_, n) => hex(input[n * 2 + 1]) + hex(input[n * 2])).join(' ');
    return `${bytes} at ${start.toString(16)} style ${style.toString(16)} ${fpu}: ${differences.join('; ')} gpr ${registers}`;
  }

  #compare(rule: WideRule, expected: Results, differences: string[]): void {
    const [input, output, results] = [this.#input, this.#output, this.#results];
    if (
      results.outcome !== expected.outcome ||
      results.errorCode !== expected.errorCode ||
      expected.special.some((value, index) => value !== results.special[index])
    ) {
      differences.push(`${outcomeText(results)}, expected ${outcomeText(expected)}`);
    }
    this.#expected.set(input);
    for (let index = 0; index < expected.words; index++) {
      this.#expected[expected.wordIndex[index] as number] = expected.wordValue[index] as number;
    }
    for (let word = 0; word < STATE_WORDS; word++) {
      if (output[word] === this.#expected[word] || tolerated(rule, word, output, this.#expected)) continue;
      differences.push(
        `${wordName(word)} ${hex(output[word])}, expected ${hex(this.#expected[word])} from ${hex(input[word])}`,
      );
    }
    let same = results.bytes === expected.bytes;
    for (let index = 0; same && index < results.bytes; index++) same = results.memory[index] === expected.memory[index];
    if (!same) differences.push(`memory ${memoryText(results)}, expected ${memoryText(expected)}`);
  }
}

function hex(value: number | undefined): string {
  return (value ?? 0).toString(16).padStart(8, '0');
}

function outcomeText(results: Results): string {
  const { outcome, errorCode, special } = results;
  const rip = special[2] || special[3] ? ` rip+${hex(special[3])}${hex(special[2])}` : '';
  if (!outcome) return `completed${rip}`;
  return `#${outcome - 1}(${errorCode.toString(16)}) cr2 ${hex(special[1])}${hex(special[0])}${rip}`;
}

function memoryText(results: Results): string {
  const shown = Array.from(results.memory.subarray(0, Math.min(results.bytes, 40)), (change) => hex(change).slice(2));
  return `[${results.bytes}] ${shown.join(' ')}`;
}

function changesText(results: Results): string {
  const words: string[] = [];
  for (let index = 0; index < results.words; index++) {
    words.push(`${wordName(results.wordIndex[index] as number)}=${hex(results.wordValue[index])}`);
  }
  return `${words.join(' ')} memory ${memoryText(results)}`;
}
