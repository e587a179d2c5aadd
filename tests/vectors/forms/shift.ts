/** Shifts, rotates, double shifts and the bit instructions. */
import {
  RCX,
  type Encoding,
  type OperandSize,
  type VectorBuilder,
  chooseTarget,
  low64,
  modrmInstruction,
} from '../assemble.ts';
import { imageOffsetOf } from '../windows.ts';
import type { Prng } from '../random.ts';
import type { CountSource, FlagRule } from '../undefined-flags.ts';
import { type Form, SIZES, WORD_SIZES, bits, form, kindOf, modrmForm } from './form.ts';

function* shifts(): Generator<Form> {
  const operations = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'];
  const sources: [CountSource, number][] = [
    ['one', 0xd0],
    ['imm8', 0xc0],
    ['cl', 0xd2],
  ];
  for (const [digit, name] of operations.entries()) {
    const group = digit < 4 ? 'rotate' : name === 'sar' ? 'arithmetic' : 'shift';
    for (const size of SIZES) {
      for (const [source, opcode] of sources) {
        const rule: FlagRule = `${group}-${source}`;
        for (const rm of ['reg', 'mem'] as const) {
          yield modrmForm(`${name}.rm${bits(size)}.${source}.${rm}`, rule, {
            size,
            rm,
            rmKind: kindOf(size),
            opcode: [size === 1 ? opcode : opcode | 1],
            digit,
            immediate:
              source === 'imm8' ? (prng) => [prng.below(3) ? prng.below(size * 8 + 2) : prng.below(256)] : undefined,
            memory: { bytes: size, avoid: source === 'cl' ? [RCX] : [] },
            prepare:
              source === 'cl'
                ? (vector, operand) => smallCount(vector, rm === 'reg' ? operand.rm : -1, size)
                : undefined,
          });
        }
      }
    }
    yield modrmForm(`${name}.rm8.imm8.reg.high`, `${group}-imm8`, {
      size: 1,
      rm: 'reg',
      rmKind: 'byte',
      highByte: true,
      opcode: [0xc0],
      digit,
      immediate: (prng) => [prng.below(34)],
    });
  }
}

/** Half of the counts within the operand's size, where shifts do most of their work. */
function smallCount(vector: VectorBuilder, operandRegister: number, size: OperandSize): void {
  if (operandRegister === RCX || vector.prng.below(2)) return;
  vector.set(RCX, (vector.get(RCX) & ~0xffn) | BigInt(vector.prng.below(size * 8 + 2)));
}

function* doubleShifts(): Generator<Form> {
  for (const [name, opcode] of [
    ['shld', 0xa4],
    ['shrd', 0xac],
  ] as const) {
    for (const size of WORD_SIZES) {
      for (const rm of ['reg', 'mem'] as const) {
        yield modrmForm(`${name}.rm${bits(size)}.imm8.${rm}`, 'double-imm8', {
          size,
          rm,
          opcode: [0x0f, opcode],
          // A 16-bit operand shifted by more than 16 is undefined.
          immediate: (prng) => [(prng.below(4) << 6) | (size === 2 ? prng.below(17) : prng.below(64))],
        });
        yield modrmForm(`${name}.rm${bits(size)}.cl.${rm}`, 'double-cl', {
          size,
          rm,
          opcode: [0x0f, opcode | 1],
          avoid: size === 2 ? [RCX] : [],
          memory: { bytes: size, avoid: [RCX] },
          prepare: (vector) => {
            if (size !== 2) return;
            vector.set(RCX, (vector.get(RCX) & ~0x1fn) | BigInt(vector.prng.below(17)));
          },
        });
      }
    }
  }
}

