/** An e1000 driver that fills its rings with good, bad and senseless descriptors. */
import * as R from '../../devices/net/e1000/registers.ts';
import type { FakeMachine } from './fake-bus.ts';
import { FakeE1000Driver, RING_DESCRIPTORS } from './fake-e1000.ts';
import { FAKE_CHUNK_BYTES } from './fake-memory.ts';
import type { FakeRandom } from './fake-random.ts';
import type { HostileDriver, HostileMemory } from './hostile-guest.ts';

const REGISTERS = [
  ...[R.CTRL, R.CTRL, R.EECD, R.EERD, R.MDIC, R.ICR, R.ITR, R.ICS, R.IMS, R.IMC, R.RCTL, R.RCTL, R.TCTL, R.RDH, R.RDT],
  ...[R.TDH, R.TDT, R.RDLEN, R.TDLEN, R.RXCSUM, R.VET, R.MTA, R.VFTA + 8, R.RAL + 8, R.RAL + 12, R.STATISTICS + 0x74],
  ...[R.PACKET_BUFFER + 0x100, R.RDTR, R.TIDV],
];
const IODATA = 4;
const PORT_BAR = 2;
/** Receive buffers are up to 16 KiB long wherever they begin. */
const RECEIVE_BUFFERS = FAKE_CHUNK_BYTES;

export class HostileE1000Driver implements HostileDriver {
  readonly #driver: FakeE1000Driver;

  constructor(
    private readonly machine: FakeMachine,
    slot: number,
    private readonly random: FakeRandom,
    private readonly places: HostileMemory,
  ) {
    this.#driver = new FakeE1000Driver(machine, slot, places.structuresGpa, RECEIVE_BUFFERS);
  }

  start(): void {
    // The BAR may have moved.
    if (this.#driver.base === 0) return;
    this.#driver.start(R.RCTL_EN | R.RCTL_BAM | this.random.pick([0, R.RCTL_UPE, R.RCTL_LPE | R.RCTL_BSEX, 3 << 16]));
    this.#driver.write(R.IMS, this.random.pick([0xffffffff, 0, this.random.u32()]));
  }

  registerValue(bar: number, offset: number, value: number): number {
    // Any register may be written through the ports, those with the rings' places as well.
    const isData = bar === PORT_BAR && offset >= IODATA;
    return isData ? this.random.pick([this.places.structuresGpa, 0, 0x7ff_ff00]) : value;
  }

  step(): void {
    const { random } = this;
    switch (random.below(8)) {
      case 0:
        this.#writeRegister(random.pick([R.CTRL, ...REGISTERS]), random.nasty());
        return;
      case 1:
        this.#driver.read(random.pick([R.ICR, ...REGISTERS]));
        return;
      case 2:
        this.#driver.write(R.RDT, random.below(RING_DESCRIPTORS + 2));
        return;
      case 3:
        this.#receiveBuffer();
        return;
      case 4:
        this.#driver.descriptor(BigInt.asUintN(64, BigInt(random.u32())), this.#context());
        return;
      default:
        this.#packet();
    }
  }

  #writeRegister(register: number, value: number): void {
    // A longer ring than the card works through in one turn would be ahead in every copy of a snapshot.
    this.#driver.write(register, register === R.TDLEN ? value & 0x3f80 : value);
  }

  #receiveBuffer(): void {
    const { random } = this;
    const gpa = random.pick([0, RECEIVE_BUFFERS + random.below(0x10000), 4 * FAKE_CHUNK_BYTES - 100, 0xfffffff0]);
    const at = this.#driver.receiveGpa + 16 * random.below(RING_DESCRIPTORS);
    this.machine.memory.writeU32(at, gpa);
    this.machine.memory.writeU32(at + 4, random.below(30) === 0 ? 1 : 0);
  }

  /** Second half of a context descriptor: header lengths and segment sizes of any kind (FreeBSD-SA-19:21). */
  #context(): bigint {
    const { random } = this;
    const headerBytes = random.pick([0, 54, 66, 74, 255, random.below(256)]);
    const segmentBytes = random.pick([0, 1, 64, 1460, random.below(0x10000)]);
    const command = 0x20 | random.pick([0x05, 0x07, random.below(32)]);
    return (
      (BigInt(segmentBytes) << 48n) |
      (BigInt(headerBytes) << 40n) |
      (BigInt(command) << 24n) |
      BigInt(random.below(0x100000))
    );
  }

  #packet(): void {
    const { random, machine } = this;
    const pieces = random.pick([1, 1, 2, 3, random.below(80)]);
    const extended = random.below(2) === 0;
    for (let piece = 0; piece < pieces; piece++) {
      const [gpa, lengthBytes] = this.places.buffer();
      if (machine.memory.contains(gpa, 64)) machine.memory.writeU8(gpa + 12, random.pick([0x08, 0x86, 0x81]));
      const last = piece === pieces - 1 ? 1 : 0;
      const command = last | (random.below(4) << 2) | 8 | (extended ? 0x20 : 0) | (random.below(4) === 0 ? 0x40 : 0);
      const type = extended ? random.pick([1, 1, 1, random.below(16)]) << 20 : 0;
      const high = BigInt(lengthBytes & 0xfffff) | BigInt(type) | (BigInt(command) << 24n);
      this.#driver.descriptor(BigInt.asUintN(64, BigInt(gpa)), high | (BigInt(random.u32()) << 32n));
    }
    this.#driver.kick();
  }
}
