/** String instructions (SDM vol. 2, MOVS CMPS STOS LODS SCAS INS OUTS), with REP runs inside a page done in bulk. */
import { R_PENDING, R_RFLAGS } from '../layout';
import { readPointer, writePointer } from '../mmu/tlb';
import { aluSized } from './alu';
import { zero } from './flags';
import { ioAllowed, portIn, portOut } from './io';
import { addressMask, linearAddress, readLinear, readRegister, rmwBegin, writeLinear } from './operand';
import {
  ES,
  FAULTED,
  FLAG_DF,
  RAX,
  RCX,
  RDI,
  RDX,
  RSI,
  clearFault,
  cpu,
  debuggerSteps,
  faulted,
  gpr,
  mustStep,
  setGpr,
  setGprSized,
} from './state';
import { BULK_BYTES, WORK_ELEMENT, charge } from './work';
import { SUB_REP, SUB_REPNE, U_SEG, U_SUB, X } from './uops';

function advance(n: u32, mask: u64, by: u64): void {
  const value = (gpr(n) + by) & mask;
  setGpr(n, mask === 0xffff ? (gpr(n) & ~mask) | value : value);
}

function setCount(mask: u64, value: u64): void {
  setGpr(RCX, mask === 0xffff ? (gpr(RCX) & ~mask) | value : value);
}

/**
 * Executes a string instruction. Returns true when it is complete, false when a repeated one has more to do (its registers are at the
 * next element) or a fault was raised.
 */
export function stringInstruction(p: u32, size: u32, x: u32): bool {
  const seg: u32 = load<u8>(p, U_SEG);
  const mask = addressMask(seg);
  const repeat = load<u32>(p, U_SUB) & (SUB_REP | SUB_REPNE);
  const backwards = (load<u32>(cpu, R_RFLAGS) & FLAG_DF) !== 0;
  const step: u64 = backwards ? 0 - <u64>size : size;
  if (x === X.INS || x === X.OUTS) {
    if (!ioAllowed((<u32>gpr(RDX)) & 0xffff, size)) return false;
  }
  if (!repeat) {
    element(seg & 7, mask, size, x, step);
    return !(faulted & FAULTED);
  }
  let count = gpr(RCX) & mask;
  // A repeat count of zero clears the upper half of RCX with 32-bit addresses, as counting down to it does.
  if (!count) setCount(mask, 0);
  const stepped = mustStep || debuggerSteps;
  while (count) {
    if ((x === X.MOVS || x === X.STOS) && !stepped) {
      const done =
        x === X.MOVS ? bulkMove(seg & 7, mask, size, count, backwards) : bulkStore(mask, size, count, backwards);
      if (faulted & FAULTED) return false;
      if (done) {
        count -= done;
        setCount(mask, count);
        charge(1 + (<u32>done * size) / BULK_BYTES);
        if (load<u32>(cpu, R_PENDING)) break;
        continue;
      }
    }
    element(seg & 7, mask, size, x, step);
    if (faulted & FAULTED) return false;
    count--;
    setCount(mask, count);
    if (x === X.CMPS || x === X.SCAS) {
      if (zero(cpu) !== (repeat === SUB_REP ? 1 : 0)) return true;
    }
    charge(WORK_ELEMENT);
    // A store that changed code must be seen before the next instruction; what is pending, between two elements; every iteration of a
    // program that is stepped ends with a trap.
    if (faulted || stepped || load<u32>(cpu, R_PENDING)) break;
  }
  return count === 0;
}

function element(seg: u32, mask: u64, size: u32, x: u32, step: u64): void {
  switch (x) {
    case X.MOVS: {
      const from = linearAddress(seg, gpr(RSI) & mask, size, false);
      if (faulted & FAULTED) return;
      const value = readLinear(from, size);
      if (faulted & FAULTED) return;
      const to = linearAddress(ES, gpr(RDI) & mask, size, true);
      if (faulted & FAULTED) return;
      writeLinear(to, size, value);
      if (faulted & FAULTED) return;
      advance(RSI, mask, step);
      advance(RDI, mask, step);
      break;
    }
    case X.CMPS: {
      // The second operand first, as the processors do that the vectors come from: it decides which page fault comes.
      const other = linearAddress(ES, gpr(RDI) & mask, size, false);
      if (faulted & FAULTED) return;
      const b = readLinear(other, size);
      if (faulted & FAULTED) return;
      const from = linearAddress(seg, gpr(RSI) & mask, size, false);
      if (faulted & FAULTED) return;
      const a = readLinear(from, size);
      if (faulted & FAULTED) return;
      aluSized(7, a, b, size);
      advance(RSI, mask, step);
      advance(RDI, mask, step);
      break;
    }
    case X.STOS: {
      const to = linearAddress(ES, gpr(RDI) & mask, size, true);
      if (faulted & FAULTED) return;
      writeLinear(to, size, readRegister(RAX, size));
      if (faulted & FAULTED) return;
      advance(RDI, mask, step);
      break;
    }
    case X.LODS: {
      const from = linearAddress(seg, gpr(RSI) & mask, size, false);
      if (faulted & FAULTED) return;
      const value = readLinear(from, size);
      if (faulted & FAULTED) return;
      setGprSized(RAX, size, value);
      advance(RSI, mask, step);
      break;
    }
    case X.SCAS: {
      const other = linearAddress(ES, gpr(RDI) & mask, size, false);
      if (faulted & FAULTED) return;
      const b = readLinear(other, size);
      if (faulted & FAULTED) return;
      aluSized(7, readRegister(RAX, size), b, size);
      advance(RDI, mask, step);
      break;
    }
    case X.INS: {
      const to = linearAddress(ES, gpr(RDI) & mask, size, true);
      if (faulted & FAULTED) return;
      // The port must not be read when the store would fault.
      rmwBegin(to, size);
      if (faulted & FAULTED) return;
      writeLinear(to, size, portIn((<u32>gpr(RDX)) & 0xffff, size));
      if (faulted & FAULTED) return;
      advance(RDI, mask, step);
      break;
    }
    default: {
      const from = linearAddress(seg, gpr(RSI) & mask, size, false);
      if (faulted & FAULTED) return;
      const value = readLinear(from, size);
      if (faulted & FAULTED) return;
      portOut((<u32>gpr(RDX)) & 0xffff, size, <u32>value);
      advance(RSI, mask, step);
    }
  }
}

