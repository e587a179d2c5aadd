/** The leaves of CPUID, as a processor of Intel's or of AMD's has them (SDM vol. 2, CPUID; APM vol. 3, appendix E). */
import {
  CFG_CORES,
  CFG_FLAGS,
  CFG_THREADS,
  CFGF_X2APIC,
  CPUID_ANY_SUBLEAF,
  CPUID_ENTRIES,
  CPUID_ENTRY_SIZE,
  CPUID_LEAF,
  CPUID_MASK,
  CPUID_OVERRIDES,
  CPUID_REGISTER,
  CPUID_SUBLEAF,
  CPUID_VALUE,
  R_CR4,
  R_INDEX,
  R_XCR0,
} from '../layout';
import { lapicGloballyEnabled } from '../intc/lapic';
import { PHYSICAL_ADDRESS_BITS } from '../mmu/walk';
import { CRYSTAL_HZ, TSC_RATIO } from '../time';
import {
  EXT1_ECX,
  EXT1_EDX,
  EXT8_EBX,
  FEATURE_AVX,
  FEATURE_MMX,
  FEATURE_SSE,
  FEATURE_XSAVE,
  LEAF1_ECX,
  LEAF1_EDX,
  LEAF7_EBX,
  LEAF7_ECX,
  LEAFD1_EAX,
  featureBits,
  hasFeature,
  isAmd,
  xcr0Supported,
} from './features';
import { CR4_OSXSAVE, MODE_64, RAX, RBX, RCX, RDX, cpu, gpr, mode, setGpr } from './state';

// Leaf 1 EDX bits that are always there: FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH FXSR.
const LEAF1_EDX_FIXED: u32 = 0x010bfbfd;
const HYPERVISOR: u32 = 1 << 31;
const ECX_X2APIC: u32 = 1 << 21;
const ECX_OSXSAVE: u32 = 1 << 27;
const ECX_TSC_DEADLINE: u32 = 1 << 24;
const EDX_APIC: u32 = 1 << 9;
const EDX_HTT: u32 = 1 << 28;
/**
 * Leaf 7 EDX: IBRS and IBPB, STIBP, and IA32_ARCH_CAPABILITIES, which says that none of the speculation flaws exist here. Without the controls
 * Linux would not believe IBRS_ALL, and would call through retpolines.
 */
const EDX_SPECULATION: u32 = (1 << 26) | (1 << 27) | (1 << 29);
/** Leaf 7, subleaf 2 EDX: BHI_CTRL, without which Linux empties a branch history at every system call, BHI_NO or not; MCDT_NO. */
const EDX2_SPECULATION: u32 = (1 << 4) | (1 << 5);
/** Family 6 model 60 stepping 3: a Haswell, the first x86-64-v3 processor of Intel's. */
const INTEL_SIGNATURE: u32 = 0x000306c3;
/** Family 19h model 1 stepping 1: a Zen 3, AMD's first with PCID and INVPCID. */
const AMD_SIGNATURE: u32 = 0x00a00f11;

const EXT_SYSCALL: u32 = 1 << 11;
const EXT_LONG_MODE: u32 = 1 << 29;
/** AMD repeats these bits of leaf 1 EDX in 0x80000001: 0-9, 12-17, MMX and FXSR. */
const EXT_REPEATED: u32 = 0x0183f3ff;
/** The parts of SSE that work on MMX registers. */
const EXT_MMXEXT: u32 = 1 << 22;
/** 0x80000001 ECX: threads are cores of their own, LOCK MOV CR0 is CR8, 0x8000001D and 0x8000001E exist. */
const EXT_CMP_LEGACY: u32 = 1 << 1;
const EXT_ALT_CR8: u32 = 1 << 4;
const EXT_TOPOLOGY: u32 = 1 << 22;
/** 0x80000008 EBX: x87 pointers are always saved, EFER.LMSLE does not exist, SSB_NO, BTC_NO: an interpreter does not speculate. */
const AMD_EXT8_EBX: u32 = (1 << 2) | (1 << 20) | (1 << 26) | (1 << 29);
/** 0x80000021 EAX: LFENCE serializes, a null selector clears the base, automatic IBRS, SRSO_NO; ECX: TSA_SQ_NO, TSA_L1_NO. */
const AMD_EXT21_EAX: u32 = (1 << 2) | (1 << 6) | (1 << 8) | (1 << 29);
const AMD_EXT21_ECX: u32 = (1 << 1) | (1 << 2);

