/**
 * Linux/x86 boot protocol (kernel tree, Documentation/arch/x86/boot.rst and zero-page.rst): a bzImage is entered at its
 * 32-bit entry point, or straight in long mode when it has a 64-bit one.
 */
import { encodeE820, loaderMemoryMap } from '../e820.ts';
import { LOW_MEGABYTE_END } from '../layout.ts';
import { encodeCommandLine, LoaderError, type BootImage, type BootModule, type BootRequest } from './boot-image.ts';
import { bootGdt, entryRegisters, IDENTITY_PAGE_TABLE_BYTES, identityPageTables } from './entry-state.ts';
import { alignUp, PAGE_BYTES, Placement } from './placement.ts';

// Setup header fields, by offset in the file and in the zero page (boot.rst, "The Real-Mode Kernel Header").
const SETUP_SECTS = 0x1f1;
const SYSSIZE = 0x1f4;
const BOOT_FLAG = 0x1fe;
const JUMP_LENGTH = 0x201;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
export const TYPE_OF_LOADER = 0x210;
export const LOADFLAGS = 0x211;
export const CODE32_START = 0x214;
export const RAMDISK_IMAGE = 0x218;
export const RAMDISK_SIZE = 0x21c;
export const HEAP_END_PTR = 0x224;
export const CMD_LINE_PTR = 0x228;
const INITRD_ADDR_MAX = 0x22c;
const KERNEL_ALIGNMENT = 0x230;
const RELOCATABLE_KERNEL = 0x234;
const XLOADFLAGS = 0x236;
const CMDLINE_SIZE = 0x238;
const PREF_ADDRESS = 0x258;
const INIT_SIZE = 0x260;
/** End of the fields of protocol 2.06, and of those of 2.10, the oldest that states where it wants to be and its memory need. */
const HEADER_2_06_END = 0x23c;
const HEADER_2_10_END = 0x264;

// Fields of the zero page outside the header.
const EXT_RAMDISK_IMAGE = 0xc0;
const ACPI_RSDP_ADDR = 0x70;
const ALT_MEM_K = 0x1e0;
const E820_ENTRIES = 0x1e8;
const E820_TABLE = 0x2d0;

const HDRS = 0x53726448;
const BOOT_FLAG_VALUE = 0xaa55;
const MIN_VERSION = 0x0206;
const PREF_ADDRESS_VERSION = 0x020a;
const XLOADFLAGS_VERSION = 0x020c;
const LOADED_HIGH = 1 << 0;
const XLF_KERNEL_64 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1;
export const LOADER_UNDEFINED = 0xff;
const ENTRY_64_OFFSET = 0x200;
/** Longest command line that is ever placed; kernels say 2047. */
const MAX_COMMAND_LINE_BYTES = 0xffff;

export interface SetupHeader {
  /** From setup_sects on, as the file has it. */
  readonly bytes: Uint8Array;
  /** Length of the real-mode code, with which the file begins. */
  readonly setupBytes: number;
  readonly payload: Uint8Array;
  readonly loadGpa: number;
  /** The 32-bit entry point when the payload lies where the file assumes; 0 when there is none. */
  readonly code32Start: number;
  readonly initSizeBytes: number;
  readonly initrdLimit: number;
  readonly cmdlineBytes: number;
  readonly hasEntry64: boolean;
}

/** True for a file with the magic numbers of a Linux setup header. */
export function isLinuxImage(file: Uint8Array): boolean {
  if (file.length < HEADER_MAGIC + 4) return false;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return view.getUint16(BOOT_FLAG, true) === BOOT_FLAG_VALUE && view.getUint32(HEADER_MAGIC, true) === HDRS;
}

/** True for a Linux image that can be entered in long mode. */
export function hasLinuxEntry64(file: Uint8Array): boolean {
  if (!isLinuxImage(file) || file.length < XLOADFLAGS + 2) return false;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return (
    view.getUint16(VERSION, true) >= XLOADFLAGS_VERSION && (view.getUint16(XLOADFLAGS, true) & XLF_KERNEL_64) !== 0
  );
}

