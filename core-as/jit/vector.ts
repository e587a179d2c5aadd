/**
 * SSE and AVX instructions in line: moves, lanewise integer operations, shuffles, and arithmetic of scalar doubles.
 *
 * Vector registers stay in the vCPU block; a 256-bit instruction is two operations of 128 bits. What is not here is run by the
 * interpreter's code. So is arithmetic that does anything but round to nearest: operands must be normal numbers or zeros, all exceptions masked
 * and the precision flag, which then needs no computing, set.
 */
import { simdVvvv } from '../cpu/simd-uop';
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE } from '../cpu/state';
import { K, REG_ZERO, U_BASE, U_D, U_IDX, U_IMM, U_KIND, U_S } from '../cpu/uops';
import { R_CR0, R_CR4, R_MXCSR, R_XCR0, R_YMM } from '../layout';
import * as op from '../simd/operations';
import { EXECUTE_W } from '../simd/status';
import { FORM_FIXED, FORM_SINGLE, HELPER_RUN, HELPER_VECTOR } from './abi';
import { isCalled, leaveAside, leaveBy, leaveWithStatus, siteOfFault, siteOfStatus } from './exits';
import * as f from './flags';
import { close, openIf } from './labels';
import {
  LOCAL_ADDRESS,
  LOCAL_AUX,
  LOCAL_CPU,
  LOCAL_PAGE,
  LOCAL_RESULT,
  LOCAL_STATUS,
  LOCAL_VALUE,
  LOCAL_VALUE2,
  loadRegister,
  noteUse,
  popRegister,
  pushRegister,
  storeRegisters,
} from './locals';
import { checkAccess, pushEffectiveAddress, pushPointer } from './memory';
import { TYPE_RUN, TYPE_VECTOR, callHelper } from './module-types';
import {
  binaryOpcode,
  shiftOpcode,
  flagsOf,
  halves,
  inMemory,
  isAligned,
  isOperationInLine,
  isUnpack,
  isVex,
  operation,
  vectorBytes,
  vectorRead,
  vectorSetsFlags,
  vectorWritten,
} from './vector-forms';
import * as w from './wasm';

/** MXCSR without its other flags, when arithmetic in line is exact: masks all set, precision flag set, nearest, no flushing. */
const MXCSR_MODE: u32 = 0xffe0;
const MXCSR_PLAIN: u32 = 0x1fa0;

/** The node has checked that SSE (bit 0) or AVX (bit 1) may be used: nothing in line changes that. */
let checked: u32 = 0;

/** A node begins, or something ran that can do anything. */
export function forgetVectorChecks(): void {
  checked = 0;
}

/** Notes the general registers of an instruction that is translated here. */
export function noteVectorRegisters(p: u32): void {
  if (inMemory(p)) {
    noteUse(load<u8>(p, U_BASE));
    noteUse(load<u8>(p, U_IDX));
  }
  noteUse(vectorRead(p));
  noteUse(vectorWritten(p));
}

// ---------------------------------------------------------------------------------------------------------------------
// Registers and operands

// @ts-ignore: decorator
@inline
function place(register: u32): u32 {
  return R_YMM + (register << 5);
}

/** Where the result goes. */
function destination(p: u32): u32 {
  const id = operation(p);
  // Shifts by an immediate have an opcode's digit there.
  if (id >= op.OP_PSLLW_I && id <= op.OP_PSRAD_I) return place(isVex(p) ? vvvv(p) : load<u8>(p, U_S));
  return place(load<u8>(p, U_D));
}

function vvvv(p: u32): u32 {
  return simdVvvv(load<u64>(p, U_IMM));
}

function firstSource(p: u32): u32 {
  return place(isVex(p) ? vvvv(p) : load<u8>(p, U_D));
}

/** Pushes 128 bits of the first source. */
function pushFirst(p: u32, half: u32): void {
  w.get(LOCAL_CPU);
  w.vectorAccess(w.V128_LOAD, firstSource(p) + (half << 4));
}

/** Pushes the pointer that loads of the second operand add their offset to; returns that offset. */
function pushSecondBase(p: u32): u32 {
  if (inMemory(p)) return pushPointer();
  w.get(LOCAL_CPU);
  return place(load<u8>(p, U_S));
}

function pushSecond(p: u32, half: u32): void {
  const offset = pushSecondBase(p);
  w.vectorAccess(w.V128_LOAD, offset + (half << 4));
}

