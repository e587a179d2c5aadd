/**
 * The doors of the platform's interrupt controllers, timers and UARTs: what the CPU, the devices' thread and the hosts
 * call. Everything shared is behind INTC_LOCK, taken here and nowhere deeper (see lock.ts).
 */
import { hostWallSeconds } from '../host';
import { kickVcpu } from '../kick';
import { CFGF_HPET, CFG_FLAGS, PEND_INTR, PMTIMER, PMTIMER_SIZE, UART_COUNT } from '../layout';
import { machineNowNs } from '../time';
import {
  HPET_BASE,
  HPET_LENGTH,
  hpetDeadlineNs,
  hpetRead,
  hpetReplacesLegacy,
  hpetReset,
  hpetTick,
  hpetWrite,
} from './hpet';
import { IOAPIC_BASE, IOAPIC_LENGTH, ioApicRead, ioApicReset, ioApicSetPin, ioApicWrite } from './ioapic';
import { isaPulse, isaSetLine } from './isa-lines';
import { lockPlatform, unlockPlatform } from './lock';
import { sendMessage } from './msi';
import { picIsSound, picRead, picReset, picWrite } from './pic';
import { pitDeadlineNs, pitIsSound, pitRead, pitReset, pitTick, pitWrite, port61Read, port61Write } from './pit';
import { pmTimerValue } from './pmtimer';
import {
  rtcDeadlineNs,
  rtcIsSound,
  rtcNeedsTime,
  rtcRam,
  rtcRead,
  rtcReset,
  rtcSetRam,
  rtcTick,
  rtcWrite,
} from './rtc';
import {
  portUart,
  uartIrq,
  uartIsSound,
  uartReadRegister,
  uartReset,
  uartRingChanged,
  uartSetIntxLines,
  uartWriteRegister,
} from './uart';

export { lapicClaims, lapicInit, lapicReset } from './lapic';
export { lapicSetTpr, lapicTpr } from './lapic-acknowledge';
export { interruptAcknowledge, interruptPending } from './lapic-acknowledge';
export { lapicMmioRead, lapicMmioWrite, lapicMsrExists, lapicMsrRead, lapicMsrWrite } from './lapic-registers';
export { cpuTimerTick } from './lapic-timer';
export { pmTimerValue } from './pmtimer';

/** f64: the deadline that vCPU 0 was last told by platformTimerTick. The PM timer itself needs no state. */
const S_TOLD_DEADLINE_NS = PMTIMER + 0x00;

const PM_TIMER_PORT: u32 = 0x408;

/** Power-on state of everything shared. The RTC's time and RAM, and the UARTs' rings, outlive it. */
export function platformReset(): void {
  const nowNs = machineNowNs();
  // The host's answer may take a while: not under the lock.
  const wallSeconds: f64 = rtcNeedsTime() ? hostWallSeconds() : 0;
  lockPlatform();
  memory.fill(PMTIMER, 0, PMTIMER_SIZE);
  store<f64>(S_TOLD_DEADLINE_NS, Infinity);
  picReset();
  ioApicReset();
  pitReset();
  hpetReset();
  rtcReset(nowNs, wallSeconds);
  for (let n: u32 = 0; n < <u32>UART_COUNT; n++) uartReset(n);
  unlockPlatform();
}

// ---------------------------------------------------------------------------------------------------------------------
// Timers

function tick(nowNs: f64): void {
  if (pitTick(nowNs) && !hpetReplacesLegacy()) isaPulse(0);
  hpetTick(nowNs);
  if (rtcTick(nowNs) && !hpetReplacesLegacy()) isaPulse(8);
}

function nextDeadlineNs(): f64 {
  return Math.min(pitDeadlineNs(), Math.min(hpetDeadlineNs(), rtcDeadlineNs()));
}

/**
 * Fires the PIT, HPET and RTC events that are due at `nowNs` and returns when it wants to be called next (machine ns,
 * Infinity if never). Every timer fires at most once a call, however many periods were missed.
 */
export function platformTimerTick(nowNs: f64): f64 {
  lockPlatform();
  tick(nowNs);
  const deadline = nextDeadlineNs();
  store<f64>(S_TOLD_DEADLINE_NS, deadline);
  unlockPlatform();
  return deadline;
}

/** After a guest's access to a timer: vCPU 0, which may sleep until the old deadline, must hear of an earlier one. */
function timersChanged(): void {
  const deadline = nextDeadlineNs();
  if (deadline >= load<f64>(S_TOLD_DEADLINE_NS)) return;
  store<f64>(S_TOLD_DEADLINE_NS, deadline);
  kickVcpu(0, PEND_INTR);
}

