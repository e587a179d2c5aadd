/** Far jumps, calls and returns, interrupt returns, and the fast system calls. */
import {
  R_CPL,
  R_DR,
  R_EFER,
  R_MSR_CSTAR,
  R_MSR_LSTAR,
  R_MSR_SFMASK,
  R_MSR_STAR,
  R_MSR_SYSENTER_CS,
  R_MSR_SYSENTER_EIP,
  R_MSR_SYSENTER_ESP,
  R_NMI_BLOCKED,
  R_RFLAGS,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
} from '../layout';
import { readSystem } from '../mmu/tlb';
import { innerSp, innerSs, readInnerStack } from './exception';
import { stepByNewFlags } from './debug';
import { isAmd } from './features';
import { rflags, writeRflags } from './flags';
import { linearAddress, readLinear, writeLinear } from './operand';
import {
  descriptorAccess,
  descriptorHigh,
  descriptorLow,
  dplOf,
  dropInaccessibleSegments,
  fetchDescriptor,
  isLongCode,
  loadNull,
  loadStackSegment,
  readDescriptorUpper,
  setCodeSegment,
  setFlatCode,
  setFlatStack,
  setRealCodeSegment,
  setV8086Segment,
} from './segment';
import {
  ACCESS_DB,
  ACCESS_P,
  ACCESS_S,
  ACCESS_UNUSABLE,
  CS,
  DS,
  EFER_SCE,
  ES,
  FAULTED,
  FLAG_AC,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  FS,
  GS,
  MODE_64,
  RCX,
  RDX,
  RSP,
  SS,
  TR,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_TS,
  VECTOR_UD,
  cpl,
  cpu,
  faulted,
  gpr,
  iopl,
  isCanonical,
  longMode,
  mode,
  protectedMode,
  raise,
  raiseCode,
  raiseGp,
  rip,
  segment,
  selector,
  setGpr,
  setRip,
  stackMask,
  updateBanks,
  updateMode,
  v8086,
} from './state';
import { TASK_CALL, TASK_IRET, TASK_JUMP, taskSwitch } from './task';

// ---------------------------------------------------------------------------------------------------------------------
// The stack outside the interpreter's 64-bit fast path

/** Linear address of the stack slot `offset` bytes above (or below) the stack pointer. */
export function stackAddress(offset: i64, sizeBytes: u32, write: bool): u64 {
  return linearAddress(SS, (gpr(RSP) + <u64>offset) & stackMask, sizeBytes, write);
}

/** Reads a stack slot at the stack pointer + offset. */
export function peekStack(offset: u32, sizeBytes: u32): u64 {
  const a = stackAddress(offset, sizeBytes, false);
  return faulted & FAULTED ? 0 : readLinear(a, sizeBytes);
}

/** Writes the stack slot `depth` bytes below the stack pointer. */
export function pokeStack(depth: u32, sizeBytes: u32, value: u64): void {
  if (faulted & FAULTED) return;
  const a = stackAddress(-(<i64>depth), sizeBytes, true);
  if (!(faulted & FAULTED)) writeLinear(a, sizeBytes, value);
}

/** Moves the stack pointer by a signed number of bytes within its size. */
export function moveStack(bytes: i64): void {
  setStack(gpr(RSP) + <u64>bytes);
}

/** Sets the stack pointer within its size. */
export function setStack(value: u64): void {
  if (stackMask === u64.MAX_VALUE) setGpr(RSP, value);
  else if (stackMask === 0xffffffff) setGpr(RSP, value & 0xffffffff);
  else setGpr(RSP, (gpr(RSP) & ~0xffff) | (value & 0xffff));
}

/** Pushes one value. */
export function pushValue(sizeBytes: u32, value: u64): void {
  pokeStack(sizeBytes, sizeBytes, value);
  if (!(faulted & FAULTED)) moveStack(-(<i64>sizeBytes));
}

// ---------------------------------------------------------------------------------------------------------------------
// Far jump and call

/** Jumps to an offset in the CS just loaded; in 64-bit mode it must be canonical. */
function enter(offset: u64): void {
  setRip(offset);
}

