/** What a loader produces, whatever the protocol: bytes for guest memory and the first vCPU's registers. */

/** The file cannot be booted; the message is one sentence that names what is wrong with it. */
export class LoaderError extends Error {
  override readonly name = 'LoaderError';
}

export interface BootSegment {
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** A range that must read as zero (a kernel's BSS); freshly created guest memory already does. */
export interface ZeroRange {
  readonly gpa: number;
  readonly lengthBytes: number;
}

export interface SegmentRegister {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** SDM vol. 3, 26.4.1: VMX access-rights format; bit 16 is "unusable". */
  readonly access: number;
}

export interface DescriptorTableRegister {
  readonly base: bigint;
  readonly limit: number;
}

export type SegmentName = 'cs' | 'ds' | 'es' | 'fs' | 'gs' | 'ss' | 'tr' | 'ldtr';

/** Registers of vCPU 0 at the kernel's entry. General registers that are not named hold zero. */
export interface InitialRegisters {
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly rflags: bigint;
  /** By lower-case 64-bit name: rax, rbx, rsi ... */
  readonly gpr: Readonly<Record<string, bigint>>;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly segments: Readonly<Record<SegmentName, SegmentRegister>>;
  readonly gdt: DescriptorTableRegister;
  readonly idt: DescriptorTableRegister;
}

export interface BiosHandlers {
  readonly segment: number;
  readonly offsets: ReadonlyMap<number, number>;
}

export interface BootImage {
  /** The protocol that was used, for the log. */
  readonly protocol: 'linux64' | 'linux32' | 'linux16' | 'multiboot' | 'pvh' | 'freebsd';
  /** Written in order; no two overlap. */
  readonly segments: readonly BootSegment[];
  /** Cleared first. */
  readonly zeroRanges: readonly ZeroRange[];
  readonly registers: InitialRegisters;
  /** Handlers of software interrupts for kernels that ask a BIOS: offsets in a real-mode segment, by vector. */
  readonly biosHandlers?: BiosHandlers;
}

/** A further file for the kernel: the initial RAM disk, or a multiboot module. */
export interface BootModule {
  readonly bytes: Uint8Array;
  /** Its file's name, the first word of a multiboot module's string. */
  readonly name?: string | undefined;
  /** The module's arguments, for protocols that have them. */
  readonly commandLine?: string | undefined;
}

export interface BootRequest {
  readonly kernel: Uint8Array;
  /** File name of the kernel, the first word of a multiboot command line. */
  readonly kernelName?: string | undefined;
  readonly commandLine: string;
  readonly modules: readonly BootModule[];
  readonly lowmemBytes: number;
  readonly highmemBytes: number;
  /** Where the ACPI RSDP lies, when the machine has ACPI tables. */
  readonly rsdpGpa?: number | undefined;
  /** The highest PCI bus number in use; 0 without. */
  readonly lastPciBus?: number | undefined;
}

/** A NUL-terminated command line. Bytes past ASCII are passed on as UTF-8. */
export function encodeCommandLine(text: string, maxBytes: number): Uint8Array {
  if (text.includes('\0')) throw new LoaderError('The kernel command line contains a NUL character.');
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > maxBytes) {
    throw new LoaderError(
      `The kernel command line is ${bytes.length} bytes long, the kernel takes at most ${maxBytes}.`,
    );
  }
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}
