/** Integer instructions out of the interpreter's functions (cpu/integer.ts), in line: bits, products, quotients, exchanges. */
import { R_CPL, R_RFLAGS } from '../layout';
import { FLAG_DF, FLAG_IF, RAX, RCX, RDX } from '../cpu/state';
import { U_D, U_IMM, U_LINK, U_S, X } from '../cpu/uops';
import { FORM_FIXED, FORM_SINGLE } from './abi';
import { leaveAside } from './exits';
import * as f from './flags';
import { close, openIf } from './labels';
import {
  LOCAL_ADDRESS,
  LOCAL_AUX,
  LOCAL_CPU,
  LOCAL_FLAG_A,
  LOCAL_FLAG_B,
  LOCAL_GPR,
  LOCAL_RESULT,
  LOCAL_STATUS,
  LOCAL_VALUE,
  LOCAL_VALUE2,
  LOCAL_VALUE3,
  popRegister,
  pushRegister,
  sizeMask,
  storeRegisters,
} from './locals';
import { checkAccess, loadOpcode, pushPointer, storeOpcode } from './memory';
import { translateString } from './strings';
import { xBytes, xHasOperand, xInMemory, xOf } from './x-forms';
import * as w from './wasm';

const RAX_OFFSET: u32 = RAX << 3;
const RDX_OFFSET: u32 = RDX << 3;

/** Translates an instruction that isXInLine. */
export function translateX(p: u32, end: u32): void {
  const x = xOf(p);
  const bytes = xBytes(p);
  const log2: u32 = 31 - clz<u32>(bytes);
  const d: u32 = load<u8>(p, U_D);
  if (x === X.MOVS || x === X.STOS) {
    translateString(p);
    return;
  }
  storeRegisters();
  if (xHasOperand(p) && xInMemory(p)) checkAccess(p, end);
  switch (x) {
    case X.MUL:
    case X.IMUL:
      multiply(p, log2, x === X.IMUL);
      return;
    case X.DIV:
    case X.IDIV:
      divide(p, log2, x === X.IDIV);
      return;
    case X.SHLD_I:
    case X.SHRD_I:
      shiftDouble(p, log2, x === X.SHRD_I);
      return;
    case X.SHLD_CL:
    case X.SHRD_CL:
      shiftDoubleByCl(p, log2, x === X.SHRD_CL);
      return;
    case X.MULX:
      multiplyWithoutFlags(p, log2);
      return;
    case X.ADCX:
    case X.ADOX:
      addWithFlag(p, log2, x === X.ADOX);
      return;
    case X.BZHI:
      zeroHighBits(p, log2);
      return;
    case X.BT:
    case X.BTS:
    case X.BTR:
    case X.BTC:
      pushRegister(d, log2);
      bitTest(p, log2, x - X.BT);
      return;
    case X.BT_I:
    case X.BTS_I:
    case X.BTR_I:
    case X.BTC_I:
      w.const64(load<i64>(p, U_IMM));
      bitTest(p, log2, x - X.BT_I);
      return;
    case X.BSF:
    case X.BSR:
      pushOperand(p, log2);
      w.tee(LOCAL_VALUE);
      w.byte(w.I64_EQZ);
      leaveIf(p, FORM_SINGLE);
      if (x === X.BSR) w.const64(63);
      w.get(LOCAL_VALUE);
      w.byte(x === X.BSR ? w.I64_CLZ : w.I64_CTZ);
      if (x === X.BSR) w.byte(w.I64_SUB);
      popRegister(d, log2, true);
      w.const64(1);
      f.setLogicResult(3);
      return;
    case X.TZCNT:
    case X.LZCNT:
    case X.POPCNT:
      count(p, x, log2);
      return;
    case X.XCHG:
      checkAligned(p, log2);
      atomic(p, w.ATOMIC_XCHG, log2);
      popRegister(d, log2, true);
      return;
    case X.CMPXCHG:
      compareExchange(p, log2);
      return;
    case X.XADD:
      checkAligned(p, log2);
      pushRegister(d, log2);
      w.set(LOCAL_FLAG_B);
      atomic(p, w.ATOMIC_ADD, log2);
      w.set(LOCAL_FLAG_A);
      setAdded(log2);
      w.get(LOCAL_FLAG_A);
      popRegister(d, log2, true);
      return;
    case X.LOCK_ALU:
      lockedAlu(p, log2);
      return;
    case X.LOCK_UNARY:
      lockedStep(p, log2, load<u32>(p, U_LINK) === 0);
      return;
    case X.ANDN:
      pushRegister(load<u32>(p, U_LINK), log2);
      w.const64(-1);
      w.byte(w.I64_XOR);
      pushOperand(p, log2);
      w.byte(w.I64_AND);
      w.tee(LOCAL_RESULT);
      popRegister(d, log2, true);
      w.get(LOCAL_RESULT);
      f.setLogicResult(log2);
      return;
    case X.BLSR:
    case X.BLSMSK:
    case X.BLSI:
      lowestBit(p, x, log2);
      return;
    case X.RORX:
    case X.SARX:
    case X.SHLX:
    case X.SHRX:
      shiftWithoutFlags(p, x, log2);
      return;
    case X.CLI:
      w.get(LOCAL_CPU);
      w.access(w.I32_LOAD, R_CPL);
      // It depends on IOPL then.
      leaveIf(p, FORM_FIXED);
      changeRflags(w.I32_AND, ~FLAG_IF);
      return;
    case X.CLD:
      changeRflags(w.I32_AND, ~FLAG_DF);
      return;
    case X.STD:
      changeRflags(w.I32_OR, FLAG_DF);
      return;
    default:
      // CLC, STC
      w.const32(x === X.STC ? 1 : 0);
      w.set(LOCAL_STATUS);
      setCarry();
  }
}

