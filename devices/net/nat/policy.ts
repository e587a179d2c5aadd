/**
 * Which addresses a guest reaches. The gateway stands for the host itself. Without `open` nothing is reached; with it the public
 * addresses are, and what is the host's own, private or special only where the user allowed it by name: a guest is not to reach what
 * listens on the host or behind it because nobody else can.
 */
import { inPrefix, parsePrefix, unmapped, type IpAddress, type Prefix } from '../addresses.ts';
import { sameBytes } from '../wire.ts';
import * as S from './settings.ts';

function prefixes(...texts: readonly string[]): Prefix[] {
  return texts.map((text) => {
    const prefix = parsePrefix(text);
    if (!prefix) throw new Error(`${text} is no prefix`);
    return prefix;
  });
}

/** Words that the user may write for common blocks. */
const NAMED_BLOCKS: Readonly<Record<string, readonly Prefix[]>> = {
  loopback: prefixes('127.0.0.0/8', '::1'),
  private: prefixes('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7'),
};

/** Not globally reachable (RFC 6890 and the IANA special-purpose registries that follow it). */
const SPECIAL_BLOCKS: readonly Prefix[] = prefixes(
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '240.0.0.0/4'],
  // The first also holds ::, ::1 and IPv4-compatible addresses. 64:ff9b::/96 and 2002::/16 have IPv4 addresses inside.
  ...['::/64', '64:ff9b::/32', '100::/64', '2001::/23', '2001:db8::/32', '2002::/16', 'fc00::/7', 'fe80::/10'],
  'fec0::/10',
);

/** Never reached: the network does not forward multicast, and broadcasts stay where they are. */
const GROUP_BLOCKS: readonly Prefix[] = prefixes('224.0.0.0/4', 'ff00::/8', '255.255.255.255', '0.0.0.0', '::');

/** Blocks of `allow=`: names and prefixes, separated by semicolons; undefined and the wrong item when one is neither. */
export function parseAllowed(text: string): { readonly prefixes: readonly Prefix[]; readonly wrong?: string } {
  const allowed: Prefix[] = [];
  for (const item of text.split(';')) {
    const block = NAMED_BLOCKS[item] ?? (parsePrefix(item) ? prefixes(item) : undefined);
    if (!block) return { prefixes: allowed, wrong: item };
    allowed.push(...block);
  }
  return { prefixes: allowed };
}

/** The host's address for one that the guest uses: the gateway is the host's loopback, everything else is itself. */
export function hostAddressOf(destination: IpAddress): IpAddress {
  if (sameBytes(destination, S.GATEWAY_IPV4)) return Uint8Array.of(127, 0, 0, 1);
  if (sameBytes(destination, S.GATEWAY_IPV6) || sameBytes(destination, S.GATEWAY_LINK_LOCAL)) {
    const loopback = new Uint8Array(16);
    loopback[15] = 1;
    return loopback;
  }
  return destination;
}

/** The address that the guest knows for one of the host's: the reverse of {@link hostAddressOf}. */
export function guestAddressOf(source: IpAddress): IpAddress {
  if (source.length === 4) return source[0] === 127 ? S.GATEWAY_IPV4 : source;
  return source.subarray(0, 15).every((byte) => byte === 0) && source[15] === 1 ? S.GATEWAY_IPV6 : source;
}

/** True when the policy lets a guest send to the address, which is the host's (see {@link hostAddressOf}). */
export function permits(policy: S.NatPolicy, address: IpAddress): boolean {
  const real = unmapped(address);
  if (GROUP_BLOCKS.some((block) => inPrefix(real, block))) return false;
  // This network's own unused addresses lead nowhere, whatever is allowed.
  if (inPrefix(real, S.NETWORK_IPV4) || inPrefix(real, S.NETWORK_IPV6)) return false;
  if (policy.allowed.some((block) => inPrefix(real, block))) return true;
  return policy.open && !SPECIAL_BLOCKS.some((block) => inPrefix(real, block));
}
