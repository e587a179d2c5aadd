/** What the encoding of an x87 instruction alone tells (SDM volume 2, tables ). */
/** Bit 8 of x87OperandBytes: the instruction stores to memory. */
export const X87_STORES: u32 = 0x100;
/** Bit 9: undefined opcode. */
export const X87_NO_SUCH_OPERAND: u32 = 0x200;

/** Memory forms: bytes of the operand (bits 0-7), X87_STORES, X87_NO_SUCH_OPERAND. */
export function x87OperandBytes(opcode: u32, reg: u32, operandSize16: bool): u32 {
  switch (opcode & 7) {
    case 0:
    case 2:
      return 4;
    case 1:
      switch (reg) {
        case 0:
          return 4;
        case 2:
        case 3:
          return 4 | X87_STORES;
        case 4:
          return operandSize16 ? 14 : 28;
        case 5:
          return 2;
        case 6:
          return (operandSize16 ? 14 : 28) | X87_STORES;
        case 7:
          return 2 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 3:
      switch (reg) {
        case 0:
          return 4;
        case 1:
        case 2:
        case 3:
          return 4 | X87_STORES;
        case 5:
          return 10;
        case 7:
          return 10 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 4:
      return 8;
    case 5:
      switch (reg) {
        case 0:
          return 8;
        case 1:
        case 2:
        case 3:
          return 8 | X87_STORES;
        case 4:
          return operandSize16 ? 94 : 108;
        case 6:
          return (operandSize16 ? 94 : 108) | X87_STORES;
        case 7:
          return 2 | X87_STORES;
        default:
          return X87_NO_SUCH_OPERAND;
      }
    case 6:
      return 2;
    default:
      switch (reg) {
        case 0:
          return 2;
        case 1:
        case 2:
        case 3:
          return 2 | X87_STORES;
        case 4:
          return 10;
        case 5:
          return 8;
        case 6:
          return 10 | X87_STORES;
        default:
          return 8 | X87_STORES;
      }
  }
}

/** No instruction has this register form: #UD, also while an exception is pending. */
export function x87IsUndefined(opcode: u32, modrm: u32): bool {
  switch (opcode) {
    case 0xd9:
      if (modrm < 0xe0) return modrm > 0xd0 && modrm < 0xd8;
      return (modrm & 0xfa) === 0xe2 || modrm === 0xef;
    case 0xda:
      return modrm >= 0xe0 && modrm !== 0xe9;
    case 0xdb:
      return modrm >= 0xf8 || (modrm >= 0xe5 && modrm < 0xe8);
    case 0xdd:
      return modrm >= 0xf0;
    case 0xde:
      return modrm >= 0xd8 && modrm < 0xe0 && modrm !== 0xd9;
    case 0xdf:
      return modrm >= 0xf8 || (modrm > 0xe0 && modrm < 0xe8);
    default:
      return false;
  }
}

/** Does the instruction wait for a pending exception? Not FNINIT, FNCLEX, FNSTSW, FNSTCW, FNSTENV, FNSAVE. */
export function x87IsWaiting(opcode: u32, modrm: u32): bool {
  const reg = (modrm >> 3) & 7;
  if (modrm < 0xc0) {
    if (opcode === 0xd9 || opcode === 0xdd) return reg < 6;
    return true;
  }
  if (opcode === 0xdb && reg === 4) return false;
  return !(opcode === 0xdf && modrm === 0xe0);
}

/**
 * Control instructions leave the pointers to the last instruction and its operand alone (SDM volume 1, 8.1.8). FNOP,
 * FINCSTP, FDECSTP and FFREE are listed among them (5.2.6), yet processors record their addresses.
 */
export function x87IsControl(opcode: u32, modrm: u32): bool {
  const reg = (modrm >> 3) & 7;
  if (modrm < 0xc0) {
    if (opcode === 0xd9) return reg >= 4;
    if (opcode === 0xdd) return reg === 4 || reg >= 6;
    return false;
  }
  if (opcode === 0xdb) return reg === 4;
  return x87StoresAx(opcode, modrm);
}

/** FNSTSW AX. */
export function x87StoresAx(opcode: u32, modrm: u32): bool {
  return opcode === 0xdf && modrm === 0xe0;
}

/** FCMOVcc, FCOMI, FUCOMI, FCOMIP, FUCOMIP: x87RegisterFlags executes them. */
export function x87UsesFlags(opcode: u32, modrm: u32): bool {
  if (modrm < 0xc0) return false;
  const reg = (modrm >> 3) & 7;
  switch (opcode) {
    case 0xda:
      return reg < 4;
    case 0xdb:
      return reg < 4 || reg === 5 || reg === 6;
    case 0xdf:
      return reg === 5 || reg === 6;
    default:
      return false;
  }
}
