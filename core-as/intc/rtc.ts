/**
 * The real-time clock and its 128 bytes of CMOS RAM (Motorola MC146818A data sheet; century at 0x32 as on every PC).
 * Expects INTC_LOCK to be held, except rtcNeedsTime().
 *
 * Time is a number of seconds at a machine time; the time registers are computed when they are read and decoded when they
 * are written. The update, periodic and alarm flags are worked out from the clock when somebody looks. The clock is set
 * from the host once; after that it runs on machine time, and the guest may set it. Its day of the week follows the date.
 */
import {
  RTC,
  RTC_BASE_NS,
  RTC_BASE_SECONDS,
  RTC_INTERVALS_SEEN,
  RTC_RAM_SIZE,
  RTC_SECONDS_SEEN,
  RTC_SIZE,
} from '../layout';
import { SECONDS_A_DAY, dateFromDays, dayOf, daysFromDate, secondOfDay, weekdayOf } from './calendar';

/** State after the 128 bytes of RAM. */
const S_INDEX = RTC + RTC_RAM_SIZE;
/** u32: the clock was set from the host. */
const S_TIME_SET = RTC + 0x84;
/** u32: IRQF as the interrupt line last saw it. */
const S_IRQF = RTC + 0xa8;

/** Registers. */
const REG_SECONDS: u32 = 0x00;
const REG_SECONDS_ALARM: u32 = 0x01;
const REG_MINUTES: u32 = 0x02;
const REG_MINUTES_ALARM: u32 = 0x03;
const REG_HOURS: u32 = 0x04;
const REG_HOURS_ALARM: u32 = 0x05;
const REG_WEEKDAY: u32 = 0x06;
const REG_DAY: u32 = 0x07;
const REG_MONTH: u32 = 0x08;
const REG_YEAR: u32 = 0x09;
const REG_A: u32 = 0x0a;
const REG_B: u32 = 0x0b;
const REG_C: u32 = 0x0c;
const REG_D: u32 = 0x0d;
const REG_CENTURY: u32 = 0x32;

const A_UIP: u32 = 0x80;
/** Divider chain held in reset (DV2 and DV1 set). */
const A_DIVIDER_RESET: u32 = 0x60;

const B_SET: u32 = 0x80;
const B_PIE: u32 = 0x40;
const B_AIE: u32 = 0x20;
const B_UIE: u32 = 0x10;
/** Binary instead of BCD; 24 hours instead of 12. */
const B_BINARY: u32 = 0x04;
const B_24_HOURS: u32 = 0x02;

const C_IRQF: u32 = 0x80;
const C_PF: u32 = 0x40;
const C_AF: u32 = 0x20;
const C_UF: u32 = 0x10;

const D_VALID_RAM: u32 = 0x80;

const NS_PER_SECOND: f64 = 1e9;
const CRYSTAL_HZ: f64 = 32_768;
/** UIP rises this long before an update (data sheet, t_BUC). */
const UPDATE_WARNING_NS: f64 = 244_141;
/** The first update after the divider's reset comes after half a second (data sheet, "Divider Control"). */
const HALF_SECOND_NS: f64 = 5e8;
/** 9999-12-31: what four digits can show. */
const LAST_SECOND: i64 = 253_402_300_799;
/** More machine time than there can be: 2^53 ns are a hundred days, and a clock may have been set before the machine began. */
const LAST_NS: f64 = 1e18;

function register(index: u32): u32 {
  return load<u8>(RTC + index);
}

function setRegister(index: u32, value: u32): void {
  store<u8>(RTC + index, <u8>value);
}

/** True until the clock was set once: the caller then passes the host's time to {@link rtcReset}. */
export function rtcNeedsTime(): bool {
  return load<u32>(S_TIME_SET) === 0;
}

/** Registers A to D as bhyve starts them. RAM and time stay: they have a battery. */
export function rtcReset(nowNs: f64, wallSeconds: f64): void {
  if (!load<u32>(S_TIME_SET)) {
    store<u32>(S_TIME_SET, 1);
    let seconds = <i64>wallSeconds;
    if (seconds < 0) seconds = 0;
    if (seconds > LAST_SECOND) seconds = LAST_SECOND;
    setBase(seconds, nowNs - (wallSeconds - Math.floor(wallSeconds)) * NS_PER_SECOND);
  } else if (isStopped()) {
    setBase(decodeTime(), nowNs);
  }
  setRegister(REG_A, 0x20);
  setRegister(REG_B, B_24_HOURS);
  setRegister(REG_C, 0);
  setRegister(REG_D, D_VALID_RAM);
  store<u32>(S_INDEX, 0);
  store<u32>(S_IRQF, 0);
  encodeTime(nowNs);
  rtcTick(nowNs);
  setRegister(REG_C, 0);
}

// ---------------------------------------------------------------------------------------------------------------------
// Time

