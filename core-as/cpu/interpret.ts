/**
 * Tier 0: runs micro-ops.
 *
 * One function with one dispatch: a case either ends with `continue` (the next micro-op) or breaks out of the switch with `target` set (a
 * branch was taken) or a fault pending. The vCPU block's address, the micro-op pointer and the current page live in locals.
 */
import { JIT_EXIT_RUN, JIT_FAULT, JIT_GO, SITE_ASIDE, SITE_FAULT, S_CODE, S_PAGE, S_UOP } from '../jit/abi';
import { chainBudget, chainTarget, runRegions } from '../jit/chain';
import { rememberJump } from '../jit/jump-cache';
import { HOT, compileNow, compilesAtOnce, queueAgain, queueBlock } from '../jit/jit';
import { R_ICOUNT, R_INT_SHADOW, R_JIT_STATUS, R_JIT_TARGET, R_PENDING, R_RIP } from '../layout';
import { TLB_WRITE, itlbBank, tlbBank } from '../mmu/banks';
import { codePage, itlbEntry, slowRead, slowWrite, tlbEntry } from '../mmu/tlb';
import {
  add16,
  add32,
  add64,
  add8,
  keepCarry,
  logic16,
  logic32,
  logic64,
  logic8,
  mulHighSigned,
  shiftSized,
  sub16,
  sub32,
  sub64,
  sub8,
} from './alu';
import { B_HEAT, B_JIT, B_PAGE2, BLOCK_HEADER, findBlock } from './code-cache';
import { decodeBlock } from './decode-block';
import { deliverFault } from './exception';
import { drainStores } from './fence';
import { DONE, EXIT_RUN, FAULT, execute } from './execute';
import {
  aux16,
  aux32,
  aux64,
  aux8,
  auxCarryOverflow,
  carry,
  condition,
  less,
  lazyResult,
  overflow,
  parity,
  setLazy,
  sign,
} from './flags';
import {
  effectiveAddress,
  faultedOnStack,
  rmwAddress,
  rmwBegin,
  rmwPointer,
  segmentLimitFault,
  segmentedOperand,
  setRmwPointer,
} from './operand';
import { noteTarget } from './seen-targets';
import { simdRun } from './simd-operand';
import {
  FAULTED,
  LEAVE_BLOCK,
  MODE_64,
  RSP,
  clearFault,
  cpu,
  csBase,
  faultNonCanonical,
  faulted,
  isCanonical,
  makeStackFault,
  mode,
  mustStep,
  raiseGp,
} from './state';
import {
  K,
  REG_PAGE,
  REG_PAGE_HIGH,
  SUB_LINKABLE,
  SUB_SIZE_SHIFT,
  UOP_SIZE,
  U_BASE,
  U_D,
  U_DISP,
  U_IDX,
  U_IMM,
  U_INDEX,
  U_KIND,
  U_LEN,
  U_LINK,
  U_OFF,
  U_S,
  U_SCALE,
  U_SUB,
} from './uops';

// ---------------------------------------------------------------------------------------------------------------------
// Operands. `r` is the vCPU block, `p` the micro-op.

// @ts-ignore: decorator
@inline
function D(p: u32): u32 {
  return load<u8>(p, U_D);
}

// @ts-ignore: decorator
@inline
function S8(r: u32, p: u32): u32 {
  return load<u8>(r + load<u8>(p, U_S));
}
// @ts-ignore: decorator
@inline
function I8(p: u32): u32 {
  return load<u8>(p, U_IMM);
}

// @ts-ignore: decorator
@inline
function S16(r: u32, p: u32): u32 {
  return load<u16>(r + load<u8>(p, U_S));
}
// @ts-ignore: decorator
@inline
function I16(p: u32): u32 {
  return load<u16>(p, U_IMM);
}

// @ts-ignore: decorator
@inline
function S32(r: u32, p: u32): u32 {
  return load<u32>(r + load<u8>(p, U_S));
}
// @ts-ignore: decorator
@inline
function I32(p: u32): u32 {
  return load<u32>(p, U_IMM);
}

// @ts-ignore: decorator
@inline
function S64(r: u32, p: u32): u64 {
  return load<u64>(r + load<u8>(p, U_S));
}
// @ts-ignore: decorator
@inline
function I64(p: u32): u64 {
  return load<u64>(p, U_IMM);
}

/** Address of the page after one; linear addresses have 32 bits outside 64-bit mode. */
// @ts-ignore: decorator
@inline
function nextPage(page: u64): u64 {
  return mode === MODE_64 ? page + 0x1000 : (page + 0x1000) & 0xffffffff;
}

/** Flat 64-bit address of a memory operand. */
// @ts-ignore: decorator
@inline
function EA(r: u32, p: u32): u64 {
  return (
    load<u64>(r + load<u8>(p, U_BASE)) +
    (load<u64>(r + load<u8>(p, U_IDX)) << (<u64>load<u8>(p, U_SCALE))) +
    <u64>(<i64>load<i32>(p, U_DISP))
  );
}

// @ts-ignore: decorator
@inline
function read8(a: u64): u32 {
  const e = tlbEntry(tlbBank, a);
  if (load<u64>(e) === ((a + 0) & ~0xfff)) return load<u8>(load<u32>(e, 8) + <u32>a);
  return <u32>slowRead(a, 1);
}
// @ts-ignore: decorator
@inline
function write8(a: u64, v: u32): void {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 0) & ~0xfff)) store<u8>(load<u32>(e, 8) + <u32>a, <u8>v);
  else slowWrite(a, 1, v);
}
/** Read of a read-modify-write: the page is known to be writable afterwards. */
// @ts-ignore: decorator
@inline
function readRmw8(a: u64): u32 {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 0) & ~0xfff)) {
    const q = load<u32>(e, 8) + <u32>a;
    setRmwPointer(q);
    return load<u8>(q);
  }
  return <u32>rmwBegin(a, 1);
}

