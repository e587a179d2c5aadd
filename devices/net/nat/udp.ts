/**
 * UDP (RFC 768): a socket of the host for every port that a guest sends from, so that answers come back from wherever the guest sent to
 * (endpoint-independent mapping, RFC 4787, 4.1). Flows that rest are forgotten; the oldest goes when there are too many.
 */
import { addressKey, formatIp, parseIp, unmapped, type IpAddress, type MacAddress } from '../addresses.ts';
import { addToSum, finishChecksum, pseudoHeaderSum } from '../checksum.ts';
import { readU16, writeU16 } from '../wire.ts';
import type { HostDatagrams, NatHost } from './host.ts';
import { PROTOCOL_UDP, type IpPacket } from './ip.ts';
import type { GuestLink } from './link.ts';
import { guestAddressOf, hostAddressOf, permits } from './policy.ts';
import type { ForwardRule, NatSettings } from './settings.ts';

export const UDP_HEADER_BYTES = 8;
const UDP_CHECKSUM_OFFSET = 6;
/** RFC 4787, 4.3 asks for two minutes at least. */
const IDLE_MS = 120_000;
/** A request that is answered once and never again: DNS to another server than ours. */
const IDLE_DNS_MS = 15_000;
const DNS_PORT = 53;
const SWEEP_MS = 5_000;

export interface Datagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly bytes: Uint8Array;
}

/** Reads a datagram; undefined when its length or checksum is wrong. */
export function parseUdp(packet: IpPacket): Datagram | undefined {
  const { payload } = packet;
  const lengthBytes = readU16(payload, 4);
  if (lengthBytes < UDP_HEADER_BYTES || lengthBytes > payload.length) return undefined;
  const datagram = payload.subarray(0, lengthBytes);
  const hasChecksum = readU16(datagram, UDP_CHECKSUM_OFFSET) !== 0;
  if (!packet.checksumDone && (hasChecksum || packet.source.length === 16)) {
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, PROTOCOL_UDP, lengthBytes);
    if (finishChecksum(addToSum(pseudo, datagram)) !== 0) return undefined;
  }
  return {
    sourcePort: readU16(datagram, 0),
    destinationPort: readU16(datagram, 2),
    bytes: datagram.subarray(UDP_HEADER_BYTES),
  };
}

/** One end of a datagram. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

export function sendDatagram(link: GuestLink, from: Endpoint, to: Endpoint, bytes: Uint8Array, mac?: MacAddress): void {
  const header = new Uint8Array(UDP_HEADER_BYTES);
  writeU16(header, 0, from.port);
  writeU16(header, 2, to.port);
  writeU16(header, 4, UDP_HEADER_BYTES + bytes.length);
  link.send({
    source: from.address,
    destination: to.address,
    protocol: PROTOCOL_UDP,
    header,
    payload: [bytes],
    checksumOffset: UDP_CHECKSUM_OFFSET,
    ...(mac ? { mac } : {}),
  });
}

interface Flow {
  readonly socket: HostDatagrams;
  readonly guest: Endpoint;
  /** Hosts that the guest sent to: others are not let in. */
  readonly peers: Set<string>;
  lastUsedMs: number;
  idleMs: number;
}

/** Peers of one flow; a scanner's oldest go. */
const MAX_PEERS = 256;
/** The largest datagram of IPv4. */
const MAX_DATAGRAM_BYTES = 65_507;

export class UdpFlows {
  /** Datagrams to addresses that the policy closes. */
  refused = 0;
  /** Flows that made room for newer ones. */
  evicted = 0;
  /** Datagrams from addresses that the guest had not sent to. */
  unsolicited = 0;
  readonly #flows = new Map<string, Flow>();
  readonly #forwards: HostDatagrams[] = [];
  readonly #forwardPeers = new Map<
    string,
    { readonly socket: HostDatagrams; readonly address: string; port: number }
  >();
  #cancelSweep: (() => void) | undefined;

  constructor(
    private readonly host: NatHost,
    private readonly link: GuestLink,
    private readonly settings: NatSettings,
  ) {}

  get count(): number {
    return this.#flows.size;
  }

