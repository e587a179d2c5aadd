/** Backends of network devices: bhyve tells them apart by how their names begin, and finds mistakes when it opens them. */
import type { ConfigNode } from './tree.ts';

/** bhyve(8), "Network device backends", and slirp of later versions. */
const KINDS = ['tap', 'vmnet', 'netgraph', 'netmap', 'vale', 'slirp'] as const;

function isIpv4(text: string): boolean {
  const octets = text.split('.');
  return octets.length === 4 && octets.every((octet) => /^\d{1,3}$/.test(octet) && Number(octet) <= 255);
}

/** `[address]:port`; without an address any. */
function isForwardEnd(text: string): boolean {
  const colon = text.indexOf(':');
  const [address, port] = [text.slice(0, Math.max(0, colon)), text.slice(colon + 1)];
  return colon !== -1 && (address === '' || isIpv4(address)) && /^\d{1,5}$/.test(port) && Number(port) <= 65535;
}

/** `protocol:[address]:port-[address]:port`. */
function isForwardRule(rule: string): boolean {
  const [, host = '', guest = ''] = /^[^:]*:([^-]*)-(.*)$/s.exec(rule) ?? [];
  return isForwardEnd(host) && isForwardEnd(guest);
}

/** What is wrong with the backend that a network device's variables name, or undefined. A device without one has no cable. */
export function networkBackendProblem(node: ConfigNode): string | undefined {
  const backend = node.get('backend');
  if (backend === undefined) return undefined;
  const type = node.get('type') ?? backend;
  const kind = KINDS.find((name) => type.startsWith(name));
  switch (kind) {
    case undefined:
      return `unknown network backend "${type}"; known are ${KINDS.join(', ')}`;
    case 'netgraph':
      if (node.get('path') === undefined) return 'path must be provided';
      return node.get('peerhook') === undefined ? 'peer hook must be provided' : undefined;
    case 'slirp': {
      const wrong = node
        .get('hostfwd')
        ?.split(';')
        .find((rule) => !isForwardRule(rule));
      return wrong === undefined ? undefined : `Unable to parse hostfwd rule '${wrong}': Invalid argument`;
    }
    default:
      return undefined;
  }
}
