/**
 * Memory accesses of compiled code: the TLB check in line; what misses it leaves the region, so that the interpreter runs the instruction.
 * Where that has happened often (device registers, pages with code, accesses across pages or to the other half of the address space) a helper
 * makes the access.
 */
import { R_JIT_FAULT, R_SEG, SEG_ACCESS, SEG_BASE, SEG_LIMIT, SEG_STRIDE } from '../layout';
import { ACCESS_UNUSABLE } from '../cpu/state';
import { E_LINEAR, TLB_INDEX_MASK, TLB_INDEX_SHIFT, TLB_WRITE } from '../mmu/banks';
import { F, SEGMENTED, STACK, familyOf, kindProperties } from '../cpu/kinds';
import { REG_ZERO, SEG_A16, SEG_A32, U_BASE, U_DISP, U_IDX, U_KIND, U_SCALE, U_SEG } from '../cpu/uops';
import {
  FORM_FIXED,
  FORM_GROUPED,
  FORM_SINGLE,
  HELPER_READ,
  HELPER_RMW,
  HELPER_RMW_END,
  HELPER_WRITE,
  WRITE_FAULT,
} from './abi';
import { cutConstant, cutSum, cutTo32, hasOwnSegment, isNarrow } from './address-width';
import { accessForm, isCalled, leaveAfter, leaveAside, leaveWithFault } from './exits';
import { close, openIf, openIfValue } from './labels';
import {
  LOCAL_ADDRESS,
  LOCAL_BANK,
  LOCAL_CPU,
  LOCAL_POINTER,
  LOCAL_RANGES,
  LOCAL_STATUS,
  LOCAL_TLB,
  LOCAL_VALUE,
  pushRegister,
  storeRegisters,
} from './locals';
import { TYPE_READ, TYPE_RMW_END, TYPE_WRITE, callHelper } from './module-types';
import {
  accessBase,
  accessBytes,
  accessDisplacement,
  accessWrites,
  describe,
  findRange,
  forgetRanges,
  planRange,
  plannedBytes,
  plannedDistance,
  plannedWrites,
  rangeOffset,
} from './ranges';
import { ACCESS_GROUPED } from './slow-sites';
import * as w from './wasm';

/** Pushes the linear address of a micro-op's memory operand (i64), whose access describe() found. */
function pushAddress(p: u32, segmented: bool): void {
  pushEffectiveAddress(p);
  if (!segmented) return;
  const seg: u32 = load<u8>(p, U_SEG);
  if ((seg & 0x30) === SEG_A32) cutTo32();
  // Outside 64-bit mode only.
  if ((seg & 0x30) === SEG_A16) {
    w.const64(0xffff);
    w.byte(w.I64_AND);
  }
  if (hasOwnSegment(seg)) {
    const at = R_SEG + (seg & 7) * SEG_STRIDE;
    if (isNarrow) checkSegment(p, at);
    w.get(LOCAL_CPU);
    w.access(w.I64_LOAD, at + SEG_BASE);
    w.byte(w.I64_ADD);
    cutSum();
  }
}

/**
 * Leaves unless the segment register at an offset of the vCPU block is writable data, not expand-down, and the access at the offset on the
 * stack is within its limit; the offset stays there. The interpreter knows what else is allowed (cpu/operand.ts: linearAddress).
 */
function checkSegment(p: u32, at: u32): void {
  w.tee(LOCAL_ADDRESS);
  w.get(LOCAL_ADDRESS);
  w.const64(accessBytes - 1);
  w.byte(w.I64_ADD);
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD32_U, at + SEG_LIMIT);
  w.byte(w.I64_GT_U);
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, at + SEG_ACCESS);
  w.const32(ACCESS_UNUSABLE | 0xe);
  w.byte(w.I32_AND);
  w.const32(2);
  w.byte(w.I32_NE);
  w.byte(w.I32_OR);
  openIf();
  leaveAside(p, FORM_FIXED);
  close();
}

/** Pushes base + index * scale + displacement (i64). */
export function pushEffectiveAddress(p: u32): void {
  const base: u32 = load<u8>(p, U_BASE);
  const index: u32 = load<u8>(p, U_IDX);
  const disp = load<i32>(p, U_DISP);
  let terms: u32 = 0;
  if (base !== REG_ZERO) {
    pushRegister(base, 3);
    terms++;
  }
  if (index !== REG_ZERO) {
    pushRegister(index, 3);
    if (load<u8>(p, U_SCALE)) {
      w.const64(load<u8>(p, U_SCALE));
      w.byte(w.I64_SHL);
    }
    if (terms) w.byte(w.I64_ADD);
    terms++;
  }
  if (disp || !terms) {
    w.const64(disp);
    if (terms) w.byte(w.I64_ADD);
  }
}

