import { expect, test } from 'vitest';
import type { CharacterBackend, CharacterPort } from '../../devices/backends/character.ts';
import * as C from '../../devices/virtio/console.ts';
import * as L from '../../devices/virtio/transport/legacy.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeRandom } from '../support/fake-random.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('latin1');
const QUEUE_SIZE = 64;
const QUEUES = 34;

/** A client that the test plays. */
class Far implements CharacterBackend {
  port: CharacterPort | undefined;
  written = '';
  full = false;
  holds: boolean[] = [];
  closed = false;

  constructor(private readonly present = false) {}

  open(port: CharacterPort): void {
    this.port = port;
    port.carrier?.(this.present);
  }
  write(bytes: Uint8Array): boolean {
    this.written += decoder.decode(bytes);
    return !this.full;
  }
  hold(held: boolean): void {
    this.holds.push(held);
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
  send(text: string): void {
    this.port?.receive(encoder.encode(text));
  }
}

/** One queue as its driver sees it: one buffer a descriptor, at a place of its own. */
class Queue {
  nextAvail = 0;
  lastUsed = 0;
  readonly ring: number;

  constructor(
    readonly driver: Driver,
    readonly index: number,
  ) {
    this.ring = 0x100000 + index * 0x4000;
  }

  bufferOf(id: number): number {
    return 0x200000 + (this.index * QUEUE_SIZE + id) * 0x400;
  }

  add(lengthBytes: number, write: boolean, gpa?: number): void {
    const { memory } = this.driver.machine;
    const id = this.nextAvail % QUEUE_SIZE;
    memory.writeU64(this.ring + 16 * id, BigInt(gpa ?? this.bufferOf(id)));
    memory.writeU32(this.ring + 16 * id + 8, lengthBytes);
    memory.writeU16(this.ring + 16 * id + 12, write ? 2 : 0);
    const avail = this.ring + 16 * QUEUE_SIZE;
    memory.writeU16(avail + 4 + 2 * id, id);
    this.nextAvail = (this.nextAvail + 1) & 0xffff;
    memory.writeU16(avail + 2, this.nextAvail);
  }

  send(bytes: Uint8Array): void {
    this.driver.machine.memory.write(this.bufferOf(this.nextAvail % QUEUE_SIZE), bytes);
    this.add(bytes.length, false);
    this.notify();
  }

  offer(lengthBytes: number, count = 1): void {
    for (let i = 0; i < count; i++) this.add(lengthBytes, true);
    this.notify();
  }

  notify(): void {
    this.driver.write(L.REG_QUEUE_NOTIFY, 2, this.index);
  }

  /** Contents of the buffers that came back. */
  used(): Uint8Array[] {
    const { memory } = this.driver.machine;
    const used = this.ring + 0x1000 * Math.ceil((18 * QUEUE_SIZE + 6) / 4096);
    const end = memory.readU16(used + 2);
    const out: Uint8Array[] = [];
    for (; this.lastUsed !== end; this.lastUsed = (this.lastUsed + 1) & 0xffff) {
      const at = used + 4 + 8 * (this.lastUsed % QUEUE_SIZE);
      const bytes = new Uint8Array(memory.readU32(at + 4));
      memory.read(this.bufferOf(memory.readU32(at)), bytes);
      out.push(bytes);
    }
    return out;
  }

  text(): string {
    return this.used()
      .map((bytes) => decoder.decode(bytes))
      .join('');
  }
}

class Driver {
  readonly base: number;
  queues: Queue[] = [];

  constructor(readonly machine: FakeMachine) {
    this.base = machine.bar(3, 0);
  }

  read(register: number, size: 1 | 2 | 4): number {
    return this.machine.ports.read(this.base + register, size);
  }

  write(register: number, size: 1 | 2 | 4, value: number): void {
    this.machine.ports.write(this.base + register, size, value);
  }

  start(features = 1 << C.VIRTIO_CONSOLE_F_MULTIPORT): void {
    this.write(L.REG_STATUS, 1, 0);
    this.write(L.REG_STATUS, 1, 3);
    this.write(L.REG_GUEST_FEATURES, 4, features);
    this.queues = Array.from({ length: QUEUES }, (_, index) => new Queue(this, index));
    for (const queue of this.queues) {
      this.machine.memory.fill(queue.ring, 0x3000, 0);
      this.write(L.REG_QUEUE_SELECT, 2, queue.index);
      this.write(L.REG_QUEUE_PFN, 4, queue.ring / 4096);
    }
    this.write(L.REG_STATUS, 1, 7);
  }

  queue(index: number): Queue {
    const queue = this.queues[index];
    if (!queue) throw new Error(`queue ${index}`);
    return queue;
  }

