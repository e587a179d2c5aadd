/**
 * The pair of 8259A programmable interrupt controllers and their edge/level control registers (Intel 8259A data sheet
 * 231468; ELCR: Intel 82371 ISA bridge). All functions expect INTC_LOCK to be held, except picOutput().
 *
 * An edge-triggered request stays latched when its line falls again (as in bhyve, where ISA devices pulse), so a short
 * pulse is never lost. INTR goes to the LINT0 pin of every local APIC and to pin 0 of the I/O APIC.
 */
import { PIC, PIC_SIZE } from '../layout';
import { ioApicPulsePin } from './ioapic';
import { lapicPicOutputChanged } from './lapic';

/** Offsets in one controller's state; the slave's follows the master's. All are u32. */
const CHIP_STRIDE = 0x40;
const C_LINES = 0x00;
const C_IRR = 0x04;
const C_ISR = 0x08;
const C_IMR = 0x0c;
const C_VECTOR_BASE = 0x10;
const C_ELCR = 0x14;
/** The IR level that has the lowest priority now; the next one has the highest. */
const C_LOWEST = 0x18;
/** INIT_*: which initialization command word comes next. */
const C_INIT = 0x1c;
const C_ICW1 = 0x20;
const C_ICW4 = 0x24;
/** Non-zero: reads of the command port give ISR instead of IRR. */
const C_READ_ISR = 0x28;
const C_POLL = 0x2c;
const C_SPECIAL_MASK = 0x30;
const C_ROTATE_ON_AEOI = 0x34;
/** Lines that the UARTs of PCI functions hold; C_LINES has those of everyone else. */
const C_UART_LINES = 0x38;

/** u32 atomic: level of the master's INTR output. */
const PIC_OUTPUT = PIC + 0x80;

const MASTER: u32 = PIC;
const SLAVE: u32 = PIC + CHIP_STRIDE;
/** The master's input that the slave's INT drives. */
const CASCADE: u32 = 2;

/** States of C_INIT; 0 is power-on, before the first ICW1. */
const INIT_ICW2: u32 = 1;
const INIT_ICW3: u32 = 2;
const INIT_ICW4: u32 = 3;
const INIT_DONE: u32 = 4;

const ICW1_IC4: u32 = 0x01;
const ICW1_SNGL: u32 = 0x02;
const ICW1_LTIM: u32 = 0x08;
const ICW1_SELECT: u32 = 0x10;
const ICW4_AEOI: u32 = 0x02;
const ICW4_SFNM: u32 = 0x10;
const OCW3_SELECT: u32 = 0x08;

/** IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
const ELCR_MASTER_MASK: u32 = 0xf8;
const ELCR_SLAVE_MASK: u32 = 0xde;

/** Power-on: no initialization command words yet, so INTR stays low. */
export function picReset(): void {
  memory.fill(PIC, 0, 0x100);
  store<u32>(MASTER, 7, C_LOWEST);
  store<u32>(SLAVE, 7, C_LOWEST);
}

/** Level of INTR. May be read without the lock. */
export function picOutput(): bool {
  return atomic.load<u32>(PIC_OUTPUT) !== 0;
}

function levelMask(chip: u32): u32 {
  return load<u32>(chip, C_ICW1) & ICW1_LTIM ? 0xff : load<u32>(chip, C_ELCR);
}

/** Special fully nested mode lets the slave interrupt its own service routine (data sheet, "Special Fully Nested Mode"). */
function nestsFully(chip: u32): bool {
  return chip === MASTER && (load<u32>(chip, C_ICW4) & ICW4_SFNM) !== 0;
}

/** The IR level that would be acknowledged now, or -1. */
function highestRequest(chip: u32): i32 {
  if (load<u32>(chip, C_INIT) !== INIT_DONE) return -1;
  const imr = load<u32>(chip, C_IMR);
  const requests = load<u32>(chip, C_IRR) & ~imr;
  if (!requests) return -1;
  let inService = load<u32>(chip, C_ISR);
  if (load<u32>(chip, C_SPECIAL_MASK)) inService &= ~imr;
  const fullyNested = nestsFully(chip);
  const lowest = load<u32>(chip, C_LOWEST);
  for (let i: u32 = 1; i <= 8; i++) {
    const ir = (lowest + i) & 7;
    const bit: u32 = 1 << ir;
    if (inService & bit) {
      return fullyNested && ir === CASCADE && requests & bit ? <i32>ir : -1;
    }
    if (requests & bit) return <i32>ir;
  }
  return -1;
}

function lines(chip: u32): u32 {
  return load<u32>(chip, C_LINES) | load<u32>(chip, C_UART_LINES);
}

function refreshLevelRequests(chip: u32): void {
  const level = levelMask(chip);
  store<u32>(chip, (load<u32>(chip, C_IRR) & ~level) | (lines(chip) & level), C_IRR);
}

