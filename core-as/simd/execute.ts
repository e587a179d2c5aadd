/** Execution of one SIMD instruction that simdDescribe (table.ts) named. */
import { setArithmeticFlags } from '../cpu/flags';
import { R_GPR } from '../layout';
import { executeConvert, executeConvertToGpr, executeConvertToHalf, executeEstimate, executeRound } from './convert';
import {
  RESULT,
  compareToFlags,
  executeArithmetic,
  executeDotProduct,
  executeFusedMultiplyAdd,
  executeHorizontal,
  ymm,
} from './float';
import { integerBinary, shiftBytes, shiftElements } from './integer';
import { executeMmx, executeMmxInteger } from './mmx';
import { SIMD_MEMORY, executeMove } from './move';
import * as op from './operations';
import { sha1Rounds4, shaStep } from './sha';
import { broadcast, shuffleLane, unaryLane, widenLane, widenSourceBytes } from './shuffle';
import { EXECUTE_64BIT, EXECUTE_VEX, EXECUTE_VEX_L, EXECUTE_W, SIMD_OK, SIMD_UD, SIMD_XM } from './status';
import { compareStrings } from './strings';

export { simdExecuteSpecial } from './special';

/** Clears the upper half of a register, as every 128-bit VEX form does; legacy SSE leaves it. */
// @ts-ignore: decorator
@inline
function clearUpper(destination: u32): void {
  v128.store(destination, i32x4.splat(0), 16);
}

/** Shifts by register or immediate. The immediate forms name their VEX destination in vvvv and their source in r/m. */
function executeShift(
  cpu: u32,
  operation: u32,
  reg: u32,
  second: u32,
  vvvv: u32,
  imm: u32,
  vex: bool,
  wide: bool,
): void {
  let destination = ymm(cpu, reg);
  let source = vex ? ymm(cpu, vvvv) : destination;
  let count: u64 = imm;
  let kind = operation;
  if (operation >= op.OP_PSLLW_I) {
    source = second;
    destination = vex ? ymm(cpu, vvvv) : second;
    if (operation <= op.OP_PSRAD_I) kind = operation - op.OP_PSLLW_I + op.OP_PSLLW;
  } else {
    count = load<u64>(second);
  }
  const isBytes = operation >= op.OP_PSLLDQ;
  const low = v128.load(source);
  v128.store(destination, isBytes ? shiftBytes(kind, low, imm) : shiftElements(kind, low, count));
  if (wide) {
    const high = v128.load(source, 16);
    v128.store(destination, isBytes ? shiftBytes(kind, high, imm) : shiftElements(kind, high, count), 16);
  } else if (vex) {
    clearUpper(destination);
  }
}

/** Moves of whole vectors, widening, broadcasts: one source. */
function executeUnary(operation: u32, destination: u32, source: u32, vex: bool, wide: bool): void {
  if (operation >= op.OP_VPBROADCASTB) {
    const value = broadcast(operation, source);
    v128.store(destination, value);
    v128.store(destination, wide ? value : i32x4.splat(0), 16);
    return;
  }
  let low: v128;
  let high = i32x4.splat(0);
  if (operation >= op.OP_PMOVSXBW && operation <= op.OP_PMOVZXDQ) {
    low = widenLane(operation, source);
    if (wide) high = widenLane(operation, source + widenSourceBytes(operation));
  } else {
    low = unaryLane(operation, source);
    if (wide) high = unaryLane(operation, source + 16);
  }
  v128.store(destination, low);
  if (vex) v128.store(destination, high, 16);
}

/** Immediate shuffles and blends, lane by lane. */
function executeShuffle(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  imm: u32,
  flags: u32,
): void {
  const vex: bool = (flags & EXECUTE_VEX) !== 0;
  // Variable blends: the mask is XMM0, or in VEX form the register in imm8[7:4] (bit 7 counts in 64-bit mode only).
  const mask = ymm(cpu, vex ? (imm >> 4) & (flags & EXECUTE_64BIT ? 15 : 7) : 0);
  const low = shuffleLane(operation, first, second, imm, 0, mask);
  if (flags & EXECUTE_VEX_L) {
    const high = shuffleLane(operation, first + 16, second + 16, imm, 1, mask + 16);
    v128.store(destination, high, 16);
  } else if (vex) {
    clearUpper(destination);
  }
  v128.store(destination, low);
}

/** VPERM2F128's selection of one 128-bit lane out of four, or zero. */
// @ts-ignore: decorator
@inline
function selectLane(first: u32, second: u32, control: u32): v128 {
  if (control & 8) return i32x4.splat(0);
  return v128.load((control & 2 ? second : first) + ((control & 1) << 4));
}

