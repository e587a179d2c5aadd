/** cpu.model and cpu.features: which processor CPUID describes. */
import { BhyveExit, type ConfigTree } from '../config/index.ts';

const EXIT_ERROR = 4;
/** Names of the x86-64 psABI's levels; the number is what the core's CPUID tables are keyed by. */
const LEVELS = new Map([
  ['x86-64', 1],
  ['x86-64-v1', 1],
  ['x86-64-v2', 2],
  ['x86-64-v3', 3],
  ['v1', 1],
  ['v2', 2],
  ['v3', 3],
]);
const DEFAULT_LEVEL = 3;

/** Features that can be hidden, in the order of the core's table (core-as/cpu/cpuid.ts): the index is the bit in CFG_FEATURES_OFF. */
export const CPU_FEATURES: readonly string[] = (
  'mmx sse sse2 sse3 ssse3 sse4.1 sse4.2 aes pclmulqdq sha f16c fma avx ' +
  'avx2 cx16 pcid movbe popcnt xsave rdrand fsgsbase bmi1 smep bmi2 erms invpcid ' +
  'rdseed adx smap umip rdpid lahf_lm lzcnt nx pdpe1gb rdtscp clflushopt xsaveopt xsavec'
).split(' ');

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
    const bit = CPU_FEATURES.indexOf(word.slice(1).toLowerCase());
    if (bit === -1 || !/^[+-]/.test(word)) {
      throw new BhyveExit(EXIT_ERROR, `${tree.programName}: unknown cpu.features word "${word}"\n`);
    }
    if (word.startsWith('-')) off |= 1n << BigInt(bit);
    else off &= ~(1n << BigInt(bit));
  }
  return off;
}
