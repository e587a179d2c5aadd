/**
 * The test device `-l pc-testdev`, which speaks the protocol of kvm-unit-tests: debug exit at 0xF4, a 32-bit latch at
 * 0xE0, interrupt lines at 0x2000 and a page range of plain memory behind the MMIO door.
 */
import type { AccessSize, PortBus } from '../bus/port-bus.ts';
import type { MmioBus } from '../bus/mmio-bus.ts';
import { PassiveDevice } from '../device.ts';
import type { DeviceState } from '../snapshot.ts';
import type { InterruptLines, LineSource } from './interrupt-lines.ts';
import { StateFields } from './state-fields.ts';
import type { Suspend } from './suspend.ts';

export const DEBUG_EXIT_PORT = 0xf4;
export const IO_LATCH_PORT = 0xe0;
export const IRQ_LINE_PORT = 0x2000;
export const TEST_MEMORY_BASE = 0xff000000;
export const TEST_MEMORY_BYTES = 0x10000;

const DEBUG_EXIT_PORTS = 4;
const IO_LATCH_BYTES = 4;
const IO_APIC_PINS = 24;
const ISA_IRQS = 16;

const STATE_KIND = 'pc-testdev';
const STATE_VERSION = 1;

function readLittleEndian(bytes: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= (bytes[offset + i] ?? 0) << (8 * i);
  return value >>> 0;
}

function writeLittleEndian(bytes: Uint8Array, offset: number, size: AccessSize, value: number): void {
  // Writes past the end of a typed array do nothing, which is what a lane beyond the latch does.
  for (let i = 0; i < size; i++) bytes[offset + i] = value >>> (8 * i);
}

export class PcTestDevice extends PassiveDevice {
  readonly #latch = new Uint8Array(IO_LATCH_BYTES);
  readonly #memory = new Uint8Array(TEST_MEMORY_BYTES);
  readonly #levels = new Uint8Array(IO_APIC_PINS);
  readonly #lines: LineSource[];

  /** The interrupt lines lie where PCI BARs begin: the bus hands out ports behind them. */
  constructor(ports: PortBus, mmio: MmioBus, lines: InterruptLines, suspend: Suspend) {
    super();
    this.#lines = Array.from({ length: IO_APIC_PINS }, (_, pin) =>
      pin < ISA_IRQS ? lines.isaSource(pin) : lines.ioApicSource(pin),
    );
    ports.claim('debug exit', DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, {
      readPort: () => 0,
      writePort: (_port, _size, value) => suspend('exit', ((value << 1) | 1) & 0xff),
    });
    ports.claim('test latch', IO_LATCH_PORT, IO_LATCH_BYTES, {
      readPort: (port, size) => readLittleEndian(this.#latch, port - IO_LATCH_PORT, size),
      writePort: (port, size, value) => writeLittleEndian(this.#latch, port - IO_LATCH_PORT, size, value),
    });
    ports.claim('test irq lines', IRQ_LINE_PORT, IO_APIC_PINS, {
      readPort: () => 0,
      // Byte-wide ports: a wider access is one to each port in turn.
      writePort: (port, size, value) => {
        for (let i = 0; i < size; i++) this.#setLine(port - IRQ_LINE_PORT + i, ((value >>> (8 * i)) & 0xff) !== 0);
      },
    });
    mmio.claim('test memory', TEST_MEMORY_BASE, TEST_MEMORY_BYTES, {
      readMmio: (offset, size) => readLittleEndian(this.#memory, offset, size),
      writeMmio: (offset, size, value) => writeLittleEndian(this.#memory, offset, size, value),
    });
  }

  #setLine(pin: number, asserted: boolean): void {
    this.#levels[pin] = asserted ? 1 : 0;
    this.#lines[pin]?.(asserted);
  }

  reset(): void {
    this.#latch.fill(0);
    this.#memory.fill(0);
    for (let pin = 0; pin < IO_APIC_PINS; pin++) this.#setLine(pin, false);
  }

  save(): DeviceState {
    return {
      kind: STATE_KIND,
      version: STATE_VERSION,
      fields: { latch: this.#latch.slice(), memory: this.#memory.slice(), levels: this.#levels.slice() },
    };
  }

  restore(state: DeviceState): void {
    const fields = StateFields.open(state, STATE_KIND, STATE_VERSION);
    const latch = fields.bytes('latch', IO_LATCH_BYTES);
    const memory = fields.bytes('memory', TEST_MEMORY_BYTES);
    const levels = fields.bytes('levels', IO_APIC_PINS);
    this.#latch.set(latch);
    this.#memory.set(memory);
    levels.forEach((level, pin) => this.#setLine(pin, level !== 0));
  }
}
