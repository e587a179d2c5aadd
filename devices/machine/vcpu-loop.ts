/** Running vCPUs: the blocking loop of a vCPU's own thread, and the taking of turns on the devices' thread. */
import {
  ACT_WAIT_SIPI,
  CFG_FLAGS,
  CFG_TIME_OFFSET_NS,
  CFGF_DETERMINISTIC,
  DET_NOW_NS,
  EXIT_BUDGET,
  EXIT_ERROR,
  EXIT_HALTED_FOREVER,
  EXIT_HLT,
  EXIT_MEMORY,
  EXIT_STOPPED,
  EXIT_SUSPEND,
  MEMORY_LOW,
  PEND_INTR,
  PEND_NMI,
  R_ACTIVITY,
  R_DOORBELL,
  R_EXIT_DEADLINE_NS,
  R_EXIT_DETAIL,
  R_PENDING,
  SUSPEND_ERROR,
  SUSPEND_HALT,
  SUSPEND_REASON,
} from '../../core-as/layout.ts';
import { CONTROL_QUIT, ringHostDoorbell, THREAD_GONE, THREAD_RUNNING, type MailboxClient } from './mailbox.ts';
import { vcpuBlock, type Core, type CoreState } from './core.ts';

/** About one millisecond of guest work: what an event waits for at most in inline mode. */
export const SLICE_INSNS = 100_000;
/** A sleep without a deadline still looks around now and then, should a wake-up be lost to a host's sleep mode. */
const LONGEST_SLEEP_NS = 10e9;
/**
 * A guest that waits for a device sleeps for less than the host takes to put its thread to sleep and to wake it. So a sleep that was over as soon as
 * this is followed by one that begins with looking, some tens of microseconds of it: a guest that waits for nothing but its timers never does.
 */
const SHORT_SLEEP_NS = 150_000;
const LOOKS = 4000;
/** How often a vCPU that rests for memory asks the devices' thread to look. */
const LONGEST_REST_MS = 2;

/** Machine time of the core (core-as/time.ts) on this thread. */
export function machineNowNs(state: CoreState, hostNowNs: () => number): number {
  if (state.u32(CFG_FLAGS) & CFGF_DETERMINISTIC) return Number(state.u64(DET_NOW_NS));
  return hostNowNs() + state.f64(CFG_TIME_OFFSET_NS);
}

/** What a vCPU does next. */
export type AfterRun = 'again' | 'sleep' | 'rest' | 'stop';

/** Turns the reason why run() returned into what to do next; decides the machine's end where the reason says so. */
export function afterRun(core: Core, exitReason: number): AfterRun {
  switch (exitReason) {
    case EXIT_BUDGET:
      return 'again';
    case EXIT_HLT:
      return 'sleep';
    case EXIT_MEMORY:
      return 'rest';
    case EXIT_HALTED_FOREVER:
      core.state.suspend(SUSPEND_HALT);
      return 'stop';
    case EXIT_SUSPEND:
    case EXIT_STOPPED:
      return 'stop';
    case EXIT_ERROR:
    default:
      core.state.suspend(SUSPEND_ERROR);
      return 'stop';
  }
}

/** PEND_* bits that end a sleep. A vCPU that waits for SIPI takes no interrupts; one bit of those would keep it spinning. */
function wakingBits(state: CoreState, block: number): number {
  const pending = state.u32(block + R_PENDING);
  return state.u32(block + R_ACTIVITY) === ACT_WAIT_SIPI ? pending & ~(PEND_INTR | PEND_NMI) : pending;
}

/**
 * Sleeps in HLT until the doorbell rings or the vCPU's next timer is due, and looks at the doorbell so often before it lets the host's thread sleep.
 * Returns how long that took. For threads that may block.
 */
