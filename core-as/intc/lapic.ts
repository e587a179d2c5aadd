/**
 * The local APIC: state, delivery between processors, priorities and acknowledge (SDM vol. 3, chapter 11).
 * Registers are in lapic-registers.ts, the timer in lapic-timer.ts.
 *
 * State lies in the vCPU block. IRR, TMR, the pending error bits and the ExtINT request are written by any thread and are
 * atomic; everything else is written by the owning vCPU's thread only. Other threads read LDR, DFR, SVR, TPR and
 * APICBASE to route a message: a stale value there is the same race that a real bus has.
 */
import { kickVcpu, vcpuBlock } from '../kick';
import {
  CFGF_X2APIC,
  CFG_FLAGS,
  CFG_NCPUS,
  MAX_VCPUS,
  PEND_INIT,
  PEND_INTR,
  PEND_NMI,
  PEND_SIPI,
  R_INDEX,
  R_LAPIC,
  R_LAPIC_SIZE,
  R_LAPIC_SIZE,
  R_NMI_BLOCKED,
  R_PENDING,
  R_SIPI,
} from '../layout';

// ---------------------------------------------------------------------------------------------------------------------
// State, offsets from the vCPU block

/** u64: IA32_APIC_BASE. */
export const L_APIC_BASE = R_LAPIC + 0x00;
export const L_TPR = R_LAPIC + 0x08;
export const L_LDR = R_LAPIC + 0x0c;
export const L_DFR = R_LAPIC + 0x10;
export const L_SVR = R_LAPIC + 0x14;
export const L_ESR = R_LAPIC + 0x18;
/** u32 atomic: errors since the last write to ESR. */
export const L_ESR_PENDING = R_LAPIC + 0x1c;
/** u64: interrupt command register as last written. */
export const L_ICR = R_LAPIC + 0x20;
/** u32 x 7: local vector table: timer, thermal, performance, LINT0, LINT1, error, CMCI. */
export const L_LVT = R_LAPIC + 0x28;
export const L_INITIAL_COUNT = R_LAPIC + 0x44;
export const L_DIVIDE = R_LAPIC + 0x48;
/** u32 atomic: an ExtINT message (I/O APIC or MSI) waits to be acknowledged at the 8259. */
export const L_EXTINT = R_LAPIC + 0x4c;
/** u64: crystal tick at which the current count reaches zero, while L_COUNTING. */
export const L_EXPIRY_TICK = R_LAPIC + 0x50;
export const L_COUNTING = R_LAPIC + 0x58;
/** u64: IA32_TSC_DEADLINE, 0 when disarmed. */
export const L_TSC_DEADLINE = R_LAPIC + 0x60;
/** u32 atomic: NMIs not yet delivered, 2 at most: one that the processor is about to take and one that its latch holds. */
const L_NMI_COUNT = R_LAPIC + 0x68;
/** u32 x 8 each. */
export const L_ISR = R_LAPIC + 0x100;
export const L_TMR = R_LAPIC + 0x120;
export const L_IRR = R_LAPIC + 0x140;

export const APIC_BASE_BSP: u64 = 0x100;
export const APIC_BASE_EXTD: u64 = 0x400;
export const APIC_BASE_ENABLE: u64 = 0x800;
export const APIC_BASE_DEFAULT: u64 = 0xfee00000;

export const SVR_ENABLE: u32 = 0x100;

/** Indexes in the local vector table. */
export const LVT_TIMER: u32 = 0;
export const LVT_THERMAL: u32 = 1;
export const LVT_PERFORMANCE: u32 = 2;
export const LVT_LINT0: u32 = 3;
export const LVT_LINT1: u32 = 4;
export const LVT_ERROR: u32 = 5;
export const LVT_CMCI: u32 = 6;
export const LVT_COUNT: u32 = 7;
export const LVT_MASKED: u32 = 0x10000;

/** Delivery modes of messages and local vectors. */
export const DELIVERY_FIXED: u32 = 0;
export const DELIVERY_LOWEST_PRIORITY: u32 = 1;
export const DELIVERY_NMI: u32 = 4;
export const DELIVERY_INIT: u32 = 5;
export const DELIVERY_STARTUP: u32 = 6;
export const DELIVERY_EXTINT: u32 = 7;

/** Bits of ESR. */
export const ESR_SEND_ILLEGAL_VECTOR: u32 = 0x20;
export const ESR_RECEIVE_ILLEGAL_VECTOR: u32 = 0x40;
export const ESR_ILLEGAL_REGISTER: u32 = 0x80;

