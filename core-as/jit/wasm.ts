/** Writes WebAssembly (core specification 2.0, chapter 5) into linear memory. */

/** Where the next byte goes. */
export let at: u32 = 0;

export function setAt(address: u32): void {
  at = address;
}

// @ts-ignore: decorator
@inline
export function byte(value: u32): void {
  store<u8>(at, <u8>value);
  at++;
}

export function unsigned(value: u32): void {
  while (value >= 0x80) {
    byte((value & 0x7f) | 0x80);
    value >>= 7;
  }
  byte(value);
}

export function signed(value: i64): void {
  for (;;) {
    const low = (<u32>value) & 0x7f;
    value >>= 7;
    if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) {
      byte(low);
      return;
    }
    byte(low | 0x80);
  }
}

/** Reserves five bytes for a length that is known later. */
export function reserveLength(): u32 {
  const place = at;
  at += 5;
  return place;
}

/** Fills in a reserved length with what was written since. */
export function patchLength(place: u32): void {
  let value = at - place - 5;
  for (let i: u32 = 0; i < 4; i++) {
    store<u8>(place + i, <u8>((value & 0x7f) | 0x80));
    value >>= 7;
  }
  store<u8>(place + 4, <u8>(value & 0x7f));
}

/** atomic.fence: everything before it is seen before anything after it. */
export function fence(): void {
  byte(0xfe);
  byte(0x03);
  byte(0x00);
}

// Types.
export const TYPE_I32: u32 = 0x7f;
export const TYPE_I64: u32 = 0x7e;
export const TYPE_F32: u32 = 0x7d;
export const TYPE_F64: u32 = 0x7c;
export const TYPE_V128: u32 = 0x7b;
export const TYPE_FUNC: u32 = 0x60;
export const TYPE_VOID: u32 = 0x40;

// Control.
export const BLOCK: u32 = 0x02;
export const LOOP: u32 = 0x03;
export const IF: u32 = 0x04;
export const ELSE: u32 = 0x05;
export const END: u32 = 0x0b;
export const BR: u32 = 0x0c;
export const BR_IF: u32 = 0x0d;
export const BR_TABLE: u32 = 0x0e;
export const RETURN: u32 = 0x0f;
export const CALL_INDIRECT: u32 = 0x11;
export const DROP: u32 = 0x1a;
export const SELECT: u32 = 0x1b;
const LOCAL_GET: u32 = 0x20;
const LOCAL_SET: u32 = 0x21;
const LOCAL_TEE: u32 = 0x22;

// Memory.
export const I32_LOAD: u32 = 0x28;
export const I64_LOAD: u32 = 0x29;
export const F32_LOAD: u32 = 0x2a;
export const F64_LOAD: u32 = 0x2b;
export const I64_LOAD8_U: u32 = 0x31;
export const I64_LOAD16_U: u32 = 0x33;
export const I64_LOAD32_U: u32 = 0x35;
export const I32_STORE: u32 = 0x36;
export const I64_STORE: u32 = 0x37;
export const F32_STORE: u32 = 0x38;
export const F64_STORE: u32 = 0x39;
export const I64_STORE8: u32 = 0x3c;
export const I64_STORE16: u32 = 0x3d;
export const I64_STORE32: u32 = 0x3e;

