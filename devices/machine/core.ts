/** The typed binding to the core: how its memory is laid out for one machine, what it exports, what it imports. */
import {
  ACTIVE_CPUS,
  ACT_HALTED,
  CACHES,
  CFG_CORES,
  CFG_CPU_LEVEL,
  CFG_FEATURES_OFF,
  CFG_FEATURES_ON,
  CFG_FLAGS,
  CFG_HIGHMEM,
  CFG_INSNS_PER_SECOND,
  CFG_JIT_DUMP,
  CFG_LOWMEM,
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CFG_POOL_START,
  CFG_THREADS,
  CFG_TIME_OFFSET_NS,
  CHUNKS,
  CHUNK_COUNT,
  CHUNK_RAM,
  CHUNK_SHIFT,
  CHUNK_SIZE,
  CPUID_ANY_SUBLEAF,
  CPUID_ENTRIES,
  CPUID_ENTRY_SIZE,
  CPUID_LEAF,
  CPUID_MASK,
  CPUID_OVERRIDES,
  CPUID_REGISTER,
  CPUID_SUBLEAF,
  CPUID_VALUE,
  MAX_VCPUS,
  R_ACTIVITY,
  R_CODE_CACHE,
  R_CODE_CACHE_SIZE,
  R_DOORBELL,
  R_PENDING,
  SUSPEND_REASON,
  VCPU,
  VCPU_STRIDE,
} from '../../core-as/layout.ts';
import type { CpuidOverride } from '../config/index.ts';
import type { FeatureChanges } from './cpu-options.ts';
import { RegionModules } from './region-modules.ts';

/** What the core module exports (core-as/index.ts). Pointers and u32 results arrive as signed 32-bit numbers. */
export interface CoreExports {
  /** Binds this instance to a vCPU block; -1 for the devices' thread. */
  init(vcpu: number): void;
  /** This instance's thread may block while it waits for the platform's lock. */
  allowBlocking(): void;
  /** Once per machine: clears shared state, resets the platform's interrupt controllers and timers. */
  machineInit(): void;
  platformReset(): void;
  /** Power-on state of this instance's vCPU. */
  vcpuReset(): void;
  /** Executes about `budgetInsns` instructions; returns EXIT_* of the layout. */
  run(budgetInsns: number): number;
  /** Executes one instruction. */
  stepOne(): number;
  /** {@link stepOne} for a debugger: interrupts are held back, repeated string instructions do one element. */
  debugStep(): number;
  /** Linear address of a 2 MiB chunk of guest-physical memory, committing it; 0 when it is not RAM or the pool is dry. */
  commitChunk(chunkIndex: number): number;
  /** Bytes were changed from outside the vCPUs: decoded code of those pages is dropped. */
  noteWrite(linear: number, lengthBytes: number): void;
  /** Guest-physical address of a linear one for a debugger, as i64; -1 when it is not mapped. Changes nothing. */
  translate(address: bigint): bigint;
  raiseNmi(vcpu: number): void;
  getRflags(): bigint;
  setRflags(value: bigint): void;
  /** Re-derives the instance's cached modes after the vCPU block was written from outside. */
  stateChanged(): void;
  setIsaIrq(irq: number, asserted: number): void;
  /** A write to a port of the in-core devices, as a guest would make it. */
  portWrite(port: number, size: number, value: number): void;
  pulseIsaIrq(irq: number): void;
  setIoApicPin(pin: number, asserted: number): void;
  sendMsi(addressLow: number, addressHigh: number, data: number): void;
  /** The host put bytes into, or took bytes out of, a UART's rings. */
  uartHostEvent(uart: number): void;
  /** Non-zero while the UART wants its interrupt line asserted. */
  uartIrqLevel(uart: number): number;
  uartRead(uart: number, register: number): number;
  /** Lines that a PCI function's UART interrupts on (core-as/layout.ts: UART_INTX_LINES). */
  uartRouteIntx(uart: number, lines: number): void;
  uartWrite(uart: number, register: number, value: number): void;
  /** After a snapshot was restored: 0 when the shared state or a vCPU's holds what it cannot. */
  restoredStateIsSound(): number;
  /** Makes every vCPU drop its decoded code of a chunk at a linear address. False (0) when there is none. */
  dropChunkCode(linear: number): number;
  /** Makes every vCPU drop its translations; each shows in R_RING_SEEN that it has. */
  flushAllVcpus(): void;
  /** Lets hot code be compiled; compiled regions go into the core's table from `firstSlot` on (0: never). */
  initJit(firstSlot: number): void;
}

