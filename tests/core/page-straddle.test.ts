/**
 * Instructions whose bytes lie in two pages that are no neighbours in memory: every form of the vectors, split at every byte, does what it
 * does in one page; with its second page absent or not executable it is a #PF there and does nothing; and when the second page is changed
 * between two runs, the second run is of the new bytes.
 *
 * STRADDLE=number in the environment takes so many encodings of each form instead of one.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { R_CR2, R_FPU, R_FPU_SIZE, R_GPR, R_MXCSR, R_RIP, R_YMM, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { type Input, drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { TIERS } from '../vectors/tiers.ts';
import { KERNEL_STACK_TOP, UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS } from '../vectors/windows.ts';

const PER_FORM = Number(process.env.STRADDLE ?? 1);
const SEED = 20261128;
const WHOLE = 0x800;
const BOUNDARY = 0x1000;
const STACK_FRAME_BYTES = 0x100;
/** Bytes of the longest instruction. */
const MAX_LENGTH = 15;

const VECTOR_UD = 6;
const VECTOR_PF = 14;
/** Error codes of instruction fetches by a program: I/D and U/S, and P where a page is there. */
const FETCH_ABSENT = 0x14;
const FETCH_NO_EXECUTE = 0x15;

/** What an instruction left behind. */
interface Outcome {
  readonly exception: number;
  /** As words of 32 bits. */
  readonly state: Uint32Array;
  /** The memory image, when it was changed. */
  readonly image: Buffer | undefined;
}

class StraddleMachine extends UserMachine {
  /** Runs one instruction at an offset of the code window; its bytes are there already. */
  step(input: Input, offset: number): Outcome {
    start(this, input, offset);
    this.core.stepOne();
    const image = this.image.equals(this.background) ? undefined : Buffer.from(this.image);
    return { exception: this.core.lastException(), state: this.#state(), image };
  }

  /** Puts code somewhere, runs it and takes it away again. */
  run(code: Uint8Array, input: Input, offset: number): Outcome {
    this.writeCode(offset, code, code.length);
    const outcome = this.step(input, offset);
    this.writeCode(offset, undefined, code.length);
    return outcome;
  }

  #state(): Uint32Array {
    const parts: readonly (readonly [number, number])[] = [
      [VCPU + R_GPR, 16 * 8],
      [VCPU + R_RIP, 8],
      [VCPU + R_CR2, 8],
      [VCPU + R_MXCSR, 4],
      [VCPU + R_YMM, 16 * 32],
      [VCPU + R_FPU, R_FPU_SIZE],
      [this.chunk0 + KERNEL_STACK_TOP - STACK_FRAME_BYTES, STACK_FRAME_BYTES],
    ];
    const bytes = Buffer.concat([
      ...parts.map(([at, length]) => Buffer.from(this.bytes.buffer, at, length)),
      Buffer.from(BigUint64Array.of(this.core.getRflags()).buffer),
    ]);
    return new Uint32Array(Uint8Array.from(bytes).buffer);
  }
}

/** The words are the same, but for addresses that moved along with the instruction. */
function sameWords(a: Uint32Array, b: Uint32Array, distance: number): boolean {
  for (let at = 0; at < a.length; at++) {
    const [word, other] = [a[at] ?? 0, b[at] ?? 0];
    if (word !== other && (word + distance) >>> 0 !== other) return false;
  }
  return true;
}

function words(image: Buffer): Uint32Array {
  return new Uint32Array(image.buffer, image.byteOffset, image.length / 4);
}

function same(a: Outcome, b: Outcome, distance: number): boolean {
  if (a.exception !== b.exception || !sameWords(a.state, b.state, distance)) return false;
  if (!a.image || !b.image) return a.image === b.image;
  return a.image.equals(b.image) || sameWords(words(a.image), words(b.image), distance);
}

/** A displacement that the vectors' generator counted from RIP: it leads to a window, and would lead elsewhere from another place. */
function isRipRelative(code: Uint8Array): boolean {
  return code.some((byte, at) => (byte & 0xc7) === 5 && (code[at + 3] ?? 0xff) < 4 && code[at + 4] === 0);
}