function changeRflags(opcode: u32, operand: i32): void {
  w.get(LOCAL_CPU);
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_RFLAGS);
  w.const32(operand);
  w.byte(opcode);
  w.access(w.I32_STORE, R_RFLAGS);
}

/** Pushes modrm.rm, zero-extended from its size; a memory operand has been checked. */
function pushOperand(p: u32, log2: u32): void {
  if (!xInMemory(p)) {
    pushRegister(load<u8>(p, U_S), log2);
    return;
  }
  const offset = pushPointer();
  w.access(loadOpcode(log2), offset);
}

/** BLSR, BLSMSK, BLSI: CF tells whether the source is 0 (BLSI: whether it is not), OF is 0. */
function lowestBit(p: u32, x: i32, log2: u32): void {
  pushOperand(p, log2);
  w.set(LOCAL_VALUE);
  if (x === X.BLSI) {
    w.const64(0);
    w.get(LOCAL_VALUE);
    w.byte(w.I64_SUB);
  } else {
    w.get(LOCAL_VALUE);
    w.const64(1);
    w.byte(w.I64_SUB);
  }
  w.get(LOCAL_VALUE);
  w.byte(x === X.BLSMSK ? w.I64_XOR : w.I64_AND);
  w.tee(LOCAL_RESULT);
  popRegister(load<u32>(p, U_LINK), log2, log2 === 3);
  w.get(LOCAL_RESULT);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  w.const32(<i32>0xc0000000);
  w.const32(0);
  w.get(LOCAL_VALUE);
  if (x === X.BLSI) isNotZero();
  else w.byte(w.I64_EQZ);
  w.byte(w.SELECT);
  w.set(LOCAL_AUX);
  f.setFlagKind(f.F_CANONICAL);
}

/** RESULT and AUX become those of an operation that sets CF and OF alike, to the i32 on the stack, and the others by a result, the i64 below. */
function setProduct(log2: u32): void {
  w.const32(31);
  w.byte(w.I32_SHL);
  w.set(LOCAL_AUX);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  f.setFlagKind(f.F_CANONICAL);
}

