/** The vCPU's life between instructions: time slices, pending events, interrupts, HLT, single step, reset and start-up. */
import { cpuTimerTick } from '../intc/lapic-timer';
import { acknowledgeNmi, lapicInit, lapicReset } from '../intc/lapic';
import { interruptAcknowledge, interruptPending } from '../intc/lapic-acknowledge';
import { platformTimerTick } from '../intc/platform';
import { x87Reset } from '../fpu/x87';
import { moduleIsDue, compileQueued } from '../jit/jit';
import {
  ACTIVE_CPUS,
  ACT_HALTED,
  ACT_RUNNING,
  ACT_SHUTDOWN,
  ACT_WAIT_SIPI,
  CFGF_DETERMINISTIC,
  CFG_FLAGS,
  CFG_INSNS_PER_SECOND,
  DET_NOW_NS,
  ERR_POOL_EXHAUSTED,
  EXIT_BUDGET,
  EXIT_ERROR,
  EXIT_HALTED_FOREVER,
  EXIT_HLT,
  EXIT_MEMORY,
  EXIT_STOPPED,
  EXIT_SUSPEND,
  HALTED_CPUS,
  MEMORY_LOW,
  PEND_INIT,
  PEND_INTR,
  PEND_KICK,
  PEND_LOOK,
  PEND_MEMORY,
  PEND_NMI,
  PEND_SIPI,
  PEND_STOP,
  POOL_EXHAUSTED,
  R_ACTIVITY,
  R_CPL,
  R_CR0,
  R_CR2,
  R_CR3,
  R_CR4,
  R_CR8,
  R_DR,
  R_EFER,
  R_EXIT_DEADLINE_NS,
  R_EXIT_DETAIL,
  R_EXIT_REASON,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_INDEX,
  R_INT_SHADOW,
  R_MSR_MISC_ENABLE,
  R_MSR_PAT,
  R_MXCSR,
  R_NMI_BLOCKED,
  R_PENDING,
  R_PENDING_DB,
  R_RFLAGS,
  R_SIPI,
  R_XCR0,
  R_YMM,
  SHADOW_SS,
  SUSPEND_HALT,
  SUSPEND_REASON,
  VCPU_STATE_SIZE,
} from '../layout';
import { flushAll } from '../mmu/tlb';
import { machineNowNs } from '../time';
import { MODE_SINGLE } from './code-cache';
import { readCodeRing } from './invalidate';
import { refreshFeatures } from './features';
import { DR6_BS, clearStepDecided, instructionBreakpoint, stepDecided } from './debug';
import { breakpointHits, clearBreakpointHits } from './watchpoints';
import {
  EVENT_EXTERNAL,
  clearEventDelivered,
  clearLastException,
  clearShutdown,
  deliverDebugTrap,
  deliverEvent,
  eventDelivered,
  lastException,
  restoreLastException,
  shutdown,
} from './exception';
import { writeRflags } from './flags';
import { INTERPRET_EXIT, INTERPRET_YIELD, interpret, retired } from './interpret';
import { MISC_ENABLE_RESET, PAT_RESET } from './msr';
import {
  CS,
  DS,
  ES,
  FLAG_IF,
  FLAG_RF,
  FLAG_TF,
  FS,
  GS,
  LDTR,
  RDX,
  SS,
  TR,
  VECTOR_NMI,
  clearFault,
  cpu,
  cpuIndex,
  csBase,
  mustStep,
  repeating,
  rip,
  setDebuggerSteps,
  setGpr,
  setIntrWaiting,
  setRip,
  setSegment,
  updateMode,
} from './state';
import { CR0_RESET } from './system';
import { takeWork } from './work';

/** Instructions between looks at the clock, at most: well under a millisecond. */
const SLICE: i32 = 20000;
/** Where instructions turn out to be slow, slices get shorter: down to so many, while they take longer than so long. */
const LEAST_SLICE: i32 = 200;
const SLICE_NS: f64 = 200_000;

