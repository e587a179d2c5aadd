/** The DHCP server of IPv4 (RFC 2131, RFC 2132), which also tells network boot of its file. */
import { BROADCAST_MAC, type IpAddress, type MacAddress } from '../addresses.ts';
import { sameBytes, writeU16, writeU32 } from '../wire.ts';
import { ipv4Of, type Leases } from './leases.ts';
import * as S from './settings.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

const BOOTREQUEST = 1;
const BOOTREPLY = 2;
const FIXED_BYTES = 236;
const MAGIC = Uint8Array.of(99, 130, 83, 99);
/** Shorter replies are taken for BOOTP by old clients (RFC 1542, 2.1). */
const MIN_REPLY_BYTES = 300;
const LEASE_S = 86_400;

const DISCOVER = 1;
const OFFER = 2;
const REQUEST = 3;
const DECLINE = 4;
const ACK = 5;
const NAK = 6;
const RELEASE = 7;
const INFORM = 8;

/** Options (RFC 2132). */
const OPTION_PAD = 0;
const OPTION_NETMASK = 1;
const OPTION_ROUTER = 3;
const OPTION_NAME_SERVERS = 6;
const OPTION_HOST_NAME = 12;
const OPTION_MTU = 26;
const OPTION_BROADCAST = 28;
const OPTION_REQUESTED_ADDRESS = 50;
const OPTION_LEASE_TIME = 51;
const OPTION_MESSAGE_TYPE = 53;
const OPTION_SERVER = 54;
const OPTION_VENDOR_CLASS = 60;
const OPTION_TFTP_SERVER_NAME = 66;
const OPTION_BOOT_FILE = 67;
const OPTION_USER_CLASS = 77;
const OPTION_END = 255;

/** UEFI takes a boot file by HTTP only from a server that says so (UEFI 2.10, 24.7.2). */
const HTTP_CLIENT = 'HTTPClient';
/** iPXE's user class, which it sends without the length of RFC 3004. */
const IPXE = 'iPXE';

export interface DhcpReply {
  readonly message: Uint8Array;
  readonly destination: IpAddress;
  readonly mac: MacAddress;
}

/** Options by number; an option that occurs twice is one (RFC 3396). */
function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES + MAGIC.length; at < bytes.length;) {
    const option = bytes[at] ?? OPTION_END;
    if (option === OPTION_END) break;
    if (option === OPTION_PAD) {
      at++;
      continue;
    }
    const lengthBytes = bytes[at + 1] ?? 0;
    const value = bytes.subarray(at + 2, at + 2 + lengthBytes);
    const before = options.get(option);
    options.set(option, before ? Uint8Array.of(...before, ...value) : value);
    at += 2 + lengthBytes;
  }
  return options;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, value);
  return bytes;
}

function u16(value: number): Uint8Array {
  const bytes = new Uint8Array(2);
  writeU16(bytes, 0, value);
  return bytes;
}

/** Answers one message of a client; undefined when there is nothing to say. */
export function answerDhcp4(message: Uint8Array, leases: Leases, settings: S.NatSettings): DhcpReply | undefined {
  const isDhcp = sameBytes(message.subarray(FIXED_BYTES, FIXED_BYTES + 4), MAGIC);
  if (message[0] !== BOOTREQUEST || message[1] !== 1 || message[2] !== 6 || !isDhcp) return undefined;
  const options = readOptions(message);
  const type = options.get(OPTION_MESSAGE_TYPE)?.[0];
  const mac = message.slice(28, 34);
  const clientAddress = message.slice(12, 16);
  const requested = options.get(OPTION_REQUESTED_ADDRESS);
  const server = options.get(OPTION_SERVER);
  // An answer to somebody else's offer.
  if (server && !sameBytes(server, S.GATEWAY_IPV4)) return undefined;
  if (type === RELEASE || type === DECLINE) {
    leases.release(mac);
    return undefined;
  }
  if (type === INFORM) return reply(message, ACK, undefined, options, settings);
  if (type !== DISCOVER && type !== REQUEST) return undefined;
  const wanted = requested?.length === 4 ? requested : clientAddress;
  const number = leases.number(mac, wanted);
  if (number === undefined) return undefined;
  const address = ipv4Of(number);
  if (type === DISCOVER) return reply(message, OFFER, address, options, settings);
  return sameBytes(wanted, address)
    ? reply(message, ACK, address, options, settings)
    : reply(message, NAK, undefined, options, settings);
}

