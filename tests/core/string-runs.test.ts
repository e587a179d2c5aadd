/**
 * Repeated MOVS and STOS, which are done in bulk where they can be, against copying element by element: both directions, all sizes, overlaps,
 * page boundaries, and ends of memory in the middle of a run.
 */
import { beforeAll, expect, test } from 'vitest';
import { R_CR2, R_GPR, R_RIP, VCPU } from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { drawInput, start } from '../vectors/random-state.ts';
import { Prng } from '../vectors/random.ts';
import { UserMachine } from '../vectors/user-machine.ts';
import { CODE_ADDRESS, DATA, HIGH, READ_ONLY, STACK, WINDOWS, type Window } from '../vectors/windows.ts';

const RUNS = 2000;
const SEED = 20261128;
const AT = 0x800;
const DIRECTION_FLAG = 0x400n;
const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7];
const OPERAND_SIZE = 0x66;
const REX_W = 0x48;
const REP = 0xf3;
const MOVS = 0xa4;
const STOS = 0xaa;
/** More steps than any run takes, each of them a page's worth or an element. */
const MOST_STEPS = 20_000;

interface Run {
  readonly stores: boolean;
  readonly size: number;
  readonly backwards: boolean;
  readonly count: number;
  readonly from: bigint;
  readonly to: bigint;
  readonly value: bigint;
}

let machine: UserMachine;
beforeAll(async () => {
  machine = new UserMachine(await compileCore());
}, 300_000);

function draw(prng: Prng): Run {
  const size = prng.pick([1, 2, 4, 8]);
  const window = prng.pick([DATA, HIGH]);
  const anywhere = (within: Window): bigint => within.address + BigInt(prng.below(within.sizeBytes));
  const from = anywhere(prng.pick([window, window, READ_ONLY, STACK]));
  // Near the source, so that the two overlap, or anywhere.
  const to = prng.chance(2) ? from + BigInt(prng.below(96) - 48) : anywhere(prng.pick([window, STACK]));
  return {
    stores: prng.chance(3),
    size,
    backwards: prng.chance(2),
    count: prng.chance(3) ? prng.below(8) : prng.below(0x1800 / size),
    from,
    to,
    value: prng.chance(2) ? 0x4242424242424242n : (BigInt(prng.next()) << 32n) | BigInt(prng.next()),
  };
}

/** Offset in the memory image of an element; undefined where an access faults. */
function imageOffset(address: bigint, size: number, writes: boolean): number | undefined {
  const window = WINDOWS.find(({ address: first, sizeBytes }) => {
    return address >= first && address + BigInt(size) <= first + BigInt(sizeBytes);
  });
  if (!window || (writes && !window.writable)) return undefined;
  return window.imageOffset + Number(address - window.address);
}

/** Address of the first byte of an access that faults: the access's, or that of its second page. */
function firstAbsent(address: bigint, size: number, writes: boolean): bigint {
  return imageOffset(address, 1, writes) === undefined
    ? address
    : address + BigInt(size) - ((address + BigInt(size)) & 0xfffn);
}

/** What a run does, an element at a time: the image afterwards, and elements done. */
function expected({ stores, size, backwards, count, from, to, value }: Run): {
  image: Buffer;
  done: number;
  /** Where a page fault was; undefined: there was none. */
  fault: bigint | undefined;
} {
  const image = Buffer.from(machine.background);
  const element = Buffer.alloc(8);
  element.writeBigUInt64LE(value);
  for (let done = 0; done < count; done++) {
    const away = BigInt(done * size) * (backwards ? -1n : 1n);
    const source = stores ? 0 : imageOffset(from + away, size, false);
    const target = imageOffset(to + away, size, true);
    if (source === undefined) return { image, done, fault: firstAbsent(from + away, size, false) };
    if (target === undefined) return { image, done, fault: firstAbsent(to + away, size, true) };
    if (!stores) image.copy(element, 0, source, source + size);
    element.copy(image, target, 0, size);
  }
  return { image, done: count, fault: undefined };
}

test('runs in bulk do what their elements do', { timeout: 300_000 }, () => {
  const prng = new Prng(SEED);
  const input = drawInput(prng);
  const wrong: unknown[] = [];
  let faults = 0;
  for (let number = 0; number < RUNS; number++) {
    const run = draw(prng);
    const { stores, size, backwards, count, from, to, value } = run;
    const prefixes = size === 8 ? [REP, REX_W] : size === 2 ? [OPERAND_SIZE, REP] : [REP];
    const code = Uint8Array.of(...prefixes, (stores ? STOS : MOVS) + (size === 1 ? 0 : 1));
    const registers = input.registers.slice();
    registers[RAX] = value;
    registers[RCX] = BigInt(count);
    registers[RSI] = from;
    registers[RDI] = to;
    start(machine, { ...input, registers, flags: backwards ? 0x202n | DIRECTION_FLAG : 0x202n }, AT);
    machine.writeCode(AT, code, code.length);
    let exception = -1;
    for (let step = 0; step < MOST_STEPS && exception < 0; step++) {
      machine.core.stepOne();
      exception = machine.core.lastException();
      if (machine.view.getBigUint64(VCPU + R_RIP, true) === BigInt(CODE_ADDRESS + AT + code.length)) break;
    }
    machine.writeCode(AT, undefined, code.length);
    const { image, done, fault } = expected(run);
    const moved = BigInt(done * size) * (backwards ? -1n : 1n);
    const register = (n: number): bigint => machine.view.getBigUint64(VCPU + R_GPR + n * 8, true);
    const same =
      exception >= 0 === (fault !== undefined) &&
      (fault === undefined || machine.view.getBigUint64(VCPU + R_CR2, true) === fault) &&
      register(RCX) === BigInt(count - done) &&
      register(RDI) === to + moved &&
      register(RSI) === (stores ? from : from + moved) &&
      machine.image.equals(image);
    if (!same) wrong.push(run);
    if (fault !== undefined) faults++;
  }
  expect(wrong.slice(0, 3)).toEqual([]);
  expect(faults).toBeGreaterThan(RUNS / 10);
  expect(faults).toBeLessThan((RUNS * 9) / 10);
});
