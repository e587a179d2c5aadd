/** The NVMe controller through fake guest memory: identify data, queues, PRPs, log pages, events, resets with I/O in flight. */
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { RamDisk } from '../../devices/block/ram-disk.ts';
import { NvmeController } from '../../devices/nvme/controller.ts';
import { defaultEui64 } from '../../devices/nvme/identify.ts';
import * as R from '../../devices/nvme/registers.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import type { FakeMemory } from '../support/fake-memory.ts';
import { FakeNvmeDriver } from '../support/fake-nvme.ts';

const BUFFER = 0x100000;
/** Status without the "do not retry" bit, as the fake driver gives it. */
const code = (status: number): number => status & 0x3fff;

function rig(backend: BlockBackend, memory?: FakeMemory) {
  const machine = new FakeMachine({}, memory);
  const device = new NvmeController({
    memory: machine.memory,
    clock: { nowNs: () => 0, at: () => () => {} },
    backend,
    blockBytes: backend.logicalSectorBytes,
    serial: 'NVME-3-0',
    eui64: defaultEui64('vm0', 0, 3, 0),
    datasetManagement: true,
    maxQueues: 16,
    maxEntries: 2048,
    ioSlots: 8,
  });
  machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  const driver = new FakeNvmeDriver(machine);
  return { machine, device, driver };
}

function started(block = new FakeBlock()) {
  const all = { ...rig(block), block };
  all.driver.start();
  all.driver.enableMsix(17);
  all.driver.createQueues(1);
  all.driver.completions(0);
  return all;
}

function identify(cns: number, namespaceId = 0): Uint8Array {
  const { driver, machine } = started();
  driver.submit(0, { opcode: R.ADMIN_IDENTIFY, namespaceId, prp1: BUFFER, dwords: [cns] });
  expect(driver.completions(0)[0]?.status).toBe(0);
  const bytes = new Uint8Array(4096);
  machine.memory.read(BUFFER, bytes);
  return bytes;
}

const ascii = (bytes: Uint8Array): string => String.fromCharCode(...bytes).trimEnd();