  /** A datagram of a guest for somewhere else. False: the policy refuses it. */
  send(packet: IpPacket, datagram: Datagram): boolean {
    // An answer to what came through a forwarded port goes back the same way.
    const peer = this.#forwardPeers.get(
      forwardKey(packet.destination, datagram.destinationPort, packet.source, datagram.sourcePort),
    );
    if (peer) {
      peer.socket.send(datagram.bytes, peer.address, peer.port);
      return true;
    }
    const address = hostAddressOf(packet.destination);
    if (!permits(this.settings.policy, address)) {
      this.refused++;
      return false;
    }
    const flow = this.#flow(packet, datagram);
    const now = this.host.nowMs();
    flow.lastUsedMs = now;
    const text = formatIp(address);
    if (datagram.destinationPort !== DNS_PORT) flow.idleMs = IDLE_MS;
    const key = `${text} ${datagram.destinationPort}`;
    if (!flow.peers.has(key)) {
      const [oldest] = flow.peers;
      if (flow.peers.size >= MAX_PEERS && oldest !== undefined) flow.peers.delete(oldest);
      flow.peers.add(key);
    }
    flow.socket.send(datagram.bytes, text, datagram.destinationPort);
    return true;
  }

  #flow(packet: IpPacket, { sourcePort }: Datagram): Flow {
    const key = `${addressKey(packet.source)}${sourcePort}`;
    const known = this.#flows.get(key);
    if (known) {
      // The map's order is that of last use.
      this.#flows.delete(key);
      this.#flows.set(key, known);
      return known;
    }
    if (this.#flows.size >= this.settings.limits.udpFlows) {
      const [oldest] = this.#flows.keys();
      if (oldest !== undefined) this.#forget(oldest);
      this.evicted++;
    }
    const guest = { address: packet.source.slice(), port: sourcePort };
    const socket = this.host.openUdp(packet.source.length === 4 ? 4 : 6, {
      received: (bytes, address, port) => this.#received(key, bytes, address, port),
      failed: () => {
        if (this.#flows.get(key)?.socket === socket) this.#flows.delete(key);
      },
    });
    const flow = { socket, guest, peers: new Set<string>(), lastUsedMs: 0, idleMs: IDLE_DNS_MS };
    this.#flows.set(key, flow);
    this.#cancelSweep ??= this.host.after(SWEEP_MS, this.#sweep);
    return flow;
  }

  #received(key: string, bytes: Uint8Array, address: string, port: number): void {
    const flow = this.#flows.get(key);
    const source = parseIp(address);
    if (!flow || !source || bytes.length > MAX_DATAGRAM_BYTES) return;
    const from = unmapped(source);
    if (!flow.peers.has(`${formatIp(from)} ${port}`)) {
      this.unsolicited++;
      return;
    }
    flow.lastUsedMs = this.host.nowMs();
    sendDatagram(this.link, { address: guestAddressOf(from), port }, flow.guest, bytes);
  }

  #forget(key: string): void {
    this.#flows.get(key)?.socket.close();
    this.#flows.delete(key);
  }

  readonly #sweep = (): void => {
    const now = this.host.nowMs();
    for (const [key, flow] of this.#flows) if (now - flow.lastUsedMs > flow.idleMs) this.#forget(key);
    this.#cancelSweep = this.#flows.size > 0 ? this.host.after(SWEEP_MS, this.#sweep) : undefined;
  };

  /** Opens a port of the host that leads into the guest. */
  async forward(rule: ForwardRule, gateway: IpAddress): Promise<void> {
    const guest = { address: rule.guestAddress, port: rule.guestPort };
    const socket = await this.host.listenUdp(rule.hostAddress, rule.hostPort, {
      received: (bytes, address, port) => {
        if (bytes.length > MAX_DATAGRAM_BYTES) return;
        // The guest sees the gateway with the sender's port; two senders with one port would be mixed up, and the later wins.
        const key = forwardKey(gateway, port, guest.address, guest.port);
        if (this.#forwardPeers.size >= this.settings.limits.udpFlows) {
          const [oldest] = this.#forwardPeers.keys();
          if (oldest !== undefined) this.#forwardPeers.delete(oldest);
        }
        this.#forwardPeers.set(key, { socket, address, port });
        sendDatagram(this.link, { address: gateway, port }, guest, bytes);
      },
      failed: () => undefined,
    });
    this.#forwards.push(socket);
  }

  close(): void {
    this.#cancelSweep?.();
    for (const key of [...this.#flows.keys()]) this.#forget(key);
    for (const socket of this.#forwards.splice(0)) socket.close();
    this.#forwardPeers.clear();
  }
}

function forwardKey(remote: IpAddress, remotePort: number, guest: IpAddress, guestPort: number): string {
  return `${addressKey(remote)}${remotePort},${addressKey(guest)}${guestPort}`;
}
