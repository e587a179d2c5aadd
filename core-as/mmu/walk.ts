/** Page walks (SDM vol. 3, chapter 4): 32-bit, PAE and 4-level paging, with accessed and dirty bits and precise faults. */
import { R_CR0, R_CR2, R_CR3, R_CR4, R_EFER, R_RFLAGS } from '../layout';
import {
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_NXE,
  FLAG_AC,
  VECTOR_PF,
  cpu,
  isCanonical,
  longMode,
  raiseCode,
  raiseNonCanonical,
} from '../cpu/state';
import { FEATURE_PDPE1GB, hasFeature, isAmd } from '../cpu/features';
import { ramRead, ramWrite } from './physical';
import { forgetTable, knownTable, rememberTable } from './table-cache';

/** MAXPHYADDR that CPUID reports. */
export const PHYSICAL_ADDRESS_BITS: u32 = 40;
const PHYSICAL_MASK: u64 = (1 << 40) - 1;
const RESERVED_HIGH: u64 = 0x000fff0000000000;

export const ACCESS_WRITE: u32 = 1;
/** The access is made with user privilege. */
export const ACCESS_USER: u32 = 2;
export const ACCESS_EXECUTE: u32 = 4;
/** An implicit supervisor access (descriptor tables, TSS): EFLAGS.AC does not lift SMAP. */
export const ACCESS_IMPLICIT: u32 = 8;
/** Only look: no A/D updates, no exception. */
export const ACCESS_PROBE: u32 = 16;

const PTE_P: u64 = 1;
const PTE_W: u64 = 2;
const PTE_U: u64 = 4;
const PTE_A: u64 = 0x20;
const PTE_D: u64 = 0x40;
const PTE_PS: u64 = 0x80;
const PTE_G: u64 = 0x100;
const PTE_NX: u64 = 1 << 63;

const PF_P: u32 = 1;
const PF_W: u32 = 2;
const PF_U: u32 = 4;
const PF_RSVD: u32 = 8;
const PF_I: u32 = 16;

/** What walk() returns when it raised a fault. */
export const WALK_FAULT: u64 = u64.MAX_VALUE;

/** After a successful walk: log2 of the page size the guest mapped (12, 21, 22 or 30; 12 without paging). */
export let walkPageShift: u32 = 12;
/** After a successful walk: the leaf had the global bit. */
export let walkGlobal: bool = false;
/** After a successful walk: a write of the same privilege would have succeeded, and found the dirty bit set. */
export let walkWritten: bool = false;

function pageFault(address: u64, present: u32, access: u32): u64 {
  if (access & ACCESS_PROBE) return WALK_FAULT;
  let code = present;
  if (access & ACCESS_WRITE) code |= PF_W;
  if (access & ACCESS_USER) code |= PF_U;
  if (access & ACCESS_EXECUTE) {
    const nx = (load<u64>(cpu, R_EFER) & EFER_NXE) !== 0 && (load<u64>(cpu, R_CR4) & CR4_PAE) !== 0;
    if (nx || load<u64>(cpu, R_CR4) & CR4_SMEP) code |= PF_I;
  }
  store<u64>(cpu, address, R_CR2);
  raiseCode(VECTOR_PF, code);
  return WALK_FAULT;
}

/** Reads a page-table entry; what is not RAM reads as not present. */
function readEntry64(gpa: u64): u64 {
  const p = ramRead(gpa);
  return p ? atomic.load<u64>(p) : 0;
}

/** What walkOnce() returns when an entry was changed while A or D was to be set in it. */
const WALK_AGAIN: u64 = u64.MAX_VALUE - 1;

/**
 * Sets A or D in an entry if it still is what the walk has read: a processor must not set them in an entry that another one has just
 * taken away (SDM vol. 3, 4.8: the update is a locked access). Tables in read-only memory stay as they are.
 */
function setBits64(gpa: u64, entry: u64, bits: u64): bool {
  const p = ramWrite(gpa);
  return !p || atomic.cmpxchg<u64>(p, entry, entry | bits) === entry;
}

function setBits32(gpa: u64, entry: u32, bits: u32): bool {
  const p = ramWrite(gpa);
  return !p || atomic.cmpxchg<u32>(p, entry, entry | bits) === entry;
}

