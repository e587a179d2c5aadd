import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import { PortBus, type AccessSize } from '../../devices/bus/port-bus.ts';
import { AcpiPm, GPE_VM_GENERATION } from '../../devices/platform/acpi-pm.ts';
import { cmosMemoryPresets } from '../../devices/platform/cmos-presets.ts';
import { claimFixedPorts } from '../../devices/platform/fixed-ports.ts';
import { InterruptLines } from '../../devices/platform/interrupt-lines.ts';
import { KeyboardController } from '../../devices/platform/keyboard-controller.ts';
import { PcTestDevice } from '../../devices/platform/pc-testdev.ts';
import { ResetControl } from '../../devices/platform/reset-control.ts';
import { StateFields } from '../../devices/platform/state-fields.ts';
import { SnapshotError, type DeviceState, type Stateful } from '../../devices/snapshot.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeInterrupts } from '../support/fake-interrupts.ts';
import { FakeRandom } from '../support/fake-random.ts';

/** Between two bytes of a key. */
const KEY_BYTE_NS = 1_000_000;

/** All platform devices on one set of buses. */
class Platform {
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly interrupts = new FakeInterrupts();
  readonly clock = new FakeClock();
  readonly lines = new InterruptLines(this.interrupts);
  readonly suspends: string[] = [];
  readonly suspend = (reason: string, status?: number): void => {
    this.suspends.push(status === undefined ? reason : `${reason} ${status}`);
    if (this.suspends.length > 1000) this.suspends.length = 0;
  };
  readonly pm = new AcpiPm(this.ports, this.lines, this.suspend);
  readonly resetControl = new ResetControl(this.ports, this.suspend);
  readonly kbc = new KeyboardController(this.ports, this.interrupts, this.clock, this.suspend);
  readonly testDevice = new PcTestDevice(this.ports, this.mmio, this.lines, this.suspend);

  constructor() {
    claimFixedPorts(this.ports);
  }

  get devices(): (Stateful & { reset(): void })[] {
    return [this.pm, this.resetControl, this.kbc, this.testDevice];
  }

  in(port: number, size: AccessSize = 1): number {
    return this.ports.read(port, size);
  }

  out(port: number, value: number, size: AccessSize = 1): void {
    this.ports.write(port, size, value);
  }
}

describe('ACPI power management', () => {
  test('the power button needs an operating system, then raises the SCI', () => {
    const it = new Platform();
    expect(it.pm.pressPowerButton()).toBe(false);
    it.out(0xb2, 0xa0);
    expect(it.in(0x404, 2)).toBe(1);
    it.out(0x402, 0x0120, 2);
    expect(it.pm.pressPowerButton()).toBe(true);
    expect(it.in(0x400, 2)).toBe(0x100);
    expect(it.interrupts.asserted()).toEqual({ isa: [9], pins: [] });
    it.out(0x400, 0x0010, 2);
    expect(it.interrupts.isaLevels[9]).toBe(true);
    it.out(0x400, 0x0100, 2);
    expect(it.interrupts.isaLevels[9]).toBe(false);
    it.out(0xb2, 0xa1);
    expect(it.in(0x404, 2)).toBe(0);
  });

  test('masks of enable and control', () => {
    const it = new Platform();
    it.out(0x402, 0xffff, 2);
    expect(it.in(0x402, 2)).toBe(0x0520);
    it.out(0x404, 0xdfff, 2);
    expect(it.in(0x404, 2)).toBe(0x1ffc);
    it.out(0xb2, 0xa0);
    it.out(0x404, 0, 2);
    expect(it.in(0x404, 2)).toBe(1);
    expect(it.suspends).toEqual([]);
  });

  test('S5 powers off, other sleep types do nothing', () => {
    const it = new Platform();
    it.out(0x404, 0x2000 | (1 << 10), 2);
    it.out(0x404, 5 << 10, 2);
    expect(it.suspends).toEqual([]);
    it.out(0x404, 0x2000 | (5 << 10), 2);
    expect(it.suspends).toEqual(['poweroff']);
  });

  test('general-purpose event of the VM generation counter', () => {
    const it = new Platform();
    it.pm.raiseGpe(GPE_VM_GENERATION);
    expect(it.in(0x40c)).toBe(1);
    expect(it.interrupts.isaLevels[9]).toBe(false);
    it.out(0x40d, 0xff);
    expect(it.in(0x40d)).toBe(1);
    expect(it.interrupts.isaLevels[9]).toBe(true);
    it.out(0x40c, 1);
    expect(it.interrupts.isaLevels[9]).toBe(false);
  });

  test('wrong widths read all ones and change nothing', () => {
    const it = new Platform();
    expect([it.in(0x400), it.in(0x401, 2), it.in(0x404, 4), it.in(0x40c, 2), it.in(0xb2)]).toEqual([
      0xff, 0xffff, 0xffffffff, 0xffff, 0xff,
    ]);
    it.out(0x404, 0x34, 1);
    it.out(0x404, 0x3400, 4);
    expect(it.pm.badAccesses).toBe(7);
    expect(it.suspends).toEqual([]);
  });

  test('a line that two sources share stays asserted until both let go', () => {
    const interrupts = new FakeInterrupts();
    const lines = new InterruptLines(interrupts);
    const [a, b] = [lines.isaSource(9), lines.isaSource(9)];
    a(true);
    a(true);
    b(true);
    a(false);
    expect(interrupts.isaLevels[9]).toBe(true);
    b(false);
    expect(interrupts.isaLevels[9]).toBe(false);
  });
});

