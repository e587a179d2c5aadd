/** The two-byte opcode map 0F, and the scalar parts of 0F38 and 0F3A (SDM vol. 2, tables ). */
import {
  SIMD_ALIGNED,
  SIMD_ALIGNED_VEX,
  SIMD_FEATURE_MASK,
  SIMD_FEATURE_SHA,
  SIMD_FEATURE_SHIFT,
  SIMD_IMM8,
  SIMD_MEMORY_ONLY,
  SIMD_MMX_STATE,
  SIMD_NO_MODRM,
  SIMD_NO_VVVV,
  SIMD_OPERATION_MASK,
  SIMD_REGISTER_ONLY,
  SIMD_SIZE_1,
  SIMD_SIZE_MASK,
  SIMD_SIZE_NONE,
  SIMD_SIZE_SHIFT,
  SIMD_SIZE_SPECIAL,
  SIMD_SIZE_VECTOR,
  SIMD_VSIB,
  SIMD_WRITES,
  SIMD_W_IS_GPR,
} from '../simd/descriptor';
import { OP_CVTTPD2PI, OP_MOVNTI, OP_MOVQ2DQ } from '../simd/operations';
import { EXECUTE_64BIT, EXECUTE_VEX, EXECUTE_VEX_L, EXECUTE_W } from '../simd/status';
import { simdDescribe } from '../simd/table';
import { farSize, jumpNear, loadFarSegment, stackSize } from './decode-forms';
import {
  dmode,
  emit,
  emitLoad,
  emitStore,
  emitX,
  emitXModrm,
  hasSib,
  isMemory,
  lock,
  modrm,
  osize,
  prefix66,
  readModrm,
  reg,
  regOffset,
  rep,
  rex,
  rm,
  rmSource,
  setAddress,
  setEnds,
  setOpcode,
  setStringDestination,
  sibIndex,
  u8next,
  undefinedOpcode,
  vex,
  vexL,
  vexV,
  vexW,
} from './decode-state';
import { isAmd } from './features';
import {
  UOP_SIMD_ALIGNED,
  UOP_SIMD_MMX,
  UOP_SIMD_NO_STATE,
  UOP_SIMD_NO_XMM,
  simdBytesField,
  simdImmediate,
  simdVsibFields,
} from './simd-uop';
import { FS, GS, MODE_64, SS, protectedMode } from './state';
import { K, SUB_REP, SUB_REPNE, T0, U_D, U_IMM, U_S, U_SCALE, U_SUB, X } from './uops';

/** Mandatory-prefix number as simdDescribe wants it: none, 66, F3, F2. */
function simdPrefix(): u32 {
  return rep === SUB_REP ? 2 : rep === SUB_REPNE ? 3 : prefix66 ? 1 : 0;
}

/** Bytes of a memory operand by its SIMD_SIZE_*. */
function operandBytes(size: u32, vectorBytes: u32): u32 {
  if (size >= SIMD_SIZE_VECTOR) return vectorBytes >> (size - SIMD_SIZE_VECTOR);
  return size === SIMD_SIZE_NONE ? 0 : 1 << (size - SIMD_SIZE_1);
}

/**
 * Tries the SIMD table. `map` is 1 (0F), 2 (0F38) or 3 (0F3A). Returns true when the instruction was emitted (or found invalid).
 * The caller has not read ModRM. It is read before the table is asked: a group shares an opcode, and a byte that decides must be consumed,
 * for the caller of the decoder fetches a second page only when the instruction ends in it.
 */
