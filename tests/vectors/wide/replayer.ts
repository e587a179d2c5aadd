/** Runs wide vectors on the core, decode included, and compares every register, the memory windows and the exception. */
import { R_ACTIVITY, R_CPL, VCPU } from '../../../core-as/layout.ts';
import { REGISTER_COUNT, seedOfName, seedOfVector } from '../random.ts';
import type { FormResult, Mismatch } from '../replayer.ts';
import { UserMachine } from '../user-machine.ts';
import { CODE_ADDRESS } from '../windows.ts';
import { Results, WideReader } from './format.ts';
import { type WideRule, normalise, tolerated } from './rules.ts';
import {
  STATE_FCW,
  STATE_FSW,
  STATE_FTW,
  STATE_MXCSR,
  STATE_WORDS,
  StyledMemory,
  drawState,
  wordName,
} from './state.ts';
import { StateTransfer } from './state-transfer.ts';

export class WideReplayer {
  readonly #machine: UserMachine;
  readonly #transfer: StateTransfer;
  readonly #expected = new Uint32Array(STATE_WORDS);
  readonly #results = new Results();
  readonly #patch = new Uint8Array(4096);

  /** `compiled`: in the JIT's code instead of the interpreter's. */
  constructor(module: WebAssembly.Module, compiled = false) {
    this.#machine = new UserMachine(module, compiled);
    this.#transfer = new StateTransfer(this.#machine);
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

  /** Runs one vector; returns what differs, or undefined. */
  #run(
    rule: WideRule,
    seed: number,
    style: number,
    codeOffset: number,
    code: Uint8Array,
    vector: WideReader,
  ): string | undefined {
    const { input, output, before } = this.#transfer;
    const results = this.#results;
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
      before.set(bytes, patch.imageOffset);
    }
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.overrideMask & (1 << register)) {
        input[register * 2] = vector.overrides[register * 2] as number;
        input[register * 2 + 1] = vector.overrides[register * 2 + 1] as number;
      }
    }
    for (const { word, value } of vector.wordOverrides) input[word] = value;

    const start = CODE_ADDRESS + codeOffset;
    this.#transfer.load(start);
    core.stepOne();
    const exception = core.lastException();
    this.#transfer.save(exception, start, code.length, results);
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
      background.copy(before, patch.imageOffset, patch.imageOffset, end);
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
    const { input, output } = this.#transfer;
    const results = this.#results;
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
