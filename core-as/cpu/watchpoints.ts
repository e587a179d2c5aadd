/** Breakpoints on data and ports (SDM vol. 3, 18.2), and alignment checks: what the slow path of an access looks at. */
import { R_CR4, R_DR } from '../layout';
import { CR4_DE, VECTOR_AC, alignmentChecked, cpu, raiseCode } from './state';

export const KIND_EXECUTE: u32 = 0;
const KIND_WRITE: u32 = 1;
const KIND_IO: u32 = 2;

/** DR6 bits of data and port breakpoints that the instruction in flight has met; its #DB comes when it is complete. */
export let breakpointHits: u64 = 0;
export function clearBreakpointHits(): void {
  breakpointHits = 0;
}

// @ts-ignore: decorator
@inline
export function dr7(): u32 {
  return load<u32>(cpu, R_DR + 7 * 8);
}

/** Type and length of breakpoint n: bits 0-1 R/W, bits 2-3 LEN; -1 when it is not enabled. */
export function armed(n: u32): i32 {
  const control = dr7();
  if (!((control >> (n * 2)) & 3)) return -1;
  return <i32>((control >> (16 + n * 4)) & 15);
}

/** Bytes that a breakpoint covers. */
function lengthBytes(kind: i32): u64 {
  const code = (kind >> 2) & 3;
  return code === 0 ? 1 : code === 1 ? 2 : code === 2 ? 8 : 4;
}

/** Checks a data access that took the slow path because something is armed. False after raising #AC. */
export function accessAllowed(address: u64, sizeBytes: u32, write: bool): bool {
  if (alignmentChecked && address & (sizeBytes - 1) && !(sizeBytes & (sizeBytes - 1))) {
    raiseCode(VECTOR_AC, 0);
    return false;
  }
  if (dr7() & 0xff) {
    for (let n: u32 = 0; n < 4; n++) {
      const kind = armed(n);
      if (kind < 0) continue;
      const type = kind & 3;
      if (type === KIND_EXECUTE || type === KIND_IO || (type === KIND_WRITE && !write)) continue;
      if (overlaps(n, kind, address, sizeBytes)) breakpointHits |= 1 << n;
    }
  }
  return true;
}

/** Port breakpoints, with CR4.DE. */
export function portAccess(port: u32, sizeBytes: u32): void {
  if (!(dr7() & 0xff) || !(load<u64>(cpu, R_CR4) & CR4_DE)) return;
  for (let n: u32 = 0; n < 4; n++) {
    const kind = armed(n);
    if (kind >= 0 && (kind & 3) === KIND_IO && overlaps(n, kind, port, sizeBytes)) breakpointHits |= 1 << n;
  }
}

function overlaps(n: u32, kind: i32, address: u64, sizeBytes: u32): bool {
  const length = lengthBytes(kind);
  const first = load<u64>(cpu + (n << 3), R_DR) & ~(length - 1);
  return address < first + length && address + sizeBytes > first;
}
