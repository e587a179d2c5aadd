/**
 * The arithmetic flags in compiled code.
 *
 * An operation leaves its operands in locals and the translator remembers, at compile time, which operation it was; a condition then
 * becomes one comparison of the operands. What the translator knows at the end of a node goes into LOCAL_KIND, so that the node that
 * follows, or the end of the region, can find out; nothing is computed that nobody reads.
 *
 * Kinds (operation << 2 | log2 of the size in bytes): 0 means that LOCAL_RESULT and LOCAL_AUX hold the interpreter's own form (cpu/flags.ts).
 * INC and DEC keep the carry in bit 31 of LOCAL_AUX. LOCAL_RESULT is valid (sign-extended) for all but SUB.
 */
import { AUX_OVERFLOW_BITS, addCarries, auxCarryOverflow, signExtend, subBorrows } from '../cpu/flags';
import { mulHighSigned } from '../cpu/alu';
import { R_JIT_FLAG_A, R_JIT_FLAG_B, R_JIT_KIND, R_LAZY_AUX, R_LAZY_RESULT } from '../layout';
import { HELPER_FLAGS } from './abi';
import { close, openIf } from './labels';
import {
  LOCAL_AUX,
  LOCAL_CPU,
  LOCAL_FLAG_A,
  LOCAL_FLAG_B,
  LOCAL_KIND,
  LOCAL_RESULT,
  LOCAL_VALUE3,
  sizeMask,
} from './locals';
import { TYPE_FLAGS, callHelper } from './module-types';
import * as w from './wasm';

export const F_CANONICAL: u32 = 0;
export const F_INC: u32 = 4;
export const F_DEC: u32 = 8;
export const F_ADD: u32 = 12;
export const F_SUB: u32 = 16;
export const F_SHL: u32 = 20;
export const F_SHR: u32 = 24;
export const F_SAR: u32 = 28;
export const F_IMUL: u32 = 32;
/** Known at compile time only: canonical with LOCAL_AUX = 0. */
export const F_LOGIC: u32 = 36;
/** Known at run time only. */
export const F_UNKNOWN: u32 = 64;

/** What the flags are at this place of the code being translated. */
export let flagKind: u32 = F_UNKNOWN;
/** What LOCAL_KIND holds, if known. */
let kindLocal: u32 = F_UNKNOWN;

export function setFlagKind(kind: u32): void {
  flagKind = kind;
}

/** At the start of a node that can be reached from several places. */
export function forgetFlags(): void {
  flagKind = F_UNKNOWN;
  kindLocal = F_UNKNOWN;
}

/** At the start of the region: what the one before left. */
export function loadFlags(): void {
  transfer(w.I32_LOAD, R_JIT_KIND, LOCAL_KIND, false);
  transfer(w.I64_LOAD, R_JIT_FLAG_A, LOCAL_FLAG_A, false);
  transfer(w.I64_LOAD, R_JIT_FLAG_B, LOCAL_FLAG_B, false);
  transfer(w.I64_LOAD, R_LAZY_RESULT, LOCAL_RESULT, false);
  transfer(w.I32_LOAD, R_LAZY_AUX, LOCAL_AUX, false);
  forgetFlags();
}

/** At its end: for the next one; the interpreter works them out (settleRegionFlags). */
export function storeFlags(): void {
  transfer(w.I32_STORE, R_JIT_KIND, LOCAL_KIND, true);
  transfer(w.I64_STORE, R_JIT_FLAG_A, LOCAL_FLAG_A, true);
  transfer(w.I64_STORE, R_JIT_FLAG_B, LOCAL_FLAG_B, true);
  transfer(w.I64_STORE, R_LAZY_RESULT, LOCAL_RESULT, true);
  transfer(w.I32_STORE, R_LAZY_AUX, LOCAL_AUX, true);
}

function transfer(opcode: u32, offset: u32, local: u32, out: bool): void {
  w.get(LOCAL_CPU);
  if (out) w.get(local);
  w.access(opcode, offset);
  if (!out) w.set(local);
}

