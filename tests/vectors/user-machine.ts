/**
 * The core as user mode sees it, for replaying vectors: the windows of windows.ts mapped, CPL 3, the registers of Linux, SSE, AVX and
 * x87 enabled. Code of 64 bits, or of 32 bits in compatibility mode.
 */
import { collectGarbage } from '../../host-node/garbage.ts';
import { RegionModules } from '../../devices/machine/region-modules.ts';
import {
  CACHES,
  CFGF_JIT,
  CFG_CPU_LEVEL,
  CFG_FLAGS,
  CFG_LOWMEM,
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CFG_POOL_START,
  CHUNKS,
  CHUNK_RAM,
  CODE_RING,
  CODE_RING_ENTRIES,
  CODE_RING_SEQ,
  PAGE_CODE,
  PAGE_FLAGS,
  PEND_KICK,
  R_ACTIVITY,
  R_CODE_CACHE,
  R_CODE_CACHE_SIZE,
  R_CPL,
  R_CR0,
  R_CR3,
  R_CR4,
  R_DR,
  R_EFER,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_GPR,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_INT_SHADOW,
  R_PENDING,
  R_SEG,
  R_XCR0,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
  VCPU,
} from '../../core-as/layout.ts';
import {
  CODE_ADDRESS,
  CODE_SIZE_BYTES,
  DATA,
  DATA_ADDRESS,
  HIGH,
  IMAGE_SIZE_BYTES,
  READ_ONLY,
  WINDOWS,
  backgroundImage,
} from './windows.ts';

/** What replaying needs of the core's exports (core-as/index.ts). */
export interface CoreExports {
  _start?(): void;
  init(vcpu: number): void;
  machineInit(): void;
  vcpuReset(): void;
  stepOne(): number;
  /** Executes about so many instructions. */
  run(budgetInsns: number): number;
  initJit(firstSlot: number): void;
  compileAtOnce(on: number): void;
  commitChunk(index: number): number;
  getRflags(): bigint;
  setRflags(value: bigint): void;
  stateChanged(): void;
  /** Has the TLB hold the page of a linear address. */
  fillTlb(address: bigint, write: number): void;
  /** Vector | error code << 8 of the exception delivered by the last stepOne(), or -1. */
  lastException(): number;
}

const CODE_CACHE_BYTES = 20 << 20;
/** Both chunks, behind the cache of code. */
const POOL_START = Math.ceil((CACHES + CODE_CACHE_BYTES) / 0x200000) * 0x200000;
const POOL_END = POOL_START + 0x400000;

// Guest-physical addresses.
const GDT = 0x10000;
const IDT = 0x11000;
const TSS = 0x13000;
export const KERNEL_STACK_TOP = 0x22000;
const CHUNK = 0x200000;
const IMAGE = CHUNK;
/**
 * The pages of the code window are no neighbours in memory: the bytes behind the first are a decoy, and an instruction that crosses must be
 * decoded without them.
 */
const CODE_PAGES = [CHUNK + 0x8000, CHUNK + 0xa000];
const DECOY = CHUNK + 0x9000;
/** PUSH ES, which is undefined in 64-bit mode; as ModRM, a memory operand and digit 0. */
const DECOY_BYTE = 0x06;
const PAGE_BYTES = 0x1000;
const PAGE_ROOT = 0x1000;
/** Bits of a page-table entry: present and open to programs. */
const USER_PAGE = 5n;
const NO_EXECUTE = 1n << 63n;

/** Guest-physical 0 to 2 MiB for the supervisor alone. */
const KERNEL_LINEAR = 0xffff800000000000n;

const USER_CS = 0x33;
const USER_SS = 0x2b;
const KERNEL_CS = 0x10;
const TSS_SELECTOR = 0x40;
const USER32_CS = 0x20;
/** Thread-local storage of a 32-bit program: FS in compatibility mode. */
const TLS = 0x60;
const CPU_NUMBER = 0x78;

/**
 * What compatibility mode finds in its last pages and at 0, in the places of the window that it cannot reach: data at either side of where
 * addresses wrap, behind which there is a page of 64-bit mode.
 */
export const TOP_ADDRESS = 0xffffe000n;
const BEHIND_TOP = TOP_ADDRESS + 0x2000n;
/** FS in compatibility mode: its base, and a limit of less than the window. */
export const TLS_BASE = DATA_ADDRESS + 0x800n;
export const TLS_LIMIT = 0x7ff;

export class UserMachine {
  readonly core: CoreExports;
  readonly view: DataView;
  /** Linear address of guest-physical 0. */
  readonly chunk0: number;
  /** The memory image of windows.ts. */
  readonly image: Buffer;
  readonly gpr: Uint32Array;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly background = Buffer.from(backgroundImage());
  /** Called with each module that the JIT makes. */
  onModule?: (module: Uint8Array) => void;
  /** Called with what the core has to say (core-as/host.ts: NOTE_*). */
  onNote?: (note: number, a: number) => void;
  readonly #code: readonly Uint8Array[];
  readonly #codePageNumbers: readonly number[];
  #nextTable = 0x2000;

