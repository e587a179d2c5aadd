/**
 * The VM generation identifier (Microsoft, "Virtual Machine Generation ID"): 16 random bytes that change whenever the guest may be living a moment
 * for the second time. A guest that sees the change seeds its random numbers anew.
 */
import type { GuestMemory } from '../bus/guest-memory.ts';
import { GENERATION_ID_BYTES, GENERATION_ID_GPA } from '../firmware/layout.ts';

/** Writes another identifier; nothing where the machine has no memory there. `random` makes 32 random bits. */
export function writeGeneration(memory: GuestMemory, random: () => number): void {
  if (!memory.contains(GENERATION_ID_GPA, GENERATION_ID_BYTES)) return;
  for (let at = 0; at < GENERATION_ID_BYTES; at += 4) memory.writeU32(GENERATION_ID_GPA + at, random() >>> 0);
}