// @ts-ignore: decorator
@inline
function read16(a: u64): u32 {
  const e = tlbEntry(tlbBank, a);
  if (load<u64>(e) === ((a + 1) & ~0xfff)) return load<u16>(load<u32>(e, 8) + <u32>a);
  return <u32>slowRead(a, 2);
}
// @ts-ignore: decorator
@inline
function write16(a: u64, v: u32): void {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 1) & ~0xfff)) store<u16>(load<u32>(e, 8) + <u32>a, <u16>v);
  else slowWrite(a, 2, v);
}
/** Read of a read-modify-write: the page is known to be writable afterwards. */
// @ts-ignore: decorator
@inline
function readRmw16(a: u64): u32 {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 1) & ~0xfff)) {
    const q = load<u32>(e, 8) + <u32>a;
    setRmwPointer(q);
    return load<u16>(q);
  }
  return <u32>rmwBegin(a, 2);
}

// @ts-ignore: decorator
@inline
function read32(a: u64): u32 {
  const e = tlbEntry(tlbBank, a);
  if (load<u64>(e) === ((a + 3) & ~0xfff)) return load<u32>(load<u32>(e, 8) + <u32>a);
  return <u32>slowRead(a, 4);
}
// @ts-ignore: decorator
@inline
function write32(a: u64, v: u32): void {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 3) & ~0xfff)) store<u32>(load<u32>(e, 8) + <u32>a, v);
  else slowWrite(a, 4, v);
}
/** Read of a read-modify-write: the page is known to be writable afterwards. */
// @ts-ignore: decorator
@inline
function readRmw32(a: u64): u32 {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 3) & ~0xfff)) {
    const q = load<u32>(e, 8) + <u32>a;
    setRmwPointer(q);
    return load<u32>(q);
  }
  return <u32>rmwBegin(a, 4);
}

// @ts-ignore: decorator
@inline
function read64(a: u64): u64 {
  const e = tlbEntry(tlbBank, a);
  if (load<u64>(e) === ((a + 7) & ~0xfff)) return load<u64>(load<u32>(e, 8) + <u32>a);
  return slowRead(a, 8);
}
// @ts-ignore: decorator
@inline
function write64(a: u64, v: u64): void {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 7) & ~0xfff)) store<u64>(load<u32>(e, 8) + <u32>a, v);
  else slowWrite(a, 8, v);
}
/** Read of a read-modify-write: the page is known to be writable afterwards. */
// @ts-ignore: decorator
@inline
function readRmw64(a: u64): u64 {
  const e = tlbEntry(tlbBank, a) + TLB_WRITE;
  if (load<u64>(e) === ((a + 7) & ~0xfff)) {
    const q = load<u32>(e, 8) + <u32>a;
    setRmwPointer(q);
    return load<u64>(q);
  }
  return rmwBegin(a, 8);
}

/** Linear address of the instruction after the micro-op's. */
// @ts-ignore: decorator
@inline
function next(page: u64, p: u32): u64 {
  return page + load<u16>(p, U_OFF) + load<u8>(p, U_LEN);
}

/** Instructions retired by the last interpret(). */
export let retired: i32 = 0;

/** interpret() came back because its budget is used up, or something is pending. */
export const INTERPRET_YIELD: i32 = 0;
/** An X function asked to leave run(); R_EXIT_REASON is set. */
export const INTERPRET_EXIT: i32 = 1;

/** interpret() ends with R_RIP where to go on. */
function leave(r: u32, instructions: i32, status: i32): i32 {
  retired = instructions;
  store<u64>(r, load<u64>(r, R_ICOUNT) + instructions, R_ICOUNT);
  return status;
}

/**
 * After an instruction that may have set the interrupt shadow: true when something waits, for run() to look at. Otherwise nothing waits
 * for the shadow to end, so nobody can tell that it has; what comes up from now on waits until the next block has run.
 */
// @ts-ignore: decorator
@inline
function endsAfterRedispatch(r: u32): bool {
  if (load<u32>(r, R_PENDING) || mustStep) return true;
  store<u32>(r, 0, R_INT_SHADOW);
  return false;
}

/**
 * Runs from R_RIP until `budget` instructions have retired or something is pending (checked at every taken branch). `modeBits` is
 * MODE_SINGLE to run exactly one instruction (an exception's delivery counts as one). State is consistent in memory on return.
 */
