/** Registers of a vCPU by the names that bhyvectl gives them. Only while the machine is paused. */
import {
  R_CPL,
  R_CR0,
  R_CR2,
  R_CR3,
  R_CR4,
  R_DR,
  R_EFER,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_GPR,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_MSR_PAT,
  R_MSR_SYSENTER_CS,
  R_MSR_SYSENTER_EIP,
  R_MSR_SYSENTER_ESP,
  R_RIP,
  R_SEG,
  R_TSC_OFFSET,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
} from '../../core-as/layout.ts';
import { GPR_NAMES, SEGMENT_NAMES } from './boot.ts';
import type { Core } from './core.ts';

/** Offsets of the 64-bit registers in a vCPU's block; `rflags` is kept unevaluated and goes through the core. */
const OFFSETS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(GPR_NAMES.map((name, index) => [name, R_GPR + index * 8])),
  rip: R_RIP,
  cr0: R_CR0,
  cr2: R_CR2,
  cr3: R_CR3,
  cr4: R_CR4,
  efer: R_EFER,
  dr0: R_DR,
  dr1: R_DR + 8,
  dr2: R_DR + 16,
  dr3: R_DR + 24,
  dr6: R_DR + 48,
  dr7: R_DR + 56,
};

/** Registers that can only be looked at. */
const READ_ONLY_OFFSETS: Readonly<Record<string, number>> = {
  tsc_offset: R_TSC_OFFSET,
  pat: R_MSR_PAT,
  sysenter_cs: R_MSR_SYSENTER_CS,
  sysenter_sp: R_MSR_SYSENTER_ESP,
  sysenter_ip: R_MSR_SYSENTER_EIP,
};

/** The order in which `bhyvectl --get-all` prints descriptors and then selectors. */
export const CONTROL_SEGMENTS = ['ds', 'es', 'fs', 'gs', 'ss', 'cs', 'tr', 'ldtr'] as const;
export const CONTROL_TABLES = ['gdtr', 'idtr'] as const;

/** Registers of 64 bits, in the order in which `bhyvectl --get-all` prints them. */
export const CONTROL_REGISTERS = [
  ...['efer', 'cr0', 'cr2', 'cr3', 'cr4', 'dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7', 'rsp', 'rip'],
  ...['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'],
  ...['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rflags'],
] as const;

/** A segment register, or a table register (which has no selector and no access rights). */
export interface ControlDescriptor {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** Access rights as VMX states them (SDM 25.4.1). */
  readonly access: number;
}

/** A register of 64 bits; undefined when there is none of that name. */
export function readControlRegister(core: Core, name: string): bigint | undefined {
  if (name === 'rflags') return BigInt.asUintN(64, core.exports.getRflags());
  const table = Object.hasOwn(OFFSETS, name) ? OFFSETS : READ_ONLY_OFFSETS;
  const offset = Object.hasOwn(table, name) ? table[name] : undefined;
  return offset === undefined ? undefined : core.state.u64(core.block + offset);
}

/** Sets a register of 64 bits; false when there is none of that name. */
export function writeControlRegister(core: Core, name: string, value: bigint): boolean {
  if (name === 'rflags') {
    core.exports.setRflags(BigInt.asIntN(64, value));
    return true;
  }
  const offset = Object.hasOwn(OFFSETS, name) ? OFFSETS[name] : undefined;
  if (offset === undefined) return false;
  core.state.setU64(core.block + offset, BigInt.asUintN(64, value));
  return true;
}

/** What shall change of a segment or table register. */
export type ControlDescriptorChange = Partial<ControlDescriptor>;

/** Changes a segment or table register; false when there is none of that name, or it has no selector to be set. */
export function writeControlDescriptor(core: Core, name: string, change: ControlDescriptorChange): boolean {
  const { state, block } = core;
  const { selector, base, limit, access } = change;
  if (name === 'gdtr' || name === 'idtr') {
    if (selector !== undefined) return false;
    const [baseAt, limitAt] = name === 'gdtr' ? [R_GDT_BASE, R_GDT_LIMIT] : [R_IDT_BASE, R_IDT_LIMIT];
    if (base !== undefined) state.setU64(block + baseAt, BigInt.asUintN(64, base));
    if (limit !== undefined) state.setU32(block + limitAt, limit & 0xffff);
    return true;
  }
  const index = (SEGMENT_NAMES as readonly string[]).indexOf(name);
  if (index === -1) return false;
  const at = block + R_SEG + index * SEG_STRIDE;
  if (selector !== undefined) state.data.setUint16(at + SEG_SELECTOR, selector, true);
  if (base !== undefined) state.setU64(at + SEG_BASE, BigInt.asUintN(64, base));
  if (limit !== undefined) state.setU32(at + SEG_LIMIT, limit);
  if (access !== undefined) {
    state.setU32(at + SEG_ACCESS, access);
    // The current privilege level is the DPL of SS (SDM 25.4.1).
    if (name === 'ss') state.setU32(block + R_CPL, (access >>> 5) & 3);
  }
  return true;
}

/** A segment or table register; undefined when there is none of that name. */
export function readControlDescriptor(core: Core, name: string): ControlDescriptor | undefined {
  const { state, block } = core;
  if (name === 'gdtr' || name === 'idtr') {
    const [base, limit] = name === 'gdtr' ? [R_GDT_BASE, R_GDT_LIMIT] : [R_IDT_BASE, R_IDT_LIMIT];
    return { selector: 0, base: state.u64(block + base), limit: state.u32(block + limit), access: 0 };
  }
  const index = (SEGMENT_NAMES as readonly string[]).indexOf(name);
  if (index === -1) return undefined;
  const at = block + R_SEG + index * SEG_STRIDE;
  return {
    selector: state.data.getUint16(at + SEG_SELECTOR, true),
    base: state.u64(at + SEG_BASE),
    limit: state.u32(at + SEG_LIMIT),
    access: state.u32(at + SEG_ACCESS),
  };
}
