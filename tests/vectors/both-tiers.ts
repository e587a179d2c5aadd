/**
 * The same code in the interpreter and in compiled code: all state afterwards is the same. The code ends at a jump to itself, as every
 * exception's handler does.
 */
import { expect } from 'vitest';
import {
  R_CR2,
  R_FPU,
  R_FPU_SIZE,
  R_GPR,
  R_MXCSR,
  R_RIP,
  R_SEG,
  R_YMM,
  SEG_STRIDE,
  VCPU,
} from '../../core-as/layout.ts';
import { compileCore } from '../support/compile-core.ts';
import { type Input, start } from './random-state.ts';
import { KERNEL_STACK_TOP, UserMachine } from './user-machine.ts';
import { CODE_ADDRESS } from './windows.ts';

const BUDGET_INSNS = 3000;
const JUMP_TO_SELF = [0xeb, 0xfe];
const HANDLERS = 0x14000;
/** ES CS SS DS FS GS. */
const SEGMENTS = 6;

/** The stream has ended: at a jump to itself. */
function atRest(machine: UserMachine, stop: number): boolean {
  const rip = machine.view.getBigUint64(VCPU + R_RIP, true);
  return rip === BigInt(CODE_ADDRESS + stop) || rip >= 0xffff800000000000n + BigInt(HANDLERS);
}

function difference(a: UserMachine, b: UserMachine): string | undefined {
  const parts: readonly (readonly [string, number, number])[] = [
    ['registers', VCPU + R_GPR, 16 * 8],
    ['RIP', VCPU + R_RIP, 8],
    ['segments', VCPU + R_SEG, SEGMENTS * SEG_STRIDE],
    ['CR2', VCPU + R_CR2, 8],
    ['x87', VCPU + R_FPU, R_FPU_SIZE],
    ['MXCSR', VCPU + R_MXCSR, 4],
    ['YMM', VCPU + R_YMM, 16 * 32],
    ['kernel stack', a.chunk0 + KERNEL_STACK_TOP - 0x100, 0x100],
  ];
  for (const [name, at, lengthBytes] of parts) {
    const [left, right] = [a, b].map((m) => Buffer.from(m.bytes.buffer, at, lengthBytes)) as [Buffer, Buffer];
    if (!left.equals(right)) {
      const first = left.findIndex((byte, i) => byte !== right[i]) & ~7;
      const hex = (bytes: Buffer): string =>
        Buffer.from(bytes.subarray(first, first + 8))
          .reverse()
          .toString('hex');
      return `${name} + ${first}: interpreted ${hex(left)}, compiled ${hex(right)}`;
    }
  }
  if (!a.image.equals(b.image)) return `memory at ${a.image.findIndex((byte, i) => byte !== b.image[i]).toString(16)}`;
  const [left, right] = [a.core.getRflags(), b.core.getRflags()];
  return left === right ? undefined : `flags: interpreted ${left.toString(16)}, compiled ${right.toString(16)}`;
}

export class BothTiers {
  private constructor(readonly machines: readonly [UserMachine, UserMachine]) {
    for (const machine of machines) {
      for (let vector = 0; vector < 256; vector++) {
        machine.bytes.set(JUMP_TO_SELF, machine.chunk0 + HANDLERS + vector * 16);
      }
    }
  }

  /** Machines of 64-bit code, or of a 32-bit program's. */
  static async of(compatibility = false): Promise<BothTiers> {
    const module = await compileCore();
    return new BothTiers([
      new UserMachine(module, false, 0, compatibility),
      new UserMachine(module, true, 0, compatibility),
    ]);
  }

  /** Runs instructions at a place of the code window from several inputs; how many came to rest, in the same state in both. */
  run(parts: readonly Uint8Array[], offset: number, inputs: Iterable<Input>): number {
    const { machines } = this;
    const body = Buffer.concat([...parts, Buffer.from(JUMP_TO_SELF)]);
    const stop = offset + body.length - JUMP_TO_SELF.length;
    for (const machine of machines) machine.writeCode(offset, body, body.length);
    let finished = 0;
    for (const from of inputs) {
      for (const machine of machines) {
        start(machine, from, offset);
        if (machine === machines[1]) machine.fillTlb();
        machine.core.run(BUDGET_INSNS);
      }
      if (!machines.every((machine) => atRest(machine, stop))) continue;
      finished++;
      const found = difference(...machines);
      if (found === undefined) continue;
      const text = parts.map((code) => Buffer.from(code).toString('hex')).join(' ');
      const registers = [...from.registers].map((value) => value.toString(16)).join(' ');
      expect.fail(`at ${offset.toString(16)}, registers ${registers}: ${text}\n${found}`);
    }
    for (const machine of machines) machine.writeCode(offset, undefined, body.length);
    return finished;
  }

  /** Runs each of some pieces of code, given as bytes of its instructions, from all inputs; how many runs came to rest. */
  runEach(pieces: readonly (readonly (readonly number[])[])[], offset: number, inputs: readonly Input[]): number {
    return pieces.reduce(
      (sum, parts) =>
        sum +
        this.run(
          parts.map((code) => Uint8Array.from(code)),
          offset,
          inputs,
        ),
      0,
    );
  }
}
