/** The one-byte opcode map (SDM vol. 2, appendix A, table A-2) as micro-ops. */
import { CFGF_PAUSE_EXITS, CFG_FLAGS } from '../layout';
import { decodeTwoByte } from './decode-0f';
import { branchSize, farSize, jump, jumpNear, loadFarSegment, stackSize } from './decode-forms';
import {
  callOperand,
  callRelative,
  jumpToOperand,
  leave,
  nearReturn,
  pop,
  push,
  pushImmediate,
  pushOperand,
} from './decode-stack';
import { decodeVex } from './decode-vex';
import { skipUndefined } from './decode-length';
import {
  asize,
  dmode,
  emit,
  emitBranch,
  emitImm,
  emitLoad,
  emitStore,
  emitX,
  emitXImm,
  emitXModrm,
  immediate,
  isMemory,
  isUndefined,
  lock,
  modrm,
  offsetInT1,
  offsetOperand,
  osize,
  segmentOverride,
  readModrm,
  readPrefixes,
  reg,
  reg8,
  regOffset,
  rep,
  rex,
  rm,
  rmSource,
  s8next,
  setAddress,
  setEnds,
  setOpcode,
  sizeIndex,
  tooLong,
  u16next,
  u32next,
  u64next,
  u8next,
  undefinedOpcode,
} from './decode-state';
import { CS, DS, ES, MODE_64, protectedMode } from './state';
import {
  K,
  SEG_A16,
  SEG_A32,
  SEG_A64,
  SUB_REP,
  SUB_SIZE_SHIFT,
  T0,
  T1,
  U_D,
  U_IMM,
  U_LINK,
  U_S,
  U_SEG,
  U_SUB,
  X,
} from './uops';

/** An ALU operation (0-7) on modrm operands. `toRm`: rm is the destination. */
function alu(operation: u32, sizeBytes: u32, toRm: bool): void {
  readModrm();
  const kind = K.ADD8 + operation * 8 + sizeIndex(sizeBytes) * 2;
  const r = regOffset(reg, sizeBytes);
  if (!isMemory) {
    if (lock) undefinedOpcode();
    else if (toRm) emit(kind, regOffset(rm, sizeBytes), r);
    else emit(kind, r, regOffset(rm, sizeBytes));
    return;
  }
  if (!toRm || operation === 7) {
    if (lock) {
      undefinedOpcode();
      return;
    }
    emitLoad(K.LD8 + sizeIndex(sizeBytes), T0);
    if (toRm) emit(kind, T0, r);
    else emit(kind, r, T0);
    return;
  }
  if (lock) {
    const p = emitXModrm(X.LOCK_ALU, sizeBytes);
    store<u32>(p, operation << 1, U_LINK);
    return;
  }
  emitLoad(K.LDW8 + sizeIndex(sizeBytes), T0);
  emit(kind, T0, r);
  emit(K.STW8 + sizeIndex(sizeBytes), 0, T0);
}

/** An ALU operation of an immediate on modrm.rm (groups 80-83). */
function aluImmediate(sizeBytes: u32, immediateBytes: u32): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  const kind = K.ADDI8 + operation * 8 + sizeIndex(sizeBytes) * 2;
  if (!isMemory) {
    const imm = immediate(immediateBytes);
    if (lock) undefinedOpcode();
    else emitImm(kind, regOffset(rm, sizeBytes), imm);
    return;
  }
  if (lock) {
    if (operation === 7) {
      undefinedOpcode();
      return;
    }
    const p = emitXModrm(X.LOCK_ALU, sizeBytes);
    store<u32>(p, (operation << 1) | 1, U_LINK);
    store<i64>(p, immediate(immediateBytes), U_IMM);
    return;
  }
  emitLoad((operation === 7 ? K.LD8 : K.LDW8) + sizeIndex(sizeBytes), T0);
  emitImm(kind, T0, immediate(immediateBytes));
  if (operation !== 7) emit(K.STW8 + sizeIndex(sizeBytes), 0, T0);
}