const DR6_RESET: u64 = 0xffff0ff0;

/** Processor state at power-on, RESET and (with `init`) INIT: bhyve's vcpu_reset, SDM vol. 3, table 10-1. */
export function resetState(init: bool): void {
  const index = load<u32>(cpu, R_INDEX);
  const cr0 = init ? load<u64>(cpu, R_CR0) & 0x60000000 : 0;
  for (let n: u32 = 0; n < 16; n++) setGpr(n, 0);
  // Family, model, stepping.
  setGpr(RDX, 0xf00);
  writeRflags(cpu, 2);
  setRip(0xfff0);
  store<u64>(cpu, CR0_RESET | cr0, R_CR0);
  store<u64>(cpu, 0, R_CR2);
  store<u64>(cpu, 0, R_CR3);
  store<u64>(cpu, 0, R_CR4);
  store<u64>(cpu, 0, R_CR8);
  store<u64>(cpu, 0, R_EFER);
  for (let n: u32 = 0; n < 4; n++) store<u64>(cpu + (n << 3), 0, R_DR);
  store<u64>(cpu, DR6_RESET, R_DR + 6 * 8);
  store<u64>(cpu, 0x400, R_DR + 7 * 8);
  setSegment(CS, 0xf000, 0xffff0000, 0xffff, 0x93);
  setSegment(DS, 0, 0, 0xffff, 0x93);
  setSegment(ES, 0, 0, 0xffff, 0x93);
  setSegment(FS, 0, 0, 0xffff, 0x93);
  setSegment(GS, 0, 0, 0xffff, 0x93);
  setSegment(SS, 0, 0, 0xffff, 0x93);
  setSegment(LDTR, 0, 0, 0xffff, 0x82);
  setSegment(TR, 0, 0, 0, 0x8b);
  store<u64>(cpu, 0, R_GDT_BASE);
  store<u32>(cpu, 0xffff, R_GDT_LIMIT);
  store<u64>(cpu, 0, R_IDT_BASE);
  store<u32>(cpu, 0xffff, R_IDT_LIMIT);
  store<u32>(cpu, 0, R_CPL);
  store<u32>(cpu, 0, R_INT_SHADOW);
  store<u32>(cpu, 0, R_NMI_BLOCKED);
  store<u64>(cpu, 0, R_PENDING_DB);
  if (!init) {
    store<u64>(cpu, 1, R_XCR0);
    store<u32>(cpu, 0x1f80, R_MXCSR);
    memory.fill(cpu + R_YMM, 0, 16 * 32);
    x87Reset(cpu);
    store<u64>(cpu, PAT_RESET, R_MSR_PAT);
    store<u64>(cpu, MISC_ENABLE_RESET, R_MSR_MISC_ENABLE);
    lapicReset(cpuIndex);
  } else lapicInit(cpuIndex);
  // A vCPU that a guest took offline lay in HLT for good: it no longer does.
  atomic.and<u32>(HALTED_CPUS, ~(1 << index));
  store<u32>(cpu, index === 0 ? ACT_RUNNING : ACT_WAIT_SIPI, R_ACTIVITY);
  stateChanged();
}

/** Power-on reset of this instance's vCPU; vCPU 0 is ready to run, the others wait for SIPI. */
export function vcpuReset(): void {
  const index = load<u32>(cpu, R_INDEX);
  memory.fill(cpu, 0, VCPU_STATE_SIZE);
  store<u32>(cpu, index, R_INDEX);
  store<u32>(cpu, 0, R_PENDING);
  resetState(false);
  if (index === 0) atomic.or<u32>(ACTIVE_CPUS, 1);
}

/** Re-derives everything that is cached from the block; call after writing to it from outside. */
export function stateChanged(): void {
  clearFault();
  clearShutdown();
  refreshFeatures();
  flushAll();
  updateMode();
  setIntrWaiting(false);
  // Whatever was pending for the old state is looked at again; so is the code ring, which another instance of this vCPU may have read last.
  atomic.or<u32>(cpu, PEND_INTR | PEND_KICK, R_PENDING);
}

