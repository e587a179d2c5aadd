/**
 * The PCI function `uart` (131F:2000, SIIG CyberSerial one-port card): a 16550A behind BAR0. Its registers and FIFOs live in the core, as those of
 * the COM ports do; here are only the BAR and the INTx line.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import { PciFunction } from '../pci/function.ts';

/** A 16550A in the core (core-as/intc). Its state is saved with the core's memory. */
export interface CoreUart {
  /** Registers 0-7. */
  read(register: number): number;
  write(register: number, value: number): void;
  /** Level of the interrupt output. */
  irqLevel(): boolean;
  /** The core answers at these eight I/O ports itself; undefined: at none. */
  decode(port: number | undefined): void;
}

const REGISTER_COUNT = 8;

export class PciUart extends PciFunction {
  /** Which of the core's UART blocks this is; the machine connects the console backend there. */
  readonly coreIndex: number;
  readonly #uart: CoreUart;

  constructor(uart: CoreUart, coreIndex: number) {
    super('uart', { vendorId: 0x131f, deviceId: 0x2000, classCode: 0x07, subclass: 0x00 });
    this.#uart = uart;
    this.coreIndex = coreIndex;
    this.requestIntx();
    this.addBar(0, 'io', REGISTER_COUNT);
  }

  protected override barDecoded(_index: number, address: number | undefined): void {
    this.#uart.decode(address);
  }

  /** The core passes on no guest's accesses but one, without effect, whenever its interrupt output moved. */
  protected override readBar(_index: number, offset: number, size: AccessSize): number {
    if (size !== 1) {
      this.badAccesses++;
      return 0xffffffff;
    }
    const value = this.#uart.read(offset);
    this.irqChanged();
    return value;
  }

  protected override writeBar(_index: number, offset: number, size: AccessSize, value: number): void {
    if (size !== 1) {
      this.badAccesses++;
      return;
    }
    this.#uart.write(offset, value);
    this.irqChanged();
  }

  /** Follows the UART's interrupt output. The machine also calls it when the host gave the UART input or took output. */
  irqChanged(): void {
    this.setIntx(this.#uart.irqLevel());
  }
}
