/**
 * MOVS and STOS in compiled code: a helper moves all of it at once, when that is short, forward, and in pages that the TLB has. Whatever else they
 * may be is the interpreter's (cpu/string.ts), which charges the same work for them.
 */
import { BULK_BYTES, WORK_ELEMENT, charge } from '../cpu/work';
import { addressMask } from '../cpu/operand';
import { FLAG_DF, RAX, RCX, RDI, RSI, cpu, debuggerSteps, gpr, mustStep, setGpr, setRepeating } from '../cpu/state';
import { SUB_REP, SUB_REPNE, U_SEG, U_SUB, X } from '../cpu/uops';
import { R_RFLAGS } from '../layout';
import { E_LINEAR, TLB_INDEX_MASK, TLB_INDEX_SHIFT, TLB_WRITE, tlbBank, tlbHalf } from '../mmu/banks';
import { HELPER_STRING } from './abi';
import { leaveBy, siteOfStatus } from './exits';
import { close, openIf } from './labels';
import { LOCAL_PAGE, loadRegister, storeRegisters } from './locals';
import { TYPE_RUN, callHelper } from './module-types';
import { forgetRanges } from './ranges';
import { xBytes, xOf } from './x-forms';
import * as w from './wasm';

/** Up to so many bytes are moved without a call of the engine's own memory.copy or memory.fill. */
const SHORT_BYTES: u32 = 128;

function isRepeated(p: u32): bool {
  return (load<u32>(p, U_SUB) & (SUB_REP | SUB_REPNE)) !== 0;
}

/** Translates a MOVS or STOS that isXInLine. */
export function translateString(p: u32): void {
  storeRegisters();
  const site = siteOfStatus(p);
  w.const32(site);
  w.get(LOCAL_PAGE);
  callHelper(HELPER_STRING, TYPE_RUN);
  openIf();
  leaveBy(site);
  close();
  loadRegister(RDI << 3);
  if (xOf(p) === X.MOVS) loadRegister(RSI << 3);
  if (isRepeated(p)) loadRegister(RCX << 3);
  // The interpreter's way may have met a device.
  forgetRanges();
}

/** Linear memory address for an access, if the TLB has it, or 0. */
// @ts-ignore: decorator
@inline
function known(address: u64, kind: u32): u32 {
  const e = tlbHalf(tlbBank, address) + (((<u32>address) >> TLB_INDEX_SHIFT) & TLB_INDEX_MASK) + kind;
  return load<u64>(e) === (address & ~0xfff) ? load<u32>(e, E_LINEAR) + <u32>address : 0;
}

/** Executes such an instruction if that can be done at once. False: nothing was done. */
export function stringAtOnce(p: u32): bool {
  if (load<u32>(cpu, R_RFLAGS) & FLAG_DF || mustStep || debuggerSteps) return false;
  const size = xBytes(p);
  const repeated = isRepeated(p);
  // The address size is the code's.
  const mask = addressMask(load<u8>(p, U_SEG));
  const count = repeated ? gpr(RCX) & mask : 1;
  if (count > 0x1000) return false;
  const bytes = <u32>count * size;
  const to = gpr(RDI) & mask;
  if (((<u32>to) & 0xfff) + bytes > 0x1000) return false;
  if (bytes) {
    const target = known(to, TLB_WRITE);
    if (!target) return false;
    if (xOf(p) === X.MOVS) {
      const from = gpr(RSI) & mask;
      if (((<u32>from) & 0xfff) + bytes > 0x1000) return false;
      const source = known(from, 0);
      if (!source) return false;
      // An overlapping forward copy repeats the bytes between the two addresses.
      if (target > source && target < source + bytes) return false;
      move(target, source, bytes);
      setGpr(RSI, (from + bytes) & mask);
    } else fill(target, size, bytes);
    setGpr(RDI, (to + bytes) & mask);
  }
  setRepeating(false);
  if (!repeated) return true;
  setGpr(RCX, 0);
  if (count) charge(count === 1 ? WORK_ELEMENT : 1 + bytes / BULK_BYTES);
  return true;
}

function move(target: u32, source: u32, bytes: u32): void {
  if (bytes > SHORT_BYTES) {
    memory.copy(target, source, bytes);
    return;
  }
  let at: u32 = 0;
  for (; at + 8 <= bytes; at += 8) store<u64>(target + at, load<u64>(source + at));
  for (; at < bytes; at++) store<u8>(target + at, load<u8>(source + at));
}

function fill(target: u32, size: u32, bytes: u32): void {
  let pattern = gpr(RAX);
  if (size === 1) pattern = (pattern & 0xff) * 0x0101010101010101;
  else if (size === 2) pattern = (pattern & 0xffff) * 0x0001000100010001;
  else if (size === 4) pattern = (pattern & 0xffffffff) * 0x0000000100000001;
  if (bytes > SHORT_BYTES && pattern === (pattern & 0xff) * 0x0101010101010101) {
    memory.fill(target, <u8>pattern, bytes);
    return;
  }
  let at: u32 = 0;
  for (; at + 8 <= bytes; at += 8) store<u64>(target + at, pattern);
  // What is left are whole elements, of which the pattern is made.
  for (; at < bytes; at++) {
    store<u8>(target + at, <u8>pattern);
    pattern >>= 8;
  }
}
