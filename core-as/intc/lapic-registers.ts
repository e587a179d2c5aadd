/**
 * The local APIC's registers as a guest sees them: the memory-mapped page (SDM table 11-1) and the x2APIC MSRs
 * (table 11-6). Both use the same numbers: MSR 0x800 + n is page offset n * 16. Only the owning vCPU comes here.
 */
import { kickVcpu, vcpuBlock } from '../kick';
import { CFGF_X2APIC, CFG_FLAGS, PEND_INTR } from '../layout';
import {
  APIC_BASE_ENABLE,
  APIC_BASE_EXTD,
  DELIVERY_FIXED,
  ESR_ILLEGAL_REGISTER,
  LVT_CMCI,
  LVT_ERROR,
  LVT_LINT0,
  LVT_LINT1,
  LVT_COUNT,
  LVT_MASKED,
  LVT_TIMER,
  L_APIC_BASE,
  L_DFR,
  L_DIVIDE,
  L_ESR,
  L_ESR_PENDING,
  L_ICR,
  L_INITIAL_COUNT,
  L_IRR,
  L_ISR,
  L_LDR,
  L_LVT,
  L_SVR,
  L_TMR,
  L_TPR,
  SVR_ENABLE,
  acceptFixed,
  lapicError,
  lapicGloballyEnabled,
  lapicInX2Mode,
  lapicInit,
  lapicLogicalId,
  lapicProcessorPriority,
  sendIpi,
} from './lapic';
import { lapicWriteTpr } from './lapic-acknowledge';
import { lapicEndOfInterrupt } from './lapic-acknowledge';
import {
  timerCurrentCount,
  timerReadTscDeadline,
  timerWriteDivide,
  timerWriteInitialCount,
  timerWriteLvt,
  timerWriteTscDeadline,
} from './lapic-timer';
import { picOutput } from './pic';

const MSR_APIC_BASE: u32 = 0x1b;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MSR_X2APIC_FIRST: u32 = 0x800;
const MSR_X2APIC_LAST: u32 = 0x8ff;

/** Version 0x10, seven entries in the local vector table. */
const VERSION: u32 = 0x00060010;

/** Register numbers: page offset / 16, MSR - 0x800. */
const REG_ID: u32 = 0x02;
const REG_VERSION: u32 = 0x03;
const REG_TPR: u32 = 0x08;
const REG_APR: u32 = 0x09;
const REG_PPR: u32 = 0x0a;
const REG_EOI: u32 = 0x0b;
const REG_RRD: u32 = 0x0c;
const REG_LDR: u32 = 0x0d;
const REG_DFR: u32 = 0x0e;
const REG_SVR: u32 = 0x0f;
const REG_ISR: u32 = 0x10;
const REG_TMR: u32 = 0x18;
const REG_IRR: u32 = 0x20;
const REG_ESR: u32 = 0x28;
const REG_LVT_CMCI: u32 = 0x2f;
const REG_ICR: u32 = 0x30;
const REG_ICR_HIGH: u32 = 0x31;
const REG_LVT_TIMER: u32 = 0x32;
const REG_LVT_ERROR: u32 = 0x37;
const REG_INITIAL_COUNT: u32 = 0x38;
const REG_CURRENT_COUNT: u32 = 0x39;
const REG_DIVIDE: u32 = 0x3e;
const REG_SELF_IPI: u32 = 0x3f;

/** Writable bits of the interrupt command register's low half. */
const ICR_WRITABLE: u32 = 0x000ccfff;
const SVR_WRITABLE: u32 = 0x000003ff;

/** IA32_APIC_BASE: reserved bits besides those above the address (SDM figure 11-5). */
const APIC_BASE_RESERVED_LOW: u64 = 0x2ff;
/** Guest-physical addresses have 40 bits at most. */
const APIC_BASE_RESERVED_HIGH: u64 = 0xffffff0000000000;

