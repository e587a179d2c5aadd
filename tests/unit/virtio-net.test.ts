/** virtio-net through its registers and rings: frames, merged buffers, commands, pause, reset and snapshots in the middle of both. */
import { expect, test } from 'vitest';
import { NO_OFFLOAD, type OffloadCapabilities } from '../../devices/backends/network.ts';
import type { DeviceState } from '../../devices/snapshot.ts';
import { VIRTIO_RING_F_EVENT_IDX } from '../../devices/virtio/device.ts';
import {
  CONTROL_QUEUE,
  RECEIVE_QUEUE,
  TRANSMIT_QUEUE,
  VIRTIO_NET_F_MRG_RXBUF,
  VirtioNet,
} from '../../devices/virtio/net.ts';
import * as L from '../../devices/virtio/transport/legacy.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeModernDriver } from '../support/fake-modern-driver.ts';
import { FakeNetwork } from '../support/fake-network.ts';

const SLOT = 3;
const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const RING_BYTES = 0x8000;
const RINGS = 0x100000;
const BUFFERS = 0x200000;

interface Rig {
  readonly machine: FakeMachine;
  readonly device: VirtioNet;
  readonly cable: FakeNetwork;
  readonly clock: FakeClock;
}

function rig(options: { offload?: OffloadCapabilities; mtu?: number; memory?: FakeMachine['memory'] } = {}): Rig {
  const cable = new FakeNetwork(options.offload);
  const machine = new FakeMachine({}, options.memory);
  const { memory } = machine;
  const clock = new FakeClock();
  const device = new VirtioNet({
    memory,
    msix: true,
    log: () => {},
    backend: cable,
    mac: MAC,
    mtu: options.mtu,
    clock,
  });
  machine.pci.add({ bus: 0, slot: SLOT, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  return { machine, device, cable, clock };
}

/** A legacy driver with all three queues. */
class Driver {
  readonly base: number;
  readonly #available = [0, 0, 0];
  readonly #used = [0, 0, 0];

  constructor(
    readonly machine: FakeMachine,
    features = 1 << VIRTIO_NET_F_MRG_RXBUF,
    start = true,
  ) {
    this.base = machine.bar(SLOT, 0);
    if (!start) return;
    machine.setConfig(SLOT, 4, 2, 7);
    machine.ports.write(this.base + L.REG_STATUS, 1, 3);
    machine.ports.write(this.base + L.REG_GUEST_FEATURES, 4, features);
    for (let queue = 0; queue < 3; queue++) {
      machine.memory.fill(this.ring(queue), RING_BYTES, 0);
      machine.ports.write(this.base + L.REG_QUEUE_SELECT, 2, queue);
      machine.ports.write(this.base + L.REG_QUEUE_PFN, 4, this.ring(queue) / 4096);
    }
    machine.ports.write(this.base + L.REG_STATUS, 1, 7);
  }

  ring(queue: number): number {
    return RINGS + queue * RING_BYTES;
  }

  #size(queue: number): number {
    return queue === CONTROL_QUEUE ? 64 : 1024;
  }

  /** Makes a chain available: place, length and whether the device writes. */
  add(queue: number, buffers: readonly (readonly [gpa: number, lengthBytes: number, write: boolean])[]): void {
    const { memory } = this.machine;
    const size = this.#size(queue);
    const available = this.#available[queue] ?? 0;
    const head = (available * 4) % size;
    buffers.forEach(([gpa, lengthBytes, write], index) => {
      const at = this.ring(queue) + 16 * (head + index);
      memory.writeU64(at, BigInt(gpa));
      memory.writeU32(at + 8, lengthBytes);
      memory.writeU16(at + 12, (write ? 2 : 0) | (index < buffers.length - 1 ? 1 : 0));
      memory.writeU16(at + 14, head + index + 1);
    });
    const avail = this.ring(queue) + 16 * size;
    memory.writeU16(avail + 4 + 2 * (available % size), head);
    this.#available[queue] = available + 1;
    memory.writeU16(avail + 2, available + 1);
  }

  notify(queue: number): void {
    this.machine.ports.write(this.base + L.REG_QUEUE_NOTIFY, 2, queue);
  }

  /** Lengths of what the device gave back since the last call. */
  used(queue: number): number[] {
    const { memory } = this.machine;
    const size = this.#size(queue);
    const used = this.ring(queue) + Math.ceil((18 * size + 6) / 4096) * 4096;
    const lengths: number[] = [];
    for (let at = this.#used[queue] ?? 0; at !== memory.readU16(used + 2); at++) {
      lengths.push(memory.readU32(used + 4 + 8 * (at % size) + 4));
      this.#used[queue] = at + 1;
    }
    return lengths;
  }

  bytes(gpa: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    this.machine.memory.read(gpa, bytes);
    return bytes;
  }
}

const frameOf = (lengthBytes: number): Uint8Array => {
  const frame = Uint8Array.from({ length: lengthBytes }, (_, index) => index);
  frame.set(MAC);
  return frame;
};

function send(driver: Driver, frame: Uint8Array, headerBytes = 12): void {
  const { memory } = driver.machine;
  memory.fill(BUFFERS, headerBytes, 0);
  memory.write(BUFFERS + headerBytes, frame);
  driver.add(TRANSMIT_QUEUE, [
    [BUFFERS, headerBytes + 5, false],
    [BUFFERS + headerBytes + 5, frame.length - 5, false],
  ]);
  driver.notify(TRANSMIT_QUEUE);
}

test('legacy drivers are offered what bhyve offers, and the configuration that they know', () => {
  const { machine } = rig({ mtu: 9000 });
  const driver = new Driver(machine, 0);
  expect(machine.ports.read(driver.base + L.REG_HOST_FEATURES, 4)).toBe(
    (1 << 3) | (1 << 5) | (1 << 15) | (1 << 16) | (1 << 24) | (1 << 28),
  );
  const config = Array.from({ length: 12 }, (_, at) => machine.ports.read(driver.base + L.CONFIG_OFFSET + at, 1));
  expect(config).toEqual([...MAC, 1, 0, 1, 0, 0x28, 0x23]);
  machine.ports.write(driver.base + L.CONFIG_OFFSET + 5, 1, 0x77);
  expect(machine.ports.read(driver.base + L.CONFIG_OFFSET + 5, 1)).toBe(0x77);
});

test('a frame goes out whole, whatever its buffers', () => {
  const { machine, cable } = rig();
  const driver = new Driver(machine);
  send(driver, frameOf(100));
  expect(cable.sent.map(({ bytes }) => bytes)).toEqual([frameOf(100)]);
  expect(driver.used(TRANSMIT_QUEUE)).toEqual([0]);
  const plain = rig();
  const old = new Driver(plain.machine, 0);
  send(old, frameOf(60), 10);
  expect(plain.cable.sent.map(({ bytes }) => bytes)).toEqual([frameOf(60)]);
});

test('a frame comes into as many buffers as it needs', () => {
  const { machine, cable } = rig();
  const driver = new Driver(machine);
  for (let index = 0; index < 4; index++) driver.add(RECEIVE_QUEUE, [[BUFFERS + 100 * index, 100, true]]);
  driver.notify(RECEIVE_QUEUE);
  expect(cable.deliver(frameOf(250))).toBe(true);
  expect(driver.used(RECEIVE_QUEUE)).toEqual([100, 100, 62]);
  const whole = driver.bytes(BUFFERS, 262);
  expect(whole[10]).toBe(3);
  expect(whole.subarray(12)).toEqual(frameOf(250));
  // One buffer is left: too little for a frame of two.
  expect(cable.deliver(frameOf(150))).toBe(false);
  expect(cable.readyCalls).toBe(1);
  driver.add(RECEIVE_QUEUE, [[BUFFERS + 500, 100, true]]);
  driver.notify(RECEIVE_QUEUE);
  expect(cable.readyCalls).toBe(2);
  expect(cable.deliver(frameOf(150))).toBe(true);
  expect(driver.used(RECEIVE_QUEUE)).toEqual([100, 62]);
});

test('a driver that polls sees a frame in several buffers whole or not at all', () => {
  const { machine, cable } = rig();
  const driver = new Driver(machine);
  for (let index = 0; index < 4; index++) driver.add(RECEIVE_QUEUE, [[BUFFERS + 64 * index, 30, true]]);
  driver.notify(RECEIVE_QUEUE);
  const seen: number[][] = [];
  const { memory } = machine;
  const written = memory.written.bind(memory);
  memory.written = (gpa, lengthBytes) => {
    written(gpa, lengthBytes);
    const lengths = driver.used(RECEIVE_QUEUE);
    if (lengths.length > 0) seen.push(lengths);
  };
  expect(cable.deliver(frameOf(88))).toBe(true);
  expect(seen).toEqual([[30, 30, 30, 10]]);
});

test('a driver that merges nothing gets a frame in one buffer, or not at all', () => {
  const { machine, device, cable } = rig();
  const driver = new Driver(machine, 0);
  driver.add(RECEIVE_QUEUE, [
    [BUFFERS, 10, true],
    [BUFFERS + 16, 90, true],
  ]);
  driver.notify(RECEIVE_QUEUE);
  expect(cable.deliver(frameOf(91))).toBe(true);
  expect(device.badRequests).toBe(1);
  expect(cable.deliver(frameOf(90))).toBe(true);
  expect(driver.used(RECEIVE_QUEUE)).toEqual([100]);
  expect(driver.bytes(BUFFERS + 16, 90)).toEqual(frameOf(90));
});

test('a backend that is busy gets the frame later, once', () => {
  const { machine, cable } = rig();
  const driver = new Driver(machine);
  cable.busy = true;
  send(driver, frameOf(60));
  expect(driver.used(TRANSMIT_QUEUE)).toEqual([]);
  cable.drain();
  expect(cable.sent).toHaveLength(1);
  expect(driver.used(TRANSMIT_QUEUE)).toEqual([0]);
});

test('senseless requests are counted, and the card goes on', () => {
  const { machine, device, cable } = rig();
  const driver = new Driver(machine);
  driver.add(TRANSMIT_QUEUE, [[BUFFERS, 20, false]]);
  driver.add(TRANSMIT_QUEUE, [[0xfff0_0000, 100, false]]);
  driver.add(TRANSMIT_QUEUE, [[BUFFERS, 0xffff_ffff, false]]);
  driver.notify(TRANSMIT_QUEUE);
  expect(device.badRequests).toBe(3);
  send(driver, frameOf(60));
  expect(cable.sent).toHaveLength(1);
  driver.add(RECEIVE_QUEUE, [[0xfff0_0000, 2000, true]]);
  driver.notify(RECEIVE_QUEUE);
  expect(cable.deliver(frameOf(60))).toBe(true);
  expect(device.badRequests).toBe(4);
});

test('pause: no frame passes until the card goes on; reset with a frame held back: it is gone', async () => {
  const { machine, device, cable } = rig();
  const driver = new Driver(machine);
  driver.add(RECEIVE_QUEUE, [[BUFFERS + 0x1000, 200, true]]);
  driver.notify(RECEIVE_QUEUE);
  cable.busy = true;
  send(driver, frameOf(60));
  await device.pause();
  cable.drain();
  expect(cable.sent).toHaveLength(0);
  expect(cable.deliver(frameOf(60))).toBe(false);
  device.resume();
  expect(cable.sent).toHaveLength(1);
  expect(cable.deliver(frameOf(60))).toBe(true);

  cable.busy = true;
  send(driver, frameOf(61));
  await device.reset();
  cable.drain();
  expect(cable.sent).toHaveLength(1);
  expect(cable.deliver(frameOf(60))).toBe(false);
});

test('a snapshot in the middle: receive buffers stay, a frame on its way out is lost and not sent twice', async () => {
  const first = rig({ offload: NO_OFFLOAD });
  const driver = new Driver(first.machine);
  for (let index = 0; index < 2; index++) driver.add(RECEIVE_QUEUE, [[BUFFERS + 0x1000 * (index + 1), 300, true]]);
  driver.notify(RECEIVE_QUEUE);
  first.cable.deliver(frameOf(60));
  first.cable.busy = true;
  send(driver, frameOf(60));
  await first.device.pause();
  const state: DeviceState = structuredClone(first.machine.pci.save());

  const second = rig({ offload: NO_OFFLOAD, memory: first.machine.memory });
  second.machine.pci.restore(state);
  const going = new Driver(second.machine, 0, false);
  expect(second.cable.sent).toHaveLength(0);
  expect(going.used(TRANSMIT_QUEUE)).toEqual([0]);
  expect(second.cable.deliver(frameOf(70))).toBe(true);
  expect(going.used(RECEIVE_QUEUE)).toEqual([72, 82]);
  expect(going.bytes(BUFFERS + 0x2000 + 12, 70)).toEqual(frameOf(70));
});

/** A driver of virtio 1.0 with event indices, which has sent a frame. */
function sender(): Rig & { readonly send: (lengthBytes: number) => void; readonly wants: (used: number) => void } {
  const made = rig();
  const driver = new FakeModernDriver(made.machine, SLOT);
  driver.start(1 << VIRTIO_RING_F_EVENT_IDX, 2);
  const { memory } = made.machine;
  return {
    ...made,
    send: (lengthBytes) => {
      memory.fill(BUFFERS, 12, 0);
      memory.write(BUFFERS + 12, frameOf(lengthBytes));
      driver.submit(TRANSMIT_QUEUE, [{ gpa: BUFFERS, lengthBytes: 12 + lengthBytes }]);
    },
    wants: (used) => memory.writeU16(driver.usedEventGpa(TRANSMIT_QUEUE), used),
  };
}

const SENT_MESSAGE = TRANSMIT_QUEUE + 1;
const sentInterrupts = ({ machine }: Rig): number =>
  machine.interrupts.messages.filter(({ data }) => data === SENT_MESSAGE).length;

test('the interrupt for a short frame that went out alone waits for a millisecond', () => {
  const card = sender();
  card.send(60);
  expect(card.cable.sent).toHaveLength(1);
  card.clock.advance(900_000);
  expect(sentInterrupts(card)).toBe(0);
  card.clock.advance(100_000);
  expect(sentInterrupts(card)).toBe(1);
  card.clock.advance(10_000_000);
  expect(sentInterrupts(card)).toBe(1);
});

test('a driver that has found the frame meanwhile is not interrupted', () => {
  const card = sender();
  card.send(60);
  card.wants(1);
  card.clock.advance(10_000_000);
  expect(sentInterrupts(card)).toBe(0);
  // The next frame is the one that it wants to hear of; when another follows, what is before that one waits no longer.
  card.send(60);
  expect(sentInterrupts(card)).toBe(0);
  card.send(60);
  expect(sentInterrupts(card)).toBe(1);
});

test('a long frame, and several, interrupt at once', () => {
  const card = sender();
  card.send(1000);
  expect(sentInterrupts(card)).toBe(1);
  card.wants(1);
  card.cable.busy = true;
  card.send(60);
  card.send(60);
  card.cable.drain();
  expect(card.cable.sent).toHaveLength(3);
  expect(sentInterrupts(card)).toBe(2);
});

test('a pause holds the waiting interrupt back, a reset drops it', async () => {
  const card = sender();
  card.send(60);
  await card.device.pause();
  card.clock.advance(10_000_000);
  expect(sentInterrupts(card)).toBe(0);
  card.device.resume();
  expect(sentInterrupts(card)).toBe(1);
  card.wants(1);
  card.send(60);
  new FakeModernDriver(card.machine, SLOT).start(1 << VIRTIO_RING_F_EVENT_IDX, 2);
  card.clock.advance(10_000_000);
  expect(sentInterrupts(card)).toBe(1);
});
