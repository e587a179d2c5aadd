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
  EXIT_HALTED_FOREVER,
  EXIT_HLT,
  EXIT_STOPPED,
  EXIT_SUSPEND,
  HOST_DOORBELL,
  HOST_UART_EVENTS,
  PEND_INTR,
  PEND_STOP,
  PIC,
  POOL_USED_CHUNKS,
  R_EXIT_DEADLINE_NS,
  R_GPR,
  R_PENDING,
  R_RFLAGS,
  SUSPEND_POWEROFF,
  SUSPEND_REASON,
  UART,
  UART_RINGS,
  UART_RING_SIZE,
  UART_RX_HEAD,
  UART_RX_TAIL,
  UART_STRIDE,
  UART_TX_HEAD,
  UART_TX_TAIL,
  VCPU,
  VCPU_STRIDE,
} from '../../core-as/layout';

let block: u32 = 0;
let vcpuNumber: i32 = -1;

export function init(vcpu: i32): void {
  vcpuNumber = vcpu;
  block = VCPU + <u32>max(vcpu, 0) * VCPU_STRIDE;
}
export function allowBlocking(): void {}

// What compiled regions would call; this core compiles nothing.
export function initJit(): void {}
export function jitRead(): void {}
export function jitWrite(): void {}
export function jitReadModify(): void {}
export function jitWriteBack(): void {}
export function jitRun(): void {}
export function jitFlags(): void {}
export function jitVector(): void {}
export function jitString(): void {}
export function machineInit(): void {}
export function restoredStateIsSound(): bool {
  return true;
}
/** A boot ROM whose last 16 bytes begin with 0xF5 chooses vCPU 0's script and its GPR 2. */
export function vcpuReset(): void {
  const rom = load<u32>(CHUNKS + 2047 * 4) & ~(<u32>CHUNK_SIZE - 1);
  if (rom === 0 || vcpuNumber !== 0 || load<u8>(rom + CHUNK_SIZE - 16) !== 0xf5) return;
  store<u64>(block, load<u8>(rom + CHUNK_SIZE - 15), R_GPR);
  store<u64>(block, load<u32>(rom + CHUNK_SIZE - 12), R_GPR + 16);
}
export function stateChanged(): void {}

