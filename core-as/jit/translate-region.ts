/** A region as a WebAssembly function: locals, the registers that they hold, its nodes, its end. */
import { RAX, RBP, RCX, RDX, RSP } from '../cpu/state';
import { K, UOP_SIZE, U_BASE, U_D, U_IDX, U_KIND, U_LINK, U_S } from '../cpu/uops';
import { R_JIT_BUDGET } from '../layout';
import { beginSites } from './exits';
import * as f from './flags';
import { isConditional, isLoad, isRun, isStore } from './kinds';
import {
  I32_LOCALS,
  I64_LOCALS,
  LOCAL_BUDGET,
  LOCAL_SITE,
  clearRegisterUse,
  loadRegisters,
  noteUse,
  storeLocal,
} from './locals';
import { N_END, N_FIRST, node, nodeCount } from './region';
import { emitFlow } from './structure';
import { beginTranslation } from './translate';
import { noteVectorRegisters } from './vector';
import { isVectorInLine } from './vector-forms';
import * as w from './wasm';
import { isXInLine } from './x-forms';

/** Writes the function (locals and code) of the region that buildRegion made. False when it does not fit. */
export function translateRegion(end: u32): bool {
  beginTranslation(end);
  noteRegisters();
  w.byte(2);
  w.byte(I64_LOCALS);
  w.byte(w.TYPE_I64);
  w.byte(I32_LOCALS);
  w.byte(w.TYPE_I32);
  beginSites();
  loadRegisters();
  f.loadFlags();
  w.byte(w.BLOCK);
  w.byte(w.TYPE_VOID);
  if (!emitFlow()) return false;
  w.byte(w.END);
  f.storeFlags();
  storeLocal(LOCAL_BUDGET, R_JIT_BUDGET);
  w.get(LOCAL_SITE);
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
    if (kind === K.CALL_X) {
      if (!isXInLine(p)) return;
      noteUse(load<u8>(p, U_BASE));
      noteUse(load<u8>(p, U_IDX));
      noteUse(load<u8>(p, U_LINK));
      noteUse(d);
      noteUse(s);
      noteUse(RAX << 3);
      noteUse(RDX << 3);
    } else if (isVectorInLine(p)) noteVectorRegisters(p);
    return;
  }
  if (isLoad(kind) || isStore(kind) || kind === K.LEA32 || kind === K.LEA64 || kind === K.LEA_G) {
    noteUse(load<u8>(p, U_BASE));
    noteUse(load<u8>(p, U_IDX));
    noteUse(isStore(kind) ? s : d);
    return;
  }
  if ((kind >= K.JMPR && kind <= K.LEAVE) || kind === K.CALL) {
    if (kind === K.JMPR || kind === K.CALLR || kind === K.PUSH) noteUse(s);
    if (kind !== K.JMPR) noteUse(RSP << 3);
    if (kind === K.POP) noteUse(d);
    if (kind === K.LEAVE) noteUse(RBP << 3);
    return;
  }
  if (isConditional(kind) || kind === K.JMP) return;
  if (kind === K.CDQ || kind === K.CQO) {
    noteUse(0);
    noteUse(RDX << 3);
    return;
  }
  if (kind === K.SHIFT_CL) noteUse(RCX << 3);
  noteUse(d);
  // Immediate forms have 0 here: RAX is then kept in a local without need.
  noteUse(s);
}
