/**
 * Random streams of 32-bit code, in compatibility mode, in the interpreter and in compiled code: all state afterwards is the same.
 *
 * As tests/core/jit-streams.test.ts, with what 32-bit code has beside: another stack, segments that are loaded and that have bases and limits,
 * addresses of 16 bits and at either end of the 4 GiB, and registers whose upper halves are not 0. STREAMS and STREAM_SEED do the same here.
 */
import { expect, test } from 'vitest';
import { R_JIT_ENTRY, VCPU } from '../../core-as/layout.ts';
import { BothTiers } from '../vectors/both-tiers.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { drawLegacy, withoutRex } from '../vectors/legacy-instructions.ts';
import { type Input, drawInput } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { TOP_ADDRESS } from '../vectors/user-machine.ts';
import { DATA_ADDRESS, READ_ONLY_ADDRESS, STACK_ADDRESS } from '../vectors/windows.ts';

const STREAMS = Number(process.env.STREAMS ?? 6000);
const SEED = Number(process.env.STREAM_SEED ?? 1);
/** Each compiled stream runs from so many sets of registers. */
const INPUTS = 3;
const LONGEST = 14;
const UPPER_HALF = 0xffffffff00000000n;

const RCX = 1;
const RSP = 4;
const RBP = 5;

/** As drawInput(), with places that 32-bit code reaches; the upper halves, which it does not see, are often not 0. */
function drawNarrow(prng: Prng): Input {
  const input = drawInput(prng);
  const { registers } = input;
  for (let n = 0; n < 8; n++) {
    const value = registers[n] ?? 0n;
    if (value >> 40n === 0x1234n) registers[n] = TOP_ADDRESS + BigInt(prng.below(0x2000));
    if (prng.chance(4)) registers[n] = BigInt.asUintN(32, BigInt(prng.below(64)) - 32n);
    const upper = prng.chance(2) ? 0n : (BigInt(prng.next()) << 32n) & UPPER_HALF;
    registers[n] = ((registers[n] ?? 0n) & 0xffffffffn) | upper;
  }
  const upper = (registers[RSP] ?? 0n) & UPPER_HALF;
  // Sometimes where a push or a pop crosses the end of the 4 GiB.
  const stack = prng.chance(16)
    ? BigInt.asUintN(32, BigInt(prng.below(24)) - 12n)
    : STACK_ADDRESS + 0x1000n + BigInt(prng.below(64) * 4);
  registers[RSP] = upper | stack;
  if (prng.chance(2)) registers[RBP] = stack + 16n;
  if (prng.chance(2)) registers[RCX] = BigInt(prng.below(24));
  return input;
}

test('random streams end in the same state in both tiers', { timeout: 600_000 + STREAMS * 10 }, async () => {
  const tiers = await BothTiers.of(true);
  const [, compiled] = tiers.machines;
  const integer = instructionPool(false).map(({ code }) => withoutRex(code));
  const wide = instructionPool(true).map(({ code }) => withoutRex(code));
  const prng = new Prng(SEED);
  let finished = 0;
  let entered = 0;
  for (let stream = 0; stream < STREAMS; stream++) {
    const length = 2 + prng.below(LONGEST - 1);
    const parts = Array.from({ length }, () =>
      prng.chance(2) ? drawLegacy(prng) : prng.pick(prng.chance(4) ? wide : integer),
    );
    const inputs = Array.from({ length: INPUTS }, () => drawNarrow(prng));
    compiled.view.setUint32(VCPU + R_JIT_ENTRY, 0, true);
    finished += tiers.run(parts, prng.below(0x1f00), inputs);
    if (compiled.view.getUint32(VCPU + R_JIT_ENTRY, true)) entered++;
  }
  expect(entered).toBe(STREAMS);
  // Some end in endless loops of their own, where the tiers may be at different places.
  expect(finished).toBeGreaterThan(STREAMS * INPUTS * 0.85);
});

/** PUSH POP CALL RET LEAVE and accesses by ESP and EBP next to each other. */
const STACK_MOVES = [
  [[0x50], [0x51], [0x52], [0x54]],
  [[0x55], [0x89, 0xe5], [0x53], [0x83, 0xec, 16], [0x89, 0x45, 0xf8], [0x8b, 0x4d, 8]],
  [[0x58], [0x59], [0x5a], [0x5c]],
  [[0xc9], [0x58]],
  [
    [0x89, 0x44, 0x24, 4],
    [0x8b, 0x0c, 0x24],
    [0xff, 0x74, 0x24, 8],
    [0x8f, 0x44, 0x24, 4],
  ],
  [[0x68, 1, 2, 3, 0x84], [0x6a, 0x80], [0x5b], [0x5e]],
  [[0x60], [0x61]],
  [[0xc8, 16, 0, 1], [0xc9]],
  [[0xe8, 1, 0, 0, 0], [0x40], [0x58]],
  [[0xe8, 2, 0, 0, 0], [0xeb, 4], [0xc2, 4, 0], [0x90]],
  [[0x66, 0x50], [0x66, 0x59], [0x9c], [0x5a]],
  [
    [0x64, 0xa1, 0xf8, 7, 0, 0],
    [0x64, 0x89, 0x0d, 0xfc, 7, 0, 0],
    [0x64, 0x8b, 0x15, 0xfd, 7, 0, 0],
  ],
  [
    [0x64, 0x8b, 0x00],
    [0x64, 0x00, 0x08],
    [0x65, 0x01, 0x10],
  ],
];

test('the stack and segments, also where accesses fault', { timeout: 300_000 }, async () => {
  const tiers = await BothTiers.of(true);
  const prng = new Prng(SEED);
  // Around the ends of windows, and of the 4 GiB: behind those there is a page that 32-bit code must not reach.
  const ends = [
    ...[DATA_ADDRESS, DATA_ADDRESS + 0x1000n, DATA_ADDRESS + 0x2000n, READ_ONLY_ADDRESS, READ_ONLY_ADDRESS + 0x1000n],
    ...[TOP_ADDRESS, TOP_ADDRESS + 0x1000n, TOP_ADDRESS + 0x2000n, TOP_ADDRESS + 0x2000n, 0n, 0x7f8n],
  ];
  const near = (): bigint =>
    BigInt.asUintN(32, prng.pick(ends) + BigInt(prng.below(12) * 4 - 24) + BigInt(prng.chance(4) ? prng.below(4) : 0));
  const inputs = Array.from({ length: 200 }, () => {
    const input = drawNarrow(prng);
    for (const n of [0, 1, RSP, RBP]) {
      input.registers[n] = near() | (prng.chance(2) ? 0n : (BigInt(prng.next()) << 32n) & UPPER_HALF);
    }
    return input;
  });
  const finished = tiers.runEach(STACK_MOVES, 0x100, inputs);
  // A RET may go to where nothing stops it.
  expect(finished).toBeGreaterThan(STACK_MOVES.length * inputs.length * 0.9);
});
