/**
 * Services of a BIOS for kernels that are entered in real mode: services.asm, assembled, with the machine's memory map behind it. It is
 * guest code, and lies where a BIOS lies.
 */
import { ByteWriter, concatBytes } from '../byte-writer.ts';
import { encodeE820, loaderMemoryMap, type RamSizes } from '../e820.ts';
import { LOW_MEGABYTE_END } from '../layout.ts';
import type { BootSegment } from '../loaders/boot-image.ts';
import { SERVICES } from './services.ts';

/** Real-mode segment of the code, and its place in it: behind the page of the VM generation identifier. */
export const BIOS_SEGMENT = 0xe000;
export const BIOS_OFFSET = 0x1000;

/** Software interrupts, and the clock's, in the order of the directory at the beginning of the code; its first word is the entry point. */
const VECTORS = [0x08, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x18, 0x19, 0x1a] as const;

const KIB = 1024;
const BLOCK_64K = 0x10000;
const SIXTEEN_MIB = 0x100_0000;
/** Function 88h reports at most this much, 63 MiB, as SeaBIOS does: some programs take more for a negative number. */
const MAX_EXTENDED_KIB = 0xfc00;

export interface BiosServices {
  /** Offset in {@link BIOS_SEGMENT} at which vCPU 0 begins. */
  readonly entryOffset: number;
  /** Offsets in {@link BIOS_SEGMENT} of the interrupt handlers, by vector. */
  readonly handlers: ReadonlyMap<number, number>;
  readonly segment: BootSegment;
}

/** `lastBus`: the highest PCI bus number in use. */
export function biosServices(ram: RamSizes, lastBus: number): BiosServices {
  const map = loaderMemoryMap(ram);
  const { lowmemBytes } = ram;
  const facts = new ByteWriter()
    .u8(lastBus)
    .u16(Math.min((lowmemBytes - LOW_MEGABYTE_END) / KIB, MAX_EXTENDED_KIB))
    .u16((Math.min(lowmemBytes, SIXTEEN_MIB) - LOW_MEGABYTE_END) / KIB)
    .u16(Math.max(lowmemBytes - SIXTEEN_MIB, 0) / BLOCK_64K)
    .u16(map.length);
  const directory = new DataView(SERVICES.buffer, SERVICES.byteOffset);
  return {
    entryOffset: directory.getUint16(0, true),
    handlers: new Map(VECTORS.map((vector, index) => [vector, directory.getUint16(2 + index * 2, true)])),
    segment: { gpa: BIOS_SEGMENT * 16 + BIOS_OFFSET, bytes: concatBytes(SERVICES, facts.finish(), encodeE820(map)) },
  };
}
