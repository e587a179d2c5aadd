/** Saving and restoring the state of a device. */

export type StateValue =
  number | bigint | boolean | string | Uint8Array | readonly StateValue[] | { readonly [field: string]: StateValue };

/** One device's state: what it is, which version of its fields, and the fields by name. */
export interface DeviceState {
  readonly kind: string;
  readonly version: number;
  readonly fields: { readonly [field: string]: StateValue };
}

/** Implemented next to the state itself by everything that a snapshot must hold. */
export interface Stateful {
  save(): DeviceState;
  /** Throws SnapshotError when kind, version or a field does not fit; the device is then unchanged. */
  restore(state: DeviceState): void;
}

/** What of a machine a snapshot does not fit. */
export type SnapshotPart = 'memory' | 'devices' | 'processors';

export class SnapshotError extends Error {
  override readonly name = 'SnapshotError';
  constructor(
    message: string,
    /** Undefined when the snapshot as a whole is none, or of another machine. */
    readonly part?: SnapshotPart,
  ) {
    super(message);
  }
}

/** Takes a snapshot's bytes in their order. */
export interface SnapshotSink {
  /** Comes first: how many bytes there will be. */
  begin(lengthBytes: number): void | Promise<void>;
  /** The next bytes. The caller reuses the array once the promise has resolved. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Gives a snapshot's bytes in their order. */
export interface SnapshotSource {
  readonly lengthBytes: number;
  /** Fills `into` with the next bytes; rejects when there are fewer. */
  read(into: Uint8Array): Promise<void>;
}

/** A snapshot in an array. */
export class BytesSink implements SnapshotSink {
  #bytes = new Uint8Array();
  #at = 0;

  begin(lengthBytes: number): void {
    this.#bytes = new Uint8Array(lengthBytes);
    this.#at = 0;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return Promise.resolve();
  }

  /** Everything written so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }
}

export class BytesSource implements SnapshotSource {
  #at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  get lengthBytes(): number {
    return this.bytes.length;
  }

  read(into: Uint8Array): Promise<void> {
    const piece = this.bytes.subarray(this.#at, this.#at + into.length);
    if (piece.length < into.length) return Promise.reject(new SnapshotError('the snapshot is cut short'));
    into.set(piece);
    this.#at += piece.length;
    return Promise.resolve();
  }
}
