/**
 * What translated vector instructions have in common: their registers and operands, the checks before them, and the way round.
 *
 * Vector registers stay in the vCPU block; a 256-bit instruction is two operations of 128 bits.
 */
import { simdVvvv } from '../cpu/simd-uop';
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE } from '../cpu/state';
import { U_D, U_IMM, U_S } from '../cpu/uops';
import { R_CR0, R_CR4, R_XCR0, R_YMM } from '../layout';
import * as op from '../simd/operations';
import { FORM_FIXED, FORM_SINGLE } from './abi';
import { isCalled, leaveAside, runInHelper } from './exits';
import { close, openIf } from './labels';
import { LOCAL_CPU, loadRegister } from './locals';
import { pushEffectiveAddress, pushPointer } from './memory';
import { inMemory, isAligned, isVex, operation, vectorBytes, vectorWritten } from './vector-forms';
import * as w from './wasm';

/** The node has checked that SSE or AVX may be used, or that MXCSR is plain (jit/float.ts): nothing in line changes that. */
let checked: u32 = 0;
const CHECKED_SSE: u32 = 1;
const CHECKED_AVX: u32 = 2;
const CHECKED_PLAIN: u32 = 4;

/** A node begins, or something ran that can do anything. */
export function forgetVectorChecks(): void {
  checked = 0;
}

/** Compiled code that goes on from here has found MXCSR to be plain. */
export function notePlain(): void {
  checked |= CHECKED_PLAIN;
}

export function isPlainKnown(): bool {
  return (checked & CHECKED_PLAIN) !== 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Registers and operands

// @ts-ignore: decorator
@inline
export function place(register: u32): u32 {
  return R_YMM + (register << 5);
}

/** Where the result goes. */
export function destination(p: u32): u32 {
  const id = operation(p);
  // Shifts by an immediate have an opcode's digit there.
  if (id >= op.OP_PSLLW_I && id <= op.OP_PSRLDQ) return place(isVex(p) ? vvvv(p) : load<u8>(p, U_S));
  return place(load<u8>(p, U_D));
}

function vvvv(p: u32): u32 {
  return simdVvvv(load<u64>(p, U_IMM));
}

export function firstSource(p: u32): u32 {
  return place(isVex(p) ? vvvv(p) : load<u8>(p, U_D));
}

/** The register that ModRM.reg names. */
export function registerOperand(p: u32): u32 {
  return place(load<u8>(p, U_D));
}

/** Pushes 128 bits of the first source. */
export function pushFirst(p: u32, half: u32): void {
  w.get(LOCAL_CPU);
  w.vectorAccess(w.V128_LOAD, firstSource(p) + (half << 4));
}

/** Pushes the pointer that loads of the second operand add their offset to; returns that offset. */
export function pushSecondBase(p: u32): u32 {
  if (inMemory(p)) return pushPointer();
  w.get(LOCAL_CPU);
  return place(load<u8>(p, U_S));
}

export function pushSecond(p: u32, half: u32): void {
  const offset = pushSecondBase(p);
  w.vectorAccess(w.V128_LOAD, offset + (half << 4));
}

/** Pushes 32 or 64 bits at the second operand, zero-extended. */
export function pushSecondScalar(p: u32, wide: bool): void {
  const offset = pushSecondBase(p);
  w.access(wide ? w.I64_LOAD : w.I64_LOAD32_U, offset);
}

export function pushZeroVector(): void {
  w.vector(w.V128_CONST);
  w.zeros(16);
}

/** VEX: the upper half of the destination becomes 0. */
export function clearUpper(p: u32, to: u32): void {
  if (!isVex(p)) return;
  w.get(LOCAL_CPU);
  pushZeroVector();
  w.vectorAccess(w.V128_STORE, to + 16);
}

/** Stores what is on the stack above the vCPU's address. */
export function storeHalf(to: u32, half: u32): void {
  w.vectorAccess(w.V128_STORE, to + (half << 4));
}

// ---------------------------------------------------------------------------------------------------------------------
// The way round

/**
 * Has the interpreter run the instruction, on a path of its own: by leaving the region, or in a helper when that has happened often here. True
 * when the path comes back.
 */
export function runSlowly(p: u32): bool {
  if (!isCalled(p)) {
    leaveAside(p, FORM_SINGLE);
    return false;
  }
  runInHelper(p);
  loadRegister(vectorWritten(p));
  return true;
}

/** The interpreter's code raises #UD or #NM unless the operating system has enabled SSE, or AVX (cpu/simd-operand.ts: simdCheck). */
export function checkEnabled(p: u32): void {
  const vex = isVex(p);
  const bit = vex ? CHECKED_AVX : CHECKED_SSE;
  if (checked & bit) return;
  checked |= bit;
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, R_CR0);
  w.const64(vex ? CR0_TS : CR0_TS | CR0_EM);
  w.byte(w.I64_AND);
  pushMissing(R_CR4, vex ? CR4_OSXSAVE : CR4_OSFXSR);
  w.byte(w.I64_OR);
  if (vex) {
    pushMissing(R_XCR0, 6);
    w.byte(w.I64_OR);
  }
  w.byte(w.I64_EQZ);
  w.byte(w.I32_EQZ);
  openIf();
  leaveAside(p, FORM_FIXED);
  close();
}

/** Pushes those of some bits that a register lacks. */
function pushMissing(offset: u32, bits: u64): void {
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, offset);
  w.const64(bits);
  w.byte(w.I64_AND);
  w.const64(bits);
  w.byte(w.I64_XOR);
}

/** Leaves unless the memory operand is aligned as it must be. */
export function checkAligned(p: u32): void {
  if (!isAligned(p)) return;
  pushEffectiveAddress(p);
  w.const64(vectorBytes(p) - 1);
  w.byte(w.I64_AND);
  w.byte(w.I64_EQZ);
  w.byte(w.I32_EQZ);
  openIf();
  leaveAside(p, FORM_FIXED);
  close();
}

/** VEX: the low 128 bits of the first source into the destination. */
export function copyFirst(p: u32, to: u32): void {
  if (firstSource(p) === to) return;
  w.get(LOCAL_CPU);
  pushFirst(p, 0);
  storeHalf(to, 0);
}
