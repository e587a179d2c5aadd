/** The register state of wide vectors (state.ts) into the core, and what an instruction made of it out of the core. */
import {
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
import { KERNEL_STACK_TOP, type UserMachine } from '../user-machine.ts';
import { IMAGE_SIZE_BYTES } from '../windows.ts';
import type { Results } from './format.ts';
import {
  STATE_FCW,
  STATE_FLAGS,
  STATE_FPR,
  STATE_FSW,
  STATE_FTW,
  STATE_MXCSR,
  STATE_WORDS,
  STATE_YMM,
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

export class StateTransfer {
  readonly input = new Uint32Array(STATE_WORDS);
  readonly output = new Uint32Array(STATE_WORDS);
  /** The memory image before the instruction. */
  readonly before: Buffer;
  readonly #beforeWords: Int32Array;
  readonly #imageWords: Int32Array;
  readonly #words: Uint32Array;
  readonly #machine: UserMachine;

  constructor(machine: UserMachine) {
    this.#machine = machine;
    this.#words = new Uint32Array(machine.words.buffer);
    const { image } = machine;
    this.#imageWords = new Int32Array(image.buffer, image.byteOffset, IMAGE_SIZE_BYTES >> 2);
    const before = new Uint8Array(IMAGE_SIZE_BYTES);
    before.set(machine.background);
    this.before = Buffer.from(before.buffer);
    this.#beforeWords = new Int32Array(before.buffer);
  }

  /** Puts `input` into the machine, ready to run at `start`. */
  load(start: number): void {
    const { input } = this;
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

  /** Takes what an instruction of that length did into `output` and `results`. */
  save(exception: number, start: number, length: number, results: Results): void {
    const { chunk0, gpr, view, core } = this.#machine;
    const { input, output } = this;
    const words = this.#words;
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
    if (this.before.equals(this.#machine.image)) return;
    for (let word = 0; word < image.length; word++) {
      if (image[word] === before[word]) continue;
      for (let at = word * 4; at < word * 4 + 4; at++) {
        const byte = this.#machine.image[at] as number;
        if (byte !== this.before[at]) results.addByte(at, byte);
      }
    }
  }
}
