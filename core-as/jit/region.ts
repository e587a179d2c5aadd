/**
 * Which code a region is made of: the basic blocks that direct jumps and calls reach from a hot block, in its page and a few others; jumps through registers lead
 * where they were seen to go.
 *
 * Only blocks that have run (so that the interpreter has decoded them) take part; a jump to any other place leaves the region. Places where a
 * region can be entered are the hot block, blocks that were often entered from elsewhere, and the return sites of calls.
 *
 * Pages are known by their distance from the hot block's, for the same code may be mapped at several addresses; a jump from one page of the
 * region to another checks that the other is still mapped there (jit/exits.ts).
 */
import { B_ADDRESS, B_HEAT, B_JIT, B_MODE, B_PAGE2, BLOCK_HEADER, MODE_SINGLE, findBlock } from '../cpu/code-cache';
import { E_LINEAR, itlbBank } from '../mmu/banks';
import { ENDS_BLOCK, F, TARGET, endsBlock, familyOf, kindProperties } from '../cpu/kinds';
import { K, UOP_SIZE, U_IMM, U_INDEX, U_KIND, U_LEN, U_OFF } from '../cpu/uops';
import { MAX_TARGETS, seenTarget } from '../cpu/seen-targets';
import { cpu } from '../cpu/state';
import { cutConstant, setWidth } from './address-width';
import {
  JIT_NODES,
  JIT_NODES_SIZE,
  JIT_NODE_AT,
  JIT_NODE_AT_SIZE,
  JIT_PAGES,
  JIT_PAGES_SIZE,
  JIT_STARTS,
  JIT_WORK,
  JIT_WORK_SIZE,
  REGION_PAGES,
  R_JIT,
} from '../layout';
import { itlbEntry } from '../mmu/tlb';
import { heatOf } from './slots';

/** At most so many nodes and micro-ops in one region: engines compile larger functions badly. */
export const MAX_NODES: u32 = 120;
const MAX_UOPS: u32 = 400;
/** At most so many nodes: a block is cut where others jump into it. */
const MOST_NODES: u32 = MAX_NODES + MAX_NODES / 2;

/** A region's pages are so near, in bytes, that offsets from the first one fit a site's record. */
const NEAR: i64 = 0x40000000;

const NODE_SIZE: u32 = 64;
/** u32: first micro-op, and the end of the last one. */
export const N_FIRST: u32 = 0;
export const N_END: u32 = 4;
/** u16: offset in the page. */
export const N_OFFSET: u32 = 8;
/** u16: instructions. */
export const N_COUNT: u32 = 10;
/** i16: nodes that execution goes on in when the last branch is taken, and when it is not; -1: none. */
export const N_TAKEN: u32 = 12;
export const N_FALL: u32 = 14;
/** u8: execution can enter the region here. */
export const N_ENTRY: u32 = 17;
/** u16: edges that lead here, entries included. */
export const N_EDGES: u32 = 18;
/** u32: the decoded block that starts here, or 0. */
export const N_BLOCK: u32 = 20;
/** u8: number of its page in the region. */
export const N_PAGE: u32 = 24;
/** u8: number of the page that its one instruction goes on in, 0: none. */
export const N_NEXT_PAGE: u32 = 25;
/** u32: the function whose code it was last found in (ways.ts). */
export const N_SEEN: u32 = 28;
/** From here on for structure.ts. */
export const N_FLOW: u32 = 32;
export const N_FLOW_BYTES: u32 = 16;
/** u64: where its last micro-op may go, if that is a return or a jump through a register (ways.ts). */
export const N_WAYS: u32 = 48;

export let nodeCount: u32 = 0;
export let pageCount: u32 = 0;
let uops: u32 = 0;
/** Blocks that take part: the first so many of JIT_WORK. Behind them, up to `found`, are blocks that they lead to. */
let queued: u32 = 0;
let found: u32 = 0;
/** Where the hot block's page is mapped, and whether that is so in this moment (other pages can be found then). */
let home: u64 = 0;
let homeMapped: bool = false;
/** Mode of the region's blocks: MODE_64 or MODE_FLAT, with MODE_SINGLE for a region of one instruction. */
let regionMode: u32 = 0;

// @ts-ignore: decorator
@inline
export function node(n: u32): u32 {
  assert(n < MOST_NODES);
  return cpu + R_JIT + JIT_NODES + n * NODE_SIZE;
}

