/** Memory and register operands outside the interpreter's fast paths: segmentation, modrm.rm, read-modify-write. */
import { probeRead, probeWrite, slowRead, slowWrite, tlbEntry, writePointer } from '../mmu/tlb';
import { E_LINEAR, TLB_WRITE, tlbBank } from '../mmu/banks';
import {
  ACCESS_DB,
  ACCESS_UNUSABLE,
  CS,
  FAULTED,
  FS,
  faultAddress,
  gpr,
  RSP,
  MODE_64,
  MODE_FLAT,
  SS,
  VECTOR_GP,
  VECTOR_SS,
  cpu,
  csBase,
  faulted,
  mode,
  protectedMode,
  raiseCode,
  segment,
} from './state';
import { SEG_ACCESS, SEG_BASE, SEG_LIMIT } from '../layout';
import { F, STACK, familyOf, kindProperties } from './kinds';
import {
  SEG_A16,
  SEG_A32,
  SEG_REGISTER,
  U_BASE,
  U_D,
  U_DISP,
  U_IDX,
  U_KIND,
  U_S,
  U_SCALE,
  U_SEG,
  U_SUB,
  X,
} from './uops';

// ---------------------------------------------------------------------------------------------------------------------
// Addresses

/** Effective address (offset in its segment) of a micro-op's memory operand, cut to the address size. */
export function effectiveAddress(p: u32): u64 {
  const ea =
    load<u64>(cpu + load<u8>(p, U_BASE)) +
    (load<u64>(cpu + load<u8>(p, U_IDX)) << (<u64>load<u8>(p, U_SCALE))) +
    <u64>(<i64>load<i32>(p, U_DISP));
  return cutAddress(ea, load<u8>(p, U_SEG));
}

/** Applies an address size (the bits of U_SEG). */
// @ts-ignore: decorator
@inline
export function cutAddress(ea: u64, seg: u32): u64 {
  const size = seg & 0x30;
  return size === SEG_A32 ? ea & 0xffffffff : size === SEG_A16 ? ea & 0xffff : ea;
}

/** Mask of an address size. */
// @ts-ignore: decorator
@inline
export function addressMask(seg: u32): u64 {
  const size = seg & 0x30;
  return size === SEG_A32 ? 0xffffffff : size === SEG_A16 ? 0xffff : u64.MAX_VALUE;
}

/** Linear address of a micro-op's memory operand; raises #GP or #SS when the segment forbids the access. */
export function segmentedOperand(p: u32, sizeBytes: u32, write: bool): u64 {
  return linearAddress(load<u8>(p, U_SEG) & 7, effectiveAddress(p), sizeBytes, write);
}

/** Linear address of an offset in a segment, after the checks of SDM vol. 3, 5.3-5.5. */
export function linearAddress(seg: u32, offset: u64, sizeBytes: u32, write: bool): u64 {
  if (mode === MODE_64) return seg >= FS ? load<u64>(segment(seg), SEG_BASE) + offset : offset;
  // Flat segments let everything pass but what crosses their end, and writes to code.
  if (mode === MODE_FLAT && seg < FS && !(write && seg === CS) && offset + sizeBytes <= 0x100000000) return offset;
  const s = segment(seg);
  const access = load<u32>(s, SEG_ACCESS);
  if (protectedMode) {
    let bad = (access & ACCESS_UNUSABLE) !== 0;
    if (access & 8) bad = bad || write || !(access & 2);
    else bad = bad || (write && !(access & 2));
    if (bad) {
      segmentFault(seg);
      return 0;
    }
  }
  return withinLimit(seg, offset, sizeBytes);
}

/** Linear address of an offset outside 64-bit mode, after the check of the segment's limit alone. */
function withinLimit(seg: u32, offset: u64, sizeBytes: u32): u64 {
  const s = segment(seg);
  const access = load<u32>(s, SEG_ACCESS);
  const limit: u64 = load<u32>(s, SEG_LIMIT);
  const last = offset + sizeBytes - 1;
  // Expand-down data segments are valid above the limit.
  const outside =
    (access & 0xc) === 4 && protectedMode
      ? offset <= limit || last > (access & ACCESS_DB ? 0xffffffff : 0xffff)
      : last > limit;
  if (outside) {
    segmentFault(seg);
    return 0;
  }
  return (load<u64>(s, SEG_BASE) + offset) & 0xffffffff;
}