/** Destination shorthands of the interrupt command register. */
const SHORTHAND_SELF: u32 = 1;
const SHORTHAND_ALL: u32 = 2;

// ---------------------------------------------------------------------------------------------------------------------
// Reset

/** What both resets clear (SDM 11.4.7.1, 11.4.7.3): everything but IA32_APIC_BASE and the ID, which is the index. */
function resetRegisters(block: u32): void {
  memory.fill(block + L_TPR, 0, R_LAPIC_SIZE - 8);
  store<u32>(block, 0xffffffff, L_DFR);
  store<u32>(block, 0xff, L_SVR);
  for (let i: u32 = 0; i < LVT_COUNT; i++) store<u32>(block + i * 4, LVT_MASKED, L_LVT);
}

/** Power-up: APIC enabled, bootstrap flag by number, x2APIC mode at once with -x. */
export function lapicReset(cpu: u32): void {
  const block = vcpuBlock(cpu);
  let base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE;
  if (load<u32>(block, R_INDEX) === 0) base |= APIC_BASE_BSP;
  if (load<u32>(CFG_FLAGS) & CFGF_X2APIC) base |= APIC_BASE_EXTD;
  store<u64>(block, base, L_APIC_BASE);
  resetRegisters(block);
}

/** INIT: like power-up, but IA32_APIC_BASE stays ("wait-for-SIPI" state, SDM 11.4.7.3). */
export function lapicInit(cpu: u32): void {
  resetRegisters(vcpuBlock(cpu));
}

// ---------------------------------------------------------------------------------------------------------------------
// State queries

export function lapicGloballyEnabled(block: u32): bool {
  return (load<u64>(block, L_APIC_BASE) & APIC_BASE_ENABLE) !== 0;
}

export function lapicInX2Mode(block: u32): bool {
  return (load<u64>(block, L_APIC_BASE) & APIC_BASE_EXTD) !== 0;
}

/** Enabled by IA32_APIC_BASE and by the spurious-interrupt vector register: accepts fixed interrupts. */
function lapicAccepts(block: u32): bool {
  return lapicGloballyEnabled(block) && (load<u32>(block, L_SVR) & SVR_ENABLE) !== 0;
}

/** In x2APIC mode the logical ID follows from the ID (SDM 11.12.10.2). */
export function lapicLogicalId(block: u32, cpu: u32): u32 {
  if (!lapicInX2Mode(block)) return load<u32>(block, L_LDR);
  return ((cpu >> 4) << 16) | ((<u32>1) << (cpu & 15));
}

/** Number of vCPUs that exist, never more than there are blocks for. */
export function vcpuCount(): u32 {
  const count = load<u32>(CFG_NCPUS);
  return count < <u32>MAX_VCPUS ? count : MAX_VCPUS;
}

/** The highest vector that is set in a 256-bit register of eight words, or -1. */
export function highestVector(registers: u32): i32 {
  for (let i: i32 = 7; i >= 0; i--) {
    const word = atomic.load<u32>(registers + ((<u32>i) << 2));
    if (word) return (i << 5) + 31 - clz<i32>(<i32>word);
  }
  return -1;
}

/** PPR (SDM 11.8.3.1): the task's priority or the priority class in service, whichever is higher. */
export function lapicProcessorPriority(block: u32): u32 {
  const tpr = load<u32>(block, L_TPR);
  const isr = highestVector(block + L_ISR);
  const inService: u32 = isr < 0 ? 0 : (<u32>isr) & 0xf0;
  return (tpr & 0xf0) >= inService ? tpr : inService;
}

/** The vector that IRR and PPR allow now, or -1. */
export function deliverableVector(block: u32): i32 {
  const vector = highestVector(block + L_IRR);
  if (vector < 16) return -1;
  return ((<u32>vector) & 0xf0) > (lapicProcessorPriority(block) & 0xf0) ? vector : -1;
}

/** Whether the 8259's INTR reaches this vCPU as an external interrupt. */
export function takesExtInt(block: u32, cpu: u32): bool {
  if (!lapicAccepts(block)) {
    // Disabled, LINT0 is the INTR pin; only the bootstrap processor's is wired.
    if (cpu === 0) return true;
    if (!lapicGloballyEnabled(block)) return false;
  }
  const lint0 = load<u32>(block + LVT_LINT0 * 4, L_LVT);
  return !(lint0 & LVT_MASKED) && ((lint0 >> 8) & 7) === DELIVERY_EXTINT;
}

