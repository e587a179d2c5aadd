/** Reading ELF executables (System V ABI, "Object Files"); every offset comes from the file and is checked. */
import { LoaderError } from './boot-image.ts';

export interface ElfSegment {
  readonly physicalAddress: number;
  readonly virtualAddress: number;
  /** The same, exact beyond 2^53. */
  readonly exactVirtualAddress: bigint;
  /** The part that the file holds; the rest up to `memoryBytes` is zero. */
  readonly bytes: Uint8Array;
  readonly memoryBytes: number;
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly description: Uint8Array;
}

export interface ElfFile {
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly entry: number;
  /** PT_LOAD segments with a size. */
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
}

export const EM_386 = 3;
export const EM_X86_64 = 62;

const PT_LOAD = 1;
const PT_NOTE = 4;
const ET_EXEC = 2;
const ET_DYN = 3;
/** More program headers than any kernel has; bounds the work that a hostile file can ask for. */
const MAX_PROGRAM_HEADERS = 256;
const MAX_NOTES = 1024;
/** Note owners are short words; the rest of a longer one is not read. */
const MAX_OWNER_BYTES = 64;

export function isElf(file: Uint8Array): boolean {
  return file.length >= 16 && file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;
}

/** A slice of the file, or a LoaderError that names what was cut off. */
function slice(file: Uint8Array, offset: number, lengthBytes: number, what: string): Uint8Array {
  if (!(offset >= 0) || !(lengthBytes >= 0) || offset + lengthBytes > file.length) {
    throw new LoaderError(`The ELF file is truncated: ${what} reaches past its end.`);
  }
  return file.subarray(offset, offset + lengthBytes);
}

/** A 64-bit field as a number. Beyond 2^53 no address or size can be meant, and the value is kept as "too large". */
function u64(view: DataView, offset: number): number {
  return Number(view.getBigUint64(offset, true));
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly alignment: number;
}

function programHeader(view: DataView, bits: 32 | 64): ProgramHeader {
  if (bits === 64) {
    return {
      type: view.getUint32(0, true),
      offset: u64(view, 8),
      virtualAddress: view.getBigUint64(16, true),
      physicalAddress: u64(view, 24),
      fileBytes: u64(view, 32),
      memoryBytes: u64(view, 40),
      alignment: u64(view, 48),
    };
  }
  return {
    type: view.getUint32(0, true),
    offset: view.getUint32(4, true),
    virtualAddress: BigInt(view.getUint32(8, true)),
    physicalAddress: view.getUint32(12, true),
    fileBytes: view.getUint32(16, true),
    memoryBytes: view.getUint32(20, true),
    alignment: view.getUint32(28, true),
  };
}

/** Reads the headers, loadable segments and notes of a little-endian x86 executable. */
export function readElf(file: Uint8Array): ElfFile {
  if (!isElf(file)) throw new LoaderError('The file is not an ELF executable.');
  const elfClass = file[4];
  if (elfClass !== 1 && elfClass !== 2) throw new LoaderError('The ELF file is neither a 32-bit nor a 64-bit one.');
  if (file[5] !== 1) throw new LoaderError('The ELF file is not little-endian.');
  const bits = elfClass === 2 ? 64 : 32;
  const header = viewOf(slice(file, 0, bits === 64 ? 64 : 52, 'its header'));
  const type = header.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) throw new LoaderError('The ELF file is not an executable.');
  const machine = header.getUint16(18, true);
  if (machine !== EM_386 && machine !== EM_X86_64) throw new LoaderError('The ELF file is not for x86 processors.');
  const entry = bits === 64 ? u64(header, 24) : header.getUint32(24, true);
  const tableOffset = bits === 64 ? u64(header, 32) : header.getUint32(28, true);
  const entryBytes = header.getUint16(bits === 64 ? 54 : 42, true);
  const count = header.getUint16(bits === 64 ? 56 : 44, true);
  if (count > MAX_PROGRAM_HEADERS)
    throw new LoaderError(`The ELF file has ${count} program headers, which is too many.`);
  if (count > 0 && entryBytes < (bits === 64 ? 56 : 32))
    throw new LoaderError('The ELF program headers are too short.');

  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  const table = slice(file, tableOffset, count * entryBytes, 'the program header table');
  for (let index = 0; index < count; index++) {
    const program = programHeader(viewOf(table.subarray(index * entryBytes, (index + 1) * entryBytes)), bits);
    if (program.type === PT_LOAD && program.memoryBytes > 0) {
      if (program.fileBytes > program.memoryBytes) {
        throw new LoaderError(`ELF segment ${index} is larger in the file than in memory.`);
      }
      segments.push({
        physicalAddress: program.physicalAddress,
        virtualAddress: Number(program.virtualAddress),
        exactVirtualAddress: program.virtualAddress,
        bytes: slice(file, program.offset, program.fileBytes, `segment ${index}`),
        memoryBytes: program.memoryBytes,
      });
    } else if (program.type === PT_NOTE) {
      const area = slice(file, program.offset, program.fileBytes, `note segment ${index}`);
      readNotes(area, program.alignment, notes);
    }
  }
  return { bits, machine, entry, segments, notes };
}

/**
 * Appends the notes of one PT_NOTE area. The gABI has names and descriptions padded to the alignment that the program header states, but
 * linkers state 8 for areas with notes of 4 (binutils PR 23658): the stated reading counts unless only the other one comes out even.
 */
function readNotes(area: Uint8Array, alignment: number, notes: ElfNote[]): void {
  const four = parseNotes(area, 4);
  const stated = alignment === 8 ? parseNotes(area, 8) : four;
  const chosen = !stated.complete && four.complete ? four : stated;
  notes.push(...chosen.notes.slice(0, MAX_NOTES - notes.length));
}

/** The notes of an area up to a malformed one, as no later note can be found; `complete` when there is none. */
function parseNotes(area: Uint8Array, alignment: number): { readonly notes: ElfNote[]; readonly complete: boolean } {
  const notes: ElfNote[] = [];
  const view = viewOf(area);
  const padded = (lengthBytes: number): number => Math.ceil(lengthBytes / alignment) * alignment;
  let at = 0;
  while (at + 12 <= area.length && notes.length < MAX_NOTES) {
    const nameBytes = view.getUint32(at, true);
    const descriptionBytes = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const nameAt = at + 12;
    const descriptionAt = at + padded(12 + nameBytes);
    const next = descriptionAt + padded(descriptionBytes);
    if (nameBytes > area.length || descriptionAt + descriptionBytes > area.length) break;
    let owner = '';
    for (const byte of area.subarray(nameAt, nameAt + Math.min(nameBytes, MAX_OWNER_BYTES))) {
      if (byte === 0) break;
      owner += String.fromCharCode(byte);
    }
    notes.push({ owner, type, description: area.subarray(descriptionAt, descriptionAt + descriptionBytes) });
    at = next;
  }
  return { notes, complete: at >= area.length };
}
