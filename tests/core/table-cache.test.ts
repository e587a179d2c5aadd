/** Page tables that walks remember: what may stay known when an upper level changes, and what must not. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { R_CR2, R_GPR, R_RIP, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, DATA_ADDRESS, HIGH, HIGH_ADDRESS } from '../vectors/windows.ts';

const PAGE_ROOT = 0x1000;
const FRAME = 0xf_ffff_ffff_f000n;
const WRITABLE = 2n;
const [RAX, RDI] = [0, 7];
/** mov al, [rdi]; mov [rdi], al */
const CODE = Uint8Array.of(0x8a, 0x07, 0x88, 0x07);
const VECTOR_PF = 14;
/** Error code of a program's write that the tables forbid. */
const WRITE_DENIED = 7;

let machine: UserMachine;
beforeAll(async () => {
  machine = new UserMachine(await compileCore());
}, 300_000);
beforeEach(() => {
  machine.background.copy(machine.image);
  machine.writeCode(0, CODE, CODE.length);
});

/** Linear address of the page-directory entry of an address. */
function directoryEntry(address: bigint): number {
  let table = PAGE_ROOT;
  for (const shift of [39n, 30n]) {
    const at = table + Number((address >> shift) & 0x1ffn) * 8;
    table = Number(machine.view.getBigUint64(machine.chunk0 + at, true) & FRAME);
  }
  return machine.chunk0 + table + Number((address >> 21n) & 0x1ffn) * 8;
}

function change(entry: number, bits: (value: bigint) => bigint): void {
  machine.view.setBigUint64(entry, bits(machine.view.getBigUint64(entry, true)), true);
}

function begin(address: bigint): void {
  machine.userSegments();
  machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
  machine.view.setBigUint64(VCPU + R_GPR + RDI * 8, address, true);
}

function step(): number {
  machine.core.stepOne();
  return machine.core.lastException();
}

test('a right that an upper level was given holds without INVLPG: the fault forgets what denied it', () => {
  const entry = directoryEntry(DATA_ADDRESS);
  change(entry, (value) => value & ~WRITABLE);
  begin(DATA_ADDRESS);
  expect(step()).toBe(-1);
  change(entry, (value) => value | WRITABLE);
  expect(step()).toBe(-1);
});

test('a right that was taken away is gone once translations are dropped', () => {
  const entry = directoryEntry(DATA_ADDRESS);
  begin(DATA_ADDRESS + 8n);
  expect(step()).toBe(-1);
  expect(step()).toBe(-1);
  change(entry, (value) => value & ~WRITABLE);
  begin(DATA_ADDRESS + 8n);
  expect(step()).toBe(-1);
  expect(step()).toBe(VECTOR_PF | (WRITE_DENIED << 8));
  expect(machine.view.getBigUint64(VCPU + R_CR2, true)).toBe(DATA_ADDRESS + 8n);
  change(entry, (value) => value | WRITABLE);
});

test('another table in an upper level is the one that is read once translations are dropped', () => {
  const [data, high] = [directoryEntry(DATA_ADDRESS), directoryEntry(HIGH_ADDRESS)];
  const before = machine.view.getBigUint64(high, true);
  const seen = (): number => machine.view.getUint8(VCPU + R_GPR + RAX * 8);
  // Where the windows, which lie at the same place of their tables, have different bytes.
  const offset = machine.background.findIndex((byte, at) => byte !== machine.background[HIGH.imageOffset + at]);
  begin(HIGH_ADDRESS + BigInt(offset));
  expect(step()).toBe(-1);
  expect(seen()).toBe(machine.background[HIGH.imageOffset + offset]);
  change(high, () => machine.view.getBigUint64(data, true));
  begin(HIGH_ADDRESS + BigInt(offset));
  expect(step()).toBe(-1);
  expect(seen()).toBe(machine.background[offset]);
  change(high, () => before);
});
