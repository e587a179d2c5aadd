/** Less frequent integer instructions: multiplication and division, bit operations, exchanges, BCD, BMI. */
import { R_GPR } from '../layout';
import { aluSized, divide128, doubleShift, mulHighSigned, mulHighUnsigned, remainder, unarySized } from './alu';
import {
  addAtomic,
  beginLocked,
  compareExchangeAtomic,
  compareExchangeWords,
  compareSwap,
  endLocked,
  exchangeAtomic,
  foundHigh,
  foundLow,
  loadPlain,
} from './atomic-memory';
import { arithmeticFlags, auxCarryOverflow, setArithmeticFlags, setCarry, setLazy, setZero, signExtend } from './flags';
import {
  cutAddress,
  effectiveAddress,
  linearAddress,
  readLinear,
  readReg,
  readRegister,
  readRm,
  rmIsRegister,
  rmwBegin,
  rmwBeginRm,
  rmwEnd,
  rmwEndRm,
  segmentedOperand,
  writeReg,
  writeRegister,
} from './operand';
import {
  FAULTED,
  FLAG_AF,
  FLAG_CF,
  FLAG_OF,
  FLAG_PF,
  FLAG_SF,
  FLAG_ZF,
  RAX,
  RBX,
  RCX,
  RDX,
  VECTOR_BR,
  VECTOR_DE,
  cpu,
  faulted,
  gpr,
  raise,
  raiseGp,
  setGpr,
  setGprSized,
} from './state';
import { SUB_LOCK, U_IMM, U_LINK, U_S, U_SEG, U_SUB, X } from './uops';

// ---------------------------------------------------------------------------------------------------------------------
// Multiplication and division of the accumulator

/** AX, DX:AX ... := accumulator * rm. */
export function multiply(p: u32, size: u32, isSigned: bool): void {
  const b = readRm(p, size);
  if (faulted & FAULTED) return;
  const a = readRegister(RAX, size);
  let ov: u32;
  let result: u64;
  if (size === 8) {
    const low = a * b;
    const high = isSigned ? <u64>mulHighSigned(<i64>a, <i64>b) : mulHighUnsigned(a, b);
    ov = isSigned ? u32(<i64>high !== (<i64>low) >> 63) : u32(high !== 0);
    setGpr(RAX, low);
    setGpr(RDX, high);
    result = low;
  } else {
    result = isSigned ? <u64>(signExtend(a, size) * signExtend(b, size)) : a * b;
    const bits = <u64>(size << 3);
    ov = isSigned ? u32(<i64>result !== signExtend(result, size)) : u32(result >> bits !== 0);
    if (size === 1) setGprSized(RAX, 2, result);
    else {
      setGprSized(RAX, size, result);
      setGprSized(RDX, size, result >> bits);
    }
  }
  setLazy(cpu, signExtend(result, size), auxCarryOverflow(ov, ov));
}

/** IMUL reg, rm (16-bit) and IMUL reg, rm, imm (16-bit). */
export function multiply16(p: u32, immediate: bool): void {
  const b = readRm(p, 2);
  if (faulted & FAULTED) return;
  const a = immediate ? load<u64>(p, U_IMM) : readReg(p, 2);
  const v = signExtend(a, 2) * signExtend(b, 2);
  const ov = u32(v !== signExtend(<u64>v, 2));
  writeReg(p, 2, <u64>v);
  setLazy(cpu, signExtend(<u64>v, 2), auxCarryOverflow(ov, ov));
}

