/** The machine's one clock. Everything that counts time in a guest (TSC, APIC timer, PIT, HPET ...) derives from it. */
import { hostNowNs } from './host';
import { CFGF_DETERMINISTIC, CFG_FLAGS, CFG_TIME_OFFSET_NS, DET_NOW_NS } from './layout';

/** TSC frequency: 1,953,125 / 131,072 times the local APIC's 134,217,728 Hz crystal (CPUID leaf 0x15). */
export const TSC_HZ: u64 = 2_000_000_000;
export const CRYSTAL_HZ: u64 = 134_217_728;
export const TSC_RATIO_NUMERATOR: u32 = 1_953_125;
export const TSC_RATIO_DENOMINATOR: u32 = 131_072;

/** Nanoseconds since the machine was created, host time or counted instructions. */
export function machineNowNs(): f64 {
  if (load<u32>(CFG_FLAGS) & CFGF_DETERMINISTIC) return <f64>atomic.load<u64>(DET_NOW_NS);
  return hostNowNs() + load<f64>(CFG_TIME_OFFSET_NS);
}

/** Ticks of a clock of the given frequency at a time in nanoseconds, rounded down. */
export function ticksAt(nowNs: f64, frequencyHz: u64): u64 {
  // Whole seconds and the rest apart: 2^53 ns * GHz would leave the integers that f64 and u64 can hold.
  const ns = <u64>nowNs;
  const seconds = ns / 1_000_000_000;
  return seconds * frequencyHz + ((ns % 1_000_000_000) * frequencyHz) / 1_000_000_000;
}

/** The earliest time in nanoseconds at which ticksAt() reaches the given count. */
export function nsAtTick(ticks: u64, frequencyHz: u64): f64 {
  const seconds = ticks / frequencyHz;
  const rest = ticks % frequencyHz;
  return <f64>(seconds * 1_000_000_000 + (rest * 1_000_000_000 + frequencyHz - 1) / frequencyHz);
}