export function decodeSimd(map: u32, opcode: u32): bool {
  // EMMS, VZEROUPPER, VZEROALL
  const noModrm = map === 1 && opcode === 0x77;
  if (!noModrm) readModrm();
  let w = vex ? vexW : (rex >> 3) & 1;
  let d = simdDescribe(map, simdPrefix(), opcode, modrm, vex, vexL, w);
  if (!d) return false;
  if (w && d & SIMD_W_IS_GPR && dmode !== MODE_64) {
    // W chooses a 64-bit general register, of which there is none outside 64-bit mode.
    w = 0;
    d = simdDescribe(map, simdPrefix(), opcode, modrm, vex, vexL, w);
  }
  assert(((d & SIMD_NO_MODRM) !== 0) === noModrm);
  if (
    lock ||
    (d & SIMD_VSIB && !hasSib) ||
    (isMemory && d & SIMD_REGISTER_ONLY) ||
    (!isMemory && d & SIMD_MEMORY_ONLY) ||
    (vex && d & SIMD_NO_VVVV && vexV)
  ) {
    undefinedOpcode();
    return true;
  }
  const flags =
    (vex ? EXECUTE_VEX : 0) |
    (vexL ? EXECUTE_VEX_L : 0) |
    (w ? EXECUTE_W : 0) |
    (dmode === MODE_64 ? EXECUTE_64BIT : 0);
  const feature = (d >> SIMD_FEATURE_SHIFT) & SIMD_FEATURE_MASK;
  let imm = simdImmediate(vexV, flags, feature);
  const size = (d >> SIMD_SIZE_SHIFT) & SIMD_SIZE_MASK;
  const bytes = operandBytes(size, vexL ? 32 : 16);
  let p: u32;
  const operation = d & SIMD_OPERATION_MASK;
  if (d & SIMD_MMX_STATE) {
    imm |= UOP_SIMD_MMX;
    // All but MOVQ2DQ, MOVDQ2Q and the conversions between the two files.
    if (operation < OP_MOVQ2DQ || operation > OP_CVTTPD2PI) imm |= UOP_SIMD_NO_XMM;
  } else if (operation === OP_MOVNTI) imm |= UOP_SIMD_NO_STATE;
  if (!isMemory && size === SIMD_SIZE_SPECIAL) {
    // MASKMOVQ, MASKMOVDQU: registers in modrm, memory at DS:rDI.
    p = emit(K.SIMD_SPECIAL, reg, rm);
    setStringDestination(p);
  } else if (!isMemory) p = emit(K.SIMD_R, reg, rm);
  else {
    const special = size === SIMD_SIZE_SPECIAL || (d & SIMD_VSIB) !== 0;
    p = emit(special ? K.SIMD_SPECIAL : d & SIMD_WRITES ? K.SIMD_ST : K.SIMD_LD, reg, 0xff);
    setAddress(p);
    imm |= simdBytesField(bytes);
    if (d & SIMD_VSIB) imm |= simdVsibFields(sibIndex);
    // AMD's SHA instructions take operands at any address.
    const anywhere = feature === SIMD_FEATURE_SHA && isAmd();
    if ((!vex && d & SIMD_ALIGNED && !anywhere) || (d & SIMD_ALIGNED_VEX && bytes >= 16)) imm |= UOP_SIMD_ALIGNED;
  }
  store<u32>(p, operation, U_SUB);
  if (d & SIMD_IMM8) imm |= u8next();
  store<u64>(p, imm, U_IMM);
  return true;
}

/** An X function on modrm operands. */
function modrmX(x: u32, sizeBytes: u32): void {
  readModrm();
  if (lock) undefinedOpcode();
  else emitXModrm(x, sizeBytes);
}

/** LOCK is allowed with a memory destination only. */
function lockableX(x: u32, sizeBytes: u32): void {
  readModrm();
  if (lock && !isMemory) undefinedOpcode();
  else emitXModrm(x, sizeBytes);
}

function endX(x: u32): void {
  if (lock) {
    undefinedOpcode();
    return;
  }
  setEnds();
  emitX(x, osize);
}

