/** FXSAVE, XSAVE and their kin (SDM vol. 1, chapter 13): components x87 (bit 0), SSE (bit 1) and AVX (bit 2). */
import { fxrstorX87, fxsaveX87, x87InitXsave } from '../fpu/x87';
import { R_CR0, R_CR4, R_IMAGE_SCRATCH, R_MXCSR, R_XCR0, R_YMM } from '../layout';
import { checkWritable, readBlock, writeBlock } from './block-access';
import { segmentedOperand } from './operand';
import {
  CR0_EM,
  CR0_TS,
  CR4_OSFXSR,
  CR4_OSXSAVE,
  FAULTED,
  MODE_64,
  RAX,
  RDX,
  VECTOR_NM,
  VECTOR_UD,
  cpu,
  faulted,
  gpr,
  isCanonical,
  mode,
  raise,
  raiseGp,
  raiseNonCanonical,
} from './state';

/** MXCSR bits that may be set (DAZ included). */
export const MXCSR_MASK: u32 = 0xffff;
const MXCSR_DEFAULT: u32 = 0x1f80;
const XSAVE_HEADER: u32 = 512;
const XSAVE_YMM: u32 = 576;
export const XSAVE_BYTES: u32 = 832;

function registersInMode(): u32 {
  return mode === MODE_64 ? 16 : 8;
}

/** FXSAVE and FXRSTOR: #UD for CR0.EM, #NM for CR0.TS. */
function fxAvailable(): bool {
  const cr0 = load<u64>(cpu, R_CR0);
  if (cr0 & CR0_EM) raise(VECTOR_UD);
  else if (cr0 & CR0_TS) raise(VECTOR_NM);
  else return true;
  return false;
}

function saveSse(image: u32): void {
  const count = registersInMode();
  for (let i: u32 = 0; i < count; i++) v128.store(image + 160 + i * 16, v128.load(cpu + R_YMM + i * 32));
}

function restoreSse(image: u32): void {
  const count = registersInMode();
  for (let i: u32 = 0; i < count; i++) v128.store(cpu + R_YMM + i * 32, v128.load(image + 160 + i * 16));
}

function saveAvx(from: u32): void {
  const count = registersInMode();
  for (let i: u32 = 0; i < count; i++) v128.store(from + i * 16, v128.load(cpu + R_YMM + i * 32, 16));
}

function restoreAvx(from: u32): void {
  const count = registersInMode();
  for (let i: u32 = 0; i < count; i++) v128.store(cpu + R_YMM + i * 32, v128.load(from + i * 16), 16);
}

function clearRegisters(offset: u32): void {
  const count = registersInMode();
  for (let i: u32 = 0; i < count; i++) v128.store(cpu + R_YMM + i * 32 + offset, i64x2.splat(0));
}

/** FXSAVE and FXRSTOR find an address that is not canonical (#SS(0) on the stack) before a misaligned one; the others do not. */
function raiseMisaligned(address: u64): void {
  if (isCanonical(address)) raiseGp();
  else raiseNonCanonical(address);
}

export function fxsave(p: u32, size: u32): void {
  if (!fxAvailable()) return;
  const address = segmentedOperand(p, 512, true);
  if (faulted & FAULTED) return;
  if ((<u32>address) & 15) {
    raiseMisaligned(address);
    return;
  }
  if (!checkWritable(address, 512)) return;
  const image = cpu + R_IMAGE_SCRATCH;
  // Reserved bytes keep what memory held.
  readBlock(address, image, 512);
  if (faulted & FAULTED) return;
  fxsaveX87(cpu, image, size === 8);
  store<u32>(image, load<u32>(cpu, R_MXCSR), 24);
  store<u32>(image, MXCSR_MASK, 28);
  if (load<u64>(cpu, R_CR4) & CR4_OSFXSR) saveSse(image);
  writeBlock(address, image, 512);
}

export function fxrstor(p: u32, size: u32): void {
  if (!fxAvailable()) return;
  const address = segmentedOperand(p, 512, false);
  if (faulted & FAULTED) return;
  if ((<u32>address) & 15) {
    raiseMisaligned(address);
    return;
  }
  const image = cpu + R_IMAGE_SCRATCH;
  readBlock(address, image, 512);
  if (faulted & FAULTED) return;
  if (load<u32>(image, 24) & ~MXCSR_MASK) {
    raiseGp();
    return;
  }
  fxrstorX87(cpu, image, size === 8);
  store<u32>(cpu, load<u32>(image, 24), R_MXCSR);
  if (load<u64>(cpu, R_CR4) & CR4_OSFXSR) restoreSse(image);
}