function multiply(p: u32, log2: u32, isSigned: bool): void {
  pushRegister(RAX_OFFSET, log2);
  if (isSigned) f.extend(log2);
  w.set(LOCAL_VALUE);
  pushOperand(p, log2);
  if (isSigned) f.extend(log2);
  w.set(LOCAL_VALUE2);
  if (log2 === 2) {
    w.get(LOCAL_VALUE);
    w.get(LOCAL_VALUE2);
    w.byte(w.I64_MUL);
    w.tee(LOCAL_ADDRESS);
    popRegister(RAX_OFFSET, 2, false);
    w.get(LOCAL_ADDRESS);
    w.const64(32);
    w.byte(w.I64_SHR_U);
    popRegister(RDX_OFFSET, 2, true);
    w.get(LOCAL_ADDRESS);
    pushExceeds32(isSigned);
    setProduct(2);
    return;
  }
  pushUpperProduct();
  if (isSigned) {
    subtractWhenNegative(LOCAL_VALUE, LOCAL_VALUE2);
    subtractWhenNegative(LOCAL_VALUE2, LOCAL_VALUE);
  }
  w.tee(LOCAL_ADDRESS);
  popRegister(RDX_OFFSET, 3, true);
  w.get(LOCAL_VALUE);
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_MUL);
  w.tee(LOCAL_VALUE);
  w.get(LOCAL_VALUE);
  popRegister(RAX_OFFSET, 3, true);
  w.get(LOCAL_ADDRESS);
  if (isSigned) {
    w.get(LOCAL_VALUE);
    w.const64(63);
    w.byte(w.I64_SHR_S);
    w.byte(w.I64_NE);
  } else {
    isNotZero();
  }
  setProduct(3);
}

/** Pushes the upper half of the unsigned product of LOCAL_VALUE and LOCAL_VALUE2 (cpu/alu.ts: mulHighUnsigned). LOCAL_ADDRESS changes. */
function pushUpperProduct(): void {
  pushHalf(LOCAL_VALUE, true);
  pushHalf(LOCAL_VALUE2, false);
  w.byte(w.I64_MUL);
  pushHalf(LOCAL_VALUE, false);
  pushHalf(LOCAL_VALUE2, false);
  w.byte(w.I64_MUL);
  pushUpper();
  w.byte(w.I64_ADD);
  w.set(LOCAL_ADDRESS);
  pushHalf(LOCAL_VALUE, true);
  pushHalf(LOCAL_VALUE2, true);
  w.byte(w.I64_MUL);
  pushHalf(LOCAL_ADDRESS, true);
  w.byte(w.I64_ADD);
  pushHalf(LOCAL_VALUE, false);
  pushHalf(LOCAL_VALUE2, true);
  w.byte(w.I64_MUL);
  pushHalf(LOCAL_ADDRESS, false);
  w.byte(w.I64_ADD);
  pushUpper();
  w.byte(w.I64_ADD);
}

/** MULX: the upper half wins when both halves go to the same register. */
function multiplyWithoutFlags(p: u32, log2: u32): void {
  const lower: u32 = load<u32>(p, U_LINK);
  const upper: u32 = load<u8>(p, U_D);
  pushRegister(RDX_OFFSET, log2);
  w.set(LOCAL_VALUE);
  pushOperand(p, log2);
  w.set(LOCAL_VALUE2);
  if (log2 === 3) {
    pushUpperProduct();
    w.set(LOCAL_VALUE3);
  }
  w.get(LOCAL_VALUE);
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_MUL);
  if (log2 === 2) w.tee(LOCAL_VALUE3);
  popRegister(lower, log2, log2 === 3);
  w.get(LOCAL_VALUE3);
  if (log2 === 2) pushUpper();
  popRegister(upper, log2, true);
}

