/**
 * Eight 16550A UARTs (National Semiconductor PC16550D data sheet), as bhyve presents them: no baud-rate timing, receive
 * interrupts always reported as "character timeout". 0-3 are COM1-4 on ISA interrupts 4 and 3, 4-7 belong to PCI functions
 * whose INTx lines the host routes ({@link uartSetIntxLines}). Expects INTC_LOCK to be held.
 *
 * Where real guests need the real chip, this differs from bhyve:
 * - Enabling the THRE interrupt while the transmitter is empty raises it (Linux starts every transmission so).
 * - MSR shows CTS beside DSR and DCD, which bhyve shows as well whether a backend is attached or not: an open(2) without CLOCAL does
 *   not wait, and `stty crtscts` does not hang.
 * - THRE and TEMT go away while the ring to the host is nearly full: a slow reader slows the guest, nothing is lost.
 * - Input waits in the host's ring until the guest listens: until it enables the receive interrupt (IER.ERBFI), or has read
 *   LSR {@link LISTEN_POLLS} times with nothing received and nothing sent between (firmware, boot loaders). Listening ends when ERBFI is
 *   cleared or the receiver is reset. A reset of the receiver drops what LSR has told the guest of, at most a FIFO's
 *   worth; anything else in the FIFO goes back to the ring. IIR does not count: an interrupt handler reads it before it takes the
 *   port's lock, while another processor may be opening the port.
 * - RTS is heeded (a guest's `stty crtscts`), once a guest that listens has raised it; simple systems never do. Without it a guest whose
 *   interrupt handler outruns its reader loses input, as on a real line.
 * - A line has gaps, which drivers rely on: Linux leaves its interrupt handler after some 100 KiB without one, and no new edge would come.
 *   So after {@link BURST_BYTES} the FIFO stays empty until the guest has seen that, in IIR or twice in LSR. Systems reset the FIFO and read RBR once when they open
 *   the port, and bhyve then also empties its terminal: piped input and type-ahead would be lost.
 */
import {
  CFGF_LPC,
  CFG_FLAGS,
  HOST_DOORBELL,
  HOST_UART_EVENTS,
  UART,
  UART_CONNECTED,
  UART_COUNT,
  UART_INTX_LINES,
  UART_IO_BASE,
  UART_RINGS,
  UART_RING_SIZE,
  UART_RX_HEAD,
  UART_RX_TAIL,
  UART_STRIDE,
  UART_TX_HEAD,
  UART_TX_NOTIFY,
  UART_TX_TAIL,
} from '../layout';
import { isaPulse, setUartLines } from './isa-lines';

/** State: u32 each, then the receiver FIFO's bytes. The ring indexes of layout.ts follow at 0xC0. */
const U_DLL = 0x00;
const U_DLM = 0x04;
const U_IER = 0x08;
const U_FCR = 0x0c;
const U_LCR = 0x10;
const U_MCR = 0x14;
/** Only OE is kept here; the other bits are derived. */
const U_LSR = 0x18;
const U_MSR = 0x1c;
const U_SCR = 0x20;
/** A THRE interrupt is due, whatever IER says. */
const U_THRE_PENDING = 0x24;
/** The output ring has no room for a FIFO's worth: THRE is withheld until there is plenty. */
const U_TX_BLOCKED = 0x28;
const U_IRQ = 0x2c;
const U_RX_COUNT = 0x30;
const U_RX_FIRST = 0x34;
const U_RX_FIFO = 0x40;
/** Bit i: the byte in slot i of the FIFO came from the host's ring, which keeps it until the guest takes it. */
const U_RX_BORROWED = 0x50;
/** So many of the FIFO's bytes, the oldest, have been announced to the guest by LSR. */
const U_RX_SEEN = 0x54;
/** Reads of LSR since something was last received or sent, up to LISTEN_POLLS. */
const U_IDLE_POLLS = 0x58;
/** Bytes taken since the receiver was last seen empty. */
const U_BURST = 0x5c;
/** Reads of LSR that found nothing since the burst was cut. */
const U_GAP_LOOKS = 0x60;
/** The guest has raised RTS since it enabled the receive interrupt: by dropping it, it asks the far end to wait. */
const U_RTS_USED = 0x64;

/** UARTs of PCI functions begin here. */
const FIRST_PCI_UART: u32 = 4;

