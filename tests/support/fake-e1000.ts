/** The driver's side of an e1000: registers and both rings in fake guest memory. */
import * as R from '../../devices/net/e1000/registers.ts';
import type { FakeMachine } from './fake-bus.ts';

export const RING_DESCRIPTORS = 64;

export interface ReceivedFrame {
  readonly bytes: Uint8Array;
  readonly status: number;
  readonly errors: number;
  readonly special: number;
}

export class FakeE1000Driver {
  readonly transmitGpa: number;
  readonly receiveGpa: number;
  #tail = 0;
  #next = 0;

  constructor(
    readonly machine: FakeMachine,
    readonly slot = 3,
    structuresGpa = 0x10000,
    readonly buffersGpa = 0x40000,
  ) {
    this.transmitGpa = structuresGpa;
    this.receiveGpa = structuresGpa + 0x8000;
  }

  get base(): number {
    return this.machine.bar(this.slot, 0);
  }

  read(register: number): number {
    return this.machine.mmio.read(this.base + register, 4);
  }

  write(register: number, value: number): void {
    this.machine.mmio.write(this.base + register, 4, value);
  }

  /** Decoding and bus mastering on, rings empty but for receive buffers of 2048 bytes in all descriptors but one. */
  start(rctl = R.RCTL_EN | R.RCTL_BAM | R.RCTL_SECRC): void {
    const { machine } = this;
    machine.setConfig(this.slot, 4, 2, 7);
    this.write(R.CTRL, R.CTRL_RST);
    this.write(R.TDBAL, this.transmitGpa);
    this.write(R.TDLEN, RING_DESCRIPTORS * 16);
    this.write(R.RDBAL, this.receiveGpa);
    this.write(R.RDLEN, RING_DESCRIPTORS * 16);
    for (let index = 0; index < RING_DESCRIPTORS; index++) {
      const at = this.receiveGpa + 16 * index;
      machine.memory.fill(at, 16, 0);
      machine.memory.writeU32(at, this.buffersGpa + 2048 * index);
    }
    this.#tail = 0;
    this.#next = 0;
    this.write(R.RDT, RING_DESCRIPTORS - 1);
    this.write(R.ITR, 0);
    this.write(R.TCTL, R.TCTL_EN);
    this.write(R.RCTL, rctl);
  }

  /** Adds a transmit descriptor; {@link kick} hands them over. */
  descriptor(low: bigint, high: bigint): number {
    const at = this.transmitGpa + 16 * this.#tail;
    this.machine.memory.writeU64(at, low);
    this.machine.memory.writeU64(at + 8, high);
    this.#tail = (this.#tail + 1) % RING_DESCRIPTORS;
    return at;
  }

  kick(): void {
    this.write(R.TDT, this.#tail);
  }

  /** Sends a frame by a legacy descriptor with EOP and RS; the result is the descriptor's place. */
  send(gpa: number, lengthBytes: number): number {
    const at = this.descriptor(BigInt(gpa), BigInt(lengthBytes) | (0x09n << 24n));
    this.kick();
    return at;
  }

  /** The next frame that is complete, or undefined; its descriptors go back to the card. */
  receive(): ReceivedFrame | undefined {
    const { memory } = this.machine;
    const pieces: number[] = [];
    for (;;) {
      const at = this.receiveGpa + 16 * this.#next;
      const status = memory.readU8(at + 12);
      if ((status & 1) === 0) return undefined;
      const piece = new Uint8Array(memory.readU16(at + 8));
      memory.read(memory.readU32(at), piece);
      pieces.push(...piece);
      const errors = memory.readU8(at + 13);
      const special = memory.readU16(at + 14);
      memory.writeU8(at + 12, 0);
      this.write(R.RDT, this.#next);
      this.#next = (this.#next + 1) % RING_DESCRIPTORS;
      if (status & 2) return { bytes: Uint8Array.from(pieces), status, errors, special };
    }
  }
}
