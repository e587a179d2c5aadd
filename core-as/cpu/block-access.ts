/** Moving images (x87, FXSAVE, XSAVE, SIMD operands) between guest memory and scratch. */
import { probeWrite, readPointer, writePointer } from '../mmu/tlb';
import { readLinear, writeLinear } from './operand';
import { FAULTED, faulted } from './state';

/** Reads bytes at a linear address into linear memory; a fault leaves `to` partly written. */
export function readBlock(address: u64, to: u32, bytes: u32): void {
  let done: u32 = 0;
  while (done < bytes) {
    const at = address + done;
    const room = min<u32>(bytes - done, 0x1000 - ((<u32>at) & 0xfff));
    const from = readPointer(at);
    if (faulted & FAULTED) return;
    if (from) memory.copy(to + done, from, room);
    else {
      // Device memory: in the widest pieces that stay aligned.
      for (let i: u32 = 0; i < room;) {
        const n: u32 = room - i >= 8 ? 8 : room - i >= 4 ? 4 : room - i >= 2 ? 2 : 1;
        const value = readLinear(at + i, n);
        if (faulted & FAULTED) return;
        if (n === 8) store<u64>(to + done + i, value);
        else if (n === 4) store<u32>(to + done + i, <u32>value);
        else if (n === 2) store<u16>(to + done + i, <u16>value);
        else store<u8>(to + done + i, <u8>value);
        i += n;
      }
    }
    done += room;
  }
}

/** Checks that bytes (at most two pages of them) may be written; raises the fault if not. */
export function checkWritable(address: u64, bytes: u32): bool {
  return probeWrite(address, bytes);
}

/** Writes bytes from linear memory; faults only when checkWritable was not called or failed. */
export function writeBlock(address: u64, from: u32, bytes: u32): void {
  let done: u32 = 0;
  while (done < bytes) {
    const at = address + done;
    const room = min<u32>(bytes - done, 0x1000 - ((<u32>at) & 0xfff));
    const to = writePointer(at);
    if (faulted & FAULTED) return;
    if (to) memory.copy(to, from + done, room);
    else {
      for (let i: u32 = 0; i < room;) {
        const n: u32 = room - i >= 8 ? 8 : room - i >= 4 ? 4 : room - i >= 2 ? 2 : 1;
        const q = from + done + i;
        writeLinear(at + i, n, n === 8 ? load<u64>(q) : n === 4 ? load<u32>(q) : n === 2 ? load<u16>(q) : load<u8>(q));
        if (faulted & FAULTED) return;
        i += n;
      }
    }
    done += room;
  }
}
