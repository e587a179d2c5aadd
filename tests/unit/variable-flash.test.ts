import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { MmioBus } from '../../devices/bus/mmio-bus.ts';
import type { AccessSize } from '../../devices/bus/port-bus.ts';
import { VariableFlash, type FlashStore } from '../../devices/firmware/variable-flash.ts';
import { SnapshotError } from '../../devices/snapshot.ts';
import { openFlashFile } from '../../host-node/flash-file.ts';
import { FakeRandom } from '../support/fake-random.ts';

const END = 0xffff_f000;
const PROGRAM = 0x10;
const CLEAR_STATUS = 0x50;
const READ_STATUS = 0x70;
const READ_ARRAY = 0xff;

interface Chip {
  readonly mmio: MmioBus;
  readonly flash: VariableFlash;
  /** What the file would hold. */
  readonly kept: Uint8Array;
}

function chip(lengthBytes = 4096): Chip {
  const kept = Uint8Array.from({ length: lengthBytes }, (_, i) => i ^ 0x5a);
  const store: FlashStore = {
    lengthBytes,
    read: () => Promise.resolve(kept.slice()),
    write: (offset, bytes) => kept.set(bytes, offset),
    close: () => Promise.resolve(),
  };
  const mmio = new MmioBus();
  return { mmio, kept, flash: new VariableFlash(mmio, store, kept.slice(), END) };
}

const BASE = END - 4096;

describe('commands', () => {
  test('the array is read at any width, and ends where it ends', () => {
    const { mmio } = chip();
    expect(mmio.read(BASE, 1)).toBe(0x5a);
    expect(mmio.read(BASE + 1, 2)).toBe(0x585b);
    expect(mmio.read(BASE + 4, 4)).toBe(0x5d5c5f5e);
    expect(mmio.read(END - 1, 1)).toBe(0xa5);
    expect(mmio.read(END - 1, 2)).toBe(0xffff);
    expect(mmio.read(BASE - 1, 1)).toBe(0xff);
    expect(mmio.unclaimedReads).toBe(1);
  });

  test('a byte is programmed after its command, kept at once, and read back', () => {
    const { mmio, kept } = chip();
    mmio.write(BASE + 7, 1, PROGRAM);
    expect(mmio.read(BASE + 7, 1)).toBe(0x5d);
    expect(kept[7]).toBe(0x5d);
    mmio.write(BASE + 7, 1, 0xee);
    expect(kept[7]).toBe(0xee);
    expect(mmio.read(BASE + 7, 1)).toBe(0xee);
    // One command, one store: what follows is a command again.
    mmio.write(BASE + 8, 1, 0x33);
    expect(kept[8]).toBe(8 ^ 0x5a);
    expect(mmio.read(BASE + 8, 1)).toBe(8 ^ 0x5a);
  });

  test('as many bytes as the store has', () => {
    const { mmio, kept } = chip();
    mmio.write(BASE, 4, 0xaabbcc00 | PROGRAM);
    mmio.write(BASE + 100, 4, 0x44332211);
    expect([...kept.subarray(100, 105)]).toEqual([0x11, 0x22, 0x33, 0x44, 104 ^ 0x5a]);
    mmio.write(BASE, 1, PROGRAM);
    mmio.write(BASE + 200, 2, 0x6655);
    expect([...kept.subarray(200, 203)]).toEqual([0x55, 0x66, 202 ^ 0x5a]);
  });

  test.each([CLEAR_STATUS, READ_STATUS])('after 0x%i one read is the status, which is always zero', (command) => {
    const { mmio } = chip();
    mmio.write(BASE, 1, command);
    expect(mmio.read(BASE + 3, 4)).toBe(0);
    expect(mmio.read(BASE, 1)).toBe(0x5a);
  });

  test('READ ARRAY takes a status command back', () => {
    const { mmio } = chip();
    mmio.write(BASE, 1, READ_STATUS);
    mmio.write(BASE, 1, READ_ARRAY);
    expect(mmio.read(BASE, 1)).toBe(0x5a);
  });

  test('a store across the end changes nothing', () => {
    const { mmio, kept } = chip();
    const before = kept.slice();
    mmio.write(BASE, 1, PROGRAM);
    mmio.write(END - 1, 2, 0);
    expect(kept).toEqual(before);
    // The command still waits for its data.
    mmio.write(END - 1, 1, 0);
    expect(kept[4095]).toBe(0);
  });

  test("EDK II's question whether this is a flash chip", () => {
    const { mmio } = chip();
    const original = mmio.read(BASE, 1);
    mmio.write(BASE, 1, CLEAR_STATUS);
    const answer = mmio.read(BASE, 1);
    // RAM would show the command, ROM the original.
    expect(answer).toBe(0);
    expect(answer).not.toBe(original);
    mmio.write(BASE, 1, READ_ARRAY);
    expect(mmio.read(BASE, 1)).toBe(original);
  });
});