  control(id: number, event: number, value: number): void {
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    this.queue(C.CONTROL_TRANSMIT_QUEUE).send(bytes);
  }

  /** Messages of the device as [port, event, value, text]. */
  messages(): (readonly [number, number, number, string])[] {
    return this.queue(C.CONTROL_RECEIVE_QUEUE)
      .used()
      .map((bytes) => {
        const view = new DataView(bytes.buffer);
        const text = decoder.decode(bytes.subarray(8));
        return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), text] as const;
      });
  }

  /** As Linux brings the device up: everything ready, ports open. */
  bringUp(ports: number): void {
    this.start();
    this.queue(C.CONTROL_RECEIVE_QUEUE).offer(512, 32);
    this.control(0xffffffff, C.VIRTIO_CONSOLE_DEVICE_READY, 1);
    for (let id = 0; id < ports; id++) this.control(id, C.VIRTIO_CONSOLE_PORT_READY, 1);
    for (let id = 0; id < ports; id++) this.control(id, C.VIRTIO_CONSOLE_PORT_OPEN, 1);
  }
}

function setUp(names = ['org.test.a', 'b'], present = false) {
  const far = names.map(() => new Far(present));
  const { machine, device } = FakeMachine.with(
    (it) =>
      new C.VirtioConsole(
        { memory: it.memory, msix: true, log: (text) => it.log.push(text) },
        names.map((name, index) => ({ name, backend: far[index] ?? new Far() })),
      ),
  );
  const [a, b] = far;
  if (!a || !b) throw new Error('two ports');
  return { machine, device, driver: new Driver(machine), a, b };
}

test('identification, features, configuration, queues', () => {
  const { machine, driver } = setUp();
  expect(machine.config(3, 0, 4)).toBe(0x10031af4);
  expect(machine.config(3, 0x2c, 4)).toBe(0x00031af4);
  expect(machine.config(3, 8, 4)).toBe(0x07800000);
  expect(driver.read(L.REG_HOST_FEATURES, 4)).toBe(7);
  expect([0, 2].map((offset) => driver.read(L.CONFIG_OFFSET + offset, 2))).toEqual([80, 25]);
  expect(driver.read(L.CONFIG_OFFSET + 4, 4)).toBe(16);
  for (const [queue, size] of [
    [0, 64],
    [33, 64],
    [34, 0],
  ] as const) {
    driver.write(L.REG_QUEUE_SELECT, 2, queue);
    expect(driver.read(L.REG_QUEUE_SIZE, 2)).toBe(size);
  }
});

test('the control queue: ports, names, and clients that come and go', () => {
  const { driver, a, b } = setUp();
  a.port?.carrier?.(true);
  driver.start();
  driver.queue(C.CONTROL_RECEIVE_QUEUE).offer(512, 32);
  driver.control(0xffffffff, C.VIRTIO_CONSOLE_DEVICE_READY, 1);
  expect(driver.messages()).toEqual([
    [0, 1, 1, ''],
    [1, 1, 1, ''],
  ]);
  driver.control(0, C.VIRTIO_CONSOLE_PORT_READY, 1);
  expect(driver.messages()).toEqual([
    [0, 7, 1, 'org.test.a'],
    [0, 6, 1, ''],
  ]);
  driver.control(1, C.VIRTIO_CONSOLE_PORT_READY, 1);
  expect(driver.messages()).toEqual([[1, 7, 1, 'b']]);
  b.port?.carrier?.(true);
  a.port?.carrier?.(false);
  a.port?.carrier?.(false);
  expect(driver.messages()).toEqual([
    [1, 6, 1, ''],
    [0, 6, 0, ''],
  ]);
});

test('while the machine is paused, input and clients change neither guest memory nor interrupts', async () => {
  const { machine, driver, a, b } = setUp(undefined, true);
  driver.bringUp(2);
  driver.messages();
  driver.queue(0).offer(16, 4);
  const image = (): Uint8Array => {
    const bytes = new Uint8Array(machine.memory.lowBytes);
    machine.memory.read(0, bytes);
    return bytes;
  };
  await machine.pci.pause();
  const before = image();
  const sent = machine.interrupts.sent;
  a.send('while paused');
  b.port?.carrier?.(false);
  a.port?.drained();
  expect(Buffer.compare(image(), before)).toBe(0);
  expect(machine.interrupts.sent).toBe(sent);
  machine.pci.resume();
  expect(driver.queue(0).text()).toBe('while paused');
  expect(driver.messages()).toEqual([[1, 6, 0, '']]);
});

