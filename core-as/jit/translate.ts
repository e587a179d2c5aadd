/** Micro-ops into WebAssembly: a node's, and branches, calls and returns. */
import { R_GPR } from '../layout';
import { RSP } from '../cpu/state';
import { F, TARGET, familyOf, kindProperties, operationOf } from '../cpu/kinds';
import { UOP_SIZE, U_IMM, U_KIND, U_LEN, U_OFF, U_S } from '../cpu/uops';
import { FORM_FIXED } from './abi';
import {
  beginNode,
  changesPage,
  checkNextPage,
  checkPage,
  hasRoomForSites,
  leaveAside,
  leaveFor,
  leaveForTarget,
  offsetAfter,
  pushHere,
} from './exits';
import { addressLog2, isNarrow, slotBytes } from './address-width';
import * as f from './flags';
import { branch, branchAway, branchIf, close, fallsTo, isLoopHeader, openIf } from './labels';
import {
  LOCAL_BUDGET,
  LOCAL_CPU,
  LOCAL_GPR,
  LOCAL_PAGE,
  LOCAL_TARGET,
  LOCAL_VALUE,
  pushRegister,
  storeRegisters,
} from './locals';
import { readMemory, writeMemory } from './memory';
import { forgetValues, stepValues } from './ranges';
import {
  N_COUNT,
  N_EDGES,
  N_END,
  N_ENTRY,
  N_FALL,
  N_FIRST,
  N_NEXT_PAGE,
  N_OFFSET,
  N_PAGE,
  N_TAKEN,
  node,
  pageDistance,
} from './region';
import { commitPush, moveStack, translateUop } from './translate-uop';
import { forgetVectorChecks } from './vector-operands';
import * as w from './wasm';
import { firstWay, otherWays, waysOf } from './ways';

/** Longest code of one node's micro-op, in bytes: room that must be left before each. */
const UOP_ROOM: u32 = 2048;

let limit: u32 = 0;
/** The node that falls through to the next one, so that what is known of the flags stays known; -1: none. */
let fellInto: i32 = -1;

/** A region's nodes are going to be translated, to memory before `end`. */
export function beginTranslation(end: u32): void {
  limit = end;
  fellInto = -1;
}

// ---------------------------------------------------------------------------------------------------------------------
// Nodes

/** Translates a node and its way on. False when there is no room. */
export function translateNode(number: u32): bool {
  const n = node(number);
  const first = load<u32>(n, N_FIRST);
  const end = load<u32>(n, N_END);
  if (fellInto !== <i32>number || load<u16>(n, N_EDGES) !== 1 || load<u8>(n, N_ENTRY)) {
    f.forgetFlags();
    forgetValues();
  }
  fellInto = -1;
  forgetVectorChecks();
  const count: u32 = load<u16>(n, N_COUNT);
  beginNode(load<u8>(n, N_PAGE), count, first);
  if (load<u8>(n, N_NEXT_PAGE)) checkNextPage(number);
  if (isLoopHeader(number)) {
    w.get(LOCAL_BUDGET);
    w.const32(0);
    w.byte(w.I32_LE_S);
    openIf();
    leaveFor(load<u16>(n, N_OFFSET));
    close();
  }
  if (count) {
    w.get(LOCAL_BUDGET);
    w.const32(count);
    w.byte(w.I32_SUB);
    w.set(LOCAL_BUDGET);
  }
  const last = end - UOP_SIZE;
  for (let p = first; p < end; p += UOP_SIZE) {
    if (w.at + UOP_ROOM > limit || !hasRoomForSites()) return false;
    const start = w.at;
    const kind: i32 = load<u8>(p, U_KIND);
    const properties = kindProperties(kind);
    switch (familyOf(properties)) {
      case F.JCC:
        storeRegisters();
        translateConditional(p, operationOf(properties), load<i16>(n, N_TAKEN));
        break;
      case F.JMP:
        if (properties & TARGET) goOn(load<i16>(n, N_TAKEN), load<i64>(p, U_IMM));
        else {
          storeRegisters();
          translateIndirect(p);
          goByTarget(waysOf(n));
        }
        return true;
      case F.CALL:
        translateCall(p, (properties & TARGET) !== 0, load<i16>(n, N_TAKEN), waysOf(n), end);
        return true;
      case F.RET:
        translateReturn(p, waysOf(n), end);
        return true;
      case F.END:
        break;
      default:
        translateUop(p, kind, end);
        stepValues(p);
    }
    assert(w.at - start <= UOP_ROOM);
  }
  goOn(load<i16>(n, N_FALL), offsetAfter(last));
  return true;
}