const FIFO_SIZE: u32 = 16;
const BURST_BYTES: u32 = 0x10000;
const RING_SIZE: u32 = UART_RING_SIZE;
const RING_MASK: u32 = RING_SIZE - 1;
/** Free bytes at which THRE comes back: enough that the guest is not interrupted for every few bytes. */
const TX_RESUME_FREE: u32 = 2048;

/** More than any driver needs to find and set up the port, few for one that waits: a firmware may poll at 18 Hz only. */
const LISTEN_POLLS: u32 = 16;

/** Register numbers. */
const REG_DATA: u32 = 0;
const REG_IER: u32 = 1;
const REG_IIR_FCR: u32 = 2;
const REG_LCR: u32 = 3;
const REG_MCR: u32 = 4;
const REG_LSR: u32 = 5;
const REG_MSR: u32 = 6;
const REG_SCR: u32 = 7;

const IER_RX: u32 = 0x01;
const IER_THRE: u32 = 0x02;
const IER_LINE_STATUS: u32 = 0x04;
const IER_MODEM: u32 = 0x08;

const IIR_NONE: u32 = 0x01;
const IIR_THRE: u32 = 0x02;
const IIR_LINE_STATUS: u32 = 0x06;
const IIR_RX_TIMEOUT: u32 = 0x0c;
const IIR_FIFOS_ENABLED: u32 = 0xc0;

const FCR_ENABLE: u32 = 0x01;
const FCR_RX_RESET: u32 = 0x02;
/** FIFO enable, DMA mode and receiver trigger are kept. */
const FCR_KEPT: u32 = 0xc9;

const LCR_DLAB: u32 = 0x80;

const MCR_DTR: u32 = 0x01;
const MCR_RTS: u32 = 0x02;
const MCR_OUT1: u32 = 0x04;
const MCR_OUT2: u32 = 0x08;
const MCR_LOOPBACK: u32 = 0x10;

const LSR_DR: u32 = 0x01;
const LSR_OE: u32 = 0x02;
const LSR_THRE: u32 = 0x20;
const LSR_TEMT: u32 = 0x40;

const MSR_TERI: u32 = 0x04;
const MSR_CTS: u32 = 0x10;
const MSR_DSR: u32 = 0x20;
const MSR_RI: u32 = 0x40;
const MSR_DCD: u32 = 0x80;

function uartBlock(n: u32): u32 {
  return UART + n * UART_STRIDE;
}

function txRing(n: u32): u32 {
  return UART_RINGS + n * 2 * UART_RING_SIZE;
}

function rxRing(n: u32): u32 {
  return txRing(n) + UART_RING_SIZE;
}

/** Power-on state. Rings and the connection are the host's and stay: output before a reset must still be seen. */
export function uartReset(n: u32): void {
  const block = uartBlock(n);
  memory.fill(block, 0, UART_TX_HEAD);
  store<u32>(block, 1, U_DLL);
  store<u32>(block, modemLines(block), U_MSR);
}

/** Tells the devices' thread that a ring changed. Only the first of several events wakes it. */
function notifyHost(n: u32): void {
  const bit: u32 = 1 << n;
  if (atomic.or<u32>(HOST_UART_EVENTS, bit) & bit) return;
  atomic.add<i32>(HOST_DOORBELL, 1);
  atomic.notify(HOST_DOORBELL, i32.MAX_VALUE);
}

// ---------------------------------------------------------------------------------------------------------------------
// Receiver

function rxDepth(block: u32): u32 {
  return load<u32>(block, U_FCR) & FCR_ENABLE ? FIFO_SIZE : 1;
}

/** Adds a byte; `borrowed` is 1 for one of the host's ring, 0 for one of the loopback. */
function rxPush(block: u32, byte: u32, borrowed: u32): void {
  const count = load<u32>(block, U_RX_COUNT);
  if (count >= rxDepth(block)) {
    store<u32>(block, load<u32>(block, U_LSR) | LSR_OE, U_LSR);
    return;
  }
  const at = (load<u32>(block, U_RX_FIRST) + count) & (FIFO_SIZE - 1);
  store<u8>(block + at, <u8>byte, U_RX_FIFO);
  store<u32>(block, (load<u32>(block, U_RX_BORROWED) & ~(1 << at)) | (borrowed << at), U_RX_BORROWED);
  store<u32>(block, count + 1, U_RX_COUNT);
}

