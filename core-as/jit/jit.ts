/**
 * Tier 1: which code is compiled, when, and how the interpreter gets into it.
 *
 * The interpreter counts how often a block is entered. A block that is hot enough is queued; between time slices what is queued becomes one
 * module, a function per region. Regions die with the blocks that lead to them (code-cache.ts): a write to
 * their page leaves no way in. The memory that dead ones hold comes back when the whole cache starts again.
 */
import {
  BLOCK_HEADER,
  B_ADDRESS,
  B_HEAT,
  B_JIT,
  B_MODE,
  B_PAGE2,
  MODE_DEAD,
  MODE_SINGLE,
  allocate,
  dropAllBlocks,
  firstBlockOfPage,
  nextBlockOfPage,
} from '../cpu/code-cache';
import { endsBlock } from '../cpu/kinds';
import { MODE_64, MODE_FLAT, cpu } from '../cpu/state';
import { tlbBank, tlbHalf } from '../mmu/banks';
import { SUB_LINKABLE, UOP_SIZE, U_KIND, U_LINK, U_OFF, U_SUB } from '../cpu/uops';
import { hostJitDropAll, hostJitInstall, hostNowNs } from '../host';
import {
  CACHE_REGION_PAGES,
  CACHE_SHARED_PAGES,
  CACHE_SHARED_PAGES_SIZE,
  CACHE_SLOW_SITES,
  CFGF_JIT,
  CFGF_JIT_ALWAYS,
  CFG_FLAGS,
  CFG_NCPUS,
  JIT_CODE,
  JIT_CODE_SIZE,
  JIT_ENTRIES,
  JIT_ENTRIES_SIZE,
  JIT_QUEUE,
  JIT_QUEUE_SIZE,
  REGION_PAGES,
  REGION_SLOTS,
  R_CODE_CACHE,
  R_JIT,
  R_JIT_ENTRY,
} from '../layout';
import { WARM, earn, hotNow, spend } from './heat';
import { HELPER_COUNT, FORM_GROUPED, S_FORM, S_PAGE, S_TIMES, S_UOP } from './abi';
import { bindCounts, countModule } from './counts';
import { noteRegion } from './dump';
import { TYPE_REGION, emitTypes } from './module-types';
import { siteTable, siteTableBytes } from './exits';
import {
  ACCESS_CALLED,
  ACCESS_SINGLE,
  formOf,
  initSlowSites,
  noteReformed,
  setForm,
  timesReformed,
} from './slow-sites';
import { SLOT_MASK, bindSlots, countAside, heatOf, noteSlot, seedOf } from './slots';
import {
  N_BLOCK,
  N_ENTRY,
  N_NEXT_PAGE,
  N_PAGE,
  buildRegion,
  isMappedNow,
  node,
  nodeCount,
  pageCount,
  pageLinear,
} from './region';
import { translateRegion } from './translate-region';
import * as w from './wasm';

/** A module is made of so many hot blocks, or of those that have come together in so many time slices: modules are costly, functions cheap. */
const BATCH: u32 = 12;
const BATCH_SLICES: u32 = 60;
/** Slices between two modules at least. */
const BATCH_PAUSE: u32 = 5;
const QUEUE_LENGTH: u32 = 32;
/** Modules that a block lets pass while its page is not mapped. */
const MAX_TRIES: u32 = 40;
/** Modules of all vCPUs together: each is a mapping of the process, of which Linux allows 65,530. And of one vCPU. */
const MODULES_OF_ALL: u32 = 24576;
const MOST_MODULES: u32 = 4096;

/** Regions are written up to here; the module's other sections lie behind them for a moment. */
const CODE_END: u32 = JIT_CODE + JIT_CODE_SIZE;
const MAX_ENTRIES: u32 = 400;

/** State of a queued block: its region is formed again, in place of the one that it leads to. */
const FORMED_AGAIN: u32 = 1;

