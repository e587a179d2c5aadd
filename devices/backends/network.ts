/** What a network card needs from whoever carries its frames: a tap device, a user-mode network, another machine. */
import type { NETWORK_OPTIONS } from '../config/declarations/network.ts';
import type { Settings } from '../config/settings-of.ts';
import type { StateFields } from '../platform/state-fields.ts';
import type { StateValue } from '../snapshot.ts';

/** How to open a backend: the options of a card that has one, parsed. */
export type NetworkSettings = Settings<typeof NETWORK_OPTIONS> & {
  readonly backend: string;
  /** Payload of a frame, where the user said. */
  readonly mtu?: number | undefined;
};

/**
 * Work that the sender of a frame has left to whoever takes it (virtio 1.2, 5.1.6.2): the transport checksum, and, with `segmentation`,
 * cutting one long TCP packet into several. Offsets count from the start of the frame.
 */
export interface FrameOffload {
  /** First byte that the checksum covers: the transport header. */
  readonly checksumStart: number;
  /** The checksum's place behind {@link checksumStart}; it holds the sum of the pseudo-header. */
  readonly checksumOffset: number;
  readonly segmentation?: Segmentation | undefined;
}

export interface Segmentation {
  readonly kind: 'tcp4' | 'tcp6';
  /** Payload of each segment but the last, in bytes; never zero. */
  readonly segmentBytes: number;
}

/** One Ethernet frame without its check sequence. */
export interface NetworkFrame {
  /** Its bytes, one part after the other. They may be guest memory, which changes under the reader and after the call. */
  readonly parts: readonly Uint8Array[];
  /** Absent: checksums are complete, and the frame fits the link's MTU. */
  readonly offload?: FrameOffload | undefined;
}

/** What takes frames with {@link FrameOffload}. A frame's sender does the work itself where the receiver does not. */
export interface OffloadCapabilities {
  readonly checksum: boolean;
  readonly tcp4: boolean;
  readonly tcp6: boolean;
}

export const NO_OFFLOAD: OffloadCapabilities = { checksum: false, tcp4: false, tcp6: false };
export const FULL_OFFLOAD: OffloadCapabilities = { checksum: true, tcp4: true, tcp6: true };

/**
 * The far end of a network card's cable. A frame that neither side can take is lost, as on a wire; a side that can wait does so by the
 * answer of {@link send} and {@link NetworkPort.receive}.
 */
export interface NetworkBackend {
  readonly offload: OffloadCapabilities;
  /** Starts delivering frames to `port`. Called once. */
  open(port: NetworkPort): void;
  /**
   * Takes a frame from the card; whatever it needs of `frame` it copies or sends before this returns. False: it took nothing, and the card
   * sends again after {@link NetworkPort.drained}.
   */
  send(frame: NetworkFrame): boolean;
  /** The card has room again after {@link NetworkPort.receive} answered false. */
  receiveReady(): void;
  /** What a snapshot of the machine has to know of the far end. */
  save?(): StateValue;
  /** Checks what {@link save} of any backend gave, in this process or another, and returns what acts upon it before the machine goes on. */
  prepareRestore?(fields: StateFields): () => void;
  /** Errors and losses, by name. */
  counters(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/** What a card's snapshot holds of its backend. */
export function saveBackend(backend: NetworkBackend): StateValue {
  return backend.save?.() ?? {};
}

/** The reverse of {@link saveBackend}. Snapshots of before there was such a field have none. */
export function prepareBackendRestore(backend: NetworkBackend, fields: StateFields, name: string): () => void {
  if (!backend.prepareRestore || !fields.names().includes(name)) return () => undefined;
  return backend.prepareRestore(fields.group(name));
}

/** The card's side, as its backend sees it. */
export interface NetworkPort {
  /** What the guest's driver agreed to take now; may change when the driver starts anew. */
  readonly offload: OffloadCapabilities;
  /**
   * A frame for the guest, copied before this returns. False: the card has no room or its machine is paused; the backend drops the frame or
   * offers it again after {@link NetworkBackend.receiveReady}.
   */
  receive(frame: NetworkFrame): boolean;
  drained(): void;
  /** The cable was plugged in or pulled out. Up until this is called. */
  linkChanged(up: boolean): void;
}

/** A card without a cable: what is sent is lost, nothing comes. Its link is up all the same, as in bhyve. */
export const unconnected: NetworkBackend = {
  offload: NO_OFFLOAD,
  open: () => undefined,
  send: () => true,
  receiveReady: () => undefined,
  counters: () => ({}),
  close: () => Promise.resolve(),
};
