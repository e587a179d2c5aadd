/** What virtio-blk has for drivers of virtio 1.0 alone: WRITE ZEROES and several queues. */
import { describe, expect, test } from 'vitest';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import * as B from '../../devices/virtio/blk.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver, type Buffer } from '../support/fake-driver.ts';
import { FakeModernDriver } from '../support/fake-modern-driver.ts';

const HEADER = 0x40000;
const STATUS = 0x48000;
const DATA = 0x50000;
const ZEROES = 1 << B.VIRTIO_BLK_F_WRITE_ZEROES;
const MQ = 1 << B.VIRTIO_BLK_F_MQ;
const QUEUES = 3;
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IO_ERROR, VIRTIO_BLK_S_UNSUPP: UNSUPPORTED } = B;

function setUp<T extends BlockBackend>(backend: T, features = ZEROES, queueCount = 1) {
  const { machine, device } = FakeMachine.with(
    (it) =>
      new B.VirtioBlk({
        ...{ memory: it.memory, log: (text) => it.log.push(text), msix: true, backend, serial: 'SERIAL-1' },
        ...{ transport: 'transitional', queueCount },
      }),
  );
  const driver = new FakeModernDriver(machine);
  driver.start(features, queueCount);
  return { machine, device, driver, backend };
}

type Rig = ReturnType<typeof setUp>;

/** Leaves request number `n` in a queue. */
function submit(rig: Rig, queue: number, type: number, sector: number, data: readonly Buffer[], n = 0): void {
  const { memory } = rig.machine;
  memory.writeU32(HEADER + 16 * n, type);
  memory.writeU32(HEADER + 16 * n + 4, 0);
  memory.writeU64(HEADER + 16 * n + 8, BigInt(sector));
  memory.writeU8(STATUS + n, 0xee);
  const ends = [
    { gpa: HEADER + 16 * n, lengthBytes: 16 },
    { gpa: STATUS + n, lengthBytes: 1, write: true },
  ] as const;
  rig.driver.submit(queue, [ends[0], ...data, ends[1]]);
}

const statusOf = (rig: Rig, n = 0): number => rig.machine.memory.readU8(STATUS + n);

/** One WRITE ZEROES; resolves to its status. */
async function writeZeroes(rig: Rig, sector: number, count: number, flags = 0, lengthBytes = 16): Promise<number> {
  const { memory } = rig.machine;
  memory.writeU64(DATA, BigInt(sector));
  memory.writeU32(DATA + 8, count);
  memory.writeU32(DATA + 12, flags);
  submit(rig, 0, B.VIRTIO_BLK_T_WRITE_ZEROES, 0, [{ gpa: DATA, lengthBytes }]);
  await settle();
  return statusOf(rig);
}

/** Notes which ranges may lose their space. */
class ZeroingBackend extends MemoryBackend {
  readonly calls: [offset: number, length: number, mayUnmap: boolean][] = [];
  writeZeroes(offset: number, length: number, mayUnmap: boolean): Promise<void> {
    this.calls.push([offset, length, mayUnmap]);
    return this.discard(offset, length);
  }
}

describe('WRITE ZEROES', () => {
  test('makes sectors read as zeros, by the way that the backend has, or by writing them', async () => {
    for (const backend of [new ZeroingBackend(new Uint8Array(65536)), new MemoryBackend(new Uint8Array(65536))]) {
      const ones = new Uint8Array(65536).fill(1);
      await backend.write(0, [ones]);
      const rig = setUp(backend);
      expect(rig.driver.offered & ZEROES).toBe(ZEROES);
      expect(rig.driver.config(48, 4)).toBe(32768);
      expect(rig.driver.config(52, 4)).toBe(1);
      expect(await writeZeroes(rig, 8, 16)).toBe(OK);
      expect(await writeZeroes(rig, 64, 1, 1)).toBe(OK);
      const expected = ones
        .slice()
        .fill(0, 8 * 512, 24 * 512)
        .fill(0, 64 * 512, 65 * 512);
      const bytes = new Uint8Array(65536);
      await backend.read(0, [bytes]);
      expect(Buffer.compare(bytes, expected)).toBe(0);
      if (!(backend instanceof ZeroingBackend)) continue;
      expect(backend.calls).toEqual([
        [4096, 8192, false],
        [32768, 512, true],
      ]);
    }
  });

  test('refuses flags, ranges and lengths that make no sense, each alone', async () => {
    const rig = setUp(new ZeroingBackend(new Uint8Array(65536)));
    expect(await writeZeroes(rig, 0, 1, 2)).toBe(UNSUPPORTED);
    expect(await writeZeroes(rig, 0, 1, 0x80000001)).toBe(UNSUPPORTED);
    expect(await writeZeroes(rig, 127, 2)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 2 ** 53, 1)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 0, 32769)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 0, 0xffffffff)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 0, 1, 0, 15)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 0, 1, 0, 32)).toBe(IO_ERROR);
    expect(rig.backend.calls).toEqual([]);
    expect(await writeZeroes(rig, 127, 1)).toBe(OK);
    expect(rig.device.badRequests).toBe(6);
  });

  test('whole sectors of a disk with 4096 bytes each', async () => {
    const rig = setUp(new ZeroingBackend(new Uint8Array(65536), { logicalSectorBytes: 4096 }));
    expect(await writeZeroes(rig, 1, 8)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 8, 1)).toBe(IO_ERROR);
    expect(await writeZeroes(rig, 8, 8)).toBe(OK);
    expect(rig.backend.calls).toEqual([[4096, 4096, false]]);
  });

  test('is not offered for a read-only disk, nor to a legacy driver, nor done for one that did not accept it', async () => {
    const readOnly = setUp(new MemoryBackend(new Uint8Array(65536), { readOnly: true }));
    expect(readOnly.driver.offered & ZEROES).toBe(0);
    const { machine, driver } = setUp(new ZeroingBackend(new Uint8Array(65536)), 0);
    expect(new FakeDriver(machine).read(0, 4) & ZEROES).toBe(0);
    const rig = setUp(new ZeroingBackend(new Uint8Array(65536)), 0);
    expect(driver.offered & ZEROES).toBe(ZEROES);
    expect(await writeZeroes(rig, 0, 1)).toBe(UNSUPPORTED);
    expect(rig.backend.calls).toEqual([]);
  });

  test('a backend that fails is an I/O error', async () => {
    const backend = new ZeroingBackend(new Uint8Array(65536));
    backend.writeZeroes = () => Promise.reject(new Error('ENOSPC'));
    const rig = setUp(backend);
    expect(await writeZeroes(rig, 0, 1)).toBe(IO_ERROR);
    expect(rig.device.backendErrors).toBe(1);
  });
});

