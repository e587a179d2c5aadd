/**
 * Which write entries of the TLB lead to a linear page, so that a page that becomes code loses them without a search through every bank.
 *
 * A u32 per linear page: 0: none ever did; MANY: several may; else the number of the only entry that may. An entry that has since been given to
 * another page stays noted: whoever asks looks whether it still leads there.
 */
import { CACHE_WRITERS, R_CODE_CACHE } from '../layout';
import { dropFilledWrites } from './filled';
import {
  DATA_BANKS,
  E_LINEAR,
  TAG_NONE,
  TLB_BANK_SIZE,
  TLB_ENTRY_BYTES,
  TLB_WRITE,
  space,
  spaceBase,
  tlbBank,
} from './banks';

const MANY: u32 = 0xffffffff;
/** Write entries of a bank, and of a space. */
const BANK_ENTRIES: u32 = TLB_WRITE / TLB_ENTRY_BYTES;
const SPACE_ENTRIES: u32 = DATA_BANKS * BANK_ENTRIES;

let writers: u32 = 0;

/** Binds this instance to its vCPU's table. What an instance before it has noted is looked at as anything that is no longer true. */
export function bindWriters(cpu: u32): void {
  writers = load<u32>(cpu, R_CODE_CACHE) + CACHE_WRITERS;
}

/** Address of the write entry with a number, which counts from 1. */
function writeEntry(number: u32): u32 {
  const n = number - 1;
  const inSpace = n % SPACE_ENTRIES;
  const bank = spaceBase(n / SPACE_ENTRIES) + (inSpace / BANK_ENTRIES) * TLB_BANK_SIZE;
  return bank + TLB_WRITE + (inSpace % BANK_ENTRIES) * TLB_ENTRY_BYTES;
}

/** The entry is in use and leads to the page. */
// @ts-ignore: decorator
@inline
function leadsTo(entry: u32, linearPage: u32): bool {
  const tag = load<u64>(entry);
  return tag !== TAG_NONE && (<u32>tag + load<u32>(entry, E_LINEAR)) >> 12 === linearPage;
}

/** A write entry of the bank in use was filled for a linear page. */
export function noteWriter(entry: u32, linearPage: u32): void {
  const bank = (tlbBank - spaceBase(space)) / TLB_BANK_SIZE;
  const number = space * SPACE_ENTRIES + bank * BANK_ENTRIES + (entry - tlbBank - TLB_WRITE) / TLB_ENTRY_BYTES + 1;
  const at = writers + (linearPage << 2);
  const known = load<u32>(at);
  if (known === number || known === MANY) return;
  store<u32>(at, known && leadsTo(writeEntry(known), linearPage) ? MANY : number);
}

/** Empties the write entries that lead to a linear page. True when there were any. */
export function dropWriters(linearPage: u32): bool {
  const at = writers + (linearPage << 2);
  const known = load<u32>(at);
  if (!known) return false;
  store<u32>(at, 0);
  return known === MANY ? dropEverywhere(linearPage) : drop(writeEntry(known), linearPage);
}

function drop(entry: u32, linearPage: u32): bool {
  if (!leadsTo(entry, linearPage)) return false;
  store<u64>(entry, TAG_NONE);
  return true;
}

/** It must be known that this vCPU could write, so that entries of free spaces count as well. */
function dropEverywhere(linearPage: u32): bool {
  return dropFilledWrites(drop, linearPage);
}