/** Pushes 32 or 64 bits at the second operand, zero-extended. */
function pushSecondScalar(p: u32, wide: bool): void {
  const offset = pushSecondBase(p);
  w.access(wide ? w.I64_LOAD : w.I64_LOAD32_U, offset);
}

function pushZeroVector(): void {
  w.vector(w.V128_CONST);
  w.zeros(16);
}

/** VEX: the upper half of the destination becomes 0. */
function clearUpper(p: u32, to: u32): void {
  if (!isVex(p)) return;
  w.get(LOCAL_CPU);
  pushZeroVector();
  w.vectorAccess(w.V128_STORE, to + 16);
}

/** Stores what is on the stack above the vCPU's address. */
function storeHalf(to: u32, half: u32): void {
  w.vectorAccess(w.V128_STORE, to + (half << 4));
}

// ---------------------------------------------------------------------------------------------------------------------
// The way round

/**
 * Has the interpreter run the instruction, on a path of its own: by leaving the region, or in a helper when that has happened often here. True
 * when the path comes back.
 */
function runSlowly(p: u32): bool {
  if (!isCalled(p)) {
    leaveAside(p, FORM_SINGLE);
    return false;
  }
  const site = siteOfStatus(p);
  w.const32(site);
  w.get(LOCAL_PAGE);
  callHelper(HELPER_RUN, TYPE_RUN);
  openIf();
  leaveWithStatus(site);
  close();
  loadRegister(vectorWritten(p));
  return true;
}

