/**
 * Registers of a device by name, offset and width. Partial and wide accesses are handled here, once: the guest may read any part of a
 * register and several registers with one access; how it may write is each register's own.
 */
import { allOnes, type AccessSize } from './port-bus.ts';

/** How a guest may write: `whole`: only all of a register at once; `bytes`: parts too, the other bytes keep what {@link Register.read} says. */
export type WriteWidth = 'whole' | 'bytes';

/** One register of at most four bytes. Without `write` it is read-only, without `read` it reads as zero. */
export interface Register {
  readonly name: string;
  readonly offset: number;
  readonly bytes: 1 | 2 | 4;
  readonly read?: (() => number) | undefined;
  /** The whole register's new value. */
  readonly write?: ((value: number) => void) | undefined;
  readonly writeWidth?: WriteWidth | undefined;
}

/** A 64-bit register as its two halves: `name` and `nameHigh`. Each half is written by itself. */
export function wideRegister(
  name: string,
  offset: number,
  read: () => readonly [low: number, high: number],
  write?: (low: number | undefined, high: number | undefined) => void,
): Register[] {
  return [
    { name, offset, bytes: 4, read: () => read()[0], write: write && ((value): void => write(value, undefined)) },
    {
      name: `${name}High`,
      offset: offset + 4,
      bytes: 4,
      read: () => read()[1],
      write: write && ((value): void => write(undefined, value)),
    },
  ];
}

/** `reserved`: no register there; `width`: a register that is not written in parts; `read-only`. */
export type BadAccess = 'reserved' | 'width' | 'read-only';

export class RegisterMap {
  /** The register that covers each byte. */
  readonly #at: (Register | undefined)[] = [];

  /** `bad` hears of accesses that no register takes; they read as ones where nothing is, and write nothing. */
  constructor(
    registers: readonly Register[],
    private readonly bad: (kind: BadAccess, offset: number, size: AccessSize) => void,
  ) {
    for (const register of registers) {
      for (let byte = register.offset; byte < register.offset + register.bytes; byte++) {
        if (this.#at[byte]) throw new RangeError(`${register.name} overlaps ${this.#at[byte]?.name}`);
        this.#at[byte] = register;
      }
    }
  }

  read(offset: number, size: AccessSize): number {
    const register = this.#at[offset];
    if (register?.offset === offset && register.bytes === size) return this.#value(register);
    let value = 0;
    let found = false;
    const values = new Map<Register, number>();
    for (let i = 0; i < size; i++) {
      const covering = this.#at[offset + i];
      let byte = 0xff;
      if (covering) {
        found = true;
        let whole = values.get(covering);
        if (whole === undefined) values.set(covering, (whole = this.#value(covering)));
        byte = (whole >>> (8 * (offset + i - covering.offset))) & 0xff;
      }
      value += byte * 2 ** (8 * i);
    }
    if (!found) this.bad('reserved', offset, size);
    return value;
  }

  #value(register: Register): number {
    return ((register.read?.() ?? 0) & allOnes(register.bytes)) >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let done = 0; done < size;) {
      const register = this.#at[offset + done];
      if (!register) {
        this.bad('reserved', offset, size);
        done++;
        continue;
      }
      const first = offset + done - register.offset;
      const count = Math.min(register.bytes - first, size - done);
      const part = Math.floor(value / 2 ** (8 * done)) % 2 ** (8 * count);
      this.#writePart(register, first, count, part, offset, size);
      done += count;
    }
  }

  #writePart(register: Register, first: number, count: number, part: number, offset: number, size: AccessSize): void {
    if (!register.write) this.bad('read-only', offset, size);
    else if (count === register.bytes) register.write(part);
    else if (register.writeWidth !== 'bytes') this.bad('width', offset, size);
    else {
      const mask = ((2 ** (8 * count) - 1) * 2 ** (8 * first)) >>> 0;
      register.write(((this.#value(register) & ~mask) | (part << (8 * first))) >>> 0);
    }
  }
}
