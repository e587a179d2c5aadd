/** A region as a WebAssembly function: locals, the registers that they hold, its nodes, its end. */
import { RAX, RBP, RCX, RDX, RSP } from '../cpu/state';
import {
  ADDRESS,
  AX_TO_DX,
  F,
  READS_CL,
  READS_D,
  READS_S,
  STACK,
  WRITES_D,
  WRITES_S,
  familyOf,
  kindProperties,
} from '../cpu/kinds';
import { UOP_SIZE, U_BASE, U_D, U_IDX, U_KIND, U_LINK, U_S } from '../cpu/uops';
import { R_JIT_BUDGET } from '../layout';
import { beginSites } from './exits';
import * as f from './flags';
import {
  FLOAT_LOCALS,
  I32_LOCALS,
  I64_LOCALS,
  LOCAL_BUDGET,
  LOCAL_SITE,
  V128_LOCALS,
  clearRegisterUse,
  loadRegisters,
  noteUse,
  storeLocal,
} from './locals';
import { N_END, N_FIRST, node, nodeCount } from './region';
import { emitFlow } from './structure';
import { beginTranslation } from './translate';
import { noteVectorRegisters } from './vector';
import { isFloat, isVectorInLine } from './vector-forms';
import * as w from './wasm';
import { findWays } from './ways';
import { isXInLine, xShiftsByCl } from './x-forms';

/** Writes the function (locals and code) of the region that buildRegion made. False when it does not fit. */
export function translateRegion(end: u32): bool {
  findWays();
  beginTranslation(end);
  noteRegisters();
  declareLocals();
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

function declareLocals(): void {
  w.byte(usesFloat ? 5 : 2);
  declare(I64_LOCALS, w.TYPE_I64);
  declare(I32_LOCALS, w.TYPE_I32);
  if (!usesFloat) return;
  declare(FLOAT_LOCALS, w.TYPE_F64);
  declare(FLOAT_LOCALS, w.TYPE_F32);
  declare(V128_LOCALS, w.TYPE_V128);
}

function declare(count: u32, type: u32): void {
  w.byte(count);
  w.byte(type);
}

let usesFloat: bool = false;

/** Which registers the region keeps in locals, and whether it needs some for floating point. */
function noteRegisters(): void {
  clearRegisterUse();
  usesFloat = false;
  for (let number: u32 = 0; number < nodeCount; number++) {
    const n = node(number);
    for (let p = load<u32>(n, N_FIRST); p < load<u32>(n, N_END); p += UOP_SIZE) noteRegistersOf(p);
  }
}

function noteRegistersOf(p: u32): void {
  const properties = kindProperties(load<u8>(p, U_KIND));
  switch (familyOf(properties)) {
    case F.X:
      if (isXInLine(p)) {
        noteUse(load<u8>(p, U_BASE));
        noteUse(load<u8>(p, U_IDX));
        noteUse(load<u8>(p, U_LINK));
        noteUse(load<u8>(p, U_D));
        noteUse(load<u8>(p, U_S));
        noteUse(RAX << 3);
        noteUse(RDX << 3);
        if (xShiftsByCl(p)) noteUse(RCX << 3);
      }
      return;
    case F.SIMD:
      if (!isVectorInLine(p)) return;
      noteVectorRegisters(p);
      if (isFloat(p)) usesFloat = true;
      return;
    case F.LEAVE:
      noteUse(RBP << 3);
  }
  if (properties & ADDRESS) {
    noteUse(load<u8>(p, U_BASE));
    noteUse(load<u8>(p, U_IDX));
  }
  if (properties & (READS_D | WRITES_D)) noteUse(load<u8>(p, U_D));
  if (properties & (READS_S | WRITES_S)) noteUse(load<u8>(p, U_S));
  if (properties & STACK) noteUse(RSP << 3);
  if (properties & READS_CL) noteUse(RCX << 3);
  if (properties & AX_TO_DX) {
    noteUse(RAX << 3);
    noteUse(RDX << 3);
  }
}
