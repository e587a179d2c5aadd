/** Branches, calls, the stack, and what must fault in user mode. */
import {
  RBP,
  RCX,
  RSP,
  type Encoding,
  type OperandSize,
  type VectorBuilder,
  chooseTarget,
  immediateOf,
  littleEndian,
  low64,
  modrmInstruction,
  plainInstruction,
  rawInstruction,
} from '../assemble.ts';
import { type Prng } from '../random.ts';
import { STACK } from '../windows.ts';
import { type Form, form } from './form.ts';
import { CONDITIONS } from './move.ts';

/** RSP somewhere in the stack window: mostly inside, now and then so near to an end that the access faults. */
function prepareStack(vector: VectorBuilder, fillBytes: number): bigint {
  const prng = vector.prng;
  const draw = prng.below(20);
  let offset = 0x400 + prng.below(0x1800);
  if (draw === 0) offset = prng.below(8);
  else if (draw === 1) offset = STACK.sizeBytes - 1 - prng.below(8);
  else if (draw < 4) offset = 0x1000 - 4 + prng.below(9);
  else if (draw < 14) offset &= ~7;
  const rsp = STACK.address + BigInt(offset);
  vector.set(RSP, rsp);
  vector.fill(rsp, fillBytes);
  return rsp;
}

/** An address that a branch may go to: canonical, in user space; nothing is fetched from it. */
function branchTarget(prng: Prng): bigint {
  return ((BigInt(prng.next()) << 32n) | BigInt(prng.next())) & 0x7fffffffefffn;
}

function* branches(): Generator<Form> {
  for (const [code, name] of CONDITIONS.entries()) {
    yield form(`j${name}.rel8`, 4, 'exact', (prng) => rawInstruction(prng, [0x70 | code, prng.below(256)]));
    yield form(`j${name}.rel32`, 4, 'exact', (prng) =>
      rawInstruction(prng, [...hint(prng), 0x0f, 0x80 | code, ...relative(prng)]),
    );
  }
  yield form('jmp.rel8', 4, 'exact', (prng) => rawInstruction(prng, [0xeb, prng.below(256)]));
  yield form('jmp.rel32', 4, 'exact', (prng) => rawInstruction(prng, [0xe9, ...relative(prng)]));
  for (const [name, opcode] of [
    ['loopne', 0xe0],
    ['loope', 0xe1],
    ['loop', 0xe2],
    ['jrcxz', 0xe3],
  ] as const) {
    for (const short of [false, true]) {
      yield form(`${name}${short ? '.67' : ''}`, 4, 'exact', (prng) =>
        rawInstruction(prng, [...(short ? [0x67] : []), opcode, prng.below(256)], (vector) => {
          const draw = vector.prng.below(4);
          if (draw < 2) vector.set(RCX, ((vector.get(RCX) >> 32n) << 32n) | BigInt(draw));
          if (draw === 2) vector.set(RCX, BigInt(vector.prng.below(3)));
        }),
      );
    }
  }
  yield form('call.rel32', 8, 'exact', (prng) =>
    rawInstruction(prng, [0xe8, ...relative(prng)], (vector) => {
      prepareStack(vector, 0);
    }),
  );
  for (const [name, digit] of [
    ['call', 2],
    ['jmp', 4],
  ] as const) {
    for (const rm of ['reg', 'mem'] as const) {
      yield form(`${name}.rm64.${rm}`, 8, 'exact', (prng) =>
        modrmInstruction(prng, {
          size: 8,
          no66: true,
          rm,
          opcode: [0xff],
          digit,
          avoid: [RSP],
          memory: { bytes: 8, avoid: [RSP] },
          prepare: (vector, operand) => {
            const target = branchTarget(vector.prng);
            if (rm === 'reg') vector.set(operand.rm, target);
            else vector.putInteger(operand.address, target, 8);
            if (digit === 2) prepareStack(vector, 0);
          },
        }),
      );
    }
  }
  // A stack pointer as the base of the operand, and as the target itself.
  yield form('call.m64.rsp', 8, 'exact', (prng) => {
    const disp = prng.below(16) * 8 - 64;
    return rawInstruction(prng, [0xff, 0x54, 0x24, disp & 0xff], (vector) => {
      const rsp = prepareStack(vector, 0);
      vector.putInteger(low64(rsp + BigInt(disp)), branchTarget(vector.prng), 8);
    });
  });
  yield form('call.rsp', 8, 'exact', (prng) =>
    rawInstruction(prng, [0xff, 0xd4], (vector) => {
      prepareStack(vector, 0);
    }),
  );
  yield form('ret', 8, 'exact', (prng) =>
    rawInstruction(prng, [...prng.pick([[], [0xf3], [0x48]]), 0xc3], (vector) => {
      const rsp = prepareStack(vector, 0);
      vector.putInteger(rsp, branchTarget(vector.prng), 8);
    }),
  );
  yield form('ret.imm16', 8, 'exact', (prng) =>
    rawInstruction(prng, [0xc2, ...immediateOf(2)(prng)], (vector) => {
      const rsp = prepareStack(vector, 0);
      vector.putInteger(rsp, branchTarget(vector.prng), 8);
    }),
  );
}

