/** The machine's one clock. Everything that counts time in a guest (TSC, APIC timer, PIT, HPET ...) derives from it. */
import { hostNowNs } from './host';
import { CFGF_DETERMINISTIC, CFG_FLAGS, CFG_TIME_OFFSET_NS, DET_NOW_NS } from './layout';

/** The local APIC's clock, which CPUID leaf 0x15 calls the core crystal. */
export const CRYSTAL_HZ: u64 = 134_217_728;
/** TSC frequency over the crystal's; a small whole number, because guests compute kHz * numerator in 32 bits. */
export const TSC_RATIO: u32 = 15;
export const TSC_HZ: u64 = 2_013_265_920;

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
