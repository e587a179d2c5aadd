/** A machine that stands still, as the source of a core file (-C). Memory that the guest never touched stays untouched. */
import {
  CHUNK_OUT,
  CHUNK_SIZE,
  CHUNKS,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_MSR_KERNEL_GS_BASE,
} from '../../core-as/layout.ts';
import type { CoreRange, CoreSource, CoreVcpu } from '../debug/core-file.ts';
import { chunkIndexOf, vcpuBlock } from './core.ts';
import type { Machine } from './machine.ts';

const FOUR_GIB = 0x1_0000_0000;
/** The chunk table's flags lie below a chunk's address. */
const CHUNK_ADDRESS_MASK = ~(CHUNK_SIZE - 1);

function vcpuState(machine: Machine, vcpu: number): CoreVcpu {
  const { state } = machine;
  const block = vcpuBlock(vcpu);
  const { gpr, rip, rflags, cr0, cr2, cr3, cr4, efer, segments } = machine.registers(vcpu);
  return {
    ...{ gpr, rip, rflags, cr0, cr2, cr3, cr4, efer, segments },
    gdt: { base: state.u64(block + R_GDT_BASE), limit: state.u32(block + R_GDT_LIMIT) },
    idt: { base: state.u64(block + R_IDT_BASE), limit: state.u32(block + R_IDT_LIMIT) },
    kernelGsBase: state.u64(block + R_MSR_KERNEL_GS_BASE),
  };
}

/** Only while the machine is paused or has ended. */
export function coreSource(machine: Machine): CoreSource {
  const { state, plan } = machine;
  const { buffer } = state.memory;
  const ranges: CoreRange[] = [{ gpa: 0, lengthBytes: plan.lowBytes }];
  if (plan.highBytes > 0) ranges.push({ gpa: FOUR_GIB, lengthBytes: plan.highBytes });
  const contains = (gpa: number, lengthBytes: number): boolean =>
    ranges.some((range) => gpa >= range.gpa && gpa + lengthBytes <= range.gpa + range.lengthBytes);
  /** A chunk's bytes; undefined when nobody touched it. */
  const chunk = (index: number): Uint8Array | undefined => {
    const entry = state.u32(CHUNKS + 4 * index);
    const linear = (entry & CHUNK_ADDRESS_MASK) >>> 0;
    if (linear !== 0) return new Uint8Array(buffer, linear, CHUNK_SIZE);
    if ((entry & CHUNK_OUT) === 0) return undefined;
    const bytes = new Uint8Array(CHUNK_SIZE);
    machine.pager?.readOutside(index, 0, bytes);
    return bytes;
  };
  return {
    vcpus: Array.from({ length: plan.vcpus }, (_, vcpu) => vcpuState(machine, vcpu)),
    ranges,
    *pieces({ gpa: first, lengthBytes }) {
      for (let gpa = first; gpa < first + lengthBytes; gpa += CHUNK_SIZE) {
        const bytes = chunk(chunkIndexOf(gpa))?.subarray(0, first + lengthBytes - gpa);
        if (bytes) yield { gpa, bytes };
      }
    },
    readU64(gpa) {
      // Entries of page tables are aligned, so none straddles two chunks.
      if (gpa % 8 !== 0 || !contains(gpa, 8)) return 0n;
      const bytes = chunk(chunkIndexOf(gpa));
      if (!bytes) return 0n;
      return new DataView(bytes.buffer, bytes.byteOffset, CHUNK_SIZE).getBigUint64(gpa % CHUNK_SIZE, true);
    },
  };
}