/** ADCX and ADOX: the carry goes in and out by CF or OF, the other flags stay. */
function addWithFlag(p: u32, log2: u32, byOverflow: bool): void {
  const d: u32 = load<u8>(p, U_D);
  f.canonicalFlags();
  if (byOverflow) f.pushCanonicalOverflow();
  else {
    w.get(LOCAL_AUX);
    w.const32(31);
    w.byte(w.I32_SHR_U);
  }
  w.set(LOCAL_STATUS);
  pushRegister(d, log2);
  w.tee(LOCAL_VALUE);
  pushOperand(p, log2);
  w.byte(w.I64_ADD);
  w.tee(LOCAL_VALUE2);
  w.get(LOCAL_STATUS);
  w.byte(w.I64_EXTEND_I32_U);
  w.byte(w.I64_ADD);
  w.tee(LOCAL_VALUE3);
  popRegister(d, log2, log2 === 3);
  // When the flag changes, a bit of aux does (cpu/flags.ts), and with CF the other one as well, so that OF stays.
  w.const32(0);
  if (log2 === 3) {
    w.get(LOCAL_VALUE2);
    w.get(LOCAL_VALUE);
    w.byte(w.I64_LT_U);
    w.get(LOCAL_VALUE3);
    w.get(LOCAL_VALUE2);
    w.byte(w.I64_LT_U);
    w.byte(w.I32_OR);
  } else {
    w.get(LOCAL_VALUE3);
    pushUpper();
    w.byte(w.I32_WRAP_I64);
  }
  w.get(LOCAL_STATUS);
  w.byte(w.I32_XOR);
  w.byte(w.I32_SUB);
  w.const32(byOverflow ? 0x40000000 : <i32>0xc0000000);
  w.byte(w.I32_AND);
  w.get(LOCAL_AUX);
  w.byte(w.I32_XOR);
  w.set(LOCAL_AUX);
}

/** BZHI: CF tells that no bit was to be cleared, OF is 0. */
function zeroHighBits(p: u32, log2: u32): void {
  const last: u32 = (8 << log2) - 1;
  pushRegister(load<u32>(p, U_LINK), 0);
  w.set(LOCAL_VALUE2);
  pushOperand(p, log2);
  w.tee(LOCAL_VALUE);
  w.get(LOCAL_VALUE);
  w.const64(-1);
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_SHL);
  w.const64(-1);
  w.byte(w.I64_XOR);
  w.byte(w.I64_AND);
  w.get(LOCAL_VALUE2);
  w.const64(last);
  w.byte(w.I64_GT_U);
  w.tee(LOCAL_STATUS);
  w.byte(w.SELECT);
  w.tee(LOCAL_RESULT);
  popRegister(load<u8>(p, U_D), log2, true);
  w.get(LOCAL_RESULT);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  w.const32(<i32>0xc0000000);
  w.const32(0);
  w.get(LOCAL_STATUS);
  w.byte(w.SELECT);
  w.set(LOCAL_AUX);
  f.setFlagKind(f.F_CANONICAL);
}

/** The i64 on the stack becomes an i32: whether it is not 0. */
function isNotZero(): void {
  w.byte(w.I64_EQZ);
  w.byte(w.I32_EQZ);
}

/** Pushes whether LOCAL_ADDRESS does not fit 32 bits, signed or unsigned. */
function pushExceeds32(isSigned: bool): void {
  w.get(LOCAL_ADDRESS);
  if (isSigned) {
    w.get(LOCAL_ADDRESS);
    f.extend(2);
    w.byte(w.I64_NE);
  } else {
    pushUpper();
    isNotZero();
  }
}

/** The i64 on the stack becomes its upper 32 bits. */
function pushUpper(): void {
  w.const64(32);
  w.byte(w.I64_SHR_U);
}

/** Pushes the upper or lower 32 bits of a local. */
function pushHalf(local: u32, upper: bool): void {
  w.get(local);
  if (upper) pushUpper();
  else {
    w.const64(0xffffffff);
    w.byte(w.I64_AND);
  }
}

/** Subtracts `other` from what is on the stack if `local` is negative. */
function subtractWhenNegative(local: u32, other: u32): void {
  w.get(local);
  w.const64(63);
  w.byte(w.I64_SHR_S);
  w.get(other);
  w.byte(w.I64_AND);
  w.byte(w.I64_SUB);
}

/** Leaves if the i32 on the stack is not 0. */
function leaveIf(p: u32, form: u32): void {
  openIf();
  leaveAside(p, form);
  close();
}

