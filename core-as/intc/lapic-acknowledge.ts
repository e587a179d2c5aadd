/**
 * The processor's side of the interrupt controllers: acknowledge, end of interrupt and task priority. Local APIC, I/O APIC and 8259 meet
 * here; the chips' own files know only the chip that they signal to.
 */
import { kickVcpu, vcpuBlock } from '../kick';
import { PEND_INTR } from '../layout';
import { ioApicEndOfInterrupt } from './ioapic';
import {
  L_EXTINT,
  L_IRR,
  L_ISR,
  L_TMR,
  L_TPR,
  deliverableVector,
  highestVector,
  lapicGloballyEnabled,
  takesExtInt,
} from './lapic';
import { lockPlatform, unlockPlatform } from './lock';
import { picAcknowledge, picOutput } from './pic';

function extIntPending(block: u32, cpu: u32): bool {
  return picOutput() && (atomic.load<u32>(block, L_EXTINT) !== 0 || takesExtInt(block, cpu));
}

/** Whether this vCPU would take an interrupt now if RFLAGS.IF were set. */
export function interruptPending(cpu: u32): bool {
  const block = vcpuBlock(cpu);
  if (extIntPending(block, cpu)) return true;
  return lapicGloballyEnabled(block) && deliverableVector(block) >= 0;
}

/** Interrupt acknowledge: the vector to deliver (an external interrupt goes first, as in bhyve), or -1. */
export function interruptAcknowledge(cpu: u32): i32 {
  const block = vcpuBlock(cpu);
  if (extIntPending(block, cpu)) {
    let vector: i32 = -1;
    lockPlatform();
    // Under the lock: another vCPU may have acknowledged it meanwhile.
    if (picOutput()) vector = picAcknowledge();
    if (!picOutput()) atomic.store<u32>(block, 0, L_EXTINT);
    unlockPlatform();
    if (vector >= 0) return vector;
  }
  if (!lapicGloballyEnabled(block)) return -1;
  const vector = deliverableVector(block);
  if (vector < 0) return -1;
  const word = block + (((<u32>vector) >> 5) << 2);
  const bit: u32 = 1 << ((<u32>vector) & 31);
  atomic.and<u32>(word, ~bit, L_IRR);
  store<u32>(word, load<u32>(word, L_ISR) | bit, L_ISR);
  return vector;
}

/** EOI: ends the highest interrupt in service; a level-triggered one is broadcast to the I/O APIC. */
export function lapicEndOfInterrupt(cpu: u32): void {
  const block = vcpuBlock(cpu);
  const vector = highestVector(block + L_ISR);
  if (vector < 0) return;
  const word = block + (((<u32>vector) >> 5) << 2);
  const bit: u32 = 1 << ((<u32>vector) & 31);
  store<u32>(word, load<u32>(word, L_ISR) & ~bit, L_ISR);
  if (atomic.load<u32>(word, L_TMR) & bit) {
    lockPlatform();
    ioApicEndOfInterrupt(vector);
    unlockPlatform();
  }
  lapicReevaluate(cpu);
}

/** After PPR fell: has the vCPU look again when something became deliverable. */
export function lapicReevaluate(cpu: u32): void {
  if (interruptPending(cpu)) kickVcpu(cpu, PEND_INTR);
}

/** MOV to CR8: bits 3:0 are the priority class of TPR (SDM 11.8.6). */
export function lapicSetTpr(cpu: u32, cr8: u32): void {
  lapicWriteTpr(cpu, (cr8 & 15) << 4);
}

/** MOV from CR8. */
export function lapicTpr(cpu: u32): u32 {
  return load<u32>(vcpuBlock(cpu), L_TPR) >> 4;
}

/** A write to TPR; lowering it may let something through. */
export function lapicWriteTpr(cpu: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  const before = load<u32>(block, L_TPR);
  store<u32>(block, value & 0xff, L_TPR);
  if ((value & 0xff) < before) lapicReevaluate(cpu);
}