function exit(reason: u32): i32 {
  store<u32>(cpu, reason, R_EXIT_REASON);
  return <i32>reason;
}

/** Runs about `budget` instructions. Returns EXIT_*. */
export function run(budget: i32): i32 {
  let left = budget;
  sliceBegan = 0;
  do {
    tick();
    const event = serviceEvents();
    if (event >= 0) return event;
    let status: i32;
    if (mustStep || load<u32>(cpu, R_INT_SHADOW)) status = single();
    else {
      if (moduleIsDue()) compileQueued();
      status = interpret(min<i32>(left, slice), 0);
    }
    left -= retired + takeWork();
    countTime();
    if (shutdown) return exit(EXIT_SUSPEND);
    if (status === INTERPRET_EXIT) {
      const pausing = load<u32>(cpu, R_EXIT_REASON) === EXIT_BUDGET;
      const reason = halted();
      if (reason >= 0) return reason;
      if (pausing) break;
    }
  } while (left > 0);
  return exit(EXIT_BUDGET);
}

/**
 * Executes one instruction for a debugger: interrupts and NMIs are held back, so that the step ends at the next instruction and not in a
 * handler; a repeated string instruction does one element. A vCPU in HLT takes what would end that.
 */
export function debugStep(): i32 {
  interruptsHeld = load<u32>(cpu, R_ACTIVITY) !== ACT_HALTED;
  setDebuggerSteps(true);
  const reason = stepOne();
  setDebuggerSteps(false);
  interruptsHeld = false;
  return reason;
}
let interruptsHeld: bool = false;

/** Executes one instruction (or delivers one event). Returns EXIT_BUDGET or another reason. */
export function stepOne(): i32 {
  clearLastException();
  tick();
  const event = serviceEvents();
  if (event >= 0) return event;
  if (lastException >= 0) return exit(EXIT_BUDGET);
  const status = single();
  takeWork();
  countTime();
  if (shutdown) return exit(EXIT_SUSPEND);
  if (status === INTERPRET_EXIT) {
    const reason = halted();
    if (reason >= 0) return reason;
  }
  return exit(EXIT_BUDGET);
}

/** One instruction with the interrupt shadow and single-step rules. */
function single(): i32 {
  const trap = (load<u32>(cpu, R_RFLAGS) & FLAG_TF) !== 0;
  const resume = load<u32>(cpu, R_RFLAGS) & FLAG_RF;
  if (mustStep && load<u32>(cpu, R_INT_SHADOW) !== SHADOW_SS && instructionBreakpoint(rip() + csBase))
    return INTERPRET_YIELD;
  clearBreakpointHits();
  clearStepDecided();
  clearEventDelivered();
  const shadow = load<u32>(cpu, R_INT_SHADOW);
  store<u32>(cpu, 0, R_INT_SHADOW);
  const before = lastException;
  clearLastException();
  const status = interpret(1, MODE_SINGLE);
  const excepted = lastException;
  if (excepted < 0) restoreLastException(before);
  if (!eventDelivered && resume && mustStep && !repeating)
    store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~FLAG_RF, R_RFLAGS);
  debugTraps(trap && !stepDecided);
  // A second load of SS in the shadow of one does not extend it.
  if (shadow && load<u32>(cpu, R_INT_SHADOW) && status !== INTERPRET_EXIT) store<u32>(cpu, 0, R_INT_SHADOW);
  return status;
}

/** #DB after an instruction that was stepped or met a data breakpoint. A load of SS keeps the latter for the end of the next one. */
function debugTraps(stepped: bool): void {
  if (load<u32>(cpu, R_INT_SHADOW) === SHADOW_SS) {
    if (breakpointHits) store<u64>(cpu, load<u64>(cpu, R_PENDING_DB) | breakpointHits, R_PENDING_DB);
    return;
  }
  // An event was delivered: what is pending comes before its handler's first instruction.
  if (eventDelivered || shutdown) return;
  const bits = (stepped ? DR6_BS : 0) | breakpointHits | load<u64>(cpu, R_PENDING_DB);
  if (!bits) return;
  store<u64>(cpu, 0, R_PENDING_DB);
  // HLT is stepped like anything else: the trap ends it.
  wake();
  deliverDebugTrap(bits);
}

