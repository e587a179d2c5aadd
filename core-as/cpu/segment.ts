/** Segment registers and descriptors (SDM vol. 3, chapters 3 and 5). */
import { R_CPL, R_GDT_BASE, R_GDT_LIMIT, SEG_ACCESS, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../layout';
import { readSystem, writeSystem } from '../mmu/tlb';
import {
  ACCESS_DB,
  ACCESS_G,
  ACCESS_L,
  ACCESS_P,
  ACCESS_S,
  ACCESS_UNUSABLE,
  CS,
  FAULTED,
  GS,
  LDTR,
  MODE_64,
  SS,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_SS,
  cpl,
  cpu,
  faulted,
  longMode,
  mode,
  protectedMode,
  raiseCode,
  segment,
  setSegment,
  updateMode,
  v8086,
} from './state';

/** The descriptor that readDescriptor found: its two dwords and where it lies. */
export let descriptorLow: u32 = 0;
export let descriptorHigh: u32 = 0;
export let descriptorAddress: u64 = 0;

/**
 * Reads the descriptor of a selector from the GDT or LDT into descriptorLow/High. False when it is outside the table (nothing raised) or
 * the read faulted (`faulted`).
 */
export function readDescriptor(selector: u32): bool {
  let base: u64;
  let limit: u32;
  if (selector & 4) {
    const ldt = segment(LDTR);
    if (load<u32>(ldt, SEG_ACCESS) & ACCESS_UNUSABLE || !(load<u32>(ldt, SEG_ACCESS) & ACCESS_P)) return false;
    base = load<u64>(ldt, SEG_BASE);
    limit = load<u32>(ldt, SEG_LIMIT);
  } else {
    base = load<u64>(cpu, R_GDT_BASE);
    limit = load<u32>(cpu, R_GDT_LIMIT);
  }
  if ((selector | 7) > limit) return false;
  descriptorAddress = base + (selector & 0xfff8);
  if (!longMode) descriptorAddress &= 0xffffffff;
  const d = readSystem(descriptorAddress, 8);
  if (faulted & FAULTED) return false;
  descriptorLow = <u32>d;
  descriptorHigh = <u32>(d >> 32);
  return true;
}

/** readDescriptor that raises `vector`(selector & ~3 | external) when the selector is outside its table. */
export function fetchDescriptor(selector: u32, vector: u32, external: u32): bool {
  if (readDescriptor(selector)) return true;
  if (!(faulted & FAULTED)) raiseCode(vector, (selector & 0xfffc) | external);
  return false;
}

/** Upper 8 bytes of a 16-byte system descriptor just read. */
export function readDescriptorUpper(): u64 {
  return readSystem(descriptorAddress + 8, 8);
}

export function descriptorBase(): u64 {
  return (descriptorLow >> 16) | ((descriptorHigh & 0xff) << 16) | (descriptorHigh & 0xff000000);
}

/** Limit in bytes. */
export function descriptorLimit(): u32 {
  const limit = (descriptorLow & 0xffff) | (descriptorHigh & 0xf0000);
  return descriptorHigh & (1 << 23) ? (limit << 12) | 0xfff : limit;
}

/** Access rights in the format of SEG_ACCESS. */
export function descriptorAccess(): u32 {
  return ((descriptorHigh >> 8) & 0xff) | ((descriptorHigh >> 8) & 0xf000);
}

/** Sets bits of the type field in memory (accessed, busy). */
export function setDescriptorType(bits: u32): void {
  if ((descriptorHigh & bits) === bits) return;
  descriptorHigh |= bits;
  writeSystem(descriptorAddress + 4, 4, descriptorHigh);
}

const ACCESSED: u32 = 1 << 8;
/** DPL of access rights. */
// @ts-ignore: decorator
@inline
export function dplOf(access: u32): u32 {
  return (access >> 5) & 3;
}

/** Loads a segment register from the descriptor just read. */
export function setFromDescriptor(seg: u32, selector: u32): void {
  setSegment(seg, selector, descriptorBase(), descriptorLimit(), descriptorAccess());
}

/** Loads a segment register as real mode does: the base alone changes. */
function loadReal(seg: u32, selector: u32): void {
  const s = segment(seg);
  store<u16>(s, <u16>selector, SEG_SELECTOR);
  store<u64>(s, <u64>(selector << 4), SEG_BASE);
  if (v8086) {
    store<u32>(s, 0xffff, SEG_LIMIT);
    store<u32>(s, 0xf3, SEG_ACCESS);
  }
}

/** Loads DS, ES, FS, GS or SS with a selector, as MOV, POP and LDS do. Raises on failure. */
export function loadSegment(seg: u32, selector: u32): void {
  if (!protectedMode) {
    loadReal(seg, selector);
    if (seg === SS) updateMode();
    return;
  }
  if (seg === SS) {
    loadStackSegment(selector, cpl(), VECTOR_GP, 0);
    return;
  }
  if (!(selector & 0xfffc)) {
    loadNull(seg, selector);
    dataSegmentChanged();
    return;
  }
  if (!fetchDescriptor(selector, VECTOR_GP, 0)) return;
  const access = descriptorAccess();
  const code = selector & 0xfffc;
  // Data, or readable code.
  if (!(access & ACCESS_S) || (access & 0xa) === 8) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  // Conforming code has no privilege check.
  if ((access & 0xc) !== 0xc) {
    const dpl = dplOf(access);
    if ((selector & 3) > dpl || cpl() > dpl) {
      raiseCode(VECTOR_GP, code);
      return;
    }
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return;
  }
  setDescriptorType(ACCESSED);
  if (faulted & FAULTED) return;
  setFromDescriptor(seg, selector);
  dataSegmentChanged();
}

/** Outside 64-bit mode DS and ES have a say in how code is decoded. */
function dataSegmentChanged(): void {
  if (mode !== MODE_64) updateMode();
}

/** A null selector in a data segment register. */
export function loadNull(seg: u32, selector: u32): void {
  const s = segment(seg);
  store<u16>(s, <u16>selector, SEG_SELECTOR);
  store<u32>(s, (load<u32>(s, SEG_ACCESS) & 0xffff) | ACCESS_UNUSABLE, SEG_ACCESS);
  // Processors differ on whether the base survives; FS and GS bases are cleared on Intel.
  store<u64>(s, 0, SEG_BASE);
}

/**
 * Loads SS for a privilege level; `vector` is what a bad selector raises (#GP for MOV, #TS when it comes from a TSS), `external` the
 * EXT bit.
 */
export function loadStackSegment(selector: u32, level: u32, vector: u32, external: u32): void {
  if (!(selector & 0xfffc)) {
    if (mode === MODE_64 && level !== 3 && (selector & 3) === level) {
      loadNull(SS, selector);
      store<u32>(segment(SS), (load<u32>(segment(SS), SEG_ACCESS) & ~0x60) | (level << 5), SEG_ACCESS);
      return;
    }
    raiseCode(vector, external);
    return;
  }
  if (!fetchDescriptor(selector, vector, external)) return;
  const access = descriptorAccess();
  const code = (selector & 0xfffc) | external;
  if ((selector & 3) !== level || !(access & ACCESS_S) || (access & 0xa) !== 2 || dplOf(access) !== level) {
    raiseCode(vector, code);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_SS, code);
    return;
  }
  setDescriptorType(ACCESSED);
  if (faulted & FAULTED) return;
  setFromDescriptor(SS, selector);
  updateMode();
}

