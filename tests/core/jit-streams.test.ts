/**
 * Random streams of instructions in the interpreter and in compiled code: all state afterwards is the same.
 *
 * The instructions are those of the vectors, every form of them; a stream is a dozen, run from random registers of which many point into the
 * mapped windows. It ends at a jump to itself, as every exception's handler does. STREAMS=number in the environment runs so many (each
 * several times: 3,400,000 take more than an hour), STREAM_SEED another series.
 */
import { expect, test } from 'vitest';
import { BothTiers } from '../vectors/both-tiers.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { type Input, drawInput } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { DATA_ADDRESS, HIGH_ADDRESS, READ_ONLY_ADDRESS } from '../vectors/windows.ts';

const STREAMS = Number(process.env.STREAMS ?? 6000);
const SEED = Number(process.env.STREAM_SEED ?? 1);
/** Each compiled stream runs from so many sets of registers. */
const INPUTS = 3;
const LONGEST = 14;

test('random streams end in the same state in both tiers', { timeout: 600_000 + STREAMS * 10 }, async () => {
  const tiers = await BothTiers.of();
  const integer = instructionPool(false).map(({ code }) => code);
  const wide = instructionPool(true).map(({ code }) => code);
  const prng = new Prng(SEED);
  let finished = 0;
  for (let stream = 0; stream < STREAMS; stream++) {
    const length = 2 + prng.below(LONGEST - 1);
    const parts = Array.from({ length }, () => prng.pick(prng.chance(4) ? wide : integer));
    const inputs = Array.from({ length: INPUTS }, () => drawInput(prng));
    finished += tiers.run(parts, prng.below(0x1f00), inputs);
  }
  // Some end in endless loops of their own, where the tiers may be at different places.
  expect(finished).toBeGreaterThan(STREAMS * INPUTS * 0.9);
});

/** EAX op= ECX and its like, in each size: what compiled code remembers instead of computing flags. */
function flagSetters(): number[][] {
  const sized = (opcode: readonly number[], ...rest: number[]): number[][] => {
    const [last = 0] = opcode.slice(-1);
    const wide = [...opcode.slice(0, -1), last | 1];
    return [
      [...opcode, ...rest],
      [0x66, ...wide, ...rest],
      [...wide, ...rest],
      [0x48, ...wide, ...rest],
    ];
  };
  const shifts = [0, 1, 2, 3, 4, 5, 7].flatMap((operation) => {
    const modrm = 0xc0 | (operation << 3);
    const byImmediate = [0, 1, 5, 7, 15, 16, 31, 32, 63].flatMap((count) => sized([0xc0], modrm, count));
    return [...byImmediate, ...sized([0xd0], modrm), ...sized([0xd2], modrm)];
  });
  return [
    // ADD OR ADC SBB AND SUB XOR CMP, and SUB of a register from itself.
    ...Array.from({ length: 8 }, (_, operation) => sized([operation << 3], 0xc8)).flat(),
    ...sized([0x28], 0xc0),
    ...sized([0x84], 0xc8),
    // ADD, ADC and CMP of an immediate.
    ...[0xc0, 0xd0, 0xf8].flatMap((modrm) => [
      [0x80, modrm, 0x80],
      [0x66, 0x83, modrm, 0x80],
      [0x83, modrm, 1],
      [0x48, 0x83, modrm, 0xff],
    ]),
    // INC DEC NEG NOT
    ...[0xc0, 0xc8].flatMap((modrm) => sized([0xfe], modrm)),
    ...[0xd8, 0xd0].flatMap((modrm) => sized([0xf6], modrm)),
    ...shifts,
    // IMUL of two and three operands, MUL, SHLD, BT, POPCNT, CLC, STC, CMC
    [0x66, 0x0f, 0xaf, 0xc1],
    [0x0f, 0xaf, 0xc1],
    [0x48, 0x0f, 0xaf, 0xc1],
    [0x48, 0x6b, 0xc1, 0x85],
    [0x6b, 0xc1, 0x85],
    [0xf7, 0xe1],
    [0x0f, 0xa5, 0xc8],
    [0x0f, 0xa3, 0xc8],
    [0xf3, 0x0f, 0xb8, 0xc1],
    [0xf8],
    [0xf9],
    [0xf5],
  ];
}

