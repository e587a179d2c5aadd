/** Addresses of networks as bytes: 6 of Ethernet, 4 of IPv4, 16 of IPv6. */
import { readU16 } from './wire.ts';

/** 4 or 16 bytes in network order. */
export type IpAddress = Uint8Array;
export type MacAddress = Uint8Array;

export const BROADCAST_MAC: MacAddress = new Uint8Array(6).fill(0xff);

/** `01:02:03:04:05:06`, as ethers(5) writes it (leading zeros may be missing); undefined when it is something else. */
export function parseMac(text: string): MacAddress | undefined {
  const parts = text.split(':');
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{1,2}$/i.test(part))) return undefined;
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}

export function formatMac(mac: MacAddress): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Group address: broadcast or multicast (IEEE 802-2014, 8.2.2). */
export function isGroupMac(bytes: Uint8Array, at = 0): boolean {
  return ((bytes[at] ?? 0) & 1) !== 0;
}

function parseIpv4(text: string): IpAddress | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)) return undefined;
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): IpAddress | undefined {
  let rest = text.replace(/%.*$/, '');
  // An IPv4 address may stand for the last two groups (RFC 4291, 2.2).
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(rest);
  if (dotted) {
    const tail = parseIpv4(dotted[2] ?? '');
    if (!tail) return undefined;
    rest = `${dotted[1]}${readU16(tail, 0).toString(16)}:${readU16(tail, 2).toString(16)}`;
  }
  const halves = rest.split('::');
  if (halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<string>(Math.max(0, missing)).fill('0'), ...tail];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Uint8Array.from(
    groups.flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >>> 8, value & 0xff];
    }),
  );
}

/** An address from its text, without a port or brackets; undefined when it is none. */
export function parseIp(text: string): IpAddress | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Text of an address; IPv6 as RFC 5952 wants it. */
export function formatIp(address: IpAddress): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => readU16(address, 2 * index));
  let [bestStart, bestLength] = [-1, 1];
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > bestLength) [bestStart, bestLength] = [start, length];
  }
  const text = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return bestStart < 0 ? text(0, 8) : `${text(0, bestStart)}::${text(bestStart + bestLength, 8)}`;
}

/** An address as an index of maps: short, and never the same for two addresses. */
export function addressKey(address: Uint8Array): string {
  let key = '';
  // Of every packet: spreading an array makes an iterator and its results first.
  for (let at = 0; at < address.length; at++) key += String.fromCharCode(address[at] ?? 0);
  return key;
}

/** The IPv4 address inside an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), or the address itself. */
export function unmapped(address: IpAddress): IpAddress {
  const mapped =
    address.length === 16 &&
    address.subarray(0, 10).every((byte) => byte === 0) &&
    address[10] === 0xff &&
    address[11] === 0xff;
  return mapped ? address.subarray(12) : address;
}

/** A block of addresses. */
export interface Prefix {
  readonly address: IpAddress;
  readonly bits: number;
}

/** `192.168.0.0/16` or a single address. */
export function parsePrefix(text: string): Prefix | undefined {
  const [base = '', length, ...more] = text.split('/');
  const address = parseIp(base);
  if (!address || more.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length))) return undefined;
  const bits = length === undefined ? 8 * address.length : Number(length);
  return bits <= 8 * address.length ? { address, bits } : undefined;
}

export function inPrefix(address: IpAddress, prefix: Prefix): boolean {
  if (address.length !== prefix.address.length) return false;
  const whole = prefix.bits >> 3;
  for (let at = 0; at < whole; at++) if (address[at] !== prefix.address[at]) return false;
  const mask = 0xff00 >> (prefix.bits & 7);
  return (((address[whole] ?? 0) ^ (prefix.address[whole] ?? 0)) & mask & 0xff) === 0;
}