function listening(block: u32): bool {
  return (load<u32>(block, U_IER) & IER_RX) !== 0 || load<u32>(block, U_IDLE_POLLS) >= LISTEN_POLLS;
}

/** Shows the guest input from the host's ring in the FIFO. In loopback the line is cut and the ring waits. */
function refill(n: u32): void {
  const block = uartBlock(n);
  if (load<u32>(block, U_MCR) & MCR_LOOPBACK || !listening(block)) return;
  if (load<u32>(block, U_MCR) & MCR_RTS) {
    if (load<u32>(block, U_IER) & IER_RX) store<u32>(block, 1, U_RTS_USED);
  } else if (load<u32>(block, U_RTS_USED)) return;
  const tail = atomic.load<u32>(block, UART_RX_TAIL);
  const inRing = atomic.load<u32>(block, UART_RX_HEAD) - tail;
  // A ring that ran dry is a gap too.
  if (!inRing) store<u32>(block, 0, U_BURST);
  if (load<u32>(block, U_BURST) >= BURST_BYTES) return;
  const depth = rxDepth(block);
  let borrowed = popcnt<u32>(load<u32>(block, U_RX_BORROWED));
  // The host owns the head; an impossible distance means no input rather than old bytes for ever.
  if (inRing > RING_SIZE) return;
  while (borrowed < inRing && load<u32>(block, U_RX_COUNT) < depth) {
    rxPush(block, load<u8>(rxRing(n) + ((tail + borrowed) & RING_MASK)), 1);
    borrowed++;
  }
}

function rxPop(n: u32): u32 {
  const block = uartBlock(n);
  const count = load<u32>(block, U_RX_COUNT);
  if (!count) return 0;
  const first = load<u32>(block, U_RX_FIRST);
  const borrowed = load<u32>(block, U_RX_BORROWED);
  const seen = load<u32>(block, U_RX_SEEN);
  store<u32>(block, (first + 1) & (FIFO_SIZE - 1), U_RX_FIRST);
  store<u32>(block, count - 1, U_RX_COUNT);
  store<u32>(block, borrowed & ~(1 << first), U_RX_BORROWED);
  if (seen) store<u32>(block, seen - 1, U_RX_SEEN);
  store<u32>(block, load<u32>(block, U_BURST) + 1, U_BURST);
  if (borrowed & (1 << first)) {
    const tail = atomic.load<u32>(block, UART_RX_TAIL) + 1;
    atomic.store<u32>(block, tail, UART_RX_TAIL);
    // Whoever waits with a full ring hears of room once, when half of it is free, and at the latest when all is.
    const left = atomic.load<u32>(block, UART_RX_HEAD) - tail;
    if (left === 0 || left === RING_SIZE / 2) notifyHost(n);
  }
  return load<u8>(block + first, U_RX_FIFO);
}

/** The guest has seen the receiver empty: the interrupt line fell, and may rise again for more. */
function endBurst(block: u32): void {
  store<u32>(block, 0, U_BURST);
  store<u32>(block, 0, U_GAP_LOOKS);
}

/** LSR tells the guest of the FIFO's bytes: they are its own now, to take or to drop. */
function rxAnnounce(block: u32): void {
  store<u32>(block, load<u32>(block, U_RX_COUNT), U_RX_SEEN);
}

/** FCR resets the receiver: what the guest knows of is gone, what it does not returns to the ring. */
function rxReset(n: u32): void {
  const block = uartBlock(n);
  while (load<u32>(block, U_RX_SEEN)) rxPop(n);
  store<u32>(block, 0, U_RX_COUNT);
  store<u32>(block, 0, U_RX_FIRST);
  store<u32>(block, 0, U_RX_BORROWED);
  store<u32>(block, 0, U_IDLE_POLLS);
}

/** The guest stopped listening: what it has not been told of waits in the ring again. */
function stopListening(block: u32): void {
  store<u32>(block, 0, U_IDLE_POLLS);
  store<u32>(block, 0, U_RTS_USED);
  let count = load<u32>(block, U_RX_COUNT);
  let borrowed = load<u32>(block, U_RX_BORROWED);
  while (count > load<u32>(block, U_RX_SEEN)) {
    const newest: u32 = 1 << ((load<u32>(block, U_RX_FIRST) + count - 1) & (FIFO_SIZE - 1));
    if (!(borrowed & newest)) break;
    borrowed &= ~newest;
    count--;
  }
  store<u32>(block, count, U_RX_COUNT);
  store<u32>(block, borrowed, U_RX_BORROWED);
}

