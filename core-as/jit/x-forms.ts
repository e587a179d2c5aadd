/** Which instructions of those that the interpreter calls a function for (X) are translated in line (jit/translate-x.ts). */
import { FEATURE_ADX, FEATURE_BMI1, FEATURE_BMI2, FEATURE_LZCNT, FEATURE_POPCNT, hasFeature } from '../cpu/features';
import { K, SEG_REGISTER, SUB_LOCK, SUB_SIZE_SHIFT, U_KIND, U_LINK, U_SEG, U_SUB, X } from '../cpu/uops';
import { isPlain } from './address-width';

// @ts-ignore: decorator
@inline
export function xOf(p: u32): i32 {
  return <i32>(load<u32>(p, U_SUB) & 0xffff);
}

/** Operand size in bytes. */
// @ts-ignore: decorator
@inline
export function xBytes(p: u32): u32 {
  return (load<u32>(p, U_SUB) >> SUB_SIZE_SHIFT) & 15;
}

export function xInMemory(p: u32): bool {
  return !(load<u8>(p, U_SEG) & (<u8>SEG_REGISTER));
}

function isLocked(p: u32): bool {
  return (load<u32>(p, U_SUB) & SUB_LOCK) !== 0;
}

/** LOCK_ALU: operations that have an atomic one in WebAssembly: ADD OR AND SUB XOR. */
function hasAtomic(operation: u32): bool {
  return operation === 0 || operation === 1 || (operation >= 4 && operation <= 6);
}

/** True when an instruction of kind CALL_X is translated in line. */
export function isXInLine(p: u32): bool {
  if (<i32>load<u8>(p, U_KIND) !== K.CALL_X) return false;
  const size = xBytes(p);
  switch (xOf(p)) {
    case X.MUL:
    case X.IMUL:
    case X.DIV:
    case X.IDIV:
      return size >= 4;
    case X.SHLD_I:
    case X.SHRD_I:
    case X.SHLD_CL:
    case X.SHRD_CL:
      return size >= 4 && !xInMemory(p);
    case X.BT:
      return !xInMemory(p);
    case X.BTS:
    case X.BTR:
    case X.BTC:
      return !xInMemory(p) && !isLocked(p);
    case X.BT_I:
      return true;
    case X.BTS_I:
    case X.BTR_I:
    case X.BTC_I:
      return !isLocked(p);
    case X.BSF:
    case X.BSR:
      return size >= 4;
    case X.TZCNT:
      return size >= 4 && hasFeature(FEATURE_BMI1);
    case X.LZCNT:
      return size >= 4 && hasFeature(FEATURE_LZCNT);
    case X.POPCNT:
      return size >= 4 && hasFeature(FEATURE_POPCNT);
    case X.XCHG:
      return true;
    case X.CMPXCHG:
    case X.XADD:
      return xInMemory(p);
    case X.LOCK_ALU:
      return hasAtomic(load<u32>(p, U_LINK) >> 1);
    case X.LOCK_UNARY:
      return load<u32>(p, U_LINK) < 2;
    case X.ANDN:
      return hasFeature(FEATURE_BMI1);
    case X.RORX:
    case X.SARX:
    case X.SHLX:
    case X.SHRX:
    case X.MULX:
    case X.BZHI:
      return hasFeature(FEATURE_BMI2);
    case X.ADCX:
    case X.ADOX:
      return hasFeature(FEATURE_ADX);
    case X.BLSR:
    case X.BLSMSK:
    case X.BLSI:
      return hasFeature(FEATURE_BMI1);
    case X.CLC:
    case X.STC:
    case X.CLI:
    case X.CLD:
    case X.STD:
      return true;
    case X.MOVS:
    case X.STOS:
      return isPlain(load<u8>(p, U_SEG));
    default:
      return false;
  }
}

/** The instruction reads or writes its memory operand there: whether it writes. */
export function xWrites(p: u32): bool {
  switch (xOf(p)) {
    case X.BTS_I:
    case X.BTR_I:
    case X.BTC_I:
    case X.XCHG:
    case X.CMPXCHG:
    case X.XADD:
    case X.LOCK_ALU:
    case X.LOCK_UNARY:
      return true;
    default:
      return false;
  }
}

/** It has a memory operand or register in modrm.rm. */
export function xHasOperand(p: u32): bool {
  switch (xOf(p)) {
    case X.CLC:
    case X.STC:
    case X.CLI:
    case X.CLD:
    case X.STD:
    case X.MOVS:
    case X.STOS:
      return false;
    default:
      return true;
  }
}

/** SHLD or SHRD by CL. */
export function xShiftsByCl(p: u32): bool {
  const x = xOf(p);
  return x === X.SHLD_CL || x === X.SHRD_CL;
}