/** DIV and IDIV of the double-width accumulator. */
export function divide(p: u32, size: u32, isSigned: bool): void {
  const divisor = readRm(p, size);
  if (faulted & FAULTED) return;
  if (!divisor) {
    raise(VECTOR_DE);
    return;
  }
  if (size === 8) {
    divide64(divisor, isSigned);
    return;
  }
  const bits = <u64>(size << 3);
  const a: u64 = size === 1 ? gpr(RAX) & 0xffff : (readRegister(RDX << 3, size) << bits) | readRegister(RAX << 3, size);
  let quotient: u64;
  let rest: u64;
  if (isSigned) {
    const n = signExtend(a, size * 2);
    const d = signExtend(divisor, size);
    if (n === i64.MIN_VALUE && d === -1) {
      raise(VECTOR_DE);
      return;
    }
    const q = n / d;
    if (q !== signExtend(<u64>q, size)) {
      raise(VECTOR_DE);
      return;
    }
    quotient = <u64>q;
    rest = <u64>(n % d);
  } else {
    quotient = a / divisor;
    if (quotient >> bits) {
      raise(VECTOR_DE);
      return;
    }
    rest = a % divisor;
  }
  if (size === 1) setGprSized(RAX, 2, (quotient & 0xff) | ((rest & 0xff) << 8));
  else {
    setGprSized(RAX, size, quotient);
    setGprSized(RDX, size, rest);
  }
}

function divide64(divisor: u64, isSigned: bool): void {
  let high = gpr(RDX);
  let low = gpr(RAX);
  if (!isSigned) {
    if (high >= divisor) {
      raise(VECTOR_DE);
      return;
    }
    const quotient = divide128(high, low, divisor);
    setGpr(RAX, quotient);
    setGpr(RDX, remainder);
    return;
  }
  const negative = <i64>high < 0;
  if (negative) {
    low = 0 - low;
    high = ~high + (low === 0 ? 1 : 0);
  }
  const d = <i64>divisor < 0 ? 0 - divisor : divisor;
  if (high >= d) {
    raise(VECTOR_DE);
    return;
  }
  let quotient = divide128(high, low, d);
  let rest = remainder;
  const negate = negative !== <i64>divisor < 0;
  if (negate ? quotient > 0x8000000000000000 : quotient > 0x7fffffffffffffff) {
    raise(VECTOR_DE);
    return;
  }
  if (negate) quotient = 0 - quotient;
  if (negative) rest = 0 - rest;
  setGpr(RAX, quotient);
  setGpr(RDX, rest);
}

// ---------------------------------------------------------------------------------------------------------------------
// Shifts of two registers, bit tests and scans

export function shiftDouble(p: u32, size: u32, right: bool, count: u32): void {
  const value = rmwBeginRm(p, size);
  if (faulted & FAULTED) return;
  rmwEndRm(p, size, doubleShift(right, value, readReg(p, size), count, size));
}

/** BT, BTS, BTR, BTC (0-3) of a bit offset; with a register offset, memory is a bit string. */
export function bitTest(p: u32, size: u32, operation: u32, immediate: bool): void {
  const bits = <u64>(size << 3);
  let offset = immediate ? load<u64>(p, U_IMM) : <u64>signExtend(readReg(p, size), size);
  let address: u64 = 0;
  if (!rmIsRegister(p)) {
    let ea = effectiveAddress(p);
    if (!immediate) {
      const log2Bits = <i64>(31 - clz<u32>(size << 3));
      ea = cutAddress(ea + <u64>(((<i64>offset) >> log2Bits) * <i64>size), load<u8>(p, U_SEG));
    }
    address = linearAddress(load<u8>(p, U_SEG) & 7, ea, size, operation !== 0);
    if (faulted & FAULTED) return;
  }
  offset &= bits - 1;
  const bit: u64 = 1 << offset;
  if (rmIsRegister(p) || operation === 0 || !(load<u32>(p, U_SUB) & SUB_LOCK)) {
    const value = rmIsRegister(p)
      ? readRegister(load<u8>(p, U_S), size)
      : operation === 0
        ? readLinear(address, size)
        : rmwBegin(address, size);
    if (faulted & FAULTED) return;
    setCarry(cpu, (<u32>(value >> offset)) & 1);
    if (operation === 0) return;
    const changed = applyBit(operation, value, bit);
    if (rmIsRegister(p)) writeRegister(load<u8>(p, U_S), size, changed);
    else rmwEnd(size, changed);
    return;
  }
  const q = beginLocked(address, size);
  if (faulted & FAULTED) return;
  if (!q) {
    const value = rmwBegin(address, size);
    if (faulted & FAULTED) return;
    setCarry(cpu, (<u32>(value >> offset)) & 1);
    rmwEnd(size, applyBit(operation, value, bit));
    return;
  }
  for (;;) {
    const value = loadPlain(q, size);
    if (compareSwap(q, size, value, applyBit(operation, value, bit))) {
      setCarry(cpu, (<u32>(value >> offset)) & 1);
      endLocked(q);
      return;
    }
  }
}

