/** Delivery of exceptions and interrupts (SDM vol. 3, chapter 6). */
import { NOTE_TRIPLE_FAULT, hostNote } from '../host';
import {
  ACT_SHUTDOWN,
  R_ACTIVITY,
  R_CPL,
  R_DR,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_INT_SHADOW,
  R_PENDING_DB,
  R_RFLAGS,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SUSPEND_REASON,
  SUSPEND_TRIPLEFAULT,
} from '../layout';
import { readSystem } from '../mmu/tlb';
import { drainStores } from './fence';
import { rflags } from './flags';
import { writeLinear } from './operand';
import {
  descriptorAccess,
  dplOf,
  fetchDescriptor,
  isLongCode,
  loadNull,
  loadStackSegment,
  setCodeSegment,
  setRealCodeSegment,
} from './segment';
import {
  ACCESS_DB,
  ACCESS_P,
  ACCESS_S,
  ACCESS_UNUSABLE,
  CS,
  DS,
  ES,
  FAULTED,
  FLAG_AC,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  FS,
  GS,
  RSP,
  SS,
  TR,
  VECTOR_DB,
  VECTOR_DF,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_PF,
  VECTOR_SS,
  VECTOR_TS,
  clearFault,
  cpl,
  cpu,
  faultCode,
  faultHasCode,
  faultVector,
  faulted,
  gpr,
  longMode,
  protectedMode,
  raiseCode,
  repeating,
  rip,
  segment,
  selector,
  setGpr,
  setRepeating,
  setRip,
  stackMask,
  updateBanks,
  updateMode,
  v8086,
} from './state';
import { taskSwitch, TASK_INTERRUPT } from './task';

/** What is being delivered. */
export const EVENT_FAULT: u32 = 0;
export const EVENT_EXTERNAL: u32 = 1;
/** INT n: the gate's DPL is checked. */
export const EVENT_SOFTWARE: u32 = 2;
/** INT3 and INTO. */
export const EVENT_BREAKPOINT: u32 = 3;
/** Traps that hardware makes: single step, ICEBP. */
export const EVENT_TRAP: u32 = 4;

/** Vector and error code of the last exception delivered, for tests: vector | code << 8, -1 for none. */
export let lastException: i32 = -1;
export function clearLastException(): void {
  lastException = -1;
}

/** An event was delivered since clearEventDelivered(): the instruction that caused it does not end with a trap of its own. */
export let eventDelivered: bool = false;
export function clearEventDelivered(): void {
  eventDelivered = false;
}

/** Puts back what clearLastException forgot. */
export function restoreLastException(value: i32): void {
  lastException = value;
}

/** RIP of the INT, INT3 or INTO being delivered. */
let softwareRip: u64 = 0;

/** Delivers INT n, INT3 or INTO; R_RIP is the next instruction's, `start` the instruction's own. */
export function deliverSoftware(vector: u32, event: u32, start: u64): void {
  softwareRip = start;
  deliverEvent(vector, event, false, 0);
}

/** Contributory exceptions (SDM vol. 3, table 6-4). */
function contributory(vector: u32): bool {
  return vector === 0 || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/** Delivers the fault that an instruction raised; R_RIP is that instruction's. */
export function deliverFault(): void {
  const vector = faultVector;
  const code = faultCode;
  const hasCode = faultHasCode;
  clearFault();
  deliverEvent(vector, EVENT_FAULT, hasCode, code);
}

/** Delivers an event; what delivery itself raises is delivered in its place, up to the triple fault. */
export function deliverEvent(vector: u32, event: u32, hasCode: bool, code: u32): void {
  // Stores before an event are visible before its handler reads anything (SDM vol. 3, 12.10).
  drainStores();
  const exception = event === EVENT_FAULT || event === EVENT_TRAP;
  if (exception) lastException = <i32>(vector | (code << 8));
  eventDelivered = true;
  store<u32>(cpu, 0, R_INT_SHADOW);
  let first: u32 = exception ? vector : 0xff;
  for (let depth = 0; ; depth++) {
    clearFault();
    inject(vector, event, hasCode, code);
    if (!(faulted & FAULTED)) {
      setRepeating(false);
      return;
    }
    const second = faultVector;
    // What delivering INT n raises is a fault of that instruction.
    if (event === EVENT_SOFTWARE || event === EVENT_BREAKPOINT) setRip(softwareRip);
    if (first === VECTOR_DF || depth > 8) {
      tripleFault(vector);
      return;
    }
    const double =
      (contributory(first) && contributory(second)) ||
      (first === VECTOR_PF && (second === VECTOR_PF || contributory(second)));
    if (double) {
      vector = VECTOR_DF;
      hasCode = true;
      code = 0;
    } else {
      vector = second;
      hasCode = faultHasCode;
      code = faultCode;
    }
    event = EVENT_FAULT;
    first = vector;
    lastException = <i32>(vector | (code << 8));
  }
}

function tripleFault(vector: u32): void {
  clearFault();
  store<u32>(cpu, ACT_SHUTDOWN, R_ACTIVITY);
  atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_TRIPLEFAULT);
  shutdown = true;
  hostNote(NOTE_TRIPLE_FAULT, <f64>rip(), <f64>vector);
}

