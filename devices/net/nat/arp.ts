/** Address resolution on IPv4 (RFC 826). */
import { BROADCAST_MAC, type IpAddress, type MacAddress } from '../addresses.ts';
import {
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  MIN_FRAME_BYTES,
  writeEthernetHeader,
} from '../ethernet.ts';
import { readU16, writeU16 } from '../wire.ts';

const HARDWARE_ETHERNET = 1;
const REQUEST = 1;
const REPLY = 2;
const PACKET_BYTES = 28;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly senderIp: IpAddress;
  readonly targetIp: IpAddress;
}

/** Reads a packet; undefined when it is not ARP for IPv4 over Ethernet. */
export function parseArp(bytes: Uint8Array): ArpPacket | undefined {
  if (bytes.length < PACKET_BYTES || readU16(bytes, 0) !== HARDWARE_ETHERNET || readU16(bytes, 2) !== ETHERTYPE_IPV4) {
    return undefined;
  }
  if (bytes[4] !== 6 || bytes[5] !== 4) return undefined;
  return {
    operation: readU16(bytes, 6),
    senderMac: bytes.subarray(8, 14),
    senderIp: bytes.subarray(14, 18),
    targetIp: bytes.subarray(24, 28),
  };
}

export function isArpRequest(packet: ArpPacket): boolean {
  return packet.operation === REQUEST;
}

function frame(operation: number, ourMac: MacAddress, ourIp: IpAddress, mac: MacAddress, ip: IpAddress): Uint8Array {
  const bytes = new Uint8Array(MIN_FRAME_BYTES);
  writeEthernetHeader(bytes, operation === REQUEST ? BROADCAST_MAC : mac, ourMac, ETHERTYPE_ARP);
  const at = ETHERNET_HEADER_BYTES;
  writeU16(bytes, at, HARDWARE_ETHERNET);
  writeU16(bytes, at + 2, ETHERTYPE_IPV4);
  bytes[at + 4] = 6;
  bytes[at + 5] = 4;
  writeU16(bytes, at + 6, operation);
  bytes.set(ourMac, at + 8);
  bytes.set(ourIp, at + 14);
  if (operation === REPLY) bytes.set(mac, at + 18);
  bytes.set(ip, at + 24);
  return bytes;
}

export function arpReply(ourMac: MacAddress, ourIp: IpAddress, mac: MacAddress, ip: IpAddress): Uint8Array {
  return frame(REPLY, ourMac, ourIp, mac, ip);
}

export function arpRequest(ourMac: MacAddress, ourIp: IpAddress, wanted: IpAddress): Uint8Array {
  return frame(REQUEST, ourMac, ourIp, BROADCAST_MAC, wanted);
}
