/** The devices' end of a vCPU's mailbox, with anything at all in it: a wrong processor core must not take the host with it. */
import { expect, test } from 'vitest';
import { MAILBOX_TICKETS, R_MAILBOX, R_MAILBOX_SIZE, VCPU_STRIDE } from '../../core-as/layout.ts';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import { PortBus } from '../../devices/bus/port-bus.ts';
import { CoreState, createCoreMemory, planMemory, vcpuBlock } from '../../devices/machine/core.ts';
import { MailboxSet } from '../../devices/machine/mailbox-set.ts';
import { FakeRandom } from '../support/fake-random.ts';

const ENTRIES = 128;
const ENTRY_BYTES = 32;
const RING = R_MAILBOX + 0x100;
const GUARD = 0xc3;

test('a million requests of any kind, size, address and value are served, in order, and touch nothing else', () => {
  const random = new FakeRandom(0x3a11);
  const state = new CoreState(createCoreMemory(planMemory(64 * 2 ** 20, 2)));
  const block = vcpuBlock(1);
  const seen = { ports: 0, memory: 0, notes: 0, errors: 0 };
  const ports = new PortBus();
  ports.claim('all', 0, 0x10000, {
    readPort: (port, size) => {
      if (!(port >= 0 && port < 0x10000) || ![1, 2, 4].includes(size)) throw new Error('a port out of range');
      seen.ports++;
      return random.u32();
    },
    writePort: () => {
      if (random.below(50) === 0) throw new Error('a device with a bug');
      seen.ports++;
    },
  });
  const mmio = new MmioBus();
  mmio.claim('some', 0xc0000000, 0x1000, {
    readMmio: (offset) => {
      if (!(offset >= 0 && offset < 0x1000)) throw new RangeError('an offset out of range');
      seen.memory++;
      return random.u32();
    },
    writeMmio: () => {
      seen.memory++;
    },
  });
  const mailboxes = new MailboxSet(state, 2, {
    ports,
    mmio,
    note: () => seen.notes++,
    chunk: () => 0,
    deviceError: () => seen.errors++,
    stalled: () => false,
  });
  const guards = [
    state.u8.subarray(block, block + R_MAILBOX),
    state.u8.subarray(block + R_MAILBOX + R_MAILBOX_SIZE, block + VCPU_STRIDE),
  ];
  for (const guard of guards) guard.fill(GUARD);
  const anyNumber = (): number =>
    random.pick([
      ...([random.below(0x10000), 0xc0000000 + random.below(0x1004), random.nasty(), -random.nasty()] as const),
      ...[random.nasty() * 2 ** 30, NaN, Infinity, 0.5],
    ]);
  const [head, tail] = [(block + R_MAILBOX) >> 2, (block + R_MAILBOX + 4) >> 2];
  let left = 0x7fffff00;
  Atomics.store(state.i32, head, left);
  Atomics.store(state.i32, tail, left);
  let served = 0;
  while (served < 1_000_000) {
    const count = 1 + random.below(ENTRIES);
    for (let i = 0; i < count; i++) {
      const entry = block + RING + (left & (ENTRIES - 1)) * ENTRY_BYTES;
      state.data.setUint32(entry, random.pick([1, 2, 3, 4, 5, random.nasty()]), true);
      state.data.setUint32(entry + 4, random.pick([1, 2, 4, random.nasty()]), true);
      state.data.setFloat64(entry + 8, anyNumber(), true);
      state.data.setFloat64(entry + 16, anyNumber(), true);
      state.data.setInt32(entry + 24, Atomics.add(state.i32, MAILBOX_TICKETS >> 2, 1), true);
      left = (left + 1) | 0;
    }
    Atomics.store(state.i32, head, left);
    if (mailboxes.serve() !== count) throw new Error('not all were served');
    if (Atomics.load(state.i32, tail) !== left) throw new Error('the tail is not where it should be');
    served += count;
  }
  // Tickets that were never drawn wait for their time.
  state.data.setInt32(block + RING + (left & (ENTRIES - 1)) * ENTRY_BYTES + 24, served + 1, true);
  Atomics.store(state.i32, head, (left + 1) | 0);
  expect(mailboxes.serve()).toBe(0);
  Atomics.add(state.i32, MAILBOX_TICKETS >> 2, 2);
  // A core that claims to have left more than the ring holds gets no more than a ring full at a time.
  Atomics.store(state.i32, head, (left + 0x40000000) | 0);
  expect(mailboxes.serve()).toBe(ENTRIES);
  for (const guard of guards) expect(guard.every((byte) => byte === GUARD)).toBe(true);
  expect(seen.ports).toBeGreaterThan(30_000);
  expect(seen.memory).toBeGreaterThan(10_000);
  expect(seen.notes).toBeGreaterThan(100_000);
  expect(seen.errors).toBeGreaterThan(100);
});
