/** CPUID: one table of features decides what is shown, what may be switched off, and what instructions exist. */
import {
  CFG_CORES,
  CFG_CPU_LEVEL,
  CFG_FEATURES_OFF,
  CFG_FLAGS,
  CFG_THREADS,
  CFGF_X2APIC,
  R_CR4,
  R_INDEX,
  R_XCR0,
} from '../layout';
import { lapicGloballyEnabled } from '../intc/lapic';
import { PHYSICAL_ADDRESS_BITS } from '../mmu/walk';
import { CRYSTAL_HZ, TSC_RATIO } from '../time';
import { CR4_OSXSAVE, RAX, RBX, RCX, RDX, cpu, gpr, setGpr } from './state';

/** Registers a feature bit lives in. */
const LEAF1_ECX: u8 = 0;
const LEAF1_EDX: u8 = 1;
const LEAF7_EBX: u8 = 2;
const LEAF7_ECX: u8 = 3;
const LEAF7_EDX: u8 = 4;
const EXT1_ECX: u8 = 5;
const EXT1_EDX: u8 = 6;
const LEAFD1_EAX: u8 = 7;

/**
 * The features that may be switched off (`-o cpu.features=-name`), in the order of devices/config's list of names: register, bit, lowest
 * CPU level (1-3) that has it. The index is the bit in CFG_FEATURES_OFF.
 */
// prettier-ignore
const FEATURES: usize = memory.data<u8>([
  LEAF1_EDX, 23, 1, // 0 mmx
  LEAF1_EDX, 25, 1, // 1 sse
  LEAF1_EDX, 26, 1, // 2 sse2
  LEAF1_ECX, 0, 2, // 3 sse3
  LEAF1_ECX, 9, 2, // 4 ssse3
  LEAF1_ECX, 19, 2, // 5 sse4.1
  LEAF1_ECX, 20, 2, // 6 sse4.2
  LEAF1_ECX, 25, 2, // 7 aes
  LEAF1_ECX, 1, 2, // 8 pclmulqdq
  LEAF7_EBX, 29, 2, // 9 sha
  LEAF1_ECX, 29, 3, // 10 f16c
  LEAF1_ECX, 12, 3, // 11 fma
  LEAF1_ECX, 28, 3, // 12 avx
  LEAF7_EBX, 5, 3, // 13 avx2
  LEAF1_ECX, 13, 2, // 14 cx16
  LEAF1_ECX, 17, 1, // 15 pcid
  LEAF1_ECX, 22, 3, // 16 movbe
  LEAF1_ECX, 23, 2, // 17 popcnt
  LEAF1_ECX, 26, 2, // 18 xsave
  LEAF1_ECX, 30, 2, // 19 rdrand
  LEAF7_EBX, 0, 2, // 20 fsgsbase
  LEAF7_EBX, 3, 3, // 21 bmi1
  LEAF7_EBX, 7, 1, // 22 smep
  LEAF7_EBX, 8, 3, // 23 bmi2
  LEAF7_EBX, 9, 1, // 24 erms
  LEAF7_EBX, 10, 1, // 25 invpcid
  LEAF7_EBX, 18, 2, // 26 rdseed
  LEAF7_EBX, 19, 2, // 27 adx
  LEAF7_EBX, 20, 1, // 28 smap
  LEAF7_ECX, 2, 1, // 29 umip
  LEAF7_ECX, 22, 1, // 30 rdpid
  EXT1_ECX, 0, 2, // 31 lahf_lm
  EXT1_ECX, 5, 3, // 32 lzcnt
  EXT1_EDX, 20, 1, // 33 nx
  EXT1_EDX, 26, 1, // 34 pdpe1gb
  EXT1_EDX, 27, 1, // 35 rdtscp
  LEAF7_EBX, 23, 2, // 36 clflushopt
  LEAFD1_EAX, 0, 2, // 37 xsaveopt
  LEAFD1_EAX, 1, 2, // 38 xsavec
]);
const FEATURE_COUNT: u32 = 39;

export const FEATURE_SSE42: u32 = 6;

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
export const FEATURE_LZCNT: u32 = 32;
export const FEATURE_NX: u32 = 33;
export const FEATURE_PDPE1GB: u32 = 34;
export const FEATURE_RDTSCP: u32 = 35;
export const FEATURE_XSAVEOPT: u32 = 37;
export const FEATURE_XSAVEC: u32 = 38;
export const FEATURE_LAHF64: u32 = 31;
export const FEATURE_AVX: u32 = 12;