function segmentFault(seg: u32): void {
  raiseCode(seg === SS ? VECTOR_SS : VECTOR_GP, 0);
}

/** Outside 64-bit mode: true, with #GP(0) raised, when the linear address of an instruction is beyond CS's limit. */
export function segmentLimitFault(target: u64): bool {
  if (((target - csBase) & 0xffffffff) <= <u64>load<u32>(segment(CS), SEG_LIMIT)) return false;
  raiseCode(VECTOR_GP, 0);
  return true;
}

/** True when the fault in flight, at a non-canonical address, came from a stack reference of the micro-op. */
export function faultedOnStack(p: u32): bool {
  const properties = kindProperties(load<u8>(p, U_KIND));
  if (properties & STACK) return true;
  if (familyOf(properties) === F.X) {
    const x = load<u32>(p, U_SUB) & 0xffff;
    if (x === X.ENTER || x === X.LEAVE) return true;
    // These have a memory operand and a stack reference; of all others the operand's segment decides.
    if (x >= <u32>X.PUSH_RM && x <= <u32>X.IRET && faultAddress - gpr(RSP) + 256 < 512) return true;
  }
  return (load<u8>(p, U_SEG) & 0x87) === SS;
}

// ---------------------------------------------------------------------------------------------------------------------
// Reads and writes by size

/** Reads 1, 2, 4 or 8 bytes at a linear address. */
export function readLinear(address: u64, sizeBytes: u32): u64 {
  const e = tlbEntry(tlbBank, address);
  if (load<u64>(e) === ((address + sizeBytes - 1) & ~0xfff)) {
    const q = load<u32>(e, E_LINEAR) + <u32>address;
    return sizeBytes === 8
      ? load<u64>(q)
      : sizeBytes === 4
        ? load<u32>(q)
        : sizeBytes === 2
          ? load<u16>(q)
          : load<u8>(q);
  }
  return slowRead(address, sizeBytes);
}

/** Writes 1, 2, 4 or 8 bytes at a linear address. */
export function writeLinear(address: u64, sizeBytes: u32, value: u64): void {
  const e = tlbEntry(tlbBank, address) + TLB_WRITE;
  if (load<u64>(e) === ((address + sizeBytes - 1) & ~0xfff)) {
    const q = load<u32>(e, E_LINEAR) + <u32>address;
    if (sizeBytes === 8) store<u64>(q, value);
    else if (sizeBytes === 4) store<u32>(q, <u32>value);
    else if (sizeBytes === 2) store<u16>(q, <u16>value);
    else store<u8>(q, <u8>value);
  } else slowWrite(address, sizeBytes, value);
}

// @ts-ignore: decorator
@inline
export function rmIsRegister(p: u32): bool {
  return (load<u8>(p, U_SEG) & SEG_REGISTER) !== 0;
}

/** Reads a register (byte offset) of a size. */
export function readRegister(offset: u32, sizeBytes: u32): u64 {
  const q = cpu + offset;
  return sizeBytes === 8 ? load<u64>(q) : sizeBytes === 4 ? load<u32>(q) : sizeBytes === 2 ? load<u16>(q) : load<u8>(q);
}

/** Writes a register (byte offset) as an instruction of that operand size does. */
export function writeRegister(offset: u32, sizeBytes: u32, value: u64): void {
  const q = cpu + offset;
  if (sizeBytes === 8) store<u64>(q, value);
  else if (sizeBytes === 4) store<u64>(q, value & 0xffffffff);
  else if (sizeBytes === 2) store<u16>(q, <u16>value);
  else store<u8>(q, <u8>value);
}

