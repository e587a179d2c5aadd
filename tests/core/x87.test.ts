/** The x87 unit by itself: what the recorded vectors (vectors-x87.test.ts) do not show. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { R_FPU, R_FPU_SIZE, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';

/** Exports of tests/core/x87.entry.ts. */
interface X87 {
  x87Reset(cpu: number): void;
  x87InitXsave(cpu: number): void;
  x87OperandBytes(opcode: number, reg: number, operandSize16: boolean): number;
  x87IsWaiting(opcode: number, modrm: number): number;
  x87IsControl(opcode: number, modrm: number): number;
  x87StoresAx(opcode: number, modrm: number): number;
  x87UsesFlags(opcode: number, modrm: number): number;
  x87PendingException(cpu: number): number;
  x87StatusWord(cpu: number): number;
  x87NoteInstruction(cpu: number, fop: number, ip: bigint, cs: number): void;
  x87NoteData(cpu: number, address: bigint, ds: number): void;
  x87Memory(
    cpu: number,
    opcode: number,
    reg: number,
    buffer: number,
    operandSize16: boolean,
    realMode: boolean,
  ): number;
  x87Register(cpu: number, opcode: number, modrm: number): number;
  x87RegisterFlags(cpu: number, opcode: number, modrm: number, rflags: number): number;
  fxsaveX87(cpu: number, buffer: number, rexW: boolean): void;
  fxrstorX87(cpu: number, buffer: number, rexW: boolean): void;
  mmxRegister(cpu: number, n: number): number;
  mmxBegin(cpu: number): void;
  mmxWritten(cpu: number, n: number): void;
  emms(cpu: number): void;
}

const memory = new WebAssembly.Memory({ initial: 512, maximum: 65536, shared: true });
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer);
const cpu = VCPU;
const buffer = VCPU + 0x100000;
let x87: X87;

beforeAll(async () => {
  const instance = new WebAssembly.Instance(await compileCore('tests/core/x87.entry.ts'), { env: { memory } });
  (instance.exports._start as (() => void) | undefined)?.();
  x87 = instance.exports as unknown as X87;
}, 120_000);

const OK = 0;
const NO_STORE = 1;
const UNDEFINED = 2;

function memoryForm(opcode: number, reg: number, operandSize16 = false, realMode = false): number {
  return x87.x87Memory(cpu, opcode, reg, buffer, operandSize16, realMode);
}

/** Executes instructions given as opcode * 256 + modrm. */
function execute(...instructions: number[]): void {
  for (const instruction of instructions) {
    expect(x87.x87Register(cpu, instruction >> 8, instruction & 0xff), instruction.toString(16)).toBe(OK);
  }
}

function fldcw(word: number): void {
  view.setUint16(buffer, word, true);
  memoryForm(0xd9, 5);
}

function fld80(text: string): void {
  const [se, sig] = text.split(':');
  view.setBigUint64(buffer, BigInt(`0x${sig}`), true);
  view.setUint16(buffer + 8, Number(`0x${se}`), true);
  memoryForm(0xdb, 5);
}

function fstp80(): string {
  expect(memoryForm(0xdb, 7)).toBe(OK);
  return `${view
    .getUint16(buffer + 8, true)
    .toString(16)
    .padStart(4, '0')}:${view.getBigUint64(buffer, true).toString(16).padStart(16, '0')}`;
}

function fld64(value: number): void {
  view.setFloat64(buffer, value, true);
  memoryForm(0xdd, 0);
}

function fstp64(): number {
  expect(memoryForm(0xdd, 3)).toBe(OK);
  return view.getFloat64(buffer, true);
}