/**
 * Translates a linear address for an access. Returns the guest-physical address, or WALK_FAULT after raising #PF
 * (or #GP for a non-canonical address). Sets A, and D for writes.
 */
export function walk(address: u64, access: u32): u64 {
  let gpa: u64;
  do {
    gpa = walkOnce(address, access);
  } while (gpa === WALK_AGAIN);
  return gpa;
}

/** Forgets the table that a walk began at, and has it begin at the root. */
function walkAfresh(address: u64): u64 {
  forgetTable(address);
  return WALK_AGAIN;
}

function walkOnce(address: u64, access: u32): u64 {
  const cr0 = load<u64>(cpu, R_CR0);
  walkGlobal = false;
  walkWritten = false;
  if (!(cr0 & CR0_PG)) {
    walkWritten = true;
    walkPageShift = 12;
    return address & 0xffffffff;
  }
  const cr4 = load<u64>(cpu, R_CR4);
  if (!(cr4 & CR4_PAE)) return walk32(<u32>address, access, cr0, cr4);

  const nxe = (load<u64>(cpu, R_EFER) & EFER_NXE) !== 0;
  const reserved: u64 = RESERVED_HIGH | (nxe ? 0 : PTE_NX);
  let rights: u64 = PTE_W | PTE_U;
  let nx: u64 = 0;
  let table: u64;
  let level: i32;
  /** The tables' root, when the one at the end of the walk is to be remembered by it; what was known of that one. */
  let root: u64 = 0;
  let known: u64 = 0;
  if (longMode) {
    if (!isCanonical(address)) {
      if (!(access & ACCESS_PROBE)) raiseNonCanonical(address);
      return WALK_FAULT;
    }
    table = load<u64>(cpu, R_CR3) & 0x000ffffffffff000;
    level = 3;
    if (!(access & ACCESS_PROBE)) {
      known = knownTable(address, table);
      if (known) {
        table = known & PHYSICAL_MASK & ~0xfff;
        rights = known;
        nx = known & PTE_NX;
        level = 0;
      } else root = table;
    }
  } else {
    const pdpte = readEntry64((load<u64>(cpu, R_CR3) & 0xffffffe0) + ((address >> 27) & 0x18));
    if (!(pdpte & PTE_P)) return pageFault(address, 0, access);
    table = pdpte & PHYSICAL_MASK & ~0xfff;
    level = 1;
  }
  let slot: u64 = 0;
  let entry: u64 = 0;
  for (;;) {
    slot = table + ((address >> (12 + 9 * <u64>level - 3)) & 0xff8);
    entry = readEntry64(slot);
    // A fault forgets what the walk went by (SDM vol. 3, 4.10.4.1): the tables may allow by now what they did not.
    if (known && (!(entry & PTE_P) || entry & reserved)) return walkAfresh(address);
    if (!(entry & PTE_P)) return pageFault(address, 0, access);
    if (entry & reserved) return pageFault(address, PF_P | PF_RSVD, access);
    // Where a leaf of that level would have G, AMD reserves the bit: PML4Es, and PDPEs that refer to a table.
    if (level > 1 && entry & PTE_G && !(entry & PTE_PS) && isAmd()) return pageFault(address, PF_P | PF_RSVD, access);
    rights &= entry;
    nx |= entry & PTE_NX;
    if (level === 0) break;
    if (entry & PTE_PS) {
      if (level === 3 || (level === 2 && !hasFeature(FEATURE_PDPE1GB))) {
        return pageFault(address, PF_P | PF_RSVD, access);
      }
      // Bits between the PAT bit (12) and the frame must be clear.
      const low: u64 = level === 1 ? 0x1fe000 : 0x3fffe000;
      if (entry & low) return pageFault(address, PF_P | PF_RSVD, access);
      break;
    }
    if (!(entry & PTE_A) && !(access & ACCESS_PROBE) && !setBits64(slot, entry, PTE_A)) return WALK_AGAIN;
    table = entry & PHYSICAL_MASK & ~0xfff;
    level--;
    if (level === 0 && root) rememberTable(address, root, table | (rights & (PTE_W | PTE_U)) | nx | PTE_P);
  }
  if (!allowed(rights, nx !== 0, access, cr0, cr4)) {
    return known ? walkAfresh(address) : pageFault(address, PF_P, access);
  }
  if (!(access & ACCESS_PROBE)) {
    let bits: u64 = PTE_A;
    if (access & ACCESS_WRITE) bits |= PTE_D;
    if ((entry & bits) !== bits && !setBits64(slot, entry, bits)) return WALK_AGAIN;
  }
  walkGlobal = (entry & PTE_G) !== 0 && (cr4 & CR4_PGE) !== 0;
  walkWritten = (entry & PTE_D) !== 0 && (rights & PTE_W) !== 0;
  walkPageShift = 12 + 9 * level;
  const mask: u64 = ((<u64>1) << (12 + 9 * <u64>level)) - 1;
  return (entry & PHYSICAL_MASK & ~mask) | (address & mask);
}

