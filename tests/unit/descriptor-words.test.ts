/**
 * Guests run on other threads while a device reads what they wrote: a word that is read twice may have two values, and what was checked at the
 * first look is not what is used after the second. So every word of a ring and of a request is read once (FreeBSD-SA-24:17).
 */
import { afterEach, expect, test, vi } from 'vitest';
import { RingMemory } from '../../devices/virtio/ring-memory.ts';
import { VirtQueue } from '../../devices/virtio/queue.ts';
import { FakeMemory } from '../support/fake-memory.ts';

const SIZE = 8;
const RING = 0x4000;
const AVAIL = RING + 16 * SIZE;
const TABLE = 0x8000;
const DESC_NEXT = 1;
const DESC_WRITE = 2;
const DESC_INDIRECT = 4;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Notes every byte that is read through the rings and through the memory; throws at the second read of one. */
function readOnce(memory: FakeMemory, volatileFrom: number, volatileTo: number): () => number {
  const seen = new Set<number>();
  const note = (gpa: number, lengthBytes: number): void => {
    for (let at = gpa; at < gpa + lengthBytes; at++) {
      if (at < volatileFrom || at >= volatileTo) continue;
      if (seen.has(at)) throw new Error(`the byte at 0x${at.toString(16)} is read twice`);
      seen.add(at);
    }
  };
  const widths = { u16: 2, u32: 4, u64: 8 } as const;
  for (const name of ['u16', 'u32', 'u64'] as const) {
    const original = RingMemory.prototype[name];
    vi.spyOn(RingMemory.prototype, name).mockImplementation(function (this: RingMemory, offset: number) {
      note(this.gpa + offset, widths[name]);
      return original.call(this, offset);
    });
  }
  const read = memory.read.bind(memory);
  vi.spyOn(memory, 'read').mockImplementation((gpa, into) => {
    note(gpa, into.length);
    read(gpa, into);
  });
  return () => seen.size;
}

function descriptor(
  memory: FakeMemory,
  at: number,
  gpa: number,
  lengthBytes: number,
  flags: number,
  next: number,
): void {
  memory.writeU64(at, BigInt(gpa));
  memory.writeU32(at + 8, lengthBytes);
  memory.writeU16(at + 12, flags);
  memory.writeU16(at + 14, next);
}

test('descriptors of a chain and of an indirect table, and the available entry', () => {
  const memory = new FakeMemory();
  const problems: string[] = [];
  const queue = new VirtQueue(memory, SIZE, (problem) => problems.push(problem));
  queue.features = { indirect: true, eventIndex: false, notifyOnEmpty: false };
  queue.setPfn(RING / 4096);
  descriptor(memory, RING, 0x1000, 16, DESC_NEXT, 3);
  descriptor(memory, RING + 16 * 3, 0x2000, 512, DESC_NEXT | DESC_WRITE, 5);
  descriptor(memory, RING + 16 * 5, 0x3000, 1, DESC_WRITE, 0);
  descriptor(memory, RING + 16, TABLE, 32, DESC_INDIRECT, 0);
  descriptor(memory, TABLE, 0x1000, 16, DESC_NEXT, 1);
  descriptor(memory, TABLE + 16, 0x3000, 1, DESC_WRITE, 0);
  memory.writeU16(AVAIL + 4, 0);
  memory.writeU16(AVAIL + 6, 1);
  memory.writeU16(AVAIL + 2, 2);

  const bytesRead = readOnce(memory, RING, TABLE + 32);
  expect(queue.pop()?.writable.length).toBe(2);
  expect(queue.pop()?.writable.length).toBe(1);
  expect(problems).toEqual([]);
  // Four descriptors of the ring, two of the table, two entries of the available ring; the index is read atomically, apart.
  expect(bytesRead()).toBe(6 * 16 + 2 * 2);
});
