import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { InputRouter } from '../../devices/input/input-router.ts';
import * as R from '../../devices/usb/xhci/registers.ts';
import { Xhci } from '../../devices/usb/xhci/xhci.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { XhciDriver } from '../support/xhci-driver.ts';

const SLOT = 3;

interface Rig {
  readonly machine: FakeMachine;
  readonly device: Xhci;
  readonly driver: XhciDriver;
  readonly input: InputRouter;
}

function rig(memory?: FakeMachine['memory']): Rig {
  const machine = new FakeMachine({}, memory);
  const input = new InputRouter();
  const device = new Xhci(machine.context({ input }), 1);
  machine.pci.add({ bus: 0, slot: SLOT, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  return { machine, device, driver: new XhciDriver(machine, SLOT), input };
}

function configured(): Rig {
  const it = rig();
  it.driver.start();
  it.driver.addressDevice();
  it.driver.configure();
  return it;
}

/** The driver waits for a report. */
function post({ driver }: Rig, length = 8): number {
  const gpa = driver.interrupt.add(
    driver.buffer,
    0,
    length,
    (R.TRB_NORMAL << 10) | R.TRB_INTERRUPT | R.TRB_SHORT_INTERRUPT,
  );
  driver.write(R.DOORBELLS + 4 * driver.slot, 3);
  return gpa;
}

function report({ machine, driver }: Rig): number[] {
  const bytes = new Uint8Array(6);
  machine.memory.read(driver.buffer, bytes);
  return [...bytes];
}

describe('registers', () => {
  test('what a driver reads before it starts the controller', () => {
    const { machine, driver } = rig();
    expect(machine.config(SLOT, 0, 4)).toBe(0x1e318086);
    expect([machine.config(SLOT, 8, 4), machine.config(SLOT, 0x60, 1)]).toEqual([0x0c033000, 0x30]);
    expect(machine.mmio.read(driver.bar, 1)).toBe(0x20);
    expect(machine.mmio.read(driver.bar + 2, 2)).toBe(0x0100);
    expect(driver.read(R.CAP_HCSPARAMS1)).toBe(0x08000140);
    expect([driver.read(R.CAP_DBOFF), driver.read(R.CAP_RTSOFF)]).toEqual([R.DOORBELLS, R.RUNTIME]);
    expect(driver.operational(R.USBSTS)).toBe(R.STS_HALTED);
    expect(driver.operational(R.PAGESIZE)).toBe(1);
    const extended = (driver.read(R.CAP_HCCPARAMS1) >>> 16) * 4;
    expect([driver.read(extended), driver.read(extended + 8)]).toEqual([0x03000402, 0x00000401]);
    expect([driver.read(extended + 16), driver.read(extended + 24)]).toEqual([0x02000002, 0x00000405]);
    // A SuperSpeed device at port 1, nothing elsewhere.
    expect(driver.read(R.PORTS)).toBe(0x00021203);
    expect(driver.read(R.PORTS + R.PORT_STRIDE)).toBe(0x000002a0);
  });

  test('port reset is announced', () => {
    const { driver } = rig();
    driver.start();
    driver.write(R.PORTS, R.PORT_POWER | R.PORT_RESET);
    expect(driver.read(R.PORTS) & R.PORT_RESET_CHANGE).not.toBe(0);
    expect(driver.take()).toMatchObject([{ type: R.EVENT_PORT, code: R.SUCCESS, parameter: 1 << 24 }]);
    driver.write(R.PORTS, R.PORT_POWER | R.PORT_RESET_CHANGE | R.PORT_CONNECT_CHANGE);
    expect(driver.read(R.PORTS)).toBe(0x00001203);
  });

  test('wrong widths and read-only registers change nothing', () => {
    const { machine, driver, device } = rig();
    machine.mmio.write(driver.bar + R.OPERATIONAL, 1, 1);
    machine.mmio.write(driver.bar + R.OPERATIONAL + 2, 4, 0x10000);
    driver.write(R.CAP_HCSPARAMS1, 0);
    expect(driver.operational(R.USBCMD)).toBe(0);
    expect(device.badAccesses + device.controller.badAccesses).toBeGreaterThan(1);
  });
});

describe('commands', () => {
  test('no-op, slots and their number', () => {
    const { driver } = rig();
    driver.start();
    expect(driver.command(R.CMD_NO_OP).code).toBe(R.SUCCESS);
    driver.write(R.OPERATIONAL + R.CONFIG, 2);
    const slots = Array.from({ length: 3 }, () => driver.command(R.CMD_ENABLE_SLOT, { slot: 0 }));
    expect(slots.map(({ code, slot }) => [code, slot])).toEqual([
      [1, 1],
      [1, 2],
      [R.NO_SLOTS, 0],
    ]);
    expect(driver.command(R.CMD_DISABLE_SLOT, { slot: 2 }).code).toBe(R.SUCCESS);
    expect(driver.command(R.CMD_DISABLE_SLOT, { slot: 2 }).code).toBe(R.SLOT_NOT_ENABLED);
    expect(driver.command(R.CMD_DISABLE_SLOT, { slot: 200 }).code).toBe(R.SLOT_NOT_ENABLED);
    expect(driver.command(60).code).toBe(R.TRB_ERROR);
  });

  test('a ring goes round many times', () => {
    const { driver } = rig();
    driver.start();
    for (let i = 0; i < 500; i++) expect(driver.command(R.CMD_NO_OP).code).toBe(R.SUCCESS);
  });

  test('stopping the ring while the controller runs', () => {
    const { driver } = rig();
    driver.start();
    driver.command(R.CMD_NO_OP);
    expect(driver.operational(R.CRCR)).toBe(R.CRCR_RUNNING);
    driver.write(R.OPERATIONAL + R.CRCR, R.CRCR_STOP);
    expect(driver.take()).toMatchObject([{ type: R.EVENT_COMMAND, code: R.COMMAND_RING_STOPPED }]);
    expect(driver.operational(R.CRCR)).toBe(0);
    expect(driver.command(R.CMD_NO_OP).code).toBe(R.SUCCESS);
  });

  test('contexts follow the device', () => {
    const it = configured();
    const { machine, driver } = it;
    const context = Number(machine.memory.readU64(driver.dcbaa + 8 * driver.slot));
    const state = (): number => machine.memory.readU32(context + 12) >>> 27;
    expect(state()).toBe(R.SLOT_CONFIGURED);
    expect(machine.memory.readU32(context + 12) & 0xff).toBe(driver.slot);
    const endpointState = (): number => machine.memory.readU32(context + 3 * 32) & 7;
    expect(endpointState()).toBe(R.EP_RUNNING);
    expect(driver.command(R.CMD_RESET_ENDPOINT, { control: 3 << 16 }).code).toBe(R.CONTEXT_STATE_ERROR);
    expect(driver.command(R.CMD_STOP_ENDPOINT, { control: 3 << 16 }).code).toBe(R.SUCCESS);
    expect(endpointState()).toBe(R.EP_STOPPED);
    expect(driver.command(R.CMD_SET_DEQUEUE, { control: 3 << 16, low: driver.interrupt.gpa | 1 }).code).toBe(R.SUCCESS);
    expect(driver.command(R.CMD_STOP_ENDPOINT, { control: 4 << 16 }).code).toBe(R.ENDPOINT_NOT_ENABLED);
    expect(driver.command(R.CMD_RESET_DEVICE).code).toBe(R.SUCCESS);
    expect([state(), endpointState()]).toEqual([R.SLOT_DEFAULT, R.EP_DISABLED]);
  });

  test('contexts that are nowhere, ports without a device, streams', () => {
    const { driver } = rig();
    driver.start();
    driver.slot = driver.command(R.CMD_ENABLE_SLOT, { slot: 0 }).slot;
    const address = (): number => driver.command(R.CMD_ADDRESS_DEVICE, { low: driver.input }).code;
    expect(driver.command(R.CMD_ADDRESS_DEVICE, { low: 0xfffff000, high: 0xffff }).code).toBe(R.TRB_ERROR);
    driver.inputContext(3, 0, { 0: [0, 2 << 16], 1: [0, 4 << 3, driver.control.gpa | 1] });
    expect(address()).toBe(R.PARAMETER_ERROR);
    driver.inputContext(3, 0, { 0: [0, 1 << 16], 1: [4 << 10, 4 << 3, driver.control.gpa | 1] });
    expect(address()).toBe(R.PARAMETER_ERROR);
    driver.inputContext(1, 0, { 0: [0, 1 << 16] });
    expect(address()).toBe(R.TRB_ERROR);
    driver.machine.memory.writeU64(driver.dcbaa + 8 * driver.slot, 0xffff_ffff_ffff_ffc0n);
    driver.inputContext(3, 0, { 0: [0, 1 << 16], 1: [0, 4 << 3, driver.control.gpa | 1] });
    expect(address()).toBe(R.PARAMETER_ERROR);
  });
});

describe('the tablet', () => {
  test('descriptors', () => {
    const { driver } = configured();
    const device = driver.request(0x80, 6, 0x0100, 0, 64).data;
    expect([...device.subarray(0, 14)]).toEqual([18, 1, 0, 3, 0, 0, 0, 9, 0x5d, 0xfb, 1, 0, 0, 0]);
    const configuration = driver.request(0x80, 6, 0x0200, 0, 255).data;
    expect(configuration.length).toBe(configuration[2]);
    const text = driver.request(0x80, 6, 0x0302, 0x409, 255).data;
    expect(new TextDecoder('utf-16le').decode(text.subarray(2))).toBe('HID Tablet');
    const hid = configuration.subarray(18, 27);
    const reportDescriptor = driver.request(0x81, 6, 0x2200, 0, 255).data;
    expect(reportDescriptor.length).toBe((hid[7] ?? 0) | ((hid[8] ?? 0) << 8));
    expect(driver.request(0x80, 6, 0x0f00, 0, 255).data.length).toBe(22);
  });

  test('a request that it does not know stalls, and the endpoint goes on after a reset', () => {
    const { driver } = configured();
    expect(driver.request(0xc0, 77, 0, 0, 8).code).toBe(R.STALL);
    expect(driver.command(R.CMD_RESET_ENDPOINT, { control: 1 << 16 }).code).toBe(R.SUCCESS);
    const { control } = driver;
    const dequeue = (control.gpa + 16 * control.next) | control.cycle;
    expect(driver.command(R.CMD_SET_DEQUEUE, { control: 1 << 16, low: dequeue }).code).toBe(R.SUCCESS);
    expect(driver.request(0x80, 8, 0, 0, 1)).toMatchObject({ code: R.SUCCESS, data: Uint8Array.of(1) });
  });

  test('position, buttons and wheel, with an interrupt each', () => {
    const it = configured();
    const { driver, input, machine } = it;
    const user = input.openSession();
    const gpa = post(it);
    expect(driver.take()).toEqual([]);
    user.pointer(0, 512, 384, 1024, 768);
    expect(machine.interrupts.asserted().pins.length).toBe(1);
    expect(driver.take()).toMatchObject([{ type: R.EVENT_TRANSFER, code: R.SHORT_PACKET, parameter: gpa, residue: 2 }]);
    expect(machine.interrupts.asserted().pins).toEqual([]);
    expect(report(it)).toEqual([0, 0x00, 0x40, 0x00, 0x40, 0]);
    // Left and right; then a step of the wheel each way.
    for (const [buttons, bits, wheel] of [
      [5, 3, 0],
      [8, 0, 1],
      [0, 0, 0],
      [16, 0, 0xff],
    ] as const) {
      user.pointer(buttons, 1023, 767, 1024, 768);
      post(it);
      driver.take();
      expect(report(it)).toEqual([bits, 0xe0, 0x7f, 0xd5, 0x7f, wheel]);
    }
  });

  test('movements that nobody fetched are joined; clicks are not', () => {
    const it = configured();
    const user = it.input.openSession();
    for (let x = 0; x < 1000; x++) user.pointer(0, x, 0, 1024, 768);
    for (const buttons of [1, 0, 1, 0]) user.pointer(buttons, 0, 0, 1024, 768);
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      post(it);
      if (it.driver.take().length > 0) seen.push(report(it)[0] ?? -1);
    }
    expect(seen).toEqual([0, 1, 0, 1, 0]);
  });

  test('an endpoint that is stopped reports the transfer that waited', () => {
    const it = configured();
    const gpa = post(it);
    it.driver.commands.add(0, 0, 0, (it.driver.slot << 24) | (3 << 16) | (R.CMD_STOP_ENDPOINT << 10));
    it.driver.write(R.DOORBELLS, 0);
    expect(it.driver.take()).toMatchObject([
      { type: R.EVENT_TRANSFER, code: R.STOPPED, parameter: gpa, residue: 8 },
      { type: R.EVENT_COMMAND, code: R.SUCCESS },
    ]);
  });

  test('chained buffers and event data', () => {
    const it = configured();
    const { driver, machine } = it;
    driver.interrupt.add(driver.buffer, 0, 2, (R.TRB_NORMAL << 10) | R.TRB_CHAIN);
    driver.interrupt.add(driver.buffer + 0x100, 0, 4, (R.TRB_NORMAL << 10) | R.TRB_CHAIN);
    driver.interrupt.add(0x1234, 0x5678, 0, (R.TRB_EVENT_DATA_TYPE << 10) | R.TRB_INTERRUPT);
    driver.write(R.DOORBELLS + 4 * driver.slot, 3);
    it.input.openSession().pointer(1, 0, 767, 1024, 768);
    expect(driver.take()).toMatchObject([{ eventData: true, residue: 6, parameter: 0x1234 + 0x5678 * 2 ** 32 }]);
    expect([machine.memory.readU16(driver.buffer), machine.memory.readU32(driver.buffer + 0x100)]).toEqual([
      1, 0x007fd500,
    ]);
  });

  test('without it the PS/2 mouse has the pointer, and has it again after a reset', () => {
    const it = rig();
    const seen: number[] = [];
    it.input.registerPointer({ pointer: (buttons) => seen.push(buttons) }, 1);
    const user = it.input.openSession();
    user.pointer(1, 0, 0, 8, 8);
    it.driver.start();
    it.driver.addressDevice();
    it.driver.configure();
    user.pointer(2, 0, 0, 8, 8);
    it.driver.write(R.OPERATIONAL + R.USBCMD, R.CMD_RESET);
    user.pointer(4, 0, 0, 8, 8);
    expect(seen).toEqual([1, 4]);
  });
});

describe('hostile rings', () => {
  test.each([0, 1, 2, 15, 16, 17, 4095, 4096, 4097, 0xffff])('a segment of %i TRBs', (trbs) => {
    const { driver, machine, device } = rig();
    driver.start();
    machine.memory.fill(0x200000, 0x20000, 0x77);
    machine.memory.writeU64(driver.erst, 0x200000n);
    machine.memory.writeU32(driver.erst + 8, trbs);
    driver.write(R.RUNTIME + R.ERSTBA, driver.erst);
    driver.write(R.RUNTIME + R.ERDP, 0x200000);
    for (let i = 0; i < 10_000; i++) {
      driver.write(R.PORTS, R.PORT_POWER | R.PORT_RESET);
      driver.write(R.PORTS, R.PORT_POWER | R.PORT_CHANGES);
    }
    const legal = trbs >= 16 && trbs <= 4096;
    const end = new Uint8Array(0x20000 - trbs * 16 > 0 && legal ? 0x20000 - trbs * 16 : 0x10000);
    machine.memory.read(legal ? 0x200000 + trbs * 16 : 0x200000, end);
    expect(end.every((byte) => byte === 0x77)).toBe(true);
    expect(device.controller.events.lostEvents).toBeGreaterThan(5_000);
  });

  test('links to themselves, rings without an end, lengths beyond memory', () => {
    const it = configured();
    const { driver, machine } = it;
    const { memory } = machine;
    const ring = driver.interrupt;
    // A link to itself.
    ring.add(ring.gpa, 0, 0, R.TRB_LINK << 10);
    driver.write(R.DOORBELLS + 4 * driver.slot, 3);
    expect(driver.take()).toMatchObject([{ code: R.TRB_ERROR }]);
    // A command ring that leads back without ever changing its cycle.
    memory.writeU32(driver.commands.gpa + 16 * 20 + 12, 0);
    for (let i = 0; i < 64; i++) {
      memory.writeU64(0x210000 + 16 * i, i === 63 ? 0x210000n : 0n);
      memory.writeU64(0x210000 + 16 * i + 8, BigInt((((i === 63 ? R.TRB_LINK : R.CMD_NO_OP) << 10) | 1) * 2 ** 32));
    }
    driver.write(R.OPERATIONAL + R.USBCMD, R.CMD_INTERRUPTS);
    driver.write(R.OPERATIONAL + R.CRCR, 0x210000 | 1);
    driver.write(R.OPERATIONAL + R.USBCMD, R.CMD_RUN | R.CMD_INTERRUPTS);
    driver.write(R.DOORBELLS, 0);
    expect(machine.memory.guardsIntact).toBe(true);
    // A buffer that ends beyond memory takes nothing.
    const other = configured();
    const high = 4 * 0x200000 - 4;
    other.driver.interrupt.add(high, 0, 8, (R.TRB_NORMAL << 10) | R.TRB_INTERRUPT);
    other.input.openSession().pointer(1, 5, 5, 100, 100);
    other.driver.write(R.DOORBELLS + 4 * other.driver.slot, 3);
    expect(other.driver.take()).toMatchObject([{ code: R.TRB_ERROR }]);
  });

  test('without bus mastering nothing is read or written', () => {
    const it = configured();
    post(it);
    it.machine.setConfig(SLOT, 4, 2, 2);
    it.input.openSession().pointer(1, 5, 5, 100, 100);
    expect(it.driver.take()).toEqual([]);
    it.machine.setConfig(SLOT, 4, 2, 6);
    expect(it.driver.take()).toMatchObject([{ code: R.SHORT_PACKET }]);
  });
});

test('a snapshot in the middle of a click', () => {
  const it = configured();
  const user = it.input.openSession();
  user.pointer(1, 10, 10, 100, 100);
  user.pointer(0, 10, 10, 100, 100);
  const state = it.device.save();
  const copy = rig(it.machine.memory);
  copy.device.restore(structuredClone(state));
  expect(isDeepStrictEqual(copy.device.save(), state)).toBe(true);
  Object.assign(copy.driver, { slot: it.driver.slot, interrupt: it.driver.interrupt });
  post(copy);
  expect(report(copy)[0]).toBe(1);
  post(copy);
  expect(report(copy)[0]).toBe(0);
});
