/**
 * The 8254 programmable interval timer (Intel data sheet 231164) at 1,193,182 Hz, and the NMI status and control port
 * 0x61 that gates its channel 2. Expects INTC_LOCK to be held. More complete than bhyve's: all six modes, gates, BCD and
 * read-back, because Linux times its TSC calibration with channel 2's gate and output.
 *
 * Nothing counts here: a channel stores the tick at which its count was loaded, and everything else follows from
 * the clock. Gates of channels 0 and 1 are wired high. A new count in modes 2 and 3 takes effect at the end of the period
 * (for mode 3 the data sheet has it at the end of the half period).
 */
import { PIT, PIT_SIZE } from '../layout';
import { nsAtTick, ticksAt } from '../time';

export const PIT_HZ: u64 = 1_193_182;

/** A channel's state. */
const CHANNEL_STRIDE = 0x40;
/** u64: tick of the loading CLK pulse; the count decrements with every tick after it. */
const C_START = 0x00;
/** u64: ticks counted before the gate stopped the channel. */
const C_HELD = 0x08;
/** u64: tick at which C_NEXT_COUNT replaces C_COUNT, while C_SWITCHING. */
const C_SWITCH_TICK = 0x10;
/** u32 each. */
const C_SWITCHING = 0x18;
const C_NEXT_COUNT = 0x1c;
/** Count register, 1 to 65536. */
const C_COUNT = 0x20;
/** Control word bits: mode, BCD, access (1 low byte, 2 high byte, 3 both). */
const C_MODE = 0x24;
const C_BCD = 0x26;
const C_ACCESS = 0x27;
/** PHASE_*. */
const C_PHASE = 0x28;
/** First byte of a two-byte count, and whether it was written. */
const C_LOW_BYTE = 0x2a;
const C_WRITE_HIGH = 0x2b;
const C_READ_HIGH = 0x2c;
const C_GATE = 0x2d;
/** Latched count (u16), how many bytes of it are still to be read, and the latched status. */
const C_LATCH = 0x2e;
const C_LATCH_BYTES = 0x30;
const C_STATUS_LATCHED = 0x31;
const C_STATUS = 0x32;
/** Mode bits as the control word had them, for the status byte: modes 6 and 7 are 2 and 3. */
const C_MODE_WRITTEN = 0x33;

/** After all channels: u64 tick of channel 0's next interrupt, or NEVER; u32 bits 3:0 of port 0x61. */
const S_NEXT_IRQ = PIT + 0xc0;
const S_PORT61 = PIT + 0xc8;

/** No count was written since the control word. */
const PHASE_EMPTY: u32 = 0;
/** Modes 1 and 5: the count waits for a gate trigger. */
const PHASE_ARMED: u32 = 1;
const PHASE_COUNTING: u32 = 2;
/** The gate is low; C_HELD says how far the count came. */
const PHASE_HELD: u32 = 3;

const NEVER: u64 = 0xffffffffffffffff;

function channelBlock(channel: u32): u32 {
  return PIT + channel * CHANNEL_STRIDE;
}

/** Power-on: nothing counts, all outputs low but for the pull-up of an unprogrammed channel. */
export function pitReset(): void {
  memory.fill(PIT, 0, PIT_SIZE);
  store<u8>(channelBlock(0), 1, C_GATE);
  store<u8>(channelBlock(1), 1, C_GATE);
  for (let channel: u32 = 0; channel < 3; channel++) {
    store<u8>(channelBlock(channel), 3, C_ACCESS);
    store<u32>(channelBlock(channel), 0x10000, C_COUNT);
  }
  store<u64>(S_NEXT_IRQ, NEVER);
}

function isPeriodic(mode: u32): bool {
  return mode === 2 || mode === 3;
}

function isGateTriggered(mode: u32): bool {
  return mode === 1 || mode === 5;
}

