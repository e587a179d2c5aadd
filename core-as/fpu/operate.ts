/** FADD to FDIVR and the FCOM family, as memory and register forms share them. */
import { add, divide, multiply, subtract } from './arithmetic';
import { COMPARE_CODES, UNORDERED, compare } from './compare';
import { wasDenormal } from './convert';
import { control, isNaN80, raise, raiseOnly, raised, resultSe, resultSig } from './float80';
import { commit, popTimes, setCodes, underflowMasked } from './stack';
import { EX_DENORMAL, EX_INVALID, EX_ZERO_DIVIDE, signExponent, significand, stackRegister } from './state';

/**
 * The register form of a denormal binary32 or binary64 is normal, so the operation did not see it: #D is raised
 * afterwards, unless something of higher priority came first (SDM volume 1, 4.9.2).
 */
export function noteDenormalOperand(): void {
  if (raised & (EX_INVALID | EX_ZERO_DIVIDE) || isNaN80(resultSe, resultSig)) return;
  raise(EX_DENORMAL);
  if ((control & EX_DENORMAL) === 0) raiseOnly(EX_DENORMAL);
}

/** a OP b, where OP is the reg field of D8 and, since it counts from ST(0), also of DC and DE. */
export function operate(reg: u32, aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  switch (reg) {
    case 0:
      add(aSe, aSig, bSe, bSig);
      break;
    case 1:
      multiply(aSe, aSig, bSe, bSig);
      break;
    case 4:
      subtract(aSe, aSig, bSe, bSig);
      break;
    case 5:
      subtract(bSe, bSig, aSe, aSig);
      break;
    case 6:
      divide(aSe, aSig, bSe, bSig);
      break;
    default:
      divide(bSe, bSig, aSe, aSig);
      break;
  }
}

/** Compares ST(0) with a value, sets the condition codes, and pops. */
export function compareStack(cpu: u32, bSe: u32, bSig: u64, empty: bool, pops: u32, quiet: bool): void {
  if (empty) {
    if (underflowMasked(cpu)) popTimes(cpu, pops);
    setCodes(cpu, COMPARE_CODES, UNORDERED);
    return;
  }
  const register = stackRegister(cpu, 0);
  const codes = compare(signExponent(register), significand(register), bSe, bSig, quiet);
  if (wasDenormal && codes !== UNORDERED) raise(EX_DENORMAL);
  // An unmasked exception keeps the operands on the stack, but the condition codes are set all the same.
  const proceeds = commit(cpu);
  setCodes(cpu, COMPARE_CODES, codes);
  if (proceeds) popTimes(cpu, pops);
}
