/** What went wrong in FreeBSD's network cards, by the numbers of its security advisories: none of it does here. SA-19:21 is in e1000.test.ts. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { NO_OFFLOAD } from '../../devices/backends/network.ts';
import { E1000 } from '../../devices/net/e1000/device.ts';
import { VIRTIO_RING_F_INDIRECT_DESC } from '../../devices/virtio/device.ts';
import { CONTROL_QUEUE, RECEIVE_QUEUE, TRANSMIT_QUEUE, VirtioNet } from '../../devices/virtio/net.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import { FakeE1000Driver } from '../support/fake-e1000.ts';
import { FakeNetwork } from '../support/fake-network.ts';
import { HOSTILE_CHAINS, REQUEST, RESPONSE, TABLE } from '../support/hostile-chains.ts';
import { expectReadOnce } from '../support/read-once.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const RING = 0x10000;
const INDIRECT = 1 << VIRTIO_RING_F_INDIRECT_DESC;
/** Without merged buffers. */
const HEADER_BYTES = 10;
const FRAME = Uint8Array.from({ length: 60 }, (_, index) => (index < MAC.length ? (MAC[index] ?? 0) : index));

afterEach(() => vi.restoreAllMocks());

function virtioNet(queueIndex: number) {
  const cable = new FakeNetwork();
  const { machine, device } = FakeMachine.with(
    (it) =>
      new VirtioNet({
        memory: it.memory,
        msix: true,
        log: () => undefined,
        backend: cable,
        mac: MAC,
        clock: new FakeClock(),
      }),
  );
  const driver = new FakeDriver(machine, 3, RING, queueIndex);
  driver.start(INDIRECT);
  return { machine, device, driver, cable };
}

type NetRig = ReturnType<typeof virtioNet>;

/** A driver that starts over has its card again. */
function expectWorks({ machine, driver, cable }: NetRig): void {
  driver.start(INDIRECT);
  if (driver.queueIndex === TRANSMIT_QUEUE) {
    cable.sent.length = 0;
    machine.memory.fill(REQUEST, HEADER_BYTES, 0);
    machine.memory.write(REQUEST + HEADER_BYTES, FRAME);
    driver.add([{ gpa: REQUEST, lengthBytes: HEADER_BYTES + FRAME.length }]);
    driver.notify();
    expect(cable.sent.map(({ bytes }) => bytes)).toEqual([FRAME]);
  } else {
    driver.add([{ gpa: RESPONSE, lengthBytes: 2000, write: true }]);
    driver.notify();
    expect(cable.deliver(FRAME)).toBe(true);
    expect(driver.used()).toEqual([{ id: 0, lengthBytes: HEADER_BYTES + FRAME.length }]);
  }
}

describe.each([
  ['transmit', TRANSMIT_QUEUE],
  ['receive', RECEIVE_QUEUE],
] as const)('SA-21:13: the walker of descriptor chains, virtio-net, %s', (_name, queueIndex) => {
  test.each(HOSTILE_CHAINS)('%s', (_chain, write) => {
    const rig = virtioNet(queueIndex);
    const { machine, device, driver, cable } = rig;
    write(driver);
    const untouched = new Uint8Array(0x4000);
    machine.memory.fill(TABLE + 0x1000, untouched.length, 0x99);
    driver.makeAvailable(0);
    driver.notify();
    // Buffers for frames are looked at when a frame comes.
    cable.deliver(FRAME);
    expect(device.brokenQueues + device.badRequests).toBeGreaterThan(0);
    machine.memory.read(TABLE + 0x1000, untouched);
    expect(untouched.every((byte) => byte === 0x99)).toBe(true);
    expect(machine.memory.guardsIntact).toBe(true);
    expectWorks(rig);
  });
});

describe('SA-24:17: a second processor changes what the card has looked at', () => {
  test('virtio-net: indirect tables, frames and their headers', () => {
    const { machine, device, driver, cable } = virtioNet(TRANSMIT_QUEUE);
    machine.memory.fill(REQUEST, HEADER_BYTES, 0);
    machine.memory.write(REQUEST + HEADER_BYTES, FRAME);
    driver.addIndirect(TABLE, [
      { gpa: REQUEST, lengthBytes: 5 },
      { gpa: REQUEST + 5, lengthBytes: HEADER_BYTES + FRAME.length - 5 },
    ]);
    expectReadOnce(machine, [
      [TABLE, 32],
      [REQUEST, HEADER_BYTES + FRAME.length],
    ]);
    driver.notify();
    expect(cable.sent.map(({ bytes }) => bytes)).toEqual([FRAME]);
    expect(device.badRequests).toBe(0);
  });

  test('virtio-net: commands', () => {
    const { machine, device, driver } = virtioNet(CONTROL_QUEUE);
    // VIRTIO_NET_CTRL_RX, PROMISC, on.
    machine.memory.write(REQUEST, Uint8Array.of(0, 0, 1));
    driver.addIndirect(TABLE, [
      { gpa: REQUEST, lengthBytes: 2 },
      { gpa: REQUEST + 2, lengthBytes: 1 },
      { gpa: RESPONSE, lengthBytes: 1, write: true },
    ]);
    machine.memory.writeU8(RESPONSE, 0xff);
    expectReadOnce(machine, [
      [TABLE, 48],
      [REQUEST, 3],
    ]);
    driver.notify();
    expect(machine.memory.readU8(RESPONSE)).toBe(0);
    expect(device.badRequests).toBe(0);
  });

  test('e1000: contexts, descriptors and a packet to cut', () => {
    const cable = new FakeNetwork(NO_OFFLOAD);
    const { machine, device } = FakeMachine.with(
      (it) => new E1000({ memory: it.memory, clock: { nowNs: () => 0, at: () => () => {} }, backend: cable, mac: MAC }),
    );
    const driver = new FakeE1000Driver(machine);
    driver.start();
    const headerBytes = 54;
    const packet = new Uint8Array(headerBytes + 3000);
    packet.set([...MAC, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x45, 0, ...[0xb, 0xe0], 0, 1, 0x40, 0, 64, 6]);
    packet[46] = 0x50;
    machine.memory.write(REQUEST, packet);
    const context = 14n | (24n << 8n) | (33n << 16n) | (34n << 32n) | (50n << 40n);
    driver.descriptor(context, (0x27n << 24n) | (BigInt(headerBytes) << 40n) | (1400n << 48n));
    const data = (gpa: number, lengthBytes: number, command: bigint): void => {
      const kind = (1n << 20n) | (command << 24n) | (3n << 40n);
      driver.descriptor(BigInt(gpa), BigInt(lengthBytes) | kind);
    };
    data(REQUEST, 100, 0x24n);
    data(REQUEST + 100, packet.length - 100, 0x2dn);
    expectReadOnce(machine, [
      [driver.transmitGpa, 3 * 16],
      [REQUEST, packet.length],
    ]);
    driver.kick();
    expect(cable.sent.map(({ bytes }) => bytes.length - headerBytes)).toEqual([1400, 1400, 200]);
    expect(device.badDescriptors).toBe(0);
  });
});