const INTEL_MAX_BASIC: u32 = 0x16;
const INTEL_MAX_EXTENDED: u32 = 0x80000008;
const AMD_MAX_BASIC: u32 = 0xd;
const AMD_MAX_EXTENDED: u32 = 0x80000021;

function answer(a: u32, b: u32, c: u32, d: u32): void {
  setGpr(RAX, a);
  setGpr(RBX, b);
  setGpr(RCX, c);
  setGpr(RDX, d);
}

/** The vendor's name beside a number. */
function vendor(a: u32): void {
  // AuthenticAMD, GenuineIntel
  if (isAmd()) answer(a, 0x68747541, 0x444d4163, 0x69746e65);
  else answer(a, 0x756e6547, 0x6c65746e, 0x49656e69);
}

function log2Up(n: u32): u32 {
  return n <= 1 ? 0 : 32 - clz<u32>(n - 1);
}

function threadsPerCore(): u32 {
  return max<u32>(load<u32>(CFG_THREADS), 1);
}

function threadsPerPackage(): u32 {
  return threadsPerCore() * max<u32>(load<u32>(CFG_CORES), 1);
}

/** Executes CPUID. Leaves out of range are clamped as bhyve clamps them. */
export function cpuid(): void {
  const leaf = <u32>gpr(RAX);
  const subleaf = <u32>gpr(RCX);
  if (leaf >= 0x80000000) extendedLeaf(min<u32>(leaf, isAmd() ? AMD_MAX_EXTENDED : INTEL_MAX_EXTENDED), subleaf);
  // "bhyve bhyve "
  else if (leaf >= 0x40000000) answer(0x40000000, 0x76796862, 0x68622065, 0x20657679);
  else basicLeaf(min<u32>(leaf, isAmd() ? AMD_MAX_BASIC : INTEL_MAX_BASIC), subleaf);
  replaceAnswer(leaf, subleaf);
}

/** What the configuration says of a leaf, in or out of range, takes the place of what the processor would. */
function replaceAnswer(leaf: u32, subleaf: u32): void {
  const end: usize = CPUID_OVERRIDES + CPUID_ENTRIES + load<u32>(CPUID_OVERRIDES) * CPUID_ENTRY_SIZE;
  for (let entry: usize = CPUID_OVERRIDES + CPUID_ENTRIES; entry < end; entry += CPUID_ENTRY_SIZE) {
    if (load<u32>(entry, CPUID_LEAF) !== leaf) continue;
    if (load<u32>(entry, CPUID_ANY_SUBLEAF) === 0 && load<u32>(entry, CPUID_SUBLEAF) !== subleaf) continue;
    const register = load<u32>(entry, CPUID_REGISTER);
    const mask = load<u32>(entry, CPUID_MASK);
    setGpr(register, ((<u32>gpr(register)) & ~mask) | load<u32>(entry, CPUID_VALUE));
  }
}

/** Leaf 1 EDX. */
function standardFeatures(): u32 {
  let edx = LEAF1_EDX_FIXED | featureBits(LEAF1_EDX) | (threadsPerPackage() > 1 ? EDX_HTT : 0);
  // An APIC that IA32_APIC_BASE disables is shown as absent (SDM vol. 3, 11.4.3).
  if (!lapicGloballyEnabled(cpu)) edx &= ~EDX_APIC;
  return edx;
}

function basicLeaf(leaf: u32, subleaf: u32): void {
  const threads = threadsPerCore();
  const all = threadsPerPackage();
  const index = load<u32>(cpu, R_INDEX);
  const amd = isAmd();
  switch (leaf) {
    case 0:
      vendor(amd ? AMD_MAX_BASIC : INTEL_MAX_BASIC);
      break;
    case 1: {
      let ecx = featureBits(LEAF1_ECX) | HYPERVISOR | ECX_TSC_DEADLINE;
      if (load<u32>(CFG_FLAGS) & CFGF_X2APIC) ecx |= ECX_X2APIC;
      if (load<u64>(cpu, R_CR4) & CR4_OSXSAVE) ecx |= ECX_OSXSAVE;
      const ebx = (index << 24) | (all << 16) | (8 << 8);
      answer(amd ? AMD_SIGNATURE : INTEL_SIGNATURE, ebx, ecx, standardFeatures());
      break;
    }
    case 2:
      answer(amd ? 0 : 0x00feff01, 0, 0, 0);
      break;
    case 4:
      if (amd) answer(0, 0, 0, 0);
      else cacheLeaf(subleaf, (all / threads - 1) << 26);
      break;
    case 6:
      // ARAT: the APIC timer never stops.
      answer(4, 0, 0, 0);
      break;
    case 7:
      if (subleaf === 0) {
        const controls = amd ? 0 : EDX_SPECULATION;
        answer(amd ? 0 : 2, featureBits(LEAF7_EBX), featureBits(LEAF7_ECX), controls);
      } else answer(0, 0, 0, !amd && subleaf === 2 ? EDX2_SPECULATION : 0);
      break;
    case 0xb:
      if (subleaf === 0) answer(log2Up(threads), threads, 0x100, index);
      else if (subleaf === 1) answer(log2Up(all), all, 0x201, index);
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
    default:
      answer(0, 0, 0, 0);
  }
}

