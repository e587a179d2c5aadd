/** Micro-ops of 64-bit code into WebAssembly. */
import { R_JIT_BUDGET, R_JIT_TARGET, R_JIT_UOP } from '../layout';
import { RSP } from '../cpu/state';
import { K, UOP_SIZE, U_BASE, U_D, U_IDX, U_IMM, U_INDEX, U_KIND, U_LEN, U_OFF, U_S } from '../cpu/uops';
import { HELPER_RUN, JIT_GO } from './abi';
import { beginNode, changesPage, checkPage, leaveFor, leaveWithFault, offsetAfter, pushHere } from './exits';
import * as f from './flags';
import { branch, branchAway, branchExit, branchIf, close, emitFlow, fallsTo, isLoopHeader, openIf } from './flow';
import {
  I32_LOCALS,
  I64_LOCALS,
  LOCAL_BUDGET,
  LOCAL_CODE,
  LOCAL_CPU,
  LOCAL_GPR,
  LOCAL_PAGE,
  LOCAL_STATUS,
  LOCAL_TARGET,
  LOCAL_UOP,
  LOCAL_VALUE,
  clearRegisterUse,
  noteUse,
  pushRegister,
  loadRegisters,
  storeLocal,
  storeRegisters,
} from './locals';
import { readMemory, writeMemory } from './memory';
import { TYPE_RUN, callHelper } from './module-types';
import {
  N_COUNT,
  N_EDGES,
  N_END,
  N_ENTRY,
  N_FALL,
  N_FIRST,
  N_OFFSET,
  N_PAGE,
  N_RETURNS,
  N_TAKEN,
  isConditional,
  node,
  nodeCount,
  pageDistance,
  returnSite,
  returnSites,
} from './region';
import { commitPush, isLoad, isRun, isStore, moveStack, pushSlot, translateUop } from './translate-uop';
import { forgetVectorChecks, isVectorInLine, noteVectorRegisters } from './vector';
import * as w from './wasm';

/** Longest code of one node's micro-op, in bytes: room that must be left before each. */
const UOP_ROOM: u32 = 2048;

let limit: u32 = 0;
/** The node that falls through to the next one, so that what is known of the flags stays known; -1: none. */
let fellInto: i32 = -1;

/** Writes the function (locals and code) of the region that buildRegion made. False when it does not fit. */
export function translateRegion(end: u32): bool {
  limit = end;
  fellInto = -1;
  noteRegisters();
  w.byte(2);
  w.byte(I64_LOCALS);
  w.byte(w.TYPE_I64);
  w.byte(I32_LOCALS);
  w.byte(w.TYPE_I32);
  loadRegisters();
  f.loadFlags();
  // LOCAL_CODE begins as 0.
  assert(JIT_GO === 0);
  w.byte(w.BLOCK);
  w.byte(w.TYPE_VOID);
  if (!emitFlow()) return false;
  w.byte(w.END);
  storeRegisters();
  f.storeFlags();
  storeLocal(LOCAL_BUDGET, R_JIT_BUDGET);
  storeLocal(LOCAL_UOP, R_JIT_UOP);
  w.get(LOCAL_CPU);
  w.get(LOCAL_TARGET);
  w.access(w.I64_STORE, R_JIT_TARGET);
  w.get(LOCAL_CODE);
  w.byte(w.END);
  return true;
}

/** Which registers the region keeps in locals. */
function noteRegisters(): void {
  clearRegisterUse();
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    for (let p = load<u32>(n, N_FIRST); p < load<u32>(n, N_END); p += UOP_SIZE) noteRegistersOf(p);
  }
}

function noteRegistersOf(p: u32): void {
  const kind: i32 = load<u16>(p, U_KIND);
  const d: u32 = load<u8>(p, U_D);
  const s: u32 = load<u8>(p, U_S);
  if (kind === K.END || kind === K.NOP || kind === K.FENCE) return;
  if (isRun(kind)) {
    if (kind !== K.CALL_X && isVectorInLine(p)) noteVectorRegisters(p);
    return;
  }
  if (isLoad(kind) || isStore(kind) || kind === K.LEA32 || kind === K.LEA64 || kind === K.LEA_G) {
    noteUse(load<u8>(p, U_BASE), false);
    noteUse(load<u8>(p, U_IDX), false);
    if (isStore(kind)) noteUse(s, false);
    else noteUse(d, true);
    return;
  }
  if ((kind >= K.JMPR && kind <= K.LEAVE) || kind === K.CALL) {
    if (kind === K.JMPR || kind === K.CALLR || kind === K.PUSH) noteUse(s, false);
    if (kind !== K.JMPR) noteUse(RSP << 3, true);
    if (kind === K.POP) noteUse(d, true);
    if (kind === K.LEAVE) noteUse(5 << 3, true);
    return;
  }
  if (isConditional(kind) || kind === K.JMP) return;
  if (kind === K.CDQ || kind === K.CQO) {
    noteUse(0, false);
    noteUse(2 << 3, true);
    return;
  }
  if (kind === K.SHIFT_CL) noteUse(1 << 3, false);
  noteUse(d, true);
  // Immediate forms have 0 here: RAX is then kept in a local without need.
  noteUse(s, kind === K.XCHG32 || kind === K.XCHG64);
}

