/** Data movement: MOV, extensions, LEA, exchanges, CMOV, SETcc, flags, segment bases. */
import {
  RAX,
  RBX,
  RCX,
  RDX,
  type Encoding,
  type VectorBuilder,
  chooseTarget,
  immediateBytes,
  immediateOf,
  littleEndian,
  low64,
  modrmInstruction,
  plainInstruction,
  rawInstruction,
} from '../assemble.ts';
import { type Prng } from '../random.ts';
import { DATA, HIGH } from '../windows.ts';
import { type Form, SIZES, WORD_SIZES, bits, form, kindOf, modrmForm } from './form.ts';

function* moves(): Generator<Form> {
  for (const size of SIZES) {
    const kind = kindOf(size);
    const n = bits(size);
    const both = { size, regKind: kind, rmKind: kind } as const;
    for (const rm of ['reg', 'mem'] as const) {
      yield modrmForm(`mov.rm${n}.r${n}.${rm}`, 'exact', { ...both, rm, opcode: [size === 1 ? 0x88 : 0x89] });
      yield modrmForm(`mov.r${n}.rm${n}.${rm}`, 'exact', { ...both, rm, opcode: [size === 1 ? 0x8a : 0x8b] });
      yield modrmForm(`mov.rm${n}.imm.${rm}`, 'exact', {
        ...both,
        rm,
        opcode: [size === 1 ? 0xc6 : 0xc7],
        digit: 0,
        immediate: immediateOf(immediateBytes(size)),
      });
      yield modrmForm(`xchg.rm${n}.r${n}.${rm}`, 'exact', { ...both, rm, opcode: [size === 1 ? 0x86 : 0x87] });
      yield modrmForm(`xadd.rm${n}.r${n}.${rm}`, 'exact', { ...both, rm, opcode: [0x0f, size === 1 ? 0xc0 : 0xc1] });
      if (size === 1) {
        yield modrmForm(`mov.rm8.r8.${rm}.high`, 'exact', { ...both, rm, opcode: [0x88], highByte: true });
        yield modrmForm(`mov.r8.rm8.${rm}.high`, 'exact', { ...both, rm, opcode: [0x8a], highByte: true });
        yield modrmForm(`xchg.rm8.r8.${rm}.high`, 'exact', { ...both, rm, opcode: [0x86], highByte: true });
        yield modrmForm(`xadd.rm8.r8.${rm}.high`, 'exact', { ...both, rm, opcode: [0x0f, 0xc0], highByte: true });
      }
      for (const lock of rm === 'mem' ? [false, true] : [false]) {
        yield modrmForm(`${lock ? 'lock.' : ''}cmpxchg.rm${n}.r${n}.${rm}`, 'exact', {
          ...both,
          rm,
          lock,
          opcode: [0x0f, size === 1 ? 0xb0 : 0xb1],
          prepare: (vector, operand) => {
            // Half of the comparisons succeed.
            if (vector.prng.below(2)) return;
            const mask = (1n << BigInt(n)) - 1n;
            if (rm === 'mem') vector.putInteger(operand.address, vector.get(RAX), size);
            else vector.set(operand.rm, (vector.get(operand.rm) & ~mask) | (vector.get(RAX) & mask));
          },
        });
      }
    }
    yield modrmForm(`lock.xchg.m${n}.r${n}`, 'exact', {
      ...both,
      rm: 'mem',
      lock: true,
      opcode: [size === 1 ? 0x86 : 0x87],
    });
    yield modrmForm(`lock.xadd.m${n}.r${n}`, 'exact', {
      ...both,
      rm: 'mem',
      lock: true,
      opcode: [0x0f, size === 1 ? 0xc0 : 0xc1],
    });
    yield form(`mov.r${n}.imm`, size, 'exact', (prng) =>
      plainInstruction(prng, {
        size,
        opcode: [size === 1 ? 0xb0 : 0xb8],
        register: prng.below(16),
        byteRegister: size === 1,
        immediate: immediateOf(size)(prng),
      }),
    );
    yield form(`mov.acc${n}.moffs`, size, 'exact', (prng) => moffs(prng, size, size === 1 ? 0xa0 : 0xa1));
    yield form(`mov.moffs.acc${n}`, size, 'exact', (prng) => moffs(prng, size, size === 1 ? 0xa2 : 0xa3));
    if (size === 1) continue;
    yield form(`xchg.acc${n}.r`, size, 'exact', (prng) =>
      plainInstruction(prng, { size, opcode: [0x90], register: prng.below(16) }),
    );
    for (const [name, opcode] of [
      ['load', 0xf0],
      ['store', 0xf1],
    ] as const) {
      yield modrmForm(`movbe.${name}${n}`, 'exact', { size, rm: 'mem', opcode: [0x0f, 0x38, opcode] });
    }
  }
  for (const size of [4, 8] as const) {
    yield form(`bswap.r${bits(size)}`, size, 'exact', (prng) =>
      plainInstruction(prng, { size, opcode: [0x0f, 0xc8], register: prng.below(16) }),
    );
    yield modrmForm(`movnti.m${bits(size)}`, 'exact', { size, rm: 'mem', opcode: [0x0f, 0xc3] });
  }
}

