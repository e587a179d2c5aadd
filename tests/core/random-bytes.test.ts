/**
 * The core executes random bytes with random registers in every mode: it never traps, never outlives its budget by much, and never
 * touches linear memory outside the areas that layout.ts gives it.
 *
 * RANDOM_BYTES=cases in the environment makes the run longer, RANDOM_SEED=number another one.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import {
  CACHES,
  CFGF_JIT,
  CFG_CPU_LEVEL,
  CFG_FLAGS,
  CFG_HIGHMEM,
  CFG_LOWMEM,
  CFG_NCPUS,
  CFG_POOL_END_PAGES,
  CFG_POOL_START,
  CHUNKS,
  CHUNK_COUNT,
  CHUNK_SIZE,
  EXIT_ERROR,
  PAGE_FLAGS,
  R_CODE_CACHE,
  R_CODE_CACHE_SIZE,
  R_CPL,
  R_CR0,
  R_CR3,
  R_CR4,
  R_EFER,
  R_GDT_BASE,
  R_GDT_LIMIT,
  R_GPR,
  R_IDT_BASE,
  R_IDT_LIMIT,
  R_MAILBOX,
  R_RIP,
  R_SEG,
  R_XCR0,
  R_YMM,
  R_ZERO,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
  SHARED,
  STATIC_DATA_END,
  SUSPEND_REASON,
  VCPU,
  VCPU_STRIDE,
} from '../../core-as/layout.ts';
import { RegionModules } from '../../devices/machine/region-modules.ts';
import { collectGarbage } from '../../host-node/garbage.ts';
import { compileCore } from '../support/compile-core.ts';
import { TIERS } from '../vectors/tiers.ts';
import type { CoreExports } from '../vectors/user-machine.ts';

type Core = CoreExports & {
  run(budget: number): number;
  noteWrite(linear: number, lengthBytes: number): void;
};

const CASES = Number(process.env['RANDOM_BYTES'] ?? 3000);
const SEED = Number(process.env['RANDOM_SEED'] ?? 20240611);
const BUDGET_INSNS = 600;
/** A run of the budget takes well under a millisecond of the process's processor time; REP on random counts is forgiven. */
const LONGEST_RUN_US = 5_000_000;
const CASES_PER_CHECK = 250;

const CODE_CACHE_BYTES = 20 << 20;
const POOL_START = Math.ceil((CACHES + CODE_CACHE_BYTES + 0x10000) / CHUNK_SIZE) * CHUNK_SIZE;
const RAM_CHUNKS = 2;
const POOL_END = POOL_START + RAM_CHUNKS * CHUNK_SIZE;
const GUARD_BYTES = CHUNK_SIZE;
const GUARD = 0xa5;

// Guest-physical addresses.
const DIRECTORY = 0x1000;
const PML4 = 0x2000;
const PDPT = 0x3000;
const PAGES_2M = 0x4000;
const GDT = 0x5000;
const IDT = 0x6000;
const TSS = 0x8000;
const CODE = 0x10000;
const CODE_BYTES = 0x2000;

const MODES = ['real', 'protected 0', 'protected 3', 'paged 0', 'paged 3', '16-bit 0', 'long 0', 'long 3'] as const;
type Mode = (typeof MODES)[number];

/** First bytes that lead to the larger maps and to groups more often than chance does. */
const LEADS = [0x0f, 0x0f, 0x66, 0xf2, 0xf3, 0x48, 0xc4, 0xc5, 0xd8, 0xdb, 0xdd, 0xff, 0xf7, 0x0f, 0x67, 0xa4, 0xcf];
/** Numbers at the edges of ranges. */
const EDGES = [0n, 1n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 63n, (1n << 64n) - 1n];

class RandomMachine {
  readonly core: Core;
  readonly view: DataView;
  readonly bytes: Buffer;
  /** What every memory-mapped read gives; random when undefined. */
  mmioAnswer: number | undefined;
  readonly #static: Buffer;
  readonly #configuration: Buffer;
  #state = SEED | 0 || 1;

