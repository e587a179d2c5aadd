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

/** Keys and buttons as a driver hears of them: code and value, without what ends a report. */
function heard({ device }: { device: VirtioInput }): number[][] {
  const { fields } = device.save();
  const pending = (fields['device'] as { readonly pending: readonly number[] }).pending;
  const events = Array.from({ length: pending.length / 3 }, (_, at) => pending.slice(3 * at, 3 * at + 3));
  return events.filter(([type]) => type !== 0).map(([, code = 0, value = 0]) => [code, value]);
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
  // A key that is down already is not told again.
  device.key(0x2a, true);
  device.key(0x2a, true);
  expect(heard({ device })).toEqual([[42, 1]]);
  for (let i = 0; i < 300; i++) device.key(0x1e, i % 2 === 0);
  expect(device.droppedEvents).toBeGreaterThan(150);
  expect(heard({ device })).toHaveLength(128);
  const state = device.save();
  const copy = rig('keyboard');
  copy.device.restore(structuredClone(state));
  expect(isDeepStrictEqual(copy.device.save(), state)).toBe(true);
  expect(machine.memory.guardsIntact).toBe(true);
});

test('a key that was held in a snapshot can be pressed at once', () => {
  const first = rig('keyboard');
  first.device.key(0x1e, true);
  const copy = rig('keyboard');
  copy.device.restore(structuredClone(first.device.save()));
  copy.device.key(0x1e, true);
  expect(heard(copy)).toEqual([
    ...[[30, 1]],
    ...[
      [30, 0],
      [30, 1],
    ],
  ]);
});

test('what found no room is told later: no key and no button stays down', () => {
  const keyboard = rig('keyboard');
  keyboard.device.key(0x2a, true);
  for (let i = 0; i < 300; i++) keyboard.device.key(0x1e, i % 2 === 0);
  // There is no room for this one either.
  keyboard.device.key(0x2a, false);
  const { device } = rig('keyboard');
  const state = structuredClone(keyboard.device.save());
  (state.fields['device'] as { pending: readonly number[] }).pending = [];
  device.restore(state);
  device.key(0x30, true);
  expect(heard({ device })).toContainEqual([42, 0]);
  expect(heard({ device }).at(-1)).toEqual([48, 1]);

  const tablet = rig('tablet');
  for (let i = 0; i < 200; i++) tablet.device.pointer(0, i, i, 1024, 768);
  tablet.device.pointer(1, 5, 5, 1024, 768);
  const full = structuredClone(tablet.device.save());
  (full.fields['device'] as { pending: readonly number[] }).pending = [];
  const later = rig('tablet');
  later.device.restore(full);
  later.device.pointer(1, 5, 5, 1024, 768);
  expect(heard(later)).toContainEqual([0x110, 1]);
});

test('a device of the host is refused in one sentence', () => {
  const machine = new FakeMachine();
  const where = { bus: 0, slot: SLOT, func: 0 };
  expect(() => buildVirtioInput(machine.context(), where, { get: () => '/dev/input/event4' })).toThrow(
    'virtio-input: /dev/input/event4: keyboard, mouse or tablet is expected',
  );
});