describe('transcendental instructions', () => {
  it('round correctly', () => {
    const entries = JSON.parse(readFileSync(new URL('../vectors/x87-accuracy.json', import.meta.url), 'utf8')) as [
      number,
      string,
      string,
      string,
    ][];
    expect(entries.length).toBeGreaterThan(500);
    for (const [modrm, st0, st1, expected] of entries) {
      x87.x87Reset(cpu);
      fld80(st1);
      fld80(st0);
      execute(0xd900 | modrm);
      if (modrm === 0xf2) expect(fstp80()).toBe('3fff:8000000000000000');
      expect(fstp80(), `d9 ${modrm.toString(16)} ${st0} ${st1}`).toBe(expected);
    }
  });

  it('set C2 and keep the argument from 2^63 on', () => {
    for (const modrm of [0xf2, 0xfb, 0xfe, 0xff]) {
      x87.x87Reset(cpu);
      fld80('403e:8000000000000000');
      execute(0xd900 | modrm);
      expect(x87.x87StatusWord(cpu)).toBe((7 << 11) | 0x400);
      expect(fstp80()).toBe('403e:8000000000000000');
    }
  });
});

describe('encodings', () => {
  it('gives operand sizes and directions', () => {
    const sizes = Array.from({ length: 64 }, (_, n) => x87.x87OperandBytes(0xd8 | (n >> 3), n & 7, false));
    const U = 0x200;
    const S = 0x100;
    expect(sizes).toEqual([
      ...[4, 4, 4, 4, 4, 4, 4, 4],
      ...[4, U, S | 4, S | 4, 28, 2, S | 28, S | 2],
      ...[4, 4, 4, 4, 4, 4, 4, 4],
      ...[4, S | 4, S | 4, S | 4, U, 10, U, S | 10],
      ...[8, 8, 8, 8, 8, 8, 8, 8],
      ...[8, S | 8, S | 8, S | 8, 108, U, S | 108, S | 2],
      ...[2, 2, 2, 2, 2, 2, 2, 2],
      ...[2, S | 2, S | 2, S | 2, 10, 8, S | 10, S | 8],
    ]);
    expect([0xd9, 0xdd].map((opcode) => [4, 6].map((reg) => x87.x87OperandBytes(opcode, reg, true)))).toEqual([
      [14, S | 14],
      [94, S | 94],
    ]);
  });

  it('tells undefined register forms', () => {
    const undefinedForms: string[] = [];
    for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
      for (let modrm = 0xc0; modrm <= 0xff; modrm++) {
        x87.x87Reset(cpu);
        if (x87.x87UsesFlags(opcode, modrm)) continue;
        if (x87.x87Register(cpu, opcode, modrm) === UNDEFINED)
          undefinedForms.push(`${opcode.toString(16)}${modrm.toString(16)}`);
      }
    }
    const range = (opcode: string, first: number, last: number): string[] =>
      Array.from({ length: last - first + 1 }, (_, n) => opcode + (first + n).toString(16));
    expect(undefinedForms).toEqual([
      ...range('d9', 0xd1, 0xd7),
      ...['d9e2', 'd9e3', 'd9e6', 'd9e7', 'd9ef'],
      ...range('da', 0xe0, 0xe8),
      ...range('da', 0xea, 0xff),
      ...range('db', 0xe5, 0xe7),
      ...range('db', 0xf8, 0xff),
      ...range('dd', 0xf0, 0xff),
      'ded8',
      ...range('de', 0xda, 0xdf),
      ...range('df', 0xe1, 0xe7),
      ...range('df', 0xf8, 0xff),
    ]);
  });

  it('knows which instructions do not wait, and which leave the pointers', () => {
    const notWaiting: string[] = [];
    const control: string[] = [];
    for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
      for (const modrm of [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0xd0, 0xe0, 0xe2, 0xe3, 0xf6, 0xf7]) {
        const name = opcode.toString(16) + modrm.toString(16).padStart(2, '0');
        if (!x87.x87IsWaiting(opcode, modrm)) notWaiting.push(name);
        if (x87.x87IsControl(opcode, modrm)) control.push(name);
      }
    }
    expect(notWaiting).toEqual(['d930', 'd938', 'dbe0', 'dbe2', 'dbe3', 'dd30', 'dd38', 'dfe0']);
    expect(control).toEqual(['d920', 'd928', 'd930', 'd938', 'dbe0', 'dbe2', 'dbe3', 'dd20', 'dd30', 'dd38', 'dfe0']);
    expect(x87.x87StoresAx(0xdf, 0xe0)).toBe(1);
    expect(x87.x87StoresAx(0xdd, 0xe0)).toBe(0);
  });
});