function divide(p: u32, log2: u32, isSigned: bool): void {
  pushOperand(p, log2);
  if (isSigned) f.extend(log2);
  w.tee(LOCAL_VALUE2);
  if (isSigned) {
    // 0 and -1, whose quotients may not exist.
    w.const64(1);
    w.byte(w.I64_ADD);
    w.const64(1);
    w.byte(w.I64_LE_U);
  } else w.byte(w.I64_EQZ);
  leaveIf(p, FORM_SINGLE);
  if (log2 === 2) {
    pushRegister(RDX_OFFSET, 2);
    w.const64(32);
    w.byte(w.I64_SHL);
    pushRegister(RAX_OFFSET, 2);
    w.byte(w.I64_OR);
    w.set(LOCAL_VALUE);
  } else {
    // A dividend of 64 bits; others are rare.
    pushRegister(RDX_OFFSET, 3);
    if (isSigned) {
      pushRegister(RAX_OFFSET, 3);
      w.const64(63);
      w.byte(w.I64_SHR_S);
      w.byte(w.I64_NE);
    } else {
      isNotZero();
    }
    leaveIf(p, FORM_SINGLE);
    pushRegister(RAX_OFFSET, 3);
    w.set(LOCAL_VALUE);
  }
  w.get(LOCAL_VALUE);
  w.get(LOCAL_VALUE2);
  w.byte(isSigned ? w.I64_DIV_S : w.I64_DIV_U);
  w.set(LOCAL_ADDRESS);
  if (log2 === 2) {
    pushExceeds32(isSigned);
    leaveIf(p, FORM_FIXED);
  }
  w.get(LOCAL_VALUE);
  w.get(LOCAL_ADDRESS);
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_MUL);
  w.byte(w.I64_SUB);
  popRegister(RDX_OFFSET, log2, false);
  w.get(LOCAL_ADDRESS);
  popRegister(RAX_OFFSET, log2, false);
}

/** SHLD and SHRD of registers by a constant. */
function shiftDouble(p: u32, log2: u32, right: bool): void {
  const count: u32 = load<u32>(p, U_IMM) & ((8 << log2) - 1);
  if (count) shiftDoubleBy(p, log2, right, count);
  else keepDestination(p, log2);
}

/** By CL, which may say 0. */
function shiftDoubleByCl(p: u32, log2: u32, right: bool): void {
  f.canonicalFlags();
  w.get(LOCAL_GPR + RCX);
  w.const64((8 << log2) - 1);
  w.byte(w.I64_AND);
  w.tee(LOCAL_VALUE2);
  isNotZero();
  openIf();
  shiftDoubleBy(p, log2, right, 0);
  w.byte(w.ELSE);
  keepDestination(p, log2);
  close();
}

/** A count of 0 changes nothing but the upper half of a register of which 32 bits are the destination. */
function keepDestination(p: u32, log2: u32): void {
  const to: u32 = load<u8>(p, U_S);
  pushRegister(to, log2);
  popRegister(to, log2, true);
}

/** Pushes the distance of a shift: a known count or, for 0, LOCAL_VALUE2; with `rest`, what it leaves of the operand's bits. */
function pushCount(count: u32, bits: u32, rest: bool): void {
  if (count) {
    w.const64(rest ? bits - count : count);
    return;
  }
  if (rest) w.const64(bits);
  w.get(LOCAL_VALUE2);
  if (rest) w.byte(w.I64_SUB);
}

/** By a count that is not 0: known, or (`count` is 0) in LOCAL_VALUE2. */
function shiftDoubleBy(p: u32, log2: u32, right: bool, count: u32): void {
  const bits: u32 = 8 << log2;
  const to: u32 = load<u8>(p, U_S);
  pushRegister(to, log2);
  w.tee(LOCAL_VALUE);
  pushCount(count, bits, false);
  w.byte(right ? w.I64_SHR_U : w.I64_SHL);
  pushRegister(load<u8>(p, U_D), log2);
  pushCount(count, bits, true);
  w.byte(right ? w.I64_SHL : w.I64_SHR_U);
  w.byte(w.I64_OR);
  w.tee(LOCAL_RESULT);
  popRegister(to, log2, log2 === 3);
  // CF is the last bit shifted out; OF, the change of the top bit.
  w.get(LOCAL_VALUE);
  pushCount(count, bits, !right);
  if (right) {
    w.const64(1);
    w.byte(w.I64_SUB);
  }
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.const32(1);
  w.byte(w.I32_AND);
  w.tee(LOCAL_STATUS);
  w.const32(31);
  w.byte(w.I32_SHL);
  w.get(LOCAL_RESULT);
  w.get(LOCAL_VALUE);
  w.byte(w.I64_XOR);
  w.const64(bits - 1);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.get(LOCAL_STATUS);
  w.byte(w.I32_XOR);
  w.const32(1);
  w.byte(w.I32_AND);
  w.const32(30);
  w.byte(w.I32_SHL);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
  w.get(LOCAL_RESULT);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  f.setFlagKind(f.F_CANONICAL);
}

