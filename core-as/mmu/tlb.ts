/**
 * The software TLB and the slow paths behind it.
 *
 * A bank (banks.ts) has read entries and write entries, each 4096 for addresses with bit 63 clear and 4096 for the others. An entry is 16 bytes:
 * u64 tag (page address; TAG_NONE never matches), u32 linear address minus the low 32 bits of the page address, u32 ENTRY_*. A hit is
 * `(address + size - 1) & ~0xFFF == tag` at the index of `address`, which also sends page-crossing accesses to the slow path. Write entries are
 * for pages whose dirty bit is set and which hold no decoded code.
 */
import { hostMmioRead, hostMmioWrite } from '../host';
import { lapicClaims } from '../intc/lapic';
import { lapicMmioRead, lapicMmioWrite } from '../intc/lapic-registers';
import { mmioClaimed, mmioRead, mmioWrite } from '../intc/platform';
import { R_CPL, R_CR3, R_CR4 } from '../layout';
import {
  CHECKED_BANK,
  E_FLAGS,
  E_LINEAR,
  ITLB_HALF,
  ITLB_HALF_SHIFT,
  ITLB_INDEX_MASK,
  SPACES,
  SPACE_FREE,
  SPACE_PCID,
  SPACE_UNKNOWN,
  SPACE_USED,
  TLB_BANK_SIZE,
  TLB_HALF,
  TLB_HALF_SHIFT,
  TLB_INDEX_MASK,
  TLB_INDEX_SHIFT,
  TLB_WRITE,
  checkedBank,
  itlbBank,
  selectSpace,
  space,
  spaceNotes,
  tlbBank,
} from './banks';
import {
  CR4_PAE,
  CR4_PCIDE,
  FAULTED,
  cpu,
  cpuIndex,
  faulted,
  isCanonical,
  leaveBlock,
  longMode,
  raiseNonCanonical,
} from '../cpu/state';
import { accessAllowed } from '../cpu/watchpoints';
import { drainStores } from '../cpu/fence';
import { WORK_DEVICE, WORK_DROP_CODE, WORK_HOST_CALL, charge } from '../cpu/work';
import { ENTRY_LARGE, ENTRY_LOCAL, clearLocalsOfSpace, clearSpace, dropPage, noteFilled, noteLarge } from './filled';
import { newGeneration, newGenerationOfSpace, resumeGeneration } from './generation';
import { bindTables, forgetTables } from './table-cache';
import { bindWriters, noteWriter } from './writers';
import { isCodePage, isWatchedPage, isWrittenRam, noteWrite, ramRead, ramWrite } from './physical';
import {
  ACCESS_EXECUTE,
  ACCESS_IMPLICIT,
  ACCESS_PROBE,
  ACCESS_USER,
  ACCESS_WRITE,
  WALK_FAULT,
  walk,
  walkGlobal,
  walkPageShift,
  walkWritten,
} from './walk';

/** Address of the read entry for a linear address in a bank; the write entry is TLB_WRITE further. */
// @ts-ignore: decorator
@inline
export function tlbEntry(bank: u32, address: u64): u32 {
  return (
    bank + (((<u32>(address >> TLB_INDEX_SHIFT)) & TLB_INDEX_MASK) | ((<u32>(address >> TLB_HALF_SHIFT)) & TLB_HALF))
  );
}

// ---------------------------------------------------------------------------------------------------------------------
// Spaces

let turn: u32 = 0;

function clear(from: u32, bytes: u32): void {
  memory.fill(from, 0xff, bytes);
}

function currentPcid(): u32 {
  return longMode && load<u64>(cpu, R_CR4) & CR4_PCIDE ? load<u32>(cpu, R_CR3) & 0xfff : 0;
}

/** Drops every translation. */
export function flushAll(): void {
  forgetTables();
  newGeneration();
  for (let n: u32 = 0; n < SPACES; n++) {
    if (n === space) continue;
    store<u32>(spaceNotes(n), SPACE_FREE, SPACE_PCID);
  }
  store<u32>(spaceNotes(space), currentPcid(), SPACE_PCID);
  clearSpace(space);
}

