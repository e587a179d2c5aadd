/** Puts a boot image into the machine: bytes into guest memory, registers into vCPU 0. */
import {
  R_CR0,
  R_CR3,
  R_CR4,
  R_EFER,
  R_CPL,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_GPR,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_MSR_MTRR_DEF_TYPE,
  R_MSR_MTRR_FIXED,
  R_MSR_MTRR_VAR,
  R_RIP,
  R_SEG,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
} from '../../core-as/layout.ts';
import type { GuestMemory } from '../bus/guest-memory.ts';
import type { BootImage, InitialRegisters, SegmentName } from '../firmware/loaders/boot-image.ts';
import type { Core } from './core.ts';

/** In the order of their encodings (SDM vol. 2, 2.1.3). */
export const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;

/** In the order of the vCPU block. */
export const SEGMENT_NAMES: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];

const FIXED_MTRRS = 11;
/** IA32_MTRR_FIX16K_A0000's place among the fixed-range registers. */
const FIXED_MTRR_A0000 = 2;
/** Mask of a 1 GiB range with 40 physical-address bits. */
const MTRR_MASK_1G = 0xff_c000_0000n;
const MTRR_VALID = 0x800n;
const MTRR_ENABLED = 0x800n;
const MTRR_FIXED_ENABLED = 0x400n;
const MTRR_WRITE_BACK = 6n;

export function writeBootImage(memory: GuestMemory, image: BootImage): void {
  for (const range of image.zeroRanges) memory.fill(range.gpa, range.lengthBytes, 0);
  for (const segment of image.segments) memory.write(segment.gpa, segment.bytes);
}

/**
 * Memory types as firmware leaves them (SDM vol. 3, 12.11): RAM write-back, the VGA window and the 32-bit device hole uncached. Linux
 * only trusts the PAT when the MTRRs are on, and wants all processors to agree.
 */
export function setMemoryTypes(core: Core): void {
  const { state, block } = core;
  const allWriteBack = 0x0606_0606_0606_0606n;
  for (let i = 0; i < FIXED_MTRRS; i++) state.setU64(block + R_MSR_MTRR_FIXED + i * 8, allWriteBack);
  state.setU64(block + R_MSR_MTRR_FIXED + FIXED_MTRR_A0000 * 8, 0n);
  state.setU64(block + R_MSR_MTRR_VAR, 0xc000_0000n);
  state.setU64(block + R_MSR_MTRR_VAR + 8, MTRR_MASK_1G | MTRR_VALID);
  state.setU64(block + R_MSR_MTRR_DEF_TYPE, MTRR_ENABLED | MTRR_FIXED_ENABLED | MTRR_WRITE_BACK);
}

/**
 * Writes to the 8259 pair that leave it as a PC's BIOS does (vectors 08h and 70h, cascade on IRQ 2), with the lines open that a real-mode
 * guest may wait for: IRQ 11, free on a PC, and the cascade.
 */
const BIOS_8259_WRITES: readonly (readonly [port: number, value: number])[] = [
  [0x20, 0x11],
  [0x21, 0x08],
  [0x21, 0x04],
  [0x21, 0x01],
  [0xa0, 0x11],
  [0xa1, 0x70],
  [0xa1, 0x02],
  [0xa1, 0x01],
  [0x21, 0xfb],
  [0xa1, 0xf7],
];

/** True for a kernel whose boot loader a BIOS started, or that calls one itself. */
export function followsBios({ protocol }: BootImage): boolean {
  return protocol === 'multiboot' || protocol === 'linux16';
}

export function initialise8259AsBios(core: Core): void {
  for (const [port, value] of BIOS_8259_WRITES) core.exports.portWrite(port, 1, value);
}

/** Replaces the power-on state of the core's vCPU. */
export function writeInitialRegisters(core: Core, registers: InitialRegisters): void {
  const { state, block, exports } = core;
  for (const [index, name] of GPR_NAMES.entries()) state.setU64(block + R_GPR + index * 8, registers.gpr[name] ?? 0n);
  state.setU64(block + R_GPR + GPR_NAMES.indexOf('rsp') * 8, registers.gpr['rsp'] ?? registers.rsp);
  state.setU64(block + R_RIP, registers.rip);
  state.setU64(block + R_CR0, registers.cr0);
  state.setU64(block + R_CR3, registers.cr3);
  state.setU64(block + R_CR4, registers.cr4);
  state.setU64(block + R_EFER, registers.efer);
  for (const [index, name] of SEGMENT_NAMES.entries()) {
    const segment = registers.segments[name];
    const at = block + R_SEG + index * SEG_STRIDE;
    state.setU64(at + SEG_BASE, segment.base);
    state.setU32(at + SEG_LIMIT, segment.limit);
    state.setU32(at + SEG_ACCESS, segment.access);
    state.data.setUint16(at + SEG_SELECTOR, segment.selector, true);
  }
  state.setU64(block + R_GDT_BASE, registers.gdt.base);
  state.setU32(block + R_GDT_LIMIT, registers.gdt.limit);
  state.setU64(block + R_IDT_BASE, registers.idt.base);
  state.setU32(block + R_IDT_LIMIT, registers.idt.limit);
  state.setU32(block + R_CPL, 0);
  exports.setRflags(registers.rflags);
  exports.stateChanged();
}
