/**
 * What happens to a guest's network when its cable is pulled, and when its machine pauses, is saved and goes on elsewhere, all with connections
 * open: Linux's own drivers and programs see it. Two boots for each card, so it runs only when asked for: NETWORK=1.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DEFAULT_NAT_SETTINGS } from '../../devices/net/nat/settings.ts';
import { restore, snapshot } from '../../host-node/index.ts';
import { DEFAULT_RELAY_LIMITS, Relay } from '../../host-node/network/relay.ts';
import {
  BASIC_ARGS,
  bootLinux,
  destroyTestMachines,
  linuxGuest,
  linuxMissing,
  QUICK_CMDLINE,
  testMachine,
  type GuestVariant,
  type TestMachine,
} from '../support/machine.ts';

const PATIENCE_MS = 120_000;
const TIME_LIMIT_MS = 900_000;
/** Two cards; the small guest has a driver for the first alone. */
const CARDS: readonly (readonly [card: string, words: readonly string[], variant: GuestVariant])[] = [
  ['virtio-net', [], 'small'],
  ['virtio-net', ['-W'], 'small'],
  ['e1000', [], 'generic'],
];

const closing: (() => unknown)[] = [];

beforeEach(async (context) => {
  if (process.env['NETWORK'] === undefined) context.skip('boots six guests: set NETWORK=1');
  const reason = (await linuxMissing('small')) ?? (await linuxMissing('generic'));
  if (reason !== undefined) context.skip(reason);
}, 600_000);
afterEach(async () => {
  await destroyTestMachines();
  for (const close of closing.splice(0)) await close();
});

async function run(guest: TestMachine, command: string): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout: PATIENCE_MS });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

/** Waits in the guest until a command succeeds. */
const until = (guest: TestMachine, command: string): Promise<string> =>
  run(guest, `for i in $(seq 600); do ${command} && break; sleep 0.1; done; ${command}`);

const LEASED = 'ip addr show eth0 | grep -q 10.0.2.15';
const hasCarrier = (up: boolean): string => `[ "$(cat /sys/class/net/eth0/carrier)" = ${up ? 1 : 0} ]`;

/** A server of this host's loopback that sends every line back. */
async function serveEcho(): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.pipe(socket);
  });
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

test.each(CARDS)('%s %s: a pulled cable', { timeout: TIME_LIMIT_MS }, async (card, words, variant) => {
  const nat = { ...DEFAULT_NAT_SETTINGS, policy: { open: true, allowed: [] } };
  const listen = (port: number): Promise<Relay> =>
    Relay.listen({ address: '127.0.0.1', port, limits: DEFAULT_RELAY_LIMITS, nat });
  let relay = await listen(0);
  closing.push(() => relay.close());
  const { port } = relay;
  const args = [...words, '-s', `3,${card},ws=ws://127.0.0.1:${port}/room`];
  await using guest = await bootLinux({ variant, args, timeLimit: TIME_LIMIT_MS });
  await until(guest, LEASED);
  await until(guest, hasCarrier(true));
  await relay.close();
  await until(guest, hasCarrier(false));
  expect(await run(guest, 'ping -c 1 -W 1 10.0.2.2 || true')).toContain('100% packet loss');
  relay = await listen(port);
  await until(guest, hasCarrier(true));
  await until(guest, 'ping -c 1 -W 1 10.0.2.2 > /dev/null');
  expect(guest.machine.deviceErrors).toBe(0);
});

/** Counts requests on one connection until /tmp/stop is there; then says how it ended. */
const TALK = [
  'i=0',
  'while [ ! -e /tmp/stop ]; do echo $i; read -r answer || break; [ "$answer" = $i ] || echo "$answer for $i" >> /tmp/wrong; i=$((i+1)); done',
  '[ -e /tmp/stop ] && echo stopped > /tmp/said || echo lost > /tmp/said',
  'echo $i > /tmp/count',
].join('\n');

/** Ends the pings and the requests; how many pings got no answer, and how the connection ended. */
async function finish(guest: TestMachine): Promise<{ duplicates: boolean; lost: number; said: string }> {
  await run(guest, 'touch /tmp/stop');
  await until(guest, '[ -e /tmp/count ]');
  await run(guest, 'killall -INT ping; sleep 1');
  const pings = await run(guest, 'cat /tmp/pings');
  expect(await run(guest, 'cat /tmp/wrong 2>/dev/null || true'), 'answers to other requests').toBe('');
  expect(Number(await run(guest, 'cat /tmp/count'))).toBeGreaterThan(10);
  const [, sent = '', received = ''] = /(\d+) packets transmitted, (\d+) packets received/.exec(pings) ?? [];
  expect(Number(sent), pings).toBeGreaterThan(10);
  const said = (await run(guest, 'cat /tmp/said')).trim();
  return { duplicates: /DUP|duplicates/.test(pings), lost: Number(sent) - Number(received), said };
}

test.each(CARDS)(
  '%s %s: pause and snapshot with a connection and pings under way',
  { timeout: TIME_LIMIT_MS },
  async (card, words, variant) => {
    const port = await serveEcho();
    const args = ['-m', '256M', ...words, '-s', `3,${card},slirp,open,allow=loopback`];
    let saved: Uint8Array;
    {
      await using guest = await bootLinux({ variant, args, timeLimit: TIME_LIMIT_MS });
      await until(guest, LEASED);
      await run(guest, `cat > /tmp/talk << 'END'\n${TALK}\nEND`);
      await run(guest, 'ping -i 0.02 10.0.2.2 > /tmp/pings 2>&1 &');
      await run(guest, `nc 10.0.2.2 ${port} -e sh /tmp/talk < /dev/null > /dev/null 2>&1 &`);
      await run(guest, 'sleep 2');
      await guest.machine.pause();
      await new Promise((resolve) => setTimeout(resolve, 500));
      guest.machine.resume();
      await run(guest, 'sleep 1');
      saved = await snapshot(guest.machine);
      await run(guest, 'sleep 1');
      // Here nothing is lost: the machine stood still, and so did its network. The last ping may be on its way.
      const { lost, ...rest } = await finish(guest);
      expect(rest).toEqual({ duplicates: false, said: 'stopped' });
      expect(lost).toBeLessThanOrEqual(1);
      expect(guest.machine.deviceErrors).toBe(0);
    }
    const { kernel, initrd } = await linuxGuest(variant);
    const load = ['-f', `kexec,${kernel},${initrd},${QUICK_CMDLINE}`];
    await using guest = await testMachine([...BASIC_ARGS, ...args, ...load, 'test']);
    await restore(guest.machine, saved);
    guest.machine.start();
    // Elsewhere the connection is gone, and the guest hears so instead of waiting; what was in flight is lost, never doubled.
    await until(guest, '[ -e /tmp/said ]');
    const { duplicates, said } = await finish(guest);
    expect({ duplicates, said }).toEqual({ duplicates: false, said: 'lost' });
    await run(guest, hasCarrier(true));
    await run(guest, `echo 'echo again; read -r answer; echo $answer > /tmp/again' > /tmp/talk`);
    await run(guest, `nc 10.0.2.2 ${port} -e sh /tmp/talk < /dev/null`);
    expect(await run(guest, 'cat /tmp/again')).toBe('again\n');
    expect(guest.machine.deviceErrors).toBe(0);
  },
);