  /**
   * `compiled`: steps run in the JIT's code instead of the interpreter's. `flags`: further CFGF_* bits. `compatibility`: the code is a 32-bit
   * program's.
   */
  constructor(
    module: WebAssembly.Module,
    private readonly compiled = false,
    flags = 0,
    private readonly compatibility = false,
  ) {
    const memory = new WebAssembly.Memory({ initial: POOL_END >> 16, maximum: 65536, shared: true });
    const answers: Record<string, (...args: number[]) => number | undefined> = {
      hostNowNs: () => 0,
      hostWallSeconds: () => 0,
      hostPortRead: (_port, size) => (size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff),
      hostPortWrite: () => undefined,
      hostMmioRead: () => 0xffffffff,
      hostMmioWrite: () => undefined,
      hostRandom: () => 4,
      hostNote: (note = 0, a = 0) => {
        this.onNote?.(note, a);
        return undefined;
      },
      hostChunk: () => 0,
    };
    const regions = new RegionModules(memory, collectGarbage);
    const install: (typeof regions.imports)['hostJitInstall'] = (address, lengthBytes, slot, count) => {
      this.onModule?.(new Uint8Array(memory.buffer, address >>> 0, lengthBytes).slice());
      return regions.imports.hostJitInstall(address, lengthBytes, slot, count);
    };
    const env: WebAssembly.ModuleImports = { memory, ...answers, ...regions.imports, hostJitInstall: install };
    const { exports } = new WebAssembly.Instance(module, { env });
    this.core = exports as unknown as CoreExports;
    this.view = new DataView(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    this.gpr = new Uint32Array(memory.buffer, VCPU + R_GPR, 32);

    const view = this.view;
    view.setBigUint64(CFG_LOWMEM, BigInt(2 * CHUNK), true);
    view.setUint32(CFG_NCPUS, 1, true);
    view.setUint32(CFG_CPU_LEVEL, 3, true);
    view.setUint32(CFG_FLAGS, flags | (compiled ? CFGF_JIT : 0), true);
    view.setUint32(CFG_POOL_START, POOL_START, true);
    view.setUint32(CFG_POOL_END_PAGES, POOL_END >> 16, true);
    for (let index = 0; index < 2; index++) view.setUint32(CHUNKS + index * 4, CHUNK_RAM, true);
    view.setUint32(VCPU + R_CODE_CACHE, CACHES, true);
    view.setUint32(VCPU + R_CODE_CACHE_SIZE, CODE_CACHE_BYTES, true);
    this.core._start?.();
    this.core.machineInit();
    this.core.init(0);
    if (compiled) {
      this.core.initJit(regions.bind(exports));
      this.core.compileAtOnce(1);
    }
    this.core.vcpuReset();

    this.chunk0 = this.core.commitChunk(0);
    const chunk1 = this.core.commitChunk(1);
    if (!this.chunk0 || !chunk1) throw new Error('commitChunk() gave no memory');
    this.image = Buffer.from(memory.buffer, chunk1 + IMAGE - CHUNK, IMAGE_SIZE_BYTES);
    this.background.copy(this.image);
    const linear = CODE_PAGES.map((gpa) => chunk1 + gpa - CHUNK);
    this.#code = linear.map((at) => new Uint8Array(memory.buffer, at, PAGE_BYTES).fill(0xcc));
    this.#codePageNumbers = linear.map((at) => at >>> 12);
    this.bytes.fill(DECOY_BYTE, chunk1 + DECOY - CHUNK, chunk1 + DECOY - CHUNK + PAGE_BYTES);
    this.#buildTables();
    this.#enterUserMode();
  }

  /** Has the TLB hold all pages of the windows: compiled code leaves to the interpreter what misses it. */
  fillTlb(): void {
    for (const window of WINDOWS) {
      for (let page = 0; page < window.sizeBytes; page += 0x1000) {
        const address = window.address + BigInt(page);
        this.core.fillTlb(address, 0);
        if (window.writable) this.core.fillTlb(address, 1);
      }
    }
    if (!this.compatibility) return;
    for (const { address, writable } of this.#wrappingPages()) {
      this.core.fillTlb(address, 0);
      if (writable) this.core.fillTlb(address, 1);
    }
  }

  /** Pages that compatibility mode has instead of the high window, and the one behind them. */
  #wrappingPages(): { address: bigint; gpa: number; writable: boolean }[] {
    return [
      { address: TOP_ADDRESS, gpa: IMAGE + HIGH.imageOffset, writable: true },
      { address: TOP_ADDRESS + 0x1000n, gpa: IMAGE + HIGH.imageOffset + PAGE_BYTES, writable: true },
      { address: 0n, gpa: IMAGE + READ_ONLY.imageOffset, writable: false },
      { address: BEHIND_TOP, gpa: IMAGE + DATA.imageOffset, writable: true },
    ];
  }

