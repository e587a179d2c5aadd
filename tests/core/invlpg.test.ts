/**
 * INVLPG and what the TLB holds: the whole page that its operand lies in is forgotten, whatever its size, for every kind of access, and a global
 * one in other address spaces too. Each case first shows that the old translation is in use, so that there is something to forget.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  R_CPL,
  R_CR3,
  R_CR4,
  R_EFER,
  R_GPR,
  R_RIP,
  R_SEG,
  SEG_ACCESS,
  SEG_LIMIT,
  SEG_STRIDE,
  VCPU,
} from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { KERNEL_STACK_TOP, UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS } from '../vectors/windows.ts';

/** Guest-physical: the root of the tables, code of the kernel's, free pages for tables, RAM that holds nothing. */
const ROOT = 0x1000;
const CODE = 0x23000;
const TABLES = 0x28000;
const FREE = 0x210000;
const KERNEL = 0xffff800000000000n;
const [RAX, RSP, RDI] = [0, 4, 7];
const STACK = KERNEL_STACK_TOP - 0x100;
const [USER_CS, USER_SS] = [0x33n, 0x2bn];
const CR4_PAE = 1n << 5n;
const CR4_PCIDE = 1n << 17n;
const NO_FLUSH = 1n << 63n;
const [PRESENT, TABLE, USER, LARGE, GLOBAL] = [3n, 7n, 4n, 0x80n, 0x100n];
const VECTOR_PF = 14;
const RET = 0xc3;

/** What is executed, one instruction each. */
const INSTRUCTIONS = {
  read: [0x8a, 0x07], // mov al, [rdi]
  write: [0x88, 0x07], // mov [rdi], al
  call: [0xff, 0xd7], // call rdi
  invlpg: [0x0f, 0x01, 0x3f], // invlpg [rdi]
  setCr3: [0x0f, 0x22, 0xd8], // mov cr3, rax
  stac: [0x0f, 0x01, 0xcb],
  clac: [0x0f, 0x01, 0xca],
  iretq: [0x48, 0xcf],
} as const;
const NAMES = Object.keys(INSTRUCTIONS) as (keyof typeof INSTRUCTIONS)[];

/** A page: log2 of its size, where it begins in guest-physical memory, places in it that are used, and one where INVLPG points. */
const SIZES = [
  { name: '4 KiB', shift: 12n, frame: FREE, used: [0x123, 0x800], invalidated: 0xfff },
  { name: '2 MiB', shift: 21n, frame: 0x200000, used: [0x10123, 0xf_f800, 0x1f_f000], invalidated: 0x8_0000 },
  { name: '1 GiB', shift: 30n, frame: 0, used: [0x21_0123, 0x2f_f800, 0x3f_f000], invalidated: 0x3000_0000 },
] as const;
/** Number of the page after `base`: its entries are not those that come first. */
const PAGE_NUMBER = 0x3abn;
const HALVES = [
  { half: 'low', base: 0x4000_0000_0000n },
  { half: 'high', base: 0xffff_c000_0000_0000n },
] as const;
const KINDS = ['read', 'write', 'fetch', 'read with AC', 'read of a program'] as const;
type Kind = (typeof KINDS)[number];

class Kernel {
  readonly machine: UserMachine;

  constructor(module: WebAssembly.Module) {
    this.machine = new UserMachine(module);
    const { view, bytes, chunk0, core } = this.machine;
    NAMES.forEach((name, n) => bytes.set(INSTRUCTIONS[name], chunk0 + CODE + n * 16));
    this.machine.writeCode(0, Uint8Array.from(INSTRUCTIONS.read), 2);
    view.setBigUint64(VCPU + R_CR4, view.getBigUint64(VCPU + R_CR4, true) | CR4_PCIDE, true);
    this.machine.userSegments();
    // Into the kernel, by an exception.
    view.setBigUint64(VCPU + R_RIP, 0n, true);
    core.stepOne();
    expect(view.getUint32(VCPU + R_CPL, true)).toBe(0);
  }

  put(gpa: number, value: bigint): void {
    this.machine.view.setBigUint64(this.machine.chunk0 + gpa, value, true);
  }

