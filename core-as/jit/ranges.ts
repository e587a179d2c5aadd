/**
 * One check for several memory accesses.
 *
 * Within a node the translator numbers the values of registers: a value and a distance from it, so that `push`, `add rsp`, `lea` and `mov` keep
 * what is known. The first access at a value looks ahead: accesses at the same value make a range, which is checked once, as one access of
 * its size, and whose linear memory address then stays in a local. Such addresses are good until the end of the node: what changes
 * translations (INVLPG, CR3, a page that becomes code) runs in helpers, before which they are forgotten, or reaches this vCPU at a block boundary.
 */
import {
  AX_TO_DX,
  F,
  STACK,
  WRITES_D,
  WRITES_MEMORY,
  WRITES_S,
  familyOf,
  fromLog2,
  isRun,
  kindProperties,
  toLog2,
} from '../cpu/kinds';
import { RAX, RBP, RCX, RDI, RDX, RSI, RSP, cpu } from '../cpu/state';
import {
  K,
  REG_PAGE,
  REG_PAGE_HIGH,
  REG_ZERO,
  UOP_SIZE,
  U_BASE,
  U_D,
  U_DISP,
  U_IDX,
  U_IMM,
  U_KIND,
  U_LINK,
  U_S,
  U_SEG,
  X,
} from '../cpu/uops';
import { JIT_AHEAD, JIT_RANGES, JIT_RANGES_SIZE, JIT_VALUES, JIT_VALUES_SIZE, R_JIT, R_TEMP } from '../layout';
import { isNarrow, isPlain, slotBytes } from './address-width';
import { RANGES } from './locals';
import { inMemory, isVectorInLine, vectorBytes, vectorWritten } from './vector-forms';
import { isXInLine, xBytes, xHasOperand, xInMemory, xOf, xWrites } from './x-forms';

const VALUES: u32 = JIT_VALUES;
const AHEAD: u32 = JIT_AHEAD;
const RANGE_SIZE: u32 = 24;

/** Longest range in bytes: one that crosses into another page is never found in the TLB. */
const MAX_BYTES: i64 = 256;
/** Micro-ops that are looked at. */
const LOOK_AHEAD: u32 = 40;

/** Values that are no register's: the page of the running code, and 0. */
const VALUE_PAGE: u32 = 1;
const VALUE_ZERO: u32 = 2;

let nextValue: u32 = 0;
let ranges: u32 = 0;
let nextRange: u32 = 0;

// What describe() found of a micro-op's memory access.
export let accessBase: u32 = 0;
export let accessDisplacement: i64 = 0;
/** The address is base + displacement, flat, with the width of the code's addresses. */
let accessPlain: bool = false;
export let accessBytes: u32 = 0;
export let accessWrites: bool = false;

// @ts-ignore: decorator
@inline
function value(table: u32, n: u32): u32 {
  return cpu + R_JIT + table + (n << 4);
}

// @ts-ignore: decorator
@inline
function range(n: u32): u32 {
  return cpu + R_JIT + JIT_RANGES + n * RANGE_SIZE;
}

/** Nothing is known: a node begins that can be reached from several places. */
export function forgetValues(): void {
  nextValue = VALUE_ZERO + 1;
  for (let n: u32 = 0; n < 16; n++) fresh(VALUES, n);
  forgetRanges();
}

/** Something ran that may change translations. */
export function forgetRanges(): void {
  ranges = 0;
  nextRange = 0;
}

function fresh(table: u32, n: u32): void {
  store<u32>(value(table, n), nextValue++);
  store<i64>(value(table, n), 0, 8);
}

function freshAt(table: u32, offset: u32): void {
  if (offset < <u32>R_TEMP) fresh(table, offset >> 3);
}

function freshAll(table: u32): void {
  for (let n: u32 = 0; n < 16; n++) fresh(table, n);
}

function copyValue(table: u32, d: u32, s: u32, distance: i64): void {
  const number = load<u32>(value(table, s));
  const offset = load<i64>(value(table, s), 8) + distance;
  store<u32>(value(table, d), number);
  store<i64>(value(table, d), offset, 8);
}

function describeStack(bytes: i64, base: u32): void {
  accessBase = base << 3;
  accessDisplacement = bytes;
  accessPlain = true;
}

