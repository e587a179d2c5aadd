/**
 * A WebAssembly function's body as text, an operation a line (core specification 2.0, chapters 5 and 6, and the threads proposal): for reading
 * what core-as/jit makes.
 */
import { WasmReader } from './wasm-reader.ts';

function names(type: string, operations: string): string[] {
  return operations.split(' ').map((operation) => `${type}.${operation}`);
}

const FIRST_MEMORY = 0x28;
const MEMORY = [
  ...['i32.load', 'i64.load', 'f32.load', 'f64.load'],
  ...names('i32', 'load8_s load8_u load16_s load16_u'),
  ...names('i64', 'load8_s load8_u load16_s load16_u load32_s load32_u'),
  ...['i32.store', 'i64.store', 'f32.store', 'f64.store'],
  ...names('i32', 'store8 store16'),
  ...names('i64', 'store8 store16 store32'),
];

const COMPARISONS = 'eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const INTEGER = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const FLOAT_COMPARISONS = 'eq ne lt gt le ge';
const FLOAT = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign';

const FIRST_NUMERIC = 0x45;
const NUMERIC = [
  ...names('i32', COMPARISONS),
  ...names('i64', COMPARISONS),
  ...names('f32', FLOAT_COMPARISONS),
  ...names('f64', FLOAT_COMPARISONS),
  ...names('i32', INTEGER),
  ...names('i64', INTEGER),
  ...names('f32', FLOAT),
  ...names('f64', FLOAT),
  ...names('i32', 'wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'),
  ...names('i64', 'extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'),
  ...names('f32', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64'),
  ...names('f64', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32'),
  ...['i32.reinterpret_f32', 'i64.reinterpret_f64', 'f32.reinterpret_i32', 'f64.reinterpret_i64'],
  ...names('i32', 'extend8_s extend16_s'),
  ...names('i64', 'extend8_s extend16_s extend32_s'),
];

/** Vector operations that the translator uses, by number; the others are written as numbers. */
const VECTOR = new Map(
  Object.entries({
    v128: { load: 0, load8_splat: 7, load16_splat: 8, load32_splat: 9, load64_splat: 10, store: 11, const: 12 },
    'v128 ': { not: 77, and: 78, andnot: 79, or: 80, xor: 81, any_true: 83, load32_zero: 92, load64_zero: 93 },
    i8x16: {
      ...{
        shuffle: 13,
        swizzle: 14,
        eq: 35,
        gt_s: 39,
        abs: 96,
        bitmask: 100,
        narrow_i16x8_s: 101,
        narrow_i16x8_u: 102,
        add: 110,
      },
      ...{ add_sat_s: 111, add_sat_u: 112, sub: 113, sub_sat_s: 114, sub_sat_u: 115, min_s: 118, min_u: 119 },
      ...{ max_s: 120, max_u: 121, avgr_u: 123 },
    },
    i16x8: {
      ...{ eq: 45, gt_s: 49, narrow_i32x4_s: 133, narrow_i32x4_u: 134, shl: 139, shr_s: 140, shr_u: 141, add: 142 },
      ...{ add_sat_s: 143, add_sat_u: 144, sub: 145, sub_sat_s: 146, sub_sat_u: 147, mul: 149, min_s: 150 },
      ...{
        min_u: 151,
        max_s: 152,
        max_u: 153,
        avgr_u: 155,
        abs: 128,
        extend_low_i8x16_s: 135,
        extend_low_i8x16_u: 137,
      },
    },
    i32x4: {
      ...{ eq: 55, gt_s: 59, bitmask: 164, shl: 171, shr_s: 172, shr_u: 173, add: 174, sub: 177, mul: 181, min_s: 182 },
      ...{ min_u: 183, max_s: 184, max_u: 185, dot_i16x8_s: 186, lt_u: 58, ge_u: 64, abs: 160 },
      ...{ extend_low_i16x8_s: 167, extend_low_i16x8_u: 169 },
    },
    i64x2: {
      ...{ bitmask: 196, shl: 203, shr_u: 205, add: 206, sub: 209, eq: 214, lt_s: 216, gt_s: 217 },
      ...{ extend_low_i32x4_s: 199, extend_low_i32x4_u: 201, extmul_low_i32x4_s: 220, extmul_low_i32x4_u: 222 },
    },
    f32x4: {
      ...{ eq: 65, ne: 66, lt: 67, sqrt: 227, add: 228, sub: 229, mul: 230, div: 231, pmin: 234, pmax: 235 },
      ...{ convert_i32x4_s: 250 },
    },
    f64x2: {
      ...{ eq: 71, ne: 72, lt: 73, sqrt: 239, add: 240, sub: 241, mul: 242, div: 243, pmin: 246, pmax: 247 },
      ...{ convert_low_i32x4_s: 254 },
    },
  }).flatMap(([type, operations]) =>
    Object.entries(operations).map(([name, number]) => [number, `${type.trim()}.${name}`] as const),
  ),
);

const CONTROL = new Map([
  [0x02, 'block'],
  [0x03, 'loop'],
  [0x04, 'if'],
  [0x05, 'else'],
  [0x0b, 'end'],
  [0x0c, 'br'],
  [0x0d, 'br_if'],
  [0x0e, 'br_table'],
  [0x0f, 'return'],
  [0x11, 'call_indirect'],
  [0x1a, 'drop'],
  [0x1b, 'select'],
  [0x20, 'local.get'],
  [0x21, 'local.set'],
  [0x22, 'local.tee'],
]);

const TYPES = new Map([
  [0x7f, 'i32'],
  [0x7e, 'i64'],
  [0x7d, 'f32'],
  [0x7c, 'f64'],
  [0x7b, 'v128'],
]);

const VOID = 0x40;
const VECTOR_CONST = 12;
const SHUFFLE = 13;
const LAST_VECTOR_ACCESS = 11;
/** Loads of 32 or 64 bits and zeros come later. */
const ZERO_EXTENDING = new Set([92, 93]);
const FENCE = 3;
const FIRST_ATOMIC = 0x1e;
const ATOMICS = ['add', 'sub', 'and', 'or', 'xor', 'xchg', 'cmpxchg'];
const ATOMIC_FORMS = ['i32 rmw', 'i64 rmw', 'i32 rmw8', 'i32 rmw16', 'i64 rmw8', 'i64 rmw16', 'i64 rmw32'];

class BodyReader extends WasmReader {
  type(): string {
    const type = this.byte();
    return type === VOID ? '' : ` (result ${TYPES.get(type) ?? type.toString(16)})`;
  }

  /** Alignment and offset of a memory access. */
  place(): string {
    this.unsigned();
    const offset = this.unsigned();
    return offset ? ` offset=0x${offset.toString(16)}` : '';
  }

  hex(count: number): string {
    return Array.from({ length: count }, () => this.byte().toString(16).padStart(2, '0')).join(' ');
  }
}

/** The lines of a function's body: its bytes without their length. An operation that core-as/jit does not make ends them with a remark. */
export function wasmText(body: Uint8Array): string[] {
  const lines: string[] = [];
  try {
    readBody(new BodyReader(body), lines);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    lines.push(`;; ${error.message}`);
  }
  return lines;
}

function readBody(reader: BodyReader, lines: string[]): void {
  for (let groups = reader.unsigned(); groups > 0; groups--) {
    const count = reader.unsigned();
    lines.push(`(local ${count} x ${TYPES.get(reader.byte()) ?? '?'})`);
  }
  let depth = 0;
  while (reader.at < reader.bytes.length) {
    const opcode = reader.byte();
    const text = operation(reader, opcode);
    if (text === 'end' || text === 'else') depth--;
    lines.push('  '.repeat(Math.max(depth, 0)) + text);
    if (opcode === 0x02 || opcode === 0x03 || opcode === 0x04 || opcode === 0x05) depth++;
  }
}

function operation(reader: BodyReader, opcode: number): string {
  const memory = MEMORY[opcode - FIRST_MEMORY];
  if (memory !== undefined) return memory + reader.place();
  const numeric = NUMERIC[opcode - FIRST_NUMERIC];
  if (numeric !== undefined) return numeric;
  switch (opcode) {
    case 0x41:
      return `i32.const ${reader.signed()}`;
    case 0x42:
      return `i64.const ${reader.signed()}`;
    case 0xfd:
      return vectorOperation(reader);
    case 0xfe:
      return atomicOperation(reader);
  }
  const name = CONTROL.get(opcode);
  if (name === undefined) throw new RangeError(`operation 0x${opcode.toString(16)} is not one of core-as/jit`);
  switch (opcode) {
    case 0x02:
    case 0x03:
    case 0x04:
      return name + reader.type();
    case 0x0c:
    case 0x0d:
    case 0x20:
    case 0x21:
    case 0x22:
      return `${name} ${reader.unsigned()}`;
    case 0x0e:
      return `${name} ${Array.from({ length: reader.unsigned() + 1 }, () => reader.unsigned()).join(' ')}`;
    case 0x11: {
      const type = reader.unsigned();
      reader.unsigned();
      return `${name} (type ${type})`;
    }
    default:
      return name;
  }
}

function vectorOperation(reader: BodyReader): string {
  const number = reader.unsigned();
  const name = VECTOR.get(number);
  if (name === undefined) throw new RangeError(`vector operation ${number} is not one of core-as/jit`);
  if (number <= LAST_VECTOR_ACCESS || ZERO_EXTENDING.has(number)) return name + reader.place();
  return number === VECTOR_CONST || number === SHUFFLE ? `${name} ${reader.hex(16)}` : name;
}

function atomicOperation(reader: BodyReader): string {
  const number = reader.unsigned();
  if (number === FENCE) {
    reader.byte();
    return 'atomic.fence';
  }
  const name = ATOMICS[Math.floor((number - FIRST_ATOMIC) / ATOMIC_FORMS.length)];
  const [type, form] = ATOMIC_FORMS[(number - FIRST_ATOMIC) % ATOMIC_FORMS.length]?.split(' ') ?? [];
  if (name === undefined || type === undefined || form === undefined) {
    throw new RangeError(`atomic operation ${number} is not one of core-as/jit`);
  }
  return `${type}.atomic.${form}.${name}${form === 'rmw' ? '' : '_u'}${reader.place()}`;
}
