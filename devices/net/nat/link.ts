/** The user-mode network's end of the cable: packets become frames for the guest that has the address. */
import {
  NO_OFFLOAD,
  type FrameOffload,
  type NetworkFrame,
  type NetworkPort,
  type OffloadCapabilities,
} from '../../backends/network.ts';
import { addressKey, type IpAddress, type MacAddress } from '../addresses.ts';
import { addPartsToSum, finishChecksum, foldedSum, pseudoHeaderSum } from '../checksum.ts';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, writeEthernetHeader } from '../ethernet.ts';
import { lengthOf, sliceParts, writeU16 } from '../wire.ts';
import * as Ip from './ip.ts';
import { GATEWAY_MAC } from './settings.ts';

/** Frames that wait for room in the guest's ring: answers of protocols that do not repeat themselves at once. */
const MAX_WAITING_FRAMES = 256;
/** Guests behind a relay. */
const MAX_NEIGHBOURS = 512;
/** Packets that wait for an address to be resolved. */
const MAX_UNRESOLVED = 64;

/** A transport packet to send. `header` begins with the transport header. */
export interface OutgoingPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly header: Uint8Array;
  readonly payload?: readonly Uint8Array[] | undefined;
  /** Place of the transport checksum in `header`; undefined when it is done or there is none. */
  readonly checksumOffset?: number | undefined;
  /** TCP only: the payload is longer than a segment and the guest's card cuts it. */
  readonly segmentBytes?: number | undefined;
  readonly hopLimit?: number | undefined;
  /** Where the address is not in the table of neighbours. */
  readonly mac?: MacAddress | undefined;
}

export class GuestLink {
  /** Frames lost because the guest took none for too long. */
  droppedFrames = 0;
  /** Packets for addresses that nobody answered for. */
  unresolvedPackets = 0;
  readonly #neighbours = new Map<string, MacAddress>();
  readonly #waiting: NetworkFrame[] = [];
  readonly #unresolved = new Map<string, OutgoingPacket[]>();
  readonly #whenReady = new Set<() => void>();
  #unresolvedCount = 0;
  #identification = 0;
  #blocked = false;

  /** Nobody is there yet: frames wait. */
  #port: NetworkPort | undefined;

  constructor(
    private readonly mtu: number,
    /** Asks the network for an address (ARP, neighbour discovery). */
    private readonly solicit: (address: IpAddress) => void,
  ) {}

  /** Plugs the guest's card in. */
  attach(port: NetworkPort): void {
    this.#port = port;
    this.ready();
  }

