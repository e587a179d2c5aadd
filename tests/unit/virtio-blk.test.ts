import { describe, expect, test } from 'vitest';
import { BLOCK_OPTIONS } from '../../devices/config/declarations/block.ts';
import { readSettings } from '../../devices/config/settings-of.ts';
import { defaultSerial } from '../../devices/block/default-serial.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import type { BlockBackend } from '../../devices/backends/block.ts';
import * as B from '../../devices/virtio/blk.ts';
import * as V from '../../devices/virtio/device.ts';
import * as L from '../../devices/virtio/transport/legacy.ts';
import * as T from '../../devices/virtio/transport/target.ts';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver, type Buffer } from '../support/fake-driver.ts';
import { FakeRandom } from '../support/fake-random.ts';

const HEADER = 0x40000;
const DATA = 0x50000;
const STATUS = 0x48000;
const DISCARD_FEATURE = 1 << B.VIRTIO_BLK_F_DISCARD;
const INDIRECT = 1 << V.VIRTIO_RING_F_INDIRECT_DESC;

function setUp<T extends BlockBackend>(backend: T, msix = true) {
  const { machine, device } = FakeMachine.with(
    (it) => new B.VirtioBlk({ memory: it.memory, log: (text) => it.log.push(text), msix, backend, serial: 'SERIAL-1' }),
  );
  const driver = new FakeDriver(machine);
  driver.start();
  return { machine, device, driver, backend };
}

type Rig = ReturnType<typeof setUp>;

/** Puts a request header at slot `n` and returns the buffers of the request. */
function request(rig: Rig, type: number, sector: number, data: readonly Buffer[], n = 0): Buffer[] {
  const { memory } = rig.machine;
  memory.writeU32(HEADER + 16 * n, type);
  memory.writeU32(HEADER + 16 * n + 4, 0);
  memory.writeU64(HEADER + 16 * n + 8, BigInt(sector));
  memory.writeU8(STATUS + n, 0xee);
  return [{ gpa: HEADER + 16 * n, lengthBytes: 16 }, ...data, { gpa: STATUS + n, lengthBytes: 1, write: true }];
}

const status = (rig: Rig, n = 0): number => rig.machine.memory.readU8(STATUS + n);

/** Makes one request and lets it finish. */
async function perform(rig: Rig, type: number, sector: number, data: readonly Buffer[]): Promise<number> {
  rig.driver.add(request(rig, type, sector, data));
  rig.driver.notify();
  await settle();
  return status(rig);
}

