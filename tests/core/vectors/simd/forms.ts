/** Every instruction form that the SIMD table describes, its machine code, and reproducible operands for it. */

/** One record of harness.c (struct state), as 64-bit words: offsets in bytes. */
export const STATE = {
  ymm: 0,
  gpr: 512,
  mm: 640,
  memory: 704,
  mxcsr: 768,
  rflags: 772,
  tags: 776,
  top: 777,
  exponents: 784,
  status: 800,
  codeLength: 804,
  code: 808,
  size: 824,
  /** Words that a test compares: everything before `status`. */
  words: 100,
} as const;

/** Where harness.c puts the record's memory block: the value of RBX. */
export const MEMORY_ADDRESS = 0x10000000 + STATE.memory;
export const MEMORY_BYTES = 64;

export type Describe = (
  map: number,
  prefix: number,
  opcode: number,
  modrm: number,
  vex: number,
  vexL: number,
  vexW: number,
) => number;

export interface Form {
  map: number;
  prefix: number;
  opcode: number;
  /** Opcode extension in ModRM.reg, or -1. */
  digit: number;
  isRegister: boolean;
  vex: number;
  l: number;
  w: number;
  descriptor: number;
  /** W = 1 where W means nothing: the same instruction as with W = 0. */
  isAlias: boolean;
}

/** Fields of a descriptor (core-as/simd/row.ts). */
export const operationOf = (descriptor: number): number => descriptor & 0x3ff;
export const sizeCodeOf = (descriptor: number): number => (descriptor >>> 10) & 15;
export const SIZE_SPECIAL = 11;
export const WRITES = 1 << 14;
export const IMM8 = 1 << 16;
export const VSIB = 1 << 18;
export const NO_VVVV = 1 << 28;
export const W_IS_GPR = 1 << 30;
export const NO_MODRM = 1 << 31;

const GROUP_OPCODES = new Set([0x71, 0x72, 0x73]);

/** Every encoding that simdDescribe knows, one per form. */
export function enumerateForms(describe: Describe): Form[] {
  const forms: Form[] = [];
  for (let map = 1; map <= 3; map++) {
    for (let opcode = 0; opcode < 256; opcode++) {
      const digits = map === 1 && GROUP_OPCODES.has(opcode) ? [0, 1, 2, 3, 4, 5, 6, 7] : [-1];
      for (let bits = 0; bits < 64; bits++) {
        const prefix = bits & 3;
        const isRegister = (bits & 4) === 0;
        const w = (bits >> 3) & 1;
        const encoding = bits >> 4;
        if (encoding === 3) continue;
        const vex = encoding ? 1 : 0;
        const l = encoding === 2 ? 1 : 0;
        for (const digit of digits) {
          const modrm = (isRegister ? 0xc0 : 0) | (Math.max(digit, 0) << 3);
          const descriptor = describe(map, prefix, opcode, modrm, vex, l, w);
          if (!descriptor) continue;
          if (descriptor & NO_MODRM && !isRegister) continue;
          const isAlias =
            w === 1 && !(descriptor & W_IS_GPR) && descriptor === describe(map, prefix, opcode, modrm, vex, l, 0);
          forms.push({ map, prefix, opcode, digit, isRegister, vex, l, w, descriptor, isAlias });
        }
      }
    }
  }
  return forms;
}

/** Identifies a form in vectors.bin. */
export function formKey(form: Form): number {
  const encoding = (form.vex << 2) | (form.l << 1) | form.w;
  const modrm = ((form.digit + 1) << 1) | Number(form.isRegister);
  return (form.map << 20) | (form.opcode << 12) | (form.prefix << 10) | (encoding << 7) | modrm;
}

/** How many cases vectors.bin holds of a form. */
export function caseCount(form: Form): number {
  return form.isAlias ? 3 : 24;
}

export function formName(form: Form): string {
  const prefix = ['', '66 ', 'F3 ', 'F2 '][form.prefix] ?? '';
  const map = ['', '0F', '0F38', '0F3A'][form.map] ?? '';
  const digit = form.digit < 0 ? '' : `/${form.digit}`;
  const encoding = form.vex ? `VEX.${form.l ? 256 : 128}.` : '';
  return `${encoding}${prefix}${map} ${form.opcode.toString(16).padStart(2, '0')}${digit} W${form.w} ${form.isRegister ? 'reg' : 'mem'}`;
}