test('output goes to the backend, which knows whether to keep it', () => {
  const { driver, device, a, b } = setUp();
  driver.bringUp(2);
  driver.queue(1).send(encoder.encode('nobody'));
  expect(driver.queue(1).used()).toHaveLength(1);
  expect(a.written).toBe('nobody');
  a.written = '';
  a.port?.carrier?.(true);
  b.port?.carrier?.(true);
  driver.queue(1).send(encoder.encode('to a'));
  driver.queue(5).send(encoder.encode('to b'));
  expect([a.written, b.written]).toEqual(['to a', 'to b']);
  driver.queue(7).send(encoder.encode('to c'));
  expect(device.badRequests).toBe(1);
});

test('a client that does not read leaves buffers in the queue; nor does its going release them', () => {
  const { driver, a } = setUp(undefined, true);
  driver.bringUp(2);
  const queue = driver.queue(1);
  a.full = true;
  for (const text of ['one', 'two', 'three']) queue.send(encoder.encode(text));
  expect(a.written).toBe('one');
  expect(queue.used()).toHaveLength(1);
  a.full = false;
  a.port?.drained();
  expect(a.written).toBe('onetwothree');
  expect(queue.used()).toHaveLength(2);
  a.full = true;
  for (const text of ['x', 'y']) queue.send(encoder.encode(text));
  a.port?.carrier?.(false);
  expect(a.written).toBe('onetwothreex');
  expect(queue.used()).toHaveLength(1);
  // The backend gave up waiting for the next client.
  a.full = false;
  a.port?.drained();
  expect(queue.used()).toHaveLength(1);
  expect(a.written).toBe('onetwothreexy');
});

test('the guest hears that a client went after it got all of its input', () => {
  const { driver, a } = setUp(undefined, true);
  driver.bringUp(2);
  driver.messages();
  a.send('last words');
  a.port?.carrier?.(false);
  expect(driver.messages()).toEqual([]);
  driver.control(0, C.VIRTIO_CONSOLE_PORT_OPEN, 1);
  const input = driver.queue(0);
  input.offer(4, 2);
  expect(driver.messages()).toEqual([]);
  input.offer(16, 1);
  expect(driver.messages()).toEqual([[0, 6, 0, '']]);
});