function patterned(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

describe('what the guest sees', () => {
  test('identification, features and configuration', () => {
    const rig = setUp(new FakeBlock());
    const { machine, driver } = rig;
    expect(machine.config(3, 0, 4)).toBe(0x10011af4);
    expect(machine.config(3, 0x2c, 4)).toBe(0x00021af4);
    expect(machine.config(3, 8, 4)).toBe(0x01000000);
    // MSI-X first, then MSI.
    expect(machine.capability(3, 0x11)).toBe(0x40);
    expect(machine.capability(3, 5)).toBe(0x4c);
    expect(driver.read(L.REG_HOST_FEATURES, 4)).toBe(0x10002644);
    const config = (offset: number, size: AccessSize): number => driver.read(0x14 + offset, size);
    expect([config(0, 4), config(4, 4)]).toEqual([2048, 0]);
    expect(config(8, 4)).toBe(0);
    expect(config(12, 4)).toBe(126);
    expect(config(20, 4)).toBe(512);
    expect(config(24, 1)).toBe(3);
    expect([config(36, 4), config(40, 4), config(44, 4)]).toEqual([32768, 1, 8]);
    expect(config(60, 1)).toBe(0xff);
  });

  test('MSI-X moves device configuration up', () => {
    const { driver } = setUp(new FakeBlock());
    expect(driver.read(L.CONFIG_OFFSET, 4)).toBe(2048);
    driver.enableMsix();
    expect(driver.read(L.CONFIG_OFFSET_MSIX, 4)).toBe(2048);
    expect(driver.read(L.REG_QUEUE_VECTOR, 2)).toBe(1);
    driver.write(L.REG_QUEUE_VECTOR, 2, 2);
    expect(driver.read(L.REG_QUEUE_VECTOR, 2)).toBe(T.NO_VECTOR);
  });

  test('-W leaves MSI alone', () => {
    const { machine } = setUp(new FakeBlock(), false);
    expect(machine.capability(3, 0x11)).toBe(0);
    expect(machine.capability(3, 5)).toBe(0x40);
    expect(machine.config(3, 0x14, 4)).toBe(0);
  });

  test('registers take only their own size', () => {
    const { driver, device, machine } = setUp(new FakeBlock());
    expect(driver.read(L.REG_STATUS, 2)).toBe(0xffff);
    expect(driver.read(L.REG_HOST_FEATURES, 1)).toBe(0xff);
    driver.write(L.REG_STATUS, 4, 0);
    expect(driver.status).toBe(7);
    expect(device.badAccesses).toBe(3);
    expect(machine.log[0]).toBe('virtio-blk: read from STATUS: bad size 2');
  });

  test('only features that were offered can be accepted', () => {
    const { driver } = setUp(new FakeBlock());
    driver.write(L.REG_GUEST_FEATURES, 4, 0xffffffff);
    expect(driver.read(L.REG_GUEST_FEATURES, 4)).toBe(0x10002644);
    driver.write(L.REG_STATUS, 1, 0);
    expect(driver.read(L.REG_GUEST_FEATURES, 4)).toBe(0);
    expect(driver.read(L.REG_QUEUE_PFN, 4)).toBe(0);
  });

  test('the default serial number is made of the MD5 of the path', () => {
    // MD5("abc") = 900150983cd24fb0...
    expect(defaultSerial('abc')).toBe('BHYVE-9001-5098-3CD2');
  });
});

describe('requests', () => {
  test('write, flush and read back', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(1024 * 1024)));
    const { memory } = rig.machine;
    const bytes = patterned(4096);
    memory.write(DATA, bytes);
    expect(await perform(rig, B.VIRTIO_BLK_T_OUT, 16, [{ gpa: DATA, lengthBytes: 4096 }])).toBe(0);
    expect(rig.driver.used()).toEqual([{ id: 0, lengthBytes: 1 }]);
    expect(await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, [])).toBe(0);
    memory.writtenRanges = [];
    const into = { gpa: DATA + 0x8000, lengthBytes: 4096, write: true };
    expect(await perform(rig, B.VIRTIO_BLK_T_IN, 16, [into])).toBe(0);
    expect(rig.driver.used()[1]).toEqual({ id: 5, lengthBytes: 4097 });
    const back = new Uint8Array(4096);
    memory.read(DATA + 0x8000, back);
    expect(back).toEqual(bytes);
    expect(memory.writtenRanges).toContainEqual({ gpa: DATA + 0x8000, lengthBytes: 4096 });
  });

  test('buffers may be cut anywhere, and lie across chunks', async () => {
    const rig = setUp(new MemoryBackend(patterned(64 * 1024)));
    const boundary = 0x200000;
    rig.driver.start(INDIRECT);
    const parts = request(rig, B.VIRTIO_BLK_T_IN, 2, [
      { gpa: boundary - 100, lengthBytes: 300, write: true },
      { gpa: DATA, lengthBytes: 0, write: true },
      { gpa: DATA, lengthBytes: 212, write: true },
    ]);
    // Header in two pieces; status byte behind data in the same buffer.
    rig.driver.addIndirect(0x60000, [
      { gpa: HEADER, lengthBytes: 5 },
      { gpa: HEADER + 5, lengthBytes: 11 },
      ...parts.slice(1, 3),
      { gpa: DATA, lengthBytes: 213, write: true },
    ]);
    rig.driver.notify();
    await settle();
    expect(rig.machine.memory.readU8(DATA + 212)).toBe(0);
    const back = new Uint8Array(300);
    rig.machine.memory.read(boundary - 100, back);
    expect(back).toEqual(patterned(64 * 1024).subarray(1024, 1324));
  });

  test('run at the same time and finish in any order, each with its own status', async () => {
    const rig = setUp(new FakeBlock());
    const heads = [0, 1, 2].map((n) =>
      rig.driver.add(request(rig, B.VIRTIO_BLK_T_IN, n, [{ gpa: DATA + 512 * n, lengthBytes: 512, write: true }], n)),
    );
    rig.driver.notify();
    expect(rig.backend.waiting.map(({ what }) => what)).toEqual(['read 0', 'read 512', 'read 1024']);
    expect(rig.driver.used()).toEqual([]);
    await rig.backend.complete(2);
    expect(rig.driver.used().map(({ id }) => id)).toEqual([heads[2]]);
    await rig.backend.complete(0, true);
    expect(rig.driver.used().map(({ id }) => id)).toEqual([heads[0]]);
    expect([0, 1, 2].map((n) => status(rig, n))).toEqual([B.VIRTIO_BLK_S_IOERR, 0xee, B.VIRTIO_BLK_S_OK]);
    expect(rig.device.backendErrors).toBe(1);
    await rig.backend.complete(0);
    expect(rig.driver.used().map(({ id }) => id)).toEqual([heads[1]]);
  });

  test('a flush is answered when the backend has flushed, not before', async () => {
    const rig = setUp(new FakeBlock());
    rig.driver.add(request(rig, B.VIRTIO_BLK_T_FLUSH, 0, []));
    rig.driver.notify();
    await settle();
    expect(rig.backend.waiting.map(({ what }) => what)).toEqual(['flush']);
    expect(status(rig)).toBe(0xee);
    await rig.backend.complete(0, true);
    expect(status(rig)).toBe(B.VIRTIO_BLK_S_IOERR);
  });

  test('GET_ID', async () => {
    const rig = setUp(new FakeBlock());
    expect(await perform(rig, B.VIRTIO_BLK_T_GET_ID, 0, [{ gpa: DATA, lengthBytes: 20, write: true }])).toBe(0);
    const id = new Uint8Array(20);
    rig.machine.memory.read(DATA, id);
    expect(new TextDecoder().decode(id)).toBe('SERIAL-1' + '\0'.repeat(12));
  });

  test('DISCARD of one range', async () => {
    const rig = setUp(new FakeBlock());
    const { memory } = rig.machine;
    const range = async (sector: number, count: number, flags: number): Promise<number> => {
      memory.writeU64(DATA, BigInt(sector));
      memory.writeU32(DATA + 8, count);
      memory.writeU32(DATA + 12, flags);
      rig.driver.add(request(rig, B.VIRTIO_BLK_T_DISCARD, 0, [{ gpa: DATA, lengthBytes: 16 }]));
      rig.driver.notify();
      await settle();
      if (rig.backend.waiting.length > 0) await rig.backend.complete();
      return status(rig);
    };
    expect(await range(8, 8, 0)).toBe(B.VIRTIO_BLK_S_UNSUPP);
    rig.driver.start(DISCARD_FEATURE);
    rig.backend.bytes.fill(1);
    expect(await range(8, 8, 0)).toBe(B.VIRTIO_BLK_S_OK);
    expect([4095, 4096, 8191, 8192].map((at) => rig.backend.bytes[at])).toEqual([1, 0, 0, 1]);
    expect(await range(8, 8, 1)).toBe(B.VIRTIO_BLK_S_UNSUPP);
    expect(await range(2047, 2, 0)).toBe(B.VIRTIO_BLK_S_IOERR);
    expect(await range(0, 32769, 0)).toBe(B.VIRTIO_BLK_S_IOERR);
  });

  test.each([
    [1, 1],
    [8, 1],
    [1, 8],
  ])('DISCARD from sector %i, %i sectors, is no whole sector of a disk with 4096 bytes each', async (sector, count) => {
    const backend = new MemoryBackend(new Uint8Array(65536).fill(1), { logicalSectorBytes: 4096 });
    const rig = setUp(Object.assign(backend, { canDiscard: true }));
    rig.driver.start(DISCARD_FEATURE);
    const { memory } = rig.machine;
    memory.writeU64(DATA, BigInt(sector));
    memory.writeU32(DATA + 8, count);
    memory.writeU32(DATA + 12, 0);
    const data = [{ gpa: DATA, lengthBytes: 16 }];
    expect(await perform(rig, B.VIRTIO_BLK_T_DISCARD, 0, data)).toBe(B.VIRTIO_BLK_S_IOERR);
    expect(rig.device.badRequests).toBe(1);
    memory.writeU64(DATA, 8n);
    memory.writeU32(DATA + 8, 8);
    expect(await perform(rig, B.VIRTIO_BLK_T_DISCARD, 0, data)).toBe(B.VIRTIO_BLK_S_OK);
  });

  const bad: [string, number, number, Buffer[]][] = [
    ['beyond the end', B.VIRTIO_BLK_T_IN, 2047, [{ gpa: DATA, lengthBytes: 1024, write: true }]],
    ['far beyond the end', B.VIRTIO_BLK_T_IN, 2 ** 52, [{ gpa: DATA, lengthBytes: 512, write: true }]],
    ['half a sector', B.VIRTIO_BLK_T_OUT, 0, [{ gpa: DATA, lengthBytes: 100 }]],
    ['outside RAM', B.VIRTIO_BLK_T_OUT, 0, [{ gpa: 0xfee00000, lengthBytes: 512 }]],
    ['over the end of RAM', B.VIRTIO_BLK_T_IN, 0, [{ gpa: 0x7fff00, lengthBytes: 512, write: true }]],
    ['enormous', B.VIRTIO_BLK_T_IN, 0, [{ gpa: 0, lengthBytes: 0xfffffe00, write: true }]],
  ];
  test.each(bad)('%s fails alone', async (_name, type, sector, data) => {
    const rig = setUp(new MemoryBackend(new Uint8Array(1024 * 1024)));
    expect(await perform(rig, type, sector, data)).toBe(B.VIRTIO_BLK_S_IOERR);
    expect(rig.device.badRequests).toBe(1);
    expect(await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, [])).toBe(0);
  });

  test('unknown types are unsupported; the old barrier flag is not one', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(4096)));
    expect(await perform(rig, 2, 0, [])).toBe(B.VIRTIO_BLK_S_UNSUPP);
    expect(await perform(rig, 0x80000000 + B.VIRTIO_BLK_T_FLUSH, 0, [])).toBe(0);
  });

  test('a read-only disk says so and refuses writes', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(4096), { readOnly: true }));
    expect(rig.driver.read(L.REG_HOST_FEATURES, 4)).toBe(0x10000664);
    expect(await perform(rig, B.VIRTIO_BLK_T_OUT, 0, [{ gpa: DATA, lengthBytes: 512 }])).toBe(B.VIRTIO_BLK_S_IOERR);
  });

  test('a request without header or status byte is given back', async () => {
    const rig = setUp(new FakeBlock());
    rig.driver.add([{ gpa: HEADER, lengthBytes: 16 }]);
    rig.driver.add([
      { gpa: HEADER, lengthBytes: 8 },
      { gpa: STATUS, lengthBytes: 1, write: true },
    ]);
    rig.driver.add([
      { gpa: HEADER, lengthBytes: 16 },
      { gpa: 2 ** 40, lengthBytes: 1, write: true },
    ]);
    rig.driver.notify();
    await settle();
    expect(rig.driver.used()).toEqual([
      { id: 0, lengthBytes: 0 },
      { id: 1, lengthBytes: 1 },
    ]);
    expect(status(rig)).toBe(B.VIRTIO_BLK_S_IOERR);
  });
});

