/** An AHCI driver that fills command lists with good, bad and senseless commands. */
import * as R from '../../devices/ahci/registers.ts';
import * as C from '../../devices/ata/opcodes.ts';
import { FakeAhciDriver, type AhciCommand } from './fake-ahci.ts';
import type { FakeMachine } from './fake-bus.ts';
import type { FakeRandom } from './fake-random.ts';
import type { HostileDriver, HostileMemory } from './hostile-guest.ts';

const COMMANDS = [
  ...[C.READ_DMA_EXT, C.WRITE_DMA_EXT, C.READ_DMA, C.WRITE_DMA, C.READ_SECTORS, C.WRITE_SECTORS_EXT, C.READ_VERIFY_EXT],
  ...[C.DATA_SET_MANAGEMENT, C.IDENTIFY_DEVICE, C.IDENTIFY_PACKET_DEVICE, C.FLUSH_CACHE_EXT, C.SET_FEATURES],
  ...[C.READ_LOG_EXT, C.READ_LOG_DMA_EXT, C.SMART, C.PACKET, C.PACKET, C.EXECUTE_DEVICE_DIAGNOSTIC, C.SET_MULTIPLE],
];
const QUEUED = [C.READ_FPDMA_QUEUED, C.WRITE_FPDMA_QUEUED, C.SEND_FPDMA_QUEUED] as const;
const PACKETS = [
  0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x5a, 0xa8, 0xad, 0xbd, 0xbe,
] as const;
const PORTS = [0, 2, 3] as const;
/** Registers that name memory which the device writes to. */
const ADDRESS_REGISTERS = [R.PX_CLB, R.PX_CLBU, R.PX_FB, R.PX_FBU];
/** Each port's structures, in the megabyte that no buffer touches. */
const PORT_BYTES = 0x10000;

export class HostileAhciDriver implements HostileDriver {
  readonly #drivers: readonly FakeAhciDriver[];

  constructor(
    private readonly machine: FakeMachine,
    private readonly slot: number,
    private readonly random: FakeRandom,
    private readonly places: HostileMemory,
  ) {
    this.#drivers = PORTS.map(
      (port, index) => new FakeAhciDriver(machine, port, slot, places.structuresGpa + index * PORT_BYTES),
    );
  }

  start(): void {
    // The BAR may have moved.
    if (this.machine.bar(this.slot, 5) === 0) return;
    for (const driver of this.#drivers) driver.start();
  }

  registerValue(bar: number, offset: number, value: number): number {
    const register = ADDRESS_REGISTERS.find((first) => {
      const at = (offset - R.PORTS_OFFSET) % R.PORT_STRIDE;
      return offset >= R.PORTS_OFFSET && at >= first && at < first + 4;
    });
    if (bar !== 5 || register === undefined) return value;
    if (register === R.PX_CLBU || register === R.PX_FBU) return this.random.below(8) === 0 ? 1 : 0;
    return this.random.pick([this.places.structuresGpa, this.places.structuresGpa + PORT_BYTES, 0x7fffffff]);
  }

  step(): void {
    const { random } = this;
    const driver = this.#drivers[random.below(this.#drivers.length)];
    if (!driver) return;
    switch (random.below(12)) {
      case 0:
        driver.stop();
        driver.run();
        return;
      case 1:
        driver.acknowledge();
        return;
      case 2:
        driver.write(R.PX_SCTL, random.pick([0x300, 0x301, 0x304, 0]));
        return;
      case 3:
        driver.issue(random.below(32), { command: 0, control: random.pick([0, 4]) });
        return;
      case 4:
        this.#senselessTable(driver);
        return;
      case 5:
        if (random.below(20) === 0) driver.setGlobal(R.REG_GHC, R.GHC_HR);
        return;
      default:
        driver.issue(random.below(32), this.#command());
        // A second processor changes what it has just handed over.
        if (random.below(4) === 0) this.#senselessTable(driver);
    }
  }

  #command(): AhciCommand {
    const { random } = this;
    const queued = random.below(3) === 0;
    const prds = Array.from({ length: random.below(5) }, () => {
      const [gpa, lengthBytes] = this.places.buffer();
      return [gpa, Math.max(2, lengthBytes % 0x10000)] as const;
    });
    const command = queued ? random.pick(QUEUED) : random.pick([random.below(256), ...COMMANDS]);
    return {
      command,
      queued,
      prds,
      lba: random.pick([random.below(140), random.below(140), 0xc24f00, random.nasty() * random.pick([1, 0x10000])]),
      count: random.pick([1, 2, random.below(9), random.nasty() & 0xffff]),
      features: random.pick([1, 1, 0xd0 + random.below(12), random.nasty() & 0xffff]),
      auxiliary: random.below(2),
      device: random.below(256),
      packet:
        command === C.PACKET
          ? [random.pick(PACKETS), ...Array.from({ length: 11 }, () => random.pick([0, 0, 1, 2, random.below(256)]))]
          : [],
    };
  }

  /** A word of a header, a table or a descriptor that no driver writes. */
  #senselessTable(driver: FakeAhciDriver): void {
    const { random, machine } = this;
    const slot = random.below(32);
    switch (random.below(4)) {
      case 0:
        machine.memory.writeU16(driver.listGpa + slot * R.HEADER_BYTES + 2, random.nasty() & 0xffff);
        break;
      case 1:
        machine.memory.writeU32(
          driver.listGpa + slot * R.HEADER_BYTES + 8,
          random.pick([0x7fffff80, this.places.structuresGpa]),
        );
        break;
      case 2:
        machine.memory.writeU8(driver.tableGpa(slot) + random.below(0x50), random.below(256));
        break;
      default: {
        const [gpa] = this.places.buffer();
        machine.memory.writeU64(driver.tableGpa(slot) + R.TABLE_PRDT, BigInt(gpa));
      }
    }
  }
}