function applyBit(operation: u32, value: u64, bit: u64): u64 {
  return operation === 1 ? value | bit : operation === 2 ? value & ~bit : value ^ bit;
}

/** BSF, BSR: the destination is unchanged for a zero source (documented by AMD, kept by Intel). */
export function bitScan(p: u32, size: u32, reverse: bool): void {
  const value = readRm(p, size);
  if (faulted & FAULTED) return;
  if (!value) {
    setZero(cpu, 1);
    // The upper half of the destination of a 32-bit scan is left alone as well.
    return;
  }
  setLazy(cpu, 1, 0);
  writeReg(p, size, reverse ? 63 - clz<u64>(value) : ctz<u64>(value));
}

/** TZCNT, LZCNT, POPCNT. */
export function count(p: u32, size: u32, x: u32): void {
  const value = readRm(p, size);
  if (faulted & FAULTED) return;
  const bits = <u64>(size << 3);
  let result: u64;
  if (x === X.POPCNT) {
    result = popcnt<u64>(value);
    setArithmeticFlags(cpu, value ? 0 : FLAG_ZF);
  } else {
    if (x === X.TZCNT) result = value ? ctz<u64>(value) : bits;
    else result = clz<u64>(value) - (64 - bits);
    setArithmeticFlags(cpu, (result === bits ? FLAG_CF : 0) | (result === 0 ? FLAG_ZF : 0));
  }
  writeReg(p, size, result);
}

// ---------------------------------------------------------------------------------------------------------------------
// Exchanges and locked operations

export function exchangeMemory(p: u32, size: u32): void {
  const address = segmentedOperand(p, size, true);
  if (faulted & FAULTED) return;
  const mine = readReg(p, size);
  const q = beginLocked(address, size);
  if (faulted & FAULTED) return;
  let old: u64;
  if (q) {
    old = exchangeAtomic(q, size, mine);
    endLocked(q);
  } else {
    old = rmwBegin(address, size);
    if (faulted & FAULTED) return;
    rmwEnd(size, mine);
  }
  writeReg(p, size, old);
}

/** XCHG of two registers of 8 or 16 bits. */
export function exchangeRegisters(p: u32, size: u32): void {
  const a = readReg(p, size);
  const b = readRegister(load<u8>(p, U_S), size);
  writeReg(p, size, b);
  writeRegister(load<u8>(p, U_S), size, a);
}

/** LOCK op [mem], source: U_LINK = operation << 1 | immediate. */
export function lockedAlu(p: u32, size: u32): void {
  const operation = load<u32>(p, U_LINK) >> 1;
  const b = load<u32>(p, U_LINK) & 1 ? load<u64>(p, U_IMM) : readReg(p, size);
  const address = segmentedOperand(p, size, true);
  if (faulted & FAULTED) return;
  const q = beginLocked(address, size);
  if (faulted & FAULTED) return;
  if (!q) {
    const a = rmwBegin(address, size);
    if (faulted & FAULTED) return;
    rmwEnd(size, aluSized(operation, a, b, size));
    return;
  }
  // ADC and SBB read CF, which aluSized changes: take it again for every attempt.
  const flags = arithmeticFlags(cpu);
  for (;;) {
    const a = loadPlain(q, size);
    const v = aluSized(operation, a, b, size);
    if (compareSwap(q, size, a, v)) break;
    setArithmeticFlags(cpu, flags);
  }
  endLocked(q);
}

/** LOCK INC, DEC, NEG, NOT [mem]: U_LINK is the operation 0-3. */
export function lockedUnary(p: u32, size: u32): void {
  const operation = load<u32>(p, U_LINK);
  const address = segmentedOperand(p, size, true);
  if (faulted & FAULTED) return;
  const q = beginLocked(address, size);
  if (faulted & FAULTED) return;
  if (!q) {
    const a = rmwBegin(address, size);
    if (faulted & FAULTED) return;
    rmwEnd(size, unarySized(operation, a, size));
    return;
  }
  const flags = arithmeticFlags(cpu);
  for (;;) {
    const a = loadPlain(q, size);
    const v = unarySized(operation, a, size);
    if (compareSwap(q, size, a, v)) break;
    setArithmeticFlags(cpu, flags);
  }
  endLocked(q);
}