/** A 64-bit absolute address, or a 32-bit one after 67. */
function moffs(prng: Prng, size: 1 | 2 | 4 | 8, opcode: number): Encoding {
  const short = prng.chance(4);
  const target = chooseTarget(prng, { bytes: size }, short);
  return plainInstruction(prng, {
    size,
    opcode: [opcode],
    prefixes: short ? [0x67] : [],
    immediate: littleEndian(target, short ? 4 : 8),
    prepare: (vector) => {
      vector.fill(target, size);
    },
  });
}

function* extendingMoves(): Generator<Form> {
  for (const size of WORD_SIZES) {
    for (const rm of ['reg', 'mem'] as const) {
      for (const [name, opcode] of [
        ['movzx', 0xb6],
        ['movsx', 0xbe],
      ] as const) {
        yield modrmForm(`${name}.r${bits(size)}.rm8.${rm}`, 'exact', {
          size,
          rm,
          rmKind: 'byte',
          opcode: [0x0f, opcode],
          memory: { bytes: 1 },
        });
        yield modrmForm(`${name}.r${bits(size)}.rm16.${rm}`, 'exact', {
          size,
          rm,
          opcode: [0x0f, opcode | 1],
          memory: { bytes: 2 },
        });
      }
      yield modrmForm(`movsxd.r${bits(size)}.rm.${rm}`, 'exact', {
        size,
        rm,
        opcode: [0x63],
        memory: { bytes: size === 2 ? 2 : 4 },
      });
    }
  }
  for (const [name, opcode] of [
    ['movzx', 0xb6],
    ['movsx', 0xbe],
  ] as const) {
    for (const size of [2, 4] as const) {
      yield modrmForm(`${name}.r${bits(size)}.rm8.reg.high`, 'exact', {
        size,
        rm: 'reg',
        rmKind: 'byte',
        highByte: true,
        opcode: [0x0f, opcode],
      });
    }
  }
  for (const size of WORD_SIZES) {
    // ES CS SS DS FS GS; the selectors are those of Linux in 64-bit user mode.
    for (let segment = 0; segment < 6; segment++) {
      yield modrmForm(`mov.r${bits(size)}.sreg${segment}`, 'exact', {
        size,
        rm: 'reg',
        opcode: [0x8c],
        digit: segment,
      });
    }
  }
  yield modrmForm('mov.m16.sreg1', 'exact', {
    size: 4,
    rm: 'mem',
    opcode: [0x8c],
    digit: 1,
    memory: { bytes: 2 },
  });
  yield modrmForm('mov.m16.sreg2.w', 'exact', {
    size: 8,
    rm: 'mem',
    opcode: [0x8c],
    digit: 2,
    memory: { bytes: 2 },
  });
}

function* addresses(): Generator<Form> {
  for (const size of WORD_SIZES) {
    // LEA touches no memory: any register values will do, and the shapes are those of every memory operand.
    yield form(`lea.r${bits(size)}`, size, 'exact', (prng) => {
      const encoding = modrmInstruction(prng, { size, rm: 'mem', opcode: [0x8d], memory: { bytes: 1 } });
      return { ...encoding, prepare: () => undefined };
    });
  }
}

