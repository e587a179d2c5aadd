/**
 * Ways out of a region. Each place where one can be left is a _site_, a record in memory (jit/abi.ts); what compiled code does there is to name it.
 * General registers are in the vCPU block by then (jit/locals.ts), and the flags in their locals.
 */
import { UOP_SIZE, U_INDEX, U_IMM, U_KIND, U_LEN, U_OFF, K } from '../cpu/uops';
import { cpu } from '../cpu/state';
import { JIT_SITES, JIT_SITES_SIZE, R_ITLB_BANK, R_JIT, R_JIT_BUDGET, R_JIT_TARGET } from '../layout';
import {
  FORM_FIXED,
  HELPER_RUN,
  SITE_ASIDE,
  SITE_DYNAMIC,
  SITE_FAULT,
  SITE_GO,
  SITE_SIZE,
  SITE_STATUS,
  S_CODE,
  S_FORM,
  S_OFFSET,
  S_PAGE,
  S_REST,
  S_TIMES,
  S_UOP,
} from './abi';
import { cutSum, isNarrow } from './address-width';
import { settleFlagsAside } from './flags';
import { branchExit, close, openIf } from './labels';
import {
  LOCAL_ADDRESS,
  LOCAL_BUDGET,
  LOCAL_CPU,
  LOCAL_PAGE,
  LOCAL_SITE,
  LOCAL_TARGET,
  LOCAL_TLB,
  setPageDistance,
  storeLocal,
  storeRegistersAside,
} from './locals';
import { E_LINEAR, ITLB_HALF, ITLB_HALF_SHIFT, ITLB_INDEX_MASK, TLB_INDEX_SHIFT } from '../mmu/banks';
import { TYPE_RUN, callHelper } from './module-types';
import { N_NEXT_PAGE, N_OFFSET, N_PAGE, node, pageDistance, pageLinear } from './region';
import { ACCESS_CALLED, formOf } from './slow-sites';
import * as w from './wasm';

const MAX_SITES: u32 = 1100;
/** Sites that one node may add. */
export const SITES_ROOM: u32 = 20;

/** The first site: R_JIT_TARGET says where to go on. */
const SITE_OF_TARGET: u32 = 0;

let sites: u32 = 0;

/** Instructions of the node that is being translated, and the number of its first one in its block. */
let nodeInstructions: u32 = 0;
let nodeFirstIndex: u32 = 0;
let nodeFirst: u32 = 0;

/** Number of its page. */
let nodePage: u32 = 0;

/** A region's translation begins. */
export function beginSites(): void {
  sites = 0;
  nodePage = 0;
  nodeInstructions = 0;
  addSite(SITE_DYNAMIC, 0, 0, 0, FORM_FIXED);
}

export function hasRoomForSites(): bool {
  return sites + SITES_ROOM < MAX_SITES;
}

/** The table of the translated region, and its length in bytes. */
export function siteTable(): u32 {
  return cpu + R_JIT + JIT_SITES;
}
export function siteTableBytes(): u32 {
  return sites * SITE_SIZE;
}

function addSite(code: u32, p: u32, rest: i32, offset: i64, form: u32): u32 {
  assert(sites < MAX_SITES);
  const at = sites * SITE_SIZE;
  const s = siteTable() + at;
  store<i32>(s, <i32>offset, S_OFFSET);
  store<u32>(s, p, S_UOP);
  store<u32>(s, pageLinear(nodePage), S_PAGE);
  store<u8>(s, <u8>rest, S_REST);
  store<u8>(s, <u8>code, S_CODE);
  store<u8>(s, <u8>form, S_FORM);
  store<u8>(s, 0, S_TIMES);
  sites++;
  return at;
}

/** A node's translation begins. Its instructions are taken from the budget at its start. */
export function beginNode(page: u32, instructions: u32, first: u32): void {
  nodePage = page;
  nodeInstructions = instructions;
  nodeFirst = first;
  nodeFirstIndex = load<u8>(first, U_INDEX);
  setPageDistance(pageDistance(page));
}

/** Pushes an address at a distance from the start of the node's page. */
export function pushHere(offset: i64): void {
  pushInRegion(pageDistance(nodePage) + offset);
}

/** Pushes an address at a distance from the start of the region's first page. */
function pushInRegion(distance: i64): void {
  w.get(LOCAL_PAGE);
  if (!distance) return;
  w.const64(distance);
  w.byte(w.I64_ADD);
  cutSum();
}

/** True when going on at the node needs a check that its page is mapped where it was. */
export function changesPage(to: u32): bool {
  return load<u8>(node(to), N_PAGE) !== nodePage;
}

/** Leaves for a node of another page unless its page is mapped as when the region was compiled. */
export function checkPage(to: u32): void {
  const page: u32 = load<u8>(node(to), N_PAGE);
  checkMapped(page, pageDistance(page) + load<u16>(node(to), N_OFFSET));
}

/** Before a node whose instruction goes on in the next page: leaves for it unless that one is mapped as when the region was compiled. */
export function checkNextPage(number: u32): void {
  const n = node(number);
  const distance = pageDistance(load<u8>(n, N_PAGE));
  checkMapped(load<u8>(n, N_NEXT_PAGE), distance + load<u16>(n, N_OFFSET));
}