export function decodeTwoByte(pageOffset: u32, start: u32): void {
  const op = u8next();
  setOpcode(1, op);
  switch (op) {
    case 0x00:
      group6();
      return;
    case 0x01:
      group7();
      return;
    case 0x02:
    case 0x03:
      readModrm();
      if (!protectedMode || lock) undefinedOpcode();
      else emitXModrm(op === 2 ? X.LAR : X.LSL, osize);
      return;
    case 0x05:
      // Intel's exists in 64-bit mode alone.
      if (dmode === MODE_64 || isAmd()) endX(X.SYSCALL);
      else undefinedOpcode();
      return;
    case 0x06:
      endX(X.CLTS);
      return;
    case 0x07:
      endX(X.SYSRET);
      return;
    case 0x08:
    case 0x09:
      endX(X.WBINVD);
      return;
    case 0x0d:
      readModrm();
      if (lock || !isMemory) undefinedOpcode();
      else emit(K.NOP, 0, 0);
      return;
    case 0x18:
    case 0x19:
    case 0x1a:
    case 0x1b:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f:
      // Hint NOPs: PREFETCHh, ENDBR, multi-byte NOP.
      readModrm();
      if (lock) undefinedOpcode();
      else emit(K.NOP, 0, 0);
      return;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23:
      moveControl(op);
      return;
    case 0x30:
      endX(X.WRMSR);
      return;
    case 0x31:
      endX(X.RDTSC);
      return;
    case 0x32:
      endX(X.RDMSR);
      return;
    case 0x33:
      endX(X.RDPMC);
      return;
    case 0x34:
      endX(X.SYSENTER);
      return;
    case 0x35:
      endX(X.SYSEXIT);
      return;
    case 0x38: {
      const opcode = u8next();
      setOpcode(2, opcode);
      decode0f38(opcode);
      return;
    }
    case 0x3a: {
      const opcode = u8next();
      setOpcode(3, opcode);
      if (!decodeSimd(3, opcode)) undefinedOpcode();
      return;
    }
    case 0xa0:
    case 0xa8:
      if (lock) undefinedOpcode();
      else store<u8>(emitX(X.PUSH_SEG, stackSize()), <u8>(op === 0xa0 ? FS : GS), U_D);
      return;
    case 0xa1:
    case 0xa9:
      if (lock) {
        undefinedOpcode();
        return;
      }
      store<u8>(emitX(X.POP_SEG, stackSize()), <u8>(op === 0xa1 ? FS : GS), U_D);
      setEnds();
      return;
    case 0xa2:
      endX(X.CPUID);
      return;
    case 0xa3:
      modrmX(X.BT, osize);
      return;
    case 0xab:
      lockableX(X.BTS, osize);
      return;
    case 0xb3:
      lockableX(X.BTR, osize);
      return;
    case 0xbb:
      lockableX(X.BTC, osize);
      return;
    case 0xba: {
      readModrm();
      const operation = (modrm >> 3) & 7;
      if (operation < 4 || (lock && (!isMemory || operation === 4))) {
        undefinedOpcode();
        return;
      }
      const p = emitXModrm(X.BT_I + operation - 4, osize);
      store<u64>(p, u8next(), U_IMM);
      return;
    }
    case 0xa4:
    case 0xac: {
      readModrm();
      const p = emitXModrm(op === 0xa4 ? X.SHLD_I : X.SHRD_I, osize);
      store<u64>(p, u8next(), U_IMM);
      if (lock) undefinedOpcode();
      return;
    }
    case 0xa5:
      modrmX(X.SHLD_CL, osize);
      return;
    case 0xad:
      modrmX(X.SHRD_CL, osize);
      return;
    case 0xae:
      group15();
      return;
    case 0xaf: {
      readModrm();
      if (lock) undefinedOpcode();
      else if (osize === 2) emitXModrm(X.IMUL_RM, 2);
      else {
        const s = rmSource(osize);
        emit(osize === 8 ? K.IMUL64 : K.IMUL32, reg << 3, s);
      }
      return;
    }
    case 0xb0:
    case 0xb1:
      lockableX(X.CMPXCHG, op & 1 ? osize : 1);
      return;
    case 0xc0:
    case 0xc1:
      lockableX(X.XADD, op & 1 ? osize : 1);
      return;
    case 0xb2:
    case 0xb4:
    case 0xb5:
      readModrm();
      if (lock) {
        undefinedOpcode();
        return;
      }
      store<u8>(emitXModrm(X.LOAD_FAR, farSize()), <u8>(reg << 3), U_D);
      loadFarSegment(op === 0xb2 ? SS : op === 0xb4 ? FS : GS);
      return;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
      extend(op);
      return;
    case 0xb8:
      if (rep === SUB_REP) modrmX(X.POPCNT, osize);
      else undefinedOpcode();
      return;
    case 0xb9:
    case 0xff:
    case 0x0b:
      // UD1, UD0, UD2
      undefinedOpcode();
      return;
    case 0xbc:
      modrmX(rep === SUB_REP ? X.TZCNT : X.BSF, osize);
      return;
    case 0xbd:
      modrmX(rep === SUB_REP ? X.LZCNT : X.BSR, osize);
      return;
    case 0xc7:
      group9();
      return;
    case 0xc8:
    case 0xc9:
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: {
      const d = ((op & 7) | ((rex & 1) << 3)) << 3;
      if (lock) undefinedOpcode();
      else if (osize === 2) store<u8>(emitX(X.BSWAP16, 2), <u8>d, U_D);
      else emit(osize === 8 ? K.BSWAP64 : K.BSWAP32, d, 0);
      return;
    }
  }
  if (op >= 0x40 && op <= 0x4f) {
    conditionalMove(op & 15);
    return;
  }
  if (op >= 0x80 && op <= 0x8f) {
    if (lock) undefinedOpcode();
    else jumpNear(op & 15, pageOffset, start);
    return;
  }
  if (op >= 0x90 && op <= 0x9f) {
    setCondition(op & 15);
    return;
  }
  if (!decodeSimd(1, op)) undefinedOpcode();
}

