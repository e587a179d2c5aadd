/** virtio-9p through fake guest memory: messages in chains, reset and pause with work in flight, snapshots in the middle of a session. */
import { expect, test } from 'vitest';
import type { ShareNode } from '../../devices/backends/share.ts';
import { MemoryTree } from '../../devices/share/memory-tree.ts';
import * as M from '../../devices/share/messages.ts';
import * as L from '../../devices/virtio/transport/legacy.ts';
import { VirtioNineP } from '../../devices/virtio/nine-p.ts';
import { settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import { FakeDriver } from '../support/fake-driver.ts';

const REQUEST = 0x40000;
const REPLY = 0x60000;
const REPLY_BYTES = 0x20000;

function setUp(tree = new MemoryTree(), shareName = 'files') {
  const { machine, device } = FakeMachine.with(
    (it) =>
      new VirtioNineP({
        memory: it.memory,
        msix: true,
        log: (text) => it.log.push(text),
        backend: tree,
        shareName,
        readOnly: false,
      }),
  );
  const driver = new FakeDriver(machine);
  driver.start(0xffffffff);
  return { machine, device, driver, tree };
}

type Rig = ReturnType<typeof setUp>;

/** Sends a message in three pieces and takes its answer from two. */
function send({ machine, driver }: Rig, type: number, body: M.MessageWriter, replyBytes = REPLY_BYTES): void {
  const message = M.frame(type, 1, body.bytes);
  machine.memory.write(REQUEST, message);
  driver.add([
    { gpa: REQUEST, lengthBytes: 5 },
    { gpa: REQUEST + 5, lengthBytes: 3 },
    { gpa: REQUEST + 8, lengthBytes: message.length - 8 },
    { gpa: REPLY, lengthBytes: Math.min(9, replyBytes), write: true },
    { gpa: REPLY + 9, lengthBytes: Math.max(0, replyBytes - 9), write: true },
  ]);
  driver.notify();
}

async function call(rig: Rig, type: number, body: M.MessageWriter): Promise<Uint8Array> {
  send(rig, type, body);
  for (let i = 0; i < 10; i++) await settle();
  const [used] = rig.driver.used();
  const reply = new Uint8Array(used?.lengthBytes ?? 0);
  rig.machine.memory.read(REPLY, reply);
  const view = new DataView(reply.buffer);
  expect(view.getUint32(0, true)).toBe(reply.length);
  return reply;
}

const writer = (): M.MessageWriter => new M.MessageWriter();

async function mount(rig: Rig): Promise<void> {
  const version = await call(rig, M.TVERSION, writer().u32(65_536).string('9P2000.L'));
  expect(new TextDecoder().decode(version.subarray(13))).toBe('9P2000.L');
  await call(rig, M.TATTACH, writer().u32(0).u32(M.NOFID).string('').string('').u32(0));
}

async function open(rig: Rig, name: string, fid: number, flags = 2): Promise<void> {
  await call(rig, M.TWALK, writer().u32(0).u32(fid).u16(1).string(name));
  expect((await call(rig, M.TLOPEN, writer().u32(fid).u32(flags)))[4]).toBe(M.TLOPEN + 1);
}

const read = (rig: Rig, fid: number, count: number): Promise<Uint8Array> =>
  call(rig, M.TREAD, writer().u32(fid).u64(0n).u32(count));

test('identification and the mount tag', () => {
  const { machine, driver } = setUp(undefined, 'größe');
  expect(machine.config(3, 0, 4)).toBe(0x10091af4);
  expect(machine.config(3, 0x2c, 4)).toBe(0x00091af4);
  expect(machine.config(3, 8, 4)).toBe(0x01000000);
  expect(driver.read(L.REG_HOST_FEATURES, 4) & 1).toBe(1);
  expect(driver.size).toBe(256);
  const tag = [...new TextEncoder().encode('größe')];
  expect(driver.read(L.CONFIG_OFFSET, 2)).toBe(tag.length);
  expect(tag.map((_, i) => driver.read(L.CONFIG_OFFSET + 2 + i, 1))).toEqual(tag);
});

test('a file goes between guest memory and the share', async () => {
  const rig = setUp(new MemoryTree({ files: { data: 'hello, guest' } }));
  await mount(rig);
  await open(rig, 'data', 1);
  const reply = await read(rig, 1, 100);
  expect(new TextDecoder().decode(reply.subarray(11))).toBe('hello, guest');
  const text = new TextEncoder().encode('HELLO');
  await call(rig, M.TWRITE, writer().u32(1).u64(0n).u32(text.length).append(text));
  expect(rig.tree.readText('data')).toBe('HELLO, guest');
  expect(rig.machine.interrupts.asserted().pins).toEqual([16]);
  expect(rig.device.counters()).toMatchObject({ '9P bytes read': 12, '9P bytes written': 5, 'bad requests': 0 });
});

test('bad chains and messages are counted, and the next one is served', async () => {
  const rig = setUp();
  await mount(rig);
  const { machine, driver, device } = rig;
  driver.add([{ gpa: 0xfee00000, lengthBytes: 100 }]);
  driver.add([{ gpa: REQUEST, lengthBytes: 100 }]);
  driver.add([{ gpa: REPLY, lengthBytes: 100, write: true }]);
  driver.add([
    { gpa: 0xfee00000, lengthBytes: 100 },
    { gpa: REPLY, lengthBytes: 100, write: true },
  ]);
  machine.memory.write(REQUEST, M.frame(M.TGETATTR, 1, writer().u32(0).u64(0n).bytes));
  driver.add([
    { gpa: REQUEST, lengthBytes: 19 },
    { gpa: 0xfee00000, lengthBytes: 1000, write: true },
  ]);
  driver.notify();
  for (let i = 0; i < 10; i++) await settle();
  expect(driver.used().map(({ lengthBytes }) => lengthBytes)).toEqual([0, 0, 0, 0, 0]);
  expect(device.badRequests).toBe(5);
  expect((await call(rig, M.TGETATTR, writer().u32(0).u64(0n))).length).toBe(160);
});

/** A tree with a file that answers when it is told to. */
async function slowTree(): Promise<{ tree: MemoryTree; answer: () => void }> {
  let answer = (): void => undefined;
  const held = new Promise<void>((resolve) => (answer = resolve));
  const tree = new MemoryTree({ files: { slow: 'data' } });
  const node: ShareNode = await (await tree.root()).lookup('slow');
  node.open = () => ({
    read: async (_offset, views) => {
      await held;
      for (const view of views) view.fill(0x77);
      return views.reduce((sum, view) => sum + view.length, 0);
    },
    write: () => 0,
    sync: () => undefined,
    close: () => undefined,
  });
  return { tree, answer: () => answer() };
}

test('a reset with a read in flight counts as done when nothing lands any more', async () => {
  const { tree, answer } = await slowTree();
  const rig = setUp(tree);
  await mount(rig);
  await open(rig, 'slow', 1, 0);
  send(rig, M.TREAD, writer().u32(1).u64(0n).u32(64));
  await settle();
  rig.driver.write(L.REG_STATUS, 1, 0);
  expect(rig.driver.status).not.toBe(0);
  answer();
  for (let i = 0; i < 10; i++) await settle();
  expect(rig.driver.status).toBe(0);
  rig.driver.start(0xffffffff);
  expect(rig.driver.used()).toEqual([]);
  await mount(rig);
  expect(rig.device.counters()['9P fids']).toBe(1);
});

test('a pause with a read in flight ends with its answer', async () => {
  const { tree, answer } = await slowTree();
  const rig = setUp(tree);
  await mount(rig);
  await open(rig, 'slow', 1, 0);
  send(rig, M.TREAD, writer().u32(1).u64(0n).u32(64));
  await settle();
  let paused = false;
  const pause = rig.device.pause().then(() => (paused = true));
  await settle();
  expect(paused).toBe(false);
  answer();
  await pause;
  expect(rig.driver.used()).toEqual([expect.objectContaining({ lengthBytes: 75 })]);
  rig.device.resume();
});

test('a session goes on after a snapshot: open files, directories, attributes, locks', async () => {
  const tree = new MemoryTree({ files: { 'd/file': 'contents', gone: 'x' } });
  const rig = setUp(tree);
  await mount(rig);
  await call(rig, M.TWALK, writer().u32(0).u32(1).u16(2).string('d').string('file'));
  await call(rig, M.TLOPEN, writer().u32(1).u32(2));
  await open(rig, 'gone', 2, 0);
  await open(rig, 'd', 3, 0);
  await call(rig, M.TLOCK, writer().u32(1).u8(1).u32(0).u64(0n).u64(10n).u32(7).string('me'));
  await rig.device.pause();
  const state = structuredClone(rig.machine.pci.save());
  rig.device.resume();
  tree.remove('gone');

  const copy = setUp(tree);
  copy.machine.memory.write(0x10000, bytesOf(rig, 0x10000, 0x8000));
  copy.machine.pci.restore(state);
  copy.driver.nextAvail = rig.driver.nextAvail;
  copy.driver.lastUsed = rig.driver.lastUsed;
  await copy.device.pause();
  expect(copy.machine.pci.save()).not.toEqual(setUp().machine.pci.save());
  copy.device.resume();
  expect(new TextDecoder().decode((await read(copy, 1, 100)).subarray(11))).toBe('contents');
  const stale = await read(copy, 2, 100);
  expect([stale[4], stale[7]]).toEqual([M.RLERROR, 116]);
  expect((await call(copy, M.TREADDIR, writer().u32(3).u64(0n).u32(500)))[4]).toBe(M.TREADDIR + 1);
  const lock = writer().u32(1).u8(1).u32(0).u64(5n).u64(1n).u32(8).string('other');
  expect((await call(copy, M.TLOCK, lock))[7]).toBe(1);
});

function bytesOf(rig: Rig, gpa: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  rig.machine.memory.read(gpa, bytes);
  return bytes;
}