describe('exceptions', () => {
  it('makes an unmasked exception pending until FNCLEX', () => {
    x87.x87Reset(cpu);
    fldcw(0x37b); // #Z unmasked
    execute(0xd9e8, 0xd9ee, 0xdef9); // 1 / 0
    expect(x87.x87PendingException(cpu)).toBe(1);
    expect(x87.x87StatusWord(cpu)).toBe(0xb084);
    execute(0xdbe2);
    expect(x87.x87PendingException(cpu)).toBe(0);
    // The operands are still there.
    expect([fstp64(), fstp64()]).toEqual([0, 1]);
  });

  it('makes a flag pending when FLDCW unmasks it', () => {
    x87.x87Reset(cpu);
    execute(0xd9e8, 0xd9ee, 0xdef9);
    expect(x87.x87PendingException(cpu)).toBe(0);
    fldcw(0x37b);
    expect(x87.x87PendingException(cpu)).toBe(1);
    fldcw(0x37f);
    expect(x87.x87PendingException(cpu)).toBe(0);
  });

  it('does not store what an unmasked exception forbids', () => {
    x87.x87Reset(cpu);
    fldcw(0x37e);
    fld64(1e10);
    view.setUint32(buffer, 0xdeadbeef, true);
    expect(memoryForm(0xdf, 3)).toBe(NO_STORE); // FISTP m16
    expect(x87.x87StatusWord(cpu)).toBe(0xb881);
    execute(0xdbe2);
    expect(fstp64()).toBe(1e10);
  });

  it('records FOP of the instruction with an unmasked exception, whether noted before or after it', () => {
    for (const before of [true, false]) {
      x87.x87Reset(cpu);
      fldcw(0x37b);
      x87.x87NoteInstruction(cpu, 0x1e8, 0x1000n, 0x33);
      execute(0xd9e8, 0xd9ee);
      if (before) x87.x87NoteInstruction(cpu, 0x6f9, 0x1234_5678_9abcn, 0x33);
      execute(0xdef9);
      if (!before) x87.x87NoteInstruction(cpu, 0x6f9, 0x1234_5678_9abcn, 0x33);
      x87.x87NoteData(cpu, 0xffff_8000_0000_1000n, 0x2b);
      x87.fxsaveX87(cpu, buffer, true);
      expect(view.getUint16(buffer + 6, true)).toBe(0x6f9);
      expect(view.getBigUint64(buffer + 8, true)).toBe(0x1234_5678_9abcn);
      expect(view.getBigUint64(buffer + 16, true)).toBe(0xffff_8000_0000_1000n);
      x87.fxsaveX87(cpu, buffer, false);
      expect(view.getUint32(buffer + 8, true)).toBe(0x5678_9abc);
      expect(view.getUint32(buffer + 12, true)).toBe(0x33);
      expect(view.getUint32(buffer + 20, true)).toBe(0x2b);
    }
  });
});