export function interpret(budget: i32, modeBits: u32): i32 {
  const r = cpu;
  const start = budget;
  let target: u64 = load<u64>(r, R_RIP) + csBase;
  let page: u64 = 1;
  let linearPage: u32 = 0;
  let p: u32 = 0;
  /** The micro-op to go on at, where a region was left aside. */
  let resume: u32 = 0;

  // Enters the block at `target`, then runs it; each turn of the outer loop is one block.
  for (;;) {
    // ---- dispatch ----
    if (resume) {
      p = resume;
      resume = 0;
    } else {
      if (mode !== MODE_64) {
        target &= 0xffffffff;
        if (segmentLimitFault(target)) {
          store<u64>(r, (target - csBase) & 0xffffffff, R_RIP);
          deliverFault();
          target = load<u64>(r, R_RIP) + csBase;
          page = 1;
          budget--;
          if (budget <= 0 || load<u32>(r, R_PENDING)) break;
          continue;
        }
      }
      if ((target & ~0xfff) !== page) {
        const e = itlbEntry(itlbBank, target);
        if (load<u64>(e) === (target & ~0xfff)) linearPage = load<u32>(e, 8);
        else {
          linearPage = codePage(target);
          if (faulted & FAULTED) {
            store<u64>(r, target - csBase, R_RIP);
            deliverFault();
            target = load<u64>(r, R_RIP) + csBase;
            page = 1;
            budget--;
            if (budget <= 0 || load<u32>(r, R_PENDING)) break;
            continue;
          }
        }
        page = target & ~0xfff;
        store<u64>(r, page, REG_PAGE);
        store<u64>(r, page + 0x80000000, REG_PAGE_HIGH);
      }
      const linear = linearPage ? linearPage | ((<u32>target) & 0xfff) : 0;
      const block = linear ? findBlock(linear, mode | modeBits) : 0;
      if (block && (!load<u32>(block, B_PAGE2) || codePage(nextPage(page)) === load<u32>(block, B_PAGE2))) {
        p = block + BLOCK_HEADER;
        if (!modeBits || compilesAtOnce) {
          let entry = load<u32>(block, B_JIT);
          if (!entry && compilesAtOnce) entry = compileNow(block, page);
          if (entry) {
            if (rememberJump(target, entry)) queueAgain(block, page);
            const site = runRegions(entry, target, budget);
            budget = chainBudget;
            target = chainTarget;
            if (!site) {
              if (budget <= 0 || load<u32>(r, R_PENDING)) break;
              continue;
            }
            const code: u32 = load<u8>(site, S_CODE);
            p = load<u32>(site, S_UOP);
            if (code === SITE_ASIDE) {
              // On from the middle of a block, whose first instructions are counted already.
              resume = p;
              page = target & ~0xfff;
              linearPage = load<u32>(site, S_PAGE);
              store<u64>(r, page, REG_PAGE);
              store<u64>(r, page + 0x80000000, REG_PAGE_HIGH);
              budget += load<u8>(p, U_INDEX);
              continue;
            }
            const status: u32 = code === SITE_FAULT ? JIT_FAULT : load<u32>(r, R_JIT_STATUS);
            if (status === JIT_FAULT) {
              if (faultNonCanonical && faultedOnStack(p)) makeStackFault();
              store<u64>(r, target, R_RIP);
              deliverFault();
              target = load<u64>(r, R_RIP) + csBase;
              page = 1;
            } else if (status === JIT_GO) target = load<u64>(r, R_JIT_TARGET);
            else {
              if (status === JIT_EXIT_RUN) return leave(r, start - budget, INTERPRET_EXIT);
              if (budget <= 0 || endsAfterRedispatch(r)) return leave(r, start - budget, INTERPRET_YIELD);
              target = load<u64>(r, R_RIP) + csBase;
              page = 1;
              // Not by way of the look at R_PENDING below: what came up meanwhile would be taken in the shadow.
              continue;
            }
            if (budget <= 0 || load<u32>(r, R_PENDING)) break;
            continue;
          }
          const heat = load<u32>(block, B_HEAT) + 1;
          store<u32>(block, heat, B_HEAT);
          if (heat === HOT) queueBlock(block, page);
        }
      } else {
        clearFault();
        p = decodeBlock(linear, target, mode | modeBits);
        if (!p) {
          store<u64>(r, target - csBase, R_RIP);
          deliverFault();
          target = load<u64>(r, R_RIP) + csBase;
          page = 1;
          budget--;
          if (budget <= 0 || load<u32>(r, R_PENDING)) break;
          continue;
        }
        // So that it is compiled as well.
        if (compilesAtOnce && linear && findBlock(linear, mode | modeBits)) continue;
      }
    }

    // ---- run ----
    for (;;) {
      switch (<i32>load<u16>(p, U_KIND)) {
        case K.END:
          target = page + load<u64>(p, U_IMM);
          break;
        case K.NOP:
          p += UOP_SIZE;
          continue;
        case K.FENCE:
          drainStores();
          p += UOP_SIZE;
          continue;

        case K.MOV8:
          store<u8>(r + D(p), <u8>S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.MOV16:
          store<u16>(r + D(p), <u16>S16(r, p));
          p += UOP_SIZE;
          continue;
        case K.MOV32:
          store<u64>(r + D(p), S32(r, p));
          p += UOP_SIZE;
          continue;
        case K.MOV64:
          store<u64>(r + D(p), S64(r, p));
          p += UOP_SIZE;
          continue;
        case K.MOVI8:
          store<u8>(r + D(p), <u8>I8(p));
          p += UOP_SIZE;
          continue;
        case K.MOVI16:
          store<u16>(r + D(p), <u16>I16(p));
          p += UOP_SIZE;
          continue;
        case K.MOVI64:
          store<u64>(r + D(p), I64(p));
          p += UOP_SIZE;
          continue;
        case K.ZX8:
          store<u64>(r + D(p), S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.ZX16:
          store<u64>(r + D(p), S16(r, p));
          p += UOP_SIZE;
          continue;
        case K.ZX8_16:
          store<u16>(r + D(p), <u16>S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.SX8_16:
          store<u16>(r + D(p), <u16>(<i32>(<i8>S8(r, p))));
          p += UOP_SIZE;
          continue;
        case K.SX8_32:
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i8>S8(r, p)))));
          p += UOP_SIZE;
          continue;
        case K.SX8_64:
          store<i64>(r + D(p), <i64>(<i8>S8(r, p)));
          p += UOP_SIZE;
          continue;
        case K.SX16_32:
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i16>S16(r, p)))));
          p += UOP_SIZE;
          continue;
        case K.SX16_64:
          store<i64>(r + D(p), <i64>(<i16>S16(r, p)));
          p += UOP_SIZE;
          continue;
        case K.SX32_64:
          store<i64>(r + D(p), <i64>(<i32>S32(r, p)));
          p += UOP_SIZE;
          continue;
        case K.LEA64:
          store<u64>(r + D(p), EA(r, p));
          p += UOP_SIZE;
          continue;
        case K.LEA32:
          store<u64>(r + D(p), EA(r, p) & 0xffffffff);
          p += UOP_SIZE;
          continue;
        case K.LEA_G: {
          const a = effectiveAddress(p);
          const size = (load<u32>(p, U_SUB) >> SUB_SIZE_SHIFT) & 15;
          if (size === 2) store<u16>(r + D(p), <u16>a);
          else store<u64>(r + D(p), size === 4 ? a & 0xffffffff : a);
          p += UOP_SIZE;
          continue;
        }
        case K.LD8: {
          const v = read8(EA(r, p));
          if (faulted) break;
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.LD16: {
          const v = read16(EA(r, p));
          if (faulted) break;
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.LD32: {
          const v = read32(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LD64: {
          const v = read64(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDZ8: {
          const v = read8(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDZ16: {
          const v = read16(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDS8_32: {
          const v = read8(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i8>v))));
          p += UOP_SIZE;
          continue;
        }
        case K.LDS8_64: {
          const v = read8(EA(r, p));
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i8>v));
          p += UOP_SIZE;
          continue;
        }
        case K.LDS16_32: {
          const v = read16(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i16>v))));
          p += UOP_SIZE;
          continue;
        }
        case K.LDS16_64: {
          const v = read16(EA(r, p));
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i16>v));
          p += UOP_SIZE;
          continue;
        }
        case K.LDS32_64: {
          const v = read32(EA(r, p));
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i32>v));
          p += UOP_SIZE;
          continue;
        }
        case K.LDW8: {
          const v = readRmw8(EA(r, p));
          if (faulted) break;
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDW16: {
          const v = readRmw16(EA(r, p));
          if (faulted) break;
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDW32: {
          const v = readRmw32(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LDW64: {
          const v = readRmw64(EA(r, p));
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLD8: {
          const a = segmentedOperand(p, 1, false);
          if (faulted) break;
          const v = read8(a);
          if (faulted) break;
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLD16: {
          const a = segmentedOperand(p, 2, false);
          if (faulted) break;
          const v = read16(a);
          if (faulted) break;
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLD32: {
          const a = segmentedOperand(p, 4, false);
          if (faulted) break;
          const v = read32(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLD64: {
          const a = segmentedOperand(p, 8, false);
          if (faulted) break;
          const v = read64(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDZ8: {
          const a = segmentedOperand(p, 1, false);
          if (faulted) break;
          const v = read8(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDZ16: {
          const a = segmentedOperand(p, 2, false);
          if (faulted) break;
          const v = read16(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDS8_32: {
          const a = segmentedOperand(p, 1, false);
          if (faulted) break;
          const v = read8(a);
          if (faulted) break;
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i8>v))));
          p += UOP_SIZE;
          continue;
        }
        case K.GLDS8_64: {
          const a = segmentedOperand(p, 1, false);
          if (faulted) break;
          const v = read8(a);
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i8>v));
          p += UOP_SIZE;
          continue;
        }
        case K.GLDS16_32: {
          const a = segmentedOperand(p, 2, false);
          if (faulted) break;
          const v = read16(a);
          if (faulted) break;
          store<u64>(r + D(p), <u64>(<u32>(<i32>(<i16>v))));
          p += UOP_SIZE;
          continue;
        }
        case K.GLDS16_64: {
          const a = segmentedOperand(p, 2, false);
          if (faulted) break;
          const v = read16(a);
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i16>v));
          p += UOP_SIZE;
          continue;
        }
        case K.GLDS32_64: {
          const a = segmentedOperand(p, 4, false);
          if (faulted) break;
          const v = read32(a);
          if (faulted) break;
          store<i64>(r + D(p), <i64>(<i32>v));
          p += UOP_SIZE;
          continue;
        }
        case K.GLDW8: {
          const a = segmentedOperand(p, 1, true);
          if (faulted) break;
          const v = readRmw8(a);
          if (faulted) break;
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDW16: {
          const a = segmentedOperand(p, 2, true);
          if (faulted) break;
          const v = readRmw16(a);
          if (faulted) break;
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDW32: {
          const a = segmentedOperand(p, 4, true);
          if (faulted) break;
          const v = readRmw32(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.GLDW64: {
          const a = segmentedOperand(p, 8, true);
          if (faulted) break;
          const v = readRmw64(a);
          if (faulted) break;
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.STW8: {
          const v = S8(r, p);
          if (rmwPointer) store<u8>(rmwPointer, <u8>v);
          else slowWrite(rmwAddress, 1, v);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.STW16: {
          const v = S16(r, p);
          if (rmwPointer) store<u16>(rmwPointer, <u16>v);
          else slowWrite(rmwAddress, 2, v);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.STW32: {
          const v = S32(r, p);
          if (rmwPointer) store<u32>(rmwPointer, v);
          else slowWrite(rmwAddress, 4, v);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.STW64: {
          const v = S64(r, p);
          if (rmwPointer) store<u64>(rmwPointer, v);
          else slowWrite(rmwAddress, 8, v);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.ST8:
          write8(EA(r, p), S8(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.ST16:
          write16(EA(r, p), S16(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.ST32:
          write32(EA(r, p), S32(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.ST64:
          write64(EA(r, p), S64(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.STI8:
          write8(EA(r, p), I8(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.STI16:
          write16(EA(r, p), I16(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.STI32:
          write32(EA(r, p), I32(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.STI64:
          write64(EA(r, p), I64(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.GST8: {
          const a = segmentedOperand(p, 1, true);
          if (faulted) break;
          write8(a, S8(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GST16: {
          const a = segmentedOperand(p, 2, true);
          if (faulted) break;
          write16(a, S16(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GST32: {
          const a = segmentedOperand(p, 4, true);
          if (faulted) break;
          write32(a, S32(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GST64: {
          const a = segmentedOperand(p, 8, true);
          if (faulted) break;
          write64(a, S64(r, p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GSTI8: {
          const a = segmentedOperand(p, 1, true);
          if (faulted) break;
          write8(a, I8(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GSTI16: {
          const a = segmentedOperand(p, 2, true);
          if (faulted) break;
          write16(a, I16(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GSTI32: {
          const a = segmentedOperand(p, 4, true);
          if (faulted) break;
          write32(a, I32(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.GSTI64: {
          const a = segmentedOperand(p, 8, true);
          if (faulted) break;
          write64(a, I64(p));
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.ADD8:
          add8(r, D(p), S8(r, p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADDI8:
          add8(r, D(p), I8(p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADD16:
          add16(r, D(p), S16(r, p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADDI16:
          add16(r, D(p), I16(p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADD32:
          add32(r, D(p), S32(r, p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADDI32:
          add32(r, D(p), I32(p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADD64:
          add64(r, D(p), S64(r, p), 0);
          p += UOP_SIZE;
          continue;
        case K.ADDI64:
          add64(r, D(p), I64(p), 0);
          p += UOP_SIZE;
          continue;
        case K.OR8:
          logic8(r, D(p), load<u8>(r + D(p)) | S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.ORI8:
          logic8(r, D(p), load<u8>(r + D(p)) | I8(p));
          p += UOP_SIZE;
          continue;
        case K.OR16:
          logic16(r, D(p), load<u16>(r + D(p)) | S16(r, p));
          p += UOP_SIZE;
          continue;
        case K.ORI16:
          logic16(r, D(p), load<u16>(r + D(p)) | I16(p));
          p += UOP_SIZE;
          continue;
        case K.OR32:
          logic32(r, D(p), load<u32>(r + D(p)) | S32(r, p));
          p += UOP_SIZE;
          continue;
        case K.ORI32:
          logic32(r, D(p), load<u32>(r + D(p)) | I32(p));
          p += UOP_SIZE;
          continue;
        case K.OR64:
          logic64(r, D(p), load<u64>(r + D(p)) | S64(r, p));
          p += UOP_SIZE;
          continue;
        case K.ORI64:
          logic64(r, D(p), load<u64>(r + D(p)) | I64(p));
          p += UOP_SIZE;
          continue;
        case K.ADC8:
          add8(r, D(p), S8(r, p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADCI8:
          add8(r, D(p), I8(p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADC16:
          add16(r, D(p), S16(r, p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADCI16:
          add16(r, D(p), I16(p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADC32:
          add32(r, D(p), S32(r, p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADCI32:
          add32(r, D(p), I32(p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADC64:
          add64(r, D(p), S64(r, p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.ADCI64:
          add64(r, D(p), I64(p), carry(r));
          p += UOP_SIZE;
          continue;
        case K.SBB8:
          sub8(r, D(p), S8(r, p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBBI8:
          sub8(r, D(p), I8(p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBB16:
          sub16(r, D(p), S16(r, p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBBI16:
          sub16(r, D(p), I16(p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBB32:
          sub32(r, D(p), S32(r, p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBBI32:
          sub32(r, D(p), I32(p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBB64:
          sub64(r, D(p), S64(r, p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.SBBI64:
          sub64(r, D(p), I64(p), carry(r), true);
          p += UOP_SIZE;
          continue;
        case K.AND8:
          logic8(r, D(p), load<u8>(r + D(p)) & S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.ANDI8:
          logic8(r, D(p), load<u8>(r + D(p)) & I8(p));
          p += UOP_SIZE;
          continue;
        case K.AND16:
          logic16(r, D(p), load<u16>(r + D(p)) & S16(r, p));
          p += UOP_SIZE;
          continue;
        case K.ANDI16:
          logic16(r, D(p), load<u16>(r + D(p)) & I16(p));
          p += UOP_SIZE;
          continue;
        case K.AND32:
          logic32(r, D(p), load<u32>(r + D(p)) & S32(r, p));
          p += UOP_SIZE;
          continue;
        case K.ANDI32:
          logic32(r, D(p), load<u32>(r + D(p)) & I32(p));
          p += UOP_SIZE;
          continue;
        case K.AND64:
          logic64(r, D(p), load<u64>(r + D(p)) & S64(r, p));
          p += UOP_SIZE;
          continue;
        case K.ANDI64:
          logic64(r, D(p), load<u64>(r + D(p)) & I64(p));
          p += UOP_SIZE;
          continue;
        case K.SUB8:
          sub8(r, D(p), S8(r, p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUBI8:
          sub8(r, D(p), I8(p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUB16:
          sub16(r, D(p), S16(r, p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUBI16:
          sub16(r, D(p), I16(p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUB32:
          sub32(r, D(p), S32(r, p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUBI32:
          sub32(r, D(p), I32(p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUB64:
          sub64(r, D(p), S64(r, p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.SUBI64:
          sub64(r, D(p), I64(p), 0, true);
          p += UOP_SIZE;
          continue;
        case K.XOR8:
          logic8(r, D(p), load<u8>(r + D(p)) ^ S8(r, p));
          p += UOP_SIZE;
          continue;
        case K.XORI8:
          logic8(r, D(p), load<u8>(r + D(p)) ^ I8(p));
          p += UOP_SIZE;
          continue;
        case K.XOR16:
          logic16(r, D(p), load<u16>(r + D(p)) ^ S16(r, p));
          p += UOP_SIZE;
          continue;
        case K.XORI16:
          logic16(r, D(p), load<u16>(r + D(p)) ^ I16(p));
          p += UOP_SIZE;
          continue;
        case K.XOR32:
          logic32(r, D(p), load<u32>(r + D(p)) ^ S32(r, p));
          p += UOP_SIZE;
          continue;
        case K.XORI32:
          logic32(r, D(p), load<u32>(r + D(p)) ^ I32(p));
          p += UOP_SIZE;
          continue;
        case K.XOR64:
          logic64(r, D(p), load<u64>(r + D(p)) ^ S64(r, p));
          p += UOP_SIZE;
          continue;
        case K.XORI64:
          logic64(r, D(p), load<u64>(r + D(p)) ^ I64(p));
          p += UOP_SIZE;
          continue;
        case K.CMP8:
          sub8(r, D(p), S8(r, p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMPI8:
          sub8(r, D(p), I8(p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMP16:
          sub16(r, D(p), S16(r, p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMPI16:
          sub16(r, D(p), I16(p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMP32:
          sub32(r, D(p), S32(r, p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMPI32:
          sub32(r, D(p), I32(p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMP64:
          sub64(r, D(p), S64(r, p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.CMPI64:
          sub64(r, D(p), I64(p), 0, false);
          p += UOP_SIZE;
          continue;
        case K.TEST8:
          setLazy(r, <i64>(<i8>(load<u8>(r + D(p)) & S8(r, p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TESTI8:
          setLazy(r, <i64>(<i8>(load<u8>(r + D(p)) & I8(p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TEST16:
          setLazy(r, <i64>(<i16>(load<u16>(r + D(p)) & S16(r, p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TESTI16:
          setLazy(r, <i64>(<i16>(load<u16>(r + D(p)) & I16(p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TEST32:
          setLazy(r, <i64>(<i32>(load<u32>(r + D(p)) & S32(r, p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TESTI32:
          setLazy(r, <i64>(<i32>(load<u32>(r + D(p)) & I32(p))), 0);
          p += UOP_SIZE;
          continue;
        case K.TEST64:
          setLazy(r, <i64>(load<u64>(r + D(p)) & S64(r, p)), 0);
          p += UOP_SIZE;
          continue;
        case K.TESTI64:
          setLazy(r, <i64>(load<u64>(r + D(p)) & I64(p)), 0);
          p += UOP_SIZE;
          continue;
        case K.INC8: {
          const a: u32 = load<u8>(r + D(p));
          const v: u32 = a + 1;
          setLazy(r, <i64>(<i8>v), keepCarry(r, aux8(<u32>(a & ~v))));
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.INC16: {
          const a: u32 = load<u16>(r + D(p));
          const v: u32 = a + 1;
          setLazy(r, <i64>(<i16>v), keepCarry(r, aux16(<u32>(a & ~v))));
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.INC32: {
          const a: u32 = load<u32>(r + D(p));
          const v: u32 = a + 1;
          setLazy(r, <i64>(<i32>v), keepCarry(r, aux32(<u32>(a & ~v))));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.INC64: {
          const a: u64 = load<u64>(r + D(p));
          const v: u64 = a + 1;
          setLazy(r, <i64>v, keepCarry(r, aux64(a & ~v)));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.DEC8: {
          const a: u32 = load<u8>(r + D(p));
          const v: u32 = a - 1;
          setLazy(r, <i64>(<i8>v), keepCarry(r, aux8(<u32>(~a & v))));
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.DEC16: {
          const a: u32 = load<u16>(r + D(p));
          const v: u32 = a - 1;
          setLazy(r, <i64>(<i16>v), keepCarry(r, aux16(<u32>(~a & v))));
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.DEC32: {
          const a: u32 = load<u32>(r + D(p));
          const v: u32 = a - 1;
          setLazy(r, <i64>(<i32>v), keepCarry(r, aux32(<u32>(~a & v))));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.DEC64: {
          const a: u64 = load<u64>(r + D(p));
          const v: u64 = a - 1;
          setLazy(r, <i64>v, keepCarry(r, aux64(~a & v)));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.NEG8: {
          const a: u32 = load<u8>(r + D(p));
          const v: u32 = 0 - a;
          setLazy(r, <i64>(<i8>v), aux8(<u32>(a | v)));
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.NEG16: {
          const a: u32 = load<u16>(r + D(p));
          const v: u32 = 0 - a;
          setLazy(r, <i64>(<i16>v), aux16(<u32>(a | v)));
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.NEG32: {
          const a: u32 = load<u32>(r + D(p));
          const v: u32 = 0 - a;
          setLazy(r, <i64>(<i32>v), aux32(<u32>(a | v)));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.NEG64: {
          const a: u64 = load<u64>(r + D(p));
          const v: u64 = 0 - a;
          setLazy(r, <i64>v, aux64(a | v));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.NOT8: {
          const v: u32 = ~load<u8>(r + D(p));
          store<u8>(r + D(p), <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.NOT16: {
          const v: u32 = ~load<u16>(r + D(p));
          store<u16>(r + D(p), <u16>v);
          p += UOP_SIZE;
          continue;
        }
        case K.NOT32: {
          const v: u32 = ~load<u32>(r + D(p));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.NOT64: {
          const v: u64 = ~load<u64>(r + D(p));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.SHLI32: {
          const a = load<u32>(r + D(p));
          const c = I32(p);
          const v = a << c;
          const cf = (<u32>(a >> (32 - c))) & 1;
          setLazy(r, <i64>(<i32>v), auxCarryOverflow(cf, cf ^ (<u32>(v >> 31))));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.SHLI64: {
          const a = load<u64>(r + D(p));
          const c = I64(p);
          const v = a << c;
          const cf = (<u32>(a >> (64 - c))) & 1;
          setLazy(r, <i64>v, auxCarryOverflow(cf, cf ^ (<u32>(v >> 63))));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.SHRI32: {
          const a = load<u32>(r + D(p));
          const c = I32(p);
          const v = a >> c;
          setLazy(r, <i64>(<i32>v), auxCarryOverflow((<u32>(a >> (c - 1))) & 1, <u32>((a >> (c - 1)) >> 31)));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.SHRI64: {
          const a = load<u64>(r + D(p));
          const c = I64(p);
          const v = a >> c;
          setLazy(r, <i64>v, auxCarryOverflow((<u32>(a >> (c - 1))) & 1, <u32>((a >> (c - 1)) >> 63)));
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.SARI32: {
          const a = load<i32>(r + D(p));
          const c = <i32>I32(p);
          const v = a >> c;
          setLazy(r, <i64>v, auxCarryOverflow((<u32>(a >> (c - 1))) & 1, 0));
          store<u64>(r + D(p), <u64>(<u32>v));
          p += UOP_SIZE;
          continue;
        }
        case K.SARI64: {
          const a = load<i64>(r + D(p));
          const c = <i64>I64(p);
          const v = a >> c;
          setLazy(r, <i64>v, auxCarryOverflow((<u32>(a >> (c - 1))) & 1, 0));
          store<u64>(r + D(p), <u64>(<u64>v));
          p += UOP_SIZE;
          continue;
        }
        case K.SHIFT_I: {
          const sub = load<u32>(p, U_SUB);
          const size = (sub >> SUB_SIZE_SHIFT) & 15;
          const d = r + D(p);
          const before: u64 =
            size === 8 ? load<u64>(d) : size === 4 ? load<u32>(d) : size === 2 ? load<u16>(d) : load<u8>(d);
          const v = shiftSized(sub & 7, before, I32(p), size);
          if (size >= 4) store<u64>(d, v);
          else if (size === 2) store<u16>(d, <u16>v);
          else store<u8>(d, <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.SHIFT_CL: {
          const sub = load<u32>(p, U_SUB);
          const size = (sub >> SUB_SIZE_SHIFT) & 15;
          const d = r + D(p);
          const before: u64 =
            size === 8 ? load<u64>(d) : size === 4 ? load<u32>(d) : size === 2 ? load<u16>(d) : load<u8>(d);
          const v = shiftSized(sub & 7, before, load<u8>(r, 8), size);
          if (size >= 4) store<u64>(d, v);
          else if (size === 2) store<u16>(d, <u16>v);
          else store<u8>(d, <u8>v);
          p += UOP_SIZE;
          continue;
        }
        case K.IMUL32: {
          const v = <i64>(<i32>load<u32>(r + D(p))) * <i64>(<i32>S32(r, p));
          const ov = u32(v !== <i64>(<i32>v));
          setLazy(r, <i64>(<i32>v), auxCarryOverflow(ov, ov));
          store<u64>(r + D(p), (<u64>v) & 0xffffffff);
          p += UOP_SIZE;
          continue;
        }
        case K.IMUL64: {
          const a = <i64>load<u64>(r + D(p));
          const b = <i64>S64(r, p);
          const v = a * b;
          const ov = u32(mulHighSigned(a, b) !== v >> 63);
          setLazy(r, v, auxCarryOverflow(ov, ov));
          store<i64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.IMULI32: {
          const v = <i64>(<i32>S32(r, p)) * <i64>(<i32>I32(p));
          const ov = u32(v !== <i64>(<i32>v));
          setLazy(r, <i64>(<i32>v), auxCarryOverflow(ov, ov));
          store<u64>(r + D(p), (<u64>v) & 0xffffffff);
          p += UOP_SIZE;
          continue;
        }
        case K.IMULI64: {
          const a = <i64>S64(r, p);
          const b = <i64>I64(p);
          const v = a * b;
          const ov = u32(mulHighSigned(a, b) !== v >> 63);
          setLazy(r, v, auxCarryOverflow(ov, ov));
          store<i64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.XCHG32: {
          const a: u64 = load<u32>(r + D(p));
          store<u64>(r + D(p), S32(r, p));
          store<u64>(r + load<u8>(p, U_S), a);
          p += UOP_SIZE;
          continue;
        }
        case K.XCHG64: {
          const a: u64 = load<u64>(r + D(p));
          store<u64>(r + D(p), S64(r, p));
          store<u64>(r + load<u8>(p, U_S), a);
          p += UOP_SIZE;
          continue;
        }
        case K.BSWAP32: {
          store<u64>(r + D(p), bswap<u32>(load<u32>(r + D(p))));
          p += UOP_SIZE;
          continue;
        }
        case K.BSWAP64: {
          store<u64>(r + D(p), bswap<u64>(load<u64>(r + D(p))));
          p += UOP_SIZE;
          continue;
        }
        case K.CDQ: {
          store<u64>(r, <u64>(<u32>(load<i32>(r) >> 31)), 16);
          p += UOP_SIZE;
          continue;
        }
        case K.CQO: {
          store<i64>(r, load<i64>(r) >> 63, 16);
          p += UOP_SIZE;
          continue;
        }
        case K.SETCC: {
          store<u8>(r + D(p), condition(load<u32>(p, U_SUB)) ? 1 : 0);
          p += UOP_SIZE;
          continue;
        }
        case K.CMOV32: {
          // The upper half is cleared whatever the condition.
          store<u64>(r + D(p), condition(load<u32>(p, U_SUB)) ? S32(r, p) : load<u32>(r + D(p)));
          p += UOP_SIZE;
          continue;
        }
        case K.CMOV64: {
          if (condition(load<u32>(p, U_SUB))) store<u64>(r + D(p), S64(r, p));
          p += UOP_SIZE;
          continue;
        }
        case K.JO:
          if (overflow(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNO:
          if (!overflow(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JB:
          if (carry(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNB:
          if (!carry(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JZ:
          if (lazyResult(r) === 0) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNZ:
          if (!(lazyResult(r) === 0)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JBE:
          if (carry(r) || lazyResult(r) === 0) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNBE:
          if (!(carry(r) || lazyResult(r) === 0)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JS:
          if (sign(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNS:
          if (!sign(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JP:
          if (parity(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNP:
          if (!parity(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JL:
          if (less(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNL:
          if (!less(r)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JLE:
          if (less(r) || lazyResult(r) === 0) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JNLE:
          if (!(less(r) || lazyResult(r) === 0)) {
            target = page + load<u64>(p, U_IMM);
            break;
          }
          p += UOP_SIZE;
          continue;
        case K.JMP:
          target = page + load<u64>(p, U_IMM);
          break;
        case K.JMPR:
          target = S64(r, p);
          if (isCanonical(target)) noteTarget(p, target - page);
          else raiseGp();
          break;
        case K.CALL: {
          const sp = load<u64>(r, RSP << 3) - 8;
          write64(sp, next(page, p));
          if (faulted & FAULTED) break;
          store<u64>(r, sp, RSP << 3);
          target = page + load<u64>(p, U_IMM);
          break;
        }
        case K.CALLR: {
          const to = S64(r, p);
          if (!isCanonical(to)) {
            raiseGp();
            break;
          }
          const sp = load<u64>(r, RSP << 3) - 8;
          write64(sp, next(page, p));
          if (faulted & FAULTED) break;
          store<u64>(r, sp, RSP << 3);
          noteTarget(p, to - page);
          target = to;
          break;
        }
        case K.RET: {
          const sp = load<u64>(r, RSP << 3);
          const to = read64(sp);
          if (faulted) break;
          if (!isCanonical(to)) {
            raiseGp();
            break;
          }
          store<u64>(r, sp + 8, RSP << 3);
          target = to;
          break;
        }
        case K.RETI: {
          const sp = load<u64>(r, RSP << 3);
          const to = read64(sp);
          if (faulted) break;
          if (!isCanonical(to)) {
            raiseGp();
            break;
          }
          store<u64>(r, sp + 8 + load<u64>(p, U_IMM), RSP << 3);
          target = to;
          break;
        }
        case K.PUSH: {
          const sp = load<u64>(r, RSP << 3) - 8;
          write64(sp, S64(r, p));
          if (faulted & FAULTED) break;
          store<u64>(r, sp, RSP << 3);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.PUSHI: {
          const sp = load<u64>(r, RSP << 3) - 8;
          write64(sp, I64(p));
          if (faulted & FAULTED) break;
          store<u64>(r, sp, RSP << 3);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        }
        case K.POP: {
          const sp = load<u64>(r, RSP << 3);
          const v = read64(sp);
          if (faulted) break;
          store<u64>(r, sp + 8, RSP << 3);
          store<u64>(r + D(p), v);
          p += UOP_SIZE;
          continue;
        }
        case K.LEAVE: {
          const sp = load<u64>(r, 5 << 3);
          const v = read64(sp);
          if (faulted) break;
          store<u64>(r, sp + 8, RSP << 3);
          store<u64>(r, v, 5 << 3);
          p += UOP_SIZE;
          continue;
        }
        case K.CALL_X: {
          store<u64>(r, mode === MODE_64 ? next(page, p) : (next(page, p) - csBase) & 0xffffffff, R_RIP);
          const status = execute(p, page);
          if (status === DONE) {
            if (faulted) {
              target = next(page, p);
              break;
            }
            p += UOP_SIZE;
            continue;
          }
          if (status === FAULT) break;
          // REDISPATCH or EXIT_RUN: R_RIP is where to go on.
          if (faulted & LEAVE_BLOCK) clearFault();
          budget -= load<u8>(p, U_INDEX) + 1;
          if (status === EXIT_RUN) return leave(r, start - budget, INTERPRET_EXIT);
          if (budget <= 0 || endsAfterRedispatch(r)) return leave(r, start - budget, INTERPRET_YIELD);
          target = load<u64>(r, R_RIP) + csBase;
          page = 1;
          p = 0;
          break;
        }
        case K.SIMD_R:
        case K.SIMD_LD:
        case K.SIMD_ST:
        case K.SIMD_SPECIAL:
          simdRun(p);
          if (faulted) {
            target = next(page, p);
            break;
          }
          p += UOP_SIZE;
          continue;
        default:
          unreachable();
      }

      // ---- a branch was taken, or a fault is pending ----
      if (!p) break;
      if (faulted) {
        if (faulted & FAULTED) {
          if (faultNonCanonical && faultedOnStack(p)) makeStackFault();
          budget -= load<u8>(p, U_INDEX);
          store<u64>(r, (page + load<u16>(p, U_OFF) - csBase) & (mode === MODE_64 ? u64.MAX_VALUE : 0xffffffff), R_RIP);
          deliverFault();
          target = load<u64>(r, R_RIP) + csBase;
          page = 1;
          budget--;
          break;
        }
        clearFault();
      }
      budget -= load<u8>(p, U_INDEX) + 1;
      if (budget <= 0 || load<u32>(r, R_PENDING)) break;
      if (load<u32>(p, U_SUB) === SUB_LINKABLE && !modeBits) {
        const link = load<u32>(p, U_LINK);
        if (link) {
          const heat = load<u32>(link - BLOCK_HEADER, B_HEAT) + 1;
          store<u32>(link - BLOCK_HEADER, heat, B_HEAT);
          if (heat === HOT) queueBlock(link - BLOCK_HEADER, page);
          p = link;
          continue;
        }
        if (((target ^ page) & ~0xfff) === 0 && linearPage && mode === MODE_64) {
          const to = findBlock(linearPage | ((<u32>target) & 0xfff), mode);
          if (to && !load<u32>(to, B_PAGE2) && !load<u32>(to, B_JIT)) {
            store<u32>(p, to + BLOCK_HEADER, U_LINK);
            p = to + BLOCK_HEADER;
            continue;
          }
        }
      }
      break;
    }
    if (p && (budget <= 0 || load<u32>(r, R_PENDING))) break;
  }
  store<u64>(r, mode === MODE_64 ? target : (target - csBase) & 0xffffffff, R_RIP);
  return leave(r, start - budget, INTERPRET_YIELD);
}