function elapsedNs(nowNs: f64): f64 {
  const elapsed = nowNs - load<f64>(RTC_BASE_NS);
  return elapsed > 0 ? elapsed : 0;
}

function wholeSeconds(nowNs: f64): u64 {
  return <u64>Math.floor(elapsedNs(nowNs) / NS_PER_SECOND);
}

function dividerReset(): bool {
  return (register(REG_A) & A_DIVIDER_RESET) === A_DIVIDER_RESET;
}

/** The time registers stand still: they are the guest's to write. */
function isStopped(): bool {
  return (register(REG_B) & B_SET) !== 0 || dividerReset();
}

function setBase(seconds: i64, ns: f64): void {
  store<i64>(RTC_BASE_SECONDS, seconds);
  store<f64>(RTC_BASE_NS, ns);
  store<u64>(RTC_SECONDS_SEEN, 0);
  store<u64>(RTC_INTERVALS_SEEN, 0);
}

function toRegister(value: u32): u32 {
  return register(REG_B) & B_BINARY ? value : ((value / 10) << 4) | (value % 10);
}

function fromRegister(value: u32): u32 {
  return register(REG_B) & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

/** An hour register's value as 0-23 (or more, for nonsense): in 12-hour mode bit 7 is PM and 12 comes before 1. */
function hourFromRegister(value: u32): u32 {
  if (register(REG_B) & B_24_HOURS) return fromRegister(value);
  return (fromRegister(value & 0x7f) % 12) + (value & 0x80 ? 12 : 0);
}

function hourToRegister(hour: u32): u32 {
  if (register(REG_B) & B_24_HOURS) return toRegister(hour);
  const twelve = hour % 12;
  return toRegister(twelve ? twelve : 12) | (hour >= 12 ? 0x80 : 0);
}

/** Writes the current time into the time registers. */
function encodeTime(nowNs: f64): void {
  const seconds = load<i64>(RTC_BASE_SECONDS) + <i64>wholeSeconds(nowNs);
  const days = dayOf(seconds);
  const time = <u32>secondOfDay(seconds);
  const date = dateFromDays(days);
  const year = date >> 9;
  const yearInRange = <u32>(year < 0 ? 0 : year % 10_000);
  setRegister(REG_SECONDS, toRegister(time % 60));
  setRegister(REG_MINUTES, toRegister((time / 60) % 60));
  setRegister(REG_HOURS, hourToRegister(time / 3600));
  setRegister(REG_WEEKDAY, toRegister(<u32>weekdayOf(days)));
  setRegister(REG_DAY, toRegister((<u32>date) & 31));
  setRegister(REG_MONTH, toRegister((<u32>(date >> 5)) & 15));
  setRegister(REG_YEAR, toRegister(yearInRange % 100));
  setRegister(REG_CENTURY, toRegister(yearInRange / 100));
}

function clamped(value: u32, low: u32, high: u32): i64 {
  return value < low ? low : value > high ? high : value;
}

/** The time that the registers state; a field out of range counts as the nearest that is possible. */
function decodeTime(): i64 {
  const year =
    clamped(fromRegister(register(REG_CENTURY)), 0, 99) * 100 + clamped(fromRegister(register(REG_YEAR)), 0, 99);
  const month = clamped(fromRegister(register(REG_MONTH)), 1, 12);
  const day = clamped(fromRegister(register(REG_DAY)), 1, 31);
  const hour = clamped(hourFromRegister(register(REG_HOURS)), 0, 23);
  const minute = clamped(fromRegister(register(REG_MINUTES)), 0, 59);
  const second = clamped(fromRegister(register(REG_SECONDS)), 0, 59);
  return daysFromDate(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
}

/** Takes the registers over as the time of the second that is running, without moving the beginning of seconds. */
function adoptRegisters(nowNs: f64): void {
  const elapsed = elapsedNs(nowNs);
  const secondBegan = load<f64>(RTC_BASE_NS) + Math.floor(elapsed / NS_PER_SECOND) * NS_PER_SECOND;
  // The periodic divider runs on through this: what it has raised in this second is not raised again.
  const interval = intervalNs();
  setBase(decodeTime(), secondBegan);
  if (interval > 0) store<u64>(RTC_INTERVALS_SEEN, <u64>Math.floor((nowNs - secondBegan) / interval));
}

// ---------------------------------------------------------------------------------------------------------------------
// Flags and the interrupt

/** Length of the periodic interval that the rate selection bits of register A choose (data sheet table 5), 0 if none. */
function intervalNs(): f64 {
  const select = register(REG_A) & 15;
  if (select === 0 || dividerReset()) return 0;
  const shift = select < 3 ? select + 6 : select - 1;
  return (<f64>((<u32>1) << shift) * NS_PER_SECOND) / CRYSTAL_HZ;
}

/** True when an alarm register (a "don't care" has its two top bits set) matches a value. */
function alarmMatches(index: u32, value: u32): bool {
  const alarm = register(index);
  if (alarm >= 0xc0) return true;
  return (index === REG_HOURS_ALARM ? hourFromRegister(alarm) : fromRegister(alarm)) === value;
}

/** Whether some value below a limit matches an alarm register. */
function alarmCanMatch(index: u32, limit: u32): bool {
  for (let value: u32 = 0; value < limit; value++) {
    if (alarmMatches(index, value)) return true;
  }
  return false;
}

/**
 * Seconds from a second of the day until the alarm matches, 0 if it matches now; -1 for an alarm that no time matches.
 * Every field can match, so only the first minute and the first hour are searched in vain: some 400 comparisons at most.
 */
function secondsUntilAlarm(from: u32): i64 {
  if (!alarmCanMatch(REG_HOURS_ALARM, 24) || !alarmCanMatch(REG_MINUTES_ALARM, 60)) return -1;
  if (!alarmCanMatch(REG_SECONDS_ALARM, 60)) return -1;
  for (let hours: u32 = 0; hours <= 24; hours++) {
    const hour = from / 3600 + hours;
    if (!alarmMatches(REG_HOURS_ALARM, hour % 24)) continue;
    const firstMinute = hours === 0 ? (from / 60) % 60 : 0;
    for (let minute = firstMinute; minute < 60; minute++) {
      if (!alarmMatches(REG_MINUTES_ALARM, minute)) continue;
      const firstSecond = hours === 0 && minute === firstMinute ? from % 60 : 0;
      for (let second = firstSecond; second < 60; second++) {
        if (alarmMatches(REG_SECONDS_ALARM, second)) return <i64>(hour * 3600 + minute * 60 + second - from);
      }
    }
  }
  return -1;
}

/** Second, counted from RTC_BASE_NS, of the first alarm after those that were looked at; -1 if there is none. */
function nextAlarmSecond(): i64 {
  const first = load<u64>(RTC_SECONDS_SEEN) + 1;
  const until = secondsUntilAlarm(<u32>secondOfDay(load<i64>(RTC_BASE_SECONDS) + <i64>first));
  return until < 0 ? -1 : <i64>first + until;
}

/** IRQF follows flags and enables; the interrupt is the edge of IRQF. True when it rose. */
function updateIrqf(): bool {
  const flags = register(REG_C) & (C_PF | C_AF | C_UF);
  // PIE, AIE and UIE have the places of PF, AF and UF.
  const asserted: u32 = flags & register(REG_B) ? 1 : 0;
  setRegister(REG_C, flags | (asserted ? C_IRQF : 0));
  const before = load<u32>(S_IRQF);
  store<u32>(S_IRQF, asserted);
  return asserted !== 0 && before === 0;
}

/** Raises the flags that are due. True when IRQ 8 must be pulsed. */
export function rtcTick(nowNs: f64): bool {
  let flags = register(REG_C);
  const interval = intervalNs();
  if (interval > 0) {
    const intervals = <u64>Math.floor(elapsedNs(nowNs) / interval);
    if (intervals > load<u64>(RTC_INTERVALS_SEEN)) {
      store<u64>(RTC_INTERVALS_SEEN, intervals);
      flags |= C_PF;
    }
  }
  const seconds = wholeSeconds(nowNs);
  if (seconds > load<u64>(RTC_SECONDS_SEEN)) {
    if (!isStopped()) {
      flags |= C_UF;
      const alarm = nextAlarmSecond();
      if (alarm >= 0 && <u64>alarm <= seconds) flags |= C_AF;
    }
    store<u64>(RTC_SECONDS_SEEN, seconds);
  }
  setRegister(REG_C, flags);
  return updateIrqf();
}

/** Machine time of the next interrupt, or Infinity. While IRQF is set nothing new can happen. */
export function rtcDeadlineNs(): f64 {
  const b = register(REG_B);
  if (!(b & (B_PIE | B_AIE | B_UIE)) || load<u32>(S_IRQF)) return Infinity;
  const base = load<f64>(RTC_BASE_NS);
  let deadline: f64 = Infinity;
  const interval = intervalNs();
  if (b & B_PIE && interval > 0) deadline = base + Math.ceil(<f64>(load<u64>(RTC_INTERVALS_SEEN) + 1) * interval);
  if (isStopped()) return deadline;
  if (b & B_UIE) deadline = Math.min(deadline, base + <f64>(load<u64>(RTC_SECONDS_SEEN) + 1) * NS_PER_SECOND);
  if (b & B_AIE) {
    const alarm = nextAlarmSecond();
    if (alarm >= 0) deadline = Math.min(deadline, base + <f64>alarm * NS_PER_SECOND);
  }
  return deadline;
}

// ---------------------------------------------------------------------------------------------------------------------
// Registers

function isTimeRegister(index: u32): bool {
  switch (index) {
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_WEEKDAY:
    case REG_DAY:
    case REG_MONTH:
    case REG_YEAR:
    case REG_CENTURY:
      return true;
    default:
      return false;
  }
}

function writeA(value: u32, nowNs: f64): void {
  const wasReset = dividerReset();
  if (!isStopped()) encodeTime(nowNs);
  const oldInterval = intervalNs();
  setRegister(REG_A, value & 0x7f);
  if (wasReset && !dividerReset()) {
    setBase(decodeTime(), nowNs - HALF_SECOND_NS);
  }
  const interval = intervalNs();
  if (interval > 0 && interval !== oldInterval) {
    store<u64>(RTC_INTERVALS_SEEN, <u64>Math.floor(elapsedNs(nowNs) / interval));
  }
}

function writeB(value: u32, nowNs: f64): void {
  const wasStopped = isStopped();
  const dividerHeld = dividerReset();
  const before = register(REG_B);
  if (!wasStopped) encodeTime(nowNs);
  // SET aborts an update and clears UIE (data sheet, "Register B").
  setRegister(REG_B, value & B_SET ? value & ~B_UIE : value);
  if (before & B_SET && !(value & B_SET) && !dividerHeld) adoptRegisters(nowNs);
  // Another format shows the same time.
  else if (!isStopped()) encodeTime(nowNs);
}

/** A write to a register or RAM byte, as through port 0x71. True when IRQ 8 must be pulsed. */
function writeRegister(index: u32, value: u32, nowNs: f64): bool {
  let pulse = rtcTick(nowNs);
  if (index === REG_A) {
    writeA(value, nowNs);
  } else if (index === REG_B) {
    writeB(value, nowNs);
  } else if (index !== REG_C && index !== REG_D) {
    const running = isTimeRegister(index) && !isStopped();
    if (running) encodeTime(nowNs);
    setRegister(index, value);
    if (running && index !== REG_WEEKDAY) adoptRegisters(nowNs);
  }
  if (updateIrqf()) pulse = true;
  return pulse;
}

function readRegister(index: u32, nowNs: f64): u32 {
  if (index === REG_A) {
    const elapsed = elapsedNs(nowNs);
    const intoSecond = elapsed - Math.floor(elapsed / NS_PER_SECOND) * NS_PER_SECOND;
    return register(REG_A) | (!isStopped() && intoSecond >= NS_PER_SECOND - UPDATE_WARNING_NS ? A_UIP : 0);
  }
  if (index === REG_C) {
    const flags = register(REG_C);
    setRegister(REG_C, 0);
    store<u32>(S_IRQF, 0);
    return flags;
  }
  if (isTimeRegister(index) && !isStopped()) encodeTime(nowNs);
  return register(index);
}

/** Ports 0x70 (index; bit 7 was the NMI mask) and 0x71. True when IRQ 8 must be pulsed. */
export function rtcWrite(port: u32, value: u32, nowNs: f64): bool {
  if (port === 0x71) return writeRegister(load<u32>(S_INDEX), value & 0xff, nowNs);
  store<u32>(S_INDEX, value & 0x7f);
  return false;
}

/** The index register cannot be read. Call {@link rtcTick} first: register C holds what that found. */
export function rtcRead(port: u32, nowNs: f64): u32 {
  return port === 0x71 ? readRegister(load<u32>(S_INDEX), nowNs) : 0xff;
}

/** A byte of CMOS RAM, for presets by the devices' half: not the clock's own registers. */
export function rtcSetRam(index: u32, value: u32): void {
  if (index > REG_D && index < 0x80 && index !== REG_CENTURY) setRegister(index, value & 0xff);
}

/** Reads what {@link rtcSetRam} writes; 0 for the clock's own registers. */
export function rtcRam(index: u32): u32 {
  return index > REG_D && index < 0x80 && index !== REG_CENTURY ? register(index) : 0;
}

/** Whether the state, which came from outside, is one that the clock can get into. */
export function rtcIsSound(): bool {
  const seconds = load<i64>(RTC_BASE_SECONDS);
  const ns = load<f64>(RTC_BASE_NS);
  return (
    load<u32>(S_INDEX) < 0x80 &&
    load<u32>(S_TIME_SET) === 1 &&
    load<u32>(S_IRQF) <= 1 &&
    seconds >= 0 &&
    seconds <= LAST_SECOND &&
    Math.abs(ns) < LAST_NS
  );
}

assert(S_INDEX + 4 <= S_TIME_SET && S_TIME_SET + 4 <= RTC_BASE_SECONDS);
assert(RTC_INTERVALS_SEEN + 8 <= S_IRQF);
assert(S_IRQF + 4 <= RTC + RTC_SIZE);