function* wideExchanges(): Generator<Form> {
  for (const size of [8, 16] as const) {
    for (const lock of [false, true]) {
      yield form(`${lock ? 'lock.' : ''}cmpxchg${size}b`, size === 8 ? 4 : 8, 'exact', (prng) =>
        modrmInstruction(prng, {
          size: size === 8 ? 4 : 8,
          rm: 'mem',
          lock,
          opcode: [0x0f, 0xc7],
          digit: 1,
          memory: { bytes: size, avoid: [RAX, RDX, RBX, RCX], ...(size === 16 ? { align: 16 } : {}) },
          prepare: (vector, operand) => {
            if (vector.prng.below(2)) return;
            const half = size / 2;
            const mask = (1n << BigInt(half * 8)) - 1n;
            vector.putInteger(
              operand.address,
              (vector.get(RAX) & mask) | ((vector.get(RDX) & mask) << BigInt(half * 8)),
              size,
            );
          },
        }),
      );
    }
  }
}

export const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

function* conditional(): Generator<Form> {
  for (const [code, name] of CONDITIONS.entries()) {
    for (const size of WORD_SIZES) {
      for (const rm of ['reg', 'mem'] as const) {
        yield modrmForm(`cmov${name}.r${bits(size)}.${rm}`, 'exact', { size, rm, opcode: [0x0f, 0x40 | code] });
      }
    }
    for (const rm of ['reg', 'mem'] as const) {
      yield modrmForm(`set${name}.${rm}`, 'exact', {
        size: 1,
        rm,
        rmKind: 'byte',
        opcode: [0x0f, 0x90 | code],
        digit: 0,
      });
    }
    yield modrmForm(`set${name}.reg.high`, 'exact', {
      size: 1,
      rm: 'reg',
      rmKind: 'byte',
      highByte: true,
      opcode: [0x0f, 0x90 | code],
      digit: 0,
    });
  }
}

function* flagInstructions(): Generator<Form> {
  const plain: [string, number][] = [
    ['cmc', 0xf5],
    ['clc', 0xf8],
    ['stc', 0xf9],
    ['cld', 0xfc],
    ['std', 0xfd],
    ['lahf', 0x9f],
    ['sahf', 0x9e],
    ['nop', 0x90],
  ];
  for (const [name, opcode] of plain) {
    yield form(name, 4, 'exact', (prng) => plainInstruction(prng, { size: 4, opcode: [opcode] }));
  }
  yield form('pause', 4, 'exact', (prng) => rawInstruction(prng, [0xf3, 0x90]));
  yield form('xchg.r8.rax', 8, 'exact', (prng) => rawInstruction(prng, [prng.pick([0x41, 0x49]), 0x90]));
  yield form('endbr64', 4, 'exact', (prng) => rawInstruction(prng, [0xf3, 0x0f, 0x1e, 0xfa]));
  for (const rm of ['reg', 'mem'] as const) {
    for (const size of WORD_SIZES) {
      // A hint never faults, wherever its operand lies.
      yield modrmForm(`nop.rm${bits(size)}.${rm}`, 'exact', { size, rm, opcode: [0x0f, 0x1f], digit: 0 });
    }
  }
  for (const digit of [0, 1, 2, 3]) {
    yield modrmForm(`prefetch.${digit}`, 'exact', { size: 4, rm: 'mem', opcode: [0x0f, 0x18], digit });
  }
  yield modrmForm('prefetchw', 'exact', { size: 4, rm: 'mem', opcode: [0x0f, 0x0d], digit: 1 });
  for (const [name, digit] of [
    ['lfence', 5],
    ['mfence', 6],
    ['sfence', 7],
  ] as const) {
    yield form(name, 4, 'exact', (prng) => rawInstruction(prng, [0x0f, 0xae, 0xc0 | (digit << 3)]));
  }
  for (const [size, opcode, register] of [
    [1, 0xf0, 4],
    [2, 0xf1, 4],
    [4, 0xf1, 4],
    [8, 0xf1, 8],
  ] as const) {
    for (const rm of ['reg', 'mem'] as const) {
      yield modrmForm(`crc32.r${register * 8}.rm${size * 8}.${rm}`, 'exact', {
        size,
        rm,
        rmKind: kindOf(size),
        mandatory: 0xf2,
        opcode: [0x0f, 0x38, opcode],
      });
    }
  }
}