/** Set when a triple fault happened: run() must leave. */
export let shutdown: bool = false;
export function clearShutdown(): void {
  shutdown = false;
}

/**
 * Flags that the pushed image has (SDM vol. 3, 18.3.1.1): RF is set for faults, and for what comes between two iterations of a repeated string
 * instruction, so that an instruction breakpoint does not fire again.
 */
function pushedFlags(event: u32): u64 {
  const flags = rflags(cpu);
  const resumes = event === EVENT_FAULT || (repeating && (event === EVENT_EXTERNAL || event === EVENT_TRAP));
  return resumes && protectedMode ? flags | FLAG_RF : flags;
}

function inject(vector: u32, event: u32, hasCode: bool, code: u32): void {
  if (longMode) injectLong(vector, event, hasCode, code);
  else if (protectedMode || v8086) injectProtected(vector, event, hasCode, code);
  else injectReal(vector);
}

function injectReal(vector: u32): void {
  if ((vector << 2) + 3 > load<u32>(cpu, R_IDT_LIMIT)) {
    raiseCode(VECTOR_GP, (vector << 3) + 2);
    return;
  }
  const entry = <u32>readSystem(load<u64>(cpu, R_IDT_BASE) + (vector << 2), 4);
  if (faulted & FAULTED) return;
  const base = load<u64>(segment(SS), SEG_BASE);
  const sp = gpr(RSP);
  pushAt(base, sp, 2, 1, rflags(cpu));
  pushAt(base, sp, 2, 2, selector(CS));
  pushAt(base, sp, 2, 3, rip());
  if (faulted & FAULTED) return;
  setStackPointer(sp - 6);
  store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF), R_RFLAGS);
  setRealCodeSegment(entry >> 16);
  setRip(entry & 0xffff);
}

/** Writes the n-th item (from 1) of a frame below a stack pointer, wrapping as the stack size says. */
function pushAt(base: u64, sp: u64, sizeBytes: u32, n: u32, value: u64): void {
  if (faulted & FAULTED) return;
  const address = base + ((sp - sizeBytes * n) & stackMask);
  writeLinear(longMode ? address : address & 0xffffffff, sizeBytes, value);
}

function setStackPointer(value: u64): void {
  if (stackMask === u64.MAX_VALUE) setGpr(RSP, value);
  else if (stackMask === 0xffffffff) setGpr(RSP, value & 0xffffffff);
  else setGpr(RSP, (gpr(RSP) & ~0xffff) | (value & 0xffff));
}

