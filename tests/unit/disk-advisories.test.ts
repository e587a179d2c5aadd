/** What went wrong in FreeBSD's disk devices, by the numbers of its security advisories: none of it does here. */
import { describe, expect, test, vi } from 'vitest';
import { AhciController } from '../../devices/ahci/controller.ts';
import * as R from '../../devices/ahci/registers.ts';
import { AtaDisk } from '../../devices/ata/disk.ts';
import * as C from '../../devices/ata/opcodes.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { NvmeController } from '../../devices/nvme/controller.ts';
import * as N from '../../devices/nvme/registers.ts';
import type { PciFunction } from '../../devices/pci/function.ts';
import { ScsiDisk } from '../../devices/scsi/disk.ts';
import { ScsiTarget } from '../../devices/scsi/target.ts';
import * as B from '../../devices/virtio/blk.ts';
import { VIRTIO_RING_F_INDIRECT_DESC, type VirtioDevice } from '../../devices/virtio/device.ts';
import * as V from '../../devices/virtio/scsi.ts';
import { FakeAhciDriver } from '../support/fake-ahci.ts';
import { settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver, type Buffer } from '../support/fake-driver.ts';
import { FakeNvmeDriver } from '../support/fake-nvme.ts';
import { HOSTILE_CHAINS, REQUEST, REQUEST_BYTES, RESPONSE, RESPONSE_BYTES, TABLE } from '../support/hostile-chains.ts';
import { expectReadOnce } from '../support/read-once.ts';

const DATA = 0x110000;
const RING = 0x10000;
const REQUEST_RING = 0x20000;
const INDIRECT = 1 << VIRTIO_RING_F_INDIRECT_DESC;

const backend = (): MemoryBackend => new MemoryBackend(new Uint8Array(1 << 20).fill(0x44));

function place(machine: FakeMachine, device: PciFunction): void {
  machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
}

function scsi() {
  const machine = new FakeMachine();
  const disk = new ScsiDisk(backend(), { vendor: 'FREEBSD', product: 'CTLDISK', revision: '0001', serial: 'SCSI1' });
  disk.reset();
  const targets = new Map([[0, new ScsiTarget(new Map([[0, disk]]))]]);
  const device = new V.VirtioScsi({ memory: machine.memory, msix: true, log: () => undefined, targets });
  place(machine, device);
  const control = new FakeDriver(machine, 3, RING, 0);
  const request = new FakeDriver(machine, 3, REQUEST_RING, V.FIRST_REQUEST_QUEUE);
  control.start();
  request.setUpQueue();
  return { machine, device, control, request };
}

function blk() {
  const { machine, device } = FakeMachine.with(
    (it) => new B.VirtioBlk({ memory: it.memory, log: () => undefined, msix: true, backend: backend(), serial: 'S' }),
  );
  const driver = new FakeDriver(machine, 3, RING, 0);
  driver.start(INDIRECT);
  return { machine, device, driver };
}

/** The response to one command: SCSI status in byte 10, the adapter's in 11. */
async function command(
  { machine, request }: ReturnType<typeof scsi>,
  lun: readonly number[],
  cdb: readonly number[],
  sizes: { readonly request?: number; readonly response?: number; readonly data?: number } = {},
): Promise<Uint8Array> {
  const { request: requestBytes = REQUEST_BYTES, response: responseBytes = RESPONSE_BYTES, data = 512 } = sizes;
  const { memory } = machine;
  memory.fill(REQUEST, 512, 0);
  memory.write(REQUEST, Uint8Array.from(lun));
  memory.write(REQUEST + 19, Uint8Array.from(cdb));
  memory.fill(RESPONSE, 512, 0xee);
  request.add([
    { gpa: REQUEST, lengthBytes: requestBytes },
    { gpa: RESPONSE, lengthBytes: responseBytes, write: true },
    { gpa: DATA, lengthBytes: data, write: true },
  ]);
  request.notify();
  await settle();
  expect(request.used()).toHaveLength(1);
  const response = new Uint8Array(512);
  memory.read(RESPONSE, response);
  return response;
}

const LUN0 = [1, 0, 0x40, 0];
const READ_ONE = [0x28, 0, 0, 0, 0, 2, 0, 0, 1];
const BAD_ADDRESS = [0x28, 0, 0x7f, 0, 0, 2, 0, 0, 1];