test('reset control', () => {
  const it = new Platform();
  it.out(0xcf9, 0x02);
  expect(it.in(0xcf9)).toBe(2);
  expect(it.suspends).toEqual([]);
  it.out(0xcf9, 0x0e, 2);
  it.out(0xcf9, 0x06);
  expect(it.suspends).toEqual(['reset']);
  expect(it.in(0xcf9, 2)).toBe(0xffff);
});

test('silent ports', () => {
  const it = new Platform();
  let unclaimed = 0;
  it.ports.onUnclaimed = () => unclaimed++;
  it.out(0x84, 1);
  it.out(0x488, 1, 4);
  expect(it.in(0x84)).toBe(0xff);
  expect(unclaimed).toBe(0);
  expect(it.in(0x92)).toBe(0xff);
});

test('memory sizes in CMOS', () => {
  const at = (lowBytes: number, highBytes: number): number[] =>
    cmosMemoryPresets(lowBytes, highBytes).map(({ value }) => value);
  expect(cmosMemoryPresets(0, 0).map(({ index }) => index)).toEqual([0x34, 0x35, 0x5b, 0x5c, 0x5d]);
  expect(at(512 * 2 ** 20, 0)).toEqual([0x00, 0x1f, 0, 0, 0]);
  expect(at(3 * 2 ** 30, 21 * 2 ** 30)).toEqual([0x00, 0xbf, 0x00, 0x40, 0x05]);
  expect(at(2 ** 20, 0)).toEqual([0, 0, 0, 0, 0]);
});

