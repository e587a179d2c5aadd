/** Control and debug registers, descriptor-table registers, and other privileged instructions. */
import { hostRandom } from '../host';
import { lapicSetTpr, lapicTpr } from '../intc/lapic-acknowledge';
import {
  R_CPL,
  R_CR0,
  R_CR2,
  R_CR3,
  R_CR4,
  R_DR,
  R_EFER,
  R_MSR_KERNEL_GS_BASE,
  R_MSR_TSC_AUX,
  R_MXCSR,
  R_RFLAGS,
  R_XCR0,
  SEG_ACCESS,
  SEG_BASE,
} from '../layout';
import { flushAll, flushPage, flushPcid, switchSpace } from '../mmu/tlb';
import { pdptesValid } from '../mmu/walk';
import {
  FEATURE_AVX,
  FEATURE_FSGSBASE,
  FEATURE_PCID,
  FEATURE_SMAP,
  FEATURE_SMEP,
  FEATURE_UMIP,
  FEATURE_XGETBV1,
  FEATURE_XSAVE,
  hasFeature,
  xcr0Supported,
} from './features';
import { reportDebug } from './exception';
import { setArithmeticFlags, setZero } from './flags';
import { readTsc } from './msr';
import {
  effectiveAddress,
  linearAddress,
  readLinear,
  readReg,
  readRm,
  rmIsRegister,
  segmentedOperand,
  writeLinear,
  writeReg,
  writeRegister,
  writeRm,
} from './operand';
import {
  descriptorAccess,
  descriptorBase,
  descriptorHigh,
  descriptorLimit,
  dplOf,
  fetchDescriptor,
  loadNull,
  loadSegment,
  readDescriptor,
  readDescriptorUpper,
  setDescriptorType,
} from './segment';
import {
  ACCESS_L,
  ACCESS_P,
  ACCESS_S,
  CR0_EM,
  CR0_ET,
  CR0_NE,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_MCE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_UMIP,
  CS,
  EFER_LMA,
  EFER_LME,
  FAULTED,
  FLAG_AC,
  FLAG_CF,
  FS,
  GS,
  LDTR,
  MODE_64,
  RAX,
  RCX,
  RDX,
  TR,
  VECTOR_DB,
  VECTOR_GP,
  VECTOR_NM,
  VECTOR_NP,
  VECTOR_UD,
  cpl,
  cpu,
  cpuIndex,
  faulted,
  gpr,
  isCanonical,
  longMode,
  mode,
  protectedMode,
  raise,
  raiseCode,
  raiseGp,
  segment,
  segmentBase,
  setGpr,
  setSegment,
  updateMode,
  v8086,
} from './state';
import { U_D, U_IMM, U_S, U_SEG } from './uops';
import { xsaveInUse } from './xsave';

/** #GP(0) unless CPL is 0. */
export function privileged(): bool {
  if (cpl() === 0 && !v8086) return true;
  raiseGp();
  return false;
}

// ---------------------------------------------------------------------------------------------------------------------
// Control registers

export function moveFromControl(p: u32): void {
  if (!privileged()) return;
  const size: u32 = mode === MODE_64 ? 8 : 4;
  let value: u64;
  switch (load<u8>(p, U_D)) {
    case 0:
      value = load<u64>(cpu, R_CR0);
      break;
    case 2:
      value = load<u64>(cpu, R_CR2);
      break;
    case 3:
      value = load<u64>(cpu, R_CR3);
      break;
    case 4:
      value = load<u64>(cpu, R_CR4);
      break;
    default:
      value = lapicTpr(cpuIndex);
  }
  writeRegister(load<u8>(p, U_S), size, value);
}

export function moveToControl(p: u32): void {
  if (!privileged()) return;
  let value = load<u64>(cpu + load<u8>(p, U_S));
  if (mode !== MODE_64) value &= 0xffffffff;
  switch (load<u8>(p, U_D)) {
    case 0:
      writeCr0(value);
      break;
    case 2:
      store<u64>(cpu, value, R_CR2);
      break;
    case 3:
      writeCr3(value);
      break;
    case 4:
      writeCr4(value);
      break;
    default:
      if (value & ~15) raiseGp();
      else lapicSetTpr(cpuIndex, <u32>value);
  }
}

