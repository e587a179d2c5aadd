/**
 * Random programs that get hot: what the JIT makes of them once the interpreter has counted, not at once as in the other tests of compiled code.
 *
 * A program is a loop around calls, calls and jumps through tables, branches, and stores into its own code; it lies across the boundary
 * of two pages that are no neighbours in memory, so that some instruction of nearly each is in both. It runs to its end in the interpreter and
 * with the JIT, as 64-bit code or as 32-bit code in compatibility mode. PROGRAMS=number in the environment runs so many, PROGRAM_SEED another series.
 */
import { expect, test } from 'vitest';
import { R_GPR, R_JIT_ENTRY, R_RIP, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { type Input, drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, DATA, DATA_ADDRESS } from '../vectors/windows.ts';

const PROGRAMS = Number(process.env.PROGRAMS ?? 6);
const SEED = Number(process.env.PROGRAM_SEED ?? 1);
/** More than twice as many as make a block hot. */
const ROUNDS = 48_000;
const SLICE_INSNS = 1_000_000;
const MOST_SLICES = 60;
/** Where the program finds its code a second time, writable. */
const ALIAS_ADDRESS = 0x10050000n;
const PAGE_BOUNDARY = 0x1000;
/** In the data window: the tables of functions and of jump targets, four addresses each; then what the program stores. */
const FUNCTION_TABLE = 0x100;
const JUMP_TABLE = 0x120;
const VALUES = 0x200;

/** EBX counts the rounds of 32-bit code. */
const [RBX, RBP, R14, R15] = [3, 5, 14, 15] as const;
/** Registers that hold the program's values: RAX RCX RDX RSI RDI, and R8 to R13 of 64-bit code. */
const FREE_NARROW = [0, 1, 2, 6, 7];
const FREE = [...FREE_NARROW, 8, 9, 10, 11, 12, 13];

/** A program in machine code, and where its labels are. */
class Assembler {
  readonly bytes: number[] = [];
  readonly labels = new Map<string, number>();
  readonly #references: { at: number; label: string }[] = [];

  /** `narrow`: 32-bit code. */
  constructor(
    private readonly prng: Prng,
    readonly narrow: boolean,
  ) {}

  emit(...bytes: readonly number[]): void {
    this.bytes.push(...bytes);
  }

  label(name: string): void {
    this.labels.set(name, this.bytes.length);
  }

  /** An opcode with a displacement of 32 bits to a label. */
  branch(opcode: readonly number[], label: string): void {
    this.emit(...opcode);
    this.#references.push({ at: this.bytes.length, label });
    this.emit(0, 0, 0, 0);
  }

  /** Fills in the displacements. */
  link(): Uint8Array {
    for (const { at, label } of this.#references) {
      const to = this.labels.get(label);
      if (to === undefined) throw new Error(`no label ${label}`);
      const distance = to - (at + 4);
      for (let i = 0; i < 4; i++) this.bytes[at + i] = (distance >> (8 * i)) & 0xff;
    }
    return Uint8Array.from(this.bytes);
  }

  /** Opcode and ModRM of two registers, 64 bits wide or 32. */
  registers(opcode: readonly number[], reg: number, rm: number, wide = this.prng.chance(2)): void {
    const rex = 0x40 | (wide ? 8 : 0) | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0);
    this.emit(...(this.narrow ? [] : [rex]), ...opcode, 0xc0 | ((reg & 7) << 3) | (rm & 7));
  }

  /** The same with [RBP + displacement] as the operand. */
  memory(opcode: readonly number[], reg: number, displacement: number): void {
    this.emit(...(this.narrow ? [] : [0x48 | (reg > 7 ? 4 : 0)]), ...opcode, 0x80 | ((reg & 7) << 3) | RBP);
    this.emit(displacement & 0xff, displacement >> 8, 0, 0);
  }

  /** Something simple. */
  operation(): void {
    const { prng } = this;
    const free = this.narrow ? FREE_NARROW : FREE;
    const [a, b] = [prng.pick(free), prng.pick(free)];
    if (this.narrow && prng.chance(4)) {
      this.narrowOperation(a, b);
      return;
    }
    switch (prng.below(9)) {
      case 0:
      case 1:
        // ADD OR ADC SBB AND SUB XOR CMP
        this.registers([(prng.below(8) << 3) | 1], a, b);
        break;
      case 2:
        this.registers([0x0f, 0xaf], a, b);
        break;
      case 3:
        // ROL ROR SHL SHR SAR
        this.registers([0xc1], prng.pick([0, 1, 4, 5, 7]), b);
        this.emit(prng.below(64));
        break;
      case 4:
        this.memory([0x89], a, prng.below(16) * 8);
        break;
      case 5:
        this.memory([prng.pick([0x8b, 0x03, 0x33, 0x3b])], a, prng.below(16) * 8);
        break;
      case 6:
        this.memory([0x01], a, prng.below(16) * 8);
        break;
      case 7:
        // CMOVcc
        this.registers([0x0f, 0x40 | prng.below(16)], a, b);
        break;
      default:
        // PUSH, POP of registers up to RDI.
        this.emit(0x50 | prng.pick([0, 1, 2, 6, 7]), 0x58 | prng.pick([0, 1, 2, 6, 7]));
    }
  }

  /** What 32-bit code does otherwise. */
  narrowOperation(a: number, b: number): void {
    const { prng } = this;
    const displacement = prng.below(16) * 4;
    switch (prng.below(5)) {
      case 0:
        // PUSH [EBP + displacement]; POP
        this.memory([0xff], 6, displacement);
        this.emit(0x58 | a);
        break;
      case 1:
        // PUSH EBP; MOV EBP, ESP; PUSH; LEAVE
        this.emit(0x55, 0x89, 0xe5, 0x50 | a, 0xc9);
        break;
      case 2:
        // LEA reg, [reg + reg * 4 - 8]
        this.emit(0x8d, 0x44 | (a << 3), 0x80 | (b << 3) | a, 0xf8);
        break;
      case 3:
        // XCHG of FS:[displacement]
        this.emit(0x64, 0x87, 0x05 | (a << 3), displacement, 0, 0, 0);
        break;
      default:
        // MOV of an absolute address, to and from EAX
        this.emit(prng.pick([0xa1, 0xa3]), ...little(Number(DATA_ADDRESS) + VALUES + displacement));
    }
  }

  operations(most: number): void {
    for (let n = 1 + this.prng.below(most); n > 0; n--) this.operation();
  }
}