/** CF := LOCAL_STATUS (0 or 1), the other flags as they were. */
function setCarry(): void {
  f.canonicalFlags();
  // OF, which is the difference of two bits, stays.
  w.get(LOCAL_AUX);
  w.const32(0x3fffffff);
  w.byte(w.I32_AND);
  w.get(LOCAL_STATUS);
  w.const32(31);
  w.byte(w.I32_SHL);
  w.byte(w.I32_OR);
  w.get(LOCAL_AUX);
  w.get(LOCAL_AUX);
  w.const32(1);
  w.byte(w.I32_SHL);
  w.byte(w.I32_XOR);
  w.const32(31);
  w.byte(w.I32_SHR_U);
  w.get(LOCAL_STATUS);
  w.byte(w.I32_XOR);
  w.const32(30);
  w.byte(w.I32_SHL);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
}

/** BT, BTS, BTR, BTC (0-3) of the bit whose number is on the stack (i64), modulo the operand's size. */
function bitTest(p: u32, log2: u32, operation: u32): void {
  w.const64((8 << log2) - 1);
  w.byte(w.I64_AND);
  w.set(LOCAL_VALUE2);
  pushOperand(p, log2);
  w.tee(LOCAL_VALUE);
  w.get(LOCAL_VALUE2);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.const32(1);
  w.byte(w.I32_AND);
  w.set(LOCAL_STATUS);
  if (operation) {
    let offset: u32 = 0;
    if (xInMemory(p)) offset = pushPointer();
    w.get(LOCAL_VALUE);
    w.const64(1);
    w.get(LOCAL_VALUE2);
    w.byte(w.I64_SHL);
    if (operation === 2) {
      w.const64(-1);
      w.byte(w.I64_XOR);
    }
    w.byte(operation === 1 ? w.I64_OR : operation === 2 ? w.I64_AND : w.I64_XOR);
    if (xInMemory(p)) w.access(storeOpcode(log2), offset);
    else popRegister(load<u8>(p, U_S), log2, true);
  }
  setCarry();
}

/** TZCNT, LZCNT, POPCNT. */
function count(p: u32, x: i32, log2: u32): void {
  const bits: i64 = 8 << log2;
  pushOperand(p, log2);
  w.tee(LOCAL_VALUE);
  if (x === X.POPCNT) w.byte(w.I64_POPCNT);
  else if (x === X.LZCNT) {
    w.byte(w.I64_CLZ);
    if (bits < 64) {
      w.const64(64 - bits);
      w.byte(w.I64_SUB);
    }
  } else {
    // A bit beyond the operand stops the count there.
    if (bits < 64) {
      w.const64((<i64>1) << bits);
      w.byte(w.I64_OR);
    }
    w.byte(w.I64_CTZ);
  }
  w.tee(LOCAL_ADDRESS);
  popRegister(load<u8>(p, U_D), log2, true);
  // ZF by the result (POPCNT: the source, which is the same), all others 0: bit 8 of aux makes the parity of 0 odd. CF by the source.
  w.get(LOCAL_ADDRESS);
  w.byte(w.I64_EQZ);
  w.byte(w.I32_EQZ);
  w.tee(LOCAL_STATUS);
  w.byte(w.I64_EXTEND_I32_U);
  w.set(LOCAL_RESULT);
  w.const32(0);
  w.const32(0x100);
  w.get(LOCAL_STATUS);
  w.byte(w.SELECT);
  if (x !== X.POPCNT) {
    w.const32(<i32>0xc0000000);
    w.const32(0);
    w.get(LOCAL_VALUE);
    w.byte(w.I64_EQZ);
    w.byte(w.SELECT);
    w.byte(w.I32_OR);
  }
  w.set(LOCAL_AUX);
  f.setFlagKind(f.F_CANONICAL);
}

