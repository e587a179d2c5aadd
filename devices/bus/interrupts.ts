/** How devices raise interrupts: the binding to the core's interrupt controllers (core-as/intc). */
export interface Interrupts {
  /** Level of an ISA line 0-15: drives the 8259 pair and the I/O APIC pin (IRQ 0 is pin 2). */
  setIsaIrq(irq: number, asserted: boolean): void;
  /** Assert and release: an edge. */
  pulseIsaIrq(irq: number): void;
  /** Level of an I/O APIC pin alone, 0-23. */
  setIoApicPin(pin: number, asserted: boolean): void;
  /** A message-signalled interrupt (SDM vol. 3, 11.11): address 0xFEExxxxx and data. Other addresses are ignored. */
  sendMsi(address: bigint, data: number): void;
}
