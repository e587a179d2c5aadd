/** The user-mode network's addresses, rules and limits. Addresses are those of libslirp, which users of bhyve and QEMU know. */
import { parseIp, parsePrefix, type IpAddress, type MacAddress, type Prefix } from '../addresses.ts';

function ip(text: string): IpAddress {
  const address = parseIp(text);
  if (!address) throw new Error(`${text} is no address`);
  return address;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed) throw new Error(`${text} is no prefix`);
  return parsed;
}

/** 10.0.2.0/24: gateway and host .2, name server .3, guests from .15 on. */
export const NETWORK_IPV4: Prefix = prefix('10.0.2.0/24');
export const NETMASK_IPV4: IpAddress = ip('255.255.255.0');
export const GATEWAY_IPV4: IpAddress = ip('10.0.2.2');
export const NAMESERVER_IPV4: IpAddress = ip('10.0.2.3');
export const BROADCAST_IPV4: IpAddress = ip('10.0.2.255');
export const FIRST_GUEST_IPV4: IpAddress = ip('10.0.2.15');
export const LAST_GUEST_HOST_NUMBER = 254;

/**
 * A unique local prefix (RFC 4193), since libslirp's fec0::/64 is deprecated (RFC 3879). Guests prefer IPv4 to it where a name has both
 * (RFC 6724, 2.1), so that a host without IPv6 costs nothing.
 */
export const NETWORK_IPV6: Prefix = prefix('fd00:a098:0:2::/64');
export const GATEWAY_IPV6: IpAddress = ip('fd00:a098:0:2::2');
export const NAMESERVER_IPV6: IpAddress = ip('fd00:a098:0:2::3');
export const FIRST_GUEST_IPV6: IpAddress = ip('fd00:a098:0:2::15');
/** The gateway's link-local address, from its MAC address (RFC 4291, appendix A). */
export const GATEWAY_LINK_LOCAL: IpAddress = ip('fe80::5055:aff:fe00:202');
export const ALL_NODES: IpAddress = ip('ff02::1');

/** 52:55 and the gateway's IPv4 address, as libslirp has it. */
export const GATEWAY_MAC: MacAddress = Uint8Array.of(0x52, 0x55, 0x0a, 0x00, 0x02, 0x02);

/** A port of the host that leads into the guest. */
export interface ForwardRule {
  readonly protocol: 'tcp' | 'udp';
  /** Address of the host to listen on. */
  readonly hostAddress: string;
  /** 0: the system chooses. */
  readonly hostPort: number;
  readonly guestAddress: IpAddress;
  readonly guestPort: number;
}

/** What guests may reach besides the network's own services. */
export interface NatPolicy {
  /** Addresses of the world. False: nothing but forwarded ports (libslirp's "restricted"). */
  readonly open: boolean;
  /** Blocks of private addresses, and of the host's own through the gateway, that are open all the same. */
  readonly allowed: readonly Prefix[];
}

export interface NatLimits {
  readonly tcpConnections: number;
  readonly udpFlows: number;
  /** Connections of one guest that are not established yet. */
  readonly tcpHalfOpen: number;
}

export interface NatSettings {
  readonly policy: NatPolicy;
  readonly forwards: readonly ForwardRule[];
  readonly mtu: number;
  /** Name of the file that DHCP tells network boot of. */
  readonly bootFile?: string | undefined;
  /** What iPXE is told of instead: its own program would load itself again. */
  readonly ipxeFile?: string | undefined;
  /** Name that DHCP gives guests. */
  readonly hostName?: string | undefined;
  readonly limits: NatLimits;
}

export const DEFAULT_LIMITS: NatLimits = { tcpConnections: 4096, udpFlows: 512, tcpHalfOpen: 1024 };

export const DEFAULT_NAT_SETTINGS: NatSettings = {
  policy: { open: false, allowed: [] },
  forwards: [],
  mtu: 1500,
  limits: DEFAULT_LIMITS,
};
