/**
 * The PCI function `uart` (131F:2000, SIIG CyberSerial one-port card): a 16550A behind BAR0. Its registers, FIFOs and interrupt live in the
 * core, as those of the COM ports do; here is only where the BAR and the INTx line are.
 */
import type { AccessSize } from '../bus/port-bus.ts';
import { DeviceError, type DeviceBuilder } from '../device-context.ts';
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
  /** The interrupt output drives these lines (core-as/layout.ts: UART_INTX_LINES). */
  route(lines: number): void;
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

  protected override intxLeadsTo(lines: number): void {
    this.#uart.route(lines);
  }

  protected override get intxAsserted(): boolean {
    return this.#uart.irqLevel();
  }

  protected override readBar(_index: number, offset: number, size: AccessSize): number {
    if (size !== 1) {
      this.badAccesses++;
      return 0xffffffff;
    }
    return this.#uart.read(offset);
  }

  protected override writeBar(_index: number, offset: number, size: AccessSize, value: number): void {
    if (size !== 1) {
      this.badAccesses++;
      return;
    }
    this.#uart.write(offset, value);
  }
}

export const buildPciUart: DeviceBuilder = (context) => {
  const taken = context.takeUart();
  if (!taken) throw new DeviceError('no more than 4 uart functions');
  return new PciUart(taken.uart, taken.index);
};
