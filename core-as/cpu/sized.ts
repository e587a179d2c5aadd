/**
 * Operands and arithmetic of micro-ops, once for all operand sizes: T is the operand (u8, u16, u32, u64), V what it is computed in (u32, and
 * u64 for u64). `r` is the vCPU block, `p` the micro-op, `d` a register (byte offset in the block). All is inlined into interpret().
 */
import { E_LINEAR, TLB_WRITE, tlbBank } from '../mmu/banks';
import { slowRead, slowWrite, tlbEntry } from '../mmu/tlb';
import { addCarries, aux16, aux32, aux64, aux8, auxCarryOverflow, keepCarry, setLazy, subBorrows } from './flags';
import { rmwAddress, rmwBegin, rmwPointer, setRmwPointer } from './operand';
import { FAULTED, RSP, VECTOR_SS, faulted, raiseCode } from './state';
import { mulHighSigned, shiftSized } from './alu';
import { SUB_SIZE_SHIFT, U_BASE, U_D, U_DISP, U_IDX, U_IMM, U_S, U_SCALE, U_SUB } from './uops';

// ---------------------------------------------------------------------------------------------------------------------
// Registers and immediates

/** Offset of the destination. */
// @ts-ignore: decorator
@inline
export function D(p: u32): u32 {
  return load<u8>(p, U_D);
}

/** The source register. */
// @ts-ignore: decorator
@inline
export function S<T, V>(r: u32, p: u32): V {
  return <V>load<T>(r + load<u8>(p, U_S));
}

/** The immediate. */
// @ts-ignore: decorator
@inline
export function I<T, V>(p: u32): V {
  return <V>load<T>(p, U_IMM);
}

/** Reads a register at an address. */
// @ts-ignore: decorator
@inline
export function get<T, V>(q: u32): V {
  return <V>load<T>(q);
}

/** Writes a register at an address as an instruction of the operand size does: one of 32 bits clears the upper half. */
// @ts-ignore: decorator
@inline
export function put<T, V>(q: u32, v: V): void {
  if (sizeof<T>() === 4) store<u64>(q, v);
  else store<T>(q, <T>v);
}

/** Sign-extends an operand. */
// @ts-ignore: decorator
@inline
export function extend<T, V>(v: V): i64 {
  if (sizeof<T>() === 1) return <i64>(<i8>v);
  if (sizeof<T>() === 2) return <i64>(<i16>v);
  if (sizeof<T>() === 4) return <i64>(<i32>v);
  return <i64>v;
}

// The stack and branches have 64 bits.
// @ts-ignore: decorator
@inline
export function S64(r: u32, p: u32): u64 {
  return S<u64, u64>(r, p);
}
// @ts-ignore: decorator
@inline
export function I64(p: u32): u64 {
  return I<u64, u64>(p);
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory

/** Flat 64-bit address of a memory operand. */
// @ts-ignore: decorator
@inline
export function EA(r: u32, p: u32): u64 {
  return (
    load<u64>(r + load<u8>(p, U_BASE)) +
    (load<u64>(r + load<u8>(p, U_IDX)) << (<u64>load<u8>(p, U_SCALE))) +
    <u64>(<i64>load<i32>(p, U_DISP))
  );
}

/** The tag that the TLB has of the page of an access that lies in one page. */
// @ts-ignore: decorator
@inline
function pageOf<T>(a: u64): u64 {
  return (a + (sizeof<T>() - 1)) & ~0xfff;
}

/** Reads memory. Check `faulted` afterwards, here and below. */
// @ts-ignore: decorator
@inline
export function read<T, V>(a: u64): V {
  const e = tlbEntry(tlbBank, a);
  if (load<u64>(e) === pageOf<T>(a)) return <V>load<T>(load<u32>(e, E_LINEAR) + <u32>a);
  return <V>slowRead(a, sizeof<T>());
}

// @ts-ignore: decorator
@inline
export function write<T, V>(a: u64, v: V): void {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === pageOf<T>(a)) store<T>(load<u32>(e, E_LINEAR) + <u32>a, <T>v);
  else slowWrite(a, sizeof<T>(), v);
}

/** Read of a read-modify-write: the page is known to be writable afterwards. */
// @ts-ignore: decorator
@inline
export function readRmw<T, V>(a: u64): V {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === pageOf<T>(a)) {
    const q = load<u32>(e, E_LINEAR) + <u32>a;
    setRmwPointer(q);
    return <V>load<T>(q);
  }
  return <V>rmwBegin(a, sizeof<T>());
}

/** The end of a read-modify-write. */
// @ts-ignore: decorator
@inline
export function writeBack<T, V>(v: V): void {
  if (rmwPointer) store<T>(rmwPointer, <T>v);
  else slowWrite(rmwAddress, sizeof<T>(), v);
}