function injectProtected(vector: u32, event: u32, hasCode: bool, code: u32): void {
  const external: u32 = event === EVENT_SOFTWARE || event === EVENT_BREAKPOINT ? 0 : 1;
  const gateCode = (vector << 3) + 2 + external;
  if ((vector << 3) + 7 > load<u32>(cpu, R_IDT_LIMIT)) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  const gate = readSystem((load<u64>(cpu, R_IDT_BASE) + (vector << 3)) & 0xffffffff, 8);
  if (faulted & FAULTED) return;
  const low = <u32>gate;
  const high = <u32>(gate >> 32);
  const type = (high >> 8) & 31;
  if (type !== 5 && type !== 6 && type !== 7 && type !== 14 && type !== 15) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  if (!external && ((high >> 13) & 3) < cpl()) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  if (!(high & 0x8000)) {
    raiseCode(VECTOR_NP, gateCode);
    return;
  }
  if (type === 5) {
    taskSwitch(low >> 16, TASK_INTERRUPT, external);
    if (faulted & FAULTED || !hasCode) return;
    // The error code goes onto the new task's stack.
    const width: u32 = load<u32>(segment(TR), SEG_ACCESS) & 8 ? 4 : 2;
    pushAt(load<u64>(segment(SS), SEG_BASE), gpr(RSP), width, 1, code);
    if (!(faulted & FAULTED)) setStackPointer(gpr(RSP) - width);
    return;
  }
  const codeSelector = low >> 16;
  if (!(codeSelector & 0xfffc)) {
    raiseCode(VECTOR_GP, external);
    return;
  }
  if (!fetchDescriptor(codeSelector, VECTOR_GP, external)) return;
  const access = descriptorAccess();
  const dpl = dplOf(access);
  const old = cpl();
  if (!(access & ACCESS_S) || !(access & 8) || dpl > old) {
    raiseCode(VECTOR_GP, (codeSelector & 0xfffc) | external);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, (codeSelector & 0xfffc) | external);
    return;
  }
  const width: u32 = type & 8 ? 4 : 2;
  const offset = type & 8 ? (high & 0xffff0000) | (low & 0xffff) : low & 0xffff;
  const oldFlags = pushedFlags(event);
  const wasV8086 = v8086;
  const oldSs = selector(SS);
  const oldSp = gpr(RSP);
  const conforming = (access & 4) !== 0;
  if (conforming || dpl === old) {
    if (wasV8086) {
      raiseCode(VECTOR_GP, (codeSelector & 0xfffc) | external);
      return;
    }
    const base = load<u64>(segment(SS), SEG_BASE);
    const count: u32 = hasCode ? 4 : 3;
    if (!stackRoom(width * count)) return;
    pushAt(base, oldSp, width, 1, oldFlags);
    pushAt(base, oldSp, width, 2, selector(CS));
    pushAt(base, oldSp, width, 3, rip());
    if (hasCode) pushAt(base, oldSp, width, 4, code);
    if (faulted & FAULTED) return;
    setStackPointer(oldSp - width * count);
    setCodeSegment(codeSelector, old);
  } else {
    if (wasV8086 && dpl !== 0) {
      raiseCode(VECTOR_GP, (codeSelector & 0xfffc) | external);
      return;
    }
    // To an inner level: its stack comes from the TSS.
    if (!readInnerStack(dpl, external)) return;
    const newSp = <u64>innerSp;
    const state = saveStack();
    store<u32>(cpu, dpl, R_CPL);
    const flags = load<u32>(cpu, R_RFLAGS);
    if (wasV8086) {
      store<u32>(cpu, flags & ~FLAG_VM, R_RFLAGS);
      updateMode();
    }
    loadStackSegment(innerSs, dpl, VECTOR_TS, external);
    updateBanks();
    if (!(faulted & FAULTED)) {
      const base = load<u64>(segment(SS), SEG_BASE);
      let n: u32 = 0;
      const mask: u64 = load<u32>(segment(SS), SEG_ACCESS) & ACCESS_DB ? 0xffffffff : 0xffff;
      if (wasV8086) {
        pushMasked(base, newSp, mask, width, ++n, selector(GS));
        pushMasked(base, newSp, mask, width, ++n, selector(FS));
        pushMasked(base, newSp, mask, width, ++n, selector(DS));
        pushMasked(base, newSp, mask, width, ++n, selector(ES));
      }
      pushMasked(base, newSp, mask, width, ++n, oldSs);
      pushMasked(base, newSp, mask, width, ++n, oldSp);
      pushMasked(base, newSp, mask, width, ++n, oldFlags);
      pushMasked(base, newSp, mask, width, ++n, selector(CS));
      pushMasked(base, newSp, mask, width, ++n, rip());
      if (hasCode) pushMasked(base, newSp, mask, width, ++n, code);
      if (!(faulted & FAULTED) && fetchDescriptor(codeSelector, VECTOR_GP, external)) {
        if (wasV8086) {
          loadNull(GS, 0);
          loadNull(FS, 0);
          loadNull(DS, 0);
          loadNull(ES, 0);
        }
        const sp = newSp - width * n;
        setGpr(RSP, mask === 0xffff ? (oldSp & ~0xffff) | (sp & 0xffff) : sp & 0xffffffff);
        setCodeSegment(codeSelector, dpl);
      }
    }
    if (faulted & FAULTED) {
      restoreStack(state, old, flags);
      setGpr(RSP, oldSp);
      return;
    }
  }
  if (faulted & FAULTED) return;
  let flags = load<u32>(cpu, R_RFLAGS) & ~(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
  if (!(type & 1)) flags &= ~FLAG_IF;
  store<u32>(cpu, flags, R_RFLAGS);
  setRip(offset);
  updateMode();
}