/** After a region, before anything but another region runs: the flags into R_LAZY_*. */
// @ts-ignore: decorator
@inline
export function settleRegionFlags(cpu: u32): void {
  const kind = load<u32>(cpu, R_JIT_KIND);
  if (!kind) return;
  store<u32>(cpu, 0, R_JIT_KIND);
  lazyFlags(
    cpu,
    kind,
    load<u64>(cpu, R_JIT_FLAG_A),
    load<u64>(cpu, R_JIT_FLAG_B),
    load<i64>(cpu, R_LAZY_RESULT),
    load<u32>(cpu, R_LAZY_AUX),
  );
}

/** After a helper that works on the flags in memory. */
export function flagsAreInMemory(): void {
  loadCanonical();
  flagKind = F_CANONICAL;
}

/** Loads the interpreter's form; on one of several ways, before flagsBecomeCanonical. */
export function loadCanonical(): void {
  w.get(LOCAL_CPU);
  w.access(w.I64_LOAD, R_LAZY_RESULT);
  w.set(LOCAL_RESULT);
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_LAZY_AUX);
  w.set(LOCAL_AUX);
}

/** LOCAL_RESULT and LOCAL_AUX hold the interpreter's form, on every way here. */
export function flagsBecomeCanonical(): void {
  flagKind = F_CANONICAL;
  kindLocal = F_UNKNOWN;
  settleFlags();
}

/** Makes LOCAL_KIND say what is known, for whoever comes next. */
export function settleFlags(): void {
  if (flagKind === F_UNKNOWN) return;
  const kind = flagKind === F_LOGIC ? F_CANONICAL : flagKind;
  if (kindLocal === kind) return;
  w.const32(kind);
  w.set(LOCAL_KIND);
  kindLocal = kind;
}

/** The same in code that leaves the node, for a path of its own: what is known of LOCAL_KIND afterwards does not change. */
export function settleFlagsAside(): void {
  const before = kindLocal;
  settleFlags();
  kindLocal = before;
}

/** Before a helper that runs an instruction: the flags where it works them out, whatever their kind. */
export function leaveFlags(): void {
  if (flagKind === F_UNKNOWN) {
    storeFlags();
    return;
  }
  const canonical = flagKind === F_CANONICAL || flagKind === F_LOGIC;
  w.get(LOCAL_CPU);
  w.const32(canonical ? F_CANONICAL : flagKind);
  w.access(w.I32_STORE, R_JIT_KIND);
  if (!canonical) {
    transfer(w.I64_STORE, R_JIT_FLAG_A, LOCAL_FLAG_A, true);
    transfer(w.I64_STORE, R_JIT_FLAG_B, LOCAL_FLAG_B, true);
  }
  transfer(w.I64_STORE, R_LAZY_RESULT, LOCAL_RESULT, true);
  transfer(w.I32_STORE, R_LAZY_AUX, LOCAL_AUX, true);
}

function callFlags(): void {
  w.get(LOCAL_KIND);
  w.get(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.get(LOCAL_RESULT);
  w.get(LOCAL_AUX);
  callHelper(HELPER_FLAGS, TYPE_FLAGS);
}

/** Brings the flags into canonical form in their locals. */
export function canonicalFlags(): void {
  if (flagKind === F_CANONICAL || flagKind === F_LOGIC) {
    flagKind = F_CANONICAL;
    return;
  }
  const operation = flagKind & ~3;
  if (flagKind === F_UNKNOWN) {
    w.get(LOCAL_KIND);
    openIf();
    callFlags();
    flagsAreInMemory();
    close();
  } else if (operation === F_ADD || operation === F_SUB) {
    computeCarries(operation === F_SUB, flagKind & 3);
  } else {
    settleFlags();
    callFlags();
    flagsAreInMemory();
  }
  flagsBecomeCanonical();
}

/** LOCAL_RESULT and LOCAL_AUX of an addition or subtraction (cpu/flags.ts: addCarries, subBorrows). */
function computeCarries(subtract: bool, log2: u32): void {
  if (subtract) {
    w.get(LOCAL_FLAG_A);
    w.get(LOCAL_FLAG_B);
    w.byte(w.I64_SUB);
    extend(log2);
    w.set(LOCAL_RESULT);
  }
  pushFirst(subtract);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_AND);
  pushFirst(subtract);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_OR);
  w.get(LOCAL_RESULT);
  if (!subtract) {
    w.const64(-1);
    w.byte(w.I64_XOR);
  }
  w.byte(w.I64_AND);
  w.byte(w.I64_OR);
  setCarries(log2);
}

