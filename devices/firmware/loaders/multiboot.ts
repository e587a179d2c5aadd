/** The Multiboot Specification, version 0.6.96 ("multiboot 1"): ELF kernels and kernels with explicit addresses. */
import { ByteWriter, concatBytes } from '../byte-writer.ts';
import { loaderMemoryMap } from '../e820.ts';
import { CONVENTIONAL_MEMORY_END, LOW_MEGABYTE_END } from '../layout.ts';
import { encodeCommandLine, LoaderError, type BootImage, type BootRequest } from './boot-image.ts';
import { isElf, readElf } from './elf.ts';
import { bootGdt, entryRegisters } from './entry-state.ts';
import { alignUp, PAGE_BYTES, Placement } from './placement.ts';

const HEADER_MAGIC = 0x1badb002;
/** What EAX holds at entry. */
const BOOTLOADER_MAGIC = 0x2badb002;
/** The header lies wholly within this much of the file, on a 4-byte boundary (3.1.1). */
const HEADER_SEARCH_BYTES = 8192;

// Header flags; a set bit among 0-15 that the loader does not know means that it must not boot the file (3.1.2).
const PAGE_ALIGN_MODULES = 1 << 0;
const MEMORY_INFO = 1 << 1;
const VIDEO_MODE = 1 << 2;
const ADDRESSES_VALID = 1 << 16;
const REQUIRED_MASK = 0xffff;

// Boot information flags (3.3).
const INFO_MEMORY = 1 << 0;
const INFO_CMDLINE = 1 << 2;
const INFO_MODS = 1 << 3;
const INFO_MMAP = 1 << 6;
const INFO_BOOT_LOADER_NAME = 1 << 9;
const INFO_BYTES = 120;

const MAX_COMMAND_LINE_BYTES = 0xffff;

interface Header {
  readonly fileOffset: number;
  readonly flags: number;
}

function findHeader(file: Uint8Array): Header | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = Math.min(file.length, HEADER_SEARCH_BYTES) - 12;
  for (let at = 0; at <= end; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(at + 4, true);
    if (((HEADER_MAGIC + flags + view.getUint32(at + 8, true)) & 0xffffffff) === 0) return { fileOffset: at, flags };
  }
  return undefined;
}

/** True for a file with a valid multiboot header. */
export function isMultiboot(file: Uint8Array): boolean {
  return findHeader(file) !== undefined;
}

/** Loads by the header's address fields (3.1.3); returns the entry point. */
function loadByAddresses(file: Uint8Array, header: Header, placement: Placement): number {
  const at = header.fileOffset + 12;
  if (at + 20 > file.length) throw new LoaderError('The multiboot kernel is truncated in its header.');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const headerAddr = view.getUint32(at, true);
  const loadAddr = view.getUint32(at + 4, true);
  const loadEndAddr = view.getUint32(at + 8, true);
  const bssEndAddr = view.getUint32(at + 12, true);
  const entryAddr = view.getUint32(at + 16, true);
  const fileOffset = header.fileOffset - (headerAddr - loadAddr);
  if (loadAddr > headerAddr || fileOffset < 0) {
    throw new LoaderError('The multiboot header declares a load address that lies outside the file.');
  }
  const lengthBytes = loadEndAddr === 0 ? file.length - fileOffset : loadEndAddr - loadAddr;
  if (lengthBytes < 0) throw new LoaderError('The multiboot header declares a load end before its load address.');
  if (fileOffset + lengthBytes > file.length) {
    throw new LoaderError('The multiboot kernel is truncated: its load end reaches past the end of the file.');
  }
  const memoryBytes = bssEndAddr === 0 ? lengthBytes : bssEndAddr - loadAddr;
  if (memoryBytes < lengthBytes) throw new LoaderError('The multiboot header declares a BSS end before its load end.');
  placement.fixed('The multiboot kernel', loadAddr, file.subarray(fileOffset, fileOffset + lengthBytes), memoryBytes);
  return entryAddr;
}

function loadElfSegments(file: Uint8Array, placement: Placement): number {
  const elf = readElf(file);
  let entry = elf.entry;
  let found = false;
  for (const segment of elf.segments) {
    placement.fixed('A segment of the multiboot kernel', segment.physicalAddress, segment.bytes, segment.memoryBytes);
    const offset = elf.entry - segment.virtualAddress;
    // The entry point is a virtual address; before paging it is where that segment was loaded.
    if (!found && offset >= 0 && offset < segment.memoryBytes) {
      entry = segment.physicalAddress + offset;
      found = true;
    }
  }
  if (!found) throw new LoaderError('The entry point of the multiboot kernel lies in none of its segments.');
  return entry;
}

