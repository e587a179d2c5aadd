/** Hardware task switches (SDM vol. 3, chapter 8). */
import {
  R_CPL,
  R_CR0,
  R_CR3,
  R_DR,
  R_GDT_BASE,
  R_PENDING_DB,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
} from '../layout';
import { flushNonGlobal, readSystem, writeSystem } from '../mmu/tlb';
import { rflags, writeRflags } from './flags';
import {
  descriptorAccess,
  descriptorBase,
  descriptorLimit,
  dplOf,
  fetchDescriptor,
  loadNull,
  loadSegment,
  loadStackSegment,
  readDescriptor,
  setCodeSegment,
  setDescriptorType,
  setFromDescriptor,
  setV8086Segment,
} from './segment';
import {
  ACCESS_P,
  ACCESS_S,
  ACCESS_UNUSABLE,
  CR0_PG,
  CR0_TS,
  CS,
  DS,
  ES,
  FAULTED,
  FLAG_NT,
  FLAG_VM,
  FS,
  GS,
  LDTR,
  SS,
  TR,
  VECTOR_GP,
  VECTOR_NP,
  VECTOR_TS,
  clearFault,
  cpu,
  faultCode,
  faultVector,
  faulted,
  gpr,
  raiseCode,
  rip,
  segment,
  selector,
  setGpr,
  setRip,
  setSegment,
  updateMode,
} from './state';
import { WORK_MICROSECOND, charge } from './work';

export const TASK_JUMP: u32 = 0;
export const TASK_CALL: u32 = 1;
export const TASK_IRET: u32 = 2;
export const TASK_INTERRUPT: u32 = 3;

const BUSY: u32 = 1 << 9;
/** DR6.BT: a task switch to a TSS whose T bit is set. */
const DR6_BT: u64 = 1 << 15;

/** Switches to the task of a TSS selector. R_RIP is where the old task goes on. Raises on failure. */
export function taskSwitch(newSelector: u32, source: u32, external: u32): void {
  charge(4 * WORK_MICROSECOND);
  const code = (newSelector & 0xfffc) | external;
  const bad = source === TASK_IRET ? VECTOR_TS : VECTOR_GP;
  if (newSelector & 4 || !(newSelector & 0xfffc)) {
    raiseCode(bad, code);
    return;
  }
  if (!fetchDescriptor(newSelector, bad, external)) return;
  const access = descriptorAccess();
  const type = access & 0x1f;
  const busy = type === 3 || type === 11;
  if ((type !== 1 && type !== 9 && !busy) || busy !== (source === TASK_IRET)) {
    raiseCode(bad, code);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, code);
    return;
  }
  const wide = (access & 8) !== 0;
  const limit = descriptorLimit();
  const smallest: u32 = wide ? 0x67 : 0x2b;
  if (limit < smallest) {
    raiseCode(VECTOR_TS, code);
    return;
  }
  const base = descriptorBase();

  // Save the old task.
  const old = segment(TR);
  const oldWide = (load<u32>(old, SEG_ACCESS) & 8) !== 0;
  const oldBase = load<u64>(old, SEG_BASE);
  let flags = <u32>rflags(cpu);
  if (source === TASK_IRET) flags &= ~FLAG_NT;
  if (oldWide) {
    writeSystem(oldBase + 0x20, 4, rip());
    writeSystem(oldBase + 0x24, 4, flags);
    for (let n: u32 = 0; n < 8; n++) writeSystem(oldBase + 0x28 + (n << 2), 4, gpr(n));
    for (let s: u32 = 0; s < 6; s++) writeSystem(oldBase + 0x48 + (s << 2), 2, selector(s));
  } else {
    writeSystem(oldBase + 0x0e, 2, rip());
    writeSystem(oldBase + 0x10, 2, flags);
    for (let n: u32 = 0; n < 8; n++) writeSystem(oldBase + 0x12 + (n << 1), 2, gpr(n));
    for (let s: u32 = 0; s < 4; s++) writeSystem(oldBase + 0x22 + (s << 1), 2, selector(s));
  }
  if (faulted & FAULTED) return;

  // Read the new one completely before anything changes.
  const step: u64 = wide ? 4 : 2;
  const cr3 = wide ? readSystem(base + 0x1c, 4) : 0;
  const newRip = readSystem(base + (wide ? 0x20 : 0x0e), <u32>step);
  const newFlags = readSystem(base + (wide ? 0x24 : 0x10), <u32>step);
  const registers = base + (wide ? 0x28 : 0x12);
  const selectors = base + (wide ? 0x48 : 0x22);
  const ldt = <u32>readSystem(base + (wide ? 0x60 : 0x2a), 2);
  const trap = wide ? (<u32>readSystem(base + 0x64, 2)) & 1 : 0;
  if (faulted & FAULTED) return;

  // Busy bits and the link.
  if (source === TASK_JUMP || source === TASK_IRET) clearBusy(selector(TR));
  if (source !== TASK_IRET) {
    if (!readDescriptor(newSelector)) return;
    setDescriptorType(BUSY);
  }
  if (source === TASK_CALL || source === TASK_INTERRUPT) writeSystem(base, 2, selector(TR));
  if (faulted & FAULTED) return;

  // The new task's state; from here faults belong to the new task.
  setSegment(TR, newSelector, base, limit, access | 2);
  store<u64>(cpu, load<u64>(cpu, R_CR0) | CR0_TS, R_CR0);
  if (wide && load<u64>(cpu, R_CR0) & CR0_PG && load<u64>(cpu, R_CR3) !== cr3) {
    store<u64>(cpu, cr3, R_CR3);
    flushNonGlobal();
  }
  setRip(newRip);
  let image = (<u32>newFlags) | 2;
  if (!wide) image |= (<u32>rflags(cpu)) & 0xffff0000 & ~FLAG_VM;
  if (source === TASK_CALL || source === TASK_INTERRUPT) image |= FLAG_NT;
  const gprStep = step;
  for (let n: u32 = 0; n < 8; n++) {
    const value = readSystem(registers + n * gprStep, <u32>gprStep);
    setGpr(n, wide ? value : (gpr(n) & 0xffff0000) | value);
  }
  writeRflags(cpu, image);
  for (let s: u32 = 0; s < 6; s++) {
    const sel: u32 = s < 4 || wide ? <u32>readSystem(selectors + s * gprStep, 2) : 0;
    store<u16>(segment(s), <u16>sel, SEG_SELECTOR);
  }
  if (faulted & FAULTED) return;
  store<u64>(cpu, load<u64>(cpu, R_DR + 7 * 8) & ~0x155, R_DR + 7 * 8);
  loadTaskSegments(ldt, image, external);
  if (trap && !(faulted & FAULTED)) {
    // The T bit: #DB before the first instruction of the new task.
    store<u64>(cpu, load<u64>(cpu, R_PENDING_DB) | DR6_BT, R_PENDING_DB);
    updateMode();
  }
}

