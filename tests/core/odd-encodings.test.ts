/** Encodings that random instructions on a real processor showed to be taken wrongly, each by itself; tests/core/decorated.test.ts has their kind. */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CFGF_AMD,
  R_GPR,
  R_RIP,
  R_SEG,
  R_YMM,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_STRIDE,
  VCPU,
} from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { TIERS } from '../vectors/tiers.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS } from '../vectors/windows.ts';

const [RAX, RCX, RDX, RBX, RSP, RBP] = [0, 1, 2, 3, 4, 5];
const CS = 1;
const SS = 2;
const FS = 4;
const GS = 5;
const USER_CS = 0x33n;
const VECTOR_UD = 6;
const VECTOR_SS = 12;
const VECTOR_GP = 13;
const VECTOR_PF = 14;
const NON_CANONICAL = 0x1234000000000000n;

describe.each(TIERS)('odd encodings, %s', (tier) => {
  let module: WebAssembly.Module;
  let machine: UserMachine;
  beforeAll(async () => {
    module = await compileCore();
    machine = new UserMachine(module, tier === 'compiled');
  }, 300_000);

  const get = (number: number, on = machine): bigint => on.view.getBigUint64(VCPU + R_GPR + number * 8, true);

  /** Runs instructions one at a time; the exception of the last (-1: none), as vector. */
  function run(code: readonly number[], registers: Record<number, bigint>, steps = 1, on = machine): number {
    on.userSegments();
    on.writeCode(0, Uint8Array.from(code), code.length);
    for (const [number, value] of Object.entries(registers)) {
      on.view.setBigUint64(VCPU + R_GPR + Number(number) * 8, value, true);
    }
    on.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
    on.core.stateChanged();
    for (let step = 0; step < steps; step++) on.core.stepOne();
    const exception = on.core.lastException();
    return exception < 0 ? exception : exception & 0xff;
  }

  test('ENTER with a 32-bit operand on a 16-bit stack keeps the upper half of ESP in EBP', () => {
    machine.writeCode(0, Uint8Array.of(0x66, 0xc8, 8, 0, 0), 5);
    machine.userSegments();
    const segment = (number: number, base: bigint, access: number): void => {
      const at = VCPU + R_SEG + number * SEG_STRIDE;
      machine.view.setBigUint64(at + SEG_BASE, base, true);
      machine.view.setUint32(at + SEG_LIMIT, 0xffff, true);
      machine.view.setUint32(at + SEG_ACCESS, access, true);
    };
    segment(CS, BigInt(CODE_ADDRESS), 0x00fb);
    segment(SS, STACK_ADDRESS, 0x00f3);
    machine.view.setBigUint64(VCPU + R_GPR + RSP * 8, 0x12341000n, true);
    machine.view.setBigUint64(VCPU + R_GPR + RBP * 8, 0x55556666n, true);
    machine.view.setBigUint64(VCPU + R_RIP, 0n, true);
    machine.core.stateChanged();
    machine.core.stepOne();
    expect(machine.core.lastException()).toBe(-1);
    expect(get(RBP)).toBe(0x12340ffcn);
    expect(get(RSP)).toBe(0x12340ff4n);
  });

  test('a far CALL with REX.W on AMD: a pointer of 32 bits, a frame of 64', () => {
    const amd = new UserMachine(module, tier === 'compiled', CFGF_AMD);
    const image = new DataView(amd.image.buffer, amd.image.byteOffset);
    image.setUint32(0x100, CODE_ADDRESS + 0x40, true);
    image.setUint16(0x104, Number(USER_CS), true);
    const top = STACK_ADDRESS + 0x800n;
    expect(run([0x48, 0xff, 0x18], { [RAX]: DATA_ADDRESS + 0x100n, [RSP]: top }, 1, amd)).toBe(-1);
    expect(amd.view.getBigUint64(VCPU + R_RIP, true)).toBe(BigInt(CODE_ADDRESS + 0x40));
    expect(get(RSP, amd)).toBe(top - 16n);
    const frame = 0x3000 + 0x800 - 16;
    expect(image.getBigUint64(frame, true)).toBe(BigInt(CODE_ADDRESS + 3));
    expect(image.getBigUint64(frame + 8, true)).toBe(USER_CS);
  });

  test.each([
    [[0xf3, 0x49, 0x90], 2n, 1n],
    [[0xf3, 0x41, 0x90], 2n, 1n],
    [[0x66, 0xf3, 0x41, 0x90], 2n, 1n],
    [[0xf3, 0x48, 0x90], 1n, 2n],
  ])('F3 before 90 with REX.B is XCHG: %j', (code, rax, r8) => {
    expect(run(code, { [RAX]: 1n, 8: 2n })).toBe(-1);
    expect([get(RAX), get(8)]).toEqual([rax, r8]);
  });

  test.each([
    ['VPGATHERDD without SIB', [0xc4, 0xe2, 0x69, 0x90, 0x29]],
    ['66 XGETBV', [0x66, 0x0f, 0x01, 0xd0]],
    ['F2 XGETBV', [0xf2, 0x0f, 0x01, 0xd0]],
    ['F3 XGETBV', [0xf3, 0x0f, 0x01, 0xd0]],
    ['F3 CLAC', [0xf3, 0x0f, 0x01, 0xca]],
    ['LOCK PREFETCHW', [0xf0, 0x0f, 0x0d, 0x09]],
    ['LOCK PREFETCH', [0xf0, 0x0f, 0x0d, 0x01]],
    ['LOCK PUSH FS', [0xf0, 0x0f, 0xa0]],
    ['LOCK POP GS', [0xf0, 0x0f, 0xa9]],
  ])('%s is undefined', (_name, code) => {
    expect(run(code, { [RCX]: DATA_ADDRESS })).toBe(VECTOR_UD);
  });

  // A processor was asked: the manual has no NP before these.
  test.each([
    ['66 RDTSCP', [0x66, 0x0f, 0x01, 0xf9], -1],
    ['F3 RDTSCP', [0xf3, 0x0f, 0x01, 0xf9], -1],
    ['66 SWAPGS', [0x66, 0x0f, 0x01, 0xf8], VECTOR_GP],
    ['F2 SWAPGS', [0xf2, 0x0f, 0x01, 0xf8], VECTOR_GP],
  ])('%s is the instruction without its prefix', (_name, code, vector) => {
    expect(run(code, {})).toBe(vector);
  });

  test('an operand in FS that is not canonical is #GP, however near to the stack pointer', () => {
    // FBSTP FS:[RSP - 28]
    expect(run([0x64, 0xdf, 0x74, 0x24, 0xe4], { [RSP]: NON_CANONICAL })).toBe(VECTOR_GP);
    expect(run([0xdf, 0x74, 0x24, 0xe4], { [RSP]: NON_CANONICAL })).toBe(VECTOR_SS);
  });

  test.each([
    ['FS', FS, 0],
    ['GS', GS, 8],
  ])('66 F3 RDFSBASE and WRFSBASE have 32 bits: %s', (_name, number, modrmBit) => {
    const base = VCPU + R_SEG + number * SEG_STRIDE + SEG_BASE;
    const value = 0xaaaa_bbbb_0002_0a95n;
    expect(run([0x66, 0xf3, 0x0f, 0xae, 0xd0 | modrmBit], { [RAX]: value })).toBe(-1);
    expect(machine.view.getBigUint64(base, true)).toBe(value & 0xffff_ffffn);
    machine.view.setBigUint64(base, 0x7aaa_0002_0a95n, true);
    expect(run([0x66, 0xf3, 0x0f, 0xae, 0xc0 | modrmBit], { [RAX]: value })).toBe(-1);
    expect(get(RAX)).toBe(0x0002_0a95n);
  });

  test.each([
    ['LEAVE, 16 bits', [0x66, 0xc9]],
    ['LEAVE', [0xc9]],
    ['ENTER, nested', [0xc8, 16, 0, 3]],
  ])('%s with a frame pointer that is not canonical is #SS', (_name, code) => {
    expect(run(code, { [RSP]: STACK_ADDRESS + 0x800n, [RBP]: NON_CANONICAL })).toBe(VECTOR_SS);
  });

  test('a gather that faults has cleared the masks of the elements before, selected or not', () => {
    const xmm = (register: number): DataView => new DataView(machine.view.buffer, VCPU + R_YMM + register * 32, 32);
    machine.bytes.fill(0, VCPU + R_YMM, VCPU + R_YMM + 16 * 32);
    xmm(2).setUint32(0, 0x7149f2ca, true);
    xmm(2).setUint32(4, 0x80000000, true);
    xmm(1).setUint32(4, 0x20000000, true);
    // VGATHERDPS XMM0, [RCX + XMM1 * 4], XMM2
    expect(run([0xc4, 0xe2, 0x69, 0x92, 0x04, 0x89], { [RCX]: DATA_ADDRESS, [RDX]: 0n, [RBX]: 0n })).toBe(VECTOR_PF);
    expect(xmm(2).getBigUint64(0, true)).toBe(0x80000000_00000000n);
  });
});
