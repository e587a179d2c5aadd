/** The driver's side of a virtio device: legacy registers and a split ring in fake guest memory. */
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import * as L from '../../devices/virtio/transport/legacy.ts';
import type { FakeMachine } from './fake-bus.ts';

export const DESC_NEXT = 1;
export const DESC_WRITE = 2;
export const DESC_INDIRECT = 4;

export interface Buffer {
  readonly gpa: number;
  readonly lengthBytes: number;
  readonly write?: boolean;
}

export interface UsedElement {
  readonly id: number;
  readonly lengthBytes: number;
}

/** A driver of the function at 0:slot.0, with one queue. */
export class FakeDriver {
  readonly base: number;
  size = 0;
  nextAvail = 0;
  lastUsed = 0;
  #nextDescriptor = 0;

  constructor(
    readonly machine: FakeMachine,
    readonly slot = 3,
    readonly ringGpa = 0x10000,
    readonly queueIndex = 0,
  ) {
    this.base = machine.bar(slot, 0);
  }

  read(register: number, size: AccessSize): number {
    return this.machine.ports.read(this.base + register, size);
  }

  write(register: number, size: AccessSize, value: number): void {
    this.machine.ports.write(this.base + register, size, value);
  }

  get status(): number {
    return this.read(L.REG_STATUS, 1);
  }

  /** Resets the device, accepts features and sets the queue up. */
  start(features = 0): void {
    this.write(L.REG_STATUS, 1, 0);
    this.write(L.REG_STATUS, 1, 3);
    this.write(L.REG_GUEST_FEATURES, 4, features);
    this.setUpQueue();
  }

  /** Sets the queue up, of a device that another driver has started. */
  setUpQueue(): void {
    this.write(L.REG_QUEUE_SELECT, 2, this.queueIndex);
    this.size = this.read(L.REG_QUEUE_SIZE, 2);
    this.machine.memory.fill(this.ringGpa, this.ringBytes, 0);
    this.write(L.REG_QUEUE_PFN, 4, this.ringGpa / 4096);
    this.write(L.REG_STATUS, 1, 7);
    this.nextAvail = 0;
    this.lastUsed = 0;
    this.#nextDescriptor = 0;
  }

  /** MSI-X on, vector 1 for queue 0, vector 0 for configuration; messages have the vector as data. */
  enableMsix(): void {
    const { machine, slot } = this;
    machine.setConfig(slot, machine.capability(slot, 0x11) + 2, 2, 0x8000);
    const table = machine.bar(slot, 1);
    for (let vector = 0; vector < 2; vector++) {
      machine.mmio.write(table + 16 * vector, 4, 0xfee00000);
      machine.mmio.write(table + 16 * vector + 8, 4, vector);
      machine.mmio.write(table + 16 * vector + 12, 4, 0);
    }
    this.write(L.REG_CONFIG_VECTOR, 2, 0);
    this.write(L.REG_QUEUE_VECTOR, 2, 1);
  }

  get availGpa(): number {
    return this.ringGpa + 16 * this.size;
  }

  get usedGpa(): number {
    return this.ringGpa + Math.ceil((18 * this.size + 6) / 4096) * 4096;
  }

  get ringBytes(): number {
    return this.usedGpa - this.ringGpa + 8 * this.size + 6;
  }

  setDescriptor(
    table: number,
    index: number,
    gpa: number | bigint,
    lengthBytes: number,
    flags: number,
    next: number,
  ): void {
    const at = table + 16 * index;
    const { memory } = this.machine;
    memory.writeU64(at, BigInt(gpa));
    memory.writeU32(at + 8, lengthBytes);
    memory.writeU16(at + 12, flags);
    memory.writeU16(at + 14, next);
  }

  /** Writes a chain into free descriptors (taken in turn, never checked for reuse) and makes it available. */
  add(buffers: readonly Buffer[]): number {
    const head = this.#nextDescriptor;
    buffers.forEach((buffer, index) => {
      const last = index === buffers.length - 1;
      const flags = (buffer.write ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT);
      const at = (head + index) % this.size;
      this.setDescriptor(this.ringGpa, at, buffer.gpa, buffer.lengthBytes, flags, (at + 1) % this.size);
    });
    this.#nextDescriptor = (head + buffers.length) % this.size;
    this.makeAvailable(head);
    return head;
  }

  /** A chain in an indirect table at `table`. */
  addIndirect(table: number, buffers: readonly Buffer[]): number {
    buffers.forEach((buffer, index) => {
      const last = index === buffers.length - 1;
      const flags = (buffer.write ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT);
      this.setDescriptor(table, index, buffer.gpa, buffer.lengthBytes, flags, index + 1);
    });
    const head = this.#nextDescriptor;
    this.setDescriptor(this.ringGpa, head, table, 16 * buffers.length, DESC_INDIRECT, 0);
    this.#nextDescriptor = (head + 1) % this.size;
    this.makeAvailable(head);
    return head;
  }

  makeAvailable(head: number): void {
    const { memory } = this.machine;
    memory.writeU16(this.availGpa + 4 + 2 * (this.nextAvail % this.size), head);
    this.nextAvail = (this.nextAvail + 1) & 0xffff;
    memory.writeU16(this.availGpa + 2, this.nextAvail);
  }

  setAvailFlags(flags: number): void {
    this.machine.memory.writeU16(this.availGpa, flags);
  }

  setUsedEvent(index: number): void {
    this.machine.memory.writeU16(this.availGpa + 4 + 2 * this.size, index);
  }

  get availEvent(): number {
    return this.machine.memory.readU16(this.usedGpa + 4 + 8 * this.size);
  }

  notify(): void {
    this.write(L.REG_QUEUE_NOTIFY, 2, this.queueIndex);
  }

  /** What the device gave back since the last call. */
  used(): UsedElement[] {
    const { memory } = this.machine;
    const end = memory.readU16(this.usedGpa + 2);
    const elements: UsedElement[] = [];
    while (this.lastUsed !== end) {
      const at = this.usedGpa + 4 + 8 * (this.lastUsed % this.size);
      elements.push({ id: memory.readU32(at), lengthBytes: memory.readU32(at + 4) });
      this.lastUsed = (this.lastUsed + 1) & 0xffff;
    }
    return elements;
  }
}
