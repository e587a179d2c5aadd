/**
 * A Debian guest on each card with Debian's own network programs: leases, names, packages from the host's mirror, bulk, ssh, many connections,
 * iperf3, bad cables. Takes minutes, so it runs only when asked for: NETWORK=1. NETWORK_MB is the length of the bulk transfers, 500 unless set.
 * docs/network.md has the last runs. The same programs without an emulator are nat-programs.test.ts.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { serveBulk, type BulkServer } from '../support/bulk-server.ts';
import { freePort } from '../support/free-port.ts';
import { mountTools } from '../support/guest-tools.ts';
import { hostMirror, KEYRING } from '../support/host-mirror.ts';
import { forwardedClientsMissing, iperfForwarded, makeSshKey, mbitOf, overSsh } from '../support/forwarded.ts';
import { hostHas } from '../support/host-programs.ts';
import { bootLinux, destroyTestMachines, linuxGuest, linuxMissing, scratchDirectory } from '../support/machine.ts';
import type { TestMachine } from '../support/machine.ts';
import { namespaceMissing } from '../support/network-namespace.ts';
import { networkTools } from '../support/network-tools.ts';

const PATIENCE_MS = 600_000;
const TIME_LIMIT_MS = 3_000_000;
/** Of one frame, whoever cuts it. */
const MAX_PACKET_BYTES = 65_536;
/** Feature bit of every virtio device (virtio 1.2, 6). */
const VIRTIO_F_VERSION_1 = 32;
const BULK_BYTES = 1_000_000 * Number(process.env['NETWORK_MB'] ?? 500);

interface Card {
  readonly name: string;
  readonly device: 'virtio-net' | 'e1000';
  /** Further words of the command line. */
  readonly words: readonly string[];
  /** What `ethtool -k` says of checksums and segmentation, whole lines. */
  readonly features: readonly string[];
}

const OFFLOADS = ['tx-checksumming: on', 'tcp-segmentation-offload: on'];
const CARD_LIST: readonly Card[] = [
  {
    name: 'virtio-net modern',
    device: 'virtio-net',
    words: ['-o', 'virtio.transport=modern'],
    features: [...OFFLOADS, 'rx-checksumming: on [fixed]', '\ttx-tcp6-segmentation: on'],
  },
  {
    name: 'virtio-net legacy',
    device: 'virtio-net',
    words: ['-o', 'virtio.transport=legacy'],
    // Offloads are for drivers of virtio 1.0, as bhyve has none.
    features: ['tx-checksumming: off', 'tcp-segmentation-offload: off', 'scatter-gather: off'],
  },
  {
    name: 'e1000',
    device: 'e1000',
    words: [],
    features: [...OFFLOADS, 'rx-checksumming: off', 'rx-vlan-offload: on', 'tx-vlan-offload: on [fixed]'],
  },
];
const CARDS = CARD_LIST.map((card) => [card.name, card] as const);

let scratch = { path: '', remove: (): void => {} };
const servers: { close(): unknown }[] = [];
let tools = '';

beforeEach(async (context) => {
  if (process.env['NETWORK'] === undefined) context.skip('takes minutes: set NETWORK=1');
  const missing = await linuxMissing('generic');
  if (missing !== undefined) context.skip(missing);
  const clients = forwardedClientsMissing();
  if (clients !== undefined) context.skip(clients);
  try {
    tools = networkTools((await linuxGuest('generic')).release ?? '');
  } catch (error) {
    context.skip(`network tools for the guest: ${error instanceof Error ? error.message : String(error)}`);
  }
  scratch = scratchDirectory();
}, 600_000);
afterEach(async () => {
  await destroyTestMachines();
  for (const server of servers.splice(0)) server.close();
  scratch.remove();
});

/** Boots a guest with the tools mounted, without an address: `card` with its options, and further words of the command line. */
async function boot(name: string, card: string, words: readonly string[] = []): Promise<TestMachine> {
  const disk = join(scratch.path, `${name}.img`);
  copyFileSync(tools, disk);
  const args = ['-m', '1G', '-s', `2,virtio-blk,${disk}`, '-s', `3,${card}`, ...words];
  const guest = await bootLinux({ variant: 'generic', timeLimit: TIME_LIMIT_MS, args });
  await run(guest, 'killall udhcpc; dmesg -n 1; ip addr flush dev eth0; ip link set eth0 down; mkdir -p /tools');
  await run(guest, mountTools('/dev/vda').replace('ext4 -o ro', 'ext4 -o rw'));
  await run(guest, 'mount -t devpts devpts /tools/dev/pts');
  // busybox's chroot prefers its own ip and ping to Debian's of the same name; env is none of them when it has a path.
  await run(guest, 't() { PATH=/usr/sbin:/usr/bin chroot /tools /usr/bin/env "$@"; }');
  return guest;
}

