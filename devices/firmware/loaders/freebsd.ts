/**
 * A FreeBSD kernel for amd64, entered as bhyveload's loader enters it: the kernel where its virtual addresses fold to, its symbols and the
 * modules behind it, then the environment and the module metadata ("preload" records), and page tables by which every virtual address
 * reads the low 1 GiB. Structures: stand/userboot and sys/sys/linker.h of FreeBSD.
 */
import { ByteWriter } from '../byte-writer.ts';
import { LoaderError, type BootImage, type BootModule, type BootRequest, type SegmentRegister } from './boot-image.ts';
import { EM_X86_64, isElf, readElf } from './elf.ts';
import { layOutModule, symbolTables } from './freebsd-elf.ts';
import { alignUp, PAGE_BYTES, Placement } from './placement.ts';

/** The kernel's virtual addresses fold to physical ones by this mask. */
const PHYSICAL_MASK = 0x3fffffffn;

const STACK_GPA = 0x1000;
const PML4_GPA = 0x2000;
const PDPT_GPA = 0x3000;
const PD_GPA = 0x4000;
const GDT_GPA = 0x5000;
const STRUCTURES_BYTES = GDT_GPA + 0x18 - STACK_GPA;

/** MODINFO_* and MODINFOMD_* of sys/linker.h. */
const MODINFO_END = 0;
const MODINFO_NAME = 1;
const MODINFO_TYPE = 2;
const MODINFO_ADDR = 3;
const MODINFO_SIZE = 4;
const MODINFO_ARGS = 6;
const MODINFO_METADATA = 0x8000;
const MODINFOMD_ELFHDR = 2;
const MODINFOMD_SSYM = 3;
const MODINFOMD_ESYM = 4;
const MODINFOMD_ENVP = 6;
const MODINFOMD_HOWTO = 7;
const MODINFOMD_KERNEND = 8;
const MODINFOMD_SHDR = 9;
const MODINFOMD_SMAP = 0x1001;

/** Boot flags (sys/reboot.h) by the environment variables that ask for them, as the loader's own table has them. */
const HOWTO_BITS: Readonly<Record<string, number>> = {
  boot_askname: 0x1,
  boot_single: 0x2,
  boot_cdrom: 0x2000,
  boot_ddb: 0x40,
  boot_gdb: 0x8000,
  boot_mute: 0x10000,
  boot_verbose: 0x800,
  boot_serial: 0x1000,
  boot_multicons: 0x20000000,
};

const SMAP_MEMORY = 1;
const CONVENTIONAL_BYTES = 0xa0000;
const MEGABYTE = 0x100000;
const FOUR_GIB = 0x1_0000_0000;

/** Preload records: type, size, data padded to 8 bytes. */
class Metadata {
  readonly #writer = new ByteWriter();

  add(type: number, data: Uint8Array): void {
    this.#writer
      .u32(type)
      .u32(data.length)
      .bytes(data)
      .zeros(-data.length & 7);
  }

  text(type: number, text: string): void {
    this.add(type, new TextEncoder().encode(`${text}\0`));
  }

  u64(type: number, value: number | bigint): void {
    this.add(type, new ByteWriter().u64(value).finish());
  }

  finish(): Uint8Array {
    return this.#writer.u32(MODINFO_END).u32(0).finish();
  }
}

/** The environment: one `name=value` a line in the boot request's command line, the later one winning, with what bhyveload always sets. */
function environmentOf(commandLine: string, kernelName: string): Map<string, string> {
  const environment = new Map([
    ['smbios.bios.vendor', 'BHYVE'],
    ['boot_serial', '1'],
    ['kernelname', kernelName],
  ]);
  for (const line of commandLine.split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0) environment.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return environment;
}

function howtoOf(environment: ReadonlyMap<string, string>): number {
  let howto = 0;
  for (const [name, bit] of Object.entries(HOWTO_BITS)) {
    const value = environment.get(name);
    if (value !== undefined && !/^(no|0|off|false)$/i.test(value)) howto |= bit;
  }
  if (environment.get('console')?.includes('comconsole') === true) howto |= HOWTO_BITS['boot_serial'] ?? 0;
  return howto >>> 0;
}

