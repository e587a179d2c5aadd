/** The software side of an xHCI controller: rings, commands and control transfers, as an operating system's driver has them. */
import * as R from '../../devices/usb/xhci/registers.ts';
import type { FakeMachine } from './fake-bus.ts';
import type { FakeRandom } from './fake-random.ts';
import type { HostileDriver, HostileMemory } from './hostile-guest.ts';

const COMMAND_TRBS = 64;
const EVENT_TRBS = 64;
const TRANSFER_TRBS = 32;

export interface DriverEvent {
  readonly parameter: number;
  readonly code: number;
  readonly residue: number;
  readonly type: number;
  readonly slot: number;
  readonly endpoint: number;
  readonly eventData: boolean;
}

/** A ring that ends in a link TRB. */
export class ProducerRing {
  next = 0;
  cycle = 1;

  constructor(
    private readonly machine: FakeMachine,
    readonly gpa: number,
    readonly trbs: number,
  ) {
    machine.memory.fill(gpa, trbs * 16, 0);
  }

  /** Adds a TRB; returns where it lies. `control` has no cycle bit. */
  add(low: number, high: number, status: number, control: number): number {
    if (this.next === this.trbs - 1) {
      this.#write(this.gpa + this.next * 16, this.gpa, 0, 0, (R.TRB_LINK << 10) | R.TRB_TOGGLE_CYCLE);
      this.next = 0;
      this.cycle ^= 1;
    }
    const gpa = this.gpa + this.next++ * 16;
    this.#write(gpa, low, high, status, control);
    return gpa;
  }

  #write(gpa: number, low: number, high: number, status: number, control: number): void {
    const { memory } = this.machine;
    memory.writeU32(gpa, low >>> 0);
    memory.writeU32(gpa + 4, high >>> 0);
    memory.writeU32(gpa + 8, status >>> 0);
    memory.writeU32(gpa + 12, ((control & ~1) | this.cycle) >>> 0);
  }
}

export class XhciDriver {
  readonly dcbaa: number;
  readonly erst: number;
  readonly events: number;
  readonly input: number;
  readonly buffer: number;
  commands: ProducerRing;
  control: ProducerRing;
  interrupt: ProducerRing;
  slot = 0;
  #eventIndex = 0;
  #eventCycle = 1;

  constructor(
    readonly machine: FakeMachine,
    private readonly pciSlot: number,
    readonly base = 0x100000,
  ) {
    this.dcbaa = base;
    this.erst = base + 0x1000;
    this.events = base + 0x2000;
    this.input = base + 0x6000;
    this.buffer = base + 0x30000;
    this.commands = new ProducerRing(machine, base + 0x4000, COMMAND_TRBS);
    this.control = new ProducerRing(machine, base + 0x20000, TRANSFER_TRBS);
    this.interrupt = new ProducerRing(machine, base + 0x22000, TRANSFER_TRBS);
  }

  get bar(): number {
    return this.machine.bar(this.pciSlot, 0);
  }

  read(offset: number): number {
    return this.machine.mmio.read(this.bar + offset, 4);
  }

  write(offset: number, value: number): void {
    this.machine.mmio.write(this.bar + offset, 4, value >>> 0);
  }

  operational(register: number): number {
    return this.read(R.OPERATIONAL + register);
  }

  /** Resets the controller and starts it with empty rings. */
  start(): void {
    const { memory } = this.machine;
    this.write(R.OPERATIONAL + R.USBCMD, R.CMD_RESET);
    memory.fill(this.dcbaa, 0x1000, 0);
    memory.fill(this.events, EVENT_TRBS * 16, 0);
    this.commands = new ProducerRing(this.machine, this.commands.gpa, COMMAND_TRBS);
    this.#eventIndex = 0;
    this.#eventCycle = 1;
    for (let slot = 1; slot <= R.MAX_SLOTS; slot++) {
      memory.writeU64(this.dcbaa + 8 * slot, BigInt(this.base + 0x40000 + slot * 0x800));
    }
    memory.writeU64(this.erst, BigInt(this.events));
    memory.writeU32(this.erst + 8, EVENT_TRBS);
    this.write(R.OPERATIONAL + R.CONFIG, R.MAX_SLOTS);
    this.write(R.OPERATIONAL + R.DCBAAP, this.dcbaa);
    this.write(R.OPERATIONAL + R.CRCR, this.commands.gpa | R.CRCR_CYCLE);
    this.write(R.RUNTIME + R.ERSTSZ, 1);
    this.write(R.RUNTIME + R.ERSTBA, this.erst);
    this.write(R.RUNTIME + R.ERDP, this.events);
    this.write(R.RUNTIME + R.IMAN, R.IMAN_ENABLE);
    this.write(R.OPERATIONAL + R.USBCMD, R.CMD_RUN | R.CMD_INTERRUPTS);
  }