/** True for a Linux image whose only entry is its setup code: a kernel's 32-bit entry point lies above 1 MiB. */
export function isRealModeImage(file: Uint8Array): boolean {
  if (!isLinuxImage(file) || file.length < CODE32_START + 4 || hasLinuxEntry64(file)) return false;
  return new DataView(file.buffer, file.byteOffset, file.byteLength).getUint32(CODE32_START, true) === 0;
}

/** Throws {@link LoaderError} for an image that is damaged, too old or too large. */
export function readSetupHeader(file: Uint8Array, lowmemBytes: number): SetupHeader {
  if (!isLinuxImage(file)) throw new LoaderError('The file is not a Linux kernel image: it has no setup header.');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < HEADER_2_06_END) throw new LoaderError('The Linux kernel image is truncated in its setup header.');
  const version = view.getUint16(VERSION, true);
  const statesPlace = version >= PREF_ADDRESS_VERSION;
  const fieldsEnd = statesPlace ? HEADER_2_10_END : HEADER_2_06_END;
  if (file.length < fieldsEnd) throw new LoaderError('The Linux kernel image is truncated in its setup header.');
  if (version < MIN_VERSION) {
    const text = `${version >> 8}.${(version & 0xff).toString().padStart(2, '0')}`;
    throw new LoaderError(`The Linux kernel image has boot protocol ${text}; 2.06 is the oldest that is supported.`);
  }
  if ((view.getUint8(LOADFLAGS) & LOADED_HIGH) === 0) {
    throw new LoaderError('The Linux kernel image is a zImage, which loads below 1 MiB; only a bzImage is supported.');
  }
  const setupBytes = ((view.getUint8(SETUP_SECTS) || 4) + 1) * 512;
  const payloadBytes = view.getUint32(SYSSIZE, true) * 16;
  // The size is counted in paragraphs, rounded up: the last one may be short of the file's end.
  if (payloadBytes === 0 || setupBytes + payloadBytes > file.length + 15) {
    throw new LoaderError(
      `The Linux kernel image is truncated: its header declares ${setupBytes + payloadBytes} bytes, the file has ${file.length}.`,
    );
  }
  const payload = file.subarray(setupBytes);

  const alignment = view.getUint32(KERNEL_ALIGNMENT, true);
  const relocatable = view.getUint8(RELOCATABLE_KERNEL) !== 0;
  if (relocatable && (alignment === 0 || (alignment & (alignment - 1)) !== 0)) {
    throw new LoaderError('The Linux kernel image declares an alignment that is no power of two.');
  }
  // A relocatable kernel loaded elsewhere copies itself to the preferred address first: put it there at once. Before protocol 2.10 that is
  // 1 MiB, and how much memory the kernel needs is not known.
  const preferred = statesPlace ? Number(view.getBigUint64(PREF_ADDRESS, true)) : LOW_MEGABYTE_END;
  const loadGpa = preferred !== 0 ? preferred : alignUp(LOW_MEGABYTE_END, relocatable ? alignment : 1);
  const initSizeBytes = Math.max(statesPlace ? view.getUint32(INIT_SIZE, true) : 0, payload.length);
  if (loadGpa < LOW_MEGABYTE_END || loadGpa + initSizeBytes > lowmemBytes) {
    const neededMib = Math.ceil((loadGpa + initSizeBytes) / 0x100000);
    throw new LoaderError(
      loadGpa < LOW_MEGABYTE_END
        ? 'The Linux kernel image wants to be loaded below 1 MiB.'
        : `The Linux kernel needs ${neededMib} MiB of memory to start, the machine has ${Math.floor(lowmemBytes / 0x100000)} MiB.`,
    );
  }

  const hasEntry64 = hasLinuxEntry64(file);
  const aboveAllowed =
    version >= XLOADFLAGS_VERSION && (view.getUint16(XLOADFLAGS, true) & XLF_CAN_BE_LOADED_ABOVE_4G) !== 0;
  const headerEnd = Math.min(HEADER_MAGIC + view.getUint8(JUMP_LENGTH), file.length);
  return {
    bytes: file.subarray(SETUP_SECTS, Math.max(headerEnd, fieldsEnd)),
    setupBytes,
    payload,
    loadGpa,
    code32Start: view.getUint32(CODE32_START, true),
    initSizeBytes,
    initrdLimit: aboveAllowed ? lowmemBytes : view.getUint32(INITRD_ADDR_MAX, true) + 1,
    cmdlineBytes: Math.min(view.getUint32(CMDLINE_SIZE, true), MAX_COMMAND_LINE_BYTES),
    hasEntry64,
  };
}

