/**
 * Tier 0: runs micro-ops.
 *
 * One function with one dispatch: a case either ends with `continue` (the next micro-op) or breaks out of the switch with `target` set (a
 * branch was taken) or a fault pending. The vCPU block's address, the micro-op pointer and the current page live in locals.
 */
import { JIT_EXIT_RUN, JIT_FAULT, JIT_GO, SITE_ASIDE, SITE_FAULT, S_CODE, S_PAGE, S_UOP } from '../jit/abi';
import { chainBudget, chainTarget, runFlatRegions, runRegions } from '../jit/chain';
import { JUMP_64, JUMP_FLAT, rememberJump } from '../jit/jump-cache';
import { HEAT_STEP } from '../jit/heat';
import { compileNow, compilesAtOnce, noteHeat } from '../jit/jit';
import { R_ICOUNT, R_INT_SHADOW, R_JIT_STATUS, R_JIT_TARGET, R_PENDING, R_RIP } from '../layout';
import { itlbBank } from '../mmu/banks';
import { codePage, itlbEntry } from '../mmu/tlb';
import { B_HEAT, B_JIT, B_MODE, B_PAGE2, BLOCK_HEADER, findBlock } from './code-cache';
import { decodeBlock } from './decode-block';
import { deliverFault } from './exception';
import { drainStores } from './fence';
import { execute } from './execute';
import { DONE, EXIT_RUN, FAULT } from './status';
import { carry, condition, less, lazyResult, overflow, parity, setLazy, sign } from './flags';
import { faultedOnStack, segmentLimitFault, segmentedOperand } from './operand';
import { PAIR } from './fuse';
import { noteTarget } from './seen-targets';
import { simdRun } from './simd-operand';
import {
  D,
  EA,
  I,
  I64,
  S,
  S64,
  add,
  below,
  decrement,
  disjoint,
  equal,
  exchange,
  extend,
  get,
  increment,
  invert,
  logic,
  multiply32,
  multiply64,
  negate,
  notAbove,
  pop,
  pop32,
  push,
  push32,
  put,
  read,
  read64,
  readRmw,
  readSlot32,
  shiftArithmetic,
  shiftBy,
  shiftLeft,
  shiftRight,
  sub,
  write,
  write64,
  writeBack,
} from './sized';
import {
  FAULTED,
  LEAVE_BLOCK,
  MODE_64,
  MODE_FLAT,
  RAX,
  RBP,
  RCX,
  RDX,
  RSP,
  clearFault,
  cpu,
  csBase,
  faultNonCanonical,
  faulted,
  isCanonical,
  isModeKnown,
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
  UOP_SIZE,
  U_AT,
  U_IMM,
  U_INDEX,
  U_LEN,
  U_LINK,
  U_NEXT,
  U_OFF,
  U_OP,
  U_S,
  U_SUB,
} from './uops';