  get #offload(): OffloadCapabilities {
    return this.#port?.offload ?? NO_OFFLOAD;
  }

  /** The guest's ring is full; bulk senders wait for {@link whenReady}. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** True when the guest's card cuts long TCP packets of this family. */
  canSegment(version: 4 | 6): boolean {
    return version === 4 ? this.#offload.tcp4 : this.#offload.tcp6;
  }

  /** Largest transport packet of one frame. */
  transportBytes(version: 4 | 6): number {
    return this.mtu - (version === 4 ? Ip.IPV4_HEADER_BYTES : Ip.IPV6_HEADER_BYTES);
  }

  /** Calls back once, when there is room again. */
  whenReady(callback: () => void): void {
    this.#whenReady.add(callback);
  }

  /** The guest's card has room. */
  ready(): void {
    this.#blocked = false;
    while (this.#waiting.length > 0) {
      const [frame] = this.#waiting;
      if (!frame || !this.#offer(frame)) return;
      this.#waiting.shift();
    }
    for (const callback of this.#whenReady) {
      if (this.#blocked) return;
      this.#whenReady.delete(callback);
      callback();
    }
  }

  /** Learns who has an address. The table is bounded: the oldest goes. */
  learn(address: IpAddress, mac: MacAddress): void {
    const key = addressKey(address);
    const known = this.#neighbours.get(key);
    if (!known && this.#neighbours.size >= MAX_NEIGHBOURS) {
      const [oldest] = this.#neighbours.keys();
      if (oldest !== undefined) this.#neighbours.delete(oldest);
    }
    if (!known?.every((byte, index) => byte === mac[index])) this.#neighbours.set(key, mac.slice());
    const packets = this.#unresolved.get(key);
    if (!packets) return;
    this.#unresolved.delete(key);
    this.#unresolvedCount -= packets.length;
    for (const packet of packets) this.send(packet);
  }

  neighbour(address: IpAddress): MacAddress | undefined {
    return this.#neighbours.get(addressKey(address));
  }

  /** Sends a frame, or keeps it until there is room. */
  sendFrame(frame: NetworkFrame): void {
    if (!this.#blocked && this.#waiting.length === 0 && this.#offer(frame)) return;
    if (this.#waiting.length < MAX_WAITING_FRAMES) this.#waiting.push(frame);
    else this.droppedFrames++;
  }

  #offer(frame: NetworkFrame): boolean {
    const taken = this.#port?.receive(frame) ?? false;
    if (!taken) this.#blocked = true;
    return taken;
  }

  /** Sends a packet in one frame, or in fragments where it is too long for one (never TCP). */
  send(packet: OutgoingPacket): void {
    const mac = packet.mac ?? this.neighbour(packet.destination);
    if (!mac) {
      this.#resolve(packet);
      return;
    }
    const version = packet.source.length === 4 ? 4 : 6;
    const payload = packet.payload ?? [];
    const transportBytes = packet.header.length + lengthOf(payload);
    if (transportBytes > this.transportBytes(version) && packet.segmentBytes === undefined) {
      this.#sendFragments(packet, mac, version, transportBytes);
      return;
    }
    const ipBytes = version === 4 ? Ip.IPV4_HEADER_BYTES : Ip.IPV6_HEADER_BYTES;
    const transport = ETHERNET_HEADER_BYTES + ipBytes;
    const head = new Uint8Array(transport + packet.header.length);
    this.#writeHeaders(head, packet, mac, version, transportBytes);
    head.set(packet.header, transport);
    const offload = this.#checksum(head, transport, packet, version, transportBytes, payload);
    this.sendFrame({ parts: payload.length === 0 ? [head] : [head, ...payload], offload });
  }

  #checksum(
    head: Uint8Array,
    transport: number,
    packet: OutgoingPacket,
    version: 4 | 6,
    transportBytes: number,
    payload: readonly Uint8Array[],
  ): FrameOffload | undefined {
    const { checksumOffset } = packet;
    if (checksumOffset === undefined) return undefined;
    const pseudo = pseudoHeaderSum(packet.source, packet.destination, packet.protocol, transportBytes);
    if (packet.segmentBytes !== undefined || (this.#offload.checksum && packet.protocol !== Ip.PROTOCOL_ICMPV6)) {
      writeU16(head, transport + checksumOffset, foldedSum(pseudo));
      const segmentation =
        packet.segmentBytes === undefined
          ? undefined
          : ({ kind: version === 4 ? 'tcp4' : 'tcp6', segmentBytes: packet.segmentBytes } as const);
      return { checksumStart: transport, checksumOffset, segmentation };
    }
    writeU16(head, transport + checksumOffset, 0);
    const checksum = finishChecksum(addPartsToSum(pseudo, [head.subarray(transport), ...payload]));
    writeU16(head, transport + checksumOffset, checksum === 0 ? 0xffff : checksum);
    return undefined;
  }

  #writeHeaders(
    head: Uint8Array,
    { source, destination, protocol, hopLimit }: OutgoingPacket,
    mac: MacAddress,
    version: 4 | 6,
    payloadBytes: number,
  ): void {
    writeEthernetHeader(head, mac, GATEWAY_MAC, version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    if (version === 6) {
      Ip.writeIpv6Header(head, ETHERNET_HEADER_BYTES, { source, destination, protocol, payloadBytes, hopLimit });
      return;
    }
    const identification = (this.#identification + 1) & 0xffff;
    this.#identification = identification;
    const fields = { source, destination, protocol, payloadBytes, identification };
    Ip.writeIpv4Header(head, ETHERNET_HEADER_BYTES, fields);
  }

  #sendFragments(packet: OutgoingPacket, mac: MacAddress, version: 4 | 6, transportBytes: number): void {
    const header = packet.header.slice();
    const whole = [header, ...(packet.payload ?? [])];
    if (packet.checksumOffset !== undefined) {
      const pseudo = pseudoHeaderSum(packet.source, packet.destination, packet.protocol, transportBytes);
      writeU16(header, packet.checksumOffset, 0);
      const checksum = finishChecksum(addPartsToSum(pseudo, whole));
      writeU16(header, packet.checksumOffset, checksum === 0 ? 0xffff : checksum);
    }
    this.#identification = (this.#identification + 1) & 0xffff;
    const extensionBytes = version === 4 ? 0 : Ip.FRAGMENT_HEADER_BYTES;
    const pieceBytes = (this.transportBytes(version) - extensionBytes) & ~7;
    const ipBytes = version === 4 ? Ip.IPV4_HEADER_BYTES : Ip.IPV6_HEADER_BYTES;
    const { source, destination, protocol } = packet;
    for (let offsetBytes = 0; offsetBytes < transportBytes; offsetBytes += pieceBytes) {
      const end = Math.min(offsetBytes + pieceBytes, transportBytes);
      const more = end < transportBytes;
      const head = new Uint8Array(ETHERNET_HEADER_BYTES + ipBytes + extensionBytes);
      writeEthernetHeader(head, mac, GATEWAY_MAC, version === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
      const payloadBytes = extensionBytes + end - offsetBytes;
      if (version === 4) {
        Ip.writeIpv4Header(head, ETHERNET_HEADER_BYTES, {
          ...{ source, destination, protocol, payloadBytes, identification: this.#identification },
          fragment: { offsetBytes, more },
        });
      } else {
        const fields = { source, destination, protocol: Ip.FRAGMENT_PROTOCOL, payloadBytes };
        Ip.writeIpv6Header(head, ETHERNET_HEADER_BYTES, fields);
        Ip.writeFragmentHeader(
          head,
          ETHERNET_HEADER_BYTES + ipBytes,
          protocol,
          offsetBytes,
          more,
          this.#identification,
        );
      }
      this.sendFrame({ parts: [head, ...sliceParts(whole, offsetBytes, end)] });
    }
  }

  #resolve(packet: OutgoingPacket): void {
    const key = addressKey(packet.destination);
    if (this.#unresolvedCount >= MAX_UNRESOLVED) {
      this.unresolvedPackets += this.#unresolvedCount;
      this.#unresolved.clear();
      this.#unresolvedCount = 0;
    }
    const packets = this.#unresolved.get(key) ?? [];
    packets.push(packet);
    this.#unresolved.set(key, packets);
    this.#unresolvedCount++;
    this.solicit(packet.destination);
  }
}
