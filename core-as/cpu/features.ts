/** What the processor has: one table decides what CPUID shows, what may be switched off, and what instructions exist. */
import { CFGF_AMD, CFG_CPU_LEVEL, CFG_FEATURES_OFF, CFG_FEATURES_ON, CFG_FLAGS } from '../layout';

/** Registers a feature bit lives in. */
export const LEAF1_ECX: u8 = 0;
export const LEAF1_EDX: u8 = 1;
export const LEAF7_EBX: u8 = 2;
export const LEAF7_ECX: u8 = 3;
export const EXT1_ECX: u8 = 4;
export const EXT1_EDX: u8 = 5;
export const LEAFD1_EAX: u8 = 6;
export const EXT8_EBX: u8 = 7;

/** The feature needs no other one. */
const NONE: u8 = 0xff;

/**
 * The features that may be switched on and off (`-o cpu.features=+name,-name`), in the order of devices/machine's list of names: register,
 * bit, lowest CPU level (1-3) that has it, index of a feature without which its instructions cannot run. The index is the bit in
 * CFG_FEATURES_ON and CFG_FEATURES_OFF; SIMD feature numbers (core-as/simd/row.ts) are the first indices.
 */
// prettier-ignore
const FEATURES: usize = memory.data<u8>([
  LEAF1_EDX, 23, 1, NONE, // 0 mmx
  LEAF1_EDX, 25, 1, NONE, // 1 sse
  LEAF1_EDX, 26, 1, 1, // 2 sse2
  LEAF1_ECX, 0, 2, 2, // 3 sse3
  LEAF1_ECX, 9, 2, 3, // 4 ssse3
  LEAF1_ECX, 19, 2, 4, // 5 sse4.1
  LEAF1_ECX, 20, 2, 5, // 6 sse4.2
  LEAF1_ECX, 25, 2, 2, // 7 aes
  LEAF1_ECX, 1, 2, 2, // 8 pclmulqdq
  LEAF7_EBX, 29, 2, 2, // 9 sha
  LEAF1_ECX, 29, 3, 12, // 10 f16c
  LEAF1_ECX, 12, 3, 12, // 11 fma
  LEAF1_ECX, 28, 3, 18, // 12 avx
  LEAF7_EBX, 5, 3, 12, // 13 avx2
  LEAF1_ECX, 13, 2, NONE, // 14 cx16
  LEAF1_ECX, 17, 1, NONE, // 15 pcid
  LEAF1_ECX, 22, 3, NONE, // 16 movbe
  LEAF1_ECX, 23, 2, NONE, // 17 popcnt
  LEAF1_ECX, 26, 2, NONE, // 18 xsave
  LEAF1_ECX, 30, 2, NONE, // 19 rdrand
  LEAF7_EBX, 0, 2, NONE, // 20 fsgsbase
  LEAF7_EBX, 3, 3, NONE, // 21 bmi1
  LEAF7_EBX, 7, 1, NONE, // 22 smep
  LEAF7_EBX, 8, 3, NONE, // 23 bmi2
  LEAF7_EBX, 9, 1, NONE, // 24 erms
  LEAF7_EBX, 10, 1, NONE, // 25 invpcid
  LEAF7_EBX, 18, 2, NONE, // 26 rdseed
  LEAF7_EBX, 19, 2, NONE, // 27 adx
  LEAF7_EBX, 20, 1, NONE, // 28 smap
  LEAF7_ECX, 2, 1, NONE, // 29 umip
  LEAF7_ECX, 22, 1, NONE, // 30 rdpid
  EXT1_ECX, 0, 2, NONE, // 31 lahf_lm
  EXT1_ECX, 5, 3, NONE, // 32 lzcnt
  EXT1_EDX, 20, 1, NONE, // 33 nx
  EXT1_EDX, 26, 1, NONE, // 34 pdpe1gb
  EXT1_EDX, 27, 1, NONE, // 35 rdtscp
  LEAF7_EBX, 23, 2, NONE, // 36 clflushopt
  LEAFD1_EAX, 0, 2, 18, // 37 xsaveopt
  LEAFD1_EAX, 1, 2, 18, // 38 xsavec
  LEAFD1_EAX, 2, 2, 18, // 39 xgetbv1
  LEAF7_EBX, 24, 2, NONE, // 40 clwb
  LEAF7_EBX, 22, 2, NONE, // 41 pcommit
  LEAF7_EBX, 1, 2, NONE, // 42 tsc_adjust
  EXT1_ECX, 8, 1, NONE, // 43 3dnowprefetch
  EXT8_EBX, 9, 2, NONE, // 44 wbnoinvd
]);
const FEATURE_COUNT: u32 = 45;

