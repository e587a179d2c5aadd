/** A guest on the user-mode network, frame by frame: it says what a test wants, and keeps what it hears. */
import { NO_OFFLOAD, type NetworkFrame, type OffloadCapabilities } from '../../devices/backends/network.ts';
import { parseIp, type IpAddress } from '../../devices/net/addresses.ts';
import { addToSum, finishChecksum, pseudoHeaderSum, storeChecksum } from '../../devices/net/checksum.ts';
import { writeEthernetHeader } from '../../devices/net/ethernet.ts';
import * as Ip from '../../devices/net/nat/ip.ts';
import type { UserNetwork } from '../../devices/net/nat/network.ts';
import { GATEWAY_MAC } from '../../devices/net/nat/settings.ts';
import { parseTcp, tcpHeader, type TcpHeaderFields, type TcpSegment } from '../../devices/net/nat/tcp-segment.ts';
import { parseUdp, type Datagram } from '../../devices/net/nat/udp.ts';
import { joined, readU16, writeU16 } from '../../devices/net/wire.ts';

export const GUEST_MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

export function ip(text: string): IpAddress {
  const address = parseIp(text);
  if (!address) throw new Error(text);
  return address;
}

export class NatGuest {
  readonly frames: Uint8Array[] = [];
  readonly offloaded: NetworkFrame[] = [];
  /** The card has no room. */
  full = false;

  constructor(
    readonly network: UserNetwork,
    readonly address = ip('10.0.2.15'),
    offload: OffloadCapabilities = NO_OFFLOAD,
  ) {
    network.open({
      offload,
      receive: (frame) => {
        if (this.full) return false;
        if (frame.offload) this.offloaded.push({ parts: [joined(frame.parts)], offload: frame.offload });
        else this.frames.push(joined(frame.parts));
        return true;
      },
      drained: () => undefined,
      linkChanged: () => undefined,
    });
  }

  /** An Ethernet frame around a packet of IPv4 or IPv6, or of another type. */
  frame(type: number, body: Uint8Array, destination = GATEWAY_MAC, source = GUEST_MAC): Uint8Array {
    const bytes = new Uint8Array(14 + body.length);
    writeEthernetHeader(bytes, destination, source, type);
    bytes.set(body, 14);
    return bytes;
  }

  packet(protocol: number, payload: Uint8Array, destination: IpAddress, source = this.address): Uint8Array {
    const isV4 = source.length === 4;
    const body = new Uint8Array((isV4 ? 20 : 40) + payload.length);
    const fields = { source, destination, protocol, payloadBytes: payload.length };
    if (isV4) Ip.writeIpv4Header(body, 0, { ...fields, identification: 1 });
    else Ip.writeIpv6Header(body, 0, { ...fields, hopLimit: protocol === Ip.PROTOCOL_ICMPV6 ? 255 : 64 });
    body.set(payload, isV4 ? 20 : 40);
    return this.frame(isV4 ? 0x0800 : 0x86dd, body);
  }

  send(frame: Uint8Array): void {
    this.network.send({ parts: [frame] });
  }

  /** Says who it is, so that answers find their way. */
  announce(): void {
    const arp = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, 2, ...GUEST_MAC, ...this.address, ...GATEWAY_MAC, 10, 0, 2, 2);
    this.send(this.frame(0x0806, arp));
  }

  udp(
    destination: IpAddress,
    destinationPort: number,
    bytes: Uint8Array,
    sourcePort = 5000,
    source = this.address,
  ): void {
    const payload = new Uint8Array(8 + bytes.length);
    writeU16(payload, 0, sourcePort);
    writeU16(payload, 2, destinationPort);
    writeU16(payload, 4, payload.length);
    payload.set(bytes, 8);
    const pseudo = pseudoHeaderSum(source, destination, Ip.PROTOCOL_UDP, payload.length);
    writeU16(payload, 6, finishChecksum(addToSum(pseudo, payload)));
    this.send(this.packet(Ip.PROTOCOL_UDP, payload, destination, source));
  }

  tcp(destination: IpAddress, fields: TcpHeaderFields, data = new Uint8Array()): void {
    const payload = joined([tcpHeader(fields), data]);
    const pseudo = pseudoHeaderSum(this.address, destination, Ip.PROTOCOL_TCP, payload.length);
    storeChecksum(payload, 16, 0, payload.length, pseudo);
    this.send(this.packet(Ip.PROTOCOL_TCP, payload, destination));
  }

  /** An ICMP message with its checksum. */
  icmp(destination: IpAddress, message: Uint8Array): void {
    const payload = message.slice();
    if (this.address.length === 4) storeChecksum(payload, 2);
    else {
      const pseudo = pseudoHeaderSum(this.address, destination, Ip.PROTOCOL_ICMPV6, payload.length);
      storeChecksum(payload, 2, 0, payload.length, pseudo);
    }
    this.send(this.packet(this.address.length === 4 ? Ip.PROTOCOL_ICMP : Ip.PROTOCOL_ICMPV6, payload, destination));
  }

  /** Packets heard since the last call, of one protocol. Anything malformed is an error. */
  heard(protocol: number): Ip.IpPacket[] {
    const packets: Ip.IpPacket[] = [];
    for (const frame of this.frames.splice(0)) {
      const type = readU16(frame, 12);
      if (type !== 0x0800 && type !== 0x86dd) continue;
      const body = frame.subarray(14);
      const packet = type === 0x0800 ? Ip.parseIpv4(body, GATEWAY_MAC, false) : Ip.parseIpv6(body, GATEWAY_MAC, false);
      if (!packet) throw new Error('a malformed packet');
      if (packet.protocol === protocol) packets.push(packet);
    }
    return packets;
  }

  segments(): TcpSegment[] {
    return this.heard(Ip.PROTOCOL_TCP).map((packet) => {
      const segment = parseTcp(packet);
      if (!segment) throw new Error('a malformed segment');
      return segment;
    });
  }

  datagrams(): (Datagram & { readonly from: IpAddress; readonly to: IpAddress })[] {
    return this.heard(Ip.PROTOCOL_UDP).map((packet) => {
      const datagram = parseUdp(packet);
      if (!datagram) throw new Error('a malformed datagram');
      return { ...datagram, from: packet.source, to: packet.destination };
    });
  }
}
