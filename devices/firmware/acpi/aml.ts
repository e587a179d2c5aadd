/**
 * ACPI Machine Language, encoded term by term (ACPI 6.5, chapter 20). Each function returns the bytes of one term,
 * and terms nest by being passed as arguments, so that a definition block reads like its ASL source.
 */
import { ascii, ByteWriter, concatBytes } from '../byte-writer.ts';

/** The encoding of one AML term. */
export type Aml = Uint8Array;

const byteOf = (...bytes: number[]): Aml => Uint8Array.from(bytes);
const extOp = (op: number): Aml => byteOf(0x5b, op);

/** One NameSeg (20.2.2): four characters, padded with underscores. */
function nameSegment(segment: string): Aml {
  if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`"${segment}" is not an ACPI name segment`);
  return ascii(segment.padEnd(4, '_'));
}

/** A NameString: an optional root or parent prefix and dotted segments, `\_SB.PC00`. Also a reference or a call. */
export function path(text: string): Aml {
  const prefix = /^(\\|\^*)/.exec(text)?.[0] ?? '';
  const rest = text.slice(prefix.length);
  const segments = rest === '' ? [] : rest.split('.').map(nameSegment);
  const count = segments.length;
  const lead = count === 0 ? [0x00] : count === 1 ? [] : count === 2 ? [0x2e] : [0x2f, count];
  return concatBytes(ascii(prefix), byteOf(...lead), ...segments);
}

/** PkgLength (20.2.4) for a body of `bodyBytes`; it counts its own bytes. */
function packageLength(bodyBytes: number): Aml {
  if (bodyBytes + 1 <= 0x3f) return byteOf(bodyBytes + 1);
  for (let extra = 1; extra <= 3; extra++) {
    const total = bodyBytes + 1 + extra;
    if (total < 1 << (4 + 8 * extra)) {
      const rest = Array.from({ length: extra }, (_, index) => (total >>> (4 + 8 * index)) & 0xff);
      return byteOf((extra << 6) | (total & 0xf), ...rest);
    }
  }
  throw new RangeError(`an AML package of ${bodyBytes} bytes is too long`);
}

function packaged(op: Aml, ...body: readonly Aml[]): Aml {
  const content = concatBytes(...body);
  return concatBytes(op, packageLength(content.length), content);
}

// ----------------------------------------------------------------------------------------------------------- values

/** The shortest integer constant (20.2.3). */
export function integer(value: number | bigint): Aml {
  const wide = BigInt(value);
  if (wide < 0n || wide > 0xffff_ffff_ffff_ffffn) throw new RangeError(`${wide} is not an AML integer`);
  if (wide === 0n) return byteOf(0x00);
  if (wide === 1n) return byteOf(0x01);
  const writer = new ByteWriter();
  if (wide <= 0xffn) writer.u8(0x0a).u8(Number(wide));
  else if (wide <= 0xffffn) writer.u8(0x0b).u16(Number(wide));
  else if (wide <= 0xffff_ffffn) writer.u8(0x0c).u32(Number(wide));
  else writer.u8(0x0e).u64(wide);
  return writer.finish();
}

export function string(text: string): Aml {
  return concatBytes(byteOf(0x0d), ascii(text), byteOf(0));
}

/** An EISA identifier such as PNP0A03, compressed to a DWord constant (19.3.4). */
export function eisaId(id: string): Aml {
  const match = /^([A-Z]{3})([0-9A-F]{4})$/.exec(id);
  if (!match?.[1] || !match[2]) throw new RangeError(`"${id}" is not an EISA identifier`);
  let maker = 0;
  for (const letter of match[1]) maker = (maker << 5) | (letter.charCodeAt(0) - 0x40);
  const product = Number.parseInt(match[2], 16);
  // Both halves are stored most significant byte first.
  return byteOf(0x0c, maker >> 8, maker & 0xff, product >> 8, product & 0xff);
}

export function buffer(bytes: Uint8Array): Aml {
  return packaged(byteOf(0x11), integer(bytes.length), bytes);
}

export function packageOf(...elements: readonly Aml[]): Aml {
  if (elements.length > 0xff) throw new RangeError(`${elements.length} elements do not fit an AML package`);
  return packaged(byteOf(0x12), byteOf(elements.length), ...elements);
}

// --------------------------------------------------------------------------------------------------- named objects

export function name(objectName: string, value: Aml): Aml {
  return concatBytes(byteOf(0x08), path(objectName), value);
}

export function scope(scopeName: string, ...terms: readonly Aml[]): Aml {
  return packaged(byteOf(0x10), path(scopeName), ...terms);
}

export function device(deviceName: string, ...terms: readonly Aml[]): Aml {
  return packaged(extOp(0x82), path(deviceName), ...terms);
}