function pushMasked(base: u64, sp: u64, mask: u64, sizeBytes: u32, n: u32, value: u64): void {
  if (faulted & FAULTED) return;
  writeLinear((base + ((sp - sizeBytes * n) & mask)) & 0xffffffff, sizeBytes, value);
}

/** True when the current stack has room for a frame within SS's limit; #SS(0) otherwise. */
function stackRoom(bytes: u32): bool {
  const s = segment(SS);
  const access = load<u32>(s, SEG_ACCESS);
  const limit: u64 = load<u32>(s, SEG_LIMIT);
  const sp = gpr(RSP) & stackMask;
  const first = (sp - bytes) & stackMask;
  const last = (sp - 1) & stackMask;
  const ok = (access & 0xc) === 4 ? first > limit && last > limit : first <= limit && last <= limit;
  if (!ok) raiseCode(VECTOR_SS, 0);
  return ok;
}

/** SS:ESP of an inner level, from the TSS. */
export let innerSs: u32 = 0;
export let innerSp: u32 = 0;

/** Reads the stack of a level from a 16- or 32-bit TSS into innerSs/innerSp; raises #TS. */
export function readInnerStack(level: u32, external: u32): bool {
  const tss = segment(TR);
  const wide = (load<u32>(tss, SEG_ACCESS) & 8) !== 0;
  const offset: u32 = wide ? 4 + (level << 3) : 2 + (level << 2);
  const last: u32 = wide ? 5 : 3;
  if (offset + last > load<u32>(tss, SEG_LIMIT)) {
    raiseCode(VECTOR_TS, (selector(TR) & 0xfffc) | external);
    return false;
  }
  const base = load<u64>(tss, SEG_BASE) + offset;
  innerSp = <u32>readSystem(base & 0xffffffff, wide ? 4 : 2);
  innerSs = <u32>readSystem((base + (wide ? 4 : 2)) & 0xffffffff, 2);
  return !(faulted & FAULTED);
}

let savedSsLow: u64 = 0;
let savedSsMiddle: u64 = 0;
let savedSsHigh: u64 = 0;

/** Keeps SS's cache so that a fault in the middle of a stack switch leaves it as it was. */
function saveStack(): u32 {
  const s = segment(SS);
  savedSsLow = load<u64>(s, 0);
  savedSsMiddle = load<u64>(s, 8);
  savedSsHigh = load<u64>(s, 16);
  return s;
}

function restoreStack(s: u32, level: u32, flags: u32): void {
  store<u64>(s, savedSsLow, 0);
  store<u64>(s, savedSsMiddle, 8);
  store<u64>(s, savedSsHigh, 16);
  store<u32>(cpu, level, R_CPL);
  store<u32>(cpu, flags, R_RFLAGS);
  updateMode();
}

