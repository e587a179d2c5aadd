/** A vCPU's registers, read for people and tests. Only meaningful while the machine is paused or has ended. */
import {
  R_ACTIVITY,
  R_CPL,
  R_CR0,
  R_CR2,
  R_CR3,
  R_CR4,
  R_CR8,
  R_EFER,
  R_GPR,
  R_ICOUNT,
  R_RIP,
  R_SEG,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
} from '../../core-as/layout.ts';
import type { SegmentName, SegmentRegister } from '../firmware/loaders/boot-image.ts';
import { GPR_NAMES, SEGMENT_NAMES } from './boot.ts';
import { vcpuBlock, type CoreState } from './core.ts';

export interface Registers {
  readonly gpr: Readonly<Record<(typeof GPR_NAMES)[number], bigint>>;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly cr8: bigint;
  readonly efer: bigint;
  readonly cpl: number;
  readonly segments: Readonly<Record<SegmentName, SegmentRegister>>;
  /** 0 running, 1 halted, 2 waiting for SIPI, 3 shut down. */
  readonly activity: number;
  readonly instructions: bigint;
}

/** `rflags` comes from an instance of the core that is bound to the vCPU: the arithmetic flags are kept unevaluated. */
export function readRegisters(state: CoreState, vcpu: number, rflags: bigint): Registers {
  const block = vcpuBlock(vcpu);
  const segment = (name: SegmentName): SegmentRegister => {
    const at = block + R_SEG + SEGMENT_NAMES.indexOf(name) * SEG_STRIDE;
    return {
      selector: state.data.getUint16(at + SEG_SELECTOR, true),
      base: state.u64(at + SEG_BASE),
      limit: state.u32(at + SEG_LIMIT),
      access: state.u32(at + SEG_ACCESS),
    };
  };
  const gpr = Object.fromEntries(GPR_NAMES.map((name, index) => [name, state.u64(block + R_GPR + index * 8)]));
  return {
    gpr: gpr as Record<(typeof GPR_NAMES)[number], bigint>,
    rip: state.u64(block + R_RIP),
    rflags,
    cr0: state.u64(block + R_CR0),
    cr2: state.u64(block + R_CR2),
    cr3: state.u64(block + R_CR3),
    cr4: state.u64(block + R_CR4),
    cr8: state.u64(block + R_CR8),
    efer: state.u64(block + R_EFER),
    cpl: state.u32(block + R_CPL),
    segments: {
      es: segment('es'),
      cs: segment('cs'),
      ss: segment('ss'),
      ds: segment('ds'),
      fs: segment('fs'),
      gs: segment('gs'),
      ldtr: segment('ldtr'),
      tr: segment('tr'),
    },
    activity: state.u32(block + R_ACTIVITY),
    instructions: state.u64(block + R_ICOUNT),
  };
}

/** The registers as lines of text, for reports. */
export function formatRegisters(registers: Registers): string {
  const hex = (value: bigint): string => value.toString(16).padStart(16, '0');
  const lines = [`rip ${hex(registers.rip)} rflags ${hex(registers.rflags)} cpl ${registers.cpl}`];
  for (let i = 0; i < GPR_NAMES.length; i += 4) {
    lines.push(
      GPR_NAMES.slice(i, i + 4)
        .map((name) => `${name.padEnd(3)} ${hex(registers.gpr[name])}`)
        .join(' '),
    );
  }
  lines.push(`cr0 ${hex(registers.cr0)} cr2 ${hex(registers.cr2)} cr3 ${hex(registers.cr3)} cr4 ${hex(registers.cr4)}`);
  lines.push(`efer ${hex(registers.efer)} activity ${registers.activity} instructions ${registers.instructions}`);
  for (const name of SEGMENT_NAMES) {
    const { selector, base, limit, access } = registers.segments[name];
    lines.push(
      `${name.padEnd(4)} ${selector.toString(16).padStart(4, '0')} base ${hex(base)} limit ${limit.toString(16)} access ${access.toString(16)}`,
    );
  }
  return lines.join('\n');
}