/** Runs a shell command of the guest; `t PROGRAM` runs one of the tools. */
async function run(guest: TestMachine, command: string): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout: PATIENCE_MS });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

/** Sends so much out of the guest: the MD5 of what went in, and of what the server says that it took. */
async function put(guest: TestMachine, lengthBytes: number, url: string): Promise<{ sum: string; answer: string }> {
  const source = `yes guest | head -c ${lengthBytes}`;
  const sum = (await run(guest, `t sh -c '${source} | md5sum'`)).slice(0, 32);
  return { sum, answer: (await run(guest, `t sh -c '${source} | curl -sf -T - ${url}'`)).trim() };
}

/** What a test measured goes to the standard output: `step: seconds`. */
async function timed<T>(card: string, step: string, action: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const result = await action();
  process.stdout.write(`${card}: ${step}: ${((performance.now() - from) / 1000).toFixed(1)} s\n`);
  return result;
}

/** A guest whose card has such a backend. */
async function bootCard({ name, device, words }: Card, backend: string): Promise<TestMachine> {
  const guest = await boot(name, `${device},${backend}`, words);
  if (device === 'virtio-net') {
    // The driver's features, a digit each, the lowest first: VIRTIO_F_VERSION_1 tells which registers it found.
    const features = await run(guest, 'cat /sys/class/net/eth0/device/features');
    expect(features[VIRTIO_F_VERSION_1]).toBe(words.includes('virtio.transport=modern') ? '1' : '0');
  }
  return guest;
}

/** A guest with a lease of the user-mode network. */
async function bootLeased(card: Card, options: string): Promise<TestMachine> {
  const guest = await bootCard(card, `slirp,open,${options}`);
  await run(guest, 't ip link set eth0 up; t dhclient -4 eth0 2>&1');
  return guest;
}

test.each(CARDS)('%s: leases, names and packages', { timeout: TIME_LIMIT_MS }, async (_name, card) => {
  const mirror = hostMirror();
  const mirrorAddress = mirror ? (await lookup(mirror.host, 4).catch(() => undefined))?.address : undefined;
  const allowed = ['loopback', ...(mirrorAddress === undefined ? [] : [mirrorAddress])].join(';');
  await using guest = await bootCard(card, `slirp,open,allow=${allowed}`);
  const say = <T>(step: string, action: () => Promise<T>): Promise<T> => timed(card.name, step, action);

  await say('leases', async () => {
    await run(guest, 't ip link set eth0 up; t dhclient -4 -v eth0 2>&1');
    expect(await run(guest, 't ip -4 addr show eth0')).toContain('10.0.2.15/24');
    expect(await run(guest, 'cat /tools/etc/resolv.conf')).toContain('nameserver 10.0.2.3');
    await run(guest, 'until t ip -6 addr show eth0 scope link -tentative | grep -q fe80; do sleep 0.2; done');
    await run(guest, 't dhclient -6 -v eth0 2>&1');
    await run(guest, 'while t ip -6 addr show eth0 tentative | grep -q inet6; do sleep 0.2; done');
    expect(await run(guest, 't ip -6 addr show eth0')).toMatch(/inet6 fd00:a098:0:2:[0-9a-f:]*\/128/);
  });
  expect(await run(guest, 't ping -c 3 -i 0.2 10.0.2.2')).toContain(' 0% packet loss');
  expect(await run(guest, 't ping -6 -c 3 -i 0.2 fd00:a098:0:2::2')).toContain(' 0% packet loss');

  if (mirror && mirrorAddress !== undefined) {
    await say('packages', async () => {
      expect(await run(guest, `t getent hosts ${mirror.host}`)).toContain(mirror.host);
      await run(
        guest,
        `echo 'deb [signed-by=${KEYRING}] ${mirror.url} ${mirror.suite} main' > /tools/etc/apt/sources.list`,
      );
      await run(guest, 't apt-get -q -o Acquire::Languages=none update 2>&1');
      // dpkg's terminal empties the console's input, in which the mark of the command's end waits already.
      await run(guest, 't apt-get -q -y --no-install-recommends install hello < /dev/null 2>&1');
      expect(await run(guest, 't hello')).toContain('Hello, world!');
    });
  } else process.stdout.write(`${card.name}: packages: skipped, this host has no mirror by HTTP that it can find\n`);
  expect(guest.machine.deviceErrors).toBe(0);
});

