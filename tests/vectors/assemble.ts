/** Random instructions and the register values they need: what the tables of forms are written in. */
import { CODE_ADDRESS, CODE_DEFAULT_OFFSET, CODE_SIZE_BYTES, DATA, HIGH, READ_ONLY, imageOffsetOf } from './windows.ts';
import { FS_BASE, GS_BASE, MemoryPrng, type Prng, REGISTER_COUNT, drawRegisters } from './random.ts';
import type { MemoryRun } from './format.ts';

export type OperandSize = 1 | 2 | 4 | 8;

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

export function low64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

/** Input of one vector while it is being made: starts from what its seed gives. */
export class VectorBuilder {
  readonly registers = new Uint32Array(REGISTER_COUNT * 2);
  readonly flags: number;
  readonly patches: MemoryRun[] = [];
  overrideMask = 0;
  readonly #memory: MemoryPrng;
  /** The memory image's patched bytes, resolved, by image offset. */
  readonly patched: { imageOffset: number; bytes: Uint8Array }[] = [];

  constructor(
    readonly seed: number,
    /** Decisions of the generator; nothing in the data depends on it being repeatable. */
    readonly prng: Prng,
  ) {
    this.flags = drawRegisters(seed, this.registers);
    this.#memory = new MemoryPrng(seed);
  }

  get(register: number): bigint {
    return (BigInt(this.registers[register * 2 + 1] ?? 0) << 32n) | BigInt(this.registers[register * 2] ?? 0);
  }

  set(register: number, value: bigint): void {
    this.registers[register * 2] = Number(value & 0xffffffffn);
    this.registers[register * 2 + 1] = Number((value >> 32n) & 0xffffffffn);
    this.overrideMask |= 1 << register;
  }

  /** Gives the mapped part of a range bytes that follow from the seed; at most 4 KiB. */
  fill(address: bigint, lengthBytes: number): Uint8Array {
    const offset = imageOffsetOf(address);
    if (offset < 0) return new Uint8Array(0);
    let length = 0;
    while (length < lengthBytes && imageOffsetOf(address + BigInt(length)) === offset + length) length++;
    const bytes = new Uint8Array(length);
    this.#memory.fill(bytes);
    this.patches.push({ imageOffset: offset, lengthBytes: length, bytes: undefined });
    this.patched.push({ imageOffset: offset, bytes });
    return bytes;
  }

  /** Gives the mapped part of a range these bytes. */
  put(address: bigint, bytes: ArrayLike<number>): void {
    const offset = imageOffsetOf(address);
    if (offset < 0) return;
    let length = 0;
    while (length < bytes.length && imageOffsetOf(address + BigInt(length)) === offset + length) length++;
    const copy = Uint8Array.from(Array.from(bytes).slice(0, length));
    this.patches.push({ imageOffset: offset, lengthBytes: length, bytes: copy });
    this.patched.push({ imageOffset: offset, bytes: copy });
  }

  putInteger(address: bigint, value: bigint, sizeBytes: number): void {
    this.put(address, littleEndian(value, sizeBytes));
  }
}

export function littleEndian(value: bigint, sizeBytes: number): number[] {
  const bytes: number[] = [];
  for (let at = 0; at < sizeBytes; at++) bytes.push(Number((value >> BigInt(at * 8)) & 0xffn));
  return bytes;
}