let queued: u32 = 0;
let slicesWaited: u32 = 0;
let nextSlot: u32 = 0;
let firstSlot: u32 = 0;
let modules: u32 = 0;
let enabled: bool = false;
/** Blocks are compiled when they are first entered, single steps too: for tests of this tier (`-o cpu.jit=always`). */
export let compilesAtOnce: bool = false;
let regionRecords: u32 = 0;
/** A bit per linear page: some region of another page has code of it. */
let sharedPages: u32 = 0;

/** So many micro-ops of other regions may be in one that is formed for the first time. */
const REPEATED: u32 = 60;
/** So often is a region left aside at a place before that is translated in another way, when the region is formed again. */
const TIMES_OFTEN: u32 = 200;
/** That happens after so many times at all its places; each time it takes four times as many. */
const REFORM_ASIDES: u32 = 2000;

/** Slot 0 of the regions is never used, so that B_JIT = 0 means none. */
export function initJit(tableBase: u32): void {
  bindCounts();
  firstSlot = tableBase;
  enabled = tableBase !== 0 && (load<u32>(CFG_FLAGS) & CFGF_JIT) !== 0;
  compilesAtOnce = enabled && (load<u32>(CFG_FLAGS) & CFGF_JIT_ALWAYS) !== 0;
  forgetRegions();
}

/** Compiles every block before it runs, a step's single instruction included. */
export function compileAtOnce(on: bool): void {
  compilesAtOnce = on;
}

/** Compiles the region around a block now. Returns its B_JIT; 0 when that cannot be. Not to be called while a region runs. */
export function compileNow(block: u32, page: u64): u32 {
  enqueue(block, page, 0);
  if (queued) compileQueued();
  return load<u32>(block, B_JIT);
}

/** After dropAllBlocks: nothing leads to a region any more. */
export function forgetRegions(): void {
  queued = 0;
  if (nextSlot > 1) hostJitDropAll();
  const cache = load<u32>(cpu, R_CODE_CACHE);
  regionRecords = cache + CACHE_REGION_PAGES;
  sharedPages = cache + CACHE_SHARED_PAGES;
  memory.fill(sharedPages, 0, CACHE_SHARED_PAGES_SIZE);
  initSlowSites(cache + CACHE_SLOW_SITES);
  bindSlots();
  nextSlot = 1;
  modules = 0;
}

/** The interpreter has entered a block `heat` times, HEAT_STEP times since this was last called. */
export function noteHeat(block: u32, page: u64, heat: u32): void {
  earn();
  if (heat < hotNow() || isQueued(block)) return;
  enqueue(block, page, 0);
}

function isQueued(block: u32): bool {
  for (let n: u32 = 0; n < queued; n++) if (load<u32>(cpu + R_JIT + JIT_QUEUE + (n << 4), 8) === block) return true;
  return false;
}

function enqueue(block: u32, page: u64, again: u32): void {
  if (!enabled || queued >= QUEUE_LENGTH || load<u32>(block, B_PAGE2)) return;
  const mode = load<u32>(block, B_MODE) & ~MODE_SINGLE;
  if (mode !== MODE_64 && mode !== MODE_FLAT) return;
  keepQueued(queued++, page, block, again);
}

/** Writes a place of the queue. `state`: FORMED_AGAIN, and above bit 16 how often its turn was put off. */
function keepQueued(n: u32, page: u64, block: u32, state: u32): void {
  const place = cpu + R_JIT + JIT_QUEUE + (n << 4);
  store<u64>(place, page);
  store<u32>(place, block, 8);
  store<u32>(place, state, 12);
}

/** The region that a block leads to was entered so often that it is formed again, now that more is known of what is hot around it. */
export function queueAgain(block: u32, page: u64): void {
  enqueue(block, page, FORMED_AGAIN);
}

/** Asked before each time slice: whether it is time for a module. */
export function moduleIsDue(): bool {
  if (!queued) return false;
  slicesWaited++;
  return (queued >= BATCH && slicesWaited >= BATCH_PAUSE) || slicesWaited >= BATCH_SLICES;
}

