/**
 * From region to region, until one must return to the interpreter.
 *
 * A function of its own, not a part of interpret(): engines keep its few values in registers, and half of what a jump from one region to another
 * cost was that they could not there.
 */
import { B_JIT, B_PAGE2, findBlock } from '../cpu/code-cache';
import { MODE_64, MODE_FLAT, cpu } from '../cpu/state';
import { R_JIT_BUDGET, R_JIT_TARGET, R_PENDING } from '../layout';
import { itlbBank } from '../mmu/banks';
import { itlbEntry } from '../mmu/tlb';
import { SITE_ASIDE, SITE_DYNAMIC, SITE_GO, S_CODE, S_OFFSET, S_REST } from './abi';
import { countExit, countInstructions } from './counts';
import { settleRegionFlags } from './flags';
import { enterRegion, noteAside, queueAgain } from './jit';
import { JUMP_64, JUMP_FLAT, findJump, rememberJump } from './jump-cache';
import { countEntry, sitesOf } from './slots';

/** After runRegions(): instructions left of the budget, and the linear address to go on at, or of the instruction that a site belongs to. */
export let chainBudget: i32 = 0;
export let chainTarget: u64 = 0;

/** The block at the address, if instruction TLB and code cache say where that is and a region is entered there; 0: none. */
// @ts-ignore: decorator
@inline
function entryBlock(target: u64, flat: bool): u32 {
  const page = target & ~0xfff;
  const e = itlbEntry(itlbBank, page);
  if (load<u64>(e) !== page) return 0;
  const block = findBlock(load<u32>(e, 8) | ((<u32>target) & 0xfff), flat ? MODE_FLAT : MODE_64);
  return block && !load<u32>(block, B_PAGE2) && load<u32>(block, B_JIT) ? block : 0;
}

/**
 * Runs the region that `entry` (B_JIT) names, entered at the linear address `target`, and those that it leads to. Returns 0 to go on at chainTarget,
 * otherwise the address of the site that the last one was left at: aside, or with something for the interpreter to do. Flags are settled.
 */
export function runRegions(entry: u32, target: u64, budget: i32): u32 {
  return run(entry, target, budget, false);
}

/** The same for regions of 32-bit code, where addresses have 32 bits. Nothing changes the mode but what returns to the interpreter. */
export function runFlatRegions(entry: u32, target: u64, budget: i32): u32 {
  return run(entry, target, budget, true);
}

// @ts-ignore: decorator
@inline
function run(entry: u32, target: u64, budget: i32, flat: bool): u32 {
  const given = budget;
  for (;;) {
    const from = target & ~0xfff;
    if (countEntry(entry)) {
      const block = entryBlock(target, flat);
      if (block) queueAgain(block, from);
    }
    const left = enterRegion(entry, from, budget);
    budget = load<i32>(cpu, R_JIT_BUDGET);
    if (!left) {
      countExit(SITE_DYNAMIC);
      target = load<u64>(cpu, R_JIT_TARGET);
    } else {
      const site = sitesOf(entry) + left;
      const code: u32 = load<u8>(site, S_CODE);
      countExit(code);
      budget += load<u8>(site, S_REST);
      target = from + <u64>(<i64>load<i32>(site, S_OFFSET));
      if (flat) target &= 0xffffffff;
      if (code !== SITE_GO) {
        if (code === SITE_ASIDE) noteAside(site, entry, from);
        chainBudget = budget;
        chainTarget = target;
        settleRegionFlags(cpu);
        countInstructions(given - budget);
        return site;
      }
    }
    if (budget <= 0 || load<u32>(cpu, R_PENDING)) break;
    entry = findJump(target, flat ? JUMP_FLAT : JUMP_64);
    if (!entry) {
      const block = entryBlock(target, flat);
      if (!block) break;
      entry = load<u32>(block, B_JIT);
      rememberJump(target, entry, flat ? JUMP_FLAT : JUMP_64);
    }
  }
  chainBudget = budget;
  chainTarget = target;
  settleRegionFlags(cpu);
  countInstructions(given - budget);
  return 0;
}