/** GPR 0 selects the script, GPR 1 counts its steps, GPR 2 is its result, GPR 3 its limit. */
export function run(_budget: i32): i32 {
  const pending = atomic.load<u32>(block, R_PENDING);
  if (pending & PEND_STOP) {
    atomic.and<u32>(block, ~PEND_STOP, R_PENDING);
    return EXIT_STOPPED;
  }
  if (atomic.load<u32>(SUSPEND_REASON)) return EXIT_SUSPEND;
  const script = <u32>load<u64>(block, R_GPR);
  const step = load<u64>(block, R_GPR + 8);
  store<u64>(block, step + 1, R_GPR + 8);
  if (script === 1) {
    // Reads and writes in turn; ends when the limit is reached.
    const value = hostPortRead(0x1000, 4);
    hostPortWrite(0x1000, 4, value + 1);
    hostMmioWrite(3221225472.0, 4, value);
    store<u64>(block, hostMmioRead(3221225472.0, 4), R_GPR + 16);
    if (step + 1 >= load<u64>(block, R_GPR + 24)) atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
    return EXIT_BUDGET;
  }
  if (script === 2) {
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
  if (script === 3) {
    // Halts for ten milliseconds each time.
    store<u64>(block, step, R_GPR + 16);
    if (step >= load<u64>(block, R_GPR + 24)) {
      atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
      return EXIT_SUSPEND;
    }
    store<f64>(block, hostNowNs() + 10_000_000.0, R_EXIT_DEADLINE_NS);
    return EXIT_HLT;
  }
  if (script === 4) {
    // Posted writes only, then one read that must see them all.
    for (let i: u32 = 0; i < 1000; i++) hostMmioWrite(3221225472.0, 4, i);
    store<u64>(block, hostMmioRead(3221225472.0, 4), R_GPR + 16);
    hostNote(1, 7.0, 8.0);
    atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
    return EXIT_SUSPEND;
  }
  if (script === 5) unreachable();
  if (script === 6) {
    // One port write (GPR 4: port, GPR 5: size, GPR 6: value), then HLT for ever.
    if (step === 0) {
      hostPortWrite(
        <u32>load<u64>(block, R_GPR + 32),
        <u32>load<u64>(block, R_GPR + 40),
        <u32>load<u64>(block, R_GPR + 48),
      );
    }
    store<f64>(block, Infinity, R_EXIT_DEADLINE_NS);
    return EXIT_HLT;
  }
  if (script === 7) return EXIT_HALTED_FOREVER;
  if (script === 8) {
    // Prints GPR 2 dots on COM1, as fast as the ring takes them, then powers off.
    const printed = load<u64>(block, R_GPR + 24);
    if (printed >= load<u64>(block, R_GPR + 16)) {
      atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
      return EXIT_SUSPEND;
    }
    store<u64>(block, printed + putByte(0, 48 + <u32>(printed % 10)), R_GPR + 24);
    return EXIT_BUDGET;
  }
  if (script === 9) {
    // Echoes COM1 until a "q" comes, which is echoed and powers off.
    if (outputFull(0)) return EXIT_BUDGET;
    const byte = takeByte(0);
    if (byte >= 0) {
      putByte(0, <u32>byte);
      if (byte === 113) atomic.cmpxchg<u32>(SUSPEND_REASON, 0, SUSPEND_POWEROFF);
      return EXIT_BUDGET;
    }
    store<f64>(block, hostNowNs() + 1_000_000.0, R_EXIT_DEADLINE_NS);
    return EXIT_HLT;
  }
  return EXIT_BUDGET;
}

function notifyHost(uart: u32): void {
  if (atomic.or<u32>(HOST_UART_EVENTS, 1 << uart) & (1 << uart)) return;
  atomic.add<i32>(HOST_DOORBELL, 1);
  atomic.notify(HOST_DOORBELL, i32.MAX_VALUE);
}

function outputFull(uart: u32): bool {
  const at = UART + uart * UART_STRIDE;
  return atomic.load<u32>(at, UART_TX_HEAD) - atomic.load<u32>(at, UART_TX_TAIL) >= <u32>UART_RING_SIZE;
}

/** 1 when the ring took the byte, 0 when it is full. */
function putByte(uart: u32, byte: u32): u64 {
  const at = UART + uart * UART_STRIDE;
  const head = atomic.load<u32>(at, UART_TX_HEAD);
  if (outputFull(uart)) return 0;
  store<u8>(UART_RINGS + uart * 2 * UART_RING_SIZE + (head & (UART_RING_SIZE - 1)), <u8>byte);
  atomic.store<u32>(at, head + 1, UART_TX_HEAD);
  notifyHost(uart);
  return 1;
}

function takeByte(uart: u32): i32 {
  const at = UART + uart * UART_STRIDE;
  const tail = atomic.load<u32>(at, UART_RX_TAIL);
  if (tail === atomic.load<u32>(at, UART_RX_HEAD)) return -1;
  const byte = load<u8>(UART_RINGS + uart * 2 * UART_RING_SIZE + UART_RING_SIZE + (tail & (UART_RING_SIZE - 1)));
  atomic.store<u32>(at, tail + 1, UART_RX_TAIL);
  notifyHost(uart);
  return byte;
}

export function uartHostEvent(_uart: u32): void {}
export function uartIrqLevel(_uart: u32): u32 {
  return 0;
}
export function uartRead(_uart: u32, _register: u32): u32 {
  return 0xff;
}
export function uartRouteIntx(_uart: u32, _lines: u32): void {}
export function uartWrite(_uart: u32, _register: u32, _value: u32): void {}
/** The fake core has no ports of its own. */
export function portWrite(_port: u32, _size: u32, _value: u32): void {}

export function setIsaIrq(irq: u32, asserted: u32): void {
  const bits = load<u32>(PIC);
  store<u32>(PIC, asserted ? bits | (1 << irq) : bits & ~(1 << irq));
}
export function pulseIsaIrq(_irq: u32): void {}
export function setIoApicPin(_pin: u32, _asserted: u32): void {}
export function sendMsi(_addressLow: u32, _addressHigh: u32, _data: u32): void {}
export function platformReset(): void {}
export function raiseNmi(_vcpu: u32): void {}
export function getRflags(): u64 {
  return load<u64>(block, R_RFLAGS);
}
export function setRflags(value: u64): void {
  store<u64>(block, value, R_RFLAGS);
}

export function debugStep(): i32 {
  return stepOne();
}

export function stepOne(): i32 {
  return run(1);
}

export function commitChunk(chunkIndex: u32): u32 {
  if (chunkIndex >= 0x10000) return 0;
  const entry = load<u32>(CHUNKS + chunkIndex * 4);
  if ((entry & CHUNK_RAM) === 0) return 0;
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

/** It keeps no translations. */
export function flushAllVcpus(): void {}