/** The interpreter's code raises #UD or #NM unless the operating system has enabled SSE, or AVX (cpu/simd-operand.ts: simdCheck). */
function checkEnabled(p: u32): void {
  const vex = isVex(p);
  const bit: u32 = vex ? 2 : 1;
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
function checkAligned(p: u32): void {
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

// ---------------------------------------------------------------------------------------------------------------------

/** Translates an instruction that isVectorInLine. */
export function translateVector(p: u32, end: u32): void {
  const id = operation(p);
  // There are ways out of conditional code, so registers and what is known of the flags must be in place before.
  storeRegisters();
  f.settleFlags();
  checkEnabled(p);
  if (inMemory(p)) {
    checkAligned(p);
    checkAccess(p, end);
  }
  if (!isOperationInLine(p)) callOperation(p);
  else if (id >= op.OP_FP_FIRST) translateScalar(p, id);
  else if (<i32>load<u8>(p, U_KIND) === K.SIMD_ST) translateStore(p, id);
  else translateOperation(p, id);
}

/** Has a helper execute the operation. General registers that it reads are in memory. */
function callOperation(p: u32): void {
  const site = siteOfFault(p);
  w.const32(site);
  if (inMemory(p)) {
    const offset = pushPointer();
    if (offset) {
      w.const32(offset);
      w.byte(w.I32_ADD);
    }
  } else w.const32(0);
  callHelper(HELPER_VECTOR, TYPE_VECTOR);
  openIf();
  leaveBy(site);
  close();
  loadRegister(vectorWritten(p));
  if (!vectorSetsFlags(p)) return;
  f.loadCanonical();
  f.flagsBecomeCanonical();
}

function translateStore(p: u32, id: u32): void {
  const from = place(load<u8>(p, U_D));
  if (id === op.OP_STORE) {
    for (let half: u32 = 0; half < vectorBytes(p) >> 4; half++) {
      const offset = pushPointer();
      w.get(LOCAL_CPU);
      w.vectorAccess(w.V128_LOAD, from + (half << 4));
      w.vectorAccess(w.V128_STORE, offset + (half << 4));
    }
    return;
  }
  const wide = vectorBytes(p) === 8;
  const offset = pushPointer();
  w.get(LOCAL_CPU);
  w.access(wide ? w.I64_LOAD : w.I64_LOAD32_U, from + (id === op.OP_STORE_HIGH ? 8 : 0));
  w.access(wide ? w.I64_STORE : w.I64_STORE32, offset);
}

function translateOperation(p: u32, id: u32): void {
  switch (id) {
    case op.OP_LOAD32:
    case op.OP_LOAD64:
      loadScalar(p, id === op.OP_LOAD64);
      return;
    case op.OP_MOVD_FROM_GPR:
      loadScalar(p, (flagsOf(p) & EXECUTE_W) !== 0);
      return;
    case op.OP_MOVD_TO_GPR:
      w.get(LOCAL_CPU);
      w.access(flagsOf(p) & EXECUTE_W ? w.I64_LOAD : w.I64_LOAD32_U, place(load<u8>(p, U_D)));
      popRegister(vectorWritten(p), 3, true);
      return;
    case op.OP_MOVSS:
    case op.OP_MOVSD:
    case op.OP_LOAD_LOW:
    case op.OP_LOAD_HIGH:
      replaceScalar(p, id);
      return;
    case op.OP_MOVMSKPS:
    case op.OP_MOVMSKPD:
    case op.OP_PMOVMSKB:
      signMask(p, id);
      return;
    case op.OP_VZERO:
      for (let register: u32 = 0; register < 16; register++) clearUpper(p, place(register));
      return;
    default:
      wholeVector(p, id);
  }
}

/** A scalar, and zeros above it. */
function loadScalar(p: u32, wide: bool): void {
  const to = destination(p);
  w.get(LOCAL_CPU);
  if (vectorRead(p) !== REG_ZERO) pushRegister(vectorRead(p), wide ? 3 : 2);
  else pushSecondScalar(p, wide);
  w.access(w.I64_STORE, to);
  w.get(LOCAL_CPU);
  w.const64(0);
  w.access(w.I64_STORE, to + 8);
  clearUpper(p, to);
}

/** The first source with a part of the second in the place of its own. */
function replaceScalar(p: u32, id: u32): void {
  const to = destination(p);
  const wide = id !== op.OP_MOVSS;
  pushSecondScalar(p, wide);
  w.set(LOCAL_VALUE);
  copyFirst(p, to);
  w.get(LOCAL_CPU);
  w.get(LOCAL_VALUE);
  w.access(wide ? w.I64_STORE : w.I64_STORE32, to + (id === op.OP_LOAD_HIGH ? 8 : 0));
  clearUpper(p, to);
}

/** VEX: the low 128 bits of the first source into the destination. */
function copyFirst(p: u32, to: u32): void {
  if (firstSource(p) === to) return;
  w.get(LOCAL_CPU);
  pushFirst(p, 0);
  storeHalf(to, 0);
}

function signMask(p: u32, id: u32): void {
  const opcode = id === op.OP_PMOVMSKB ? w.I8X16_BITMASK : id === op.OP_MOVMSKPS ? w.I32X4_BITMASK : w.I64X2_BITMASK;
  const lanes: u32 = id === op.OP_PMOVMSKB ? 16 : id === op.OP_MOVMSKPS ? 4 : 2;
  pushSecond(p, 0);
  w.vector(opcode);
  if (halves(p) === 2) {
    pushSecond(p, 1);
    w.vector(opcode);
    w.const32(lanes);
    w.byte(w.I32_SHL);
    w.byte(w.I32_OR);
  }
  w.byte(w.I64_EXTEND_I32_U);
  popRegister(vectorWritten(p), 3, true);
}

/** Operations on 128 bits, twice for a 256-bit instruction. */
function wholeVector(p: u32, id: u32): void {
  const to = destination(p);
  const count = halves(p);
  for (let half: u32 = 0; half < count; half++) {
    w.get(LOCAL_CPU);
    pushResult(p, id, half);
    storeHalf(to, half);
  }
  if (count === 1) clearUpper(p, to);
}

function pushResult(p: u32, id: u32, half: u32): void {
  if (id >= op.OP_VPBROADCASTB && id <= op.OP_VPBROADCASTQ) {
    // V128_LOAD8_SPLAT and its like follow each other. The register may be its own source: both halves come from its low one.
    const offset = pushSecondBase(p);
    w.vectorAccess(w.V128_LOAD8_SPLAT + (id - op.OP_VPBROADCASTB), offset);
    return;
  }
  if (id >= op.OP_PSLLW_I && id <= op.OP_PSRAD_I) {
    pushShifted(p, id, half);
    return;
  }
  switch (id) {
    case op.OP_MOV:
      pushSecond(p, half);
      return;
    case op.OP_PSHUFD:
      pushSecond(p, half);
      pushSecond(p, half);
      w.vector(w.I8X16_SHUFFLE);
      for (let lane: u32 = 0; lane < 4; lane++) {
        const from = ((load<u32>(p, U_IMM) >> (lane << 1)) & 3) << 2;
        for (let i: u32 = 0; i < 4; i++) w.byte(from + i);
      }
      return;
    case op.OP_PANDN:
      pushSecond(p, half);
      pushFirst(p, half);
      w.vector(w.V128_ANDNOT);
      return;
    case op.OP_PSHUFB:
      pushFirst(p, half);
      pushSecond(p, half);
      // Bit 7 clears the byte, as any index above 15 does in WebAssembly; bits 4 to 6 count for nothing.
      w.vector(w.V128_CONST);
      for (let i: u32 = 0; i < 16; i++) w.byte(0x8f);
      w.vector(w.V128_AND);
      w.vector(w.I8X16_SWIZZLE);
      return;
    default:
      pushFirst(p, half);
      pushSecond(p, half);
      if (isUnpack(id)) interleave((id - op.OP_PUNPCKLBW) & 3, id >= op.OP_PUNPCKHBW);
      else w.vector(binaryOpcode(id));
  }
}

/** Elements of the low or high halves of two vectors by turns. */
function interleave(log2Bytes: u32, high: bool): void {
  const bytes: u32 = 1 << log2Bytes;
  const start: u32 = high ? 8 : 0;
  w.vector(w.I8X16_SHUFFLE);
  for (let from = start; from < start + 8; from += bytes) {
    for (let i: u32 = 0; i < bytes; i++) w.byte(from + i);
    for (let i: u32 = 0; i < bytes; i++) w.byte(16 + from + i);
  }
}

function pushShifted(p: u32, id: u32, half: u32): void {
  const index = id - op.OP_PSLLW_I;
  const arithmetic = id >= op.OP_PSRAW_I;
  const bits: u32 = 16 << (arithmetic ? index - 6 : index % 3);
  let count: u32 = load<u8>(p, U_IMM);
  if (count >= bits) {
    if (!arithmetic) {
      pushZeroVector();
      return;
    }
    count = bits - 1;
  }
  pushSecond(p, half);
  w.const32(count);
  w.vector(shiftOpcode(id));
}

// ---------------------------------------------------------------------------------------------------------------------
// Scalar doubles

/** Pushes whether the double in an i64 local is a normal number (i32). */
function pushIsNormal(local: u32): void {
  pushExponent(local);
  w.const32(0x7fe);
  w.byte(w.I32_LT_U);
}

/** The same for a normal number or a zero. */
function pushIsOrdinary(local: u32): void {
  pushIsNormal(local);
  pushIsZero(local);
  w.byte(w.I32_OR);
}

function pushIsZero(local: u32): void {
  w.get(local);
  w.const64(1);
  w.byte(w.I64_SHL);
  w.byte(w.I64_EQZ);
}

/** Pushes the biased exponent less 1, so that zeros and denormals come out above all others (i32). */
function pushExponent(local: u32): void {
  w.get(local);
  w.const64(52);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.const32(0x7ff);
  w.byte(w.I32_AND);
  w.const32(1);
  w.byte(w.I32_SUB);
}

function pushIsPlain(): void {
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_MXCSR);
  w.const32(MXCSR_MODE);
  w.byte(w.I32_AND);
  w.const32(MXCSR_PLAIN);
  w.byte(w.I32_EQ);
}

function pushDouble(local: u32): void {
  w.get(local);
  w.byte(w.F64_REINTERPRET_I64);
}

/** The second operand into LOCAL_VALUE2. */
function readSecond(p: u32, wide: bool): void {
  if (vectorRead(p) !== REG_ZERO) pushRegister(vectorRead(p), wide ? 3 : 2);
  else pushSecondScalar(p, wide);
  w.set(LOCAL_VALUE2);
}

function translateScalar(p: u32, id: u32): void {
  switch (id) {
    case op.OP_UCOMISD:
    case op.OP_COMISD:
      compareDoubles(p);
      return;
    case op.OP_CVTSI2SD:
      convertToDouble(p);
      return;
    case op.OP_CVTTSD2SI:
      truncateDouble(p);
      return;
    default:
      doubleArithmetic(p, id);
  }
}

function doubleArithmetic(p: u32, id: u32): void {
  const to = destination(p);
  readSecond(p, true);
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, firstSource(p));
  w.set(LOCAL_VALUE);
  pushDouble(LOCAL_VALUE);
  pushDouble(LOCAL_VALUE2);
  w.byte(id === op.OP_ADDSD ? w.F64_ADD : id === op.OP_SUBSD ? w.F64_SUB : id === op.OP_MULSD ? w.F64_MUL : w.F64_DIV);
  w.byte(w.I64_REINTERPRET_F64);
  w.set(LOCAL_ADDRESS);
  pushIsPlain();
  pushIsOrdinary(LOCAL_VALUE);
  w.byte(w.I32_AND);
  if (id === op.OP_DIVSD) pushIsNormal(LOCAL_VALUE2);
  else pushIsOrdinary(LOCAL_VALUE2);
  w.byte(w.I32_AND);
  if (id === op.OP_ADDSD || id === op.OP_SUBSD) {
    // What is too small for a normal number is exact; only what is too large is not.
    w.get(LOCAL_ADDRESS);
    w.const64(52);
    w.byte(w.I64_SHR_U);
    w.byte(w.I32_WRAP_I64);
    w.const32(0x7ff);
    w.byte(w.I32_AND);
    w.const32(0x7ff);
    w.byte(w.I32_NE);
  } else {
    // Not the smallest ones either, which may come from below (underflow is detected after rounding, SDM vol. 1, 4.9.1.5).
    pushExponent(LOCAL_ADDRESS);
    w.const32(1);
    w.byte(w.I32_SUB);
    w.const32(0x7fd);
    w.byte(w.I32_LT_U);
    pushIsZero(LOCAL_VALUE);
    w.byte(w.I32_OR);
    if (id === op.OP_MULSD) {
      pushIsZero(LOCAL_VALUE2);
      w.byte(w.I32_OR);
    }
  }
  w.byte(w.I32_AND);
  openIf();
  storeDouble(p, to);
  w.byte(w.ELSE);
  runSlowly(p);
  close();
}