/** VPERMD and VPERMPS: any of eight dwords to each place. */
function permuteDwords(destination: u32, indices: u32, source: u32, result: u32): void {
  for (let at: u32 = 0; at < 32; at += 4) {
    store<u32>(result + at, load<u32>(source + ((load<u32>(indices + at) & 7) << 2)));
  }
  v128.store(destination, v128.load(result));
  v128.store(destination, v128.load(result, 16), 16);
}

/** Operations across lanes, SHA, string comparison. */
function executeLanes(
  cpu: u32,
  operation: u32,
  reg: u32,
  rm: u32,
  first: u32,
  second: u32,
  imm: u32,
  flags: u32,
): void {
  const destination = ymm(cpu, reg);
  switch (operation) {
    case op.OP_VPERMQ: {
      const q0 = load<u64>(second + ((imm & 3) << 3));
      const q1 = load<u64>(second + (((imm >> 2) & 3) << 3));
      const q2 = load<u64>(second + (((imm >> 4) & 3) << 3));
      const q3 = load<u64>(second + (((imm >> 6) & 3) << 3));
      store<u64>(destination, q0);
      store<u64>(destination, q1, 8);
      store<u64>(destination, q2, 16);
      store<u64>(destination, q3, 24);
      break;
    }
    case op.OP_VPERMD:
      permuteDwords(destination, first, second, cpu + RESULT);
      break;
    case op.OP_VPERM2X128: {
      const low = selectLane(first, second, imm);
      v128.store(destination, selectLane(first, second, imm >> 4), 16);
      v128.store(destination, low);
      break;
    }
    case op.OP_VINSERTX128: {
      const inserted = v128.load(second);
      const low = imm & 1 ? v128.load(first) : inserted;
      v128.store(destination, imm & 1 ? inserted : v128.load(first, 16), 16);
      v128.store(destination, low);
      break;
    }
    case op.OP_VEXTRACTX128: {
      const lane = v128.load(destination + ((imm & 1) << 4));
      v128.store(second, lane);
      if (rm !== SIMD_MEMORY) clearUpper(second);
      break;
    }
    case op.OP_VZERO: {
      // 32-bit code reaches the first eight registers only.
      const count: u32 = flags & EXECUTE_64BIT ? 16 : 8;
      for (let i: u32 = 0; i < count; ++i) {
        if (flags & EXECUTE_VEX_L) v128.store(ymm(cpu, i), i32x4.splat(0));
        clearUpper(ymm(cpu, i));
      }
      break;
    }
    case op.OP_SHA1RNDS4:
      v128.store(destination, sha1Rounds4(v128.load(first), v128.load(second), imm));
      break;
    case op.OP_PCMPESTRM:
    case op.OP_PCMPESTRI:
    case op.OP_PCMPISTRM:
    case op.OP_PCMPISTRI:
      compareStrings(cpu, operation, destination, second, imm, (flags & EXECUTE_W) !== 0);
      if (flags & EXECUTE_VEX && (operation === op.OP_PCMPESTRM || operation === op.OP_PCMPISTRM)) {
        clearUpper(ymm(cpu, 0));
      }
      break;
    default:
      v128.store(destination, shaStep(operation, v128.load(first), v128.load(second), v128.load(ymm(cpu, 0))));
  }
}

/** Rounding, estimates, horizontal arithmetic, comparisons into RFLAGS; false asks for #XM. */
function executeFloatOther(
  cpu: u32,
  operation: u32,
  destination: u32,
  first: u32,
  second: u32,
  imm: u32,
  vex: bool,
  wide: bool,
): bool {
  if (operation <= op.OP_ROUNDSD) return executeRound(cpu, operation, destination, first, second, imm, vex, wide);
  if (operation <= op.OP_RSQRTSS) {
    executeEstimate(cpu, operation, destination, first, second, vex, wide);
    return true;
  }
  if (operation <= op.OP_ADDSUBPD) return executeHorizontal(cpu, operation, destination, first, second, vex, wide);
  if (operation <= op.OP_DPPD) return executeDotProduct(cpu, operation, destination, first, second, imm, vex, wide);
  const flags = compareToFlags(cpu, operation, destination, second);
  if (flags < 0) return false;
  setArithmeticFlags(cpu, <u32>flags);
  return true;
}

