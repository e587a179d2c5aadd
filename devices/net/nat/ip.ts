/** IP headers: IPv4 (RFC 791) and IPv6 (RFC 8200), read from hostile bytes and written for guests. */
import type { IpAddress, MacAddress } from '../addresses.ts';
import { addToSum, finishChecksum, storeChecksum } from '../checksum.ts';
import { readU16, writeU16 } from '../wire.ts';

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;

export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
const IPV4_FLAG_DONT_FRAGMENT = 0x4000;
const IPV4_FLAG_MORE_FRAGMENTS = 0x2000;
const IPV4_FRAGMENT_OFFSET = 0x1fff;
export const HOP_LIMIT = 64;

/** IPv6 extension headers (RFC 8200, 4). */
const HEADER_HOP_BY_HOP = 0;
const HEADER_ROUTING = 43;
const HEADER_FRAGMENT = 44;
const HEADER_DESTINATION = 60;
const MAX_EXTENSION_HEADERS = 8;

/** A packet, or a piece of one. */
export interface IpPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly hopLimit: number;
  readonly payload: Uint8Array;
  /** Header and what follows it, as ICMP errors quote it. */
  readonly original: Uint8Array;
  /** Ethernet address that it came from. */
  readonly sender: MacAddress;
  /** The transport checksum need not be looked at: the sender left it to us, and memory does not corrupt. */
  readonly checksumDone: boolean;
  readonly fragment?: Fragment | undefined;
}

export interface Fragment {
  readonly identification: number;
  readonly offsetBytes: number;
  readonly more: boolean;
}

/** Reads an IPv4 packet; undefined when its header is wrong. */
export function parseIpv4(bytes: Uint8Array, sender: MacAddress, checksumDone: boolean): IpPacket | undefined {
  const headerBytes = 4 * ((bytes[0] ?? 0) & 15);
  const totalBytes = readU16(bytes, 2);
  if (bytes[0] === undefined || bytes[0] >> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES) return undefined;
  if (totalBytes < headerBytes || totalBytes > bytes.length) return undefined;
  if (finishChecksum(addToSum(0, bytes, 0, headerBytes)) !== 0) return undefined;
  const flags = readU16(bytes, 6);
  const offsetBytes = 8 * (flags & IPV4_FRAGMENT_OFFSET);
  const more = (flags & IPV4_FLAG_MORE_FRAGMENTS) !== 0;
  return {
    source: bytes.subarray(12, 16),
    destination: bytes.subarray(16, 20),
    protocol: bytes[9] ?? 0,
    hopLimit: bytes[8] ?? 0,
    payload: bytes.subarray(headerBytes, totalBytes),
    original: bytes.subarray(0, totalBytes),
    sender,
    checksumDone,
    fragment: more || offsetBytes > 0 ? { identification: readU16(bytes, 4), offsetBytes, more } : undefined,
  };
}

/** Reads an IPv6 packet, its extension headers skipped; undefined when it makes no sense or asks for source routing. */
export function parseIpv6(bytes: Uint8Array, sender: MacAddress, checksumDone: boolean): IpPacket | undefined {
  const payloadBytes = readU16(bytes, 4);
  const end = IPV6_HEADER_BYTES + payloadBytes;
  if (bytes[0] === undefined || bytes[0] >> 4 !== 6 || end > bytes.length) return undefined;
  let protocol = bytes[6] ?? 0;
  let at = IPV6_HEADER_BYTES;
  let fragment: Fragment | undefined;
  for (let headers = 0; ; headers++) {
    if (headers > MAX_EXTENSION_HEADERS) return undefined;
    if (protocol === HEADER_FRAGMENT) {
      if (at + 8 > end || fragment) return undefined;
      const word = readU16(bytes, at + 2);
      fragment = {
        identification: readU16(bytes, at + 4) * 0x10000 + readU16(bytes, at + 6),
        offsetBytes: word & ~7,
        more: (word & 1) !== 0,
      };
      protocol = bytes[at] ?? 0;
      at += 8;
      // What follows a piece that is not the first is no header.
      if (fragment.offsetBytes > 0) break;
    } else if (protocol === HEADER_HOP_BY_HOP || protocol === HEADER_DESTINATION || protocol === HEADER_ROUTING) {
      // Routing headers with segments left would lead past the policy (RFC 5095).
      if (protocol === HEADER_ROUTING && bytes[at + 3] !== 0) return undefined;
      protocol = bytes[at] ?? 0;
      at += 8 * (1 + (bytes[at + 1] ?? 0));
      if (at > end) return undefined;
    } else break;
  }
  if (fragment && fragment.offsetBytes === 0 && !fragment.more) fragment = undefined;
  return {
    source: bytes.subarray(8, 24),
    destination: bytes.subarray(24, 40),
    protocol,
    hopLimit: bytes[7] ?? 0,
    payload: bytes.subarray(at, end),
    original: bytes.subarray(0, end),
    sender,
    checksumDone,
    fragment,
  };
}

export function writeIpv4Header(
  bytes: Uint8Array,
  at: number,
  header: {
    readonly source: IpAddress;
    readonly destination: IpAddress;
    readonly protocol: number;
    readonly payloadBytes: number;
    readonly identification: number;
    /** Undefined: must not be fragmented further. */
    readonly fragment?: { readonly offsetBytes: number; readonly more: boolean };
  },
): void {
  bytes[at] = 0x45;
  bytes[at + 1] = 0;
  writeU16(bytes, at + 2, IPV4_HEADER_BYTES + header.payloadBytes);
  writeU16(bytes, at + 4, header.identification);
  const flags = header.fragment
    ? (header.fragment.offsetBytes >> 3) | (header.fragment.more ? IPV4_FLAG_MORE_FRAGMENTS : 0)
    : IPV4_FLAG_DONT_FRAGMENT;
  writeU16(bytes, at + 6, flags);
  bytes[at + 8] = HOP_LIMIT;
  bytes[at + 9] = header.protocol;
  bytes.set(header.source, at + 12);
  bytes.set(header.destination, at + 16);
  storeChecksum(bytes, at + 10, at, at + IPV4_HEADER_BYTES);
}

export function writeIpv6Header(
  bytes: Uint8Array,
  at: number,
  header: {
    readonly source: IpAddress;
    readonly destination: IpAddress;
    readonly protocol: number;
    readonly payloadBytes: number;
    readonly hopLimit?: number | undefined;
  },
): void {
  bytes[at] = 0x60;
  bytes.fill(0, at + 1, at + 4);
  writeU16(bytes, at + 4, header.payloadBytes);
  bytes[at + 6] = header.protocol;
  bytes[at + 7] = header.hopLimit ?? HOP_LIMIT;
  bytes.set(header.source, at + 8);
  bytes.set(header.destination, at + 24);
}

/** An IPv6 fragment header for pieces of our own. */
export function writeFragmentHeader(
  bytes: Uint8Array,
  at: number,
  protocol: number,
  offsetBytes: number,
  more: boolean,
  identification: number,
): void {
  bytes[at] = protocol;
  bytes[at + 1] = 0;
  writeU16(bytes, at + 2, offsetBytes | (more ? 1 : 0));
  writeU16(bytes, at + 4, identification >>> 16);
  writeU16(bytes, at + 6, identification & 0xffff);
}

export const FRAGMENT_HEADER_BYTES = 8;
export const FRAGMENT_PROTOCOL = HEADER_FRAGMENT;