/** Notes errors for the next write to ESR and raises the error interrupt of the local vector table. */
export function lapicError(cpu: u32, bits: u32): void {
  const block = vcpuBlock(cpu);
  atomic.or<u32>(block, bits, L_ESR_PENDING);
  const lvt = load<u32>(block + LVT_ERROR * 4, L_LVT);
  // An illegal vector in this very entry must not report itself again.
  if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16) acceptFixed(cpu, lvt & 0xff, false);
}

// ---------------------------------------------------------------------------------------------------------------------
// Acceptance

/** Takes a fixed interrupt into IRR. May run on any thread. False when this APIC does not accept it. */
export function acceptFixed(cpu: u32, vector: u32, level: bool): bool {
  const block = vcpuBlock(cpu);
  if (!lapicAccepts(block)) return false;
  if (vector < 16) {
    lapicError(cpu, ESR_RECEIVE_ILLEGAL_VECTOR);
    return false;
  }
  const word = block + ((vector >> 5) << 2);
  const bit: u32 = 1 << (vector & 31);
  // TMR first: whoever sees the IRR bit must find how it was triggered.
  if (level) atomic.or<u32>(word, bit, L_TMR);
  else atomic.and<u32>(word, ~bit, L_TMR);
  atomic.or<u32>(word, bit, L_IRR);
  kickVcpu(cpu, PEND_INTR);
  return true;
}

/**
 * An NMI for a vCPU, from any thread. A processor takes an NMI at the next instruction and latches one more while its handler runs; here
 * the next instruction may be a block away, so that two may wait until then.
 */
export function raiseNmi(cpu: u32): void {
  const block = vcpuBlock(cpu);
  const limit: u32 = load<u32>(block, R_NMI_BLOCKED) ? 1 : 2;
  for (;;) {
    const count = atomic.load<u32>(block, L_NMI_COUNT);
    if (count >= limit || atomic.cmpxchg<u32>(block, count, count + 1, L_NMI_COUNT) === count) break;
  }
  kickVcpu(cpu, PEND_NMI);
}

/**
 * Whether there is an NMI to take, which is then taken. The vCPU's own thread calls this before it blocks further ones, so that one that
 * comes now is not lost. PEND_NMI may come late for an NMI that the count has shown already: the count decides.
 */
export function acknowledgeNmi(cpu: u32): bool {
  const block = vcpuBlock(cpu);
  atomic.and<u32>(block, ~PEND_NMI, R_PENDING);
  const count = atomic.load<u32>(block, L_NMI_COUNT);
  if (!count) return false;
  if (atomic.sub<u32>(block, 1, L_NMI_COUNT) > 1) kickVcpu(cpu, PEND_NMI);
  return true;
}

/** A message of any delivery mode has reached one local APIC. */
function acceptMessage(cpu: u32, mode: u32, vector: u32, level: bool): bool {
  const block = vcpuBlock(cpu);
  if (!lapicGloballyEnabled(block)) return false;
  switch (mode) {
    case DELIVERY_FIXED:
    case DELIVERY_LOWEST_PRIORITY:
      return acceptFixed(cpu, vector, level);
    case DELIVERY_NMI:
      raiseNmi(cpu);
      return true;
    case DELIVERY_INIT:
      kickVcpu(cpu, PEND_INIT);
      return true;
    case DELIVERY_STARTUP:
      atomic.store<u32>(block, (vector & 0xff) + 1, R_SIPI);
      kickVcpu(cpu, PEND_SIPI);
      return true;
    case DELIVERY_EXTINT:
      atomic.store<u32>(block, 1, L_EXTINT);
      kickVcpu(cpu, PEND_INTR);
      return true;
    default:
      // SMI: there is no SMM. Mode 3 is reserved.
      return false;
  }
}

/** Whether a message's destination names this APIC (SDM 11.6.2; 11.12.9 and .10 for x2APIC). */
function isDestination(cpu: u32, destination: u32, logical: bool, wide: bool): bool {
  const block = vcpuBlock(cpu);
  if (destination === (wide ? <u32>0xffffffff : <u32>0xff)) return true;
  if (!logical) return destination === cpu;
  const id = lapicLogicalId(block, cpu);
  if (lapicInX2Mode(block)) return id >> 16 === destination >> 16 && (id & destination & 0xffff) !== 0;
  const mda = destination & 0xff;
  const own = id >> 24;
  // DFR: all ones is the flat model, zeros the cluster model.
  if (load<u32>(block, L_DFR) >> 28 === 0xf) return (own & mda) !== 0;
  return own >> 4 === mda >> 4 && (own & mda & 0xf) !== 0;
}

/**
 * Sends a message to the APICs that a destination names. May run on any thread, with or without INTC_LOCK.
 * `wide`: a 32-bit x2APIC destination. Returns how many APICs accepted it.
 */