describe('SA-24:11 and SA-24:18: lengths of CDBs and sense data, and LUNs that are not there', () => {
  test.each([
    ['0', 0],
    ['beyond every buffer', 0x7fffffff],
    ['negative as signed', 0x80000000],
    ['all ones', 0xffffffff],
  ])('sense_size and cdb_size of %s', async (_name, size) => {
    const rig = scsi();
    // Behind the legacy registers: sense_size, cdb_size.
    rig.control.write(0x14 + 20, 4, size);
    rig.control.write(0x14 + 24, 4, size);
    const [sense, cdb] = [rig.control.read(0x14 + 20, 4), rig.control.read(0x14 + 24, 4)];
    expect(sense).toBeLessThanOrEqual(252);
    expect(cdb).toBeLessThanOrEqual(260);
    expect(cdb).toBeGreaterThanOrEqual(16);
    const response = await command(rig, LUN0, BAD_ADDRESS, { request: 19 + cdb, response: 12 + sense });
    expect([response[10], response[11]]).toEqual([2, V.VIRTIO_SCSI_S_OK]);
    // Sense data is cut to the driver's size, and nothing behind it is touched.
    const senseBytes = new DataView(response.buffer).getUint32(0, true);
    expect(senseBytes).toBe(Math.min(sense, 18));
    expect(response.subarray(12 + sense).every((byte) => byte === 0xee)).toBe(true);
    expect(rig.machine.memory.guardsIntact).toBe(true);
  });

  test('buffers that are shorter than the sizes are given back without an answer', async () => {
    const rig = scsi();
    for (const sizes of [{ request: 1 }, { request: 18 }, { request: 50 }]) {
      const response = await command(rig, LUN0, READ_ONE, sizes);
      expect(response.every((byte) => byte === 0xee)).toBe(true);
    }
    const cut = await command(rig, LUN0, READ_ONE, { response: 11, data: 1 });
    expect(cut.every((byte) => byte === 0xee)).toBe(true);
    expect((await command(rig, LUN0, READ_ONE))[10]).toBe(0);
  });

  test('allocation lengths from 0 to more than the buffer', async () => {
    const rig = scsi();
    for (const length of [0, 1, 4, 5, 36, 255, 0xffff]) {
      rig.machine.memory.fill(DATA, 8192, 0xee);
      for (const cdb of [
        [0x12, 0, 0, length >> 8, length & 0xff],
        [0x12, 1, 0x83, length >> 8, length & 0xff],
        [0x5a, 0, 0x3f, 0, 0, 0, 0, length >> 8, length & 0xff],
        [0xa0, 0, 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff],
        [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff],
      ]) {
        const response = await command(rig, LUN0, cdb, { data: 16 });
        expect(response[11]).toBe(V.VIRTIO_SCSI_S_OK);
        expect(rig.machine.memory.readU8(DATA + 16), cdb.join()).toBe(0xee);
      }
    }
  });

  test('LUNs of every form that name nobody', async () => {
    const rig = scsi();
    for (const lun of [
      [1, 0, 0x40, 1],
      [1, 0, 0xff, 0xff],
      [1, 0, 0x7f, 0xff],
    ]) {
      const response = await command(rig, lun, READ_ONE);
      expect([response[10], response[11]], lun.join()).toEqual([2, V.VIRTIO_SCSI_S_OK]);
    }
    for (const lun of [[0, 0, 0x40, 0], [1, 255, 0x40, 0], [0xc1, 1, 0, 0], []]) {
      expect((await command(rig, lun, READ_ONE))[11], lun.join()).toBe(V.VIRTIO_SCSI_S_BAD_TARGET);
    }
    expect((await command(rig, LUN0, READ_ONE))[10]).toBe(0);
  });
});

interface ChainRig {
  readonly machine: FakeMachine;
  readonly device: VirtioDevice;
  readonly driver: FakeDriver;
  /** A driver that starts over has its device again: one request is done. */
  works(): Promise<void>;
}

function blkChains(): ChainRig {
  const rig = blk();
  const works = async (): Promise<void> => {
    const { memory } = rig.machine;
    rig.driver.start(INDIRECT);
    memory.fill(REQUEST, 16, 0);
    rig.driver.add([
      { gpa: REQUEST, lengthBytes: 16 },
      { gpa: DATA, lengthBytes: 512, write: true },
      { gpa: RESPONSE, lengthBytes: 1, write: true },
    ]);
    rig.driver.notify();
    await settle();
    expect([memory.readU8(RESPONSE), memory.readU8(DATA)]).toEqual([0, 0x44]);
  };
  return { ...rig, works };
}

function scsiChains(): ChainRig {
  const rig = scsi();
  const works = async (): Promise<void> => {
    rig.control.start();
    rig.request.setUpQueue();
    expect((await command(rig, LUN0, [0xa0, 0, 0, 0, 0, 0, 0, 0, 2, 0]))[11]).toBe(V.VIRTIO_SCSI_S_OK);
    expect(rig.machine.memory.readU8(DATA + 3)).toBe(8);
  };
  return { ...rig, driver: rig.request, works };
}

