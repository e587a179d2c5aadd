/** The machine's memory map in the form of INT 15h, AX=E820h (ACPI 6.5, section 15.2). */
import { ByteWriter } from './byte-writer.ts';
import { CONVENTIONAL_MEMORY_END, FOUR_GIB, LOW_MEGABYTE_END } from './layout.ts';

/** Address range types (ACPI table 15-1). */
export const MemoryType = { Ram: 1, Reserved: 2, AcpiReclaimable: 3, AcpiNvs: 4 } as const;

export interface MemoryRange {
  readonly base: number;
  readonly lengthBytes: number;
  readonly type: (typeof MemoryType)[keyof typeof MemoryType];
}

export interface RamSizes {
  /** Bytes of RAM from 0; at most 3 GiB. */
  readonly lowmemBytes: number;
  /** Bytes of RAM from 4 GiB. */
  readonly highmemBytes: number;
}

/**
 * What a loader hands to a kernel: RAM, and [0x9FC00, 1 MiB) reserved so that the firmware tables at 0xF0000 survive.
 * Everything else is left to PCI.
 */
export function loaderMemoryMap({ lowmemBytes, highmemBytes }: RamSizes): MemoryRange[] {
  const map: MemoryRange[] = [
    { base: 0, lengthBytes: CONVENTIONAL_MEMORY_END, type: MemoryType.Ram },
    {
      base: CONVENTIONAL_MEMORY_END,
      lengthBytes: LOW_MEGABYTE_END - CONVENTIONAL_MEMORY_END,
      type: MemoryType.Reserved,
    },
    { base: LOW_MEGABYTE_END, lengthBytes: lowmemBytes - LOW_MEGABYTE_END, type: MemoryType.Ram },
  ];
  if (highmemBytes > 0) map.push({ base: FOUR_GIB, lengthBytes: highmemBytes, type: MemoryType.Ram });
  return map;
}

/** What bhyve exports through fw_cfg for its firmware: RAM alone, with the legacy video and ROM areas as holes. */
export function firmwareMemoryMap({ lowmemBytes, highmemBytes }: RamSizes): MemoryRange[] {
  const map: MemoryRange[] = [
    { base: 0, lengthBytes: 0xa0000, type: MemoryType.Ram },
    { base: LOW_MEGABYTE_END, lengthBytes: lowmemBytes - LOW_MEGABYTE_END, type: MemoryType.Ram },
  ];
  if (highmemBytes > 0) map.push({ base: FOUR_GIB, lengthBytes: highmemBytes, type: MemoryType.Ram });
  return map;
}

/** The 20-byte entries of E820 (table 15-2), as in a Linux zero page and in fw_cfg's etc/e820. */
export function encodeE820(map: readonly MemoryRange[]): Uint8Array {
  const writer = new ByteWriter();
  for (const range of map) writer.u64(range.base).u64(range.lengthBytes).u32(range.type);
  return writer.finish();
}