/** A control method. `serialized` is right whenever the body creates names. */
export function method(
  methodName: string,
  options: { readonly args?: number; readonly serialized?: boolean },
  ...terms: readonly Aml[]
): Aml {
  const flags = (options.args ?? 0) | (options.serialized ? 0x08 : 0);
  return packaged(byteOf(0x14), path(methodName), byteOf(flags), ...terms);
}

/** Address spaces of an operation region (5.5.2.4). */
export const RegionSpace = { SystemMemory: 0, SystemIO: 1, PciConfig: 2 } as const;

export function operationRegion(
  regionName: string,
  space: (typeof RegionSpace)[keyof typeof RegionSpace],
  offset: number,
  lengthBytes: number,
): Aml {
  return concatBytes(extOp(0x80), path(regionName), byteOf(space), integer(offset), integer(lengthBytes));
}

/** A field unit: a name and its width, or `offsetBits` to jump to. */
export type FieldUnit = { readonly name: string; readonly bits: number } | { readonly offsetBits: number };

/** Access widths of a field (20.2.5.2, AccessType). */
export const FieldAccess = { Any: 0, Byte: 1, Word: 2, DWord: 3, QWord: 4 } as const;

/** A field list over a region: NoLock, Preserve. */
export function field(
  regionName: string,
  access: (typeof FieldAccess)[keyof typeof FieldAccess],
  units: readonly FieldUnit[],
): Aml {
  const parts: Aml[] = [];
  let atBits = 0;
  for (const unit of units) {
    if ('offsetBits' in unit) {
      if (unit.offsetBits < atBits) throw new RangeError(`field offset ${unit.offsetBits} goes backwards`);
      parts.push(byteOf(0x00), fieldLength(unit.offsetBits - atBits));
      atBits = unit.offsetBits;
    } else {
      parts.push(nameSegment(unit.name), fieldLength(unit.bits));
      atBits += unit.bits;
    }
  }
  return packaged(extOp(0x81), path(regionName), byteOf(access), ...parts);
}

/** A bit count in PkgLength form; unlike a package's length it does not count its own bytes. */
function fieldLength(bits: number): Aml {
  if (bits <= 0x3f) return byteOf(bits);
  if (bits < 1 << 12) return byteOf(0x40 | (bits & 0xf), bits >> 4);
  if (bits < 1 << 20) return byteOf(0x80 | (bits & 0xf), (bits >> 4) & 0xff, bits >> 12);
  throw new RangeError(`a field of ${bits} bits is too long`);
}

export function createWordField(source: Aml, byteIndex: number, fieldName: string): Aml {
  return concatBytes(byteOf(0x8b), source, integer(byteIndex), path(fieldName));
}

// ------------------------------------------------------------------------------------------------ method statements

export function arg(index: number): Aml {
  if (index < 0 || index > 6) throw new RangeError(`Arg${index} does not exist`);
  return byteOf(0x68 + index);
}

export function local(index: number): Aml {
  if (index < 0 || index > 7) throw new RangeError(`Local${index} does not exist`);
  return byteOf(0x60 + index);
}

/** The target of an operator whose result is only used as a value. */
export const NO_TARGET: Aml = byteOf(0x00);

export const returnValue = (value: Aml): Aml => concatBytes(byteOf(0xa4), value);
export const store = (value: Aml, target: Aml): Aml => concatBytes(byteOf(0x70), value, target);
export const and = (left: Aml, right: Aml, target: Aml = NO_TARGET): Aml =>
  concatBytes(byteOf(0x7b), left, right, target);
export const subtract = (left: Aml, right: Aml, target: Aml = NO_TARGET): Aml =>
  concatBytes(byteOf(0x74), left, right, target);
export const shiftLeft = (value: Aml, count: Aml, target: Aml = NO_TARGET): Aml =>
  concatBytes(byteOf(0x79), value, count, target);
/** Number of the lowest set bit, counted from 1; 0 when none is set. */
export const findSetRightBit = (value: Aml, target: Aml = NO_TARGET): Aml => concatBytes(byteOf(0x82), value, target);
export const lessThan = (left: Aml, right: Aml): Aml => concatBytes(byteOf(0x95), left, right);
export const equal = (left: Aml, right: Aml): Aml => concatBytes(byteOf(0x93), left, right);
export const notify = (object: Aml, code: Aml): Aml => concatBytes(byteOf(0x86), object, code);

/** A call of a method that is defined elsewhere in the block. */
export const call = (methodName: string, ...args: readonly Aml[]): Aml => concatBytes(path(methodName), ...args);

export function ifElse(condition: Aml, then: readonly Aml[], otherwise: readonly Aml[] = []): Aml {
  const branch = packaged(byteOf(0xa0), condition, ...then);
  return otherwise.length === 0 ? branch : concatBytes(branch, packaged(byteOf(0xa1), ...otherwise));
}