  /** Events that have come; the controller may use their places again. */
  take(): DriverEvent[] {
    const { memory } = this.machine;
    const taken: DriverEvent[] = [];
    for (;;) {
      const gpa = this.events + this.#eventIndex * 16;
      const control = memory.readU32(gpa + 12);
      if ((control & 1) !== this.#eventCycle) break;
      const status = memory.readU32(gpa + 8);
      taken.push({
        parameter: memory.readU32(gpa) + memory.readU32(gpa + 4) * 2 ** 32,
        code: status >>> 24,
        residue: status & 0xffffff,
        type: (control >>> 10) & 0x3f,
        slot: control >>> 24,
        endpoint: (control >>> 16) & 0x1f,
        eventData: (control & R.TRB_EVENT_DATA) !== 0,
      });
      this.#eventIndex++;
      if (this.#eventIndex === EVENT_TRBS) {
        this.#eventIndex = 0;
        this.#eventCycle ^= 1;
      }
    }
    this.write(R.RUNTIME + R.IMAN, R.IMAN_ENABLE | R.IMAN_PENDING);
    this.write(R.RUNTIME + R.ERDP, (this.events + this.#eventIndex * 16) | R.ERDP_BUSY);
    return taken;
  }

  /** Executes a command; returns its completion event. */
  command(type: number, { low = 0, high = 0, status = 0, control = 0, slot = this.slot } = {}): DriverEvent {
    const gpa = this.commands.add(low, high, status, (slot << 24) | (type << 10) | control);
    this.write(R.DOORBELLS, 0);
    const event = this.take().find((one) => one.type === R.EVENT_COMMAND && one.parameter === gpa);
    if (!event) throw new Error(`command ${type} was not completed`);
    return event;
  }

  /** Puts contexts into the input context. */
  inputContext(add: number, drop: number, contexts: Readonly<Record<number, readonly number[]>>): void {
    const { memory } = this.machine;
    memory.fill(this.input, 33 * 32, 0);
    memory.writeU32(this.input, drop);
    memory.writeU32(this.input + 4, add);
    for (const [index, words] of Object.entries(contexts)) {
      for (const [at, word] of words.entries()) {
        memory.writeU32(this.input + 32 * (1 + Number(index)) + 4 * at, word >>> 0);
      }
    }
  }

  /** Enables a slot and addresses the device at port 1. */
  addressDevice(): void {
    this.slot = this.command(R.CMD_ENABLE_SLOT, { slot: 0 }).slot;
    this.control = new ProducerRing(this.machine, this.control.gpa, TRANSFER_TRBS);
    this.inputContext(3, 0, {
      0: [(4 << 20) | (1 << 27), 1 << 16, 0, 0],
      1: [0, (512 << 16) | (R.EP_TYPE_CONTROL << 3) | 6, this.control.gpa | 1, 0],
    });
    const { code } = this.command(R.CMD_ADDRESS_DEVICE, { low: this.input });
    if (code !== R.SUCCESS) throw new Error(`address device: ${code}`);
  }

  /** Adds the interrupt endpoint (context index 3). */
  configure(): void {
    this.request(0x00, 9, 1, 0, 0);
    this.interrupt = new ProducerRing(this.machine, this.interrupt.gpa, TRANSFER_TRBS);
    this.inputContext(0x9, 0, {
      0: [(4 << 20) | (3 << 27), 1 << 16, 0, 0],
      3: [9 << 16, (8 << 16) | (R.EP_TYPE_INTERRUPT_IN << 3) | 6, this.interrupt.gpa | 1, 0],
    });
    const { code } = this.command(R.CMD_CONFIGURE_ENDPOINT, { low: this.input });
    if (code !== R.SUCCESS) throw new Error(`configure endpoint: ${code}`);
  }

  /** A control transfer. */
  request(
    requestType: number,
    request: number,
    value: number,
    index: number,
    length: number,
  ): { code: number; data: Uint8Array } {
    const { memory } = this.machine;
    const incoming = (requestType & 0x80) !== 0;
    this.control.add(
      requestType | (request << 8) | (value << 16),
      index | (length << 16),
      8,
      (R.TRB_SETUP << 10) | R.TRB_IMMEDIATE,
    );
    let data = 0;
    if (length > 0) {
      data = this.control.add(
        this.buffer,
        0,
        length,
        (R.TRB_DATA << 10) | R.TRB_SHORT_INTERRUPT | (incoming ? R.TRB_DIRECTION_IN : 0),
      );
    }
    this.control.add(0, 0, 0, (R.TRB_STATUS << 10) | R.TRB_INTERRUPT);
    this.write(R.DOORBELLS + 4 * this.slot, 1);
    const events = this.take();
    const short = events.find((event) => event.parameter === data && event.code === R.SHORT_PACKET);
    const bytes = new Uint8Array(length - (short?.residue ?? 0));
    memory.read(this.buffer, bytes);
    return { code: events.at(-1)?.code ?? 0, data: bytes };
  }
}

/** Commands, transfers and registers, some of them as they should be. */
export class HostileXhciDriver implements HostileDriver {
  readonly #driver: XhciDriver;

  constructor(
    machine: FakeMachine,
    slot: number,
    private readonly random: FakeRandom,
    private readonly places: HostileMemory,
  ) {
    this.#driver = new XhciDriver(machine, slot, places.structuresGpa);
  }

  start(): void {
    const driver = this.#driver;
    driver.start();
    try {
      driver.addressDevice();
      driver.configure();
    } catch {
      // Decoding or bus mastering is off.
    }
  }

  step(): void {
    const { random, places } = this;
    const driver = this.#driver;
    const [gpa, length] = places.buffer();
    const flags = random.u32() & (R.TRB_SHORT_INTERRUPT | R.TRB_CHAIN | R.TRB_INTERRUPT | R.TRB_IMMEDIATE);
    const ring = random.below(3) === 0 ? driver.control : driver.interrupt;
    switch (random.below(10)) {
      case 0: {
        const low = random.pick([driver.input, gpa, driver.control.gpa | 1, driver.interrupt.gpa]);
        const control =
          (random.below(70) << 24) | (random.below(32) << 16) | (random.below(24) << 10) | (flags & 0x200);
        driver.commands.add(low, 0, random.pick([0, 0, random.nasty()]), control);
        driver.write(R.DOORBELLS, 0);
        break;
      }
      case 1: {
        const words = (): number[] => Array.from({ length: 5 }, () => random.nasty());
        driver.inputContext(random.pick([3, 9, random.nasty()]), random.pick([0, random.nasty()]), {
          0: random.below(2) ? [(4 << 20) | (1 << 27), 1 << 16, 0, 0] : words(),
          1: [0, (512 << 16) | (R.EP_TYPE_CONTROL << 3), driver.control.gpa | 1, 0],
          [1 + random.below(31)]: [
            random.below(8) << 7,
            random.below(8) << 3,
            driver.interrupt.gpa | random.below(2),
            0,
          ],
        });
        break;
      }
      case 2:
        driver.request(
          random.pick([0x80, 0x00, 0x81, 0x21, 0xa1, random.below(256)]),
          random.below(13),
          random.nasty() & 0xffff,
          random.below(3),
          random.pick([0, 8, 64, random.below(0x8000)]),
        );
        break;
      case 3:
      case 4:
        ring.add(
          gpa,
          0,
          random.pick([8, length & 0x1ffff, random.nasty()]),
          (random.pick([1, 1, 1, 2, 3, 4, 7, 8, random.below(64)]) << 10) | flags,
        );
        driver.write(
          R.DOORBELLS + 4 * random.pick([driver.slot, 1, random.below(65)]),
          random.pick([1, 3, random.below(256)]),
        );
        break;
      case 5: {
        // Links: to itself, to another ring, out of memory.
        const at = random.pick([ring.gpa, ring.gpa + 16 * ring.next, driver.commands.gpa, gpa & ~0xf, 0xfffffff0]);
        ring.add(
          at,
          random.below(20) === 0 ? random.nasty() : 0,
          0,
          (R.TRB_LINK << 10) | (random.below(2) ? R.TRB_TOGGLE_CYCLE : 0),
        );
        break;
      }
      case 6:
        driver.take();
        break;
      case 7:
        driver.write(
          R.PORTS + R.PORT_STRIDE * random.below(8) + 4 * random.below(4),
          random.pick([R.PORT_POWER | R.PORT_RESET, R.PORT_POWER, random.nasty()]),
        );
        break;
      case 8:
        // The segment's size, every one of them.
        driver.machine.memory.writeU32(driver.erst + 8, random.pick([16, 64, 0, 15, 4096, 4097, random.nasty()]));
        driver.write(R.RUNTIME + R.ERSTSZ, random.pick([0, 1, 1, random.nasty()]));
        driver.write(R.RUNTIME + R.ERSTBA, driver.erst);
        break;
      default:
        if (random.below(20) === 0) this.start();
        else driver.write(R.OPERATIONAL + R.USBCMD, random.pick([5, 5, 4, 0x105, 0x205, random.nasty() & ~2]));
    }
  }

  registerValue(_bar: number, offset: number, value: number): number {
    const driver = this.#driver;
    switch (offset & ~7) {
      case R.OPERATIONAL + R.CRCR:
        return driver.commands.gpa | (value & 7);
      case R.OPERATIONAL + R.DCBAAP:
        return driver.dcbaa;
      case R.RUNTIME + R.ERSTBA:
        return driver.erst;
      default:
        return value;
    }
  }
}