/** Applies a count that was due to replace the old one. */
function settle(block: u32, now: u64): void {
  if (!load<u32>(block, C_SWITCHING)) return;
  const switchTick = load<u64>(block, C_SWITCH_TICK);
  if (now < switchTick) return;
  store<u64>(block, switchTick, C_START);
  store<u32>(block, load<u32>(block, C_NEXT_COUNT), C_COUNT);
  store<u32>(block, 0, C_SWITCHING);
}

/** Ticks counted since the count was loaded. Before the loading pulse it is 0. */
function elapsed(block: u32, now: u64): u64 {
  if (load<u8>(block, C_PHASE) === PHASE_HELD) return load<u64>(block, C_HELD);
  const start = load<u64>(block, C_START);
  return now > start ? now - start : 0;
}

/** Level of OUT. */
function output(block: u32, now: u64): bool {
  const mode: u32 = load<u8>(block, C_MODE);
  const phase: u32 = load<u8>(block, C_PHASE);
  if (phase === PHASE_EMPTY || phase === PHASE_ARMED) return mode !== 0;
  const count: u64 = load<u32>(block, C_COUNT);
  const ticks = elapsed(block, now);
  switch (mode) {
    case 0:
    case 1:
      return ticks >= count;
    case 2:
      return phase === PHASE_HELD || ticks % count !== count - 1;
    case 3:
      return phase === PHASE_HELD || ticks % count < (count + 1) >> 1;
    default:
      return ticks !== count;
  }
}

/** The counting element as a binary number of 16 bits. */
function counterValue(block: u32, now: u64): u32 {
  const mode: u32 = load<u8>(block, C_MODE);
  const phase: u32 = load<u8>(block, C_PHASE);
  const count: u64 = load<u32>(block, C_COUNT);
  const modulus: u64 = load<u8>(block, C_BCD) ? 10_000 : 65_536;
  let value: u64 = count;
  if (phase === PHASE_COUNTING || phase === PHASE_HELD) {
    const ticks = elapsed(block, now);
    if (mode === 2) {
      value = count - (ticks % count);
    } else if (mode === 3) {
      // Down by two a tick from an even number, once in each half period.
      const inPeriod = ticks % count;
      const high = (count + 1) >> 1;
      const inHalf = inPeriod < high ? inPeriod : inPeriod - high;
      value = (count & ~(<u64>1)) - 2 * inHalf;
    } else {
      value = (count + modulus - (ticks % modulus)) % modulus;
    }
  }
  return <u32>(value % modulus);
}

function toBcd(value: u32): u32 {
  return ((value / 1000) << 12) | (((value / 100) % 10) << 8) | (((value / 10) % 10) << 4) | (value % 10);
}

