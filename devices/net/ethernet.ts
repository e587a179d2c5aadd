/** Ethernet II frames (IEEE 802.3, 3.2), without the frame check sequence. */
import type { MacAddress } from './addresses.ts';
import { writeU16 } from './wire.ts';

export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;
/** Where a frame's fields lie. */
export const FRAME_DESTINATION = 0;
export const FRAME_SOURCE = 6;
export const FRAME_TYPE = 12;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;

/** Shortest frame of the standard without its check sequence; shorter ones are padded with zeros on a wire. */
export const MIN_FRAME_BYTES = 60;
/** No frame that a sender left to be segmented is longer: a 64 KiB IP packet and its Ethernet header with a VLAN tag. */
export const MAX_FRAME_BYTES = 65_535 + ETHERNET_HEADER_BYTES + 4;
/** Payload of an ordinary frame. */
export const DEFAULT_MTU = 1500;

export function writeEthernetHeader(
  bytes: Uint8Array,
  destination: MacAddress,
  source: MacAddress,
  etherType: number,
): void {
  bytes.set(destination, FRAME_DESTINATION);
  bytes.set(source, FRAME_SOURCE);
  writeU16(bytes, FRAME_TYPE, etherType);
}