export function sleepBlocking(state: CoreState, vcpu: number, hostNowNs: () => number, looks: number): number {
  const block = vcpuBlock(vcpu);
  // The doorbell before the pending bits: a kick sets bits first, so one of the two loads sees it.
  const doorbell = (block + R_DOORBELL) >> 2;
  const seen = Atomics.load(state.i32, doorbell);
  if (wakingBits(state, block) !== 0) return 0;
  const fromNs = machineNowNs(state, hostNowNs);
  const leftNs = state.f64(block + R_EXIT_DEADLINE_NS) - fromNs;
  if (!(leftNs > 0)) return 0;
  for (let look = 0; look < looks; look++) if (Atomics.load(state.i32, doorbell) !== seen) return 0;
  Atomics.wait(state.i32, doorbell, seen, Math.min(leftNs, LONGEST_SLEEP_NS) / 1e6);
  return machineNowNs(state, hostNowNs) - fromNs;
}

/**
 * Rests until more memory is ready, or until the doorbell rings: what the code ring asks for is done by run(). The devices' thread, which the
 * other vCPUs do not wake when they have done that, is asked to look.
 */
function restBlocking(state: CoreState, vcpu: number): void {
  const doorbell = (vcpuBlock(vcpu) + R_DOORBELL) >> 2;
  const seen = Atomics.load(state.i32, doorbell);
  if (state.u32(MEMORY_LOW) === 0) return;
  ringHostDoorbell(state);
  Atomics.wait(state.i32, doorbell, seen, LONGEST_REST_MS);
}

/** The life of a vCPU's thread: runs until told to quit, stopping on the way whenever asked. Blocks. */
export function runVcpuThread(core: Core, mailbox: MailboxClient, hostNowNs: () => number): void {
  const { state, exports, vcpu } = core;
  for (;;) {
    if (mailbox.waitWhilePaused() === CONTROL_QUIT) break;
    mailbox.setThreadState(THREAD_RUNNING);
    exports.stateChanged();
    let looks = 0;
    for (let next: AfterRun = 'again'; next !== 'stop';) {
      next = afterRun(core, exports.run(SLICE_INSNS));
      if (next === 'sleep') looks = sleepBlocking(state, vcpu, hostNowNs, looks) < SHORT_SLEEP_NS ? LOOKS : 0;
      else if (next === 'rest') restBlocking(state, vcpu);
    }
    // A stop that nobody asked for is the machine's end: rest until the devices' thread, told by the doorbell, says QUIT.
    if (state.u32(SUSPEND_REASON) !== 0) mailbox.park();
  }
  mailbox.setThreadState(THREAD_GONE);
}

/** Waits on a doorbell without blocking; one wait is pending at a time, however often it is armed. */
class DoorbellWait {
  #armed = false;
  #seen = 0;

  constructor(
    private readonly state: CoreState,
    private readonly address: number,
    private readonly rang: () => void,
  ) {}

