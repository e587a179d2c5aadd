/** Moves of parts of registers: scalar loads and stores, general registers, inserts, extracts, sign masks (SDM Vol. 2). */
import { setArithmeticFlags } from '../cpu/flags';
import { R_GPR } from '../layout';
import { ymm } from './float';
import * as op from './operations';

/** The `rm` argument of simdExecute when the operand is memory. */
export const SIMD_MEMORY: u32 = 0xff;

const FLAG_CF: u32 = 0x01;
const FLAG_ZF: u32 = 0x40;

// @ts-ignore: decorator
@inline
function gpr(cpu: u32, register: u32): u32 {
  return cpu + R_GPR + (register << 3);
}

/** Writes a 128-bit result; VEX clears the upper half. */
// @ts-ignore: decorator
@inline
function write(destination: u32, value: v128, vex: bool): void {
  v128.store(destination, value);
  if (vex) v128.store(destination, i32x4.splat(0), 16);
}

// @ts-ignore: decorator
@inline
function writeGpr(cpu: u32, register: u32, value: u64): void {
  store<u64>(gpr(cpu, register), value);
}

/** PTEST: ZF = (b & a) is zero, CF = (b & ~a) is zero, of the bits in `mask`. */
function testBits(cpu: u32, a: u32, b: u32, mask: v128, wide: bool): void {
  const first = v128.load(a);
  const second = v128.and(v128.load(b), mask);
  let both = v128.and(second, first);
  let onlySecond = v128.andnot(second, first);
  if (wide) {
    const upperFirst = v128.load(a, 16);
    const upperSecond = v128.and(v128.load(b, 16), mask);
    both = v128.or(both, v128.and(upperSecond, upperFirst));
    onlySecond = v128.or(onlySecond, v128.andnot(upperSecond, upperFirst));
  }
  setArithmeticFlags(cpu, (v128.any_true(both) ? 0 : FLAG_ZF) | (v128.any_true(onlySecond) ? 0 : FLAG_CF));
}

/** INSERTPS: imm8[7:6] picks a register source's element, [5:4] the destination's, [3:0] clears elements. */
function insertSingle(a: v128, source: u32, isMemory: bool, imm: u32): v128 {
  const value = load<i32>(isMemory ? source : source + ((imm >> 6) << 2));
  const lanes = v128.and(i32x4.splat(<i32>imm), i32x4(1, 2, 4, 8));
  const at = i32x4.eq(i32x4.splat(<i32>((imm >> 4) & 3)), i32x4(0, 1, 2, 3));
  return v128.and(v128.bitselect(i32x4.splat(value), a, at), i32x4.eq(lanes, i32x4.splat(0)));
}