describe('images', () => {
  function somethingToSave(): void {
    x87.x87Reset(cpu);
    fld64(2.5);
    fld64(-3);
    fld64(0);
    fld64(Infinity);
    view.setUint16(buffer, 0x37b, true);
    memoryForm(0xd9, 5);
    x87.x87NoteInstruction(cpu, 0x6f9, 0x2345n, 0xf000);
    execute(0xd9e8, 0xd9ee, 0xdef9); // raises #Z, so that FOP is 6F9
    x87.x87NoteData(cpu, 0x6789n, 0xabcd);
  }

  const words = (count: number, size: 2 | 4): number[] =>
    Array.from({ length: count }, (_, n) =>
      size === 2 ? view.getUint16(buffer + 2 * n, true) : view.getUint32(buffer + 4 * n, true),
    );

  // R7 = 2.5, R6 = -3, R5 = 0, R4 = infinity, R3 = 1, R2 = 0
  const TAGS = 0b00_00_01_10_00_01_11_11;

  it.each([
    // linear: F0000 + 2345, ABCD0 + 6789
    { name: '32-bit protected', op16: false, real: false, rest: [0x2345, 0x06f9f000, 0x6789, 0xffffabcd] },
    { name: '16-bit protected', op16: true, real: false, rest: [0x2345, 0xf000, 0x6789, 0xabcd] },
    { name: '32-bit real', op16: false, real: true, rest: [0xffff2345, 0x0000f6f9, 0xffff2459, 0x0000b000] },
    { name: '16-bit real', op16: true, real: true, rest: [0x2345, 0xf6f9, 0x2459, 0xb000] },
  ])('stores the environment in $name format', ({ op16, real, rest }) => {
    somethingToSave();
    const pad = op16 ? 0 : 0xffff0000;
    expect(memoryForm(0xd9, 6, op16, real)).toBe(OK);
    expect(words(7, op16 ? 2 : 4)).toEqual([...[0x37b, 0x9084, TAGS].map((word) => (pad | word) >>> 0), ...rest]);
    // Afterwards everything is masked, so nothing is pending.
    expect(x87.x87PendingException(cpu)).toBe(0);
    // And back.
    const image = bytes.slice(buffer, buffer + 28);
    x87.x87Reset(cpu);
    bytes.set(image, buffer);
    memoryForm(0xd9, 4, op16, real);
    expect(x87.x87PendingException(cpu)).toBe(1);
    memoryForm(0xd9, 6, op16, real);
    // The registers' contents were lost, so only their emptiness is comparable in the tag word.
    const tagBytes = op16 ? [4, 5] : [8, 9];
    const again = bytes.slice(buffer, buffer + 28);
    for (const n of tagBytes) again[n] = image[n]!;
    expect(again).toEqual(image);
  });

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('FNSAVE initializes and FRSTOR restores (16-bit %s, real mode %s)', (op16, real) => {
    somethingToSave();
    memoryForm(0xdd, 6, op16, real);
    const image = bytes.slice(buffer, buffer + (op16 ? 94 : 108));
    expect(x87.x87StatusWord(cpu)).toBe(0);
    memoryForm(0xd9, 7);
    expect(view.getUint16(buffer, true)).toBe(0x37f);
    bytes.set(image, buffer);
    memoryForm(0xdd, 4, op16, real);
    expect(x87.x87PendingException(cpu)).toBe(1);
    memoryForm(0xdd, 6, op16, real);
    expect(bytes.slice(buffer, buffer + (op16 ? 94 : 108))).toEqual(image);
  });

  it.each([false, true])('FXSAVE and FXRSTOR round trip (REX.W %s), tags abridged', (rexW) => {
    somethingToSave();
    bytes.fill(0xee, buffer, buffer + 512);
    x87.fxsaveX87(cpu, buffer, rexW);
    const image = bytes.slice(buffer, buffer + 512);
    expect(image.subarray(0, 6)).toEqual(new Uint8Array([0x7b, 0x03, 0x84, 0x90, 0xfc, 0]));
    expect(image.subarray(24, 32).every((byte) => byte === 0xee)).toBe(true);
    expect(image.subarray(160).every((byte) => byte === 0xee)).toBe(true);
    // ST(2) is infinity, its upper six bytes zero.
    expect(Array.from(image.subarray(64, 80))).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f, 0, 0, 0, 0, 0, 0]);
    x87.x87InitXsave(cpu);
    x87.fxrstorX87(cpu, buffer, rexW);
    bytes.fill(0xee, buffer, buffer + 512);
    x87.fxsaveX87(cpu, buffer, rexW);
    expect(bytes.slice(buffer, buffer + 512)).toEqual(image);
  });

  it('initial XSAVE state is FNINIT with zero registers', () => {
    somethingToSave();
    x87.x87InitXsave(cpu);
    x87.fxsaveX87(cpu, buffer, true);
    const expected = new Uint8Array(160);
    expected.set([0x7f, 0x03]);
    bytes.fill(0, buffer + 24, buffer + 32);
    expect(bytes.slice(buffer, buffer + 160)).toEqual(expected);
  });
});

