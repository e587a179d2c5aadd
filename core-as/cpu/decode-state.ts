/** What the decoder knows about the instruction it is in: prefixes, modrm, immediate bytes, and the micro-ops emitted so far. */
import {
  K,
  LOADS_APART,
  REG_PAGE,
  REG_PAGE_HIGH,
  REG_ZERO,
  SEG_A16,
  SEG_A32,
  SEG_A64,
  SEG_REGISTER,
  STORES_APART,
  SUB_LOCK,
  SUB_REP,
  SUB_REPNE,
  SUB_SIZE_SHIFT,
  T0,
  T1,
  UOP_SIZE,
  U_BASE,
  U_D,
  U_DISP,
  U_IDX,
  U_IMM,
  U_INDEX,
  U_KIND,
  U_LEN,
  U_OFF,
  U_OP,
  U_S,
  U_SCALE,
  U_SEG,
  U_SUB,
  X,
} from './uops';
import { DS, FS, MODE_16, MODE_64, RBP, SS } from './state';

/** Next byte to decode (linear address). Bytes past the end of the page are read blindly; the caller checks afterwards. */
export let dp: u32 = 0;
/** Decoding mode: MODE_16, MODE_32, MODE_64, MODE_FLAT. */
export let dmode: u32 = 0;
/** Next micro-op to write. */
export let out: u32 = 0;
/** First micro-op of the instruction. */
let firstUop: u32 = 0;

/** Operand size in bytes (2, 4, 8) of instructions that follow it. */
export let osize: u32 = 4;
/** Address size: SEG_A16, SEG_A32, SEG_A64. */
export let asize: u32 = 0;
export let rex: u32 = 0;
export let prefix66: bool = false;
/** 0, SUB_REP (F3) or SUB_REPNE (F2). */
export let rep: u32 = 0;
export let lock: bool = false;
/** Segment segmentOverride or -1. */
export let segmentOverride: i32 = -1;
/** The instruction ends its block. */
export let ends: bool = false;

/** Map of the opcode (0: one byte; else as VEX counts them), the opcode itself, and the place after it. */
export let opcodeMap: u32 = 0;
export let opcodeByte: u32 = 0;
let afterOpcode: u32 = 0;
/** The instruction has been found undefined. */
export let isUndefined: bool = false;

export let modrm: u32 = 0;
/** modrm.reg and modrm.rm with REX bits. */
export let reg: u32 = 0;
export let rm: u32 = 0;
export let isMemory: bool = false;
let eaBase: u32 = REG_ZERO;
let eaIndex: u32 = REG_ZERO;
let eaScale: u32 = 0;
let eaDisp: i32 = 0;
let eaSeg: u32 = 0;
let eaRip: bool = false;
let eaFlat: bool = false;

/** VEX fields: vvvv, L, W; `vex` is non-zero under a VEX prefix. */
export let vex: u32 = 0;
export let vexV: u32 = 0;
export let vexL: u32 = 0;
export let vexW: u32 = 0;

export function setDmode(value: u32): void {
  dmode = value;
}
export function setOut(value: u32): void {
  out = value;
}
export function setEnds(): void {
  ends = true;
}
export function setOsize(value: u32): void {
  osize = value;
}
export function setVex(present: u32, v: u32, l: u32, w: u32): void {
  vex = present;
  vexV = v;
  vexL = l;
  vexW = w;
}
export function setRex(value: u32): void {
  rex = value;
}
export function setPrefix66(value: bool): void {
  prefix66 = value;
}
export function setRep(value: u32): void {
  rep = value;
}

/** Starts an instruction. */
export function beginInstruction(at: u32): void {
  dp = at;
  firstUop = out;
  rex = 0;
  prefix66 = false;
  rep = 0;
  lock = false;
  segmentOverride = -1;
  ends = false;
  vex = 0;
  vexV = 0;
  vexL = 0;
  vexW = 0;
  isMemory = false;
  isUndefined = false;
  eaRip = false;
  osize = dmode === MODE_16 ? 2 : 4;
  asize = dmode === MODE_64 ? SEG_A64 : dmode === MODE_16 ? SEG_A16 : SEG_A32;
}