// ---------------------------------------------------------------------------------------------------------------------
// Transmitter

function txFree(block: u32): u32 {
  const used = atomic.load<u32>(block, UART_TX_HEAD) - atomic.load<u32>(block, UART_TX_TAIL);
  return used <= RING_SIZE ? RING_SIZE - used : 0;
}

/** Lets the transmitter go on when the host has made room; the THRE interrupt follows. */
function resumeTransmitter(block: u32): void {
  if (!load<u32>(block, U_TX_BLOCKED)) return;
  if (load<u32>(block, UART_CONNECTED) && txFree(block) < TX_RESUME_FREE) return;
  store<u32>(block, 0, U_TX_BLOCKED);
  store<u32>(block, 1, U_THRE_PENDING);
}

function transmit(n: u32, byte: u32): void {
  const block = uartBlock(n);
  if (load<u32>(block, U_MCR) & MCR_LOOPBACK) {
    rxPush(block, byte, 0);
    store<u32>(block, 1, U_THRE_PENDING);
    return;
  }
  store<u32>(block, 0, U_THRE_PENDING);
  if (load<u32>(block, U_IDLE_POLLS) < LISTEN_POLLS) store<u32>(block, 0, U_IDLE_POLLS);
  if (load<u32>(block, UART_CONNECTED)) {
    // Full only for a guest that does not look at THRE: as on the wire, its byte is lost.
    if (txFree(block)) {
      const head = atomic.load<u32>(block, UART_TX_HEAD);
      store<u8>(txRing(n) + (head & RING_MASK), <u8>byte);
      atomic.store<u32>(block, head + 1, UART_TX_HEAD);
    }
    const free = txFree(block);
    // The head before the host's wish: the host sets that before it looks at the head once more.
    if (RING_SIZE - free >= atomic.load<u32>(block, UART_TX_NOTIFY)) notifyHost(n);
    // THRE promises room for a whole FIFO.
    if (free < FIFO_SIZE) store<u32>(block, 1, U_TX_BLOCKED);
  }
  if (!load<u32>(block, U_TX_BLOCKED)) store<u32>(block, 1, U_THRE_PENDING);
}

// ---------------------------------------------------------------------------------------------------------------------
// Modem lines and the interrupt

/** MSR's line bits: from MCR in loopback (data sheet 8.6), else those of a terminal that is there. */
function modemLines(block: u32): u32 {
  const mcr = load<u32>(block, U_MCR);
  if (mcr & MCR_LOOPBACK) {
    return (
      (mcr & MCR_RTS ? MSR_CTS : 0) |
      (mcr & MCR_DTR ? MSR_DSR : 0) |
      (mcr & MCR_OUT1 ? MSR_RI : 0) |
      (mcr & MCR_OUT2 ? MSR_DCD : 0)
    );
  }
  return MSR_CTS | MSR_DSR | MSR_DCD;
}

/** Sets the delta bits of lines that changed; TERI only when RI fell. */
function updateModem(block: u32): void {
  const before = load<u32>(block, U_MSR);
  const now = modemLines(block);
  const changed = (before ^ now) & 0xf0;
  if (!changed) return;
  let deltas = (changed >> 4) & ~MSR_TERI;
  if (before & ~now & MSR_RI) deltas |= MSR_TERI;
  store<u32>(block, now | (before & 0x0f) | deltas, U_MSR);
}

/** Interrupt identification in order of priority, without the FIFO bits. */
function interruptId(block: u32): u32 {
  const ier = load<u32>(block, U_IER);
  if (ier & IER_LINE_STATUS && load<u32>(block, U_LSR) & LSR_OE) return IIR_LINE_STATUS;
  if (ier & IER_RX && load<u32>(block, U_RX_COUNT)) return IIR_RX_TIMEOUT;
  if (ier & IER_THRE && load<u32>(block, U_THRE_PENDING)) return IIR_THRE;
  if (ier & IER_MODEM && load<u32>(block, U_MSR) & 0x0f) return 0;
  return IIR_NONE;
}