/** The functions that the core imports besides its memory (core-as/host.ts). */
export interface CoreImports {
  hostNowNs(): number;
  hostWallSeconds(): number;
  hostPortRead(port: number, size: number): number;
  hostPortWrite(port: number, size: number, value: number): void;
  hostMmioRead(gpa: number, size: number): number;
  hostMmioWrite(gpa: number, size: number, value: number): void;
  hostRandom(): number;
  /** Linear address of a chunk of guest memory, which is brought in (docs/memory.md); 0: there is no room. */
  hostChunk(index: number): number;
  hostNote(note: number, a: number, b: number): void;
}

export const WASM_PAGE_BYTES = 65536;
const MAX_WASM_PAGES = 65536;
/** The core module declares this many pages as its minimum (asconfig.json: initialMemory). */
const MIN_WASM_PAGES = 512;
const MIB = 1024 * 1024;
/** Memory of the vCPUs' caches of decoded and compiled code, all together if each can have what is useful. */
const CODE_CACHES_BYTES = 192 * MIB;
const MOST_CODE_CACHE_BYTES = 96 * MIB;
const LEAST_CODE_CACHE_BYTES = 36 * MIB;
const FOUR_GIB = 0x1_0000_0000;
/** Guest RAM below 4 GiB ends here at most; the PCI hole follows (bhyve's lowmem limit). */
export const LOWMEM_LIMIT = 0xc000_0000;

export class MemoryConfigError extends Error {
  override readonly name = 'MemoryConfigError';
}

/**
 * Bytes of each vCPU's cache of code. A compiler or a boot of systemd decodes more than 40 MB of blocks, and a cache that is full starts again,
 * regions and all; what is not used is never touched.
 */
export function codeCacheBytes(vcpus: number): number {
  const share = Math.floor(CODE_CACHES_BYTES / vcpus / MIB) * MIB;
  return Math.max(LEAST_CODE_CACHE_BYTES, Math.min(share, MOST_CODE_CACHE_BYTES));
}

/** Where the pieces of one machine's linear memory lie. */
export interface MemoryPlan {
  readonly vcpus: number;
  readonly lowBytes: number;
  readonly highBytes: number;
  readonly poolStart: number;
  readonly poolEndPages: number;
}

/** 2 MiB chunks that hold so many bytes. */
export function chunksOf(bytes: number): number {
  return Math.ceil(bytes / CHUNK_SIZE);
}

/** Bytes of the pool, the part of linear memory in which the chunks lie. */
export function poolBytes({ poolStart, poolEndPages }: MemoryPlan): number {
  return poolEndPages * WASM_PAGE_BYTES - poolStart;
}

/**
 * Splits guest RAM into the part below the PCI hole and the part from 4 GiB up, and sizes the linear memory: the pool holds
 * all of guest RAM, the ROM and device memory when that fits in what a 32-bit Wasm memory has left, otherwise as much as fits. Of guest
 * RAM it holds `residentBytes` at most.
 */
export function planMemory(
  guestBytes: number,
  vcpus: number,
  romChunks = 0,
  deviceBytes = 0,
  residentBytes = Infinity,
): MemoryPlan {
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new MemoryConfigError(`${vcpus} vCPUs requested but only ${MAX_VCPUS} available`);
  }
  if (!Number.isSafeInteger(guestBytes) || guestBytes < 1)
    throw new MemoryConfigError('guest memory size is not valid');
  const lowBytes = Math.min(guestBytes, LOWMEM_LIMIT);
  const highBytes = guestBytes - lowBytes;
  const limit = CHUNK_COUNT * CHUNK_SIZE - FOUR_GIB;
  if (highBytes > limit)
    throw new MemoryConfigError(`guest memory of ${guestBytes} bytes exceeds ${LOWMEM_LIMIT + limit}`);
  const poolStart = Math.ceil((CACHES + vcpus * codeCacheBytes(vcpus)) / CHUNK_SIZE) * CHUNK_SIZE;
  const wanted =
    poolStart +
    (Math.min(chunksOf(lowBytes) + chunksOf(highBytes), chunksOf(residentBytes)) + romChunks + chunksOf(deviceBytes)) *
      CHUNK_SIZE;
  const poolEndPages = Math.max(MIN_WASM_PAGES, Math.min(wanted / WASM_PAGE_BYTES, MAX_WASM_PAGES));
  return { vcpus, lowBytes, highBytes, poolStart, poolEndPages };
}