/** Reads legacy prefixes and REX; leaves the opcode byte in the return value. */
export function readPrefixes(): u32 {
  let addressPrefix = false;
  for (let i = 0; i < 15; i++) {
    const byte = u8next();
    switch (byte) {
      case 0x66:
        prefix66 = true;
        rex = 0;
        continue;
      case 0x67:
        addressPrefix = true;
        rex = 0;
        continue;
      case 0xf0:
        lock = true;
        rex = 0;
        continue;
      case 0xf2:
        rep = SUB_REPNE;
        rex = 0;
        continue;
      case 0xf3:
        rep = SUB_REP;
        rex = 0;
        continue;
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        // In 64-bit mode these four are ignored (SDM vol. 2, 2.1.1).
        if (dmode !== MODE_64) segmentOverride = (<i32>(byte >> 3)) & 3;
        rex = 0;
        continue;
      case 0x64:
      case 0x65:
        segmentOverride = <i32>(FS + (byte & 1));
        rex = 0;
        continue;
    }
    if (dmode === MODE_64 && (byte & 0xf0) === 0x40) {
      rex = byte;
      continue;
    }
    if (addressPrefix) asize = dmode === MODE_64 || dmode === MODE_16 ? SEG_A32 : SEG_A16;
    if (prefix66) osize = dmode === MODE_16 ? 4 : 2;
    if (rex & 8) osize = 8;
    return byte;
  }
  return 0x100;
}

/** The opcode has been read: what an undefined instruction's length follows from. */
export function setOpcode(map: u32, opcode: u32): void {
  opcodeMap = map;
  opcodeByte = opcode;
  afterOpcode = dp;
}
/** Goes back to the place after the opcode. */
export function restartAfterOpcode(): void {
  dp = afterOpcode;
}
export function skipBytes(bytes: u32): void {
  dp += bytes;
}

export function u8next(): u32 {
  const v: u32 = load<u8>(dp);
  dp++;
  return v;
}
export function s8next(): i64 {
  const v: i64 = load<i8>(dp);
  dp++;
  return v;
}
export function u16next(): u32 {
  const v: u32 = load<u16>(dp);
  dp += 2;
  return v;
}
export function s32next(): i64 {
  const v: i64 = load<i32>(dp);
  dp += 4;
  return v;
}
export function u32next(): u32 {
  const v = load<u32>(dp);
  dp += 4;
  return v;
}
export function u64next(): u64 {
  const v = load<u64>(dp);
  dp += 8;
  return v;
}

/** An immediate of the operand size: 1, 2 or 4 bytes sign-extended to 64 bits (size 8 has 4 bytes too). */
export function immediate(sizeBytes: u32): i64 {
  if (sizeBytes === 1) return s8next();
  if (sizeBytes === 2) return <i64>(<i16>u16next());
  return s32next();
}

/** Reads modrm, SIB and displacement. */
export function readModrm(): void {
  modrm = u8next();
  reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
  rm = (modrm & 7) | ((rex & 1) << 3);
  const mod = modrm >> 6;
  isMemory = mod !== 3;
  hasSib = false;
  if (!isMemory) return;
  eaBase = REG_ZERO;
  eaIndex = REG_ZERO;
  eaScale = 0;
  eaDisp = 0;
  eaRip = false;
  let segment = DS;
  if (asize === SEG_A16) {
    // SDM vol. 2, table 2-1: BX+SI BX+DI BP+SI BP+DI SI DI BP/disp16 BX.
    switch (modrm & 7) {
      case 0:
        eaBase = 3 << 3;
        eaIndex = 6 << 3;
        break;
      case 1:
        eaBase = 3 << 3;
        eaIndex = 7 << 3;
        break;
      case 2:
        eaBase = 5 << 3;
        eaIndex = 6 << 3;
        segment = SS;
        break;
      case 3:
        eaBase = 5 << 3;
        eaIndex = 7 << 3;
        segment = SS;
        break;
      case 4:
        eaBase = 6 << 3;
        break;
      case 5:
        eaBase = 7 << 3;
        break;
      case 6:
        if (mod !== 0) {
          eaBase = 5 << 3;
          segment = SS;
        }
        break;
      default:
        eaBase = 3 << 3;
    }
    if (mod === 1) eaDisp = <i32>s8next();
    else if (mod === 2 || (modrm & 7) === 6) eaDisp = <i32>(<i16>u16next());
  } else {
    if ((modrm & 7) === 4) {
      const sib = u8next();
      const index = ((sib >> 3) & 7) | ((rex & 2) << 2);
      const base = (sib & 7) | ((rex & 1) << 3);
      eaScale = sib >> 6;
      if (index !== 4) eaIndex = index << 3;
      sibIndex = index;
      hasSib = true;
      if ((sib & 7) === 5 && mod === 0) eaDisp = <i32>s32next();
      else {
        eaBase = base << 3;
        if (base === 4 || base === 5) segment = SS;
      }
    } else if ((modrm & 7) === 5 && mod === 0) {
      eaDisp = <i32>s32next();
      if (dmode === MODE_64) eaRip = true;
    } else {
      eaBase = rm << 3;
      if (rm === 5) segment = SS;
    }
    if (mod === 1) eaDisp = <i32>s8next();
    else if (mod === 2) eaDisp = <i32>s32next();
  }
  eaSeg = segmentOverride >= 0 ? <u32>segmentOverride : segment;
  eaFlat = asize === SEG_A64 && eaSeg < FS;
}

