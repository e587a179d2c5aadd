/**
 * The real-time clock from outside: vm_rtc_gettime(), vm_rtc_settime(), vm_rtc_read() and vm_rtc_write() of libvmmapi. Only while
 * the machine is paused: no vCPU then holds the lock around the clock's state.
 */
import {
  RTC,
  RTC_BASE_NS,
  RTC_BASE_SECONDS,
  RTC_INTERVALS_SEEN,
  RTC_RAM_SIZE,
  RTC_SECONDS_SEEN,
} from '../../core-as/layout.ts';
import type { CoreState } from './core.ts';

const REG_A = 0x0a;
const REG_B = 0x0b;
const A_DIVIDER_RESET = 0x60;
const B_SET = 0x80;
/** MC146818A: the registers end here and the RAM begins. */
const FIRST_RAM_BYTE = 0x0e;
const REG_CENTURY = 0x32;
/** 9999-12-31T23:59:59Z: what four digits can show. */
const LAST_SECOND = 253_402_300_799;
const NS_PER_SECOND = 1e9;

/** Seconds since 1970-01-01. */
export function readRtcSeconds(state: CoreState, nowNs: number): number {
  const elapsedNs = Math.max(0, nowNs - state.f64(RTC_BASE_NS));
  return Number(state.data.getBigInt64(RTC_BASE_SECONDS, true)) + Math.floor(elapsedNs / NS_PER_SECOND);
}

/** Sets the time; false when it cannot be shown, or while the guest itself holds the clock to set it. */
export function writeRtcSeconds(state: CoreState, nowNs: number, seconds: number): boolean {
  if (!Number.isSafeInteger(seconds) || seconds < 0 || seconds > LAST_SECOND) return false;
  const stopped =
    ((state.u8[RTC + REG_B] ?? 0) & B_SET) !== 0 ||
    ((state.u8[RTC + REG_A] ?? 0) & A_DIVIDER_RESET) === A_DIVIDER_RESET;
  if (stopped) return false;
  state.data.setBigInt64(RTC_BASE_SECONDS, BigInt(seconds), true);
  state.setF64(RTC_BASE_NS, nowNs);
  state.setU64(RTC_SECONDS_SEEN, 0n);
  state.setU64(RTC_INTERVALS_SEEN, 0n);
  return true;
}

/** A byte of the CMOS RAM; undefined outside of it. The time registers show what they held when they were last looked at. */
export function readNvram(state: CoreState, offset: number): number | undefined {
  return Number.isInteger(offset) && offset >= 0 && offset < RTC_RAM_SIZE ? state.u8[RTC + offset] : undefined;
}

/** Writes a byte of the CMOS RAM; false for the clock's registers, the century and what lies outside. */
export function writeNvram(state: CoreState, offset: number, value: number): boolean {
  if (!Number.isInteger(offset) || offset < FIRST_RAM_BYTE || offset >= RTC_RAM_SIZE || offset === REG_CENTURY)
    return false;
  if (!Number.isInteger(value) || value < 0 || value > 0xff) return false;
  state.u8[RTC + offset] = value;
  return true;
}
