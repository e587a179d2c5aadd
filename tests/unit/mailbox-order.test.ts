/**
 * Accesses of several vCPUs reach devices in the order in which they were left. AHCI drivers write PxSACT under a lock that the next
 * processor takes before it reads PxSACT; a read that overtakes the write makes Linux complete a command that has only begun.
 */
import { beforeEach, expect, test } from 'vitest';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import { PortBus } from '../../devices/bus/port-bus.ts';
import { CoreState, createCoreMemory, planMemory } from '../../devices/machine/core.ts';
import { MailboxSet } from '../../devices/machine/mailbox-set.ts';
import { MailboxClient } from '../../devices/machine/mailbox.ts';
import { HOST_DOORBELL, MAILBOX_TICKETS } from '../../core-as/layout.ts';
import { FakeRandom } from '../support/fake-random.ts';

const VCPUS = 4;
const DOORBELL = 0xc0000000;
const QUIET = DOORBELL + 4;

let state: CoreState;
let vcpus: MailboxClient[];
let seen: number[];
let stalled: boolean;
/** Done by the device while it serves a write. */
let meanwhile: (value: number) => void;
let set: MailboxSet;
let mmio: MmioBus;

beforeEach(() => {
  state = new CoreState(createCoreMemory(planMemory(64 * 2 ** 20, VCPUS)));
  seen = [];
  stalled = false;
  meanwhile = () => undefined;
  mmio = new MmioBus();
  const write = (value: number): void => {
    seen.push(value);
    meanwhile(value);
  };
  const handler = { readMmio: () => 0, writeMmio: (_offset: number, _size: number, value: number) => write(value) };
  mmio.claim('doorbell', DOORBELL, 8, handler);
  mmio.post(DOORBELL, [{ offset: 0, lengthBytes: 8 }]);
  set = new MailboxSet(state, VCPUS, {
    ports: new PortBus(),
    mmio,
    note: (_vcpu, value) => write(value),
    chunk: () => 0,
    deviceError: (error) => {
      throw error;
    },
    stalled: () => stalled,
  });
  vcpus = Array.from({ length: VCPUS }, (_, vcpu) => new MailboxClient(state, vcpu));
});

/** A write that waits for no answer. */
function post(vcpu: number, value: number): void {
  vcpus[vcpu]?.mmioWrite(DOORBELL, 4, value);
}

test('posted writes of different vCPUs keep their order, also when the tickets wrap', () => {
  const random = new FakeRandom(0x0d0e);
  Atomics.store(state.i32, MAILBOX_TICKETS >> 2, 0x7fffff00);
  const left: number[] = [];
  for (let value = 0; value < 2000; value++) {
    const vcpu = random.below(VCPUS);
    if (random.below(8) === 0) vcpus[vcpu]?.note(value, 0, 0);
    else post(vcpu, value);
    left.push(value);
    if (random.below(30) === 0) set.serve();
  }
  while (set.serve() > 0);
  expect(seen).toEqual(left);
});

test('a request left while another is served does not overtake one that was left before it', () => {
  meanwhile = (value) => {
    if (value !== 0) return;
    post(1, 1);
    post(0, 2);
    post(2, 3);
    post(0, 4);
  };
  post(0, 0);
  while (set.serve() > 0);
  expect(seen).toEqual([0, 1, 2, 3, 4]);
});

test('a request seen in one mailbox waits for its predecessor in another that was looked at before', () => {
  const [, second] = set.mailboxes;
  if (!second) throw new Error('there is no second mailbox');
  const look = second.look.bind(second);
  second.look = () => {
    second.look = look;
    // The first mailbox was looked at, and was empty.
    post(0, 1);
    post(1, 2);
    look();
  };
  expect(set.serve()).toBe(0);
  while (set.serve() > 0);
  expect(seen).toEqual([1, 2]);
});

test('a device that becomes busy stops the others behind it', () => {
  meanwhile = (value) => {
    stalled = value === 1;
  };
  for (const vcpu of [3, 2, 1, 0]) post(vcpu, vcpu);
  expect(set.serve()).toBe(3);
  expect(set.serve()).toBe(0);
  stalled = false;
  expect(set.serve()).toBe(1);
  expect(seen).toEqual([3, 2, 1, 0]);
});

test('a quiet write wakes nobody, and is served before what was left later', () => {
  const withdraw = mmio.post(QUIET, [{ offset: 0, lengthBytes: 4, quiet: true }]);
  const rings = (): number => Atomics.load(state.i32, HOST_DOORBELL >> 2);
  const before = rings();
  vcpus[0]?.mmioWrite(QUIET, 4, 1);
  expect(rings()).toBe(before);
  post(1, 2);
  expect(rings()).toBe(before + 1);
  while (set.serve() > 0);
  expect(seen).toEqual([1, 2]);
  // A device that has to hear of it from now on has the mailboxes looked at: one may have been left already.
  vcpus[0]?.mmioWrite(QUIET, 4, 3);
  const silent = rings();
  withdraw();
  expect(rings()).toBeGreaterThan(silent);
  vcpus[0]?.mmioWrite(QUIET, 4, 4);
  expect(rings()).toBeGreaterThan(silent + 1);
  while (set.serve() > 0);
  expect(seen).toEqual([1, 2, 3, 4]);
});