describe('snapshots', () => {
  test.each([PROGRAM, CLEAR_STATUS, READ_STATUS, READ_ARRAY, 0x42])('in the middle of command %i', (command) => {
    const first = chip();
    first.mmio.write(BASE, 1, command);
    const saved = first.flash.save();
    const second = chip();
    second.flash.restore(saved);
    for (const { mmio } of [first, second]) mmio.write(BASE + 9, 1, 0x99);
    expect(second.kept).toEqual(first.kept);
    expect(second.mmio.read(BASE + 9, 1)).toBe(first.mmio.read(BASE + 9, 1));
    expect(second.flash.save()).toEqual(first.flash.save());
  });

  test('what is no state of it is refused, and changes nothing', () => {
    const { flash, mmio } = chip();
    mmio.write(BASE, 1, READ_STATUS);
    const before = flash.save();
    for (const fields of [{}, { command: 256 }, { command: -1 }, { command: 1.5 }, { command: '16' }]) {
      expect(() => flash.restore({ ...before, fields })).toThrow(SnapshotError);
    }
    expect(() => flash.restore({ ...before, kind: 'pci' })).toThrow(SnapshotError);
    expect(() => flash.restore({ ...before, version: 2 })).toThrow(SnapshotError);
    expect(flash.save()).toEqual(before);
  });
});

test('1,000,000 random accesses agree with the rules written down once more, across snapshots', () => {
  const random = new FakeRandom(0xf1a5);
  const lengthBytes = 4096 + 3;
  const base = END - lengthBytes;
  let current = chip(lengthBytes);
  const model = current.kept.slice();
  let command = READ_ARRAY;
  const commands = [PROGRAM, PROGRAM, PROGRAM, CLEAR_STATUS, READ_STATUS, READ_ARRAY];
  for (let round = 0; round < 1_000_000; round++) {
    const size = ([1, 2, 4] as const)[random.below(3)] as AccessSize;
    const offset = random.below(20) === 0 ? lengthBytes - random.below(5) : random.below(lengthBytes);
    const inside = offset + size <= lengthBytes;
    if (random.below(2) === 0) {
      const value = (random.below(0x1000000) * 256 + (commands[random.below(8)] ?? random.below(256))) >>> 0;
      current.mmio.write(base + offset, size, value);
      if (!inside) continue;
      if (command === PROGRAM) {
        for (let i = 0; i < size; i++) model[offset + i] = value >>> (8 * i);
        command = READ_ARRAY;
      } else command = value & 0xff;
    } else {
      let expected = 0;
      for (let i = 0; i < size; i++) expected += (model[offset + i] ?? 0) * 256 ** i;
      if (!inside) expected = 256 ** size - 1;
      else if (command === CLEAR_STATUS || command === READ_STATUS) {
        expected = 0;
        command = READ_ARRAY;
      }
      const value = current.mmio.read(base + offset, size);
      if (value !== expected) throw new Error(`round ${round}: ${value} is not ${expected}`);
    }
    if (random.below(10_000) === 0) {
      const saved = current.flash.save();
      const next = chip(lengthBytes);
      // A machine that goes on finds the file as this one left it.
      for (const [at, byte] of current.kept.entries()) {
        next.mmio.write(base, 1, PROGRAM);
        next.mmio.write(base + at, 1, byte);
      }
      next.flash.restore(saved);
      current = next;
    }
  }
  expect(current.kept).toEqual(model);
});

describe('the file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'webhyve-flash-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('has every byte when write() returns, and no other changed', async () => {
    const path = join(directory, 'vars');
    writeFileSync(path, 'abcdefgh');
    const store = await openFlashFile(path);
    expect(store.lengthBytes).toBe(8);
    expect(Buffer.from(await store.read()).toString()).toBe('abcdefgh');
    store.write(3, Uint8Array.of(0x58, 0x59));
    expect(readFileSync(path, 'utf8')).toBe('abcXYfgh');
    await store.close();
    await store.close();
    expect(() => store.write(0, Uint8Array.of(1))).toThrow();
  });

  test.each([
    ['none', 'ENOENT'],
    ['.', 'EISDIR'],
  ])('%s cannot be one', async (name, code) => {
    await expect(openFlashFile(join(directory, name))).rejects.toMatchObject({ code });
  });
});
