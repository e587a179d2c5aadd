/** Two-operand arithmetic and logic, INC, DEC, NEG, NOT, multiplication and division. */
import {
  RAX,
  RDX,
  type Operand,
  type OperandSize,
  type VectorBuilder,
  immediateBytes,
  immediateOf,
  low64,
  modrmInstruction,
  plainInstruction,
} from '../assemble.ts';
import type { FlagRule } from '../undefined-flags.ts';
import { type Form, SIZES, WORD_SIZES, bits, form, kindOf, modrmForm } from './form.ts';

const OPERATIONS = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
const LOGIC = ['or', 'and', 'xor'];

/** Opcode of the operand size: the byte form is even, the other one odd. */
function sized(opcode: number, size: OperandSize): number {
  return size === 1 ? opcode : opcode | 1;
}

function* twoOperand(): Generator<Form> {
  for (const [number, name] of OPERATIONS.entries()) {
    const rule: FlagRule = LOGIC.includes(name) ? 'logic' : 'exact';
    for (const size of SIZES) {
      const kind = kindOf(size);
      const n = bits(size);
      const both = { size, regKind: kind, rmKind: kind } as const;
      for (const rm of ['reg', 'mem'] as const) {
        yield modrmForm(`${name}.rm${n}.r${n}.${rm}`, rule, { ...both, rm, opcode: [sized(number * 8, size)] });
        yield modrmForm(`${name}.r${n}.rm${n}.${rm}`, rule, { ...both, rm, opcode: [sized(number * 8 + 2, size)] });
        yield modrmForm(`${name}.rm${n}.imm.${rm}`, rule, {
          ...both,
          rm,
          opcode: [sized(0x80, size)],
          digit: number,
          immediate: immediateOf(immediateBytes(size)),
        });
        if (size > 1) {
          yield modrmForm(`${name}.rm${n}.imm8.${rm}`, rule, {
            ...both,
            rm,
            opcode: [0x83],
            digit: number,
            immediate: immediateOf(1),
          });
        } else {
          yield modrmForm(`${name}.rm8.r8.${rm}.high`, rule, { ...both, rm, opcode: [number * 8], highByte: true });
          yield modrmForm(`${name}.r8.rm8.${rm}.high`, rule, { ...both, rm, opcode: [number * 8 + 2], highByte: true });
        }
      }
      yield form(`${name}.acc${n}.imm`, size, rule, (prng) =>
        plainInstruction(prng, {
          size,
          opcode: [sized(number * 8 + 4, size)],
          immediate: immediateOf(immediateBytes(size))(prng),
        }),
      );
      if (name === 'cmp') continue;
      yield modrmForm(`lock.${name}.m${n}.r${n}`, rule, {
        ...both,
        rm: 'mem',
        lock: true,
        opcode: [sized(number * 8, size)],
      });
      yield modrmForm(`lock.${name}.m${n}.imm`, rule, {
        ...both,
        rm: 'mem',
        lock: true,
        opcode: [size === 1 ? 0x80 : 0x83],
        digit: number,
        immediate: immediateOf(1),
      });
    }
    yield modrmForm(`${name}.rm8.imm.reg.high`, rule, {
      size: 1,
      rm: 'reg',
      rmKind: 'byte',
      highByte: true,
      opcode: [0x80],
      digit: number,
      immediate: immediateOf(1),
    });
  }
  for (const size of SIZES) {
    const kind = kindOf(size);
    const n = bits(size);
    for (const rm of ['reg', 'mem'] as const) {
      const both = { size, rm, regKind: kind, rmKind: kind } as const;
      yield modrmForm(`test.rm${n}.r${n}.${rm}`, 'logic', { ...both, opcode: [sized(0x84, size)] });
      for (const digit of [0, 1]) {
        // F6 /1 and F7 /1 are aliases that processors of both vendors execute.
        yield modrmForm(`test.rm${n}.imm.${rm}${digit ? '.alias' : ''}`, 'logic', {
          ...both,
          opcode: [sized(0xf6, size)],
          digit,
          immediate: immediateOf(immediateBytes(size)),
        });
      }
    }
    yield form(`test.acc${n}.imm`, size, 'logic', (prng) =>
      plainInstruction(prng, {
        size,
        opcode: [sized(0xa8, size)],
        immediate: immediateOf(immediateBytes(size))(prng),
      }),
    );
  }
  yield modrmForm('test.rm8.r8.reg.high', 'logic', {
    size: 1,
    rm: 'reg',
    regKind: 'byte',
    rmKind: 'byte',
    highByte: true,
    opcode: [0x84],
  });
}

