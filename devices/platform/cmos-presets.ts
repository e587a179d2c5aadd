/** What firmware finds in CMOS memory about the machine: bytes that the RTC's RAM holds at power-on. */

const MIB = 0x100000;
const UNIT_BYTES = 0x10000;

/** Memory between 16 MiB and 4 GiB, in 64 KiB units, little-endian. */
export const CMOS_MEMORY_ABOVE_16M = 0x34;
/** Memory above 4 GiB, in 64 KiB units, 24 bits little-endian. */
export const CMOS_MEMORY_ABOVE_4G = 0x5b;

export interface CmosByte {
  readonly index: number;
  readonly value: number;
}

/** CMOS bytes for a machine with the given memory. */
export function cmosMemoryPresets(lowBytes: number, highBytes: number): CmosByte[] {
  const above16M = Math.floor(Math.max(0, lowBytes - 16 * MIB) / UNIT_BYTES);
  const above4G = Math.floor(highBytes / UNIT_BYTES);
  const bytes = (first: number, count: number, value: number): CmosByte[] =>
    Array.from({ length: count }, (_, i) => ({ index: first + i, value: Math.floor(value / 256 ** i) & 0xff }));
  return [...bytes(CMOS_MEMORY_ABOVE_16M, 2, above16M), ...bytes(CMOS_MEMORY_ABOVE_4G, 3, above4G)];
}
