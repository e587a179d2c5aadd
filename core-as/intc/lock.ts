/**
 * The lock around everything in core-as/intc that is not per vCPU: PIC, PIT, I/O APIC, HPET, RTC and UARTs.
 *
 * Only the doors (platform.ts and the few places of lapic.ts that say so) take it; every other function of this folder
 * expects it to be held. So it is never taken twice by one thread. A holder only computes, stores, and notifies: it never
 * calls the host and never waits, so the lock is held for microseconds and spinning is right, also on a browser's
 * main thread, which must not block in atomic.wait.
 *
 * Local APICs are outside: what other threads write there (IRR, TMR, the pending error bits, the ExtINT request) is
 * atomic, everything else is written by the owning vCPU alone.
 */
import { INTC_LOCK } from '../layout';

/** Takes INTC_LOCK. */
export function lockPlatform(): void {
  while (atomic.cmpxchg<i32>(INTC_LOCK, 0, 1) !== 0) {
    // Reading until it looks free keeps the cache line shared while the holder works.
    while (atomic.load<i32>(INTC_LOCK) !== 0) {}
  }
}

/** Releases INTC_LOCK. */
export function unlockPlatform(): void {
  atomic.store<i32>(INTC_LOCK, 0);
}