/** Distance of a page of the region from the first one, in bytes. */
// @ts-ignore: decorator
@inline
export function pageDistance(page: u32): i64 {
  return load<i64>(cpu + R_JIT + JIT_PAGES + (page << 4));
}

/** Linear address of a page of the region. */
// @ts-ignore: decorator
@inline
export function pageLinear(page: u32): u32 {
  return load<u32>(cpu + R_JIT + JIT_PAGES + (page << 4), 8);
}

// @ts-ignore: decorator
@inline
function nodeSlot(page: u32, offset: u32): u32 {
  return cpu + R_JIT + JIT_NODE_AT + (page << 12) + offset;
}

// @ts-ignore: decorator
@inline
function startMark(page: u32, offset: u32): u32 {
  return cpu + R_JIT + JIT_STARTS + (page << 12) + offset;
}

function addPage(distance: i64, linear: u32): u32 {
  const page = pageCount++;
  store<i64>(cpu + R_JIT + JIT_PAGES + (page << 4), distance);
  store<u32>(cpu + R_JIT + JIT_PAGES + (page << 4), linear, 8);
  memory.fill(nodeSlot(page, 0), 0, 0x1000);
  memory.fill(startMark(page, 0), 0, 0x1000);
  return page;
}

/** Linear address of the page that is so far from the region's first one, as it is mapped now; 0: it cannot take part. */
function linearAt(distance: i64): u32 {
  if (!homeMapped || distance > NEAR || distance < -NEAR) return 0;
  const address = <u64>cutConstant(<i64>home + distance);
  const e = itlbEntry(itlbBank, address);
  return load<u64>(e) === address ? load<u32>(e, E_LINEAR) : 0;
}

/** The page of the region that is so far from its first one, adding it if it is mapped; -1: it cannot take part. */
function pageAt(distance: i64, mayAdd: bool): i32 {
  for (let page: u32 = 0; page < pageCount; page++) if (pageDistance(page) === distance) return page;
  if (!mayAdd || pageCount >= <u32>REGION_PAGES) return -1;
  const linear = linearAt(distance);
  return linear ? addPage(distance, linear) : -1;
}

const START_BLOCK: u8 = 1;
const START_ENTRY: u8 = 2;

/** The page that a block's instruction goes on in, adding it if it is mapped; -1: it is not, or not there. */
function secondPage(page: u32, block: u32): i32 {
  const next = pageAt(pageDistance(page) + 0x1000, true);
  return next > 0 && pageLinear(next) === (load<u32>(block, B_PAGE2) & ~0xfff) ? next : -1;
}

/** A place of JIT_WORK: u32 block, i32 distance of its page from the hot block's; the low bits of that, START_*, are how it is reached. */
// @ts-ignore: decorator
@inline
function workAt(n: u32): u32 {
  return cpu + R_JIT + JIT_WORK + (n << 3);
}
const MAX_FOUND: u32 = JIT_WORK_SIZE / 8;

/** Notes that the region's code leads to the block at an offset from a page's start, if there is one. */
function find(fromPage: u32, offset: i64, mark: u8): void {
  // A step is one instruction.
  if (regionMode & MODE_SINGLE) return;
  const distance = pageDistance(fromPage) + (offset & ~0xfff);
  const at = (<u32>offset) & 0xfff;
  const page = pageAt(distance, false);
  if (page >= 0) {
    const start = startMark(page, at);
    if (load<u8>(start)) {
      store<u8>(start, load<u8>(start) | mark);
      return;
    }
  }
  const linear = page >= 0 ? pageLinear(page) : linearAt(distance);
  const block = linear ? findBlock(linear | at, regionMode) : 0;
  if (!block) return;
  for (let n = queued; n < found; n++) {
    const work = workAt(n);
    if (load<u32>(work) !== block || (load<u32>(work, 4) & ~0xfff) !== <u32>distance) continue;
    store<u32>(work, load<u32>(work, 4) | mark, 4);
    return;
  }
  if (found >= MAX_FOUND) return;
  if (load<u32>(block, B_HEAT) < warm && !load<u32>(block, B_JIT)) return;
  const work = workAt(found++);
  store<u32>(work, block);
  store<u32>(work, (<u32>distance) | mark, 4);
}