function* oneOperand(): Generator<Form> {
  const operations: [string, number, number, FlagRule][] = [
    ['inc', 0xfe, 0, 'exact'],
    ['dec', 0xfe, 1, 'exact'],
    ['not', 0xf6, 2, 'exact'],
    ['neg', 0xf6, 3, 'exact'],
  ];
  for (const [name, opcode, digit, rule] of operations) {
    for (const size of SIZES) {
      const kind = kindOf(size);
      for (const rm of ['reg', 'mem'] as const) {
        const spec = { size, rm, rmKind: kind, opcode: [sized(opcode, size)], digit } as const;
        yield modrmForm(`${name}.rm${bits(size)}.${rm}`, rule, spec);
        if (rm === 'mem') yield modrmForm(`lock.${name}.m${bits(size)}`, rule, { ...spec, lock: true });
      }
    }
    yield modrmForm(`${name}.rm8.reg.high`, rule, {
      size: 1,
      rm: 'reg',
      rmKind: 'byte',
      highByte: true,
      opcode: [opcode],
      digit,
    });
  }
}

function* multiplications(): Generator<Form> {
  for (const size of SIZES) {
    const kind = kindOf(size);
    const n = bits(size);
    for (const rm of ['reg', 'mem'] as const) {
      const spec = { size, rm, rmKind: kind, opcode: [sized(0xf6, size)] } as const;
      yield modrmForm(`mul.rm${n}.${rm}`, 'multiply', { ...spec, digit: 4 });
      yield modrmForm(`imul.rm${n}.${rm}`, 'multiply', { ...spec, digit: 5 });
      if (size === 1) continue;
      const wide = { size, rm } as const;
      yield modrmForm(`imul.r${n}.rm${n}.${rm}`, 'multiply', { ...wide, opcode: [0x0f, 0xaf] });
      yield modrmForm(`imul.r${n}.rm${n}.imm8.${rm}`, 'multiply', {
        ...wide,
        opcode: [0x6b],
        immediate: immediateOf(1),
      });
      yield modrmForm(`imul.r${n}.rm${n}.imm.${rm}`, 'multiply', {
        ...wide,
        opcode: [0x69],
        immediate: immediateOf(immediateBytes(size)),
      });
    }
  }
  for (const [name, digit] of [
    ['mul', 4],
    ['imul', 5],
  ] as const) {
    yield modrmForm(`${name}.rm8.reg.high`, 'multiply', {
      size: 1,
      rm: 'reg',
      rmKind: 'byte',
      highByte: true,
      opcode: [0xf6],
      digit,
    });
  }
}