/** Finds out which memory a micro-op accesses in line. False: none. */
export function describe(p: u32): bool {
  const properties = kindProperties(load<u8>(p, U_KIND));
  accessWrites = (properties & WRITES_MEMORY) !== 0;
  accessBytes = 1 << toLog2(properties);
  switch (familyOf(properties)) {
    case F.LOAD:
      accessBytes = 1 << fromLog2(properties);
      describeOperand(p);
      return true;
    case F.STORE:
      describeOperand(p);
      return true;
    case F.X:
      if (!isXInLine(p) || !xHasOperand(p) || !xInMemory(p)) return false;
      accessWrites = xWrites(p);
      accessBytes = xBytes(p);
      describeOperand(p);
      return true;
    case F.SIMD:
      if (!inMemory(p) || !isVectorInLine(p)) return false;
      accessBytes = vectorBytes(p);
      describeOperand(p);
      return true;
    case F.LEAVE:
      describeStack(0, RBP);
      return true;
  }
  if (!(properties & STACK)) return false;
  describeStack(accessWrites ? -slotBytes() : 0, RSP);
  return true;
}

function describeOperand(p: u32): void {
  accessBase = load<u8>(p, U_BASE);
  accessDisplacement = load<i32>(p, U_DISP);
  accessPlain = isPlain(load<u8>(p, U_SEG)) && load<u8>(p, U_IDX) === <u8>REG_ZERO;
}

/** Value and distance of the address that describe() found. False when it cannot be told. */
function addressValue(table: u32): bool {
  if (!accessPlain) return false;
  foundOffset = accessDisplacement;
  if (accessBase < <u32>R_TEMP) {
    const at = value(table, accessBase >> 3);
    foundValue = load<u32>(at);
    foundOffset += load<i64>(at, 8);
    return true;
  }
  if (accessBase === REG_PAGE || accessBase === REG_PAGE_HIGH) {
    foundValue = VALUE_PAGE;
    if (accessBase === REG_PAGE_HIGH) foundOffset += 0x80000000;
    return true;
  }
  foundValue = VALUE_ZERO;
  return accessBase === REG_ZERO;
}
let foundValue: u32 = 0;
let foundOffset: i64 = 0;

/** Distance of the access that findRange() found from the first byte of its range. */
export let rangeOffset: u32 = 0;

/** The range that holds the access that describe() found, or -1. */
export function findRange(): i32 {
  if (!addressValue(VALUES)) return -1;
  for (let n: u32 = 0; n < ranges; n++) {
    const at = range(n);
    if (load<u32>(at) !== foundValue || (accessWrites && !load<u32>(at, 4))) continue;
    if (foundOffset < load<i64>(at, 8) || foundOffset + accessBytes > load<i64>(at, 16)) continue;
    rangeOffset = <u32>(foundOffset - load<i64>(at, 8));
    return n;
  }
  return -1;
}

/** Bytes of the range that planRange() made, and its distance from the access. */
export let plannedBytes: u32 = 0;
export let plannedWrites: bool = false;
export let plannedDistance: i64 = 0;

/** Makes a range of the access of `p`, which describe() found, and those that follow up to `end`. Returns its number; -1: there are no others. */
export function planRange(p: u32, end: u32): i32 {
  if (!addressValue(VALUES)) return -1;
  const wanted = foundValue;
  const own = foundOffset;
  let first = own;
  let last = own + accessBytes;
  let writes = accessWrites;
  let accesses: u32 = 1;
  const base = accessBase;
  const displacement = accessDisplacement;
  const bytes = accessBytes;
  const writesOwn = accessWrites;
  memory.copy(value(AHEAD, 0), value(VALUES, 0), JIT_VALUES_SIZE);
  const before = nextValue;
  let q = p;
  for (let n: u32 = 0; n < LOOK_AHEAD; n++) {
    stepIn(AHEAD, q);
    q += UOP_SIZE;
    if (q >= end) break;
    if (isRun(load<u8>(q, U_KIND)) && !isInLine(q)) break;
    if (!describe(q) || !addressValue(AHEAD) || foundValue !== wanted) continue;
    const from = min<i64>(first, foundOffset);
    const to = max<i64>(last, foundOffset + accessBytes);
    if (to - from > MAX_BYTES) continue;
    first = from;
    last = to;
    if (accessWrites) writes = true;
    accesses++;
  }
  nextValue = before;
  accessBase = base;
  accessDisplacement = displacement;
  accessBytes = bytes;
  accessWrites = writesOwn;
  if (accesses < 2) return -1;
  plannedBytes = <u32>(last - first);
  plannedWrites = writes;
  plannedDistance = first - own;
  rangeOffset = <u32>(own - first);
  const n = nextRange;
  nextRange = nextRange + 1 < RANGES ? nextRange + 1 : 0;
  ranges = max<u32>(ranges, n + 1);
  const at = range(n);
  store<u32>(at, wanted);
  store<u32>(at, u32(writes), 4);
  store<i64>(at, first, 8);
  store<i64>(at, last, 16);
  return n;
}