/** The four bytes of a number. */
function little(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
}

interface Program {
  readonly code: Uint8Array;
  readonly offset: number;
  /** Offsets in the code window: where the loop begins, and the jump to itself at the end. */
  readonly start: number;
  readonly stop: number;
  readonly functions: readonly number[];
  readonly targets: readonly number[];
  readonly narrow: boolean;
}

function drawProgram(prng: Prng, narrow: boolean): Program {
  const asm = new Assembler(prng, narrow);
  const counter = narrow ? RBX : R15;
  /** CALL, JMP (digit 2, 4) through the table whose index is in EAX. */
  const through = (digit: number, table: number): void => {
    if (narrow) asm.emit(0xff, 0x04 | (digit << 3), 0x85, ...little(Number(DATA_ADDRESS) + table));
    else asm.emit(0xff, 0x44 | (digit << 3), 0xc3, table - FUNCTION_TABLE);
  };
  const count = 3 + prng.below(4);
  let skips = 0;
  const maybe = (): void => {
    // Jcc over a few operations.
    const label = `skip${skips++}`;
    asm.branch([0x0f, 0x80 | prng.below(16)], label);
    asm.operations(3);
    asm.label(label);
  };
  for (let n = 0; n < count; n++) {
    asm.label(`function${n}`);
    // MOV EAX, imm32: its lowest byte is what the program changes.
    asm.emit(0xb8 | prng.pick([0, 1, 2, 6, 7]));
    asm.label(`immediate${n}`);
    asm.emit(prng.below(256), prng.below(256), 0, 0);
    asm.operations(4);
    if (prng.chance(2)) maybe();
    // Functions call those before them.
    if (n > 0 && prng.chance(2)) asm.branch([0xe8], `function${prng.below(n)}`);
    asm.operations(2);
    asm.emit(0xc3);
  }
  asm.label('start');
  asm.operations(4);
  for (let n = 2 + prng.below(3); n > 0; n--) {
    asm.branch([0xe8], `function${prng.below(count)}`);
    asm.operations(2);
    if (prng.chance(2)) maybe();
  }
  // MOV EAX, R15D; AND EAX, 3; CALL [RBX + RAX * 8]
  asm.registers([0x89], counter, 0, false);
  asm.emit(0x83, 0xe0, 3);
  through(2, FUNCTION_TABLE);
  asm.operations(3);
  // The same with bits 2 and 3; JMP [RBX + RAX * 8 + 32]
  asm.registers([0x89], counter, 0, false);
  asm.emit(0xc1, 0xe8, 2, 0x83, 0xe0, 3);
  through(4, JUMP_TABLE);
  for (let n = 0; n < 4; n++) {
    asm.label(`case${n}`);
    asm.operations(3);
    if (prng.chance(3)) asm.branch([0xe9], 'join');
  }
  asm.label('join');
  if (prng.chance(2)) {
    // TEST R15D, 0x1fff; JNZ past INC BYTE [R14 + displacement], R14 being where the code is a second time.
    asm.emit(...(narrow ? [0xf7, 0xc3] : [0x41, 0xf7, 0xc7]), 0xff, 0x1f, 0, 0);
    asm.branch([0x0f, 0x85], 'unchanged');
    asm.emit(...(narrow ? [0xfe, 0x05] : [0x41, 0xfe, 0x86]));
    asm.label('displacement');
    asm.emit(0, 0, 0, 0);
    asm.label('unchanged');
  }
  // DEC R15; JNZ start; JMP to itself.
  asm.emit(...(narrow ? [0x4b] : [0x49, 0xff, 0xcf]));
  asm.branch([0x0f, 0x85], 'start');
  asm.label('stop');
  asm.emit(0xeb, 0xfe);
  const code = asm.link();
  const offset = PAGE_BOUNDARY - 1 - prng.below(code.length - 1);
  const at = (label: string): number => offset + (asm.labels.get(label) ?? 0);
  const changes = asm.labels.get('displacement');
  if (changes !== undefined) {
    const from = narrow ? Number(ALIAS_ADDRESS) : 0;
    new DataView(code.buffer).setUint32(changes, from + at(`immediate${prng.below(count)}`), true);
  }
  const pick = (name: string, of: number): number[] => Array.from({ length: 4 }, () => at(`${name}${prng.below(of)}`));
  return {
    code,
    offset,
    start: at('start'),
    stop: at('stop'),
    functions: pick('function', count),
    targets: pick('case', 4),
    narrow,
  };
}

