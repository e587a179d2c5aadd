/** Serial numbers that disks have without `ser=`. */
import { md5 } from '../bus/md5.ts';

/** bhyve's default serial number: from the MD5 of the path. */
export function defaultSerial(path: string): string {
  const hex = [...md5(new TextEncoder().encode(path)).subarray(0, 6)].map((byte) =>
    byte.toString(16).toUpperCase().padStart(2, '0'),
  );
  return `BHYVE-${hex.slice(0, 2).join('')}-${hex.slice(2, 4).join('')}-${hex.slice(4, 6).join('')}`;
}