/** Derives the cascade and INTR from the state; tells the receivers when INTR is asserted. */
function update(): void {
  refreshLevelRequests(SLAVE);
  refreshLevelRequests(MASTER);
  // The slave's INT is a level for as long as it has something to deliver.
  const cascade: u32 = 1 << CASCADE;
  const single = load<u32>(MASTER, C_ICW1) & ICW1_SNGL;
  const irr = load<u32>(MASTER, C_IRR) & ~cascade;
  store<u32>(MASTER, !single && highestRequest(SLAVE) >= 0 ? irr | cascade : irr, C_IRR);

  const asserted: u32 = highestRequest(MASTER) >= 0 ? 1 : 0;
  const before = atomic.xchg<u32>(PIC_OUTPUT, asserted);
  if (!asserted) return;
  lapicPicOutputChanged(before === 0);
  if (!before) ioApicPulsePin(0);
}

/** Level of an ISA interrupt line, 0-15. */
export function picSetLine(irq: u32, asserted: bool): void {
  if (irq > 15 || irq === CASCADE) return;
  const chip = irq < 8 ? MASTER : SLAVE;
  const bit: u32 = 1 << (irq & 7);
  const before = lines(chip);
  const others = load<u32>(chip, C_LINES) & ~bit;
  store<u32>(chip, asserted ? others | bit : others, C_LINES);
  linesChanged(chip, before);
}

function linesChanged(chip: u32, before: u32): void {
  const now = lines(chip);
  if (now === before) return;
  store<u32>(chip, load<u32>(chip, C_IRR) | (now & ~before), C_IRR);
  update();
}

function setUartLines(chip: u32, mask: u32): void {
  const before = lines(chip);
  store<u32>(chip, mask, C_UART_LINES);
  linesChanged(chip, before);
}

/** The ISA lines that UARTs of PCI functions hold, one bit each. */
export function picSetUartLines(mask: u32): void {
  setUartLines(MASTER, mask & 0xff & ~(1 << CASCADE));
  setUartLines(SLAVE, (mask >> 8) & 0xff);
}

/** Current level of an ISA line. */
export function picLine(irq: u32): bool {
  const chip = irq < 8 ? MASTER : SLAVE;
  return ((lines(chip) >> (irq & 7)) & 1) !== 0;
}

function rotateTo(chip: u32, lowest: u32): void {
  store<u32>(chip, lowest & 7, C_LOWEST);
}

/** The interrupt acknowledge of one controller: the request moves from IRR to ISR. */
function acknowledge(chip: u32, ir: u32): void {
  const bit: u32 = 1 << ir;
  if (load<u32>(chip, C_ICW4) & ICW4_AEOI) {
    if (load<u32>(chip, C_ROTATE_ON_AEOI)) rotateTo(chip, ir);
  } else {
    store<u32>(chip, load<u32>(chip, C_ISR) | bit, C_ISR);
  }
  if (!(levelMask(chip) & bit)) store<u32>(chip, load<u32>(chip, C_IRR) & ~bit, C_IRR);
}

/** Both INTA cycles: returns the vector. With nothing to deliver it is that of IR7 and ISR stays ("spurious"). */
export function picAcknowledge(): u32 {
  const ir = highestRequest(MASTER);
  if (ir < 0) return load<u32>(MASTER, C_VECTOR_BASE) + 7;
  acknowledge(MASTER, ir);
  let vector = load<u32>(MASTER, C_VECTOR_BASE) + <u32>ir;
  if (<u32>ir === CASCADE && !(load<u32>(MASTER, C_ICW1) & ICW1_SNGL)) {
    const slaveIr = highestRequest(SLAVE);
    vector = load<u32>(SLAVE, C_VECTOR_BASE) + (slaveIr < 0 ? 7 : <u32>slaveIr);
    if (slaveIr >= 0) acknowledge(SLAVE, slaveIr);
  }
  update();
  return vector;
}

/** The in-service level that a non-specific EOI ends, or -1. */
function highestInService(chip: u32): i32 {
  let inService = load<u32>(chip, C_ISR);
  if (load<u32>(chip, C_SPECIAL_MASK)) inService &= ~load<u32>(chip, C_IMR);
  const lowest = load<u32>(chip, C_LOWEST);
  for (let i: u32 = 1; i <= 8; i++) {
    const ir = (lowest + i) & 7;
    if ((inService >> ir) & 1) return <i32>ir;
  }
  return -1;
}

function endOfInterrupt(chip: u32, ir: i32, rotate: bool): void {
  if (ir < 0) return;
  store<u32>(chip, load<u32>(chip, C_ISR) & ~((<u32>1) << ((<u32>ir) & 7)), C_ISR);
  if (rotate) rotateTo(chip, ir);
}

/** OCW2: end of interrupt and rotation commands in bits 7:5, a level in bits 2:0. */
function writeOcw2(chip: u32, value: u32): void {
  const level = value & 7;
  switch (value >> 5) {
    case 0:
      store<u32>(chip, 0, C_ROTATE_ON_AEOI);
      break;
    case 1:
      endOfInterrupt(chip, highestInService(chip), false);
      break;
    case 3:
      endOfInterrupt(chip, level, false);
      break;
    case 4:
      store<u32>(chip, 1, C_ROTATE_ON_AEOI);
      break;
    case 5:
      endOfInterrupt(chip, highestInService(chip), true);
      break;
    case 6:
      rotateTo(chip, level);
      break;
    case 7:
      endOfInterrupt(chip, level, true);
      break;
    default:
      break;
  }
}

