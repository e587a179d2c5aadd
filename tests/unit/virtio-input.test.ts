import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { buildVirtioInput, VirtioInput, type InputKind } from '../../devices/virtio/input.ts';
import { FakeMachine } from '../support/fake-bus.ts';

const SLOT = 3;
const CONFIG = 0x14;

function rig(kind: InputKind): { machine: FakeMachine; device: VirtioInput } {
  const machine = new FakeMachine();
  const device = new VirtioInput({ memory: machine.memory, msix: false, log: () => {} }, kind, '3-0');
  machine.pci.add({ bus: 0, slot: SLOT, func: 0 }, device);
  machine.pci.configure();
  return { machine, device };
}

/** What a driver reads after it has selected something. */
function selected({ machine }: { machine: FakeMachine }, select: number, subselect: number): number[] {
  const base = machine.bar(SLOT, 0) + CONFIG;
  machine.ports.write(base, 1, select);
  machine.ports.write(base + 1, 1, subselect);
  const size = machine.ports.read(base + 2, 1);
  return Array.from({ length: size }, (_, at) => machine.ports.read(base + 8 + at, 1));
}

test('identity and capabilities', () => {
  const tablet = rig('tablet');
  expect(tablet.machine.config(SLOT, 0, 4)).toBe(0x10521af4);
  expect(String.fromCharCode(...selected(tablet, 1, 0))).toBe('bhyve virtio tablet');
  expect(String.fromCharCode(...selected(tablet, 2, 0))).toBe('3-0');
  // Absolute X and Y of 0 to 32767; one wheel; three buttons.
  expect(selected(tablet, 0x11, 3)).toEqual([3]);
  expect(selected(tablet, 0x12, 0).slice(0, 8)).toEqual([0, 0, 0, 0, 0xff, 0x7f, 0, 0]);
  expect(selected(tablet, 0x12, 2)).toEqual([]);
  expect(selected(tablet, 0x11, 2)).toEqual([0, 1]);
  expect(selected(tablet, 0x11, 1).at(-1)).toBe(7);
  const keyboard = rig('keyboard');
  expect(selected(keyboard, 0x11, 1).length).toBe(16);
  expect(selected(keyboard, 0x11, 17)).toEqual([7]);
  expect(selected(keyboard, 0x99, 0xff)).toEqual([]);
});

test('events wait for buffers, up to a bound, and a snapshot holds them', () => {
  const { machine, device } = rig('keyboard');
  for (let i = 0; i < 300; i++) device.key(0x1e, i % 2 === 0);
  expect(device.droppedEvents).toBeGreaterThan(300);
  // A key that is down already is not told again.
  const dropped = device.droppedEvents;
  device.key(0x2a, true);
  device.key(0x2a, true);
  expect(device.droppedEvents).toBe(dropped + 2);
  const state = device.save();
  const copy = rig('keyboard');
  copy.device.restore(structuredClone(state));
  expect(isDeepStrictEqual(copy.device.save(), state)).toBe(true);
  expect(machine.memory.guardsIntact).toBe(true);
});

test('a device of the host is refused in one sentence', () => {
  const machine = new FakeMachine();
  const where = { bus: 0, slot: SLOT, func: 0 };
  expect(() => buildVirtioInput(machine.context(), where, { get: () => '/dev/input/event4' })).toThrow(
    'virtio-input: /dev/input/event4: keyboard, mouse or tablet is expected',
  );
});
