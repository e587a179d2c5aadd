/** Interrupt controllers for tests: remember levels, pulses and messages. */
import type { Interrupts } from '../../devices/bus/interrupts.ts';

export interface SentMessage {
  readonly address: bigint;
  readonly data: number;
}

export class FakeInterrupts implements Interrupts {
  readonly isaLevels: boolean[] = Array.from({ length: 16 }, () => false);
  readonly pinLevels: boolean[] = Array.from({ length: 24 }, () => false);
  pulses: number[] = [];
  messages: SentMessage[] = [];
  /** Messages in all, and INTx pins that rose. */
  sent = 0;

  setIsaIrq(irq: number, asserted: boolean): void {
    if (!(irq in this.isaLevels)) throw new RangeError(`ISA IRQ ${irq}`);
    this.isaLevels[irq] = asserted;
  }

  pulseIsaIrq(irq: number): void {
    if (!(irq in this.isaLevels)) throw new RangeError(`ISA IRQ ${irq}`);
    this.pulses.push(irq);
  }

  setIoApicPin(pin: number, asserted: boolean): void {
    if (!(pin in this.pinLevels)) throw new RangeError(`I/O APIC pin ${pin}`);
    if (asserted && !this.pinLevels[pin]) this.sent++;
    this.pinLevels[pin] = asserted;
  }

  sendMsi(address: bigint, data: number): void {
    this.sent++;
    this.messages.push({ address, data });
    // A fuzz run must not keep millions of them.
    if (this.messages.length > 10_000) this.messages = [];
  }

  /** Asserted ISA lines and I/O APIC pins, as numbers. */
  asserted(): { isa: number[]; pins: number[] } {
    const numbers = (levels: boolean[]): number[] => levels.flatMap((level, index) => (level ? [index] : []));
    return { isa: numbers(this.isaLevels), pins: numbers(this.pinLevels) };
  }
}