/** The memory map that the loader would have had from a BIOS. */
function systemMap({ lowmemBytes, highmemBytes }: BootRequest): Uint8Array {
  const map = new ByteWriter();
  const range = (base: number, length: number): void => {
    if (length > 0) map.u64(base).u64(length).u32(SMAP_MEMORY);
  };
  range(0, CONVENTIONAL_BYTES);
  range(MEGABYTE, lowmemBytes - MEGABYTE);
  range(FOUR_GIB, highmemBytes);
  return map.finish();
}

function pageTables(): Uint8Array {
  const bytes = new Uint8Array(3 * PAGE_BYTES);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < 512; index++) {
    view.setBigUint64(8 * index, BigInt(PDPT_GPA | 3), true);
    view.setBigUint64(PAGE_BYTES + 8 * index, BigInt(PD_GPA | 3), true);
    view.setBigUint64(2 * PAGE_BYTES + 8 * index, BigInt(index * 0x200000) | 0x83n, true);
  }
  return bytes;
}

/** A file behind the kernel: what it is called in the metadata, and where it lies. */
interface Preloaded {
  readonly name: string;
  readonly type: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly elfHeader?: Uint8Array | undefined;
  readonly sectionHeaders?: Uint8Array | undefined;
  readonly arguments?: string | undefined;
}

/** A module's arguments may begin with `name=` and `type=`, for the metadata; the rest are the module's own. */
function preload(module: BootModule, gpa: number): Preloaded {
  const [, givenName, type, rest] = /^(?:name=(\S+) ?)?(?:type=(\S+) ?)?(.*)$/s.exec(module.commandLine ?? '') ?? [];
  const name = givenName ?? module.name ?? 'module';
  if (type !== undefined || !isElf(module.bytes)) {
    return { name, type: type ?? 'md_image', gpa, bytes: module.bytes };
  }
  const { bytes, elfHeader, sectionHeaders } = layOutModule(name, module.bytes, gpa);
  return { name, type: 'elf obj module', gpa, bytes, elfHeader, sectionHeaders, arguments: rest || undefined };
}

const data = (access: number): SegmentRegister => ({ selector: 0x10, base: 0n, limit: 0, access });