// ---------------------------------------------------------------------------------------------------------------------
// Nodes

/** Translates a node and its way on. False when there is no room. */
export function translateNode(number: u32): bool {
  const n = node(number);
  const first = load<u32>(n, N_FIRST);
  const end = load<u32>(n, N_END);
  if (fellInto !== <i32>number || load<u16>(n, N_EDGES) !== 1 || load<u8>(n, N_ENTRY)) f.forgetFlags();
  fellInto = -1;
  forgetVectorChecks();
  const count: u32 = load<u16>(n, N_COUNT);
  beginNode(load<u8>(n, N_PAGE), count, load<u8>(first, U_INDEX));
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
    if (w.at + UOP_ROOM > limit) return false;
    const kind: i32 = load<u16>(p, U_KIND);
    if (isConditional(kind)) {
      translateConditional(p, kind, load<i16>(n, N_TAKEN));
    } else if (kind === K.JMP) {
      goOn(load<i16>(n, N_TAKEN), load<i64>(p, U_IMM));
      return true;
    } else if (kind === K.CALL || kind === K.CALLR) {
      translateCall(p, kind, load<i16>(n, N_TAKEN));
      return true;
    } else if (kind === K.RET || kind === K.RETI) {
      translateReturn(p, load<u8>(n, N_RETURNS) !== 0);
      return true;
    } else if (kind === K.JMPR) {
      pushRegister(load<u8>(p, U_S), 3);
      w.set(LOCAL_TARGET);
      checkCanonical(p);
      f.settleFlags();
      branchExit();
      return true;
    } else if (kind !== K.END) translateUop(p, kind, end);
  }
  goOn(load<i16>(n, N_FALL), offsetAfter(last));
  return true;
}

/** Goes on at a node of the region, or leaves for an offset of the page. */
function goOn(to: i32, offset: i64): void {
  if (to < 0) {
    leaveFor(offset);
    return;
  }
  f.settleFlags();
  if (changesPage(to)) checkPage(to);
  if (fallsTo(to)) fellInto = to;
  branch(to);
}

function translateConditional(p: u32, kind: i32, to: i32): void {
  if (to >= 0) {
    f.settleFlags();
    f.pushCondition(kind - K.JO);
    if (!changesPage(to)) branchIf(to);
    else {
      openIf();
      checkPage(to);
      branchAway(to);
      close();
    }
    return;
  }
  f.pushCondition(kind - K.JO);
  openIf();
  leaveFor(load<i64>(p, U_IMM));
  close();
}

/** Faults when LOCAL_TARGET is not canonical (48 bits). */
function checkCanonical(p: u32): void {
  w.get(LOCAL_TARGET);
  w.const64(16);
  w.byte(w.I64_SHL);
  w.const64(16);
  w.byte(w.I64_SHR_S);
  w.get(LOCAL_TARGET);
  w.byte(w.I64_NE);
  openIf();
  runInInterpreter(p);
  close();
}

/** Leaves so that the interpreter runs the micro-op's instruction; the registers are as before it. */
function runInInterpreter(p: u32): void {
  // The helper raises the fault and says so.
  storeRegisters();
  f.settleFlagsAside();
  w.const32(p);
  pushHere(0);
  callHelper(HELPER_RUN, TYPE_RUN);
  w.set(LOCAL_STATUS);
  leaveWithFault(p);
}

function translateCall(p: u32, kind: i32, to: i32): void {
  if (kind === K.CALLR) {
    pushRegister(load<u8>(p, U_S), 3);
    w.set(LOCAL_TARGET);
    checkCanonical(p);
  }
  pushHere(<i64>load<u16>(p, U_OFF) + <i64>load<u8>(p, U_LEN));
  w.set(LOCAL_VALUE);
  pushSlot();
  writeMemory(p, 3);
  commitPush();
  if (kind === K.CALLR) {
    f.settleFlags();
    branchExit();
  } else goOn(to, load<i64>(p, U_IMM));
}

function translateReturn(p: u32, inside: bool): void {
  w.get(LOCAL_GPR + RSP);
  readMemory(p, 3);
  w.set(LOCAL_TARGET);
  if (inside) {
    for (let i: u32 = 0; i < returnSites; i++) {
      const site = returnSite(i);
      w.get(LOCAL_TARGET);
      w.get(LOCAL_PAGE);
      w.const64(pageDistance(load<u8>(node(site), N_PAGE)) + load<u16>(node(site), N_OFFSET));
      w.byte(w.I64_ADD);
      w.byte(w.I64_EQ);
      openIf();
      moveStack(8);
      f.settleFlagsAside();
      if (changesPage(site)) checkPage(site);
      branchAway(site);
      close();
    }
  }
  checkCanonical(p);
  moveStack(8 + (load<u16>(p, U_KIND) === K.RETI ? load<i64>(p, U_IMM) : 0));
  f.settleFlags();
  branchExit();
}
