/** A core without a processor: run() plays one of a few scripts, so that loops, mailboxes and threads can be tested. */
import {
  hostMmioRead,
  hostMmioWrite,
  hostNote,
  hostNowNs,
  hostPortRead,
  hostPortWrite,
  hostRandom,
  hostWallSeconds,
} from '../../core-as/host';
import {
  CHUNKS,
  CHUNK_RAM,
  CHUNK_SIZE,
  CFG_POOL_START,
  EXIT_BUDGET,
  EXIT_HLT,
  EXIT_STOPPED,
  EXIT_SUSPEND,
  PEND_INTR,
  PEND_STOP,
  POOL_USED_CHUNKS,
  R_EXIT_DEADLINE_NS,
  R_GPR,
  R_PENDING,
  SUSPEND_POWEROFF,
  SUSPEND_REASON,
  VCPU,
  VCPU_STRIDE,
} from '../../core-as/layout';

let block: u32 = 0;
let vcpuNumber: i32 = -1;

export function init(vcpu: i32): void {
  vcpuNumber = vcpu;
  block = VCPU + <u32>max(vcpu, 0) * VCPU_STRIDE;
}
export function machineInit(): void {}
export function vcpuReset(): void {}
export function stateChanged(): void {}

/** GPR 0 selects the script, GPR 1 counts its steps, GPR 2 is its result, GPR 3 its limit. */
export function run(budget: i32): i32 {
  const pending = atomic.load<u32>(block, R_PENDING);
  if (pending & PEND_STOP) {
    atomic.and<u32>(block, ~PEND_STOP, R_PENDING);
    return EXIT_STOPPED;
  }
  if (atomic.load<u32>(SUSPEND_REASON)) return EXIT_SUSPEND;
  const script = <u32>load<u64>(block, R_GPR);
  const step = load<u64>(block, R_GPR + 8);
  store<u64>(block, step + 1, R_GPR + 8);
  if (script == 1) {
    // Reads and writes in turn; ends when the limit is reached.
    const value = hostPortRead(0x1000, 4);
    hostPortWrite(0x1000, 4, value + 1);
    hostMmioWrite(3221225472.0, 4, value);
    store<u64>(block, hostMmioRead(3221225472.0, 4), R_GPR + 16);
    if (step + 1 >= load<u64>(block, R_GPR + 24)) atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
    return EXIT_BUDGET;
  }
  if (script == 2) {
    // Halts until an interrupt; counts interrupts and ends at the limit.
    if (pending & PEND_INTR) {
      atomic.and<u32>(block, ~PEND_INTR, R_PENDING);
      const seen = load<u64>(block, R_GPR + 16) + 1;
      store<u64>(block, seen, R_GPR + 16);
      if (seen >= load<u64>(block, R_GPR + 24)) {
        atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
        return EXIT_SUSPEND;
      }
    }
    store<f64>(block, Infinity, R_EXIT_DEADLINE_NS);
    return EXIT_HLT;
  }
  if (script == 3) {
    // Halts for ten milliseconds each time.
    store<u64>(block, step, R_GPR + 16);
    if (step >= load<u64>(block, R_GPR + 24)) {
      atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
      return EXIT_SUSPEND;
    }
    store<f64>(block, hostNowNs() + 10_000_000.0, R_EXIT_DEADLINE_NS);
    return EXIT_HLT;
  }
  if (script == 4) {
    // Posted writes only, then one read that must see them all.
    for (let i: u32 = 0; i < 1000; i++) hostMmioWrite(3221225472.0, 4, i);
    store<u64>(block, hostMmioRead(3221225472.0, 4), R_GPR + 16);
    hostNote(1, 7.0, 8.0);
    atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
    return EXIT_SUSPEND;
  }
  if (script == 5) unreachable();
  return EXIT_BUDGET;
}

export function stepOne(): i32 {
  return run(1);
}

export function commitChunk(chunkIndex: u32): u32 {
  if (chunkIndex >= 0x10000) return 0;
  const entry = load<u32>(CHUNKS + chunkIndex * 4);
  if ((entry & CHUNK_RAM) == 0) return 0;
  if (entry & ~(<u32>CHUNK_SIZE - 1)) return entry & ~(<u32>CHUNK_SIZE - 1);
  const number = atomic.add<u32>(POOL_USED_CHUNKS, 1);
  const linear = load<u32>(CFG_POOL_START) + number * CHUNK_SIZE;
  store<u32>(CHUNKS + chunkIndex * 4, linear | CHUNK_RAM);
  return linear;
}

let notedBytes: u32 = 0;
export function noteWrite(linear: u32, lengthBytes: u32): void {
  notedBytes += lengthBytes;
}
export function notedWriteBytes(): u32 {
  return notedBytes;
}
export function randomSample(): u32 {
  return hostRandom() ^ (<u32>hostWallSeconds()) ^ (<u32>vcpuNumber);
}