// @ts-ignore: decorator
@inline
export function read64(a: u64): u64 {
  return read<u64, u64>(a);
}
// @ts-ignore: decorator
@inline
export function write64(a: u64, v: u64): void {
  write<u64, u64>(a, v);
}

/** PUSH in 64-bit mode. */
// @ts-ignore: decorator
@inline
export function push(r: u32, v: u64): void {
  const sp = load<u64>(r, RSP << 3) - 8;
  write64(sp, v);
  if (!(faulted & FAULTED)) store<u64>(r, sp, RSP << 3);
}

/** POP of a register in 64-bit mode. */
// @ts-ignore: decorator
@inline
export function pop(r: u32, d: u32): void {
  const sp = load<u64>(r, RSP << 3);
  const v = read64(sp);
  if (faulted) return;
  store<u64>(r, sp + 8, RSP << 3);
  store<u64>(r + d, v);
}

// Flat segments of 4 GiB: what crosses their end is a #SS(0) and no access.
/** True, with #SS(0) raised, when 4 bytes at an offset are not all in the stack segment. */
// @ts-ignore: decorator
@inline
function crossesEnd(sp: u32): bool {
  if (sp <= 0xfffffffc) return false;
  raiseCode(VECTOR_SS, 0);
  return true;
}

/** PUSH in MODE_FLAT. */
// @ts-ignore: decorator
@inline
export function push32(r: u32, v: u32): void {
  const sp: u32 = load<u32>(r, RSP << 3) - 4;
  if (crossesEnd(sp)) return;
  write<u32, u32>(sp, v);
  if (!(faulted & FAULTED)) store<u64>(r, sp, RSP << 3);
}

/** Reads the stack's slot at an offset in MODE_FLAT. */
// @ts-ignore: decorator
@inline
export function readSlot32(sp: u32): u32 {
  if (crossesEnd(sp)) return 0;
  return read<u32, u32>(sp);
}

/** POP of a register in MODE_FLAT. */
// @ts-ignore: decorator
@inline
export function pop32(r: u32, d: u32): void {
  const sp = load<u32>(r, RSP << 3);
  const v = readSlot32(sp);
  if (faulted) return;
  const above: u32 = sp + 4;
  store<u64>(r, above, RSP << 3);
  store<u64>(r + d, v);
}

// ---------------------------------------------------------------------------------------------------------------------
// Arithmetic with flags

/** R_LAZY_AUX by the carries out of each bit. */
// @ts-ignore: decorator
@inline
function aux<T, V>(carries: V): u32 {
  if (sizeof<T>() === 1) return aux8(<u32>carries);
  if (sizeof<T>() === 2) return aux16(<u32>carries);
  if (sizeof<T>() === 4) return aux32(<u32>carries);
  return aux64(<u64>carries);
}

/** d := d + b + c. */
// @ts-ignore: decorator
@inline
export function add<T, V>(r: u32, d: u32, b: V, c: u32): void {
  const a = get<T, V>(r + d);
  const v: V = a + b + <V>c;
  put<T, V>(r + d, v);
  setLazy(r, extend<T, V>(v), aux<T, V>(addCarries<V>(a, b, v)));
}

/** d - b - c; the result is stored only when `stores`. */
// @ts-ignore: decorator
@inline
export function sub<T, V>(r: u32, d: u32, b: V, c: u32, stores: bool): void {
  const a = get<T, V>(r + d);
  const v: V = a - b - <V>c;
  if (stores) put<T, V>(r + d, v);
  setLazy(r, extend<T, V>(v), aux<T, V>(subBorrows<V>(a, b, v)));
}

/** CMP d, b: whether they are equal, d is below b, or not above it. */
// @ts-ignore: decorator
@inline
export function equal<T, V>(r: u32, d: u32, b: V): bool {
  const a = get<T, V>(r + d);
  sub<T, V>(r, d, b, 0, false);
  return a === b;
}
// @ts-ignore: decorator
@inline
export function below<T, V>(r: u32, d: u32, b: V): bool {
  const a = get<T, V>(r + d);
  sub<T, V>(r, d, b, 0, false);
  return a < b;
}
// @ts-ignore: decorator
@inline
export function notAbove<T, V>(r: u32, d: u32, b: V): bool {
  const a = get<T, V>(r + d);
  sub<T, V>(r, d, b, 0, false);
  return a <= b;
}

/** TEST d, b: whether they have no bit in common. */
// @ts-ignore: decorator
@inline
export function disjoint<T, V>(r: u32, d: u32, b: V): bool {
  const v: V = get<T, V>(r + d) & b;
  setLazy(r, extend<T, V>(v), 0);
  return v === 0;
}