test('input waits for the guest to open the port and to give buffers, and holds the client meanwhile', () => {
  const { driver, a } = setUp(undefined, true);
  driver.start();
  driver.queue(C.CONTROL_RECEIVE_QUEUE).offer(512, 32);
  driver.control(0xffffffff, C.VIRTIO_CONSOLE_DEVICE_READY, 1);
  driver.control(0, C.VIRTIO_CONSOLE_PORT_READY, 1);
  driver.queue(0).offer(1000, 3);
  const text = Array.from({ length: 70_000 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('');
  a.send(text);
  expect(driver.queue(0).used()).toHaveLength(0);
  expect(a.holds).toEqual([true]);
  driver.control(0, C.VIRTIO_CONSOLE_PORT_OPEN, 1);
  let got = driver.queue(0).text();
  expect(got.length).toBe(3000);
  while (got.length < text.length) {
    driver.queue(0).offer(1000, 10);
    got += driver.queue(0).text();
  }
  expect(got).toBe(text);
  expect(a.holds).toEqual([true, false]);
});

test('output that outlasts the closing of its port does not open the port again', () => {
  const { driver, a } = setUp(undefined, true);
  driver.bringUp(2);
  a.full = true;
  for (const text of ['one', 'two']) driver.queue(1).send(encoder.encode(text));
  driver.control(0, C.VIRTIO_CONSOLE_PORT_OPEN, 0);
  a.full = false;
  a.port?.drained();
  expect(a.written).toBe('onetwo');
  driver.queue(0).offer(16, 2);
  a.send('for who opens it next');
  expect(driver.queue(0).used()).toHaveLength(0);
  driver.control(0, C.VIRTIO_CONSOLE_PORT_OPEN, 1);
  expect(driver.queue(0).text()).toBe('for who opens it next');
});

test('a driver that never says that it opened a port has done so when it writes', () => {
  const { driver, a } = setUp(undefined, true);
  driver.start();
  driver.queue(0).offer(16);
  a.send('input');
  expect(driver.queue(0).used()).toHaveLength(0);
  driver.queue(1).send(encoder.encode('output'));
  expect(driver.queue(0).text()).toBe('input');
});

test('without MULTIPORT port 0 is open from the start; emergency output needs no queue', () => {
  const { driver, a } = setUp(undefined, true);
  driver.start(0);
  driver.queue(0).offer(16);
  a.send('hello');
  expect(driver.queue(0).text()).toBe('hello');
  driver.write(L.CONFIG_OFFSET + 8, 4, 0x21);
  expect(a.written).toBe('!');
});

test('bad addresses and messages are counted and lose no input', () => {
  const { machine, device, driver, a } = setUp(undefined, true);
  driver.bringUp(2);
  const queue = driver.queue(0);
  queue.add(100, true, 0xfee00000);
  queue.offer(100);
  a.send('kept');
  expect(device.badRequests).toBe(1);
  expect(queue.text()).toBe('kept');
  driver.queue(C.CONTROL_TRANSMIT_QUEUE).send(Uint8Array.of(1, 2, 3));
  driver.control(9, C.VIRTIO_CONSOLE_PORT_OPEN, 1);
  driver.queue(1).add(10, false, 0xfee00000);
  driver.queue(1).notify();
  expect(device.badRequests).toBe(4);
  // Messages that nobody takes are bounded.
  driver.start();
  for (let i = 0; i < 300; i++) driver.control(0, C.VIRTIO_CONSOLE_PORT_READY, 1);
  expect(device.badRequests).toBeGreaterThan(40);
  expect(machine.log.at(-1)).toContain('control messages');
});

test('round trip of a snapshot, with data on its way in both directions', async () => {
  const one = setUp(undefined, true);
  one.driver.bringUp(2);
  one.a.send('input that waits');
  one.a.full = true;
  const big = encoder.encode('0123456789abcdef'.repeat(64));
  one.driver.machine.memory.write(one.driver.queue(1).bufferOf(0), big);
  one.driver.queue(1).send(big);
  one.driver.queue(1).send(encoder.encode('second'));
  const state = structuredClone(one.machine.pci.save());
  const two = setUp(undefined, true);
  // The memory of the first machine, as a snapshot would bring it.
  const bytes = new Uint8Array(0x420000 - 0x100000);
  one.machine.memory.read(0x100000, bytes);
  two.machine.memory.write(0x100000, bytes);
  two.driver.queues = Array.from({ length: QUEUES }, (_, index) => {
    const queue = new Queue(two.driver, index);
    const old = one.driver.queue(index);
    queue.nextAvail = old.nextAvail;
    queue.lastUsed = old.lastUsed;
    return queue;
  });
  two.a.full = true;
  two.machine.pci.restore(state);
  // What the first client has taken is not sent again.
  expect(two.a.written).toBe('second');
  two.a.full = false;
  two.a.port?.drained();
  two.driver.queue(0).offer(64);
  expect(two.driver.queue(0).text()).toBe('input that waits');
  const idle = setUp(undefined, true);
  idle.driver.bringUp(2);
  const idleState = structuredClone(idle.machine.pci.save());
  const other = setUp(undefined, true);
  other.machine.memory.write(
    0x100000,
    (() => {
      const rings = new Uint8Array(QUEUES * 0x4000);
      idle.machine.memory.read(0x100000, rings);
      return rings;
    })(),
  );
  other.machine.pci.restore(idleState);
  expect(other.machine.pci.save()).toEqual(idleState);
  await two.device.close();
  expect([two.a.closed, two.b.closed]).toEqual([true, true]);
});

test('random drivers and clients never throw', () => {
  const random = new FakeRandom(0xc0);
  const { machine, device, driver, a, b } = setUp();
  let back = 0;
  for (let round = 0; round < 40_000; round++) {
    if (round % 64 === 0) driver.bringUp(random.below(3));
    const queue = driver.queue(random.below(8));
    const client = random.pick([a, b]);
    switch (random.below(10)) {
      case 0:
        client.port?.carrier?.(random.below(3) > 0);
        client.port?.drained();
        break;
      case 1:
        client.send('x'.repeat(random.below(300)));
        break;
      case 2:
        client.full = random.below(3) === 0;
        if (!client.full) client.port?.drained();
        break;
      case 3:
        driver.control(
          random.below(4) === 0 ? random.nasty() >>> 0 : random.below(3),
          random.below(9),
          random.below(3),
        );
        break;
      case 4:
        machine.memory.writeU16(queue.ring + 16 * random.below(QUEUE_SIZE) + 12, random.below(8));
        break;
      case 5:
        if (random.below(20) === 0) machine.memory.writeU16(queue.ring + 16 * QUEUE_SIZE + 2, random.below(0x10000));
        break;
      case 6:
        driver.write(random.below(0x20), random.pick([1, 2, 4]), random.nasty() >>> 0);
        driver.write(L.REG_QUEUE_NOTIFY, 2, random.below(40));
        break;
      default:
        queue.add(random.below(600), (queue.index & 1) === 0, random.below(8) === 0 ? random.nasty() : undefined);
        queue.notify();
        back += queue.used().length;
    }
    client.written = '';
  }
  expect(back).toBeGreaterThan(500);
  expect(device.badRequests).toBeGreaterThan(100);
  expect(device.brokenQueues).toBeGreaterThan(50);
});
