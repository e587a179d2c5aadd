/** Linux's drivers on the network cards, with the user-mode network behind them. */
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { bootLinux, destroyTestMachines, linuxGuest, linuxMissing, type TestMachine } from '../support/machine.ts';

const PATIENCE_MS = 60_000;
const servers: Server[] = [];

beforeEach(async (context) => {
  const reason = await linuxMissing();
  if (reason !== undefined) context.skip(reason);
  const { modules } = await linuxGuest();
  if (modules.length > 0 && !modules.some((name) => name.includes('virtio_net'))) {
    context.skip('the guest has no driver for virtio-net');
  }
}, 300_000);
afterEach(async () => {
  await destroyTestMachines();
  for (const server of servers.splice(0)) server.close();
});

async function run(guest: TestMachine, command: string): Promise<string> {
  const { output, status } = await guest.com1.run(command, { timeout: PATIENCE_MS });
  expect(status, `status of: ${command}\n${output}`).toBe(0);
  return output;
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** A server of this host; the result is its port. */
async function serve(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    answer(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Sends a greeting, again until somebody listens. */
async function greet(port: number, text: string): Promise<void> {
  const once = (): Promise<boolean> =>
    new Promise((resolve) => {
      const client = connect(port, '127.0.0.1', () => client.end(text));
      client.on('error', () => undefined);
      client.on('close', (hadError) => resolve(!hadError));
      client.resume();
    });
  await expect.poll(once, { timeout: PATIENCE_MS, interval: 500 }).toBe(true);
}

const leased = 'for i in $(seq 100); do ip addr show eth0 | grep -q 10.0.2.15 && break; sleep 0.1; done';

test.each([
  ['virtio-net', []],
  ['virtio-net', ['-W']],
  ['virtio-net', ['-o', 'virtio.transport=legacy']],
  ['e1000', []],
])('%s %s: DHCP, ping, bulk both ways, a forwarded port', { timeout: 240_000 }, async (card, args) => {
  const data = randomBytes(8_000_000);
  const down = await serve((socket) => socket.end(data));
  const received: Buffer[] = [];
  const up = await serve((socket) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('end', () => socket.end());
  });
  const forwarded = await freePort();
  const slirp = `slirp,open,allow=loopback,hostfwd=tcp:127.0.0.1:${forwarded}-:22`;
  const variant = card === 'e1000' ? 'generic' : 'small';
  await using guest = await bootLinux({ variant, timeLimit: 150_000, args: [...args, '-s', `3,${card},${slirp}`] });
  await run(guest, leased);
  expect(await run(guest, 'ip addr show eth0')).toContain('10.0.2.15/24');
  expect(await run(guest, 'cat /etc/resolv.conf')).toContain('nameserver 10.0.2.3');
  expect(await run(guest, 'ping -c 3 -i 0.2 10.0.2.2')).toContain(' 0% packet loss');
  expect(await run(guest, 'ping -c 2 -i 0.2 -s 4000 10.0.2.2')).toContain(' 0% packet loss');
  expect(await run(guest, `nc 10.0.2.2 ${down} < /dev/null | md5sum`)).toContain(md5(data));
  await run(guest, 'head -c 8000000 /dev/urandom > /tmp/data');
  const sum = (await run(guest, 'md5sum /tmp/data')).slice(0, 32);
  await run(guest, `nc 10.0.2.2 ${up} < /tmp/data`);
  expect(md5(Buffer.concat(received))).toBe(sum);
  guest.com1.send('nc -l -p 22 > /tmp/greeting; echo "nc "over\n');
  await greet(forwarded, 'through the forwarded port');
  await guest.com1.expect('nc over', { timeout: PATIENCE_MS });
  expect(await run(guest, 'cat /tmp/greeting; echo')).toBe('through the forwarded port\n');
  expect(guest.machine.deviceErrors).toBe(0);
});

test('two machines joined by name: ping and bulk both ways', { timeout: 400_000 }, async () => {
  const name = `test${process.pid}`;
  const boot = (last: number): Promise<TestMachine> =>
    bootLinux({ timeLimit: 380_000, args: ['-s', `3,virtio-net,socket=${name},mac=52:54:00:00:00:0${last}`] });
  await using a = await boot(1);
  await using b = await boot(2);
  const configure = (last: number): string =>
    `killall udhcpc; ip addr flush dev eth0; ip addr add 192.168.7.${last}/24 dev eth0; ip link set eth0 up`;
  await run(a, configure(1));
  await run(b, configure(2));
  expect(await run(a, 'ping -c 3 -i 0.2 192.168.7.2')).toContain(' 0% packet loss');
  // Programs have the connection for themselves: nc by itself would end a stream when its terminal or the other direction does.
  for (const guest of [a, b]) {
    await run(guest, `echo 'cat /tmp/data' > /tmp/give; echo 'cat > /tmp/taken' > /tmp/take`);
    await run(guest, 'head -c 4000000 /dev/urandom > /tmp/data');
  }
  for (const [from, to, address] of [
    [a, b, '192.168.7.2'],
    [b, a, '192.168.7.1'],
  ] as const) {
    await run(
      to,
      'nc -l -p 5000 -e sh /tmp/take < /dev/null > /dev/null 2>&1 & until netstat -ltn | grep -q :5000; do sleep 0.1; done',
    );
    await run(from, `nc ${address} 5000 -e sh /tmp/give`);
    await run(to, 'wait');
    const sumOf = async (guest: TestMachine, path: string): Promise<string | undefined> =>
      /[0-9a-f]{32}/.exec(await run(guest, `md5sum < ${path}`))?.[0];
    expect(await sumOf(to, '/tmp/taken')).toBe(await sumOf(from, '/tmp/data'));
  }
});