/** There is a SIB byte, and the number of its index register (VSIB). */
export let hasSib: bool = false;
export let sibIndex: u32 = 0;

/** A memory operand whose offset is in T1 (MOV AL, moffs, of 64 bits). */
export function offsetInT1(): void {
  memoryOperand(T1, 0);
}

/** A memory operand at an offset of 16 or 32 bits (the same). */
export function offsetOperand(offset: i32): void {
  memoryOperand(REG_ZERO, offset);
}

/** A memory operand at an offset from rBP, in the stack whatever prefixes say. */
export function frameOperand(offset: i32): void {
  memoryOperand(RBP << 3, offset);
  eaSeg = SS;
}

function memoryOperand(base: u32, disp: i32): void {
  isMemory = true;
  eaBase = base;
  eaIndex = REG_ZERO;
  eaScale = 0;
  eaRip = false;
  eaDisp = disp;
  eaSeg = segmentOverride >= 0 ? <u32>segmentOverride : DS;
  eaFlat = asize === SEG_A64 && eaSeg < FS;
}

/** Gives a micro-op the memory operand DS:rDI (DS may be overridden). */
export function setStringDestination(p: u32): void {
  store<u8>(p, 7 << 3, U_BASE);
  store<u8>(p, <u8>REG_ZERO, U_IDX);
  store<u8>(p, <u8>((segmentOverride >= 0 ? <u32>segmentOverride : DS) | asize), U_SEG);
}

// ---------------------------------------------------------------------------------------------------------------------
// Emitting

/** Byte offset of an 8-bit register: AH-BH are second bytes unless there is a REX prefix. */
export function reg8(n: u32): u32 {
  return !rex && !vex && n >= 4 && n < 8 ? ((n - 4) << 3) + 1 : n << 3;
}

/** Byte offset of a register of a size. */
export function regOffset(n: u32, sizeBytes: u32): u32 {
  return sizeBytes === 1 ? reg8(n) : n << 3;
}

/** log2 of 1, 2, 4, 8. */
// @ts-ignore: decorator
@inline
export function sizeIndex(sizeBytes: u32): u32 {
  return sizeBytes === 8 ? 3 : sizeBytes >> 1;
}

/** Writes a micro-op with everything else zero; returns its address. */
export function emit(kind: u32, d: u32, s: u32): u32 {
  const p = out;
  out += UOP_SIZE;
  store<u64>(p, 0, 0);
  store<u64>(p, 0, 8);
  store<u64>(p, 0, 16);
  store<u64>(p, 0, 24);
  store<u8>(p, <u8>kind, U_KIND);
  // The interpreter does the same for all of SIMD.
  store<u8>(p, <u8>min<u32>(kind, K.SIMD_R), U_OP);
  store<u8>(p, <u8>d, U_D);
  store<u8>(p, <u8>s, U_S);
  return p;
}

