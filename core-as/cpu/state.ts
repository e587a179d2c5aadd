/**
 * What belongs to this instance's vCPU: the block's address, the fault in flight, and the mode derived from CR0, EFER and CS.
 * Globals are private to an instance, so they serve as the vCPU's own; everything architectural lies in the block (layout.ts).
 */
import {
  R_CPL,
  R_CR0,
  R_CR4,
  R_DR,
  R_EFER,
  R_GPR,
  R_PENDING_DB,
  R_RFLAGS,
  R_RIP,
  R_SEG,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
} from '../layout';
import { TLB_BANK_AC, TLB_BANK_SUPERVISOR, TLB_BANK_USER, bindBanks, selectBanks } from '../mmu/banks';
import { bindGeneration } from '../mmu/generation';

/** Address of this vCPU's block; 0 in the devices' instance. */
export let cpu: u32 = 0;
/** Its number. */
export let cpuIndex: u32 = 0;
export function bindCpu(block: u32, index: u32): void {
  cpu = block;
  cpuIndex = index;
  bindBanks(block);
  bindGeneration(block);
}

// ---------------------------------------------------------------------------------------------------------------------
// Register numbers and bits

export const RAX: u32 = 0;
export const RCX: u32 = 1;
export const RDX: u32 = 2;
export const RBX: u32 = 3;
export const RSP: u32 = 4;
export const RBP: u32 = 5;
export const RSI: u32 = 6;
export const RDI: u32 = 7;

export const ES: u32 = 0;
export const CS: u32 = 1;
export const SS: u32 = 2;
export const DS: u32 = 3;
export const FS: u32 = 4;
export const GS: u32 = 5;
export const LDTR: u32 = 6;
export const TR: u32 = 7;

export const CR0_PE: u64 = 1 << 0;
export const CR0_MP: u64 = 1 << 1;
export const CR0_EM: u64 = 1 << 2;
export const CR0_TS: u64 = 1 << 3;
export const CR0_ET: u64 = 1 << 4;
export const CR0_NE: u64 = 1 << 5;
export const CR0_WP: u64 = 1 << 16;
export const CR0_AM: u64 = 1 << 18;
export const CR0_NW: u64 = 1 << 29;
export const CR0_CD: u64 = 1 << 30;
export const CR0_PG: u64 = 1 << 31;

export const CR4_TSD: u64 = 1 << 2;
export const CR4_DE: u64 = 1 << 3;
export const CR4_PSE: u64 = 1 << 4;
export const CR4_PAE: u64 = 1 << 5;
export const CR4_MCE: u64 = 1 << 6;
export const CR4_PGE: u64 = 1 << 7;
export const CR4_PCE: u64 = 1 << 8;
export const CR4_OSFXSR: u64 = 1 << 9;
export const CR4_OSXMMEXCPT: u64 = 1 << 10;
export const CR4_UMIP: u64 = 1 << 11;
export const CR4_FSGSBASE: u64 = 1 << 16;
export const CR4_PCIDE: u64 = 1 << 17;
export const CR4_OSXSAVE: u64 = 1 << 18;
export const CR4_SMEP: u64 = 1 << 20;
export const CR4_SMAP: u64 = 1 << 21;

export const EFER_SCE: u64 = 1 << 0;
export const EFER_LME: u64 = 1 << 8;
export const EFER_LMA: u64 = 1 << 10;
export const EFER_NXE: u64 = 1 << 11;
/** AMD's automatic IBRS: kept, with nothing to act upon. */
export const EFER_AIBRSE: u64 = 1 << 21;

export const FLAG_CF: u32 = 1 << 0;
export const FLAG_PF: u32 = 1 << 2;
export const FLAG_AF: u32 = 1 << 4;
export const FLAG_ZF: u32 = 1 << 6;
export const FLAG_SF: u32 = 1 << 7;
export const FLAG_TF: u32 = 1 << 8;
export const FLAG_IF: u32 = 1 << 9;
export const FLAG_DF: u32 = 1 << 10;
export const FLAG_OF: u32 = 1 << 11;
export const FLAG_IOPL: u32 = 3 << 12;
export const FLAG_NT: u32 = 1 << 14;
export const FLAG_RF: u32 = 1 << 16;
export const FLAG_VM: u32 = 1 << 17;
export const FLAG_AC: u32 = 1 << 18;
export const FLAG_VIF: u32 = 1 << 19;
export const FLAG_VIP: u32 = 1 << 20;
export const ARITHMETIC_FLAGS: u32 = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF;