/** JMP or CALL to selector:offset; `sizeBytes` is the operand size of the pushed frame. R_RIP is the return address. */
export function farTransfer(sel: u32, offset: u64, sizeBytes: u32, call: bool): void {
  if (!protectedMode) {
    if (offset > <u64>load<u32>(segment(CS), SEG_LIMIT)) {
      raiseGp();
      return;
    }
    if (call) {
      pokeStack(sizeBytes, sizeBytes, selector(CS));
      pokeStack(sizeBytes * 2, sizeBytes, rip());
      if (faulted & FAULTED) return;
      moveStack(-(<i64>(sizeBytes * 2)));
    }
    setRealCodeSegment(sel);
    enter(offset);
    return;
  }
  if (!(sel & 0xfffc)) {
    raiseGp();
    return;
  }
  if (!fetchDescriptor(sel, VECTOR_GP, 0)) return;
  const access = descriptorAccess();
  const code = sel & 0xfffc;
  if (access & ACCESS_S) {
    if (!codeAllowed(access, sel, code)) return;
    if (!checkTarget(access, offset)) return;
    const oldCs = selector(CS);
    if (call) {
      pokeStack(sizeBytes, sizeBytes, oldCs);
      pokeStack(sizeBytes * 2, sizeBytes, rip());
      if (faulted & FAULTED) return;
    }
    // The width of the stack is the old mode's for the frame just written.
    if (call) moveStack(-(<i64>(sizeBytes * 2)));
    setCodeSegment(sel, cpl());
    if (!(faulted & FAULTED)) enter(offset);
    return;
  }
  const dpl = dplOf(access);
  if (dpl < cpl() || dpl < (sel & 3)) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  const type = access & 15;
  if (longMode ? type !== 12 : type !== 4 && type !== 12 && type !== 5 && type !== 1 && type !== 9) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return;
  }
  if (type === 5) taskSwitch(descriptorLow >> 16, call ? TASK_CALL : TASK_JUMP, 0);
  else if (type === 1 || type === 9) taskSwitch(sel, call ? TASK_CALL : TASK_JUMP, 0);
  else gateTransfer(code, type, call);
}