/** Pushes LOCAL_FLAG_A, or its complement. */
export function pushFirst(inverted: bool): void {
  w.get(LOCAL_FLAG_A);
  if (!inverted) return;
  w.const64(-1);
  w.byte(w.I64_XOR);
}

/** Pops the carries out of each bit into LOCAL_AUX. */
export function setCarries(log2: u32): void {
  w.tee(LOCAL_VALUE3);
  w.const64((8 << log2) - 2);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
  w.const32(30);
  w.byte(w.I32_SHL);
  w.get(LOCAL_VALUE3);
  w.byte(w.I32_WRAP_I64);
  w.const32(8);
  w.byte(w.I32_AND);
  w.byte(w.I32_OR);
  w.set(LOCAL_AUX);
}

/** Makes bit 31 of LOCAL_AUX the carry flag, as INC and DEC need it kept. */
export function carryIntoAux(): void {
  const operation = flagKind & ~3;
  if (flagKind === F_CANONICAL || flagKind === F_LOGIC || operation === F_INC || operation === F_DEC) return;
  if (flagKind === F_UNKNOWN) {
    w.get(LOCAL_KIND);
    w.const32(F_ADD);
    w.byte(w.I32_GE_U);
    openIf();
    // Loops that end in a comparison and step a counter come here in every turn.
    w.get(LOCAL_KIND);
    w.const32(~3);
    w.byte(w.I32_AND);
    w.const32(F_SUB);
    w.byte(w.I32_EQ);
    openIf();
    pushSubCondition(1, 0);
    w.const32(31);
    w.byte(w.I32_SHL);
    w.set(LOCAL_AUX);
    w.byte(w.ELSE);
    callFlags();
    w.get(LOCAL_CPU);
    w.access(w.I32_LOAD, R_LAZY_AUX);
    w.set(LOCAL_AUX);
    close();
    close();
    return;
  }
  if (operation === F_ADD || operation === F_SUB) {
    pushCondition(2);
    w.const32(31);
    w.byte(w.I32_SHL);
    w.set(LOCAL_AUX);
    return;
  }
  canonicalFlags();
}

/** Flags become those of a logical operation with the i64 on the stack as its result, cut to a size. */
export function setLogicResult(log2: u32): void {
  extend(log2);
  w.set(LOCAL_RESULT);
  w.const32(0);
  w.set(LOCAL_AUX);
  setFlagKind(F_LOGIC);
}

/** Pushes a flag operand as a signed i64. */
function pushSigned(local: u32, log2: u32): void {
  w.get(local);
  extend(log2);
}

/** Sign-extends the i64 on the stack from a size. */
export function extend(log2: u32): void {
  if (log2 === 0) w.byte(w.I64_EXTEND8_S);
  else if (log2 === 1) w.byte(w.I64_EXTEND16_S);
  else if (log2 === 2) w.byte(w.I64_EXTEND32_S);
}

function pushParity(): void {
  w.byte(w.I32_WRAP_I64);
  if (flagKind === F_CANONICAL) {
    w.get(LOCAL_AUX);
    w.const32(8);
    w.byte(w.I32_SHR_U);
    w.byte(w.I32_XOR);
  }
  w.const32(0xff);
  w.byte(w.I32_AND);
  w.byte(w.I32_POPCNT);
  w.const32(1);
  w.byte(w.I32_AND);
  w.byte(w.I32_EQZ);
}

/** Compares LOCAL_RESULT with 0. */
function pushResult(opcode: u32): void {
  w.get(LOCAL_RESULT);
  if (opcode === w.I64_EQZ) {
    w.byte(w.I64_EQZ);
    return;
  }
  w.const64(0);
  w.byte(opcode);
}