export function emitImm(kind: u32, d: u32, imm: i64): u32 {
  const p = emit(kind, d, 0);
  store<i64>(p, imm, U_IMM);
  return p;
}

/** Fills in the memory operand of a micro-op. */
export function setAddress(p: u32): void {
  store<u8>(p, <u8>eaBase, U_BASE);
  store<u8>(p, <u8>eaIndex, U_IDX);
  store<u8>(p, <u8>eaScale, U_SCALE);
  store<u8>(p, <u8>(eaSeg | asize), U_SEG);
  store<i32>(p, eaDisp, U_DISP);
  if (eaRip) store<u8>(p, <u8>REG_PAGE, U_BASE);
}

export function emitLoad(kind: u32, d: u32): u32 {
  const p = emit(eaFlat ? kind : kind + LOADS_APART, d, 0);
  setAddress(p);
  return p;
}

export function emitStore(kind: u32, s: u32): u32 {
  const p = emit(eaFlat ? kind : kind + STORES_APART, 0, s);
  setAddress(p);
  return p;
}

/** Offset of the register that holds modrm.rm's value: the register itself, or T0 after loading memory. */
export function rmSource(sizeBytes: u32): u32 {
  if (!isMemory) return regOffset(rm, sizeBytes);
  emitLoad(K.LD8 + sizeIndex(sizeBytes), T0);
  return T0;
}

/** A call of an X function with the size, prefixes and modrm.rm operand filled in. */
export function emitX(x: u32, sizeBytes: u32): u32 {
  const p = emit(K.CALL_X, 0, 0);
  store<u32>(p, x | (sizeBytes << SUB_SIZE_SHIFT) | rep | (lock ? SUB_LOCK : 0), U_SUB);
  store<u8>(p, <u8>asize, U_SEG);
  return p;
}

/** emitX with an immediate. */
export function emitXImm(x: u32, sizeBytes: u32, imm: i64): u32 {
  const p = emitX(x, sizeBytes);
  store<i64>(p, imm, U_IMM);
  return p;
}

/** emitX with modrm: U_D is the reg operand's offset, U_S the rm register's (or the memory operand). */
export function emitXModrm(x: u32, sizeBytes: u32): u32 {
  const p = emitX(x, sizeBytes);
  store<u8>(p, <u8>regOffset(reg, sizeBytes), U_D);
  if (isMemory) setAddress(p);
  else {
    store<u8>(p, <u8>regOffset(rm, sizeBytes), U_S);
    store<u8>(p, <u8>(asize | SEG_REGISTER), U_SEG);
  }
  return p;
}

/** Replaces whatever the instruction emitted by an #UD. */
export function undefinedOpcode(): void {
  out = firstUop;
  emitX(X.UD, 0);
  ends = true;
  isUndefined = true;
}

/** Replaces whatever the instruction emitted by a #GP(0) (too long). */
export function tooLong(): void {
  out = firstUop;
  emitX(X.GP0, 0);
  ends = true;
}

/** Gives every micro-op of the finished instruction its place and length, and resolves RIP-relative operands. */
export function finishInstruction(pageOffset: u32, lengthBytes: u32, index: u32): void {
  for (let p = firstUop; p < out; p += UOP_SIZE) {
    store<u8>(p, <u8>lengthBytes, U_LEN);
    store<u8>(p, <u8>index, U_INDEX);
    store<u16>(p, <u16>pageOffset, U_OFF);
    if (load<u8>(p, U_BASE) === REG_PAGE) {
      let disp = <i64>load<i32>(p, U_DISP) + pageOffset + lengthBytes;
      if (disp > i32.MAX_VALUE) {
        disp -= 0x80000000;
        store<u8>(p, <u8>REG_PAGE_HIGH, U_BASE);
      }
      store<i32>(p, <i32>disp, U_DISP);
    }
  }
}

/** A direct branch: its target relative to the page address is known once the instruction ends; `relative` counts from there. */
export function emitBranch(kind: u32, relative: i64, pageOffset: u32, start: u32): u32 {
  const p = emit(kind, 0, 0);
  store<i64>(p, relative + pageOffset + (dp - start), U_IMM);
  return p;
}
