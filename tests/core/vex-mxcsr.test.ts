/** VLDMXCSR and VSTMXCSR, which the C library's long double functions use where there is AVX. */
import { beforeAll, describe, expect, test } from 'vitest';
import { R_CR4, R_MXCSR, R_RIP, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, WINDOWS } from '../vectors/windows.ts';

const RSI = 6;
const VECTOR_UD = 6;
const CR4_OSXSAVE = 1 << 18;

describe('VLDMXCSR and VSTMXCSR', () => {
  let machine: UserMachine;
  const data = WINDOWS.find((window) => window.writable);

  beforeAll(async () => {
    machine = new UserMachine(await compileCore());
  }, 300_000);

  /** Executes one instruction with RSI at writable data; returns the vector of its exception, -1 for none. */
  function step(...code: number[]): number {
    if (!data) throw new Error('no window is writable');
    machine.writeCode(0, Uint8Array.from(code), code.length);
    machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
    machine.view.setBigUint64(VCPU + RSI * 8, BigInt(data.address), true);
    machine.core.stateChanged();
    machine.core.stepOne();
    const exception = machine.core.lastException();
    if (exception >= 0) machine.userSegments();
    return exception < 0 ? exception : exception & 0xff;
  }

  test('store and load', () => {
    if (!data) throw new Error('no window is writable');
    machine.view.setUint32(VCPU + R_MXCSR, 0x9fc0, true);
    expect(step(0xc5, 0xf8, 0xae, 0x1e)).toBe(-1);
    expect(machine.image.readUInt32LE(data.imageOffset)).toBe(0x9fc0);
    machine.image.writeUInt32LE(0x1f80, data.imageOffset);
    expect(step(0xc5, 0xf8, 0xae, 0x16)).toBe(-1);
    expect(machine.view.getUint32(VCPU + R_MXCSR, true)).toBe(0x1f80);
  });

  test.each([
    ['VEX.L', [0xc5, 0xfc, 0xae, 0x1e]],
    ['VEX.vvvv', [0xc5, 0xf0, 0xae, 0x1e]],
    ['a prefix', [0xc5, 0xf9, 0xae, 0x1e]],
    ['a register', [0xc5, 0xf8, 0xae, 0xde]],
    ['/4', [0xc5, 0xf8, 0xae, 0x26]],
  ])('%s is undefined', (_name, code) => {
    expect(step(...code)).toBe(VECTOR_UD);
  });

  test('are undefined while CR4.OSXSAVE is clear', () => {
    const cr4 = machine.view.getUint32(VCPU + R_CR4, true);
    machine.view.setUint32(VCPU + R_CR4, cr4 & ~CR4_OSXSAVE, true);
    expect(step(0xc5, 0xf8, 0xae, 0x1e)).toBe(VECTOR_UD);
    machine.view.setUint32(VCPU + R_CR4, cr4, true);
    expect(step(0xc5, 0xf8, 0xae, 0x1e)).toBe(-1);
  });
});