  /** `compiled`: 64-bit code is compiled before it runs. */
  constructor(module: WebAssembly.Module, compiled: boolean) {
    const memory = new WebAssembly.Memory({ initial: (POOL_END + GUARD_BYTES) >> 16, maximum: 65536, shared: true });
    const answers: Record<string, (...args: number[]) => number | undefined> = {
      hostNowNs: () => 0,
      hostWallSeconds: () => 0,
      hostPortRead: () => this.next(),
      hostPortWrite: () => undefined,
      hostMmioRead: () => this.mmioAnswer ?? this.next(),
      hostMmioWrite: () => undefined,
      hostRandom: () => this.next(),
      hostNote: () => undefined,
      hostChunk: () => 0,
    };
    const env: WebAssembly.ModuleImports = { memory, ...answers };
    const regions = new RegionModules(memory, collectGarbage);
    const { exports } = new WebAssembly.Instance(module, { env: { ...env, ...regions.imports } });
    this.core = exports as unknown as Core;
    this.view = new DataView(memory.buffer);
    this.bytes = Buffer.from(memory.buffer);
    const { view } = this;
    view.setBigUint64(CFG_LOWMEM, BigInt(RAM_CHUNKS * CHUNK_SIZE), true);
    view.setUint32(CFG_NCPUS, 1, true);
    view.setUint32(CFG_CPU_LEVEL, 3, true);
    view.setUint32(CFG_POOL_START, POOL_START, true);
    view.setUint32(CFG_POOL_END_PAGES, POOL_END >> 16, true);
    view.setUint32(VCPU + R_CODE_CACHE, CACHES, true);
    view.setUint32(VCPU + R_CODE_CACHE_SIZE, CODE_CACHE_BYTES, true);
    this.core._start?.();
    this.core.machineInit();
    this.core.init(0);
    if (compiled) {
      view.setUint32(CFG_FLAGS, CFGF_JIT, true);
      this.core.initJit(regions.bind(exports));
      this.core.compileAtOnce(1);
    }
    this.core.vcpuReset();
    for (let chunk = 0; chunk < RAM_CHUNKS; chunk++) {
      if (this.core.commitChunk(chunk) !== POOL_START + chunk * CHUNK_SIZE) throw new Error('the pool is out of order');
    }
    for (const [from, to] of this.guards()) this.bytes.fill(GUARD, from, to);
    this.#static = Buffer.from(this.bytes.subarray(0, STATIC_DATA_END));
    this.#configuration = Buffer.from(this.bytes.subarray(SHARED, SUSPEND_REASON & ~0x7f));
  }

  /** xorshift32, as an unsigned number. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  #value(): bigint {
    switch (this.next() % 4) {
      case 0:
        return EDGES[this.next() % EDGES.length] ?? 0n;
      case 1:
        return BigInt(this.next() % (RAM_CHUNKS * CHUNK_SIZE));
      case 2:
        return BigInt.asUintN(64, BigInt(this.next() % 256) - 128n);
      default:
        return (BigInt(this.next()) << 32n) | BigInt(this.next());
    }
  }

  /** Linear memory that nobody owns: filled with a pattern that must stay. */
  guards(): readonly (readonly [number, number])[] {
    return [
      // vCPUs that the machine does not have.
      [VCPU + VCPU_STRIDE, CACHES],
      [VCPU + R_MAILBOX, VCPU + R_MAILBOX + 0x4000],
      [CACHES + CODE_CACHE_BYTES, POOL_START],
      [POOL_END, POOL_END + GUARD_BYTES],
    ];
  }