/** Makes every bank of a new instance empty, the one that stays empty included. */
export function initTlb(): void {
  bindWriters(cpu);
  bindTables(cpu);
  clear(cpu + CHECKED_BANK, TLB_BANK_SIZE);
  for (let n: u32 = 0; n < SPACES; n++) {
    store<u32>(spaceNotes(n), n ? SPACE_FREE : 0, SPACE_PCID);
    store<u64>(spaceNotes(n), 1, SPACE_UNKNOWN);
  }
  selectSpace(0);
  flushAll();
}

/** Drops what a CR3 write drops: everything of the address space but global pages (SDM vol. 3, 4.10.4.1). */
export function flushNonGlobal(): void {
  forgetTables();
  newGenerationOfSpace();
  clearLocalsOfSpace(space);
}

/** Goes over to the address space of a PCID; `flush`: its translations are dropped, but for global pages. */
export function switchSpace(pcid: u32, flush: bool): void {
  turn++;
  let found = SPACES;
  let oldest: u32 = space === 0 ? 1 : 0;
  for (let n: u32 = 0; n < SPACES; n++) {
    const now = load<u32>(spaceNotes(n), SPACE_PCID);
    if (now === pcid) {
      found = n;
      break;
    }
    if (n === space) continue;
    const older =
      load<u32>(spaceNotes(oldest), SPACE_PCID) !== SPACE_FREE &&
      load<u32>(spaceNotes(n), SPACE_USED) < load<u32>(spaceNotes(oldest), SPACE_USED);
    if (now === SPACE_FREE || older) oldest = n;
  }
  const free = found === SPACES && load<u32>(spaceNotes(oldest), SPACE_PCID) === SPACE_FREE;
  const to = found === SPACES ? oldest : found;
  store<u32>(spaceNotes(space), turn, SPACE_USED);
  store<u32>(spaceNotes(to), pcid, SPACE_PCID);
  if (to !== space) selectSpace(to);
  // A free one may still have global pages that were dropped meanwhile.
  if (free) clearSpace(to);
  else if (flush || found === SPACES) clearLocalsOfSpace(to);
  if (free || flush || found === SPACES) {
    newGenerationOfSpace();
    forgetTables();
  } else resumeGeneration();
}

/** INVPCID of one PCID: what it has of translations that are not global. */
export function flushPcid(pcid: u32): void {
  forgetTables();
  for (let n: u32 = 0; n < SPACES; n++) {
    if (load<u32>(spaceNotes(n), SPACE_PCID) !== pcid) continue;
    clearLocalsOfSpace(n);
    newGeneration();
  }
}

/**
 * INVLPG, in all address spaces. Large pages are held as 4 KiB entries, and all of those belong to the page that INVLPG drops (SDM vol. 3,
 * 4.10.2.3 and 4.10.4.1).
 */
export function flushPage(address: u64): void {
  forgetTables();
  newGeneration();
  dropPage(address, load<u64>(cpu, R_CR4) & CR4_PAE ? 21 : 22);
}

/** Makes an entry of what the last walk found. */
function fillEntry(entry: u32, page: u64, linear: u32): void {
  const large = walkPageShift > 12;
  store<u64>(entry, page);
  store<u32>(entry, linear, E_LINEAR);
  store<u32>(entry, (walkGlobal ? 0 : ENTRY_LOCAL) | (large ? ENTRY_LARGE : 0), E_FLAGS);
  noteFilled(entry, !walkGlobal);
  if (large) noteLarge(page, walkPageShift);
}

function fill(entry: u32, address: u64, linear: u32): void {
  if (tlbBank === checkedBank) return;
  const page = address & ~0xfff;
  fillEntry(entry, page, (linear & ~0xfff) - <u32>page);
}

/** After a walk for writing: what may be written may be read. */
function fillWrite(address: u64, linear: u32): void {
  if (tlbBank === checkedBank) return;
  const entry = tlbEntry(tlbBank, address);
  fill(entry, address, linear);
  fill(entry + TLB_WRITE, address, linear);
  noteWriter(entry + TLB_WRITE, linear >> 12);
}

/** After a walk for reading: a page that has been written is likely to be written again. */
function fillRead(address: u64, gpa: u64, linear: u32): void {
  if (walkWritten && isWrittenRam(gpa) && !isWatchedPage(linear)) fillWrite(address, linear);
  else fill(tlbEntry(tlbBank, address), address, linear);
}