function clearBusy(sel: u32): void {
  const address = (load<u64>(cpu, R_GDT_BASE) + (sel & 0xfff8) + 4) & 0xffffffff;
  const high = <u32>readSystem(address, 4);
  writeSystem(address, 4, high & ~BUSY);
}

function loadTaskSegments(ldt: u32, image: u32, external: u32): void {
  // LDTR first: the other selectors may refer to it.
  if (!(ldt & 0xfffc)) {
    loadNull(LDTR, ldt);
  } else {
    if (ldt & 4 || !readDescriptor(ldt)) {
      if (!(faulted & FAULTED)) raiseCode(VECTOR_TS, (ldt & 0xfffc) | external);
      store<u32>(segment(LDTR), ACCESS_UNUSABLE, SEG_ACCESS);
      return;
    }
    const access = descriptorAccess();
    if ((access & 0x1f) !== 2 || !(access & ACCESS_P)) {
      raiseCode(VECTOR_TS, (ldt & 0xfffc) | external);
      store<u32>(segment(LDTR), ACCESS_UNUSABLE, SEG_ACCESS);
      return;
    }
    setFromDescriptor(LDTR, ldt);
  }
  if (image & FLAG_VM) {
    for (let s: u32 = 0; s < 6; s++) setV8086Segment(s, selector(s));
    store<u32>(cpu, 3, R_CPL);
    updateMode();
    return;
  }
  const cs = selector(CS);
  const ss = selector(SS);
  const ds = selector(DS);
  const es = selector(ES);
  const fs = selector(FS);
  const gs = selector(GS);
  const level = cs & 3;
  store<u32>(cpu, level, R_CPL);
  // CS
  if (!(cs & 0xfffc) || !readDescriptor(cs)) {
    if (!(faulted & FAULTED)) raiseCode(VECTOR_TS, (cs & 0xfffc) | external);
    return;
  }
  const access = descriptorAccess();
  const dpl = dplOf(access);
  if (!(access & ACCESS_S) || !(access & 8) || (access & 4 ? dpl > level : dpl !== level)) {
    raiseCode(VECTOR_TS, (cs & 0xfffc) | external);
    return;
  }
  if (!(access & ACCESS_P)) {
    raiseCode(VECTOR_NP, (cs & 0xfffc) | external);
    return;
  }
  setCodeSegment(cs, level);
  loadStackSegment(ss, level, VECTOR_TS, external);
  loadTaskData(ES, es);
  loadTaskData(DS, ds);
  loadTaskData(FS, fs);
  loadTaskData(GS, gs);
  updateMode();
  if (!(faulted & FAULTED) && rip() > <u64>load<u32>(segment(CS), SEG_LIMIT)) raiseCode(VECTOR_GP, 0);
}

function loadTaskData(seg: u32, sel: u32): void {
  if (faulted & FAULTED) return;
  loadSegment(seg, sel);
  // What loadSegment reports as #GP is #TS in a task switch; the rule differs in the vector alone.
  retagAsTaskFault();
}

function retagAsTaskFault(): void {
  if (!(faulted & FAULTED) || faultVector !== VECTOR_GP) return;
  const code = faultCode;
  clearFault();
  raiseCode(VECTOR_TS, code);
}