describe('MMX aliasing', () => {
  it('shares physical registers, ST-relative only for the x87', () => {
    x87.x87Reset(cpu);
    fld64(1.5); // R7
    fld64(3); // R6
    expect(view.getBigUint64(x87.mmxRegister(cpu, 7), true)).toBe(0xc000000000000000n);
    x87.mmxBegin(cpu);
    expect(x87.x87StatusWord(cpu)).toBe(0);
    view.setBigUint64(x87.mmxRegister(cpu, 0), 0x8123456789abcdefn, true);
    x87.mmxWritten(cpu, 0);
    x87.fxsaveX87(cpu, buffer, true);
    expect(bytes[buffer + 4]).toBe(0xff);
    expect(fstp80()).toBe('ffff:8123456789abcdef');
    x87.emms(cpu);
    x87.fxsaveX87(cpu, buffer, true);
    expect(bytes[buffer + 4]).toBe(0);
    expect(x87.x87StatusWord(cpu) & 0x3800).toBe(0);
  });
});

describe('whatever a guest does', () => {
  it('stays inside its state and the operand buffer', () => {
    let seed = 0x1234567;
    const random = (): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed >>> 8;
    };
    bytes.fill(0x5c, VCPU, VCPU + 0x1000);
    const returned = new Set<number>();
    x87.x87Reset(cpu);
    for (let n = 0; n < 40_000; n++) {
      bytes.fill(0x5c, buffer - 64, buffer + 256);
      for (let b = 0; b < 108; b++) bytes[buffer + b] = random();
      const opcode = 0xd8 | (random() & 7);
      if (random() & 1) {
        const reg = random() & 7;
        const operandSize16 = (random() & 1) !== 0;
        const size = x87.x87OperandBytes(opcode, reg, operandSize16);
        const before = bytes.slice(buffer, buffer + 256);
        returned.add(memoryForm(opcode, reg, operandSize16, (random() & 1) !== 0));
        const touched = size & 0x100 ? size & 0xff : 0;
        const same = Buffer.compare(bytes.slice(buffer + touched, buffer + 256), before.subarray(touched)) === 0;
        if (!same) expect.fail(`${opcode.toString(16)} /${reg} wrote behind its operand`);
      } else {
        const modrm = 0xc0 | (random() & 63);
        if (x87.x87UsesFlags(opcode, modrm)) {
          const flags = x87.x87RegisterFlags(cpu, opcode, modrm, 0xad7);
          if ((flags & ~0x8d5) !== 0x202) expect.fail(`RFLAGS ${flags.toString(16)}`);
        } else returned.add(x87.x87Register(cpu, opcode, modrm));
      }
      if (bytes[buffer - 1] !== 0x5c) expect.fail(`${opcode.toString(16)} wrote before its operand`);
    }
    expect([...returned].sort()).toEqual([OK, NO_STORE, UNDEFINED]);
    for (let address = VCPU; address < VCPU + 0x1000; address++) {
      if (address >= VCPU + R_FPU && address < VCPU + R_FPU + R_FPU_SIZE) continue;
      if (bytes[address] !== 0x5c) expect.fail(`byte ${(address - VCPU).toString(16)} of the vCPU block was written`);
    }
  });
});
