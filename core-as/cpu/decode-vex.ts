/** VEX-encoded instructions: the prefix itself, the scalar BMI ones, and the rest from the SIMD table. */
import { decodeSimd } from './decode-0f';
import {
  dmode,
  emitXModrm,
  isMemory,
  lock,
  modrm,
  osize,
  prefix66,
  readModrm,
  rep,
  rex,
  setOpcode,
  setOsize,
  setPrefix66,
  setRep,
  setRex,
  setVex,
  u8next,
  undefinedOpcode,
  vexL,
  vexV,
} from './decode-state';
import { SIMD_VEX } from '../simd/table';
import { MODE_64 } from './state';
import { SUB_REP, SUB_REPNE, U_IMM, U_LINK, X } from './uops';

/** Decodes after C4 or C5 (`first`) and the byte that follows it. */
export function decodeVex(first: u32, byte: u32): void {
  // A REX, 66, F2, F3 or LOCK prefix before VEX is #UD. After REX it is none: C4 and C5 are LES and LDS, with a ModRM byte.
  if (rex) {
    undefinedOpcode();
    return;
  }
  const forbidden = prefix66 || rep !== 0 || lock;
  let map: u32 = 1;
  let w: u32 = 0;
  let newRex: u32 = (byte & 0x80 ? 0 : 4) | 0x40;
  if (first === 0xc4) {
    if (!(byte & 0x40)) newRex |= 2;
    if (!(byte & 0x20)) newRex |= 1;
    map = byte & 31;
    byte = u8next();
    w = byte >> 7;
    if (w) newRex |= 8;
  }
  if (dmode !== MODE_64) newRex = 0;
  setVex(SIMD_VEX, ~(byte >> 3) & (dmode === MODE_64 ? 15 : 7), (byte >> 2) & 1, w);
  setRex(newRex);
  switch (byte & 3) {
    case 1:
      setPrefix66(true);
      break;
    case 2:
      setRep(SUB_REP);
      break;
    case 3:
      setRep(SUB_REPNE);
  }
  setOsize(w && dmode === MODE_64 ? 8 : 4);
  const opcode = u8next();
  setOpcode(map, opcode);
  if (forbidden) {
    undefinedOpcode();
    return;
  }
  if (map === 2 && opcode >= 0xf2 && opcode <= 0xf7) bmi(opcode);
  else if (map === 3 && opcode === 0xf0) {
    // RORX
    readModrm();
    if (rep !== SUB_REPNE || vexL || vexV) undefinedOpcode();
    else {
      const p = emitXModrm(X.RORX, osize);
      store<u64>(p, u8next(), U_IMM);
    }
  } else if (map === 1 && opcode === 0xae) mxcsr();
  else if (map < 1 || map > 3 || !decodeSimd(map, opcode)) undefinedOpcode();
}

/** VLDMXCSR, VSTMXCSR (VEX.LZ.0F.WIG AE /2 and /3 with memory): U_IMM 1 tells them from the legacy forms. */
function mxcsr(): void {
  readModrm();
  const operation = (modrm >> 3) & 7;
  if (!isMemory || operation < 2 || operation > 3 || prefix66 || rep || vexL || vexV) {
    undefinedOpcode();
    return;
  }
  store<u64>(emitXModrm(operation === 2 ? X.LDMXCSR : X.STMXCSR, 4), 1, U_IMM);
}

/** VEX.0F38 F2-F7: U_LINK carries the vvvv register's byte offset. */
function bmi(opcode: u32): void {
  readModrm();
  let x: i32 = -1;
  switch (opcode) {
    case 0xf2:
      if (!rep && !prefix66) x = X.ANDN;
      break;
    case 0xf3:
      if (!rep && !prefix66) {
        const operation = (modrm >> 3) & 7;
        if (operation === 1) x = X.BLSR;
        else if (operation === 2) x = X.BLSMSK;
        else if (operation === 3) x = X.BLSI;
      }
      break;
    case 0xf5:
      if (rep === SUB_REPNE) x = X.PDEP;
      else if (rep === SUB_REP) x = X.PEXT;
      else if (!prefix66) x = X.BZHI;
      break;
    case 0xf6:
      if (rep === SUB_REPNE) x = X.MULX;
      break;
    case 0xf7:
      if (rep === SUB_REPNE) x = X.SHRX;
      else if (rep === SUB_REP) x = X.SARX;
      else if (prefix66) x = X.SHLX;
      else x = X.BEXTR;
      break;
  }
  if (x < 0 || vexL) {
    undefinedOpcode();
    return;
  }
  const p = emitXModrm(x, osize);
  store<u32>(p, vexV << 3, U_LINK);
}