/** WebAssembly's atomic operations want natural alignment. */
function checkAligned(p: u32, log2: u32): void {
  if (!log2) return;
  const offset = pushPointer();
  if (offset) {
    w.const32(offset);
    w.byte(w.I32_ADD);
  }
  w.const32((1 << log2) - 1);
  w.byte(w.I32_AND);
  leaveIf(p, FORM_SINGLE);
}

/** An atomic read-modify-write of the memory operand with modrm.reg; pushes what was there. */
function atomic(p: u32, operation: u32, log2: u32): void {
  const offset = pushPointer();
  pushRegister(load<u8>(p, U_D), log2);
  w.atomic(operation, log2, offset);
}

function setAdded(log2: u32): void {
  w.get(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_ADD);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  f.setFlagKind(f.F_ADD | log2);
}

function compareExchange(p: u32, log2: u32): void {
  checkAligned(p, log2);
  pushRegister(RAX_OFFSET, log2);
  w.set(LOCAL_FLAG_A);
  const offset = pushPointer();
  w.get(LOCAL_FLAG_A);
  pushRegister(load<u8>(p, U_D), log2);
  w.atomic(w.ATOMIC_CMPXCHG, log2, offset);
  w.set(LOCAL_FLAG_B);
  f.setFlagKind(f.F_SUB | log2);
  // A 32-bit accumulator that was equal keeps its upper half.
  w.get(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_NE);
  openIf();
  w.get(LOCAL_FLAG_B);
  popRegister(RAX_OFFSET, log2, true);
  close();
}

/** LOCK ADD, OR, AND, SUB, XOR. */
function lockedAlu(p: u32, log2: u32): void {
  const link = load<u32>(p, U_LINK);
  const operation = link >> 1;
  checkAligned(p, log2);
  if (link & 1) w.const64(load<i64>(p, U_IMM) & sizeMask(log2));
  else pushRegister(load<u8>(p, U_D), log2);
  w.set(LOCAL_FLAG_B);
  const offset = pushPointer();
  w.get(LOCAL_FLAG_B);
  const code =
    operation === 0
      ? w.ATOMIC_ADD
      : operation === 1
        ? w.ATOMIC_OR
        : operation === 4
          ? w.ATOMIC_AND
          : operation === 5
            ? w.ATOMIC_SUB
            : w.ATOMIC_XOR;
  w.atomic(code, log2, offset);
  w.set(LOCAL_FLAG_A);
  if (operation === 0) setAdded(log2);
  else if (operation === 5) f.setFlagKind(f.F_SUB | log2);
  else {
    w.get(LOCAL_FLAG_A);
    w.get(LOCAL_FLAG_B);
    w.byte(operation === 1 ? w.I64_OR : operation === 4 ? w.I64_AND : w.I64_XOR);
    f.setLogicResult(log2);
  }
}

/** LOCK INC and LOCK DEC. */
function lockedStep(p: u32, log2: u32, up: bool): void {
  checkAligned(p, log2);
  f.carryIntoAux();
  const offset = pushPointer();
  w.const64(1);
  w.atomic(up ? w.ATOMIC_ADD : w.ATOMIC_SUB, log2, offset);
  w.const64(1);
  w.byte(up ? w.I64_ADD : w.I64_SUB);
  f.extend(log2);
  w.set(LOCAL_RESULT);
  f.setFlagKind((up ? f.F_INC : f.F_DEC) | log2);
}

function shiftWithoutFlags(p: u32, x: i32, log2: u32): void {
  const bits: u32 = 8 << log2;
  pushOperand(p, log2);
  if (x === X.RORX) {
    const count: u32 = load<u32>(p, U_IMM) & (bits - 1);
    if (log2 === 3) {
      w.const64(count);
      w.byte(w.I64_ROTR);
    } else {
      w.byte(w.I32_WRAP_I64);
      w.const32(count);
      w.byte(w.I32_ROTR);
      w.byte(w.I64_EXTEND_I32_U);
    }
  } else {
    if (x === X.SARX) f.extend(log2);
    pushRegister(load<u32>(p, U_LINK), log2);
    w.const64(bits - 1);
    w.byte(w.I64_AND);
    w.byte(x === X.SHLX ? w.I64_SHL : x === X.SHRX ? w.I64_SHR_U : w.I64_SHR_S);
  }
  popRegister(load<u8>(p, U_D), log2, false);
}