/** BT m, r addresses memory by the bit offset: base + (offset >> log2 operand bits) * operand bytes. */
function bitString(prng: Prng, size: OperandSize, opcode: number, lock: boolean): Encoding {
  const cell = (vector: VectorBuilder, register: number): bigint => {
    const offset = BigInt.asIntN(size * 8, vector.get(register));
    return (offset >> BigInt(3 + Math.log2(size))) * BigInt(size);
  };
  const encoding = modrmInstruction(prng, {
    size,
    rm: 'mem',
    opcode: [0x0f, opcode],
    lock,
    // The bit offset comes from RDX, which is set first and never part of the address.
    digit: 2,
    memory: { bytes: size, avoid: [2] },
    target: (vector) => {
      const range = 0x400;
      const offset = BigInt(vector.prng.below(range * 8) - range * 4);
      const upper = size === 8 ? 0n : (vector.get(2) >> BigInt(size * 8)) << BigInt(size * 8);
      vector.set(2, upper | BigInt.asUintN(size * 8, offset));
      return low64(chooseTarget(vector.prng, { bytes: size, safe: true }, true) - cell(vector, 2));
    },
    prepare: (vector, operand) => {
      // Absolute and RIP-relative operands: keep the cell in the same window.
      const address = low64(operand.address + cell(vector, 2));
      if (imageOffsetOf(address) < 0) {
        const upper = size === 8 ? 0n : (vector.get(2) >> BigInt(size * 8)) << BigInt(size * 8);
        vector.set(2, upper | BigInt(vector.prng.below(size * 8)));
      }
      vector.fill(low64(operand.address + cell(vector, 2)), size);
    },
  });
  return encoding;
}

function* bitTests(): Generator<Form> {
  for (const [digit, name] of ['bt', 'bts', 'btr', 'btc'].entries()) {
    for (const size of WORD_SIZES) {
      const n = bits(size);
      const opcode = 0xa3 + digit * 8;
      yield modrmForm(`${name}.rm${n}.r.reg`, 'bitTest', { size, rm: 'reg', opcode: [0x0f, opcode] });
      yield form(`${name}.rm${n}.r.mem`, size, 'bitTest', (prng) => bitString(prng, size, opcode, false));
      for (const rm of ['reg', 'mem'] as const) {
        yield modrmForm(`${name}.rm${n}.imm8.${rm}`, 'bitTest', {
          size,
          rm,
          opcode: [0x0f, 0xba],
          digit: digit + 4,
          immediate: (prng) => [prng.below(256)],
        });
      }
      if (name === 'bt') continue;
      yield form(`lock.${name}.m${n}.r`, size, 'bitTest', (prng) => bitString(prng, size, opcode, true));
      yield modrmForm(`lock.${name}.m${n}.imm8`, 'bitTest', {
        size,
        rm: 'mem',
        lock: true,
        opcode: [0x0f, 0xba],
        digit: digit + 4,
        immediate: (prng) => [prng.below(256)],
      });
    }
  }
}

/** A third of the sources 0, a third with few bits, so that scans have something to find. */
function sparse(vector: VectorBuilder, register: number, address: bigint, size: OperandSize, rm: 'reg' | 'mem'): void {
  const draw = vector.prng.below(6);
  if (draw > 2) return;
  const upper = rm === 'reg' ? (vector.get(register) >> BigInt(size * 8)) << BigInt(size * 8) : 0n;
  const value = draw === 0 ? 0n : 1n << BigInt(vector.prng.below(size * 8));
  if (rm === 'reg') vector.set(register, low64(upper | value));
  else vector.putInteger(address, value, size);
}

function* bitScans(): Generator<Form> {
  const operations: [string, number | undefined, number, FlagRule][] = [
    ['bsf', undefined, 0xbc, 'bitScan'],
    ['bsr', undefined, 0xbd, 'bitScan'],
    ['tzcnt', 0xf3, 0xbc, 'zeroCount'],
    ['lzcnt', 0xf3, 0xbd, 'zeroCount'],
    ['popcnt', 0xf3, 0xb8, 'exact'],
  ];
  for (const [name, mandatory, opcode, rule] of operations) {
    for (const size of WORD_SIZES) {
      for (const rm of ['reg', 'mem'] as const) {
        yield modrmForm(`${name}.r${bits(size)}.rm.${rm}`, rule, {
          size,
          rm,
          mandatory,
          opcode: [0x0f, opcode],
          prepare: (vector, operand) => sparse(vector, operand.rm, operand.address, size, rm),
        });
      }
    }
  }
}