/** A digit above 9 counts as what its place is worth, as the decimal counters of the chip do. */
function fromBcd(value: u32): u32 {
  const number = (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
  return number % 10_000;
}

function readableCount(block: u32, now: u64): u32 {
  const value = counterValue(block, now);
  return load<u8>(block, C_BCD) ? toBcd(value) : value;
}

// ---------------------------------------------------------------------------------------------------------------------
// Channel 0's interrupt: rising edges of its OUT

/** The first rising edge of OUT after a tick, or NEVER. */
function nextRisingEdge(block: u32, now: u64): u64 {
  if (load<u8>(block, C_PHASE) !== PHASE_COUNTING) return NEVER;
  const mode: u32 = load<u8>(block, C_MODE);
  const start = load<u64>(block, C_START);
  const count: u64 = load<u32>(block, C_COUNT);
  if (isPeriodic(mode)) {
    // OUT rises where a period begins. At the end of this period a new count may take over: same edge.
    const periods = now >= start ? (now - start) / count + 1 : 1;
    return start + periods * count;
  }
  // Mode 0 rises at terminal count, the strobe of mode 4 ends one tick later.
  const edge = start + count + (mode === 4 ? 1 : 0);
  return edge > now ? edge : NEVER;
}

function schedule(now: u64): void {
  store<u64>(S_NEXT_IRQ, nextRisingEdge(channelBlock(0), now));
}

/**
 * True when channel 0's OUT has risen since the last call: the caller raises IRQ 0. Missed periods are one edge, and
 * the phase stays.
 */
export function pitTick(nowNs: f64): bool {
  const now = ticksAt(nowNs, PIT_HZ);
  const due = load<u64>(S_NEXT_IRQ);
  if (now < due) return false;
  settle(channelBlock(0), now);
  schedule(now);
  return true;
}

/** Machine time of channel 0's next interrupt, or Infinity. */
export function pitDeadlineNs(): f64 {
  const next = load<u64>(S_NEXT_IRQ);
  return next === NEVER ? Infinity : nsAtTick(next, PIT_HZ);
}

// ---------------------------------------------------------------------------------------------------------------------
// Writes

/** A complete count has arrived (data sheet, "Mode Definitions"). */
function loadCount(channel: u32, written: u32, now: u64): void {
  const block = channelBlock(channel);
  const mode: u32 = load<u8>(block, C_MODE);
  const modulus: u32 = load<u8>(block, C_BCD) ? 10_000 : 65_536;
  let count = load<u8>(block, C_BCD) ? fromBcd(written) : written;
  if (count === 0) count = modulus;
  // 1 is illegal in the periodic modes; OUT would never be high.
  if (count === 1 && isPeriodic(mode)) count = 2;
  settle(block, now);
  const phase: u32 = load<u8>(block, C_PHASE);
  if (isPeriodic(mode) && phase === PHASE_COUNTING) {
    const old: u64 = load<u32>(block, C_COUNT);
    const start = load<u64>(block, C_START);
    const periods = now >= start ? (now - start) / old + 1 : 1;
    store<u64>(block, start + periods * old, C_SWITCH_TICK);
    store<u32>(block, count, C_NEXT_COUNT);
    store<u32>(block, 1, C_SWITCHING);
  } else if (isGateTriggered(mode)) {
    // A running one-shot keeps its count; the next trigger takes the new one.
    store<u32>(block, count, C_NEXT_COUNT);
    if (phase === PHASE_EMPTY) {
      store<u32>(block, count, C_COUNT);
      store<u8>(block, PHASE_ARMED, C_PHASE);
    }
  } else {
    store<u32>(block, count, C_COUNT);
    // The next CLK pulse loads it.
    store<u64>(block, now + 1, C_START);
    store<u64>(block, 0, C_HELD);
    store<u8>(block, load<u8>(block, C_GATE) ? PHASE_COUNTING : PHASE_HELD, C_PHASE);
  }
  if (channel === 0) schedule(now);
}

function writeCount(channel: u32, value: u32, now: u64): void {
  const block = channelBlock(channel);
  const access: u32 = load<u8>(block, C_ACCESS);
  if (access === 1) {
    loadCount(channel, value, now);
  } else if (access === 2) {
    loadCount(channel, value << 8, now);
  } else if (!load<u8>(block, C_WRITE_HIGH)) {
    store<u8>(block, value, C_LOW_BYTE);
    store<u8>(block, 1, C_WRITE_HIGH);
    // In mode 0 the first byte stops the count and OUT goes low.
    if (load<u8>(block, C_MODE) === 0) {
      store<u8>(block, PHASE_EMPTY, C_PHASE);
      if (channel === 0) schedule(now);
    }
  } else {
    store<u8>(block, 0, C_WRITE_HIGH);
    loadCount(channel, (<u32>load<u8>(block, C_LOW_BYTE)) | (value << 8), now);
  }
}

function latchCount(block: u32, now: u64): void {
  // A latched count stays until it was read.
  if (load<u8>(block, C_LATCH_BYTES)) return;
  settle(block, now);
  store<u16>(block, readableCount(block, now), C_LATCH);
  store<u8>(block, load<u8>(block, C_ACCESS) === 3 ? 2 : 1, C_LATCH_BYTES);
}

/** Status byte: OUT, null count, and the control word's low six bits (data sheet figure 13). */
function latchStatus(block: u32, now: u64): void {
  if (load<u8>(block, C_STATUS_LATCHED)) return;
  settle(block, now);
  const phase: u32 = load<u8>(block, C_PHASE);
  const counting = phase === PHASE_COUNTING || phase === PHASE_HELD;
  const notLoaded = !counting || load<u32>(block, C_SWITCHING) !== 0 || load<u64>(block, C_START) > now;
  const status: u32 =
    (output(block, now) ? 0x80 : 0) |
    (notLoaded ? 0x40 : 0) |
    ((<u32>load<u8>(block, C_ACCESS)) << 4) |
    ((<u32>load<u8>(block, C_MODE_WRITTEN)) << 1) |
    (<u32>load<u8>(block, C_BCD));
  store<u8>(block, status, C_STATUS);
  store<u8>(block, 1, C_STATUS_LATCHED);
}

function writeControl(value: u32, now: u64): void {
  const select = value >> 6;
  if (select === 3) {
    // Read-back: bits 5 and 4 low latch count and status of the channels in bits 3:1.
    for (let channel: u32 = 0; channel < 3; channel++) {
      if (!((value >> (channel + 1)) & 1)) continue;
      if (!(value & 0x20)) latchCount(channelBlock(channel), now);
      if (!(value & 0x10)) latchStatus(channelBlock(channel), now);
    }
    return;
  }
  const block = channelBlock(select);
  const access = (value >> 4) & 3;
  if (access === 0) {
    latchCount(block, now);
    return;
  }
  let mode = (value >> 1) & 7;
  store<u8>(block, mode, C_MODE_WRITTEN);
  // Bit 2 of the mode is "don't care" for the periodic ones.
  if (mode > 5) mode -= 4;
  store<u8>(block, access, C_ACCESS);
  store<u8>(block, mode, C_MODE);
  store<u8>(block, value & 1, C_BCD);
  store<u8>(block, PHASE_EMPTY, C_PHASE);
  store<u8>(block, 0, C_WRITE_HIGH);
  store<u8>(block, 0, C_READ_HIGH);
  store<u8>(block, 0, C_LATCH_BYTES);
  store<u8>(block, 0, C_STATUS_LATCHED);
  store<u32>(block, 0, C_SWITCHING);
  if (select === 0) schedule(now);
}

/** Ports 0x40-0x43. */
export function pitWrite(port: u32, value: u32, nowNs: f64): void {
  const now = ticksAt(nowNs, PIT_HZ);
  if (port === 0x43) writeControl(value & 0xff, now);
  else writeCount(port & 3, value & 0xff, now);
}

/** Ports 0x40-0x42: latched status, latched count, or the count as it runs. The control word cannot be read. */
export function pitRead(port: u32, nowNs: f64): u32 {
  if (port === 0x43) return 0xff;
  const block = channelBlock(port & 3);
  if (load<u8>(block, C_STATUS_LATCHED)) {
    store<u8>(block, 0, C_STATUS_LATCHED);
    return load<u8>(block, C_STATUS);
  }
  const access: u32 = load<u8>(block, C_ACCESS);
  let value: u32;
  const latched: u32 = load<u8>(block, C_LATCH_BYTES);
  if (latched) {
    value = load<u16>(block, C_LATCH);
    store<u8>(block, latched - 1, C_LATCH_BYTES);
  } else {
    const now = ticksAt(nowNs, PIT_HZ);
    settle(block, now);
    value = readableCount(block, now);
  }
  if (access === 1) return value & 0xff;
  if (access === 2) return value >> 8;
  const high: u32 = load<u8>(block, C_READ_HIGH);
  store<u8>(block, high ^ 1, C_READ_HIGH);
  return high ? value >> 8 : value & 0xff;
}

// ---------------------------------------------------------------------------------------------------------------------
// Channel 2's gate and port 0x61

function setGate(channel: u32, high: bool, now: u64): void {
  const block = channelBlock(channel);
  const before = load<u8>(block, C_GATE) !== 0;
  if (before === high) return;
  store<u8>(block, high ? 1 : 0, C_GATE);
  settle(block, now);
  const mode: u32 = load<u8>(block, C_MODE);
  const phase: u32 = load<u8>(block, C_PHASE);
  if (phase === PHASE_EMPTY) return;
  if (isGateTriggered(mode)) {
    if (!high) return;
    store<u32>(block, load<u32>(block, C_NEXT_COUNT), C_COUNT);
    store<u64>(block, now + 1, C_START);
    store<u8>(block, PHASE_COUNTING, C_PHASE);
  } else if (!high) {
    store<u64>(block, elapsed(block, now), C_HELD);
    store<u8>(block, PHASE_HELD, C_PHASE);
  } else if (isPeriodic(mode)) {
    // A rising gate starts the period anew.
    if (load<u32>(block, C_SWITCHING)) store<u32>(block, load<u32>(block, C_NEXT_COUNT), C_COUNT);
    store<u32>(block, 0, C_SWITCHING);
    store<u64>(block, now + 1, C_START);
    store<u8>(block, PHASE_COUNTING, C_PHASE);
  } else {
    // Modes 0 and 4 go on where they stopped, but not before the count is loaded.
    const held = load<u64>(block, C_HELD);
    const resumed = now > held ? now - held : 0;
    if (resumed > load<u64>(block, C_START)) store<u64>(block, resumed, C_START);
    store<u8>(block, PHASE_COUNTING, C_PHASE);
  }
}

/**
 * Port 0x61: bit 0 gate of channel 2, bit 1 speaker, bits 2 and 3 error enables (kept), bit 4 refresh toggle, bit 5 OUT of
 * channel 2. bhyve gives bit 5 alone and ignores writes; Linux calibrates its TSC with bits 0 and 5.
 */
export function port61Read(nowNs: f64): u32 {
  const now = ticksAt(nowNs, PIT_HZ);
  const block = channelBlock(2);
  settle(block, now);
  // Memory refresh was requested every 18 ticks.
  const refresh: u32 = (now / 18) & 1 ? 0x10 : 0;
  return load<u32>(S_PORT61) | refresh | (output(block, now) ? 0x20 : 0);
}

/** A write to port 0x61. */
export function port61Write(value: u32, nowNs: f64): void {
  store<u32>(S_PORT61, value & 0x0f);
  setGate(2, (value & 1) !== 0, ticksAt(nowNs, PIT_HZ));
}

// ---------------------------------------------------------------------------------------------------------------------
// State from outside

function channelIsSound(block: u32): bool {
  const mode: u32 = load<u8>(block, C_MODE);
  const phase: u32 = load<u8>(block, C_PHASE);
  const count = load<u32>(block, C_COUNT);
  const next = load<u32>(block, C_NEXT_COUNT);
  const access: u32 = load<u8>(block, C_ACCESS);
  // Counts are divided by.
  if (count === 0 || count > 0x10000 || next > 0x10000) return false;
  const nextMatters = load<u32>(block, C_SWITCHING) !== 0 || (isGateTriggered(mode) && phase !== PHASE_EMPTY);
  if (next === 0 && nextMatters) return false;
  return (
    mode <= 5 &&
    load<u8>(block, C_MODE_WRITTEN) <= 7 &&
    phase <= PHASE_HELD &&
    access >= 1 &&
    access <= 3 &&
    load<u8>(block, C_LATCH_BYTES) <= 2
  );
}

/** Whether the state, which came from outside, is one that the timer can get into. */
export function pitIsSound(): bool {
  for (let channel: u32 = 0; channel < 3; channel++) {
    if (!channelIsSound(channelBlock(channel))) return false;
  }
  return load<u32>(S_PORT61) <= 0x0f;
}

assert(C_MODE_WRITTEN < CHANNEL_STRIDE);
assert(PIT + 3 * CHANNEL_STRIDE <= S_NEXT_IRQ);
assert(S_NEXT_IRQ % 8 === 0 && S_NEXT_IRQ + 8 <= S_PORT61);
assert(S_PORT61 < PIT + PIT_SIZE);