  /** Calls `rang` once the word no longer is `seen`. False when that is so already. */
  arm(seen: number): boolean {
    if (this.#armed && this.#seen === seen) return true;
    const result = Atomics.waitAsync(this.state.i32, this.address >> 2, seen);
    if (!result.async) return false;
    this.#armed = true;
    this.#seen = seen;
    void result.value.then(() => {
      if (this.#seen === seen) this.#armed = false;
      this.rang();
    });
    return true;
  }
}

/** What the inline loop is given besides its vCPUs. */
export interface InlineLoopDeps {
  hostNowNs(): number;
  yieldNow(): Promise<void>;
  /** Serves what devices have to do between slices (timers, UART rings). */
  serviceDevices(): void;
  /** Machine time of the next device timer; Infinity: none. */
  nextDeviceDeadlineNs(): number;
  /** A device is busy with a reset: no vCPU runs meanwhile. */
  stalled(): boolean;
  /** Which vCPU is inside run(); undefined: none. */
  runs?(vcpu: number | undefined): void;
  /** What a vCPU does at its turn, instead of running for a slice of time: returns an EXIT_* reason. */
  runSlice?(core: Core): number;
}

/** All vCPUs take turns on the devices' thread. Ends when a vCPU stops. */
export class InlineLoop {
  readonly #doorbells: DoorbellWait[];
  readonly #sleeping: boolean[];
  #stopRequested = false;
  #wake: (() => void) | undefined;

  constructor(
    private readonly cores: readonly Core[],
    private readonly deps: InlineLoopDeps,
  ) {
    this.#doorbells = cores.map((core) => {
      return new DoorbellWait(core.state, core.block + R_DOORBELL, () => this.#wake?.());
    });
    this.#sleeping = cores.map(() => false);
  }

  /** Makes {@link run} return after the slice that is under way. */
  requestStop(): void {
    this.#stopRequested = true;
    this.#wake?.();
  }

  async run(): Promise<void> {
    this.#stopRequested = false;
    this.#sleeping.fill(false);
    for (const core of this.cores) core.exports.stateChanged();
    while (!this.#stopRequested && this.#suspendReason() === 0) {
      let awake = 0;
      while (this.deps.stalled() && !this.#stopRequested) await this.deps.yieldNow();
      for (const [i, core] of this.cores.entries()) {
        if (this.#sleeping[i] && !this.#wakes(core)) continue;
        this.deps.runs?.(core.vcpu);
        const next = afterRun(core, this.deps.runSlice?.(core) ?? core.exports.run(SLICE_INSNS));
        this.deps.runs?.(undefined);
        // A stop left over from an earlier pause is no reason to end.
        if (next === 'stop' && (this.#stopRequested || this.#suspendReason() !== 0)) break;
        this.#sleeping[i] = next === 'sleep' && !this.#wakes(core);
        if (!this.#sleeping[i]) awake++;
      }
      this.deps.serviceDevices();
      if (awake > 0) await this.deps.yieldNow();
      else await this.#sleepAll();
      this.deps.serviceDevices();
    }
    this.deps.serviceDevices();
  }

  #suspendReason(): number {
    return this.cores[0]?.state.u32(SUSPEND_REASON) ?? 0;
  }

  #wakes(core: Core): boolean {
    if (wakingBits(core.state, core.block) !== 0) return true;
    return core.state.f64(core.block + R_EXIT_DEADLINE_NS) <= machineNowNs(core.state, this.deps.hostNowNs);
  }

  /** Every vCPU is in HLT: waits for the first deadline or for any doorbell, whichever is earlier. */
  async #sleepAll(): Promise<void> {
    const first = this.cores[0];
    if (!first) return;
    const { state } = first;
    const deterministic = (state.u32(CFG_FLAGS) & CFGF_DETERMINISTIC) !== 0;
    let deadlineNs = deterministic ? this.deps.nextDeviceDeadlineNs() : Infinity;
    for (const [i, core] of this.cores.entries()) {
      const seen = Atomics.load(state.i32, (core.block + R_DOORBELL) >> 2);
      if (this.#wakes(core)) return;
      deadlineNs = Math.min(deadlineNs, state.f64(core.block + R_EXIT_DEADLINE_NS));
      if (!this.#doorbells[i]?.arm(seen)) return;
    }
    if (deterministic && deadlineNs !== Infinity) {
      // Counted time does not pass by itself: nothing runs before the deadline, so it is now.
      state.setU64(DET_NOW_NS, BigInt(Math.ceil(deadlineNs)));
      await this.deps.yieldNow();
      return;
    }
    const leftMs = Math.min(deadlineNs - machineNowNs(state, this.deps.hostNowNs), LONGEST_SLEEP_NS) / 1e6;
    // A timer of the event loop is late by up to a millisecond: short rests are spent polling.
    if (leftMs < 1) {
      await this.deps.yieldNow();
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.floor(leftMs));
      this.#wake = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopRequested) this.#wake();
    });
    this.#wake = undefined;
  }
}

/** What R_EXIT_DETAIL says of the vCPU that ended with EXIT_ERROR. */
export function exitDetail(state: CoreState, vcpu: number): number {
  return state.u32(vcpuBlock(vcpu) + R_EXIT_DETAIL);
}
