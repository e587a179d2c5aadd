/** The 82545EM through its registers and rings. */
import { expect, test } from 'vitest';
import { GuestAddressError } from '../../devices/bus/guest-memory.ts';
import { FULL_OFFLOAD, NO_OFFLOAD, type OffloadCapabilities } from '../../devices/backends/network.ts';
import { addToSum, finishChecksum, pseudoHeaderSum } from '../../devices/net/checksum.ts';
import { E1000 } from '../../devices/net/e1000/device.ts';
import * as R from '../../devices/net/e1000/registers.ts';
import { readU16, readU32, writeU16 } from '../../devices/net/wire.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeE1000Driver } from '../support/fake-e1000.ts';
import { FakeNetwork } from '../support/fake-network.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const DATA = 0x100000;

interface Rig {
  readonly machine: FakeMachine;
  readonly device: E1000;
  readonly cable: FakeNetwork;
  readonly driver: FakeE1000Driver;
}

function rig(offload: OffloadCapabilities = NO_OFFLOAD, memory?: FakeMachine['memory']): Rig {
  const cable = new FakeNetwork(offload);
  const machine = new FakeMachine({}, memory);
  const clock = { nowNs: () => 0, at: () => () => {} };
  const device = new E1000({ memory: machine.memory, clock, backend: cable, mac: MAC });
  machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  const driver = new FakeE1000Driver(machine);
  if (!memory) driver.start();
  return { machine, device, cable, driver };
}