function extend(op: u32): void {
  readModrm();
  if (lock) {
    undefinedOpcode();
    return;
  }
  const from16 = (op & 1) !== 0;
  const signed = op >= 0xbe;
  const d = reg << 3;
  const s = isMemory ? 0 : from16 ? rm << 3 : regOffset(rm, 1);
  if (osize === 2) {
    if (isMemory) emitLoad(from16 ? K.LD16 : K.LD8, T0);
    const source = isMemory ? T0 : s;
    emit(from16 ? K.MOV16 : signed ? K.SX8_16 : K.ZX8_16, d, source);
    return;
  }
  let register: u32;
  let loadKind: u32;
  if (!signed) {
    register = from16 ? K.ZX16 : K.ZX8;
    loadKind = from16 ? K.LDZ16 : K.LDZ8;
  } else if (osize === 4) {
    register = from16 ? K.SX16_32 : K.SX8_32;
    loadKind = from16 ? K.LDS16_32 : K.LDS8_32;
  } else {
    register = from16 ? K.SX16_64 : K.SX8_64;
    loadKind = from16 ? K.LDS16_64 : K.LDS8_64;
  }
  if (isMemory) emitLoad(loadKind, d);
  else emit(register, d, s);
}

function conditionalMove(code: u32): void {
  readModrm();
  if (lock) {
    undefinedOpcode();
    return;
  }
  // The load happens whatever the condition.
  const s = rmSource(osize);
  if (osize === 2) {
    const p = emitX(X.CMOV16, 2);
    store<u8>(p, <u8>(reg << 3), U_D);
    store<u8>(p, <u8>s, U_S);
    store<u8>(p, <u8>code, U_SCALE);
    return;
  }
  const p = emit(osize === 8 ? K.CMOV64 : K.CMOV32, reg << 3, s);
  store<u32>(p, code, U_SUB);
}

function setCondition(code: u32): void {
  readModrm();
  if (lock) {
    undefinedOpcode();
    return;
  }
  if (isMemory) {
    store<u32>(emit(K.SETCC, T0, 0), code, U_SUB);
    emitStore(K.ST8, T0);
  } else store<u32>(emit(K.SETCC, regOffset(rm, 1), 0), code, U_SUB);
}

function moveControl(op: u32): void {
  // Mod is ignored: always a register (SDM vol. 2, MOV - Move to/from Control Registers).
  const byte = u8next();
  let number = ((byte >> 3) & 7) | ((rex & 4) << 1);
  const general = (byte & 7) | ((rex & 1) << 3);
  const debug = (op & 1) !== 0;
  // AMD's AltMovCr8, for code that has no REX prefix.
  if (lock && !debug && number === 0 && isAmd()) number = 8;
  else if (lock || (debug && number > 7)) {
    undefinedOpcode();
    return;
  }
  if (!debug && number !== 0 && number !== 2 && number !== 3 && number !== 4 && number !== 8) {
    undefinedOpcode();
    return;
  }
  const x = op === 0x20 ? X.MOV_FROM_CR : op === 0x21 ? X.MOV_FROM_DR : op === 0x22 ? X.MOV_TO_CR : X.MOV_TO_DR;
  const p = emitX(x, dmode === MODE_64 ? 8 : 4);
  store<u8>(p, <u8>number, U_D);
  store<u8>(p, <u8>(general << 3), U_S);
  setEnds();
}

function group6(): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (lock || !protectedMode || operation > 5) {
    undefinedOpcode();
    return;
  }
  switch (operation) {
    case 0:
      emitXModrm(X.SLDT, isMemory ? 2 : osize);
      break;
    case 1:
      emitXModrm(X.STR, isMemory ? 2 : osize);
      break;
    case 2:
      emitXModrm(X.LLDT, 2);
      break;
    case 3:
      emitXModrm(X.LTR, 2);
      break;
    case 4:
      emitXModrm(X.VERR, 2);
      break;
    default:
      emitXModrm(X.VERW, 2);
  }
  setEnds();
}

