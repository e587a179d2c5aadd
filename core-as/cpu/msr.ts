/** Model-specific registers: bhyve's policy for what exists (reads of anything else are #GP, or ignored with -w). */
import { NOTE_RDMSR, NOTE_WRMSR, hostNote } from '../host';
import { lapicMsrExists, lapicMsrRead, lapicMsrWrite } from '../intc/lapic-registers';
import {
  CFGF_IGNORE_MSRS,
  CFG_FLAGS,
  R_CR0,
  R_EFER,
  R_MSR_CSTAR,
  R_MSR_DEBUGCTL,
  R_MSR_KERNEL_GS_BASE,
  R_MSR_LSTAR,
  R_MSR_MISC_ENABLE,
  R_MSR_MTRR_DEF_TYPE,
  R_MSR_MTRR_FIXED,
  R_MSR_MTRR_VAR,
  R_MSR_PAT,
  R_MSR_SFMASK,
  R_MSR_SPEC_CTRL,
  R_MSR_STAR,
  R_MSR_SYSENTER_CS,
  R_MSR_SYSENTER_EIP,
  R_MSR_SYSENTER_ESP,
  R_MSR_TSC_ADJUST,
  R_MSR_TSC_AUX,
  R_TSC_OFFSET,
  SEG_BASE,
} from '../layout';
import { flushAll } from '../mmu/tlb';
import { PHYSICAL_ADDRESS_BITS } from '../mmu/walk';
import { TSC_HZ, machineNowNs, ticksAt } from '../time';
import { FEATURE_NX, FEATURE_RDPID, FEATURE_RDTSCP, FEATURE_TSC_ADJUST, hasFeature, isAmd } from './features';
import {
  CR0_PG,
  EFER_AIBRSE,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  FS,
  GS,
  RAX,
  RCX,
  RDX,
  cpu,
  cpuIndex,
  gpr,
  isCanonical,
  raiseGp,
  segment,
  setGpr,
  updateMode,
} from './state';

/** Reset value of IA32_PAT. */
export const PAT_RESET: u64 = 0x0007040600070406;
/** Bits 11 and 12: no branch trace, no precise sampling; bit 0: fast strings. */
export const MISC_ENABLE_RESET: u64 = 0x1801;
/**
 * What a guest may change in IA32_MISC_ENABLE: fast strings, thermal control, SpeedStep, MONITOR, CPUID limit, xTPR messages, XD disable.
 * They are only kept: none has anything to act upon but the last, and a guest writes that one to clear it.
 */
const MISC_ENABLE_WRITABLE: u64 = 0x400c50009;
/** WC, fixed ranges, 10 variable ranges. */
const MTRR_CAP: u64 = 0x50a;
/**
 * IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO,
 * PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: an interpreter does not speculate. IBRS_ALL lets guests call through pointers as usual instead of by
 * retpolines, which no translator can predict.
 */
const ARCH_CAPABILITIES: u64 = 0x400000000d10e17b;
const MSR_SPEC_CTRL: u32 = 0x48;
const MSR_PRED_CMD: u32 = 0x49;
/** IBRS, STIBP and BHI_DIS_S, which have nothing to act upon. */
const SPEC_CTRL_WRITABLE: u64 = 0x403;
/** IBPB */
const PRED_CMD_WRITABLE: u64 = 1;

// Of AMD's (PPR for family 19h, 2.1.15).
const MSR_HWCR: u32 = 0xc0010015;
const MSR_VM_CR: u32 = 0xc0010114;
const MSR_DE_CFG2: u32 = 0xc0011029;

/** The time-stamp counter. */
export function readTsc(): u64 {
  return ticksAt(machineNowNs(), TSC_HZ) + load<u64>(cpu, R_TSC_OFFSET);
}

let found: bool = false;

/** Address of the block word that simply holds an MSR, 0 when the MSR is not such a one. */
function plainRegister(msr: u32): u32 {
  switch (msr) {
    case 0x174:
      return cpu + R_MSR_SYSENTER_CS;
    case 0x175:
      return cpu + R_MSR_SYSENTER_ESP;
    case 0x176:
      return cpu + R_MSR_SYSENTER_EIP;
    case 0xc0000081:
      return cpu + R_MSR_STAR;
    case 0xc0000082:
      return cpu + R_MSR_LSTAR;
    case 0xc0000083:
      return cpu + R_MSR_CSTAR;
    case 0xc0000084:
      return cpu + R_MSR_SFMASK;
    case 0xc0000100:
      return segment(FS) + SEG_BASE;
    case 0xc0000101:
      return segment(GS) + SEG_BASE;
    case 0xc0000102:
      return cpu + R_MSR_KERNEL_GS_BASE;
    case 0xc0000103:
      return hasFeature(FEATURE_RDTSCP) || hasFeature(FEATURE_RDPID) ? cpu + R_MSR_TSC_AUX : 0;
    case 0x277:
      return cpu + R_MSR_PAT;
    case 0x1d9:
      return cpu + R_MSR_DEBUGCTL;
    case 0x1a0:
      return isAmd() ? 0 : cpu + R_MSR_MISC_ENABLE;
    case MSR_SPEC_CTRL:
      return isAmd() ? 0 : cpu + R_MSR_SPEC_CTRL;
    case 0x2ff:
      return cpu + R_MSR_MTRR_DEF_TYPE;
    case 0x250:
      return cpu + R_MSR_MTRR_FIXED;
    case 0x258:
    case 0x259:
      return cpu + R_MSR_MTRR_FIXED + (msr - 0x257) * 8;
  }
  if (msr >= 0x268 && msr <= 0x26f) return cpu + R_MSR_MTRR_FIXED + (msr - 0x268 + 3) * 8;
  if (msr >= 0x200 && msr < 0x214) return cpu + R_MSR_MTRR_VAR + (msr - 0x200) * 8;
  return 0;
}