describe('an NVMe controller', () => {
  it('is the one that bhyve shows', () => {
    const { machine, driver } = rig(new FakeBlock());
    expect(machine.config(3, 0, 4)).toBe(0x0a0afb5d);
    expect(machine.config(3, 8, 4)).toBe(0x01080200);
    expect(driver.read(R.REG_CAP_LOW)).toBe(0x3c0107ff);
    expect(driver.read(R.REG_CAP_HIGH)).toBe(0x20);
    expect(driver.read(R.REG_VS)).toBe(0x10400);
    expect(driver.read(R.REG_CSTS)).toBe(0);
  });

  it('identifies itself and its namespace', () => {
    const controller = identify(1);
    expect(ascii(controller.subarray(4, 24))).toBe('NVME-3-0');
    expect(ascii(controller.subarray(24, 64))).toBe('bhyve-NVMe');
    expect([...controller.subarray(73, 78)]).toEqual([0xfc, 0x9c, 0x58, 0, 9]);
    const namespace = new DataView(identify(0, 1).buffer);
    expect(namespace.getBigUint64(0, true)).toBe(2048n);
    expect(namespace.getUint32(128, true)).toBe(9 << 16);
    expect(namespace.getBigUint64(120) >> 40n).toBe(0x589cfcn);
    expect([...identify(2).subarray(0, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect([...identify(3, 1).subarray(0, 2)]).toEqual([1, 8]);
  });

  it('does not become ready with queues that cannot be', () => {
    const { driver } = rig(new FakeBlock());
    driver.write(R.REG_ASQ_HIGH, 0x7fff);
    driver.write(R.REG_AQA, 0x000f000f);
    driver.write(R.REG_CC, R.CC_EN);
    expect(driver.read(R.REG_CSTS)).toBe(R.CSTS_CFS);
    driver.write(R.REG_CC, 0);
    expect(driver.read(R.REG_CSTS)).toBe(0);
    driver.start();
    expect(driver.read(R.REG_CSTS)).toBe(R.CSTS_RDY);
  });

  it('reads and writes through PRP lists that span pages, joined where they touch', async () => {
    const { driver, machine } = started();
    const disk = new RamDisk(8 << 20);
    const other = rig(disk);
    other.driver.start();
    other.driver.createQueues(1);
    other.driver.completions(0);
    const bytes = Uint8Array.from({ length: 5 * 4096 + 512 }, (_, i) => (i * 13) & 0xff);
    const memory = other.machine.memory;
    memory.write(BUFFER + 0x200, bytes);
    // The list starts 16 bytes before the end of its page, so its second entry leads to the next list.
    const list = BUFFER + 0x20000 - 16;
    const next = BUFFER + 0x30000;
    memory.writeU64(list, BigInt(BUFFER + 0x1000));
    memory.writeU64(list + 8, BigInt(next));
    for (let i = 0; i < 4; i++) memory.writeU64(next + 8 * i, BigInt(BUFFER + 0x2000 + 0x1000 * i));
    const blocks = bytes.length / 512;
    other.driver.submit(1, { opcode: R.IO_WRITE, prp1: BUFFER + 0x200, prp2: list, dwords: [3, 0, blocks - 1] });
    await settle();
    expect(other.driver.completions(1)).toMatchObject([{ status: 0 }]);
    const stored = new Uint8Array(bytes.length);
    await disk.read(3 * 512, [stored]);
    expect(stored).toEqual(bytes);
    // And of a list that is not in memory, or not aligned, only the command hears.
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, prp2: 0x7ffff000, dwords: [0, 0, 40] });
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, prp2: BUFFER + 4, dwords: [0, 0, 40] });
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, prp2: BUFFER + 16, dwords: [0, 0, 15] });
    await settle();
    const statuses = driver.completions(1).map(({ status }) => status);
    expect(statuses).toEqual([
      code(R.SC_DATA_TRANSFER_ERROR),
      code(R.SC_INVALID_PRP_OFFSET),
      code(R.SC_INVALID_PRP_OFFSET),
    ]);
    expect(machine.memory.guardsIntact).toBe(true);
  });

  it('keeps to its slots, and completes as the backend does', async () => {
    const { driver, block, machine } = started();
    for (let i = 0; i < 12; i++)
      driver.submit(1, { opcode: R.IO_READ, id: 100 + i, prp1: BUFFER + 4096 * i, dwords: [i, 0, 0] });
    expect(block.waiting).toHaveLength(8);
    await block.complete(5);
    expect(block.waiting).toHaveLength(8);
    expect(driver.completions(1)).toMatchObject([{ id: 105, status: 0 }]);
    expect(machine.interrupts.messages.at(-1)).toEqual({ address: 0xfee00000n, data: 1 });
    while (block.waiting.length > 0) await block.complete();
    expect(driver.completions(1)).toHaveLength(11);
  });

  it('waits while a completion queue is full', async () => {
    const { driver, block } = started();
    driver.createQueues(2, 2);
    driver.completions(0);
    driver.submit(2, { opcode: R.IO_FLUSH, id: 1 });
    await block.complete();
    driver.submit(2, { opcode: R.IO_FLUSH, id: 2 });
    await block.complete();
    const first = driver.completions(2);
    expect(first.map(({ id }) => id)).toEqual([1]);
    await settle();
    expect(driver.completions(2).map(({ id }) => id)).toEqual([2]);
  });

  it('lets doorbells of completion queues be quiet until one of them was full', async () => {
    const { driver, block, machine } = started();
    const doorbell = (index: number): string => machine.writeKind(driver.bar + R.DOORBELLS + 4 * index);
    driver.createQueues(2, 2);
    driver.completions(0);
    expect([doorbell(2), doorbell(3), doorbell(4), doorbell(5)]).toEqual(['posted', 'quiet', 'posted', 'quiet']);
    for (const id of [1, 2]) {
      driver.submit(2, { opcode: R.IO_FLUSH, id });
      await block.complete();
    }
    expect([doorbell(3), doorbell(5)]).toEqual(['posted', 'posted']);
    driver.write(R.REG_CC, 0);
    expect(doorbell(3)).toBe('quiet');
    // With a level to take away, the write has to be there before the interrupt ends.
    const msix = machine.capability(3, 0x11);
    machine.setConfig(3, msix + 2, 2, 0);
    expect(doorbell(3)).toBe('posted');
  });

  it('fails what cannot be done, with the right status', async () => {
    const { driver, block } = started();
    const io = async (submission: Parameters<FakeNvmeDriver['submit']>[1]): Promise<number | undefined> => {
      driver.submit(1, submission);
      await settle();
      return driver.completions(1)[0]?.status;
    };
    expect(await io({ opcode: R.IO_READ, prp1: BUFFER, dwords: [2048, 0, 0] })).toBe(code(R.SC_LBA_OUT_OF_RANGE));
    expect(await io({ opcode: R.IO_READ, prp1: BUFFER, dwords: [0, 1, 0] })).toBe(code(R.SC_LBA_OUT_OF_RANGE));
    expect(await io({ opcode: 0x42 })).toBe(code(R.SC_INVALID_OPCODE));
    expect(await io({ opcode: R.IO_READ, namespaceId: 2 })).toBe(code(R.SC_INVALID_NAMESPACE));
    expect(await io({ opcode: R.IO_READ, flags: 0x40, prp1: BUFFER })).toBe(code(R.SC_INVALID_FIELD));
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, dwords: [0, 0, 0] });
    await block.complete(0, true);
    expect(driver.completions(1)[0]?.status).toBe(code(R.SC_UNRECOVERED_READ));
    const admin = (submission: Parameters<FakeNvmeDriver['submit']>[1]): number | undefined => {
      driver.submit(0, submission);
      return driver.completions(0)[0]?.status;
    };
    expect(admin({ opcode: R.ADMIN_CREATE_CQ, prp1: BUFFER, dwords: [(15 << 16) | 17, 1] })).toBe(
      code(R.SC_INVALID_QUEUE_ID),
    );
    expect(admin({ opcode: R.ADMIN_CREATE_CQ, prp1: BUFFER, dwords: [2, 1] })).toBe(code(R.SC_INVALID_QUEUE_SIZE));
    expect(admin({ opcode: R.ADMIN_CREATE_CQ, prp1: BUFFER + 8, dwords: [(1 << 16) | 2, 1] })).toBe(
      code(R.SC_INVALID_PRP_OFFSET),
    );
    expect(admin({ opcode: R.ADMIN_CREATE_CQ, prp1: BUFFER, dwords: [(1 << 16) | 2, (99 << 16) | 1] })).toBe(
      code(R.SC_INVALID_INTERRUPT_VECTOR),
    );
    expect(admin({ opcode: R.ADMIN_CREATE_SQ, prp1: BUFFER, dwords: [(1 << 16) | 2, (5 << 16) | 1] })).toBe(
      code(R.SC_CQ_INVALID),
    );
    expect(admin({ opcode: R.ADMIN_DELETE_CQ, dwords: [1] })).toBe(code(R.SC_INVALID_QUEUE_DELETION));
    expect(admin({ opcode: R.ADMIN_GET_LOG_PAGE, prp1: BUFFER, dwords: [0x99] })).toBe(code(R.SC_INVALID_LOG_PAGE));
  });

  it('deletes a submission queue when its commands are done', async () => {
    const { driver, block } = started();
    driver.submit(1, { opcode: R.IO_FLUSH });
    driver.submit(0, { opcode: R.ADMIN_DELETE_SQ, dwords: [1] });
    await settle();
    expect(driver.completions(0)).toEqual([]);
    await block.complete();
    expect(driver.completions(1)).toHaveLength(1);
    expect(driver.completions(0)).toMatchObject([{ status: 0 }]);
    driver.submit(0, { opcode: R.ADMIN_DELETE_CQ, dwords: [1] });
    expect(driver.completions(0)).toMatchObject([{ status: 0 }]);
  });

  it('forgets completions of a deleted submission queue that found no room', async () => {
    const { driver, block, machine } = started();
    driver.createQueues(2, 2);
    driver.completions(0);
    for (const id of [1, 2]) {
      driver.submit(2, { opcode: R.IO_FLUSH, id });
      await block.complete();
    }
    driver.submit(0, { opcode: R.ADMIN_DELETE_SQ, dwords: [2] });
    await settle();
    expect(driver.completions(0)).toMatchObject([{ status: 0 }]);
    // A copy and its original do the same from here on.
    const state = structuredClone(machine.pci.save());
    const copy = rig(new FakeBlock(), machine.memory);
    copy.machine.pci.restore(state);
    expect(isDeepStrictEqual(copy.machine.pci.save(), state)).toBe(true);
    expect(driver.completions(2).map(({ id }) => id)).toEqual([1]);
    await settle();
    expect(driver.completions(2)).toEqual([]);
  });

  it('reports events to those who asked, once until the log page is read', () => {
    const { driver, device, machine } = started();
    driver.submit(0, { opcode: R.ADMIN_SET_FEATURES, dwords: [R.FEATURE_ASYNC_EVENTS, 1 << 8] });
    for (let i = 0; i < 6; i++) driver.submit(0, { opcode: R.ADMIN_ASYNC_EVENT_REQUEST, id: 200 + i });
    expect(driver.completions(0).map(({ id, status }) => [id, status])).toContainEqual([
      205,
      code(R.SC_ASYNC_LIMIT_EXCEEDED),
    ]);
    device.resized();
    expect(driver.completions(0)).toMatchObject([{ id: 200, result: 0x040002 }]);
    device.resized();
    expect(driver.completions(0)).toEqual([]);
    driver.submit(0, { opcode: R.ADMIN_GET_LOG_PAGE, prp1: BUFFER, dwords: [(1023 << 16) | R.LOG_CHANGED_NAMESPACES] });
    expect(machine.memory.readU32(BUFFER)).toBe(1);
    expect(driver.completions(0).map(({ id }) => id)).toContain(201);
    driver.write(R.DOORBELLS + 8 * 9, 1);
    expect(driver.completions(0)).toMatchObject([{ result: 0x010000 }]);
  });

  it('counts in its health log', async () => {
    const { driver, block, machine } = started();
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, dwords: [0, 0, 7] });
    await block.complete();
    driver.completions(1);
    driver.submit(0, { opcode: R.ADMIN_GET_LOG_PAGE, prp1: BUFFER, dwords: [(127 << 16) | R.LOG_HEALTH] });
    expect(machine.memory.readU16(BUFFER + 1)).toBe(296);
    expect(machine.memory.readU32(BUFFER + 32)).toBe(1);
    expect(machine.memory.readU32(BUFFER + 64)).toBe(1);
  });

  it('deallocates ranges, and formats', async () => {
    const { driver, block, machine } = started();
    block.bytes.fill(0xaa);
    machine.memory.fill(BUFFER, 32, 0);
    machine.memory.writeU32(BUFFER + 4, 8);
    machine.memory.writeU64(BUFFER + 8, 16n);
    driver.submit(1, { opcode: R.IO_DATASET_MANAGEMENT, prp1: BUFFER, dwords: [0, 4] });
    expect(block.waiting[0]?.what).toBe('discard 8192 4096');
    await block.complete();
    expect(driver.completions(1)).toMatchObject([{ status: 0 }]);
    driver.submit(0, { opcode: R.ADMIN_FORMAT_NVM, namespaceId: 1, dwords: [1 << 9] });
    while (block.waiting.length > 0) await block.complete();
    expect(driver.completions(0)).toMatchObject([{ status: 0 }]);
    expect(block.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('shuts down after a flush', async () => {
    const { driver, block } = started();
    driver.write(R.REG_CC, driver.read(R.REG_CC) | (1 << R.CC_SHN_SHIFT));
    expect((driver.read(R.REG_CSTS) >> R.CSTS_SHST_SHIFT) & 3).toBe(R.SHUTDOWN_OCCURRING);
    expect(block.waiting[0]?.what).toBe('flush');
    await block.complete();
    expect((driver.read(R.REG_CSTS) >> R.CSTS_SHST_SHIFT) & 3).toBe(R.SHUTDOWN_COMPLETE);
  });
});

describe('the life cycle', () => {
  it('a controller reset stays ready until nothing moves, and starts over when enabled meanwhile', async () => {
    const { driver, block } = started();
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, dwords: [0, 0, 0] });
    driver.write(R.REG_CC, 0);
    expect(driver.read(R.REG_CSTS)).toBe(R.CSTS_RDY);
    await block.complete();
    expect(driver.read(R.REG_CSTS)).toBe(0);
    driver.start();
    expect(driver.read(R.REG_CSTS)).toBe(R.CSTS_RDY);
    driver.createQueues(1);
    expect(driver.completions(0)).toHaveLength(2);
    expect(driver.completions(1)).toEqual([]);
  });

  it('a reset while a queue is being deleted leaves nobody waiting', async () => {
    const { driver, block, device } = started();
    driver.submit(1, { opcode: R.IO_FLUSH });
    driver.submit(0, { opcode: R.ADMIN_DELETE_SQ, dwords: [1] });
    driver.write(R.REG_CC, 0);
    await block.complete();
    await device.pause();
    device.resume();
    expect(driver.read(R.REG_CSTS)).toBe(0);
  });

  it('a copy goes on with the commands that were in flight', async () => {
    const { driver, block, machine } = started();
    driver.submit(1, { opcode: R.IO_READ, id: 7, prp1: BUFFER, dwords: [2, 0, 0] });
    driver.submit(1, { opcode: R.IO_WRITE, id: 8, prp1: BUFFER, dwords: [4, 0, 0] });
    driver.submit(0, { opcode: R.ADMIN_ASYNC_EVENT_REQUEST, id: 9 });
    const state = structuredClone(machine.pci.save());
    const block2 = new FakeBlock();
    const copy = rig(block2, machine.memory);
    copy.machine.pci.restore(state);
    expect(block2.waiting.map(({ what }) => what)).toEqual(['read 1024', 'write 2048']);
    await block2.complete();
    await block2.complete();
    expect(driver.completions(1).map(({ id }) => id)).toEqual([7, 8]);
    copy.device.resized();
    expect(block.waiting).toHaveLength(2);
    await copy.device.pause();
    copy.device.resume();
  });

  it('reset drops what is in flight and resolves when it is out', async () => {
    const { driver, block, machine } = started();
    driver.submit(1, { opcode: R.IO_READ, prp1: BUFFER, dwords: [0, 0, 0] });
    let done = false;
    void Promise.resolve(machine.pci.reset()).then(() => (done = true));
    await settle();
    expect(done).toBe(false);
    const sent = machine.interrupts.sent;
    await block.complete();
    expect(done).toBe(true);
    expect(machine.interrupts.sent).toBe(sent);
  });
});