export function compareExchange(p: u32, size: u32): void {
  const accumulator = readRegister(RAX, size);
  const replacement = readReg(p, size);
  if (!rmIsRegister(p) && load<u32>(p, U_SUB) & SUB_LOCK) {
    const address = segmentedOperand(p, size, true);
    if (faulted & FAULTED) return;
    const q = beginLocked(address, size);
    if (faulted & FAULTED) return;
    if (q) {
      const old = compareExchangeAtomic(q, size, accumulator, replacement);
      endLocked(q);
      aluSized(7, accumulator, old, size);
      if (old !== accumulator) setGprSized(RAX, size, old);
      return;
    }
  }
  const old = rmwBeginRm(p, size);
  if (faulted & FAULTED) return;
  aluSized(7, accumulator, old, size);
  if (old === accumulator) rmwEndRm(p, size, replacement);
  else {
    // The destination is written in any case: a 32-bit register is zero-extended, memory gets its own value.
    if (rmIsRegister(p)) {
      if (size !== 4) rmwEndRm(p, size, old);
    } else rmwEnd(size, old);
    setGprSized(RAX, size, old);
  }
}

export function exchangeAdd(p: u32, size: u32): void {
  const b = readReg(p, size);
  if (!rmIsRegister(p) && load<u32>(p, U_SUB) & SUB_LOCK) {
    const address = segmentedOperand(p, size, true);
    if (faulted & FAULTED) return;
    const q = beginLocked(address, size);
    if (faulted & FAULTED) return;
    if (q) {
      const old = addAtomic(q, size, b);
      endLocked(q);
      aluSized(0, old, b, size);
      writeReg(p, size, old);
      return;
    }
  }
  const a = rmwBeginRm(p, size);
  if (faulted & FAULTED) return;
  const sum = aluSized(0, a, b, size);
  if (rmIsRegister(p)) {
    // XADD r, r with both the same: the sum wins.
    writeReg(p, size, a);
    rmwEndRm(p, size, sum);
  } else {
    rmwEnd(size, sum);
    writeReg(p, size, a);
  }
}

export function compareExchange8(p: u32): void {
  const address = segmentedOperand(p, 8, true);
  if (faulted & FAULTED) return;
  const expected = (gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32);
  const replacement = (gpr(RBX) & 0xffffffff) | (gpr(RCX) << 32);
  let old: u64;
  const q = beginLocked(address, 8);
  if (faulted & FAULTED) return;
  if (q) {
    old = compareExchangeAtomic(q, 8, expected, replacement);
    endLocked(q);
  } else {
    old = rmwBegin(address, 8);
    if (faulted & FAULTED) return;
    rmwEnd(8, old === expected ? replacement : old);
  }
  setZero(cpu, old === expected ? 1 : 0);
  if (old !== expected) {
    setGpr(RAX, old & 0xffffffff);
    setGpr(RDX, old >> 32);
  }
}

/** CMPXCHG16B. */
export function compareExchange16(p: u32): void {
  const address = segmentedOperand(p, 16, true);
  if (faulted & FAULTED) return;
  if ((<u32>address) & 15) {
    raiseGp();
    return;
  }
  let low: u64;
  let high: u64;
  let equal: bool;
  // Aligned, so it lies in one page.
  const q = beginLocked(address, 16);
  if (faulted & FAULTED) return;
  if (q) {
    equal = compareExchangeWords(q, q + 8, gpr(RAX), gpr(RDX), gpr(RBX), gpr(RCX));
    endLocked(q);
    low = foundLow;
    high = foundHigh;
  } else {
    low = rmwBegin(address, 8);
    if (faulted & FAULTED) return;
    high = readLinear(address + 8, 8);
    equal = low === gpr(RAX) && high === gpr(RDX);
    if (equal) {
      rmwEnd(8, gpr(RBX));
      rmwBegin(address + 8, 8);
      rmwEnd(8, gpr(RCX));
    }
  }
  if (!equal) {
    setGpr(RAX, low);
    setGpr(RDX, high);
  }
  setZero(cpu, equal ? 1 : 0);
}