function* bmi(): Generator<Form> {
  interface Vex {
    readonly name: string;
    readonly map: number;
    readonly pp: number;
    readonly opcode: number;
    readonly rule: FlagRule;
    readonly digit?: number;
    readonly immediate?: boolean;
  }
  const operations: Vex[] = [
    { name: 'andn', map: 2, pp: 0, opcode: 0xf2, rule: 'bmi' },
    { name: 'bextr', map: 2, pp: 0, opcode: 0xf7, rule: 'bextr' },
    { name: 'blsr', map: 2, pp: 0, opcode: 0xf3, rule: 'bmi', digit: 1 },
    { name: 'blsmsk', map: 2, pp: 0, opcode: 0xf3, rule: 'bmi', digit: 2 },
    { name: 'blsi', map: 2, pp: 0, opcode: 0xf3, rule: 'bmi', digit: 3 },
    { name: 'bzhi', map: 2, pp: 0, opcode: 0xf5, rule: 'bmi' },
    { name: 'pdep', map: 2, pp: 3, opcode: 0xf5, rule: 'exact' },
    { name: 'pext', map: 2, pp: 2, opcode: 0xf5, rule: 'exact' },
    { name: 'mulx', map: 2, pp: 3, opcode: 0xf6, rule: 'exact' },
    { name: 'sarx', map: 2, pp: 2, opcode: 0xf7, rule: 'exact' },
    { name: 'shlx', map: 2, pp: 1, opcode: 0xf7, rule: 'exact' },
    { name: 'shrx', map: 2, pp: 3, opcode: 0xf7, rule: 'exact' },
    { name: 'rorx', map: 3, pp: 3, opcode: 0xf0, rule: 'exact', immediate: true },
  ];
  for (const operation of operations) {
    for (const size of [4, 8] as const) {
      for (const rm of ['reg', 'mem'] as const) {
        yield form(`${operation.name}.r${bits(size)}.${rm}`, size, operation.rule, (prng) => {
          // VEX must be the last prefix, and none of 66, F2, F3, LOCK, REX may come before: only segments and 67 do.
          const encoding = modrmInstruction(prng, {
            size,
            rm,
            opcode: [operation.opcode],
            vex: { map: operation.map, pp: operation.pp },
            digit: operation.digit,
            immediate: operation.immediate ? (from) => [from.below(256)] : undefined,
            prepare: (vector, operand) => {
              // Bit-field positions and counts small enough to matter, in half of the vectors.
              if (!['bextr', 'bzhi'].includes(operation.name) || vector.prng.below(2)) return;
              if (rm === 'reg' ? operand.rm === operand.vvvv : vector.overrideMask & (1 << operand.vvvv)) return;
              const upper = (vector.get(operand.vvvv) >> 16n) << 16n;
              vector.set(operand.vvvv, upper | BigInt(vector.prng.below(size * 8 + 2) | (vector.prng.below(70) << 8)));
            },
          });
          return operation.name === 'rorx' ? withoutVvvv(encoding) : encoding;
        });
      }
    }
  }
}

/** VEX.vvvv must be 1111b where it names no register. */
function withoutVvvv(encoding: Encoding): Encoding {
  const code = [...encoding.code];
  const at = code.indexOf(0xc4) + 2;
  code[at] = (code[at] ?? 0) | 0x78;
  return { ...encoding, code };
}

export function* shiftForms(): Generator<Form> {
  yield* shifts();
  yield* doubleShifts();
}

export function* bitForms(): Generator<Form> {
  yield* bitTests();
  yield* bitScans();
  yield* bmi();
}