/** A TCP packet without checksums, as drivers leave it to the card. */
function tcpFrame(payloadBytes: number, version: 4 | 6 = 4): Uint8Array {
  const headers = version === 4 ? 54 : 74;
  const frame = Uint8Array.from({ length: headers + payloadBytes }, (_, index) => index);
  frame.set([...MAC, 2, 0, 0, 0, 0, 1, ...(version === 4 ? [0x08, 0x00, 0x45] : [0x86, 0xdd, 0x60])]);
  if (version === 4) {
    writeU16(frame, 16, 40 + payloadBytes);
    frame.set([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 18);
  } else {
    writeU16(frame, 18, 20 + payloadBytes);
    frame.set([6, 64], 20);
  }
  frame.set([0x50, 0x19, 1, 0, 0, 0, 0, 0], headers - 8);
  return frame;
}

/** Sum over a TCP segment with its pseudo-header: zero when the checksum is right. */
function checksumOf(frame: Uint8Array): number {
  const isV4 = readU16(frame, 12) === 0x0800;
  const addresses = isV4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const half = addresses.length / 2;
  const segment = frame.subarray(isV4 ? 34 : 54);
  const pseudo = pseudoHeaderSum(addresses.subarray(0, half), addresses.subarray(half), 6, segment.length);
  return finishChecksum(addToSum(pseudo, segment));
}

/** A context descriptor, by bhyve's and the manual's names. */
function context(
  driver: FakeE1000Driver,
  fields: { hdrlen: number; mss: number; v6?: boolean; command?: number },
): void {
  const tucss = fields.v6 ? 54 : 34;
  const low = 14n | (24n << 8n) | (BigInt(tucss - 1) << 16n) | (BigInt(tucss) << 32n) | (BigInt(tucss + 16) << 40n);
  const command = fields.command ?? 0x20 | 0x04 | 0x01 | (fields.v6 ? 0 : 0x02);
  driver.descriptor(low, (BigInt(command) << 24n) | (BigInt(fields.hdrlen) << 40n) | (BigInt(fields.mss) << 48n));
}

/** A data descriptor with EOP, RS and DEXT. */
function data(driver: FakeE1000Driver, lengthBytes: number, tse: boolean, options = 3): void {
  const command = 0x29 | (tse ? 0x04 : 0);
  driver.descriptor(
    BigInt(DATA),
    BigInt(lengthBytes) | (1n << 20n) | (BigInt(command) << 24n) | (BigInt(options) << 40n),
  );
}

test('what bhyve shows: identity, link, EEPROM, transceiver', () => {
  const { machine, driver } = rig();
  expect(machine.config(3, 0, 4)).toBe(0x100f8086);
  expect(machine.config(3, 0x2c, 4)).toBe(0x10088086);
  expect(driver.read(R.STATUS)).toBe(0x83);
  expect(driver.read(R.LEDCTL)).toBe(0x07061302);
  driver.write(R.MDIC, (2 << 26) | (1 << 21) | (2 << 16));
  expect(driver.read(R.MDIC) & 0xffff).toBe(0x0141);
  // Microwire, as Linux clocks it: start bit and opcode, address, 16 bits.
  const word = (address: number): number => {
    const clock = (bit: number): number => {
      driver.write(R.EECD, 2 | (bit << 2));
      driver.write(R.EECD, 3 | (bit << 2));
      return (driver.read(R.EECD) >> 3) & 1;
    };
    driver.write(R.EECD, 2);
    for (const bit of [1, 1, 0]) clock(bit);
    for (let bit = 5; bit >= 0; bit--) clock((address >> bit) & 1);
    let value = 0;
    for (let bit = 0; bit < 16; bit++) value = (value << 1) | clock(0);
    driver.write(R.EECD, 0);
    return value;
  };
  expect([word(0), word(1), word(2)]).toEqual([0x5452, 0x0100, 0x0302]);
  const sum = Array.from({ length: 64 }, (_, address) => word(address)).reduce((total, value) => total + value, 0);
  expect(sum & 0xffff).toBe(0xbaba);
  // The other way, and through the ports.
  driver.write(R.EERD, 1 | (0x0d << 8));
  expect(driver.read(R.EERD) >>> 16).toBe(0x100f);
  machine.ports.write(machine.bar(3, 2), 4, R.STATUS);
  expect(machine.ports.read(machine.bar(3, 2) + 4, 4)).toBe(0x83);
});

test('a legacy descriptor sends, reports and interrupts', () => {
  const { machine, cable, driver } = rig();
  machine.memory.write(DATA, tcpFrame(10));
  driver.write(R.IMS, R.INT_TXDW);
  const at = driver.send(DATA, 64);
  expect(cable.sent.map(({ bytes }) => bytes)).toEqual([tcpFrame(10)]);
  expect(machine.memory.readU8(at + 12)).toBe(1);
  expect(driver.read(R.ICR) & R.INT_TXDW).toBe(R.INT_TXDW);
  expect(driver.read(R.ICR)).toBe(0);
  expect(driver.read(R.STATISTICS + 0x80)).toBe(1);
  expect(driver.read(R.STATISTICS + 0x80)).toBe(0);
});

test('a packet whose memory the host has no room for is dropped, and the next one sent', () => {
  const { machine, cable, driver } = rig();
  machine.memory.write(DATA, tcpFrame(10));
  const { memory } = machine;
  const views = memory.views.bind(memory);
  memory.views = (gpa, lengthBytes) => {
    if (gpa === DATA) throw new GuestAddressError(gpa, lengthBytes);
    return views(gpa, lengthBytes);
  };
  driver.send(DATA, 64);
  expect([cable.sent.length, driver.read(R.TDH)]).toEqual([0, 1]);
  memory.views = views;
  driver.send(DATA, 64);
  expect(cable.sent.map(({ bytes }) => bytes)).toEqual([tcpFrame(10)]);
});

test.each([4, 6] as const)('checksums are put in, IPv%i', (version) => {
  const { machine, cable, driver } = rig();
  const frame = tcpFrame(101, version);
  const transport = version === 4 ? 34 : 54;
  const addresses = version === 4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const half = addresses.length / 2;
  const pseudo = pseudoHeaderSum(addresses.subarray(0, half), addresses.subarray(half), 6, frame.length - transport);
  writeU16(frame, transport + 16, ~finishChecksum(pseudo) & 0xffff);
  machine.memory.write(DATA, frame);
  context(driver, { hdrlen: 0, mss: 0, v6: version === 6, command: 0x20 });
  data(driver, frame.length, false, version === 4 ? 3 : 2);
  driver.kick();
  const [sent] = cable.sent;
  expect(sent && checksumOf(sent.bytes)).toBe(0);
  if (sent && version === 4) expect(finishChecksum(addToSum(0, sent.bytes, 14, 34))).toBe(0);
});

test.each([4, 6] as const)('a long packet is cut, IPv%i', (version) => {
  const { machine, cable, driver } = rig();
  const headers = version === 4 ? 54 : 74;
  const frame = tcpFrame(3000, version);
  machine.memory.write(DATA, frame);
  context(driver, { hdrlen: headers, mss: 1400, v6: version === 6 });
  data(driver, frame.length, true);
  driver.kick();
  expect(cable.sent.map(({ bytes }) => bytes.length - headers)).toEqual([1400, 1400, 200]);
  const sequence = readU32(frame, headers - 16);
  const payload: number[] = [];
  for (const [index, { bytes }] of cable.sent.entries()) {
    expect(checksumOf(bytes)).toBe(0);
    expect(readU32(bytes, headers - 16)).toBe(sequence + 1400 * index);
    // FIN and PSH on the last alone.
    expect((bytes[headers - 7] ?? 0) & 9).toBe(index === 2 ? 9 : 0);
    payload.push(...bytes.subarray(headers));
  }
  expect(payload).toEqual([...frame.subarray(headers)]);
});

test('a backend that cuts for itself gets the packet whole', () => {
  const { machine, cable, driver } = rig(FULL_OFFLOAD);
  machine.memory.write(DATA, tcpFrame(3000));
  context(driver, { hdrlen: 54, mss: 1400 });
  data(driver, 3054, true);
  driver.kick();
  expect(cable.sent).toHaveLength(1);
  expect(cable.sent[0]?.offload).toEqual({
    checksumStart: 34,
    checksumOffset: 16,
    segmentation: { kind: 'tcp4', segmentBytes: 1400 },
  });
  expect(readU16(cable.sent[0]?.bytes ?? new Uint8Array(), 16)).toBe(3040);
});

// FreeBSD-SA-19:21: header lengths that the packet does not bear out.
test.each([
  [0, 3054],
  [1, 3054],
  [13, 3054],
  [53, 3054],
  [54, 54],
  [255, 255],
  [255, 100],
])('a header length of %i in a packet of %i bytes sends nothing and stops nothing', (hdrlen, lengthBytes) => {
  const { machine, device, cable, driver } = rig();
  machine.memory.write(DATA, tcpFrame(3000));
  context(driver, { hdrlen, mss: 1400 });
  data(driver, lengthBytes, true);
  driver.kick();
  expect(cable.sent).toHaveLength(0);
  expect(device.badDescriptors).toBe(1);
  driver.send(DATA, 60);
  expect(cable.sent).toHaveLength(1);
});

test('frames come in by address, group and broadcast, over several descriptors', () => {
  const { cable, driver } = rig();
  const to = (destination: readonly number[], lengthBytes = 60): Uint8Array => {
    const frame = new Uint8Array(lengthBytes).fill(7);
    frame.set(destination);
    return frame;
  };
  cable.deliver(to([...MAC]));
  expect(driver.receive()?.bytes).toEqual(to([...MAC]));
  cable.deliver(to([2, 9, 9, 9, 9, 9]));
  cable.deliver(to([1, 0, 0x5e, 0, 0, 1]));
  expect(driver.receive()).toBeUndefined();
  cable.deliver(to([255, 255, 255, 255, 255, 255]));
  expect(driver.receive()).toBeDefined();
  // The multicast table: bits 4 to 15 of the address's end.
  const hash = (0x0100 >> 4) & 0xfff;
  driver.write(R.MTA + 4 * (hash >> 5), 1 << (hash & 31));
  cable.deliver(to([1, 0, 0x5e, 0, 0, 1]));
  expect((driver.receive()?.status ?? 0) & 0x80).toBe(0x80);
  driver.start(R.RCTL_EN | R.RCTL_LPE | R.RCTL_SECRC);
  cable.deliver(to([...MAC], 5000));
  expect(driver.receive()?.bytes).toEqual(to([...MAC], 5000));
});

test('VLAN tags are put in and taken off', () => {
  const { machine, cable, driver } = rig();
  driver.write(R.CTRL, R.CTRL_VME);
  driver.write(R.VET, 0x8100);
  machine.memory.write(DATA, tcpFrame(10));
  driver.descriptor(BigInt(DATA), 64n | (0x49n << 24n) | (5n << 48n));
  driver.kick();
  const [sent] = cable.sent;
  expect(sent && [readU16(sent.bytes, 12), readU16(sent.bytes, 14), sent.bytes.length]).toEqual([0x8100, 5, 68]);
  if (sent) cable.deliver(sent.bytes);
  const received = driver.receive();
  expect(received?.bytes).toEqual(tcpFrame(10));
  expect([received?.special, (received?.status ?? 0) & 8]).toEqual([5, 8]);
});

test('a full ring makes the backend wait', () => {
  const { cable, driver } = rig();
  const frame = new Uint8Array(60);
  frame.set(MAC);
  let taken = 0;
  while (cable.deliver(frame)) taken++;
  expect(taken).toBe(63);
  expect(driver.read(R.ICR) & R.INT_RXO).toBe(R.INT_RXO);
  expect(driver.receive()).toBeDefined();
  expect(cable.readyCalls).toBeGreaterThan(0);
  expect(cable.deliver(frame)).toBe(true);
});

test('pause, reset and a snapshot with traffic', async () => {
  const { machine, device, cable, driver } = rig();
  const frame = new Uint8Array(60);
  frame.set(MAC);
  machine.memory.write(DATA, frame);
  cable.busy = true;
  driver.send(DATA, 60);
  await device.pause();
  cable.drain();
  expect([cable.sent.length, cable.deliver(frame)]).toEqual([0, false]);
  const state = structuredClone(machine.pci.save());
  device.resume();
  expect([cable.sent.length, cable.deliver(frame)]).toEqual([1, true]);
  await device.reset();
  expect(cable.deliver(frame)).toBe(true);
  expect(driver.read(R.TDH)).toBe(0);

  const copy = rig(NO_OFFLOAD, machine.memory);
  copy.machine.pci.restore(state);
  await copy.device.pause();
  copy.device.resume();
  expect(copy.cable.sent).toHaveLength(1);
  expect(copy.cable.deliver(frame)).toBe(true);
});