/** Entry of the local vector table behind a register number, or -1. */
function lvtIndex(register: u32): i32 {
  if (register >= REG_LVT_TIMER && register <= REG_LVT_ERROR) return <i32>(register - REG_LVT_TIMER);
  return register === REG_LVT_CMCI ? LVT_CMCI : -1;
}

/** Writable bits of an entry: vector and mask; timer mode; delivery mode; pin polarity and trigger. */
function lvtWritable(index: u32): u32 {
  if (index === LVT_TIMER) return 0x700ff;
  if (index === LVT_ERROR) return 0x100ff;
  if (index === LVT_LINT0 || index === LVT_LINT1) return 0x1a7ff;
  return 0x107ff;
}

function readRegister(cpu: u32, register: u32): u32 {
  const block = vcpuBlock(cpu);
  if (register >= REG_ISR && register < REG_ESR) {
    const word = block + ((register & 7) << 2);
    if (register < REG_TMR) return load<u32>(word, L_ISR);
    if (register < REG_IRR) return atomic.load<u32>(word, L_TMR);
    return atomic.load<u32>(word, L_IRR);
  }
  const lvt = lvtIndex(register);
  if (lvt >= 0) return load<u32>(block + ((<u32>lvt) << 2), L_LVT);
  switch (register) {
    case REG_ID:
      return lapicInX2Mode(block) ? cpu : cpu << 24;
    case REG_VERSION:
      return VERSION;
    case REG_TPR:
      return load<u32>(block, L_TPR);
    case REG_APR:
    case REG_PPR:
      return lapicProcessorPriority(block);
    case REG_EOI:
    case REG_RRD:
      return 0;
    case REG_LDR:
      return lapicLogicalId(block, cpu);
    case REG_DFR:
      return load<u32>(block, L_DFR);
    case REG_SVR:
      return load<u32>(block, L_SVR);
    case REG_ESR:
      return load<u32>(block, L_ESR);
    case REG_ICR:
      return load<u32>(block, L_ICR);
    case REG_ICR_HIGH:
      return load<u32>(block, L_ICR + 4);
    case REG_INITIAL_COUNT:
      return load<u32>(block, L_INITIAL_COUNT);
    case REG_CURRENT_COUNT:
      return timerCurrentCount(cpu);
    case REG_DIVIDE:
      return load<u32>(block, L_DIVIDE);
    default:
      lapicError(cpu, ESR_ILLEGAL_REGISTER);
      return 0;
  }
}

function writeLvt(cpu: u32, index: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  value &= lvtWritable(index);
  // Software-disabled, the mask bits are set and stay so (SDM 11.4.7.2).
  if (!(load<u32>(block, L_SVR) & SVR_ENABLE)) value |= LVT_MASKED;
  if (index === LVT_TIMER) {
    timerWriteLvt(cpu, value);
    return;
  }
  store<u32>(block + (index << 2), value, L_LVT);
  // The 8259's INTR may wait behind the mask that just fell.
  if (index === LVT_LINT0 && picOutput() && !(value & LVT_MASKED)) {
    if (((value >> 8) & 7) === DELIVERY_FIXED) acceptFixed(cpu, value & 0xff, false);
    else kickVcpu(cpu, PEND_INTR);
  }
}

function writeSvr(cpu: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  store<u32>(block, value & SVR_WRITABLE, L_SVR);
  if (!(value & SVR_ENABLE)) {
    for (let i: u32 = 0; i < LVT_COUNT; i++) {
      const lvt = load<u32>(block + (i << 2), L_LVT);
      if (i === LVT_TIMER) timerWriteLvt(cpu, lvt | LVT_MASKED);
      else store<u32>(block + (i << 2), lvt | LVT_MASKED, L_LVT);
    }
  }
  // Which pin the 8259 reaches depends on the enable bit.
  if (picOutput()) kickVcpu(cpu, PEND_INTR);
}

