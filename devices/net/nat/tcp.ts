/** All TCP connections of the network: outwards, to its own name server, and through forwarded ports into guests. */
import { addressKey, formatIp, inPrefix, parseIp, unmapped, type IpAddress } from '../addresses.ts';
import { sameBytes } from '../wire.ts';
import { DNS_PORT, type DnsForwarder } from './dns.ts';
import { DnsStream } from './dns-stream.ts';
import type { HostStream, NatHost } from './host.ts';
import { PROTOCOL_TCP, type IpPacket } from './ip.ts';
import type { GuestLink } from './link.ts';
import type { LostConnection } from './lost-connections.ts';
import { guestAddressOf, hostAddressOf, permits } from './policy.ts';
import * as S from './settings.ts';
import { resetFor, TcpConnection, type ConnectionOwner, type TcpEndpoints } from './tcp-connection.ts';
import {
  FLAG_ACK,
  FLAG_RST,
  FLAG_SYN,
  parseTcp,
  TCP_CHECKSUM_OFFSET,
  tcpHeader,
  type TcpSegment,
} from './tcp-segment.ts';

/** All connections together hold about so much in each direction; one holds no more than the second number, no less than the third. */
const TOTAL_BUFFER_BYTES = 128 * 1024 * 1024;
const MAX_BUFFER_BYTES = 1024 * 1024;
const MIN_BUFFER_BYTES = 32 * 1024;
/** RFC 5382, 5: an established connection is kept for 2 hours and 4 minutes at least. */
const IDLE_MS = 7_500_000;
const SWEEP_MS = 60_000;
const FIRST_DYNAMIC_PORT = 49_152;
const DYNAMIC_PORTS = 65_536 - FIRST_DYNAMIC_PORT;

export class TcpConnections implements ConnectionOwner {
  /** Connections to addresses that the policy closes. */
  refused = 0;
  /** Connections that were one too many. */
  overLimit = 0;
  /** Segments with a wrong header or checksum. */
  malformed = 0;
  /** Segments sent again, of connections that are over. */
  #retransmissions = 0;
  readonly #connections = new Map<string, TcpConnection>();
  #halfOpen = 0;
  #nextPort = 0;
  readonly #listeners: (() => Promise<void>)[] = [];
  #cancelSweep: (() => void) | undefined;

  constructor(
    readonly host: NatHost,
    readonly link: GuestLink,
    private readonly dns: DnsForwarder,
    private readonly settings: S.NatSettings,
  ) {}

  get count(): number {
    return this.#connections.size;
  }

  get retransmissions(): number {
    let sum = this.#retransmissions;
    for (const connection of this.#connections.values()) sum += connection.retransmissions;
    return sum;
  }

  get bufferBytes(): number {
    const share = TOTAL_BUFFER_BYTES / Math.max(1, this.#connections.size);
    return Math.floor(Math.max(MIN_BUFFER_BYTES, Math.min(MAX_BUFFER_BYTES, share)));
  }

  /** A TCP packet of a guest. */
  packetArrived(packet: IpPacket): void {
    const segment = parseTcp(packet);
    if (!segment) {
      this.malformed++;
      return;
    }
    const ends = {
      guest: packet.source,
      guestPort: segment.sourcePort,
      remote: packet.destination,
      remotePort: segment.destinationPort,
    };
    const known = this.#connections.get(keyOf(ends));
    const isSyn = (segment.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) === FLAG_SYN;
    // The guest uses a port again before we forgot it (RFC 9293, 3.10.7.4, TIME-WAIT).
    if (known?.over && isSyn) known.abort();
    else if (known) {
      known.arrived(segment);
      return;
    }
    if (isSyn) this.#connect(ends, segment);
    else if (!(segment.flags & FLAG_RST)) this.#sendReset(ends, segment);
  }

  #sendReset(ends: TcpEndpoints, segment: TcpSegment): void {
    this.link.send({
      source: ends.remote,
      destination: ends.guest,
      protocol: PROTOCOL_TCP,
      header: resetFor(segment, ends),
      checksumOffset: TCP_CHECKSUM_OFFSET,
    });
  }

  #connect(named: TcpEndpoints, syn: TcpSegment): void {
    // The addresses are views of the frame.
    const ends = { ...named, guest: named.guest.slice(), remote: named.remote.slice() };
    const toNameServer =
      ends.remotePort === DNS_PORT &&
      (sameBytes(ends.remote, S.NAMESERVER_IPV4) || sameBytes(ends.remote, S.NAMESERVER_IPV6));
    const address = hostAddressOf(ends.remote);
    if (!toNameServer && !permits(this.settings.policy, address)) {
      this.refused++;
      this.#sendReset(ends, syn);
      return;
    }
    const { limits } = this.settings;
    if (this.#connections.size >= limits.tcpConnections || this.#halfOpen >= limits.tcpHalfOpen) {
      this.overLimit++;
      this.#sendReset(ends, syn);
      return;
    }
    const connection = new TcpConnection(this, ends, syn);
    this.#add(ends, connection);
    const stream = toNameServer
      ? new DnsStream(this.dns, connection)
      : this.host.connectTcp(formatIp(unmapped(address)), ends.remotePort, connection);
    connection.start(stream);
  }

