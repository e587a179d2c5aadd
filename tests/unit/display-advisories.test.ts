/** What went wrong in FreeBSD's screen, USB and sound devices, by the numbers of its security advisories: none of it does here. */
import { describe, expect, test } from 'vitest';
import { Hda } from '../../devices/audio/hda/hda.ts';
import * as A from '../../devices/audio/hda/registers.ts';
import type { AudioBackend } from '../../devices/backends/audio.ts';
import { Fbuf, FRAMEBUFFER_BYTES } from '../../devices/display/fbuf.ts';
import type { DeviceState, StateValue } from '../../devices/snapshot.ts';
import * as R from '../../devices/usb/xhci/registers.ts';
import { Xhci } from '../../devices/usb/xhci/xhci.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeClock } from '../support/fake-clock.ts';
import * as D from '../support/hda-driver.ts';
import { XhciDriver } from '../support/xhci-driver.ts';

const SLOT = 3;
const WHERE = { bus: 0, slot: SLOT, func: 0 };
const MS = 1_000_000;
const RING = 0x200000;
const RING_END = 0x240000;
const UNTOUCHED = 0x77;

function place<T extends Xhci | Hda | Fbuf>(machine: FakeMachine, device: T): T {
  machine.pci.add(WHERE, device);
  machine.pci.configure();
  machine.pci.start();
  return device;
}

/** Whatever a state's fields are, deep inside: `change` gives the new value of each that is a number. */
function changed(state: DeviceState, change: (name: string, value: number) => number): DeviceState {
  const walk = (name: string, value: StateValue): StateValue => {
    if (typeof value === 'number') return change(name, value);
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
    if (Array.isArray(value)) return value.map((entry: StateValue) => walk(name, entry));
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, walk(key, entry as StateValue)]));
  };
  return walk('', state as unknown as StateValue) as unknown as DeviceState;
}