/** Pushes condition code 0-15 (SDM vol. 1, appendix B) as an i32, 0 or 1. */
export function pushCondition(code: u32): void {
  const operation = flagKind & ~3;
  const what = code >> 1;
  if (operation === F_SUB) pushSubCondition(what, flagKind & 3);
  else if (flagKind === F_LOGIC) pushLogicCondition(what);
  else if (operation === F_ADD || operation === F_INC || operation === F_DEC) pushFlagCondition(what);
  else if (flagKind !== F_UNKNOWN && flagKind !== F_CANONICAL && (what === 2 || what === 4)) {
    pushResult(what === 2 ? w.I64_EQZ : w.I64_LT_S);
  } else {
    canonicalFlags();
    pushFlagCondition(what);
  }
  if (code & 1) w.byte(w.I32_EQZ);
}

function pushSubCondition(what: u32, log2: u32): void {
  switch (what) {
    case 0:
      // The operands' signs differ, and the result's is not the first one's.
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(w.I64_XOR);
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(w.I64_SUB);
      w.byte(w.I64_XOR);
      w.byte(w.I64_AND);
      extend(log2);
      w.const64(0);
      w.byte(w.I64_LT_S);
      return;
    case 1:
    case 2:
    case 3:
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(what === 1 ? w.I64_LT_U : what === 2 ? w.I64_EQ : w.I64_LE_U);
      return;
    case 4:
    case 5:
      w.get(LOCAL_FLAG_A);
      w.get(LOCAL_FLAG_B);
      w.byte(w.I64_SUB);
      if (what === 5) {
        pushParity();
        return;
      }
      extend(log2);
      w.const64(0);
      w.byte(w.I64_LT_S);
      return;
    default:
      pushSigned(LOCAL_FLAG_A, log2);
      pushSigned(LOCAL_FLAG_B, log2);
      w.byte(what === 6 ? w.I64_LT_S : w.I64_LE_S);
  }
}

function pushLogicCondition(what: u32): void {
  switch (what) {
    case 0:
    case 1:
      w.const32(0);
      return;
    case 2:
    case 3:
      pushResult(w.I64_EQZ);
      return;
    case 4:
    case 6:
      pushResult(w.I64_LT_S);
      return;
    case 5:
      w.get(LOCAL_RESULT);
      pushParity();
      return;
    default:
      pushResult(w.I64_LE_S);
  }
}

/** Pushes OF of an addition. */
function pushAddOverflow(log2: u32): void {
  w.get(LOCAL_FLAG_A);
  w.get(LOCAL_RESULT);
  w.byte(w.I64_XOR);
  w.get(LOCAL_FLAG_B);
  w.get(LOCAL_RESULT);
  w.byte(w.I64_XOR);
  w.byte(w.I64_AND);
  extend(log2);
  w.const64(0);
  w.byte(w.I64_LT_S);
}

function pushAddCarry(log2: u32): void {
  if (log2 === 3) {
    w.get(LOCAL_RESULT);
    w.get(LOCAL_FLAG_A);
    w.byte(w.I64_LT_U);
    return;
  }
  w.get(LOCAL_FLAG_A);
  w.get(LOCAL_FLAG_B);
  w.byte(w.I64_ADD);
  w.const64(8 << log2);
  w.byte(w.I64_SHR_U);
  w.byte(w.I32_WRAP_I64);
}

/** OF of INC and DEC: the result has wrapped to the lowest (highest) value. */
function pushStepOverflow(up: bool, log2: u32): void {
  const highest: i64 = sizeMask(log2) === -1 ? i64.MAX_VALUE : sizeMask(log2) >> 1;
  w.get(LOCAL_RESULT);
  w.const64(up ? -highest - 1 : highest);
  w.byte(w.I64_EQ);
}

/** Pushes OF of the canonical form. */
export function pushCanonicalOverflow(): void {
  w.get(LOCAL_AUX);
  w.get(LOCAL_AUX);
  w.const32(1);
  w.byte(w.I32_SHL);
  w.byte(w.I32_XOR);
  w.const32(31);
  w.byte(w.I32_SHR_U);
}

