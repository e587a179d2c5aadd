/** Decorated instructions on the core, and what is compared of what they do. */
import { CFGF_AMD, R_ACTIVITY, R_CPL, R_RIP, VCPU } from '../../../core-as/layout.ts';
import { UserMachine } from '../user-machine.ts';
import { Results } from '../wide/format.ts';
import { normalise, tolerated } from '../wide/rules.ts';
import { STATE_FCW, STATE_FLAGS, STATE_FPR, STATE_FTW, STATE_WORDS } from '../wide/state.ts';
import { StateTransfer } from '../wide/state-transfer.ts';
import { CODE_ADDRESS } from '../windows.ts';
import { type Decorated, decorate, decoratedState } from './generate.ts';
import { type DecoratedRule, ruleOf } from './rules.ts';

/** Steps of a repeated instruction; the harness has the same limit. */
const REPEAT_LIMIT = 4096;
const VECTOR_SS = 12;
const VECTOR_GP = 13;
const VECTOR_PF = 14;

/**
 * Leaves in results what is compared: undefined flags become what they were, and of faulting instructions that write in pieces, or of which the
 * rule says so, only the fault is left. `special` holds RIP less the instruction's own address.
 */
export function reduce(
  { vex, map, opcode }: Decorated,
  rule: DecoratedRule,
  input: Uint32Array,
  output: Uint32Array,
  results: Results,
): void {
  output[STATE_FLAGS] = ((output[STATE_FLAGS] ?? 0) & ~rule.flags) | ((input[STATE_FLAGS] ?? 0) & rule.flags);
  const isX87 = vex === undefined && map === 0 && opcode >= 0xd8 && opcode <= 0xdf;
  normalise({ inPieces: results.outcome === VECTOR_PF + 1, anyC1: isX87 }, input, output, results, 0);
  // Empty x87 registers hold what nobody can see.
  for (let register = 0; register < 8; register++) {
    if ((output[STATE_FTW] ?? 0) & (1 << register)) continue;
    output.fill(0, STATE_FPR + register * 3, STATE_FPR + register * 3 + 3);
  }
  if (rule.only === 'faults') {
    output.set(input);
    results.bytes = 0;
  }
  results.setWords(input, output);
}

export class DecoratedMachine {
  readonly results = new Results();
  readonly #machine: UserMachine;
  readonly #transfer: StateTransfer;

  constructor(module: WebAssembly.Module, compiled: boolean) {
    this.#machine = new UserMachine(module, compiled, CFGF_AMD);
    this.#transfer = new StateTransfer(this.#machine);
  }

  get input(): Uint32Array {
    return this.#transfer.input;
  }
  get output(): Uint32Array {
    return this.#transfer.output;
  }

  /** Runs the instruction of a number; what it did, reduced, is in `output` and `results`. */
  run(seed: number, number: number, instruction = decorate(seed, number)): Decorated {
    const machine = this.#machine;
    const { core, view, image, background } = machine;
    const { code, codeOffset, repeat } = instruction;
    const { input, output } = this.#transfer;
    machine.writeCode(codeOffset, code, code.length);
    decoratedState(seed, number, instruction, input);
    const start = CODE_ADDRESS + codeOffset;
    this.#transfer.load(start);
    let exception = -1;
    for (let step = 0; step < (repeat ? REPEAT_LIMIT : 1); step++) {
      core.stepOne();
      exception = core.lastException();
      if (exception !== -1 || this.#rip() !== BigInt(start)) break;
    }
    this.#transfer.save(exception, start, 0, this.results);
    for (let index = 0; index < this.results.bytes; index++) {
      const at = (this.results.memory[index] ?? 0) >>> 8;
      image[at] = background[at] ?? 0;
    }
    machine.writeCode(codeOffset, undefined, code.length);
    if (exception !== -1 || view.getUint32(VCPU + R_CPL, true) !== 3 || view.getUint32(VCPU + R_ACTIVITY, true) !== 0) {
      machine.userSegments();
    }
    reduce(instruction, ruleOf(instruction), input, output, this.results);
    return instruction;
  }

  #rip(): bigint {
    return this.#machine.view.getBigUint64(VCPU + R_RIP, true);
  }
}

/** What differs between what a processor did and what the core did, in words; empty when nothing does. */
export function differences(
  rule: DecoratedRule,
  got: { readonly output: Uint32Array; readonly results: Results },
  wanted: { readonly output: Uint32Array; readonly results: Results },
): string[] {
  const found: string[] = [];
  const [a, b] = [got.results, wanted.results];
  if (rule.pushesFirst && a.outcome === VECTOR_GP + 1 && (b.outcome === VECTOR_SS + 1 || b.outcome === VECTOR_PF + 1)) {
    return found;
  }
  if (a.outcome !== b.outcome) found.push(`${outcomeText(a)} instead of ${outcomeText(b)}`);
  else if (a.errorCode !== b.errorCode) found.push('error code');
  if (a.special[2] !== b.special[2] || a.special[3] !== b.special[3]) found.push('rip');
  if (a.outcome !== b.outcome) return found;
  if (!rule.anyPage && (a.special[0] !== b.special[0] || a.special[1] !== b.special[1])) found.push('cr2');
  for (let word = 0; word < STATE_WORDS; word++) {
    if (got.output[word] === wanted.output[word]) continue;
    if (rule.estimate && tolerated({ tolerance: 'estimate' }, word, got.output, wanted.output)) continue;
    const name =
      word < 32
        ? 'registers'
        : word < STATE_FLAGS
          ? 'bases'
          : word === STATE_FLAGS
            ? 'flags'
            : word < STATE_FCW
              ? 'vectors'
              : 'x87';
    if (!found.includes(name)) found.push(name);
  }
  let same = a.bytes === b.bytes;
  for (let index = 0; same && index < a.bytes; index++) same = a.memory[index] === b.memory[index];
  if (!same) found.push('memory');
  return found;
}

function outcomeText({ outcome, errorCode }: Results): string {
  return outcome ? `#${outcome - 1}(${errorCode.toString(16)})` : 'done';
}