  #set(register: number, value: bigint): void {
    this.machine.view.setBigUint64(VCPU + R_GPR + register * 8, BigInt.asUintN(64, value), true);
  }

  /** Executes an instruction of the kernel's. Returns what lastException() does. */
  do(name: keyof typeof INSTRUCTIONS, operand = 0n, kernel = KERNEL): number {
    const { view, core } = this.machine;
    view.setBigUint64(VCPU + R_RIP, kernel + BigInt(CODE + NAMES.indexOf(name) * 16), true);
    this.#set(RSP, kernel + BigInt(STACK));
    this.#set(name === 'setCr3' ? RAX : RDI, operand);
    core.stepOne();
    return core.lastException();
  }

  #step(): number {
    this.machine.core.stepOne();
    return this.machine.core.lastException();
  }

  /** Accesses an address; the exception's vector, or -1. */
  access(kind: Kind, address: bigint): number {
    switch (kind) {
      case 'read':
      case 'write':
        return vectorOf(this.do(kind, address));
      case 'fetch':
        expect(this.do('call', address)).toBe(-1);
        return vectorOf(this.#step());
      case 'read with AC': {
        expect(this.do('stac')).toBe(-1);
        const vector = vectorOf(this.do('read', address));
        expect(this.do('clac')).toBe(-1);
        return vector;
      }
      default: {
        [BigInt(CODE_ADDRESS), USER_CS, 2n, 0n, USER_SS].forEach((value, n) => {
          this.put(STACK + n * 8, value);
        });
        expect(this.do('iretq', address)).toBe(-1);
        const vector = vectorOf(this.#step());
        // INT3 follows.
        if (vector < 0) this.#step();
        expect(this.machine.view.getUint32(VCPU + R_CPL, true)).toBe(0);
        return vector;
      }
    }
  }

  switchTo(pcid: bigint): void {
    expect(this.do('setCr3', BigInt(ROOT) | pcid | NO_FLUSH)).toBe(-1);
  }

  /** Maps a page; returns the guest-physical address of its entry. */
  map(page: bigint, shift: bigint, frame: number, bits: bigint): number {
    let table = ROOT;
    let next = TABLES;
    for (let level = 39n; ; level -= 9n) {
      const entry = table + Number((page >> level) & 0x1ffn) * 8;
      if (level === shift) {
        this.put(entry, BigInt(frame) | PRESENT | bits | (shift > 12n ? LARGE : 0n));
        return entry;
      }
      this.put(entry, BigInt(next) | TABLE);
      table = next;
      next += 0x1000;
    }
  }
}

function vectorOf(exception: number): number {
  return exception < 0 ? -1 : exception & 0xff;
}

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileCore();
}, 300_000);

describe.each(HALVES)('$half addresses', ({ base }) => {
  describe.each(SIZES)('a page of $name', ({ shift, frame, used, invalidated }) => {
    test.each(KINDS)('%s', (kind) => {
      for (const global of [false, true]) {
        const kernel = new Kernel(module);
        const { bytes, chunk0 } = kernel.machine;
        const page = base + (PAGE_NUMBER << shift);
        const ofUser = kind === 'read with AC' || kind === 'read of a program';
        const entry = kernel.map(page, shift, frame, (ofUser ? USER : 0n) | (global ? GLOBAL : 0n));
        const addresses = used.map((offset) => page + BigInt(offset));
        // RAM is one piece in this machine.
        for (const offset of used) bytes[chunk0 + frame + offset] = RET;
        kernel.switchTo(1n);
        for (const address of addresses) expect(kernel.access(kind, address)).toBe(-1);
        kernel.put(entry, 0n);
        for (const address of addresses) expect(kernel.access(kind, address), 'held').toBe(-1);
        if (global) kernel.switchTo(2n);
        expect(kernel.do('invlpg', page + BigInt(invalidated))).toBe(-1);
        if (global) kernel.switchTo(1n);
        for (const address of addresses) expect(kernel.access(kind, address), 'forgotten').toBe(VECTOR_PF);
      }
    });
  });
});

test('a page of 4 MiB in 32-bit paging', () => {
  const kernel = new Kernel(module);
  const { view, bytes, chunk0, core } = kernel.machine;
  const base = 0x40000000n;
  kernel.put(TABLES, LARGE | PRESENT);
  const entry = TABLES + Number(base >> 22n) * 4;
  kernel.put(entry, LARGE | PRESENT);
  view.setBigUint64(VCPU + R_CR3, BigInt(TABLES), true);
  const cr4 = view.getBigUint64(VCPU + R_CR4, true);
  view.setBigUint64(VCPU + R_CR4, (cr4 & ~(CR4_PAE | CR4_PCIDE)) | 0x10n, true);
  view.setBigUint64(VCPU + R_EFER, 0n, true);
  // CS and DS of 32 bits.
  for (const [segment, access] of [
    [1, 0xc09b],
    [3, 0xc093],
  ] as const) {
    view.setUint32(VCPU + R_SEG + segment * SEG_STRIDE + SEG_ACCESS, access, true);
    view.setUint32(VCPU + R_SEG + segment * SEG_STRIDE + SEG_LIMIT, 0xffffffff, true);
  }
  core.stateChanged();
  const read = (offset: number): number => {
    expect(kernel.do('read', base + BigInt(offset), 0n)).toBe(-1);
    return view.getUint8(VCPU + R_GPR + RAX * 8);
  };
  bytes[chunk0 + FREE] = 0x5a;
  expect(read(FREE)).toBe(0x5a);
  // There is no memory.
  kernel.put(entry, 0x400000n | LARGE | PRESENT);
  expect(read(FREE)).toBe(0x5a);
  // The other 2 MiB of it.
  expect(kernel.do('invlpg', base + 0x1000n, 0n)).toBe(-1);
  expect(read(FREE)).toBe(0xff);
});