/** Prepares an amd64 kernel of FreeBSD. The command line is its environment, a `name=value` on each line. */
export function loadFreebsd(request: BootRequest): BootImage {
  const elf = readElf(request.kernel);
  if (elf.bits !== 64 || elf.machine !== EM_X86_64) throw new LoaderError('The FreeBSD kernel is not one for amd64.');
  const fold = (address: bigint): number => Number(address & PHYSICAL_MASK);
  const placement = new Placement(request.lowmemBytes);
  let end = 0;
  for (const { exactVirtualAddress, bytes, memoryBytes } of elf.segments) {
    const gpa = fold(exactVirtualAddress);
    placement.fixed('A segment of the FreeBSD kernel', gpa, bytes, memoryBytes);
    end = Math.max(end, gpa + memoryBytes);
  }
  if (end === 0) throw new LoaderError('The FreeBSD kernel has no segments.');

  // Symbols follow the last segment, each table behind its length.
  const symbols = symbolTables(request.kernel);
  const symbolsGpa = alignUp(end, 8);
  if (symbols.length > 0) {
    placement.fixed('The symbols of the FreeBSD kernel', symbolsGpa, symbols);
    end = symbolsGpa + symbols.length;
  }
  const kernelEnd = end;

  const modules: Preloaded[] = [];
  for (const module of request.modules) {
    const preloaded = preload(module, alignUp(end, PAGE_BYTES));
    placement.fixed(`The module ${preloaded.name}`, preloaded.gpa, preloaded.bytes);
    modules.push(preloaded);
    end = preloaded.gpa + preloaded.bytes.length;
  }

  const environment = environmentOf(request.commandLine, request.kernelName ?? '/boot/kernel/kernel');
  const kernelName = environment.get('kernelname') ?? '';
  const text = [...environment].map(([name, value]) => `${name}=${value}\0`).join('');
  const environmentBytes = new TextEncoder().encode(`${text}\0`);
  const environmentGpa = alignUp(end, PAGE_BYTES);
  placement.fixed('The kernel environment', environmentGpa, environmentBytes);

  const modulepGpa = alignUp(environmentGpa + environmentBytes.length, PAGE_BYTES);
  const describe = (last: number): Uint8Array => {
    const metadata = new Metadata();
    const md = (code: number, bytes: Uint8Array): void => metadata.add(MODINFO_METADATA | code, bytes);
    const number = (code: number, value: number): void => metadata.u64(MODINFO_METADATA | code, value);
    const firstGpa = Math.min(...elf.segments.map(({ exactVirtualAddress }) => fold(exactVirtualAddress)));
    metadata.text(MODINFO_NAME, kernelName);
    metadata.text(MODINFO_TYPE, 'elf kernel');
    metadata.u64(MODINFO_ADDR, firstGpa);
    metadata.u64(MODINFO_SIZE, kernelEnd - firstGpa);
    md(MODINFOMD_ELFHDR, request.kernel.subarray(0, 64));
    if (symbols.length > 0) {
      number(MODINFOMD_SSYM, symbolsGpa);
      number(MODINFOMD_ESYM, symbolsGpa + symbols.length);
    }
    md(MODINFOMD_HOWTO, new ByteWriter().u32(howtoOf(environment)).finish());
    number(MODINFOMD_ENVP, environmentGpa);
    number(MODINFOMD_KERNEND, last);
    md(MODINFOMD_SMAP, systemMap(request));
    for (const module of modules) {
      metadata.text(MODINFO_NAME, module.name);
      metadata.text(MODINFO_TYPE, module.type);
      if (module.arguments !== undefined) metadata.text(MODINFO_ARGS, module.arguments);
      metadata.u64(MODINFO_ADDR, module.gpa);
      metadata.u64(MODINFO_SIZE, module.bytes.length);
      if (module.elfHeader) md(MODINFOMD_ELFHDR, module.elfHeader);
      if (module.sectionHeaders) md(MODINFOMD_SHDR, module.sectionHeaders);
    }
    return metadata.finish();
  };
  // The end that it states counts the metadata itself, whose length does not depend on the value.
  const kernend = alignUp(modulepGpa + describe(0).length, PAGE_BYTES);
  placement.fixed('The module metadata', modulepGpa, describe(kernend));

  const structures = new ByteWriter()
    .u32(0)
    .u32(modulepGpa)
    .u32(kernend)
    .zeros(PAGE_BYTES - 12);
  structures.bytes(pageTables()).u64(0).u64(0x0020980000000000n).u64(0x0000900000000000n);
  placement.fixed('The loader’s structures', STACK_GPA, structures.finish(), STRUCTURES_BYTES);
  return {
    protocol: 'freebsd',
    segments: placement.segments,
    zeroRanges: placement.zeroRanges,
    registers: {
      rip: new DataView(request.kernel.buffer, request.kernel.byteOffset).getBigUint64(24, true),
      rsp: BigInt(STACK_GPA),
      rflags: 2n,
      gpr: {},
      cr0: 0x80000021n,
      cr3: BigInt(PML4_GPA),
      cr4: 0x20n,
      efer: 0x500n,
      // Limits of zero are right: 64-bit code has none.
      segments: {
        cs: { selector: 8, base: 0n, limit: 0, access: 0x209b },
        ds: data(0x93),
        es: data(0x93),
        fs: data(0x93),
        gs: data(0x93),
        ss: data(0x93),
        tr: { selector: 0, base: 0n, limit: 0, access: 0x8b },
        ldtr: { selector: 0, base: 0n, limit: 0, access: 0x10000 },
      },
      gdt: { base: BigInt(GDT_GPA), limit: 0x17 },
      idt: { base: 0n, limit: 0 },
    },
  };
}
