/** The driver's side of a virtio 1.0 device with several queues: registers found through the capabilities, split rings in fake guest memory. */
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { CAP_VENDOR_SPECIFIC } from '../../devices/pci/registers.ts';
import { CFG_COMMON, CFG_DEVICE, CFG_NOTIFY } from '../../devices/virtio/transport/modern.ts';
import { STATUS_DRIVER_OK, STATUS_FEATURES_OK } from '../../devices/virtio/transport/target.ts';
import type { FakeMachine } from './fake-bus.ts';
import { DESC_NEXT, DESC_WRITE, type Buffer, type UsedElement } from './fake-driver.ts';

const ACKNOWLEDGE_DRIVER = 3;
/** VIRTIO_F_VERSION_1, in the upper half of the features. */
const VERSION_1 = 1;
const RING_SIZE = 16;
const QUEUE_BYTES = 0x1000;
const AVAIL = 0x400;
const USED = 0x800;

export class FakeModernDriver {
  readonly #structures = new Map<number, { readonly address: number; readonly multiplier: number }>();
  readonly #queues: { next: number; available: number; used: number }[] = [];

  constructor(
    readonly machine: FakeMachine,
    readonly slot = 3,
    readonly ringsGpa = 0x10000,
  ) {
    for (let at = machine.config(slot, 0x34, 1); at !== 0; at = machine.config(slot, at + 1, 1)) {
      if (machine.config(slot, at, 1) !== CAP_VENDOR_SPECIFIC) continue;
      const type = machine.config(slot, at + 3, 1);
      if (this.#structures.has(type)) continue;
      const address = machine.bar(slot, machine.config(slot, at + 4, 1)) + machine.config(slot, at + 8, 4);
      this.#structures.set(type, { address, multiplier: machine.config(slot, at + 16, 4) });
    }
  }

  #structure(type: number): { readonly address: number; readonly multiplier: number } {
    const structure = this.#structures.get(type);
    if (!structure) throw new Error(`no structure ${type}`);
    return structure;
  }

  common(offset: number, size: AccessSize): number {
    return this.machine.mmio.read(this.#structure(CFG_COMMON).address + offset, size);
  }

  setCommon(offset: number, size: AccessSize, value: number): void {
    this.machine.mmio.write(this.#structure(CFG_COMMON).address + offset, size, value);
  }

  config(offset: number, size: AccessSize): number {
    return this.machine.mmio.read(this.#structure(CFG_DEVICE).address + offset, size);
  }

  /** Low 32 features that the device offers. */
  get offered(): number {
    this.setCommon(0x00, 4, 0);
    return this.common(0x04, 4);
  }

  /** Resets the device, accepts features, and sets up the queues; queue N interrupts with message N + 1. */
  start(features: number, queueCount: number): void {
    this.setCommon(0x14, 1, 0);
    this.setCommon(0x14, 1, ACKNOWLEDGE_DRIVER);
    for (const [half, bits] of [features, VERSION_1].entries()) {
      this.setCommon(0x08, 4, half);
      this.setCommon(0x0c, 4, bits);
    }
    this.setCommon(0x14, 1, ACKNOWLEDGE_DRIVER | STATUS_FEATURES_OK);
    this.#enableMessages(queueCount + 1);
    this.#queues.length = 0;
    for (let queue = 0; queue < queueCount; queue++) {
      this.machine.memory.fill(this.#ring(queue), QUEUE_BYTES, 0);
      this.setCommon(0x16, 2, queue);
      this.setCommon(0x18, 2, RING_SIZE);
      this.setCommon(0x1a, 2, queue + 1);
      this.setCommon(0x20, 4, this.#ring(queue));
      this.setCommon(0x28, 4, this.#ring(queue) + AVAIL);
      this.setCommon(0x30, 4, this.#ring(queue) + USED);
      this.setCommon(0x1c, 2, 1);
      this.#queues.push({ next: 0, available: 0, used: 0 });
    }
    this.setCommon(0x14, 1, ACKNOWLEDGE_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
  }

  #enableMessages(count: number): void {
    const { machine, slot } = this;
    const capability = machine.capability(slot, 0x11);
    machine.setConfig(slot, capability + 2, 2, 0x8000);
    const place = machine.config(slot, capability + 4, 4);
    const table = machine.bar(slot, place & 7) + (place & ~7);
    for (let vector = 0; vector < count; vector++) {
      machine.mmio.write(table + 16 * vector, 4, 0xfee00000);
      machine.mmio.write(table + 16 * vector + 8, 4, vector);
      machine.mmio.write(table + 16 * vector + 12, 4, 0);
    }
  }

  #ring(queue: number): number {
    return this.ringsGpa + queue * QUEUE_BYTES;
  }

  /** Makes a chain available in a queue and notifies it. */
  submit(queue: number, buffers: readonly Buffer[]): void {
    const state = this.#queues[queue];
    if (!state) throw new Error(`no queue ${queue}`);
    const { memory } = this.machine;
    const head = state.next % RING_SIZE;
    buffers.forEach(({ gpa, lengthBytes, write }, index) => {
      const at = this.#ring(queue) + 16 * ((head + index) % RING_SIZE);
      const last = index === buffers.length - 1;
      memory.writeU64(at, BigInt(gpa));
      memory.writeU32(at + 8, lengthBytes);
      memory.writeU16(at + 12, (write ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT));
      memory.writeU16(at + 14, (head + index + 1) % RING_SIZE);
    });
    state.next += buffers.length;
    memory.writeU16(this.#ring(queue) + AVAIL + 4 + 2 * (state.available % RING_SIZE), head);
    memory.writeU16(this.#ring(queue) + AVAIL + 2, ++state.available);
    this.notify(queue);
  }

  notify(queue: number): void {
    this.setCommon(0x16, 2, queue);
    const { address, multiplier } = this.#structure(CFG_NOTIFY);
    this.machine.mmio.write(address + multiplier * this.common(0x1e, 2), 2, queue);
  }

  /** Where the driver says with which used element it wants to be interrupted (virtio 1.2, 2.7.7). */
  usedEventGpa(queue: number): number {
    return this.#ring(queue) + AVAIL + 4 + 2 * RING_SIZE;
  }

  /** What the device has given back in a queue since the last call. */
  takeUsed(queue: number): UsedElement[] {
    const state = this.#queues[queue];
    if (!state) throw new Error(`no queue ${queue}`);
    const { memory } = this.machine;
    const end = memory.readU16(this.#ring(queue) + USED + 2);
    const elements: UsedElement[] = [];
    for (; state.used !== end; state.used++) {
      const at = this.#ring(queue) + USED + 4 + 8 * (state.used % RING_SIZE);
      elements.push({ id: memory.readU32(at), lengthBytes: memory.readU32(at + 4) });
    }
    return elements;
  }
}