/** The initial RAM disk: several archives in a row, each padded to 4 bytes (initramfs buffer format). */
export function joinInitrd(modules: readonly BootModule[]): Uint8Array {
  const only = modules[0];
  if (!only) return new Uint8Array(0);
  if (modules.length === 1) return only.bytes;
  let lengthBytes = 0;
  for (const { bytes } of modules) lengthBytes += alignUp(bytes.length, 4);
  const all = new Uint8Array(lengthBytes);
  let at = 0;
  for (const { bytes } of modules) {
    all.set(bytes, at);
    at += alignUp(bytes.length, 4);
  }
  return all;
}

/** Prepares a bzImage for its 64-bit (`linux64`) or 32-bit (`linux32`) entry point. */
export function loadLinux(request: BootRequest, protocol: 'linux64' | 'linux32'): BootImage {
  const header = readSetupHeader(request.kernel, request.lowmemBytes);
  const long = protocol === 'linux64';
  if (long && !header.hasEntry64) throw new LoaderError('The Linux kernel image has no 64-bit entry point.');

  const placement = new Placement(request.lowmemBytes);
  // What lies beyond the file up to init_size is the kernel's own scratch space; it does not expect zeros there.
  const { payload } = header;
  const scratchBytes = header.initSizeBytes - payload.length;
  placement.fixed('The Linux kernel', header.loadGpa, payload, payload.length, scratchBytes);
  const gdtGpa = placement.placeLow('the GDT', bootGdt(long ? 'long64' : 'protected32'), PAGE_BYTES);
  const zeroPageGpa = placement.reserveLow('the zero page', PAGE_BYTES, PAGE_BYTES);
  const pageTablesGpa = long ? placement.reserveLow('page tables', IDENTITY_PAGE_TABLE_BYTES, PAGE_BYTES) : undefined;
  if (pageTablesGpa !== undefined) placement.fill(pageTablesGpa, identityPageTables(pageTablesGpa));
  const commandLine = encodeCommandLine(request.commandLine, header.cmdlineBytes);
  const commandLineGpa = placement.placeLow('the command line', commandLine, PAGE_BYTES);
  const initrd = joinInitrd(request.modules);
  const initrdGpa =
    initrd.length === 0 ? 0 : placement.placeHigh('the initial RAM disk', initrd, PAGE_BYTES, header.initrdLimit);

  const zeroPage = new Uint8Array(PAGE_BYTES);
  const view = new DataView(zeroPage.buffer);
  zeroPage.set(header.bytes.subarray(0, E820_TABLE - SETUP_SECTS), SETUP_SECTS);
  view.setUint8(TYPE_OF_LOADER, LOADER_UNDEFINED);
  view.setUint32(CMD_LINE_PTR, commandLineGpa, true);
  view.setUint32(RAMDISK_IMAGE, initrdGpa, true);
  view.setUint32(RAMDISK_SIZE, initrd.length, true);
  view.setUint32(ALT_MEM_K, (request.lowmemBytes - LOW_MEGABYTE_END) / 1024, true);
  view.setBigUint64(ACPI_RSDP_ADDR, BigInt(request.rsdpGpa ?? 0), true);
  // The upper halves of the RAM disk's place and size: it always lies below 4 GiB.
  view.setBigUint64(EXT_RAMDISK_IMAGE, 0n, true);
  const map = loaderMemoryMap(request);
  view.setUint8(E820_ENTRIES, map.length);
  zeroPage.set(encodeE820(map), E820_TABLE);
  placement.fill(zeroPageGpa, zeroPage);

  return {
    protocol,
    segments: placement.segments,
    zeroRanges: placement.zeroRanges,
    registers: entryRegisters({
      mode: long ? 'long64' : 'protected32',
      rip: header.loadGpa + (long ? ENTRY_64_OFFSET : 0),
      gdtGpa,
      gpr: { rsi: BigInt(zeroPageGpa) },
      ...(pageTablesGpa === undefined ? {} : { pageTablesGpa }),
      numericError: true,
    }),
  };
}
