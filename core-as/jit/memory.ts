/** Memory accesses of compiled code: the TLB check in line, everything else in helpers. */
import { R_JIT_FAULT, R_SEG, SEG_BASE, SEG_STRIDE } from '../layout';
import { FS, TLB_WRITE } from '../cpu/state';
import { REG_ZERO, SEG_A32, U_BASE, U_DISP, U_IDX, U_SCALE, U_SEG } from '../cpu/uops';
import { HELPER_READ, HELPER_RMW, HELPER_RMW_END, HELPER_WRITE, WRITE_FAULT } from './abi';
import { close, openIf, openIfValue } from './flow';
import {
  LOCAL_ADDRESS,
  LOCAL_BANK,
  LOCAL_CPU,
  LOCAL_POINTER,
  LOCAL_STATUS,
  LOCAL_TLB,
  LOCAL_VALUE,
  pushRegister,
} from './locals';
import { TYPE_READ, TYPE_RMW_END, TYPE_WRITE, callHelper } from './module-types';
import { leaveAfterStore, leaveWithFault } from './exits';
import * as w from './wasm';

/** Pushes the linear address of a micro-op's memory operand in 64-bit mode (i64). */
export function pushAddress(p: u32, segmented: bool): void {
  pushEffectiveAddress(p);
  if (!segmented) return;
  const seg: u32 = load<u8>(p, U_SEG);
  if ((seg & 0x30) === SEG_A32) {
    w.const64(0xffffffff);
    w.byte(w.I64_AND);
  }
  if ((seg & 7) >= FS) {
    w.get(LOCAL_CPU);
    w.access(w.I64_LOAD, R_SEG + (seg & 7) * SEG_STRIDE + SEG_BASE);
    w.byte(w.I64_ADD);
  }
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

/**
 * Looks LOCAL_ADDRESS up and pushes whether it hit (i32). LOCAL_BANK already points at the half of the bank for addresses like that of the code;
 * an address of the other half misses, and the helper finds it.
 */
export function pushHit(log2: u32, write: bool): void {
  const half: u32 = write ? TLB_WRITE : 0;
  w.get(LOCAL_BANK);
  w.get(LOCAL_ADDRESS);
  w.const64(8);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.const32(0x3ff0);
  w.byte(w.I32_AND);
  w.byte(w.I32_ADD);
  w.tee(LOCAL_TLB);
  w.access(w.I64_LOAD, half);
  w.get(LOCAL_ADDRESS);
  if (log2) {
    w.const64((1 << log2) - 1);
    w.byte(w.I64_ADD);
  }
  w.const64(~0xfff);
  w.byte(w.I64_AND);
  w.byte(w.I64_EQ);
}

/** Pushes the linear memory address of LOCAL_ADDRESS after a hit. */
export function pushPointer(write: bool): void {
  w.get(LOCAL_TLB);
  w.access(w.I32_LOAD, (write ? TLB_WRITE : 0) + 8);
  w.get(LOCAL_ADDRESS);
  w.byte(w.I32_WRAP_I64);
  w.byte(w.I32_ADD);
}

function loadOpcode(log2: u32): u32 {
  return log2 === 3 ? w.I64_LOAD : log2 === 2 ? w.I64_LOAD32_U : log2 === 1 ? w.I64_LOAD16_U : w.I64_LOAD8_U;
}

function storeOpcode(log2: u32): u32 {
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

/** Reads memory at the address on the stack and pushes the value, zero-extended (i64). */
export function readMemory(p: u32, log2: u32): void {
  w.set(LOCAL_ADDRESS);
  pushHit(log2, false);
  openIfValue(w.TYPE_I64);
  pushPointer(false);
  w.access(loadOpcode(log2), 0);
  w.byte(w.ELSE);
  w.get(LOCAL_ADDRESS);
  w.const32(1 << log2);
  callHelper(HELPER_READ, TYPE_READ);
  checkFault(p);
  close();
}

/** Reads memory that will be written back, and pushes the value. LOCAL_POINTER says where to write, 0: the helper knows. */
export function readModify(p: u32, log2: u32): void {
  w.set(LOCAL_ADDRESS);
  pushHit(log2, true);
  openIfValue(w.TYPE_I64);
  pushPointer(true);
  w.tee(LOCAL_POINTER);
  w.access(loadOpcode(log2), 0);
  w.byte(w.ELSE);
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
  leaveAfterStore(p);
  close();
}

/**
 * Writes LOCAL_VALUE at LOCAL_ADDRESS. When the page held code the region is left after the instruction: `leaveAfterStore` completes what the
 * micro-op does besides the store.
 */
export function writeMemory(p: u32, log2: u32): void {
  pushHit(log2, true);
  openIf();
  pushPointer(true);
  w.get(LOCAL_VALUE);
  w.access(storeOpcode(log2), 0);
  w.byte(w.ELSE);
  w.get(LOCAL_ADDRESS);
  w.get(LOCAL_VALUE);
  w.const32(1 << log2);
  callHelper(HELPER_WRITE, TYPE_WRITE);
  afterWrite(p);
  close();
}