/** INC, DEC, NEG, NOT of modrm.rm: `kind` is the 8-bit kind. */
function unary(kind: u32, sizeBytes: u32): void {
  if (!isMemory) {
    if (lock) undefinedOpcode();
    else emit(kind + sizeIndex(sizeBytes), regOffset(rm, sizeBytes), 0);
    return;
  }
  if (lock) {
    const p = emitXModrm(X.LOCK_UNARY, sizeBytes);
    store<u32>(p, (kind - K.INC8) >> 2, U_LINK);
    return;
  }
  emitLoad(K.LDW8 + sizeIndex(sizeBytes), T0);
  emit(kind + sizeIndex(sizeBytes), T0, 0);
  emit(K.STW8 + sizeIndex(sizeBytes), 0, T0);
}

/** Shift group: count is an immediate (1 for D0/D1) or, when negative, CL. */
function shift(sizeBytes: u32, count: i64): void {
  const operation = (modrm >> 3) & 7;
  const d = isMemory ? T0 : regOffset(rm, sizeBytes);
  if (isMemory) emitLoad(K.LDW8 + sizeIndex(sizeBytes), T0);
  if (count >= 0) {
    const masked = count & (sizeBytes === 8 ? 63 : 31);
    if (sizeBytes >= 4 && operation >= 4 && masked !== 0) {
      // SHL, SHR, (6 is SHL again), SAR
      const kind = operation === 5 ? K.SHRI32 : operation === 7 ? K.SARI32 : K.SHLI32;
      emitImm(kind + (sizeBytes === 8 ? 1 : 0), d, masked);
    } else {
      const p = emitImm(K.SHIFT_I, d, masked);
      store<u32>(p, operation | (sizeBytes << SUB_SIZE_SHIFT), U_SUB);
    }
  } else {
    const p = emit(K.SHIFT_CL, d, 0);
    store<u32>(p, operation | (sizeBytes << SUB_SIZE_SHIFT), U_SUB);
  }
  if (isMemory) emit(K.STW8 + sizeIndex(sizeBytes), 0, T0);
}

/** Ends the block with an X function. */
function endX(x: u32, sizeBytes: u32): u32 {
  setEnds();
  return emitX(x, sizeBytes);
}

/** A string instruction: the source segment may be overridden. */
function string(x: u32, sizeBytes: u32): void {
  const p = emitX(x, sizeBytes);
  store<u8>(p, <u8>(asize | (segmentOverride >= 0 ? <u32>segmentOverride : DS)), U_SEG);
  // A repeated one may stop half way for an interrupt or a fault and start again.
  if (rep) setEnds();
}

/** Decodes one instruction at linear address `start`, which lies `pageOffset` bytes into its page. */
export function decodeInstruction(start: u32, pageOffset: u32): void {
  const op = readPrefixes();
  if (op > 0xff) {
    tooLong();
    return;
  }
  setOpcode(0, op);
  decodeOpcode(op, start, pageOffset);
  if (isUndefined) skipUndefined();
}

