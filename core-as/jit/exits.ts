/** Ways out of a region. Each sets what the epilogue (translate.ts) hands to the interpreter and branches to it. */
import { K, U_IMM, U_INDEX, U_KIND, U_LEN, U_OFF } from '../cpu/uops';
import { RSP } from '../cpu/state';
import { JIT_FAULT } from './abi';
import { settleFlagsAside } from './flags';
import { branchExit, close, openIf } from './flow';
import { R_ITLB_BANK } from '../layout';
import {
  LOCAL_ADDRESS,
  LOCAL_BUDGET,
  LOCAL_CODE,
  LOCAL_CPU,
  LOCAL_GPR,
  LOCAL_PAGE,
  LOCAL_TARGET,
  LOCAL_TLB,
  LOCAL_UOP,
  setPageDistance,
} from './locals';
import { N_OFFSET, N_PAGE, node, pageDistance, pageLinear } from './region';
import * as w from './wasm';

/** Instructions of the node that is being translated, and the number of its first one in its block. */
let nodeInstructions: u32 = 0;
let nodeFirstIndex: u32 = 0;

/** Number of its page. */
let nodePage: u32 = 0;

/** A node's translation begins. Its instructions are taken from the budget at its start. */
export function beginNode(page: u32, instructions: u32, firstIndex: u32): void {
  nodePage = page;
  nodeInstructions = instructions;
  nodeFirstIndex = firstIndex;
  setPageDistance(pageDistance(page));
}

/** Pushes an address at a distance from the start of the node's page. */
export function pushHere(offset: i64): void {
  w.get(LOCAL_PAGE);
  const distance = pageDistance(nodePage) + offset;
  if (!distance) return;
  w.const64(distance);
  w.byte(w.I64_ADD);
}

/** True when going on at the node needs a check that its page is mapped where it was. */
export function changesPage(to: u32): bool {
  return load<u8>(node(to), N_PAGE) !== nodePage;
}

/** Leaves for a node of another page unless its page is mapped as when the region was compiled. */
export function checkPage(to: u32): void {
  const page: u32 = load<u8>(node(to), N_PAGE);
  w.get(LOCAL_PAGE);
  w.const64(pageDistance(page));
  w.byte(w.I64_ADD);
  w.set(LOCAL_ADDRESS);
  // mmu/tlb.ts: itlbEntry.
  w.get(LOCAL_CPU);
  w.access(w.I32_LOAD, R_ITLB_BANK);
  w.get(LOCAL_ADDRESS);
  w.const64(8);
  w.byte(w.I64_SHR_U);
  w.const64(0x1ff0);
  w.byte(w.I64_AND);
  w.get(LOCAL_ADDRESS);
  w.const64(50);
  w.byte(w.I64_SHR_U);
  w.const64(0x2000);
  w.byte(w.I64_AND);
  w.byte(w.I64_OR);
  w.byte(w.I32_WRAP_I64);
  w.byte(w.I32_ADD);
  w.tee(LOCAL_TLB);
  w.access(w.I64_LOAD, 0);
  w.get(LOCAL_ADDRESS);
  w.byte(w.I64_NE);
  w.get(LOCAL_TLB);
  w.access(w.I32_LOAD, 8);
  w.const32(pageLinear(page));
  w.byte(w.I32_NE);
  w.byte(w.I32_OR);
  openIf();
  settleFlagsAside();
  w.get(LOCAL_ADDRESS);
  w.const64(load<u16>(node(to), N_OFFSET));
  w.byte(w.I64_ADD);
  w.set(LOCAL_TARGET);
  branchExit();
  close();
}

/** Gives back what the node took for the instructions after the micro-op's. */
export function giveBack(p: u32): void {
  const rest = <i32>nodeInstructions - <i32>(load<u8>(p, U_INDEX) - nodeFirstIndex) - 1;
  if (!rest) return;
  w.get(LOCAL_BUDGET);
  w.const32(rest);
  w.byte(w.I32_ADD);
  w.set(LOCAL_BUDGET);
}

/** Leaves: an exception is pending at the micro-op. */
export function leaveWithFault(p: u32): void {
  settleFlagsAside();
  giveBack(p);
  w.const32(p);
  w.set(LOCAL_UOP);
  pushHere(load<u16>(p, U_OFF));
  w.set(LOCAL_TARGET);
  w.const32(JIT_FAULT);
  w.set(LOCAL_CODE);
  branchExit();
}

/** Leaves for an address at a distance from the start of the node's page. */
export function leaveFor(offset: i64): void {
  settleFlagsAside();
  pushHere(offset);
  w.set(LOCAL_TARGET);
  branchExit();
}

/** Offset in the page (perhaps beyond it) of the instruction after the micro-op's. */
export function offsetAfter(p: u32): i64 {
  if (load<u16>(p, U_KIND) === K.END) return load<i64>(p, U_IMM);
  return <i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN);
}

/** Leaves after a store into a page that held code; completes PUSH and CALL. */
export function leaveAfterStore(p: u32): void {
  const kind: i32 = load<u16>(p, U_KIND);
  const pushes = kind === K.PUSH || kind === K.PUSHI || kind === K.CALL || kind === K.CALLR;
  if (pushes) {
    w.get(LOCAL_GPR + RSP);
    w.const64(8);
    w.byte(w.I64_SUB);
    w.set(LOCAL_GPR + RSP);
  }
  giveBack(p);
  if (kind === K.CALLR) {
    // LOCAL_TARGET holds it already.
    settleFlagsAside();
    branchExit();
  } else leaveFor(kind === K.CALL ? load<i64>(p, U_IMM) : offsetAfter(p));
}