/**
 * Elements from an offset up to the end of its page (of a linear address) and to the wrap of the address size; backwards, those down to the page's
 * beginning and to offset 0. 0 when the first one lies in two pages.
 */
function elementsToEdge(linear: u64, offset: u64, mask: u64, size: u32, backwards: bool): u64 {
  const room = 0x1000 - (linear & 0xfff);
  if (room < size) return 0;
  const page = backwards ? (linear & 0xfff) / size + 1 : room / size;
  if (mask === u64.MAX_VALUE) return page;
  return min<u64>(page, backwards ? offset / size + 1 : (mask - offset + 1) / size);
}

/** As many elements of a MOVS as lie in one page at both ends; 0 when it must go element by element. */
function bulkMove(seg: u32, mask: u64, size: u32, count: u64, backwards: bool): u64 {
  const fromOffset = gpr(RSI) & mask;
  const toOffset = gpr(RDI) & mask;
  const from = linearAddress(seg, fromOffset, size, false);
  const to = linearAddress(ES, toOffset, size, true);
  if (faulted & FAULTED) return 0;
  let n = min<u64>(
    elementsToEdge(from, fromOffset, mask, size, backwards),
    elementsToEdge(to, toOffset, mask, size, backwards),
  );
  n = min<u64>(n, count);
  if (n < 2) return 0;
  const bytes = <u32>n * size;
  // From the first element down to the lowest one.
  const down: u64 = backwards ? bytes - size : 0;
  linearAddress(seg, fromOffset - down, bytes, false);
  linearAddress(ES, toOffset - down, bytes, true);
  if (faulted & FAULTED) return outsideSegment();
  // Asked for by the first element's address, which a page fault reports.
  const firstSource = readPointer(from);
  if (!firstSource) return 0;
  const firstTarget = writePointer(to);
  if (!firstTarget) return 0;
  const source = firstSource - <u32>down;
  const target = firstTarget - <u32>down;
  // A copy onto what it has still to read repeats the bytes between the two addresses; memory.copy would not.
  const ahead: u32 = backwards ? source - target : target - source;
  if (ahead && ahead < bytes) return 0;
  memory.copy(target, source, bytes);
  const by: u64 = backwards ? 0 - <u64>bytes : bytes;
  advance(RSI, mask, by);
  advance(RDI, mask, by);
  return n;
}

function bulkStore(mask: u64, size: u32, count: u64, backwards: bool): u64 {
  const offset = gpr(RDI) & mask;
  const to = linearAddress(ES, offset, size, true);
  if (faulted & FAULTED) return 0;
  const n = min<u64>(elementsToEdge(to, offset, mask, size, backwards), count);
  if (n < 2) return 0;
  const bytes = <u32>n * size;
  const down: u64 = backwards ? bytes - size : 0;
  linearAddress(ES, offset - down, bytes, true);
  if (faulted & FAULTED) return outsideSegment();
  const first = writePointer(to);
  if (!first) return 0;
  const target = first - <u32>down;
  const value = readRegister(RAX, size);
  const byte = value & 0xff;
  const uniform = value === (byte * 0x0101010101010101) >> (64 - (size << 3));
  if (uniform) memory.fill(target, <u8>byte, bytes);
  else if (size === 8) for (let i: u32 = 0; i < bytes; i += 8) store<u64>(target + i, value);
  else if (size === 4) for (let i: u32 = 0; i < bytes; i += 4) store<u32>(target + i, <u32>value);
  else for (let i: u32 = 0; i < bytes; i += 2) store<u16>(target + i, <u16>value);
  advance(RDI, mask, backwards ? 0 - <u64>bytes : bytes);
  return n;
}

/** The run leaves its segment somewhere: the element that does will raise the fault. */
function outsideSegment(): u64 {
  clearFault();
  return 0;
}
