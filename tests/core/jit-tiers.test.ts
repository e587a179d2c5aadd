/** When code is compiled, and compiled again: the budget (core-as/jit/heat.ts), and entries of regions (core-as/jit/slots.ts). */
import { expect, test } from 'vitest';
import {
  CACHES,
  CACHE_JIT_COUNTS,
  COUNT_INSTRUCTIONS,
  COUNT_REGIONS,
  R_GPR,
  R_RIP,
  VCPU,
} from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS } from '../vectors/windows.ts';

interface HeatExports {
  _start(): void;
  HEAT_STEP: { value: number };
  WARM: { value: number };
  earn(): void;
  spend(bytes: number): void;
  hotNow(): number;
}

test('time in the interpreter lowers the entries that make a block hot, what is compiled raises them', async () => {
  const memory = new WebAssembly.Memory({ initial: 512, maximum: 65536, shared: true });
  const { exports } = new WebAssembly.Instance(await compileCore('tests/core/heat.entry.ts'), { env: { memory } });
  const heat = exports as unknown as HeatExports;
  heat._start();
  const most = heat.hotNow();
  const earnFor = (steps: number): void => {
    for (let step = 0; step < steps; step++) heat.earn();
  };
  earnFor(1000);
  const between = heat.hotNow();
  expect(between).toBeLessThan(most);
  earnFor(1_000_000);
  const least = heat.hotNow();
  expect(least).toBeLessThan(between);
  // A block is looked at every HEAT_STEP entries; hot, it is more than warm.
  expect(Math.ceil(least / heat.HEAT_STEP.value) * heat.HEAT_STEP.value).toBeGreaterThan(heat.WARM.value);
  heat.spend(10_000);
  expect(heat.hotNow()).toBeGreaterThan(least);
  for (let module = 0; module < 1000; module++) heat.spend(1_000_000);
  expect(heat.hotNow()).toBe(most);
});

const [RBX, R15] = [3, 15];
const CASES = 16;
const CASE_BYTES = 16;

/** A loop over a table of 16 cases, of which a region knows 8: it goes from region to region all the time. */
function loopOverCases(): { code: Uint8Array; cases: number; stop: number } {
  // mov ecx, r15d; and ecx, 15; shl ecx, 4; add rcx, rbx; jmp rcx
  const head = [0x44, 0x89, 0xf9, 0x83, 0xe1, 0x0f, 0xc1, 0xe1, 0x04, 0x48, 0x01, 0xd9, 0xff, 0xe1, 0x90, 0x90];
  const code = new Uint8Array(head.length + CASES * CASE_BYTES).fill(0x90);
  code.set(head);
  for (let n = 0; n < CASES; n++) {
    const at = head.length + n * CASE_BYTES;
    // dec r15; jnz start; jmp to itself
    code.set([0x49, 0xff, 0xcf, 0x0f, 0x85, 0, 0, 0, 0, 0xeb, 0xfe], at);
    new DataView(code.buffer).setInt32(at + 5, -(at + 9), true);
  }
  // The last one has R15 = 1.
  return { code, cases: head.length, stop: head.length + CASE_BYTES + 9 };
}

test('a region that is entered very often is formed again', { timeout: 300_000 }, async () => {
  const machine = new UserMachine(await compileCore(), true);
  machine.core.compileAtOnce(0);
  const { code, cases, stop } = loopOverCases();
  machine.writeCode(0, code, code.length);
  const count = (offset: number): number => Number(machine.view.getBigUint64(CACHES + CACHE_JIT_COUNTS + offset, true));
  const run = (rounds: number): void => {
    machine.userSegments();
    machine.view.setBigUint64(VCPU + R_GPR + RBX * 8, BigInt(CODE_ADDRESS + cases), true);
    machine.view.setBigUint64(VCPU + R_GPR + R15 * 8, BigInt(rounds), true);
    machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS), true);
    machine.core.stateChanged();
    machine.core.run(7 * rounds);
    expect(machine.view.getBigUint64(VCPU + R_RIP, true)).toBe(BigInt(CODE_ADDRESS + stop));
    expect(machine.view.getBigUint64(VCPU + R_GPR + R15 * 8, true)).toBe(0n);
  };
  run(200_000);
  const first = count(COUNT_REGIONS);
  expect(first).toBeGreaterThan(0);
  run(50_000);
  expect(count(COUNT_REGIONS), 'what is hot has been compiled').toBe(first);
  const before = count(COUNT_INSTRUCTIONS);
  run(5_000_000);
  expect(count(COUNT_REGIONS)).toBeGreaterThan(first);
  // Seven instructions a round.
  expect(count(COUNT_INSTRUCTIONS) - before).toBeGreaterThan(7 * 5_000_000 * 0.9);
});