describe('interrupts', () => {
  test('INTx with ISR', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(4096)));
    await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, []);
    expect(rig.machine.interrupts.asserted()).toEqual({ isa: [3], pins: [16] });
    expect(rig.driver.read(L.REG_ISR, 1)).toBe(T.ISR_QUEUE);
    expect(rig.machine.interrupts.asserted()).toEqual({ isa: [], pins: [] });
    expect(rig.driver.read(L.REG_ISR, 1)).toBe(0);
    rig.driver.setAvailFlags(1);
    await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, []);
    expect(rig.machine.interrupts.asserted().pins).toEqual([]);
  });

  test('MSI with one message', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(4096)), false);
    const cap = rig.machine.capability(3, 5);
    rig.machine.setConfig(3, cap + 4, 4, 0xfee00000);
    rig.machine.setConfig(3, cap + 12, 2, 0x55);
    rig.machine.setConfig(3, cap + 2, 2, 1);
    await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, []);
    expect(rig.machine.interrupts.messages).toEqual([{ address: 0xfee00000n, data: 0x55 }]);
    expect(rig.machine.interrupts.asserted().pins).toEqual([]);
  });

  test('MSI-X by queue, and for a new capacity', async () => {
    const rig = setUp(new MemoryBackend(new Uint8Array(4096)));
    rig.driver.enableMsix();
    await perform(rig, B.VIRTIO_BLK_T_FLUSH, 0, []);
    rig.device.resized();
    expect(rig.machine.interrupts.messages.map(({ data }) => data)).toEqual([1, 0]);
    expect(rig.driver.read(L.REG_ISR, 1)).toBe(0);
  });
});