function* translate(): Generator<Form> {
  for (const short of [false, true]) {
    yield form(short ? 'xlat.67' : 'xlat', 1, 'exact', (prng) =>
      rawInstruction(prng, short ? [0x67, 0xd7] : [0xd7], (vector) => {
        const target = chooseTarget(vector.prng, { bytes: 1 }, short);
        const base = target - (vector.get(RAX) & 0xffn);
        vector.set(RBX, short ? ((vector.get(RBX) >> 32n) << 32n) | base : low64(base));
        vector.fill(target, 1);
      }),
    );
  }
}

function* segmentBases(): Generator<Form> {
  for (const [digit, name] of ['rdfsbase', 'rdgsbase', 'wrfsbase', 'wrgsbase'].entries()) {
    for (const size of [4, 8] as const) {
      yield form(`${name}.r${bits(size)}`, size, 'exact', (prng) =>
        modrmInstruction(prng, {
          size,
          rm: 'reg',
          mandatory: 0xf3,
          opcode: [0x0f, 0xae],
          digit,
          prepare: (vector, operand) => {
            // Most bases canonical.
            if (digit < 2 || size === 4 || vector.prng.below(4) === 0) return;
            vector.set(operand.rm, low64(BigInt.asIntN(48, vector.get(operand.rm))));
          },
        }),
      );
    }
  }
}

/** Prefixes in unusual places and numbers. */
function* prefixes(): Generator<Form> {
  const target = (vector: VectorBuilder): bigint => {
    const window = vector.prng.below(2) ? DATA : HIGH;
    return window.address + BigInt(vector.prng.below(window.sizeBytes - 16));
  };
  const onMemory = (vector: VectorBuilder, register: number): void => {
    const address = target(vector);
    vector.set(register, address);
    vector.fill(address, 8);
  };
  // ADD [RBX], reg with a REX that a legacy prefix follows: the REX is ignored.
  yield form('prefix.rex-ignored', 2, 'exact', (prng) =>
    rawInstruction(prng, [0x48 | prng.below(16), 0x66, 0x01, 0x03 | (prng.pick([0, 1, 2, 5, 6, 7]) << 3)], (vector) =>
      onMemory(vector, RBX),
    ),
  );
  // 66 and REX.W: 64-bit operands.
  yield form('prefix.66-rexw', 8, 'exact', (prng) =>
    rawInstruction(prng, [0x66, 0x48 | (prng.below(2) << 2), 0x01, 0x03 | (prng.below(8) << 3)], (vector) =>
      onMemory(vector, RBX),
    ),
  );
  // The last of several segment prefixes counts; ES CS SS DS count for nothing.
  yield form('prefix.many', 4, 'exact', (prng) => {
    const noise = Array.from({ length: prng.below(10) }, () => prng.pick([0x2e, 0x36, 0x3e, 0x26]));
    return rawInstruction(prng, [...noise, 0x03, 0x03 | (prng.below(8) << 3)], (vector) => onMemory(vector, RBX));
  });
  // Exactly 15 bytes execute, 16 are #GP.
  yield form('prefix.length-15', 4, 'exact', (prng) => {
    const noise = Array.from({ length: 13 }, () => prng.pick([0x2e, 0x36, 0x3e, 0x26]));
    return rawInstruction(prng, [...noise, 0x03, 0x03 | (prng.below(8) << 3)], (vector) => onMemory(vector, RBX));
  });
  yield form('prefix.length-16', 4, 'exact', (prng) => {
    const noise = Array.from({ length: 14 }, () => prng.pick([0x2e, 0x36, 0x3e, 0x26]));
    return rawInstruction(prng, [...noise, 0x03, 0x03 | (prng.below(8) << 3)], (vector) => onMemory(vector, RBX));
  });
  // REP on an instruction that is no string instruction is ignored.
  yield form('prefix.rep-ignored', 4, 'exact', (prng) =>
    rawInstruction(prng, [prng.pick([0xf2, 0xf3]), 0x01, 0x03 | (prng.below(8) << 3)], (vector) =>
      onMemory(vector, RBX),
    ),
  );
}

export function* moveForms(): Generator<Form> {
  yield* moves();
  yield* extendingMoves();
  yield* addresses();
  yield* wideExchanges();
}

export function* conditionalForms(): Generator<Form> {
  yield* conditional();
}

export function* miscellaneousForms(): Generator<Form> {
  yield* flagInstructions();
  yield* translate();
  yield* segmentBases();
  yield* prefixes();
}