/** Runs a region. Returns the offset of the site that it was left by; 0: R_JIT_TARGET is where to go on. */
// @ts-ignore: decorator
@inline
export function enterRegion(entry: u32, page: u64, budget: i32): u32 {
  store<u32>(cpu, entry, R_JIT_ENTRY);
  return call_indirect<u32>(firstSlot + (entry & SLOT_MASK), cpu, tlbHalf(tlbBank, page), budget, entry >> 16, page);
}

/**
 * A region was left aside at a site; it had been entered with B_JIT `entry` and its first page at `page`. Where that happens often the access is
 * checked by itself next time, and after that made by a helper.
 */
export function noteAside(site: u32, entry: u32, page: u64): void {
  const form: u32 = load<u8>(site, S_FORM);
  if (!form) return;
  const slot = entry & SLOT_MASK;
  const all = countAside(slot);
  const seed = seedOf(slot);
  const address = load<u32>(seed, B_ADDRESS);
  if (all === REFORM_ASIDES << (timesReformed(address) << 1)) {
    noteReformed(address);
    enqueue(seed, page, FORMED_AGAIN);
  }
  const times: u32 = load<u8>(site, S_TIMES) + 1;
  if (times > TIMES_OFTEN) return;
  store<u8>(site, <u8>times, S_TIMES);
  if (times < TIMES_OFTEN) return;
  const linear = load<u32>(site, S_PAGE) | load<u16>(load<u32>(site, S_UOP), U_OFF);
  const next = form === FORM_GROUPED ? ACCESS_SINGLE : ACCESS_CALLED;
  if (formOf(linear) < next) setForm(linear, next);
}

function mostModules(): u32 {
  return min<u32>(MODULES_OF_ALL / load<u32>(CFG_NCPUS), MOST_MODULES);
}

/** Entries that blocks need to take part in the region around a hot one. */
function leastHeat(block: u32): u32 {
  return compilesAtOnce ? 0 : min<u32>(heatOf(block) >> 2, WARM);
}

/** Blocks in the middle of the region just built are warm, no longer hot: to be compiled once more they must be entered from outside as often. */
function coolBlocks(): void {
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    const block = load<u32>(n, N_BLOCK);
    if (block && !load<u8>(n, N_ENTRY)) store<u32>(block, min<u32>(load<u32>(block, B_HEAT), WARM), B_HEAT);
  }
}

/** Whether a queued block has become part of another region meanwhile. */
function isCovered(block: u32): bool {
  return !compilesAtOnce && load<u32>(block, B_HEAT) <= WARM;
}