  #put64(gpa: number, value: bigint): void {
    this.view.setBigUint64(this.chunk0 + gpa, BigInt.asUintN(64, value), true);
  }

  /** The table that an entry of another one leads to, made when it is not there. */
  #tableOf(table: number, index: number): number {
    const at = table + index * 8;
    const entry = this.view.getBigUint64(this.chunk0 + at, true);
    if (entry & 1n) return Number(entry & ~0xfffn);
    const made = this.#nextTable;
    this.#nextTable += PAGE_BYTES;
    this.#put64(at, BigInt(made) | 7n);
    return made;
  }

  /** Maps a page of 4 KiB; `bits` of the entry. */
  #map(linear: bigint, gpa: number, bits: bigint): void {
    let table = PAGE_ROOT;
    for (const shift of [39n, 30n, 21n]) table = this.#tableOf(table, Number((linear >> shift) & 0x1ffn));
    this.#put64(table + Number((linear >> 12n) & 0x1ffn) * 8, BigInt(gpa) | bits);
  }

  /** What the second page of the code window is; every machine starts with 'code'. Takes effect at the next userSegments(). */
  mapSecondCodePage(as: 'code' | 'absent' | 'no-execute'): void {
    const bits = as === 'code' ? USER_PAGE : as === 'absent' ? 0n : USER_PAGE | NO_EXECUTE;
    this.#map(BigInt(CODE_ADDRESS + PAGE_BYTES), CODE_PAGES[1] ?? 0, bits);
  }

  /** Maps the code window a second time, writable. */
  mapCodeAlias(address: bigint): void {
    CODE_PAGES.forEach((gpa, page) => {
      this.#map(address + BigInt(page * PAGE_BYTES), gpa, USER_PAGE | NO_EXECUTE | 2n);
    });
  }

  #buildTables(): void {
    for (const window of WINDOWS) {
      for (let page = 0; page < window.sizeBytes; page += PAGE_BYTES) {
        const gpa = IMAGE + window.imageOffset + page;
        this.#map(window.address + BigInt(page), gpa, USER_PAGE | NO_EXECUTE | (window.writable ? 2n : 0n));
      }
    }
    if (this.compatibility) {
      for (const { address, gpa, writable } of this.#wrappingPages()) {
        this.#map(address, gpa, USER_PAGE | NO_EXECUTE | (writable ? 2n : 0n));
      }
    }
    CODE_PAGES.forEach((gpa, page) => {
      this.#map(BigInt(CODE_ADDRESS + page * PAGE_BYTES), gpa, USER_PAGE);
    });
    for (let page = 0; page < 0x30000; page += PAGE_BYTES) this.#map(KERNEL_LINEAR + BigInt(page), page, 3n);

    this.#put64(GDT + KERNEL_CS, 0x00af9b000000ffffn);
    this.#put64(GDT + 0x18, 0x00cf93000000ffffn);
    // What Linux has there: code for 32-bit programs, and the processor's number as the limit of a read-only segment.
    this.#put64(GDT + USER32_CS, 0x00cffb000000ffffn);
    this.#put64(GDT + CPU_NUMBER, 0x0040f50000000000n);
    this.#put64(
      GDT + TLS,
      0x0040f30000000000n | BigInt(TLS_LIMIT) | ((TLS_BASE & 0xffffffn) << 16n) | ((TLS_BASE >> 24n) << 56n),
    );
    this.#put64(GDT + (USER_SS & ~7), 0x00cff3000000ffffn);
    this.#put64(GDT + (USER_CS & ~7), 0x00affb000000ffffn);
    const tss = KERNEL_LINEAR + BigInt(TSS);
    this.#put64(GDT + TSS_SELECTOR, 0x8b0000000067n | ((tss & 0xffffffn) << 16n) | (((tss >> 24n) & 0xffn) << 56n));
    this.#put64(GDT + TSS_SELECTOR + 8, tss >> 32n);
    this.#put64(TSS + 4, KERNEL_LINEAR + BigInt(KERNEL_STACK_TOP));
    this.view.setUint16(this.chunk0 + TSS + 102, 0x68, true);
    for (let vector = 0; vector < 256; vector++) {
      const handler = KERNEL_LINEAR + 0x14000n + BigInt(vector * 16);
      // #BP and #OF are open to programs, as under the Linux that recorded.
      const type = vector === 3 || vector === 4 ? 0xee00n : 0x8e00n;
      const low =
        (handler & 0xffffn) | (BigInt(KERNEL_CS) << 16n) | (type << 32n) | (((handler >> 16n) & 0xffffn) << 48n);
      this.#put64(IDT + vector * 16, low);
      this.#put64(IDT + vector * 16 + 8, handler >> 32n);
    }
  }

  #setSegment(index: number, selector: number, limit: number, access: number, base = 0n): void {
    const at = VCPU + R_SEG + index * SEG_STRIDE;
    this.view.setBigUint64(at + SEG_BASE, BigInt.asUintN(64, base), true);
    this.view.setUint32(at + SEG_LIMIT, limit, true);
    this.view.setUint32(at + SEG_ACCESS, access, true);
    this.view.setUint16(at + SEG_SELECTOR, selector, true);
  }

  /** Registers of Linux in 64-bit user mode. */
  #enterUserMode(): void {
    const put = (offset: number, value: bigint): void => this.view.setBigUint64(VCPU + offset, value, true);
    put(R_CR0, 0x80050033n);
    put(R_CR3, 0x1000n);
    // SMAP SMEP OSXSAVE FSGSBASE UMIP OSXMMEXCPT OSFXSR PGE MCE PAE DE
    put(R_CR4, 0x350ee8n);
    put(R_EFER, 0xd01n);
    put(R_XCR0, 7n);
    put(R_DR + 6 * 8, 0xffff0ff0n);
    put(R_DR + 7 * 8, 0x400n);
    put(R_GDT_BASE, KERNEL_LINEAR + BigInt(GDT));
    put(R_IDT_BASE, KERNEL_LINEAR + BigInt(IDT));
    this.view.setUint32(VCPU + R_GDT_LIMIT, CPU_NUMBER + 7, true);
    this.view.setUint32(VCPU + R_IDT_LIMIT, 0xfff, true);
    for (const segment of [0, 3, 4, 5]) this.#setSegment(segment, 0, 0, 0x10000);
    this.#setSegment(6, 0, 0, 0x10082);
    this.#setSegment(7, TSS_SELECTOR, 0x67, 0x8b, KERNEL_LINEAR + BigInt(TSS));
    this.userSegments();
  }

  /** Back to CPL 3 after an exception. */
  userSegments(): void {
    this.#setSegment(2, USER_SS, 0xffffffff, 0xc0f3);
    if (this.compatibility) {
      this.#setSegment(1, USER32_CS | 3, 0xffffffff, 0xc0fb);
      for (const segment of [0, 3]) this.#setSegment(segment, USER_SS, 0xffffffff, 0xc0f3);
      this.#setSegment(4, TLS | 3, TLS_LIMIT, 0x40f3, TLS_BASE);
      this.#setSegment(5, USER_SS, 0xffffffff, 0xc0f3);
    } else this.#setSegment(1, USER_CS, 0xffffffff, 0xa0fb);
    this.view.setUint32(VCPU + R_CPL, 3, true);
    this.view.setUint32(VCPU + R_INT_SHADOW, 0, true);
    this.view.setUint32(VCPU + R_ACTIVITY, 0, true);
    this.core.setRflags(0x202n);
    this.core.stateChanged();
    if (this.compiled) this.fillTlb();
  }

  /** Linear address of an offset in the code window. */
  codeLinear(offset: number): number {
    return (this.#codePageNumbers[offset >> 12] ?? 0) * PAGE_BYTES + (offset & 0xfff);
  }

  /** Changes bytes of the code window, as a device's DMA would: the core hears of it through the code ring. */
  writeCode(offset: number, code: Uint8Array | undefined, lengthBytes: number): void {
    const end = Math.min(offset + lengthBytes, CODE_SIZE_BYTES);
    for (let at = offset; at < end; at++) {
      const page = this.#code[at >> 12];
      if (page) page[at & 0xfff] = code ? (code[at - offset] ?? 0) : 0xcc;
    }
    for (let page = offset >> 12; page <= (end - 1) >> 12; page++) {
      const linearPage = this.#codePageNumbers[page] ?? 0;
      if (!((this.bytes[PAGE_FLAGS + linearPage] ?? 0) & PAGE_CODE)) continue;
      this.bytes[PAGE_FLAGS + linearPage] = (this.bytes[PAGE_FLAGS + linearPage] ?? 0) & ~PAGE_CODE;
      const sequence = this.view.getUint32(CODE_RING_SEQ, true);
      this.view.setUint32(CODE_RING + (sequence % CODE_RING_ENTRIES) * 4, linearPage, true);
      this.view.setUint32(CODE_RING_SEQ, sequence + 1, true);
      Atomics.or(this.words, (VCPU + R_PENDING) >> 2, PEND_KICK);
    }
  }
}
