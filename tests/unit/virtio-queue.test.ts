import { describe, expect, test } from 'vitest';
import { VirtQueue, type Chain } from '../../devices/virtio/queue.ts';
import { FAKE_CHUNK_BYTES, FakeMemory } from '../support/fake-memory.ts';
import { FakeRandom } from '../support/fake-random.ts';

const SIZE = 8;
const AVAIL = 16 * SIZE;
const USED = 4096;

/** A queue of eight with its rings at `gpa`, and a driver's hands. */
function setUp(gpa = 0x4000, features = { indirect: true, eventIndex: false, notifyOnEmpty: false }) {
  const memory = new FakeMemory();
  const problems: string[] = [];
  const queue = new VirtQueue(memory, SIZE, (problem) => problems.push(problem));
  queue.features = features;
  queue.setPfn(gpa / 4096);
  let avail = 0;
  return {
    memory,
    problems,
    queue,
    descriptor(index: number, address: number | bigint, length: number, flags: number, next = 0, table = gpa): void {
      memory.writeU64(table + 16 * index, BigInt(address));
      memory.writeU32(table + 16 * index + 8, length);
      memory.writeU16(table + 16 * index + 12, flags);
      memory.writeU16(table + 16 * index + 14, next);
    },
    offer(head: number): void {
      memory.writeU16(gpa + AVAIL + 4 + 2 * (avail++ % SIZE), head);
      memory.writeU16(gpa + AVAIL + 2, avail);
    },
    used: (index: number) => [memory.readU32(gpa + USED + 4 + 8 * index), memory.readU32(gpa + USED + 8 + 8 * index)],
    usedIndex: () => memory.readU16(gpa + USED + 2),
  };
}

describe('chains', () => {
  test('are split into what the device reads and writes', () => {
    const { queue, descriptor, offer, used, usedIndex } = setUp();
    descriptor(3, 0x1000, 16, 1, 5);
    descriptor(5, 0x2000, 512, 3, 0);
    descriptor(0, 0x3000, 1, 2);
    offer(3);
    expect(queue.pop()).toEqual({
      head: 3,
      readable: [{ gpa: 0x1000, lengthBytes: 16 }],
      writable: [
        { gpa: 0x2000, lengthBytes: 512 },
        { gpa: 0x3000, lengthBytes: 1 },
      ],
    } satisfies Chain);
    expect(queue.pop()).toBeUndefined();
    expect(queue.inFlight).toBe(1);
    expect(queue.push(3, 513)).toBe(true);
    expect(queue.push(3, 513)).toBe(false);
    expect(used(0)).toEqual([3, 513]);
    expect(usedIndex()).toBe(1);
  });

  test('may lie in an indirect table at any address', () => {
    const { queue, descriptor, offer } = setUp();
    const table = 2 * FAKE_CHUNK_BYTES - 24; // cut by a chunk boundary, and not aligned
    descriptor(0, 0x1000, 16, 1, 1, table);
    descriptor(1, 0x2000, 8, 2, 0, table);
    descriptor(2, table, 32, 4);
    offer(2);
    expect(queue.pop()).toMatchObject({ head: 2, readable: [{ gpa: 0x1000 }], writable: [{ gpa: 0x2000 }] });
  });

  test('rings may cross a chunk boundary, indices wrap', () => {
    const { queue, descriptor, offer, used, memory } = setUp(FAKE_CHUNK_BYTES - 4096);
    memory.writtenRanges = [];
    for (let i = 0; i < 70_000; i++) {
      descriptor(i % SIZE, 0x1000 + i, 4, 2);
      offer(i % SIZE);
      const chain = queue.pop();
      if (chain?.writable[0]?.gpa !== 0x1000 + i) throw new Error(`chain ${i}`);
      queue.push(chain?.head ?? -1, i);
      if (i % 1000 === 0) memory.writtenRanges = [];
    }
    expect(used((70_000 - 1) % SIZE)).toEqual([(70_000 - 1) % SIZE, 69_999]);
    // The core must learn of every byte that changed in guest memory.
    expect(memory.writtenRanges.some(({ gpa }) => gpa === FAKE_CHUNK_BYTES)).toBe(true);
  });
});