/** Leaves for a distance from the first page unless a page is mapped as when the region was compiled. */
function checkMapped(page: u32, otherwise: i64): void {
  pushInRegion(pageDistance(page));
  w.set(LOCAL_ADDRESS);
  // mmu/tlb.ts: itlbEntry.
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_ITLB_BANK);
  w.get(LOCAL_ADDRESS);
  w.const64(TLB_INDEX_SHIFT);
  w.byte(w.I64_SHR_U);
  w.const64(ITLB_INDEX_MASK);
  w.byte(w.I64_AND);
  if (!isNarrow) {
    w.get(LOCAL_ADDRESS);
    w.const64(ITLB_HALF_SHIFT);
    w.byte(w.I64_SHR_U);
    w.const64(ITLB_HALF);
    w.byte(w.I64_AND);
    w.byte(w.I64_OR);
  }
  w.byte(w.I32_WRAP_I64);
  w.byte(w.I32_ADD);
  w.tee(LOCAL_TLB);
  w.access(w.I64_LOAD, 0);
  w.get(LOCAL_ADDRESS);
  w.byte(w.I64_NE);
  w.get(LOCAL_TLB);
  w.access(w.I32_LOAD, E_LINEAR);
  w.const32(pageLinear(page));
  w.byte(w.I32_NE);
  w.byte(w.I32_OR);
  openIf();
  leaveBy(addSite(SITE_GO, 0, 0, otherwise, FORM_FIXED));
  close();
}

/** Instructions of the node after the micro-op's. */
function restAfter(p: u32): i32 {
  return <i32>nodeInstructions - <i32>(load<u8>(p, U_INDEX) - nodeFirstIndex) - 1;
}

function distanceOf(p: u32): i64 {
  return pageDistance(nodePage) + load<u16>(p, U_OFF);
}

/** Leaves the region by a site. */
export function leaveBy(site: u32): void {
  settleFlagsAside();
  storeRegistersAside();
  w.const32(site);
  w.set(LOCAL_SITE);
  branchExit();
}

/** The first micro-op of the instruction that the micro-op belongs to. */
function firstOf(p: u32): u32 {
  while (p > nodeFirst && load<u16>(p - UOP_SIZE, U_OFF) === load<u16>(p, U_OFF)) p -= UOP_SIZE;
  return p;
}

/** Leaves for the interpreter to run the instruction: nothing of it has been done, but in temporaries. `form`: FORM_*. */
export function leaveAside(p: u32, form: u32): void {
  leaveBy(addSite(SITE_ASIDE, firstOf(p), restAfter(p) + 1, distanceOf(p), form));
}

/** Leaves: an exception is pending at the micro-op. */
export function leaveWithFault(p: u32): void {
  leaveBy(siteOfFault(p));
}

/** The site for a micro-op that HELPER_VECTOR runs: it is left by, if at all, with an exception. */
export function siteOfFault(p: u32): u32 {
  return addSite(SITE_FAULT, p, restAfter(p), distanceOf(p), FORM_FIXED);
}

/** Leaves for an address at a distance from the start of the node's page, at the end of the node or before it has begun. */
export function leaveFor(offset: i64): void {
  w.get(LOCAL_CPU);
  pushHere(offset);
  w.access(w.I64_STORE, R_JIT_TARGET);
  leaveBy(SITE_OF_TARGET);
}

/** Leaves for the instruction after the micro-op's, in the middle of a node. */
export function leaveAfter(p: u32): void {
  leaveBy(addSite(SITE_GO, 0, restAfter(p), pageDistance(nodePage) + offsetAfter(p), FORM_FIXED));
}

/** Leaves for LOCAL_TARGET, at the end of a node. */
export function leaveForTarget(): void {
  w.get(LOCAL_CPU);
  w.get(LOCAL_TARGET);
  w.access(w.I64_STORE, R_JIT_TARGET);
  leaveBy(SITE_OF_TARGET);
}

/** The site for a micro-op that HELPER_RUN runs. */
export function siteOfStatus(p: u32): u32 {
  return addSite(SITE_STATUS, p, restAfter(p), distanceOf(p), FORM_FIXED);
}

/** Has HELPER_RUN run a micro-op, registers and flags being in memory; compiled code leaves at once if that asks for it. */
export function runInHelper(p: u32): void {
  const site = siteOfStatus(p);
  w.const32(site);
  w.get(LOCAL_PAGE);
  callHelper(HELPER_RUN, TYPE_RUN);
  openIf();
  storeLocal(LOCAL_BUDGET, R_JIT_BUDGET);
  w.const32(site);
  w.byte(w.RETURN);
  close();
}

/** Offset in the page (perhaps beyond it) of the instruction after the micro-op's. */
export function offsetAfter(p: u32): i64 {
  if (load<u8>(p, U_KIND) === K.END) return load<i64>(p, U_IMM);
  return <i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN);
}

/** How the access or the slow case of a micro-op of the node is translated: ACCESS_*. */
export function accessForm(p: u32): u32 {
  return formOf(pageLinear(nodePage) | load<u16>(p, U_OFF));
}

export function isCalled(p: u32): bool {
  return accessForm(p) === ACCESS_CALLED;
}

assert(MAX_SITES * SITE_SIZE <= <u32>JIT_SITES_SIZE);
