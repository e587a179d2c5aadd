/**
 * x87 state inside a vCPU block, and the bits of its control, status and tag words (SDM volume 1, section 8.1).
 *
 * The eight physical registers R0-R7 take 16 bytes each: the 64-bit significand, then sign and exponent in a u16, then
 * six bytes that stay zero. ST(i) is physical register (TOP + i) & 7. TOP is kept apart from the rest of the status
 * word.
 */
import { R_FPU } from '../layout';

/** 8 x 16 bytes: physical registers. */
export const FPU_REGISTERS = R_FPU + 0x00;
/** u32: control word. */
export const FPU_CONTROL = R_FPU + 0x80;
/** u32: status word, the TOP field zero. */
export const FPU_STATUS = R_FPU + 0x84;
/** u32: TOP, 0-7. */
export const FPU_TOP = R_FPU + 0x88;
/** u32: bit n set = physical register n is not empty (the abridged tag word of FXSAVE). */
export const FPU_VALID = R_FPU + 0x8c;
/** u32: FOP, the 11-bit opcode of the last instruction that raised an unmasked exception. */
export const FPU_FOP = R_FPU + 0x90;
/** u32: opcode of the last non-control instruction; becomes FOP when that raises an unmasked exception. */
export const FPU_LAST_OPCODE = R_FPU + 0x94;
/** u64: offset of the last non-control instruction. */
export const FPU_IP = R_FPU + 0x98;
/** u64: offset of its memory operand. */
export const FPU_DP = R_FPU + 0xa0;
/** u32: selectors of both. */
export const FPU_CS = R_FPU + 0xa8;
export const FPU_DS = R_FPU + 0xac;

/** Exception bits: the same in the status word (flags) and the control word (masks). */
export const EX_INVALID = 0x01;
export const EX_DENORMAL = 0x02;
export const EX_ZERO_DIVIDE = 0x04;
export const EX_OVERFLOW = 0x08;
export const EX_UNDERFLOW = 0x10;
export const EX_PRECISION = 0x20;
export const EX_ALL = 0x3f;
/** Exceptions found before anything is computed: unmasked, they leave the operands alone. */
export const EX_BEFORE = 0x07;
/** Stack fault: set with EX_INVALID. */
export const EX_STACK = 0x40;

export const STATUS_ERROR_SUMMARY = 0x80;
export const STATUS_BUSY = 0x8000;
export const C0 = 0x0100;
export const C1 = 0x0200;
export const C2 = 0x0400;
export const C3 = 0x4000;
export const STATUS_TOP_SHIFT = 11;
export const STATUS_TOP_MASK = 0x3800;

export const CONTROL_RESET = 0x037f;
/** Bit 6 reads as one; bits 7 and 13-15 as zero. */
export const CONTROL_WRITABLE = 0x1f3f;
export const CONTROL_FIXED = 0x40;
export const PC_MASK = 0x300;
export const PC_SINGLE = 0x000;
export const PC_DOUBLE = 0x200;
export const PC_EXTENDED = 0x300;
export const RC_MASK = 0xc00;
export const RC_NEAREST = 0x000;
export const RC_DOWN = 0x400;
export const RC_UP = 0x800;
export const RC_ZERO = 0xc00;

/** Results of x87Memory and x87Register. */
export const X87_OK = 0;
export const X87_NO_STORE = 1;
export const X87_UNDEFINED = 2;

/** Address of ST(i). */
// @ts-ignore: decorator
@inline
export function stackRegister(cpu: u32, i: u32): u32 {
  return cpu + FPU_REGISTERS + (((load<u32>(cpu, FPU_TOP) + i) & 7) << 4);
}

/** Significand of the register at an address that stackRegister() gave. */
// @ts-ignore: decorator
@inline
export function significand(register: u32): u64 {
  return load<u64>(register);
}

/** Its sign (bit 15) and biased exponent (bits 0-14). */
// @ts-ignore: decorator
@inline
export function signExponent(register: u32): u32 {
  return load<u16>(register, 8);
}