test.each(CARDS)('%s: bulk both ways, and what ethtool says', { timeout: TIME_LIMIT_MS }, async (_name, card) => {
  await using guest = await bootLeased(card, 'allow=loopback');
  const say = <T>(step: string, action: () => Promise<T>): Promise<T> => timed(card.name, step, action);
  const server = await serveBulk(BULK_BYTES);
  servers.push(server);
  const url = `http://10.0.2.2:${server.port}/`;
  await say(`GET of ${BULK_BYTES / 1e6} MB`, async () => {
    expect(await run(guest, `t sh -c 'curl -sf ${url} | md5sum'`)).toContain(server.digest);
  });
  await say(`PUT of ${BULK_BYTES / 1e6} MB`, async () => {
    const { sum, answer } = await put(guest, BULK_BYTES, url);
    expect(answer).toBe(sum);
  });

  const information = await run(guest, 't ethtool -i eth0');
  expect(information).toContain(`driver: ${card.device === 'e1000' ? 'e1000' : 'virtio_net'}`);
  expect(information).toContain('bus-info: 0000:00:03.0');
  const features = (await run(guest, 't ethtool -k eth0')).split('\n');
  for (const line of card.features) expect(features).toContain(line);
  const statistics = await run(guest, 't ethtool -S eth0');
  const counted = (name: string): number => Number(new RegExp(`^ *${name}: (\\d+)$`, 'm').exec(statistics)?.[1]);
  const prefixes = card.device === 'e1000' ? ['rx_', 'tx_'] : ['rx_queue_0_', 'tx_queue_0_'];
  for (const prefix of prefixes) {
    expect(counted(`${prefix}bytes`)).toBeGreaterThan(BULK_BYTES);
    expect(counted(`${prefix}packets`)).toBeGreaterThan(BULK_BYTES / MAX_PACKET_BYTES);
  }
  if (card.device === 'e1000') {
    for (const name of ['rx_crc_errors', 'rx_length_errors', 'tx_errors', 'tx_timeout_count']) {
      expect(counted(name), name).toBe(0);
    }
    expect(await run(guest, 't ethtool eth0')).toMatch(/Speed: 1000Mb\/s[^]*Link detected: yes/);
    await run(guest, 't ethtool -d eth0');
    expect(await run(guest, 't ethtool -t eth0 offline 2>&1; t ethtool -e eth0 length 16')).toContain('0x0000');
  } else expect(counted('rx_queue_0_drops')).toBe(0);
  expect(guest.machine.deviceErrors).toBe(0);
});

test.each(CARDS)(
  '%s: 500 connections, ssh and iperf3 through the NAT',
  { timeout: TIME_LIMIT_MS },
  async (_name, card) => {
    const [sshPort, iperfPort] = [await freePort(), await freePort()];
    const forwards = `hostfwd=tcp:127.0.0.1:${sshPort}-:22;tcp:127.0.0.1:${iperfPort}-:5201`;
    await using guest = await bootLeased(card, `allow=loopback,${forwards}`);
    const say = <T>(step: string, action: () => Promise<T>): Promise<T> => timed(card.name, step, action);

    const echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
    servers.push(echo);
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port: echoPort } = echo.address() as AddressInfo;
    await say('500 connections', async () => {
      const script = [
        `for i in {1..500}; do exec {fd}<>/dev/tcp/10.0.2.2/${echoPort}; fds[i]=$fd; done`,
        'for i in {1..500}; do echo $i >&${fds[i]}; done',
        'n=0; for i in {1..500}; do read -r line <&${fds[i]}; [ "$line" = $i ] && n=$((n+1)); done; echo "answers: $n"',
      ].join('; ');
      expect(await run(guest, `t bash -c 'ulimit -n 1024; ${script}'`)).toContain('answers: 500');
    });

    await say('ssh', async () => {
      const key = join(scratch.path, 'key');
      const line = await makeSshKey(key);
      await run(guest, `echo '${line}' > /tools/root/.ssh/authorized_keys; chmod 700 /tools/root /tools/root/.ssh`);
      // One host key is enough: the prime numbers of an RSA key would take longer than all the rest.
      await run(guest, `t ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key`);
      await run(guest, 'mkdir -p /tools/run/sshd; t /usr/sbin/sshd');
      expect(await overSsh(sshPort, key, 'uname -n; seq 100000 | md5sum')).toContain(
        createHash('md5')
          .update(Array.from({ length: 100_000 }, (_, at) => `${at + 1}\n`).join(''))
          .digest('hex'),
      );
    });

    await run(guest, 't iperf3 -s -D');
    for (const direction of ['to', 'from'] as const) {
      const mbit = await iperfForwarded(iperfPort, 5, direction);
      process.stdout.write(`${card.name}: iperf3 through the NAT ${direction} the guest: ${mbit.toFixed(0)} Mbit/s\n`);
      expect(mbit).toBeGreaterThan(0);
    }
    expect(guest.machine.deviceErrors).toBe(0);
  },
);