const CR0_NW: u64 = 1 << 29;
const CR0_CD: u64 = 1 << 30;
const CR0_KNOWN: u64 = 0xe005003f;

export function writeCr0(value: u64): void {
  const old = load<u64>(cpu, R_CR0);
  const efer = load<u64>(cpu, R_EFER);
  if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD))) {
    raiseGp();
    return;
  }
  value = (value & CR0_KNOWN) | CR0_ET;
  const cr4 = load<u64>(cpu, R_CR4);
  if (value & CR0_PG && !(old & CR0_PG)) {
    if (efer & EFER_LME) {
      // Long mode needs PAE and a CS that is not already 64-bit.
      if (!(cr4 & CR4_PAE) || load<u32>(segment(CS), SEG_ACCESS) & ACCESS_L) {
        raiseGp();
        return;
      }
      store<u64>(cpu, efer | EFER_LMA, R_EFER);
    } else if (cr4 & CR4_PAE && !pdptesValid(load<u64>(cpu, R_CR3))) {
      raiseGp();
      return;
    }
  } else if (!(value & CR0_PG) && old & CR0_PG) {
    if (mode === MODE_64 || cr4 & CR4_PCIDE) {
      raiseGp();
      return;
    }
    store<u64>(cpu, efer & ~EFER_LMA, R_EFER);
  }
  store<u64>(cpu, value, R_CR0);
  if ((value ^ old) & (CR0_PG | CR0_WP | CR0_PE)) flushAll();
  if ((value ^ old) & CR0_PE && !(value & CR0_PE)) store<u32>(cpu, 0, R_CPL);
  updateMode();
}

export function writeCr3(value: u64): void {
  let keeps = false;
  const cr4 = load<u64>(cpu, R_CR4);
  if (longMode) {
    // With PCIDs bit 63 is not kept: it asks for the address space's translations to stay.
    if (cr4 & CR4_PCIDE) {
      keeps = value >> 63 !== 0;
      value &= ~((<u64>1) << 63);
    }
    if (value & 0xffffff0000000000) {
      raiseGp();
      return;
    }
  } else if (cr4 & CR4_PAE && load<u64>(cpu, R_CR0) & CR0_PG && !pdptesValid(value)) {
    raiseGp();
    return;
  }
  store<u64>(cpu, value, R_CR3);
  switchSpace(longMode && cr4 & CR4_PCIDE ? (<u32>value) & 0xfff : 0, !keeps);
}

function cr4Allowed(): u64 {
  let bits = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
  if (hasFeature(FEATURE_UMIP)) bits |= CR4_UMIP;
  if (hasFeature(FEATURE_FSGSBASE)) bits |= CR4_FSGSBASE;
  if (hasFeature(FEATURE_PCID)) bits |= CR4_PCIDE;
  if (hasFeature(FEATURE_XSAVE)) bits |= CR4_OSXSAVE;
  if (hasFeature(FEATURE_SMEP)) bits |= CR4_SMEP;
  if (hasFeature(FEATURE_SMAP)) bits |= CR4_SMAP;
  return bits;
}

export function writeCr4(value: u64): void {
  const old = load<u64>(cpu, R_CR4);
  if (value & ~cr4Allowed()) {
    raiseGp();
    return;
  }
  if (longMode && !(value & CR4_PAE)) {
    raiseGp();
    return;
  }
  if (value & CR4_PCIDE && !(old & CR4_PCIDE) && (!longMode || load<u64>(cpu, R_CR3) & 0xfff)) {
    raiseGp();
    return;
  }
  if (!longMode && value & CR4_PAE && load<u64>(cpu, R_CR0) & CR0_PG && !pdptesValid(load<u64>(cpu, R_CR3))) {
    raiseGp();
    return;
  }
  store<u64>(cpu, value, R_CR4);
  if ((value ^ old) & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) flushAll();
  updateMode();
}

