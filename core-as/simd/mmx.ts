/** MMX instructions (SDM Vol. 1 chapter 9): 64-bit registers that alias the x87 stack. */
import { emms, mmxBegin, mmxRegister, mmxWritten } from '../fpu/mmx';
import { R_GPR } from '../layout';
import { executeConvertMmx, isConvertToMmx } from './convert';
import { RESULT, ymm } from './float';
import { integerBinaryMmx, shiftElements } from './integer';
import { SIMD_MEMORY } from './move';
import * as op from './operations';
import { shuffleWords, unaryLane } from './shuffle';

/** Writes an MMX register and marks its x87 half. */
// @ts-ignore: decorator
@inline
function write(cpu: u32, register: u32, value: u64): void {
  store<u64>(mmxRegister(cpu, register), value);
  mmxWritten(cpu, register);
}

/** PALIGNR: 8 bytes from byte `count` of b followed by a. */
function alignRight(a: u64, b: u64, count: u32): u64 {
  if (count > 15) return 0;
  const bits = <u64>(count << 3);
  if (bits >= 64) return a >> (bits - 64);
  return bits ? (b >> bits) | (a << (64 - bits)) : b;
}

/** The MMX forms of lanewise integer operations and shifts: `operation` is the vector operation's id. */
export function executeMmxInteger(cpu: u32, operation: u32, reg: u32, rm: u32, imm: u32, operand: u32): void {
  mmxBegin(cpu);
  const isMemory = rm === SIMD_MEMORY;
  if (operation >= op.OP_PSLLW_I && operation <= op.OP_PSRAD_I) {
    const target = mmxRegister(cpu, rm);
    const shifted = shiftElements(operation - op.OP_PSLLW_I + op.OP_PSLLW, v128.load64_zero(target), imm);
    write(cpu, rm, i64x2.extract_lane(shifted, 0));
    return;
  }
  const source = isMemory ? operand : mmxRegister(cpu, rm);
  const target = mmxRegister(cpu, reg);
  let result: v128;
  if (operation >= op.OP_MOV) {
    // PABSx: the vector form would read 16 bytes.
    const copy = cpu + RESULT;
    store<u64>(copy, load<u64>(source));
    result = unaryLane(operation, copy);
  } else if (operation >= op.OP_PSLLW) {
    result = shiftElements(operation, v128.load64_zero(target), load<u64>(source));
  } else {
    // PUNPCKLxx read four bytes of memory.
    const isLow = operation >= op.OP_PUNPCKLBW && operation <= op.OP_PUNPCKLDQ;
    const b = isLow ? v128.load32_zero(source) : v128.load64_zero(source);
    result = integerBinaryMmx(operation, v128.load64_zero(target), b);
  }
  write(cpu, reg, i64x2.extract_lane(result, 0));
}

/** Operations OP_MMX_LOAD up to OP_CVTTPD2PI; false asks for #XM. */
export function executeMmx(cpu: u32, operation: u32, reg: u32, rm: u32, imm: u32, w: bool, operand: u32): bool {
  const isMemory = rm === SIMD_MEMORY;
  const mmxSource = isMemory ? operand : mmxRegister(cpu, rm);
  const gprSource = isMemory ? operand : cpu + R_GPR + (rm << 3);
  switch (operation) {
    case op.OP_EMMS:
      emms(cpu);
      return true;
    case op.OP_CVTPI2PS:
    case op.OP_CVTPI2PD:
    case op.OP_CVTPS2PI:
    case op.OP_CVTPD2PI:
    case op.OP_CVTTPS2PI:
    case op.OP_CVTTPD2PI: {
      const toMmx = isConvertToMmx(operation);
      const source = toMmx && !isMemory ? ymm(cpu, rm) : mmxSource;
      // CVTPI2Px from memory touches no MMX register, hence not the x87 stack either (SDM Vol. 2 CVTPI2PD).
      if (toMmx || !isMemory) mmxBegin(cpu);
      if (!executeConvertMmx(cpu, operation, source)) return false;
      const result = cpu + RESULT;
      if (toMmx) write(cpu, reg, load<u64>(result));
      else if (operation === op.OP_CVTPI2PS) store<u64>(ymm(cpu, reg), load<u64>(result));
      else v128.store(ymm(cpu, reg), v128.load(result));
      return true;
    }
    default:
      break;
  }
  mmxBegin(cpu);
  switch (operation) {
    case op.OP_MMX_LOAD:
      write(cpu, reg, load<u64>(mmxSource));
      break;
    case op.OP_MMX_STORE: {
      const value = load<u64>(mmxRegister(cpu, reg));
      if (isMemory) store<u64>(operand, value);
      else write(cpu, rm, value);
      break;
    }
    case op.OP_MMX_MOVD_FROM_GPR:
      write(cpu, reg, w ? load<u64>(gprSource) : load<u32>(gprSource));
      break;
    case op.OP_MMX_MOVD_TO_GPR: {
      const value = load<u64>(mmxRegister(cpu, reg));
      if (!isMemory) store<u64>(gprSource, w ? value : value & 0xffffffff);
      else if (w) store<u64>(operand, value);
      else store<u32>(operand, <u32>value);
      break;
    }
    case op.OP_PSHUFW:
      write(cpu, reg, shuffleWords(mmxSource, imm));
      break;
    case op.OP_MMX_PALIGNR:
      write(cpu, reg, alignRight(load<u64>(mmxRegister(cpu, reg)), load<u64>(mmxSource), imm));
      break;
    case op.OP_MMX_PINSRW: {
      const shift = <u64>((imm & 3) << 4);
      const kept = load<u64>(mmxRegister(cpu, reg)) & ~((<u64>0xffff) << shift);
      write(cpu, reg, kept | ((<u64>load<u16>(gprSource)) << shift));
      break;
    }
    case op.OP_MMX_PEXTRW:
      store<u64>(cpu + (reg << 3), load<u16>(mmxSource + ((imm & 3) << 1)), R_GPR);
      break;
    case op.OP_MMX_PMOVMSKB:
      store<u64>(cpu + (reg << 3), <u32>i8x16.bitmask(v128.load64_zero(mmxSource)), R_GPR);
      break;
    case op.OP_MOVQ2DQ:
      v128.store(ymm(cpu, reg), v128.load64_zero(mmxSource));
      break;
    case op.OP_MOVDQ2Q:
      write(cpu, reg, load<u64>(ymm(cpu, rm)));
      break;
    default:
      break;
  }
  return true;
}