/** SETcc of each condition into memory at RBX, then a branch and a move by each. */
const CONDITIONS = Array.from({ length: 16 }, (_, code) => [
  Uint8Array.of(0x0f, 0x90 | code, 0x43, code),
  // Jcc over an INC of R8D whose flags the LEA form does not have: LEA R8, [R8 * 2 + 1].
  Uint8Array.of(0x70 | code, 8, 0x4e, 0x8d, 0x04, 0x45, 1, 0, 0, 0),
  Uint8Array.of(0x4c, 0x0f, 0x40 | code, 0xc9),
]).flat();

test('every condition after every operation that sets flags, and after two of them', { timeout: 300_000 }, async () => {
  const tiers = await BothTiers.of();
  const setters = flagSetters();
  const prng = new Prng(SEED);
  const corners = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn];
  const wideCorners = [0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0xffffffff80000000n];
  const inputs = (count: number): Input[] =>
    Array.from({ length: count }, () => {
      const input = drawInput(prng);
      for (const n of [0, 1]) if (!prng.chance(3)) input.registers[n] = prng.pick([...corners, ...wideCorners]);
      if (prng.chance(4)) input.registers[1] = input.registers[0] ?? 0n;
      input.registers[3] = DATA_ADDRESS + 0x100n;
      return input;
    });
  let finished = 0;
  for (const setter of setters) {
    finished += tiers.run([Uint8Array.from(setter), ...CONDITIONS], 0x100, inputs(40));
    const before = prng.pick(setters);
    finished += tiers.run([before, setter].map((code) => Uint8Array.from(code)).concat(CONDITIONS), 0x100, inputs(40));
  }
  expect(finished).toBe(setters.length * 80);
});

/** MOVS and STOS of each size, repeated and not, with a store before and a load behind. */
const STRINGS = [0xa4, 0xaa].flatMap((opcode) =>
  [[opcode], [0x66, opcode | 1], [opcode | 1], [0x48, opcode | 1]].flatMap((code) => {
    // REP goes before REX.
    const repeated = [0xf3, ...code];
    return [code, repeated].map((text) => Uint8Array.from(text));
  }),
);

test(
  'string instructions of every length, near the ends of pages and of each other',
  { timeout: 300_000 },
  async () => {
    const tiers = await BothTiers.of();
    const prng = new Prng(SEED);
    const places = [DATA_ADDRESS, DATA_ADDRESS + 0xf80n, DATA_ADDRESS + 0x1f80n, HIGH_ADDRESS, READ_ONLY_ADDRESS];
    const input = (): Input => {
      const drawn = drawInput(prng);
      const { registers } = drawn;
      registers[1] = BigInt(prng.chance(8) ? prng.below(0x1100) : prng.below(40));
      registers[7] = prng.pick(places.slice(0, prng.chance(8) ? 5 : 4)) + BigInt(prng.below(0xa0));
      registers[6] = prng.chance(2)
        ? prng.pick(places) + BigInt(prng.below(0xa0))
        : registers[7] + BigInt(prng.below(80)) - 40n;
      // Often forwards, and a value whose bytes are equal.
      if (prng.chance(2)) registers[0] = BigInt(prng.below(256)) * 0x0101010101010101n;
      registers[3] = DATA_ADDRESS + 0x100n;
      return { ...drawn, flags: prng.chance(8) ? drawn.flags : drawn.flags & ~0x400n };
    };
    let finished = 0;
    for (const code of STRINGS) {
      // CMP EAX, ECX; MOV [RBX], EAX; the instruction; MOV EDX, [RBX]; SETB R8B
      const parts = [[0x39, 0xc8], [0x89, 0x03], code, [0x8b, 0x13], [0x41, 0x0f, 0x92, 0xc0]];
      finished += tiers.run(
        parts.map((part) => Uint8Array.from(part)),
        0x100,
        Array.from({ length: 120 }, input),
      );
    }
    // Copies that run out of the budget are not compared.
    expect(finished).toBeGreaterThan(STRINGS.length * 110);
  },
);