/** Runs a program to its end. False when it takes too long. */
function finish(machine: UserMachine, program: Program, input: Input): boolean {
  const { code, offset, stop, functions, targets, narrow } = program;
  machine.writeCode(offset, code, code.length);
  start(machine, input, program.start);
  const set = (number: number, value: bigint): void =>
    machine.view.setBigUint64(VCPU + R_GPR + number * 8, value, true);
  for (const [table, addresses] of [
    [FUNCTION_TABLE, functions],
    [JUMP_TABLE, targets],
  ] as const) {
    addresses.forEach((to, n) => {
      const at = DATA.imageOffset + table;
      if (narrow) machine.image.writeUInt32LE(CODE_ADDRESS + to, at + n * 4);
      else machine.image.writeBigUInt64LE(BigInt(CODE_ADDRESS + to), at + n * 8);
    });
  }
  set(RBP, DATA_ADDRESS + BigInt(VALUES));
  if (narrow) set(RBX, BigInt(ROUNDS));
  else {
    set(RBX, DATA_ADDRESS + BigInt(FUNCTION_TABLE));
    set(R14, ALIAS_ADDRESS);
    set(R15, BigInt(ROUNDS));
  }
  machine.core.stateChanged();
  for (let slice = 0; slice < MOST_SLICES; slice++) {
    machine.core.run(SLICE_INSNS);
    if (machine.view.getBigUint64(VCPU + R_RIP, true) === BigInt(CODE_ADDRESS + stop)) return true;
  }
  return false;
}

test.each([false, true])(
  'random programs end in the same state, interpreted and once they are hot (32-bit code: %s)',
  { timeout: 300_000 + PROGRAMS * 5000 },
  async (narrow) => {
    const module = await compileCore();
    const interpreted = new UserMachine(module, false, 0, narrow);
    const compiled = new UserMachine(module, true, 0, narrow);
    compiled.core.compileAtOnce(0);
    for (const machine of [interpreted, compiled]) machine.mapCodeAlias(ALIAS_ADDRESS);
    const prng = new Prng(SEED);
    let compiledPrograms = 0;
    for (let n = 0; n < PROGRAMS; n++) {
      const program = drawProgram(prng, narrow);
      const input = { ...drawInput(prng), taskSwitched: false };
      compiled.view.setUint32(VCPU + R_JIT_ENTRY, 0, true);
      for (const machine of [interpreted, compiled]) {
        expect(finish(machine, program, input), `program ${n} ends`).toBe(true);
      }
      if (compiled.view.getUint32(VCPU + R_JIT_ENTRY, true)) compiledPrograms++;
      const what = `program ${n}: ${Buffer.from(program.code).toString('hex')} at ${program.offset.toString(16)}`;
      const registers = (machine: UserMachine): string[] =>
        Array.from({ length: 16 }, (_, r) => machine.view.getBigUint64(VCPU + R_GPR + r * 8, true).toString(16));
      expect(registers(compiled), what).toEqual(registers(interpreted));
      expect(compiled.core.getRflags(), what).toBe(interpreted.core.getRflags());
      expect(compiled.image.equals(interpreted.image), what).toBe(true);
      for (const machine of [interpreted, compiled]) machine.writeCode(program.offset, undefined, program.code.length);
    }
    // Some are over before anything is hot.
    expect(compiledPrograms).toBeGreaterThan(PROGRAMS * 0.9);
  },
);
