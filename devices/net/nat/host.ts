/** What the user-mode network needs from the host that it runs on: sockets, names, time. Node and a relay implement it. */

/** Names of errors as hosts report them, as far as the guest is told them apart. */
export type ConnectFailure = 'refused' | 'unreachable' | 'timeout';

/** One TCP connection of the host. */
export interface HostStream {
  /** Bytes handed to {@link write} that the host's system has not taken yet. */
  readonly pendingBytes: number;
  /** Sends bytes, which the stream owns from now on; it holds any number of them. `sent` events tell when some are gone. */
  write(bytes: Uint8Array): void;
  /** No more comes from here; the other direction goes on. */
  end(): void;
  /** Stops (true) or continues the events {@link HostStreamEvents.data}; a few may come after a stop. */
  hold(held: boolean): void;
  /** Ends both directions at once; with `reset` the peer learns that data may be lost. No events come after it. */
  destroy(reset: boolean): void;
}

export interface HostStreamEvents {
  connected(): void;
  /** The bytes are the receiver's. */
  data(bytes: Uint8Array): void;
  /** The peer sends no more. */
  ended(): void;
  /** {@link HostStream.pendingBytes} became less. */
  sent(): void;
  /** Both directions are over, after an error (undefined: without one). The last event. */
  closed(failure: ConnectFailure | 'reset' | undefined): void;
}

/** One UDP socket of the host. */
export interface HostDatagrams {
  /** Sends one datagram to an address that is text, as {@link formatIp} writes it. Losses are silent, as is UDP's way. */
  send(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export interface HostDatagramEvents {
  received(bytes: Uint8Array, address: string, port: number): void;
  /** The socket cannot be used. The last event. */
  failed(): void;
}

/** A file that the network serves by TFTP. */
export interface BootFile {
  readonly sizeBytes: number;
  /** Up to `lengthBytes` bytes at an offset; fewer at the file's end. */
  read(offset: number, lengthBytes: number): Promise<Uint8Array>;
  close(): void;
}

export interface NatHost {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Calls back once, after at least the delay; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
  /** Fills with unpredictable bytes: sequence numbers and identifiers come from it. */
  random(into: Uint8Array): void;
  connectTcp(address: string, port: number, events: HostStreamEvents): HostStream;
  /**
   * Listens; `accept` is called for every connection and returns what its events go to. Rejects when the address cannot be had. The result
   * stops listening; connections go on.
   */
  listenTcp(
    address: string,
    port: number,
    accept: (stream: HostStream, peer: string, peerPort: number) => HostStreamEvents,
  ): Promise<() => Promise<void>>;
  /** A UDP socket on a port of the system's choice. */
  openUdp(family: 4 | 6, events: HostDatagramEvents): HostDatagrams;
  /** A UDP socket on the given address and port. Rejects when they cannot be had. */
  listenUdp(address: string, port: number, events: HostDatagramEvents): Promise<HostDatagrams>;
  /** Answers a DNS message (RFC 1035, 4.1) with another, by the host's resolver. Rejects when there is no answer. */
  resolveDns(query: Uint8Array): Promise<Uint8Array>;
  /** Round trip of an ICMP echo to an address that is not this network's own; undefined where the host cannot say. */
  readonly ping?: ((address: string) => Promise<boolean>) | undefined;
  /** A file of the folder that the user named for network boot, by its relative name; undefined where there is none. */
  readonly openBootFile?: ((name: string) => Promise<BootFile | undefined>) | undefined;
}