function isLapicMsr(msr: u32): bool {
  return msr === 0x1b || msr === 0x6e0 || (msr >= 0x800 && msr <= 0x8ff);
}

function read(msr: u32): u64 {
  found = true;
  if (isLapicMsr(msr)) {
    found = lapicMsrExists(cpuIndex, msr, false);
    return found ? lapicMsrRead(cpuIndex, msr) : 0;
  }
  const plain = plainRegister(msr);
  if (plain) return load<u64>(plain);
  switch (msr) {
    case 0xc0000080:
      return load<u64>(cpu, R_EFER);
    case 0x10:
      return readTsc();
    case 0xfe:
      return MTRR_CAP;
    case 0x8b:
    case 0x179:
    case 0x17a:
      // Microcode revision, MCG_CAP, MCG_STATUS.
      return 0;
  }
  if (msr === 0x3b && hasFeature(FEATURE_TSC_ADJUST)) return load<u64>(cpu, R_MSR_TSC_ADJUST);
  return isAmd() ? readAmd(msr) : readIntel(msr);
}

function readIntel(msr: u32): u64 {
  switch (msr) {
    case 0x10a:
      return ARCH_CAPABILITIES;
    case 0x3a:
      // IA32_FEATURE_CONTROL: locked.
      return 1;
    case 0x606:
      return 0x000a1003;
    case 0xce:
      // PLATFORM_INFO: maximum non-turbo ratio 20.
      return 20 << 8;
    case 0x1ad:
      return 20;
    case 0x17:
    case 0x79:
    case 0x140:
    case 0x611:
    case 0x619:
    case 0x639:
    case 0x641:
      // Platform id, MISC_FEATURE_ENABLES, energy counters.
      return 0;
  }
  found = false;
  return 0;
}

/** What bhyve answers on AMD's processors. */
function readAmd(msr: u32): u64 {
  switch (msr) {
    case MSR_HWCR:
      // TscFreqSel, and bits that processors have set.
      return 0x01000210;
    case MSR_DE_CFG2:
      return 1;
    case MSR_VM_CR:
      // SVMDIS
      return 0x10;
  }
  found = isIgnoredAmd(msr);
  return 0;
}

/** MSRs of AMD's that read 0 and forget what is written. */
function isIgnoredAmd(msr: u32): bool {
  // Performance counters: four selectors and four counts.
  if (msr >= 0xc0010000 && msr <= 0xc0010007) return true;
  // P-state limit, control and status, and the eight P-states.
  if (msr >= 0xc0010061 && msr <= 0xc001006b) return true;
  switch (msr) {
    case 0xc0010010: // SYSCFG
    case 0xc001001f: // NB_CFG
    case 0xc0010055: // interrupt pending message
    case 0xc0010112: // SMM_ADDR
    case 0xc0010113: // SMM_MASK
    case 0xc0011005: // CPUID extended features
    case 0xc0011020: // LS_CFG
    case 0xc0011021: // IC_CFG
      return true;
  }
  return false;
}

/** PAT and MTRR memory types: 0, 1, 4, 5, 6, and 7 for PAT. */
function typesValid(value: u64, pat: bool): bool {
  for (let i = 0; i < 8; i++) {
    const type = (<u32>value) & 0xff;
    if (type > 7 || type === 2 || type === 3 || (type === 7 && !pat)) return false;
    value >>= 8;
  }
  return true;
}

/** A variable-range MTRR: the base's type, the mask's valid bit, and an address of as many bits as there are (SDM vol. 3, 12.11.2.3). */
function rangeValid(msr: u32, value: u64): bool {
  if (value >> PHYSICAL_ADDRESS_BITS) return false;
  return msr & 1 ? !(value & 0x7ff) : !(value & 0xf00) && typesValid(value & 0xff, false);
}