/** COM1 and COM3 share IRQ 4, COM2 and COM4 IRQ 3. */
function sharedLineIsHigh(n: u32): bool {
  return ((load<u32>(uartBlock(n & 1), U_IRQ) | load<u32>(uartBlock((n & 1) + 2), U_IRQ)) & 1) !== 0;
}

/** The lines of PCI functions are levels, and shared: one is held while any UART holds it. */
function driveIntx(): void {
  let held: u32 = 0;
  for (let n = FIRST_PCI_UART; n < <u32>UART_COUNT; n++) {
    const block = uartBlock(n);
    if (load<u32>(block, U_IRQ)) held |= load<u32>(block, UART_INTX_LINES);
  }
  setUartLines(held);
}

/** The lines that a PCI function's UART interrupts on (UART_INTX_LINES); none while its INTx is disabled. */
export function uartSetIntxLines(n: u32, lines: u32): void {
  if (n < FIRST_PCI_UART || n >= <u32>UART_COUNT) return;
  store<u32>(uartBlock(n), lines, UART_INTX_LINES);
  driveIntx();
}

/** Recomputes the interrupt after anything changed. A COM port's line pulses when it rises. */
function updateIrq(n: u32): void {
  const block = uartBlock(n);
  const irq: u32 = interruptId(block) === IIR_NONE ? 0 : 1;
  if (irq === load<u32>(block, U_IRQ)) return;
  if (n >= FIRST_PCI_UART) {
    store<u32>(block, irq, U_IRQ);
    driveIntx();
    return;
  }
  const wasHigh = sharedLineIsHigh(n);
  store<u32>(block, irq, U_IRQ);
  if (irq && !wasHigh) isaPulse(n & 1 ? 3 : 4);
}

/** Level of a UART's interrupt output. */
export function uartIrq(n: u32): u32 {
  return n < <u32>UART_COUNT ? load<u32>(uartBlock(n), U_IRQ) : 0;
}

/** Everything that may have changed from outside. */
function settle(n: u32): void {
  const block = uartBlock(n);
  refill(n);
  resumeTransmitter(block);
  updateModem(block);
  updateIrq(n);
}

/** The host filled or emptied a ring, or attached or detached a backend. */
export function uartRingChanged(n: u32): void {
  if (n < <u32>UART_COUNT) settle(n);
}

// ---------------------------------------------------------------------------------------------------------------------
// Registers

function readLineStatus(block: u32): u32 {
  const kept = load<u32>(block, U_LSR);
  store<u32>(block, kept & ~LSR_OE, U_LSR);
  const empty = load<u32>(block, U_TX_BLOCKED) ? 0 : LSR_THRE | LSR_TEMT;
  if (load<u32>(block, U_RX_COUNT)) {
    rxAnnounce(block);
    return kept | empty | LSR_DR;
  }
  const looks = load<u32>(block, U_GAP_LOOKS) + 1;
  store<u32>(block, looks, U_GAP_LOOKS);
  if (looks >= 2) endBurst(block);
  // A guest that waits for the transmitter or tests itself is not waiting for input.
  if (empty && !(load<u32>(block, U_MCR) & MCR_LOOPBACK)) {
    const polls = load<u32>(block, U_IDLE_POLLS);
    if (polls < LISTEN_POLLS) store<u32>(block, polls + 1, U_IDLE_POLLS);
  }
  return kept | empty;
}

function readRegister(n: u32, register: u32): u32 {
  const block = uartBlock(n);
  const dlab = (load<u32>(block, U_LCR) & LCR_DLAB) !== 0;
  switch (register) {
    case REG_DATA:
      return dlab ? load<u32>(block, U_DLL) : rxPop(n);
    case REG_IER:
      return dlab ? load<u32>(block, U_DLM) : load<u32>(block, U_IER);
    case REG_IIR_FCR: {
      const id = interruptId(block);
      if (id === IIR_THRE) store<u32>(block, 0, U_THRE_PENDING);
      else if (id === IIR_NONE) endBurst(block);
      return id | (load<u32>(block, U_FCR) & FCR_ENABLE ? IIR_FIFOS_ENABLED : 0);
    }
    case REG_LCR:
      return load<u32>(block, U_LCR);
    case REG_MCR:
      return load<u32>(block, U_MCR);
    case REG_LSR:
      return readLineStatus(block);
    case REG_MSR: {
      const value = load<u32>(block, U_MSR);
      store<u32>(block, value & 0xf0, U_MSR);
      return value;
    }
    case REG_SCR:
      return load<u32>(block, U_SCR);
    default:
      return 0xff;
  }
}