/** Operations OP_STORE up to OP_EXTRACTPS. `first` is the address of VEX.vvvv's register, or legacy's destination. */
export function executeMove(
  cpu: u32,
  operation: u32,
  reg: u32,
  rm: u32,
  first: u32,
  imm: u32,
  operand: u32,
  vex: bool,
  wide: bool,
  w: bool,
): void {
  const isMemory = rm === SIMD_MEMORY;
  const register = ymm(cpu, reg);
  const other = isMemory ? operand : ymm(cpu, rm);
  switch (operation) {
    case op.OP_STORE: {
      const upper = v128.load(register, 16);
      v128.store(other, v128.load(register));
      if (wide) v128.store(other, upper, 16);
      else if (vex && !isMemory) v128.store(other, i32x4.splat(0), 16);
      break;
    }
    case op.OP_STORE_MOVSS:
      if (isMemory) store<u32>(operand, load<u32>(register));
      else write(other, i32x4.replace_lane(v128.load(vex ? first : other), 0, load<i32>(register)), vex);
      break;
    case op.OP_STORE_MOVSD:
      if (isMemory) store<u64>(operand, load<u64>(register));
      else write(other, i64x2.replace_lane(v128.load(vex ? first : other), 0, load<i64>(register)), vex);
      break;
    case op.OP_STORE_LOW:
      store<u64>(operand, load<u64>(register));
      break;
    case op.OP_STORE_HIGH:
      store<u64>(operand, load<u64>(register, 8));
      break;
    case op.OP_LOAD32:
      write(register, v128.load32_zero(other), vex);
      break;
    case op.OP_LOAD64:
      write(register, v128.load64_zero(other), vex);
      break;
    case op.OP_MOVSS:
      write(register, i32x4.replace_lane(v128.load(first), 0, load<i32>(other)), vex);
      break;
    case op.OP_MOVSD:
    case op.OP_LOAD_LOW:
      write(register, i64x2.replace_lane(v128.load(first), 0, load<i64>(other)), vex);
      break;
    case op.OP_LOAD_HIGH:
      write(register, i64x2.replace_lane(v128.load(first), 1, load<i64>(operand)), vex);
      break;
    case op.OP_MOVD_FROM_GPR: {
      const source = isMemory ? operand : gpr(cpu, rm);
      write(register, w ? v128.load64_zero(source) : v128.load32_zero(source), vex);
      break;
    }
    case op.OP_MOVD_TO_GPR:
      if (isMemory) {
        if (w) store<u64>(operand, load<u64>(register));
        else store<u32>(operand, load<u32>(register));
      } else {
        writeGpr(cpu, rm, w ? load<u64>(register) : load<u32>(register));
      }
      break;
    case op.OP_MOVMSKPS: {
      const upper = wide ? (<u32>i32x4.bitmask(v128.load(other, 16))) << 4 : 0;
      writeGpr(cpu, reg, (<u32>i32x4.bitmask(v128.load(other))) | upper);
      break;
    }
    case op.OP_MOVMSKPD: {
      const upper = wide ? (<u32>i64x2.bitmask(v128.load(other, 16))) << 2 : 0;
      writeGpr(cpu, reg, (<u32>i64x2.bitmask(v128.load(other))) | upper);
      break;
    }
    case op.OP_PMOVMSKB: {
      const upper = wide ? (<u32>i8x16.bitmask(v128.load(other, 16))) << 16 : 0;
      writeGpr(cpu, reg, (<u32>i8x16.bitmask(v128.load(other))) | upper);
      break;
    }
    case op.OP_PINSRB: {
      // The registers' bytes are addressed in memory order: insert into a copy there.
      const value = load<u8>(isMemory ? operand : gpr(cpu, rm));
      write(register, v128.load(first), vex);
      store<u8>(register + (imm & 15), value);
      break;
    }
    case op.OP_PINSRW: {
      const value = load<u16>(isMemory ? operand : gpr(cpu, rm));
      write(register, v128.load(first), vex);
      store<u16>(register + ((imm & 7) << 1), value);
      break;
    }
    case op.OP_PINSRD: {
      const source = isMemory ? operand : gpr(cpu, rm);
      if (w) {
        const value = load<u64>(source);
        write(register, v128.load(first), vex);
        store<u64>(register + ((imm & 1) << 3), value);
      } else {
        const value = load<u32>(source);
        write(register, v128.load(first), vex);
        store<u32>(register + ((imm & 3) << 2), value);
      }
      break;
    }
    case op.OP_PEXTRB: {
      const value = load<u8>(register + (imm & 15));
      if (isMemory) store<u8>(operand, value);
      else writeGpr(cpu, rm, value);
      break;
    }
    case op.OP_PEXTRW: {
      const value = load<u16>(register + ((imm & 7) << 1));
      if (isMemory) store<u16>(operand, value);
      else writeGpr(cpu, rm, value);
      break;
    }
    case op.OP_PEXTRD:
      if (w) {
        const value = load<u64>(register + ((imm & 1) << 3));
        if (isMemory) store<u64>(operand, value);
        else writeGpr(cpu, rm, value);
        break;
      }
      executeExtractSingle(cpu, register, rm, imm, operand);
      break;
    case op.OP_EXTRACTPS:
      executeExtractSingle(cpu, register, rm, imm, operand);
      break;
    case op.OP_PEXTRW_REG:
      writeGpr(cpu, reg, load<u16>(other + ((imm & 7) << 1)));
      break;
    case op.OP_PTEST:
      testBits(cpu, register, other, i32x4.splat(-1), wide);
      break;
    case op.OP_VTESTPS:
      testBits(cpu, register, other, i32x4.splat(i32.MIN_VALUE), wide);
      break;
    case op.OP_VTESTPD:
      testBits(cpu, register, other, i64x2.splat(i64.MIN_VALUE), wide);
      break;
    case op.OP_MOVNTI:
      if (w) store<u64>(operand, load<u64>(gpr(cpu, reg)));
      else store<u32>(operand, load<u32>(gpr(cpu, reg)));
      break;
    case op.OP_MOVQ_STORE:
      if (isMemory) store<u64>(operand, load<u64>(register));
      else write(other, v128.load64_zero(register), vex);
      break;
    case op.OP_INSERTPS:
      write(register, insertSingle(v128.load(first), other, isMemory, imm), vex);
      break;
    default:
      break;
  }
}

function executeExtractSingle(cpu: u32, register: u32, rm: u32, imm: u32, operand: u32): void {
  const value = load<u32>(register + ((imm & 3) << 2));
  if (rm === SIMD_MEMORY) store<u32>(operand, value);
  else writeGpr(cpu, rm, value);
}
