/** ICMP of both families: echo, and the errors that tell a guest what cannot be reached (RFC 792, RFC 4443). */
import { storeChecksum } from '../checksum.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, type IpPacket } from './ip.ts';
import type { OutgoingPacket } from './link.ts';

export const ECHO_REQUEST = 8;
export const ECHO_REQUEST_V6 = 128;
const ECHO_REPLY = 0;
const ECHO_REPLY_V6 = 129;
const UNREACHABLE = 3;
const UNREACHABLE_V6 = 1;

/** What an unreachable message is about: code in ICMP and in ICMPv6. */
const CODES = {
  host: [1, 3],
  port: [3, 4],
  prohibited: [13, 1],
} as const;
export type UnreachableReason = keyof typeof CODES;

/** Errors quote this much of a packet: its header and 8 bytes in IPv4, what fits the minimum MTU in IPv6. */
const QUOTED_BYTES_V4 = 28;
const QUOTED_BYTES_V6 = 1232;

function finished(packet: IpPacket, header: Uint8Array): OutgoingPacket {
  const isV4 = packet.source.length === 4;
  if (isV4) storeChecksum(header, 2);
  return {
    source: packet.destination,
    destination: packet.source,
    protocol: isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6,
    header,
    mac: packet.sender,
    ...(isV4 ? {} : { checksumOffset: 2 }),
  };
}

/** The answer to an echo request. */
export function echoReply(packet: IpPacket): OutgoingPacket {
  const header = packet.payload.slice();
  header[0] = packet.source.length === 4 ? ECHO_REPLY : ECHO_REPLY_V6;
  return finished(packet, header);
}

/** "Your packet did not arrive." */
export function unreachable(packet: IpPacket, reason: UnreachableReason): OutgoingPacket {
  const isV4 = packet.source.length === 4;
  const quoted = packet.original.subarray(0, isV4 ? QUOTED_BYTES_V4 : QUOTED_BYTES_V6);
  const header = new Uint8Array(8 + quoted.length);
  header[0] = isV4 ? UNREACHABLE : UNREACHABLE_V6;
  header[1] = CODES[reason][isV4 ? 0 : 1];
  header.set(quoted, 8);
  return finished(packet, header);
}