/** Access-rights bits of a segment (SDM vol. 3, 25.4.1). */
export const ACCESS_S: u32 = 1 << 4;
export const ACCESS_P: u32 = 1 << 7;
export const ACCESS_L: u32 = 1 << 13;
export const ACCESS_DB: u32 = 1 << 14;
export const ACCESS_G: u32 = 1 << 15;
export const ACCESS_UNUSABLE: u32 = 1 << 16;

export const VECTOR_DE: u32 = 0;
export const VECTOR_DB: u32 = 1;
export const VECTOR_NMI: u32 = 2;
export const VECTOR_BP: u32 = 3;
export const VECTOR_OF: u32 = 4;
export const VECTOR_BR: u32 = 5;
export const VECTOR_UD: u32 = 6;
export const VECTOR_NM: u32 = 7;
export const VECTOR_DF: u32 = 8;
export const VECTOR_TS: u32 = 10;
export const VECTOR_NP: u32 = 11;
export const VECTOR_SS: u32 = 12;
export const VECTOR_GP: u32 = 13;
export const VECTOR_PF: u32 = 14;
export const VECTOR_MF: u32 = 16;
export const VECTOR_AC: u32 = 17;
export const VECTOR_XM: u32 = 19;

// ---------------------------------------------------------------------------------------------------------------------
// The fault in flight

/** Bit 0: an exception is to be delivered instead of the instruction; bit 1: leave the block after this instruction. */
export let faulted: u32 = 0;
export const FAULTED: u32 = 1;
export const LEAVE_BLOCK: u32 = 2;

export let faultVector: u32 = 0;
export let faultCode: u32 = 0;
export let faultHasCode: bool = false;

/** Raises an exception without an error code. The first one of an instruction counts. */
export function raise(vector: u32): void {
  if (faulted & FAULTED) return;
  faulted |= FAULTED;
  faultVector = vector;
  faultHasCode = false;
  faultCode = 0;
}

/** Raises an exception with an error code. */
export function raiseCode(vector: u32, code: u32): void {
  if (faulted & FAULTED) return;
  faulted |= FAULTED;
  faultVector = vector;
  faultHasCode = true;
  faultCode = code;
}

/** #GP(0). */
export function raiseGp(): void {
  raiseCode(VECTOR_GP, 0);
}

export function clearFault(): void {
  faulted = 0;
  faultNonCanonical = false;
}

/** The fault is a #GP for this non-canonical linear address; the interpreter makes it #SS(0) when it was a stack reference. */
export let faultNonCanonical: bool = false;
export let faultAddress: u64 = 0;

/** #GP(0) for an address that is not canonical. */
export function raiseNonCanonical(address: u64): void {
  if (faulted & FAULTED) return;
  raiseCode(VECTOR_GP, 0);
  faultNonCanonical = true;
  faultAddress = address;
}

/** Turns the #GP of a non-canonical stack reference into #SS(0) (SDM vol. 1, 3.3.7.1). */
export function makeStackFault(): void {
  faultVector = VECTOR_SS;
}

/** After this instruction, leave the block: its code may have changed. */
export function leaveBlock(): void {
  faulted |= LEAVE_BLOCK;
}

/** A deliverable interrupt was seen while IF was 0: setting IF must have it looked at again. */
export let intrWaiting: bool = false;
export function setIntrWaiting(value: bool): void {
  intrWaiting = value;
}

// ---------------------------------------------------------------------------------------------------------------------
// Mode