export function deliverInterrupt(
  destination: u32,
  logical: bool,
  wide: bool,
  mode: u32,
  vector: u32,
  level: bool,
): u32 {
  const count = vcpuCount();
  if (mode === DELIVERY_LOWEST_PRIORITY) {
    // Arbitration: the lowest processor priority wins, the lower number among equals.
    let best: i32 = -1;
    let bestPriority: u32 = 0x100;
    for (let cpu: u32 = 0; cpu < count; cpu++) {
      const block = vcpuBlock(cpu);
      if (!lapicAccepts(block) || !isDestination(cpu, destination, logical, wide)) continue;
      const priority = lapicProcessorPriority(block);
      if (priority < bestPriority) {
        bestPriority = priority;
        best = cpu;
      }
    }
    return best >= 0 && acceptMessage(best, mode, vector, level) ? 1 : 0;
  }
  let accepted: u32 = 0;
  for (let cpu: u32 = 0; cpu < count; cpu++) {
    if (isDestination(cpu, destination, logical, wide) && acceptMessage(cpu, mode, vector, level)) accepted++;
  }
  return accepted;
}

/** Executes a write to the interrupt command register (SDM 11.6.1): sends an interprocessor interrupt. */
export function sendIpi(cpu: u32, low: u32, destination: u32): void {
  const block = vcpuBlock(cpu);
  const mode = (low >> 8) & 7;
  const vector = low & 0xff;
  const shorthand = (low >> 18) & 3;
  if (mode <= DELIVERY_LOWEST_PRIORITY && vector < 16) {
    lapicError(cpu, ESR_SEND_ILLEGAL_VECTOR);
    return;
  }
  // ExtINT cannot be sent; INIT level de-assert only reached the arbitration IDs of old buses.
  if (mode === DELIVERY_EXTINT) return;
  if (mode === DELIVERY_INIT && (low & 0xc000) === 0x8000) return;
  if (shorthand === 0) {
    const wide = lapicInX2Mode(block);
    deliverInterrupt(wide ? destination : destination >> 24, (low & 0x800) !== 0, wide, mode, vector, false);
    return;
  }
  if (shorthand === SHORTHAND_SELF) {
    if (mode === DELIVERY_FIXED || mode === DELIVERY_NMI) acceptMessage(cpu, mode, vector, false);
    return;
  }
  const count = vcpuCount();
  for (let target: u32 = 0; target < count; target++) {
    if (target !== cpu || shorthand === SHORTHAND_ALL) acceptMessage(target, mode, vector, false);
  }
}

/** The 8259's INTR is high: tells those who listen on LINT0. INTC_LOCK is held. `rising`: it just went high. */
export function lapicPicOutputChanged(rising: bool): void {
  const count = vcpuCount();
  for (let cpu: u32 = 0; cpu < count; cpu++) {
    const block = vcpuBlock(cpu);
    if (takesExtInt(block, cpu) || atomic.load<u32>(block, L_EXTINT)) {
      kickVcpu(cpu, PEND_INTR);
      continue;
    }
    const lint0 = load<u32>(block + LVT_LINT0 * 4, L_LVT);
    if (!rising || lint0 & LVT_MASKED || !lapicAccepts(block)) continue;
    // Wired through LINT0 as an ordinary vector or as NMI (Linux tries both when the I/O APIC route fails).
    const mode = (lint0 >> 8) & 7;
    if (mode === DELIVERY_FIXED) acceptFixed(cpu, lint0 & 0xff, false);
    else if (mode === DELIVERY_NMI) raiseNmi(cpu);
  }
}

/** Whether a guest-physical address lies in this vCPU's register page. In x2APIC mode the page answers nothing. */
export function lapicClaims(cpu: u32, gpa: u64): bool {
  const base = load<u64>(vcpuBlock(cpu), L_APIC_BASE);
  return (base & (APIC_BASE_ENABLE | APIC_BASE_EXTD)) === APIC_BASE_ENABLE && gpa >> 12 === base >> 12;
}

assert(L_LVT + 7 * 4 <= L_INITIAL_COUNT);
assert(L_EXPIRY_TICK % 8 === 0 && L_TSC_DEADLINE % 8 === 0 && L_ICR % 8 === 0);
assert(L_NMI_COUNT + 4 <= L_ISR);
assert(L_ISR + 8 * 4 === L_TMR && L_TMR + 8 * 4 === L_IRR);
assert(L_IRR + 8 * 4 <= R_LAPIC + R_LAPIC_SIZE);