/** Pushes base + displacement, moved by a distance. */
function pushBaseAddress(base: u32, displacement: i64): void {
  if (base === REG_ZERO) {
    w.const64(cutConstant(displacement));
    return;
  }
  pushRegister(base, 3);
  if (displacement) {
    w.const64(displacement);
    w.byte(w.I64_ADD);
  }
  cutSum();
}

/**
 * Looks LOCAL_ADDRESS up for an access of a number of bytes and pushes whether it missed (i32). LOCAL_BANK already points at the half of the
 * bank for addresses like that of the code; an address of the other half misses.
 */
function pushMissed(bytes: u32, write: bool): void {
  w.get(LOCAL_BANK);
  w.get(LOCAL_ADDRESS);
  w.byte(w.I32_WRAP_I64);
  w.const32(TLB_INDEX_SHIFT);
  w.byte(w.I32_SHR_U);
  w.const32(TLB_INDEX_MASK);
  w.byte(w.I32_AND);
  w.byte(w.I32_ADD);
  w.tee(LOCAL_TLB);
  w.access(w.I64_LOAD, write ? TLB_WRITE : 0);
  w.get(LOCAL_ADDRESS);
  if (bytes > 1) {
    w.const64(bytes - 1);
    w.byte(w.I64_ADD);
  }
  w.const64(~0xfff);
  w.byte(w.I64_AND);
  w.byte(w.I64_NE);
}

/** Sets a local to the linear memory address of LOCAL_ADDRESS after a hit. */
function setPointer(write: bool, local: u32): void {
  w.get(LOCAL_TLB);
  w.access(w.I32_LOAD, (write ? TLB_WRITE : 0) + E_LINEAR);
  w.get(LOCAL_ADDRESS);
  w.byte(w.I32_WRAP_I64);
  w.byte(w.I32_ADD);
  w.set(local);
}

/** Where the access that was checked last lies: a local, and an offset from it. */
let pointerLocal: u32 = 0;
let pointerOffset: u32 = 0;

/** Pushes the pointer of the access that was checked last; returns the offset to use with it. */
export function pushPointer(): u32 {
  w.get(pointerLocal);
  return pointerOffset;
}

/** The access is done by a helper when the check fails. */
function mayCall(p: u32): bool {
  const family = familyOf(kindProperties(load<u8>(p, U_KIND)));
  return (family === F.LOAD || family === F.STORE) && isCalled(p);
}

/** Checks the memory access of a micro-op, leaving the region on a miss; pushPointer() then gives its place. */
export function checkAccess(p: u32, end: u32): void {
  describe(p);
  const known = findRange();
  if (known >= 0) {
    pointerLocal = LOCAL_RANGES + known;
    pointerOffset = rangeOffset;
    return;
  }
  storeRegisters();
  const made = accessForm(p) === ACCESS_GROUPED ? planRange(p, end) : -1;
  if (made >= 0) {
    pushBaseAddress(accessBase, accessDisplacement + plannedDistance);
    w.set(LOCAL_ADDRESS);
    pushMissed(plannedBytes, plannedWrites);
    openIf();
    leaveAside(p, FORM_GROUPED);
    close();
    pointerLocal = LOCAL_RANGES + made;
    pointerOffset = rangeOffset;
    setPointer(plannedWrites, pointerLocal);
    return;
  }
  pushAccessAddress(p);
  w.set(LOCAL_ADDRESS);
  pushMissed(accessBytes, accessWrites);
  openIf();
  leaveAside(p, FORM_SINGLE);
  close();
  setPointer(accessWrites, LOCAL_POINTER);
  pointerLocal = LOCAL_POINTER;
  pointerOffset = 0;
}

/** Pushes the address of the access that describe() found. */
function pushAccessAddress(p: u32): void {
  const properties = kindProperties(load<u8>(p, U_KIND));
  if (properties & STACK) pushBaseAddress(accessBase, accessDisplacement);
  else pushAddress(p, (properties & SEGMENTED) !== 0);
}

export function loadOpcode(log2: u32): u32 {
  return log2 === 3 ? w.I64_LOAD : log2 === 2 ? w.I64_LOAD32_U : log2 === 1 ? w.I64_LOAD16_U : w.I64_LOAD8_U;
}

export function storeOpcode(log2: u32): u32 {
  return log2 === 3 ? w.I64_STORE : log2 === 2 ? w.I64_STORE32 : log2 === 1 ? w.I64_STORE16 : w.I64_STORE8;
}

/** Leaves with the fault if the helper raised one. */
function checkFault(p: u32): void {
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_JIT_FAULT);
  openIf();
  leaveWithFault(p);
  close();
}

