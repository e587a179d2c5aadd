/** Port I/O: permission, and the way to the device. */
import { hostPortRead, hostPortWrite } from '../host';
import { configClaims, configRead, configWrite } from '../intc/pci-config';
import { portClaimed, portRead, portWrite } from '../intc/platform';
import { SEG_ACCESS, SEG_BASE, SEG_LIMIT } from '../layout';
import { readSystem } from '../mmu/tlb';
import { WORK_DEVICE, WORK_HOST_CALL, charge } from './work';
import { portAccess } from './watchpoints';
import { FAULTED, TR, cpl, faulted, iopl, protectedMode, raiseGp, segment, v8086 } from './state';

/** Checks IOPL and the I/O permission bitmap (SDM vol. 1, 19.5); raises #GP(0) and returns false when the access is forbidden. */
export function ioAllowed(port: u32, sizeBytes: u32): bool {
  if (!v8086 && (!protectedMode || cpl() <= iopl())) return true;
  const tss = segment(TR);
  const limit = load<u32>(tss, SEG_LIMIT);
  // Only a 32-bit (or 64-bit) TSS has a map.
  if (load<u32>(tss, SEG_ACCESS) & 8 && limit >= 0x67) {
    const base = load<u64>(tss, SEG_BASE);
    const map = <u32>readSystem(base + 0x66, 2) + (port >> 3);
    if (faulted & FAULTED) return false;
    // The processor reads two bytes, so the byte after the last bit must be inside the limit too.
    if (map + 1 <= limit) {
      const bits = <u32>readSystem(base + map, 2);
      if (faulted & FAULTED) return false;
      if (!((bits >> (port & 7)) & ((1 << sizeBytes) - 1))) return true;
    }
  }
  raiseGp();
  return false;
}

export function portIn(port: u32, sizeBytes: u32): u32 {
  portAccess(port, sizeBytes);
  if (portClaimed(port)) {
    charge(WORK_DEVICE);
    return portRead(port, sizeBytes);
  }
  if (configClaims(port, sizeBytes)) {
    charge(WORK_DEVICE);
    return configRead(port, sizeBytes);
  }
  charge(WORK_HOST_CALL);
  return hostPortRead(port, sizeBytes);
}

export function portOut(port: u32, sizeBytes: u32, value: u32): void {
  portAccess(port, sizeBytes);
  if (portClaimed(port)) {
    charge(WORK_DEVICE);
    portWrite(port, sizeBytes, value);
  } else if (configClaims(port, sizeBytes)) {
    charge(WORK_DEVICE);
    configWrite(port, sizeBytes, value);
  } else {
    charge(WORK_HOST_CALL);
    hostPortWrite(port, sizeBytes, value);
  }
}