/** The permission rules of SDM vol. 3, 4.6. `rights` is the AND of W and U over the levels. */
function allowed(rights: u64, nx: bool, access: u32, cr0: u64, cr4: u64): bool {
  if (access & ACCESS_USER) {
    if (!(rights & PTE_U)) return false;
    if (access & ACCESS_WRITE && !(rights & PTE_W)) return false;
    return !(access & ACCESS_EXECUTE && nx);
  }
  if (access & ACCESS_EXECUTE) {
    if (nx) return false;
    return !(cr4 & CR4_SMEP && rights & PTE_U);
  }
  if (rights & PTE_U && cr4 & CR4_SMAP) {
    if (access & ACCESS_IMPLICIT || !(load<u32>(cpu, R_RFLAGS) & FLAG_AC)) return false;
  }
  return !(access & ACCESS_WRITE && cr0 & CR0_WP && !(rights & PTE_W));
}

function walk32(address: u32, access: u32, cr0: u64, cr4: u64): u64 {
  const directory = (load<u64>(cpu, R_CR3) & 0xfffff000) + ((address >> 20) & 0xffc);
  let p = ramRead(directory);
  const pde = p ? atomic.load<u32>(p) : 0;
  if (!(pde & 1)) return pageFault(address, 0, access);
  let rights: u64 = pde;
  let slot = directory;
  let entry = pde;
  const large = (pde & (<u32>PTE_PS)) !== 0 && (cr4 & CR4_PSE) !== 0;
  if (large) {
    // PSE-36: bits 13-20 are physical bits 32-39, bit 21 is reserved.
    if (pde & 0x200000) return pageFault(address, PF_P | PF_RSVD, access);
  } else {
    if (!(pde & (<u32>PTE_A)) && !(access & ACCESS_PROBE)) {
      if (!setBits32(directory, pde, <u32>PTE_A)) return WALK_AGAIN;
    }
    slot = <u64>(pde & 0xfffff000) + ((address >> 10) & 0xffc);
    p = ramRead(slot);
    entry = p ? atomic.load<u32>(p) : 0;
    if (!(entry & 1)) return pageFault(address, 0, access);
    rights &= entry;
  }
  if (!allowed(rights, false, access, cr0, cr4)) return pageFault(address, PF_P, access);
  if (!(access & ACCESS_PROBE)) {
    const bits: u32 = (<u32>PTE_A) | (access & ACCESS_WRITE ? <u32>PTE_D : 0);
    if ((entry & bits) !== bits && !setBits32(slot, entry, bits)) return WALK_AGAIN;
  }
  walkGlobal = (entry & (<u32>PTE_G)) !== 0 && (cr4 & CR4_PGE) !== 0;
  walkWritten = (entry & (<u32>PTE_D)) !== 0 && (rights & PTE_W) !== 0;
  walkPageShift = large ? 22 : 12;
  if (large) return (<u64>(entry & 0xffc00000)) | ((<u64>(entry & 0x1fe000)) << 19) | (address & 0x3fffff);
  return (<u64>(entry & 0xfffff000)) | (address & 0xfff);
}

/** True when the four PDPTEs that CR3 points at are valid for PAE paging (reserved bits, SDM vol. 3, 4.4.1). */
export function pdptesValid(cr3: u64): bool {
  for (let i: u64 = 0; i < 4; i++) {
    const entry = readEntry64((cr3 & 0xffffffe0) + i * 8);
    if (entry & PTE_P && entry & (0x1e6 | RESERVED_HIGH | 0xfff0000000000000)) return false;
  }
  return true;
}
