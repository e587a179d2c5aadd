/**
 * The machine as a debugger's target. With breakpoints set, the vCPUs take turns on this thread, an instruction at a time. As in bhyve an
 * address is what RIP holds: a debugger knows nothing of the segments of 16-bit code.
 */
import { EXIT_BUDGET, EXIT_MEMORY, EXIT_STOPPED, R_RIP } from '../../core-as/layout.ts';
import type { DebugTarget } from '../debug/debug-target.ts';
import {
  readControlDescriptor,
  readControlRegister,
  writeControlDescriptor,
  writeControlRegister,
} from './control-registers.ts';
import type { Machine, Slices } from './machine.ts';

const PAGE_BYTES = 4096n;
const NOT_MAPPED = 0xffff_ffff_ffff_ffffn;
/** Instructions between two looks at the event loop. */
const STEPS_A_SLICE = 5000;

/** run() left before an instruction: the vCPU was to rest for memory, or an earlier stop had not been noticed. */
function didNothing(exitReason: number): boolean {
  return exitReason === EXIT_MEMORY || exitReason === EXIT_STOPPED;
}

export class MachineDebugTarget implements DebugTarget {
  onStopped: ((vcpu: number) => void) | undefined;
  #slices: Slices | undefined;

  constructor(private readonly machine: Machine) {}

  get vcpus(): number {
    return this.machine.plan.vcpus;
  }

  async stop(): Promise<void> {
    const slices = this.#slices;
    if (!slices) return this.machine.pause();
    slices.stop();
    await slices.ended;
  }

  resume(breakpoints: ReadonlySet<bigint>, from: number): void {
    if (breakpoints.size === 0) this.machine.resume();
    else this.#resumeStepping(breakpoints, from);
  }

  #resumeStepping(breakpoints: ReadonlySet<bigint>, from: number): void {
    // Most instructions are told apart by a look at 32 bits.
    const lowHalves = new Set([...breakpoints].map((address) => Number(address & 0xffff_ffffn)));
    let passed: number | undefined = from;
    let hit: number | undefined;
    const slices = this.machine.runSlices((core) => {
      const { exports, state, block, vcpu } = core;
      const rip = block + R_RIP;
      for (let step = 0; step < STEPS_A_SLICE; step++) {
        if (lowHalves.has(state.u32(rip)) && passed !== vcpu && breakpoints.has(state.u64(rip))) {
          hit = vcpu;
          slices.stop();
          return EXIT_STOPPED;
        }
        const reason = exports.stepOne();
        if (passed === vcpu && !didNothing(reason)) passed = undefined;
        if (reason !== EXIT_BUDGET) return reason;
      }
      return EXIT_BUDGET;
    });
    this.#slices = slices;
    void slices.ended.then(() => {
      this.#slices = undefined;
      if (hit !== undefined) this.onStopped?.(hit);
    });
  }

  async step(vcpu: number): Promise<void> {
    let done = false;
    const slices = this.machine.runSlices((core) => {
      if (core.vcpu !== vcpu || done) return EXIT_BUDGET;
      if (didNothing(core.exports.debugStep())) return EXIT_BUDGET;
      done = true;
      slices.stop();
      return EXIT_STOPPED;
    });
    await slices.ended;
  }

  readRegister(vcpu: number, name: string): bigint {
    const core = this.machine.vcpuCore(vcpu);
    return readControlRegister(core, name) ?? BigInt(readControlDescriptor(core, name)?.selector ?? 0);
  }

  writeRegister(vcpu: number, name: string, value: bigint): void {
    const core = this.machine.vcpuCore(vcpu);
    if (!writeControlRegister(core, name, value)) {
      writeControlDescriptor(core, name, { selector: Number(value & 0xffffn) });
    }
    core.exports.stateChanged();
  }

  /** Guest-physical ranges of a linear one, up to the first page that is not mapped to memory. */
  #ranges(
    vcpu: number,
    address: bigint,
    lengthBytes: number,
  ): { readonly gpa: number; readonly lengthBytes: number }[] {
    const { exports } = this.machine.vcpuCore(vcpu);
    const ranges: { gpa: number; lengthBytes: number }[] = [];
    for (let at = address, left = BigInt(lengthBytes); left > 0n;) {
      const inPage = PAGE_BYTES - (at % PAGE_BYTES);
      const take = left < inPage ? left : inPage;
      const gpa = BigInt.asUintN(64, exports.translate(BigInt.asIntN(64, at)));
      if (gpa === NOT_MAPPED || !this.machine.memory.contains(Number(gpa), Number(take))) break;
      ranges.push({ gpa: Number(gpa), lengthBytes: Number(take) });
      at = BigInt.asUintN(64, at + take);
      left -= take;
    }
    return ranges;
  }

  readMemory(vcpu: number, address: bigint, lengthBytes: number): Uint8Array | undefined {
    const ranges = this.#ranges(vcpu, address, lengthBytes);
    if (ranges.length === 0 && lengthBytes > 0) return undefined;
    const bytes = new Uint8Array(ranges.reduce((sum, range) => sum + range.lengthBytes, 0));
    let at = 0;
    for (const range of ranges) {
      this.machine.memory.read(range.gpa, bytes.subarray(at, at + range.lengthBytes));
      at += range.lengthBytes;
    }
    return bytes;
  }

  writeMemory(vcpu: number, address: bigint, bytes: Uint8Array): boolean {
    const ranges = this.#ranges(vcpu, address, bytes.length);
    if (ranges.reduce((sum, range) => sum + range.lengthBytes, 0) !== bytes.length) return false;
    let at = 0;
    for (const { gpa, lengthBytes } of ranges) {
      this.machine.memory.write(gpa, bytes.subarray(at, at + lengthBytes));
      at += lengthBytes;
    }
    return true;
  }
}
