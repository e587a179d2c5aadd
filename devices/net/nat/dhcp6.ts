/** The DHCP server of IPv6 (RFC 8415): addresses for those who want them told, name servers for all. */
import type { MacAddress } from '../addresses.ts';
import { readU16, sameBytes, writeU16, writeU32 } from '../wire.ts';
import { ipv6Of, type Leases } from './leases.ts';
import * as S from './settings.ts';

export const DHCP6_CLIENT_PORT = 546;
export const DHCP6_SERVER_PORT = 547;

const SOLICIT = 1;
const ADVERTISE = 2;
const REQUEST = 3;
const CONFIRM = 4;
const RENEW = 5;
const REBIND = 6;
const REPLY = 7;
const RELEASE = 8;
const DECLINE = 9;
const INFORMATION_REQUEST = 11;

const OPTION_CLIENT_ID = 1;
const OPTION_SERVER_ID = 2;
const OPTION_IA_NA = 3;
const OPTION_IA_ADDRESS = 5;
const OPTION_STATUS = 13;
const OPTION_RAPID_COMMIT = 14;
const OPTION_USER_CLASS = 15;
const OPTION_NAME_SERVERS = 23;
const OPTION_BOOT_FILE_URL = 59;

/** Our identifier: type 3, from the link-layer address (RFC 8415, 11.4). */
const SERVER_ID = Uint8Array.of(0, 3, 0, 1, ...S.GATEWAY_MAC);
/** iPXE's user class, behind its length (RFC 8415, 21.15). */
const IPXE = Uint8Array.of(0, 4, 0x69, 0x50, 0x58, 0x45);
const MAX_CLIENT_ID_BYTES = 130;
const PREFERRED_S = 43_200;
const VALID_S = 86_400;

function findOption(bytes: Uint8Array, wanted: number): Uint8Array | undefined {
  for (let at = 4; at + 4 <= bytes.length;) {
    const lengthBytes = readU16(bytes, at + 2);
    if (at + 4 + lengthBytes > bytes.length) return undefined;
    if (readU16(bytes, at) === wanted) return bytes.subarray(at + 4, at + 4 + lengthBytes);
    at += 4 + lengthBytes;
  }
  return undefined;
}

function option(code: number, value: Uint8Array): number[] {
  const head = new Uint8Array(4);
  writeU16(head, 0, code);
  writeU16(head, 2, value.length);
  return [...head, ...value];
}

function identityAssociation(id: Uint8Array, number: number): number[] {
  const address = new Uint8Array(24);
  address.set(ipv6Of(number));
  writeU32(address, 16, PREFERRED_S);
  writeU32(address, 20, VALID_S);
  // Times at which to renew are left to the client (zero).
  return option(OPTION_IA_NA, Uint8Array.of(...id, 0, 0, 0, 0, 0, 0, 0, 0, ...option(OPTION_IA_ADDRESS, address)));
}

/** Answers one message of a client; undefined when there is nothing to say. */
export function answerDhcp6(
  message: Uint8Array,
  mac: MacAddress,
  leases: Leases,
  settings: S.NatSettings,
): Uint8Array | undefined {
  const type = message[0] ?? 0;
  const clientId = findOption(message, OPTION_CLIENT_ID);
  const serverId = findOption(message, OPTION_SERVER_ID);
  if (clientId && clientId.length > MAX_CLIENT_ID_BYTES) return undefined;
  if (serverId && !serverId.every((byte, index) => byte === SERVER_ID[index])) return undefined;
  const association = findOption(message, OPTION_IA_NA);
  const body: number[] = [...option(OPTION_SERVER_ID, SERVER_ID)];
  if (clientId) body.push(...option(OPTION_CLIENT_ID, clientId));
  let answer = REPLY;
  switch (type) {
    case SOLICIT:
      if (findOption(message, OPTION_RAPID_COMMIT)) body.push(...option(OPTION_RAPID_COMMIT, new Uint8Array()));
      else answer = ADVERTISE;
      break;
    case REQUEST:
    case RENEW:
    case REBIND:
    case INFORMATION_REQUEST:
      break;
    case CONFIRM:
    case RELEASE:
    case DECLINE:
      body.push(...option(OPTION_STATUS, Uint8Array.of(0, 0)));
      break;
    default:
      return undefined;
  }
  const givesAddress = type === SOLICIT || type === REQUEST || type === RENEW || type === REBIND;
  if (givesAddress && association && association.length >= 12) {
    const number = leases.number(mac);
    if (number !== undefined) body.push(...identityAssociation(association.slice(0, 4), number));
  }
  body.push(...option(OPTION_NAME_SERVERS, S.NAMESERVER_IPV6));
  const isIpxe = sameBytes(findOption(message, OPTION_USER_CLASS) ?? NO_BYTES, IPXE);
  const bootFile = (isIpxe ? settings.ipxeFile : undefined) ?? settings.bootFile;
  if (bootFile !== undefined) {
    const url = bootFile.includes('://') ? bootFile : `tftp://[fd00:a098:0:2::2]/${bootFile}`;
    body.push(...option(OPTION_BOOT_FILE_URL, new TextEncoder().encode(url)));
  }
  return Uint8Array.of(answer, ...message.subarray(1, 4), ...body);
}

const NO_BYTES = new Uint8Array();
