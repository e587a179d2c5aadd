/**
 * Level-triggered lines with more than one source: the line is asserted while any of its sources asserts it
 * (PCI Local Bus 3.0, 2.2.6: INTx# lines are open drain and may be shared).
 */
import type { Interrupts } from '../bus/interrupts.ts';

/** Sets the level of one source; setting the level it already has changes nothing. */
export type LineSource = (asserted: boolean) => void;

class WiredOr {
  #asserting = 0;
  readonly #drive: (asserted: boolean) => void;

  constructor(drive: (asserted: boolean) => void) {
    this.#drive = drive;
  }

  source(): LineSource {
    let level = false;
    return (asserted) => {
      if (asserted === level) return;
      level = asserted;
      this.#asserting += asserted ? 1 : -1;
      if (asserted ? this.#asserting === 1 : this.#asserting === 0) this.#drive(asserted);
    };
  }
}

/** The shared lines of one machine. All level sources of the machine take their lines from the same object. */
export class InterruptLines {
  readonly #isa = new Map<number, WiredOr>();
  readonly #ioApic = new Map<number, WiredOr>();
  readonly #interrupts: Interrupts;

  constructor(interrupts: Interrupts) {
    this.#interrupts = interrupts;
  }

  /** A new source of ISA line 0-15 (8259 pair and the I/O APIC pin that goes with it). */
  isaSource(irq: number): LineSource {
    return this.#line(this.#isa, irq, (asserted) => this.#interrupts.setIsaIrq(irq, asserted));
  }

  /** A new source of I/O APIC pin 0-23. */
  ioApicSource(pin: number): LineSource {
    return this.#line(this.#ioApic, pin, (asserted) => this.#interrupts.setIoApicPin(pin, asserted));
  }

  #line(lines: Map<number, WiredOr>, number: number, drive: (asserted: boolean) => void): LineSource {
    let line = lines.get(number);
    if (!line) {
      line = new WiredOr(drive);
      lines.set(number, line);
    }
    return line.source();
  }
}
