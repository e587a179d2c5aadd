/** Instructions that move several things to or from the stack, or flags and segments. */
import { R_INT_SHADOW, R_RFLAGS, SHADOW_SS } from '../layout';
import { probeWrite } from '../mmu/tlb';
import { isAmd } from './features';
import { rflags } from './flags';
import { interruptsMayBeEnabled } from './interrupt-flag';
import {
  effectiveAddress,
  linearAddress,
  readLinear,
  readRegister,
  rmIsRegister,
  writeLinear,
  writeRegister,
} from './operand';
import { loadSegment } from './segment';
import {
  FAULTED,
  FLAG_RF,
  FLAG_VM,
  RAX,
  RBP,
  RBX,
  RCX,
  RDI,
  RDX,
  RSI,
  RSP,
  SS,
  cpl,
  cpu,
  faulted,
  gpr,
  iopl,
  protectedMode,
  raiseGp,
  setGpr,
  setGprSized,
  stackMask,
  updateMode,
  v8086,
} from './state';
import { moveStack, peekStack, pokeStack, pushValue, stackAddress, writableFlags, writeFlagsMasked } from './transfer';
import { U_S, U_SEG } from './uops';

/** POP to modrm.rm: an address that uses the stack pointer sees it already moved. */
export function popRm(p: u32, size: u32): void {
  const value = peekStack(0, size);
  if (faulted & FAULTED) return;
  if (rmIsRegister(p)) {
    moveStack(<i64>size);
    writeRegister(load<u8>(p, U_S), size, value);
    return;
  }
  const before = gpr(RSP);
  moveStack(<i64>size);
  const ea = effectiveAddress(p);
  const address = linearAddress(load<u8>(p, U_SEG) & 7, ea, size, true);
  if (!(faulted & FAULTED)) writeLinear(address, size, value);
  if (faulted & FAULTED) setGpr(RSP, before);
}

/** PUSHA. */
export function pushAll(size: u32): void {
  const sp = gpr(RSP);
  // Check the far end first, so that a fault leaves no partial frame visible in the registers.
  pokeStack(size * 8, size, readRegister(RDI << 3, size));
  pokeStack(size, size, readRegister(RAX << 3, size));
  pokeStack(size * 2, size, readRegister(RCX << 3, size));
  pokeStack(size * 3, size, readRegister(RDX << 3, size));
  pokeStack(size * 4, size, readRegister(RBX << 3, size));
  pokeStack(size * 5, size, sp);
  pokeStack(size * 6, size, readRegister(RBP << 3, size));
  pokeStack(size * 7, size, readRegister(RSI << 3, size));
  if (!(faulted & FAULTED)) moveStack(-(<i64>(size * 8)));
}

/** POPA. */
export function popAll(size: u32): void {
  const di = peekStack(0, size);
  const si = peekStack(size, size);
  const bp = peekStack(size * 2, size);
  const bx = peekStack(size * 4, size);
  const dx = peekStack(size * 5, size);
  const cx = peekStack(size * 6, size);
  const ax = peekStack(size * 7, size);
  if (faulted & FAULTED) return;
  setGprSized(RDI, size, di);
  setGprSized(RSI, size, si);
  setGprSized(RBP, size, bp);
  setGprSized(RBX, size, bx);
  setGprSized(RDX, size, dx);
  setGprSized(RCX, size, cx);
  setGprSized(RAX, size, ax);
  moveStack(<i64>(size * 8));
}

/** PUSHF. */
export function pushFlags(size: u32): void {
  if (v8086 && iopl() < 3) {
    raiseGp();
    return;
  }
  pushValue(size, rflags(cpu) & ~(<u64>(FLAG_VM | FLAG_RF)));
}

/** POPF. */
export function popFlags(size: u32): void {
  if (v8086 && iopl() < 3) {
    raiseGp();
    return;
  }
  const value = peekStack(0, size);
  if (faulted & FAULTED) return;
  moveStack(<i64>size);
  const level = protectedMode || v8086 ? cpl() : 0;
  let mask = writableFlags(level, iopl(), size) & ~((1 << 19) | (1 << 20));
  // POPF clears RF rather than loading it; real mode may change IOPL.
  mask &= ~FLAG_RF;
  writeFlagsMasked(value, mask);
  store<u32>(cpu, load<u32>(cpu, R_RFLAGS) & ~FLAG_RF, R_RFLAGS);
  updateMode();
  interruptsMayBeEnabled();
}

/** PUSH of a segment register: with a 32-bit operand Intel writes only the low half of the slot. */
export function pushSegment(size: u32, sel: u32): void {
  pokeStack(size, size === 4 && !isAmd() ? 2 : size, sel);
  if (!(faulted & FAULTED)) moveStack(-(<i64>size));
}

/** POP of a segment register. */
export function popSegment(seg: u32, size: u32): void {
  const sel = (<u32>peekStack(0, size)) & 0xffff;
  if (faulted & FAULTED) return;
  // The pointer moves by the old stack's width even when SS itself is loaded.
  const sp = gpr(RSP);
  const mask = stackMask;
  loadSegment(seg, sel);
  if (faulted & FAULTED) return;
  const moved = sp + size;
  setGpr(RSP, mask === 0xffff ? (sp & ~0xffff) | (moved & 0xffff) : moved & mask);
  if (seg === SS) store<u32>(cpu, SHADOW_SS, R_INT_SHADOW);
  updateMode();
}

/** ENTER: U_IMM is frame bytes | nesting level << 16. */
export function enterFrame(size: u32, operand: u32): void {
  const bytes = operand & 0xffff;
  const level = (operand >> 16) & 31;
  const oldBp = readRegister(RBP << 3, size);
  let depth = size;
  pokeStack(depth, size, oldBp);
  // The stack pointer after the push, with what is above the stack's width.
  const frame = (gpr(RSP) & ~stackMask) | ((gpr(RSP) - size) & stackMask);
  if (level) {
    for (let i: u32 = 1; i < level; i++) {
      const from = linearAddress(SS, (gpr(RBP) - <u64>(i * size)) & stackMask, size, false);
      if (faulted & FAULTED) return;
      const value = readLinear(from, size);
      depth += size;
      pokeStack(depth, size, value);
    }
    depth += size;
    pokeStack(depth, size, frame);
  }
  if (faulted & FAULTED) return;
  // The new top of the stack must be writable, as a push there would have to be.
  const top = stackAddress(-(<i64>(depth + bytes)), size, true);
  if (faulted & FAULTED || !probeWrite(top, size)) return;
  setGprSized(RBP, size, frame);
  moveStack(-(<i64>(depth + bytes)));
}
