/** The driver's side of an AHCI port: command list, command tables and received FISes in fake guest memory. */
import * as R from '../../devices/ahci/registers.ts';
import type { FakeMachine } from './fake-bus.ts';

export interface AhciCommand {
  readonly command: number;
  readonly lba?: number;
  readonly count?: number;
  readonly features?: number;
  readonly device?: number;
  readonly auxiliary?: number;
  readonly packet?: readonly number[];
  /** Where the data is: address and length of each descriptor. */
  readonly prds?: readonly (readonly [gpa: number, lengthBytes: number])[];
  readonly queued?: boolean;
  /** Device control instead of a command. */
  readonly control?: number;
}

export class FakeAhciDriver {
  readonly listGpa: number;
  readonly fisGpa: number;
  readonly tablesGpa: number;

  constructor(
    readonly machine: FakeMachine,
    readonly port = 0,
    readonly slot = 3,
    base = 0x20000,
  ) {
    this.listGpa = base;
    this.fisGpa = base + 0x1000;
    this.tablesGpa = base + 0x2000;
  }

  /** Where the registers are now. */
  get #abar(): number {
    return this.machine.bar(this.slot, 5);
  }

  global(register: number): number {
    return this.machine.mmio.read(this.#abar + register, 4);
  }

  setGlobal(register: number, value: number): void {
    this.machine.mmio.write(this.#abar + register, 4, value >>> 0);
  }

  read(register: number): number {
    return this.global(R.PORTS_OFFSET + this.port * R.PORT_STRIDE + register);
  }

  write(register: number, value: number): void {
    this.setGlobal(R.PORTS_OFFSET + this.port * R.PORT_STRIDE + register, value);
  }

  /** Starts the port as drivers do. */
  start(): void {
    this.write(R.PX_CLB, this.listGpa);
    this.write(R.PX_FB, this.fisGpa);
    this.write(R.PX_SERR, 0xffffffff);
    this.write(R.PX_IS, 0xffffffff);
    this.write(R.PX_IE, R.IE_WRITABLE);
    this.setGlobal(R.REG_IS, 0xffffffff);
    this.setGlobal(R.REG_GHC, R.GHC_IE);
    this.run();
  }

  run(): void {
    this.write(R.PX_CMD, R.CMD_ST | R.CMD_FRE | R.CMD_SUD | R.CMD_POD);
  }

  stop(): void {
    this.write(R.PX_CMD, R.CMD_FRE | R.CMD_SUD | R.CMD_POD);
  }

  tableGpa(slot: number): number {
    return this.tablesGpa + slot * 0x400;
  }

  /** Writes header and table of a slot without issuing the command. */
  prepare(slot: number, command: AhciCommand): void {
    const { memory } = this.machine;
    const { lba = 0, count = 0, features = 0, device = 0x40, auxiliary = 0, packet = [], prds = [] } = command;
    const table = this.tableGpa(slot);
    const fis = new Uint8Array(0x50);
    fis.set([0x27, command.control === undefined ? 0x80 : 0, command.command, features & 0xff]);
    const low = lba % 0x1000000;
    const high = Math.floor(lba / 0x1000000);
    fis.set([low & 0xff, (low >> 8) & 0xff, (low >> 16) & 0xff, device], 4);
    fis.set([high & 0xff, (high >> 8) & 0xff, (high >> 16) & 0xff, features >> 8], 8);
    fis.set([count & 0xff, count >> 8, 0, command.control ?? 0], 12);
    new DataView(fis.buffer).setUint32(16, auxiliary, true);
    fis.set(packet, R.TABLE_PACKET);
    memory.write(table, fis);
    prds.forEach(([gpa, lengthBytes], index) => {
      const at = table + R.TABLE_PRDT + index * R.PRD_BYTES;
      memory.writeU64(at, BigInt(gpa));
      memory.writeU32(at + 8, 0);
      memory.writeU32(at + 12, lengthBytes - 1);
    });
    const header = this.listGpa + slot * R.HEADER_BYTES;
    memory.writeU16(header, 5 | (packet.length > 0 ? R.HEADER_ATAPI : 0));
    memory.writeU16(header + 2, prds.length);
    memory.writeU32(header + 4, 0);
    memory.writeU64(header + 8, BigInt(table));
  }

  issue(slot: number, command: AhciCommand): void {
    this.prepare(slot, command);
    if (command.queued) this.write(R.PX_SACT, 1 << slot);
    this.write(R.PX_CI, 1 << slot);
  }

  /** What the device has posted of a kind of FIS. */
  received(offset: number, lengthBytes = 20): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    this.machine.memory.read(this.fisGpa + offset, bytes);
    return bytes;
  }

  /** Acknowledges everything; returns what the port's interrupt status was. */
  acknowledge(): number {
    const status = this.read(R.PX_IS);
    this.write(R.PX_SERR, 0xffffffff);
    this.write(R.PX_IS, status);
    this.setGlobal(R.REG_IS, 1 << this.port);
    return status;
  }
}