// Numbers.
const I32_CONST: u32 = 0x41;
const I64_CONST: u32 = 0x42;
export const I32_EQZ: u32 = 0x45;
export const I32_EQ: u32 = 0x46;
export const I32_NE: u32 = 0x47;
export const I32_LE_S: u32 = 0x4c;
export const I32_LT_U: u32 = 0x49;
export const I32_GT_U: u32 = 0x4b;
export const I32_GE_U: u32 = 0x4f;
export const I64_EQZ: u32 = 0x50;
export const I64_EQ: u32 = 0x51;
export const I64_NE: u32 = 0x52;
export const I64_LT_S: u32 = 0x53;
export const I64_LT_U: u32 = 0x54;
export const I64_LE_S: u32 = 0x57;
export const I64_LE_U: u32 = 0x58;
export const I64_GT_U: u32 = 0x56;
export const F32_EQ: u32 = 0x5b;
export const F32_LT: u32 = 0x5d;
export const F32_GT: u32 = 0x5e;
export const F64_EQ: u32 = 0x61;
export const F64_LT: u32 = 0x63;
export const F64_GT: u32 = 0x64;
export const I32_POPCNT: u32 = 0x69;
export const I32_ADD: u32 = 0x6a;
export const I32_SUB: u32 = 0x6b;
export const I32_AND: u32 = 0x71;
export const I32_OR: u32 = 0x72;
export const I32_XOR: u32 = 0x73;
export const I32_SHL: u32 = 0x74;
export const I32_SHR_U: u32 = 0x76;
export const I32_ROTL: u32 = 0x77;
export const I32_ROTR: u32 = 0x78;
export const I64_CLZ: u32 = 0x79;
export const I64_CTZ: u32 = 0x7a;
export const I64_POPCNT: u32 = 0x7b;
export const I64_ADD: u32 = 0x7c;
export const I64_SUB: u32 = 0x7d;
export const I64_MUL: u32 = 0x7e;
export const I64_DIV_S: u32 = 0x7f;
export const I64_DIV_U: u32 = 0x80;
export const I64_AND: u32 = 0x83;
export const I64_OR: u32 = 0x84;
export const I64_XOR: u32 = 0x85;
export const I64_SHL: u32 = 0x86;
export const I64_SHR_S: u32 = 0x87;
export const I64_SHR_U: u32 = 0x88;
export const I64_ROTL: u32 = 0x89;
export const I64_ROTR: u32 = 0x8a;
export const F32_SQRT: u32 = 0x91;
export const F32_ADD: u32 = 0x92;
export const F64_SQRT: u32 = 0x9f;
export const F64_ADD: u32 = 0xa0;
export const I32_WRAP_I64: u32 = 0xa7;
export const I64_EXTEND_I32_U: u32 = 0xad;
export const I64_TRUNC_F64_S: u32 = 0xb0;
export const I64_TRUNC_F32_S: u32 = 0xae;
export const F32_CONVERT_I64_S: u32 = 0xb4;
export const F32_DEMOTE_F64: u32 = 0xb6;
export const F64_CONVERT_I64_S: u32 = 0xb9;
export const F64_PROMOTE_F32: u32 = 0xbb;
export const I32_REINTERPRET_F32: u32 = 0xbc;
export const I64_REINTERPRET_F64: u32 = 0xbd;
export const I64_EXTEND8_S: u32 = 0xc2;
export const I64_EXTEND16_S: u32 = 0xc3;
export const I64_EXTEND32_S: u32 = 0xc4;

// Vectors, behind their prefix.
export const V128_LOAD: u32 = 0;
export const V128_LOAD8_SPLAT: u32 = 7;
export const V128_STORE: u32 = 11;
export const V128_CONST: u32 = 12;
export const I8X16_SHUFFLE: u32 = 13;
export const I8X16_SWIZZLE: u32 = 14;
export const I8X16_EQ: u32 = 35;
export const I8X16_GT_S: u32 = 39;
export const I16X8_EQ: u32 = 45;
export const I16X8_GT_S: u32 = 49;
export const I32X4_EQ: u32 = 55;
export const I32X4_GT_S: u32 = 59;
export const I32X4_LT_U: u32 = 58;
export const I32X4_GE_U: u32 = 64;
export const F32X4_EQ: u32 = 65;
export const F32X4_NE: u32 = 66;
export const F32X4_LT: u32 = 67;
export const F64X2_EQ: u32 = 71;
export const F64X2_NE: u32 = 72;
export const F64X2_LT: u32 = 73;
export const V128_NOT: u32 = 77;
export const V128_AND: u32 = 78;
export const V128_ANDNOT: u32 = 79;
export const V128_OR: u32 = 80;
export const V128_XOR: u32 = 81;
export const V128_ANY_TRUE: u32 = 83;
export const V128_LOAD32_ZERO: u32 = 92;
export const V128_LOAD64_ZERO: u32 = 93;
export const I8X16_ABS: u32 = 96;
export const I8X16_BITMASK: u32 = 100;
export const I8X16_NARROW_I16X8_S: u32 = 101;
export const I8X16_NARROW_I16X8_U: u32 = 102;
export const I8X16_ADD: u32 = 110;
export const I8X16_ADD_SAT_S: u32 = 111;
export const I8X16_ADD_SAT_U: u32 = 112;
export const I8X16_SUB: u32 = 113;
export const I8X16_SUB_SAT_S: u32 = 114;
export const I8X16_SUB_SAT_U: u32 = 115;
export const I8X16_MIN_S: u32 = 118;
export const I8X16_MIN_U: u32 = 119;
export const I8X16_MAX_S: u32 = 120;
export const I8X16_MAX_U: u32 = 121;
export const I8X16_AVGR_U: u32 = 123;
export const I16X8_ABS: u32 = 128;
export const I16X8_NARROW_I32X4_S: u32 = 133;
export const I16X8_NARROW_I32X4_U: u32 = 134;
export const I16X8_EXTEND_LOW_I8X16_S: u32 = 135;
export const I16X8_EXTEND_LOW_I8X16_U: u32 = 137;
export const I16X8_SHL: u32 = 139;
export const I16X8_SHR_S: u32 = 140;
export const I16X8_SHR_U: u32 = 141;
export const I16X8_ADD: u32 = 142;
export const I16X8_ADD_SAT_S: u32 = 143;
export const I16X8_ADD_SAT_U: u32 = 144;
export const I16X8_SUB: u32 = 145;
export const I16X8_SUB_SAT_S: u32 = 146;
export const I16X8_SUB_SAT_U: u32 = 147;
export const I16X8_MUL: u32 = 149;
export const I16X8_MIN_S: u32 = 150;
export const I16X8_MIN_U: u32 = 151;
export const I16X8_MAX_S: u32 = 152;
export const I16X8_MAX_U: u32 = 153;
export const I16X8_AVGR_U: u32 = 155;
export const I32X4_ABS: u32 = 160;
export const I32X4_BITMASK: u32 = 164;
export const I32X4_EXTEND_LOW_I16X8_S: u32 = 167;
export const I32X4_EXTEND_LOW_I16X8_U: u32 = 169;
export const I32X4_SHL: u32 = 171;
export const I32X4_SHR_S: u32 = 172;
export const I32X4_SHR_U: u32 = 173;
export const I32X4_ADD: u32 = 174;
export const I32X4_SUB: u32 = 177;
export const I32X4_MUL: u32 = 181;
export const I32X4_MIN_S: u32 = 182;
export const I32X4_MIN_U: u32 = 183;
export const I32X4_MAX_S: u32 = 184;
export const I32X4_MAX_U: u32 = 185;
export const I32X4_DOT_I16X8_S: u32 = 186;
export const I64X2_BITMASK: u32 = 196;
export const I64X2_EXTEND_LOW_I32X4_S: u32 = 199;
export const I64X2_EXTEND_LOW_I32X4_U: u32 = 201;
export const I64X2_SHL: u32 = 203;
export const I64X2_SHR_U: u32 = 205;
export const I64X2_ADD: u32 = 206;
export const I64X2_SUB: u32 = 209;
export const I64X2_EQ: u32 = 214;
export const I64X2_LT_S: u32 = 216;
export const I64X2_GT_S: u32 = 217;
export const I64X2_EXTMUL_LOW_I32X4_S: u32 = 220;
export const I64X2_EXTMUL_LOW_I32X4_U: u32 = 222;
export const F32X4_SQRT: u32 = 227;
export const F32X4_ADD: u32 = 228;
export const F32X4_PMIN: u32 = 234;
export const F64X2_SQRT: u32 = 239;
export const F64X2_ADD: u32 = 240;
export const F64X2_PMIN: u32 = 246;
export const F32X4_CONVERT_I32X4_S: u32 = 250;
export const F64X2_CONVERT_LOW_I32X4_S: u32 = 254;
const VECTOR_PREFIX: u32 = 0xfd;

