/**
 * The high precision event timers (IA-PC HPET specification 1.0a): 10 MHz, a 32-bit main counter, eight comparators, each
 * periodic- and FSB-capable, as bhyve presents them. Expects INTC_LOCK to be held.
 *
 * Times are absolute 10 MHz ticks of the machine clock; the main counter is derived from them.
 */
import { HPET, HPET_SIZE } from '../layout';
import { nsAtTick, ticksAt } from '../time';
import { ioApicPulsePin, ioApicSetHpetLines } from './ioapic';
import { isaPulse } from './isa-lines';
import { sendMessage } from './msi';

export const HPET_BASE: u64 = 0xfed00000;
export const HPET_LENGTH: u64 = 0x400;
export const HPET_HZ: u64 = 10_000_000;
const TIMERS: u32 = 8;

/** General capabilities: vendor 8086h, 8 timers, revision 1; counter period 100 ns in femtoseconds. */
const CAPABILITIES: u32 = 0x80860701;
const PERIOD_FEMTOSECONDS: u32 = 0x05f5e100;

/** State: u32 each but S_START_TICK. */
const S_CONFIG = HPET + 0x00;
const S_STATUS = HPET + 0x04;
/** Main counter at S_START_TICK (u64), or its value while halted. */
const S_BASE_COUNT = HPET + 0x08;
const S_START_TICK = HPET + 0x10;

/** A comparator's state. */
const TIMER_FIRST = HPET + 0x40;
const TIMER_STRIDE = 0x40;
const T_CONFIG = 0x00;
const T_COMPARATOR = 0x04;
const T_PERIOD = 0x08;
const T_FSB_VALUE = 0x0c;
const T_FSB_ADDRESS = 0x10;
/** u64: tick of the next match, or NEVER. */
const T_NEXT = 0x18;

const NEVER: u64 = 0xffffffffffffffff;

/** General configuration. */
const CNF_ENABLE: u32 = 1;
const CNF_LEGACY_ROUTE: u32 = 2;

/** Timer configuration. */
const TN_LEVEL: u32 = 0x02;
const TN_ENABLE: u32 = 0x04;
const TN_PERIODIC: u32 = 0x08;
const TN_VALUE_SET: u32 = 0x40;
const TN_FSB_ENABLE: u32 = 0x4000;
/** Periodic-capable, FSB-capable, 32 bits. */
const TN_CAPABILITIES: u32 = 0x8010;
const TN_WRITABLE: u32 = 0x7f4e;
/** I/O APIC pins that comparators may use: 20-23. */
const ROUTABLE_PINS: u32 = 0x00f00000;

function timer(n: u32): u32 {
  return TIMER_FIRST + n * TIMER_STRIDE;
}

export function hpetReset(): void {
  memory.fill(HPET, 0, HPET_SIZE);
  for (let n: u32 = 0; n < TIMERS; n++) {
    store<u32>(timer(n), TN_CAPABILITIES, T_CONFIG);
    store<u32>(timer(n), 0xffffffff, T_COMPARATOR);
    store<u64>(timer(n), NEVER, T_NEXT);
  }
}

function enabled(): bool {
  return (load<u32>(S_CONFIG) & CNF_ENABLE) !== 0;
}

/** LegacyReplacement: timer 0 takes the place of the PIT on IRQ 0, timer 1 that of the RTC on IRQ 8. */
export function hpetReplacesLegacy(): bool {
  return (load<u32>(S_CONFIG) & (CNF_ENABLE | CNF_LEGACY_ROUTE)) === (CNF_ENABLE | CNF_LEGACY_ROUTE);
}

function counterAt(now: u64): u32 {
  const base = load<u32>(S_BASE_COUNT);
  if (!enabled()) return base;
  const start = load<u64>(S_START_TICK);
  return base + (now > start ? <u32>(now - start) : 0);
}

function isPeriodic(block: u32): bool {
  return (load<u32>(block, T_CONFIG) & TN_PERIODIC) !== 0 && load<u32>(block, T_PERIOD) !== 0;
}