function writeRegister(cpu: u32, register: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  const lvt = lvtIndex(register);
  if (lvt >= 0) {
    writeLvt(cpu, lvt, value);
    return;
  }
  switch (register) {
    case REG_TPR:
      lapicWriteTpr(cpu, value);
      break;
    case REG_EOI:
      lapicEndOfInterrupt(cpu);
      break;
    case REG_LDR:
      store<u32>(block, value & 0xff000000, L_LDR);
      break;
    case REG_DFR:
      store<u32>(block, value | 0x0fffffff, L_DFR);
      break;
    case REG_SVR:
      writeSvr(cpu, value);
      break;
    case REG_ESR:
      store<u32>(block, atomic.xchg<u32>(block, 0, L_ESR_PENDING), L_ESR);
      break;
    case REG_ICR:
      store<u32>(block, value & ICR_WRITABLE, L_ICR);
      sendIpi(cpu, value & ICR_WRITABLE, load<u32>(block, L_ICR + 4));
      break;
    case REG_ICR_HIGH:
      store<u32>(block, value & 0xff000000, L_ICR + 4);
      break;
    case REG_INITIAL_COUNT:
      timerWriteInitialCount(cpu, value);
      break;
    case REG_DIVIDE:
      timerWriteDivide(cpu, value);
      break;
    case REG_ID:
    case REG_VERSION:
    case REG_APR:
    case REG_PPR:
    case REG_RRD:
    case REG_CURRENT_COUNT:
      break;
    default:
      // ISR, TMR and IRR are read-only; the rest does not exist.
      if (register < REG_ISR || register >= REG_ESR) lapicError(cpu, ESR_ILLEGAL_REGISTER);
      break;
  }
}

/** A load from the register page; narrower ones than 4 bytes get their part of the register. */
export function lapicMmioRead(cpu: u32, offset: u32, size: u32): u32 {
  const block = vcpuBlock(cpu);
  // Registers are 4 bytes on 16-byte boundaries; what lies between is reserved. In x2APIC mode the page is off.
  const byte = offset & 15;
  if (byte > 3 || offset > 0xfff || lapicInX2Mode(block) || !lapicGloballyEnabled(block)) return 0;
  const value = readRegister(cpu, offset >> 4) >> (byte * 8);
  return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value;
}

/** A store to the register page; only aligned 4-byte stores are defined, others are dropped. */
export function lapicMmioWrite(cpu: u32, offset: u32, size: u32, value: u32): void {
  const block = vcpuBlock(cpu);
  if (offset & 15 || size !== 4 || offset > 0xfff || lapicInX2Mode(block) || !lapicGloballyEnabled(block)) return;
  writeRegister(cpu, offset >> 4, value);
}

const ACCESS_READ: u32 = 1;
const ACCESS_WRITE: u32 = 2;

/** How an x2APIC register may be accessed (SDM table 11-6). */
function x2Access(register: u32): u32 {
  if (register >= REG_ISR && register < REG_ESR) return ACCESS_READ;
  if (lvtIndex(register) >= 0) return ACCESS_READ | ACCESS_WRITE;
  switch (register) {
    case REG_TPR:
    case REG_SVR:
    case REG_ESR:
    case REG_ICR:
    case REG_INITIAL_COUNT:
    case REG_DIVIDE:
      return ACCESS_READ | ACCESS_WRITE;
    case REG_ID:
    case REG_VERSION:
    case REG_PPR:
    case REG_LDR:
    case REG_CURRENT_COUNT:
      return ACCESS_READ;
    case REG_EOI:
    case REG_SELF_IPI:
      return ACCESS_WRITE;
    default:
      return 0;
  }
}

/**
 * Whether RDMSR or WRMSR of this number is allowed; false means #GP. In xAPIC mode the x2APIC range does not exist (SDM
 * 11.12.1.2); bhyve reads 0 there and ignores writes, which no guest can have a use for.
 */
export function lapicMsrExists(cpu: u32, msr: u32, write: bool): bool {
  if (msr === MSR_APIC_BASE || msr === MSR_TSC_DEADLINE) return true;
  if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST) return false;
  if (!lapicInX2Mode(vcpuBlock(cpu))) return false;
  return (x2Access(msr - MSR_X2APIC_FIRST) & (write ? ACCESS_WRITE : ACCESS_READ)) !== 0;
}

/** RDMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC register. */
export function lapicMsrRead(cpu: u32, msr: u32): u64 {
  const block = vcpuBlock(cpu);
  if (msr === MSR_APIC_BASE) return load<u64>(block, L_APIC_BASE);
  if (msr === MSR_TSC_DEADLINE) return timerReadTscDeadline(cpu);
  if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST || !lapicInX2Mode(block)) return 0;
  const register = msr - MSR_X2APIC_FIRST;
  if (!(x2Access(register) & ACCESS_READ)) return 0;
  if (register === REG_ICR) return load<u64>(block, L_ICR);
  return readRegister(cpu, register);
}

/** The transitions of SDM figure 11-27: x2APIC mode is entered from xAPIC mode and left only by disabling. */
function writeApicBase(cpu: u32, value: u64): bool {
  const block = vcpuBlock(cpu);
  const before = load<u64>(block, L_APIC_BASE);
  if (value & (APIC_BASE_RESERVED_LOW | APIC_BASE_RESERVED_HIGH)) return false;
  const extended = (value & APIC_BASE_EXTD) !== 0;
  const enabled = (value & APIC_BASE_ENABLE) !== 0;
  if (extended) {
    if (!enabled || !(load<u32>(CFG_FLAGS) & CFGF_X2APIC)) return false;
    if (!(before & APIC_BASE_ENABLE)) return false;
  } else if (before & APIC_BASE_EXTD && enabled) {
    return false;
  }
  store<u64>(block, value, L_APIC_BASE);
  // Disabling loses the registers' contents (SDM 11.4.3); entering x2APIC mode keeps all but the destination half.
  if (!enabled && before & APIC_BASE_ENABLE) lapicInit(cpu);
  if (extended && !(before & APIC_BASE_EXTD)) store<u32>(block, 0, L_ICR + 4);
  if (picOutput()) kickVcpu(cpu, PEND_INTR);
  return true;
}

/** Bits that a WRMSR to an x2APIC register must leave zero. */
function x2Reserved(register: u32): u64 {
  const lvt = lvtIndex(register);
  // Delivery status and Remote IRR may be written back as read.
  if (lvt >= 0) return ~(<u64>(lvtWritable(lvt) | 0x5000));
  switch (register) {
    case REG_TPR:
    case REG_SELF_IPI:
      return ~(<u64>0xff);
    case REG_SVR:
      return ~(<u64>0x13ff);
    case REG_INITIAL_COUNT:
      return ~(<u64>0xffffffff);
    case REG_DIVIDE:
      return ~(<u64>0xb);
    case REG_ICR:
      return <u64>~(ICR_WRITABLE | 0x3000);
    default:
      return ~(<u64>0);
  }
}

function writeX2(cpu: u32, register: u32, value: u64): bool {
  const block = vcpuBlock(cpu);
  if (!(x2Access(register) & ACCESS_WRITE) || value & x2Reserved(register)) return false;
  if (register === REG_SELF_IPI) {
    sendIpi(cpu, ((<u32>value) & 0xff) | 0x40000, 0);
  } else if (register === REG_ICR) {
    store<u64>(block, value & ~(<u64>0x3000), L_ICR);
    sendIpi(cpu, (<u32>value) & ICR_WRITABLE, <u32>(value >> 32));
  } else {
    writeRegister(cpu, register, <u32>value);
  }
  return true;
}

/** WRMSR of the registers that {@link lapicMsrRead} names. False means #GP. */
export function lapicMsrWrite(cpu: u32, msr: u32, value: u64): bool {
  if (msr === MSR_APIC_BASE) return writeApicBase(cpu, value);
  if (msr === MSR_TSC_DEADLINE) {
    timerWriteTscDeadline(cpu, value);
    return true;
  }
  if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST || !lapicInX2Mode(vcpuBlock(cpu))) return false;
  return writeX2(cpu, msr - MSR_X2APIC_FIRST, value);
}
