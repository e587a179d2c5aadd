/** What a network card needs from the host end of its cable. */

/** The host's end of the cable: a NAT, a tap device, a switch. Frames are Ethernet frames without preamble and FCS. */
export interface NetworkBackend {
  /** Largest frame that {@link send} takes and {@link NetworkPort.receive} is given, in bytes. */
  readonly maxFrameBytes: number;
  /** Starts delivering frames to `port`. Called once. */
  open(port: NetworkPort): void;
  /**
   * A frame from the guest, to be copied or sent before this returns. False: the backend is full and has not taken the frame; the card
   * sends no more before {@link NetworkPort.drained}.
   */
  send(frame: Uint8Array): boolean;
  close(): Promise<void>;
}

/** The card's side, as its backend sees it. */
export interface NetworkPort {
  /** A frame for the guest, copied before this returns. False: the card has no room and has dropped the frame. */
  receive(frame: Uint8Array): boolean;
  drained(): void;
  /** The cable was plugged in (true) or out. Backends that never call it are always plugged in. */
  link(up: boolean): void;
}