// ---------------------------------------------------------------------------------------------------------------------
// BCD (not in 64-bit mode) and BOUND

export function decimalAdjust(x: u32, base: u32): void {
  const flags = arithmeticFlags(cpu);
  let al = (<u32>gpr(RAX)) & 0xff;
  let ah = ((<u32>gpr(RAX)) >> 8) & 0xff;
  const oldCarry = flags & FLAG_CF;
  let af = flags & FLAG_AF;
  let cf: u32 = 0;
  switch (x) {
    case X.DAA:
    case X.DAS: {
      const before = al;
      const adjustLow = (al & 15) > 9 || af !== 0;
      const adjustHigh = before > 0x99 || oldCarry !== 0;
      if (adjustLow) {
        al = x === X.DAA ? al + 6 : al - 6;
        cf = oldCarry | (al > 0xff ? 1 : 0);
        al &= 0xff;
      }
      af = adjustLow ? FLAG_AF : 0;
      if (adjustHigh) {
        al = (x === X.DAA ? al + 0x60 : al - 0x60) & 0xff;
        cf = 1;
      } else if (x === X.DAA) cf = 0;
      break;
    }
    case X.AAA:
    case X.AAS:
      if ((al & 15) > 9 || af !== 0) {
        const ax = x === X.AAA ? ((ah << 8) | al) + 0x106 : ((ah << 8) | al) - 0x106;
        al = ax & 0xff;
        ah = (ax >> 8) & 0xff;
        af = FLAG_AF;
        cf = 1;
      } else af = 0;
      al &= 15;
      break;
    case X.AAM:
      if (!base) {
        raise(VECTOR_DE);
        return;
      }
      ah = al / base;
      al = al % base;
      af = 0;
      break;
    default:
      al = (al + ah * base) & 0xff;
      ah = 0;
      af = 0;
  }
  store<u16>(cpu, <u16>(al | (ah << 8)), R_GPR);
  setLazy(cpu, <i64>(<i8>al), auxCarryOverflow(cf, 0) | (af ? 8 : 0));
}

export function bound(p: u32, size: u32): void {
  const address = segmentedOperand(p, size * 2, false);
  if (faulted & FAULTED) return;
  const lower = signExtend(readLinear(address, size), size);
  if (faulted & FAULTED) return;
  const upper = signExtend(readLinear(address + size, size), size);
  if (faulted & FAULTED) return;
  const index = signExtend(readReg(p, size), size);
  if (index < lower || index > upper) raise(VECTOR_BR);
}

// ---------------------------------------------------------------------------------------------------------------------
// MOVBE, CRC32, ADX, BMI

function swapBytes(value: u64, size: u32): u64 {
  return bswap<u64>(value) >> (64 - (size << 3));
}

export function moveSwapped(p: u32, size: u32, toMemory: bool): void {
  if (toMemory) {
    const address = segmentedOperand(p, size, true);
    if (faulted & FAULTED) return;
    rmwBegin(address, size);
    if (!(faulted & FAULTED)) rmwEnd(size, swapBytes(readReg(p, size), size));
    return;
  }
  const value = readRm(p, size);
  if (!(faulted & FAULTED)) writeReg(p, size, swapBytes(value, size));
}

/** CRC32 with the Castagnoli polynomial, reflected. */
export function crc32(p: u32, size: u32): void {
  let data = readRm(p, size);
  if (faulted & FAULTED) return;
  let crc = <u32>readReg(p, 4);
  for (let i: u32 = 0; i < size; i++) {
    crc ^= (<u32>data) & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    data >>= 8;
  }
  writeReg(p, 8, crc);
}

