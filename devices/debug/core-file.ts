/**
 * A machine as an ELF core file (System V gABI, chapter 5; NT_PRSTATUS as Linux writes it), the form of QEMU's `dump-guest-memory -p`: gdb shows each vCPU as a
 * thread and finds memory by the addresses of the guest's kernel, and crash(8) finds it by physical ones, with the notes named QEMU.
 */
import { ByteWriter } from '../firmware/byte-writer.ts';

const ELF_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const ET_CORE = 4;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NT_PRSTATUS = 1;
const PRSTATUS_BYTES = 336;
const PRSTATUS_REGISTERS = 112;
const PRSTATUS_PID = 32;
const PRSTATUS_SIGNAL = 12;
const SIGABRT = 6;
const QEMU_STATE_VERSION = 1;
const QEMU_STATE_BYTES = 440;
const PAGE_BYTES = 4096;
/** e_phnum has 16 bits, and gdb slows down long before. */
const MAX_MAPPINGS = 20_000;
/** Tables of a hostile guest may lead in circles; those of Linux with 1 TiB have some ten thousand entries that are in use. */
const MAX_ENTRIES = 4_000_000;
/** 52 bits: the physical address in an entry of a page table (SDM vol. 3A, 4.5). */
const ADDRESS_MASK = 0x000f_ffff_ffff_f000n;
const PRESENT = 1n;
const LARGE_PAGE = 0x80n;
const CR0_PG = 1n << 31n;
const EFER_LMA = 1n << 10n;

export interface CoreSegment {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** Access rights as VMX states them. */
  readonly access: number;
}

/** What a vCPU is in a core file. Names of registers are those of {@link CoreVcpu.gpr}. */
export interface CoreVcpu {
  readonly gpr: Readonly<Record<string, bigint>>;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly segments: Readonly<Record<'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'ldtr' | 'tr', CoreSegment>>;
  readonly gdt: { readonly base: bigint; readonly limit: number };
  readonly idt: { readonly base: bigint; readonly limit: number };
  readonly kernelGsBase: bigint;
}

export interface CoreRange {
  readonly gpa: number;
  readonly lengthBytes: number;
}

export interface CoreSource {
  readonly vcpus: readonly CoreVcpu[];
  /** Guest memory, in ascending order. */
  readonly ranges: readonly CoreRange[];
  /** Pieces of a range that are not all zeros, in order. */
  pieces(range: CoreRange): Iterable<{ readonly gpa: number; readonly bytes: Uint8Array }>;
  /** 64 bits of guest memory; 0 where there is none. */
  readU64(gpa: number): bigint;
}

export interface CoreFile {
  readonly sizeBytes: number;
  readonly headers: Uint8Array;
  /** What lies behind the headers; the rest of the file is zeros. */
  contents(): Iterable<{ readonly offset: number; readonly bytes: Uint8Array }>;
}

/** Virtual memory that maps to successive physical memory. */
interface Mapping {
  readonly virtual: bigint;
  readonly gpa: number;
  lengthBytes: number;
}

function note(name: string, type: number, description: Uint8Array): Uint8Array {
  const writer = new ByteWriter();
  writer
    .u32(name.length + 1)
    .u32(description.length)
    .u32(type);
  writer.text(name).zeros(((name.length + 4) & ~3) - name.length);
  writer.bytes(description).zeros(((description.length + 3) & ~3) - description.length);
  return writer.finish();
}

function prstatus(cpu: CoreVcpu, index: number): Uint8Array {
  const bytes = new Uint8Array(PRSTATUS_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(PRSTATUS_SIGNAL, SIGABRT, true);
  view.setUint32(PRSTATUS_PID, index + 1, true);
  const { gpr, segments } = cpu;
  const selector = (name: keyof CoreVcpu['segments']): bigint => BigInt(segments[name].selector);
  // struct user_regs_struct of Linux.
  const registers = [
    ...['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi'].map(
      (name) => gpr[name] ?? 0n,
    ),
    0xffff_ffff_ffff_ffffn,
    ...[cpu.rip, selector('cs'), cpu.rflags, gpr['rsp'] ?? 0n, selector('ss')],
    ...[segments.fs.base, segments.gs.base, selector('ds'), selector('es'), selector('fs'), selector('gs')],
  ];
  for (const [i, value] of registers.entries()) view.setBigUint64(PRSTATUS_REGISTERS + 8 * i, value, true);
  return bytes;
}

/** struct QEMUCPUState (target/i386/arch_dump.c of QEMU): what crash(8) reads CR3 and the IDT from. */
function qemuState(cpu: CoreVcpu): Uint8Array {
  const writer = new ByteWriter();
  writer.u32(QEMU_STATE_VERSION).u32(QEMU_STATE_BYTES);
  const names = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'];
  for (let i = 8; i < 16; i++) names.push(`r${i}`);
  for (const name of names) writer.u64(cpu.gpr[name] ?? 0n);
  writer.u64(cpu.rip).u64(cpu.rflags);
  const segment = ({ selector, limit, access, base }: CoreSegment): void => {
    // The descriptor's second word.
    writer
      .u32(selector)
      .u32(limit)
      .u32(((access & 0xff) << 8) | ((access & 0xf000) << 8))
      .u32(0)
      .u64(base);
  };
  for (const name of ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'ldtr', 'tr'] as const) segment(cpu.segments[name]);
  for (const { base, limit } of [cpu.gdt, cpu.idt]) segment({ selector: 0, access: 0, base, limit });
  for (const value of [cpu.cr0, 0n, cpu.cr2, cpu.cr3, cpu.cr4, cpu.kernelGsBase]) writer.u64(value);
  return writer.finish();
}