/** In the deterministic mode: time moves with the instructions of vCPU 0. */
function countTime(): void {
  if (!(load<u32>(CFG_FLAGS) & CFGF_DETERMINISTIC) || load<u32>(cpu, R_INDEX) !== 0) return;
  const perSecond = load<u64>(CFG_INSNS_PER_SECOND);
  if (perSecond) {
    // Carry the fraction in units of 1/perSecond ns, so that no time is lost to rounding.
    const total = <u64>retired * 1_000_000_000 + fraction;
    atomic.store<u64>(DET_NOW_NS, atomic.load<u64>(DET_NOW_NS) + total / perSecond);
    fraction = total % perSecond;
  }
}
let fraction: u64 = 0;

/** Instructions of the next slice, and when the last one began (0: none did). */
let slice: i32 = SLICE;
let sliceBegan: f64 = 0;

/** Halves slices that take too long, whatever it is that takes so long; lets them grow again. Counted time needs no such care. */
function fitSlice(now: f64): void {
  if (sliceBegan && !(load<u32>(CFG_FLAGS) & CFGF_DETERMINISTIC)) {
    if (now - sliceBegan > SLICE_NS) slice = max<i32>(slice >> 1, LEAST_SLICE);
    else if (slice < SLICE) slice = min<i32>(slice << 1, SLICE);
  }
  sliceBegan = now;
}

/** Fires due timers, and leaves in R_EXIT_DEADLINE_NS when the next one is due. */
function tick(): void {
  const now = machineNowNs();
  fitSlice(now);
  let deadline = cpuTimerTick(cpuIndex, now);
  if (load<u32>(cpu, R_INDEX) === 0) deadline = min<f64>(deadline, platformTimerTick(now));
  store<f64>(cpu, deadline, R_EXIT_DEADLINE_NS);
}

