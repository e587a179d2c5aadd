/** What a serial port talks to on the host: a terminal, a socket, a pseudo-terminal. */

/** A character device of the host at the far end of a serial port. */
export interface CharacterBackend {
  /** Starts delivering input to `port`. Called once. */
  open(port: CharacterPort): void;
  /**
   * Bytes from the guest, to be copied or sent before this returns. False: the backend holds enough unsent bytes; the port
   * sends no more before {@link CharacterPort.drained}.
   */
  write(bytes: Uint8Array): boolean;
  /** The guest takes no more input for now (true), or takes it again (false). */
  hold(held: boolean): void;
  /** Sends what it still has and gives the host's resource back (terminal mode, socket). */
  close(): Promise<void>;
}

/** The port's side, as its backend sees it. */
export interface CharacterPort {
  receive(bytes: Uint8Array): void;
  drained(): void;
  /**
   * The far end came (true) or went (false). Backends whose far end comes and goes call it in open() with the present state; others
   * never do. A port that has this method wants nothing kept for a far end that stays away.
   */
  carrier?(present: boolean): void;
}

/** A cable that leads nowhere: output is lost, no input comes, and its port knows that nobody is there. */
export const unplugged: CharacterBackend = {
  open: (port) => port.carrier?.(false),
  write: () => true,
  hold: () => undefined,
  close: () => Promise.resolve(),
};