function decodeOpcode(op: u32, start: u32, pageOffset: u32): void {
  const size = op & 1 ? osize : 1;
  if (op < 0x40 && (op & 7) < 6) {
    const operation = op >> 3;
    switch (op & 7) {
      case 0:
      case 1:
        alu(operation, size, true);
        break;
      case 2:
      case 3:
        alu(operation, size, false);
        break;
      default:
        if (lock) undefinedOpcode();
        else emitImm(K.ADDI8 + operation * 8 + sizeIndex(size) * 2, 0, immediate(size));
    }
    return;
  }
  if (lock && !lockable(op)) {
    undefinedOpcode();
    return;
  }
  switch (op) {
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e:
      if (dmode === MODE_64) undefinedOpcode();
      else store<u8>(emitX(X.PUSH_SEG, osize), <u8>(op >> 3), U_D);
      break;
    case 0x07:
    case 0x17:
    case 0x1f:
      if (dmode === MODE_64) undefinedOpcode();
      else store<u8>(endX(X.POP_SEG, osize), <u8>(op >> 3), U_D);
      break;
    case 0x0f:
      decodeTwoByte(pageOffset, start);
      break;
    case 0x27:
      legacy(X.DAA);
      break;
    case 0x2f:
      legacy(X.DAS);
      break;
    case 0x37:
      legacy(X.AAA);
      break;
    case 0x3f:
      legacy(X.AAS);
      break;
    case 0x40:
    case 0x41:
    case 0x42:
    case 0x43:
    case 0x44:
    case 0x45:
    case 0x46:
    case 0x47:
      emit(K.INC8 + sizeIndex(osize), (op & 7) << 3, 0);
      break;
    case 0x48:
    case 0x49:
    case 0x4a:
    case 0x4b:
    case 0x4c:
    case 0x4d:
    case 0x4e:
    case 0x4f:
      emit(K.DEC8 + sizeIndex(osize), (op & 7) << 3, 0);
      break;
    case 0x50:
    case 0x51:
    case 0x52:
    case 0x53:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
      push(((op & 7) | ((rex & 1) << 3)) << 3);
      break;
    case 0x58:
    case 0x59:
    case 0x5a:
    case 0x5b:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
      pop(((op & 7) | ((rex & 1) << 3)) << 3);
      break;
    case 0x60:
      legacy2(X.PUSHA);
      break;
    case 0x61:
      legacy2(X.POPA);
      break;
    case 0x62:
      if (dmode === MODE_64) {
        undefinedOpcode();
        break;
      }
      readModrm();
      if (isMemory) emitXModrm(X.BOUND, osize);
      else undefinedOpcode();
      break;
    case 0x63:
      readModrm();
      if (dmode === MODE_64) {
        if (osize === 8) {
          if (isMemory) emitLoad(K.LDS32_64, reg << 3);
          else emit(K.SX32_64, reg << 3, rm << 3);
        } else {
          const s = rmSource(osize);
          emit(K.MOV8 + sizeIndex(osize), reg << 3, s);
        }
      } else if (!protectedMode) undefinedOpcode();
      else emitXModrm(X.ARPL, 2);
      break;
    case 0x68:
      pushImmediate(immediate(osize === 2 ? 2 : 4));
      break;
    case 0x6a:
      pushImmediate(s8next());
      break;
    case 0x69:
    case 0x6b: {
      readModrm();
      if (osize === 2) {
        const p = emitXModrm(X.IMUL_RMI, 2);
        store<i64>(p, immediate(op === 0x69 ? 2 : 1), U_IMM);
        break;
      }
      const s = rmSource(osize);
      const p = emit(K.IMULI32 + (osize === 8 ? 1 : 0), reg << 3, s);
      store<i64>(p, immediate(op === 0x69 ? 4 : 1), U_IMM);
      break;
    }
    case 0x6c:
    case 0x6d:
      string(X.INS, min<u32>(size, 4));
      setEnds();
      break;
    case 0x6e:
    case 0x6f:
      string(X.OUTS, min<u32>(size, 4));
      setEnds();
      break;
    case 0x70:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0x74:
    case 0x75:
    case 0x76:
    case 0x77:
    case 0x78:
    case 0x79:
    case 0x7a:
    case 0x7b:
    case 0x7c:
    case 0x7d:
    case 0x7e:
    case 0x7f:
      jump(op & 15, s8next(), pageOffset, start);
      break;
    case 0x80:
      aluImmediate(1, 1);
      break;
    case 0x81:
      aluImmediate(osize, osize);
      break;
    case 0x82:
      if (dmode === MODE_64) undefinedOpcode();
      else aluImmediate(1, 1);
      break;
    case 0x83:
      aluImmediate(osize, 1);
      break;
    case 0x84:
    case 0x85: {
      readModrm();
      const s = rmSource(size);
      emit(K.TEST8 + sizeIndex(size) * 2, s, regOffset(reg, size));
      break;
    }
    case 0x86:
    case 0x87:
      readModrm();
      if (isMemory) emitXModrm(X.XCHG, size);
      else if (lock) undefinedOpcode();
      else if (size >= 4) emit(size === 8 ? K.XCHG64 : K.XCHG32, reg << 3, rm << 3);
      else emitXModrm(X.XCHG_RR, size);
      break;
    case 0x88:
    case 0x89:
      readModrm();
      if (isMemory) emitStore(K.ST8 + sizeIndex(size), regOffset(reg, size));
      else emit(K.MOV8 + sizeIndex(size), regOffset(rm, size), regOffset(reg, size));
      break;
    case 0x8a:
    case 0x8b:
      readModrm();
      if (isMemory) emitLoad(K.LD8 + sizeIndex(size), regOffset(reg, size));
      else emit(K.MOV8 + sizeIndex(size), regOffset(reg, size), regOffset(rm, size));
      break;
    case 0x8c:
      readModrm();
      if ((modrm & 0x38) > 0x28) undefinedOpcode();
      else store<u8>(emitXModrm(X.MOV_FROM_SEG, isMemory ? 2 : osize), <u8>((modrm >> 3) & 7), U_D);
      break;
    case 0x8d:
      readModrm();
      if (!isMemory) undefinedOpcode();
      else if (osize === 4 && asize !== SEG_A16) setAddress(emit(K.LEA32, reg << 3, 0));
      else if (osize === 8 && asize === SEG_A64) setAddress(emit(K.LEA64, reg << 3, 0));
      else emitXModrm(X.LEA, osize);
      break;
    case 0x8e: {
      readModrm();
      const s = (modrm >> 3) & 7;
      if (s === CS || s > 5) undefinedOpcode();
      else {
        store<u8>(emitXModrm(X.MOV_TO_SEG, 2), <u8>s, U_D);
        setEnds();
      }
      break;
    }
    case 0x8f:
      readModrm();
      if (modrm & 0x38) undefinedOpcode();
      else if (!isMemory) pop(rm << 3);
      else emitXModrm(X.POP_RM, stackSize());
      break;
    case 0x90:
      // With REX.B it is XCHG r8, rAX, which F3 does not turn into PAUSE.
      if (rex & 1) exchangeAccumulator(8);
      else if (rep === SUB_REP) {
        if (load<u32>(CFG_FLAGS) & CFGF_PAUSE_EXITS) endX(X.PAUSE, 0);
        else emitX(X.PAUSE, 0);
      } else emit(K.NOP, 0, 0);
      break;
    case 0x91:
    case 0x92:
    case 0x93:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
      exchangeAccumulator((op & 7) | ((rex & 1) << 3));
      break;
    case 0x98:
      if (osize === 8) emit(K.SX32_64, 0, 0);
      else if (osize === 4) emit(K.SX16_32, 0, 0);
      else emit(K.SX8_16, 0, 0);
      break;
    case 0x99:
      if (osize === 8) emit(K.CQO, 0, 0);
      else if (osize === 4) emit(K.CDQ, 0, 0);
      else emitX(X.CWD, 2);
      break;
    case 0x9a:
      farImmediate(X.CALL_FAR);
      break;
    case 0x9b:
      emitX(X.FWAIT, 0);
      break;
    case 0x9c:
      emitX(X.PUSHF, stackSize());
      break;
    case 0x9d:
      endX(X.POPF, stackSize());
      break;
    case 0x9e:
      emitX(X.SAHF, 0);
      break;
    case 0x9f:
      emitX(X.LAHF, 0);
      break;
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3: {
      const offset: i64 = asize === SEG_A64 ? <i64>u64next() : asize === SEG_A32 ? <i64>u32next() : <i64>u16next();
      if (asize === SEG_A64) {
        emitImm(K.MOVI64, T1, offset);
        offsetInT1();
      } else offsetOperand(<i32>offset);
      if (op < 0xa2) emitLoad(K.LD8 + sizeIndex(size), 0);
      else emitStore(K.ST8 + sizeIndex(size), 0);
      break;
    }
    case 0xa4:
    case 0xa5:
      string(X.MOVS, size);
      break;
    case 0xa6:
    case 0xa7:
      string(X.CMPS, size);
      break;
    case 0xa8:
    case 0xa9:
      emitImm(K.TESTI8 + sizeIndex(size) * 2, 0, immediate(size));
      break;
    case 0xaa:
    case 0xab:
      string(X.STOS, size);
      break;
    case 0xac:
    case 0xad:
      string(X.LODS, size);
      break;
    case 0xae:
    case 0xaf:
      string(X.SCAS, size);
      break;
    case 0xb0:
    case 0xb1:
    case 0xb2:
    case 0xb3:
    case 0xb4:
    case 0xb5:
    case 0xb6:
    case 0xb7:
      emitImm(K.MOVI8, reg8((op & 7) | ((rex & 1) << 3)), s8next());
      break;
    case 0xb8:
    case 0xb9:
    case 0xba:
    case 0xbb:
    case 0xbc:
    case 0xbd:
    case 0xbe:
    case 0xbf: {
      const d = ((op & 7) | ((rex & 1) << 3)) << 3;
      if (osize === 8) emitImm(K.MOVI64, d, <i64>u64next());
      else if (osize === 4) emitImm(K.MOVI64, d, <i64>u32next());
      else emitImm(K.MOVI16, d, <i64>u16next());
      break;
    }
    case 0xc0:
    case 0xc1: {
      readModrm();
      // The immediate follows the operand's displacement, and the emitted order does not matter to it.
      shift(size, <i64>u8next());
      break;
    }
    case 0xd0:
    case 0xd1:
      readModrm();
      shift(size, 1);
      break;
    case 0xd2:
    case 0xd3:
      readModrm();
      shift(size, -1);
      break;
    case 0xc2:
      nearReturn(<i64>u16next());
      break;
    case 0xc3:
      nearReturn(0);
      break;
    case 0xc4:
    case 0xc5:
      if (dmode === MODE_64) {
        decodeVex(op, u8next());
        break;
      }
      // A register form of LES and LDS is VEX, which real and virtual-8086 mode do not have.
      readModrm();
      if (!isMemory || lock) {
        if (!isMemory && protectedMode) decodeVex(op, modrm);
        else undefinedOpcode();
        break;
      }
      store<u8>(emitXModrm(X.LOAD_FAR, osize), <u8>(reg << 3), U_D);
      loadFarSegment(op === 0xc4 ? ES : DS);
      break;
    case 0xc6:
    case 0xc7:
      readModrm();
      if (modrm & 0x38) undefinedOpcode();
      else if (isMemory) store<i64>(emitStore(K.STI8 + sizeIndex(size), 0), immediate(size), U_IMM);
      else moveImmediate(regOffset(rm, size), size);
      break;
    case 0xc8: {
      const bytes = u16next();
      emitXImm(X.ENTER, stackSize(), <i64>(bytes | (u8next() << 16)));
      break;
    }
    case 0xc9:
      leave();
      break;
    case 0xca:
      setEnds();
      emitXImm(X.RETF, osize, <i64>u16next());
      break;
    case 0xcb:
      endX(X.RETF, osize);
      break;
    case 0xcc:
      endX(X.INT3, 0);
      break;
    case 0xcd:
      setEnds();
      emitXImm(X.INT, 0, <i64>u8next());
      break;
    case 0xce:
      if (dmode === MODE_64) undefinedOpcode();
      else endX(X.INTO, 0);
      break;
    case 0xcf:
      endX(X.IRET, osize);
      break;
    case 0xd4:
    case 0xd5: {
      const base = u8next();
      if (dmode === MODE_64) undefinedOpcode();
      else emitXImm(op === 0xd4 ? X.AAM : X.AAD, 1, <i64>base);
      break;
    }
    case 0xd6:
      legacy(X.SALC);
      break;
    case 0xd7:
      string(X.XLAT, 1);
      break;
    case 0xd8:
    case 0xd9:
    case 0xda:
    case 0xdb:
    case 0xdc:
    case 0xdd:
    case 0xde:
    case 0xdf: {
      readModrm();
      const p = emitXModrm(isMemory ? X.X87_M : X.X87_R, osize);
      store<u64>(p, (op << 8) | modrm, U_IMM);
      break;
    }
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3: {
      const relative = s8next();
      const x = op === 0xe0 ? X.LOOPNE : op === 0xe1 ? X.LOOPE : op === 0xe2 ? X.LOOP : X.JCXZ;
      const p = emitBranch(K.CALL_X, relative, pageOffset, start);
      store<u32>(p, x | (branchSize() << SUB_SIZE_SHIFT), U_SUB);
      store<u8>(p, <u8>asize, U_SEG);
      setEnds();
      break;
    }
    case 0xe4:
    case 0xe5:
      setEnds();
      emitXImm(X.IN, min<u32>(size, 4), <i64>u8next());
      break;
    case 0xe6:
    case 0xe7:
      setEnds();
      emitXImm(X.OUT, min<u32>(size, 4), <i64>u8next());
      break;
    case 0xec:
    case 0xed:
      setEnds();
      emitXImm(X.IN, min<u32>(size, 4), -1);
      break;
    case 0xee:
    case 0xef:
      setEnds();
      emitXImm(X.OUT, min<u32>(size, 4), -1);
      break;
    case 0xe8:
      callRelative(pageOffset, start);
      break;
    case 0xe9:
      jumpNear(16, pageOffset, start);
      break;
    case 0xea:
      farImmediate(X.JMP_FAR);
      break;
    case 0xeb:
      jump(16, s8next(), pageOffset, start);
      break;
    case 0xf1:
      endX(X.INT1, 0);
      break;
    case 0xf4:
      endX(X.HLT, 0);
      break;
    case 0xf5:
      emitX(X.CMC, 0);
      break;
    case 0xf6:
    case 0xf7:
      group3(size);
      break;
    case 0xf8:
      emitX(X.CLC, 0);
      break;
    case 0xf9:
      emitX(X.STC, 0);
      break;
    case 0xfa:
      emitX(X.CLI, 0);
      break;
    case 0xfb:
      endX(X.STI, 0);
      break;
    case 0xfc:
      emitX(X.CLD, 0);
      break;
    case 0xfd:
      emitX(X.STD, 0);
      break;
    case 0xfe:
    case 0xff:
      group5(size);
      break;
    default:
      undefinedOpcode();
  }
}