describe('keyboard controller', () => {
  const drain = (it: Platform): number[] => {
    const bytes: number[] = [];
    while (it.in(0x64) & 1 && bytes.length < 2000) {
      bytes.push(it.in(0x60));
      it.clock.advance(KEY_BYTE_NS);
    }
    return bytes;
  };
  const command = (it: Platform, ...bytes: number[]): void => {
    it.out(0x64, bytes[0] ?? 0);
    for (const byte of bytes.slice(1)) it.out(0x60, byte);
  };

  test('self tests and controller RAM', () => {
    const it = new Platform();
    for (const [byte, answer] of [
      [0xaa, 0x55],
      [0xa9, 0],
      [0xab, 0],
      [0xc0, 0],
      [0x20, 0],
    ] as const) {
      command(it, byte);
      expect(it.in(0x64)).toBe(0x19);
      expect(it.in(0x60)).toBe(answer);
      expect(it.in(0x64)).toBe(0x10);
    }
    command(it, 0x65, 0x77);
    command(it, 0x25);
    expect(it.in(0x60)).toBe(0x77);
    command(it, 0x60, 0x04);
    expect(it.in(0x64)).toBe(0x14);
    command(it, 0xad);
    command(it, 0xa7);
    command(it, 0x20);
    expect(it.in(0x60)).toBe(0x34);
    command(it, 0xfe);
    expect(it.suspends).toEqual(['reset']);
    command(it, 0x99);
    expect(it.kbc.unknownCommands).toBe(1);
  });

  test('the probing sequence of Linux finds both ports', () => {
    const it = new Platform();
    command(it, 0xd3, 0x5a);
    expect(it.in(0x64) & 0x21).toBe(0x21);
    expect(it.in(0x60)).toBe(0x5a);
    command(it, 0xa7);
    command(it, 0x20);
    expect(it.in(0x60) & 0x20).toBe(0x20);
    command(it, 0xa8);
    command(it, 0x20);
    expect(it.in(0x60) & 0x20).toBe(0);
    it.interrupts.pulses = [];
    command(it, 0x60, 0x02);
    command(it, 0xd3, 0xa5);
    expect(it.interrupts.pulses).toEqual([12]);
    expect(drain(it)).toEqual([0xa5]);
    command(it, 0xd2, 0x11);
    expect(it.in(0x64) & 0x21).toBe(0x01);
    expect(drain(it)).toEqual([0x11]);
  });

  test('keyboard commands', () => {
    const it = new Platform();
    const keyboard = (...bytes: number[]): number[] => {
      for (const byte of bytes) it.out(0x60, byte);
      return drain(it);
    };
    expect(keyboard(0xff)).toEqual([0xfa, 0xaa]);
    expect(keyboard(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(keyboard(0xed, 0x07)).toEqual([0xfa, 0xfa]);
    expect(keyboard(0xf3, 0xf4)).toEqual([0xfa, 0xfa]);
    expect(keyboard(0xee)).toEqual([0xee]);
    expect(keyboard(0xf5)).toEqual([0xfa]);
    it.kbc.keyboard.key(0x1e, true);
    expect(drain(it)).toEqual([]);
    expect(keyboard(0xf4)).toEqual([0xfa]);
    expect(keyboard(0xf6)).toEqual([0xfa]);
    expect(keyboard(0x55)).toEqual([]);
    expect(it.kbc.keyboard.unknownCommands).toBe(1);
  });

  test('keys arrive as set 2, or as set 1 when translated, each byte with an edge', () => {
    const it = new Platform();
    command(it, 0x60, 0x01);
    it.kbc.keyboard.key(0x1e, true); // A
    it.kbc.keyboard.key(0xcd, false); // right arrow
    expect(it.interrupts.pulses).toEqual([1]);
    expect(drain(it)).toEqual([0x1c, 0xe0, 0xf0, 0x74]);
    expect(it.interrupts.pulses).toEqual([1, 1, 1, 1]);
    command(it, 0x60, 0x41);
    it.kbc.keyboard.key(0x1e, true);
    it.kbc.keyboard.key(0x1e, false);
    it.kbc.keyboard.key(0xcd, true);
    it.kbc.keyboard.key(0xcd, false);
    it.kbc.keyboard.key(0x41, false); // F7
    expect(drain(it)).toEqual([0x1e, 0x9e, 0xe0, 0x4d, 0xe0, 0xcd, 0xc1]);
    it.kbc.keyboard.key(0xc6, true); // Pause
    it.kbc.keyboard.key(0xc6, false);
    expect(drain(it)).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    it.kbc.keyboard.key(0x00, true);
    expect(it.kbc.keyboard.unknownKeys).toBe(1);
  });

  test('a key sends a byte in a millisecond; answers come at once', () => {
    const it = new Platform();
    command(it, 0x60, 0x01);
    for (const down of [true, false]) it.kbc.keyboard.key(0x1e, down);
    expect([it.in(0x64) & 1, it.in(0x60), it.in(0x64) & 1]).toEqual([1, 0x1c, 0]);
    it.clock.advance(KEY_BYTE_NS - 1);
    expect(it.in(0x64) & 1).toBe(0);
    it.clock.advance(1);
    expect([it.in(0x64) & 1, it.in(0x60), it.in(0x64) & 1]).toEqual([1, 0xf0, 0]);
    expect(it.interrupts.pulses).toEqual([1, 1]);
    // Between two bytes: the copy, whose clock is another, has the second one.
    const copy = new Platform();
    copy.kbc.restore(it.kbc.save());
    copy.kbc.resume();
    expect(drain(copy)).toEqual([0x1c]);
    expect(drain(it)).toEqual([]);
    it.clock.advance(KEY_BYTE_NS);
    expect(drain(it)).toEqual([0x1c]);
    it.out(0x60, 0xf2);
    expect([it.in(0x60), it.in(0x60), it.in(0x60)]).toEqual([0xfa, 0xab, 0x83]);
  });

  test('keys that find the queue full wait, up to a bound', () => {
    const it = new Platform();
    for (let i = 0; i < 400; i++) it.kbc.keyboard.key(0x1e, i % 2 === 0);
    expect(it.kbc.keyboard.droppedBytes).toBe(0);
    expect(drain(it)).toEqual(Array.from({ length: 200 }, () => [0x1c, 0xf0, 0x1c]).flat());
    for (let i = 0; i < 5000; i++) it.kbc.keyboard.key(0x1e, i % 2 === 0);
    const kept = drain(it);
    expect(kept.length).toBe(2000);
    expect(it.kbc.keyboard.droppedBytes).toBeGreaterThan(800);
  });

  test('a key that was down in a snapshot goes up before the next one', () => {
    const it = new Platform();
    it.kbc.keyboard.key(0x2a, true);
    expect(drain(it)).toEqual([0x12]);
    const saved = it.kbc.save();
    const restored = new Platform();
    restored.kbc.restore(saved);
    restored.kbc.keyboard.key(0x1e, true);
    expect(drain(restored)).toEqual([0xf0, 0x12, 0x1c]);
  });

  test('a disabled keyboard port holds its bytes back', () => {
    const it = new Platform();
    command(it, 0xad);
    it.kbc.keyboard.key(0x39, true);
    expect(it.in(0x64) & 1).toBe(0);
    command(it, 0xae);
    expect(drain(it)).toEqual([0x29]);
  });

  test('mouse commands and packets', () => {
    const it = new Platform();
    const mouse = (...bytes: number[]): number[] => {
      for (const byte of bytes) command(it, 0xd4, byte);
      return drain(it);
    };
    expect(mouse(0xff)).toEqual([0xfa, 0xaa, 0x00]);
    expect(mouse(0xf2)).toEqual([0xfa, 0x00]);
    expect(mouse(0xf3, 60)).toEqual([0xfa]);
    expect(mouse(0xe8, 2)).toEqual([0xfa]);
    expect(mouse(0xe7)).toEqual([0xfa]);
    expect(mouse(0xe9)).toEqual([0xfa, 0x30, 2, 60]);
    it.kbc.mouse.pointer(1, 10, 20);
    expect(drain(it)).toEqual([]); // A8 was not sent yet
    command(it, 0x60, 0x02);
    command(it, 0xa8);
    it.interrupts.pulses = [];
    it.kbc.mouse.pointer(5, 13, 15);
    expect(it.in(0x64) & 0x21).toBe(0x21);
    // Left and right; the pointer came from (0, 0) with y downwards: up is positive.
    expect(drain(it)).toEqual([0x2b, 13, 0xf1]);
    expect(it.interrupts.pulses.every((irq) => irq === 12)).toBe(true);
    expect(it.interrupts.pulses.length).toBe(3);
    it.kbc.mouse.pointer(0, 1013, 15);
    expect(drain(it)).toEqual([0x48, 255, 0]);
    expect(mouse(0xeb)).toEqual([0xfa, 0x08, 0, 0]);
    expect(mouse(0xf5)).toEqual([0xfa]);
    it.kbc.mouse.pointer(0, 0, 0);
    expect(drain(it)).toEqual([]);
    expect(mouse(0x12)).toEqual([0xfa]);
    expect(it.kbc.mouse.unknownCommands).toBe(1);
  });

  test('only byte accesses', () => {
    const it = new Platform();
    expect([it.in(0x60, 2), it.in(0x64, 4)]).toEqual([0xffff, 0xffffffff]);
    it.out(0x64, 0xfe, 2);
    expect(it.suspends).toEqual([]);
    expect(it.kbc.badAccesses).toBe(3);
  });
});

describe('pc-testdev', () => {
  test('debug exit', () => {
    const it = new Platform();
    it.out(0xf4, 0x10, 4);
    it.out(0xf7, 0x80);
    expect(it.suspends).toEqual(['exit 33', 'exit 1']);
    expect(it.in(0xf4, 4)).toBe(0);
  });

  test('latch, lines and memory', () => {
    const it = new Platform();
    it.out(0xe0, 0x11223344, 4);
    it.out(0xe1, 0x55);
    it.out(0xe3, 0xaabb, 2); // the second lane is beyond the latch
    expect(it.in(0xe0, 4)).toBe(0xbb225544);
    expect(it.in(0xe1, 2)).toBe(0x2255);
    it.out(0x2005, 1);
    it.out(0x2014, 1);
    it.out(0x2015, 0x0100, 2); // one line a byte: 21 low, 22 high
    it.out(0x2017, 0x0101, 2); // the last line, and a port beyond it
    expect(it.interrupts.asserted()).toEqual({ isa: [5], pins: [20, 22, 23] });
    it.out(0x2014, 0, 4);
    it.out(0x2005, 0);
    expect(it.interrupts.asserted()).toEqual({ isa: [], pins: [] });
    it.mmio.write(0xff000010, 4, 0xdeadbeef);
    expect(it.mmio.read(0xff000011, 2)).toBe(0xadbe);
    it.mmio.write(0xff00ffff, 4, 0x12);
    expect(it.mmio.read(0xff00ffff, 1)).toBe(0x12);
  });
});

describe('snapshots', () => {
  function busy(seed: number): Platform {
    const it = new Platform();
    const random = new FakeRandom(seed);
    scramble(it, random, 300);
    return it;
  }

  test('every device comes back as it was', () => {
    for (let seed = 1; seed < 100; seed++) {
      const it = busy(seed);
      const other = busy(seed + 1000);
      it.devices.forEach((device, index) => {
        const state = device.save();
        other.devices[index]?.restore(structuredClone(state));
        expect(isDeepStrictEqual(other.devices[index]?.save(), state)).toBe(true);
      });
      expect(other.interrupts.asserted()).toEqual(it.interrupts.asserted());
      const drain = (platform: Platform): number[] => {
        // The next byte of a key may be on its way in one of them.
        platform.kbc.resume();
        platform.clock.advance(KEY_BYTE_NS);
        platform.interrupts.pulses = [];
        return Array.from({ length: 40 }, () => {
          const byte = platform.in(0x60);
          platform.clock.advance(KEY_BYTE_NS);
          return byte;
        });
      };
      expect(drain(other)).toEqual(drain(it));
      expect(other.interrupts.pulses).toEqual(it.interrupts.pulses);
    }
  });

  test('reset is the state after power-on', () => {
    const fresh = new Platform();
    const it = busy(77);
    it.devices.forEach((device, index) => {
      device.reset();
      expect(isDeepStrictEqual(device.save(), fresh.devices[index]?.save())).toBe(true);
    });
    expect(it.interrupts.asserted()).toEqual({ isa: [], pins: [] });
  });

  test('a state that lacks a field, or has another kind or version, is refused and changes nothing', () => {
    const it = busy(5);
    for (const device of it.devices) {
      const state = device.save();
      for (const name of Object.keys(state.fields)) {
        const fields = { ...state.fields };
        delete fields[name];
        expect(() => device.restore({ ...state, fields })).toThrow(SnapshotError);
        expect(() => device.restore({ ...state, fields: { ...state.fields, [name]: 'no' } })).toThrow(SnapshotError);
      }
      expect(() => device.restore({ ...state, kind: 'other' })).toThrow(SnapshotError);
      expect(() => device.restore({ ...state, version: 99 })).toThrow(/version 99/);
      expect(isDeepStrictEqual(device.save(), state)).toBe(true);
    }
  });

  test('field checks', () => {
    const state: DeviceState = {
      kind: 'k',
      version: 1,
      fields: { n: 5, list: [1, 300], bytes: new Uint8Array(2), node: {} },
    };
    const fields = StateFields.open(state, 'k', 1);
    expect(fields.integer('n', 5)).toBe(5);
    expect(() => fields.integer('n', 4)).toThrow('k: field "n" is not an integer in 0..4');
    expect(() => fields.integers('list', 2, 255)).toThrow(SnapshotError);
    expect(() => fields.integers('list', 1, 999)).toThrow(SnapshotError);
    expect(() => fields.bytes('bytes', 3)).toThrow(SnapshotError);
    expect(() => fields.group('list')).toThrow(SnapshotError);
    expect(() => fields.group('bytes')).toThrow(SnapshotError);
    expect(() => fields.state('node')).toThrow(SnapshotError);
  });
});

/** Random accesses to all ports of the platform, and random user input. */
function scramble(it: Platform, random: FakeRandom, count: number): void {
  const ports: [number, ...number[]] = [
    ...([0x60, 0x60, 0x60, 0x64, 0x64, 0x64, 0x400, 0x401, 0x402, 0x404, 0x405, 0x40c, 0x40d, 0xb2, 0xb2] as const),
    ...([0xcf9, 0xcf9, 0xcf9, 0xe0, 0xe1, 0xe2, 0xe3, 0xf4, 0x84] as const),
  ];
  for (let i = 0; i < count; i++) {
    const size = random.pick<AccessSize>([1, 1, 2, 4]);
    const port = random.below(8) === 0 ? 0x2000 + random.below(26) : random.pick(ports);
    const memory = 0xff000000 + random.below(0x10004);
    switch (random.below(7)) {
      case 6:
        if (random.below(2) === 0) it.mmio.read(memory, size);
        else it.mmio.write(memory, size, random.nasty());
        break;
      case 0:
        it.in(port, size);
        break;
      case 1:
        it.kbc.keyboard.key(random.pick([0x1e, 0xcd, 0xc6, random.nasty()]), random.below(2) === 0);
        break;
      case 2:
        it.kbc.mouse.pointer(random.nasty(), random.nasty(), random.below(1000));
        break;
      case 3:
        if (random.below(2) === 0) it.pm.pressPowerButton();
        else it.pm.raiseGpe(random.nasty());
        break;
      default:
        it.out(port, random.pick([random.below(256), random.nasty()]), size);
    }
  }
}

test('random accesses never throw, and leave status and lines consistent', () => {
  const it = new Platform();
  const random = new FakeRandom(0x8042);
  // A million for each of the four devices.
  for (let round = 0; round < 20_000; round++) {
    scramble(it, random, 200);
    const sci = (it.in(0x400, 2) & it.in(0x402, 2)) !== 0 || (it.in(0x40c) & it.in(0x40d)) !== 0;
    if (sci && !it.interrupts.isaLevels[9]) throw new Error('the SCI is not asserted');
    it.out(0x2009, 0);
    if (it.interrupts.isaLevels[9] !== sci) throw new Error('the SCI is stuck');
    // The controller always runs dry.
    let reads = 0;
    while (it.in(0x64) & 1) {
      it.in(0x60);
      if (++reads > 16_384) throw new Error('the output buffer never empties');
    }
  }
});
