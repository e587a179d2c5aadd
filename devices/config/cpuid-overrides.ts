/** `cpuid.LEAF[.SUBLEAF].REGISTER=VALUE[/MASK]`: what CPUID answers instead of what the processor would. */
import { CPUID_OVERRIDES_MAX } from '../../core-as/layout.ts';
import { findVariable, type VariableDeclaration } from './declare.ts';
import type { ConfigTree } from './tree.ts';
import { CPUID_VALUE, type MaskedBits } from './variable-types.ts';

export interface CpuidOverride extends MaskedBits {
  readonly leaf: number;
  /** Undefined: whatever ECX is. */
  readonly subleaf: number | undefined;
  /** Its number: EAX, ECX, EDX, EBX. */
  readonly register: number;
}

const REGISTERS: readonly string[] = ['eax', 'ecx', 'edx', 'ebx'];

/** In the order in which they apply: those of one subleaf last. */
export function readCpuidOverrides(tree: ConfigTree, declarations: readonly VariableDeclaration[]): CpuidOverride[] {
  const overrides: CpuidOverride[] = [];
  for (const [below] of tree.findNode('cpuid')?.variables() ?? []) {
    const path = `cpuid.${below}`;
    const parts = below.split('.');
    const numbers = parts.slice(0, -1).map(Number);
    if (!findVariable(declarations, path) || numbers.some((number) => number > 0xffff_ffff)) {
      throw tree.exit(`${path}: expected is cpuid.LEAF.REGISTER or cpuid.LEAF.SUBLEAF.REGISTER`);
    }
    const text = tree.get(path) ?? '';
    const problem = CPUID_VALUE.check(text, path);
    if (problem !== undefined) throw tree.exit(problem);
    const [leaf = 0, subleaf] = numbers;
    const register = REGISTERS.indexOf(parts.at(-1) ?? '');
    overrides.push({ leaf, subleaf, register, ...CPUID_VALUE.parse(text) });
  }
  if (overrides.length > CPUID_OVERRIDES_MAX) {
    throw tree.exit(`cpuid: at most ${CPUID_OVERRIDES_MAX} variables are possible`);
  }
  const isSpecific = ({ subleaf }: CpuidOverride): number => (subleaf === undefined ? 0 : 1);
  return overrides.sort((a, b) => isSpecific(a) - isSpecific(b));
}