/** A tap device that its machine opens; then it moves into a network namespace of its own, with an address. */
class Tap implements AsyncDisposable {
  readonly device = `tap${process.pid}`;
  readonly #namespace = `webhyve-${process.pid}`;
  readonly #children: ChildProcess[] = [];

  constructor() {
    execFileSync('ip', ['tuntap', 'add', this.device, 'mode', 'tap']);
    execFileSync('ip', ['netns', 'add', this.#namespace]);
  }

  /** The machine has opened it. */
  configure(): void {
    execFileSync('ip', ['link', 'set', this.device, 'netns', this.#namespace]);
    for (const words of [
      ['addr', 'add', '192.168.9.1/24', 'dev', this.device],
      ['link', 'set', this.device, 'up'],
      ['link', 'set', 'lo', 'up'],
    ]) {
      execFileSync('ip', ['-n', this.#namespace, ...words]);
    }
  }

  /** Starts a program in the namespace. */
  start(command: string, ...words: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.#namespace, command, ...words], { stdio: 'ignore' });
    this.#children.push(child);
    return child;
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    spawnSync('ip', ['-n', this.#namespace, 'link', 'del', this.device]);
    spawnSync('ip', ['link', 'del', this.device], { stdio: 'ignore' });
    spawnSync('ip', ['netns', 'del', this.#namespace]);
    return Promise.resolve();
  }
}

/** iperf3 from the guest, both ways; resolves to Mbit/s to the server and from it. */
async function iperf(guest: TestMachine, server: string, seconds = 5): Promise<{ up: number; down: number }> {
  const measure = async (flag: string): Promise<number> => {
    const command = `t iperf3 -c ${server} -t ${seconds} -J ${flag} > /tmp/iperf.json; cat /tmp/iperf.json`;
    const output = await run(guest, `until t ping -c 1 -W 1 ${server} > /dev/null; do :; done; ${command}`);
    return mbitOf(output);
  };
  return { up: await measure(''), down: await measure('-R') };
}

/** Frames that come in pass a device of their own, so that a bad cable can be bad both ways. */
const CABLE_BOTH_WAYS = [
  ...['sch_netem', 'ifb', 'sch_ingress', 'act_mirred', 'cls_matchall'].map(
    (name) => `insmod /tools/modules/${name}.ko`,
  ),
  't ip link show ifb0 > /dev/null 2>&1 || t ip link add ifb0 type ifb',
  't ip link set ifb0 up',
  't tc qdisc add dev eth0 handle ffff: ingress',
  't tc filter add dev eth0 parent ffff: matchall action mirred egress redirect dev ifb0',
].join(' && ');

/** `impairment` is tc-netem(8)'s. */
const badCable = (impairment: string): string =>
  `t tc qdisc replace dev eth0 root netem ${impairment} && t tc qdisc replace dev ifb0 root netem ${impairment}`;

const IMPAIRMENTS = ['loss 1%', 'delay 20ms reorder 25% 50%', 'delay 10ms 5ms loss 0.5% duplicate 1%', 'rate 20mbit'];
const LOSSY_BYTES = 8_000_000;

/** Bulk both ways over bad cables: equal checksums, and how long it took. */
async function lossyBulk(guest: TestMachine, label: string, { port, digest }: BulkServer): Promise<void> {
  const url = `http://10.0.2.2:${port}/`;
  await run(guest, CABLE_BOTH_WAYS);
  for (const impairment of IMPAIRMENTS) {
    await run(guest, badCable(impairment));
    await timed(label, `netem ${impairment}: GET of ${LOSSY_BYTES / 1e6} MB`, async () => {
      expect(await run(guest, `t sh -c 'curl -sf ${url} | md5sum'`)).toContain(digest);
    });
    await timed(label, `netem ${impairment}: PUT of ${LOSSY_BYTES / 1e6} MB`, async () => {
      const { sum, answer } = await put(guest, LOSSY_BYTES, url);
      expect(answer).toBe(sum);
    });
  }
  // The last cable was slow: that its device counts shows that frames passed it.
  expect(await run(guest, 't tc -s qdisc show dev ifb0')).not.toContain('Sent 0 bytes');
}

test.each(CARDS)('%s: a bad cable (tc netem) loses no byte', { timeout: TIME_LIMIT_MS }, async (_name, card) => {
  const server = await serveBulk(LOSSY_BYTES);
  servers.push(server);
  await using guest = await bootLeased(card, 'allow=loopback');
  await lossyBulk(guest, `${card.name}, NAT`, server);
  expect(guest.machine.deviceErrors).toBe(0);
});

test.each(CARDS)(
  '%s: iperf3 over tap, a namespace at its end, and over bad cables',
  { timeout: TIME_LIMIT_MS },
  async (_name, card) => {
    const missing = namespaceMissing() ?? (hostHas('iperf3', '-v') ? undefined : 'iperf3 is not installed');
    if (missing !== undefined) {
      process.stdout.write(`${card.name}: iperf3 over tap: skipped, ${missing}\n`);
      return;
    }
    await using tap = new Tap();
    await using guest = await bootCard(card, tap.device);
    tap.configure();
    await run(guest, 't ip addr add 192.168.9.2/24 dev eth0; t ip link set eth0 up');
    tap.start('iperf3', '-s');
    const { up, down } = await iperf(guest, '192.168.9.1');
    process.stdout.write(`${card.name}: iperf3 over tap: ${up.toFixed(0)} Mbit/s up, ${down.toFixed(0)} down\n`);
    await run(guest, CABLE_BOTH_WAYS);
    for (const impairment of IMPAIRMENTS) {
      await run(guest, badCable(impairment));
      const bad = await iperf(guest, '192.168.9.1');
      process.stdout.write(
        `${card.name}: tap, netem ${impairment}: ${bad.up.toFixed(1)} Mbit/s up, ${bad.down.toFixed(1)} down\n`,
      );
    }
    expect(guest.machine.deviceErrors).toBe(0);
  },
);

test('two machines joined by name: iperf3 and rsync', { timeout: TIME_LIMIT_MS }, async () => {
  const name = `programs${process.pid}`;
  const ends = [
    await boot('a', `virtio-net,socket=${name},mac=52:54:00:00:00:01`),
    await boot('b', `e1000,socket=${name},mac=52:54:00:00:00:02`),
  ] as const;
  for (const [at, guest] of ends.entries()) {
    await run(guest, `t ip addr add 192.168.7.${at + 1}/24 dev eth0; t ip link set eth0 up`);
  }
  const [a, b] = ends;
  await run(b, 't iperf3 -s -D');
  const { up, down } = await iperf(a, '192.168.7.2');
  process.stdout.write(`joined: iperf3: ${up.toFixed(0)} Mbit/s up, ${down.toFixed(0)} down\n`);

  const module = '[files]\npath = /root/files\nread only = no\nuid = 0\nuse chroot = no\n';
  await run(b, `mkdir -p /tools/root/files; printf '${module.replaceAll('\n', '\\n')}' > /tools/etc/rsyncd.conf`);
  await run(b, 't rsync --daemon');
  await run(a, 't rsync -a /usr/sbin/ rsync://192.168.7.2/files/ 2>&1');
  const sums = 'cd /root/files && find . -type f | sort | xargs md5sum | md5sum';
  const sent = await run(a, `t sh -c '${sums.replace('/root/files', '/usr/sbin')}'`);
  expect(await run(b, `t sh -c '${sums}'`)).toBe(sent);
  // And back, what changed only.
  await run(b, 'echo changed > /tools/root/files/new');
  await run(a, 'mkdir /tools/root/back; t rsync -a rsync://192.168.7.2/files/ /root/back/ 2>&1');
  expect(await run(a, `t sh -c '${sums.replace('/root/files', '/root/back')}'`)).toBe(
    await run(b, `t sh -c '${sums}'`),
  );
  for (const guest of ends) expect(guest.machine.deviceErrors).toBe(0);
});