/** One instruction at one place; `prepare` gives a vector the registers and memory it needs. */
export interface Encoding {
  readonly code: readonly number[];
  readonly codeOffset: number;
  readonly repeat: boolean;
  prepare(vector: VectorBuilder): void;
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory operands

export interface MemoryOptions {
  /** Bytes that the access touches. */
  readonly bytes: number;
  /** Registers whose values the form sets itself. */
  readonly avoid?: readonly number[];
  /** Alignment that the access requires (a misaligned one still comes up now and then). */
  readonly align?: number;
  /** Accessed in several pieces, each of which would wrap a 32-bit effective address by itself: no segment base with one. */
  readonly inPieces?: boolean;
  /** Only where every access works. */
  readonly safe?: boolean;
}

interface Shape {
  base: number | undefined;
  index: number | undefined;
  scale: number;
  disp: bigint;
  dispBytes: 0 | 1 | 4;
  segment: 0 | 0x64 | 0x65;
  address32: boolean;
  ripRelative: boolean;
  fixedTarget: bigint;
}

/** A linear address to access: most of them mapped, some across a page, some faulting. */
export function chooseTarget(prng: Prng, options: MemoryOptions, lowOnly: boolean): bigint {
  const bytes = options.bytes;
  const align = options.align ?? (prng.below(2) ? bytes : 1);
  const inWindow = (address: bigint, size: number): bigint => {
    let offset = prng.below(size - bytes - 64) + 32;
    if (!options.align || !prng.chance(16)) offset -= offset % align;
    return address + BigInt(offset);
  };
  const draw = prng.below(options.safe ? 80 : 100);
  if (draw < 50) return inWindow(DATA.address, DATA.sizeBytes);
  if (draw < 72) return lowOnly ? inWindow(DATA.address, DATA.sizeBytes) : inWindow(HIGH.address, HIGH.sizeBytes);
  const across = BigInt(bytes > 1 ? 1 + prng.below(bytes - 1) : 1);
  if (draw < 80) return DATA.address + 0x1000n - across;
  if (draw < 85) return DATA.address + 0x2000n - across;
  if (draw < 92) return inWindow(READ_ONLY.address, READ_ONLY.sizeBytes);
  if (draw < 95 || lowOnly) return DATA.address + 0x2000n + BigInt(prng.below(0x1000 - bytes));
  const bits = (BigInt(prng.next()) << 32n) | BigInt(prng.next());
  // Bits 47 and 48 differ; not so near to the hole's ends that a displacement could leave it.
  return (bits & 0xffff3ffffffffff8n & ~(3n << 47n)) | (prng.below(2) ? 1n << 47n : 1n << 48n) | (1n << 40n);
}

function drawShape(prng: Prng, options: MemoryOptions): Shape {
  const avoid = options.avoid ?? [];
  const register = (also: number | undefined, not4: boolean): number => {
    for (;;) {
      const drawn = prng.below(16);
      if (!avoid.includes(drawn) && drawn !== also && !(not4 && drawn === RSP)) return drawn;
    }
  };
  const kind = prng.below(16);
  const shape: Shape = {
    base: undefined,
    index: undefined,
    scale: prng.below(4),
    disp: 0n,
    dispBytes: 0,
    segment: prng.chance(12) ? (prng.below(2) ? 0x64 : 0x65) : 0,
    address32: prng.chance(8),
    ripRelative: false,
    fixedTarget: 0n,
  };
  if (options.inPieces && shape.segment) shape.address32 = false;
  if (kind < 6) shape.base = register(undefined, false);
  else if (kind < 12) {
    shape.index = register(undefined, true);
    shape.base = register(shape.index, false);
  } else if (kind < 13) shape.index = register(undefined, true);
  else shape.ripRelative = kind < 15;
  if (shape.base === undefined) shape.dispBytes = 4;
  else {
    shape.dispBytes = prng.pick([0, 1, 1, 4] as const);
    if (shape.dispBytes === 0 && (shape.base & 7) === RBP) shape.dispBytes = 1;
  }
  if (shape.dispBytes === 1) shape.disp = BigInt(prng.below(256) - 128);
  else if (shape.dispBytes === 4) shape.disp = BigInt.asIntN(32, BigInt(prng.next()) >> BigInt(prng.below(4) * 8));
  if (shape.base === undefined && shape.index === undefined) {
    shape.fixedTarget = chooseTarget(prng, options, true);
    shape.disp = shape.fixedTarget;
  }
  return shape;
}

function effectiveAddress(vector: VectorBuilder, shape: Shape): bigint {
  let address = shape.disp;
  if (shape.base !== undefined) address += vector.get(shape.base);
  if (shape.index !== undefined) address += vector.get(shape.index) << BigInt(shape.scale);
  return shape.address32 ? BigInt.asUintN(32, address) : low64(address);
}

/** Sets base, index or segment base so that the operand lies at the target; returns where it really lies. */
function place(vector: VectorBuilder, shape: Shape, target: bigint): bigint {
  const segmentRegister = shape.segment === 0x64 ? FS_BASE : GS_BASE;
  const fixed = shape.base === undefined && shape.index === undefined;
  if (fixed || (shape.segment && shape.address32)) {
    const effective = shape.ripRelative ? shape.fixedTarget : effectiveAddress(vector, shape);
    if (!shape.segment) return effective;
    vector.set(segmentRegister, low64(target - effective));
    return target;
  }
  const segmentBase = shape.segment ? vector.get(segmentRegister) : 0n;
  let wanted = low64(target - segmentBase - shape.disp);
  const merge = (register: number, value: bigint): void => {
    const kept = shape.address32 ? (vector.get(register) >> 32n) << 32n : 0n;
    vector.set(register, kept | (shape.address32 ? BigInt.asUintN(32, value) : low64(value)));
  };
  if (shape.base !== undefined) {
    const indexPart = shape.index === undefined ? 0n : vector.get(shape.index) << BigInt(shape.scale);
    merge(shape.base, low64(wanted - indexPart));
  } else if (shape.index !== undefined) {
    if (shape.address32) wanted = BigInt.asUintN(32, wanted);
    merge(shape.index, wanted >> BigInt(shape.scale));
  }
  return low64(effectiveAddress(vector, shape) + segmentBase);
}

// ---------------------------------------------------------------------------------------------------------------------
// Instructions with a ModRM byte

/** What a register field of ModRM names. */
export type RegisterKind = 'general' | 'byte';

export interface ModrmSpec {
  readonly size: OperandSize;
  /** Opcode bytes after REX (or after VEX). */
  readonly opcode: readonly number[];
  /** F2 or F3 in front of REX. */
  readonly mandatory?: number | undefined;
  readonly rm: 'reg' | 'mem';
  /** /digit, instead of a register operand. */
  readonly digit?: number | undefined;
  /** Sizes of the register and r/m operands where they are not the operand size. */
  readonly regKind?: RegisterKind | undefined;
  readonly rmKind?: RegisterKind | undefined;
  /** No REX and a register among AH, CH, DH, BH. */
  readonly highByte?: boolean | undefined;
  readonly immediate?: ((prng: Prng) => readonly number[]) | undefined;
  readonly lock?: boolean | undefined;
  readonly memory?: MemoryOptions | undefined;
  /** Registers that the ModRM register operands must not be. */
  readonly avoid?: readonly number[] | undefined;
  /** Three-byte VEX: map, pp, L; W follows from the size unless given. */
  readonly vex?:
    | {
        readonly map: number;
        readonly pp: number;
        readonly w?: number;
        readonly l?: number;
        /** Any register unless given. */
        readonly vvvv?: number;
        /** The two-byte prefix where the instruction fits in it. */
        readonly short?: boolean;
      }
    | undefined;
  /** A 66 prefix that F2 or F3 makes meaningless. */
  readonly idle66?: boolean | undefined;
  /** REX.W although the operand size is not 8 (it is then ignored or the instruction's default). */
  readonly rexW?: boolean | undefined;
  /** No 66 prefix although the size is 2. */
  readonly no66?: boolean | undefined;
  /** Runs after the registers and memory of the operand were set. */
  readonly prepare?: ((vector: VectorBuilder, operand: Operand) => void) | undefined;
  /** Takes the place of the ordinary choice of a memory operand's address. */
  readonly target?: ((vector: VectorBuilder, operand: Operand) => bigint) | undefined;
}

/** What a ModRM byte came out as. */
export interface Operand {
  readonly reg: number;
  readonly rm: number;
  readonly vvvv: number;
  readonly immediate: readonly number[];
  /** Linear address of the memory operand, once placed. */
  address: bigint;
}

const NOISE_PREFIXES = [0x2e, 0x36, 0x3e, 0x26];

/** Mostly a fixed place; sometimes any, or such that the instruction crosses a page. */
export function drawCodeOffset(prng: Prng, length: number): number {
  const draw = prng.below(8);
  if (draw === 0) return 0x1000 - 1 - prng.below(Math.max(1, length - 1));
  if (draw === 1) return prng.below(CODE_SIZE_BYTES - 32);
  return CODE_DEFAULT_OFFSET;
}

export function modrmInstruction(prng: Prng, spec: ModrmSpec): Encoding {
  const memory: MemoryOptions = { bytes: spec.size, ...spec.memory };
  const avoid = spec.avoid ?? [];
  const shape = spec.rm === 'mem' ? drawShape(prng, memory) : undefined;
  const drawRegister = (): number => {
    for (;;) {
      const drawn = prng.below(spec.highByte ? 8 : 16);
      if (!avoid.includes(drawn)) return drawn;
    }
  };
  let reg = spec.digit ?? drawRegister();
  let rm = drawRegister();
  const byteOperands = spec.regKind === 'byte' || spec.rmKind === 'byte';
  if (spec.highByte) {
    // SPL-DIL cannot be named without REX, so 4-7 are AH-BH for byte operands; r8-r15 are out of reach.
    if (
      spec.rm === 'reg' &&
      spec.rmKind === 'byte' &&
      (spec.digit !== undefined || spec.regKind !== 'byte' || prng.below(2))
    ) {
      rm = 4 + (rm & 3);
    } else if (spec.digit === undefined && spec.regKind === 'byte') reg = 4 + (reg & 3);
    if (shape) {
      if (shape.index !== undefined && shape.index > 7) shape.index = shape.base === RDX ? RBX : RDX;
      if (shape.base !== undefined && shape.base > 7) shape.base = shape.index === RSI ? RDI : RSI;
    }
  }
  const vvvv = spec.vex?.vvvv ?? drawRegister();
  const immediate = spec.immediate?.(prng) ?? [];

  const prefixes: number[] = [];
  if (spec.size === 2 && !spec.no66 && !spec.vex) prefixes.push(0x66);
  if (spec.mandatory !== undefined) prefixes.push(spec.mandatory);
  if (spec.idle66) prefixes.push(0x66);
  if (spec.lock) prefixes.push(0xf0);
  if (shape?.segment) prefixes.push(shape.segment);
  else if (prng.chance(16)) prefixes.push(prng.pick(NOISE_PREFIXES));
  if (shape?.address32) prefixes.push(0x67);
  for (let at = prefixes.length - 1; at > 0; at--) {
    const other = prng.below(at + 1);
    const kept = prefixes[at] as number;
    prefixes[at] = prefixes[other] as number;
    prefixes[other] = kept;
  }

  let rexR = 0;
  let rexX = 0;
  let rexB = 0;
  if (spec.digit === undefined) rexR = reg >> 3;
  const tail: number[] = [];
  let dispAt = -1;
  if (!shape) {
    rexB = rm >> 3;
    tail.push(0xc0 | ((reg & 7) << 3) | (rm & 7));
  } else {
    const reg3 = (reg & 7) << 3;
    if (shape.ripRelative) {
      tail.push(reg3 | 5);
      dispAt = tail.length;
      tail.push(0, 0, 0, 0);
    } else {
      const mod = shape.base === undefined || shape.dispBytes === 0 ? 0 : shape.dispBytes === 1 ? 0x40 : 0x80;
      if (shape.index === undefined && shape.base !== undefined && (shape.base & 7) !== RSP) {
        tail.push(mod | reg3 | (shape.base & 7));
      } else {
        const index = shape.index ?? 4;
        tail.push(mod | reg3 | 4, (shape.scale << 6) | ((index & 7) << 3) | ((shape.base ?? 5) & 7));
        rexX = index >> 3;
      }
      rexB = (shape.base ?? 0) >> 3;
      tail.push(...littleEndian(shape.disp, shape.dispBytes));
    }
  }

  const head: number[] = [...prefixes];
  if (spec.vex) {
    const w = spec.vex.w ?? (spec.size === 8 ? 1 : 0);
    const last = ((vvvv ^ 15) << 3) | ((spec.vex.l ?? 0) << 2) | spec.vex.pp;
    if (spec.vex.short && spec.vex.map === 1 && !(w | rexX | rexB)) head.push(0xc5, ((rexR ^ 1) << 7) | last);
    else {
      head.push(0xc4, ((rexR ^ 1) << 7) | ((rexX ^ 1) << 6) | ((rexB ^ 1) << 5) | spec.vex.map);
      head.push((w << 7) | last);
    }
  } else {
    let rex = (spec.size === 8 && !spec.no66) || spec.rexW ? 0x48 : 0;
    if (rexR | rexX | rexB) rex |= 0x40 | (rexR << 2) | (rexX << 1) | rexB;
    if (!rex && !spec.highByte && (byteOperands ? prng.below(2) : prng.chance(16))) rex = 0x40;
    if (rex) head.push(rex);
  }
  head.push(...spec.opcode);
  const code = [...head, ...tail, ...immediate];
  const codeOffset = drawCodeOffset(prng, code.length);
  if (shape?.ripRelative) {
    const disp = shape.fixedTarget - BigInt(CODE_ADDRESS + codeOffset + code.length);
    littleEndian(disp, 4).forEach((byte, at) => (code[head.length + dispAt + at] = byte));
  }

  return {
    code,
    codeOffset,
    repeat: false,
    prepare(vector) {
      const operand: Operand = { reg, rm, vvvv, immediate, address: 0n };
      if (shape) {
        const fixed = shape.base === undefined && shape.index === undefined && !shape.segment;
        const lowOnly = shape.address32 && !shape.segment;
        const target = fixed
          ? shape.fixedTarget
          : (spec.target?.(vector, operand) ?? chooseTarget(vector.prng, memory, lowOnly || segmentTooFar(shape)));
        operand.address = place(vector, shape, target);
        vector.fill(operand.address, memory.bytes);
      }
      spec.prepare?.(vector, operand);
    },
  };
}

/** A segment base computed from a non-canonical target would itself be non-canonical, and cannot be loaded. */
function segmentTooFar(shape: Shape): boolean {
  return shape.segment !== 0 && (shape.address32 || (shape.base === undefined && shape.index === undefined));
}

// ---------------------------------------------------------------------------------------------------------------------
// Immediates

const IMMEDIATE_CORNERS = [0, 1, 2, -1, -2, 0x7f, -0x80, 0x80, 0xff, 0x7fff, -0x8000, 0x7fffffff, -0x80000000, 0x5555];

/** Random or corner-case immediates of a length. */
export function immediateOf(bytes: number): (prng: Prng) => readonly number[] {
  return (prng) => {
    if (prng.below(2)) return littleEndian(BigInt(prng.pick(IMMEDIATE_CORNERS)), bytes);
    return littleEndian((BigInt(prng.next()) << 32n) | BigInt(prng.next()), bytes);
  };
}

/** Bytes of the immediate that goes with an operand size: 64-bit instructions take 32 bits, sign-extended. */
export function immediateBytes(size: OperandSize): number {
  return size === 8 ? 4 : size;
}

/** Prefixes and REX of an instruction without ModRM. `register` is one named by the opcode's low bits. */
export function plainInstruction(
  prng: Prng,
  options: {
    size: OperandSize;
    opcode: readonly number[];
    register?: number;
    immediate?: readonly number[];
    prefixes?: readonly number[];
    /** The operand is a byte register: REX makes 4-7 SPL-DIL. */
    byteRegister?: boolean;
    /** 64-bit by default: no REX.W needed. */
    default64?: boolean;
    repeat?: boolean;
    prepare?: (vector: VectorBuilder) => void;
  },
): Encoding {
  const code: number[] = [...(options.prefixes ?? [])];
  if (options.size === 2) code.push(0x66);
  if (prng.chance(16)) code.push(prng.pick(NOISE_PREFIXES));
  let rex = options.size === 8 && !options.default64 ? 0x48 : 0;
  if (options.register !== undefined && options.register > 7) rex |= 0x41;
  if (!rex && (options.byteRegister ? prng.below(2) : prng.chance(16))) rex = 0x40;
  if (rex) code.push(rex);
  const opcode = [...options.opcode];
  if (options.register !== undefined) opcode.push((opcode.pop() ?? 0) | (options.register & 7));
  code.push(...opcode, ...(options.immediate ?? []));
  const prepare = options.prepare;
  return {
    code,
    codeOffset: drawCodeOffset(prng, code.length),
    repeat: options.repeat ?? false,
    prepare(vector) {
      prepare?.(vector);
    },
  };
}

/** Exact bytes. */
export function rawInstruction(
  prng: Prng,
  code: readonly number[],
  prepare?: (vector: VectorBuilder) => void,
): Encoding {
  return {
    code,
    codeOffset: drawCodeOffset(prng, code.length),
    repeat: false,
    prepare(vector) {
      prepare?.(vector);
    },
  };
}