/** Handles R_PENDING and the activity state. Returns an EXIT_* reason, or -1 to run instructions. */
function serviceEvents(): i32 {
  const pending = atomic.load<u32>(cpu, R_PENDING);
  if (pending & PEND_KICK) {
    atomic.and<u32>(cpu, ~PEND_KICK, R_PENDING);
    readCodeRing();
  }
  if (pending & PEND_LOOK) atomic.and<u32>(cpu, ~PEND_LOOK, R_PENDING);
  if (load<u32>(POOL_EXHAUSTED)) {
    store<u32>(cpu, ERR_POOL_EXHAUSTED, R_EXIT_DETAIL);
    return exit(EXIT_ERROR);
  }
  if (atomic.load<u32>(SUSPEND_REASON)) return exit(EXIT_SUSPEND);
  if (pending & PEND_STOP) {
    atomic.and<u32>(cpu, ~PEND_STOP, R_PENDING);
    return exit(EXIT_STOPPED);
  }
  if (pending & PEND_MEMORY) {
    // The bit stays while memory is low: it keeps the vCPU from running on.
    if (atomic.load<u32>(MEMORY_LOW)) return exit(EXIT_MEMORY);
    atomic.and<u32>(cpu, ~PEND_MEMORY, R_PENDING);
  }
  if (pending & PEND_INIT) {
    atomic.and<u32>(cpu, ~PEND_INIT, R_PENDING);
    resetState(true);
    if (load<u32>(cpu, R_INDEX) === 0) store<u32>(cpu, ACT_RUNNING, R_ACTIVITY);
  }
  if (pending & PEND_SIPI) {
    atomic.and<u32>(cpu, ~PEND_SIPI, R_PENDING);
    const sipi = atomic.xchg<u32>(cpu, 0, R_SIPI);
    if (sipi && load<u32>(cpu, R_ACTIVITY) === ACT_WAIT_SIPI) startUp((sipi - 1) & 0xff);
  }
  const activity = load<u32>(cpu, R_ACTIVITY);
  if (activity === ACT_SHUTDOWN) return exit(EXIT_SUSPEND);
  if (activity === ACT_WAIT_SIPI) return exit(EXIT_HLT);

  const trap = load<u64>(cpu, R_PENDING_DB);
  if (trap && load<u32>(cpu, R_INT_SHADOW) !== SHADOW_SS) {
    store<u64>(cpu, 0, R_PENDING_DB);
    deliverDebugTrap(trap);
    return shutdown ? exit(EXIT_SUSPEND) : -1;
  }
  const shadow = load<u32>(cpu, R_INT_SHADOW);
  if (interruptsHeld) return -1;
  if (pending & PEND_NMI && !load<u32>(cpu, R_NMI_BLOCKED) && !shadow && acknowledgeNmi(cpuIndex)) {
    wake();
    store<u32>(cpu, 1, R_NMI_BLOCKED);
    deliverEvent(VECTOR_NMI, EVENT_EXTERNAL, false, 0);
    if (shutdown) return exit(EXIT_SUSPEND);
    return -1;
  }
  if (pending & PEND_INTR || activity === ACT_HALTED) {
    if (load<u32>(cpu, R_RFLAGS) & FLAG_IF && !shadow) {
      atomic.and<u32>(cpu, ~PEND_INTR, R_PENDING);
      setIntrWaiting(false);
      if (interruptPending(cpuIndex)) {
        const vector = interruptAcknowledge(cpuIndex);
        if (vector >= 0) {
          wake();
          deliverEvent(<u32>vector, EVENT_EXTERNAL, false, 0);
          if (shutdown) return exit(EXIT_SUSPEND);
          // There may be another of higher priority after this one's handler set IF.
          if (interruptPending(cpuIndex)) atomic.or<u32>(cpu, PEND_INTR, R_PENDING);
          return -1;
        }
      }
    } else if (!shadow) {
      // Not deliverable now: stop asking until IF changes.
      atomic.and<u32>(cpu, ~PEND_INTR, R_PENDING);
      setIntrWaiting(true);
    }
  }
  if (load<u32>(cpu, R_ACTIVITY) === ACT_HALTED) return haltExit();
  return -1;
}

/** An event ends HLT. */
function wake(): void {
  if (load<u32>(cpu, R_ACTIVITY) !== ACT_HALTED) return;
  store<u32>(cpu, ACT_RUNNING, R_ACTIVITY);
  atomic.and<u32>(HALTED_CPUS, ~(1 << load<u32>(cpu, R_INDEX)));
}

/** After the HLT instruction: -1 when an event ended it at once, else the reason to leave run(). */
function halted(): i32 {
  store<u32>(cpu, 0, R_INT_SHADOW);
  tick();
  return serviceEvents();
}

/** Leaves for HLT; when every active vCPU sits in HLT with interrupts off, nothing will ever wake the machine. */
function haltExit(): i32 {
  if (!(load<u32>(cpu, R_RFLAGS) & FLAG_IF)) {
    const bit: u32 = 1 << load<u32>(cpu, R_INDEX);
    const all = atomic.or<u32>(HALTED_CPUS, bit) | bit;
    if (all === atomic.load<u32>(ACTIVE_CPUS)) {
      atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_HALT);
      return exit(EXIT_HALTED_FOREVER);
    }
  }
  return exit(EXIT_HLT);
}

/** SIPI: real mode at vector << 12. */
function startUp(vector: u32): void {
  setSegment(CS, vector << 8, <u64>(vector << 12), 0xffff, 0x93);
  setRip(0);
  store<u32>(cpu, ACT_RUNNING, R_ACTIVITY);
  atomic.or<u32>(ACTIVE_CPUS, 1 << load<u32>(cpu, R_INDEX));
  updateMode();
}
