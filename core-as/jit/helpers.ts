/** What compiled regions call: slow memory accesses, and micro-ops that they leave to the interpreter's code. */
import { shiftSized } from '../cpu/alu';
import { execute } from '../cpu/execute';
import { DONE, FAULT, REDISPATCH } from '../cpu/status';
import { readLinear, readRegister, rmwBegin, rmwEnd, writeLinear, writeRegister } from '../cpu/operand';
import { simdCompute, simdRun } from '../cpu/simd-operand';
import { FAULTED, LEAVE_BLOCK, MODE_64, clearFault, cpu, faulted, mode } from '../cpu/state';
import { tlbBank, tlbHalf } from '../mmu/banks';
import { K, REG_PAGE, REG_PAGE_HIGH, SUB_SIZE_SHIFT, U_D, U_IMM, U_KIND, U_LEN, U_OFF, U_SUB } from '../cpu/uops';
import { R_JIT_BANK, R_JIT_FAULT, R_JIT_ENTRY, R_JIT_STATUS, R_JIT_TARGET, R_RIP } from '../layout';
import {
  JIT_EXIT_RUN,
  JIT_FAULT,
  JIT_GO,
  JIT_REDISPATCH,
  S_OFFSET,
  S_UOP,
  WRITE_FAULT,
  WRITE_LEAVE,
  WRITE_OK,
} from './abi';
import { countRun } from './counts';
import { sitesOf } from './slots';
import { lazyFlags, settleRegionFlags } from './flags';
import { stringAtOnce } from './strings';

/** HELPER_READ. The region looks in one half of the bank only, so the entry may be there after all. */
export function jitRead(address: u64, sizeBytes: u32): u64 {
  const value = readLinear(address, sizeBytes);
  store<u32>(cpu, faulted & FAULTED, R_JIT_FAULT);
  return value;
}

function writeStatus(): u32 {
  if (!faulted) return WRITE_OK;
  if (faulted & FAULTED) return WRITE_FAULT;
  clearFault();
  return WRITE_LEAVE;
}

/** HELPER_WRITE. */
export function jitWrite(address: u64, value: u64, sizeBytes: u32): u32 {
  writeLinear(address, sizeBytes, value);
  return writeStatus();
}

/** HELPER_RMW. */
export function jitReadModify(address: u64, sizeBytes: u32): u64 {
  const value = rmwBegin(address, sizeBytes);
  store<u32>(cpu, faulted & FAULTED, R_JIT_FAULT);
  return value;
}

/** HELPER_RMW_END. */
export function jitWriteBack(value: u64, sizeBytes: u32): u32 {
  rmwEnd(sizeBytes, value);
  return writeStatus();
}

/** HELPER_FLAGS. */
export function jitFlags(kind: u32, a: u64, b: u64, result: i64, aux: u32): void {
  lazyFlags(cpu, kind, a, b, result, aux);
}

/** HELPER_VECTOR: nothing of it touches memory, and the region has looked whether it may be executed. */
export function jitVector(site: u32, operand: u32): u32 {
  const p = load<u32>(sitesOf(load<u32>(cpu, R_JIT_ENTRY)) + site, S_UOP);
  countRun(p);
  return simdCompute(p, operand) ? 0 : 1;
}

function setPageRegisters(page: u64): void {
  store<u64>(cpu, page, REG_PAGE);
  store<u64>(cpu, page + 0x80000000, REG_PAGE_HIGH);
}

/** Linear address of the page with the code of a site, in a region that was entered with the page `from`. */
function pageOfSite(site: u32, from: u64): u64 {
  return cutCodeAddress(from + <u64>(<i64>load<i32>(site, S_OFFSET))) & ~0xfff;
}

/** Linear address of the instruction after the micro-op's. */
function nextAddress(page: u64, p: u32): u64 {
  return cutCodeAddress(page + load<u16>(p, U_OFF) + load<u8>(p, U_LEN));
}

// @ts-ignore: decorator
@inline
function cutCodeAddress(address: u64): u64 {
  return mode === MODE_64 ? address : address & 0xffffffff;
}

/** HELPER_RUN: the micro-op of a site, in a region that was entered with the page `from`. Not 0: R_JIT_STATUS says how to leave. */
export function jitRun(site: u32, from: u64): u32 {
  const s = sitesOf(load<u32>(cpu, R_JIT_ENTRY)) + site;
  const p = load<u32>(s, S_UOP);
  const page = pageOfSite(s, from);
  const next = nextAddress(page, p);
  settleRegionFlags(cpu);
  // RIP-relative operands refer to the page register; the interpreter's own goes on belonging to the page it came from.
  const before = load<u64>(cpu, REG_PAGE);
  if (before !== page) setPageRegisters(page);
  const status = runUop(p, page, next);
  if (before !== page) setPageRegisters(before);
  if (status < 0) {
    store<u32>(cpu, tlbHalf(tlbBank, page), R_JIT_BANK);
    return 0;
  }
  store<u32>(cpu, status, R_JIT_STATUS);
  return 1;
}

/** HELPER_STRING: general registers are in memory; flags need not be, which the instruction neither reads nor changes. */
export function jitString(site: u32, from: u64): u32 {
  const s = sitesOf(load<u32>(cpu, R_JIT_ENTRY)) + site;
  const p = load<u32>(s, S_UOP);
  if (stringAtOnce(p)) return 0;
  const page = pageOfSite(s, from);
  const status = runUop(p, page, nextAddress(page, p));
  if (status < 0) return 0;
  store<u32>(cpu, status, R_JIT_STATUS);
  return 1;
}

/** The micro-op is done; otherwise runUop() returns JIT_*. */
const RUN_OK: i32 = -1;

function runUop(p: u32, page: u64, next: u64): i32 {
  countRun(p);
  switch (<i32>load<u8>(p, U_KIND)) {
    case K.CALL_X: {
      store<u64>(cpu, next, R_RIP);
      const status = execute(p, page);
      if (status !== DONE) {
        if (status === FAULT) return JIT_FAULT;
        if (faulted & LEAVE_BLOCK) clearFault();
        return status === REDISPATCH ? JIT_REDISPATCH : JIT_EXIT_RUN;
      }
      break;
    }
    case K.SIMD_R:
    case K.SIMD_LD:
    case K.SIMD_ST:
    case K.SIMD_SPECIAL:
      simdRun(p);
      break;
    case K.SHIFT_I:
    case K.SHIFT_CL: {
      const sub = load<u32>(p, U_SUB);
      const size = (sub >> SUB_SIZE_SHIFT) & 15;
      const d: u32 = load<u8>(p, U_D);
      const count: u32 = <i32>load<u8>(p, U_KIND) === K.SHIFT_I ? load<u32>(p, U_IMM) : load<u8>(cpu, 8);
      writeRegister(d, size, shiftSized(sub & 7, readRegister(d, size), count, size));
      break;
    }
    default:
      unreachable();
  }
  if (!faulted) return RUN_OK;
  if (faulted & FAULTED) return JIT_FAULT;
  clearFault();
  store<u64>(cpu, next, R_JIT_TARGET);
  return JIT_GO;
}