/** Features this machine has, by index; worked out once an instance. */
let enabled: u64 = 0;
let known: bool = false;

/** Forgets the cached set (the configuration changed). */
export function refreshFeatures(): void {
  known = false;
}

function features(): u64 {
  if (known) return enabled;
  const level = load<u32>(CFG_CPU_LEVEL) ? load<u32>(CFG_CPU_LEVEL) : 3;
  enabled = 0;
  for (let i: u32 = 0; i < FEATURE_COUNT; i++) {
    if (<u32>load<u8>(<u32>FEATURES + i * 3 + 2) <= level) enabled |= (<u64>1) << i;
  }
  enabled &= ~load<u64>(CFG_FEATURES_OFF);
  known = true;
  return enabled;
}

/** True when the machine has the feature. */
export function hasFeature(index: u32): bool {
  return ((features() >> index) & 1) !== 0;
}

/** SIMD feature numbers (core-as/simd/row.ts) are the first indices of the table. */
// @ts-ignore: decorator
@inline
export function simdFeatureOff(simdFeature: u32): bool {
  return ((features() >> simdFeature) & 1) === 0;
}

/** MMX instructions need the x87 state in place of SSE's. */
// @ts-ignore: decorator
@inline
export function simdFeatureUsesMmx(simdFeature: u32): bool {
  return simdFeature === 0;
}

/** The feature bits of one register. */
function featureBits(register: u8): u32 {
  const set = features();
  let bits: u32 = 0;
  for (let i: u32 = 0; i < FEATURE_COUNT; i++) {
    const entry = <u32>FEATURES + i * 3;
    if (load<u8>(entry) === register && (set >> i) & 1) bits |= 1 << load<u8>(entry + 1);
  }
  return bits;
}

/** XCR0 bits that may be set. */
export function xcr0Supported(): u64 {
  return hasFeature(FEATURE_AVX) ? 7 : 3;
}

// Leaf 1 EDX bits that are always there: FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH FXSR.
const LEAF1_EDX_FIXED: u32 = 0x010bfbfd;
const HYPERVISOR: u32 = 1 << 31;
const ECX_X2APIC: u32 = 1 << 21;
const ECX_OSXSAVE: u32 = 1 << 27;
const ECX_TSC_DEADLINE: u32 = 1 << 24;
const EDX_APIC: u32 = 1 << 9;
const EDX_HTT: u32 = 1 << 28;
/** Family 6 model 60 stepping 3: a Haswell, the first x86-64-v3 processor. */
const SIGNATURE: u32 = 0x000306c3;

function answer(a: u32, b: u32, c: u32, d: u32): void {
  setGpr(RAX, a);
  setGpr(RBX, b);
  setGpr(RCX, c);
  setGpr(RDX, d);
}

function log2Up(n: u32): u32 {
  return n <= 1 ? 0 : 32 - clz<u32>(n - 1);
}

const MAX_BASIC: u32 = 0x16;
const MAX_EXTENDED: u32 = 0x80000008;