  #put64(gpa: number, value: bigint): void {
    this.view.setBigUint64(POOL_START + gpa, value, true);
  }

  /** Page tables, descriptor tables, and fresh random code; then the registers of the mode. */
  prepare(mode: Mode): void {
    const { core, view } = this;
    const reg = (offset: number, value: bigint): void => view.setBigUint64(VCPU + offset, value, true);
    view.setUint32(SUSPEND_REASON, 0, true);
    core.vcpuReset();

    for (let i = 0; i < 1024; i++) view.setUint32(POOL_START + DIRECTORY + i * 4, (i << 22) | 0xe7, true);
    this.#put64(PML4, BigInt(PDPT | 7));
    this.#put64(PML4 + 511 * 8, BigInt(PDPT | 7));
    this.#put64(PDPT, BigInt(PAGES_2M | 7));
    for (let i = 0; i < 512; i++) this.#put64(PAGES_2M + i * 8, (BigInt(i) << 21n) | 0xe7n);
    const long = mode.startsWith('long');
    // Null; code and data of rings 0 and 3 of 32, 16 and 64 bits, and a TSS; the rest is random.
    const descriptors = [
      0n,
      0x00cf9b000000ffffn,
      0x00cf93000000ffffn,
      0x00cffb000000ffffn,
      0x00cff3000000ffffn,
      0x000f9b000000ffffn,
      0x00af9b000000ffffn,
      0x00affb000000ffffn,
      (BigInt(TSS) << 16n) | 0x0000890000000067n,
      0n,
    ];
    for (let i = 0; i < 64; i++) this.#put64(GDT + i * 8, descriptors[i] ?? this.#value());
    for (let i = 0; i < 26; i++) view.setUint32(POOL_START + TSS + i * 4, CODE + (this.next() % CODE_BYTES), true);
    for (let vector = 0; vector < 256; vector++) {
      const handler = BigInt(CODE + (this.next() % CODE_BYTES));
      const selector = long ? 0x30n : 0x08n;
      const gate = (handler & 0xffffn) | (selector << 16n) | (0xee00n << 32n) | ((handler >> 16n) << 48n);
      if (long) {
        this.#put64(IDT + vector * 16, gate);
        this.#put64(IDT + vector * 16 + 8, 0n);
      } else this.#put64(IDT + vector * 8, gate);
    }
    for (let i = 0; i < CODE_BYTES; i++) {
      const lead = this.next() % 5 === 0 ? LEADS[this.next() % LEADS.length] : undefined;
      view.setUint8(POOL_START + CODE + i, lead ?? this.next() >>> 24);
    }
    core.noteWrite(POOL_START, CODE + CODE_BYTES);

    for (let i = 0; i < 16; i++) reg(R_GPR + i * 8, this.#value());
    for (let i = 0; i < 64; i++) reg(R_YMM + i * 8, this.#value());
    reg(R_GPR + 4 * 8, BigInt(0x40000 + (this.next() % 0x1000)));
    reg(R_RIP, BigInt(CODE + (this.next() % (CODE_BYTES / 2))));
    reg(R_GDT_BASE, BigInt(GDT));
    view.setUint32(VCPU + R_GDT_LIMIT, 0x1ff, true);
    reg(R_IDT_BASE, BigInt(IDT));
    view.setUint32(VCPU + R_IDT_LIMIT, long ? 0xfff : 0x7ff, true);
    reg(R_XCR0, 7n);
    reg(R_CR3, BigInt(long ? PML4 : DIRECTORY));
    // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PGE MCE PAE (long mode) PSE
    reg(R_CR4, long ? 0x506f0n : 0x506d0n);
    reg(R_EFER, long ? 0xd01n : 0n);
    const paging = long || mode.startsWith('paged') ? 0x80000000n : 0n;
    reg(R_CR0, mode === 'real' ? 0x10n : 0x33n | paging);

    const ring = mode.endsWith('3') ? 3 : 0;
    const dataSelector = ring ? 0x23 : 0x10;
    const codeSelector = long ? (ring ? 0x3b : 0x30) : mode === '16-bit 0' ? 0x28 : ring ? 0x1b : 0x08;
    const rights = ring ? 0xf0 : 0x90;
    for (let segment = 0; segment < 6; segment++) {
      const isCode = segment === 1;
      if (mode === 'real') this.#segment(segment, isCode ? 0 : (this.next() & 0xfff) << 4, 0xffff, 0x93);
      else if (isCode && mode === '16-bit 0') this.#segment(segment, codeSelector, 0xfffff, 0x009b);
      else if (isCode) this.#segment(segment, codeSelector, 0xffffffff, (long ? 0xa00b : 0xc00b) | rights);
      else this.#segment(segment, dataSelector, 0xffffffff, 0xc003 | rights);
    }
    this.#segment(6, 0, 0, 0x10082);
    this.#segment(7, 0x40, 0x67, 0x8b, BigInt(TSS));
    view.setUint32(VCPU + R_CPL, ring, true);
    core.setRflags(BigInt(this.next() & 0x3f7fd5) | 2n);
    if (mode === 'real' || ring === 0) core.setRflags(core.getRflags() & ~0x20000n);
    core.stateChanged();
  }

  #segment(index: number, selector: number, limit: number, access: number, base = 0n): void {
    const at = VCPU + R_SEG + index * SEG_STRIDE;
    this.view.setBigUint64(at + SEG_BASE, access === 0x93 ? BigInt(selector << 4) : base, true);
    this.view.setUint32(at + SEG_LIMIT, limit, true);
    this.view.setUint32(at + SEG_ACCESS, access, true);
    this.view.setUint16(at + SEG_SELECTOR, selector, true);
  }

  /** What was changed that nobody may change; empty when all is well. */
  damage(): string[] {
    const found: string[] = [];
    const { bytes, view } = this;
    if (this.#static.compare(bytes, 0, STATIC_DATA_END) !== 0) found.push('constant tables');
    for (const [from, to] of this.guards()) {
      const area = bytes.subarray(from, to);
      // Equal to itself one byte on, and right at the start: right everywhere.
      if (area[0] !== GUARD || area.compare(area, 0, area.length - 1, 1) !== 0)
        found.push(`guard at ${from.toString(16)}`);
    }
    const configuration = bytes.subarray(SHARED, SHARED + this.#configuration.length);
    // Words that the core itself counts in: none in the configuration before POOL_USED_CHUNKS.
    const length = CFG_POOL_END_PAGES + 4 - SHARED;
    if (this.#configuration.compare(configuration, 0, length, 0, length) !== 0) found.push('configuration');
    if (view.getBigUint64(CFG_HIGHMEM, true) !== 0n) found.push('CFG_HIGHMEM');
    if (view.getBigUint64(VCPU + R_ZERO, true) !== 0n) found.push('R_ZERO');
    for (let chunk = RAM_CHUNKS; chunk < CHUNK_COUNT; chunk++) {
      if (view.getUint32(CHUNKS + chunk * 4, true) !== 0) found.push(`CHUNKS[${chunk}]`);
    }
    for (let page = 0; page < 0x100000; page++) {
      if (bytes[PAGE_FLAGS + page] === 0) continue;
      if (page < POOL_START >>> 12 || page >= POOL_END >>> 12) found.push(`PAGE_FLAGS[${page.toString(16)}]`);
    }
    return found.slice(0, 8);
  }
}

describe.each(TIERS)('random bytes, %s', (tier) => {
  let machine: RandomMachine;

  beforeAll(async () => {
    machine = new RandomMachine(await compileCore('core-as/index.ts', 'release'), tier === 'compiled');
  }, 300_000);

  test.each(MODES)('%s', { timeout: 36_000_000 }, (mode) => {
    const cases = Math.ceil(CASES / MODES.length);
    for (let number = 0; number < cases; number++) {
      machine.prepare(mode);
      const before = process.cpuUsage();
      let exit: number;
      try {
        exit = machine.core.run(BUDGET_INSNS);
      } catch (error) {
        const rip = machine.view.getBigUint64(VCPU + R_RIP, true).toString(16);
        throw new Error(`case ${number} of "${mode}" trapped near ${rip}`, { cause: error });
      }
      const spent = process.cpuUsage(before);
      expect(spent.user + spent.system, `microseconds of processor time of case ${number}`).toBeLessThan(
        LONGEST_RUN_US,
      );
      expect(exit, `case ${number}`).not.toBe(EXIT_ERROR);
      if (number % CASES_PER_CHECK === CASES_PER_CHECK - 1 || number === cases - 1) {
        expect(machine.damage(), `up to case ${number}`).toEqual([]);
      }
    }
  });

  test('a divisor of one byte has eight bits, whatever a device answers', () => {
    machine.prepare('protected 0');
    machine.mmioAnswer = 0x100;
    // DIV byte [0xD0000000]; the handler of #DE is random code.
    machine.bytes.set([0xf6, 0x35, 0, 0, 0, 0xd0], POOL_START + CODE);
    machine.view.setBigUint64(VCPU + R_RIP, BigInt(CODE), true);
    machine.core.stateChanged();
    machine.core.stepOne();
    expect(machine.core.lastException()).toBe(0);
    machine.mmioAnswer = undefined;
  });
});