/** The I/O APIC pin of a comparator, or 0. */
function route(n: u32): u32 {
  const config = load<u32>(timer(n), T_CONFIG);
  if (n < 2 && hpetReplacesLegacy()) return 0;
  return (config >> 9) & 0x1f;
}

/** Pins held by level-triggered comparators whose status bit is set. */
function updateLines(): void {
  let mask: u32 = 0;
  const status = load<u32>(S_STATUS);
  for (let n: u32 = 0; n < TIMERS; n++) {
    const config = load<u32>(timer(n), T_CONFIG);
    const drives = config & TN_LEVEL && config & TN_ENABLE && !(config & TN_FSB_ENABLE);
    if (enabled() && drives && (status >> n) & 1) mask |= (<u32>1) << route(n);
  }
  ioApicSetHpetLines(mask & ROUTABLE_PINS);
}

function fire(n: u32): void {
  const block = timer(n);
  const config = load<u32>(block, T_CONFIG);
  if (!(config & TN_ENABLE)) return;
  if (n < 2 && hpetReplacesLegacy()) {
    isaPulse(n === 0 ? 0 : 8);
  } else if (config & TN_FSB_ENABLE) {
    sendMessage(load<u32>(block, T_FSB_ADDRESS), load<u32>(block, T_FSB_VALUE));
  } else if (config & TN_LEVEL) {
    store<u32>(S_STATUS, load<u32>(S_STATUS) | ((<u32>1) << n));
    updateLines();
  } else if (route(n)) {
    ioApicPulsePin(route(n));
  }
}

/** Works out the next match from the comparator. */
function arm(n: u32, now: u64): void {
  const block = timer(n);
  if (!enabled()) {
    store<u64>(block, NEVER, T_NEXT);
    return;
  }
  store<u64>(block, now + <u64>(load<u32>(block, T_COMPARATOR) - counterAt(now)), T_NEXT);
}

/** Lets a comparator match when its time has come. Several missed matches are one interrupt; the phase stays. */
function advance(n: u32, now: u64): void {
  const block = timer(n);
  const next = load<u64>(block, T_NEXT);
  if (now < next) return;
  // Not periodic: the 32-bit counter meets the comparator again after one wrap.
  const period: u64 = isPeriodic(block) ? load<u32>(block, T_PERIOD) : 0x100000000;
  const matches = (now - next) / period + 1;
  store<u64>(block, next + matches * period, T_NEXT);
  store<u32>(block, load<u32>(block, T_COMPARATOR) + <u32>(matches * period), T_COMPARATOR);
  fire(n);
}

/** Fires what is due. */
export function hpetTick(nowNs: f64): void {
  if (!enabled()) return;
  const now = ticksAt(nowNs, HPET_HZ);
  for (let n: u32 = 0; n < TIMERS; n++) advance(n, now);
}

/** Machine time of the next match that interrupts, or Infinity. */
export function hpetDeadlineNs(): f64 {
  if (!enabled()) return Infinity;
  let next = NEVER;
  for (let n: u32 = 0; n < TIMERS; n++) {
    const at = load<u64>(timer(n), T_NEXT);
    if (load<u32>(timer(n), T_CONFIG) & TN_ENABLE && at < next) next = at;
  }
  return next === NEVER ? Infinity : nsAtTick(next, HPET_HZ);
}

function writeConfig(value: u32, now: u64): void {
  const wasEnabled = enabled();
  const count = counterAt(now);
  store<u32>(S_CONFIG, value & (CNF_ENABLE | CNF_LEGACY_ROUTE));
  if (enabled() !== wasEnabled) {
    // The counter goes on from where it stands.
    store<u32>(S_BASE_COUNT, count);
    store<u64>(S_START_TICK, now);
    for (let n: u32 = 0; n < TIMERS; n++) arm(n, now);
  }
  updateLines();
}

function writeCounter(value: u32, now: u64): void {
  store<u32>(S_BASE_COUNT, value);
  store<u64>(S_START_TICK, now);
  for (let n: u32 = 0; n < TIMERS; n++) arm(n, now);
}

