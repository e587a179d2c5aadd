/** webhyve-switch: a relay for network cards with `ws=URL`, of this program, of pages and of v86. */
import { parseArgs } from 'node:util';
import { parseAllowed } from '../../devices/net/nat/policy.ts';
import { DEFAULT_NAT_SETTINGS, type NatSettings } from '../../devices/net/nat/settings.ts';
import { DEFAULT_RELAY_LIMITS, Relay } from '../network/relay.ts';

const USAGE = `Usage: webhyve-switch [options]
  --port N         port to listen on (8086)
  --address A      address to listen on (127.0.0.1: this host alone)
  --nat MODE       network behind every room: none, closed, or open, which lets guests
                   reach public addresses through this host (none)
  --allow LIST     with --nat open: further addresses, separated by semicolons: loopback,
                   private, blocks such as 192.168.1.0/24
  --origin URL     origin of pages that may connect; may be repeated (all may)
  --rooms N        rooms at once (${DEFAULT_RELAY_LIMITS.rooms})
  --clients N      clients of one room (${DEFAULT_RELAY_LIMITS.clientsPerRoom})
  --per-address N  clients from one address (${DEFAULT_RELAY_LIMITS.clientsPerAddress})
  --rate BYTES     bytes a second from one client (${DEFAULT_RELAY_LIMITS.bytesPerSecond})
  --help           this text
`;

const EX_USAGE = 64;

class UsageError extends Error {}

function count(text: string | undefined, fallback: number, name: string, maximum = Number.MAX_SAFE_INTEGER): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > maximum) throw new UsageError(`--${name}: a number is expected, not "${text}"`);
  return value;
}

function natOf(mode: string, allow: string | undefined): NatSettings | undefined {
  if (mode === 'none') return undefined;
  if (mode !== 'open' && mode !== 'closed') throw new UsageError(`--nat: none, closed or open, not "${mode}"`);
  const allowed = allow === undefined ? { prefixes: [] } : parseAllowed(allow);
  if (allowed.wrong !== undefined) throw new UsageError(`--allow: "${allowed.wrong}" is no block of addresses`);
  return { ...DEFAULT_NAT_SETTINGS, policy: { open: mode === 'open', allowed: allowed.prefixes } };
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ port: text, address: text, nat: text, allow: text, rooms: text, clients: text, rate: text },
      'per-address': text,
      origin: { type: 'string', multiple: true },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const relay = await Relay.listen({
    address: values.address ?? '127.0.0.1',
    port: count(values.port, 8086, 'port', 65_535),
    limits: {
      rooms: count(values.rooms, DEFAULT_RELAY_LIMITS.rooms, 'rooms'),
      clientsPerRoom: count(values.clients, DEFAULT_RELAY_LIMITS.clientsPerRoom, 'clients'),
      clientsPerAddress: count(values['per-address'], DEFAULT_RELAY_LIMITS.clientsPerAddress, 'per-address'),
      bytesPerSecond: count(values.rate, DEFAULT_RELAY_LIMITS.bytesPerSecond, 'rate'),
    },
    nat: natOf(values.nat ?? 'none', values.allow),
    origins: values.origin,
  });
  process.stdout.write(`webhyve-switch: ws://${values.address ?? '127.0.0.1'}:${relay.port}/ROOM\n`);
  const stop = (): void => void relay.close().then(() => process.exit(0));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`webhyve-switch: ${error instanceof Error ? error.message : String(error)}\n`);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  process.exitCode = error instanceof UsageError || code.startsWith('ERR_PARSE_ARGS') ? EX_USAGE : 1;
});
