/**
 * The lock around everything in core-as/intc that is not per vCPU: PIC, PIT, I/O APIC, HPET, RTC and UARTs.
 *
 * Only the doors (platform.ts and the few places of lapic.ts that say so) take it; every other function of this folder
 * expects it to be held. So it is never taken twice by one thread. A holder only computes, stores, and notifies: it never
 * calls the host and never waits, so the lock is held for less than a microsecond.
 *
 * But a holder may lose its processor: where there are fewer of those than busy threads, whoever only spun would burn a whole
 * time slice of the scheduler, at every such encounter. So waiting is spinning for a moment, then sleeping. A thread that must not
 * block (a browser's main thread) spins.
 *
 * Local APICs are outside: what other threads write there (IRR, TMR, the pending error bits, the ExtINT request) is
 * atomic, everything else is written by the owning vCPU alone.
 */
import { INTC_LOCK } from '../layout';

/** INTC_LOCK is free, held, or held while somebody may be asleep. */
const FREE: i32 = 0;
const HELD: i32 = 1;
const CONTENDED: i32 = 2;

/** Looks before sleeping: longer than the lock is held, shorter than falling asleep and being woken takes. */
const SPINS: u32 = 200;

/** This instance runs on a thread that may block in atomic.wait. */
let mayBlock: bool = false;

/** Lets {@link lockPlatform} of this instance sleep. */
export function allowBlocking(): void {
  mayBlock = true;
}

function lockContended(): void {
  for (let spins: u32 = 0; spins < SPINS || !mayBlock; spins++) {
    // Reading until it looks free keeps the cache line shared while the holder works.
    if (atomic.load<i32>(INTC_LOCK) === FREE && atomic.cmpxchg<i32>(INTC_LOCK, FREE, HELD) === FREE) return;
  }
  // Who has slept takes the lock as contended: it cannot know whether it was the only one asleep.
  while (atomic.xchg<i32>(INTC_LOCK, CONTENDED) !== FREE) atomic.wait<i32>(INTC_LOCK, CONTENDED, -1);
}

/** Takes INTC_LOCK. */
export function lockPlatform(): void {
  if (atomic.cmpxchg<i32>(INTC_LOCK, FREE, HELD) !== FREE) lockContended();
}

/** Releases INTC_LOCK. */
export function unlockPlatform(): void {
  if (atomic.xchg<i32>(INTC_LOCK, FREE) === CONTENDED) atomic.notify(INTC_LOCK, 1);
}