/** Stores a logical result. */
// @ts-ignore: decorator
@inline
export function logic<T, V>(r: u32, d: u32, v: V): void {
  put<T, V>(r + d, v);
  setLazy(r, extend<T, V>(v), 0);
}

// @ts-ignore: decorator
@inline
export function increment<T, V>(r: u32, d: u32): void {
  const a = get<T, V>(r + d);
  const v: V = a + 1;
  setLazy(r, extend<T, V>(v), keepCarry(r, aux<T, V>(a & ~v)));
  put<T, V>(r + d, v);
}

// @ts-ignore: decorator
@inline
export function decrement<T, V>(r: u32, d: u32): void {
  const a = get<T, V>(r + d);
  const v: V = a - 1;
  setLazy(r, extend<T, V>(v), keepCarry(r, aux<T, V>(~a & v)));
  put<T, V>(r + d, v);
}

// @ts-ignore: decorator
@inline
export function negate<T, V>(r: u32, d: u32): void {
  const a = get<T, V>(r + d);
  const v: V = 0 - a;
  setLazy(r, extend<T, V>(v), aux<T, V>(a | v));
  put<T, V>(r + d, v);
}

/** NOT. */
// @ts-ignore: decorator
@inline
export function invert<T, V>(r: u32, d: u32): void {
  put<T, V>(r + d, ~get<T, V>(r + d));
}

/** SHL by a count that is not 0 and below the operand's bits; so is that of the others. */
// @ts-ignore: decorator
@inline
export function shiftLeft<T, V>(r: u32, d: u32, c: V): void {
  const bits: V = <V>(sizeof<T>() << 3);
  const a = get<T, V>(r + d);
  const v: V = a << c;
  const cf = (<u32>(a >> (bits - c))) & 1;
  setLazy(r, extend<T, V>(v), auxCarryOverflow(cf, cf ^ (<u32>(v >> (bits - 1)))));
  put<T, V>(r + d, v);
}

/** SHR. */
// @ts-ignore: decorator
@inline
export function shiftRight<T, V>(r: u32, d: u32, c: V): void {
  const bits: V = <V>(sizeof<T>() << 3);
  const a = get<T, V>(r + d);
  const v: V = a >> c;
  const last: V = a >> (c - 1);
  setLazy(r, extend<T, V>(v), auxCarryOverflow((<u32>last) & 1, <u32>(last >> (bits - 1))));
  put<T, V>(r + d, v);
}

/** SAR; T is i32 or i64. */
// @ts-ignore: decorator
@inline
export function shiftArithmetic<T>(r: u32, d: u32, c: T): void {
  const a = load<T>(r + d);
  const v: T = a >> c;
  setLazy(r, <i64>v, auxCarryOverflow((<u32>(a >> (c - 1))) & 1, 0));
  if (sizeof<T>() === 4) store<u64>(r + d, <u64>(<u32>v));
  else store<T>(r + d, v);
}

/** XCHG of registers. */
// @ts-ignore: decorator
@inline
export function exchange<T, V>(r: u32, d: u32, s: u32): void {
  const a = get<T, V>(r + d);
  put<T, V>(r + d, get<T, V>(r + s));
  put<T, V>(r + s, a);
}

/** IMUL: CF and OF say that the product does not fit. */
// @ts-ignore: decorator
@inline
export function multiply32(r: u32, d: u32, a: i32, b: i32): void {
  const v = <i64>a * <i64>b;
  const ov = u32(v !== <i64>(<i32>v));
  setLazy(r, <i64>(<i32>v), auxCarryOverflow(ov, ov));
  put<u32, u32>(r + d, <u32>v);
}

// @ts-ignore: decorator
@inline
export function multiply64(r: u32, d: u32, a: i64, b: i64): void {
  const v = a * b;
  const ov = u32(mulHighSigned(a, b) !== v >> 63);
  setLazy(r, v, auxCarryOverflow(ov, ov));
  put<u64, u64>(r + d, v);
}

/** A shift or rotate whose operation and operand size are in U_SUB. */
// @ts-ignore: decorator
@inline
export function shiftBy(r: u32, p: u32, count: u32): void {
  const sub = load<u32>(p, U_SUB);
  const size = (sub >> SUB_SIZE_SHIFT) & 15;
  const d = r + D(p);
  const before: u64 = size === 8 ? load<u64>(d) : size === 4 ? load<u32>(d) : size === 2 ? load<u16>(d) : load<u8>(d);
  const v = shiftSized(sub & 7, before, count, size);
  if (size >= 4) store<u64>(d, v);
  else if (size === 2) store<u16>(d, <u16>v);
  else store<u8>(d, <u8>v);
}