describe('several queues', () => {
  const read = (sector: number): Buffer[] => [{ gpa: DATA + 512 * sector, lengthBytes: 512, write: true }];

  test('are offered as configured; a legacy driver has the first alone', () => {
    const rig = setUp(new FakeBlock(), MQ, QUEUES);
    expect(rig.driver.offered & MQ).toBe(MQ);
    expect(rig.driver.config(34, 2)).toBe(QUEUES);
    expect(rig.driver.common(0x12, 2)).toBe(QUEUES);
    const legacy = new FakeDriver(rig.machine, 3, 0x10000, 0);
    expect(legacy.read(0, 4) & MQ).toBe(0);
    expect(setUp(new FakeBlock(), 0).driver.offered & MQ).toBe(0);
  });

  test('each gives back its own requests, with a message of its own', async () => {
    const rig = setUp(new FakeBlock(), MQ, QUEUES);
    for (const queue of [2, 0, 1]) submit(rig, queue, B.VIRTIO_BLK_T_IN, queue, read(queue), queue);
    expect(rig.backend.waiting.map(({ what }) => what)).toEqual(['read 1024', 'read 0', 'read 512']);
    await rig.backend.complete(1);
    expect([0, 1, 2].map((queue) => rig.driver.takeUsed(queue).length)).toEqual([1, 0, 0]);
    await rig.backend.complete(0);
    await rig.backend.complete(0, true);
    expect([0, 1, 2].map((queue) => rig.driver.takeUsed(queue).length)).toEqual([0, 1, 1]);
    expect([0, 1, 2].map((n) => statusOf(rig, n))).toEqual([OK, IO_ERROR, OK]);
    expect(rig.machine.interrupts.messages.map(({ data }) => data)).toEqual([1, 3, 2]);
  });

  test('one that is broken stops nobody else', async () => {
    const rig = setUp(new FakeBlock(), MQ, QUEUES);
    // An available entry that names no descriptor.
    rig.machine.memory.writeU16(rig.driver.ringsGpa + 0x1000 + 0x404, 0xffff);
    rig.machine.memory.writeU16(rig.driver.ringsGpa + 0x1000 + 0x402, 1);
    rig.driver.notify(1);
    expect(rig.device.brokenQueues).toBe(1);
    submit(rig, 2, B.VIRTIO_BLK_T_FLUSH, 0, []);
    await rig.backend.complete();
    expect(statusOf(rig)).toBe(OK);
  });

  test('a reset drops what is in flight in all of them; a copy goes on with it', async () => {
    const rig = setUp(new FakeBlock(), MQ, QUEUES);
    for (let queue = 0; queue < QUEUES; queue++) submit(rig, queue, B.VIRTIO_BLK_T_IN, queue, read(queue), queue);
    const state = structuredClone(rig.machine.pci.save());
    const other = setUp(new FakeBlock(), MQ, QUEUES);
    const image = new Uint8Array(rig.machine.memory.lowBytes);
    rig.machine.memory.read(0, image);
    other.machine.memory.write(0, image);
    other.machine.pci.restore(state);
    expect(other.backend.waiting.map(({ what }) => what)).toEqual(['read 0', 'read 512', 'read 1024']);
    for (let queue = 0; queue < QUEUES; queue++) await other.backend.complete();
    expect([0, 1, 2].map((queue) => other.driver.takeUsed(queue).length)).toEqual([1, 1, 1]);

    rig.driver.setCommon(0x14, 1, 0);
    for (let queue = 0; queue < QUEUES; queue++) await rig.backend.complete();
    expect([0, 1, 2].map((n) => statusOf(rig, n))).toEqual([0xee, 0xee, 0xee]);
    expect(rig.machine.interrupts.messages).toEqual([]);
  });
});
