/** Backends of network devices: bhyve tells them apart by how their names begin, and finds mistakes when it opens them. */
import { parseForwardRule } from '../net/nat/forward-rule.ts';
import { parseAllowed } from '../net/nat/policy.ts';
import type { ConfigNode } from './tree.ts';

/** bhyve(8), "Network device backends", slirp of later versions, and what every host of ours has besides. */
export const NETWORK_BACKEND_KINDS = [
  ...(['tap', 'vmnet', 'netgraph', 'netmap', 'vale', 'slirp'] as const),
  ...(['socket', 'ws', 'channel', 'fetch'] as const),
] as const;
export type NetworkBackendKind = (typeof NETWORK_BACKEND_KINDS)[number];

/** Kinds that are named by the variable of the same name alone: `ws=URL` is short for `ws,ws=URL`. */
export const NAMED_BY_VARIABLE = ['socket', 'ws', 'channel'] as const;

/** The kind of a backend from its name, or from `type` where that is set. */
export function networkBackendKind(backend: string, type?: string): NetworkBackendKind | undefined {
  return NETWORK_BACKEND_KINDS.find((name) => (type ?? backend).startsWith(name));
}

function slirpProblem(node: ConfigNode): string | undefined {
  const rule = node
    .get('hostfwd')
    ?.split(';')
    .find((text) => !parseForwardRule(text));
  if (rule !== undefined) return `Unable to parse hostfwd rule '${rule}': Invalid argument`;
  const allow = node.get('allow');
  const wrong = allow === undefined ? undefined : parseAllowed(allow).wrong;
  return wrong === undefined
    ? undefined
    : `allow: "${wrong}" is neither loopback nor private nor a block of addresses such as 192.168.1.0/24`;
}

/** What is wrong with the backend that a network device's variables name, or undefined. A device without one has no cable. */
export function networkBackendProblem(node: ConfigNode): string | undefined {
  const backend = node.get('backend');
  if (backend === undefined) return undefined;
  const type = node.get('type');
  const kind = networkBackendKind(backend, type);
  switch (kind) {
    case undefined:
      return `unknown network backend "${type ?? backend}"; known are ${NETWORK_BACKEND_KINDS.join(', ')}`;
    case 'netgraph':
      if (node.get('path') === undefined) return 'path must be provided';
      return node.get('peerhook') === undefined ? 'peer hook must be provided' : undefined;
    case 'slirp':
      return slirpProblem(node);
    case 'ws':
      return /^wss?:\/\/./.test(node.get('ws') ?? '')
        ? undefined
        : 'ws: an address such as ws://127.0.0.1:8086/room is needed';
    case 'socket':
    case 'channel':
      return /^[\w.-]{1,64}$/.test(node.get(kind) ?? '')
        ? undefined
        : `${kind}: a name of letters, digits, dots and dashes is needed`;
    default:
      return undefined;
  }
}
