/**
 * The user-mode network: a router, DHCP, DNS and TFTP server, and NAT for the guests on one cable, as libslirp is for bhyve and QEMU. It
 * needs no rights on the host, because everything towards the world goes through ordinary sockets. Frames come in by {@link send};
 * everything that is written here about "the guest" holds for several behind a switch as well.
 */
import { FULL_OFFLOAD, type NetworkBackend, type NetworkFrame, type NetworkPort } from '../../backends/network.ts';
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';
import { formatIp, inPrefix, isGroupMac, type IpAddress, type MacAddress } from '../addresses.ts';
import { addToSum, finishChecksum, pseudoHeaderSum } from '../checksum.ts';
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  FRAME_SOURCE,
  FRAME_TYPE,
  MAX_FRAME_BYTES,
} from '../ethernet.ts';
import { joined, lengthOf, readU16, sameBytes } from '../wire.ts';
import { arpReply, arpRequest, isArpRequest, parseArp } from './arp.ts';
import { answerDhcp4, DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from './dhcp4.ts';
import { answerDhcp6, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT } from './dhcp6.ts';
import { DNS_PORT, DnsForwarder } from './dns.ts';
import type { NatHost } from './host.ts';
import { ECHO_REQUEST, ECHO_REQUEST_V6, echoReply, unreachable } from './icmp.ts';
import * as Ip from './ip.ts';
import { Leases } from './leases.ts';
import { GuestLink } from './link.ts';
import { readConnections, saveConnections, type LostConnection } from './lost-connections.ts';
import * as Nd from './neighbour-discovery.ts';
import { hostAddressOf, permits } from './policy.ts';
import { Reassembly } from './reassembly.ts';
import * as S from './settings.ts';
import { TcpConnections } from './tcp.ts';
import { TFTP_PORT, TftpServer } from './tftp.ts';
import { parseUdp, sendDatagram, UdpFlows, type Datagram } from './udp.ts';

/** Echo requests to the world that wait for the host's answer. */
const MAX_PINGS = 8;

const OUR_IPV4 = [S.GATEWAY_IPV4, S.NAMESERVER_IPV4] as const;
const OUR_IPV6 = [S.GATEWAY_IPV6, S.NAMESERVER_IPV6, S.GATEWAY_LINK_LOCAL] as const;

const NO_ADDRESS = new Uint8Array();

function isOurs(address: IpAddress): boolean {
  return (address.length === 4 ? OUR_IPV4 : OUR_IPV6).some((own) => sameBytes(own, address));
}

export class UserNetwork implements NetworkBackend {
  readonly offload = FULL_OFFLOAD;
  /** Frames that made no sense: too short, too long, of an unknown protocol, with a wrong checksum. */
  malformedFrames = 0;
  readonly #link: GuestLink;
  readonly #tcp: TcpConnections;
  readonly #udp: UdpFlows;
  readonly #tftp: TftpServer;
  readonly #dns: DnsForwarder;
  readonly #leases = new Leases();
  readonly #reassembly = new Reassembly();
  #pings = 0;
  /** Whom {@link GuestLink.learn} was told of last. */
  #learntAddress: IpAddress = NO_ADDRESS;
  #learntMac: MacAddress = NO_ADDRESS;
  /** Connections of a snapshot, to be reset once the machine runs. */
  #lost: readonly LostConnection[] | undefined;

  constructor(
    private readonly host: NatHost,
    private readonly settings: S.NatSettings = S.DEFAULT_NAT_SETTINGS,
  ) {
    const link = new GuestLink(settings.mtu, (address) => this.#solicit(address));
    this.#link = link;
    this.#dns = new DnsForwarder(host, settings.policy.open || settings.policy.allowed.length > 0);
    this.#tcp = new TcpConnections(host, link, this.#dns, settings);
    this.#udp = new UdpFlows(host, link, settings);
    this.#tftp = new TftpServer(host, link);
  }

  open(port: NetworkPort): void {
    this.#link.attach(port);
  }

  /** Opens the forwarded ports. Rejects, naming the rule, when one cannot be had. */
  async startForwards(): Promise<void> {
    for (const rule of this.settings.forwards) {
      const gateway = rule.guestAddress.length === 4 ? S.GATEWAY_IPV4 : S.GATEWAY_IPV6;
      try {
        if (rule.protocol === 'tcp') await this.#tcp.forward(rule, gateway);
        else await this.#udp.forward(rule, gateway);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new Error(`Unable to add hostfwd rule '${describeRule(rule)}': ${reason}`, { cause: error });
      }
    }
  }

  receiveReady(): void {
    const lost = this.#lost;
    this.#lost = undefined;
    if (lost) this.#tcp.replace(lost);
    this.#link.ready();
  }

  save(): StateValue {
    return { connections: saveConnections(this.#tcp.open()) };
  }

  prepareRestore(fields: StateFields): () => void {
    // A snapshot of a machine with another backend has none.
    const lost = fields.names().includes('connections')
      ? readConnections(fields, 'connections', this.settings.limits.tcpConnections)
      : [];
    return () => {
      this.#lost = lost;
    };
  }

  counters(): Record<string, number> {
    return {
      'malformed frames': this.malformedFrames,
      'malformed segments': this.#tcp.malformed,
      'frames dropped': this.#link.droppedFrames,
      'unresolved packets': this.#link.unresolvedPackets,
      'fragments dropped': this.#reassembly.dropped,
      'TCP refused': this.#tcp.refused,
      'TCP over limit': this.#tcp.overLimit,
      'TCP retransmissions': this.#tcp.retransmissions,
      'UDP refused': this.#udp.refused,
      'UDP flows evicted': this.#udp.evicted,
      'UDP unsolicited': this.#udp.unsolicited,
      'DNS failures': this.#dns.failures,
      'TFTP refused': this.#tftp.refused,
    };
  }

  async close(): Promise<void> {
    this.#udp.close();
    this.#tftp.close();
    await this.#tcp.close();
  }

  send(frame: NetworkFrame): boolean {
    const lengthBytes = lengthOf(frame.parts);
    if (lengthBytes < ETHERNET_HEADER_BYTES || lengthBytes > MAX_FRAME_BYTES) {
      this.malformedFrames++;
      return true;
    }
    // One private copy: the guest can change the frame no more, and payloads are handed on without another.
    const bytes = joined(frame.parts);
    const sender = bytes.subarray(FRAME_SOURCE, FRAME_SOURCE + 6);
    if (isGroupMac(sender)) {
      this.malformedFrames++;
      return true;
    }
    const body = bytes.subarray(ETHERNET_HEADER_BYTES);
    switch (readU16(bytes, FRAME_TYPE)) {
      case ETHERTYPE_ARP:
        this.#arp(body, sender);
        break;
      case ETHERTYPE_IPV4:
        this.#packet(Ip.parseIpv4(body, sender, frame.offload !== undefined));
        break;
      case ETHERTYPE_IPV6:
        this.#packet(Ip.parseIpv6(body, sender, frame.offload !== undefined));
        break;
      default:
        this.malformedFrames++;
    }
    return true;
  }

  #arp(body: Uint8Array, sender: MacAddress): void {
    const packet = parseArp(body);
    if (!packet || !sameBytes(packet.senderMac, sender)) {
      this.malformedFrames++;
      return;
    }
    this.#learn(packet.senderIp, sender);
    if (isArpRequest(packet) && OUR_IPV4.some((own) => sameBytes(own, packet.targetIp))) {
      this.#link.sendFrame({ parts: [arpReply(S.GATEWAY_MAC, packet.targetIp, sender, packet.senderIp)] });
    }
  }

  #learn(address: IpAddress, mac: MacAddress): void {
    // Mostly the guest that spoke last speaks again.
    if (sameBytes(address, this.#learntAddress) && sameBytes(mac, this.#learntMac)) return;
    const isGuests =
      inPrefix(address, S.NETWORK_IPV4) ||
      inPrefix(address, S.NETWORK_IPV6) ||
      (address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80);
    if (!isGuests || isOurs(address)) return;
    this.#link.learn(address, mac);
    this.#learntAddress = address.slice();
    this.#learntMac = mac.slice();
  }

  #solicit(address: IpAddress): void {
    if (address.length === 4) {
      this.#link.sendFrame({ parts: [arpRequest(S.GATEWAY_MAC, S.GATEWAY_IPV4, address)] });
    } else this.#link.send(Nd.neighbourSolicitation(address));
  }

  #packet(piece: Ip.IpPacket | undefined): void {
    if (!piece || piece.hopLimit === 0) {
      this.malformedFrames++;
      return;
    }
    const packet = this.#reassembly.add(piece, this.host.nowMs());
    if (!packet) return;
    this.#learn(packet.source, packet.sender);
    switch (packet.protocol) {
      case Ip.PROTOCOL_TCP:
        if (this.#canAnswer(packet)) this.#tcp.packetArrived(packet);
        break;
      case Ip.PROTOCOL_UDP:
        this.#datagram(packet);
        break;
      case Ip.PROTOCOL_ICMP:
        if (packet.source.length === 4 && packet.payload[0] === ECHO_REQUEST) this.#echo(packet);
        break;
      case Ip.PROTOCOL_ICMPV6:
        if (packet.source.length === 16) this.#icmpv6(packet);
        break;
      default:
        this.malformedFrames++;
    }
  }

  /** An answer finds its way: the source is a guest's address on this network. */
  #canAnswer({ source }: Ip.IpPacket): boolean {
    const fits = this.#link.neighbour(source) !== undefined;
    if (!fits) this.malformedFrames++;
    return fits;
  }

  #datagram(packet: Ip.IpPacket): void {
    const datagram = parseUdp(packet);
    const link = this.#link;
    if (!datagram) {
      this.malformedFrames++;
      return;
    }
    if (this.#service(packet, datagram, link)) return;
    if (!this.#canAnswer(packet)) return;
    if (!this.#udp.send(packet, datagram)) {
      const isGroup =
        packet.destination.length === 16 ? packet.destination[0] === 0xff : (packet.destination[0] ?? 0) >= 224;
      if (!isGroup && !sameBytes(packet.destination, S.BROADCAST_IPV4)) link.send(unreachable(packet, 'prohibited'));
    }
  }

  /** Datagrams for the network itself. False: for somebody else. */
  #service(packet: Ip.IpPacket, datagram: Datagram, link: GuestLink): boolean {
    const { source, destination, sender } = packet;
    const { bytes, destinationPort, sourcePort } = datagram;
    const isV4 = source.length === 4;
    if (isV4 && destinationPort === DHCP_SERVER_PORT) {
      const answer = answerDhcp4(bytes, this.#leases, this.settings);
      if (answer) {
        const from = { address: S.GATEWAY_IPV4, port: DHCP_SERVER_PORT };
        const to = { address: answer.destination, port: DHCP_CLIENT_PORT };
        sendDatagram(link, from, to, answer.message, answer.mac);
      }
      return true;
    }
    if (!isV4 && destinationPort === DHCP6_SERVER_PORT) {
      const answer = answerDhcp6(bytes, sender, this.#leases, this.settings);
      if (answer) {
        const from = { address: S.GATEWAY_LINK_LOCAL, port: DHCP6_SERVER_PORT };
        sendDatagram(link, from, { address: source, port: DHCP6_CLIENT_PORT }, answer, sender);
      }
      return true;
    }
    const own = (isV4 ? OUR_IPV4 : OUR_IPV6).find((address) => sameBytes(address, destination));
    if (!own || !this.#canAnswer(packet)) return false;
    const guest = { address: source, port: sourcePort };
    if (destinationPort === DNS_PORT && !sameBytes(own, S.GATEWAY_IPV4) && !sameBytes(own, S.GATEWAY_IPV6)) {
      void this.#dns.answer(bytes, 'udp').then((answer) => {
        if (answer) sendDatagram(link, { address: own, port: DNS_PORT }, guest, answer);
      });
      return true;
    }
    if (destinationPort === TFTP_PORT && this.host.openBootFile !== undefined) {
      this.#tftp.request(guest, { address: own, port: TFTP_PORT }, bytes);
      return true;
    }
    return false;
  }

  #echo(packet: Ip.IpPacket): void {
    const { destination, payload } = packet;
    const isV4 = packet.source.length === 4;
    if (isV4 && finishChecksum(addToSum(0, payload)) !== 0) {
      this.malformedFrames++;
      return;
    }
    if (isOurs(destination)) {
      this.#link.send(echoReply(packet));
      return;
    }
    const address = hostAddressOf(destination);
    if (!permits(this.settings.policy, address)) {
      this.#link.send(unreachable(packet, 'prohibited'));
      return;
    }
    if (this.host.ping === undefined || this.#pings >= MAX_PINGS) return;
    this.#pings++;
    void this.host.ping(formatIp(address)).then(
      (answered) => {
        this.#pings--;
        if (answered) this.#link.send(echoReply(packet));
      },
      () => {
        this.#pings--;
      },
    );
  }

  #icmpv6(packet: Ip.IpPacket): void {
    const { source, destination, payload, sender } = packet;
    const pseudo = pseudoHeaderSum(source, destination, Ip.PROTOCOL_ICMPV6, payload.length);
    if (finishChecksum(addToSum(pseudo, payload)) !== 0) {
      this.malformedFrames++;
      return;
    }
    const type = payload[0];
    if (type === ECHO_REQUEST_V6) {
      this.#echo(packet);
      return;
    }
    // Discovery that came through a router is forged (RFC 4861, 7.1.1).
    if (packet.hopLimit !== Nd.DISCOVERY_HOP_LIMIT || payload.length < 8) return;
    if (type === Nd.ROUTER_SOLICITATION) {
      const toAll = source.every((byte) => byte === 0);
      const group = toAll ? S.ALL_NODES : source;
      this.#link.send(Nd.routerAdvertisement(group, toAll ? Nd.groupMac(S.ALL_NODES) : sender, this.settings.mtu));
    } else if (type === Nd.NEIGHBOUR_SOLICITATION && payload.length >= 24) {
      const target = payload.subarray(8, 24);
      // An unspecified source asks whether the address is taken (RFC 4862, 5.4): that is heard by all.
      const probing = source.every((byte) => byte === 0);
      if (!OUR_IPV6.some((own) => sameBytes(own, target))) return;
      this.#link.send(
        Nd.neighbourAdvertisement(
          target,
          probing ? S.ALL_NODES : source,
          probing ? Nd.groupMac(S.ALL_NODES) : (Nd.linkAddressOption(payload, 24) ?? sender),
        ),
      );
    } else if (type === Nd.NEIGHBOUR_ADVERTISEMENT && payload.length >= 24) {
      this.#learn(payload.subarray(8, 24), sender);
    }
  }
}

function describeRule({ protocol, hostAddress, hostPort, guestAddress, guestPort }: S.ForwardRule): string {
  return `${protocol}:${hostAddress}:${hostPort}-${formatIp(guestAddress)}:${guestPort}`;
}
