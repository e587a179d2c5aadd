/**
 * The local APIC's timer (SDM 11.5.4): one-shot, periodic and TSC-deadline. Only the owning vCPU's thread comes here.
 *
 * It counts the crystal, 134,217,728 Hz, divided by the divide configuration register. State is the absolute crystal tick
 * at which the count ends, so that nothing is rounded twice and a restored machine simply goes on.
 */
import { vcpuBlock } from '../kick';
import { R_TSC_OFFSET } from '../layout';
import { CRYSTAL_HZ, TSC_HZ, machineNowNs, nsAtTick, ticksAt } from '../time';
import {
  ESR_RECEIVE_ILLEGAL_VECTOR,
  LVT_MASKED,
  LVT_TIMER,
  L_COUNTING,
  L_DIVIDE,
  L_EXPIRY_TICK,
  L_INITIAL_COUNT,
  L_LVT,
  L_TSC_DEADLINE,
  acceptFixed,
  lapicError,
} from './lapic';

const MODE_PERIODIC: u32 = 1;
const MODE_TSC_DEADLINE: u32 = 2;

function timerLvt(block: u32): u32 {
  return load<u32>(block + LVT_TIMER * 4, L_LVT);
}

function timerMode(block: u32): u32 {
  return (timerLvt(block) >> 17) & 3;
}

/** Crystal ticks per count (SDM figure 11-10): bits 3, 1 and 0 select 2, 4, ... 128, 1. */
function divider(configuration: u32): u64 {
  const select = (configuration & 3) | ((configuration >> 1) & 4);
  return (<u64>1) << ((select + 1) & 7);
}

function period(block: u32): u64 {
  return <u64>load<u32>(block, L_INITIAL_COUNT) * divider(load<u32>(block, L_DIVIDE));
}

function fire(cpu: u32): void {
  const lvt = timerLvt(vcpuBlock(cpu));
  if (lvt & LVT_MASKED) return;
  if ((lvt & 0xff) < 16) lapicError(cpu, ESR_RECEIVE_ILLEGAL_VECTOR);
  else acceptFixed(cpu, lvt & 0xff, false);
}

/** Guest TSC at a time. */
function tscAt(block: u32, nowNs: f64): u64 {
  return ticksAt(nowNs, TSC_HZ) + load<u64>(block, R_TSC_OFFSET);
}

/** Fires what is due. Missed periods become one interrupt; the phase stays. */
function advance(cpu: u32, nowNs: f64): void {
  const block = vcpuBlock(cpu);
  if (timerMode(block) === MODE_TSC_DEADLINE) {
    const deadline = load<u64>(block, L_TSC_DEADLINE);
    if (deadline && tscAt(block, nowNs) >= deadline) {
      store<u64>(block, 0, L_TSC_DEADLINE);
      fire(cpu);
    }
    return;
  }
  if (!load<u32>(block, L_COUNTING)) return;
  const now = ticksAt(nowNs, CRYSTAL_HZ);
  const expiry = load<u64>(block, L_EXPIRY_TICK);
  if (now < expiry) return;
  const length = period(block);
  if (timerMode(block) === MODE_PERIODIC && length) {
    store<u64>(block, expiry + ((now - expiry) / length + 1) * length, L_EXPIRY_TICK);
  } else {
    store<u32>(block, 0, L_COUNTING);
  }
  fire(cpu);
}

/** Fires this vCPU's timer when due; the machine time in ns at which it wants to be called again, or Infinity. */
export function cpuTimerTick(cpu: u32, nowNs: f64): f64 {
  advance(cpu, nowNs);
  const block = vcpuBlock(cpu);
  // Masked, its expiry has no effect that could not be worked out later.
  if (timerLvt(block) & LVT_MASKED) return Infinity;
  if (timerMode(block) === MODE_TSC_DEADLINE) {
    const deadline = load<u64>(block, L_TSC_DEADLINE);
    if (!deadline) return Infinity;
    // More than a century away is never, and must not overflow below.
    const remaining = deadline - tscAt(block, nowNs);
    if (remaining >> 62) return Infinity;
    return nsAtTick(ticksAt(nowNs, TSC_HZ) + remaining, TSC_HZ);
  }
  return load<u32>(block, L_COUNTING) ? nsAtTick(load<u64>(block, L_EXPIRY_TICK), CRYSTAL_HZ) : Infinity;
}

/** Current count register. */
export function timerCurrentCount(cpu: u32): u32 {
  const nowNs = machineNowNs();
  advance(cpu, nowNs);
  const block = vcpuBlock(cpu);
  if (!load<u32>(block, L_COUNTING)) return 0;
  const expiry = load<u64>(block, L_EXPIRY_TICK);
  const now = ticksAt(nowNs, CRYSTAL_HZ);
  if (now >= expiry) return 0;
  const unit = divider(load<u32>(block, L_DIVIDE));
  return <u32>((expiry - now + unit - 1) / unit);
}

/** A write to the initial count register starts the count; zero stops it. Ignored in TSC-deadline mode. */
export function timerWriteInitialCount(cpu: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  const nowNs = machineNowNs();
  advance(cpu, nowNs);
  if (timerMode(block) === MODE_TSC_DEADLINE) return;
  store<u32>(block, value, L_INITIAL_COUNT);
  store<u32>(block, value ? 1 : 0, L_COUNTING);
  if (value) store<u64>(block, ticksAt(nowNs, CRYSTAL_HZ) + period(block), L_EXPIRY_TICK);
}

/** A write to the divide configuration register: what is left of the count goes on at the new rate. */
export function timerWriteDivide(cpu: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  const count = timerCurrentCount(cpu);
  store<u32>(block, value & 0xb, L_DIVIDE);
  if (count) {
    const now = ticksAt(machineNowNs(), CRYSTAL_HZ);
    store<u64>(block, now + <u64>count * divider(value), L_EXPIRY_TICK);
  }
}

/** A write to the timer's entry of the local vector table. Entering or leaving TSC-deadline mode disarms. */
export function timerWriteLvt(cpu: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  advance(cpu, machineNowNs());
  const before = timerMode(block);
  store<u32>(block + LVT_TIMER * 4, value, L_LVT);
  if ((before === MODE_TSC_DEADLINE) !== (timerMode(block) === MODE_TSC_DEADLINE)) {
    store<u32>(block, 0, L_COUNTING);
    store<u32>(block, 0, L_INITIAL_COUNT);
    store<u64>(block, 0, L_TSC_DEADLINE);
  }
}

/** IA32_TSC_DEADLINE: reads 0 when disarmed or in another mode (SDM 11.5.4.1). */
export function timerReadTscDeadline(cpu: u32): u64 {
  const block = vcpuBlock(cpu);
  advance(cpu, machineNowNs());
  return timerMode(block) === MODE_TSC_DEADLINE ? load<u64>(block, L_TSC_DEADLINE) : 0;
}

/** Arms the deadline, or disarms with 0. Ignored outside TSC-deadline mode. */
export function timerWriteTscDeadline(cpu: u32, value: u64): void {
  const block = vcpuBlock(cpu);
  if (timerMode(block) !== MODE_TSC_DEADLINE) return;
  store<u64>(block, value, L_TSC_DEADLINE);
  advance(cpu, machineNowNs());
}