describe('SA-26:72: sizes that a guest, or a snapshot, makes up', () => {
  const xhci = (memory?: FakeMachine['memory']): { machine: FakeMachine; device: Xhci; driver: XhciDriver } => {
    const machine = new FakeMachine({}, memory);
    const device = place(machine, new Xhci(machine.context({}), 1));
    return { machine, device, driver: new XhciDriver(machine, SLOT) };
  };
  /** Events without an end: a port is reset again and again. */
  const flood = (driver: XhciDriver, count: number): void => {
    for (let i = 0; i < count; i++) {
      driver.write(R.PORTS, R.PORT_POWER | R.PORT_RESET);
      driver.write(R.PORTS, R.PORT_POWER | R.PORT_CHANGES);
    }
  };
  const untouched = ({ memory }: FakeMachine, from: number): boolean => {
    const bytes = new Uint8Array(RING_END - from);
    memory.read(from, bytes);
    return bytes.every((byte) => byte === UNTOUCHED);
  };

  test('the event ring has one segment, whatever ERSTSZ says', () => {
    const { machine, driver } = xhci();
    driver.start();
    for (let segments = 0; segments < 0x10000; segments = segments < 40 ? segments + 1 : segments * 2 + 1) {
      machine.memory.fill(RING, RING_END - RING, UNTOUCHED);
      // Entries behind the first, for a controller that believes the register.
      for (let entry = 0; entry < 64; entry++) {
        machine.memory.writeU64(driver.erst + 16 * entry, BigInt(entry === 0 ? RING : RING + 0x10000));
        machine.memory.writeU32(driver.erst + 16 * entry + 8, entry === 0 ? 16 : 4096);
      }
      driver.write(R.RUNTIME + R.ERSTSZ, segments);
      driver.write(R.RUNTIME + R.ERSTBA, driver.erst);
      driver.write(R.RUNTIME + R.ERDP, RING);
      flood(driver, 40);
      expect(untouched(machine, segments === 0 ? RING : RING + 16 * 16), `${segments} segments`).toBe(true);
    }
  });

  test('nor does a restored ring reach beyond its segment', () => {
    const { machine, device, driver } = xhci();
    driver.start();
    const { memory } = machine;
    const base = driver.events;
    const state = structuredClone(device.save());
    let refused = 0;
    for (const [field, value] of [
      ...[15, 4096, 4097, 0xffff, 0xffffffff].map((trbs) => ['trbs', trbs] as const),
      ...[16, 4095, 4096, 0xffffffff].map((enqueue) => ['enqueue', enqueue] as const),
      ...[memory.lowBytes - 64, memory.lowBytes, 2 ** 40, Number.MAX_SAFE_INTEGER].map((at) => ['base', at] as const),
    ]) {
      const copy = xhci(memory);
      try {
        copy.device.restore(changed(state, (name, old) => (name === field ? value : old)));
      } catch {
        refused++;
        continue;
      }
      memory.fill(RING, RING_END - RING, UNTOUCHED);
      flood(copy.driver, 200);
      expect(memory.guardsIntact, `${field} ${value}`).toBe(true);
      // A ring that may be as long as that lies where the events were; beyond it nothing is written.
      if (base + 4096 * 16 <= RING) expect(untouched(machine, RING), `${field} ${value}`).toBe(true);
    }
    expect(refused).toBeGreaterThan(3);
  });

  const hda = (): {
    machine: FakeMachine;
    device: Hda;
    driver: D.HdaDriver;
    clock: FakeClock;
    played: () => number;
  } => {
    const clock = new FakeClock();
    const machine = new FakeMachine();
    let bytes = 0;
    const tape: AudioBackend = {
      begin: () => {},
      play: (samples) => (bytes += samples.length) >= 0,
      record: () => true,
      end: () => {},
      close: () => Promise.resolve(),
    };
    const device = place(machine, new Hda(machine.context({ clock }), { play: tape, record: tape }, true, true));
    const driver = new D.HdaDriver(machine, SLOT);
    driver.start();
    return { machine, device, driver, clock, played: () => bytes };
  };

  test('a list of buffers without length ends nothing but itself, also out of a snapshot', () => {
    const first = hda();
    first.driver.command(2, 0x706, 0x10);
    const empty = Array.from({ length: 256 }, () => [RING, 0, true] as const);
    first.driver.run(4, 1, D.FORMAT_48_STEREO, empty);
    first.clock.advance(100 * MS);
    expect(first.played()).toBe(0);
    void first.device.pause();
    for (const entry of [0, 1, 255]) {
      for (const entryOffset of [0, 4, 0xffffffff]) {
        const copy = hda();
        copy.driver.run(4, 1, D.FORMAT_48_STEREO, empty);
        const fields = { entry, entryOffset } as Readonly<Record<string, number>>;
        copy.device.restore(changed(first.device.save(), (name, old) => fields[name] ?? old));
        copy.device.resume();
        copy.clock.advance(100 * MS);
        expect(copy.played()).toBe(0);
        expect(copy.machine.memory.guardsIntact).toBe(true);
      }
    }
  });

  test('no width and no height leads out of the framebuffer, also out of a snapshot', () => {
    const screen = (): { machine: FakeMachine; device: Fbuf } => {
      const machine = new FakeMachine();
      const fbuf = new Fbuf(machine.context({}), { width: 640, height: 480, vga: false });
      return { machine, device: place(machine, fbuf) };
    };
    const { machine, device } = screen();
    const copy = screen();
    for (const width of [0, 1, 639, 3840, 3841, 0x7fff, 0x8000, 0xffff]) {
      for (const height of [0, 1, 2160, 2161, 0x7fff, 0xffff]) {
        // The guest may write one half, and the screen may be looked at in between.
        machine.mmio.write(machine.bar(SLOT, 0) + 4, 2, width);
        device.display.refresh();
        machine.mmio.write(machine.bar(SLOT, 0) + 6, 2, height);
        device.display.refresh();
        copy.device.restore(structuredClone(device.save()));
        copy.device.display.refresh();
        for (const { frame } of [device.display, copy.device.display]) {
          expect(frame.width * frame.height * 4).toBeLessThanOrEqual(FRAMEBUFFER_BYTES);
          expect(frame.pixels.length).toBeGreaterThanOrEqual(frame.width * frame.height);
        }
      }
    }
  });
});

describe('SA-24:17: what the sound controller is told', () => {
  test('codec addresses, nodes and payloads that are none, and pointers beyond the ring', () => {
    const machine = new FakeMachine();
    const clock = new FakeClock();
    const device = place(
      machine,
      new Hda(machine.context({ clock }), { play: undefined, record: undefined }, true, true),
    );
    const driver = new D.HdaDriver(machine, SLOT);
    driver.start();
    const { memory } = machine;
    for (let at = 0; at < 256; at++) {
      // Every codec address with nodes and verbs of all kinds.
      memory.writeU32(driver.corb + 4 * at, (((at & 15) << 28) | ((at * 0x0111_1107) & 0x0fff_ffff)) >>> 0);
    }
    for (const pointer of [255, 256, 0x1ff, 0xff00, 0xffff, 1]) {
      driver.write(D.CORBWP, 2, pointer);
      driver.write(D.RIRBWP, 2, pointer & 0x7fff);
      clock.advance(MS);
      expect(driver.read(D.CORBWP, 2)).toBeLessThan(256);
      expect(driver.read(D.RIRBWP, 2)).toBeLessThan(256);
    }
    expect(device.counters()['commands']).toBeGreaterThan(10);
    expect(memory.guardsIntact).toBe(true);
    expect(driver.read(A.STREAM_BASE, 4)).toBe(0);
  });
});