describe('hostile rings break the queue', () => {
  const cases: [string, RegExp, (rig: ReturnType<typeof setUp>) => void][] = [
    [
      'a loop',
      /descriptor loop/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 1, 1);
        rig.descriptor(1, 0x1000, 4, 1, 0);
        rig.offer(0);
      },
    ],
    ['a head out of range', /index 8 out of range/, (rig) => rig.offer(8)],
    [
      'a next out of range',
      /index 65535 out of range/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 1, 0xffff);
        rig.offer(0);
      },
    ],
    ['too many available', /ndesc \(9\) out of range/, (rig) => rig.memory.writeU16(0x4000 + AVAIL + 2, 9)],
    [
      'readable after writable',
      /readable descriptor follows/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 3, 1);
        rig.descriptor(1, 0x1000, 4, 0);
        rig.offer(0);
      },
    ],
    [
      'the same head twice',
      /made available twice/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 0);
        rig.offer(0);
        rig.queue.pop();
        rig.offer(0);
      },
    ],
    [
      'an indirect table of odd length',
      /invalid indir len 0x11/,
      (rig) => {
        rig.descriptor(0, 0x1000, 17, 4);
        rig.offer(0);
      },
    ],
    [
      'an empty indirect table',
      /invalid indir len 0x0/,
      (rig) => {
        rig.descriptor(0, 0x1000, 0, 4);
        rig.offer(0);
      },
    ],
    [
      'a huge indirect table',
      /invalid indir len 0xfffffff0/,
      (rig) => {
        rig.descriptor(0, 0x1000, 0xfffffff0, 4);
        rig.offer(0);
      },
    ],
    [
      'an indirect table outside RAM',
      /not in guest memory/,
      (rig) => {
        rig.descriptor(0, 0xffff_ffff_ffff_fff0n, 16, 4);
        rig.offer(0);
      },
    ],
    [
      'indirect within indirect',
      /INDIR flag/,
      (rig) => {
        rig.descriptor(0, 0x1000, 16, 4, 0, 0x9000);
        rig.descriptor(0, 0x9000, 16, 4);
        rig.offer(0);
      },
    ],
    [
      'indirect with next',
      /has a next/,
      (rig) => {
        rig.descriptor(0, 0x9000, 16, 5, 1);
        rig.offer(0);
      },
    ],
    [
      'an indirect loop',
      /descriptor loop/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 1, 0, 0x9000);
        rig.descriptor(0, 0x9000, 16, 4);
        rig.offer(0);
      },
    ],
    [
      'indirect that was not negotiated',
      /forbidden INDIRECT/,
      (rig) => {
        rig.queue.features = { indirect: false, eventIndex: false, notifyOnEmpty: false };
        rig.descriptor(0, 0x9000, 16, 4);
        rig.offer(0);
      },
    ],
    [
      'an indirect next out of range',
      /invalid indirect next 1/,
      (rig) => {
        rig.descriptor(0, 0x1000, 4, 1, 1, 0x9000);
        rig.descriptor(0, 0x9000, 16, 4);
        rig.offer(0);
      },
    ],
  ];

  test.each(cases)('%s', (_name, problem, attack) => {
    const rig = setUp();
    attack(rig);
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.problems).toEqual([expect.stringMatching(problem)]);
    expect(rig.queue.broken).toBe(true);
    expect(rig.queue.pop()).toBeUndefined();
    expect(rig.queue.push(0, 0)).toBe(false);
    expect(rig.queue.takeInterrupt()).toBe(false);
    expect(rig.problems.length).toBe(1);
    rig.queue.reset();
    expect(rig.queue.broken).toBe(false);
  });

  test('rings outside RAM', () => {
    const { queue, problems } = setUp();
    queue.setPfn(0xffffffff);
    expect(queue.ready).toBe(false);
    expect(problems).toEqual(['rings are not in guest memory']);
    queue.reset();
    // The last page of RAM: descriptors fit, the used ring does not.
    queue.setPfn((4 * FAKE_CHUNK_BYTES) / 4096 - 1);
    expect(queue.ready).toBe(false);
  });
});