/** LOCAL_ADDRESS into the low half of the destination, whose upper one is the first source's. */
function storeDouble(p: u32, to: u32): void {
  copyFirst(p, to);
  w.get(LOCAL_CPU);
  w.get(LOCAL_ADDRESS);
  w.access(w.I64_STORE, to);
  clearUpper(p, to);
}

/** ZF, PF and CF of a comparison of normal numbers: not unordered. OF, SF and AF are 0. */
function compareDoubles(p: u32): void {
  readSecond(p, true);
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, place(load<u8>(p, U_D)));
  w.set(LOCAL_VALUE);
  pushIsOrdinary(LOCAL_VALUE);
  pushIsOrdinary(LOCAL_VALUE2);
  w.byte(w.I32_AND);
  openIf();
  pushDouble(LOCAL_VALUE);
  pushDouble(LOCAL_VALUE2);
  w.byte(w.F64_NE);
  w.tee(LOCAL_STATUS);
  w.byte(w.I64_EXTEND_I32_U);
  w.set(LOCAL_RESULT);
  // The interpreter's form (cpu/flags.ts): CF in bit 31, CF ^ OF in bit 30; bit 8 makes the parity of a result of 0 odd.
  w.const32(<i32>0xc0000000);
  w.const32(0);
  pushDouble(LOCAL_VALUE);
  pushDouble(LOCAL_VALUE2);
  w.byte(w.F64_LT);
  w.byte(w.SELECT);
  w.const32(0);
  w.const32(0x100);
  w.get(LOCAL_STATUS);
  w.byte(w.SELECT);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
  w.byte(w.ELSE);
  if (runSlowly(p)) f.loadCanonical();
  close();
  f.flagsBecomeCanonical();
}

