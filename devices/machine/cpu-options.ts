/** cpu.model, cpu.features and cpu.vendor: which processor the guest has. */
import { CFGF_AMD } from '../../core-as/layout.ts';
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

/** Features by name, in the order of the core's table (core-as/cpu/features.ts): the index is the bit in CFG_FEATURES_ON and _OFF. */
export const CPU_FEATURES: readonly string[] = (
  'mmx sse sse2 sse3 ssse3 sse4.1 sse4.2 aes pclmulqdq sha f16c fma avx ' +
  'avx2 cx16 pcid movbe popcnt xsave rdrand fsgsbase bmi1 smep bmi2 erms invpcid ' +
  'rdseed adx smap umip rdpid lahf_lm lzcnt nx pdpe1gb rdtscp clflushopt xsaveopt xsavec ' +
  'xgetbv1 clwb pcommit tsc_adjust 3dnowprefetch wbnoinvd'
).split(' ');

const CLASSIC = ['mmx', 'sse', 'sse2', 'nx'];
const KVM64 = [...CLASSIC, 'sse3', 'cx16'];
const QEMU64 = [...KVM64, 'lahf_lm'];
const NEHALEM = [...QEMU64, 'ssse3', 'sse4.1', 'sse4.2', 'popcnt', 'rdtscp'];
const WESTMERE = [...NEHALEM, 'aes', 'pclmulqdq', 'pcid', 'pdpe1gb'];
const SANDY_BRIDGE = [...WESTMERE, 'xsave', 'xsaveopt', 'avx'];
const IVY_BRIDGE = [...SANDY_BRIDGE, 'f16c', 'rdrand', 'fsgsbase', 'smep', 'erms'];
const HASWELL = [...IVY_BRIDGE, 'fma', 'avx2', 'movbe', 'bmi1', 'bmi2', 'invpcid', 'lzcnt'];
const BROADWELL = [...HASWELL, 'rdseed', 'adx', 'smap', '3dnowprefetch'];
const SKYLAKE = [...BROADWELL, 'clflushopt', 'xsavec', 'xgetbv1', 'umip'];

/** Processors by the names that QEMU and libvirt give them: exactly the features that they have among ours. */
const MODELS = new Map<string, readonly string[]>([
  ['kvm64', KVM64],
  ['qemu64', QEMU64],
  ['nehalem', NEHALEM],
  ['westmere', WESTMERE],
  ['sandybridge', SANDY_BRIDGE],
  ['ivybridge', IVY_BRIDGE],
  ['haswell', HASWELL],
  ['broadwell', BROADWELL],
  ['skylake-client', SKYLAKE],
  ['max', CPU_FEATURES],
]);
/** The level whose tables a named model starts from; its list of features decides the rest. */
const MODEL_LEVEL = 3;

export function cpuLevelOf(tree: ConfigTree, model: string | undefined): number {
  if (model === undefined) return DEFAULT_LEVEL;
  const name = model.toLowerCase();
  if (MODELS.has(name)) return MODEL_LEVEL;
  const level = LEVELS.get(name);
  if (level === undefined) {
    throw new BhyveExit(
      EXIT_ERROR,
      `${tree.programName}: unknown cpu.model "${model}"; known are ${[...LEVELS.keys(), ...MODELS.keys()].join(', ')}\n`,
    );
  }
  return level;
}

/** Bits of CFG_FLAGS for the vendor. */
export function vendorFlags(vendor: string | undefined): number {
  return vendor === 'amd' ? CFGF_AMD : 0;
}

/** Bits of CFG_FEATURES_ON and CFG_FEATURES_OFF. */
export interface FeatureChanges {
  readonly on: bigint;
  readonly off: bigint;
}

/** What a named model and `+name,-name` after it change; of several words about one feature the last counts. */
export function featureChanges(
  tree: ConfigTree,
  features: string | undefined,
  model: string | undefined = undefined,
): FeatureChanges {
  let on = 0n;
  let off = 0n;
  const members = model === undefined ? undefined : MODELS.get(model.toLowerCase());
  if (members) {
    for (const [index, name] of CPU_FEATURES.entries()) {
      if (members.includes(name)) on |= 1n << BigInt(index);
      else off |= 1n << BigInt(index);
    }
  }
  for (const word of (features ?? '').split(',')) {
    if (word === '') continue;
    const bit = CPU_FEATURES.indexOf(word.slice(1).toLowerCase());
    if (bit === -1 || !/^[+-]/.test(word)) {
      throw new BhyveExit(EXIT_ERROR, `${tree.programName}: unknown cpu.features word "${word}"\n`);
    }
    const mask = 1n << BigInt(bit);
    on &= ~mask;
    off &= ~mask;
    if (word.startsWith('-')) off |= mask;
    else on |= mask;
  }
  return { on, off };
}
