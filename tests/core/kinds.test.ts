/**
 * The table of micro-op kinds (core-as/cpu/kinds.ts) against what the interpreter and compiled code do: instructions that decode to every kind
 * are run, and run again with one register or the flags changed. What changes must be what the rows say is written, and what has an influence
 * must be what they say is read.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { T0, UOP_SIZE, U_BASE, U_D, U_IDX, U_KIND, U_S } from '../../core-as/cpu/uops.ts';
import { R_GPR, R_RIP, R_SEG, SEG_BASE, SEG_STRIDE, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { instructionPool } from '../vectors/instruction-pool.ts';
import { type Input, drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { type CoreExports, UserMachine } from '../vectors/user-machine.ts';

interface KindExports extends CoreExports {
  kindOfRow(row: number): number;
  kindProperties(kind: number): number;
  firstUop(linear: number): number;
}

/** Names of kinds by number, as the declaration of K has them. */
const NAMES = kindNames();

function kindNames(): string[] {
  const source = readFileSync(new URL('../../core-as/cpu/uops.ts', import.meta.url), 'utf8');
  const declaration = /export const enum K \{(.*?)\n\}/s.exec(source)?.[1] ?? '';
  return [...declaration.matchAll(/^ {2}([A-Z][A-Z0-9_]*),$/gm)].map(([, name]) => name ?? '');
}

// The bits of kinds.ts that are compared here.
const FAMILY_MASK = 31;
const READS_D = 1 << 13;
const WRITES_D = 1 << 14;
const READS_S = 1 << 15;
const WRITES_S = 1 << 16;
const ADDRESS = 1 << 18;
const WRITES_MEMORY = 1 << 21;
const READS_FLAGS = 1 << 22;
const WRITES_FLAGS = 1 << 23;
const STACK = 1 << 24;
const ENDS_BLOCK = 1 << 25;
const AX_TO_DX = 1 << 29;
const READS_CL = 1 << 30;
const FAMILY_LEAVE = 25;
const FAMILY_X = 26;

const CODE_OFFSET = 0x800;
const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSP = 4;
const RBP = 5;
const FS = 4;
const GS = 5;
/** CF PF AF ZF SF OF. */
const ARITHMETIC_FLAGS = 0x8d5n;
/** Instructions that are tried for each sequence of kinds, and sets of registers for each of them. */
const PER_SEQUENCE = 3;
const INPUTS = 6;

/** What the vectors' integer instructions do not decode to: some operands at addresses of 32 bits, and SIMD. */
const RARE: readonly number[][] = [
  [0x67, 0x0f, 0xbe, 0x03],
  [0x67, 0x48, 0x0f, 0xbf, 0x03],
  [0x67, 0x48, 0x63, 0x03],
  [0x67, 0xc6, 0x03, 0x12],
  [0x67, 0x48, 0xc7, 0x03, 1, 2, 3, 4],
  // PXOR, MOVDQU, MASKMOVDQU
  [0x66, 0x0f, 0xef, 0xc1],
  [0xf3, 0x0f, 0x6f, 0x03],
  [0x66, 0x0f, 0xf7, 0xc1],
];

/** Of 32-bit code with flat segments: PUSH, POP, PUSH of an immediate and of memory, CALL, CALL and JMP through a register, RET, LEAVE. */
const FLAT: readonly number[][] = [
  [0x52],
  [0x59],
  [0x5c],
  [0x68, 1, 2, 3, 4],
  [0xff, 0x33],
  [0xe8, 4, 0, 0, 0],
  [0xff, 0xd1],
  [0xff, 0xe1],
  [0xc3],
  [0xc2, 8, 0],
  [0xc9],
  [0x8d, 0x44, 0x8b, 8],
];

interface Uop {
  readonly kind: number;
  readonly properties: number;
  readonly d: number;
  readonly s: number;
  readonly base: number;
  readonly index: number;
}

interface Outcome {
  readonly registers: BigUint64Array;
  readonly flags: bigint;
  readonly rip: bigint;
  readonly image: Buffer;
}

/** One that interprets, and one that compiles. */
type Pair = readonly [UserMachine, UserMachine];

let long: Pair;
let compatibility: Pair;
let machine: UserMachine;
let core: KindExports;
let compiled: UserMachine;