/** CMP and TEST of registers and immediates, each size: what the interpreter runs with the branch behind it in one step (core-as/cpu/fuse.ts). */
const COMPARISONS = [
  ...[
    [0x38, 0xc8],
    [0x84, 0xc8],
    [0x80, 0xf8, 0x7f],
    [0xf6, 0xc0, 0x80],
  ],
  ...[
    [0x66, 0x39, 0xc8],
    [0x66, 0x85, 0xc8],
  ],
  ...[
    [0x39, 0xc8],
    [0x85, 0xc8],
    [0x83, 0xf8, 0xff],
    [0xa9, 0x00, 0x00, 0x00, 0x80],
  ],
  ...[
    [0x48, 0x39, 0xc8],
    [0x48, 0x85, 0xc8],
    [0x48, 0x83, 0xf8, 0xff],
    [0x48, 0xf7, 0xc0, 0, 0, 0, 0x80],
  ],
];

test('every comparison with every branch right behind it', { timeout: 300_000 }, async () => {
  const tiers = await BothTiers.of();
  const prng = new Prng(SEED);
  const corners = [0n, 1n, 0x7fn, 0x80n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 63n, (1n << 64n) - 1n];
  const inputs = (): Input[] =>
    Array.from({ length: 40 }, () => {
      const input = drawInput(prng);
      for (const n of [0, 1]) if (!prng.chance(3)) input.registers[n] = prng.pick(corners);
      if (prng.chance(4)) input.registers[1] = input.registers[0] ?? 0n;
      return input;
    });
  let finished = 0;
  for (const comparison of COMPARISONS) {
    for (let condition = 0; condition < 16; condition++) {
      // Jcc over LEA R8, [R8 * 2 + 1]; what the flags are is looked at behind it, too.
      const branch = [0x70 | condition, 8, 0x4e, 0x8d, 0x04, 0x45, 1, 0, 0, 0];
      finished += tiers.run(
        [comparison, branch].map((code) => Uint8Array.from(code)),
        0x100,
        inputs(),
      );
    }
  }
  expect(finished).toBe(COMPARISONS.length * 16 * 40);
});

/** PUSH, POP, MOV, loads and RET next to each other, as functions begin and end; LEA R9, [RIP + 9] and PUSH R9 give a RET somewhere to go. */
const STACK_MOVES = [
  [[0x50], [0x51], [0x52], [0x41, 0x54]],
  [[0x55], [0x48, 0x89, 0xe5], [0x53], [0x48, 0x89, 0xfb]],
  [[0x54], [0x54], [0x5c]],
  [[0x58], [0x59], [0x5a], [0x41, 0x5c]],
  [[0x58], [0x5c], [0x58], [0x59]],
  [
    [0x48, 0x89, 0xc1],
    [0x48, 0x89, 0xca],
    [0x48, 0x89, 0xd0],
  ],
  [
    [0x48, 0x8b, 0x04, 0x24],
    [0x48, 0x8b, 0x4c, 0x24, 8],
    [0x48, 0x8b, 0x24, 0x24],
    [0x48, 0x8b, 0x04, 0x24],
  ],
  [[0x4c, 0x8d, 0x0d, 0x05, 0, 0, 0], [0x41, 0x51], [0x53], [0x5d], [0xc3]],
];

test(
  'stack and register moves next to each other, also where the second one faults',
  { timeout: 300_000 },
  async () => {
    const tiers = await BothTiers.of();
    const prng = new Prng(SEED);
    // Around both ends of a window: below and behind it nothing is mapped.
    const ends = [
      DATA_ADDRESS,
      DATA_ADDRESS + 0x1000n,
      DATA_ADDRESS + 0x2000n,
      HIGH_ADDRESS + 0x2000n,
      READ_ONLY_ADDRESS,
    ];
    const inputs = Array.from({ length: 150 }, () => {
      const input = drawInput(prng);
      input.registers[4] =
        prng.pick(ends) + BigInt(prng.below(9) * 8 - 32) + BigInt(prng.chance(6) ? prng.below(8) : 0);
      return input;
    });
    const finished = tiers.runEach(STACK_MOVES, 0x100, inputs);
    // A RET may go to where nothing stops it.
    expect(finished).toBeGreaterThan(STACK_MOVES.length * inputs.length * 0.9);
  },
);
