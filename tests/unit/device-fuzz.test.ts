/** Every PCI function against a hostile guest: no exception, no write outside the buffers it was given, and a snapshot at any time. */
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { BUILT_DEVICES } from '../../devices/catalog.ts';
import { VirtioDevice } from '../../devices/virtio/device.ts';
import type { DeviceState } from '../../devices/snapshot.ts';
import { settle } from '../support/fake-block.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { optionsFor, rigOf, SLOT, type Rig } from '../support/fuzz-rig.ts';
import { HostileGuest } from '../support/hostile-guest.ts';

/** WEBHYVE_FUZZ_OPERATIONS=1000000 takes some ten minutes for all devices; the default seconds for each. */
const OPERATIONS = Number(process.env['WEBHYVE_FUZZ_OPERATIONS'] ?? 100_000);
/** Between two of them the host's event loop runs: disks answer. */
const OPERATIONS_A_TURN = 500;
/** Every answer of a share comes in a turn of its own, and lives of drivers are short. */
const SHARE_OPERATIONS_A_TURN = 50;
const OPERATIONS_A_SNAPSHOT = OPERATIONS / 10;
/** A machine of the same kind that goes on from the state, with the same guest memory. */
async function copyOf(device: string, { machine, fn }: Rig): Promise<readonly [copy: Rig, state: DeviceState]> {
  await fn.pause();
  const state = structuredClone(machine.pci.save());
  fn.resume();
  const copy = await rigOf(device, machine.memory);
  copy.machine.pci.restore(state);
  await copy.fn.pause();
  copy.fn.resume();
  return [copy, state];
}

/** Devices that take up at once what was in flight, so that a copy is ahead of its original. */
const TAKES_UP = new Set(['e1000', 'virtio-console', 'virtio-net']);

/** The device goes on in a copy, and that in a copy of its own: both have the state that they were given. */
async function goesOnInCopies(device: string, rig: Rig): Promise<void> {
  const [first, state] = await copyOf(device, rig);
  const [second, firstState] = await copyOf(device, first);
  // A console takes up at once what was waiting in its rings: only its copy has no more to do.
  const same = TAKES_UP.has(device) || isDeepStrictEqual(firstState, state);
  if (!same || !isDeepStrictEqual(second.machine.pci.save(), firstState)) {
    throw new Error(`${device}: a copy has another state`);
  }
  await first.fn.close();
  await second.fn.close();
}

test.each(BUILT_DEVICES)(
  `%s: ${OPERATIONS} operations of a hostile guest`,
  async (device) => {
    const random = new FakeRandom([...device].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 1) | 0);
    const rig = await rigOf(device);
    const fresh = structuredClone(rig.machine.pci.save());
    const guest = new HostileGuest(rig.machine, rig.fn, SLOT, random, optionsFor(device, rig, random));
    const turn = device === 'virtio-9p' ? SHARE_OPERATIONS_A_TURN : OPERATIONS_A_TURN;
    for (let operation = 1; operation <= OPERATIONS; operation++) {
      guest.step();
      if (operation % turn === 0) await settle();
      if (operation % OPERATIONS_A_SNAPSHOT !== 0) continue;
      await goesOnInCopies(device, rig);
      guest.check();
    }
    // Otherwise most of it was refused at the door.
    if (rig.fn instanceof VirtioDevice) {
      expect(rig.fn.brokenQueues).toBeGreaterThan(OPERATIONS / 2000);
      expect(rig.machine.interrupts.sent).toBeGreaterThan(OPERATIONS / 2000);
    }
    const { commands } = rig.fn.counters();
    if (commands !== undefined)
      expect(commands).toBeGreaterThan(OPERATIONS / (rig.fn instanceof VirtioDevice ? 2000 : 100));
    await rig.fn.pause();
    await rig.machine.pci.reset();
    // What a console's clients have sent and the guest has not read is theirs, and outlives the guest's reset.
    if (device !== 'virtio-console') expect(isDeepStrictEqual(rig.machine.pci.save(), fresh)).toBe(true);
    await rig.fn.close();
  },
  60_000 + OPERATIONS,
);
