/** What a table of instruction forms is made of. */
import type { Encoding, ModrmSpec, OperandSize } from '../assemble.ts';
import { modrmInstruction } from '../assemble.ts';
import type { Prng } from '../random.ts';
import type { FlagRule } from '../undefined-flags.ts';

export interface Form {
  /** Unique; seeds of the vectors derive from it. */
  readonly id: string;
  readonly size: OperandSize;
  /** Which flags the instruction leaves undefined. */
  readonly rule: FlagRule;
  make(prng: Prng): Encoding;
}

/** Forms of a size must have this many vectors at least. */
export const MINIMUM_VECTORS = 300;

export const SIZES: readonly OperandSize[] = [1, 2, 4, 8];
export const WORD_SIZES: readonly OperandSize[] = [2, 4, 8];

export function bits(size: OperandSize): number {
  return size * 8;
}

export function modrmForm(id: string, rule: FlagRule, spec: ModrmSpec): Form {
  return { id, size: spec.size, rule, make: (prng) => modrmInstruction(prng, spec) };
}

export function form(id: string, size: OperandSize, rule: FlagRule, make: (prng: Prng) => Encoding): Form {
  return { id, size, rule, make };
}

/** `byte` for 8-bit operands: their registers are AL-DIL or AH-BH. */
export function kindOf(size: OperandSize): 'byte' | 'general' {
  return size === 1 ? 'byte' : 'general';
}
