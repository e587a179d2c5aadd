/** Descriptor tables, page tables and register sets that kernels are entered with (SDM vol. 3, chapters 3, 4 and 26). */
import { ByteWriter } from '../byte-writer.ts';
import type { InitialRegisters, SegmentName, SegmentRegister } from './boot-image.ts';

const CR0_PE = 1n << 0n;
const CR0_ET = 1n << 4n;
const CR0_NE = 1n << 5n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
/** RFLAGS with interrupts off; bit 1 always reads as one. */
const RFLAGS_RESERVED_ONE = 2n;

// Access rights in VMX format: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
const ACCESS_CODE_32 = 0xc09b;
const ACCESS_CODE_64 = 0xa09b;
const ACCESS_DATA = 0xc093;
const ACCESS_TSS_BUSY = 0x008b;
const ACCESS_UNUSABLE = 0x10000;
const FLAT_LIMIT = 0xffffffff;
const TSS_LIMIT = 0x67;

/** Linux' names for its boot selectors, which its 32- and 64-bit protocols require; used for every protocol. */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;

export type EntryMode = 'protected32' | 'long64';

/** A GDT with a flat code segment at selector 0x10 and a flat data segment at 0x18. */
export function bootGdt(mode: EntryMode): Uint8Array {
  const code = mode === 'long64' ? 0x00af9b000000ffffn : 0x00cf9b000000ffffn;
  return new ByteWriter().u64(0).u64(0).u64(code).u64(0x00cf93000000ffffn).finish();
}

/** Bytes of {@link identityPageTables}: PML4, PDPT and four page directories. */
export const IDENTITY_PAGE_TABLE_BYTES = 6 * 0x1000;

/** Four-level page tables at `gpa` that map [0, 4 GiB) to itself with 2 MiB pages. */
export function identityPageTables(gpa: number): Uint8Array {
  const PRESENT_WRITABLE = 0x3;
  const ACCESSED_DIRTY_LARGE = 0xe0;
  const bytes = new Uint8Array(IDENTITY_PAGE_TABLE_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (table: number, index: number, entry: number): void => {
    view.setBigUint64(table * 0x1000 + index * 8, BigInt(entry), true);
  };
  put(0, 0, gpa + 0x1000 + PRESENT_WRITABLE);
  for (let gib = 0; gib < 4; gib++) {
    put(1, gib, gpa + (2 + gib) * 0x1000 + PRESENT_WRITABLE);
    for (let index = 0; index < 512; index++) {
      put(2 + gib, index, (gib * 512 + index) * 0x200000 + ACCESSED_DIRTY_LARGE + PRESENT_WRITABLE);
    }
  }
  return bytes;
}

export interface EntryState {
  readonly mode: EntryMode;
  readonly rip: number;
  readonly gdtGpa: number;
  readonly gpr: Readonly<Record<string, bigint>>;
  /** Root of the identity page tables; long mode only. */
  readonly pageTablesGpa?: number;
  /** CR0.NE at entry; PVH wants every writable bit but PE clear. */
  readonly numericError: boolean;
}

/** Registers for a flat kernel entry: paging only in long mode, interrupts off. */
export function entryRegisters(state: EntryState): InitialRegisters {
  const long = state.mode === 'long64';
  const flat = (selector: number, access: number): SegmentRegister => ({
    selector,
    base: 0n,
    limit: FLAT_LIMIT,
    access,
  });
  const data = flat(BOOT_DS, ACCESS_DATA);
  const segments: Record<SegmentName, SegmentRegister> = {
    cs: flat(BOOT_CS, long ? ACCESS_CODE_64 : ACCESS_CODE_32),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    tr: { selector: 0, base: 0n, limit: TSS_LIMIT, access: ACCESS_TSS_BUSY },
    ldtr: { selector: 0, base: 0n, limit: 0, access: ACCESS_UNUSABLE },
  };
  return {
    rip: BigInt(state.rip),
    rsp: 0n,
    rflags: RFLAGS_RESERVED_ONE,
    gpr: state.gpr,
    cr0: CR0_PE | CR0_ET | (state.numericError ? CR0_NE : 0n) | (long ? CR0_PG : 0n),
    cr3: long ? BigInt(state.pageTablesGpa ?? 0) : 0n,
    cr4: long ? CR4_PAE : 0n,
    efer: long ? EFER_LME | EFER_LMA : 0n,
    segments,
    gdt: { base: BigInt(state.gdtGpa), limit: 0x1f },
    idt: { base: 0n, limit: 0 },
  };
}