describe.each([
  ['virtio-blk', blkChains],
  ['virtio-scsi', scsiChains],
] as const)('SA-21:13: the walker of descriptor chains, %s', (_device, build) => {
  test.each(HOSTILE_CHAINS)('%s', async (_name, write) => {
    const { machine, device, driver, works } = build();
    write(driver);
    const untouched = new Uint8Array(0x4000);
    machine.memory.fill(TABLE + 0x1000, untouched.length, 0x99);
    driver.makeAvailable(0);
    driver.notify();
    await settle();
    // It is refused by the queue, or counted as a bad request and given back.
    const { 'bad requests': bad = 0 } = device.counters();
    expect(device.brokenQueues + bad).toBeGreaterThan(0);
    machine.memory.read(TABLE + 0x1000, untouched);
    expect(untouched.every((byte) => byte === 0x99)).toBe(true);
    expect(machine.memory.guardsIntact).toBe(true);
    await works();
  });
});

describe('SA-24:17: a second processor changes what the device has looked at', () => {
  test('ahci: command header, table and descriptors', async () => {
    const machine = new FakeMachine();
    const identity = { serial: 'S', revision: '1', model: 'M', rotationRate: 1 };
    const disk = new AtaDisk({ backend: backend(), identity, nowNs: () => 0 });
    place(machine, new AhciController({ memory: machine.memory, drives: [disk] }));
    const driver = new FakeAhciDriver(machine, 0);
    driver.start();
    for (const [slot, words] of [
      { command: C.READ_DMA_EXT, lba: 2, count: 2, prds: [[DATA, 512] as const, [DATA + 0x1000, 512] as const] },
      { command: C.WRITE_FPDMA_QUEUED, lba: 2, features: 1, queued: true, prds: [[DATA, 512] as const] },
      { command: C.DATA_SET_MANAGEMENT, features: 1, count: 1, prds: [[RESPONSE, 512] as const] },
    ].entries()) {
      vi.restoreAllMocks();
      expectReadOnce(machine, [
        // The fields of the header but the byte count, which the device writes.
        [driver.listGpa + 32 * slot, 4],
        [driver.listGpa + 32 * slot + 8, 8],
        [driver.tableGpa(slot), 0x400],
        [RESPONSE, 512],
      ]);
      driver.issue(slot, words);
      await settle();
    }
    vi.restoreAllMocks();
    expect(driver.read(R.PX_CI)).toBe(0);
    expect(driver.read(R.PX_SACT)).toBe(0);
  });

  test('nvme: submission entries, PRP lists and ranges', async () => {
    const machine = new FakeMachine();
    const device = new NvmeController({
      ...{ memory: machine.memory, clock: { nowNs: () => 0, at: () => () => undefined }, backend: backend() },
      ...{ blockBytes: 512, serial: 'S', eui64: 1n, datasetManagement: true, maxQueues: 4, maxEntries: 64, ioSlots: 8 },
    });
    place(machine, device);
    const driver = new FakeNvmeDriver(machine);
    driver.start();
    driver.createQueues(1);
    const { memory } = machine;
    for (let page = 0; page < 4; page++) memory.writeU64(TABLE + 8 * page, BigInt(DATA + 0x1000 * (page + 1)));
    memory.fill(REQUEST, 64, 0);
    memory.writeU32(REQUEST + 4, 8);
    const entries = driver.pairs.get(1)?.sqGpa ?? 0;
    expectReadOnce(machine, [
      [entries, 64 * 16],
      [TABLE, 32],
      [REQUEST, 16],
    ]);
    driver.submit(1, { opcode: N.IO_READ, prp1: DATA, prp2: TABLE, dwords: [0, 0, 39] });
    driver.submit(1, { opcode: N.IO_DATASET_MANAGEMENT, prp1: REQUEST, dwords: [0, 4] });
    await settle();
    vi.restoreAllMocks();
    expect(driver.completions(1).map(({ status }) => status)).toEqual([0, 0]);
  });

  test('virtio-blk and virtio-scsi: headers of requests', async () => {
    const disk = blk();
    disk.machine.memory.fill(REQUEST, 16, 0);
    const buffers: Buffer[] = [
      { gpa: REQUEST, lengthBytes: 16 },
      { gpa: DATA, lengthBytes: 512, write: true },
      { gpa: RESPONSE, lengthBytes: 1, write: true },
    ];
    disk.driver.add(buffers);
    expectReadOnce(disk.machine, [[REQUEST, 16]]);
    disk.driver.notify();
    await settle();
    vi.restoreAllMocks();
    expect([disk.machine.memory.readU8(RESPONSE), disk.machine.memory.readU8(DATA)]).toEqual([0, 0x44]);

    const rig = scsi();
    const task = new Uint8Array(24);
    task.set([V.TMF_LOGICAL_UNIT_RESET], 4);
    task.set(LUN0, 8);
    rig.machine.memory.write(TABLE, task);
    rig.control.add([
      { gpa: TABLE, lengthBytes: 24 },
      { gpa: TABLE + 0x100, lengthBytes: 1, write: true },
    ]);
    expectReadOnce(rig.machine, [[TABLE, 24]]);
    rig.control.notify();
    await settle();
    vi.restoreAllMocks();
    expect(rig.machine.memory.readU8(TABLE + 0x100)).toBe(V.VIRTIO_SCSI_S_OK);
  });
});
