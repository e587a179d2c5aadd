/** The user-mode network with the host's own kernel as its guest, in a network namespace: bulk, many connections, a bad cable. */
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { NetworkBackend } from '../../devices/backends/network.ts';
import { ip } from '../support/nat-guest.ts';
import { UserNetwork } from '../../devices/net/nat/network.ts';
import { parseAllowed } from '../../devices/net/nat/policy.ts';
import { DEFAULT_NAT_SETTINGS, type ForwardRule } from '../../devices/net/nat/settings.ts';
import { createNodeNatHost } from '../../host-node/network/nat-host.ts';
import { SocketBackend } from '../../host-node/network/socket-backend.ts';
import { LossyLink, type Impairment } from '../support/lossy-link.ts';
import { join, namespaceMissing, NetworkNamespace } from '../support/network-namespace.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

async function serve(answer: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    answer(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A namespace whose cable leads to a network of ours. */
async function cabled(
  forwards: readonly ForwardRule[] = [],
  impairment?: Impairment,
): Promise<{ namespace: NetworkNamespace; network: UserNetwork } & AsyncDisposable> {
  const network = new UserNetwork(createNodeNatHost(), {
    ...DEFAULT_NAT_SETTINGS,
    policy: { open: true, allowed: parseAllowed('loopback').prefixes },
    forwards,
  });
  const namespace = new NetworkNamespace();
  const end: NetworkBackend = impairment ? new LossyLink(network, impairment) : network;
  join(end, namespace.tap);
  await network.startForwards();
  namespace.configure();
  return {
    ...{ namespace, network },
    [Symbol.asyncDispose]: async () => {
      await end.close();
      await namespace[Symbol.asyncDispose]();
    },
  };
}

/** A program for the namespace. */
const program = (text: string): string => `${process.execPath} -e '${text}'`;
const DIGEST = 'const h=require("crypto").createHash("md5")';

async function exchange(namespace: NetworkNamespace, lengthBytes: number): Promise<void> {
  const data = randomBytes(lengthBytes);
  const down = await serve((socket) => socket.end(data));
  const received: Buffer[] = [];
  const up = await serve((socket) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('end', () => socket.end());
  });
  const reader = `${DIGEST};require("net").connect(${down},"10.0.2.2").on("data",d=>h.update(d)).on("end",()=>console.log(h.digest("hex")))`;
  expect((await namespace.run(program(reader))).toString().trim()).toBe(md5(data));
  const writer = `const d=require("crypto").randomBytes(${lengthBytes});${DIGEST};h.update(d);require("net").connect(${up},"10.0.2.2").on("close",()=>console.log(h.digest("hex"))).end(d).resume()`;
  const sum = (await namespace.run(program(writer))).toString().trim();
  expect(md5(Buffer.concat(received))).toBe(sum);
}

beforeEach((context) => {
  const missing = namespaceMissing();
  if (missing !== undefined) context.skip(missing);
});

test('bulk both ways, 500 connections at once, refusals, a forwarded port', { timeout: 120_000 }, async () => {
  const echo = await serve((socket) => socket.pipe(socket));
  const forwarded = await serve(() => undefined);
  await new Promise((resolve) => servers.pop()?.close(resolve));
  const rule = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: forwarded } as const;
  await using cable = await cabled([{ ...rule, guestAddress: ip('10.0.2.15'), guestPort: 2222 }]);
  const { namespace, network } = cable;
  await exchange(namespace, 32_000_000);

  const many = `let n=0;for(let i=0;i<500;i++){const s=require("net").connect(${echo},"10.0.2.2",()=>s.write("x"));s.on("data",()=>{if(++n===500){console.log(n);process.exit()}})}`;
  expect((await namespace.run(program(many))).toString()).toBe('500\n');

  const refused = `require("net").connect(1,"10.0.2.2").on("error",e=>console.log(e.code))`;
  expect((await namespace.run(program(refused))).toString()).toBe('ECONNREFUSED\n');
  const forbidden = `require("net").connect(${echo},"10.9.9.9").on("error",e=>console.log(e.code))`;
  expect((await namespace.run(program(forbidden))).toString()).toBe('ECONNREFUSED\n');
  expect(network.counters()['TCP refused']).toBe(1);

  const server = `require("net").createServer(s=>s.pipe(s).on("finish",()=>process.exit())).listen(2222,()=>{})`;
  const running = namespace.run(program(server));
  const answer = (): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      const client = connect(forwarded, '127.0.0.1', () => client.end('through'));
      client.on('data', (chunk: Buffer) => (text += chunk.toString()));
      client.on('error', () => undefined);
      client.on('close', () => resolve(text));
    });
  await expect.poll(answer, { timeout: 20_000, interval: 200 }).toBe('through');
  await running;
});

test.each<[string, Impairment]>([
  ['loses frames', { lost: 20, delayMs: 1 }],
  ['doubles, delays and reorders frames', { doubled: 20, late: 100, delayMs: 1 }],
  ['damages frames', { damaged: 10 }],
  ['is slow', { delayMs: 30 }],
])('a cable that %s loses no byte', { timeout: 120_000 }, async (_name, impairment) => {
  await using cable = await cabled([], impairment);
  await exchange(cable.namespace, 1_000_000);
});

test('two cards joined by name carry a stream between their guests', { timeout: 60_000 }, async () => {
  const name = `ns${process.pid}`;
  await using a = new NetworkNamespace();
  await using b = new NetworkNamespace();
  const ends = [await SocketBackend.open(name), await SocketBackend.open(name)] as const;
  join(ends[0], a.tap);
  join(ends[1], b.tap);
  for (const [namespace, address] of [[a, '192.168.7.1/24'] as const, [b, '192.168.7.2/24'] as const]) {
    namespace.ip('addr', 'add', address, 'dev', namespace.device);
    namespace.ip('link', 'set', namespace.device, 'up');
  }
  try {
    const server = `${DIGEST};require("net").createServer({allowHalfOpen:true},s=>s.on("data",d=>h.update(d)).on("end",()=>{s.end();console.log(h.digest("hex"));process.exit()})).listen(5000)`;
    const received = b.run(program(server));
    const client = `const d=require("crypto").randomBytes(8000000);${DIGEST};h.update(d);const t=()=>require("net").connect(5000,"192.168.7.2",function(){this.on("close",()=>console.log(h.digest("hex"))).end(d).resume()}).on("error",e=>e.code==="ECONNREFUSED"?setTimeout(t,100):process.exit(1));t()`;
    const sent = await a.run(program(client));
    expect(sent.toString()).toMatch(/^[0-9a-f]{32}\n$/);
    expect((await received).toString()).toBe(sent.toString());
  } finally {
    for (const end of ends) await end.close();
  }
});