describe('life cycle', () => {
  test('what finishes after a reset does not touch the rings', async () => {
    const rig = setUp(new FakeBlock());
    rig.driver.add(request(rig, B.VIRTIO_BLK_T_FLUSH, 0, []));
    rig.driver.notify();
    rig.driver.start();
    await rig.backend.complete();
    expect(rig.driver.used()).toEqual([]);
    expect(status(rig)).toBe(0xee);
    expect(rig.machine.interrupts.asserted().pins).toEqual([]);
  });

  test('a read in flight while the driver resets the device: the reset shows when nothing can land any more', async () => {
    const stalls: Promise<void>[] = [];
    const backend = new FakeBlock();
    const machine = new FakeMachine({ stall: (_where, until) => stalls.push(until) });
    const device = new B.VirtioBlk({
      memory: machine.memory,
      log: (text) => machine.log.push(text),
      msix: true,
      backend,
      serial: '',
    });
    machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
    machine.pci.configure();
    machine.pci.start();
    const driver = new FakeDriver(machine);
    driver.start();
    const rig = { machine, device, driver, backend };
    driver.add(request(rig, B.VIRTIO_BLK_T_IN, 0, [{ gpa: DATA, lengthBytes: 512, write: true }]));
    driver.notify();
    driver.write(L.REG_STATUS, 1, 0);
    // The vCPU waits for this before its next access is answered; a driver that polls sees the bit.
    expect(stalls).toHaveLength(1);
    expect(driver.status).not.toBe(0);
    let drained = false;
    void stalls[0]?.then(() => (drained = true));
    await settle();
    expect(drained).toBe(false);
    backend.bytes.fill(0x77);
    await backend.complete();
    expect(drained).toBe(true);
    expect(driver.status).toBe(0);
    expect(driver.used()).toEqual([]);
    expect(status(rig)).toBe(0xee);
  });

  test('a pause waits for the backend, close closes it', async () => {
    const rig = setUp(new FakeBlock());
    rig.driver.add(request(rig, B.VIRTIO_BLK_T_FLUSH, 0, []));
    rig.driver.notify();
    let quiet = false;
    const done = rig.machine.pci.pause().then(() => {
      quiet = true;
    });
    await settle();
    expect(quiet).toBe(false);
    await rig.backend.complete();
    await done;
    await rig.machine.pci.close();
    expect(rig.backend.closed).toBe(true);
  });

  test('a snapshot with requests in flight: they are done again', async () => {
    const rig = setUp(new FakeBlock());
    rig.driver.enableMsix();
    rig.driver.add(request(rig, B.VIRTIO_BLK_T_FLUSH, 0, []));
    rig.driver.notify();
    await rig.backend.complete();
    rig.driver.add(request(rig, B.VIRTIO_BLK_T_IN, 3, [{ gpa: DATA, lengthBytes: 512, write: true }]));
    rig.driver.notify();
    const state = structuredClone(rig.machine.pci.save());

    const other = setUp(new FakeBlock());
    const image = new Uint8Array(rig.machine.memory.lowBytes);
    rig.machine.memory.read(0, image);
    other.machine.memory.write(0, image);
    other.machine.pci.restore(state);
    expect(other.machine.pci.save()).toEqual(state);
    expect(other.backend.waiting.map(({ what }) => what)).toEqual(['read 1536']);
    other.driver.lastUsed = 1;
    await other.backend.complete();
    expect(other.driver.used()).toEqual([{ id: 2, lengthBytes: 513 }]);
    expect(other.machine.interrupts.messages.map(({ data }) => data)).toEqual([1]);
  });

  test('the builder opens the disk with its options', async () => {
    const machine = new FakeMachine();
    const asked: unknown[] = [];
    const context = machine.context(
      {},
      {
        block: (settings) => {
          asked.push(settings);
          return Promise.resolve(new MemoryBackend(new Uint8Array(4096)));
        },
      },
    );
    const variables: Record<string, string> = { path: '/img', ro: 'true', sectorsize: '512/4096' };
    const where = { bus: 0, slot: 4, func: 0 };
    const fn = await B.buildVirtioBlk(context, where, { get: (name) => variables[name] });
    expect(fn).toBeInstanceOf(B.VirtioBlk);
    expect(asked).toEqual([
      {
        ...readSettings(BLOCK_OPTIONS, () => undefined),
        path: '/img',
        ro: true,
        sectorsize: { logicalBytes: 512, physicalBytes: 4096 },
      },
    ]);
    await expect(B.buildVirtioBlk(context, where, { get: () => undefined })).rejects.toThrow(
      'Missing "path" for block device.',
    );
  });
});

