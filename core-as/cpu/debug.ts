/** Debug registers at work (SDM vol. 3, 18.2): instruction breakpoints and single steps. */
import { R_DR, R_PENDING_DB, R_RFLAGS } from '../layout';
import { EVENT_TRAP, deliverEvent, reportDebug } from './exception';
import { FLAG_RF, FLAG_TF, VECTOR_DB, cpu, updateBanks } from './state';
import { KIND_EXECUTE, armed, dr7 } from './watchpoints';

/** DR6.BS: single step. */
export const DR6_BS: u64 = 1 << 14;

/** The instruction in flight decided about the single-step trap by the TF that it left. */
export let stepDecided: bool = false;
export function clearStepDecided(): void {
  stepDecided = false;
}

/**
 * SYSCALL and SYSRET: what counts is TF at their end, so that IA32_FMASK can keep #DB out of the kernel, and a SYSRET to a
 * program being stepped traps as the program's SYSCALL would have. Call when the new flags and mode are in place.
 */
export function stepByNewFlags(): void {
  stepDecided = true;
  if (!(load<u32>(cpu, R_RFLAGS) & FLAG_TF)) return;
  store<u64>(cpu, load<u64>(cpu, R_PENDING_DB) | DR6_BS, R_PENDING_DB);
  updateBanks();
}

/**
 * Instruction breakpoints at the linear address of the next instruction. True when one fired and its #DB, a fault, has been
 * delivered. EFLAGS.RF holds them back for one instruction.
 */
export function instructionBreakpoint(address: u64): bool {
  if (!(dr7() & 0xff) || load<u32>(cpu, R_RFLAGS) & FLAG_RF) return false;
  let hits: u64 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    const kind = armed(n);
    if (kind >= 0 && (kind & 3) === KIND_EXECUTE && load<u64>(cpu + (n << 3), R_DR) === address) hits |= 1 << n;
  }
  if (!hits) return false;
  reportDebug(hits);
  // A fault, but the one whose image of the flags has RF as it was: its handler sets RF (SDM vol. 3, 18.3.1.1).
  deliverEvent(VECTOR_DB, EVENT_TRAP, false, 0);
  return true;
}
