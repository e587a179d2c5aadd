/** The MAC address of a network card that was given none, derived as bhyve derives it. */
import { md5 } from '../bus/md5.ts';
import type { MacAddress } from './addresses.ts';

/** FreeBSD's block of addresses for bhyve (net_utils.c of bhyve names it so). */
const BHYVE_OUI = [0x00, 0xa0, 0x98] as const;

/**
 * 00:a0:98 and the first three bytes of MD5("SLOT-FUNCTION-NAME"), numbers in decimal. The bus is no part of it: two cards with
 * the same slot and function on two buses get the same address, as in bhyve.
 */
export function derivedMac(slot: number, func: number, vmName: string): MacAddress {
  const digest = md5(new TextEncoder().encode(`${slot}-${func}-${vmName}`));
  return Uint8Array.of(...BHYVE_OUI, ...digest.subarray(0, 3));
}
