/** Checked reading of a device's saved state: every field is validated before anything of the device changes. */
import { SnapshotError, type DeviceState, type StateValue } from '../snapshot.ts';

type Fields = { readonly [field: string]: StateValue };

function isNode(value: StateValue | undefined): value is Fields {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** Typed access to the fields of one {@link DeviceState}; every method throws {@link SnapshotError}. */
export class StateFields {
  readonly #where: string;
  readonly #fields: Fields;

  private constructor(where: string, fields: Fields) {
    this.#where = where;
    this.#fields = fields;
  }

  /** Opens a state that must be of the given kind and version. */
  static open(state: DeviceState, kind: string, version: number): StateFields {
    if (state.kind !== kind) throw new SnapshotError(`state of "${state.kind}" does not fit device "${kind}"`);
    if (state.version !== version) {
      throw new SnapshotError(`${kind}: state has version ${state.version}, this program reads version ${version}`);
    }
    return new StateFields(kind, state.fields);
  }

  #fail(name: string, wanted: string): never {
    throw new SnapshotError(`${this.#where}: field "${name}" is not ${wanted}`);
  }

  /** An integer in [0, max]. */
  integer(name: string, max: number): number {
    const value = this.#fields[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      return this.#fail(name, `an integer in 0..${max}`);
    }
    return value;
  }

  /** An integer in [min, max]. */
  signed(name: string, min: number, max: number): number {
    const value = this.#fields[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      return this.#fail(name, `an integer in ${min}..${max}`);
    }
    return value;
  }

  /** Checks a number that must be the device's own. */
  same(name: string, value: number): void {
    if (this.#fields[name] !== value) this.#fail(name, `${value}`);
  }

  /** A 64-bit integer in [0, max]. */
  big(name: string, max: bigint): bigint {
    const value = this.#fields[name];
    if (typeof value !== 'bigint' || value < 0n || value > max) return this.#fail(name, `an integer in 0..${max}`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== 'boolean') return this.#fail(name, 'a boolean');
    return value;
  }

  /** A byte array of exactly the given length. */
  bytes(name: string, lengthBytes: number): Uint8Array {
    const value = this.#fields[name];
    if (!(value instanceof Uint8Array) || value.length !== lengthBytes) {
      return this.#fail(name, `an array of ${lengthBytes} bytes`);
    }
    return value;
  }

  /** Up to `maxCount` integers in [0, max]. */
  integers(name: string, maxCount: number, max: number): number[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > maxCount) return this.#fail(name, `a list of at most ${maxCount}`);
    return value.map((element: StateValue) => {
      if (typeof element !== 'number' || !Number.isInteger(element) || element < 0 || element > max) {
        return this.#fail(name, `a list of integers in 0..${max}`);
      }
      return element;
    });
  }

  /** Up to `maxCount` nested groups of fields. */
  groupList(name: string, maxCount: number): StateFields[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > maxCount)
      return this.#fail(name, `a list of at most ${maxCount} groups`);
    return this.groups(name, value.length);
  }

  /** Up to `maxCount` lists of exactly `length` integers in [0, max] each. */
  integerLists(name: string, maxCount: number, length: number, max: number): number[][] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length > maxCount)
      return this.#fail(name, `a list of at most ${maxCount} lists`);
    return value.map((element: StateValue, index) => {
      const list = new StateFields(`${this.#where}.${name}`, { [index]: element }).integers(`${index}`, length, max);
      return list.length === length ? list : this.#fail(name, `a list of lists of ${length}`);
    });
  }

  /** Exactly `count` nested groups of fields. */
  groups(name: string, count: number): StateFields[] {
    const value = this.#fields[name];
    if (!Array.isArray(value) || value.length !== count) return this.#fail(name, `a list of ${count} groups`);
    return value.map((element: StateValue, index) => {
      if (!isNode(element)) return this.#fail(name, 'a list of groups of fields');
      return new StateFields(`${this.#where}.${name}[${index}]`, element);
    });
  }

  /** A nested group of fields. */
  group(name: string): StateFields {
    const value = this.#fields[name];
    if (!isNode(value)) return this.#fail(name, 'a group of fields');
    return new StateFields(`${this.#where}.${name}`, value);
  }

  /** Names of all fields. */
  names(): string[] {
    return Object.keys(this.#fields);
  }

  /** A nested device state. */
  state(name: string): DeviceState {
    const node = this.group(name);
    const kind = node.#fields['kind'];
    const version = node.#fields['version'];
    const fields = node.#fields['fields'];
    if (typeof kind !== 'string' || typeof version !== 'number' || !isNode(fields)) {
      return this.#fail(name, 'a device state');
    }
    return { kind, version, fields };
  }
}

/** A device state as a value that fits into another one's fields. */
export function asStateValue(state: DeviceState): StateValue {
  return { kind: state.kind, version: state.version, fields: state.fields };
}
