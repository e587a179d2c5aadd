/** A debugger's step is one instruction: what is pending waits for the next run, and a repeated string instruction does one element. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { R_GPR, R_RIP, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { TIERS } from '../vectors/tiers.ts';
import { type CoreExports, UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, DATA_ADDRESS } from '../vectors/windows.ts';

type Core = CoreExports & { debugStep(): number; raiseNmi(vcpu: number): void };

const RCX = 1;
const RSI = 6;
const RDI = 7;
const NOP = 0x90;
const HANDLERS = 0xffff800000014000n;
const HANDLER_MEMORY = 0x14000;
const JUMP_TO_SELF = [0xeb, 0xfe];
const VECTOR_NMI = 2;
const VECTOR_BYTES = 16;

describe.each(TIERS)('a step of a debugger, %s', (tier) => {
  let machine: UserMachine;
  let core: Core;
  beforeAll(async () => {
    machine = new UserMachine(await compileCore(), tier === 'compiled');
    core = machine.core as Core;
  }, 300_000);
  beforeEach(() => {
    machine.userSegments();
    machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
    core.stateChanged();
  });

  const rip = (): bigint => machine.view.getBigUint64(VCPU + R_RIP, true);
  const register = (number: number): bigint => machine.view.getBigUint64(VCPU + R_GPR + number * 8, true);
  const setRegister = (number: number, value: bigint): void =>
    machine.view.setBigUint64(VCPU + R_GPR + number * 8, value, true);

  test('ends at the next instruction while an NMI is pending, which comes after it', () => {
    machine.writeCode(0, Uint8Array.of(NOP, NOP, NOP), 3);
    machine.bytes.set(JUMP_TO_SELF, machine.chunk0 + HANDLER_MEMORY + VECTOR_NMI * VECTOR_BYTES);
    core.raiseNmi(0);
    for (const next of [1, 2, 3]) {
      core.debugStep();
      expect(rip()).toBe(BigInt(CODE_ADDRESS + next));
    }
    core.stepOne();
    expect(rip()).toBe(HANDLERS + BigInt(VECTOR_NMI * VECTOR_BYTES));
  });

  test.each([
    ['rep movsb', [0xf3, 0xa4], 1n],
    ['rep stosq', [0xf3, 0x48, 0xab], 8n],
    ['repe cmpsb', [0xf3, 0xa6], 1n],
  ] as const)('%s: an element at a time', (name, code, bytes) => {
    machine.writeCode(0, Uint8Array.from([...code, NOP]), code.length + 1);
    setRegister(RCX, 3n);
    // The same place, so that what is compared is equal.
    setRegister(RSI, DATA_ADDRESS);
    setRegister(RDI, DATA_ADDRESS);
    for (const left of [2n, 1n, 0n]) {
      core.debugStep();
      expect(register(RCX), name).toBe(left);
      expect(register(RDI)).toBe(DATA_ADDRESS + bytes * (3n - left));
      expect(rip()).toBe(BigInt(CODE_ADDRESS + (left === 0n ? code.length : 0)));
    }
  });
});