/**
 * Executes an operation. `reg` and `rm` are register numbers with their REX or VEX extensions; `rm` is SIMD_MEMORY for a memory
 * operand, whose bytes lie at `operand`: to be read, or written by a store. `flags` are EXECUTE_*. Answers SIMD_*.
 */
export function simdExecute(
  cpu: u32,
  operation: u32,
  reg: u32,
  rm: u32,
  vvvv: u32,
  imm: u32,
  flags: u32,
  operand: u32,
): i32 {
  const vex: bool = (flags & EXECUTE_VEX) !== 0;
  const wide: bool = (flags & EXECUTE_VEX_L) !== 0;
  const w: bool = (flags & EXECUTE_W) !== 0;
  const destination = ymm(cpu, reg);
  const first = vex ? ymm(cpu, vvvv) : destination;
  const second = rm === SIMD_MEMORY ? operand : ymm(cpu, rm);
  switch (operation >> 5) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4: {
      const low = integerBinary(operation, v128.load(first), v128.load(second));
      if (wide) {
        v128.store(destination, integerBinary(operation, v128.load(first, 16), v128.load(second, 16)), 16);
      } else if (vex) {
        clearUpper(destination);
      }
      v128.store(destination, low);
      return SIMD_OK;
    }
    case 5: // 0x0a0
      executeShift(cpu, operation, reg, second, vvvv, imm, vex, wide);
      return SIMD_OK;
    case 6: // 0x0c0
      executeUnary(operation, destination, second, vex, wide);
      return SIMD_OK;
    case 7: // 0x0e0
      executeShuffle(cpu, operation, destination, first, second, imm, flags);
      return SIMD_OK;
    case 8: // 0x100
      executeMove(cpu, operation, reg, rm, first, imm, operand, vex, wide, w);
      return SIMD_OK;
    case 9: // 0x120
      executeLanes(cpu, operation, reg, rm, first, second, imm, flags);
      return SIMD_OK;
    case 10: // 0x140
      return executeArithmetic(cpu, operation, destination, first, second, imm, vex, wide) ? SIMD_OK : SIMD_XM;
    case 11: // 0x160
      return executeFloatOther(cpu, operation, destination, first, second, imm, vex, wide) ? SIMD_OK : SIMD_XM;
    case 12: // 0x180
      return executeConversion(cpu, operation, reg, rm, first, second, imm, flags) ? SIMD_OK : SIMD_XM;
    case 16: // 0x200, OP_MMX
    case 17:
    case 18:
    case 19:
    case 20:
    case 21:
    case 22:
      executeMmxInteger(cpu, operation - op.OP_MMX, reg, rm, imm, operand);
      return SIMD_OK;
    case 24: // 0x300
      return executeMmx(cpu, operation, reg, rm, imm, w, operand) ? SIMD_OK : SIMD_XM;
    case 26: // 0x340
    case 27:
    case 28:
      return executeFusedMultiplyAdd(cpu, operation, destination, first, second, wide) ? SIMD_OK : SIMD_XM;
    default:
      return SIMD_UD;
  }
}

/** Conversions; false asks for #XM. */
function executeConversion(
  cpu: u32,
  operation: u32,
  reg: u32,
  rm: u32,
  first: u32,
  second: u32,
  imm: u32,
  flags: u32,
): bool {
  const vex: bool = (flags & EXECUTE_VEX) !== 0;
  const wide: bool = (flags & EXECUTE_VEX_L) !== 0;
  const w: bool = (flags & EXECUTE_W) !== 0;
  switch (operation) {
    case op.OP_CVTSS2SI:
    case op.OP_CVTSD2SI:
    case op.OP_CVTTSS2SI:
    case op.OP_CVTTSD2SI:
      return executeConvertToGpr(cpu, operation, reg, second, w);
    case op.OP_CVTSI2SS:
    case op.OP_CVTSI2SD: {
      const source = rm === SIMD_MEMORY ? second : cpu + R_GPR + (rm << 3);
      return executeConvert(cpu, operation, ymm(cpu, reg), first, source, vex, wide, w);
    }
    case op.OP_VCVTPS2PH: {
      if (!executeConvertToHalf(cpu, ymm(cpu, reg), imm, wide)) return false;
      const result = cpu + RESULT;
      if (rm !== SIMD_MEMORY) {
        v128.store(second, wide ? v128.load(result) : v128.load64_zero(result));
        clearUpper(second);
      } else if (wide) {
        v128.store(second, v128.load(result));
      } else {
        store<u64>(second, load<u64>(result));
      }
      return true;
    }
    default:
      return executeConvert(cpu, operation, ymm(cpu, reg), first, second, vex, wide, w);
  }
}
