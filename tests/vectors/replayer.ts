/**
 * Runs recorded vectors on the core: 64-bit user mode with the windows of windows.ts mapped, one instruction at a time, everything compared.
 */
import {
  CACHES,
  CFG_CPU_LEVEL,
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
  R_CR2,
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
  R_RIP,
  R_SEG,
  R_XCR0,
  SEG_ACCESS,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SEG_STRIDE,
  VCPU,
} from '../../core-as/layout.ts';
import { COMPARED_FLAGS, type StoredVector, VectorReader } from './format.ts';
import { FS_BASE, MemoryPrng, REGISTER_COUNT, drawRegisters, seedOfName, seedOfVector } from './random.ts';
import { type FlagRule, undefinedFlags, undefinedHighHalf } from './undefined-flags.ts';
import { CODE_ADDRESS, CODE_SIZE_BYTES, IMAGE_SIZE_BYTES, WINDOWS, backgroundImage } from './windows.ts';

/** What the replayer needs of the core's exports (core-as/index.ts). */
interface CoreExports {
  _start?(): void;
  init(vcpu: number): void;
  machineInit(): void;
  vcpuReset(): void;
  stepOne(): number;
  commitChunk(index: number): number;
  getRflags(): bigint;
  setRflags(value: bigint): void;
  stateChanged(): void;
  /** Vector | error code << 8 of the exception delivered by the last stepOne(), or -1. */
  lastException(): number;
}

const CODE_CACHE_BYTES = 16 << 20;
const POOL_START = 0x2400000;
const POOL_END = 0x2800000;

// Guest-physical addresses.
const GDT = 0x10000;
const IDT = 0x11000;
const TSS = 0x13000;
const KERNEL_STACK_TOP = 0x22000;
const CHUNK = 0x200000;
const IMAGE = CHUNK;
const CODE = CHUNK + 0x8000;

/** Guest-physical 0 to 2 MiB for the supervisor alone. */
const KERNEL_LINEAR = 0xffff800000000000n;

const USER_CS = 0x33;
const USER_SS = 0x2b;
const KERNEL_CS = 0x10;
const TSS_SELECTOR = 0x40;

/** From here on Linux reports every #PF as a protection violation to the program, so P of the error code is not known. */
const LINUX_TASK_SIZE_HIGH = 0x7fff;

export interface Mismatch {
  readonly form: string;
  readonly ordinal: number;
  readonly text: string;
}

export interface FormResult {
  readonly id: string;
  readonly vectors: number;
  readonly mismatches: number;
  /** The first few. */
  readonly examples: readonly Mismatch[];
}

const REGISTER_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'fsbase',
  'gsbase',
];
const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [0, 'CF'],
  [2, 'PF'],
  [4, 'AF'],
  [6, 'ZF'],
  [7, 'SF'],
  [10, 'DF'],
  [11, 'OF'],
  [14, 'NT'],
  [18, 'AC'],
  [21, 'ID'],
];

function hex(low: number, high: number): string {
  return ((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)).toString(16);
}

function flagText(flags: number): string {
  const names = FLAG_NAMES.filter(([bit]) => flags & (1 << bit)).map(([, name]) => name);
  return names.join(' ') || '-';
}

export class Replayer {
  readonly #core: CoreExports;
  readonly #view: DataView;
  readonly #chunk0: number;
  readonly #image: Buffer;
  readonly #code: Uint8Array;
  readonly #codePage: number;
  readonly #gpr: Uint32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #background = Buffer.from(backgroundImage());
  readonly #expectedImage = Buffer.from(this.#background);
  readonly #input = new Uint32Array(REGISTER_COUNT * 2);
  readonly #expected = new Uint32Array(REGISTER_COUNT * 2);
  #patch = new Uint8Array(4096);

