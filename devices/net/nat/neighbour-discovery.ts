/** Neighbour discovery and router advertisements of IPv6 (RFC 4861), with name servers in them (RFC 8106). */
import type { IpAddress, MacAddress } from '../addresses.ts';
import { writeU16, writeU32 } from '../wire.ts';
import { PROTOCOL_ICMPV6 } from './ip.ts';
import type { OutgoingPacket } from './link.ts';
import * as S from './settings.ts';

export const ROUTER_SOLICITATION = 133;
const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const ICMPV6_CHECKSUM_OFFSET = 2;
/** Neighbour discovery never crosses a router (RFC 4861, 6.1.1). */
export const DISCOVERY_HOP_LIMIT = 255;

const OPTION_SOURCE_LINK_ADDRESS = 1;
const OPTION_TARGET_LINK_ADDRESS = 2;
const OPTION_PREFIX = 3;
const OPTION_MTU = 5;
const OPTION_NAME_SERVERS = 25;

const PREFIX_ON_LINK = 0x80;
const PREFIX_AUTONOMOUS = 0x40;
const RA_MANAGED = 0x80;
const RA_OTHER = 0x40;
const NA_ROUTER = 0x80;
const NA_SOLICITED = 0x40;
const NA_OVERRIDE = 0x20;

const ROUTER_LIFETIME_S = 1800;
const PREFIX_VALID_S = 86_400;
const PREFIX_PREFERRED_S = 14_400;

/** An Ethernet address in the options of a discovery message that begin at `at`; undefined when there is none. */
export function linkAddressOption(bytes: Uint8Array, at: number): MacAddress | undefined {
  for (let option = at; option + 8 <= bytes.length;) {
    const lengthBytes = 8 * (bytes[option + 1] ?? 0);
    if (lengthBytes === 0) return undefined;
    const type = bytes[option];
    if (type === OPTION_SOURCE_LINK_ADDRESS || type === OPTION_TARGET_LINK_ADDRESS) {
      return bytes.subarray(option + 2, option + 8);
    }
    option += lengthBytes;
  }
  return undefined;
}

/** The group that listens for solicitations of an address (RFC 4291, 2.7.1). */
export function solicitedNodeGroup(address: IpAddress): IpAddress {
  const group = new Uint8Array(16);
  group.set([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
  group.set(address.subarray(13), 13);
  return group;
}

/** Ethernet's address for a group (RFC 2464, 7). */
export function groupMac(group: IpAddress): MacAddress {
  return Uint8Array.of(0x33, 0x33, ...group.subarray(12));
}

/** What every guest hears of the router: our prefix, our name server, and that DHCPv6 knows more. */
export function routerAdvertisement(destination: IpAddress, mac: MacAddress, mtu: number): OutgoingPacket {
  const header = new Uint8Array(16 + 8 + 8 + 32 + 24);
  header[0] = ROUTER_ADVERTISEMENT;
  header[4] = 64;
  header[5] = RA_MANAGED | RA_OTHER;
  writeU16(header, 6, ROUTER_LIFETIME_S);
  let at = 16;
  header.set([OPTION_SOURCE_LINK_ADDRESS, 1, ...S.GATEWAY_MAC], at);
  at += 8;
  header.set([OPTION_MTU, 1], at);
  writeU32(header, at + 4, mtu);
  at += 8;
  header.set([OPTION_PREFIX, 4, S.NETWORK_IPV6.bits, PREFIX_ON_LINK | PREFIX_AUTONOMOUS], at);
  writeU32(header, at + 4, PREFIX_VALID_S);
  writeU32(header, at + 8, PREFIX_PREFERRED_S);
  header.set(S.NETWORK_IPV6.address, at + 16);
  at += 32;
  header.set([OPTION_NAME_SERVERS, 3], at);
  writeU32(header, at + 4, ROUTER_LIFETIME_S);
  header.set(S.NAMESERVER_IPV6, at + 8);
  return discovery(S.GATEWAY_LINK_LOCAL, destination, mac, header);
}

/** "I have the address `target`." */
export function neighbourAdvertisement(target: IpAddress, destination: IpAddress, mac: MacAddress): OutgoingPacket {
  const header = new Uint8Array(32);
  header[0] = NEIGHBOUR_ADVERTISEMENT;
  header[4] = NA_ROUTER | NA_SOLICITED | NA_OVERRIDE;
  header.set(target, 8);
  header.set([OPTION_TARGET_LINK_ADDRESS, 1, ...S.GATEWAY_MAC], 24);
  return discovery(target, destination, mac, header);
}

/** "Who has the address `target`?" */
export function neighbourSolicitation(target: IpAddress): OutgoingPacket {
  const header = new Uint8Array(32);
  header[0] = NEIGHBOUR_SOLICITATION;
  header.set(target, 8);
  header.set([OPTION_SOURCE_LINK_ADDRESS, 1, ...S.GATEWAY_MAC], 24);
  const group = solicitedNodeGroup(target);
  return discovery(S.GATEWAY_LINK_LOCAL, group, groupMac(group), header);
}

function discovery(source: IpAddress, destination: IpAddress, mac: MacAddress, header: Uint8Array): OutgoingPacket {
  return {
    ...{ source, destination, mac, header },
    protocol: PROTOCOL_ICMPV6,
    checksumOffset: ICMPV6_CHECKSUM_OFFSET,
    hopLimit: DISCOVERY_HOP_LIMIT,
  };
}