/** Leaf 4, and AMD's 0x8000001D, which has no number of cores. */
function cacheLeaf(subleaf: u32, cores: u32): void {
  const own = (threadsPerCore() - 1) << 14;
  // Ways, partitions, line size 64; then sets.
  if (subleaf === 0) answer(0x121 | cores | own, (7 << 22) | 63, 63, 0);
  else if (subleaf === 1) answer(0x122 | cores | own, (7 << 22) | 63, 63, 0);
  else if (subleaf === 2) answer(0x143 | cores | own, (7 << 22) | 63, 511, 0);
  else if (subleaf === 3) answer(0x163 | cores | ((threadsPerPackage() - 1) << 14), (15 << 22) | 63, 8191, 0);
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

/** 0x80000001. */
function extendedFeatures(): void {
  let ecx = featureBits(EXT1_ECX);
  let edx = featureBits(EXT1_EDX) | EXT_LONG_MODE;
  if (isAmd()) {
    ecx |= EXT_ALT_CR8 | EXT_TOPOLOGY | (threadsPerPackage() > 1 ? EXT_CMP_LEGACY : 0);
    edx |= EXT_SYSCALL | (standardFeatures() & EXT_REPEATED);
    if (hasFeature(FEATURE_MMX) && hasFeature(FEATURE_SSE)) edx |= EXT_MMXEXT;
    answer(AMD_SIGNATURE, 0, ecx, edx);
    return;
  }
  // Intel's SYSCALL exists in 64-bit mode alone, and is shown there alone (SDM vol. 2, CPUID).
  if (mode === MODE_64) edx |= EXT_SYSCALL;
  answer(0, 0, ecx, edx);
}

function extendedLeaf(leaf: u32, subleaf: u32): void {
  const amd = isAmd();
  const all = threadsPerPackage();
  switch (leaf) {
    case 0x80000000:
      if (amd) vendor(AMD_MAX_EXTENDED);
      else answer(INTEL_MAX_EXTENDED, 0, 0, 0);
      break;
    case 0x80000001:
      extendedFeatures();
      break;
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
    case 0x80000005:
      // L1: 64 entries of every page size, 32 KiB, 8 ways, 64-byte lines.
      if (amd) answer(0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140);
      else answer(0, 0, 0, 0);
      break;
    case 0x80000006:
      // L2: 256 KiB, 8 ways, 64-byte lines; AMD says here what L3 is as well: 8 MiB, 16 ways.
      if (amd) answer(0, 0, 0x01006140, 0x00408140);
      else answer(0, 0, 0x01006040, 0);
      break;
    case 0x80000007:
      // Invariant TSC.
      answer(0, 0, 0, 1 << 8);
      break;
    case 0x80000008: {
      const sizes = PHYSICAL_ADDRESS_BITS | (48 << 8);
      const ebx = featureBits(EXT8_EBX);
      if (amd) answer(sizes, ebx | AMD_EXT8_EBX, (log2Up(all) << 12) | (all - 1), 0);
      else answer(sizes, ebx, 0, 0);
      break;
    }
    case 0x8000001d:
      cacheLeaf(subleaf, 0);
      break;
    case 0x8000001e: {
      const index = load<u32>(cpu, R_INDEX);
      const threads = threadsPerCore();
      // A core's number and its threads; every package is one node.
      answer(index, (((index % all) / threads) & 0xff) | ((threads - 1) << 8), index / all, 0);
      break;
    }
    case 0x80000021:
      answer(AMD_EXT21_EAX, 0, AMD_EXT21_ECX, 0);
      break;
    default:
      answer(0, 0, 0, 0);
  }
}