/** Goes on at a node of the region, or leaves for an offset of the page. */
function goOn(to: i32, offset: i64): void {
  storeRegisters();
  if (to < 0) {
    leaveFor(offset);
    return;
  }
  f.settleFlags();
  if (changesPage(to)) checkPage(to);
  if (fallsTo(to)) fellInto = to;
  branch(to);
}

function translateConditional(p: u32, condition: u32, to: i32): void {
  if (to >= 0) {
    f.settleFlags();
    f.pushCondition(condition);
    if (!changesPage(to)) branchIf(to);
    else {
      openIf();
      checkPage(to);
      branchAway(to);
      close();
    }
    return;
  }
  f.pushCondition(condition);
  openIf();
  leaveFor(load<i64>(p, U_IMM));
  close();
}

/** Pushes whether LOCAL_TARGET is not canonical (48 bits). */
function pushIsNotCanonical(): void {
  w.get(LOCAL_TARGET);
  w.const64(16);
  w.byte(w.I64_SHL);
  w.const64(16);
  w.byte(w.I64_SHR_S);
  w.get(LOCAL_TARGET);
  w.byte(w.I64_NE);
}

/** The interpreter raises the fault when LOCAL_TARGET is not canonical, as no address of 32 bits is. */
function checkCanonical(p: u32): void {
  if (isNarrow) return;
  pushIsNotCanonical();
  openIf();
  leaveAside(p, FORM_FIXED);
  close();
}

/** Sets LOCAL_TARGET to the address in the register that a jump or call names. */
function translateIndirect(p: u32): void {
  pushRegister(load<u8>(p, U_S), addressLog2());
  w.set(LOCAL_TARGET);
  checkCanonical(p);
}

/** Goes on at LOCAL_TARGET: at one of some places of the region (ways.ts), unless it is elsewhere. */
function chooseWay(ways: u64): void {
  if (!ways) return;
  // The target's distance from the region's first page.
  w.get(LOCAL_TARGET);
  w.get(LOCAL_PAGE);
  w.byte(w.I64_SUB);
  w.set(LOCAL_VALUE);
  for (; ways; ways = otherWays(ways)) {
    const to = firstWay(ways);
    w.get(LOCAL_VALUE);
    w.const64(pageDistance(load<u8>(node(to), N_PAGE)) + load<u16>(node(to), N_OFFSET));
    w.byte(w.I64_EQ);
    openIf();
    f.settleFlagsAside();
    if (changesPage(to)) checkPage(to);
    branchAway(to);
    close();
  }
}

function goByTarget(ways: u64): void {
  chooseWay(ways);
  leaveForTarget();
}

function translateCall(p: u32, direct: bool, to: i32, ways: u64, end: u32): void {
  if (!direct) {
    storeRegisters();
    translateIndirect(p);
  }
  pushHere(<i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN));
  w.set(LOCAL_VALUE);
  writeMemory(p, addressLog2(), end);
  commitPush();
  stepValues(p);
  storeRegisters();
  if (direct) goOn(to, load<i64>(p, U_IMM));
  else goByTarget(ways);
}

function translateReturn(p: u32, ways: u64, end: u32): void {
  readMemory(p, addressLog2(), end);
  w.set(LOCAL_TARGET);
  // RET has 0 there.
  const popped = slotBytes() + load<i64>(p, U_IMM);
  moveStack(popped);
  storeRegisters();
  chooseWay(ways);
  if (!isNarrow) checkReturn(p, popped);
  leaveForTarget();
}

/** The interpreter raises the fault when LOCAL_TARGET, which was popped with so many bytes, is not canonical. */
function checkReturn(p: u32, popped: i64): void {
  pushIsNotCanonical();
  openIf();
  // As if nothing had been popped.
  w.get(LOCAL_CPU);
  w.get(LOCAL_GPR + RSP);
  w.const64(popped);
  w.byte(w.I64_SUB);
  w.access(w.I64_STORE, R_GPR + (RSP << 3));
  leaveAside(p, FORM_FIXED);
  close();
}
