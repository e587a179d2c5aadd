/** What FreeBSD's loader takes from ELF section headers: a kernel's symbols, and modules (`.ko` on amd64 are relocatable objects). */
import { ByteWriter } from '../byte-writer.ts';
import { LoaderError } from './boot-image.ts';

const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const SHT_REL = 9;
const SHT_X86_64_UNWIND = 0x70000001;
const SHF_ALLOC = 2;
const ET_REL = 1;
const EM_X86_64 = 62;
/** More than any module has. */
const MAX_SECTIONS = 4096;

interface Section {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function sectionsOf(file: Uint8Array): Section[] {
  if (file.length < HEADER_BYTES) throw new LoaderError('The ELF file is truncated: its header reaches past its end.');
  const view = viewOf(file);
  const table = Number(view.getBigUint64(40, true));
  const count = view.getUint16(60, true);
  if (table === 0 || count === 0) return [];
  if (view.getUint16(58, true) !== SECTION_HEADER_BYTES || count > MAX_SECTIONS) {
    throw new LoaderError('The ELF section headers are not as they should be.');
  }
  if (table + count * SECTION_HEADER_BYTES > file.length) {
    throw new LoaderError('The ELF file is truncated: the section headers reach past its end.');
  }
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * SECTION_HEADER_BYTES;
    const section = {
      type: view.getUint32(at + 4, true),
      flags: Number(view.getBigUint64(at + 8, true)),
      offset: Number(view.getBigUint64(at + 24, true)),
      sizeBytes: Number(view.getBigUint64(at + 32, true)),
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
      alignment: Number(view.getBigUint64(at + 48, true)),
    };
    if (section.type !== SHT_NOBITS && section.type !== 0 && section.offset + section.sizeBytes > file.length) {
      throw new LoaderError(`The ELF file is truncated: section ${index} reaches past its end.`);
    }
    return section;
  });
}

function contents(file: Uint8Array, { offset, sizeBytes }: Section): Uint8Array {
  return file.subarray(offset, offset + sizeBytes);
}

/** The operating system that an ELF file is for (System V ABI, e_ident). */
const EI_OSABI = 7;
const ELFOSABI_FREEBSD = 9;

/** A 64-bit ELF file made for FreeBSD. */
export function isFreebsdKernel(file: Uint8Array): boolean {
  return file.length >= HEADER_BYTES && file[0] === 0x7f && file[4] === 2 && file[EI_OSABI] === ELFOSABI_FREEBSD;
}

/** The symbol table and its strings, each behind its length in 8 bytes and padded to 8; empty when the kernel was stripped. */
export function symbolTables(kernel: Uint8Array): Uint8Array {
  const sections = sectionsOf(kernel);
  const symbols = sections.find(({ type }) => type === SHT_SYMTAB);
  const strings = symbols && sections[symbols.link];
  if (!symbols || !strings) return new Uint8Array();
  const writer = new ByteWriter();
  for (const section of [symbols, strings]) {
    const bytes = contents(kernel, section);
    writer
      .u64(bytes.length)
      .bytes(bytes)
      .zeros(-bytes.length & 7);
  }
  return writer.finish();
}

/** A module as the kernel's linker (link_elf_obj) wants it: sections one after the other, and headers that say where each is. */
export function layOutModule(
  name: string,
  file: Uint8Array,
  gpa: number,
): { readonly bytes: Uint8Array; readonly elfHeader: Uint8Array; readonly sectionHeaders: Uint8Array } {
  const sections = sectionsOf(file);
  const view = viewOf(file);
  if (view.getUint16(16, true) !== ET_REL || view.getUint16(18, true) !== EM_X86_64) {
    throw new LoaderError(`The module ${name} is not a relocatable object for amd64.`);
  }
  const isLoaded = (section: Section | undefined): boolean =>
    section !== undefined &&
    (section.flags & SHF_ALLOC) !== 0 &&
    [SHT_PROGBITS, SHT_NOBITS, SHT_X86_64_UNWIND].includes(section.type);
  const table = Number(view.getBigUint64(40, true));
  const sectionHeaders = file.slice(table, table + sections.length * SECTION_HEADER_BYTES);
  const headers = viewOf(sectionHeaders);
  const pieces: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  let end = 0;
  const place = (index: number): void => {
    const section = sections[index];
    if (!section) return;
    const at = Math.ceil(end / Math.max(1, section.alignment)) * Math.max(1, section.alignment);
    headers.setBigUint64(index * SECTION_HEADER_BYTES + 16, BigInt(gpa + at), true);
    if (section.type !== SHT_NOBITS) pieces.push({ at, bytes: contents(file, section) });
    end = at + section.sizeBytes;
  };
  // In the loader's order: what is to run, symbols and their names, names of sections, and relocations of what is loaded.
  for (let index = 0; index < sections.length; index++) {
    headers.setBigUint64(index * SECTION_HEADER_BYTES + 16, 0n, true);
  }
  for (const [index, section] of sections.entries()) if (isLoaded(section)) place(index);
  const symbols = sections.findIndex(({ type }) => type === SHT_SYMTAB);
  const link = sections[symbols]?.link;
  if (symbols === -1 || link === undefined) throw new LoaderError(`The module ${name} has no symbols.`);
  place(symbols);
  place(link);
  place(view.getUint16(62, true));
  for (const [index, { type, info }] of sections.entries()) {
    if ((type === SHT_REL || type === SHT_RELA) && isLoaded(sections[info])) place(index);
  }
  const bytes = new Uint8Array(end);
  for (const piece of pieces) bytes.set(piece.bytes, piece.at);
  return { bytes, elfHeader: file.slice(0, HEADER_BYTES), sectionHeaders };
}
