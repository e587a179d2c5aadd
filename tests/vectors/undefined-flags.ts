/**
 * Which flags an instruction leaves undefined, by group, after the instruction's description in the SDM, volume 2 (and "Flags
 * Affected" in the APM, volume 3, where AMD promises less). The recorded value of an undefined flag is what one processor did.
 */
import { RCX } from './assemble.ts';

const CF = 1 << 0;
const PF = 1 << 2;
const AF = 1 << 4;
const ZF = 1 << 6;
const SF = 1 << 7;
const OF = 1 << 11;

export type CountSource = 'one' | 'imm8' | 'cl';

export type FlagRule =
  /** Every flag is defined (or untouched). */
  | 'exact'
  /** AND, OR, XOR, TEST: AF. */
  | 'logic'
  /** MUL, IMUL: SF ZF AF PF. */
  | 'multiply'
  /** DIV, IDIV: all six, also when they fault. */
  | 'divide'
  /** BT, BTS, BTR, BTC: OF SF AF PF. */
  | 'bitTest'
  /** BSF, BSR: all but ZF. */
  | 'bitScan'
  /** TZCNT, LZCNT: OF SF AF PF. */
  | 'zeroCount'
  /** ANDN, BLSI, BLSMSK, BLSR, BZHI: AF PF. */
  | 'bmi'
  /** BEXTR: SF AF PF. */
  | 'bextr'
  /** SHL, SHR: AF; OF unless the count is 1; CF from a count of the operand's size on. Nothing changes with a count of 0. */
  | `shift-${CountSource}`
  /** SAR: AF; OF unless the count is 1. */
  | `arithmetic-${CountSource}`
  /** ROL, ROR, RCL, RCR: OF unless the count is 1. */
  | `rotate-${CountSource}`
  /** SHLD, SHRD: AF; OF unless the count is 1 (vectors never have a count beyond the operand's size). */
  | `double-${CountSource}`;

export interface ExecutedInstruction {
  readonly sizeBytes: number;
  readonly code: Uint8Array;
  /** Input registers, (low, high) pairs. */
  readonly input: Uint32Array;
}

function count(source: string, executed: ExecutedInstruction): number {
  const mask = executed.sizeBytes === 8 ? 63 : 31;
  if (source === 'one') return 1;
  if (source === 'imm8') return (executed.code[executed.code.length - 1] ?? 0) & mask;
  return (executed.input[RCX * 2] ?? 0) & mask;
}

/** Mask of the flags not to compare. */
export function undefinedFlags(rule: FlagRule, executed: ExecutedInstruction): number {
  switch (rule) {
    case 'exact':
      return 0;
    case 'logic':
      return AF;
    case 'multiply':
      return SF | ZF | AF | PF;
    case 'divide':
      return CF | PF | AF | ZF | SF | OF;
    case 'bitTest':
      return OF | SF | AF | PF;
    case 'bitScan':
      return CF | OF | SF | AF | PF;
    case 'zeroCount':
      return OF | SF | AF | PF;
    case 'bmi':
      return AF | PF;
    case 'bextr':
      return SF | AF | PF;
    default: {
      const [operation, source] = rule.split('-') as [string, string];
      const shifted = count(source, executed);
      if (shifted === 0) return 0;
      const overflow = shifted === 1 ? 0 : OF;
      if (operation === 'rotate') return overflow;
      const carry = operation === 'shift' && shifted >= executed.sizeBytes * 8 ? CF : 0;
      return AF | overflow | carry;
    }
  }
}

/**
 * Bits of a changed general register that are not compared (a 64-bit mask as two halves), or undefined for none.
 *
 * BSF and BSR with a source of 0 leave the destination undefined in the SDM; processors keep it, but differ in what a 32-bit operand does
 * to bits 32-63.
 */
export function undefinedHighHalf(id: string, sizeBytes: number, outputFlags: number): boolean {
  return (id.startsWith('bsf') || id.startsWith('bsr')) && sizeBytes === 4 && (outputFlags & ZF) !== 0;
}