describe('interrupts', () => {
  test('follow the available ring flag', () => {
    const { queue, descriptor, offer, memory } = setUp();
    descriptor(0, 0x1000, 4, 2);
    expect(queue.takeInterrupt()).toBe(false);
    offer(0);
    queue.push(queue.pop()?.head ?? -1, 0);
    expect(queue.takeInterrupt()).toBe(true);
    expect(queue.takeInterrupt()).toBe(false);
    memory.writeU16(0x4000 + AVAIL, 1);
    offer(0);
    queue.push(queue.pop()?.head ?? -1, 0);
    expect(queue.takeInterrupt()).toBe(false);
  });

  test('come on an empty queue in spite of the flag when so negotiated', () => {
    const { queue, descriptor, offer, memory } = setUp(0x4000, {
      indirect: false,
      eventIndex: false,
      notifyOnEmpty: true,
    });
    memory.writeU16(0x4000 + AVAIL, 1);
    descriptor(0, 0x1000, 4, 2);
    descriptor(1, 0x1000, 4, 2);
    offer(0);
    offer(1);
    queue.push(queue.pop()?.head ?? -1, 0);
    expect(queue.takeInterrupt()).toBe(false);
    queue.push(queue.pop()?.head ?? -1, 0);
    expect(queue.takeInterrupt()).toBe(true);
  });

  test('follow the event index across its wrap', () => {
    const { queue, descriptor, offer, memory } = setUp(0x4000, {
      indirect: false,
      eventIndex: true,
      notifyOnEmpty: false,
    });
    descriptor(0, 0x1000, 4, 2);
    let used = 0;
    for (let i = 0; i < 66_000; i++) {
      // Every third completion is asked for.
      const wanted = i % 3 === 0;
      memory.writeU16(0x4000 + AVAIL + 4 + 2 * SIZE, wanted ? used : (used + 5) & 0xffff);
      offer(0);
      queue.push(queue.pop()?.head ?? -1, 0);
      used = (used + 1) & 0xffff;
      if (queue.takeInterrupt() !== wanted) throw new Error(`completion ${i}`);
    }
  });

  test('notifications are hinted at by flag or event index', () => {
    const plain = setUp();
    plain.queue.disableNotify();
    expect(plain.memory.readU16(0x4000 + USED)).toBe(1);
    expect(plain.queue.enableNotify()).toBe(false);
    expect(plain.memory.readU16(0x4000 + USED)).toBe(0);
    const event = setUp(0x4000, { indirect: false, eventIndex: true, notifyOnEmpty: false });
    event.descriptor(0, 0x1000, 4, 2);
    event.offer(0);
    expect(event.queue.enableNotify()).toBe(true);
    event.queue.pop();
    expect(event.queue.enableNotify()).toBe(false);
    expect(event.memory.readU16(0x4000 + USED + 4 + 8 * SIZE)).toBe(1);
  });
});

test('random rings never throw, hang, or make the device write outside its used ring', () => {
  const random = new FakeRandom(0x9e3779b9);
  const rig = setUp();
  const { queue, memory } = rig;
  let chains = 0;
  let resets = 0;
  memory.writtenRanges = [];
  for (let i = 0; i < 1_000_000; i++) {
    switch (random.below(8)) {
      case 0:
      case 1:
        rig.descriptor(
          random.below(SIZE),
          random.pick([0x9000, 0x1000, random.nasty()]),
          random.pick([16, 32, random.nasty()]),
          random.pick([0, 2, 2, 1, 3, random.below(8)]),
          random.pick([random.below(SIZE), random.below(9), random.below(0x10000)]),
        );
        break;
      case 2:
        rig.descriptor(random.below(4), random.nasty(), random.nasty(), random.below(4), random.below(4), 0x9000);
        break;
      case 3:
        memory.writeU16(
          0x4000 + AVAIL + 4 + 2 * random.below(SIZE),
          random.pick([random.below(SIZE), random.below(SIZE), random.below(0x10000)]),
        );
        break;
      case 4: {
        const index = memory.readU16(0x4000 + AVAIL + 2);
        memory.writeU16(0x4000 + AVAIL + 2, (index + random.pick([0, 1, 1, 1, 2, 9])) & 0xffff);
        break;
      }
      case 5: {
        const chain = queue.pop();
        if (chain) chains++;
        break;
      }
      case 6: {
        const [head] = queue.takenHeads();
        memory.writtenRanges = [];
        if (head !== undefined) queue.push(head, random.nasty());
        queue.takeInterrupt();
        queue.enableNotify();
        const used = queue.pfn * 4096 + USED;
        for (const { gpa, lengthBytes } of memory.writtenRanges) {
          if (gpa < used || gpa + lengthBytes > used + 6 + 8 * SIZE) throw new Error('outside the used ring');
        }
        break;
      }
      default:
        // A queue whose rings lie elsewhere would never break: now and then it starts over anyway.
        if (queue.broken || random.below(100) === 0) {
          queue.reset();
          queue.features = {
            indirect: random.below(4) > 0,
            eventIndex: random.below(2) > 0,
            notifyOnEmpty: random.below(2) > 0,
          };
          queue.setPfn(random.below(50) === 0 ? random.nasty() : 4);
          memory.writeU16(0x4000 + AVAIL + 2, 0);
          resets++;
        }
    }
    if (queue.inFlight > SIZE) throw new Error('more in flight than the ring holds');
  }
  // The fuzz reaches good chains as well as broken rings.
  expect(chains).toBeGreaterThan(2000);
  expect(resets).toBeGreaterThan(1000);
});