/** Loads CS from the descriptor just read, with the given RPL as the new CPL, and re-derives the mode. */
export function setCodeSegment(selector: u32, level: u32): void {
  setDescriptorType(ACCESSED);
  if (faulted & FAULTED) return;
  setFromDescriptor(CS, (selector & 0xfffc) | level);
  store<u32>(cpu, level, R_CPL);
  updateMode();
}

/** Loads CS as real mode and v8086 mode do. */
export function setRealCodeSegment(selector: u32): void {
  loadReal(CS, selector);
  updateMode();
}

/** After a return to an outer level: data segments that the new level may not use become null (SDM vol. 2, RET). */
export function dropInaccessibleSegments(): void {
  const level = cpl();
  for (let seg: u32 = 0; seg <= GS; seg++) {
    if (seg === CS || seg === SS) continue;
    const access = load<u32>(segment(seg), SEG_ACCESS);
    if (access & ACCESS_UNUSABLE) continue;
    // Data and non-conforming code below the new level.
    if ((access & 0xc) === 0xc || dplOf(access) >= level) continue;
    // Only the selector and the validity go: Intel processors keep the base, which 64-bit mode goes on using for FS and GS.
    const s = segment(seg);
    store<u16>(s, 0, SEG_SELECTOR);
    store<u32>(s, (access & 0xffff) | ACCESS_UNUSABLE, SEG_ACCESS);
  }
  dataSegmentChanged();
}

/** Sets all six segments to what virtual-8086 mode fixes them to, given their selectors are in place. */
export function setV8086Segment(seg: u32, selector: u32): void {
  setSegment(seg, selector, <u64>(selector << 4), 0xffff, 0xf3);
}

/** True when the descriptor is a valid 64-bit code segment (L set, D clear). */
// @ts-ignore: decorator
@inline
export function isLongCode(access: u32): bool {
  return (access & (ACCESS_L | ACCESS_DB)) === ACCESS_L;
}

/** Flat segments that SYSCALL, SYSENTER and their returns load without reading a descriptor. */
export function setFlatCode(selector: u32, level: u32, long: bool): void {
  setSegment(
    CS,
    selector,
    0,
    0xffffffff,
    0xb | ACCESS_S | (level << 5) | ACCESS_P | ACCESS_G | (long ? ACCESS_L : ACCESS_DB),
  );
  store<u32>(cpu, level, R_CPL);
}
export function setFlatStack(selector: u32, level: u32): void {
  setSegment(SS, selector, 0, 0xffffffff, 0x3 | ACCESS_S | (level << 5) | ACCESS_P | ACCESS_G | ACCESS_DB);
}