/** An access across the end of a flat segment of 4 GiB faults, which helpers do not know; the TLB never holds it. */
function checkEnd(p: u32): void {
  if (!isNarrow || accessBytes === 1) return;
  w.get(LOCAL_ADDRESS);
  w.const64(0x100000000 - <i64>accessBytes);
  w.byte(w.I64_GT_U);
  openIf();
  leaveAside(p, FORM_FIXED);
  close();
}

/** Looks the access up, and pushes whether it hit. */
function pushHit(p: u32, write: bool): void {
  storeRegisters();
  describe(p);
  pushAccessAddress(p);
  w.set(LOCAL_ADDRESS);
  pushMissed(accessBytes, write);
  w.byte(w.I32_EQZ);
}

/** Reads the memory operand of a micro-op and pushes the value, zero-extended (i64). */
export function readMemory(p: u32, log2: u32, end: u32): void {
  if (!mayCall(p)) {
    checkAccess(p, end);
    const offset = pushPointer();
    w.access(loadOpcode(log2), offset);
    return;
  }
  pushHit(p, false);
  openIfValue(w.TYPE_I64);
  setPointer(false, LOCAL_POINTER);
  w.get(LOCAL_POINTER);
  w.access(loadOpcode(log2), 0);
  w.byte(w.ELSE);
  checkEnd(p);
  w.get(LOCAL_ADDRESS);
  w.const32(1 << log2);
  callHelper(HELPER_READ, TYPE_READ);
  checkFault(p);
  close();
  forgetRanges();
}

/** LOCAL_POINTER is 0 when a helper must write back. */
let modifyCalls: bool = false;
let modifyLocal: u32 = 0;
let modifyOffset: u32 = 0;

/** Reads memory that will be written back, and pushes the value. */
export function readModify(p: u32, log2: u32, end: u32): void {
  modifyCalls = mayCall(p);
  if (!modifyCalls) {
    checkAccess(p, end);
    modifyLocal = pointerLocal;
    modifyOffset = pushPointer();
    w.access(loadOpcode(log2), modifyOffset);
    return;
  }
  pushHit(p, true);
  openIfValue(w.TYPE_I64);
  setPointer(true, LOCAL_POINTER);
  w.get(LOCAL_POINTER);
  w.access(loadOpcode(log2), 0);
  w.byte(w.ELSE);
  checkEnd(p);
  w.get(LOCAL_ADDRESS);
  w.const32(1 << log2);
  callHelper(HELPER_RMW, TYPE_READ);
  checkFault(p);
  w.const32(0);
  w.set(LOCAL_POINTER);
  close();
}

/** Writes back the value on the stack. The instruction is complete. */
export function writeBack(p: u32, log2: u32): void {
  w.set(LOCAL_VALUE);
  if (!modifyCalls) {
    w.get(modifyLocal);
    w.get(LOCAL_VALUE);
    w.access(storeOpcode(log2), modifyOffset);
    return;
  }
  storeRegisters();
  w.get(LOCAL_POINTER);
  openIf();
  w.get(LOCAL_POINTER);
  w.get(LOCAL_VALUE);
  w.access(storeOpcode(log2), 0);
  w.byte(w.ELSE);
  w.get(LOCAL_VALUE);
  w.const32(1 << log2);
  callHelper(HELPER_RMW_END, TYPE_RMW_END);
  afterWrite(p);
  close();
  forgetRanges();
}

/** What the status of a slow write, on the stack, asks for. */
function afterWrite(p: u32): void {
  w.tee(LOCAL_STATUS);
  openIf();
  w.get(LOCAL_STATUS);
  w.const32(WRITE_FAULT);
  w.byte(w.I32_EQ);
  openIf();
  leaveWithFault(p);
  close();
  leaveAfter(p);
  close();
}

/** Writes LOCAL_VALUE to the memory operand of a micro-op. When a helper finds that its page held code the region is left after the instruction. */
export function writeMemory(p: u32, log2: u32, end: u32): void {
  if (!mayCall(p)) {
    checkAccess(p, end);
    const offset = pushPointer();
    w.get(LOCAL_VALUE);
    w.access(storeOpcode(log2), offset);
    return;
  }
  pushHit(p, true);
  openIf();
  setPointer(true, LOCAL_POINTER);
  w.get(LOCAL_POINTER);
  w.get(LOCAL_VALUE);
  w.access(storeOpcode(log2), 0);
  w.byte(w.ELSE);
  checkEnd(p);
  w.get(LOCAL_ADDRESS);
  w.get(LOCAL_VALUE);
  w.const32(1 << log2);
  callHelper(HELPER_WRITE, TYPE_WRITE);
  afterWrite(p);
  close();
  forgetRanges();
}