  constructor(module: WebAssembly.Module) {
    const memory = new WebAssembly.Memory({ initial: POOL_END >> 16, maximum: 65536, shared: true });
    const answers: Record<string, (...args: number[]) => number | undefined> = {
      hostNowNs: () => 0,
      hostWallSeconds: () => 0,
      hostPortRead: (_port, size) => (size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff),
      hostPortWrite: () => undefined,
      hostMmioRead: () => 0xffffffff,
      hostMmioWrite: () => undefined,
      hostRandom: () => 4,
      hostNote: () => undefined,
    };
    const env: WebAssembly.ModuleImports = { memory, ...answers };
    this.#core = new WebAssembly.Instance(module, { env }).exports as unknown as CoreExports;
    this.#view = new DataView(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.#bytes = new Uint8Array(memory.buffer);
    this.#gpr = new Uint32Array(memory.buffer, VCPU + R_GPR, 32);

    const view = this.#view;
    view.setBigUint64(CFG_LOWMEM, BigInt(2 * CHUNK), true);
    view.setUint32(CFG_NCPUS, 1, true);
    view.setUint32(CFG_CPU_LEVEL, 3, true);
    view.setUint32(CFG_POOL_START, POOL_START, true);
    view.setUint32(CFG_POOL_END_PAGES, POOL_END >> 16, true);
    for (let index = 0; index < 2; index++) view.setUint32(CHUNKS + index * 4, CHUNK_RAM, true);
    view.setUint32(VCPU + R_CODE_CACHE, CACHES, true);
    view.setUint32(VCPU + R_CODE_CACHE_SIZE, CODE_CACHE_BYTES, true);
    this.#core._start?.();
    this.#core.machineInit();
    this.#core.init(0);
    this.#core.vcpuReset();

    this.#chunk0 = this.#core.commitChunk(0);
    const chunk1 = this.#core.commitChunk(1);
    if (!this.#chunk0 || !chunk1) throw new Error('commitChunk() gave no memory');
    this.#image = Buffer.from(memory.buffer, chunk1 + IMAGE - CHUNK, IMAGE_SIZE_BYTES);
    this.#background.copy(this.#image);
    this.#code = new Uint8Array(memory.buffer, chunk1 + CODE - CHUNK, CODE_SIZE_BYTES);
    this.#code.fill(0xcc);
    this.#codePage = (chunk1 + CODE - CHUNK) >>> 12;
    this.#buildTables();
    this.#enterUserMode();
  }

  #put64(gpa: number, value: bigint): void {
    this.#view.setBigUint64(this.#chunk0 + gpa, BigInt.asUintN(64, value), true);
  }

  #buildTables(): void {
    let nextTable = 0x2000;
    const root = 0x1000;
    const entryOf = (table: number, index: number): number => {
      const at = table + index * 8;
      const entry = this.#view.getBigUint64(this.#chunk0 + at, true);
      if (entry & 1n) return Number(entry & ~0xfffn);
      const made = nextTable;
      nextTable += 0x1000;
      this.#put64(at, BigInt(made) | 7n);
      return made;
    };
    const map = (linear: bigint, gpa: number, bits: bigint): void => {
      let table = root;
      for (const shift of [39n, 30n, 21n]) table = entryOf(table, Number((linear >> shift) & 0x1ffn));
      this.#put64(table + Number((linear >> 12n) & 0x1ffn) * 8, BigInt(gpa) | bits);
    };
    const noExecute = 1n << 63n;
    for (const window of WINDOWS) {
      for (let page = 0; page < window.sizeBytes; page += 0x1000) {
        const gpa = IMAGE + window.imageOffset + page;
        map(window.address + BigInt(page), gpa, 5n | noExecute | (window.writable ? 2n : 0n));
      }
    }
    for (let page = 0; page < CODE_SIZE_BYTES; page += 0x1000) map(BigInt(CODE_ADDRESS + page), CODE + page, 5n);
    for (let page = 0; page < 0x30000; page += 0x1000) map(KERNEL_LINEAR + BigInt(page), page, 3n);