function writeIer(block: u32, value: u32): void {
  const before = load<u32>(block, U_IER);
  store<u32>(block, value & 0x0f, U_IER);
  if (before & ~value & IER_RX) stopListening(block);
  if (value & ~before & IER_THRE && !load<u32>(block, U_TX_BLOCKED)) store<u32>(block, 1, U_THRE_PENDING);
}

function writeFcr(n: u32, value: u32): void {
  const block = uartBlock(n);
  if ((value ^ load<u32>(block, U_FCR)) & FCR_ENABLE) rxReset(n);
  if (!(value & FCR_ENABLE)) {
    store<u32>(block, 0, U_FCR);
    return;
  }
  if (value & FCR_RX_RESET) rxReset(n);
  store<u32>(block, value & FCR_KEPT, U_FCR);
}

function writeRegister(n: u32, register: u32, value: u32): void {
  const block = uartBlock(n);
  const dlab = (load<u32>(block, U_LCR) & LCR_DLAB) !== 0;
  switch (register) {
    case REG_DATA:
      if (dlab) store<u32>(block, value, U_DLL);
      else transmit(n, value);
      break;
    case REG_IER:
      if (dlab) store<u32>(block, value, U_DLM);
      else writeIer(block, value);
      break;
    case REG_IIR_FCR:
      writeFcr(n, value);
      break;
    case REG_LCR:
      store<u32>(block, value, U_LCR);
      break;
    case REG_MCR:
      store<u32>(block, value & 0x1f, U_MCR);
      break;
    case REG_SCR:
      store<u32>(block, value, U_SCR);
      break;
    default:
      // LSR and MSR are read-only.
      break;
  }
}

/** A guest's read of register 0-7. */
export function uartReadRegister(n: u32, register: u32): u32 {
  if (n >= <u32>UART_COUNT) return 0xff;
  // What the host did since the last look counts now, whether or not it has told us yet.
  settle(n);
  const value = readRegister(n, register & 7);
  settle(n);
  return value;
}

/** A guest's write of register 0-7. */
export function uartWriteRegister(n: u32, register: u32, value: u32): void {
  if (n >= <u32>UART_COUNT) return;
  settle(n);
  writeRegister(n, register & 7, value & 0xff);
  settle(n);
}

/** UART of a PCI function that decodes a port, or -1. */
function pciPortUart(port: u32): i32 {
  const base = port & ~(<u32>7);
  for (let n = FIRST_PCI_UART; base !== 0 && n < <u32>UART_COUNT; n++) {
    if (atomic.load<u32>(uartBlock(n), UART_IO_BASE) === base) return n;
  }
  return -1;
}

/** UART of a COM port's register (0x3F8, 0x2F8, 0x3E8, 0x2E8 and the seven ports after each) or of a PCI function's, or -1. */
export function portUart(port: u32): i32 {
  if (!(load<u32>(CFG_FLAGS) & CFGF_LPC)) return pciPortUart(port);
  switch (port >> 3) {
    case 0x7f:
      return 0;
    case 0x5f:
      return 1;
    case 0x7d:
      return 2;
    case 0x5d:
      return 3;
    default:
      return pciPortUart(port);
  }
}

/** Whether a UART's state, which came from outside, is one that it can get into. The rings' indexes may be anything. */
export function uartIsSound(n: u32): bool {
  const block = uartBlock(n);
  const count = load<u32>(block, U_RX_COUNT);
  if (count > FIFO_SIZE || load<u32>(block, U_RX_FIRST) >= FIFO_SIZE || load<u32>(block, U_RX_SEEN) > count)
    return false;
  for (let offset: u32 = U_DLL; offset <= <u32>U_IRQ; offset += 4) {
    if (load<u32>(block + offset) > 0xff) return false;
  }
  return load<u32>(block, U_RX_BORROWED) <= 0xffff && load<u32>(block, U_IRQ) <= 1;
}

assert(U_RX_FIFO % 16 === 0 && U_RX_FIFO + 16 <= U_RX_BORROWED);
assert(U_RTS_USED + 4 <= UART_TX_HEAD, 'behind it lies what the host shares');