/** OCW3: special mask mode, poll command, choice of the register to read. */
function writeOcw3(chip: u32, value: u32): void {
  if (value & 0x40) store<u32>(chip, (value >> 5) & 1, C_SPECIAL_MASK);
  if (value & 0x04) store<u32>(chip, 1, C_POLL);
  if (value & 0x02) store<u32>(chip, value & 1, C_READ_ISR);
}

/** ICW1 starts initialization: clears the edge sense circuit, IMR, ISR, priorities and modes. */
function writeIcw1(chip: u32, value: u32): void {
  store<u32>(chip, value, C_ICW1);
  store<u32>(chip, 0, C_IRR);
  store<u32>(chip, 0, C_ISR);
  store<u32>(chip, 0, C_IMR);
  store<u32>(chip, 7, C_LOWEST);
  store<u32>(chip, 0, C_READ_ISR);
  store<u32>(chip, 0, C_POLL);
  store<u32>(chip, 0, C_SPECIAL_MASK);
  store<u32>(chip, 0, C_ROTATE_ON_AEOI);
  store<u32>(chip, 0, C_ICW4);
  store<u32>(chip, INIT_ICW2, C_INIT);
}

function writeData(chip: u32, value: u32): void {
  const icw1 = load<u32>(chip, C_ICW1);
  const afterIcw3: u32 = icw1 & ICW1_IC4 ? INIT_ICW4 : INIT_DONE;
  switch (load<u32>(chip, C_INIT)) {
    case INIT_ICW2:
      store<u32>(chip, value & 0xf8, C_VECTOR_BASE);
      store<u32>(chip, icw1 & ICW1_SNGL ? afterIcw3 : INIT_ICW3, C_INIT);
      break;
    case INIT_ICW3:
      // The wiring of the cascade is fixed: there is nothing to configure.
      store<u32>(chip, afterIcw3, C_INIT);
      break;
    case INIT_ICW4:
      store<u32>(chip, value & 0x1f, C_ICW4);
      store<u32>(chip, INIT_DONE, C_INIT);
      break;
    default:
      store<u32>(chip, value, C_IMR);
      break;
  }
}

/** Ports 0x20/0x21 (master), 0xA0/0xA1 (slave), 0x4D0/0x4D1 (ELCR). */
export function picWrite(port: u32, value: u32): void {
  value &= 0xff;
  if (port >= 0x4d0) {
    if (port === 0x4d0) store<u32>(MASTER, value & ELCR_MASTER_MASK, C_ELCR);
    else store<u32>(SLAVE, value & ELCR_SLAVE_MASK, C_ELCR);
  } else {
    const chip = port < 0xa0 ? MASTER : SLAVE;
    if (port & 1) writeData(chip, value);
    else if (value & ICW1_SELECT) writeIcw1(chip, value);
    else if (value & OCW3_SELECT) writeOcw3(chip, value);
    else writeOcw2(chip, value);
  }
  update();
}

/** The read that follows a poll command is an acknowledge: bit 7 says whether bits 2:0 hold a level. */
function poll(chip: u32): u32 {
  store<u32>(chip, 0, C_POLL);
  const ir = highestRequest(chip);
  if (ir < 0) return 0;
  acknowledge(chip, ir);
  update();
  return 0x80 | (<u32>ir);
}

/** Reads one of the ports that {@link picWrite} names. */
export function picRead(port: u32): u32 {
  if (port === 0x4d0) return load<u32>(MASTER, C_ELCR);
  if (port === 0x4d1) return load<u32>(SLAVE, C_ELCR);
  const chip = port < 0xa0 ? MASTER : SLAVE;
  if (load<u32>(chip, C_POLL)) return poll(chip);
  if (port & 1) return load<u32>(chip, C_IMR);
  return load<u32>(chip, C_READ_ISR) ? load<u32>(chip, C_ISR) : load<u32>(chip, C_IRR);
}

function chipIsSound(chip: u32): bool {
  for (let offset: u32 = C_LINES; offset <= <u32>C_UART_LINES; offset += 4) {
    if (load<u32>(chip + offset) > 0xff) return false;
  }
  return (
    load<u32>(chip, C_LOWEST) <= 7 && load<u32>(chip, C_INIT) <= INIT_DONE && (load<u32>(chip, C_VECTOR_BASE) & 7) === 0
  );
}

/** Whether the state, which came from outside, is one that the controllers can get into. */
export function picIsSound(): bool {
  return chipIsSound(MASTER) && chipIsSound(SLAVE) && load<u32>(PIC_OUTPUT) <= 1;
}

assert(C_UART_LINES + 4 <= CHIP_STRIDE);
assert(SLAVE + CHIP_STRIDE <= <u32>PIC_OUTPUT);
assert(PIC_OUTPUT + 4 <= PIC + PIC_SIZE);
