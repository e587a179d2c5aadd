/** SCSI units, targets and the virtio adapter before them, through fake guest memory. */
import { describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { ScsiCdrom } from '../../devices/scsi/cdrom.ts';
import { ScsiDisk } from '../../devices/scsi/disk.ts';
import type { LogicalUnit, ScsiResult } from '../../devices/scsi/logical-unit.ts';
import * as S from '../../devices/scsi/sense.ts';
import { ScsiTarget } from '../../devices/scsi/target.ts';
import * as V from '../../devices/virtio/scsi.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import type { FakeMemory } from '../support/fake-memory.ts';

const NAMES = { vendor: 'FREEBSD', product: 'CTLDISK', revision: '0001', serial: 'SCSI1' };

function diskOf(backend: BlockBackend): ScsiDisk {
  const disk = new ScsiDisk(backend, NAMES);
  disk.reset();
  return disk;
}

async function run(
  unit: LogicalUnit,
  cdb: readonly number[],
  dataOut = new Uint8Array(0),
  room = 4096,
): Promise<{ result: ScsiResult; data: Uint8Array }> {
  const dataIn = new Uint8Array(room);
  const padded = new Uint8Array(16);
  padded.set(cdb);
  const result = await unit.execute({ cdb: padded, dataOut: [dataOut], dataIn: [dataIn] });
  return { result, data: dataIn.subarray(0, result.dataInBytes) };
}

const be = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe('a SCSI disk', () => {
  it('tells who it is', async () => {
    const disk = diskOf(new MemoryBackend(new Uint8Array(1 << 20), { physicalSectorBytes: 4096 }));
    const { data } = await run(disk, [0x12, 0, 0, 0, 96]);
    expect(String.fromCharCode(...data.subarray(8, 36))).toBe('FREEBSD CTLDISK         0001');
    const pages = await run(disk, [0x12, 1, 0, 0, 255]);
    expect([...pages.data.subarray(4)]).toEqual([0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    expect(String.fromCharCode(...(await run(disk, [0x12, 1, 0x80, 0, 255])).data.subarray(4))).toBe('SCSI1');
    expect((await run(disk, [0x12, 1, 0x99, 0, 255])).result.sense).toMatchObject(S.SENSE_INVALID_FIELD_IN_CDB);
    const capacity = await run(disk, [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32]);
    expect([be(capacity.data).getBigUint64(0), be(capacity.data).getUint32(8), capacity.data[13]]).toEqual([
      2047n,
      512,
      3,
    ]);
    expect(be((await run(disk, [0x25])).data).getUint32(0)).toBe(2047);
  });

  it('reads, writes, compares and swaps', async () => {
    const bytes = new Uint8Array(1 << 20);
    const disk = diskOf(new MemoryBackend(bytes));
    const block = new Uint8Array(1024).fill(7);
    expect((await run(disk, [0x2a, 0, 0, 0, 0, 3, 0, 0, 2], block)).result).toMatchObject({
      status: 0,
      dataOutBytes: 1024,
    });
    expect(bytes.subarray(3 * 512, 5 * 512).every((byte) => byte === 7)).toBe(true);
    const read = await run(disk, [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1]);
    expect([read.data.length, read.data[0]]).toEqual([512, 7]);
    const pair = new Uint8Array(1024);
    pair.fill(7, 0, 512).fill(9, 512);
    expect((await run(disk, [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1], pair)).result.status).toBe(0);
    expect(bytes[3 * 512]).toBe(9);
    expect((await run(disk, [0x89, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1], pair)).result.sense).toMatchObject(
      S.SENSE_MISCOMPARE,
    );
  });

  it('unmaps and writes the same', async () => {
    const bytes = new Uint8Array(1 << 20).fill(0xee);
    const disk = diskOf(new MemoryBackend(bytes));
    const list = new Uint8Array(24);
    be(list).setUint16(0, 22);
    be(list).setUint16(2, 16);
    be(list).setBigUint64(8, 8n);
    be(list).setUint32(16, 4);
    expect((await run(disk, [0x42, 0, 0, 0, 0, 0, 0, 0, 24], list)).result.status).toBe(0);
    expect([bytes[8 * 512 - 1], bytes[8 * 512], bytes[12 * 512 - 1], bytes[12 * 512]]).toEqual([0xee, 0, 0, 0xee]);
    const pattern = new Uint8Array(512).fill(0x5a);
    expect((await run(disk, [0x41, 0, 0, 0, 0, 20, 0, 0, 3], pattern)).result.status).toBe(0);
    expect([bytes[20 * 512 - 1], bytes[20 * 512], bytes[23 * 512 - 1], bytes[23 * 512]]).toEqual([
      0xee, 0x5a, 0x5a, 0xee,
    ]);
    expect((await run(disk, [0x93, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 3])).result.status).toBe(0);
    expect(bytes[21 * 512]).toBe(0);
    expect((await run(disk, [0x41, 0, 0, 0, 0, 20, 0, 0, 0], pattern)).result.sense).toMatchObject(
      S.SENSE_INVALID_FIELD_IN_CDB,
    );
  });

  it('answers with sense data', async () => {
    const block = new FakeBlock();
    const disk = diskOf(block);
    expect((await run(disk, [0x28, 0, 0, 0, 7, 0xff, 0, 0, 2])).result.sense).toMatchObject(S.SENSE_LBA_OUT_OF_RANGE);
    expect((await run(disk, [0xcc])).result.sense).toMatchObject(S.SENSE_INVALID_OPCODE);
    expect((await run(disk, [0x28, 0, 0, 0, 0, 0, 0, 0, 16], undefined, 100)).result.sense).toMatchObject(
      S.SENSE_DATA_TOO_SHORT,
    );
    const failing = run(disk, [0x28, 0, 0, 0, 0, 5, 0, 0, 1]);
    await settle();
    await block.complete(0, true);
    expect((await failing).result.sense).toEqual({ ...S.SENSE_UNRECOVERED_READ_ERROR, information: 5 });
    const readOnly = diskOf(new MemoryBackend(new Uint8Array(4096), { readOnly: true }));
    expect((await run(readOnly, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], new Uint8Array(512))).result.sense).toMatchObject(
      S.SENSE_WRITE_PROTECTED,
    );
    expect((await run(readOnly, [0x1a, 0, 0x3f, 0, 255])).data[2]).toBe(0x90);
    // A new unit says that it was switched on, once, to everything but INQUIRY.
    const fresh = new ScsiDisk(block, NAMES);
    expect((await run(fresh, [0x12, 0, 0, 0, 36])).result.status).toBe(0);
    expect((await run(fresh, [0])).result.sense).toMatchObject(S.SENSE_POWER_ON);
    expect((await run(fresh, [0])).result.status).toBe(0);
  });

  it('turns its write cache off by MODE SELECT: then every write is flushed', async () => {
    const block = new FakeBlock();
    const disk = diskOf(block);
    const { data } = await run(disk, [0x1a, 8, 0x08, 0, 255]);
    expect(data[6]).toBe(4);
    const list = data.slice();
    list[0] = 0;
    list[6] = 0;
    expect((await run(disk, [0x15, 0x10, 0, 0, list.length], list)).result.status).toBe(0);
    const write = run(disk, [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], new Uint8Array(512));
    await settle();
    await block.complete();
    expect(block.waiting[0]?.what).toBe('flush');
    await block.complete();
    expect((await write).result.status).toBe(0);
    const bad = list.slice();
    bad[8] = 0xff;
    expect((await run(disk, [0x15, 0x10, 0, 0, bad.length], bad)).result.sense).toMatchObject(
      S.SENSE_INVALID_FIELD_IN_PARAMETERS,
    );
  });

  it('lists the commands that it has', async () => {
    const disk = diskOf(new MemoryBackend(new Uint8Array(4096)));
    const all = await run(disk, [0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0]);
    const codes = Array.from({ length: be(all.data).getUint32(0) / 8 }, (_, i) => all.data[4 + 8 * i]);
    expect(codes).toEqual(expect.arrayContaining([0x00, 0x28, 0x42, 0x88, 0x9e]));
    expect((await run(disk, [0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0, 64])).data[1]).toBe(3);
    expect((await run(disk, [0xa3, 0x0c, 1, 0xcc, 0, 0, 0, 0, 0, 64])).data[1]).toBe(1);
  });
});

const REQUEST = 0x100000;
const DATA = 0x110000;
const RESPONSE = 0x120000;

function rig(memory?: FakeMemory) {
  const block = new FakeBlock();
  const cd = new ScsiCdrom(new MemoryBackend(new Uint8Array(8192).fill(0x33), { readOnly: true }), {
    ...NAMES,
    product: 'CTLCDROM',
  });
  const targets = new Map([
    [
      0,
      new ScsiTarget(
        new Map<number, LogicalUnit>([
          [0, diskOf(block)],
          [300, diskOf(block)],
        ]),
      ),
    ],
    [5, new ScsiTarget(new Map([[0, cd]]))],
  ]);
  const machine = new FakeMachine({}, memory);
  const device = new V.VirtioScsi({
    memory: machine.memory,
    msix: true,
    log: (text) => machine.log.push(text),
    targets,
  });
  machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  const control = new FakeDriver(machine);
  const request = new FakeDriver(machine, 3, 0x20000, V.FIRST_REQUEST_QUEUE);
  return { machine, device, block, control, request };
}

function started() {
  const all = rig();
  all.control.start();
  all.request.setUpQueue();
  const send = (lun: readonly number[], cdb: readonly number[], tag: number, inBytes: number, outBytes = 0): void => {
    const header = new Uint8Array(51);
    header.set(lun);
    header[8] = tag;
    header.set(cdb, 19);
    all.machine.memory.write(REQUEST + 64 * tag, header);
    all.machine.memory.fill(RESPONSE + 128 * tag, 108, 0xff);
    const data = DATA + 0x1000 * tag;
    all.request.add([
      { gpa: REQUEST + 64 * tag, lengthBytes: 51 },
      ...(outBytes > 0 ? [{ gpa: data, lengthBytes: outBytes }] : []),
      { gpa: RESPONSE + 128 * tag, lengthBytes: 108, write: true },
      ...(inBytes > 0 ? [{ gpa: data, lengthBytes: inBytes, write: true }] : []),
    ]);
    all.request.notify();
  };
  const response = (tag: number) => {
    const { memory } = all.machine;
    const at = RESPONSE + 128 * tag;
    return {
      senseBytes: memory.readU32(at),
      residual: memory.readU32(at + 4),
      status: memory.readU8(at + 10),
      response: memory.readU8(at + 11),
      senseKey: memory.readU8(at + 14),
      asc: memory.readU8(at + 24),
    };
  };
  const manage = (subtype: number, lun: readonly number[], tag: number): number => {
    const bytes = new Uint8Array(24);
    be(bytes).setUint32(4, subtype, true);
    bytes.set(lun, 8);
    bytes[16] = tag;
    const { memory } = all.machine;
    memory.write(REQUEST + 0x8000, bytes);
    memory.writeU8(RESPONSE + 0x8000, 0xff);
    all.control.add([
      { gpa: REQUEST + 0x8000, lengthBytes: 24 },
      { gpa: RESPONSE + 0x8000, lengthBytes: 1, write: true },
    ]);
    all.control.notify();
    return memory.readU8(RESPONSE + 0x8000);
  };
  return { ...all, send, response, manage };
}

const LUN0 = [1, 0, 0x40, 0];
const LUN300 = [1, 0, 0x41, 0x2c];

describe('virtio-scsi', () => {
  it('is known by its identifiers and its configuration', () => {
    const { machine, control } = rig();
    expect(machine.config(3, 0, 4)).toBe(0x10041af4);
    expect(machine.config(3, 0x2c, 4)).toBe(0x00081af4);
    expect([control.read(0x14, 4), control.read(0x18, 4), control.read(0x28, 4), control.read(0x2c, 4)]).toEqual([
      1, 254, 96, 32,
    ]);
    expect(control.read(0x32, 2)).toBe(5);
  });

  it('carries commands to the units, with residual counts', async () => {
    const { send, response, request, block, machine } = started();
    send(LUN0, [0x28, 0, 0, 0, 0, 2, 0, 0, 1], 1, 4096);
    block.bytes.fill(0x44, 1024, 1536);
    await block.complete();
    expect(response(1)).toMatchObject({ status: 0, response: 0, residual: 3584, senseBytes: 0 });
    expect([machine.memory.readU8(DATA + 0x1000), machine.memory.readU8(DATA + 0x1000 + 512)]).toEqual([0x44, 0]);
    expect(request.used()).toMatchObject([{ lengthBytes: 108 + 512 }]);
    send([1, 5, 0, 0], [0x28, 0, 0, 0, 0, 1, 0, 0, 1], 2, 2048);
    await settle();
    expect([response(2).status, machine.memory.readU8(DATA + 0x2000)]).toEqual([0, 0x33]);
    send(LUN300, [0x28, 0, 0x7f, 0, 0, 1, 0, 0, 1], 3, 512);
    await settle();
    expect(response(3)).toMatchObject({ status: 2, senseBytes: 18, senseKey: 5, asc: 0x21 });
  });

  it('reports its units, and those that are not there', async () => {
    const { send, response, machine } = started();
    send(LUN0, [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 1, 256);
    send([1, 0, 0x40, 9], [0], 2, 0);
    send([1, 9, 0, 0], [0], 3, 0);
    send([1, 0, 0x40, 9], [0x12, 0, 0, 0, 36], 4, 36);
    await settle();
    expect([
      machine.memory.readU8(DATA + 0x1000 + 3),
      machine.memory.readU8(DATA + 0x1000 + 16),
      machine.memory.readU8(DATA + 0x1000 + 17),
    ]).toEqual([16, 0x41, 0x2c]);
    expect(response(2)).toMatchObject({ status: 2, asc: 0x25 });
    expect(response(3).response).toBe(V.VIRTIO_SCSI_S_BAD_TARGET);
    expect(machine.memory.readU8(DATA + 0x4000)).toBe(0x7f);
  });

  it('manages tasks: what was in flight ends first', async () => {
    const { send, response, manage, block, machine, control } = started();
    send(LUN0, [0x28, 0, 0, 0, 0, 2, 0, 0, 1], 1, 512);
    send(LUN0, [0x28, 0, 0, 0, 0, 3, 0, 0, 1], 2, 512);
    expect(manage(V.TMF_QUERY_TASK, LUN0, 1)).toBe(V.VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
    expect(manage(V.TMF_QUERY_TASK, LUN0, 7)).toBe(V.VIRTIO_SCSI_S_OK);
    expect(manage(V.TMF_ABORT_TASK, LUN0, 1)).toBe(0xff);
    await block.complete(0);
    expect(machine.memory.readU8(RESPONSE + 0x8000)).toBe(V.VIRTIO_SCSI_S_OK);
    expect(response(1).response).toBe(V.VIRTIO_SCSI_S_ABORTED);
    expect(manage(V.TMF_LOGICAL_UNIT_RESET, LUN0, 0)).toBe(0xff);
    await block.complete(0);
    expect(response(2).response).toBe(V.VIRTIO_SCSI_S_RESET);
    send(LUN0, [0], 3, 0);
    await settle();
    expect(response(3)).toMatchObject({ status: 2, senseKey: 6, asc: 0x29 });
    expect(manage(V.TMF_LOGICAL_UNIT_RESET, [1, 0, 0x40, 77], 0)).toBe(V.VIRTIO_SCSI_S_INCORRECT_LUN);
    expect(manage(99, LUN0, 0)).toBe(V.VIRTIO_SCSI_S_FUNCTION_REJECTED);
    expect(control.used().length).toBe(6);
  });

  it('gives back what it cannot understand', async () => {
    const { request, machine, device } = started();
    request.add([
      { gpa: REQUEST, lengthBytes: 20 },
      { gpa: RESPONSE, lengthBytes: 108, write: true },
    ]);
    request.add([
      { gpa: REQUEST, lengthBytes: 51 },
      { gpa: RESPONSE, lengthBytes: 50, write: true },
    ]);
    request.add([
      { gpa: 0x7fffffff, lengthBytes: 51 },
      { gpa: RESPONSE, lengthBytes: 108, write: true },
    ]);
    request.notify();
    await settle();
    expect(request.used().map(({ lengthBytes }) => lengthBytes)).toEqual([0, 0, 0]);
    expect(device.counters()['bad requests']).toBe(3);
    expect(machine.memory.guardsIntact).toBe(true);
  });

  it('a copy goes on with the commands that were in flight; a reset drops them', async () => {
    const { send, machine, block } = started();
    send(LUN0, [0x28, 0, 0, 0, 0, 2, 0, 0, 1], 1, 512);
    const state = structuredClone(machine.pci.save());
    const copy = rig(machine.memory);
    copy.machine.pci.restore(state);
    expect(copy.block.waiting.map(({ what }) => what)).toEqual(['read 1024']);
    await copy.block.complete();
    expect(machine.memory.readU8(RESPONSE + 128 + 11)).toBe(0);
    let done = false;
    const sent = machine.interrupts.sent;
    void Promise.resolve(machine.pci.reset()).then(() => (done = true));
    await settle();
    expect(done).toBe(false);
    await block.complete();
    expect([done, machine.interrupts.sent]).toEqual([true, sent]);
  });
});