function writeEfer(value: u64): bool {
  let allowed: u64 = EFER_SCE | EFER_LME | EFER_LMA;
  if (hasFeature(FEATURE_NX)) allowed |= EFER_NXE;
  if (isAmd()) allowed |= EFER_AIBRSE;
  if (value & ~allowed) return false;
  const old = load<u64>(cpu, R_EFER);
  if ((value ^ old) & EFER_LME && load<u64>(cpu, R_CR0) & CR0_PG) return false;
  // LMA is read-only.
  store<u64>(cpu, (value & ~EFER_LMA) | (old & EFER_LMA), R_EFER);
  flushAll();
  updateMode();
  return true;
}

/** MSRs of Intel's that forget what is written. */
function isWrittenIntel(msr: u32): bool {
  return msr === 0x79 || msr === 0x8b || msr === 0x140 || msr === 0xc24 || msr === 0xd04;
}

function isWrittenAmd(msr: u32): bool {
  return isIgnoredAmd(msr) || msr === MSR_HWCR || msr === MSR_DE_CFG2 || msr === MSR_VM_CR || msr === 0x8b;
}

/** False: #GP. */
function write(msr: u32, value: u64): bool {
  found = true;
  if (isLapicMsr(msr)) {
    found = lapicMsrExists(cpuIndex, msr, true);
    return found && lapicMsrWrite(cpuIndex, msr, value);
  }
  switch (msr) {
    case 0xc0000080:
      return writeEfer(value);
    case 0x10: {
      const change = value - readTsc();
      store<u64>(cpu, load<u64>(cpu, R_TSC_OFFSET) + change, R_TSC_OFFSET);
      store<u64>(cpu, load<u64>(cpu, R_MSR_TSC_ADJUST) + change, R_MSR_TSC_ADJUST);
      return true;
    }
    case 0x3b:
      if (!hasFeature(FEATURE_TSC_ADJUST)) break;
      store<u64>(cpu, load<u64>(cpu, R_TSC_OFFSET) + value - load<u64>(cpu, R_MSR_TSC_ADJUST), R_TSC_OFFSET);
      store<u64>(cpu, value, R_MSR_TSC_ADJUST);
      return true;
    case 0x277:
      if (!typesValid(value, true)) return false;
      break;
    case 0x2ff:
      if (value & ~0xcff || !typesValid(value & 0xff, false)) return false;
      break;
    case 0x174:
      value &= 0xffffffff;
      break;
    case 0x175:
    case 0x176:
      // AMD's have 32 bits.
      if (isAmd()) value &= 0xffffffff;
      if (!isCanonical(value)) return false;
      break;
    case 0xc0000084:
      value &= 0xffffffff;
      break;
    case 0xc0000082:
    case 0xc0000083:
    case 0xc0000100:
    case 0xc0000101:
    case 0xc0000102:
      if (!isCanonical(value)) return false;
      break;
    case 0xc0000103:
      // AMD's forgets the upper half.
      if (isAmd()) value &= 0xffffffff;
      if (value >> 32) return false;
      break;
    case 0x250:
    case 0x258:
    case 0x259:
      if (!typesValid(value, false)) return false;
      break;
    case 0x1a0:
      value = (load<u64>(cpu, R_MSR_MISC_ENABLE) & ~MISC_ENABLE_WRITABLE) | (value & MISC_ENABLE_WRITABLE);
      break;
    case MSR_SPEC_CTRL:
      if (!isAmd() && value & ~SPEC_CTRL_WRITABLE) return false;
      break;
    case MSR_PRED_CMD:
      if (isAmd()) break;
      return !(value & ~PRED_CMD_WRITABLE);
    case 0x17a:
      return true;
    case 0xfe:
      return false;
    case 0x10a:
    case 0xce:
      if (!isAmd()) return false;
      break;
    default:
      if (isAmd() ? isWrittenAmd(msr) : isWrittenIntel(msr)) return true;
  }
  if (msr >= 0x268 && msr <= 0x26f && !typesValid(value, false)) return false;
  if (msr >= 0x200 && msr < 0x214 && !rangeValid(msr, value)) return false;
  const plain = plainRegister(msr);
  if (plain) {
    store<u64>(plain, value);
    return true;
  }
  found = false;
  return false;
}

/** RDMSR (the privilege was checked). */
export function rdmsr(): void {
  const msr = <u32>gpr(RCX);
  const value = read(msr);
  if (!found) {
    // bhyve reports every access it does not know; x2APIC ones in xAPIC mode are not among them.
    if (!isLapicMsr(msr)) hostNote(NOTE_RDMSR, <f64>msr, 0);
    if (!(load<u32>(CFG_FLAGS) & CFGF_IGNORE_MSRS)) {
      raiseGp();
      return;
    }
  }
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

/** WRMSR (the privilege was checked). */
export function wrmsr(): void {
  const msr = <u32>gpr(RCX);
  const value = (gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32);
  if (write(msr, value)) return;
  if (!found) {
    if (!isLapicMsr(msr)) hostNote(NOTE_WRMSR, <f64>msr, <f64>value);
    if (load<u32>(CFG_FLAGS) & CFGF_IGNORE_MSRS) return;
  }
  raiseGp();
}