function hint(prng: Prng): number[] {
  return prng.chance(4) ? [prng.pick([0x2e, 0x3e])] : [];
}

/** Displacements that keep the target positive: code lies at 256 MiB. */
function relative(prng: Prng): number[] {
  const disp = prng.below(4) ? prng.below(0x10000) - 0x8000 : prng.below(0x7fffffff) - 0x0fff0000;
  return littleEndian(BigInt(disp), 4);
}

function* stack(): Generator<Form> {
  const touch = (vector: VectorBuilder): void => {
    prepareStack(vector, 16);
  };
  for (const size of [2, 8] as const) {
    const n = size * 8;
    yield form(`push.r${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, { size, default64: true, opcode: [0x50], register: prng.below(16), prepare: touch }),
    );
    yield form(`pop.r${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, { size, default64: true, opcode: [0x58], register: prng.below(16), prepare: touch }),
    );
    yield form(`push.imm8.${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, {
        size,
        default64: true,
        opcode: [0x6a],
        immediate: immediateOf(1)(prng),
        prepare: touch,
      }),
    );
    yield form(`push.imm.${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, {
        size,
        default64: true,
        opcode: [0x68],
        immediate: immediateOf(size === 2 ? 2 : 4)(prng),
        prepare: touch,
      }),
    );
    for (const [name, opcode, digit] of [
      ['push', 0xff, 6],
      ['pop', 0x8f, 0],
    ] as const) {
      for (const rm of ['reg', 'mem'] as const) {
        yield form(`${name}.rm${n}.${rm}`, size, 'exact', (prng) =>
          // 64-bit is the default: REX.W is not needed.
          modrmInstruction(prng, {
            size,
            no66: size === 8,
            rm,
            opcode: [opcode],
            digit,
            memory: { bytes: size, avoid: [RSP] },
            avoid: [RSP],
            prepare: touch,
          }),
        );
      }
      yield form(`${name}.m${n}.rsp`, size, 'exact', (prng) => {
        const disp = prng.below(128) - 64;
        const code = [...(size === 2 ? [0x66] : []), opcode, 0x44 | (digit << 3), 0x24, disp & 0xff];
        return rawInstruction(prng, code, touch);
      });
    }
    for (const [name, opcode] of [
      ['fs', 0xa0],
      ['gs', 0xa8],
    ] as const) {
      yield form(`push.${name}.${n}`, size, 'exact', (prng) =>
        plainInstruction(prng, { size, default64: true, opcode: [0x0f, opcode], prepare: touch }),
      );
    }
    yield form(`pushf.${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, { size, default64: true, opcode: [0x9c], prepare: touch }),
    );
    yield form(`popf.${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, {
        size,
        default64: true,
        opcode: [0x9d],
        prepare: (vector) => {
          const rsp = prepareStack(vector, 0);
          // Any image but TF, which would trap after the next instruction.
          const image = ((BigInt(vector.prng.next()) << 32n) | BigInt(vector.prng.next())) & ~0x100n;
          vector.putInteger(rsp, image, size);
        },
      }),
    );
    yield form(`leave.${n}`, size, 'exact', (prng) =>
      plainInstruction(prng, {
        size,
        default64: true,
        opcode: [0xc9],
        prepare: (vector) => {
          const frame = prepareStack(vector, 16);
          vector.set(RBP, frame);
          vector.set(RSP, frame - BigInt(vector.prng.below(0x100)));
        },
      }),
    );
    for (const level of [0, 1, 2, 31, 33]) {
      yield form(`enter.${n}.level${level}`, size, 'exact', (prng) =>
        plainInstruction(prng, {
          size,
          default64: true,
          opcode: [0xc8],
          immediate: [...littleEndian(BigInt(prng.below(0x300)), 2), level],
          prepare: (vector) => {
            // The whole new frame inside the window: what a faulting ENTER leaves behind differs.
            const rsp = STACK.address + BigInt(0x1000 + vector.prng.below(0xf00));
            vector.set(RSP, rsp);
            const frame = STACK.address + BigInt(0x1000 + vector.prng.below(0xf00));
            vector.set(RBP, frame);
            vector.fill(frame - 0x100n, 0x100);
          },
        }),
      );
    }
  }
}