// @ts-ignore: decorator
@inline
function privilege(): u32 {
  return load<u32>(cpu, R_CPL) === 3 ? ACCESS_USER : 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory-mapped I/O

/** A read of at most 8 bytes at a guest-physical address that is not RAM. */
export function mmioReadAny(gpa: u64, sizeBytes: u32): u64 {
  // Accesses to devices are uncached, and not reordered with anything (SDM vol. 3, 12.3).
  drainStores();
  charge(WORK_DEVICE);
  if (lapicClaims(cpuIndex, gpa)) {
    if (sizeBytes <= 4) return lapicMmioRead(cpuIndex, (<u32>gpa) & 0xfff, sizeBytes);
    return (
      (<u64>lapicMmioRead(cpuIndex, (<u32>gpa) & 0xfff, 4)) |
      ((<u64>lapicMmioRead(cpuIndex, (<u32>gpa + 4) & 0xfff, 4)) << 32)
    );
  }
  if (sizeBytes !== 1 && sizeBytes !== 2 && sizeBytes !== 4 && sizeBytes !== 8) {
    let value: u64 = 0;
    for (let i: u32 = 0; i < sizeBytes; i++) value |= mmioReadAny(gpa + i, 1) << (i << 3);
    return value;
  }
  if (mmioClaimed(gpa)) return mmioRead(gpa, sizeBytes);
  charge(WORK_HOST_CALL);
  if (sizeBytes === 8) return (<u64>hostMmioRead(<f64>gpa, 4)) | ((<u64>hostMmioRead(<f64>(gpa + 4), 4)) << 32);
  // A device may answer with more bits than it was asked for; a divisor, say, must not be non-zero for those alone.
  return (<u64>hostMmioRead(<f64>gpa, sizeBytes)) & lowMask(sizeBytes);
}

/** A write of at most 8 bytes at a guest-physical address that is not RAM. */
export function mmioWriteAny(gpa: u64, sizeBytes: u32, value: u64): void {
  drainStores();
  charge(WORK_DEVICE);
  if (lapicClaims(cpuIndex, gpa)) {
    lapicMmioWrite(cpuIndex, (<u32>gpa) & 0xfff, min<u32>(sizeBytes, 4), <u32>value);
    if (sizeBytes === 8) lapicMmioWrite(cpuIndex, (<u32>gpa + 4) & 0xfff, 4, <u32>(value >> 32));
    return;
  }
  if (sizeBytes !== 1 && sizeBytes !== 2 && sizeBytes !== 4 && sizeBytes !== 8) {
    for (let i: u32 = 0; i < sizeBytes; i++) mmioWriteAny(gpa + i, 1, (value >> (i << 3)) & 0xff);
    return;
  }
  if (mmioClaimed(gpa)) {
    mmioWrite(gpa, sizeBytes, value);
    return;
  }
  charge(WORK_HOST_CALL);
  if (sizeBytes === 8) {
    hostMmioWrite(<f64>gpa, 4, <u32>value);
    hostMmioWrite(<f64>(gpa + 4), 4, <u32>(value >> 32));
  } else hostMmioWrite(<f64>gpa, sizeBytes, <u32>value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Physical accesses of 1-8 bytes inside one page

function loadSized(p: u32, sizeBytes: u32): u64 {
  switch (sizeBytes) {
    case 1:
      return load<u8>(p);
    case 2:
      return load<u16>(p);
    case 4:
      return load<u32>(p);
    case 8:
      return load<u64>(p);
    default: {
      let value: u64 = 0;
      for (let i: u32 = 0; i < sizeBytes; i++) value |= (<u64>load<u8>(p + i)) << (i << 3);
      return value;
    }
  }
}

function storeSized(p: u32, sizeBytes: u32, value: u64): void {
  switch (sizeBytes) {
    case 1:
      store<u8>(p, <u8>value);
      break;
    case 2:
      store<u16>(p, <u16>value);
      break;
    case 4:
      store<u32>(p, <u32>value);
      break;
    case 8:
      store<u64>(p, value);
      break;
    default:
      for (let i: u32 = 0; i < sizeBytes; i++) store<u8>(p + i, <u8>(value >> (i << 3)));
  }
}

/** A store to linear memory that may hold decoded code. */
function storeNoting(linear: u32, sizeBytes: u32, value: u64): void {
  storeSized(linear, sizeBytes, value);
  if (isWatchedPage(linear)) {
    const code = isCodePage(linear);
    noteWrite(linear, sizeBytes);
    if (!code) return;
    charge(WORK_DROP_CODE);
    leaveBlock();
  }
}

function physicalRead(gpa: u64, sizeBytes: u32): u64 {
  const p = ramRead(gpa);
  return p ? loadSized(p, sizeBytes) : mmioReadAny(gpa, sizeBytes);
}

function physicalWrite(gpa: u64, sizeBytes: u32, value: u64): void {
  const p = ramWrite(gpa);
  if (p) storeNoting(p, sizeBytes, value);
  else mmioWriteAny(gpa, sizeBytes, value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Slow paths

// @ts-ignore: decorator
@inline
function lowMask(sizeBytes: u32): u64 {
  return u64.MAX_VALUE >> (64 - (sizeBytes << 3));
}

/** A read that missed the TLB: 1 to 8 bytes at a linear address with the current privilege. 0 after a fault. */
export function slowRead(address: u64, sizeBytes: u32): u64 {
  if (tlbBank === checkedBank && !accessAllowed(address, sizeBytes, false)) return 0;
  return readAs(address, sizeBytes, privilege());
}

/** A write that missed the TLB. */
export function slowWrite(address: u64, sizeBytes: u32, value: u64): void {
  if (tlbBank === checkedBank && !accessAllowed(address, sizeBytes, true)) return;
  writeAs(address, sizeBytes, value, privilege());
}

/** #GP for an access that begins in the canonical range and ends outside it: that comes before any page fault. */
function endsOutside(address: u64, sizeBytes: u32): bool {
  const last = address + sizeBytes - 1;
  if (!longMode || isCanonical(last)) return false;
  raiseNonCanonical(last);
  return true;
}

function readAs(address: u64, sizeBytes: u32, access: u32): u64 {
  const room: u32 = 0x1000 - ((<u32>address) & 0xfff);
  if (sizeBytes > room) {
    // Translate both pages before either is read, so that a fault has no side effects.
    if (endsOutside(address, sizeBytes)) return 0;
    const low = walk(address, access);
    if (low === WALK_FAULT) return 0;
    const high = walk(nextPage(address), access);
    if (high === WALK_FAULT) return 0;
    return physicalRead(low, room) | (physicalRead(high, sizeBytes - room) << (room << 3));
  }
  const gpa = walk(address, access);
  if (gpa === WALK_FAULT) return 0;
  const p = ramRead(gpa);
  if (!p) return mmioReadAny(gpa, sizeBytes);
  if (!(access & ACCESS_IMPLICIT)) fillRead(address, gpa, p);
  return loadSized(p, sizeBytes);
}

function writeAs(address: u64, sizeBytes: u32, value: u64, access: u32): void {
  const room: u32 = 0x1000 - ((<u32>address) & 0xfff);
  if (sizeBytes > room) {
    if (endsOutside(address, sizeBytes)) return;
    const low = walk(address, access | ACCESS_WRITE);
    if (low === WALK_FAULT) return;
    const high = walk(nextPage(address), access | ACCESS_WRITE);
    if (high === WALK_FAULT) return;
    physicalWrite(low, room, value & lowMask(room));
    physicalWrite(high, sizeBytes - room, value >> (room << 3));
    return;
  }
  const gpa = walk(address, access | ACCESS_WRITE);
  if (gpa === WALK_FAULT) return;
  const p = ramWrite(gpa);
  if (!p) {
    mmioWriteAny(gpa, sizeBytes, value);
    return;
  }
  storeNoting(p, sizeBytes, value);
  if (!(access & ACCESS_IMPLICIT) && !isWatchedPage(p)) fillWrite(address, p);
}

// @ts-ignore: decorator
@inline
function nextPage(address: u64): u64 {
  return (address | 0xfff) + 1;
}

/** A supervisor read of 1-8 bytes whatever the CPL: descriptor tables, TSS. Does not use or fill the TLB. */
export function readSystem(address: u64, sizeBytes: u32): u64 {
  return readAs(address, sizeBytes, ACCESS_IMPLICIT);
}

/** A supervisor write of 1-8 bytes whatever the CPL. */
export function writeSystem(address: u64, sizeBytes: u32, value: u64): void {
  writeAs(address, sizeBytes, value, ACCESS_IMPLICIT);
}

/**
 * Linear address of `address` for reading when its page is RAM, else 0 (a fault may have been raised; check `faulted`).
 * Good up to the end of the page.
 */
export function readPointer(address: u64): u32 {
  if (tlbBank === checkedBank) return 0;
  const e = tlbEntry(tlbBank, address);
  if (load<u64>(e) === (address & ~0xfff)) return load<u32>(e, E_LINEAR) + <u32>address;
  const gpa = walk(address, privilege());
  if (gpa === WALK_FAULT) return 0;
  const p = ramRead(gpa);
  if (p) fillRead(address, gpa, p);
  return p;
}

/** Like readPointer for writing: 0 as well when the page holds decoded code (use slowWrite). */
export function writePointer(address: u64): u32 {
  if (tlbBank === checkedBank) return 0;
  const e = tlbEntry(tlbBank, address) + TLB_WRITE;
  if (load<u64>(e) === (address & ~0xfff)) return load<u32>(e, E_LINEAR) + <u32>address;
  const gpa = walk(address, privilege() | ACCESS_WRITE);
  if (gpa === WALK_FAULT) return 0;
  const p = ramWrite(gpa);
  if (!p || isWatchedPage(p)) return 0;
  fillWrite(address, p);
  return p;
}

/** Checks that bytes may be written, raising the fault if not; nothing is changed but A and D bits. */
export function probeWrite(address: u64, sizeBytes: u32): bool {
  if (endsOutside(address, sizeBytes)) return false;
  if (walk(address, privilege() | ACCESS_WRITE) === WALK_FAULT) return false;
  const last = address + sizeBytes - 1;
  if ((last ^ address) & ~0xfff) return walk(last & ~0xfff, privilege() | ACCESS_WRITE) !== WALK_FAULT;
  return true;
}

/** Checks that a byte may be read, raising the fault if not; nothing is changed but the A bit. */
export function probeRead(address: u64): void {
  if (tlbBank === checkedBank && !accessAllowed(address, 1, false)) return;
  walk(address, privilege());
}

/** Guest-physical address of a linear address for a debugger, or u64.MAX_VALUE; raises nothing, changes nothing. */
export function probe(address: u64): u64 {
  return walk(address, ACCESS_PROBE | ACCESS_IMPLICIT);
}

// ---------------------------------------------------------------------------------------------------------------------
// Instruction fetch

// @ts-ignore: decorator
@inline
export function itlbEntry(bank: u32, address: u64): u32 {
  return (
    bank + (((<u32>(address >> TLB_INDEX_SHIFT)) & ITLB_INDEX_MASK) | ((<u32>(address >> ITLB_HALF_SHIFT)) & ITLB_HALF))
  );
}

/**
 * Linear address of the page that holds code at `address` (which it must be translated for), from the instruction TLB or
 * by a walk. 0 after a fault, or when the page is not memory (fetchGpa then says which address).
 */
export function codePage(address: u64): u32 {
  const e = itlbEntry(itlbBank, address);
  if (load<u64>(e) === (address & ~0xfff)) return load<u32>(e, E_LINEAR);
  const gpa = walk(address, privilege() | ACCESS_EXECUTE);
  if (gpa === WALK_FAULT) return 0;
  const p = ramRead(gpa);
  if (!p) {
    fetchGpa = gpa;
    return 0;
  }
  fillEntry(e, address & ~0xfff, p & ~0xfff);
  return p & ~0xfff;
}

/** Where codePage() found no memory. */
export let fetchGpa: u64 = 0;

/** True while the last access raised a fault. */
// @ts-ignore: decorator
@inline
export function accessFaulted(): bool {
  return (faulted & FAULTED) !== 0;
}
