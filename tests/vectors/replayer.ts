/**
 * Runs recorded vectors on the core: 64-bit user mode with the windows of windows.ts mapped, one instruction at a time, everything compared.
 */
import { R_ACTIVITY, R_CPL, R_CR2, R_RIP, R_SEG, SEG_BASE, SEG_STRIDE, VCPU } from '../../core-as/layout.ts';
import { COMPARED_FLAGS, type StoredVector, VectorReader } from './format.ts';
import { FS_BASE, MemoryPrng, REGISTER_COUNT, drawRegisters, seedOfName, seedOfVector } from './random.ts';
import { type FlagRule, undefinedFlags, undefinedHighHalf } from './undefined-flags.ts';
import { type CoreExports, KERNEL_STACK_TOP, UserMachine } from './user-machine.ts';
import { CODE_ADDRESS, IMAGE_SIZE_BYTES, WINDOWS } from './windows.ts';

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
  readonly #machine: UserMachine;
  readonly #core: CoreExports;
  readonly #view: DataView;
  readonly #chunk0: number;
  readonly #image: Buffer;
  readonly #gpr: Uint32Array;
  readonly #background: Buffer;
  readonly #expectedImage: Buffer;
  readonly #input = new Uint32Array(REGISTER_COUNT * 2);
  readonly #expected = new Uint32Array(REGISTER_COUNT * 2);
  #patch = new Uint8Array(4096);

  /** `compiled`: in the JIT's code instead of the interpreter's. */
  constructor(module: WebAssembly.Module, compiled = false) {
    const machine = new UserMachine(module, compiled);
    this.#machine = machine;
    this.#core = machine.core;
    this.#view = machine.view;
    this.#chunk0 = machine.chunk0;
    this.#image = machine.image;
    this.#gpr = machine.gpr;
    this.#background = machine.background;
    this.#expectedImage = Buffer.from(machine.background);
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
        if (about) this.#machine.writeCode(codeOffset, code, code.length);
        for (let vectors = reader.varint(); vectors > 0; vectors--) {
          const vector = reader.read();
          const number = ordinal++;
          if (!about) continue;
          const text = this.#run(id, about, seedOfVector(seed, number), codeOffset, code, repeat, vector);
          if (text === undefined) continue;
          mismatches++;
          if (examples.length < examplesPerForm) examples.push({ form: id, ordinal: number, text });
        }
        if (about) this.#machine.writeCode(codeOffset, undefined, code.length);
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
      this.#machine.userSegments();
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
