/**
 * What a PC's BIOS leaves in the first page, for kernels that are loaded without firmware: the interrupt vectors, the BIOS data area
 * (IBM PS/2 and PC BIOS Interface Technical Reference, "BIOS data areas") and the extended BIOS data area. For most kernels there is no BIOS: every
 * vector leads to code that returns: with carry set and AH = 86h ("function not supported") from a software interrupt, after an
 * end-of-interrupt command from a hardware one. docs/boot-protocols.md says who looks at which of these.
 */
import { concatBytes } from './byte-writer.ts';
import { CONVENTIONAL_MEMORY_END } from './layout.ts';
import type { BiosHandlers, BootSegment } from './loaders/boot-image.ts';

const BDA_GPA = 0x400;
const BDA_BYTES = 0x100;
/** Where IBM's BIOS has its IRET for interrupts that nobody wants (F000:FF53); what follows is free as far as F000:FFF0. */
const STUBS_SEGMENT = 0xf000;
const STUBS_OFFSET = 0xff53;
const STUBS_GPA = STUBS_SEGMENT * 16 + STUBS_OFFSET;
const VECTORS = 256;
/** Vectors of the 8259 pair's inputs, as a BIOS sets them up. */
const MASTER_FIRST = 0x08;
const SLAVE_FIRST = 0x70;
const LINES = 8;

// Offsets in the BIOS data area; it is reached as 40h:offset.
const COM_PORTS = 0x00;
const EBDA_SEGMENT = 0x0e;
const EQUIPMENT = 0x10;
const CONVENTIONAL_KIB = 0x13;
const KEYBOARD_HEAD = 0x1a;
const KEYBOARD_TAIL = 0x1c;
const KEYBOARD_BUFFER = 0x1e;
const KEYBOARD_BUFFER_END = 0x3e;
const KEYBOARD_BUFFER_BOUNDS = 0x80;
const KEYBOARD_STATUS = 0x96;
const KEYBOARD_HAS_101_KEYS = 0x10;

/** Equipment word: bit 1 is the floating-point unit, bits 11:9 count serial ports. */
const EQUIPMENT_FPU = 1 << 1;
const EQUIPMENT_SERIAL_SHIFT = 9;

/** Registers of COM1-COM4. */
const COM_BASES = [0x3f8, 0x2f8, 0x3e8, 0x2e8] as const;

/** iret */
const IGNORE = [0xcf] as const;
/** push bp; mov bp, sp; or byte [bp+6], 1; pop bp; mov ah, 86h; iret: [bp+6] holds the caller's flags, of which bit 0 is carry. */
const UNSUPPORTED = [0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xb4, 0x86, 0xcf] as const;
/** push ax; mov al, 20h; out 20h, al; pop ax; iret */
const END_MASTER = [0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf] as const;
/** The same with out A0h, al first. */
const END_SLAVE = [0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf] as const;

/** Software interrupts that ask a BIOS for something (10h video to 1Ah clock); the others mean nothing to anybody. */
function isBiosService(vector: number): boolean {
  return vector >= 0x10 && vector <= 0x1a;
}

function within(vector: number, first: number): boolean {
  return vector >= first && vector < first + LINES;
}

function interruptVectors(bios: BiosHandlers | undefined): Uint8Array {
  const bytes = new Uint8Array(VECTORS * 4);
  const view = new DataView(bytes.buffer);
  const [unsupported, master] = [STUBS_OFFSET + IGNORE.length, STUBS_OFFSET + IGNORE.length + UNSUPPORTED.length];
  const slave = master + END_MASTER.length;
  for (let vector = 0; vector < VECTORS; vector++) {
    let offset = isBiosService(vector) ? unsupported : STUBS_OFFSET;
    if (within(vector, MASTER_FIRST)) offset = master;
    else if (within(vector, SLAVE_FIRST)) offset = slave;
    const service = bios?.offsets.get(vector);
    view.setUint16(vector * 4, service ?? offset, true);
    view.setUint16(vector * 4 + 2, bios && service !== undefined ? bios.segment : STUBS_SEGMENT, true);
  }
  return bytes;
}

/** `comPorts`: those with something at their far end, 1-4. */
export function biosDataArea(comPorts: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(BDA_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, port] of comPorts.slice(0, COM_BASES.length).entries()) {
    view.setUint16(COM_PORTS + index * 2, COM_BASES[port - 1] ?? 0, true);
  }
  view.setUint16(EBDA_SEGMENT, CONVENTIONAL_MEMORY_END / 16, true);
  view.setUint16(EQUIPMENT, EQUIPMENT_FPU | (comPorts.length << EQUIPMENT_SERIAL_SHIFT), true);
  view.setUint16(CONVENTIONAL_KIB, CONVENTIONAL_MEMORY_END / 1024, true);
  view.setUint16(KEYBOARD_HEAD, KEYBOARD_BUFFER, true);
  view.setUint16(KEYBOARD_TAIL, KEYBOARD_BUFFER, true);
  view.setUint16(KEYBOARD_BUFFER_BOUNDS, KEYBOARD_BUFFER, true);
  view.setUint16(KEYBOARD_BUFFER_BOUNDS + 2, KEYBOARD_BUFFER_END, true);
  view.setUint8(KEYBOARD_STATUS, KEYBOARD_HAS_101_KEYS);
  return bytes;
}

/** Everything of it, to be written beside a kernel. `bios`: handlers that take the place of code that only returns. */
export function lowMemory(comPorts: readonly number[], bios?: BiosHandlers): BootSegment[] {
  return [
    { gpa: 0, bytes: interruptVectors(bios) },
    { gpa: BDA_GPA, bytes: biosDataArea(comPorts) },
    // The first byte of the EBDA is its length in KiB.
    { gpa: CONVENTIONAL_MEMORY_END, bytes: Uint8Array.of(1) },
    {
      gpa: STUBS_GPA,
      bytes: concatBytes(...[IGNORE, UNSUPPORTED, END_MASTER, END_SLAVE].map((c) => Uint8Array.from(c))),
    },
  ];
}