/** Availability of the XSAVE family; its operand's address (64-byte aligned) or 0 with `faulted` set. */
function xsaveOperand(p: u32, bytes: u32, write: bool): u64 {
  if (!(load<u64>(cpu, R_CR4) & CR4_OSXSAVE)) {
    raise(VECTOR_UD);
    return 0;
  }
  if (load<u64>(cpu, R_CR0) & CR0_TS) {
    raise(VECTOR_NM);
    return 0;
  }
  const address = segmentedOperand(p, bytes, write);
  if (!(faulted & FAULTED) && (<u32>address) & 63) raiseGp();
  return address;
}

/** XINUSE: components that are not in their initial state. SSE and x87 are always reported in use, which the SDM allows. */
export function xsaveInUse(): u64 {
  let used: u64 = 3;
  for (let i: u32 = 0; i < 16; i++) {
    if (v128.any_true(v128.load(cpu + R_YMM + i * 32, 16))) {
      used |= 4;
      break;
    }
  }
  return used;
}

/** XSAVE and XSAVEOPT (`optimized`: components in their initial state are not written), XSAVEC (`compact`). */
export function xsave(p: u32, size: u32, optimized: bool, compact: bool): void {
  const requested = ((gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32)) & load<u64>(cpu, R_XCR0);
  const address = xsaveOperand(p, XSAVE_HEADER + 64, true);
  if (faulted & FAULTED) return;
  // In the compact format AVX follows the header at the same place as in the standard one: it is the only extended component.
  const bytes = requested & 4 ? XSAVE_BYTES : XSAVE_HEADER + 64;
  if (!checkWritable(address, bytes)) return;
  const image = cpu + R_IMAGE_SCRATCH;
  readBlock(address, image, XSAVE_BYTES > bytes ? bytes : XSAVE_BYTES);
  if (faulted & FAULTED) return;
  const used = xsaveInUse();
  const written = optimized || compact ? requested & used : requested;
  if (written & 1) {
    const mxcsr = load<u64>(image, 24);
    fxsaveX87(cpu, image, size === 8);
    store<u64>(image, mxcsr, 24);
  }
  if (requested & 6 && (!compact || written & 2)) {
    store<u32>(image, load<u32>(cpu, R_MXCSR), 24);
    store<u32>(image, MXCSR_MASK, 28);
  }
  if (written & 2) saveSse(image);
  if (written & 4) saveAvx(image + XSAVE_YMM);
  const header = image + XSAVE_HEADER;
  if (compact) {
    store<u64>(header, requested & used);
    store<u64>(header, requested | (1 << 63), 8);
  } else {
    store<u64>(header, (load<u64>(header) & ~requested) | (requested & used));
  }
  writeBlock(address, image, bytes);
}

export function xrstor(p: u32, size: u32): void {
  const requested = ((gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32)) & load<u64>(cpu, R_XCR0);
  const address = xsaveOperand(p, XSAVE_HEADER + 64, false);
  if (faulted & FAULTED) return;
  const image = cpu + R_IMAGE_SCRATCH;
  readBlock(address, image, XSAVE_HEADER + 64);
  if (faulted & FAULTED) return;
  const header = image + XSAVE_HEADER;
  const present = load<u64>(header);
  const layout = load<u64>(header, 8);
  const compact = (layout & (1 << 63)) !== 0;
  const xcr0 = load<u64>(cpu, R_XCR0);
  let bad = (present & ~xcr0) !== 0;
  if (compact) bad = bad || ((layout << 1) >> 1) & ~xcr0 ? true : (present & ~layout) !== 0;
  else bad = bad || layout !== 0 || load<u64>(header, 16) !== 0;
  if (compact) {
    for (let i: u32 = 16; i < 64; i += 8) bad = bad || load<u64>(header + i) !== 0;
  }
  if (bad) {
    raiseGp();
    return;
  }
  const loaded = requested & present;
  // MXCSR is loaded with SSE or (standard form) AVX.
  const wantsMxcsr = compact ? (loaded & 2) !== 0 : (requested & 6) !== 0;
  if (wantsMxcsr && load<u32>(image, 24) & ~MXCSR_MASK) {
    raiseGp();
    return;
  }
  if (loaded & 4) {
    readBlock(address + XSAVE_YMM, image + XSAVE_YMM, 256);
    if (faulted & FAULTED) return;
  }
  if (requested & 1) {
    if (present & 1) fxrstorX87(cpu, image, size === 8);
    else x87InitXsave(cpu);
  }
  if (requested & 2) {
    if (present & 2) restoreSse(image);
    else clearRegisters(0);
  }
  if (requested & 4) {
    if (present & 4) restoreAvx(image + XSAVE_YMM);
    else clearRegisters(16);
  }
  if (wantsMxcsr) store<u32>(cpu, load<u32>(image, 24), R_MXCSR);
  else if (compact && requested & 2) store<u32>(cpu, MXCSR_DEFAULT, R_MXCSR);
}