// ---------------------------------------------------------------------------------------------------------------------
// Ports

/** Whether an in-core device answers at a port. */
export function portClaimed(port: u32): bool {
  if (port < 0x80) {
    if (port >= 0x40) return port <= 0x43 || port === 0x61 || port === 0x70 || port === 0x71;
    return port === 0x20 || port === 0x21;
  }
  if (port === 0xa0 || port === 0xa1 || port === 0x4d0 || port === 0x4d1) return true;
  if (port >= PM_TIMER_PORT && port < PM_TIMER_PORT + 4) return true;
  return portUart(port) >= 0;
}

function readByte(port: u32): u32 {
  const uart = portUart(port);
  if (uart >= 0) return uartReadRegister(uart, port & 7);
  if (port >= 0x40 && port < 0x80) {
    if (port > 0x43 && port !== 0x61 && port !== 0x70 && port !== 0x71) return 0xff;
    const nowNs = machineNowNs();
    if (port <= 0x43) return pitRead(port, nowNs);
    if (port === 0x61) return port61Read(nowNs);
    if (rtcTick(nowNs) && !hpetReplacesLegacy()) isaPulse(8);
    const value = rtcRead(port, nowNs);
    timersChanged();
    return value;
  }
  return portClaimed(port) ? picRead(port) : 0xff;
}

function writeByte(port: u32, value: u32): void {
  const uart = portUart(port);
  if (uart >= 0) {
    uartWriteRegister(uart, port & 7, value);
    return;
  }
  if (port >= 0x40 && port < 0x80) {
    if (port > 0x43 && port !== 0x61 && port !== 0x70 && port !== 0x71) return;
    const nowNs = machineNowNs();
    if (port <= 0x43) {
      // An edge that is due comes before what the guest now changes.
      if (pitTick(nowNs) && !hpetReplacesLegacy()) isaPulse(0);
      pitWrite(port, value, nowNs);
    } else if (port === 0x61) {
      port61Write(value, nowNs);
    } else if (rtcWrite(port, value, nowNs) && !hpetReplacesLegacy()) {
      isaPulse(8);
    }
    timersChanged();
    return;
  }
  if (portClaimed(port)) picWrite(port, value);
}

function isPmTimerPort(port: u32): bool {
  return port >= PM_TIMER_PORT && port < PM_TIMER_PORT + 4;
}

/** A guest's IN. These are byte-wide devices, but for the PM timer: wider accesses become bytes at successive ports. */
export function portRead(port: u32, size: u32): u32 {
  if (isPmTimerPort(port)) {
    const value = pmTimerValue() >> ((port - PM_TIMER_PORT) * 8);
    return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value;
  }
  lockPlatform();
  let value = readByte(port);
  if (size > 1) value |= readByte(port + 1) << 8;
  if (size > 2) value |= (readByte(port + 2) << 16) | (readByte(port + 3) << 24);
  unlockPlatform();
  return value;
}

