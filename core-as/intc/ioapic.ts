/**
 * The I/O APIC: 24 pins, version 0x11 (Intel 82093AA data sheet 290566). Functions expect INTC_LOCK to be held.
 *
 * Lines are given as asserted or not, whatever polarity an entry states (as in bhyve). Version 0x11 has no EOI register;
 * guests clear Remote IRR by making an entry edge-triggered for a moment, or by the local APIC's EOI broadcast.
 */
import { IOAPIC, IOAPIC_SIZE } from '../layout';
import { DELIVERY_FIXED, DELIVERY_LOWEST_PRIORITY, DELIVERY_STARTUP, deliverInterrupt } from './lapic';

export const IOAPIC_BASE: u64 = 0xfec00000;
export const IOAPIC_LENGTH: u64 = 0x1000;
export const IOAPIC_PINS: u32 = 24;

const VERSION: u32 = 0x00170011;

/** State: u32 each; then the redirection table, u64 a pin. */
const S_SELECT = 0x00;
const S_ID = 0x04;
/** Pins that devices, the HPET and the UARTs of PCI functions assert; a pin is high when any has its bit. */
const S_DEVICE_LINES = 0x08;
const S_HPET_LINES = 0x0c;
const S_UART_LINES = 0x10;
const S_TABLE = 0x40;

/** Memory-mapped registers. */
const IOREGSEL: u32 = 0x00;
const IOWIN: u32 = 0x10;

/** Fields of the low half of a redirection table entry. */
const RTE_DESTINATION_LOGICAL: u32 = 0x800;
const RTE_REMOTE_IRR: u32 = 0x4000;
const RTE_LEVEL: u32 = 0x8000;
const RTE_MASKED: u32 = 0x10000;
const RTE_WRITABLE: u32 = 0x1afff;

function entry(pin: u32): u32 {
  return IOAPIC + S_TABLE + pin * 8;
}

/** Power-on: every entry masked. Lines belong to the devices and come back low with their own reset. */
export function ioApicReset(): void {
  memory.fill(IOAPIC, 0, IOAPIC_SIZE);
  for (let pin: u32 = 0; pin < IOAPIC_PINS; pin++) store<u32>(entry(pin), RTE_MASKED);
}

function lines(): u32 {
  return load<u32>(IOAPIC, S_DEVICE_LINES) | load<u32>(IOAPIC, S_HPET_LINES) | load<u32>(IOAPIC, S_UART_LINES);
}

/** Level-triggered entries hold Remote IRR and wait for an EOI; the other delivery modes are always edges. */
function isLevel(low: u32): bool {
  const mode = (low >> 8) & 7;
  return (low & RTE_LEVEL) !== 0 && (mode === DELIVERY_FIXED || mode === DELIVERY_LOWEST_PRIORITY);
}

function deliver(pin: u32): void {
  const low = load<u32>(entry(pin));
  if (low & RTE_MASKED) return;
  const mode = (low >> 8) & 7;
  // A start-up message can only come from an interrupt command register.
  if (mode === DELIVERY_STARTUP) return;
  const level = isLevel(low);
  if (level && low & RTE_REMOTE_IRR) return;
  const destination = load<u32>(entry(pin), 4) >> 24;
  const accepted = deliverInterrupt(destination, (low & RTE_DESTINATION_LOGICAL) !== 0, false, mode, low & 0xff, level);
  if (level && accepted) store<u32>(entry(pin), low | RTE_REMOTE_IRR);
}

/** After a change of lines: rising edges deliver, and so do high level-triggered pins. */
function linesChanged(before: u32): void {
  const now = lines();
  const rising = now & ~before;
  if (!rising) return;
  for (let pin: u32 = 0; pin < IOAPIC_PINS; pin++) {
    if ((rising >> pin) & 1) deliver(pin);
  }
}

/** Level of a pin as the devices drive it. */
export function ioApicSetPin(pin: u32, asserted: bool): void {
  if (pin >= IOAPIC_PINS) return;
  const before = lines();
  const device = load<u32>(IOAPIC, S_DEVICE_LINES);
  const bit: u32 = 1 << pin;
  store<u32>(IOAPIC, asserted ? device | bit : device & ~bit, S_DEVICE_LINES);
  linesChanged(before);
}

/** The pins that the HPET's level-triggered timers hold (they share pins 20-23 with PCI interrupts). */
export function ioApicSetHpetLines(mask: u32): void {
  const before = lines();
  store<u32>(IOAPIC, mask, S_HPET_LINES);
  linesChanged(before);
}

/** The pins that UARTs of PCI functions hold. */
export function ioApicSetUartLines(mask: u32): void {
  const before = lines();
  store<u32>(IOAPIC, mask, S_UART_LINES);
  linesChanged(before);
}

/** Assert and release: nothing when the pin is high anyway. */
export function ioApicPulsePin(pin: u32): void {
  if (pin >= IOAPIC_PINS || (lines() >> pin) & 1) return;
  deliver(pin);
}

/** The EOI message of a local APIC: clears Remote IRR of that vector's entries; a line still high interrupts again. */
export function ioApicEndOfInterrupt(vector: u32): void {
  const high = lines();
  for (let pin: u32 = 0; pin < IOAPIC_PINS; pin++) {
    const low = load<u32>(entry(pin));
    if ((low & 0xff) !== vector || !(low & RTE_REMOTE_IRR)) continue;
    store<u32>(entry(pin), low & ~RTE_REMOTE_IRR);
    if ((high >> pin) & 1) deliver(pin);
  }
}

function readRegister(index: u32): u32 {
  if (index === 0 || index === 2) return load<u32>(IOAPIC, S_ID);
  if (index === 1) return VERSION;
  if (index >= 0x10 && index < 0x10 + 2 * IOAPIC_PINS) return load<u32>(IOAPIC + S_TABLE + (index - 0x10) * 4);
  return 0;
}

function writeRegister(index: u32, value: u32): void {
  if (index === 0) {
    store<u32>(IOAPIC, value & 0x0f000000, S_ID);
    return;
  }
  if (index < 0x10 || index >= 0x10 + 2 * IOAPIC_PINS) return;
  const pin = (index - 0x10) >> 1;
  if (index & 1) {
    store<u32>(entry(pin), value & 0xff000000, 4);
    return;
  }
  let low = (load<u32>(entry(pin)) & RTE_REMOTE_IRR) | (value & RTE_WRITABLE);
  if (!isLevel(low)) low &= ~RTE_REMOTE_IRR;
  store<u32>(entry(pin), low);
  if (isLevel(low) && (lines() >> pin) & 1) deliver(pin);
}

/** A read of the register window; only IOREGSEL and IOWIN answer. */
export function ioApicRead(offset: u32): u32 {
  if (offset === IOREGSEL) return load<u32>(IOAPIC, S_SELECT);
  if (offset === IOWIN) return readRegister(load<u32>(IOAPIC, S_SELECT));
  return 0;
}

/** A write to the register window. */
export function ioApicWrite(offset: u32, value: u32): void {
  if (offset === IOREGSEL) store<u32>(IOAPIC, value & 0xff, S_SELECT);
  else if (offset === IOWIN) writeRegister(load<u32>(IOAPIC, S_SELECT), value);
}

assert(S_UART_LINES + 4 <= S_TABLE && S_TABLE % 8 === 0);
assert(S_TABLE + 24 * 8 <= IOAPIC_SIZE);