/** Operands of one case. */
export interface Operands {
  reg: number;
  rm: number;
  vvvv: number;
  imm: number;
  /** Gathers: index register, scale factor's logarithm, displacement. */
  index: number;
  scale: number;
  displacement: number;
}

/** Machine code; a memory operand is [RBX], with a vector index for gathers. */
export function encode(form: Form, operands: Operands): Uint8Array {
  const code: number[] = [];
  const regHigh = form.digit < 0 ? (operands.reg >> 3) & 1 : 0;
  const rmHigh = form.isRegister ? (operands.rm >> 3) & 1 : 0;
  const indexHigh = form.descriptor & VSIB ? (operands.index >> 3) & 1 : 0;
  const simdPrefix = [0, 0x66, 0xf3, 0xf2][form.prefix] ?? 0;
  if (form.vex) {
    const vvvv = form.descriptor & NO_VVVV ? 0 : operands.vvvv;
    code.push(0xc4, ((1 - regHigh) << 7) | ((1 - indexHigh) << 6) | ((1 - rmHigh) << 5) | form.map);
    code.push((form.w << 7) | ((~vvvv & 15) << 3) | (form.l << 2) | form.prefix);
  } else {
    if (simdPrefix) code.push(simdPrefix);
    const rex = 0x40 | (form.w << 3) | (regHigh << 2) | rmHigh;
    if (rex !== 0x40) code.push(rex);
    code.push(0x0f);
    if (form.map === 2) code.push(0x38);
    if (form.map === 3) code.push(0x3a);
  }
  code.push(form.opcode);
  if (!(form.descriptor & NO_MODRM)) {
    const reg = form.digit < 0 ? operands.reg & 7 : form.digit;
    if (form.isRegister) code.push(0xc0 | (reg << 3) | (operands.rm & 7));
    else if (form.descriptor & VSIB) {
      code.push(
        0x44 | (reg << 3),
        (operands.scale << 6) | ((operands.index & 7) << 3) | 3,
        operands.displacement & 0xff,
      );
    } else code.push((reg << 3) | 3);
  }
  if (form.descriptor & IMM8) code.push(operands.imm);
  return Uint8Array.from(code);
}