function injectLong(vector: u32, event: u32, hasCode: bool, code: u32): void {
  const external: u32 = event === EVENT_SOFTWARE || event === EVENT_BREAKPOINT ? 0 : 1;
  const gateCode = (vector << 3) + 2 + external;
  if ((vector << 4) + 15 > load<u32>(cpu, R_IDT_LIMIT)) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  const address = load<u64>(cpu, R_IDT_BASE) + (vector << 4);
  const gate = readSystem(address, 8);
  const upper = <u32>readSystem(address + 8, 4);
  if (faulted & FAULTED) return;
  const low = <u32>gate;
  const high = <u32>(gate >> 32);
  const type = (high >> 8) & 31;
  if (type !== 14 && type !== 15) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  const old = cpl();
  if (!external && ((high >> 13) & 3) < old) {
    raiseCode(VECTOR_GP, gateCode);
    return;
  }
  if (!(high & 0x8000)) {
    raiseCode(VECTOR_NP, gateCode);
    return;
  }
  const codeSelector = low >> 16;
  if (!(codeSelector & 0xfffc)) {
    raiseCode(VECTOR_GP, external);
    return;
  }
  if (!fetchDescriptor(codeSelector, VECTOR_GP, external)) return;
  const access = descriptorAccess();
  const dpl = dplOf(access);
  if (!(access & ACCESS_S) || !(access & 8) || dpl > old || !isLongCode(access)) {
    raiseCode(VECTOR_GP, (codeSelector & 0xfffc) | external);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, (codeSelector & 0xfffc) | external);
    return;
  }
  const ist = high & 7;
  const level = access & 4 ? old : dpl;
  let sp = gpr(RSP);
  // Outside 64-bit mode the stack pointer in use is the low part.
  if (stackMask !== u64.MAX_VALUE) sp &= stackMask;
  if (ist || level < old) {
    const tss = segment(TR);
    const offset: u32 = ist ? 0x1c + (ist << 3) : 4 + (level << 3);
    if (offset + 7 > load<u32>(tss, SEG_LIMIT)) {
      raiseCode(VECTOR_TS, (selector(TR) & 0xfffc) | external);
      return;
    }
    sp = readSystem(load<u64>(tss, SEG_BASE) + offset, 8);
    if (faulted & FAULTED) return;
  }
  sp &= ~0xf;
  // The frame is written with the privilege of the handler.
  store<u32>(cpu, level, R_CPL);
  updateBanks();
  writeLinear(sp - 8, 8, selector(SS));
  if (!(faulted & FAULTED)) writeLinear(sp - 16, 8, gpr(RSP));
  if (!(faulted & FAULTED)) writeLinear(sp - 24, 8, pushedFlags(event));
  if (!(faulted & FAULTED)) writeLinear(sp - 32, 8, selector(CS));
  if (!(faulted & FAULTED)) writeLinear(sp - 40, 8, rip());
  if (hasCode && !(faulted & FAULTED)) writeLinear(sp - 48, 8, code);
  if (faulted & FAULTED) {
    store<u32>(cpu, old, R_CPL);
    updateBanks();
    return;
  }
  setCodeSegment(codeSelector, level);
  if (faulted & FAULTED) {
    store<u32>(cpu, old, R_CPL);
    updateMode();
    return;
  }
  if (level < old) {
    loadNull(SS, level);
    store<u32>(segment(SS), ACCESS_UNUSABLE | (level << 5), SEG_ACCESS);
  }
  setGpr(RSP, sp - (hasCode ? 48 : 40));
  let flags = load<u32>(cpu, R_RFLAGS) & ~(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
  if (!(type & 1)) flags &= ~FLAG_IF;
  store<u32>(cpu, flags, R_RFLAGS);
  setRip((<u64>(high & 0xffff0000)) | (low & 0xffff) | ((<u64>upper) << 32));
  updateMode();
}

/** Sets DR6 for a #DB: B0-B3 say which conditions were met this time, the other bits are never cleared (SDM vol. 3, 18.2.3). */
export function reportDebug(dr6: u64): void {
  store<u64>(cpu, (load<u64>(cpu, R_DR + 6 * 8) & ~(<u64>15)) | dr6, R_DR + 6 * 8);
}

/** The #DB of ICEBP, with what was pending. */
export function deliverIcebp(): void {
  const pending = load<u64>(cpu, R_PENDING_DB);
  if (pending) {
    store<u64>(cpu, 0, R_PENDING_DB);
    reportDebug(pending);
  }
  deliverEvent(VECTOR_DB, EVENT_TRAP, false, 0);
}

/** Raises #DB as a trap with the given DR6 bits; R_RIP must be the next instruction's. */
export function deliverDebugTrap(dr6: u64): void {
  reportDebug(dr6);
  deliverEvent(VECTOR_DB, EVENT_TRAP, false, 0);
}
