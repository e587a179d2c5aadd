/**
 * How an x87 instruction ends: stack faults, and what an operation raised goes to the status word (SDM volume 1, 8.5
 * and 8.6).
 */
import {
  INDEFINITE_SE,
  INDEFINITE_SIG,
  control,
  raise,
  raised,
  resultSe,
  resultSig,
  roundedUp,
  setRoundedUp,
} from './float80';
import {
  C1,
  EX_ALL,
  EX_BEFORE,
  EX_INVALID,
  EX_OVERFLOW,
  EX_STACK,
  EX_UNDERFLOW,
  FPU_FOP,
  FPU_LAST_OPCODE,
  FPU_STATUS,
  STATUS_BUSY,
  STATUS_ERROR_SUMMARY,
  isEmpty,
  markValid,
  pop,
  push,
  setRegister,
  stackRegister,
} from './state';

/**
 * Moves what the operation raised to the status word, and C1. False if an unmasked exception that precedes the
 * computation (#I, #D, #Z) leaves destination and stack alone.
 */
export function commit(cpu: u32): bool {
  let status = load<u32>(cpu, FPU_STATUS) & ~C1;
  if ((raised | (<u32>roundedUp)) === 0) {
    store<u32>(cpu, status, FPU_STATUS);
    return true;
  }
  status |= raised | (roundedUp ? C1 : 0);
  const unmasked = raised & ~control & EX_ALL;
  if (unmasked) {
    status |= STATUS_ERROR_SUMMARY | STATUS_BUSY;
    store<u32>(cpu, load<u32>(cpu, FPU_LAST_OPCODE), FPU_FOP);
  }
  store<u32>(cpu, status, FPU_STATUS);
  return (unmasked & EX_BEFORE) === 0;
}

/** commit() for a store to memory in a narrower format: an unmasked overflow or underflow forbids it too. */
export function commitNarrowing(cpu: u32): bool {
  return commit(cpu) && (raised & ~control & (EX_OVERFLOW | EX_UNDERFLOW)) === 0;
}

/** Sets and clears condition codes. */
export function setCodes(cpu: u32, mask: u32, codes: u32): void {
  store<u32>(cpu, (load<u32>(cpu, FPU_STATUS) & ~mask) | codes, FPU_STATUS);
}

/** Stack underflow: #IS with C1 = 0. True if masked: the destination then becomes the indefinite. */
export function underflowMasked(cpu: u32): bool {
  raise(EX_INVALID | EX_STACK);
  setRoundedUp(false);
  return commit(cpu);
}

/** Stack overflow: #IS with C1 = 1. True if masked. */
export function overflowMasked(cpu: u32): bool {
  raise(EX_INVALID | EX_STACK);
  setRoundedUp(true);
  return commit(cpu);
}

/** Stores the indefinite in ST(i). */
export function storeIndefinite(cpu: u32, i: u32): void {
  setRegister(stackRegister(cpu, i), INDEFINITE_SE, INDEFINITE_SIG);
  markValid(cpu, i);
}

/** Stores the result of the operation in ST(i). */
// @ts-ignore: decorator
@inline
export function storeResult(cpu: u32, i: u32): void {
  setRegister(stackRegister(cpu, i), resultSe, resultSig);
}

/** Commits, then pushes the result. The caller made sure that ST(7) is empty. */
export function pushResult(cpu: u32): void {
  if (!commit(cpu)) return;
  push(cpu);
  storeResult(cpu, 0);
}

/** True if ST(7) is empty; otherwise the stack overflow has been dealt with. */
export function roomToPush(cpu: u32): bool {
  if (isEmpty(cpu, 7)) return true;
  if (overflowMasked(cpu)) {
    push(cpu);
    storeIndefinite(cpu, 0);
  }
  return false;
}

export function popTimes(cpu: u32, times: u32): void {
  if (times) pop(cpu);
  if (times > 1) pop(cpu);
}