/** splitmix32: small, seedable, the same everywhere. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 0;
  }
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
}

const SINGLES = [
  0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x00000001, 0x807fffff, 0x00800000, 0x80800001, 0x7f7fffff,
  0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0xff812345, 0x3f000000, 0x3fc00000,
  0x40200000, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000, 0x00ffffff, 0x34000000, 0x477fe000,
  0x477ff000, 0x38800000, 0x33800000,
];
const DOUBLES_HIGH = [
  0x00000000, 0x80000000, 0x3ff00000, 0xbff00000, 0x00000000, 0x800fffff, 0x00100000, 0x80100000, 0x7fefffff,
  0xffefffff, 0x7ff00000, 0xfff00000, 0x7ff80000, 0xfff81234, 0x7ff00000, 0xfff01234, 0x3fe00000, 0x3ff80000,
  0x40040000, 0x41e00000, 0xc1e00000, 0x41dfffff, 0x43e00000, 0xc3e00000, 0x001fffff, 0x3cb00000, 0x47efffff,
  0x380fffff, 0x36a00000, 0x38100000,
];
const DOUBLES_LOW = [
  0, 0, 0, 0, 1, 0xffffffff, 0, 1, 0xffffffff, 0xffffffff, 0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0xffc00000, 0, 0,
  0xffffffff, 0, 0xefffffff, 0xffffffff, 0, 0,
];

function randomSingle(random: Random): number {
  switch (random.below(8)) {
    case 0:
    case 1:
      return SINGLES[random.below(SINGLES.length)] ?? 0;
    case 2:
      return random.next();
    case 3: // small integers and halves
      return new Uint32Array(Float32Array.of((random.below(64) - 32) / 2).buffer)[0] ?? 0;
    case 4: // about the ends of the exponent range
      return (
        ((random.next() & 0x807fffff) | ((random.below(2) ? random.below(26) : 254 - random.below(26)) << 23)) >>> 0
      );
    default: // near 1, few significant bits half of the time
      return ((random.next() & (random.below(2) ? 0x807fffff : 0x80700000)) | ((112 + random.below(40)) << 23)) >>> 0;
  }
}

function randomDouble(random: Random): [number, number] {
  switch (random.below(8)) {
    case 0:
    case 1: {
      const index = random.below(DOUBLES_HIGH.length);
      return [DOUBLES_LOW[index] ?? 0, DOUBLES_HIGH[index] ?? 0];
    }
    case 2:
      return [random.next(), random.next()];
    case 3: {
      const words = new Uint32Array(Float64Array.of((random.below(64) - 32) / 2).buffer);
      return [words[0] ?? 0, words[1] ?? 0];
    }
    case 4: {
      const exponent = random.below(2) ? random.below(56) : 2046 - random.below(56);
      return [random.next(), ((random.next() & 0x800fffff) | (exponent << 20)) >>> 0];
    }
    case 5: // within the reach of single precision's ends
      return [random.next(), ((random.next() & 0x800fffff) | ((870 + random.below(300)) << 20)) >>> 0];
    default: {
      const isShort = random.below(2);
      const exponent = 1000 + random.below(72);
      return [
        isShort ? 0 : random.next(),
        ((random.next() & (isShort ? 0x800e0000 : 0x800fffff)) | (exponent << 20)) >>> 0,
      ];
    }
  }
}

const HALVES = [0, 0x8000, 1, 0x83ff, 0x400, 0x7bff, 0xfc00, 0x7c00, 0x7e00, 0xfe01, 0x7c01, 0xfd55, 0x3c00];

/** Fills bytes with one style of operand. */
function fillStyle(view: DataView, at: number, bytes: number, style: number, random: Random): void {
  for (let i = at; i < at + bytes; i += 8) {
    switch (style) {
      case 0:
        view.setUint32(i, random.next(), true);
        view.setUint32(i + 4, random.next(), true);
        break;
      case 1:
        view.setUint32(i, randomSingle(random), true);
        view.setUint32(i + 4, randomSingle(random), true);
        break;
      case 2: {
        const [low, high] = randomDouble(random);
        view.setUint32(i, low, true);
        view.setUint32(i + 4, high, true);
        break;
      }
      case 3: // small words: counts, indices, strings with zeros
        for (let j = 0; j < 8; j++) view.setUint8(i + j, random.below(4) ? random.below(6) : 0);
        break;
      case 4: // one small number per quadword: shift counts
        view.setUint32(i, random.below(72), true);
        view.setUint32(i + 4, random.below(8) ? 0 : random.below(72), true);
        break;
      default: // bytes at the ends of their ranges, halves
        for (let j = 0; j < 8; j += 2) {
          const half = HALVES[random.below(HALVES.length)] ?? 0;
          view.setUint16(i + j, random.below(3) ? half : random.next() & 0xffff, true);
        }
    }
  }
}

/** Registers that harness.c loads: not RBX, RSP, RBP, R12-R15. */
const REGISTERS = [0, 1, 2, 6, 7, 8, 9, 10, 11];

/** The style that suits a floating-point operation: singles 1, doubles 2; else any. */
function styleOf(operation: number, random: Random): number {
  const isFloat = (operation >= 0x140 && operation < 0x160) || operation >= 0x340;
  if (isFloat && random.below(8)) return operation & 1 ? 2 : 1;
  const isFloatMisc = (operation >= 0x160 && operation < 0x1a0) || operation >= 0x300;
  if (isFloatMisc && random.below(8)) return 1 + random.below(2);
  return random.below(6);
}