/** Executes CPUID. Leaves out of range are clamped as bhyve clamps them. */
export function cpuid(): void {
  let leaf = <u32>gpr(RAX);
  const subleaf = <u32>gpr(RCX);
  if (leaf >= 0x80000000) {
    if (leaf > MAX_EXTENDED) leaf = MAX_EXTENDED;
  } else if (leaf >= 0x40000000) leaf = 0x40000000;
  else if (leaf > MAX_BASIC) leaf = MAX_BASIC;

  const threads = max<u32>(load<u32>(CFG_THREADS), 1);
  const cores = max<u32>(load<u32>(CFG_CORES), 1);
  const index = load<u32>(cpu, R_INDEX);
  if (leaf >= 0x80000000) {
    extendedLeaf(leaf);
    return;
  }
  switch (leaf) {
    case 0:
      // GenuineIntel
      answer(MAX_BASIC, 0x756e6547, 0x6c65746e, 0x49656e69);
      break;
    case 1: {
      let ecx = featureBits(LEAF1_ECX) | HYPERVISOR | ECX_TSC_DEADLINE;
      if (load<u32>(CFG_FLAGS) & CFGF_X2APIC) ecx |= ECX_X2APIC;
      if (load<u64>(cpu, R_CR4) & CR4_OSXSAVE) ecx |= ECX_OSXSAVE;
      let edx = LEAF1_EDX_FIXED | featureBits(LEAF1_EDX) | (threads * cores > 1 ? EDX_HTT : 0);
      // An APIC that IA32_APIC_BASE disables is shown as absent (SDM vol. 3, 11.4.3).
      if (!lapicGloballyEnabled(cpu)) edx &= ~EDX_APIC;
      answer(SIGNATURE, (index << 24) | ((threads * cores) << 16) | (8 << 8), ecx, edx);
      break;
    }
    case 2:
      answer(0x00feff01, 0, 0, 0);
      break;
    case 4:
      cacheLeaf(subleaf, threads, cores);
      break;
    case 6:
      // ARAT: the APIC timer never stops.
      answer(4, 0, 0, 0);
      break;
    case 7:
      if (subleaf) answer(0, 0, 0, 0);
      else {
        // EDX bit 29: IA32_ARCH_CAPABILITIES, which says that none of the speculation flaws exist here.
        answer(0, featureBits(LEAF7_EBX), featureBits(LEAF7_ECX), featureBits(LEAF7_EDX) | (1 << 29));
      }
      break;
    case 0xb:
      if (subleaf === 0) answer(log2Up(threads), threads, 0x100, index);
      else if (subleaf === 1) answer(log2Up(threads * cores), threads * cores, 0x201, index);
      else answer(0, 0, subleaf & 0xff, index);
      break;
    case 0xd:
      xsaveLeaf(subleaf);
      break;
    case 0x15:
      answer(1, TSC_RATIO, <u32>CRYSTAL_HZ, 0);
      break;
    case 0x16:
      // Base, maximum and bus frequency in MHz.
      answer(2013, 2013, 134, 0);
      break;
    case 0x40000000:
      // "bhyve bhyve "
      answer(0x40000000, 0x76796862, 0x68622065, 0x20657679);
      break;
    default:
      answer(0, 0, 0, 0);
  }
}

function cacheLeaf(subleaf: u32, threads: u32, cores: u32): void {
  const packages = (cores - 1) << 26;
  const privateSharing = (threads - 1) << 14;
  // Ways, partitions, line size 64; then sets.
  if (subleaf === 0) answer(0x121 | packages | privateSharing, (7 << 22) | 63, 63, 0);
  else if (subleaf === 1) answer(0x122 | packages | privateSharing, (7 << 22) | 63, 63, 0);
  else if (subleaf === 2) answer(0x143 | packages | privateSharing, (7 << 22) | 63, 511, 0);
  else if (subleaf === 3) answer(0x163 | packages | ((threads * cores - 1) << 14), (15 << 22) | 63, 8191, 0);
  else answer(0, 0, 0, 0);
}

function xsaveLeaf(subleaf: u32): void {
  if (!hasFeature(FEATURE_XSAVE)) {
    answer(0, 0, 0, 0);
    return;
  }
  const avx = hasFeature(FEATURE_AVX);
  const current: u32 = load<u64>(cpu, R_XCR0) & 4 ? 832 : 576;
  if (subleaf === 0) answer(<u32>xcr0Supported(), current, avx ? 832 : 576, 0);
  else if (subleaf === 1) answer(featureBits(LEAFD1_EAX), current, 0, 0);
  else if (subleaf === 2 && avx) answer(256, 576, 0, 0);
  else answer(0, 0, 0, 0);
}

function extendedLeaf(leaf: u32): void {
  switch (leaf) {
    case 0x80000000:
      answer(MAX_EXTENDED, 0, 0, 0);
      break;
    case 0x80000001: {
      // SYSCALL and long mode are always there.
      const edx = featureBits(EXT1_EDX) | (1 << 11) | (1 << 29);
      answer(0, 0, featureBits(EXT1_ECX), edx);
      break;
    }
    case 0x80000002:
      // "webhyve x86-64 processor @ 2.00GHz"
      answer(0x68626577, 0x20657679, 0x2d363878, 0x70203436);
      break;
    case 0x80000003:
      answer(0x65636f72, 0x726f7373, 0x32204020, 0x4730302e);
      break;
    case 0x80000004:
      answer(0x00007a48, 0x00000000, 0x00000000, 0x00000000);
      break;
    case 0x80000006:
      // L2: 256 KiB, 8 ways, 64-byte lines.
      answer(0, 0, (256 << 16) | (6 << 12) | 64, 0);
      break;
    case 0x80000007:
      // Invariant TSC.
      answer(0, 0, 0, 1 << 8);
      break;
    case 0x80000008:
      answer(PHYSICAL_ADDRESS_BITS | (48 << 8), 0, 0, 0);
      break;
    default:
      answer(0, 0, 0, 0);
  }
}