export function lmsw(p: u32): void {
  if (!privileged()) return;
  const value = readRm(p, 2);
  if (faulted & FAULTED) return;
  const old = load<u64>(cpu, R_CR0);
  // PE can be set but not cleared.
  writeCr0((old & ~0xe) | (value & 0xf) | (old & CR0_PE));
}

/** SMSW, SLDT, STR, SGDT, SIDT at CPL > 0 with CR4.UMIP: #GP(0). */
export function umipAllows(): bool {
  if (load<u64>(cpu, R_CR4) & CR4_UMIP && cpl() !== 0) {
    raiseGp();
    return false;
  }
  return true;
}

/** Writes a system value: a register takes the operand size, memory always 16 bits. */
export function storeSystemWord(p: u32, size: u32, value: u64): void {
  if (!umipAllows()) return;
  writeRm(p, rmIsRegister(p) ? size : 2, value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Debug registers

const DR7_FIXED: u64 = 0x400;
const DR6_FIXED: u64 = 0xffff0ff0;
const DR7_GD: u64 = 1 << 13;
/** DR6.BD: a debug register was accessed while DR7.GD was set. */
const DR6_BD: u64 = 1 << 13;

function debugRegister(number: u32): i32 {
  if (number === 4 || number === 5) {
    if (load<u64>(cpu, R_CR4) & CR4_DE) {
      raise(VECTOR_UD);
      return -1;
    }
    return <i32>number + 2;
  }
  return <i32>number;
}

function generalDetect(): bool {
  const dr7 = load<u64>(cpu, R_DR + 7 * 8);
  if (!(dr7 & DR7_GD)) return false;
  store<u64>(cpu, dr7 & ~DR7_GD, R_DR + 7 * 8);
  reportDebug(DR6_BD);
  raise(VECTOR_DB);
  return true;
}

export function moveFromDebug(p: u32): void {
  if (!privileged()) return;
  const n = debugRegister(load<u8>(p, U_D));
  if (n < 0 || generalDetect()) return;
  writeRegister(load<u8>(p, U_S), mode === MODE_64 ? 8 : 4, load<u64>(cpu + ((<u32>n) << 3), R_DR));
}

export function moveToDebug(p: u32): void {
  if (!privileged()) return;
  const n = debugRegister(load<u8>(p, U_D));
  if (n < 0 || generalDetect()) return;
  let value = load<u64>(cpu + load<u8>(p, U_S));
  if (mode !== MODE_64) value &= 0xffffffff;
  if (n >= 6) {
    if (value >> 32) {
      raiseGp();
      return;
    }
    if (n === 6) value = (value & 0xe00f) | DR6_FIXED;
    else value = (value & 0xffff23ff) | DR7_FIXED;
  }
  store<u64>(cpu + ((<u32>n) << 3), value, R_DR);
  // Armed breakpoints decide how memory is accessed and whether instructions run one at a time.
  updateMode();
}

// ---------------------------------------------------------------------------------------------------------------------
// Descriptor-table registers and segment queries

/** SGDT, SIDT. */
export function storeTable(p: u32, base: u32, limit: u32): void {
  if (!umipAllows()) return;
  const bytes: u32 = mode === MODE_64 ? 10 : 6;
  const address = segmentedOperand(p, bytes, true);
  if (faulted & FAULTED) return;
  writeLinear(address, 2, load<u32>(cpu + limit));
  if (faulted & FAULTED) return;
  writeLinear(address + 2, bytes - 2, load<u64>(cpu + base));
}

/** LGDT, LIDT. A 16-bit operand size takes 24 bits of base. */
export function loadTable(p: u32, base: u32, limit: u32, size: u32): void {
  if (!privileged()) return;
  const bytes: u32 = mode === MODE_64 ? 10 : 6;
  const address = segmentedOperand(p, bytes, false);
  if (faulted & FAULTED) return;
  const newLimit = <u32>readLinear(address, 2);
  if (faulted & FAULTED) return;
  let newBase = readLinear(address + 2, bytes - 2);
  if (faulted & FAULTED) return;
  if (mode === MODE_64) {
    if (!isCanonical(newBase)) {
      raiseGp();
      return;
    }
  } else if (size === 2) newBase &= 0xffffff;
  store<u64>(cpu + base, newBase);
  store<u32>(cpu + limit, newLimit);
}

export function lldt(p: u32): void {
  if (!privileged()) return;
  const sel = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  if (!(sel & 0xfffc)) {
    loadNull(LDTR, sel);
    return;
  }
  loadSystemSegment(sel, LDTR);
}

export function ltr(p: u32): void {
  if (!privileged()) return;
  const sel = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  if (!(sel & 0xfffc)) {
    raiseGp();
    return;
  }
  loadSystemSegment(sel, TR);
}

function loadSystemSegment(sel: u32, seg: u32): void {
  const code = sel & 0xfffc;
  if (sel & 4) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  if (!fetchDescriptor(sel, VECTOR_GP, 0)) return;
  const access = descriptorAccess();
  const type = access & 0x1f;
  const ok = seg === LDTR ? type === 2 : type === 9 || (type === 1 && !longMode);
  if (!ok) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return;
  }
  let base = descriptorBase();
  if (longMode) {
    const upper = readDescriptorUpper();
    if (faulted & FAULTED) return;
    base |= upper << 32;
    if (!isCanonical(base) || (upper >> 40) & 31) {
      raiseCode(VECTOR_GP, code);
      return;
    }
  }
  const limit = descriptorLimit();
  if (seg === TR) {
    setDescriptorType(1 << 9);
    if (faulted & FAULTED) return;
  }
  setSegment(seg, sel, base, limit, seg === TR ? access | 2 : access);
}

/** True when a descriptor may be looked at by LAR, LSL, VERR, VERW; it is then in descriptorLow/High. */
function visible(sel: u32): bool {
  if (!(sel & 0xfffc) || !readDescriptor(sel)) return false;
  const access = descriptorAccess();
  // Conforming code is visible from everywhere.
  if ((access & (ACCESS_S | 0xc)) === (ACCESS_S | 0xc)) return true;
  const dpl = dplOf(access);
  return dpl >= cpl() && dpl >= (sel & 3);
}

export function lar(p: u32, size: u32): void {
  const sel = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  let ok = visible(sel);
  if (faulted & FAULTED) return;
  if (ok) {
    const access = descriptorAccess();
    if (!(access & ACCESS_S)) {
      const type = access & 15;
      ok = longMode
        ? type === 2 || type === 9 || type === 11 || type === 12
        : type === 1 ||
          type === 2 ||
          type === 3 ||
          type === 4 ||
          type === 5 ||
          type === 9 ||
          type === 11 ||
          type === 12;
    }
  }
  setZero(cpu, ok ? 1 : 0);
  if (ok) writeReg(p, size, descriptorHigh & 0x00f0ff00);
}

export function lsl(p: u32, size: u32): void {
  const sel = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  let ok = visible(sel);
  if (faulted & FAULTED) return;
  if (ok) {
    const access = descriptorAccess();
    if (!(access & ACCESS_S)) {
      const type = access & 15;
      ok = longMode
        ? type === 2 || type === 9 || type === 11
        : type === 1 || type === 2 || type === 3 || type === 9 || type === 11;
    }
  }
  setZero(cpu, ok ? 1 : 0);
  if (ok) writeReg(p, size, descriptorLimit());
}

export function verify(p: u32, forWrite: bool): void {
  const sel = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  let ok = visible(sel);
  if (faulted & FAULTED) return;
  if (ok) {
    const access = descriptorAccess();
    const code = (access & 8) !== 0;
    ok = (access & ACCESS_S) !== 0 && (forWrite ? !code && (access & 2) !== 0 : !code || (access & 2) !== 0);
  }
  setZero(cpu, ok ? 1 : 0);
}

export function arpl(p: u32): void {
  const destination = <u32>readRm(p, 2);
  if (faulted & FAULTED) return;
  const rpl = (<u32>readReg(p, 2)) & 3;
  if ((destination & 3) < rpl) {
    writeRm(p, 2, (destination & ~3) | rpl);
    if (faulted & FAULTED) return;
    setZero(cpu, 1);
  } else setZero(cpu, 0);
}

/** LES, LDS, LSS, LFS, LGS. */
export function loadFar(p: u32, size: u32): void {
  const seg = <u32>load<u64>(p, U_IMM);
  const ea = effectiveAddress(p);
  const where = load<u8>(p, U_SEG) & 7;
  const address = linearAddress(where, ea, size + 2, false);
  if (faulted & FAULTED) return;
  const offset = readLinear(address, size);
  if (faulted & FAULTED) return;
  const sel = <u32>readLinear(address + size, 2);
  if (faulted & FAULTED) return;
  loadSegment(seg, sel);
  if (!(faulted & FAULTED)) writeReg(p, size, offset);
}

// ---------------------------------------------------------------------------------------------------------------------
// Others

export function invlpg(p: u32): void {
  if (!privileged()) return;
  const seg: u32 = load<u8>(p, U_SEG) & 7;
  const ea = effectiveAddress(p);
  const address = mode === MODE_64 ? (seg >= FS ? segmentBase(seg) + ea : ea) : (segmentBase(seg) + ea) & 0xffffffff;
  if (isCanonical(address)) flushPage(address);
}

export function invpcid(p: u32): void {
  if (!privileged()) return;
  const type = load<u64>(cpu + load<u8>(p, U_D));
  const address = segmentedOperand(p, 16, false);
  if (faulted & FAULTED) return;
  const pcid = readLinear(address, 8);
  if (faulted & FAULTED) return;
  const target = readLinear(address + 8, 8);
  if (faulted & FAULTED) return;
  if (type > 3 || pcid >> 12 || (type === 0 && !isCanonical(target))) {
    raiseGp();
    return;
  }
  if (type < 2 && !(load<u64>(cpu, R_CR4) & CR4_PCIDE) && pcid) {
    raiseGp();
    return;
  }
  // Dropping more than the PCID's page, or global pages too, is allowed.
  if (type === 0) flushPage(target);
  else if (type === 1) flushPcid(<u32>pcid);
  else flushAll();
}

export function clts(): void {
  if (privileged()) store<u64>(cpu, load<u64>(cpu, R_CR0) & ~CR0_TS, R_CR0);
}

export function swapgs(): void {
  if (cpl() !== 0) {
    raiseGp();
    return;
  }
  const base = load<u64>(segment(GS), SEG_BASE);
  store<u64>(segment(GS), load<u64>(cpu, R_MSR_KERNEL_GS_BASE), SEG_BASE);
  store<u64>(cpu, base, R_MSR_KERNEL_GS_BASE);
}

/** CLAC, STAC. In the kernel AC picks the bank of translations for data, and nothing else that a block depends on. */
export function setAlignmentCheck(on: bool): void {
  if (!hasFeature(FEATURE_SMAP) || !protectedMode || cpl() !== 0) {
    raise(VECTOR_UD);
    return;
  }
  const flags = load<u32>(cpu, R_RFLAGS);
  store<u32>(cpu, on ? flags | FLAG_AC : flags & ~FLAG_AC, R_RFLAGS);
  updateMode();
}

export function rdtsc(): void {
  if (load<u64>(cpu, R_CR4) & CR4_TSD && cpl() !== 0) {
    raiseGp();
    return;
  }
  const tsc = readTsc();
  setGpr(RAX, tsc & 0xffffffff);
  setGpr(RDX, tsc >> 32);
}

export function rdtscp(): void {
  rdtsc();
  if (!(faulted & FAULTED)) setGpr(RCX, load<u64>(cpu, R_MSR_TSC_AUX));
}

/** RDPMC: no counters, so every index is #GP. */
export function rdpmc(): void {
  raiseGp();
}

export function xgetbv(): void {
  if (!(load<u64>(cpu, R_CR4) & CR4_OSXSAVE)) {
    raise(VECTOR_UD);
    return;
  }
  const index = <u32>gpr(RCX);
  if (index > 1 || (index === 1 && !hasFeature(FEATURE_XGETBV1))) {
    raiseGp();
    return;
  }
  // XGETBV of 1: the components that are in use as well.
  const value = load<u64>(cpu, R_XCR0) & (index ? xsaveInUse() : u64.MAX_VALUE);
  setGpr(RAX, value & 0xffffffff);
  setGpr(RDX, value >> 32);
}

export function xsetbv(): void {
  if (!(load<u64>(cpu, R_CR4) & CR4_OSXSAVE)) {
    raise(VECTOR_UD);
    return;
  }
  if (!privileged()) return;
  const value = (gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32);
  // x87 cannot be off, AVX needs SSE.
  if (<u32>gpr(RCX) !== 0 || value & ~xcr0Supported() || !(value & 1) || (value & 6) === 4) {
    raiseGp();
    return;
  }
  store<u64>(cpu, value, R_XCR0);
}

/** RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE (0-3). */
export function segmentBaseInstruction(p: u32, size: u32, operation: u32): void {
  if (!(load<u64>(cpu, R_CR4) & CR4_FSGSBASE)) {
    raise(VECTOR_UD);
    return;
  }
  const s = segment(operation & 1 ? GS : FS);
  if (operation < 2) {
    writeRm(p, size, load<u64>(s, SEG_BASE));
    return;
  }
  const value = readRm(p, size);
  if (!isCanonical(value)) raiseGp();
  else store<u64>(s, value, SEG_BASE);
}

/** RDRAND, RDSEED: always succeed. */
export function random(p: u32, size: u32): void {
  const value = (<u64>hostRandom()) | ((<u64>hostRandom()) << 32);
  writeRm(p, size, value);
  setArithmeticFlags(cpu, FLAG_CF);
}

export function ldmxcsr(p: u32): void {
  if (!sseControlAllowed(p)) return;
  const value = <u32>readRm(p, 4);
  if (faulted & FAULTED) return;
  if (value & 0xffff0000) raiseGp();
  else store<u32>(cpu, value, R_MXCSR);
}

export function stmxcsr(p: u32): void {
  if (sseControlAllowed(p)) writeRm(p, 4, load<u32>(cpu, R_MXCSR));
}

/** The checks of LDMXCSR and STMXCSR; VEX forms (U_IMM 1) need AVX and its state instead of CR4.OSFXSR (SDM vol. 2, 2.4.7). */
function sseControlAllowed(p: u32): bool {
  const cr4 = load<u64>(cpu, R_CR4);
  if (load<u64>(p, U_IMM)) {
    if (!hasFeature(FEATURE_AVX) || !(cr4 & CR4_OSXSAVE) || (load<u64>(cpu, R_XCR0) & 6) !== 6 || !protectedMode) {
      raise(VECTOR_UD);
      return false;
    }
    if (load<u64>(cpu, R_CR0) & CR0_TS) {
      raise(VECTOR_NM);
      return false;
    }
    return true;
  }
  if (load<u64>(cpu, R_CR0) & CR0_EM || !(cr4 & CR4_OSFXSR)) raise(VECTOR_UD);
  else if (load<u64>(cpu, R_CR0) & CR0_TS) raise(VECTOR_NM);
  else return true;
  return false;
}

/** Reset value of CR0 as bhyve sets it: NE alone, with ET fixed. */
export const CR0_RESET: u64 = CR0_NE | CR0_ET;
