/** `hostfwd` rules, as bhyve's slirp backend and QEMU spell them: `tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport`. */
import { parseIp } from '../addresses.ts';
import { FIRST_GUEST_IPV4, type ForwardRule } from './settings.ts';

/** bhyve listens on all addresses where a rule names none; nothing of ours does unless it is asked to (`0.0.0.0`). */
const DEFAULT_HOST_ADDRESS = '127.0.0.1';

interface End {
  readonly address: string;
  readonly port: number;
}

/** `[address]:port`; IPv4 only, as in bhyve. */
function parseEnd(text: string): End | undefined {
  const colon = text.indexOf(':');
  const [address, port] = [text.slice(0, Math.max(0, colon)), text.slice(colon + 1)];
  const valid = colon !== -1 && (address === '' || parseIp(address)?.length === 4) && /^\d{1,5}$/.test(port);
  return valid && Number(port) <= 65535 ? { address, port: Number(port) } : undefined;
}

/** Reads a rule; undefined when it is none. Anything but `udp` counts as TCP, as in bhyve. */
export function parseForwardRule(rule: string): ForwardRule | undefined {
  const [, protocol, hostText = '', guestText = ''] = /^([^:]*):([^-]*)-(.*)$/s.exec(rule) ?? [];
  const host = parseEnd(hostText);
  const guest = parseEnd(guestText);
  if (!host || !guest) return undefined;
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress: host.address === '' ? DEFAULT_HOST_ADDRESS : host.address,
    hostPort: host.port,
    guestAddress: parseIp(guest.address) ?? FIRST_GUEST_IPV4,
    guestPort: guest.port,
  };
}
