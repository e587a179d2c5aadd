/** Instructions of a feature that is switched off are undefined, as CPUID says. */
import { beforeAll, expect, test } from 'vitest';
import { CFG_FEATURES_OFF, R_RIP, VCPU } from '../../core-as/layout.ts';
import { CPU_FEATURES } from '../../devices/machine/cpu-options.ts';
import { compileCore } from '../support/compile-core.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, WINDOWS } from '../vectors/windows.ts';

const RSI = 6;
const VECTOR_UD = 6;
let machine: UserMachine;

beforeAll(async () => {
  machine = new UserMachine(await compileCore());
}, 300_000);

/** Executes one instruction with RSI at writable, 64-byte aligned data; the vector of its exception, -1 for none. */
function step(code: readonly number[]): number {
  const data = WINDOWS.find((window) => window.writable);
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

test.each([
  ['sse4.2', 'CRC32 EAX, BL', [0xf2, 0x0f, 0x38, 0xf0, 0xc3]],
  ['popcnt', 'POPCNT EAX, EBX', [0xf3, 0x0f, 0xb8, 0xc3]],
  ['movbe', 'MOVBE EAX, [RSI]', [0x0f, 0x38, 0xf0, 0x06]],
  ['adx', 'ADCX EAX, EBX', [0x66, 0x0f, 0x38, 0xf6, 0xc3]],
  ['bmi2', 'RORX EAX, EBX, 1', [0xc4, 0xe3, 0x7b, 0xf0, 0xc3, 0x01]],
  ['lahf_lm', 'LAHF', [0x9f]],
  ['lahf_lm', 'SAHF', [0x9e]],
  ['xsaveopt', 'XSAVEOPT [RSI]', [0x0f, 0xae, 0x36]],
  ['xsavec', 'XSAVEC [RSI]', [0x0f, 0xc7, 0x26]],
  ['sse4.1', 'PMULLD XMM0, XMM1', [0x66, 0x0f, 0x38, 0x40, 0xc1]],
])('without %s, %s', (feature, _name, code) => {
  expect(step(code)).toBe(-1);
  machine.view.setBigUint64(CFG_FEATURES_OFF, 1n << BigInt(CPU_FEATURES.indexOf(feature)), true);
  try {
    expect(step(code)).toBe(VECTOR_UD);
  } finally {
    machine.view.setBigUint64(CFG_FEATURES_OFF, 0n, true);
  }
});
