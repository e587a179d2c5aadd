/** The local variables of a region's function, and guest registers in them. */
import { R_GPR, R_TEMP } from '../layout';
import { REG_PAGE, REG_PAGE_HIGH, REG_ZERO } from '../cpu/uops';
import {
  I32_STORE,
  I64_ADD,
  I64_AND,
  I64_LOAD,
  I64_OR,
  I64_SHL,
  I64_SHR_U,
  I64_STORE,
  access,
  byte,
  const64,
  get,
  set,
} from './wasm';

// Parameters.
export const LOCAL_CPU: u32 = 0;
export const LOCAL_BANK: u32 = 1;
export const LOCAL_BUDGET: u32 = 2;
export const LOCAL_ENTRY: u32 = 3;
export const LOCAL_PAGE: u32 = 4;
/** i64: sixteen general registers, then the micro-ops' two temporaries (in the order of the vCPU block). */
export const LOCAL_GPR: u32 = 5;
/** i64: operands and result of the last operation that set flags (jit/flags.ts). */
export const LOCAL_FLAG_A: u32 = 23;
export const LOCAL_FLAG_B: u32 = 24;
export const LOCAL_RESULT: u32 = 25;
/** i64: where to go on after the region. */
export const LOCAL_TARGET: u32 = 26;
/** i64: address of a memory operand, values on their way. */
export const LOCAL_ADDRESS: u32 = 27;
export const LOCAL_VALUE: u32 = 28;
export const LOCAL_VALUE2: u32 = 29;
export const LOCAL_VALUE3: u32 = 30;
export const I64_LOCALS: u32 = 26;
// i32.
export const LOCAL_KIND: u32 = 31;
export const LOCAL_AUX: u32 = 32;
export const LOCAL_TLB: u32 = 33;
/** Byte offset of the site that the region is left by. */
export const LOCAL_SITE: u32 = 34;
export const LOCAL_POINTER: u32 = 35;
export const LOCAL_STATUS: u32 = 36;
/** Linear memory addresses of ranges that have been checked (jit/ranges.ts). */
export const LOCAL_RANGES: u32 = 37;
export const RANGES: u32 = 6;
export const I32_LOCALS: u32 = 6 + RANGES;
export const FLOAT_LOCALS: u32 = 3;
export const V128_LOCALS: u32 = 5;
/** Only in regions with floating point (jit/float.ts): two operands and a result, as f64, f32, and v128; of v128 two more. */
export const LOCAL_F64: u32 = LOCAL_RANGES + RANGES;
export const LOCAL_F32: u32 = LOCAL_F64 + FLOAT_LOCALS;
export const LOCAL_V128: u32 = LOCAL_F32 + FLOAT_LOCALS;

/** Registers (bit n: GPR n) that the region reads or writes. */
let usedRegisters: u32 = 0;
/**
 * Registers whose local may be newer than the vCPU block, at this place of the code being translated. Before each place where the region can
 * be left they are stored, so that leaving it costs no code of its own; nodes begin and end with none.
 */
let dirtyRegisters: u32 = 0;

export function clearRegisterUse(): void {
  usedRegisters = 0;
  dirtyRegisters = 0;
}

/** Distance of the page whose code is being translated from LOCAL_PAGE. */
let pageDistance: i64 = 0;

export function setPageDistance(bytes: i64): void {
  pageDistance = bytes;
}

/** Notes that a micro-op uses a register (byte offset in the vCPU block). */
export function noteUse(offset: u32): void {
  if (offset < <u32>R_TEMP) usedRegisters |= 1 << (offset >> 3);
}

/** Pops an i64 into general register n. */
export function setRegister(n: u32): void {
  set(LOCAL_GPR + n);
  dirtyRegisters |= 1 << n;
}

// @ts-ignore: decorator
@inline
function local(offset: u32): u32 {
  return LOCAL_GPR + (offset >> 3);
}

/** Mask of an operand size given as log2 of its bytes. */
export function sizeMask(log2: u32): i64 {
  return log2 === 3 ? -1 : log2 === 2 ? 0xffffffff : log2 === 1 ? 0xffff : 0xff;
}

/** Pushes a register as an i64, zero-extended from its size. */
export function pushRegister(offset: u32, log2: u32): void {
  if (offset === REG_ZERO) {
    const64(0);
    return;
  }
  if (offset === REG_PAGE || offset === REG_PAGE_HIGH) {
    const distance = pageDistance + (offset === REG_PAGE_HIGH ? 0x80000000 : 0);
    get(LOCAL_PAGE);
    if (distance) {
      const64(distance);
      byte(I64_ADD);
    }
    return;
  }
  get(local(offset));
  if (offset & 1) {
    const64(8);
    byte(I64_SHR_U);
  }
  if (log2 < 3) {
    const64(sizeMask(log2));
    byte(I64_AND);
  }
}

/** Pops an i64 into a register of a size; the value must be zero-extended from it (`clean`), or is cut to it. */
export function popRegister(offset: u32, log2: u32, clean: bool): void {
  const to = local(offset);
  if (offset < <u32>R_TEMP) dirtyRegisters |= 1 << (offset >> 3);
  if (log2 >= 2) {
    if (!clean && log2 === 2) {
      const64(0xffffffff);
      byte(I64_AND);
    }
    set(to);
    return;
  }
  if (!clean) {
    const64(sizeMask(log2));
    byte(I64_AND);
  }
  const high = (offset & 1) !== 0;
  if (high) {
    const64(8);
    byte(I64_SHL);
  }
  get(to);
  const64(log2 === 1 ? ~0xffff : high ? ~0xff00 : ~0xff);
  byte(I64_AND);
  byte(I64_OR);
  set(to);
}

/** Stores an i32 local at an offset of the vCPU block. */
export function storeLocal(local: u32, offset: u32): void {
  get(LOCAL_CPU);
  get(local);
  access(I32_STORE, offset);
}

/** Loads one register (byte offset) that the region writes. */
export function loadRegister(offset: u32): void {
  if (offset >= <u32>R_TEMP) return;
  get(LOCAL_CPU);
  access(I64_LOAD, offset);
  set(local(offset));
}

/** Loads the registers that the region uses. */
export function loadRegisters(): void {
  for (let n: u32 = 0; n < 16; n++) {
    if (!((usedRegisters >> n) & 1)) continue;
    get(LOCAL_CPU);
    access(I64_LOAD, R_GPR + (n << 3));
    set(LOCAL_GPR + n);
  }
}

/** Stores the dirty registers on a path of its own: what is known afterwards does not change. */
export function storeRegistersAside(): void {
  for (let n: u32 = 0; n < 16; n++) {
    if (!((dirtyRegisters >> n) & 1)) continue;
    get(LOCAL_CPU);
    get(LOCAL_GPR + n);
    access(I64_STORE, R_GPR + (n << 3));
  }
}

/** Stores the dirty registers. Only where every path comes by. */
export function storeRegisters(): void {
  storeRegistersAside();
  dirtyRegisters = 0;
}
