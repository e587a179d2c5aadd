/** What the architecture leaves open in what decorated instructions do, and what this project's processor does not have. */
import type { Decorated } from './generate.ts';

const CF = 1 << 0;
const PF = 1 << 2;
const AF = 1 << 4;
const ZF = 1 << 6;
const SF = 1 << 7;
const OF = 1 << 11;
const ALL = CF | PF | AF | ZF | SF | OF;

export interface DecoratedRule {
  /** Flags that are not compared. */
  readonly flags: number;
  /** `faults`: only whether it faults, and how, and RIP. */
  readonly only?: 'faults';
  /** Registers of vectors may differ in their last bits. */
  readonly estimate?: boolean;
  /** Its operand is two words, and either's page may be the one that is missing first. */
  readonly anyPage?: boolean;
  /** CALL: AMD's processors push before they look whether the target is canonical, the manual's CALL after. */
  readonly pushesFirst?: boolean;
}

/** Undefined flags of the one-byte map. */
function oneByteFlags(opcode: number, digit: number): number {
  if (opcode < 0x40 && (opcode & 7) < 6) {
    const operation = opcode >> 3;
    return operation === 1 || operation === 4 || operation === 6 ? AF : 0;
  }
  if (opcode >= 0x80 && opcode <= 0x83) return digit === 1 || digit === 4 || digit === 6 ? AF : 0;
  if (opcode === 0x84 || opcode === 0x85 || opcode === 0xa8 || opcode === 0xa9) return AF;
  if (opcode === 0x69 || opcode === 0x6b) return SF | ZF | AF | PF;
  if (opcode === 0xc0 || opcode === 0xc1 || (opcode >= 0xd0 && opcode <= 0xd3)) return AF | OF | CF;
  if (opcode === 0xf6 || opcode === 0xf7) {
    if (digit < 2) return AF;
    if (digit === 4 || digit === 5) return SF | ZF | AF | PF;
    return digit > 5 ? ALL : 0;
  }
  return 0;
}

function twoByteFlags(opcode: number): number {
  switch (opcode) {
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xba:
      return OF | SF | AF | PF;
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
      return ALL;
    case 0xaf:
      return SF | ZF | AF | PF;
    case 0xbc:
    case 0xbd:
      return OF | SF | AF | PF | CF;
    default:
      return 0;
  }
}

/** Opcodes whose stored images or results are each processor's own. */
function onlyFaults({ map, opcode, modrm, vex }: Decorated): boolean {
  const digit = (modrm >> 3) & 7;
  const isMemory = modrm < 0xc0;
  if (vex) return false;
  if (map === 0) {
    // FNSTENV, FNSAVE with the pointers of the harness; transcendental functions; what loads a segment register.
    if (opcode === 0xd9) return (isMemory && digit === 6) || modrm >= 0xf0;
    return opcode === 0xdd && isMemory && digit === 6;
  }
  if (map !== 1) return false;
  // FXSAVE, XSAVE, XSAVEOPT; XSAVEC
  if (opcode === 0xae) return isMemory && (digit === 0 || digit === 4 || digit === 6);
  // SHLD and SHRD by more than the operand's bits have no defined result.
  if (opcode === 0xa4 || opcode === 0xa5 || opcode === 0xac || opcode === 0xad) return true;
  return opcode === 0xc7 && isMemory && digit === 4;
}

export function ruleOf(instruction: Decorated): DecoratedRule {
  const { map, opcode, modrm, vex } = instruction;
  const digit = (modrm >> 3) & 7;
  if (onlyFaults(instruction)) return { flags: ALL, only: 'faults' };
  if (vex) {
    // ANDN, BLSR ..., BZHI: AF PF; BEXTR: SF too
    if (map === 2 && (opcode === 0xf2 || opcode === 0xf3 || opcode === 0xf5)) return { flags: AF | PF };
    if (map === 2 && opcode === 0xf7) return { flags: SF | AF | PF };
    return { flags: 0, estimate: map === 1 && (opcode === 0x52 || opcode === 0x53) };
  }
  if (map === 0)
    return {
      flags: oneByteFlags(opcode, digit),
      anyPage: opcode === 0xcb,
      pushesFirst: opcode === 0xff && digit === 2,
    };
  if (map === 1) return { flags: twoByteFlags(opcode), estimate: opcode === 0x52 || opcode === 0x53 };
  return { flags: 0 };
}

/** A RIP-relative operand in the code window, of which the harness and the core have different pages. */
function namesCode(code: Uint8Array, modrm: number): boolean {
  if ((modrm & 0xc7) !== 5) return false;
  return code.some(
    (byte, at) => byte === modrm && (code[at + 2] ?? 0xff) < 0x20 && code[at + 3] === 0 && code[at + 4] === 0,
  );
}

/**
 * Where the recording processor goes ways of its own: LOOPE and LOOPNE take REP and REPNE for their condition; RETF n touches the stack that a
 * return to an outer level would have; some of what were XOP encodings are #GP; bytes that the masks of MASKMOVQ and MASKMOVDQU leave out fault; CVTPI2PS of memory
 * looks at its operand before a pending x87 exception; VPERMQ and VPERMPD do with W0 what the manuals say they do with W1. A load of SS
 * holds back the harness's trap for another instruction. And selectors are what an earlier instruction left in the harness's segment registers.
 */
export function isPeculiar({ code, map, opcode, modrm, vex }: Decorated): boolean {
  if (namesCode(code, modrm)) return true;
  if (map === 1 && (opcode === 0xf7 || opcode === 0xa0 || opcode === 0xa8)) return true;
  if (map === 1 && opcode === 0x2a && modrm < 0xc0) return true;
  if (vex) return map === 3 && opcode < 2 && !vex.w;
  if (map !== 0) return false;
  if (opcode === 0x8c || (opcode === 0x8e && (modrm & 0x38) === 0x10)) return true;
  if (opcode === 0xe0 || opcode === 0xe1) return code.includes(0xf2) || code.includes(0xf3);
  return opcode === 0xca || (opcode === 0x8f && (modrm & 0x38) !== 0);
}

/** Instructions of the recording processor that this one does not have. */
export function isElsewhereOnly({ map, opcode, modrm, vex }: Decorated): boolean {
  if (vex) {
    // VAES, VPCLMULQDQ of 256 bits
    if (vex.l === 1 && map === 2 && opcode >= 0xdc && opcode <= 0xdf) return true;
    return vex.l === 1 && map === 3 && opcode === 0x44;
  }
  // SSE4A: EXTRQ, INSERTQ, MOVNTSS, MOVNTSD; then CLZERO
  if (map === 1 && (opcode === 0x78 || opcode === 0x79 || opcode === 0x2b)) return true;
  if (map === 1 && opcode === 0x01) return modrm === 0xfc;
  // XRSTORS, XSAVES
  return map === 1 && opcode === 0xc7 && modrm < 0xc0 && ((modrm & 0x38) === 0x18 || (modrm & 0x38) === 0x28);
}