/** Runs an instruction of which `inFirst` bytes are in the first page. Returns what is wrong, or undefined. */
type Check = (machine: StraddleMachine, code: Uint8Array, input: Input, inFirst: number) => string | undefined;

function faults(kind: 'absent' | 'no-execute', errorCode: number): Check {
  return (machine, code, input, inFirst) => {
    // Longer than an instruction can be before the second page is reached.
    if (inFirst >= MAX_LENGTH) return undefined;
    machine.mapSecondCodePage(kind);
    const offset = BOUNDARY - inFirst;
    const { exception, state, image } = machine.run(code, input, offset);
    machine.mapSecondCodePage('code');
    if (exception !== (VECTOR_PF | (errorCode << 8))) return `exception ${exception.toString(16)}`;
    const cr2 = machine.view.getBigUint64(VCPU + R_CR2, true);
    if (cr2 !== BigInt(CODE_ADDRESS + BOUNDARY)) return `CR2 ${cr2.toString(16)}`;
    const pushed = machine.view.getBigUint64(machine.chunk0 + KERNEL_STACK_TOP - 40, true);
    if (pushed !== BigInt(CODE_ADDRESS + offset)) return `RIP ${pushed.toString(16)}`;
    // General registers but RSP, which is the handler's.
    const changed = input.registers.findIndex(
      (value, n) => n !== 4 && BigInt(state[n * 2] ?? 0) + (BigInt(state[n * 2 + 1] ?? 0) << 32n) !== value,
    );
    if (changed >= 0) return `register ${changed} changed`;
    return image ? 'memory changed' : undefined;
  };
}

function changedBetweenRuns(machine: StraddleMachine, code: Uint8Array, input: Input, inFirst: number): Outcome {
  const offset = BOUNDARY - inFirst;
  const other = code.map((byte, at) => (at < inFirst ? byte : byte ^ 0xff));
  machine.writeCode(offset, other, other.length);
  machine.step(input, offset);
  machine.writeCode(BOUNDARY, code.subarray(inFirst), code.length - inFirst);
  const second = machine.step(input, offset);
  machine.writeCode(offset, undefined, code.length);
  return second;
}

const ABSENT = faults('absent', FETCH_ABSENT);
const NOT_EXECUTABLE = faults('no-execute', FETCH_NO_EXECUTE);

describe.each(TIERS)('instructions in two pages, %s', (tier) => {
  let machine: StraddleMachine;
  beforeAll(async () => {
    machine = new StraddleMachine(await compileCore(), tier === 'compiled');
  }, 300_000);

  test('every form, split at every byte', { timeout: 300_000 * PER_FORM }, () => {
    const pool = [false, true].flatMap((wide) => instructionPool(wide, PER_FORM));
    const prng = new Prng(SEED);
    const failures: string[] = [];
    let splits = 0;
    let faulted = 0;
    for (const { form, code } of pool) {
      if (isRipRelative(code)) continue;
      const input = drawInput(prng);
      const whole = machine.run(code, input, WHOLE);
      for (let inFirst = 1; inFirst < code.length; inFirst++) {
        splits++;
        const distance = BOUNDARY - inFirst - WHOLE;
        const note = (what: string, found: string): void => {
          const hex = Buffer.from(code).toString('hex');
          failures.push(`${form} ${hex}, ${inFirst} in the first page, ${what}: ${found}`);
        };
        const split = machine.run(code, input, BOUNDARY - inFirst);
        if (!same(whole, split, distance)) note('split', `exception ${split.exception}, whole ${whole.exception}`);
        const second = changedBetweenRuns(machine, code, input, inFirst);
        if (!same(whole, second, distance)) note('changed', `exception ${second.exception}, whole ${whole.exception}`);
        // What is undefined may be so by the bytes in the first page alone.
        if (whole.exception === VECTOR_UD) continue;
        faulted++;
        const absent = ABSENT(machine, code, input, inFirst);
        if (absent !== undefined) note('absent', absent);
        const notExecutable = NOT_EXECUTABLE(machine, code, input, inFirst);
        if (notExecutable !== undefined) note('not executable', notExecutable);
      }
    }
    expect(failures.slice(0, 20)).toEqual([]);
    expect(splits).toBeGreaterThan(10_000);
    expect(faulted).toBeGreaterThan(splits * 0.8);
  });
});