/** Makes the block at a place of JIT_WORK part of the region. False when it cannot be. */
function takeBlock(work: u32): bool {
  const block = load<u32>(work);
  const page = pageAt(<i64>(load<i32>(work, 4) & ~0xfff), true);
  if (page < 0 || (load<u32>(block, B_PAGE2) && secondPage(page, block) < 0)) return false;
  const length = lengthOf(block);
  if (load<u32>(block, B_JIT)) {
    if (repeated + length > mostRepeated) return false;
    repeated += length;
  }
  uops += length;
  store<u8>(startMark(page, load<u32>(block, B_ADDRESS) & 0xfff), START_BLOCK | (<u8>(load<u32>(work, 4) & 0xff)));
  store<u32>(work, page, 4);
  return true;
}

/** Micro-ops of a block. */
function lengthOf(block: u32): u32 {
  let n: u32 = 1;
  for (let p = block + BLOCK_HEADER; !endsBlock(load<u8>(p, U_KIND)); p += UOP_SIZE) n++;
  return n;
}

/** Brings the hottest of the blocks that were found and not taken yet to the place where the next one is taken from. */
function chooseHottest(): void {
  let best = queued;
  let heat: u32 = 0;
  for (let n = queued; n < found; n++) {
    const own = heatOf(load<u32>(workAt(n)));
    if (own <= heat) continue;
    heat = own;
    best = n;
  }
  const chosen = load<u64>(workAt(best));
  store<u64>(workAt(best), load<u64>(workAt(queued)));
  store<u64>(workAt(queued), chosen);
}

/** Finds the blocks, from the given one on: the hottest of those that the region leads to comes next, until the limit is reached. */
function collect(first: u32): void {
  queued = 0;
  found = 1;
  uops = 0;
  repeated = 0;
  store<u32>(workAt(0), first);
  store<u32>(workAt(0), START_ENTRY, 4);
  while (queued < found && queued < MAX_NODES && uops < MAX_UOPS) {
    chooseHottest();
    const work = workAt(queued);
    if (!takeBlock(work)) {
      store<u64>(work, load<u64>(workAt(--found)));
      continue;
    }
    queued++;
    findFrom(load<u32>(work) + BLOCK_HEADER, load<u32>(work, 4));
  }
}

/** Notes the blocks that a block with its first micro-op at `p` leads to. */
function findFrom(p: u32, page: u32): void {
  for (; ; p += UOP_SIZE) {
    const properties = kindProperties(load<u8>(p, U_KIND));
    if (properties & TARGET) find(page, load<i64>(p, U_IMM), 0);
    if (familyOf(properties) === F.CALL) {
      find(page, <i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN), START_ENTRY);
    }
    if (!(properties & ENDS_BLOCK)) continue;
    // Calls and jumps without a target of their own go through a register.
    if (!(properties & TARGET) && (familyOf(properties) === F.JMP || familyOf(properties) === F.CALL)) {
      for (let i: u32 = 0; i < MAX_TARGETS; i++) {
        const seen = seenTarget(p, i);
        if (seen) find(page, seen, 0);
      }
    }
    return;
  }
}

/** Cuts the code from `p` on into nodes, until it ends or runs into a node that is there already. Returns the first one's number. */
function cut(page: u32, p: u32, block: u32): i32 {
  const offset: u32 = load<u16>(p, U_OFF);
  const there = <i32>load<u8>(nodeSlot(page, offset)) - 1;
  if (there >= 0) return there;
  if (nodeCount >= MOST_NODES) return -1;
  const number = nodeCount++;
  const n = node(number);
  store<u8>(nodeSlot(page, offset), <u8>(number + 1));
  memory.fill(n, 0, NODE_SIZE);
  store<u8>(n, <u8>page, N_PAGE);
  store<u32>(n, p, N_FIRST);
  store<u16>(n, <u16>offset, N_OFFSET);
  store<i16>(n, -1, N_TAKEN);
  store<i16>(n, -1, N_FALL);
  store<u32>(n, block, N_BLOCK);
  if (block && load<u32>(block, B_PAGE2)) store<u8>(n, <u8>secondPage(page, block), N_NEXT_PAGE);
  if (load<u8>(startMark(page, offset)) & START_ENTRY) store<u8>(n, 1, N_ENTRY);
  const first: u32 = load<u8>(p, U_INDEX);
  for (;;) {
    const kind: i32 = load<u8>(p, U_KIND);
    const properties = kindProperties(kind);
    const family = familyOf(properties);
    const at: u32 = load<u16>(p, U_OFF);
    if (at !== offset && family !== F.END && load<u8>(startMark(page, at)) && load<u16>(p - UOP_SIZE, U_OFF) !== at) {
      // Another block starts here: go on in its node.
      store<u32>(n, p, N_END);
      store<u16>(n, <u16>(load<u8>(p, U_INDEX) - first), N_COUNT);
      store<i16>(n, <i16>target(page, at), N_FALL);
      return number;
    }
    p += UOP_SIZE;
    if (family === F.JCC) {
      store<u32>(n, p, N_END);
      store<u16>(n, <u16>(load<u8>(p - UOP_SIZE, U_INDEX) + 1 - first), N_COUNT);
      store<i16>(n, <i16>target(page, load<i64>(p - UOP_SIZE, U_IMM)), N_TAKEN);
      if (load<u8>(p, U_KIND) !== K.END) store<i16>(n, <i16>cut(page, p, 0), N_FALL);
      else store<i16>(n, <i16>target(page, load<i64>(p, U_IMM)), N_FALL);
      return number;
    }
    if (properties & ENDS_BLOCK) {
      store<u32>(n, p, N_END);
      store<u16>(n, <u16>(load<u8>(p - UOP_SIZE, U_INDEX) + 1 - first), N_COUNT);
      if (properties & TARGET) {
        const to = <i16>target(page, load<i64>(p - UOP_SIZE, U_IMM));
        if (family === F.END) store<i16>(n, to, N_FALL);
        else store<i16>(n, to, N_TAKEN);
      }
      return number;
    }
  }
  return -1;
}