/** A micro-op of F.X or F.SIMD is translated, and not run by a helper. */
export function isInLine(p: u32): bool {
  return <i32>load<u8>(p, U_KIND) === K.CALL_X ? isXInLine(p) : isVectorInLine(p);
}

/** A micro-op has been translated. */
export function stepValues(p: u32): void {
  stepIn(VALUES, p);
}

function stepIn(table: u32, p: u32): void {
  const kind: i32 = load<u8>(p, U_KIND);
  const properties = kindProperties(kind);
  const d: u32 = load<u8>(p, U_D);
  switch (familyOf(properties)) {
    case F.X:
      if (!isInLine(p)) freshAll(table);
      else {
        // What any of them writes.
        fresh(table, RAX);
        fresh(table, RDX);
        freshAt(table, d);
        freshAt(table, load<u8>(p, U_S));
        freshX(table, p);
      }
      return;
    case F.SIMD:
      if (!isInLine(p)) freshAll(table);
      else freshAt(table, vectorWritten(p));
      return;
    case F.LEAVE:
      copyValue(table, RSP, RBP, slotBytes());
      fresh(table, RBP);
      return;
  }
  if (properties & STACK) copyValue(table, RSP, RSP, properties & WRITES_MEMORY ? -slotBytes() : slotBytes());
  if (properties & AX_TO_DX) fresh(table, RDX);
  if (properties & WRITES_S) freshAt(table, load<u8>(p, U_S));
  if (!(properties & WRITES_D) || d >= <u32>R_TEMP) return;
  const from = copiedFrom(p, kind);
  if (from < <u32>R_TEMP) copyValue(table, d >> 3, from >> 3, copiedDistance);
  else fresh(table, d >> 3);
}

/** Registers that only some of the instructions write. */
function freshX(table: u32, p: u32): void {
  switch (xOf(p)) {
    case X.BLSR:
    case X.BLSMSK:
    case X.BLSI:
    case X.MULX:
      freshAt(table, load<u32>(p, U_LINK));
      return;
    case X.MOVS:
    case X.STOS:
      fresh(table, RCX);
      fresh(table, RSI);
      fresh(table, RDI);
  }
}

/** The register that U_D is a distance from after the micro-op, as far as addresses go; REG_ZERO: none. */
function copiedFrom(p: u32, kind: i32): u32 {
  copiedDistance = 0;
  // Of values in narrow code 32 bits matter.
  if (isNarrow) kind = wideKind(kind);
  switch (kind) {
    case K.MOV64:
      return load<u8>(p, U_S);
    case K.LEA64:
      if (load<u8>(p, U_IDX) !== <u8>REG_ZERO) return REG_ZERO;
      copiedDistance = load<i32>(p, U_DISP);
      return load<u8>(p, U_BASE);
    case K.ADDI64:
      copiedDistance = load<i64>(p, U_IMM);
      return load<u8>(p, U_D);
    case K.SUBI64:
      copiedDistance = -load<i64>(p, U_IMM);
      return load<u8>(p, U_D);
    case K.INC64:
      copiedDistance = 1;
      return load<u8>(p, U_D);
    case K.DEC64:
      copiedDistance = -1;
      return load<u8>(p, U_D);
    default:
      return REG_ZERO;
  }
}
let copiedDistance: i64 = 0;

function wideKind(kind: i32): i32 {
  switch (kind) {
    case K.MOV32:
      return K.MOV64;
    case K.LEA32:
      return K.LEA64;
    case K.ADDI32:
      return K.ADDI64;
    case K.SUBI32:
      return K.SUBI64;
    case K.INC32:
      return K.INC64;
    case K.DEC32:
      return K.DEC64;
    default:
      return kind;
  }
}

assert(RANGES * RANGE_SIZE <= <u32>JIT_RANGES_SIZE);
assert(MAX_BYTES < 0x1000, 'a range lies in one page or in two, and then misses the TLB');