/** Compiles what is queued. Not to be called while a region runs. */
export function compileQueued(): void {
  if (nextSlot + QUEUE_LENGTH >= <u32>REGION_SLOTS || modules >= mostModules()) {
    dropAllBlocks();
    forgetRegions();
    return;
  }
  const base = cpu + R_JIT + JIT_CODE;
  const sinceNs = hostNowNs();
  // Functions first, with room before them for the sections that count them.
  const bodies = base + 0x1000;
  w.setAt(bodies);
  let functions: u32 = 0;
  let entries: u32 = 0;
  let kept: u32 = 0;
  for (let i: u32 = 0; i < queued; i++) {
    const place = cpu + R_JIT + JIT_QUEUE + (i << 4);
    const page = load<u64>(place);
    const block = load<u32>(place, 8);
    const again = load<u32>(place, 12) & FORMED_AGAIN;
    const tries = load<u32>(place, 12) >> 16;
    if (load<u32>(block, B_MODE) === MODE_DEAD || isEntry(block, entries)) continue;
    if (!again && (load<u32>(block, B_JIT) || isCovered(block))) continue;
    // Other pages are found while this address space is the current one: its time comes, or it is no more.
    if (tries < MAX_TRIES && !isMappedNow(block, page)) {
      keepQueued(kept++, page, block, again | ((tries + 1) << 16));
      continue;
    }
    const start = w.at;
    const apart = !again && !compilesAtOnce;
    if (!buildRegion(block, page, leastHeat(block), apart ? REPEATED : u32.MAX_VALUE)) {
      store<u32>(block, 0, B_HEAT);
      continue;
    }
    const length = w.reserveLength();
    if (entries + nodeCount > MAX_ENTRIES || !translateRegion(cpu + R_JIT + CODE_END)) {
      w.setAt(start);
      // No room beside the others.
      if (functions) keepQueued(kept++, page, block, again | (tries << 16));
      else store<u32>(block, 0, B_HEAT);
      continue;
    }
    const sites = allocate(siteTableBytes());
    if (!sites) {
      dropAllBlocks();
      forgetRegions();
      return;
    }
    memory.copy(sites, siteTable(), siteTableBytes());
    noteSlot(nextSlot + functions, sites, block, apart);
    w.patchLength(length);
    noteRegion(length + 5, w.at - length - 5, page);
    for (let number: u32 = 0; number < nodeCount; number++) {
      const n = node(number);
      const entered = load<u32>(n, N_BLOCK);
      if (!load<u8>(n, N_ENTRY) || !entered || isEntry(entered, entries)) continue;
      if (load<u32>(entered, B_JIT) && !again) continue;
      // Another page of the region has its own distance from the first: it cannot be entered there.
      if (load<u8>(n, N_PAGE)) continue;
      // If the next page is mapped elsewhere the interpreter must run it.
      if (load<u8>(n, N_NEXT_PAGE)) continue;
      const to = cpu + R_JIT + JIT_ENTRIES + (entries << 3);
      store<u32>(to, entered);
      store<u32>(to, (nextSlot + functions) | (number << 16), 4);
      entries++;
    }
    if (!compilesAtOnce) coolBlocks();
    rememberRegion(nextSlot + functions);
    functions++;
  }
  queued = kept;
  slicesWaited = 0;
  if (!functions) return;
  const end = w.at;
  const module = emitModule(base, bodies, end, functions);
  const installed = hostJitInstall(module, w.at - module, firstSlot + nextSlot, functions);
  countModule(functions, w.at - module, sinceNs);
  spend(w.at - module);
  if (!installed) {
    enabled = false;
    return;
  }
  nextSlot += functions;
  modules++;
  for (let i: u32 = 0; i < entries; i++) {
    const place = cpu + R_JIT + JIT_ENTRIES + (i << 3);
    const block = load<u32>(place);
    store<u32>(block, load<u32>(place, 4), B_JIT);
    unlinkPage(load<u32>(block, B_ADDRESS) >> 12);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Regions of several pages

/** Per slot, in the code cache's memory: u32 first page, u32 x 7 further pages (linear page numbers, 0: none). */
const REGION_RECORD: u32 = REGION_PAGES * 4;

// @ts-ignore: decorator
@inline
function record(slot: u32): u32 {
  return regionRecords + slot * REGION_RECORD;
}

function rememberRegion(slot: u32): void {
  const to = record(slot);
  memory.fill(to, 0, REGION_RECORD);
  for (let page: u32 = 0; page < pageCount; page++) {
    const number = pageLinear(page) >> 12;
    store<u32>(to + (page << 2), number);
    const bit: u32 = 1 << (number & 7);
    const flags = sharedPages + (number >> 3);
    if (page) store<u8>(flags, <u8>(load<u8>(flags) | bit));
  }
}

/** Code of a linear page is gone: regions of other pages that have some of it can no longer be entered. */
export function dropRegionsWith(linearPage: u32): void {
  const flags = sharedPages + (linearPage >> 3);
  const bit: u32 = 1 << (linearPage & 7);
  if (!(load<u8>(flags) & bit)) return;
  store<u8>(flags, load<u8>(flags) & (<u8>(~bit & 0xff)));
  for (let slot: u32 = 1; slot < nextSlot; slot++) {
    const pages = record(slot);
    for (let page: u32 = 1; page < <u32>REGION_PAGES; page++) {
      if (load<u32>(pages + (page << 2)) !== linearPage) continue;
      forgetEntries(load<u32>(pages), slot);
      break;
    }
  }
}

function forgetEntries(linearPage: u32, slot: u32): void {
  for (let block = firstBlockOfPage(linearPage); block; block = nextBlockOfPage(block, linearPage)) {
    if ((load<u32>(block, B_JIT) & SLOT_MASK) !== slot) continue;
    store<u32>(block, 0, B_JIT);
    store<u32>(block, 0, B_HEAT);
  }
}

// ---------------------------------------------------------------------------------------------------------------------

function isEntry(block: u32, entries: u32): bool {
  for (let i: u32 = 0; i < entries; i++) if (load<u32>(cpu + R_JIT + JIT_ENTRIES + (i << 3)) === block) return true;
  return false;
}

/** Jumps that the interpreter linked go to its own blocks; from now on they have to be looked up. */
function unlinkPage(linearPage: u32): void {
  for (let block = firstBlockOfPage(linearPage); block; block = nextBlockOfPage(block, linearPage)) {
    if (load<u32>(block, B_MODE) === MODE_DEAD) continue;
    for (let p = block + BLOCK_HEADER; ; p += UOP_SIZE) {
      if (load<u32>(p, U_SUB) === SUB_LINKABLE) store<u32>(p, 0, U_LINK);
      if (endsBlock(load<u8>(p, U_KIND))) break;
    }
  }
}

/** Puts the module together: sections, then the bodies moved up behind them. Returns its address; w.at is its end. */
function emitModule(base: u32, bodies: u32, end: u32, functions: u32): u32 {
  w.setAt(base);
  // Magic and version.
  store<u32>(base, 0x6d736100);
  store<u32>(base, 1, 4);
  w.setAt(base + 8);
  w.byte(1);
  let length = w.reserveLength();
  emitTypes();
  w.patchLength(length);

  // Imports: the memory "e" "m" and the helpers' table "e" "h".
  w.byte(2);
  length = w.reserveLength();
  w.unsigned(2);
  importName(0x6d);
  w.byte(2);
  // Shared, with a maximum.
  w.byte(3);
  w.unsigned(1);
  w.unsigned(65536);
  importName(0x68);
  w.byte(1);
  w.byte(0x70);
  w.byte(0);
  w.unsigned(HELPER_COUNT);
  w.patchLength(length);

  w.byte(3);
  length = w.reserveLength();
  w.unsigned(functions);
  for (let i: u32 = 0; i < functions; i++) w.byte(TYPE_REGION);
  w.patchLength(length);

  // Exports: one character each, from U+0100 on, so that names are short and of one length.
  w.byte(7);
  length = w.reserveLength();
  w.unsigned(functions);
  for (let i: u32 = 0; i < functions; i++) {
    w.byte(2);
    w.byte(0xc4 + (i >> 6));
    w.byte(0x80 | (i & 63));
    w.byte(0);
    w.unsigned(i);
  }
  w.patchLength(length);

  w.byte(10);
  length = w.reserveLength();
  w.unsigned(functions);
  assert(w.at <= bodies);
  memory.copy(w.at, bodies, end - bodies);
  w.setAt(w.at + (end - bodies));
  w.patchLength(length);
  return base;
}

function importName(name: u32): void {
  w.byte(1);
  w.byte(0x65);
  w.byte(1);
  w.byte(name);
}

assert(QUEUE_LENGTH * 16 <= <u32>JIT_QUEUE_SIZE);
assert(MAX_ENTRIES * 8 <= <u32>JIT_ENTRIES_SIZE);
assert(MOST_MODULES <= <u32>REGION_SLOTS);