/** The node at a distance from a page's start, or -1 when the region does not hold it. */
function target(fromPage: u32, offset: i64): i32 {
  const away = offset & ~0xfff;
  const page = away ? pageAt(pageDistance(fromPage) + away, false) : <i32>fromPage;
  const at = (<u32>offset) & 0xfff;
  if (page < 0 || !load<u8>(startMark(page, at))) return -1;
  const block = findBlock(pageLinear(page) | at, regionMode);
  return block ? cut(page, block + BLOCK_HEADER, block) : -1;
}

/** The node at a distance from a page's start, or -1. */
export function nodeAt(fromPage: u32, offset: i64): i32 {
  const away = offset & ~0xfff;
  const page = away ? pageAt(pageDistance(fromPage) + away, false) : <i32>fromPage;
  return page < 0 ? -1 : <i32>load<u8>(nodeSlot(page, (<u32>offset) & 0xfff)) - 1;
}

/** Whether the page of a block is mapped at `address` in this moment, as far as the TLB knows. */
export function isMappedNow(block: u32, address: u64): bool {
  const e = itlbEntry(itlbBank, address);
  return load<u64>(e) === address && load<u32>(e, E_LINEAR) === (load<u32>(block, B_ADDRESS) & ~0xfff);
}

/** A block takes part only if it was entered so often. */
let warm: u32 = 0;
/** Micro-ops of blocks that other regions are entered at, and how many of them may be repeated here. */
let repeated: u32 = 0;
let mostRepeated: u32 = 0;

/**
 * Builds the nodes of the region around a block whose page is mapped at `address`, of blocks that were entered `minimumHeat` times; other
 * regions may have `repeats` micro-ops of them already. False when there is nothing to compile.
 */
export function buildRegion(block: u32, address: u64, minimumHeat: u32, repeats: u32): bool {
  warm = minimumHeat;
  mostRepeated = repeats;
  const linear = load<u32>(block, B_ADDRESS);
  nodeCount = 0;
  pageCount = 0;
  home = address;
  regionMode = load<u32>(block, B_MODE);
  setWidth(regionMode & ~MODE_SINGLE);
  homeMapped = isMappedNow(block, address);
  addPage(0, linear & ~0xfff);
  collect(block);
  for (let n: u32 = 0; n < queued; n++) {
    const work = workAt(n);
    const part = load<u32>(work);
    cut(load<u32>(work, 4), part + BLOCK_HEADER, part);
  }
  let instructions: u32 = 0;
  for (let number: u32 = 0; number < nodeCount; number++) instructions += load<u16>(node(number), N_COUNT);
  return instructions > 0;
}

assert(MOST_NODES < 0xff, 'node numbers + 1 are bytes');
assert(MOST_NODES * NODE_SIZE <= <u32>JIT_NODES_SIZE);
assert(MAX_NODES * 8 <= <u32>JIT_WORK_SIZE);
assert(REGION_PAGES * 16 <= JIT_PAGES_SIZE);
assert(REGION_PAGES * 0x1000 <= JIT_NODE_AT_SIZE);
assert(N_PAGE < N_FLOW && N_FLOW + N_FLOW_BYTES <= N_WAYS && N_WAYS + 8 <= NODE_SIZE);