function use(pair: Pair): void {
  [machine, compiled] = pair;
  core = machine.core as KindExports;
}

beforeAll(async () => {
  const module = await compileCore('tests/core/kinds.entry.ts');
  long = [new UserMachine(module), new UserMachine(module, true)];
  compatibility = [new UserMachine(module, false, 0, true), new UserMachine(module, true, 0, true)];
  use(long);
}, 300_000);

/** The micro-ops of the instruction that was stepped last; none when it ran into a fault while it was fetched. */
function decoded(): Uop[] {
  const uops: Uop[] = [];
  let p = core.firstUop(machine.codeLinear(CODE_OFFSET));
  for (; p !== 0; p += UOP_SIZE) {
    const kind = machine.view.getUint8(p + U_KIND);
    const byte = (at: number): number => machine.bytes[p + at] ?? 0;
    const properties = core.kindProperties(kind);
    uops.push({ kind, properties, d: byte(U_D), s: byte(U_S), base: byte(U_BASE), index: byte(U_IDX) });
    if (properties & ENDS_BLOCK) break;
  }
  return uops;
}

/** Runs the instruction at CODE_OFFSET; undefined when it raised an exception. */
function step(input: Input, on = machine): Outcome | undefined {
  start(on, input, CODE_OFFSET);
  for (const segment of [FS, GS]) on.view.setBigUint64(VCPU + R_SEG + segment * SEG_STRIDE + SEG_BASE, 0n, true);
  on.core.stepOne();
  if (on.core.lastException() !== -1) return undefined;
  return {
    registers: new BigUint64Array(on.bytes.slice(VCPU + R_GPR, VCPU + R_GPR + 16 * 8).buffer),
    flags: on.core.getRflags() & ARITHMETIC_FLAGS,
    rip: on.view.getBigUint64(VCPU + R_RIP, true),
    image: Buffer.from(on.image),
  };
}

/** General registers (bit n: register n) that micro-ops read, and that they write. */
function registersOf(uops: readonly Uop[]): { read: number; written: number } {
  let read = 0;
  let written = 0;
  const bit = (offset: number): number => (offset < T0 ? 1 << (offset >> 3) : 0);
  for (const { properties, d, s, base, index } of uops) {
    if (properties & READS_D) read |= bit(d);
    if (properties & READS_S) read |= bit(s);
    if (properties & ADDRESS) read |= bit(base) | bit(index);
    if (properties & READS_CL) read |= 1 << RCX;
    if (properties & AX_TO_DX) read |= 1 << RAX;
    if (properties & STACK) read |= 1 << RSP;
    if (properties & WRITES_D) written |= bit(d);
    if (properties & WRITES_S) written |= bit(s);
    if (properties & AX_TO_DX) written |= 1 << RDX;
    if (properties & STACK) written |= 1 << RSP;
    if ((properties & FAMILY_MASK) === FAMILY_LEAVE) {
      read |= 1 << RBP;
      written |= 1 << RBP;
    }
  }
  return { read, written };
}

/** Places where two outcomes differ, but for the registers in a mask. */
function differences(a: Outcome, b: Outcome, ignored: number): string[] {
  const found: string[] = [];
  a.registers.forEach((value, n) => {
    if (!((ignored >> n) & 1) && value !== b.registers[n]) found.push(`register ${n}`);
  });
  if (a.flags !== b.flags) found.push('flags');
  if (a.rip !== b.rip) found.push('RIP');
  if (!a.image.equals(b.image)) found.push('memory');
  return found;
}

function changed(input: Input, registers: BigUint64Array, flags: bigint): Input {
  return { ...input, registers, flags };
}

/** Kinds that were met, whose flags changed, and for which the flags mattered. */
const seen = { kinds: new Set<number>(), flagsWritten: new Set<number>(), flagsRead: new Set<number>() };

