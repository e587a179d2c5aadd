/** Sizes of guest memory as `-m` and `memory.size` take them: bhyve(8), -m. */
import { scanInteger } from './c-numbers.ts';

const MIB = 1n << 20n;
const SUFFIXES = 'kmgtpe';
/** strtoul(3) and expand_number(3) work in 64 bits. */
const LIMIT = 1n << 64n;

/**
 * A plain number is MiB when it is less than 1048576 and bytes otherwise; with a suffix (K, M, G, T, P, E in either
 * case, and an optional B) it counts that unit. Undefined when the text is no size, or one that a number cannot hold.
 */
export function parseMemorySize(text: string): number | undefined {
  const scanned = scanInteger(text);
  if (!scanned || scanned.value < 0n) return undefined;
  let bytes = scanned.value;
  const suffix = text.slice(scanned.end).toLowerCase();
  if (suffix === '') {
    if (bytes < MIB) bytes *= MIB;
  } else if (suffix !== 'b') {
    const power = SUFFIXES.indexOf(suffix[0] ?? '') + 1;
    if (power === 0 || !/^.b?$/.test(suffix)) return undefined;
    bytes <<= BigInt(10 * power);
  }
  if (bytes >= LIMIT || bytes > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return Number(bytes);
}