    this.#put64(GDT + KERNEL_CS, 0x00af9b000000ffffn);
    this.#put64(GDT + 0x18, 0x00cf93000000ffffn);
    this.#put64(GDT + (USER_SS & ~7), 0x00cff3000000ffffn);
    this.#put64(GDT + (USER_CS & ~7), 0x00affb000000ffffn);
    const tss = KERNEL_LINEAR + BigInt(TSS);
    this.#put64(GDT + TSS_SELECTOR, 0x8b0000000067n | ((tss & 0xffffffn) << 16n) | (((tss >> 24n) & 0xffn) << 56n));
    this.#put64(GDT + TSS_SELECTOR + 8, tss >> 32n);
    this.#put64(TSS + 4, KERNEL_LINEAR + BigInt(KERNEL_STACK_TOP));
    this.#view.setUint16(this.#chunk0 + TSS + 102, 0x68, true);
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
    this.#view.setBigUint64(at + SEG_BASE, BigInt.asUintN(64, base), true);
    this.#view.setUint32(at + SEG_LIMIT, limit, true);
    this.#view.setUint32(at + SEG_ACCESS, access, true);
    this.#view.setUint16(at + SEG_SELECTOR, selector, true);
  }

  /** Registers of Linux in 64-bit user mode. */
  #enterUserMode(): void {
    const put = (offset: number, value: bigint): void => this.#view.setBigUint64(VCPU + offset, value, true);
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
    this.#view.setUint32(VCPU + R_GDT_LIMIT, 0x4f, true);
    this.#view.setUint32(VCPU + R_IDT_LIMIT, 0xfff, true);
    for (const segment of [0, 3, 4, 5]) this.#setSegment(segment, 0, 0, 0x10000);
    this.#setSegment(6, 0, 0, 0x10082);
    this.#setSegment(7, TSS_SELECTOR, 0x67, 0x8b, KERNEL_LINEAR + BigInt(TSS));
    this.#userSegments();
  }

  #userSegments(): void {
    this.#setSegment(1, USER_CS, 0xffffffff, 0xa0fb);
    this.#setSegment(2, USER_SS, 0xffffffff, 0xc0f3);
    this.#view.setUint32(VCPU + R_CPL, 3, true);
    this.#view.setUint32(VCPU + R_INT_SHADOW, 0, true);
    this.#view.setUint32(VCPU + R_ACTIVITY, 0, true);
    this.#core.setRflags(0x202n);
    this.#core.stateChanged();
  }

  /** Changes bytes of the code window, as a device's DMA would: the core hears of it through the code ring. */
  #writeCode(offset: number, code: Uint8Array | undefined, lengthBytes: number): void {
    const end = Math.min(offset + lengthBytes, CODE_SIZE_BYTES);
    for (let at = offset; at < end; at++) this.#code[at] = code ? (code[at - offset] ?? 0) : 0xcc;
    for (let page = offset >> 12; page <= (end - 1) >> 12; page++) {
      const linearPage = this.#codePage + page;
      if (!((this.#bytes[PAGE_FLAGS + linearPage] ?? 0) & PAGE_CODE)) continue;
      this.#bytes[PAGE_FLAGS + linearPage] = (this.#bytes[PAGE_FLAGS + linearPage] ?? 0) & ~PAGE_CODE;
      const sequence = this.#view.getUint32(CODE_RING_SEQ, true);
      this.#view.setUint32(CODE_RING + (sequence % CODE_RING_ENTRIES) * 4, linearPage, true);
      this.#view.setUint32(CODE_RING_SEQ, sequence + 1, true);
      Atomics.or(this.#words, (VCPU + R_PENDING) >> 2, PEND_KICK);
    }
  }

  /** Replays a whole file. `ruleOf` gives a form's flag rule and size; undefined skips the form. */
  replay(
    file: Uint8Array,
    ruleOf: (id: string) => { rule: FlagRule; size: number } | undefined,
    examplesPerForm = 2,
  ): FormResult[] {
    const reader = new VectorReader(file);
    const results: FormResult[] = [];
    for (let forms = reader.varint(); forms > 0; forms--) {
      const id = reader.name();
      const about = ruleOf(id);
      const seed = seedOfName(id);
      let ordinal = 0;
      let mismatches = 0;
      const examples: Mismatch[] = [];
      for (let encodings = reader.varint(); encodings > 0; encodings--) {
        const codeOffset = reader.varint();
        const code = reader.bytes(reader.u8());
        const repeat = reader.u8() === 1;
        if (about) this.#writeCode(codeOffset, code, code.length);
        for (let vectors = reader.varint(); vectors > 0; vectors--) {
          const vector = reader.read();
          const number = ordinal++;
          if (!about) continue;
          const text = this.#run(id, about, seedOfVector(seed, number), codeOffset, code, repeat, vector);
          if (text === undefined) continue;
          mismatches++;
          if (examples.length < examplesPerForm) examples.push({ form: id, ordinal: number, text });
        }
        if (about) this.#writeCode(codeOffset, undefined, code.length);
      }
      if (about) results.push({ id, vectors: ordinal, mismatches, examples });
    }
    if (!reader.atEnd) throw new Error('bytes left over in a file of vectors');
    return results;
  }

  /** Runs one vector; returns what differs, or undefined. */
  #run(
    id: string,
    about: { rule: FlagRule; size: number },
    seed: number,
    codeOffset: number,
    code: Uint8Array,
    repeat: boolean,
    vector: StoredVector,
  ): string | undefined {
    const { input, expected } = { input: this.#input, expected: this.#expected };
    const view = this.#view;
    const inputFlags = drawRegisters(seed, input);
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.overrideMask & (1 << register)) {
        input[register * 2] = vector.overrides[register * 2] as number;
        input[register * 2 + 1] = vector.overrides[register * 2 + 1] as number;
      }
    }
    expected.set(input);
    for (let register = 0; register < REGISTER_COUNT; register++) {
      if (vector.changeMask & (1 << register)) {
        expected[register * 2] = (input[register * 2] as number) ^ (vector.changes[register * 2] as number);
        expected[register * 2 + 1] = (input[register * 2 + 1] as number) ^ (vector.changes[register * 2 + 1] as number);
      }
    }
    const memory = new MemoryPrng(seed);
    for (const patch of vector.patches) {
      let bytes = patch.bytes;
      if (!bytes) {
        bytes = this.#patch.subarray(0, patch.lengthBytes);
        memory.fill(bytes);
      }
      this.#image.set(bytes, patch.imageOffset);
      this.#expectedImage.set(bytes, patch.imageOffset);
    }
    for (const run of vector.differences) this.#expectedImage.set(run.bytes ?? [], run.imageOffset);

    this.#gpr.set(input.subarray(0, 32));
    for (let segment = 0; segment < 2; segment++) {
      const at = VCPU + R_SEG + (4 + segment) * SEG_STRIDE + SEG_BASE;
      view.setUint32(at, input[(FS_BASE + segment) * 2] as number, true);
      view.setUint32(at + 4, input[(FS_BASE + segment) * 2 + 1] as number, true);
    }
    const start = CODE_ADDRESS + codeOffset;
    view.setUint32(VCPU + R_RIP, start, true);
    view.setUint32(VCPU + R_RIP + 4, 0, true);
    const core = this.#core;
    core.setRflags(BigInt(inputFlags | 0x202));

    let exception = -1;
    for (let step = 0; step < 4096; step++) {
      core.stepOne();
      exception = core.lastException();
      if (exception !== -1 || !repeat) break;
      if (view.getUint32(VCPU + R_RIP, true) !== start || view.getUint32(VCPU + R_RIP + 4, true) !== 0) break;
    }

    const differences: string[] = [];
    const frame = this.#chunk0 + KERNEL_STACK_TOP;
    const wantedVector = vector.outcome - 1;
    let ripAt = VCPU + R_RIP;
    let flags: number;
    if (exception !== -1) {
      ripAt = frame - 40;
      flags = view.getUint32(frame - 24, true);
    } else flags = Number(core.getRflags() & 0xffffffffn);
    if (exception === -1 ? wantedVector !== -1 : (exception & 0xff) !== wantedVector) {
      const got = exception === -1 ? 'no exception' : `exception ${exception & 0xff} code ${exception >>> 8}`;
      differences.push(
        `got ${got}, expected ${wantedVector < 0 ? 'none' : `${wantedVector} code ${vector.errorCode}`}`,
      );
    } else if (exception !== -1) {
      let mask = 0xffff;
      if (wantedVector === 14) {
        const [low, high] = [vector.special[0] as number, vector.special[1] as number];
        if (high > LINUX_TASK_SIZE_HIGH || (high === LINUX_TASK_SIZE_HIGH && low >= 0xfffff000)) mask = 0xfffe;
        const [gotLow, gotHigh] = [view.getUint32(VCPU + R_CR2, true), view.getUint32(VCPU + R_CR2 + 4, true)];
        if (gotLow !== low || gotHigh !== high)
          differences.push(`cr2 ${hex(gotLow, gotHigh)}, expected ${hex(low, high)}`);
      }
      const errorCode = exception >>> 8;
      if ((errorCode ^ vector.errorCode) & mask) {
        differences.push(`error code ${errorCode.toString(16)}, expected ${vector.errorCode.toString(16)}`);
      }
    }

    const expectedRip =
      (BigInt(start + (vector.outcome ? 0 : code.length)) +
        ((BigInt(vector.special[3] as number) << 32n) | BigInt(vector.special[2] as number))) &
      0xffffffffffffffffn;
    const rip = view.getBigUint64(ripAt, true);
    if (rip !== expectedRip) differences.push(`rip ${rip.toString(16)}, expected ${expectedRip.toString(16)}`);

    const expectedFlags = inputFlags ^ vector.flagChanges;
    const executed = { sizeBytes: about.size, code, input };
    const completed = vector.outcome === 0 || about.rule === 'divide';
    const ignored = completed ? undefinedFlags(about.rule, executed) : 0;
    if ((flags ^ expectedFlags) & COMPARED_FLAGS & ~ignored) {
      const mask = COMPARED_FLAGS & ~ignored;
      differences.push(`flags ${flagText(flags & mask)}, expected ${flagText(expectedFlags & mask)}`);
    }

    const skipHigh = undefinedHighHalf(id, about.size, expectedFlags);
    for (let register = 0; register < REGISTER_COUNT; register++) {
      let low: number;
      let high: number;
      if (register >= FS_BASE) {
        const at = VCPU + R_SEG + (4 + register - FS_BASE) * SEG_STRIDE + SEG_BASE;
        low = view.getUint32(at, true);
        high = view.getUint32(at + 4, true);
      } else if (register === 4 && exception !== -1) {
        low = view.getUint32(frame - 16, true);
        high = view.getUint32(frame - 12, true);
      } else {
        low = this.#gpr[register * 2] as number;
        high = this.#gpr[register * 2 + 1] as number;
      }
      const wantedLow = expected[register * 2] as number;
      const wantedHigh = expected[register * 2 + 1] as number;
      if (low === wantedLow && (high === wantedHigh || skipHigh)) continue;
      differences.push(`${REGISTER_NAMES[register] ?? '?'} ${hex(low, high)}, expected ${hex(wantedLow, wantedHigh)}`);
    }

    const same = this.#image.equals(this.#expectedImage);
    if (!same) differences.push(this.#memoryDifference());
    for (const run of vector.patches) this.#restore(run.imageOffset, run.lengthBytes);
    for (const run of vector.differences) this.#restore(run.imageOffset, run.lengthBytes);
    if (!same) {
      this.#background.copy(this.#image);
      this.#background.copy(this.#expectedImage);
    }
    if (exception !== -1 || view.getUint32(VCPU + R_CPL, true) !== 3 || view.getUint32(VCPU + R_ACTIVITY, true) !== 0) {
      this.#userSegments();
    }
    if (differences.length === 0) return undefined;
    return this.#describe(inputFlags, start, code, differences);
  }

  #restore(imageOffset: number, lengthBytes: number): void {
    for (let at = imageOffset; at < imageOffset + lengthBytes; at++) {
      const byte = this.#background[at] as number;
      this.#image[at] = byte;
      this.#expectedImage[at] = byte;
    }
  }

  #memoryDifference(): string {
    let first = 0;
    while (this.#image[first] === this.#expectedImage[first]) first++;
    let last = IMAGE_SIZE_BYTES - 1;
    while (this.#image[last] === this.#expectedImage[last]) last--;
    const window = WINDOWS.find((w) => first >= w.imageOffset && first < w.imageOffset + w.sizeBytes);
    const where = window ? `${window.name} window` : 'memory';
    const end = Math.min(last + 1, first + 16);
    const got = this.#image.subarray(first, end).toString('hex');
    const wanted = this.#expectedImage.subarray(first, end).toString('hex');
    const offset = (first - (window?.imageOffset ?? 0)).toString(16);
    return `${where}+${offset} (${last - first + 1} bytes) ${got}, expected ${wanted}`;
  }

  #describe(flags: number, start: number, code: Uint8Array, differences: readonly string[]): string {
    const registers: string[] = [];
    for (let register = 0; register < REGISTER_COUNT; register++) {
      const [low, high] = [this.#input[register * 2] as number, this.#input[register * 2 + 1] as number];
      registers.push(`${REGISTER_NAMES[register] ?? '?'}=${hex(low, high)}`);
    }
    const bytes = Buffer.from(code).toString('hex').replace(/../g, '$& ').trim();
    return `${bytes} at ${start.toString(16)}: ${differences.join('; ')}\n      from ${registers.join(' ')} flags ${flagText(flags)}`;
  }
}