/** Address of the page after one; linear addresses have 32 bits outside 64-bit mode. */
// @ts-ignore: decorator
@inline
function nextPage(page: u64): u64 {
  return mode === MODE_64 ? page + 0x1000 : (page + 0x1000) & 0xffffffff;
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
  /** The branch that led to `target`; 0: it was something else. */
  let from: u32 = 0;

  // Enters the block at `target`, then runs it; each turn of the outer loop is one block.
  for (;;) {
    // ---- dispatch ----
    if (resume) {
      p = resume;
      resume = 0;
    } else {
      if (mode !== MODE_64) {
        target &= 0xffffffff;
        if (mode !== MODE_FLAT && segmentLimitFault(target)) {
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
      assert(isModeKnown());
      const key = mode | modeBits;
      let block: u32 = 0;
      if (from) {
        block = load<u32>(from, U_NEXT);
        if (!block || load<u32>(from, U_AT) !== linear || load<u32>(block, B_MODE) !== key) {
          block = linear ? findBlock(linear, key) : 0;
          store<u32>(from, linear, U_AT);
          store<u32>(from, block, U_NEXT);
        }
        from = 0;
      } else if (linear) block = findBlock(linear, key);
      if (block && (!load<u32>(block, B_PAGE2) || codePage(nextPage(page)) === load<u32>(block, B_PAGE2))) {
        p = block + BLOCK_HEADER;
        if (!modeBits || compilesAtOnce) {
          let entry = load<u32>(block, B_JIT);
          if (!entry && compilesAtOnce) entry = compileNow(block, page);
          if (entry) {
            rememberJump(target, entry, mode === MODE_64 ? JUMP_64 : JUMP_FLAT);
            const site = mode === MODE_64 ? runRegions(entry, target, budget) : runFlatRegions(entry, target, budget);
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
          if (!(heat & (HEAT_STEP - 1))) noteHeat(block, page, heat);
        }
      } else {
        clearFault();
        p = decodeBlock(linear, target, key);
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
        if (compilesAtOnce && linear && findBlock(linear, key)) continue;
      }
    }

    // ---- run ----
    for (;;) {
      // One line a kind where kinds differ in size or operand only.
      // prettier-ignore
      switch (<i32>load<u8>(p, U_OP)) {
        case K.END:
          target = page + load<u64>(p, U_IMM);
          break;
        case K.NOP: p += UOP_SIZE; continue;
        case K.FENCE: drainStores(); p += UOP_SIZE; continue;
        case K.MOV8: put<u8, u32>(r + D(p), S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.MOV16: put<u16, u32>(r + D(p), S<u16, u32>(r, p)); p += UOP_SIZE; continue;
        case K.MOV32: put<u32, u32>(r + D(p), S<u32, u32>(r, p)); p += UOP_SIZE; continue;
        case PAIR.MOV64_MOV64:
          put<u64, u64>(r + D(p), S<u64, u64>(r, p));
          p += UOP_SIZE;
        // falls through
        case K.MOV64: put<u64, u64>(r + D(p), S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.MOVI8: put<u8, u32>(r + D(p), I<u8, u32>(p)); p += UOP_SIZE; continue;
        case K.MOVI16: put<u16, u32>(r + D(p), I<u16, u32>(p)); p += UOP_SIZE; continue;
        case K.MOVI64: put<u64, u64>(r + D(p), I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.ZX8: store<u64>(r + D(p), S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ZX16: store<u64>(r + D(p), S<u16, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ZX8_16: put<u16, u32>(r + D(p), S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.SX8_16: put<u16, u32>(r + D(p), <u32>extend<u8, u32>(S<u8, u32>(r, p))); p += UOP_SIZE; continue;
        case K.SX8_32: put<u32, u32>(r + D(p), <u32>extend<u8, u32>(S<u8, u32>(r, p))); p += UOP_SIZE; continue;
        case K.SX8_64: put<u64, u64>(r + D(p), <u64>extend<u8, u32>(S<u8, u32>(r, p))); p += UOP_SIZE; continue;
        case K.SX16_32: put<u32, u32>(r + D(p), <u32>extend<u16, u32>(S<u16, u32>(r, p))); p += UOP_SIZE; continue;
        case K.SX16_64: put<u64, u64>(r + D(p), <u64>extend<u16, u32>(S<u16, u32>(r, p))); p += UOP_SIZE; continue;
        case K.SX32_64: put<u64, u64>(r + D(p), <u64>extend<u32, u32>(S<u32, u32>(r, p))); p += UOP_SIZE; continue;
        case K.LEA64: put<u64, u64>(r + D(p), EA(r, p)); p += UOP_SIZE; continue;
        case K.LEA32: put<u32, u32>(r + D(p), <u32>EA(r, p)); p += UOP_SIZE; continue;
        case K.LD8: {
          const v = read<u8, u32>(EA(r, p)); if (faulted) break; put<u8, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LD16: {
          const v = read<u16, u32>(EA(r, p)); if (faulted) break; put<u16, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LD32: {
          const v = read<u32, u32>(EA(r, p)); if (faulted) break; put<u32, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case PAIR.LD64_LD64: {
          const v = read<u64, u64>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), v); p += UOP_SIZE;
        }
        // falls through
        case K.LD64: {
          const v = read<u64, u64>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDZ8: {
          const v = read<u8, u32>(EA(r, p)); if (faulted) break; store<u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDZ16: {
          const v = read<u16, u32>(EA(r, p)); if (faulted) break; store<u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDS8_32: {
          const v = read<u8, u32>(EA(r, p)); if (faulted) break; put<u32, u32>(r + D(p), <u32>extend<u8, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.LDS8_64: {
          const v = read<u8, u32>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u8, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.LDS16_32: {
          const v = read<u16, u32>(EA(r, p)); if (faulted) break; put<u32, u32>(r + D(p), <u32>extend<u16, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.LDS16_64: {
          const v = read<u16, u32>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u16, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.LDS32_64: {
          const v = read<u32, u32>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u32, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.LDW8: {
          const v = readRmw<u8, u32>(EA(r, p)); if (faulted) break; put<u8, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDW16: {
          const v = readRmw<u16, u32>(EA(r, p)); if (faulted) break; put<u16, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDW32: {
          const v = readRmw<u32, u32>(EA(r, p)); if (faulted) break; put<u32, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.LDW64: {
          const v = readRmw<u64, u64>(EA(r, p)); if (faulted) break; put<u64, u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLD8: {
          const a = segmentedOperand(p, 1, false); if (faulted) break;
          const v = read<u8, u32>(a); if (faulted) break; put<u8, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLD16: {
          const a = segmentedOperand(p, 2, false); if (faulted) break;
          const v = read<u16, u32>(a); if (faulted) break; put<u16, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLD32: {
          const a = segmentedOperand(p, 4, false); if (faulted) break;
          const v = read<u32, u32>(a); if (faulted) break; put<u32, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLD64: {
          const a = segmentedOperand(p, 8, false); if (faulted) break;
          const v = read<u64, u64>(a); if (faulted) break; put<u64, u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDZ8: {
          const a = segmentedOperand(p, 1, false); if (faulted) break;
          const v = read<u8, u32>(a); if (faulted) break; store<u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDZ16: {
          const a = segmentedOperand(p, 2, false); if (faulted) break;
          const v = read<u16, u32>(a); if (faulted) break; store<u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDS8_32: {
          const a = segmentedOperand(p, 1, false); if (faulted) break;
          const v = read<u8, u32>(a); if (faulted) break; put<u32, u32>(r + D(p), <u32>extend<u8, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.GLDS8_64: {
          const a = segmentedOperand(p, 1, false); if (faulted) break;
          const v = read<u8, u32>(a); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u8, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.GLDS16_32: {
          const a = segmentedOperand(p, 2, false); if (faulted) break;
          const v = read<u16, u32>(a); if (faulted) break; put<u32, u32>(r + D(p), <u32>extend<u16, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.GLDS16_64: {
          const a = segmentedOperand(p, 2, false); if (faulted) break;
          const v = read<u16, u32>(a); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u16, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.GLDS32_64: {
          const a = segmentedOperand(p, 4, false); if (faulted) break;
          const v = read<u32, u32>(a); if (faulted) break; put<u64, u64>(r + D(p), <u64>extend<u32, u32>(v)); p += UOP_SIZE; continue;
        }
        case K.GLDW8: {
          const a = segmentedOperand(p, 1, true); if (faulted) break;
          const v = readRmw<u8, u32>(a); if (faulted) break; put<u8, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDW16: {
          const a = segmentedOperand(p, 2, true); if (faulted) break;
          const v = readRmw<u16, u32>(a); if (faulted) break; put<u16, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDW32: {
          const a = segmentedOperand(p, 4, true); if (faulted) break;
          const v = readRmw<u32, u32>(a); if (faulted) break; put<u32, u32>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.GLDW64: {
          const a = segmentedOperand(p, 8, true); if (faulted) break;
          const v = readRmw<u64, u64>(a); if (faulted) break; put<u64, u64>(r + D(p), v); p += UOP_SIZE; continue;
        }
        case K.STW8: writeBack<u8, u32>(S<u8, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STW16: writeBack<u16, u32>(S<u16, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STW32: writeBack<u32, u32>(S<u32, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STW64: writeBack<u64, u64>(S<u64, u64>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.ST8: write<u8, u32>(EA(r, p), S<u8, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.ST16: write<u16, u32>(EA(r, p), S<u16, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.ST32: write<u32, u32>(EA(r, p), S<u32, u32>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.ST64: write<u64, u64>(EA(r, p), S<u64, u64>(r, p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STI8: write<u8, u32>(EA(r, p), I<u8, u32>(p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STI16: write<u16, u32>(EA(r, p), I<u16, u32>(p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STI32: write<u32, u32>(EA(r, p), I<u32, u32>(p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.STI64: write<u64, u64>(EA(r, p), I<u64, u64>(p));
          if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.GST8: {
          const a = segmentedOperand(p, 1, true); if (faulted) break;
          write<u8, u32>(a, S<u8, u32>(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GST16: {
          const a = segmentedOperand(p, 2, true); if (faulted) break;
          write<u16, u32>(a, S<u16, u32>(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GST32: {
          const a = segmentedOperand(p, 4, true); if (faulted) break;
          write<u32, u32>(a, S<u32, u32>(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GST64: {
          const a = segmentedOperand(p, 8, true); if (faulted) break;
          write<u64, u64>(a, S<u64, u64>(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GSTI8: {
          const a = segmentedOperand(p, 1, true); if (faulted) break;
          write<u8, u32>(a, I<u8, u32>(p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GSTI16: {
          const a = segmentedOperand(p, 2, true); if (faulted) break;
          write<u16, u32>(a, I<u16, u32>(p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GSTI32: {
          const a = segmentedOperand(p, 4, true); if (faulted) break;
          write<u32, u32>(a, I<u32, u32>(p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.GSTI64: {
          const a = segmentedOperand(p, 8, true); if (faulted) break;
          write<u64, u64>(a, I<u64, u64>(p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        }
        case K.ADD8: add<u8, u32>(r, D(p), S<u8, u32>(r, p), 0); p += UOP_SIZE; continue;
        case K.ADDI8: add<u8, u32>(r, D(p), I<u8, u32>(p), 0); p += UOP_SIZE; continue;
        case K.ADD16: add<u16, u32>(r, D(p), S<u16, u32>(r, p), 0); p += UOP_SIZE; continue;
        case K.ADDI16: add<u16, u32>(r, D(p), I<u16, u32>(p), 0); p += UOP_SIZE; continue;
        case K.ADD32: add<u32, u32>(r, D(p), S<u32, u32>(r, p), 0); p += UOP_SIZE; continue;
        case K.ADDI32: add<u32, u32>(r, D(p), I<u32, u32>(p), 0); p += UOP_SIZE; continue;
        case K.ADD64: add<u64, u64>(r, D(p), S<u64, u64>(r, p), 0); p += UOP_SIZE; continue;
        case K.ADDI64: add<u64, u64>(r, D(p), I<u64, u64>(p), 0); p += UOP_SIZE; continue;
        case K.OR8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) | S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ORI8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) | I<u8, u32>(p)); p += UOP_SIZE; continue;
        case K.OR16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) | S<u16, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ORI16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) | I<u16, u32>(p)); p += UOP_SIZE; continue;
        case K.OR32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) | S<u32, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ORI32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) | I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.OR64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) | S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.ORI64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) | I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.ADC8: add<u8, u32>(r, D(p), S<u8, u32>(r, p), carry(r)); p += UOP_SIZE; continue;
        case K.ADCI8: add<u8, u32>(r, D(p), I<u8, u32>(p), carry(r)); p += UOP_SIZE; continue;
        case K.ADC16: add<u16, u32>(r, D(p), S<u16, u32>(r, p), carry(r)); p += UOP_SIZE; continue;
        case K.ADCI16: add<u16, u32>(r, D(p), I<u16, u32>(p), carry(r)); p += UOP_SIZE; continue;
        case K.ADC32: add<u32, u32>(r, D(p), S<u32, u32>(r, p), carry(r)); p += UOP_SIZE; continue;
        case K.ADCI32: add<u32, u32>(r, D(p), I<u32, u32>(p), carry(r)); p += UOP_SIZE; continue;
        case K.ADC64: add<u64, u64>(r, D(p), S<u64, u64>(r, p), carry(r)); p += UOP_SIZE; continue;
        case K.ADCI64: add<u64, u64>(r, D(p), I<u64, u64>(p), carry(r)); p += UOP_SIZE; continue;
        case K.SBB8: sub<u8, u32>(r, D(p), S<u8, u32>(r, p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBBI8: sub<u8, u32>(r, D(p), I<u8, u32>(p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBB16: sub<u16, u32>(r, D(p), S<u16, u32>(r, p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBBI16: sub<u16, u32>(r, D(p), I<u16, u32>(p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBB32: sub<u32, u32>(r, D(p), S<u32, u32>(r, p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBBI32: sub<u32, u32>(r, D(p), I<u32, u32>(p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBB64: sub<u64, u64>(r, D(p), S<u64, u64>(r, p), carry(r), true); p += UOP_SIZE; continue;
        case K.SBBI64: sub<u64, u64>(r, D(p), I<u64, u64>(p), carry(r), true); p += UOP_SIZE; continue;
        case K.AND8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) & S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ANDI8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) & I<u8, u32>(p)); p += UOP_SIZE; continue;
        case K.AND16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) & S<u16, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ANDI16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) & I<u16, u32>(p)); p += UOP_SIZE; continue;
        case K.AND32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) & S<u32, u32>(r, p)); p += UOP_SIZE; continue;
        case K.ANDI32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) & I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.AND64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) & S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.ANDI64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) & I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.SUB8: sub<u8, u32>(r, D(p), S<u8, u32>(r, p), 0, true); p += UOP_SIZE; continue;
        case K.SUBI8: sub<u8, u32>(r, D(p), I<u8, u32>(p), 0, true); p += UOP_SIZE; continue;
        case K.SUB16: sub<u16, u32>(r, D(p), S<u16, u32>(r, p), 0, true); p += UOP_SIZE; continue;
        case K.SUBI16: sub<u16, u32>(r, D(p), I<u16, u32>(p), 0, true); p += UOP_SIZE; continue;
        case K.SUB32: sub<u32, u32>(r, D(p), S<u32, u32>(r, p), 0, true); p += UOP_SIZE; continue;
        case K.SUBI32: sub<u32, u32>(r, D(p), I<u32, u32>(p), 0, true); p += UOP_SIZE; continue;
        case K.SUB64: sub<u64, u64>(r, D(p), S<u64, u64>(r, p), 0, true); p += UOP_SIZE; continue;
        case K.SUBI64: sub<u64, u64>(r, D(p), I<u64, u64>(p), 0, true); p += UOP_SIZE; continue;
        case K.XOR8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) ^ S<u8, u32>(r, p)); p += UOP_SIZE; continue;
        case K.XORI8: logic<u8, u32>(r, D(p), get<u8, u32>(r + D(p)) ^ I<u8, u32>(p)); p += UOP_SIZE; continue;
        case K.XOR16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) ^ S<u16, u32>(r, p)); p += UOP_SIZE; continue;
        case K.XORI16: logic<u16, u32>(r, D(p), get<u16, u32>(r + D(p)) ^ I<u16, u32>(p)); p += UOP_SIZE; continue;
        case K.XOR32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) ^ S<u32, u32>(r, p)); p += UOP_SIZE; continue;
        case K.XORI32: logic<u32, u32>(r, D(p), get<u32, u32>(r + D(p)) ^ I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.XOR64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) ^ S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.XORI64: logic<u64, u64>(r, D(p), get<u64, u64>(r + D(p)) ^ I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.CMP8: sub<u8, u32>(r, D(p), S<u8, u32>(r, p), 0, false); p += UOP_SIZE; continue;
        case K.CMPI8: sub<u8, u32>(r, D(p), I<u8, u32>(p), 0, false); p += UOP_SIZE; continue;
        case K.CMP16: sub<u16, u32>(r, D(p), S<u16, u32>(r, p), 0, false); p += UOP_SIZE; continue;
        case K.CMPI16: sub<u16, u32>(r, D(p), I<u16, u32>(p), 0, false); p += UOP_SIZE; continue;
        case K.CMP32: sub<u32, u32>(r, D(p), S<u32, u32>(r, p), 0, false); p += UOP_SIZE; continue;
        case K.CMPI32: sub<u32, u32>(r, D(p), I<u32, u32>(p), 0, false); p += UOP_SIZE; continue;
        case K.CMP64: sub<u64, u64>(r, D(p), S<u64, u64>(r, p), 0, false); p += UOP_SIZE; continue;
        case K.CMPI64: sub<u64, u64>(r, D(p), I<u64, u64>(p), 0, false); p += UOP_SIZE; continue;
        case K.TEST8: setLazy(r, extend<u8, u32>(get<u8, u32>(r + D(p)) & S<u8, u32>(r, p)), 0); p += UOP_SIZE; continue;
        case K.TESTI8: setLazy(r, extend<u8, u32>(get<u8, u32>(r + D(p)) & I<u8, u32>(p)), 0); p += UOP_SIZE; continue;
        case K.TEST16: setLazy(r, extend<u16, u32>(get<u16, u32>(r + D(p)) & S<u16, u32>(r, p)), 0); p += UOP_SIZE; continue;
        case K.TESTI16: setLazy(r, extend<u16, u32>(get<u16, u32>(r + D(p)) & I<u16, u32>(p)), 0); p += UOP_SIZE; continue;
        case K.TEST32: setLazy(r, extend<u32, u32>(get<u32, u32>(r + D(p)) & S<u32, u32>(r, p)), 0); p += UOP_SIZE; continue;
        case K.TESTI32: setLazy(r, extend<u32, u32>(get<u32, u32>(r + D(p)) & I<u32, u32>(p)), 0); p += UOP_SIZE; continue;
        case K.TEST64: setLazy(r, extend<u64, u64>(get<u64, u64>(r + D(p)) & S<u64, u64>(r, p)), 0); p += UOP_SIZE; continue;
        case K.TESTI64: setLazy(r, extend<u64, u64>(get<u64, u64>(r + D(p)) & I<u64, u64>(p)), 0); p += UOP_SIZE; continue;
        case K.INC8: increment<u8, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.INC16: increment<u16, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.INC32: increment<u32, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.INC64: increment<u64, u64>(r, D(p)); p += UOP_SIZE; continue;
        case K.DEC8: decrement<u8, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.DEC16: decrement<u16, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.DEC32: decrement<u32, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.DEC64: decrement<u64, u64>(r, D(p)); p += UOP_SIZE; continue;
        case K.NEG8: negate<u8, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NEG16: negate<u16, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NEG32: negate<u32, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NEG64: negate<u64, u64>(r, D(p)); p += UOP_SIZE; continue;
        case K.NOT8: invert<u8, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NOT16: invert<u16, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NOT32: invert<u32, u32>(r, D(p)); p += UOP_SIZE; continue;
        case K.NOT64: invert<u64, u64>(r, D(p)); p += UOP_SIZE; continue;
        case K.SHLI32: shiftLeft<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.SHLI64: shiftLeft<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.SHRI32: shiftRight<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.SHRI64: shiftRight<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.SARI32: shiftArithmetic<i32>(r, D(p), <i32>I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.SARI64: shiftArithmetic<i64>(r, D(p), <i64>I<u64, u64>(p)); p += UOP_SIZE; continue;
        case K.SHIFT_I: shiftBy(r, p, I<u32, u32>(p)); p += UOP_SIZE; continue;
        case K.SHIFT_CL: shiftBy(r, p, load<u8>(r, RCX << 3)); p += UOP_SIZE; continue;
        case K.IMUL32: multiply32(r, D(p), load<i32>(r + D(p)), S<i32, i32>(r, p)); p += UOP_SIZE; continue;
        case K.IMUL64: multiply64(r, D(p), load<i64>(r + D(p)), S<i64, i64>(r, p)); p += UOP_SIZE; continue;
        case K.IMULI32: multiply32(r, D(p), S<i32, i32>(r, p), I<i32, i32>(p)); p += UOP_SIZE; continue;
        case K.IMULI64: multiply64(r, D(p), S<i64, i64>(r, p), I<i64, i64>(p)); p += UOP_SIZE; continue;
        case K.XCHG32: exchange<u32, u32>(r, D(p), load<u8>(p, U_S)); p += UOP_SIZE; continue;
        case K.XCHG64: exchange<u64, u64>(r, D(p), load<u8>(p, U_S)); p += UOP_SIZE; continue;
        case K.BSWAP32: put<u32, u32>(r + D(p), bswap<u32>(get<u32, u32>(r + D(p)))); p += UOP_SIZE; continue;
        case K.BSWAP64: put<u64, u64>(r + D(p), bswap<u64>(get<u64, u64>(r + D(p)))); p += UOP_SIZE; continue;
        case K.CDQ: put<u32, u32>(r + (RDX << 3), <u32>(load<i32>(r, RAX << 3) >> 31)); p += UOP_SIZE; continue;
        case K.CQO: store<i64>(r, load<i64>(r, RAX << 3) >> 63, RDX << 3); p += UOP_SIZE; continue;
        case K.SETCC: store<u8>(r + D(p), condition(load<u32>(p, U_SUB)) ? 1 : 0); p += UOP_SIZE; continue;
        case K.CMOV32:
          // The upper half is cleared whatever the condition.
          put<u32, u32>(r + D(p), condition(load<u32>(p, U_SUB)) ? S<u32, u32>(r, p) : get<u32, u32>(r + D(p)));
          p += UOP_SIZE; continue;
        case K.CMOV64: if (condition(load<u32>(p, U_SUB))) put<u64, u64>(r + D(p), S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.JO: if (overflow(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNO: if (!overflow(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JB: if (carry(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNB: if (!carry(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JZ: if (lazyResult(r) === 0) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNZ: if (!(lazyResult(r) === 0)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JBE: if (carry(r) || lazyResult(r) === 0) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNBE: if (!(carry(r) || lazyResult(r) === 0)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JS: if (sign(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNS: if (!sign(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JP: if (parity(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNP: if (!parity(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JL: if (less(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNL: if (!less(r)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JLE: if (less(r) || lazyResult(r) === 0) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case K.JNLE: if (!(less(r) || lazyResult(r) === 0)) { target = page + load<u64>(p, U_IMM); break; } p += UOP_SIZE; continue;
        case PAIR.CMP32_JB: { const jumps = below<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP32_JNB: { const jumps = !below<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP32_JZ: { const jumps = equal<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP32_JNZ: { const jumps = !equal<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP32_JBE: { const jumps = notAbove<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP32_JNBE: { const jumps = !notAbove<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JB: { const jumps = below<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JNB: { const jumps = !below<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JZ: { const jumps = equal<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JNZ: { const jumps = !equal<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JBE: { const jumps = notAbove<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI32_JNBE: { const jumps = !notAbove<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JB: { const jumps = below<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JNB: { const jumps = !below<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JZ: { const jumps = equal<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JNZ: { const jumps = !equal<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JBE: { const jumps = notAbove<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP64_JNBE: { const jumps = !notAbove<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JB: { const jumps = below<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JNB: { const jumps = !below<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JZ: { const jumps = equal<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JNZ: { const jumps = !equal<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JBE: { const jumps = notAbove<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI64_JNBE: { const jumps = !notAbove<u64, u64>(r, D(p), I<u64, u64>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP8_JZ: { const jumps = equal<u8, u32>(r, D(p), S<u8, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMP8_JNZ: { const jumps = !equal<u8, u32>(r, D(p), S<u8, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI8_JZ: { const jumps = equal<u8, u32>(r, D(p), I<u8, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.CMPI8_JNZ: { const jumps = !equal<u8, u32>(r, D(p), I<u8, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST8_JZ: { const jumps = disjoint<u8, u32>(r, D(p), S<u8, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST8_JNZ: { const jumps = !disjoint<u8, u32>(r, D(p), S<u8, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TESTI8_JZ: { const jumps = disjoint<u8, u32>(r, D(p), I<u8, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TESTI8_JNZ: { const jumps = !disjoint<u8, u32>(r, D(p), I<u8, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST32_JZ: { const jumps = disjoint<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST32_JNZ: { const jumps = !disjoint<u32, u32>(r, D(p), S<u32, u32>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TESTI32_JZ: { const jumps = disjoint<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TESTI32_JNZ: { const jumps = !disjoint<u32, u32>(r, D(p), I<u32, u32>(p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST64_JZ: { const jumps = disjoint<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case PAIR.TEST64_JNZ: { const jumps = !disjoint<u64, u64>(r, D(p), S<u64, u64>(r, p)); p += UOP_SIZE; if (jumps) { target = page + I64(p); break; } p += UOP_SIZE; continue; }
        case K.JMP:
          target = page + load<u64>(p, U_IMM);
          break;
        case K.JMPR:
          target = S64(r, p);
          if (isCanonical(target)) {
            noteTarget(p, target - page);
            from = p;
          } else raiseGp();
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
          from = p;
          break;
        }
        case PAIR.POP_RET:
          pop(r, D(p)); if (faulted) break; p += UOP_SIZE;
        // falls through
        case K.RET: {
          const sp = load<u64>(r, RSP << 3);
          const to = read64(sp);
          if (faulted) break;
          if (!isCanonical(to)) {
            raiseGp();
            break;
          }
          store<u64>(r, sp + 8 + I64(p), RSP << 3);
          target = to;
          from = p;
          break;
        }
        case PAIR.PUSH_PUSH:
          push(r, S64(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE;
        // falls through
        case K.PUSH:
          push(r, S64(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case PAIR.PUSH_MOV64:
          push(r, S64(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE;
          put<u64, u64>(r + D(p), S<u64, u64>(r, p)); p += UOP_SIZE; continue;
        case K.PUSHI:
          push(r, I64(p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case PAIR.POP_POP:
          pop(r, D(p)); if (faulted) break; p += UOP_SIZE;
        // falls through
        case K.POP:
          pop(r, D(p)); if (faulted) break; p += UOP_SIZE; continue;
        case K.LEAVE: {
          const sp = load<u64>(r, RBP << 3);
          const v = read64(sp);
          if (faulted) break;
          store<u64>(r, sp + 8, RSP << 3);
          store<u64>(r, v, RBP << 3);
          p += UOP_SIZE;
          continue;
        }
        case K.CALL32:
          push32(r, <u32>next(page, p));
          if (faulted & FAULTED) break;
          target = page + load<u64>(p, U_IMM);
          break;
        case K.CALLR32: {
          const to: u64 = S<u32, u32>(r, p);
          push32(r, <u32>next(page, p));
          if (faulted & FAULTED) break;
          noteTarget(p, to - page);
          target = to;
          from = p;
          break;
        }
        case K.RET32: {
          const sp = load<u32>(r, RSP << 3);
          const to: u64 = readSlot32(sp);
          if (faulted) break;
          const above: u32 = sp + 4 + I<u32, u32>(p);
          store<u64>(r, above, RSP << 3);
          target = to;
          from = p;
          break;
        }
        case K.PUSH32:
          push32(r, S<u32, u32>(r, p)); if (faulted) { target = next(page, p); break; } p += UOP_SIZE; continue;
        case K.POP32:
          pop32(r, D(p)); if (faulted) break; p += UOP_SIZE; continue;
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
          if (!(heat & (HEAT_STEP - 1))) noteHeat(link - BLOCK_HEADER, page, heat);
          p = link;
          continue;
        }
        if (((target ^ page) & ~0xfff) === 0 && linearPage && (mode === MODE_64 || mode === MODE_FLAT)) {
          const to = findBlock(linearPage | ((<u32>target) & 0xfff), mode);
          if (to && !load<u32>(to, B_PAGE2) && !load<u32>(to, B_JIT)) {
            store<u32>(p, to + BLOCK_HEADER, U_LINK);
            p = to + BLOCK_HEADER;
            continue;
          }
        }
        from = p;
      }
      break;
    }
    if (p && (budget <= 0 || load<u32>(r, R_PENDING))) break;
  }
  store<u64>(r, mode === MODE_64 ? target : (target - csBase) & 0xffffffff, R_RIP);
  return leave(r, start - budget, INTERPRET_YIELD);
}