/** Any ModRM byte naming registers, or [RBX] where an instruction must have memory. */
function userFault(id: string, codes: (prng: Prng) => readonly number[]): Form {
  return form(id, 4, 'exact', (prng): Encoding => rawInstruction(prng, codes(prng)));
}

function* faults(): Generator<Form> {
  const modrm = (prng: Prng): number => 0xc0 | prng.below(64);
  // Opcodes that 64-bit mode took away.
  for (const opcode of [0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61]) {
    yield userFault(`ud.${opcode.toString(16).padStart(2, '0')}`, () => [opcode]);
  }
  for (const opcode of [0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea]) {
    yield userFault(`ud.${opcode.toString(16)}`, (prng) => [opcode, modrm(prng), ...littleEndian(0n, 5)]);
  }
  yield userFault('ud.ud2', () => [0x0f, 0x0b]);
  yield userFault('ud.ud1', (prng) => [0x0f, 0xb9, modrm(prng)]);
  yield userFault('ud.lea.reg', (prng) => [0x8d, modrm(prng)]);
  yield userFault('ud.lock.reg', (prng) => [0xf0, prng.pick([0x00, 0x01, 0x29, 0x31, 0x87]), modrm(prng)]);
  yield userFault('ud.lock.cmp', (prng) => [0xf0, prng.pick([0x38, 0x39, 0x84, 0x85, 0x88, 0x89, 0x8b]), 0x03]);
  yield userFault('ud.lock.load', (prng) => [0xf0, prng.pick([0x02, 0x03, 0x0a, 0x13, 0x1b, 0x23, 0x2b, 0x33]), 0x03]);
  yield userFault('ud.lock.nop', () => [0xf0, 0x90]);
  yield userFault('ud.mov.cs', (prng) => [0x8e, 0xc8 | prng.below(8)]);
  yield userFault('ud.mov.sreg67', (prng) => [prng.pick([0x8c, 0x8e]), 0xf0 | prng.below(16)]);
  yield userFault('ud.group', (prng) =>
    prng.pick([
      [0xfe, 0xd0],
      [0xfe, 0xf8],
      [0xff, 0xf8],
      [0xff, 0xd8],
      [0xff, 0xe8],
      [0x0f, 0xba, 0xc0, 0x01],
      [0x0f, 0xba, 0xd8, 0x01],
      [0xc6, 0xc8, 0x00],
      [0xc7, 0xd0, 0x00, 0x00, 0x00, 0x00],
      [0x0f, 0xc7, 0xc8],
    ]),
  );
  // #GP at CPL 3.
  const privileged: [string, number[]][] = [
    ['hlt', [0xf4]],
    ['cli', [0xfa]],
    ['sti', [0xfb]],
    ['clts', [0x0f, 0x06]],
    ['invd', [0x0f, 0x08]],
    ['wbinvd', [0x0f, 0x09]],
    ['wrmsr', [0x0f, 0x30]],
    ['rdmsr', [0x0f, 0x32]],
    ['swapgs', [0x0f, 0x01, 0xf8]],
    ['sysret', [0x48, 0x0f, 0x07]],
    ['mov.cr0', [0x0f, 0x20, 0xc0]],
    ['mov.to.cr3', [0x0f, 0x22, 0xd8]],
    ['mov.cr8', [0x44, 0x0f, 0x20, 0xc0]],
    ['mov.dr0', [0x0f, 0x21, 0xc0]],
    ['mov.to.dr7', [0x0f, 0x23, 0xf8]],
    ['lmsw', [0x0f, 0x01, 0xf0]],
    ['lldt', [0x0f, 0x00, 0xd0]],
    ['ltr', [0x0f, 0x00, 0xd8]],
  ];
  for (const [name, code] of privileged) yield userFault(`gp.${name}`, () => code);
  yield userFault('gp.in', (prng) => prng.pick([[0xe4, 0x80], [0xe5, 0x80], [0xec], [0xed], [0x66, 0xed]]));
  yield userFault('gp.out', (prng) => prng.pick([[0xe6, 0x80], [0xe7, 0x80], [0xee], [0xef], [0x66, 0xef]]));
  yield userFault('gp.ins', (prng) => prng.pick([[0x6c], [0x6d], [0xf3, 0x6c], [0xf3, 0x66, 0x6d]]));
  yield userFault('gp.outs', (prng) => prng.pick([[0x6e], [0x6f], [0xf3, 0x6e], [0xf3, 0x66, 0x6f]]));
  // Gates of privilege level 0: the error code names the gate. 3, 4 and 0x80 are open to Linux programs.
  yield userFault('gp.int', (prng) => {
    for (;;) {
      const vector = prng.below(256);
      if (vector !== 3 && vector !== 4 && vector !== 0x80) return [0xcd, vector];
    }
  });
}