// @ts-ignore: decorator
@inline
export function setRegister(register: u32, se: u32, sig: u64): void {
  store<u64>(register, sig);
  store<u64>(register, <u64>se, 8);
}

// @ts-ignore: decorator
@inline
export function isEmpty(cpu: u32, i: u32): bool {
  return ((load<u32>(cpu, FPU_VALID) >> ((load<u32>(cpu, FPU_TOP) + i) & 7)) & 1) === 0;
}

/** Tags ST(i) as holding a value. */
// @ts-ignore: decorator
@inline
export function markValid(cpu: u32, i: u32): void {
  store<u32>(cpu, load<u32>(cpu, FPU_VALID) | (1 << ((load<u32>(cpu, FPU_TOP) + i) & 7)), FPU_VALID);
}

/** Tags ST(i) empty. */
// @ts-ignore: decorator
@inline
export function markEmpty(cpu: u32, i: u32): void {
  store<u32>(cpu, load<u32>(cpu, FPU_VALID) & ~(1 << ((load<u32>(cpu, FPU_TOP) + i) & 7)), FPU_VALID);
}

/** Decrements TOP and tags the new ST(0) valid; the caller stores the value. */
// @ts-ignore: decorator
@inline
export function push(cpu: u32): void {
  const top = (load<u32>(cpu, FPU_TOP) - 1) & 7;
  store<u32>(cpu, top, FPU_TOP);
  store<u32>(cpu, load<u32>(cpu, FPU_VALID) | (1 << top), FPU_VALID);
}

/** Tags ST(0) empty and increments TOP. */
// @ts-ignore: decorator
@inline
export function pop(cpu: u32): void {
  const top = load<u32>(cpu, FPU_TOP);
  store<u32>(cpu, load<u32>(cpu, FPU_VALID) & ~(1 << top), FPU_VALID);
  store<u32>(cpu, (top + 1) & 7, FPU_TOP);
}

/** FSW, TOP included. */
export function x87StatusWord(cpu: u32): u32 {
  return load<u32>(cpu, FPU_STATUS) | (load<u32>(cpu, FPU_TOP) << STATUS_TOP_SHIFT);
}

/** Loads FSW; the error summary follows from flags and masks, so call it after the control word is in place. */
export function setStatusWord(cpu: u32, word: u32): void {
  store<u32>(cpu, (word >> STATUS_TOP_SHIFT) & 7, FPU_TOP);
  store<u32>(cpu, word & 0x477f, FPU_STATUS);
  updateErrorSummary(cpu);
}

/** Loads FCW and derives the error summary anew: unmasking a flag that is set makes it pending. */
export function setControlWord(cpu: u32, word: u32): void {
  store<u32>(cpu, (word & CONTROL_WRITABLE) | CONTROL_FIXED, FPU_CONTROL);
  updateErrorSummary(cpu);
}

function updateErrorSummary(cpu: u32): void {
  let status = load<u32>(cpu, FPU_STATUS) & ~(STATUS_ERROR_SUMMARY | STATUS_BUSY);
  if (status & ~load<u32>(cpu, FPU_CONTROL) & EX_ALL) status |= STATUS_ERROR_SUMMARY | STATUS_BUSY;
  store<u32>(cpu, status, FPU_STATUS);
}

/** FNINIT (SDM volume 2): registers keep their contents but are tagged empty. */
export function initialize(cpu: u32): void {
  store<u32>(cpu, CONTROL_RESET, FPU_CONTROL);
  store<u32>(cpu, 0, FPU_STATUS);
  store<u32>(cpu, 0, FPU_TOP);
  store<u32>(cpu, 0, FPU_VALID);
  store<u32>(cpu, 0, FPU_FOP);
  store<u32>(cpu, 0, FPU_LAST_OPCODE);
  store<u64>(cpu, 0, FPU_IP);
  store<u64>(cpu, 0, FPU_DP);
  store<u32>(cpu, 0, FPU_CS);
  store<u32>(cpu, 0, FPU_DS);
}