/** The mappings of the upper half of the address space, where 64-bit kernels live, as far as they lead to memory. */
export function kernelMappings(cpu: CoreVcpu, source: CoreSource): Mapping[] {
  const mappings: Mapping[] = [];
  if ((cpu.cr0 & CR0_PG) === 0n || (cpu.efer & EFER_LMA) === 0n) return mappings;
  const add = (virtual: bigint, gpa: number, lengthBytes: number): void => {
    const range = source.ranges.find((it) => gpa >= it.gpa && gpa < it.gpa + it.lengthBytes);
    if (!range) return;
    const length = Math.min(lengthBytes, range.gpa + range.lengthBytes - gpa);
    const last = mappings.at(-1);
    if (last && last.virtual + BigInt(last.lengthBytes) === virtual && last.gpa + last.lengthBytes === gpa) {
      last.lengthBytes += length;
    } else if (mappings.length < MAX_MAPPINGS) {
      mappings.push({ virtual, gpa, lengthBytes: length });
    }
  };
  let entries = 0;
  const walk = (table: bigint, level: number, virtual: bigint, first: number): void => {
    const shift = BigInt(12 + 9 * level);
    for (let index = first; index < 512 && entries < MAX_ENTRIES; index++) {
      entries++;
      const entry = source.readU64(Number(table) + 8 * index);
      if ((entry & PRESENT) === 0n) continue;
      const address = virtual | (BigInt(index) << shift);
      if (level === 0 || (level < 3 && (entry & LARGE_PAGE) !== 0n)) {
        const page = entry & ADDRESS_MASK & ~((1n << shift) - 1n);
        add(BigInt.asUintN(64, BigInt.asIntN(48, address)), Number(page), Number(1n << shift));
      } else if (mappings.length < MAX_MAPPINGS) {
        walk(entry & ADDRESS_MASK, level - 1, address, 0);
      }
    }
  };
  walk(cpu.cr3 & ADDRESS_MASK, 3, 0n, 256);
  return mappings;
}

export function coreFile(source: CoreSource): CoreFile {
  const notes = new ByteWriter();
  for (const [index, cpu] of source.vcpus.entries()) notes.bytes(note('CORE', NT_PRSTATUS, prstatus(cpu, index)));
  for (const cpu of source.vcpus) notes.bytes(note('QEMU', 0, qemuState(cpu)));
  const noteBytes = notes.finish();

  const boot = source.vcpus[0];
  const mappings = boot ? kernelMappings(boot, source) : [];
  const headerCount = 1 + mappings.length + source.ranges.length;
  const notesOffset = ELF_HEADER_BYTES + headerCount * PROGRAM_HEADER_BYTES;
  const memoryOffset = Math.ceil((notesOffset + noteBytes.length) / PAGE_BYTES) * PAGE_BYTES;
  /** Where each range lies in the file. */
  const offsets: number[] = [];
  let sizeBytes = memoryOffset;
  for (const { lengthBytes } of source.ranges) {
    offsets.push(sizeBytes);
    sizeBytes += lengthBytes;
  }
  const offsetOf = (gpa: number): number => {
    const index = source.ranges.findIndex((it) => gpa >= it.gpa && gpa < it.gpa + it.lengthBytes);
    return (offsets[index] ?? 0) + gpa - (source.ranges[index]?.gpa ?? 0);
  };

  const headers = new ByteWriter();
  headers.u32(0x464c457f).u8(2).u8(1).u8(1).zeros(9);
  headers.u16(ET_CORE).u16(EM_X86_64).u32(1).u64(0n).u64(BigInt(ELF_HEADER_BYTES)).u64(0n).u32(0);
  headers.u16(ELF_HEADER_BYTES).u16(PROGRAM_HEADER_BYTES).u16(headerCount).u16(0).u16(0).u16(0);
  const program = (type: number, offset: number, virtual: bigint, gpa: number, length: number): void => {
    headers.u32(type).u32(type === PT_LOAD ? 7 : 0);
    headers.u64(BigInt(offset)).u64(virtual).u64(BigInt(gpa)).u64(BigInt(length)).u64(BigInt(length)).u64(0n);
  };
  program(PT_NOTE, notesOffset, 0n, 0, noteBytes.length);
  for (const { virtual, gpa, lengthBytes } of mappings) program(PT_LOAD, offsetOf(gpa), virtual, gpa, lengthBytes);
  for (const { gpa, lengthBytes } of source.ranges) program(PT_LOAD, offsetOf(gpa), BigInt(gpa), gpa, lengthBytes);
  headers.bytes(noteBytes);
  return {
    sizeBytes,
    headers: headers.finish(),
    *contents() {
      for (const range of source.ranges) {
        for (const { gpa, bytes } of source.pieces(range)) yield { offset: offsetOf(gpa), bytes };
      }
    },
  };
}