function writeTimerConfig(n: u32, value: u32): void {
  const block = timer(n);
  let config = (value & TN_WRITABLE) | TN_CAPABILITIES;
  // A pin that cannot be used reads back as something else: that is how drivers probe for one.
  const pin = (config >> 9) & 0x1f;
  if (pin && !((ROUTABLE_PINS >> pin) & 1)) config &= ~(<u32>0x3e00);
  // FSB messages are edges.
  if (!(config & TN_PERIODIC)) {
    store<u32>(block, 0, T_PERIOD);
    config &= ~TN_VALUE_SET;
  }
  store<u32>(block, config, T_CONFIG);
  // An edge-triggered or disabled comparator has no status.
  if (!(config & TN_LEVEL)) store<u32>(S_STATUS, load<u32>(S_STATUS) & ~((<u32>1) << n));
  updateLines();
}

/** In periodic mode a write sets the period, and the comparator too when Tn_VAL_SET_CNF is set (section 2.3.9.2.2). */
function writeComparator(n: u32, value: u32, now: u64): void {
  const block = timer(n);
  const config = load<u32>(block, T_CONFIG);
  if (config & TN_PERIODIC) {
    store<u32>(block, value, T_PERIOD);
    if (config & TN_VALUE_SET) store<u32>(block, value, T_COMPARATOR);
    store<u32>(block, config & ~TN_VALUE_SET, T_CONFIG);
  } else {
    store<u32>(block, value, T_COMPARATOR);
  }
  arm(n, now);
}

/** A 4-byte store; wider ones come as two. Upper halves of the 32-bit counter and comparators do not exist. */
export function hpetWrite(offset: u32, value: u32, nowNs: f64): void {
  hpetTick(nowNs);
  const now = ticksAt(nowNs, HPET_HZ);
  if (offset >= 0x100) {
    const n = (offset - 0x100) >> 5;
    if (n >= TIMERS) return;
    const block = timer(n);
    switch (offset & 0x1f) {
      case 0x00:
        writeTimerConfig(n, value);
        break;
      case 0x08:
        writeComparator(n, value, now);
        break;
      case 0x10:
        store<u32>(block, value, T_FSB_VALUE);
        break;
      case 0x14:
        store<u32>(block, value, T_FSB_ADDRESS);
        break;
      default:
        break;
    }
    return;
  }
  if (offset === 0x10) {
    writeConfig(value, now);
  } else if (offset === 0x20) {
    store<u32>(S_STATUS, load<u32>(S_STATUS) & ~value);
    updateLines();
  } else if (offset === 0xf0) {
    writeCounter(value, now);
  }
}

/** A 4-byte load. */
export function hpetRead(offset: u32, nowNs: f64): u32 {
  hpetTick(nowNs);
  if (offset >= 0x100) {
    const n = (offset - 0x100) >> 5;
    if (n >= TIMERS) return 0;
    const block = timer(n);
    switch (offset & 0x1f) {
      case 0x00:
        return load<u32>(block, T_CONFIG);
      case 0x04:
        return ROUTABLE_PINS;
      case 0x08:
        return load<u32>(block, T_COMPARATOR);
      case 0x10:
        return load<u32>(block, T_FSB_VALUE);
      case 0x14:
        return load<u32>(block, T_FSB_ADDRESS);
      default:
        return 0;
    }
  }
  switch (offset) {
    case 0x00:
      return CAPABILITIES;
    case 0x04:
      return PERIOD_FEMTOSECONDS;
    case 0x10:
      return load<u32>(S_CONFIG);
    case 0x20:
      return load<u32>(S_STATUS);
    case 0xf0:
      return counterAt(ticksAt(nowNs, HPET_HZ));
    default:
      return 0;
  }
}

assert(S_START_TICK + 8 <= TIMER_FIRST && TIMER_FIRST % 8 === 0);
assert(T_FSB_ADDRESS + 4 <= T_NEXT && T_NEXT % 8 === 0 && T_NEXT + 8 <= TIMER_STRIDE);
assert(TIMER_FIRST + 8 * TIMER_STRIDE <= HPET + HPET_SIZE);
