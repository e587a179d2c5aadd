/** ISA interrupt lines: the 8259 input and the I/O APIC pin move together; IRQ 0 is pin 2. INTC_LOCK is held. */
import { ioApicPulsePin, ioApicSetPin, ioApicSetUartLines } from './ioapic';
import { picLine, picSetLine, picSetUartLines } from './pic';

// @ts-ignore: decorator
@inline
function ioApicPinOf(irq: u32): u32 {
  return irq === 0 ? 2 : irq;
}

/** Level of ISA line 0-15; line 2 is the cascade and does not exist. */
export function isaSetLine(irq: u32, asserted: bool): void {
  if (irq > 15 || irq === 2) return;
  picSetLine(irq, asserted);
  ioApicSetPin(ioApicPinOf(irq), asserted);
}

/** Everything that UARTs of PCI functions hold, one bit each: ISA lines 3-15, and I/O APIC pins 16-23. */
export function setUartLines(mask: u32): void {
  picSetUartLines(mask & 0xffff);
  ioApicSetUartLines(mask);
}

/** An edge on an ISA line; nothing when something holds the line high. */
export function isaPulse(irq: u32): void {
  if (irq > 15 || irq === 2) return;
  if (!picLine(irq)) {
    picSetLine(irq, true);
    picSetLine(irq, false);
  }
  ioApicPulsePin(ioApicPinOf(irq));
}