/** ADCX (carry in CF) and ADOX (carry in OF): the other flags stay. */
export function addWithFlag(p: u32, size: u32, flag: u32): void {
  const b = readRm(p, size);
  if (faulted & FAULTED) return;
  const flags = arithmeticFlags(cpu);
  const a = readReg(p, size);
  const c: u64 = flags & flag ? 1 : 0;
  const sum = a + b + c;
  let out: bool;
  if (size === 4) out = sum >> 32 !== 0;
  else out = sum < a || (c !== 0 && sum === a);
  writeReg(p, size, sum);
  setArithmeticFlags(cpu, out ? flags | flag : flags & ~flag);
}

function vvvv(p: u32, size: u32): u64 {
  return readRegister(load<u32>(p, U_LINK), size);
}

/** The BMI1 and BMI2 instructions of the VEX maps. */
export function bmi(p: u32, size: u32, x: u32): void {
  const value = readRm(p, size);
  if (faulted & FAULTED) return;
  const bits = <u64>(size << 3);
  const m = u64.MAX_VALUE >> (64 - bits);
  let result: u64 = 0;
  let cf: u32 = 0;
  switch (x) {
    case X.ANDN:
      result = ~vvvv(p, size) & value;
      writeReg(p, size, result);
      setLazy(cpu, signExtend(result, size), 0);
      return;
    case X.BLSR:
    case X.BLSMSK:
    case X.BLSI:
      if (x === X.BLSR) {
        result = value & (value - 1);
        cf = value ? 0 : 1;
      } else if (x === X.BLSMSK) {
        result = (value ^ (value - 1)) & m;
        cf = value ? 0 : 1;
      } else {
        result = value & (0 - value);
        cf = value ? 1 : 0;
      }
      writeRegister(load<u32>(p, U_LINK), size, result);
      setLazy(cpu, signExtend(result, size), auxCarryOverflow(cf, 0));
      return;
    case X.BEXTR: {
      const control = <u32>vvvv(p, size);
      const start = <u64>(control & 0xff);
      const length = <u64>((control >> 8) & 0xff);
      result = start < bits ? value >> start : 0;
      if (length < 64) result &= ((<u64>1) << length) - 1;
      writeReg(p, size, result);
      setArithmeticFlags(cpu, result ? 0 : FLAG_ZF);
      return;
    }
    case X.BZHI: {
      const index = vvvv(p, size) & 0xff;
      result = index < bits ? value & (((<u64>1) << index) - 1) : value;
      writeReg(p, size, result);
      setLazy(cpu, signExtend(result, size), auxCarryOverflow(index >= bits ? 1 : 0, 0));
      return;
    }
    case X.PDEP: {
      let source = vvvv(p, size);
      for (let mask = value; mask; mask &= mask - 1) {
        if (source & 1) result |= mask & (0 - mask);
        source >>= 1;
      }
      break;
    }
    case X.PEXT: {
      const source = vvvv(p, size);
      let to: u64 = 1;
      for (let mask = value; mask; mask &= mask - 1) {
        if (source & mask & (0 - mask)) result |= to;
        to <<= 1;
      }
      break;
    }
    case X.RORX: {
      const n = load<u64>(p, U_IMM) & (bits - 1);
      result = n ? (value >> n) | (value << (bits - n)) : value;
      break;
    }
    case X.SARX:
      result = <u64>(signExtend(value, size) >> (vvvv(p, size) & (bits - 1)));
      break;
    case X.SHLX:
      result = value << (vvvv(p, size) & (bits - 1));
      break;
    case X.SHRX:
      result = value >> (vvvv(p, size) & (bits - 1));
      break;
    default: {
      // MULX: RDX times the operand; the high half wins when both destinations are the same.
      const a = readRegister(RDX << 3, size);
      let high: u64;
      const low = a * value;
      if (size === 8) high = mulHighUnsigned(a, value);
      else high = low >> 32;
      writeRegister(load<u32>(p, U_LINK), size, low);
      writeReg(p, size, high);
      return;
    }
  }
  writeReg(p, size, result);
}

/** LAHF's flags as AH has them. */
export function flagsForAh(): u32 {
  return (arithmeticFlags(cpu) & (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF)) | 2;
}

/** SAHF. */
export function flagsFromAh(ah: u32): void {
  setArithmeticFlags(cpu, (arithmeticFlags(cpu) & FLAG_OF) | (ah & (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF)));
}
