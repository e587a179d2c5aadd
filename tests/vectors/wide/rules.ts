/** What the architecture leaves open in the results of wide vectors; everything else is compared to the bit. */
import { STATE_FCW, STATE_FPR, STATE_FSW, STATE_YMM } from './state.ts';
import type { Results } from './format.ts';

const C1 = 0x200;
const EX_PRECISION = 0x20;

/** From Linux's limit of user addresses on, it reports every #PF as a protection violation, so P of the error code is not known. */
const LINUX_TASK_SIZE_HIGH = 0x7fff;

export interface WideRule {
  /**
   * `estimate`: RCPxx and RSQRTxx, relative error at most 1.5 * 2^-12 (SDM volume 2, RCPPS). `transcendental`: the last place
   * of the result, and C1, which says how it was rounded (SDM volume 1, 8.3.10).
   */
  readonly tolerance?: 'estimate' | 'transcendental';
  /** FCOMI and its kin: the SDM says that they clear C1, AMD processors leave it. */
  readonly anyC1?: boolean;
  /** Bytes of the memory operand that differ between processors. */
  readonly anyMemory?: readonly (readonly [number, number])[];
  /**
   * The operand is accessed in several pieces: a #PF may name any byte of the faulting page, and finds other pieces stored or not.
   */
  readonly inPieces?: boolean;
  /** Gathers: which elements are done when one faults, and which of several faults is found, is open (SDM volume 2, VGATHERDPS). */
  readonly gather?: boolean;
}

/**
 * FOP, FIP, FDP and their selectors: AMD processors write them to FXSAVE and XSAVE images only while an exception is pending, and
 * the harness's own instructions leave theirs in FNSTENV images. MXCSR_MASK: AMD adds bit 17.
 */
export const FXSAVE_POINTERS = [
  [6, 24],
  [28, 32],
] as const;
export const ENVIRONMENT32_POINTERS = [[12, 28]] as const;
export const ENVIRONMENT16_POINTERS = [[6, 14]] as const;

/** Makes results comparable: what a rule leaves open becomes what it was before. `operandOffset` is the memory operand's image offset. */
export function normalise(
  rule: WideRule,
  input: Uint32Array,
  output: Uint32Array,
  results: Results,
  operandOffset: number,
): void {
  const status = output[STATE_FSW] as number;
  if (rule.anyC1 || (rule.tolerance === 'transcendental' && status & EX_PRECISION)) {
    output[STATE_FSW] = (status & ~C1) | ((input[STATE_FSW] as number) & C1);
  }
  if (results.outcome === 15) {
    const [low, high] = [results.special[0] as number, results.special[1] as number];
    if (rule.inPieces) {
      results.special[0] = (low & ~0xfff) >>> 0;
      results.bytes = 0;
    }
    if (high > LINUX_TASK_SIZE_HIGH || (high === LINUX_TASK_SIZE_HIGH && low >= 0xfffff000)) results.errorCode &= ~1;
  }
  if (rule.anyMemory) {
    let kept = 0;
    for (let index = 0; index < results.bytes; index++) {
      const change = results.memory[index] as number;
      const at = (change >>> 8) - operandOffset;
      if (!rule.anyMemory.some(([from, to]) => at >= from && at < to)) results.memory[kept++] = change;
    }
    results.bytes = kept;
  }
}

const floats = new DataView(new ArrayBuffer(4));

function single(bits: number): number {
  floats.setUint32(0, bits);
  return floats.getFloat32(0);
}

/** Two estimates, each within 1.5 * 2^-12 of the true value. */
function estimatesAgree(a: number, b: number): boolean {
  const [x, y] = [single(a), single(b)];
  // Results about the smallest normal number may be flushed by one and not by the other.
  if (Math.abs(x) < 2 ** -125 && Math.abs(y) < 2 ** -125) return (a ^ b) >= 0;
  return Math.abs(x - y) <= Math.abs(y) * 3 * 2 ** -12;
}

function place(state: Uint32Array, register: number): bigint {
  const at = STATE_FPR + register * 3;
  const significand = (BigInt(state[at + 1] as number) << 32n) | BigInt(state[at] as number);
  const exponent = Math.max((state[at + 2] as number) & 0x7fff, 1);
  return (BigInt(exponent) << 63n) + significand;
}

/** Whether the difference of a word is within the rule's tolerance. */
export function tolerated(rule: WideRule, word: number, got: Uint32Array, expected: Uint32Array): boolean {
  if (rule.tolerance === 'estimate' && word >= STATE_YMM && word < STATE_FCW) {
    return estimatesAgree((got[word] as number) | 0, (expected[word] as number) | 0);
  }
  if (rule.tolerance !== 'transcendental' || word < STATE_FPR) return false;
  const register = Math.floor((word - STATE_FPR) / 3);
  const top = STATE_FPR + register * 3 + 2;
  if (((got[top] as number) ^ (expected[top] as number)) & 0x8000) return false;
  const distance = place(got, register) - place(expected, register);
  return distance >= -1n && distance <= 1n;
}