/** A guest's OUT. */
export function portWrite(port: u32, size: u32, value: u32): void {
  if (isPmTimerPort(port)) return;
  lockPlatform();
  writeByte(port, value & 0xff);
  if (size > 1) writeByte(port + 1, (value >> 8) & 0xff);
  if (size > 2) {
    writeByte(port + 2, (value >> 16) & 0xff);
    writeByte(port + 3, value >> 24);
  }
  unlockPlatform();
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory-mapped registers

function isIoApic(gpa: u64): bool {
  return gpa >= IOAPIC_BASE && gpa < IOAPIC_BASE + IOAPIC_LENGTH;
}

function isHpet(gpa: u64): bool {
  return gpa >= HPET_BASE && gpa < HPET_BASE + HPET_LENGTH && (load<u32>(CFG_FLAGS) & CFGF_HPET) !== 0;
}

/** Whether the I/O APIC or the HPET answers at a guest-physical address. */
export function mmioClaimed(gpa: u64): bool {
  return isIoApic(gpa) || isHpet(gpa);
}

/** A dword register that contains the address. */
function readDword(gpa: u64): u32 {
  const aligned = gpa & ~(<u64>3);
  if (isIoApic(aligned)) return ioApicRead(<u32>(aligned - IOAPIC_BASE));
  if (!isHpet(aligned)) return 0xffffffff;
  const value = hpetRead(<u32>(aligned - HPET_BASE), machineNowNs());
  timersChanged();
  return value;
}

function writeDword(gpa: u64, value: u32): void {
  if (isIoApic(gpa)) {
    ioApicWrite(<u32>(gpa - IOAPIC_BASE), value);
  } else if (isHpet(gpa)) {
    hpetWrite(<u32>(gpa - HPET_BASE), value, machineNowNs());
    timersChanged();
  }
}

/** A guest's load of 1, 2, 4 or 8 bytes; narrow ones get their part of the register. */
export function mmioRead(gpa: u64, size: u32): u64 {
  lockPlatform();
  const shift = ((<u32>gpa) & 3) * 8;
  let value: u64 = readDword(gpa);
  if (size === 8 || shift + size * 8 > 32) value |= (<u64>readDword(gpa + 4)) << 32;
  unlockPlatform();
  value >>= shift;
  return size >= 8 ? value : value & (((<u64>1) << (size * 8)) - 1);
}

/** A guest's store. The registers are dwords: narrower and unaligned stores are dropped, as bhyve's models refuse them. */
export function mmioWrite(gpa: u64, size: u32, value: u64): void {
  if (size < 4 || gpa & 3) {
    // IOREGSEL alone takes bytes: old loaders select a register so.
    if (gpa !== IOAPIC_BASE) return;
  }
  lockPlatform();
  writeDword(gpa, <u32>value);
  if (size === 8) writeDword(gpa + 4, <u32>(value >> 32));
  unlockPlatform();
}

// ---------------------------------------------------------------------------------------------------------------------
// For the devices' thread

/** Level of ISA line 0-15: the 8259 input and the I/O APIC pin. */
export function setIsaIrq(irq: u32, asserted: u32): void {
  lockPlatform();
  isaSetLine(irq, asserted !== 0);
  unlockPlatform();
}

/** An edge on an ISA line. */
export function pulseIsaIrq(irq: u32): void {
  lockPlatform();
  isaPulse(irq);
  unlockPlatform();
}

/** Level of an I/O APIC pin alone, 0-23. */
export function setIoApicPin(pin: u32, asserted: u32): void {
  lockPlatform();
  ioApicSetPin(pin, asserted !== 0);
  unlockPlatform();
}

/** A message-signalled interrupt; extended destinations in the high half do not exist here. */
export function sendMsi(addressLow: u32, addressHigh: u32, data: u32): void {
  if (addressHigh === 0) sendMessage(addressLow, data);
}

/** The host put bytes into UARTn's input ring, took some from its output ring, or (dis)connected it. */
export function uartHostEvent(n: u32): void {
  lockPlatform();
  uartRingChanged(n);
  unlockPlatform();
}

/** Where the interrupt of a PCI uart function leads: {@link UART_INTX_LINES}. */
export function uartRouteIntx(n: u32, lines: u32): void {
  lockPlatform();
  uartSetIntxLines(n, lines);
  unlockPlatform();
}

/** Interrupt level of UARTn. */
export function uartIrqLevel(n: u32): u32 {
  lockPlatform();
  const level = uartIrq(n);
  unlockPlatform();
  return level;
}

/** Register access of a PCI uart function. */
export function uartRead(n: u32, register: u32): u32 {
  lockPlatform();
  const value = uartReadRegister(n, register);
  unlockPlatform();
  return value;
}

/** Register access of a PCI uart function. */
export function uartWrite(n: u32, register: u32, value: u32): void {
  lockPlatform();
  uartWriteRegister(n, register, value);
  unlockPlatform();
}

/** Presets a byte of CMOS RAM (not the clock's registers); the devices' half describes memory sizes there. */
export function setCmos(index: u32, value: u32): void {
  lockPlatform();
  rtcSetRam(index, value);
  unlockPlatform();
}

/** A byte of CMOS RAM. */
export function cmos(index: u32): u32 {
  lockPlatform();
  const value = rtcRam(index);
  unlockPlatform();
  return value;
}

/**
 * Whether what a restored snapshot put into the state of everything shared is what it can hold: nothing there is then used as an index,
 * a divisor or the length of a loop that it should not be. I/O APIC and HPET take any value.
 */
export function platformIsSound(): bool {
  for (let n: u32 = 0; n < <u32>UART_COUNT; n++) {
    if (!uartIsSound(n)) return false;
  }
  return picIsSound() && pitIsSound() && rtcIsSound();
}
