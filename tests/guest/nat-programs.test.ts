/**
 * Debian's network programs against the user-mode network, without an emulator between: a network namespace of this host is the guest. Leases, names,
 * packages from the host's mirror, bulk, ssh, iperf3. Takes a minute and a download, so it runs only when asked for: NETWORK=1. NETWORK_MB is
 * the length of the bulk transfers, 500 unless set.
 */
import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { parseAllowed } from '../../devices/net/nat/policy.ts';
import { DEFAULT_NAT_SETTINGS } from '../../devices/net/nat/settings.ts';
import { createNodeNatHost } from '../../host-node/network/nat-host.ts';
import { serveBulk } from '../support/bulk-server.ts';
import { freePort } from '../support/free-port.ts';
import { hostMirror, KEYRING } from '../support/host-mirror.ts';
import { forwardedClientsMissing, iperfForwarded, makeSshKey, overSsh } from '../support/forwarded.ts';
import { linuxGuest, linuxMissing, scratchDirectory } from '../support/machine.ts';
import { ip } from '../support/nat-guest.ts';
import { join, namespaceMissing, NetworkNamespace } from '../support/network-namespace.ts';
import { networkTools } from '../support/network-tools.ts';

const PATIENCE_MS = 600_000;
const BULK_BYTES = 1_000_000 * Number(process.env['NETWORK_MB'] ?? 500);

let scratch = { path: '', remove: (): void => {} };
let root = '';
const mounts: string[] = [];

function mount(...words: string[]): void {
  const target = words.at(-1) ?? '';
  const { status, stderr } = spawnSync('mount', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mount ${words.join(' ')}: ${stderr.trim()}`);
  mounts.unshift(target);
}

beforeEach(async (context) => {
  if (process.env['NETWORK'] === undefined) context.skip('takes a minute and a download: set NETWORK=1');
  const missing = namespaceMissing() ?? forwardedClientsMissing() ?? (await linuxMissing('generic'));
  if (missing !== undefined) context.skip(missing);
  scratch = scratchDirectory();
  root = joinPath(scratch.path, 'root');
  mkdirSync(root);
  try {
    const image = joinPath(scratch.path, 'tools.img');
    copyFileSync(networkTools((await linuxGuest('generic')).release ?? ''), image);
    mount('-o', 'loop', image, root);
    mount('-t', 'proc', 'proc', joinPath(root, 'proc'));
    mount('--bind', '/dev', joinPath(root, 'dev'));
  } catch (error) {
    context.skip(`Debian's network tools: ${error instanceof Error ? error.message : String(error)}`);
  }
}, PATIENCE_MS);
afterEach(() => {
  for (const target of mounts.splice(0)) spawnSync('umount', [target]);
  scratch.remove();
});

test('leases, names, packages, bulk, ssh and iperf3 of Debian', { timeout: PATIENCE_MS }, async () => {
  const mirror = hostMirror();
  const mirrorAddress = mirror ? (await lookup(mirror.host, 4).catch(() => undefined))?.address : undefined;
  const [sshPort, iperfPort] = [await freePort(), await freePort()];
  const forwards = [
    [sshPort, 22],
    [iperfPort, 5201],
  ].map(([hostPort = 0, guestPort = 0]) => {
    return { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort, guestAddress: ip('10.0.2.15'), guestPort } as const;
  });
  const allowed = ['loopback', ...(mirrorAddress === undefined ? [] : [mirrorAddress])].join(';');
  const network = new UserNetwork(createNodeNatHost(), {
    ...DEFAULT_NAT_SETTINGS,
    policy: { open: true, allowed: parseAllowed(allowed).prefixes },
    forwards,
  });
  await using namespace = new NetworkNamespace();
  join(network, namespace.tap);
  await network.startForwards();
  const server = await serveBulk(BULK_BYTES);
  const { device } = namespace;
  /** A shell command of that Debian, without single quotes. */
  const run = async (command: string): Promise<string> => {
    const shell = `exec chroot ${root} /usr/bin/env PATH=/usr/sbin:/usr/bin bash -c '${command}'`;
    return (await namespace.run(shell, { timeoutMs: PATIENCE_MS })).toString();
  };
  try {
    namespace.ip('link', 'set', device, 'up');
    await run(`dhclient -4 ${device}`);
    expect(await run(`ip -4 addr show ${device}`)).toContain('10.0.2.15/24');
    expect(readFileSync(joinPath(root, 'etc/resolv.conf'), 'utf8')).toContain('nameserver 10.0.2.3');
    await run(`until ip -6 addr show ${device} scope link -tentative | grep -q fe80; do sleep 0.2; done`);
    await run(`dhclient -6 ${device}`);
    await run(`while ip -6 addr show ${device} tentative | grep -q inet6; do sleep 0.2; done`);
    expect(await run(`ip -6 addr show ${device}`)).toMatch(/inet6 fd00:a098:0:2:[0-9a-f:]*\/128/);
    expect(await run('ping -c 3 -i 0.2 10.0.2.2')).toContain(' 0% packet loss');
    expect(await run('ping -6 -c 3 -i 0.2 fd00:a098:0:2::2')).toContain(' 0% packet loss');

    if (mirror && mirrorAddress !== undefined) {
      expect(await run(`getent hosts ${mirror.host}`)).toContain(mirror.host);
      const source = `deb [signed-by=${KEYRING}] ${mirror.url} ${mirror.suite} main\n`;
      writeFileSync(joinPath(root, 'etc/apt/sources.list'), source);
      await run('apt-get -q update');
      await run('apt-get -q -y --no-install-recommends install hello');
      expect(await run('hello')).toBe('Hello, world!\n');
    }

    const url = `http://10.0.2.2:${server.port}/`;
    expect((await run(`curl -sf ${url} | md5sum`)).slice(0, 32)).toBe(server.digest);
    const bulk = `yes guest | head -c ${BULK_BYTES}`;
    expect((await run(`${bulk} | curl -sf -T - ${url}`)).trim()).toBe((await run(`${bulk} | md5sum`)).slice(0, 32));

    await run('mkdir -p /run/sshd; chmod 700 /root /root/.ssh; ssh-keygen -q -A');
    const key = joinPath(scratch.path, 'key');
    writeFileSync(joinPath(root, 'root/.ssh/authorized_keys'), await makeSshKey(key));
    await run('/usr/sbin/sshd');
    expect(await overSsh(sshPort, key, 'seq 100000 | tail -1')).toBe('100000\n');

    await run('iperf3 -s -D -I /run/iperf3.pid');
    for (const direction of ['to', 'from'] as const) {
      expect(await iperfForwarded(iperfPort, 2, direction)).toBeGreaterThan(0);
    }
    expect(network.counters()).toMatchObject({ 'malformed frames': 0, 'malformed segments': 0, 'frames dropped': 0 });
  } finally {
    await run('for pid in /run/*.pid; do kill $(tr -d "\\0" < $pid); done; true').catch(() => undefined);
    server.close();
    await network.close();
  }
});
