/** Random states of a program: what streams of instructions, and instructions at odd places, are run from. */
import { R_CR0, R_CR2, R_FPU, R_FPU_SIZE, R_GPR, R_MXCSR, R_RIP, R_YMM, VCPU } from '../../core-as/layout.ts';
import type { Prng } from './random.ts';
import { KERNEL_STACK_TOP, type UserMachine } from './user-machine.ts';
import { CODE_ADDRESS, DATA_ADDRESS, HIGH_ADDRESS, READ_ONLY_ADDRESS, STACK_ADDRESS } from './windows.ts';

const CR0_TS = 8;

/** What instructions start from. */
export interface Input {
  readonly registers: BigUint64Array;
  readonly vectors: Uint8Array;
  readonly flags: bigint;
  readonly mxcsr: number;
  /** CR0.TS: vector instructions are not available. */
  readonly taskSwitched: boolean;
}

const DOUBLES = [
  ...[0, -0, 1, -1, 3, 0.1, 1 / 3, 2 ** 31, -(2 ** 31), 2 ** 31 - 1, 2 ** 63, -(2 ** 63), 2 ** 53 + 2, 1e300, -1e-300],
  ...[2 ** -1022, 2 ** -1074, 2 ** -1022 * 1.5, Number.MAX_VALUE, Infinity, -Infinity, NaN, 0.5, 1.5, 2.5],
];

const POINTED_AT = [DATA_ADDRESS, DATA_ADDRESS, HIGH_ADDRESS, STACK_ADDRESS, READ_ONLY_ADDRESS];

/** Registers of which many point into the windows, small numbers, and equal ones. */
export function drawInput(prng: Prng): Input {
  const registers = new BigUint64Array(16);
  for (let n = 0; n < 16; n++) {
    const random = (BigInt(prng.next()) << 32n) | BigInt(prng.next());
    const kind = prng.below(4);
    if (kind < 2) registers[n] = prng.pick(POINTED_AT) + BigInt(prng.below(0x1200)) + 0x400n;
    else if (kind === 2) registers[n] = BigInt.asUintN(64, BigInt(prng.below(16)) - 8n);
    else registers[n] = random;
    // Equal ones, for comparisons.
    if (prng.chance(4)) registers[n] = registers[prng.below(16)] ?? 0n;
  }
  registers[4] = STACK_ADDRESS + 0x1000n + BigInt(prng.below(64) * 8);
  const vectors = new Uint8Array(16 * 32);
  for (let at = 0; at < vectors.length; at++) vectors[at] = prng.below(256);
  const doubles = new DataView(vectors.buffer);
  for (let n = 0; n < 16; n++) if (prng.chance(2)) doubles.setFloat64(n * 32, prng.pick(DOUBLES), true);
  // CF PF AF ZF SF DF OF, and the bit that is always set.
  const flags = BigInt((prng.next() & 0xcd5) | 0x202);
  // All masked, with the precision flag or without; or any mode.
  const mxcsr = prng.chance(4) ? prng.below(0x10000) : prng.chance(3) ? 0x1f80 : 0x1fa0 | prng.below(32);
  return { registers, vectors, flags, mxcsr, taskSwitched: prng.chance(32) };
}

/** Puts a machine into user mode with the input's state, its memory as at first, at an offset of the code window. */
export function start(machine: UserMachine, input: Input, offset: number): void {
  const { registers, vectors, flags, mxcsr, taskSwitched } = input;
  machine.background.copy(machine.image);
  machine.userSegments();
  machine.bytes.fill(0, machine.chunk0 + KERNEL_STACK_TOP - 0x100, machine.chunk0 + KERNEL_STACK_TOP);
  registers.forEach((value, n) => {
    machine.view.setBigUint64(VCPU + R_GPR + n * 8, value, true);
  });
  machine.bytes.set(vectors, VCPU + R_YMM);
  machine.bytes.fill(0, VCPU + R_FPU, VCPU + R_FPU + R_FPU_SIZE);
  machine.view.setUint16(VCPU + R_FPU + 0x80, 0x37f, true);
  machine.view.setUint32(VCPU + R_MXCSR, mxcsr, true);
  const cr0 = machine.view.getUint32(VCPU + R_CR0, true);
  machine.view.setUint32(VCPU + R_CR0, taskSwitched ? cr0 | CR0_TS : cr0 & ~CR0_TS, true);
  machine.view.setBigUint64(VCPU + R_CR2, 0n, true);
  machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE_ADDRESS + offset), true);
  machine.core.setRflags(flags);
  machine.core.stateChanged();
}