test('random registers, rings and requests never throw, and every request is answered', async () => {
  const random = new FakeRandom(0xb10c);
  const rig = setUp(new MemoryBackend(new Uint8Array(64 * 1024)));
  const { driver, machine, device } = rig;
  let answered = 0;
  const registers = [0, 4, 8, 12, 14, 16, 18, 19, 20, 22, 24, 40, 60, 84, 100];
  for (let round = 0; round < 8_000; round++) {
    if (round % 8 === 0) driver.start(random.pick([0, INDIRECT, 0xffffffff]));
    for (let i = 0; i < 8; i++) {
      const register = random.pick(registers as [number, ...number[]]);
      const size = random.pick<AccessSize>([1, 2, 4]);
      if (random.below(3) === 0) driver.read(register, size);
      // Mostly keep the queue alive: status, PFN and selector change in a part of the rounds only.
      else if (register !== 8 && register !== 18 && register !== 14) driver.write(register, size, random.nasty());
      else if (random.below(64) === 0) driver.write(register, size, random.nasty());
    }
    driver.write(L.REG_QUEUE_SELECT, 2, 0);
    for (let n = 0; n < 4; n++) {
      const type = random.pick([0, 1, 4, 8, 11, random.nasty()]);
      const sector = random.pick([random.below(140), random.nasty()]);
      const write = type === 0 || type === 8 || random.below(8) === 0;
      const data = Array.from({ length: random.below(4) }, () => ({
        gpa: random.pick([DATA, DATA, 0x1ffe00, random.nasty()]),
        lengthBytes: random.pick([512, 1024, 16, 0, random.nasty()]),
        write,
      }));
      const buffers = request(rig, type, sector, data, n);
      if (random.below(2) === 0) driver.add(buffers);
      else driver.addIndirect(0x60000 + 0x100 * n, buffers);
    }
    driver.notify();
    if (round % 8 === 7) {
      await settle();
      answered += driver.used().length;
    }
  }
  await device.pause();
  expect(answered).toBeGreaterThan(5000);
  expect(device.badRequests).toBeGreaterThan(1000);
  expect(machine.log.length).toBeLessThanOrEqual(16);
});
