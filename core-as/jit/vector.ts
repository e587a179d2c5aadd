/**
 * SSE and AVX instructions in line: moves, lanewise integer operations, shuffles and widening; floating point is in jit/float.ts. An operation that
 * WebAssembly lacks goes to a helper that executes it alone.
 */
import { K, REG_ZERO, U_BASE, U_D, U_IDX, U_IMM, U_KIND } from '../cpu/uops';
import * as op from '../simd/operations';
import { EXECUTE_W } from '../simd/status';
import { HELPER_VECTOR } from './abi';
import { leaveBy, siteOfFault } from './exits';
import * as f from './flags';
import { translateFloat } from './float';
import { close, openIf } from './labels';
import { LOCAL_CPU, LOCAL_VALUE, loadRegister, noteUse, popRegister, pushRegister, storeRegisters } from './locals';
import { checkAccess, pushPointer } from './memory';
import { TYPE_VECTOR, callHelper } from './module-types';
import { permute } from './permute';
import {
  binaryOpcode,
  flagsOf,
  halves,
  inMemory,
  isOperationInLine,
  isPermutation,
  operation,
  shiftOpcode,
  vectorBytes,
  vectorRead,
  vectorSetsFlags,
  vectorWritten,
  widenOpcode,
  widenedBytes,
} from './vector-forms';
import {
  checkAligned,
  checkEnabled,
  clearUpper,
  copyFirst,
  destination,
  place,
  pushFirst,
  pushSecond,
  pushSecondBase,
  pushSecondScalar,
  pushZeroVector,
  storeHalf,
} from './vector-operands';
import * as w from './wasm';

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
  else if (id >= op.OP_FP_FIRST) translateFloat(p, id);
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
      if (widenedBytes(id)) widen(p, id);
      else wholeVector(p, id);
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

/** PMOVSXxx, PMOVZXxx: the upper half first, for the register may be its own source. */
function widen(p: u32, id: u32): void {
  const to = destination(p);
  const bytes = widenedBytes(id);
  for (let half = halves(p); half-- > 0;) {
    w.get(LOCAL_CPU);
    const offset = pushSecondBase(p) + half * bytes;
    w.vectorAccess(bytes === 8 ? w.V128_LOAD64_ZERO : w.V128_LOAD32_ZERO, offset);
    w.vector(widenOpcode(id, false));
    if (widenOpcode(id, true)) w.vector(widenOpcode(id, true));
    storeHalf(to, half);
  }
  if (halves(p) === 1) clearUpper(p, to);
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
  if (isPermutation(id)) {
    permute(p, id, half);
    return;
  }
  switch (id) {
    case op.OP_MOV:
      pushSecond(p, half);
      return;
    case op.OP_PABSB:
    case op.OP_PABSW:
    case op.OP_PABSD:
      pushSecond(p, half);
      w.vector(id === op.OP_PABSB ? w.I8X16_ABS : id === op.OP_PABSW ? w.I16X8_ABS : w.I32X4_ABS);
      return;
    case op.OP_PMULUDQ:
    case op.OP_PMULDQ:
      pushEvenDwords(p, half, true);
      pushEvenDwords(p, half, false);
      w.vector(id === op.OP_PMULUDQ ? w.I64X2_EXTMUL_LOW_I32X4_U : w.I64X2_EXTMUL_LOW_I32X4_S);
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
      w.vector(binaryOpcode(id));
  }
}

/** Pushes dwords 0 and 2 of an operand as its lowest ones. */
function pushEvenDwords(p: u32, half: u32, first: bool): void {
  for (let i: u32 = 0; i < 2; i++) {
    if (first) pushFirst(p, half);
    else pushSecond(p, half);
  }
  w.vector(w.I8X16_SHUFFLE);
  for (let i: u32 = 0; i < 16; i++) w.byte(i & 4 ? i + 4 : i);
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