/** How code is decoded: MODE_16, MODE_32, MODE_64 or MODE_FLAT. */
export let mode: u32 = 0;
export const MODE_16: u32 = 0;
export const MODE_32: u32 = 1;
export const MODE_64: u32 = 2;
/**
 * 32-bit code of protected or compatibility mode whose CS, SS, DS and ES let it reach all 4 GiB (isFlat): no reference to them can fault but for
 * one across the end of those, so that it has micro-ops of its own for the stack and branches, and is compiled.
 */
export const MODE_FLAT: u32 = 3;

/** EFER.LMA. */
export let longMode: bool = false;
/** CR0.PE and not EFLAGS.VM. */
export let protectedMode: bool = false;
export let v8086: bool = false;
/** Linear address of CS:0 (0 in 64-bit mode). */
export let csBase: u64 = 0;
/** Mask of the stack pointer: 0xFFFF, 0xFFFFFFFF or all ones. */
export let stackMask: u64 = 0;
/** #AC is possible: CPL 3, CR0.AM, EFLAGS.AC. */
export let alignmentChecked: bool = false;
/** Instructions must be run one at a time: EFLAGS.TF, breakpoints armed in DR7, or a #DB that comes before the next one. */
export let mustStep: bool = false;
/** A repeated string instruction has stopped before its last element; RIP is its own. What interrupts it finds RF set. */
export let repeating: bool = false;
export function setRepeating(value: bool): void {
  repeating = value;
}
/** A debugger steps: string instructions go element by element, as they do with EFLAGS.TF. */
export let debuggerSteps: bool = false;
export function setDebuggerSteps(value: bool): void {
  debuggerSteps = value;
}

/** Index of the data bank in use. */
// @ts-ignore: decorator
@inline
export function dataBank(): u32 {
  if (load<u32>(cpu, R_CPL) === 3) return TLB_BANK_USER;
  return load<u64>(cpu, R_CR4) & CR4_SMAP && load<u32>(cpu, R_RFLAGS) & FLAG_AC ? TLB_BANK_AC : TLB_BANK_SUPERVISOR;
}

/** Re-derives the TLB banks; call after CPL, EFLAGS.AC or CR4.SMAP changed. */
export function updateBanks(): void {
  const dr7 = load<u32>(cpu, R_DR + 7 * 8);
  const flags = load<u32>(cpu, R_RFLAGS);
  mustStep = (flags & FLAG_TF) !== 0 || (dr7 & 0xff) !== 0 || load<u64>(cpu, R_PENDING_DB) !== 0;
  alignmentChecked =
    (flags & FLAG_AC) !== 0 &&
    load<u32>(cpu, R_CPL) === 3 &&
    (load<u64>(cpu, R_CR0) & (CR0_AM | CR0_PE)) === (CR0_AM | CR0_PE);
  selectBanks(dataBank(), alignmentChecked || (dr7 & 0xff) !== 0, load<u32>(cpu, R_CPL) === 3);
}

/** A segment with base 0 and a limit of 4 GiB whose access rights, of those in a mask, are as wanted. */
// @ts-ignore: decorator
@inline
function spans(n: u32, mask: u32, wanted: u32): bool {
  const s = segment(n);
  return (
    !load<u64>(s, SEG_BASE) && load<u32>(s, SEG_LIMIT) === u32.MAX_VALUE && (load<u32>(s, SEG_ACCESS) & mask) === wanted
  );
}

/** Usable, data, not expand-down, writable (SDM vol. 3, 3.4.5.1). */
const DATA_MASK: u32 = ACCESS_UNUSABLE | 0xe;
const DATA_WRITABLE: u32 = 2;

/** Outside 64-bit mode: 32-bit code that can be read, a stack of 32 bits, and data that can be written, all of 4 GiB. */
function isFlat(): bool {
  return (
    protectedMode &&
    spans(CS, ACCESS_UNUSABLE | ACCESS_DB | 0xa, ACCESS_DB | 0xa) &&
    spans(SS, DATA_MASK | ACCESS_DB, DATA_WRITABLE | ACCESS_DB) &&
    spans(DS, DATA_MASK, DATA_WRITABLE) &&
    spans(ES, DATA_MASK, DATA_WRITABLE)
  );
}

