/** EFLAGS.IF: CLI, STI, and what follows when it may have become 1. */
import { PEND_INTR, R_INT_SHADOW, R_PENDING, R_RFLAGS, SHADOW_STI } from '../layout';
import { FLAG_IF, cpl, cpu, intrWaiting, iopl, protectedMode, raiseGp, v8086 } from './state';
import { DONE, FAULT, REDISPATCH } from './status';

/** After IF may have become 1: have pending interrupts looked at again. */
export function interruptsMayBeEnabled(): void {
  if (intrWaiting && load<u32>(cpu, R_RFLAGS) & FLAG_IF) atomic.or<u32>(cpu, PEND_INTR, R_PENDING);
}

/** CLI, STI (with the rules of virtual-8086 and PVI left to IOPL). */
export function setInterruptFlag(on: bool): u32 {
  if ((protectedMode || v8086) && cpl() > iopl()) {
    raiseGp();
    return FAULT;
  }
  const flags = load<u32>(cpu, R_RFLAGS);
  if (!on) {
    store<u32>(cpu, flags & ~FLAG_IF, R_RFLAGS);
    return DONE;
  }
  store<u32>(cpu, flags | FLAG_IF, R_RFLAGS);
  if (!(flags & FLAG_IF)) {
    store<u32>(cpu, SHADOW_STI, R_INT_SHADOW);
    interruptsMayBeEnabled();
  }
  return REDISPATCH;
}
