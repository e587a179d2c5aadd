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