/** The last byte of the code window, and an instruction that needs more: #PF on the fetch of the rest. */
function* fetchFaults(): Generator<Form> {
  yield form('fetch.page-fault', 4, 'exact', (prng) => {
    const code = prng.pick([
      [0x81, 0xc0, 0x78, 0x56, 0x34, 0x12],
      [0x0f, 0xaf, 0xc1],
      [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
      [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
      [0xe8, 0, 0, 0, 0],
    ]);
    const present = 1 + prng.below(code.length - 1);
    return { code, codeOffset: 0x2000 - present, repeat: false, prepare: () => undefined };
  });
  yield form('fetch.last-byte', 4, 'exact', (prng) => {
    const code = prng.pick([[0x01, 0xd8], [0x48, 0xff, 0xc0], [0x0f, 0xb6, 0xc1], [0x90]]);
    return { code, codeOffset: 0x2000 - code.length, repeat: false, prepare: () => undefined };
  });
}

/** Register indirect accesses at the ends of windows and of the canonical ranges, by both default segments. */
function* accessFaults(): Generator<Form> {
  const sizes: OperandSize[] = [1, 2, 4, 8];
  for (const size of sizes) {
    for (const [name, opcode] of [
      ['load', 0x8a],
      ['store', 0x88],
      ['modify', 0x00],
    ] as const) {
      for (const [base, register] of [
        ['rsi', 6],
        ['rbp', RBP],
      ] as const) {
        yield form(`access.${name}${size * 8}.${base}`, size, 'exact', (prng) => {
          const code = size === 2 ? [0x66] : [];
          if (size === 8) code.push(0x48);
          code.push(size === 1 ? opcode : opcode | 1, 0x40 | register, 0);
          return rawInstruction(prng, code, (vector) => {
            const target = edge(vector.prng, size);
            vector.set(register, target);
            vector.fill(target, size);
          });
        });
      }
    }
  }
}

function edge(prng: Prng, size: OperandSize): bigint {
  switch (prng.below(6)) {
    case 0:
      return low64((1n << 47n) - BigInt(prng.below(2)) * BigInt(size) + BigInt(prng.below(size)));
    case 1:
      return low64(-(1n << 47n) - 1n - BigInt(prng.below(size)));
    case 2:
      return low64(-BigInt(1 + prng.below(size)));
    default:
      return chooseTarget(prng, { bytes: size }, false);
  }
}

export function* controlForms(): Generator<Form> {
  yield* branches();
  yield* stack();
}

export function* faultForms(): Generator<Form> {
  yield* faults();
  yield* fetchFaults();
  yield* accessFaults();
}
