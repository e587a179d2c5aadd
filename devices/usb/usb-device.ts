/** A USB device as its host controller sees it (USB 3.2, chapters 8 and 9). */
import type { Stateful } from '../snapshot.ts';

/** Port speeds as xHCI numbers them (xHCI 1.2, 7.2.1). */
export const SPEED_SUPER = 4;

/** The eight bytes that begin a control transfer (9.3). */
export interface SetupPacket {
  readonly requestType: number;
  readonly request: number;
  readonly value: number;
  readonly index: number;
  readonly lengthBytes: number;
}

/** bmRequestType. */
export const REQUEST_IN = 0x80;
export const REQUEST_TYPE_MASK = 0x60;
export const REQUEST_STANDARD = 0x00;
export const REQUEST_CLASS = 0x20;
export const RECIPIENT_MASK = 0x1f;
export const RECIPIENT_DEVICE = 0;
export const RECIPIENT_INTERFACE = 1;
export const RECIPIENT_ENDPOINT = 2;

export interface UsbDevice extends Stateful {
  readonly speed: number;
  /** Called when {@link interruptIn} may have something that it had not. */
  onReport: () => void;
  /** A control transfer: what the device sends back (empty for OUT), or undefined for a STALL. `data` came with an OUT transfer. */
  control(setup: SetupPacket, data: Uint8Array): Uint8Array | undefined;
  /** Takes what an interrupt IN endpoint has to say; undefined: nothing now (NAK). */
  interruptIn(endpoint: number): Uint8Array | undefined;
  /** True for an interrupt IN endpoint of the present configuration. */
  hasInterruptIn(endpoint: number): boolean;
  /** The bus was reset. */
  reset(): void;
  counters(): Readonly<Record<string, number>>;
}