/**
 * The machine's one memory, at its full size from the start: the host commits a page when it is first touched, and
 * a memory that never grows needs no views renewed.
 */
export function createCoreMemory(plan: MemoryPlan): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: plan.poolEndPages, maximum: MAX_WASM_PAGES, shared: true });
}

/** What the core is told about the machine (CFG_* of the layout). */
export interface CoreConfig {
  readonly plan: MemoryPlan;
  /** CFGF_* bits. */
  readonly flags: number;
  readonly threadsPerCore: number;
  readonly coresPerSocket: number;
  /** x86-64-v1, v2 or v3. */
  readonly cpuLevel: number;
  readonly features: FeatureChanges;
  readonly insnsPerSecond: bigint;
  /** Compiled regions that hold the instruction at this linear address are shown; 0: none. */
  readonly shownRegion: bigint;
  /** What CPUID answers instead of what the processor would. */
  readonly cpuid: readonly CpuidOverride[];
}

export function vcpuBlock(index: number): number {
  return VCPU + index * VCPU_STRIDE;
}

/** Views of everything below the RAM pool that hosts and devices look at. All atomics go through `i32`. */
export class CoreState {
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly data: DataView;

  constructor(readonly memory: WebAssembly.Memory) {
    this.i32 = new Int32Array(memory.buffer, 0, CACHES >> 2);
    this.u8 = new Uint8Array(memory.buffer, 0, CACHES);
    this.data = new DataView(memory.buffer, 0, CACHES);
  }

  u32(address: number): number {
    return Atomics.load(this.i32, address >> 2) >>> 0;
  }

  setU32(address: number, value: number): void {
    Atomics.store(this.i32, address >> 2, value | 0);
  }

  u64(address: number): bigint {
    return this.data.getBigUint64(address, true);
  }

  setU64(address: number, value: bigint): void {
    this.data.setBigUint64(address, value, true);
  }

  f64(address: number): number {
    return this.data.getFloat64(address, true);
  }

  setF64(address: number, value: number): void {
    this.data.setFloat64(address, value, true);
  }

  /** Sets PEND_* bits of a vCPU and wakes its thread; the same protocol as core-as/kick.ts. */
  kick(vcpu: number, pendingBits: number): void {
    const block = vcpuBlock(vcpu);
    Atomics.or(this.i32, (block + R_PENDING) >> 2, pendingBits);
    Atomics.add(this.i32, (block + R_DOORBELL) >> 2, 1);
    Atomics.notify(this.i32, (block + R_DOORBELL) >> 2);
  }

  /** Whether every vCPU that was started waits in HLT. */
  guestRests(): boolean {
    const active = this.u32(ACTIVE_CPUS);
    for (let vcpu = 0; vcpu < MAX_VCPUS; vcpu++) {
      if ((active >>> vcpu) & 1 && this.u32(vcpuBlock(vcpu) + R_ACTIVITY) !== ACT_HALTED) return false;
    }
    return true;
  }

  /** Asks for the end of the machine; the first reason wins. True when this call decided it. */
  suspend(reason: number): boolean {
    return Atomics.compareExchange(this.i32, SUSPEND_REASON >> 2, 0, reason) === 0;
  }
}