/** Makes most divisions fit: a dividend of quotient * divisor + remainder, now and then beyond the quotient's range. */
function prepareDivision(
  vector: VectorBuilder,
  operand: Operand,
  size: OperandSize,
  signed: boolean,
  rm: 'reg' | 'mem',
): void {
  const prng = vector.prng;
  // A third of the vectors keep what came up: zero divisors and overflows, mostly.
  if (prng.below(3) === 0) return;
  const n = BigInt(size * 8);
  const divisorBits =
    rm === 'mem'
      ? BigInt(vector.patched[0]?.bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n) ?? 0n)
      : vector.get(operand.rm);
  const divisor = signed ? BigInt.asIntN(Number(n), divisorBits) : BigInt.asUintN(Number(n), divisorBits);
  if (divisor === 0n) return;
  const random = (BigInt(prng.next()) << 32n) | BigInt(prng.next());
  let quotient: bigint;
  switch (prng.below(8)) {
    case 0:
      // The ends of the range, and one past them.
      quotient = signed ? (prng.below(2) ? -(1n << (n - 1n)) : (1n << (n - 1n)) - 1n) : (1n << n) - 1n;
      quotient += BigInt(prng.below(3) - 1);
      break;
    case 1:
      quotient = BigInt(prng.below(3) - 1);
      break;
    default:
      quotient = signed ? BigInt.asIntN(Number(n), random) : BigInt.asUintN(Number(n), random);
  }
  const magnitude = divisor < 0n ? -divisor : divisor;
  let remainder = prng.below(4) === 0 ? 0n : BigInt(prng.next()) % magnitude;
  if (signed && (quotient < 0n ? divisor > 0n : divisor < 0n)) remainder = -remainder;
  if (!signed && quotient < 0n) quotient = 0n;
  const dividend = quotient * divisor + remainder;
  if (size === 1) {
    vector.set(RAX, (vector.get(RAX) & ~0xffffn) | BigInt.asUintN(16, dividend));
    return;
  }
  const mask = (1n << n) - 1n;
  vector.set(RAX, (vector.get(RAX) & ~mask) | (dividend & mask));
  vector.set(RDX, (vector.get(RDX) & ~mask) | (low64(dividend >> n) & mask));
}

function* divisions(): Generator<Form> {
  for (const size of SIZES) {
    for (const rm of ['reg', 'mem'] as const) {
      for (const [name, digit] of [
        ['div', 6],
        ['idiv', 7],
      ] as const) {
        const spec = {
          size,
          rm,
          rmKind: 'general',
          opcode: [sized(0xf6, size)],
          digit,
          avoid: [RAX, RDX],
          memory: { bytes: size, avoid: [RAX, RDX] },
          prepare: (vector: VectorBuilder, operand: Operand) => {
            prepareDivision(vector, operand, size, digit === 7, rm);
          },
        } as const;
        yield form(`${name}.rm${bits(size)}.${rm}`, size, 'divide', (prng) =>
          modrmInstruction(prng, { ...spec, rexW: false }),
        );
      }
    }
    // Divisors that are part of the dividend.
    yield modrmForm(`div.rm${bits(size)}.reg.any`, 'divide', {
      size,
      rm: 'reg',
      rmKind: kindOf(size),
      opcode: [sized(0xf6, size)],
      digit: 6,
    });
    yield modrmForm(`idiv.rm${bits(size)}.reg.any`, 'divide', {
      size,
      rm: 'reg',
      rmKind: kindOf(size),
      opcode: [sized(0xf6, size)],
      digit: 7,
    });
  }
}

function* extensions(): Generator<Form> {
  // CBW CWDE CDQE, CWD CDQ CQO
  for (const size of WORD_SIZES) {
    yield form(`cbw.${bits(size)}`, size, 'exact', (prng) => plainInstruction(prng, { size, opcode: [0x98] }));
    yield form(`cwd.${bits(size)}`, size, 'exact', (prng) => plainInstruction(prng, { size, opcode: [0x99] }));
  }
  for (const size of [4, 8] as const) {
    for (const rm of ['reg', 'mem'] as const) {
      yield modrmForm(`adcx.r${bits(size)}.rm.${rm}`, 'exact', {
        size,
        rm,
        mandatory: 0x66,
        opcode: [0x0f, 0x38, 0xf6],
      });
      yield modrmForm(`adox.r${bits(size)}.rm.${rm}`, 'exact', {
        size,
        rm,
        mandatory: 0xf3,
        opcode: [0x0f, 0x38, 0xf6],
      });
    }
  }
}

export function* aluForms(): Generator<Form> {
  yield* twoOperand();
  yield* oneOperand();
}

export function* arithmeticForms(): Generator<Form> {
  yield* multiplications();
  yield* divisions();
  yield* extensions();
}