/** Fills a record with the operands of case `number` of a form and answers what was encoded. */
export function makeCase(form: Form, number: number, record: Uint8Array): Operands {
  const view = new DataView(record.buffer, record.byteOffset, STATE.size);
  const key = (form.map << 20) | (form.opcode << 12) | (form.prefix << 10) | (form.vex << 9) | (form.l << 8);
  const random = new Random(
    key ^ (form.w << 7) ^ (Number(form.isRegister) << 6) ^ ((form.digit + 1) << 2) ^ (number << 24),
  );
  for (let i = number >> 8; i > 0; i--) random.next();
  const operation = operationOf(form.descriptor);
  const pick = (): number => REGISTERS[random.below(REGISTERS.length)] ?? 0;
  const operands: Operands = {
    reg: pick(),
    rm: pick(),
    vvvv: pick(),
    imm: random.below(256),
    index: pick(),
    scale: random.below(4),
    displacement: random.below(16),
  };
  record.fill(0);
  const style = styleOf(operation, random);
  for (let i = 0; i < 16; i++) {
    const own = operation >= 0xa0 && operation < 0xc0 && random.below(2) ? 4 : style;
    fillStyle(view, STATE.ymm + i * 32, 32, own, random);
  }
  fillStyle(view, STATE.gpr, 128, random.below(2) ? 0 : 4, random);
  fillStyle(view, STATE.mm, 64, style, random);
  fillStyle(view, STATE.memory, MEMORY_BYTES, style, random);
  // Equal and nearly cancelling operands do not come by themselves.
  if (random.below(4) === 0) record.copyWithin(STATE.ymm + 32, STATE.ymm, STATE.ymm + 32);
  if (random.below(4) === 0)
    record.copyWithin(STATE.memory, STATE.ymm + operands.reg * 32, STATE.ymm + operands.reg * 32 + 32);
  // AX and DX are string lengths.
  if (random.below(2)) {
    view.setBigInt64(STATE.gpr, BigInt(random.below(40) - 20), true);
    view.setBigInt64(STATE.gpr + 16, BigInt(random.below(40) - 20), true);
  }
  view.setBigUint64(STATE.gpr + 24, BigInt(MEMORY_ADDRESS), true);
  if (operation >= 0x340) nearlyCancel(view, operation, random);
  if (sizeCodeOf(form.descriptor) === SIZE_SPECIAL) {
    view.setBigUint64(STATE.gpr + 56, BigInt(MEMORY_ADDRESS + random.below(32)), true);
    if (form.descriptor & VSIB) {
      const wide = (form.opcode & 1) === 1;
      for (let at = 0; at < 32; at += wide ? 8 : 4) {
        const index = random.below((MEMORY_BYTES - 24) >> operands.scale) - (operands.displacement >> operands.scale);
        const address = STATE.ymm + operands.index * 32 + at;
        if (wide) view.setBigInt64(address, BigInt(index), true);
        else view.setInt32(address, index, true);
      }
    }
  }
  // Half of the cases run with the reset value of MXCSR, with and without sticky flags.
  let mxcsr = 0x1f80 | (random.below(2) ? random.below(64) : 0);
  if (random.below(2)) {
    mxcsr = (random.next() & 0xe040) | (random.below(2) ? random.below(64) : 0);
    mxcsr |= random.below(3) ? 0x1f80 : random.next() & 0x1f80;
  }
  view.setUint32(STATE.mxcsr, mxcsr, true);
  view.setUint32(STATE.rflags, (random.next() & 0x8d5) | 2, true);
  view.setUint8(STATE.top, 3);
  for (let i = 0; i < 8; i++) view.setUint16(STATE.exponents + i * 2, 0x3fff, true);
  const code = encode(form, operands);
  view.setUint32(STATE.codeLength, code.length, true);
  record.set(code, STATE.code);
  return operands;
}

/** Makes one register about minus the product of two others, so that fused results expose the product's low half. */
function nearlyCancel(view: DataView, operation: number, random: Random): void {
  if (random.below(2)) return;
  for (let target = 0; target < 16; target++) {
    if (random.below(2)) continue;
    const a = STATE.ymm + random.below(16) * 32;
    const b = STATE.ymm + random.below(16) * 32;
    const c = STATE.ymm + target * 32;
    for (let at = 0; at < 32; at += operation & 1 ? 8 : 4) {
      if (operation & 1) view.setFloat64(c + at, view.getFloat64(a + at, true) * -view.getFloat64(b + at, true), true);
      else view.setFloat32(c + at, view.getFloat32(a + at, true) * -view.getFloat32(b + at, true), true);
    }
  }
}