/** Reads modrm.rm. Check `faulted` afterwards. */
export function readRm(p: u32, sizeBytes: u32): u64 {
  if (rmIsRegister(p)) return readRegister(load<u8>(p, U_S), sizeBytes);
  const a = segmentedOperand(p, sizeBytes, false);
  if (faulted & FAULTED) return 0;
  return readLinear(a, sizeBytes);
}

/**
 * CLFLUSH, CLFLUSHOPT, CLWB: the permission checks of a load, without the load, which a device would notice. Execute-only code is no
 * obstacle (SDM vol. 2, CLFLUSH).
 */
export function touchLine(p: u32): void {
  const seg: u32 = load<u8>(p, U_SEG) & 7;
  const executeOnly =
    protectedMode && mode !== MODE_64 && (load<u32>(segment(seg), SEG_ACCESS) & (ACCESS_UNUSABLE | 0xa)) === 8;
  const address = executeOnly ? withinLimit(seg, effectiveAddress(p), 1) : segmentedOperand(p, 1, false);
  if (!(faulted & FAULTED)) probeRead(address);
}

/** Writes modrm.rm. */
export function writeRm(p: u32, sizeBytes: u32, value: u64): void {
  if (rmIsRegister(p)) {
    writeRegister(load<u8>(p, U_S), sizeBytes, value);
    return;
  }
  const a = segmentedOperand(p, sizeBytes, true);
  if (faulted & FAULTED) return;
  writeLinear(a, sizeBytes, value);
}

/** modrm.reg's value. */
export function readReg(p: u32, sizeBytes: u32): u64 {
  return readRegister(load<u8>(p, U_D), sizeBytes);
}

export function writeReg(p: u32, sizeBytes: u32, value: u64): void {
  writeRegister(load<u8>(p, U_D), sizeBytes, value);
}

// ---------------------------------------------------------------------------------------------------------------------
// Read-modify-write

/** Where rmwBegin read: linear memory (direct stores), or 0 with the address in rmwAddress. */
export let rmwPointer: u32 = 0;
export let rmwAddress: u64 = 0;

export function setRmwPointer(value: u32): void {
  rmwPointer = value;
}

/** Reads memory that will be written back: every fault of the write is raised here. */
export function rmwBegin(address: u64, sizeBytes: u32): u64 {
  rmwPointer = 0;
  rmwAddress = address;
  if (((<u32>address) & 0xfff) + sizeBytes <= 0x1000) {
    const q = writePointer(address);
    if (faulted & FAULTED) return 0;
    if (q) {
      rmwPointer = q;
      return sizeBytes === 8
        ? load<u64>(q)
        : sizeBytes === 4
          ? load<u32>(q)
          : sizeBytes === 2
            ? load<u16>(q)
            : load<u8>(q);
    }
  }
  if (!probeWrite(address, sizeBytes)) return 0;
  return slowRead(address, sizeBytes);
}

/** Writes back what rmwBegin read. */
export function rmwEnd(sizeBytes: u32, value: u64): void {
  const q = rmwPointer;
  if (!q) slowWrite(rmwAddress, sizeBytes, value);
  else if (sizeBytes === 8) store<u64>(q, value);
  else if (sizeBytes === 4) store<u32>(q, <u32>value);
  else if (sizeBytes === 2) store<u16>(q, <u16>value);
  else store<u8>(q, <u8>value);
}

/** rmwBegin for modrm.rm, register or memory. */
export function rmwBeginRm(p: u32, sizeBytes: u32): u64 {
  if (rmIsRegister(p)) {
    rmwPointer = cpu + load<u8>(p, U_S);
    return readRegister(load<u8>(p, U_S), sizeBytes);
  }
  const a = segmentedOperand(p, sizeBytes, true);
  if (faulted & FAULTED) return 0;
  return rmwBegin(a, sizeBytes);
}

/** rmwEnd for modrm.rm. */
export function rmwEndRm(p: u32, sizeBytes: u32, value: u64): void {
  if (rmIsRegister(p)) writeRegister(load<u8>(p, U_S), sizeBytes, value);
  else rmwEnd(sizeBytes, value);
}