/** Prepares a multiboot kernel: 32-bit protected mode, EAX = magic, EBX = boot information. */
export function loadMultiboot(request: BootRequest): BootImage {
  const file = request.kernel;
  const header = findHeader(file);
  if (!header) throw new LoaderError('The file has no multiboot header in its first 8 KiB.');
  if ((header.flags & VIDEO_MODE) !== 0) {
    throw new LoaderError('The multiboot kernel demands a video mode, which this loader cannot set.');
  }
  const unknown = header.flags & REQUIRED_MASK & ~(PAGE_ALIGN_MODULES | MEMORY_INFO);
  if (unknown !== 0) {
    throw new LoaderError(`The multiboot kernel demands unknown features (flags 0x${unknown.toString(16)}).`);
  }

  const placement = new Placement(request.lowmemBytes);
  let rip: number;
  if ((header.flags & ADDRESSES_VALID) !== 0) rip = loadByAddresses(file, header, placement);
  else if (isElf(file)) rip = loadElfSegments(file, placement);
  else throw new LoaderError('The multiboot kernel is neither an ELF file nor does its header state addresses.');

  let kernelEnd = LOW_MEGABYTE_END;
  for (const { gpa, bytes } of placement.segments) kernelEnd = Math.max(kernelEnd, gpa + bytes.length);
  for (const { gpa, lengthBytes } of placement.zeroRanges) kernelEnd = Math.max(kernelEnd, gpa + lengthBytes);

  const gdtGpa = placement.placeLow('the GDT', bootGdt('protected32'), 16);
  const infoGpa = placement.reserveLow('the boot information', INFO_BYTES, 16);
  const text = `${request.kernelName ?? 'kernel'} ${request.commandLine}`.trimEnd();
  const commandLineGpa = placement.placeLow('the command line', encodeCommandLine(text, MAX_COMMAND_LINE_BYTES), 16);
  const loaderNameGpa = placement.placeLow('the loader name', encodeCommandLine('webhyve', 64), 16);

  // Modules go above the kernel, as kernels take the memory in front of them for granted.
  const moduleList = new ByteWriter();
  for (const module of request.modules) {
    const gpa =
      module.bytes.length === 0
        ? alignUp(kernelEnd, PAGE_BYTES)
        : placement.placeLow('a module', module.bytes, PAGE_BYTES, kernelEnd);
    // As with the kernel the first word names the file: Xen drops it.
    const words = [module.name ?? '', module.commandLine ?? ''].join(' ').trim();
    const moduleText = encodeCommandLine(words, MAX_COMMAND_LINE_BYTES);
    const textGpa = placement.placeLow('a module string', moduleText, 16);
    moduleList
      .u32(gpa)
      .u32(gpa + module.bytes.length)
      .u32(textGpa)
      .u32(0);
  }
  const hasModules = request.modules.length > 0;
  const moduleListGpa = hasModules ? placement.placeLow('the module list', moduleList.finish(), 16) : 0;

  // Each entry is preceded by its size, which does not count itself (3.3, "mmap_*").
  const map = loaderMemoryMap(request);
  const mmap = concatBytes(
    ...map.map(({ base, lengthBytes, type }) => new ByteWriter().u32(20).u64(base).u64(lengthBytes).u32(type).finish()),
  );
  const mmapGpa = placement.placeLow('the memory map', mmap, 16);

  const info = new ByteWriter()
    .u32(INFO_MEMORY | INFO_CMDLINE | (hasModules ? INFO_MODS : 0) | INFO_MMAP | INFO_BOOT_LOADER_NAME)
    .u32(CONVENTIONAL_MEMORY_END / 1024)
    .u32((request.lowmemBytes - LOW_MEGABYTE_END) / 1024)
    .u32(0) // boot device: flag 1 is clear
    .u32(commandLineGpa)
    .u32(request.modules.length)
    .u32(moduleListGpa)
    .zeros(16) // symbols: flags 4 and 5 are clear
    .u32(mmap.length)
    .u32(mmapGpa)
    .u32(0) // drives
    .u32(0)
    .u32(0) // ROM configuration table
    .u32(loaderNameGpa);
  placement.fill(infoGpa, info.zeros(INFO_BYTES - info.lengthBytes).finish());

  return {
    protocol: 'multiboot',
    segments: placement.segments,
    zeroRanges: placement.zeroRanges,
    registers: entryRegisters({
      mode: 'protected32',
      rip,
      gdtGpa,
      gpr: { rax: BigInt(BOOTLOADER_MAGIC), rbx: BigInt(infoGpa) },
      numericError: false,
    }),
  };
}
