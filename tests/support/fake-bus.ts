/** A machine's buses without a machine: PCI bus, ports, MMIO, memory and interrupts for device tests. */
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import type { PlacedRange } from '../../devices/bus/posted-ranges.ts';
import { PortBus, type AccessSize } from '../../devices/bus/port-bus.ts';
import type { Clock } from '../../devices/bus/clock.ts';
import { PciBus, ECAM_BASE, type PciBusOptions } from '../../devices/pci/bus.ts';
import { openBackend, type BackendOpeners } from '../../devices/backends/kinds.ts';
import type { DeviceContext } from '../../devices/device-context.ts';
import type { PciFunction } from '../../devices/pci/function.ts';
import { InputRouter } from '../../devices/input/input-router.ts';
import { InterruptLines } from '../../devices/platform/interrupt-lines.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { FakeDeviceRam } from './fake-device-ram.ts';
import { FakeInterrupts } from './fake-interrupts.ts';
import { FakeMemory } from './fake-memory.ts';

export class FakeMachine {
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly interrupts = new FakeInterrupts();
  readonly lines = new InterruptLines(this.interrupts);
  readonly log: string[] = [];
  readonly input = new InputRouter();
  readonly pci: PciBus;
  #posted: readonly PlacedRange[] = [];

  constructor(
    options: Partial<PciBusOptions> = {},
    readonly memory = new FakeMemory(),
  ) {
    this.pci = new PciBus({
      ports: this.ports,
      mmio: this.mmio,
      interrupts: this.interrupts,
      lines: this.lines,
      highBytes: 0,
      bootRom: false,
      reservedIrqs: [1, 12],
      ...options,
    });
    this.mmio.watchPosted((_changed, _posted, all) => {
      this.#posted = [...all];
    });
  }

  /** What becomes of a vCPU's write to a word of memory. */
  writeKind(gpa: number): 'answered' | 'posted' | 'quiet' {
    const ranges = this.#posted.filter(({ first, lengthBytes }) => gpa >= first && gpa < first + lengthBytes);
    if (ranges.some(({ quiet }) => quiet)) return 'quiet';
    return ranges.length > 0 ? 'posted' : 'answered';
  }

  /** Plugs one function in at 0:3.0 and configures the bus. */
  static with<F extends PciFunction>(make: (machine: FakeMachine) => F): { machine: FakeMachine; device: F } {
    const machine = new FakeMachine();
    const device = make(machine);
    machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
    machine.pci.configure();
    machine.pci.start();
    return { machine, device };
  }

  /** Configuration read at bus 0 through the ECAM window. */
  config(slot: number, offset: number, size: AccessSize, func = 0): number {
    return this.mmio.read(ECAM_BASE + slot * 0x8000 + func * 0x1000 + offset, size);
  }

  setConfig(slot: number, offset: number, size: AccessSize, value: number, func = 0): void {
    this.mmio.write(ECAM_BASE + slot * 0x8000 + func * 0x1000 + offset, size, value);
  }

  /** Offset of a capability of a function on bus 0, or 0. */
  capability(slot: number, id: number): number {
    let offset = this.config(slot, 0x34, 1);
    for (let i = 0; offset !== 0 && i < 48; i++) {
      if (this.config(slot, offset, 1) === id) return offset;
      offset = this.config(slot, offset + 1, 1);
    }
    return 0;
  }

  /** Address in BAR `index` of a function on bus 0. */
  bar(slot: number, index: number): number {
    const value = this.config(slot, 0x10 + 4 * index, 4);
    return value & 1 ? value & 0xfffc : value - (value & 0xf);
  }

  context(overrides: Partial<DeviceContext> = {}, backends: BackendOpeners = {}): DeviceContext {
    const openers: BackendOpeners = {
      block: () => Promise.resolve(new MemoryBackend(new Uint8Array(64 * 1024))),
      ...backends,
    };
    let uarts = 4;
    return {
      memory: this.memory,
      interrupts: this.interrupts,
      clock: fakeClock,
      ports: this.ports,
      mmio: this.mmio,
      virtioMsix: true,
      virtioTransport: 'transitional',
      vmName: 'vm0',
      open: (kind, settings) => openBackend(openers, kind, settings),
      allocateRam: (lengthBytes) => new FakeDeviceRam(lengthBytes),
      entropy: (into) => into.fill(0x5a),
      input: this.input,
      addDisplay: () => {},
      addCdDrive: () => {},
      holdStart: () => {},
      keepContents: () => {},
      takeUart: () => ({
        index: uarts++,
        uart: { read: () => 0, write: () => {}, irqLevel: () => false, decode: () => {}, route: () => {} },
      }),
      log: (text) => this.log.push(text),
      ...overrides,
    };
  }
}

const fakeClock: Clock = { nowNs: () => 0, at: () => () => {} };