/** Writes what CPUID answers instead of what the processor would. */
export function writeCpuidOverrides(state: CoreState, overrides: readonly CpuidOverride[]): void {
  state.setU32(CPUID_OVERRIDES, overrides.length);
  for (const [index, { leaf, subleaf, register, mask, value }] of overrides.entries()) {
    const entry = CPUID_OVERRIDES + CPUID_ENTRIES + index * CPUID_ENTRY_SIZE;
    state.setU32(entry + CPUID_LEAF, leaf);
    state.setU32(entry + CPUID_SUBLEAF, subleaf ?? 0);
    state.setU32(entry + CPUID_ANY_SUBLEAF, subleaf === undefined ? 1 : 0);
    state.setU32(entry + CPUID_REGISTER, register);
    state.setU32(entry + CPUID_MASK, mask);
    state.setU32(entry + CPUID_VALUE, value);
  }
}

/** Writes CFG_* and the chunk table: which 2 MiB pieces of guest-physical space are RAM (none of them committed yet). */
export function writeCoreConfig(state: CoreState, config: CoreConfig): void {
  const { plan } = config;
  state.setU64(CFG_LOWMEM, BigInt(plan.lowBytes));
  state.setU64(CFG_HIGHMEM, BigInt(plan.highBytes));
  state.setU32(CFG_NCPUS, plan.vcpus);
  state.setU32(CFG_FLAGS, config.flags);
  state.setU32(CFG_POOL_START, plan.poolStart);
  state.setU32(CFG_POOL_END_PAGES, plan.poolEndPages);
  state.setU32(CFG_THREADS, config.threadsPerCore);
  state.setU32(CFG_CORES, config.coresPerSocket);
  state.setU32(CFG_CPU_LEVEL, config.cpuLevel);
  state.setU64(CFG_FEATURES_ON, config.features.on);
  state.setU64(CFG_FEATURES_OFF, config.features.off);
  state.setU64(CFG_INSNS_PER_SECOND, config.insnsPerSecond);
  state.setU64(CFG_JIT_DUMP, config.shownRegion);
  state.setF64(CFG_TIME_OFFSET_NS, 0);
  writeCpuidOverrides(state, config.cpuid);
  const markRam = (gpa: number, lengthBytes: number): void => {
    const first = gpa / CHUNK_SIZE;
    for (let i = 0; i < chunksOf(lengthBytes); i++) state.setU32(CHUNKS + (first + i) * 4, CHUNK_RAM);
  };
  markRam(0, plan.lowBytes);
  markRam(FOUR_GIB, plan.highBytes);
  const cacheBytes = codeCacheBytes(plan.vcpus);
  for (let vcpu = 0; vcpu < plan.vcpus; vcpu++) {
    const block = vcpuBlock(vcpu);
    state.setU32(block + R_CODE_CACHE, CACHES + vcpu * cacheBytes);
    state.setU32(block + R_CODE_CACHE_SIZE, cacheBytes);
  }
}

/** Whether this thread may block in Atomics.wait(); a browser's main thread may not. */
function threadMayBlock(): boolean {
  try {
    // Compares unequal, so it returns at once where it is allowed.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

/** One instance of the core over a machine's memory: one vCPU, or the devices' thread (vcpu -1). */
export class Core {
  constructor(
    readonly state: CoreState,
    readonly exports: CoreExports,
    readonly vcpu: number,
  ) {}

  /** Instantiates synchronously: the module is compiled already, and workers have nothing else to do. */
  static instantiate(
    module: WebAssembly.Module,
    state: CoreState,
    vcpu: number,
    imports: CoreImports,
    collectGarbage?: () => void,
  ): Core {
    const regions = new RegionModules(state.memory, collectGarbage);
    const instance = new WebAssembly.Instance(module, {
      env: { memory: state.memory, ...imports, ...regions.imports },
    });
    const exports = instance.exports as unknown as CoreExports & { _start?: () => void };
    // AssemblyScript's own start function (exportStart): runs the module's top-level initialisers.
    exports._start?.();
    exports.init(vcpu);
    if (threadMayBlock()) exports.allowBlocking();
    if (vcpu >= 0) exports.initJit(regions.bind(instance.exports));
    return new Core(state, exports, vcpu);
  }

  get block(): number {
    return vcpuBlock(this.vcpu);
  }
}

/** Index of the 2 MiB chunk that holds a guest-physical address. */
export function chunkIndexOf(gpa: number): number {
  return Math.floor(gpa / 2 ** CHUNK_SHIFT);
}