  #add(ends: TcpEndpoints, connection: TcpConnection): void {
    this.#connections.set(keyOf(ends), connection);
    this.#halfOpen++;
    this.#cancelSweep ??= this.host.after(SWEEP_MS, this.#sweep);
  }

  established(): void {
    this.#halfOpen--;
  }

  removed(connection: TcpConnection): void {
    const key = keyOf(connection.ends);
    if (this.#connections.get(key) !== connection) return;
    this.#connections.delete(key);
    this.#retransmissions += connection.retransmissions;
    if (!connection.wasEstablished) this.#halfOpen--;
  }

  readonly #sweep = (): void => {
    const now = this.host.nowMs();
    for (const connection of [...this.#connections.values()]) {
      if (now - connection.lastActiveMs > IDLE_MS) connection.reset();
    }
    this.#cancelSweep = this.#connections.size > 0 ? this.host.after(SWEEP_MS, this.#sweep) : undefined;
  };

  /** Opens a port of the host that leads into the guest. */
  async forward(rule: S.ForwardRule, gateway: IpAddress): Promise<void> {
    const accept = (stream: HostStream, peer: string, peerPort: number): TcpConnection => {
      const ends = this.#endsInto(rule, gateway, peer, peerPort);
      const connection = new TcpConnection(this, ends);
      if (this.#connections.size >= this.settings.limits.tcpConnections || this.#connections.has(keyOf(ends))) {
        this.overLimit++;
        stream.destroy(true);
        return connection;
      }
      this.#add(ends, connection);
      connection.start(stream);
      return connection;
    };
    const stop = await this.host.listenTcp(rule.hostAddress, rule.hostPort, accept);
    this.#listeners.push(stop);
  }

  /** The guest sees who calls, unless that is the host itself or an address that the guest's own network hides. */
  #endsInto(rule: S.ForwardRule, gateway: IpAddress, peer: string, peerPort: number): TcpEndpoints {
    const { guestAddress: guest, guestPort } = rule;
    const real = guestAddressOf(unmapped(parseIp(peer) ?? gateway));
    const hidden = real.length !== gateway.length || inPrefix(real, S.NETWORK_IPV4) || inPrefix(real, S.NETWORK_IPV6);
    const remote = hidden ? gateway : real;
    let remotePort = peerPort;
    for (let tries = 0; tries < DYNAMIC_PORTS; tries++) {
      if (!this.#connections.has(keyOf({ guest, guestPort, remote, remotePort }))) break;
      this.#nextPort = (this.#nextPort + 1) % DYNAMIC_PORTS;
      remotePort = FIRST_DYNAMIC_PORT + this.#nextPort;
    }
    return { guest, guestPort, remote, remotePort };
  }

  /** The connections that a snapshot has to know of: those that the guest takes for open. */
  open(): LostConnection[] {
    const found: LostConnection[] = [];
    for (const connection of this.#connections.values()) {
      const mac = this.link.neighbour(connection.ends.guest);
      const isOpen = connection.wasEstablished && !connection.over;
      if (mac && isOpen) found.push({ ends: connection.ends, mac, sequence: connection.nextSequence });
    }
    return found;
  }

  /** The machine is another one now: connections of before end, and the guest hears that those of its snapshot did. */
  replace(lost: readonly LostConnection[]): void {
    for (const connection of [...this.#connections.values()]) connection.abort();
    for (const { ends, mac, sequence } of lost) {
      const { guest, remote, guestPort, remotePort } = ends;
      const fields = { sourcePort: remotePort, destinationPort: guestPort, sequence, acknowledgement: 0, window: 0 };
      this.link.send({
        ...{ source: remote, destination: guest, protocol: PROTOCOL_TCP, mac },
        header: tcpHeader({ ...fields, flags: FLAG_RST }),
        checksumOffset: TCP_CHECKSUM_OFFSET,
      });
    }
  }

  /** Resets all connections and closes all forwarded ports. */
  async close(): Promise<void> {
    this.#cancelSweep?.();
    for (const connection of [...this.#connections.values()]) connection.abort();
    await Promise.all(this.#listeners.splice(0).map((stop) => stop()));
  }
}

function keyOf({ guest, guestPort, remote, remotePort }: TcpEndpoints): string {
  return `${addressKey(guest)}${addressKey(remote)}${guestPort},${remotePort}`;
}