function reply(
  request: Uint8Array,
  type: number,
  address: IpAddress | undefined,
  asked: ReadonlyMap<number, Uint8Array>,
  settings: S.NatSettings,
): DhcpReply {
  const fixed = new Uint8Array(FIXED_BYTES);
  fixed.set([BOOTREPLY, 1, 6, 0]);
  // Transaction, flags, relay and hardware address are the client's.
  fixed.set(request.subarray(4, 8), 4);
  fixed.set(request.subarray(10, 12), 10);
  if (type === ACK) fixed.set(request.subarray(12, 16), 12);
  if (address) fixed.set(address, 16);
  fixed.set(S.GATEWAY_IPV4, 20);
  fixed.set(request.subarray(24, 28), 24);
  fixed.set(request.subarray(28, 44), 28);

  const options: number[] = [...MAGIC];
  const add = (option: number, value: Uint8Array): void => {
    // A longer value goes into several options of the same number (RFC 3396).
    for (let at = 0; at < value.length; at += 255) {
      const piece = value.subarray(at, at + 255);
      options.push(option, piece.length, ...piece);
    }
  };
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  add(OPTION_MESSAGE_TYPE, Uint8Array.of(type));
  add(OPTION_SERVER, S.GATEWAY_IPV4);
  if (type !== NAK) {
    add(OPTION_NETMASK, S.NETMASK_IPV4);
    add(OPTION_BROADCAST, S.BROADCAST_IPV4);
    add(OPTION_ROUTER, S.GATEWAY_IPV4);
    add(OPTION_NAME_SERVERS, S.NAMESERVER_IPV4);
    if (address) add(OPTION_LEASE_TIME, u32(LEASE_S));
    if (settings.mtu !== 1500) add(OPTION_MTU, u16(settings.mtu));
    if (settings.hostName !== undefined) add(OPTION_HOST_NAME, text(settings.hostName));
    const isIpxe = new TextDecoder().decode(asked.get(OPTION_USER_CLASS) ?? NO_BYTES) === IPXE;
    const bootFile = (isIpxe ? settings.ipxeFile : undefined) ?? settings.bootFile;
    if (bootFile !== undefined) {
      const file = text(bootFile);
      if (file.length < 128) fixed.set(file, 108);
      add(OPTION_BOOT_FILE, file);
      add(OPTION_TFTP_SERVER_NAME, text(S.GATEWAY_IPV4.join('.')));
      const vendor = asked.get(OPTION_VENDOR_CLASS);
      if (vendor && new TextDecoder().decode(vendor).startsWith(HTTP_CLIENT))
        add(OPTION_VENDOR_CLASS, text(HTTP_CLIENT));
    }
  }
  options.push(OPTION_END);

  const message = new Uint8Array(Math.max(MIN_REPLY_BYTES, FIXED_BYTES + options.length));
  message.set(fixed);
  message.set(options, FIXED_BYTES);
  // A client that has no address yet hears nothing but what is sent to everybody, or to its card (RFC 2131, 4.1).
  const client = request.subarray(12, 16);
  const hasAddress = client.some((byte) => byte !== 0) && type === ACK;
  return {
    message,
    destination: hasAddress ? client.slice() : Uint8Array.of(255, 255, 255, 255),
    mac: hasAddress ? request.slice(28, 34) : BROADCAST_MAC,
  };
}

const NO_BYTES = new Uint8Array();
