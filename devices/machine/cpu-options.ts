/** cpu.model and cpu.features: which processor CPUID describes. */
import { BhyveExit, type ConfigTree } from '../config/index.ts';

const EXIT_ERROR = 4;
/** Names of the x86-64 psABI's levels; the number is what the core's CPUID tables are keyed by. */
const LEVELS = new Map([
  ['x86-64', 1],
  ['x86-64-v1', 1],
  ['x86-64-v2', 2],
  ['x86-64-v3', 3],
]);
const DEFAULT_LEVEL = 2;
/** Features that can be hidden, by their bit in CFG_FEATURES_OFF (core-as/cpu/cpuid.ts). */
const FEATURE_BITS: ReadonlyMap<string, number> = new Map();

export function cpuLevelOf(tree: ConfigTree, model: string | undefined): number {
  if (model === undefined) return DEFAULT_LEVEL;
  const level = LEVELS.get(model.toLowerCase());
  if (level === undefined) {
    throw new BhyveExit(
      EXIT_ERROR,
      `${tree.programName}: unknown cpu.model "${model}"; known are ${[...LEVELS.keys()].join(', ')}\n`,
    );
  }
  return level;
}

/** Bits of CFG_FEATURES_OFF for `-name,-name`. */
export function featuresOffOf(tree: ConfigTree, features: string | undefined): bigint {
  let off = 0n;
  for (const word of (features ?? '').split(',')) {
    if (word === '') continue;
    const bit = FEATURE_BITS.get(word.slice(1).toLowerCase());
    if (bit === undefined || !/^[+-]/.test(word)) {
      throw new BhyveExit(EXIT_ERROR, `${tree.programName}: unknown cpu.features word "${word}"\n`);
    }
    if (word.startsWith('-')) off |= 1n << BigInt(bit);
    else off &= ~(1n << BigInt(bit));
  }
  return off;
}