/** Opcodes outside the ALU block that take a LOCK prefix (with a memory operand, checked where they are decoded), and prefixes of others. */
function lockable(op: u32): bool {
  return (
    (op >= 0x80 && op <= 0x83) ||
    op === 0x86 ||
    op === 0x87 ||
    op === 0xf6 ||
    op === 0xf7 ||
    op >= 0xfe ||
    op === 0x0f ||
    op === 0xc4 ||
    op === 0xc5
  );
}

function exchangeAccumulator(n: u32): void {
  if (osize >= 4) {
    emit(osize === 8 ? K.XCHG64 : K.XCHG32, 0, n << 3);
    return;
  }
  const p = emitX(X.XCHG_RR, 2);
  store<u8>(p, 0, U_D);
  store<u8>(p, <u8>(n << 3), U_S);
}

function legacy(x: u32): void {
  if (dmode === MODE_64) undefinedOpcode();
  else emitX(x, 1);
}

function legacy2(x: u32): void {
  if (dmode === MODE_64) undefinedOpcode();
  else emitX(x, osize);
}

function moveImmediate(offset: u32, sizeBytes: u32): void {
  const imm = immediate(sizeBytes);
  if (sizeBytes === 1) emitImm(K.MOVI8, offset, imm);
  else if (sizeBytes === 2) emitImm(K.MOVI16, offset, imm);
  else emitImm(K.MOVI64, offset, sizeBytes === 4 ? imm & 0xffffffff : imm);
}