function convertToDouble(p: u32): void {
  const to = destination(p);
  const wide = (flagsOf(p) & EXECUTE_W) !== 0;
  readSecond(p, wide);
  // 32 bits are exact.
  if (wide) {
    pushIsPlain();
    openIf();
  }
  w.get(LOCAL_VALUE2);
  if (!wide) w.byte(w.I64_EXTEND32_S);
  w.byte(w.F64_CONVERT_I64_S);
  w.byte(w.I64_REINTERPRET_F64);
  w.set(LOCAL_ADDRESS);
  storeDouble(p, to);
  if (!wide) return;
  w.byte(w.ELSE);
  runSlowly(p);
  close();
}

function truncateDouble(p: u32): void {
  const wide = (flagsOf(p) & EXECUTE_W) !== 0;
  readSecond(p, true);
  pushIsPlain();
  // Below 2^31 or 2^63.
  pushExponent(LOCAL_VALUE2);
  w.const32(1023 + (wide ? 62 : 30));
  w.byte(w.I32_LT_U);
  w.byte(w.I32_AND);
  openIf();
  pushDouble(LOCAL_VALUE2);
  w.byte(w.I64_TRUNC_F64_S);
  popRegister(vectorWritten(p), wide ? 3 : 2, wide);
  w.byte(w.ELSE);
  runSlowly(p);
  close();
}
