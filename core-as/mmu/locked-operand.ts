/** Where the operand of a locked operation lies when the write half of the TLB does not say: in two pages, in decoded code, while something is armed. */
import { accessAllowed } from '../cpu/watchpoints';
import { FAULTED, cpu, faulted } from '../cpu/state';
import { R_CPL } from '../layout';
import { checkedBank, tlbBank } from './banks';
import { ramWrite } from './physical';
import { probeWrite, writePointer } from './tlb';
import { ACCESS_USER, ACCESS_WRITE, WALK_FAULT, walk } from './walk';

/** Linear address of the operand's first byte. */
export let lockedPage1: u32 = 0;
/** Linear address of the second page, in which the operand ends; 0: it lies in one page. */
export let lockedPage2: u32 = 0;

/**
 * Finds the operand. False after a fault, and when some of it is not writable memory. The checks of both pages come before anything is
 * read (SDM vol. 3, 9.1.2.2: a locked access that is split is one access).
 */
export function locateLocked(address: u64, sizeBytes: u32): bool {
  lockedPage2 = 0;
  if (tlbBank === checkedBank && !accessAllowed(address, sizeBytes, true)) return false;
  const room: u32 = 0x1000 - ((<u32>address) & 0xfff);
  if (sizeBytes <= room) {
    // Enters the translation where that is allowed.
    lockedPage1 = writePointer(address);
    if (faulted & FAULTED) return false;
    if (!lockedPage1) lockedPage1 = writable(address);
    return lockedPage1 !== 0;
  }
  if (!probeWrite(address, sizeBytes)) return false;
  lockedPage1 = writable(address);
  if (lockedPage1) lockedPage2 = writable((address | 0xfff) + 1);
  return lockedPage2 !== 0;
}

/** Linear address of a byte of writable memory, else 0 (a fault may have been raised). */
function writable(address: u64): u32 {
  const gpa = walk(address, (load<u32>(cpu, R_CPL) === 3 ? ACCESS_USER : 0) | ACCESS_WRITE);
  return gpa === WALK_FAULT ? 0 : ramWrite(gpa);
}