function farImmediate(x: u32): void {
  if (dmode === MODE_64) {
    undefinedOpcode();
    return;
  }
  const offset = osize === 2 ? u16next() : u32next();
  const sel = u16next();
  setEnds();
  emitXImm(x, osize, (<i64>offset) | ((<i64>sel) << 32));
}

function group3(size: u32): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (lock && (!isMemory || (operation !== 2 && operation !== 3))) {
    undefinedOpcode();
    return;
  }
  switch (operation) {
    case 0:
    case 1: {
      const s = rmSource(size);
      emitImm(K.TESTI8 + sizeIndex(size) * 2, s, immediate(size));
      break;
    }
    case 2:
      unary(K.NOT8, size);
      break;
    case 3:
      unary(K.NEG8, size);
      break;
    case 4:
      emitXModrm(X.MUL, size);
      break;
    case 5:
      emitXModrm(X.IMUL, size);
      break;
    case 6:
      emitXModrm(X.DIV, size);
      break;
    default:
      emitXModrm(X.IDIV, size);
  }
}

function group5(size: u32): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (operation < 2) {
    unary(operation ? K.DEC8 : K.INC8, size);
    return;
  }
  if (size === 1 || lock) {
    undefinedOpcode();
    return;
  }
  switch (operation) {
    case 2:
      setEnds();
      callOperand();
      break;
    case 3:
    case 5:
      if (!isMemory) undefinedOpcode();
      else {
        setEnds();
        // What a call pushes has the operand's size, whatever the pointer's.
        store<u64>(emitXModrm(operation === 3 ? X.CALL_FAR_M : X.JMP_FAR_M, farSize()), osize, U_IMM);
      }
      break;
    case 4:
      setEnds();
      jumpToOperand();
      break;
    case 6:
      pushOperand();
      break;
    default:
      undefinedOpcode();
  }
}