export const FEATURE_MMX: u32 = 0;
export const FEATURE_SSE: u32 = 1;
export const FEATURE_SSE42: u32 = 6;
export const FEATURE_AVX: u32 = 12;
export const FEATURE_CX16: u32 = 14;
export const FEATURE_PCID: u32 = 15;
export const FEATURE_MOVBE: u32 = 16;
export const FEATURE_POPCNT: u32 = 17;
export const FEATURE_XSAVE: u32 = 18;
export const FEATURE_RDRAND: u32 = 19;
export const FEATURE_FSGSBASE: u32 = 20;
export const FEATURE_BMI1: u32 = 21;
export const FEATURE_SMEP: u32 = 22;
export const FEATURE_BMI2: u32 = 23;
export const FEATURE_INVPCID: u32 = 25;
export const FEATURE_RDSEED: u32 = 26;
export const FEATURE_ADX: u32 = 27;
export const FEATURE_SMAP: u32 = 28;
export const FEATURE_UMIP: u32 = 29;
export const FEATURE_RDPID: u32 = 30;
export const FEATURE_LAHF64: u32 = 31;
export const FEATURE_LZCNT: u32 = 32;
export const FEATURE_NX: u32 = 33;
export const FEATURE_PDPE1GB: u32 = 34;
export const FEATURE_RDTSCP: u32 = 35;
export const FEATURE_CLFLUSHOPT: u32 = 36;
export const FEATURE_XSAVEOPT: u32 = 37;
export const FEATURE_XSAVEC: u32 = 38;
export const FEATURE_XGETBV1: u32 = 39;
export const FEATURE_CLWB: u32 = 40;
export const FEATURE_PCOMMIT: u32 = 41;
export const FEATURE_TSC_ADJUST: u32 = 42;

/** AMD never had them: PCOMMIT and IA32_TSC_ADJUST. */
const INTEL_ONLY: u64 = ((<u64>1) << FEATURE_PCOMMIT) | ((<u64>1) << FEATURE_TSC_ADJUST);

/** Features this machine has, by index; worked out once an instance. */
let enabled: u64 = 0;
let amd: bool = false;
let known: bool = false;

/** Forgets the cached set (the configuration changed). */
export function refreshFeatures(): void {
  known = false;
}

function needOf(index: u32): u32 {
  return load<u8>(<u32>FEATURES + index * 4 + 3);
}

function workOut(): void {
  const level = load<u32>(CFG_CPU_LEVEL) ? load<u32>(CFG_CPU_LEVEL) : 3;
  const on = load<u64>(CFG_FEATURES_ON);
  enabled = 0;
  for (let i: u32 = 0; i < FEATURE_COUNT; i++) {
    const asked = ((on >> i) & 1) !== 0;
    if (!asked && <u32>load<u8>(<u32>FEATURES + i * 4 + 2) > level) continue;
    // A feature that was asked for brings what it needs.
    for (let need = i; need < FEATURE_COUNT; need = asked ? needOf(need) : NONE) enabled |= (<u64>1) << need;
  }
  enabled &= ~load<u64>(CFG_FEATURES_OFF);
  amd = (load<u32>(CFG_FLAGS) & CFGF_AMD) !== 0;
  if (amd) enabled &= ~INTEL_ONLY;
  // What cannot run without a feature that is off is off as well.
  for (let before: u64 = 0; before !== enabled;) {
    before = enabled;
    for (let i: u32 = 0; i < FEATURE_COUNT; i++) {
      const need = needOf(i);
      if (need < FEATURE_COUNT && !((enabled >> need) & 1)) enabled &= ~((<u64>1) << i);
    }
  }
  known = true;
}

/** True when the machine has the feature. */
export function hasFeature(index: u32): bool {
  if (!known) workOut();
  return ((enabled >> index) & 1) !== 0;
}

/** The processor is one of AMD's (`-o cpu.vendor=amd`); otherwise it is one of Intel's. */
export function isAmd(): bool {
  if (!known) workOut();
  return amd;
}

/** A SIMD feature (core-as/simd/row.ts) is off. */
// @ts-ignore: decorator
@inline
export function simdFeatureOff(simdFeature: u32): bool {
  return !hasFeature(simdFeature);
}

/** The feature bits of one register. */
export function featureBits(register: u8): u32 {
  let bits: u32 = 0;
  for (let i: u32 = 0; i < FEATURE_COUNT; i++) {
    const entry = <u32>FEATURES + i * 4;
    if (load<u8>(entry) === register && hasFeature(i)) bits |= 1 << load<u8>(entry + 1);
  }
  return bits;
}

/** XCR0 bits that may be set. */
export function xcr0Supported(): u64 {
  return hasFeature(FEATURE_AVX) ? 7 : 3;
}
