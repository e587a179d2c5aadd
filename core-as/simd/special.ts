/** Instructions that access memory element by element: masked moves and gathers (SDM Vol. 2 VPMASKMOV, VPGATHERxx, MASKMOVDQU). */
import { accessFaulted, simdLoad, simdStore } from '../cpu/access';
import { checkWritable } from '../cpu/block-access';
import { mmxBegin, mmxRegister } from '../fpu/mmx';
import { RESULT, ymm } from './float';
import * as op from './operations';
import { EXECUTE_VEX_L, SIMD_FAULT, SIMD_OK, SIMD_UD } from './status';

/** Bytes of `data` whose mask byte is negative go to memory, lowest first. */
function storeMaskedBytes(cpu: u32, data: u32, mask: u32, count: u32, address: u64): i32 {
  for (let i: u32 = 0; i < count; ++i) {
    if (load<i8>(mask + i) >= 0) continue;
    simdStore(cpu, address + i, 1, load<u8>(data + i));
    if (accessFaulted()) return SIMD_FAULT;
  }
  return SIMD_OK;
}

/** VMASKMOVPx, VPMASKMOVx: elements whose mask is not negative are neither accessed nor able to fault. */
function moveMasked(cpu: u32, operation: u32, reg: u32, vvvv: u32, wide: bool, address: u64): i32 {
  const isStore = operation === op.OP_VMASKMOVPS_STORE || operation === op.OP_VMASKMOVPD_STORE;
  const isDouble = operation === op.OP_VMASKMOVPD_LOAD || operation === op.OP_VMASKMOVPD_STORE;
  const size: u32 = isDouble ? 8 : 4;
  const bytes: u32 = wide ? 32 : 16;
  const register = ymm(cpu, reg);
  const mask = ymm(cpu, vvvv);
  const result = cpu + RESULT;
  v128.store(result, i32x4.splat(0));
  v128.store(result, i32x4.splat(0), 16);
  // Nothing is stored when any element faults.
  for (let at: u32 = 0; isStore && at < bytes; at += size) {
    if (load<i8>(mask + at + size - 1) < 0 && !checkWritable(address + at, size)) return SIMD_FAULT;
  }
  for (let at: u32 = 0; at < bytes; at += size) {
    // The element's top byte carries the mask.
    if (load<i8>(mask + at + size - 1) >= 0) continue;
    if (isStore) {
      simdStore(cpu, address + at, size, isDouble ? load<u64>(register + at) : load<u32>(register + at));
      if (accessFaulted()) return SIMD_FAULT;
    } else {
      const value = simdLoad(cpu, address + at, size);
      if (accessFaulted()) return SIMD_FAULT;
      if (isDouble) store<u64>(result + at, value);
      else store<u32>(result + at, <u32>value);
    }
  }
  if (!isStore) {
    v128.store(register, v128.load(result));
    v128.store(register, v128.load(result, 16), 16);
  }
  return SIMD_OK;
}

/** Gathers: each element done clears its mask, so that the instruction resumes after a fault where it stopped. */
function gather(
  cpu: u32,
  operation: u32,
  reg: u32,
  vvvv: u32,
  wide: bool,
  base: u64,
  indexRegister: u32,
  scale: u32,
  displacement: i32,
  addressMask: u64,
): i32 {
  if (reg === vvvv || reg === indexRegister || vvvv === indexRegister) return SIMD_UD;
  const wideIndex = operation === op.OP_VPGATHERQD || operation === op.OP_VPGATHERQQ;
  const wideData = operation === op.OP_VPGATHERDQ || operation === op.OP_VPGATHERQQ;
  const size: u32 = wideData ? 8 : 4;
  const elements: u32 = (wide ? 32 : 16) / (wideIndex || wideData ? 8 : 4);
  const register = ymm(cpu, reg);
  const mask = ymm(cpu, vvvv);
  const indices = ymm(cpu, indexRegister);
  for (let i: u32 = 0; i < elements; ++i) {
    const at = i * size;
    if (load<i8>(mask + at + size - 1) >= 0) {
      // Not selected, and done: its mask is clear when a later element faults.
      if (wideData) store<u64>(mask + at, 0);
      else store<u32>(mask + at, 0);
      continue;
    }
    const index = wideIndex ? load<i64>(indices + (i << 3)) : <i64>load<i32>(indices + (i << 2));
    const address = (base + <u64>(index * <i64>scale) + <u64>(<i64>displacement)) & addressMask;
    const value = simdLoad(cpu, address, size);
    if (accessFaulted()) return SIMD_FAULT;
    if (wideData) {
      store<u64>(register + at, value);
      store<u64>(mask + at, 0);
    } else {
      store<u32>(register + at, <u32>value);
      store<u32>(mask + at, 0);
    }
  }
  memory.fill(mask, 0, 32);
  const written = elements * size;
  memory.fill(register + written, 0, 32 - written);
  return SIMD_OK;
}

/**
 * Executes an operation of size code SIMD_SIZE_SPECIAL. `baseAddress` includes the segment's base; for masked moves it is the whole
 * linear address. `scale` is the factor 1, 2, 4 or 8. `flags` are EXECUTE_*.
 */
export function simdExecuteSpecial(
  cpu: u32,
  operation: u32,
  reg: u32,
  rm: u32,
  vvvv: u32,
  flags: u32,
  baseAddress: u64,
  indexRegister: u32,
  scale: u32,
  displacement: i32,
  addressMask: u64,
): i32 {
  const wide: bool = (flags & EXECUTE_VEX_L) !== 0;
  switch (operation) {
    case op.OP_MASKMOVDQU:
      return storeMaskedBytes(cpu, ymm(cpu, reg), ymm(cpu, rm), 16, baseAddress);
    case op.OP_MMX + op.OP_MASKMOVDQU:
      mmxBegin(cpu);
      return storeMaskedBytes(cpu, mmxRegister(cpu, reg), mmxRegister(cpu, rm), 8, baseAddress);
    case op.OP_VMASKMOVPS_LOAD:
    case op.OP_VMASKMOVPD_LOAD:
    case op.OP_VMASKMOVPS_STORE:
    case op.OP_VMASKMOVPD_STORE:
      return moveMasked(cpu, operation, reg, vvvv, wide, baseAddress);
    case op.OP_VPGATHERDD:
    case op.OP_VPGATHERDQ:
    case op.OP_VPGATHERQD:
    case op.OP_VPGATHERQQ:
      return gather(cpu, operation, reg, vvvv, wide, baseAddress, indexRegister, scale, displacement, addressMask);
    default:
      return SIMD_UD;
  }
}