function group7(): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (lock) {
    undefinedOpcode();
    return;
  }
  setEnds();
  if (!isMemory) {
    // NP in the manual: 66, F2 and F3 make other instructions of these, or none. SWAPGS and RDTSCP are not among them.
    if ((prefix66 || rep) && modrm >= 0xca && modrm <= 0xd1) {
      undefinedOpcode();
      return;
    }
    switch (modrm) {
      case 0xca:
        emitX(X.CLAC, 0);
        return;
      case 0xcb:
        emitX(X.STAC, 0);
        return;
      case 0xd0:
        emitX(X.XGETBV, 0);
        return;
      case 0xd1:
        emitX(X.XSETBV, 0);
        return;
      case 0xf8:
        if (dmode === MODE_64) emitX(X.SWAPGS, 0);
        else undefinedOpcode();
        return;
      case 0xf9:
        emitX(X.RDTSCP, 0);
        return;
    }
    if (operation !== 4 && operation !== 6) {
      undefinedOpcode();
      return;
    }
  }
  switch (operation) {
    case 0:
      emitXModrm(X.SGDT, osize);
      break;
    case 1:
      emitXModrm(X.SIDT, osize);
      break;
    case 2:
      emitXModrm(X.LGDT, osize);
      break;
    case 3:
      emitXModrm(X.LIDT, osize);
      break;
    case 4:
      emitXModrm(X.SMSW, isMemory ? 2 : osize);
      break;
    case 6:
      emitXModrm(X.LMSW, 2);
      break;
    case 7:
      emitXModrm(X.INVLPG, 1);
      break;
    default:
      undefinedOpcode();
  }
}

function group9(): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (isMemory) {
    if (operation === 1) emitXModrm(osize === 8 ? X.CMPXCHG16B : X.CMPXCHG8B, osize);
    else if (operation === 4 && !lock && !rep && !prefix66) emitXModrm(X.XSAVEC, osize);
    else undefinedOpcode();
    return;
  }
  if (lock) {
    undefinedOpcode();
    return;
  }
  if (operation === 6 && !rep) emitXModrm(X.RDRAND, osize);
  else if (operation === 7 && !rep) emitXModrm(X.RDSEED, osize);
  else if (operation === 7 && rep === SUB_REP) emitXModrm(X.RDPID, dmode === MODE_64 ? 8 : 4);
  else undefinedOpcode();
}

function group15(): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (lock) {
    undefinedOpcode();
    return;
  }
  if (!isMemory) {
    if (rep === SUB_REP && dmode === MODE_64 && operation < 4) {
      // The prefix 66 beside F3 makes no operand of 16 bits.
      emitXModrm(X.RDFSBASE + operation, osize === 8 ? 8 : 4);
      return;
    }
    if (prefix66 && !rep && modrm === 0xf8) emitX(X.PCOMMIT, 0);
    else if (!rep && !prefix66 && operation >= 5) emit(K.FENCE, 0, 0);
    else undefinedOpcode();
    return;
  }
  if (rep) {
    undefinedOpcode();
    return;
  }
  if (prefix66) {
    if (operation === 6) emitXModrm(X.CLWB, 1);
    else if (operation === 7) emitXModrm(X.CLFLUSHOPT, 1);
    else undefinedOpcode();
    return;
  }
  switch (operation) {
    case 0:
      emitXModrm(X.FXSAVE, osize);
      break;
    case 1:
      emitXModrm(X.FXRSTOR, osize);
      setEnds();
      break;
    case 2:
      emitXModrm(X.LDMXCSR, 4);
      break;
    case 3:
      emitXModrm(X.STMXCSR, 4);
      break;
    case 4:
      emitXModrm(X.XSAVE, osize);
      break;
    case 5:
      emitXModrm(X.XRSTOR, osize);
      setEnds();
      break;
    case 6:
      emitXModrm(X.XSAVEOPT, osize);
      break;
    default:
      emitXModrm(X.CLFLUSH, 1);
  }
}

function decode0f38(op: u32): void {
  if (op === 0xf0 || op === 0xf1) {
    if (rep === SUB_REPNE) {
      const from = op === 0xf0 ? 1 : osize;
      readModrm();
      if (lock) undefinedOpcode();
      else {
        const p = emitXModrm(X.CRC32, from);
        store<u8>(p, <u8>(reg << 3), U_D);
        store<u64>(p, osize === 8 ? 8 : 4, U_IMM);
      }
      return;
    }
    if (!rep) {
      readModrm();
      if (!isMemory || lock) undefinedOpcode();
      else emitXModrm(op === 0xf0 ? X.MOVBE_LD : X.MOVBE_ST, osize);
      return;
    }
    undefinedOpcode();
    return;
  }
  if (op === 0xf6 && (rep === SUB_REP || (prefix66 && !rep))) {
    // A 66 prefix selects ADCX here, not a 16-bit operand.
    modrmX(rep === SUB_REP ? X.ADOX : X.ADCX, rex & 8 ? 8 : 4);
    return;
  }
  if (op === 0x82 && prefix66 && !rep) {
    readModrm();
    if (!isMemory || lock) undefinedOpcode();
    else {
      emitXModrm(X.INVPCID, dmode === MODE_64 ? 8 : 4);
      setEnds();
    }
    return;
  }
  if (!decodeSimd(2, op)) undefinedOpcode();
}