/** What `mode` is by the segments; flags and control registers have been looked at. */
function modeOfSegments(): u32 {
  const csAccess = load<u32>(segment(CS), SEG_ACCESS);
  if (longMode && csAccess & ACCESS_L) return MODE_64;
  if (!(csAccess & ACCESS_DB)) return MODE_16;
  return isFlat() ? MODE_FLAT : MODE_32;
}

/** For assertions: nothing has changed a segment without updateMode(). */
export function isModeKnown(): bool {
  return mode === modeOfSegments();
}

/** Re-derives the mode from CR0, EFER, EFLAGS.VM and the segments CS, SS, DS and ES; call after any of them changed. */
export function updateMode(): void {
  const cr0 = load<u64>(cpu, R_CR0);
  const flags = load<u32>(cpu, R_RFLAGS);
  longMode = (load<u64>(cpu, R_EFER) & EFER_LMA) !== 0;
  v8086 = (cr0 & CR0_PE) !== 0 && (flags & FLAG_VM) !== 0;
  protectedMode = (cr0 & CR0_PE) !== 0 && !v8086;
  mode = modeOfSegments();
  if (mode === MODE_64) {
    csBase = 0;
    stackMask = u64.MAX_VALUE;
  } else {
    csBase = load<u64>(segment(CS), SEG_BASE);
    stackMask = load<u32>(segment(SS), SEG_ACCESS) & ACCESS_DB ? 0xffffffff : 0xffff;
  }
  updateBanks();
}

// ---------------------------------------------------------------------------------------------------------------------
// Registers

// @ts-ignore: decorator
@inline
export function gpr(n: u32): u64 {
  return load<u64>(cpu + (n << 3), R_GPR);
}

// @ts-ignore: decorator
@inline
export function setGpr(n: u32, value: u64): void {
  store<u64>(cpu + (n << 3), value, R_GPR);
}

/** Writes the low `sizeBytes` (1, 2, 4, 8) of a register as an instruction of that operand size does; 1 means AL, CL ... */
export function setGprSized(n: u32, sizeBytes: u32, value: u64): void {
  if (sizeBytes === 8) setGpr(n, value);
  else if (sizeBytes === 4) setGpr(n, value & 0xffffffff);
  else if (sizeBytes === 2) store<u16>(cpu + (n << 3), <u16>value, R_GPR);
  else store<u8>(cpu + (n << 3), <u8>value, R_GPR);
}

/** Address of a segment register's cache. */
// @ts-ignore: decorator
@inline
export function segment(n: u32): u32 {
  return cpu + R_SEG + n * SEG_STRIDE;
}

// @ts-ignore: decorator
@inline
export function segmentBase(n: u32): u64 {
  return load<u64>(segment(n), SEG_BASE);
}

// @ts-ignore: decorator
@inline
export function selector(n: u32): u32 {
  return load<u16>(segment(n), SEG_SELECTOR);
}

export function setSegment(n: u32, sel: u32, base: u64, limit: u32, access: u32): void {
  const s = segment(n);
  store<u64>(s, base, SEG_BASE);
  store<u32>(s, limit, SEG_LIMIT);
  store<u32>(s, access, SEG_ACCESS);
  store<u16>(s, <u16>sel, SEG_SELECTOR);
}

// @ts-ignore: decorator
@inline
export function cpl(): u32 {
  return load<u32>(cpu, R_CPL);
}

/** IOPL as 0-3. */
// @ts-ignore: decorator
@inline
export function iopl(): u32 {
  return (load<u32>(cpu, R_RFLAGS) >> 12) & 3;
}

// @ts-ignore: decorator
@inline
export function rip(): u64 {
  return load<u64>(cpu, R_RIP);
}

// @ts-ignore: decorator
@inline
export function setRip(value: u64): void {
  store<u64>(cpu, value, R_RIP);
}

/** True when the address is canonical with 48 linear-address bits. */
// @ts-ignore: decorator
@inline
export function isCanonical(address: u64): bool {
  return <u64>((<i64>(address << 16)) >> 16) === address;
}
