/**
 * Linux/x86 boot protocol (kernel tree, Documentation/arch/x86/boot.rst), "The real-mode kernel": the setup code of a bzImage is entered in
 * real mode, and asks a BIOS for what it wants to know. iPXE's .lkrn images have no other entry.
 */
import {
  encodeCommandLine,
  LoaderError,
  type BootImage,
  type BootRequest,
  type SegmentRegister,
} from './boot-image.ts';
import { BIOS_SEGMENT, biosServices } from '../bios/image.ts';
import {
  CMD_LINE_PTR,
  CODE32_START,
  HEAP_END_PTR,
  joinInitrd,
  LOADER_UNDEFINED,
  LOADFLAGS,
  RAMDISK_IMAGE,
  RAMDISK_SIZE,
  readSetupHeader,
  TYPE_OF_LOADER,
} from './linux.ts';
import { PAGE_BYTES, Placement } from './placement.ts';

/** Where the setup code goes; its heap and stack end at {@link HEAP_END}, and the command line lies above them ("Sample boot configuration"). */
const SETUP_SEGMENT = 0x1000;
const HEAP_END = 0xe000;
const SEGMENT_BYTES = 0x10000;
/** Least room for the setup code's heap and stack. */
const MIN_HEAP_BYTES = 0x2000;
/** The protocol's stack, above the heap. */
const STACK_BYTES = 0x200;
const CAN_USE_HEAP = 1 << 7;

const CR0_ET = 1n << 4n;
const RFLAGS_RESERVED_ONE = 2n;
const REAL_MODE_LIMIT = 0xffff;
/** VMX format: present, accessed, writable data, which is how real mode has every segment. */
const REAL_MODE_ACCESS = 0x93;
const IDT_LIMIT = 0x3ff;

function realModeSegment(selector: number): SegmentRegister {
  return { selector, base: BigInt(selector * 16), limit: REAL_MODE_LIMIT, access: REAL_MODE_ACCESS };
}

/** Prepares a bzImage for its real-mode entry point, with a BIOS's services beneath it (`services`). */
export function loadLinuxRealMode(request: BootRequest): BootImage {
  const header = readSetupHeader(request.kernel, request.lowmemBytes);
  // A copy: fields of the header are written below, and a Buffer's slice() is none.
  const setup = Uint8Array.from(request.kernel.subarray(0, header.setupBytes));
  if (setup.length > HEAP_END - MIN_HEAP_BYTES) {
    throw new LoaderError(`The setup code of the Linux kernel image is too long for real mode: ${setup.length} bytes.`);
  }
  const placement = new Placement(request.lowmemBytes);
  const scratchBytes = header.initSizeBytes - header.payload.length;
  placement.fixed('The Linux kernel', header.loadGpa, header.payload, header.payload.length, scratchBytes);
  const maxBytes = Math.min(header.cmdlineBytes, SEGMENT_BYTES - HEAP_END - 1);
  const commandLine = encodeCommandLine(request.commandLine, maxBytes);
  const setupGpa = SETUP_SEGMENT * 16;
  placement.fixed('The setup code', setupGpa, setup, HEAP_END);
  placement.fixed('The command line', setupGpa + HEAP_END, commandLine);
  const initrd = joinInitrd(request.modules);
  const initrdGpa =
    initrd.length === 0 ? 0 : placement.placeHigh('the initial RAM disk', initrd, PAGE_BYTES, header.initrdLimit);

  const view = new DataView(setup.buffer);
  view.setUint8(TYPE_OF_LOADER, LOADER_UNDEFINED);
  view.setUint8(LOADFLAGS, view.getUint8(LOADFLAGS) | CAN_USE_HEAP);
  view.setUint16(HEAP_END_PTR, HEAP_END - STACK_BYTES, true);
  view.setUint32(CMD_LINE_PTR, setupGpa + HEAP_END, true);
  view.setUint32(RAMDISK_IMAGE, initrdGpa, true);
  view.setUint32(RAMDISK_SIZE, initrd.length, true);
  // Zero means that the image has no 32-bit entry point.
  if (header.code32Start !== 0) view.setUint32(CODE32_START, header.loadGpa, true);

  const bios = biosServices(request, request.lastPciBus ?? 0);
  const none = realModeSegment(0);
  return {
    protocol: 'linux16',
    segments: [...placement.segments, bios.segment],
    zeroRanges: placement.zeroRanges,
    biosHandlers: { segment: BIOS_SEGMENT, offsets: bios.handlers },
    registers: {
      rip: BigInt(bios.entryOffset),
      rsp: 0n,
      rflags: RFLAGS_RESERVED_ONE,
      gpr: { rbx: BigInt(SETUP_SEGMENT), rcx: BigInt(HEAP_END) },
      cr0: CR0_ET,
      cr3: 0n,
      cr4: 0n,
      efer: 0n,
      segments: {
        cs: realModeSegment(BIOS_SEGMENT),
        ds: none,
        es: none,
        fs: none,
        gs: none,
        ss: none,
        ldtr: { selector: 0, base: 0n, limit: REAL_MODE_LIMIT, access: 0x82 },
        tr: { selector: 0, base: 0n, limit: REAL_MODE_LIMIT, access: 0x8b },
      },
      gdt: { base: 0n, limit: REAL_MODE_LIMIT },
      idt: { base: 0n, limit: IDT_LIMIT },
    },
  };
}