/** Privilege and type rules of a direct far transfer to a code segment. */
function codeAllowed(access: u32, sel: u32, code: u32): bool {
  const dpl = dplOf(access);
  const level = cpl();
  let ok = (access & 8) !== 0;
  if (access & 4) ok = ok && dpl <= level;
  else ok = ok && (sel & 3) <= level && dpl === level;
  // L and D together are reserved in long mode.
  if (longMode && (access & ACCESS_DB) !== 0 && isLongBit(access)) ok = false;
  if (!ok) {
    raiseCode(VECTOR_GP, code);
    return false;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return false;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function isLongBit(access: u32): bool {
  return (access & (1 << 13)) !== 0;
}

/** The target must lie within the new code segment (canonical in 64-bit mode). */
function checkTarget(access: u32, offset: u64): bool {
  if (longMode && isLongCode(access)) {
    if (isCanonical(offset)) return true;
  } else {
    const limit = (descriptorLow & 0xffff) | (descriptorHigh & 0xf0000);
    const bytes: u64 = descriptorHigh & (1 << 23) ? ((<u64>limit) << 12) | 0xfff : limit;
    if (offset <= bytes) return true;
  }
  raiseGp();
  return false;
}

function gateTransfer(gateCode: u32, type: u32, call: bool): void {
  const low = descriptorLow;
  const high = descriptorHigh;
  let offset: u64 = type === 4 ? low & 0xffff : (high & 0xffff0000) | (low & 0xffff);
  const sel = low >> 16;
  const count = high & 31;
  if (longMode) {
    const upper = readDescriptorUpper();
    if (faulted & FAULTED) return;
    if ((upper >> 40) & 31) {
      raiseCode(VECTOR_GP, gateCode);
      return;
    }
    offset |= (upper & 0xffffffff) << 32;
  }
  if (!(sel & 0xfffc)) {
    raiseGp();
    return;
  }
  if (!fetchDescriptor(sel, VECTOR_GP, 0)) return;
  const access = descriptorAccess();
  const code = sel & 0xfffc;
  const dpl = dplOf(access);
  const level = cpl();
  let ok = (access & ACCESS_S) !== 0 && (access & 8) !== 0 && dpl <= level;
  if (!call && !(access & 4)) ok = ok && dpl === level;
  if (longMode) ok = ok && isLongCode(access);
  if (!ok) {
    raiseCode(VECTOR_GP, code);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return;
  }
  const width: u32 = longMode ? 8 : type === 4 ? 2 : 4;
  if (!call || access & 4 || dpl === level) {
    if (!checkTarget(access, offset)) return;
    if (call) {
      pokeStack(width, width, selector(CS));
      pokeStack(width * 2, width, rip());
      if (faulted & FAULTED) return;
      moveStack(-(<i64>(width * 2)));
    }
    setCodeSegment(sel, level);
    if (!(faulted & FAULTED)) enter(offset);
    return;
  }
  // To an inner level.
  const oldSs = selector(SS);
  const oldSp = gpr(RSP);
  const returnRip = rip();
  const oldCs = selector(CS);
  if (longMode) {
    const tss = segment(TR);
    if ((dpl << 3) + 11 > load<u32>(tss, SEG_LIMIT)) {
      raiseCode(VECTOR_TS, selector(TR) & 0xfffc);
      return;
    }
    const sp = readSystem(load<u64>(tss, SEG_BASE) + 4 + (dpl << 3), 8);
    if (faulted & FAULTED) return;
    store<u32>(cpu, dpl, R_CPL);
    updateBanks();
    writeLinear(sp - 8, 8, oldSs);
    if (!(faulted & FAULTED)) writeLinear(sp - 16, 8, oldSp);
    if (!(faulted & FAULTED)) writeLinear(sp - 24, 8, oldCs);
    if (!(faulted & FAULTED)) writeLinear(sp - 32, 8, returnRip);
    if (!(faulted & FAULTED)) setCodeSegment(sel, dpl);
    if (faulted & FAULTED) {
      store<u32>(cpu, level, R_CPL);
      updateMode();
      return;
    }
    loadNull(SS, dpl);
    store<u32>(segment(SS), ACCESS_UNUSABLE | (dpl << 5), SEG_ACCESS);
    setGpr(RSP, sp - 32);
    updateMode();
    enter(offset);
    return;
  }
  if (!readInnerStack(dpl, 0)) return;
  const newSs = innerSs;
  const newSp: u64 = innerSp;
  const oldStackMask = stackMask;
  const oldBase = load<u64>(segment(SS), SEG_BASE);
  // Check the new stack before anything changes, then write the frame through it.
  const s = segment(SS);
  const keep0 = load<u64>(s);
  const keep1 = load<u64>(s, 8);
  const keep2 = load<u64>(s, 16);
  store<u32>(cpu, dpl, R_CPL);
  loadStackSegment(newSs, dpl, VECTOR_TS, 0);
  updateBanks();
  const sp = newSp & stackMask;
  let depth: u32 = width;
  if (!(faulted & FAULTED)) frame(sp, depth, width, oldSs);
  depth += width;
  frame(sp, depth, width, oldSp);
  for (let i = count; i > 0; i--) {
    const value = readSystem((oldBase + ((oldSp + (i - 1) * width) & oldStackMask)) & 0xffffffff, width);
    depth += width;
    frame(sp, depth, width, value);
  }
  depth += width;
  frame(sp, depth, width, oldCs);
  depth += width;
  frame(sp, depth, width, returnRip);
  if (!(faulted & FAULTED) && fetchDescriptor(sel, VECTOR_GP, 0)) {
    if (checkTarget(access, offset)) setCodeSegment(sel, dpl);
  }
  if (faulted & FAULTED) {
    store<u64>(s, keep0);
    store<u64>(s, keep1, 8);
    store<u64>(s, keep2, 16);
    store<u32>(cpu, level, R_CPL);
    updateMode();
    return;
  }
  setStack(sp - depth);
  enter(offset);
}

function frame(sp: u64, depth: u32, sizeBytes: u32, value: u64): void {
  if (faulted & FAULTED) return;
  const a = linearAddress(SS, (sp - depth) & stackMask, sizeBytes, true);
  if (!(faulted & FAULTED)) writeLinear(a, sizeBytes, value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Far return and interrupt return

/** RETF with `extra` bytes of parameters released. */
export function farReturn(sizeBytes: u32, extra: u32): void {
  const newRip = peekStack(0, sizeBytes);
  const sel = (<u32>peekStack(sizeBytes, sizeBytes)) & 0xffff;
  if (faulted & FAULTED) return;
  if (!protectedMode) {
    if (newRip > <u64>load<u32>(segment(CS), SEG_LIMIT)) {
      raiseGp();
      return;
    }
    moveStack(<i64>(sizeBytes * 2 + extra));
    setRealCodeSegment(sel);
    enter(newRip);
    return;
  }
  returnTo(newRip, sel, sizeBytes, sizeBytes * 2, extra);
}

/**
 * The common end of RETF and IRET in protected mode: the frame's SS:ESP lies `frameBytes` above the stack pointer (plus `extra`) when
 * the return is to an outer level. Raises on failure with nothing changed.
 */
function returnTo(newRip: u64, sel: u32, sizeBytes: u32, frameBytes: u32, extra: u32): bool {
  const level = cpl();
  const rpl = sel & 3;
  if (!(sel & 0xfffc)) {
    raiseGp();
    return false;
  }
  if (!fetchDescriptor(sel, VECTOR_GP, 0)) return false;
  const access = descriptorAccess();
  const code = sel & 0xfffc;
  let ok = (access & ACCESS_S) !== 0 && (access & 8) !== 0 && rpl >= level;
  ok = ok && (access & 4 ? dplOf(access) <= rpl : dplOf(access) === rpl);
  if (longMode && isLongBit(access) && access & ACCESS_DB) ok = false;
  if (!ok) {
    raiseCode(VECTOR_GP, code);
    return false;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return false;
  }
  if (!checkTarget(access, newRip)) return false;
  const long = mode === MODE_64;
  if (rpl === level && !(long && frameBytes > sizeBytes * 2)) {
    moveStack(<i64>(frameBytes + extra));
    setCodeSegment(sel, level);
    if (faulted & FAULTED) return false;
    enter(newRip);
    return true;
  }
  // Outer level, or IRET in 64-bit mode, which always pops SS:RSP.
  const newSp = peekStack(frameBytes + extra, sizeBytes);
  const newSs = (<u32>peekStack(frameBytes + extra + sizeBytes, sizeBytes)) & 0xffff;
  if (faulted & FAULTED) return false;
  const s = segment(SS);
  const keep0 = load<u64>(s);
  const keep1 = load<u64>(s, 8);
  const keep2 = load<u64>(s, 16);
  if (!(newSs & 0xfffc) && long && isLongCode(access) && rpl !== 3 && (newSs & 3) === rpl) {
    loadNull(SS, newSs);
    store<u32>(s, ACCESS_UNUSABLE | (rpl << 5), SEG_ACCESS);
  } else {
    if (!(newSs & 0xfffc)) {
      raiseGp();
      return false;
    }
    loadStackSegment(newSs, rpl, VECTOR_GP, 0);
    if (faulted & FAULTED) return false;
  }
  if (!fetchDescriptor(sel, VECTOR_GP, 0)) {
    store<u64>(s, keep0);
    store<u64>(s, keep1, 8);
    store<u64>(s, keep2, 16);
    updateMode();
    return false;
  }
  setCodeSegment(sel, rpl);
  if (faulted & FAULTED) {
    store<u64>(s, keep0);
    store<u64>(s, keep1, 8);
    store<u64>(s, keep2, 16);
    updateMode();
    return false;
  }
  if (mode === MODE_64) setGpr(RSP, newSp + extra);
  else {
    // A 16-bit stack keeps the upper bits of ESP.
    const wide = load<u32>(s, SEG_ACCESS) & ACCESS_DB;
    setGpr(RSP, wide ? (newSp + extra) & 0xffffffff : (gpr(RSP) & ~0xffff) | ((newSp + extra) & 0xffff));
  }
  if (rpl !== level) dropInaccessibleSegments();
  enter(newRip);
  return true;
}

/** Flags that IRET and POPF may change at a privilege level (SDM vol. 2, POPF, table 4-19). */
export function writableFlags(level: u32, ioLevel: u32, sizeBytes: u32): u32 {
  let mask: u32 = 0xd5 | FLAG_TF | (1 << 10) | (1 << 11) | FLAG_NT;
  if (sizeBytes > 2) mask |= FLAG_AC | (1 << 21) | FLAG_RF;
  if (level <= ioLevel) mask |= FLAG_IF;
  if (level === 0) mask |= FLAG_IOPL | (sizeBytes > 2 ? FLAG_VIF | FLAG_VIP : 0);
  return mask;
}

/** Writes the flags selected by a mask. */
export function writeFlagsMasked(value: u64, mask: u32): void {
  writeRflags(cpu, (rflags(cpu) & ~(<u64>mask)) | (value & mask));
}

/** IRET, IRETD, IRETQ. R_RIP is irrelevant on success. */
export function interruptReturn(sizeBytes: u32): void {
  const blocked = load<u32>(cpu, R_NMI_BLOCKED);
  store<u32>(cpu, 0, R_NMI_BLOCKED);
  interruptReturnInner(sizeBytes);
  if (faulted & FAULTED) store<u32>(cpu, blocked, R_NMI_BLOCKED);
}

function interruptReturnInner(sizeBytes: u32): void {
  if (v8086 && iopl() < 3) {
    raiseGp();
    return;
  }
  if (protectedMode && load<u32>(cpu, R_RFLAGS) & FLAG_NT) {
    if (longMode) {
      raiseGp();
      return;
    }
    const link = <u32>readSystem(load<u64>(segment(TR), SEG_BASE), 2);
    if (!(faulted & FAULTED)) taskSwitch(link, TASK_IRET, 0);
    return;
  }
  const newRip = peekStack(0, sizeBytes);
  const sel = (<u32>peekStack(sizeBytes, sizeBytes)) & 0xffff;
  const flags = peekStack(sizeBytes * 2, sizeBytes);
  if (faulted & FAULTED) return;
  if (!protectedMode) {
    if (newRip > <u64>load<u32>(segment(CS), SEG_LIMIT)) {
      raiseGp();
      return;
    }
    moveStack(<i64>(sizeBytes * 3));
    let mask = writableFlags(0, 3, sizeBytes) & ~(FLAG_VIF | FLAG_VIP);
    // v8086 IRET leaves IOPL alone.
    if (v8086) mask &= ~FLAG_IOPL;
    writeFlagsMasked(flags, mask);
    dropResumeFlag();
    setRealCodeSegment(sel);
    enter(newRip);
    return;
  }
  const level = cpl();
  if (!longMode && flags & FLAG_VM && level === 0 && sizeBytes === 4) {
    returnToV8086(newRip, sel, flags);
    return;
  }
  // The flags follow the level that executes IRET, so work their mask out before the level changes.
  const mask = writableFlags(level, iopl(), sizeBytes);
  if (!returnTo(newRip, sel, sizeBytes, sizeBytes * 3, 0)) return;
  writeFlagsMasked(flags, mask);
  dropResumeFlag();
  updateMode();
}

/** RF matters to instruction breakpoints alone; with none armed it is spent at once. */
function dropResumeFlag(): void {
  if (!(load<u32>(cpu, R_DR + 7 * 8) & 0xff)) store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~FLAG_RF, R_RFLAGS);
}

function returnToV8086(newRip: u64, sel: u32, flags: u64): void {
  const sp = peekStack(12, 4);
  const ss = <u32>peekStack(16, 4);
  const es = <u32>peekStack(20, 4);
  const ds = <u32>peekStack(24, 4);
  const fs = <u32>peekStack(28, 4);
  const gs = <u32>peekStack(32, 4);
  if (faulted & FAULTED) return;
  writeRflags(cpu, flags & 0x3f7fd7);
  store<u32>(cpu, 3, R_CPL);
  setV8086Segment(CS, sel & 0xffff);
  setV8086Segment(SS, ss & 0xffff);
  setV8086Segment(ES, es & 0xffff);
  setV8086Segment(DS, ds & 0xffff);
  setV8086Segment(FS, fs & 0xffff);
  setV8086Segment(GS, gs & 0xffff);
  setGpr(RSP, sp);
  updateMode();
  enter(newRip & 0xffff);
}

// ---------------------------------------------------------------------------------------------------------------------
// SYSCALL, SYSENTER and their returns

/** SYSCALL; outside 64-bit mode the decoder lets it come here on AMD's processors only. */
export function syscall(): void {
  if (!(load<u64>(cpu, R_EFER) & EFER_SCE)) {
    raise(VECTOR_UD);
    return;
  }
  const star = load<u64>(cpu, R_MSR_STAR);
  if (!longMode) {
    // Legacy mode (APM vol. 3, SYSCALL): EIP is in STAR, and no flags are saved.
    setGpr(RCX, rip());
    setRip(star & 0xffffffff);
    const sel = (<u32>(star >> 32)) & 0xfffc;
    setFlatCode(sel, 0, false);
    setFlatStack(sel + 8, 0);
    store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~(FLAG_VM | FLAG_IF | FLAG_RF), R_RFLAGS);
    updateMode();
    stepByNewFlags();
    return;
  }
  const flags = rflags(cpu) & ~(<u64>FLAG_RF);
  setGpr(RCX, rip());
  setGpr(11, flags);
  setRip(mode === MODE_64 ? load<u64>(cpu, R_MSR_LSTAR) : load<u64>(cpu, R_MSR_CSTAR));
  writeRflags(cpu, flags & ~load<u64>(cpu, R_MSR_SFMASK));
  const cs = (<u32>(star >> 32)) & 0xfffc;
  setFlatCode(cs, 0, true);
  setFlatStack(cs + 8, 0);
  updateMode();
  stepByNewFlags();
}

/** SYSRET of AMD's (APM vol. 3): works outside 64-bit mode, checks no address, and leaves SS's hidden part alone. */
function sysretAmd(sizeBytes: u32): void {
  if (!(load<u64>(cpu, R_EFER) & EFER_SCE)) {
    raise(VECTOR_UD);
    return;
  }
  if (!protectedMode || cpl() !== 0) {
    raiseGp();
    return;
  }
  const sel = <u32>(load<u64>(cpu, R_MSR_STAR) >> 48);
  const long = mode === MODE_64;
  if (sizeBytes === 8) {
    setFlatCode((sel + 16) | 3, 3, true);
    setRip(gpr(RCX));
  } else {
    setFlatCode(sel | 3, 3, false);
    setRip(gpr(RCX) & 0xffffffff);
  }
  store<u16>(segment(SS), <u16>(sel + 8), SEG_SELECTOR);
  if (long) writeRflags(cpu, gpr(11) & 0x3c7fd7);
  else store<u32>(cpu, load<u32>(cpu, R_RFLAGS) | FLAG_IF, R_RFLAGS);
  updateMode();
  stepByNewFlags();
}

export function sysret(sizeBytes: u32): void {
  if (isAmd()) {
    sysretAmd(sizeBytes);
    return;
  }
  if (!(load<u64>(cpu, R_EFER) & EFER_SCE) || mode !== MODE_64) {
    raise(VECTOR_UD);
    return;
  }
  if (cpl() !== 0) {
    raiseGp();
    return;
  }
  const star = <u32>(load<u64>(cpu, R_MSR_STAR) >> 48);
  const to = gpr(RCX);
  if (sizeBytes === 8) {
    if (!isCanonical(to)) {
      raiseGp();
      return;
    }
    setFlatCode((star + 16) | 3, 3, true);
    setRip(to);
  } else {
    setFlatCode(star | 3, 3, false);
    setRip(to & 0xffffffff);
  }
  setFlatStack((star + 8) | 3, 3);
  writeRflags(cpu, gpr(11) & 0x3c7fd7);
  updateMode();
  stepByNewFlags();
}

/** SYSENTER and SYSEXIT are undefined in AMD's long mode (APM vol. 3, SYSENTER). */
function sysenterExists(): bool {
  if (!longMode || !isAmd()) return true;
  raise(VECTOR_UD);
  return false;
}

export function sysenter(): void {
  if (!sysenterExists()) return;
  const cs = <u32>load<u64>(cpu, R_MSR_SYSENTER_CS);
  if (!protectedMode || !(cs & 0xfffc)) {
    raiseGp();
    return;
  }
  store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~(FLAG_VM | FLAG_IF), R_RFLAGS);
  const long = longMode;
  setFlatCode(cs & 0xfffc, 0, long);
  setFlatStack((cs & 0xfffc) + 8, 0);
  const sp = load<u64>(cpu, R_MSR_SYSENTER_ESP);
  const ip = load<u64>(cpu, R_MSR_SYSENTER_EIP);
  setGpr(RSP, long ? sp : sp & 0xffffffff);
  setRip(long ? ip : ip & 0xffffffff);
  updateMode();
}

export function sysexit(sizeBytes: u32): void {
  if (!sysenterExists()) return;
  const cs = <u32>load<u64>(cpu, R_MSR_SYSENTER_CS);
  if (!protectedMode || cpl() !== 0 || !(cs & 0xfffc)) {
    raiseGp();
    return;
  }
  if (sizeBytes === 8) {
    if (!isCanonical(gpr(RDX)) || !isCanonical(gpr(RCX))) {
      raiseGp();
      return;
    }
    setFlatCode(((cs & 0xfffc) + 32) | 3, 3, true);
    setFlatStack(((cs & 0xfffc) + 40) | 3, 3);
    setGpr(RSP, gpr(RCX));
    setRip(gpr(RDX));
  } else {
    setFlatCode(((cs & 0xfffc) + 16) | 3, 3, false);
    setFlatStack(((cs & 0xfffc) + 24) | 3, 3);
    setGpr(RSP, gpr(RCX) & 0xffffffff);
    setRip(gpr(RDX) & 0xffffffff);
  }
  updateMode();
}