// @ts-ignore: decorator
@inline
export function get(local: u32): void {
  byte(LOCAL_GET);
  unsigned(local);
}
// @ts-ignore: decorator
@inline
export function set(local: u32): void {
  byte(LOCAL_SET);
  unsigned(local);
}
// @ts-ignore: decorator
@inline
export function tee(local: u32): void {
  byte(LOCAL_TEE);
  unsigned(local);
}
export function const32(value: i32): void {
  byte(I32_CONST);
  signed(value);
}
export function const64(value: i64): void {
  byte(I64_CONST);
  signed(value);
}
/** A load or store with its constant offset; the alignment hint is 1 byte, for guests align nothing. */
export function access(opcode: u32, offset: u32): void {
  byte(opcode);
  byte(0);
  unsigned(offset);
}

export function vector(operation: u32): void {
  byte(VECTOR_PREFIX);
  unsigned(operation);
}
/** A load or store of a vector, as access. */
export function vectorAccess(operation: u32, offset: u32): void {
  vector(operation);
  byte(0);
  unsigned(offset);
}
// Atomic operations, behind their prefix: that on 64 bits; those on 8, 16 and 32 bits of an i64 come 3, 4 and 5 later (threads proposal).
export const ATOMIC_ADD: u32 = 0x1f;
export const ATOMIC_SUB: u32 = 0x26;
export const ATOMIC_AND: u32 = 0x2d;
export const ATOMIC_OR: u32 = 0x34;
export const ATOMIC_XOR: u32 = 0x3b;
export const ATOMIC_XCHG: u32 = 0x42;
export const ATOMIC_CMPXCHG: u32 = 0x49;
const ATOMIC_PREFIX: u32 = 0xfe;

/** An atomic read-modify-write of 1 << log2 bytes with i64 operands; the alignment must be natural. */
export function atomic(operation: u32, log2: u32, offset: u32): void {
  byte(ATOMIC_PREFIX);
  unsigned(operation + (log2 === 3 ? 0 : 3 + log2));
  byte(log2);
  unsigned(offset);
}

/** Bytes of a constant. */
export function zeros(count: u32): void {
  for (let i: u32 = 0; i < count; i++) byte(0);
}