/** Pushes OF; as the next two for additions, INC, DEC and the canonical form. */
function pushOverflow(): void {
  const operation = flagKind & ~3;
  if (operation === F_ADD) pushAddOverflow(flagKind & 3);
  else if (flagKind === F_CANONICAL) pushCanonicalOverflow();
  else pushStepOverflow(operation === F_INC, flagKind & 3);
}

function pushCarry(): void {
  if ((flagKind & ~3) === F_ADD) {
    pushAddCarry(flagKind & 3);
    return;
  }
  w.get(LOCAL_AUX);
  w.const32(31);
  w.byte(w.I32_SHR_U);
}

function pushSign(): void {
  pushResult(w.I64_LT_S);
  if (flagKind !== F_CANONICAL) return;
  w.get(LOCAL_AUX);
  w.const32(1);
  w.byte(w.I32_AND);
  w.byte(w.I32_XOR);
}

/** Conditions out of single flags, where there is no shorter way. */
function pushFlagCondition(what: u32): void {
  switch (what) {
    case 0:
      pushOverflow();
      return;
    case 1:
      pushCarry();
      return;
    case 2:
      pushResult(w.I64_EQZ);
      return;
    case 3:
      pushCarry();
      pushResult(w.I64_EQZ);
      w.byte(w.I32_OR);
      return;
    case 4:
      pushSign();
      return;
    case 5:
      w.get(LOCAL_RESULT);
      pushParity();
      return;
    default:
      pushSign();
      pushOverflow();
      w.byte(w.I32_XOR);
      if (what === 7) {
        pushResult(w.I64_EQZ);
        w.byte(w.I32_OR);
      }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The helper: a kind of flags into the interpreter's form

function auxOf(carries: u64, log2: u32): u32 {
  const top = <u64>((8 << log2) - 2);
  return ((<u32>((carries >> top) & 3)) << 30) | ((<u32>carries) & 8);
}

/** R_LAZY_RESULT and R_LAZY_AUX of an operation with zero-extended operands a and b (or a shift's count). */
export function lazyFlags(cpu: u32, kind: u32, a: u64, b: u64, result: i64, aux: u32): void {
  const log2 = kind & 3;
  const bits: u32 = 8 << log2;
  const mask = u64.MAX_VALUE >> (64 - bits);
  switch (kind & ~3) {
    case F_INC:
    case F_DEC: {
      const now = (<u64>result) & mask;
      const before = ((kind & ~3) === F_INC ? now - 1 : now + 1) & mask;
      const own = auxOf((kind & ~3) === F_INC ? addCarries(before, 1, now) : subBorrows(before, 1, now), log2);
      aux = auxCarryOverflow(aux >> 31, (own ^ (own << 1)) >> 31) | (own & 8);
      break;
    }
    case F_ADD:
      aux = auxOf(addCarries(a, b, (<u64>result) & mask), log2);
      break;
    case F_SUB: {
      const v = (a - b) & mask;
      result = signExtend(v, 1 << log2);
      aux = auxOf(subBorrows(a, b, v), log2);
      break;
    }
    case F_SHL: {
      const carry: u32 = b > bits ? 0 : (<u32>(a >> (bits - b))) & 1;
      aux = auxCarryOverflow(carry, carry ^ (<u32>((<u64>result) >> 63)));
      break;
    }
    case F_SHR: {
      const carry: u32 = b > bits ? 0 : (<u32>(a >> (b - 1))) & 1;
      aux = auxCarryOverflow(carry, b > bits ? 0 : (<u32>((a >> (b - 1)) >> (bits - 1))) & 1);
      break;
    }
    case F_SAR:
      aux = auxCarryOverflow((<u32>(signExtend(a, 1 << log2) >> (b - 1))) & 1, 0);
      break;
    case F_IMUL: {
      let wide: bool;
      const x = signExtend(a, 1 << log2);
      const y = signExtend(b, 1 << log2);
      if (log2 === 3) wide = mulHighSigned(x, y) !== (x * y) >> 63;
      else wide = x * y !== result;
      aux = auxCarryOverflow(u32(wide), u32(wide));
      break;
    }
  }
  store<i64>(cpu, result, R_LAZY_RESULT);
  store<u32>(cpu, aux, R_LAZY_AUX);
}

assert(AUX_OVERFLOW_BITS === 0xc0000000);
