/** PVH direct boot (Xen: docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h): vmlinux, FreeBSD and other ELF kernels. */
import { ByteWriter } from '../byte-writer.ts';
import { loaderMemoryMap } from '../e820.ts';
import { encodeCommandLine, LoaderError, type BootImage, type BootRequest } from './boot-image.ts';
import { readElf, type ElfFile } from './elf.ts';
import { bootGdt, entryRegisters } from './entry-state.ts';
import { PAGE_BYTES, Placement } from './placement.ts';

const NOTE_OWNER = 'Xen';
const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const START_INFO_MAGIC = 0x336ec578;
/** Version 1 added the memory map. */
const START_INFO_VERSION = 1;
const START_INFO_BYTES = 56;
const MAX_COMMAND_LINE_BYTES = 0xffff;

function physicalEntry(elf: ElfFile): number | undefined {
  for (const note of elf.notes) {
    if (note.owner !== NOTE_OWNER || note.type !== XEN_ELFNOTE_PHYS32_ENTRY) continue;
    const { description } = note;
    if (description.length < 4) return undefined;
    // 4 or 8 bytes long, by the size of an address; the entry point lies below 4 GiB either way.
    return new DataView(description.buffer, description.byteOffset, description.byteLength).getUint32(0, true);
  }
  return undefined;
}

/** Prepares an ELF kernel with a PVH note: 32-bit protected mode, EBX = hvm_start_info. */
export function loadPvh(request: BootRequest): BootImage {
  const elf = readElf(request.kernel);
  const rip = physicalEntry(elf);
  if (rip === undefined)
    throw new LoaderError(
      'The ELF file has neither a multiboot header nor a PVH entry point (note XEN_ELFNOTE_PHYS32_ENTRY).',
    );
  const placement = new Placement(request.lowmemBytes);
  let covered = false;
  for (const segment of elf.segments) {
    placement.fixed('A segment of the PVH kernel', segment.physicalAddress, segment.bytes, segment.memoryBytes);
    const offset = rip - segment.physicalAddress;
    covered ||= offset >= 0 && offset < segment.memoryBytes;
  }
  if (!covered) throw new LoaderError('The entry point of the PVH kernel lies in none of its segments.');

  const gdtGpa = placement.placeLow('the GDT', bootGdt('protected32'), 16);
  const startInfoGpa = placement.reserveLow('the start info', START_INFO_BYTES, 16);
  const commandLineGpa = placement.placeLow(
    'the command line',
    encodeCommandLine(request.commandLine, MAX_COMMAND_LINE_BYTES),
    16,
  );
  const moduleList = new ByteWriter();
  let moduleCount = 0;
  for (const module of request.modules) {
    if (module.bytes.length === 0) continue;
    const gpa = placement.placeHigh('a module', module.bytes, PAGE_BYTES, request.lowmemBytes);
    const text = module.commandLine;
    const textGpa =
      text === undefined
        ? 0
        : placement.placeLow('a module string', encodeCommandLine(text, MAX_COMMAND_LINE_BYTES), 16);
    moduleList.u64(gpa).u64(module.bytes.length).u64(textGpa).u64(0);
    moduleCount++;
  }
  const moduleListGpa = moduleCount > 0 ? placement.placeLow('the module list', moduleList.finish(), 16) : 0;
  const map = loaderMemoryMap(request);
  const memoryMap = new ByteWriter();
  for (const range of map) memoryMap.u64(range.base).u64(range.lengthBytes).u32(range.type).u32(0);
  const memoryMapGpa = placement.placeLow('the memory map', memoryMap.finish(), 16);

  placement.fill(
    startInfoGpa,
    new ByteWriter()
      .u32(START_INFO_MAGIC)
      .u32(START_INFO_VERSION)
      .u32(0)
      .u32(moduleCount)
      .u64(moduleListGpa)
      .u64(commandLineGpa)
      .u64(request.rsdpGpa ?? 0)
      .u64(memoryMapGpa)
      .u32(map.length)
      .u32(0)
      .finish(),
  );
  return {
    protocol: 'pvh',
    segments: placement.segments,
    zeroRanges: placement.zeroRanges,
    registers: entryRegisters({
      mode: 'protected32',
      rip,
      gdtGpa,
      gpr: { rbx: BigInt(startInfoGpa) },
      numericError: false,
    }),
  };
}