/** Runs an instruction from one input and from variations of it, and compares with the rows. */
function compare(uops: readonly Uop[], input: Input, prng: Prng): string[] {
  const outcome = step(input);
  if (!outcome) return [];
  const problems: string[] = [];
  const inCode = step(input, compiled);
  if (!inCode) problems.push('compiled code raises an exception');
  else problems.push(...differences(outcome, inCode, 0).map((what) => `compiled code has other ${what}`));
  const all = uops.reduce((sum, { properties }) => sum | properties, 0);
  const { read, written } = registersOf(uops);
  outcome.registers.forEach((value, n) => {
    if (!((written >> n) & 1) && value !== input.registers[n]) problems.push(`register ${n} is written`);
  });
  const flagsBefore = input.flags & ARITHMETIC_FLAGS;
  if (outcome.flags !== flagsBefore) {
    if (!(all & WRITES_FLAGS)) problems.push('flags are written');
    for (const uop of uops) if (uop.properties & WRITES_FLAGS) seen.flagsWritten.add(uop.kind);
  }
  if (!(all & WRITES_MEMORY) && !outcome.image.equals(machine.background)) problems.push('memory is written');

  for (let n = 0; n < 16; n++) {
    if ((read >> n) & 1) continue;
    const registers = input.registers.slice();
    registers[n] = (registers[n] ?? 0n) ^ (1n << BigInt(prng.below(64)));
    const again = step(changed(input, registers, input.flags));
    if (!again) problems.push(`register ${n} leads to an exception`);
    else
      problems.push(...differences(outcome, again, 1 << n).map((what) => `register ${n} has an influence on ${what}`));
  }

  const otherFlags = (input.flags ^ BigInt(prng.next())) & ARITHMETIC_FLAGS;
  const again = step(changed(input, input.registers, (input.flags & ~ARITHMETIC_FLAGS) | otherFlags));
  if (!again) return [...problems, 'flags lead to an exception'];
  const kept = (all & (READS_FLAGS | WRITES_FLAGS)) === 0;
  const expected = kept ? { ...outcome, flags: otherFlags } : outcome;
  const influence = differences(expected, again, 0);
  if (!(all & READS_FLAGS)) problems.push(...influence.map((what) => `flags have an influence on ${what}`));
  else if (influence.length) for (const uop of uops) if (uop.properties & READS_FLAGS) seen.flagsRead.add(uop.kind);
  return problems;
}

describe('micro-op kinds', () => {
  it('have a row each, in their order', () => {
    expect(NAMES.map((_, kind) => core.kindOfRow(kind))).toEqual(NAMES.map((_, kind) => kind));
  });

  it('read and write what their rows say', { timeout: 300_000 }, () => {
    const prng = new Prng(1);
    const tried = new Map<string, number>();
    const problems = new Set<string>();
    const codes: (readonly [Pair, Uint8Array])[] = [
      ...RARE.map((bytes) => [long, Uint8Array.from(bytes)] as const),
      ...instructionPool(false, 2).map(({ code }) => [long, code] as const),
      ...FLAT.map((bytes) => [compatibility, Uint8Array.from(bytes)] as const),
    ];
    for (const [pair, code] of codes) {
      use(pair);
      for (const one of [machine, compiled]) one.writeCode(CODE_OFFSET, code, code.length);
      step(drawInput(prng));
      const uops = decoded();
      const sequence = uops.map(({ kind }) => NAMES[kind]).join(' ');
      const times = tried.get(sequence) ?? 0;
      // What CALL_X and SIMD do depends on more than the kind.
      const known = uops.length > 0 && uops.every(({ properties }) => (properties & FAMILY_MASK) < FAMILY_X);
      for (const { kind } of uops) seen.kinds.add(kind);
      if (known && times < PER_SEQUENCE) {
        tried.set(sequence, times + 1);
        for (let n = 0; n < INPUTS; n++) {
          const input = { ...drawInput(prng), taskSwitched: false };
          for (const problem of compare(uops, input, prng)) problems.add(`${sequence}: ${problem}`);
        }
      }
      for (const one of [machine, compiled]) one.writeCode(CODE_OFFSET, undefined, code.length);
    }
    expect([...problems]).toEqual([]);
    expect(NAMES.filter((_, kind) => !seen.kinds.has(kind))).toEqual([]);
    const claims = (bit: number): string[] =>
      NAMES.filter((_, kind) => {
        const properties = core.kindProperties(kind);
        return properties & bit && (properties & FAMILY_MASK) < FAMILY_X;
      });
    expect([...seen.flagsWritten].sort((a, b) => a - b).map((kind) => NAMES[kind])).toEqual(claims(WRITES_FLAGS));
    expect([...seen.flagsRead].sort((a, b) => a - b).map((kind) => NAMES[kind])).toEqual(claims(READS_FLAGS));
  });
});
