/** Resource descriptors and templates (ACPI 6.5, section 6.4). */
import { ByteWriter, concatBytes } from '../byte-writer.ts';
import { buffer, type Aml } from './aml.ts';

/** The encoding of one resource descriptor. */
export type ResourceDescriptor = Uint8Array;

/** A range of an address space; an empty one (length 0) is left out of templates by its users. */
export interface Window {
  readonly base: number;
  readonly length: number;
}

/** The byte form of a template: descriptors and the end tag, whose zero checksum means "not computed" (6.4.2.9). */
export function resourceTemplate(...descriptors: readonly ResourceDescriptor[]): Aml {
  return buffer(concatBytes(...descriptors, Uint8Array.of(0x79, 0x00)));
}

/** IO (Decode16): a fixed range of at most 255 ports (6.4.2.5). */
export function ioPorts(firstPort: number, count: number): ResourceDescriptor {
  return new ByteWriter().u8(0x47).u8(0x01).u16(firstPort).u16(firstPort).u8(0x01).u8(count).finish();
}

/** IRQNoFlags: edge-triggered, active high, exclusive (6.4.2.1). */
export function irqNoFlags(irq: number): ResourceDescriptor {
  return new ByteWriter()
    .u8(0x22)
    .u16(1 << irq)
    .finish();
}

/** IRQ (Level, ActiveLow, Shared) with a choice of lines; the mask's place in the descriptor is byte 1 (6.4.2.1). */
export function irqLevelLowShared(irqMask: number): ResourceDescriptor {
  return new ByteWriter().u8(0x23).u16(irqMask).u8(0x18).finish();
}
/** Offset of the mask of the descriptor above, for CreateWordField. */
export const IRQ_MASK_OFFSET = 1;

/** Memory32Fixed (6.4.3.4). */
export function memory32Fixed(base: number, lengthBytes: number, writable: boolean): ResourceDescriptor {
  return new ByteWriter()
    .u8(0x86)
    .u16(9)
    .u8(writable ? 1 : 0)
    .u32(base)
    .u32(lengthBytes)
    .finish();
}

const TYPE_MEMORY = 0;
const TYPE_IO = 1;
const TYPE_BUS = 2;
/** ResourceProducer, PosDecode, MinFixed, MaxFixed (6.4.3.5.1). */
const PRODUCER_FIXED = 0x0c;
const IO_ENTIRE_RANGE = 0x03;
const MEMORY_NON_CACHEABLE_READ_WRITE = 0x01;

/** WordBusNumber: the buses [first, first + count) behind a host bridge (6.4.3.5.3). */
export function wordBusNumber(first: number, count: number): ResourceDescriptor {
  return wordSpace(TYPE_BUS, 0, { base: first, length: count });
}

/** WordIO: a window of ports that a host bridge forwards. */
export function wordIo(window: Window): ResourceDescriptor {
  return wordSpace(TYPE_IO, IO_ENTIRE_RANGE, window);
}

function wordSpace(type: number, typeFlags: number, window: Window): ResourceDescriptor {
  return new ByteWriter()
    .u8(0x88)
    .u16(0x0d)
    .u8(type)
    .u8(PRODUCER_FIXED)
    .u8(typeFlags)
    .u16(0)
    .u16(window.base)
    .u16(window.base + window.length - 1)
    .u16(0)
    .u16(window.length)
    .finish();
}

/** DWordMemory: a window of addresses below 4 GiB that a host bridge forwards (6.4.3.5.2). */
export function dwordMemory(window: Window): ResourceDescriptor {
  return new ByteWriter()
    .u8(0x87)
    .u16(0x17)
    .u8(TYPE_MEMORY)
    .u8(PRODUCER_FIXED)
    .u8(MEMORY_NON_CACHEABLE_READ_WRITE)
    .u32(0)
    .u32(window.base)
    .u32(window.base + window.length - 1)
    .u32(0)
    .u32(window.length)
    .finish();
}

/** QWordMemory: a window anywhere (6.4.3.5.1). */
export function qwordMemory(window: Window): ResourceDescriptor {
  return new ByteWriter()
    .u8(0x8a)
    .u16(0x2b)
    .u8(TYPE_MEMORY)
    .u8(PRODUCER_FIXED)
    .u8(MEMORY_NON_CACHEABLE_READ_WRITE)
    .u64(0)
    .u64(window.base)
    .u64(window.base + window.length - 1)
    .u64(0)
    .u64(window.length)
    .finish();
}
