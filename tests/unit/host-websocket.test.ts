/** Serial ports on WebSockets: who may connect, that no byte is lost, and that a client which does not read makes the guest wait. */
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { parseCharacterAddress, type CharacterPort } from '../../devices/backends/character.ts';
import { CONSOLE_PROTOCOL, WebSocketBackend } from '../../host-node/console/websocket.ts';

const opened: WebSocketBackend[] = [];
afterEach(async () => {
  for (const backend of opened.splice(0)) await backend.close();
});

async function listen(text: string): Promise<WebSocketBackend> {
  const address = parseCharacterAddress(text);
  if (address.kind !== 'websocket') throw new Error('no WebSocket');
  const backend = await WebSocketBackend.listen(address);
  opened.push(backend);
  return backend;
}

interface Recorder extends CharacterPort {
  received: string;
  drains: number;
}

function recorder(): Recorder {
  return {
    received: '',
    drains: 0,
    receive(bytes) {
      this.received += new TextDecoder().decode(bytes);
    },
    drained() {
      this.drains++;
    },
  };
}

/** Resolves to the open client, or to the status with which it was turned away. */
function connect(
  url: string,
  options: { origin?: string; protocol?: string; heard?: (bytes: Buffer) => void } = {},
): Promise<WebSocket | number> {
  const { origin, protocol, heard } = options;
  const client = new WebSocket(url, protocol === undefined ? [] : [protocol], origin === undefined ? {} : { origin });
  // From the beginning: the first bytes may come with the answer to the handshake.
  client.on('message', (data) => heard?.(data as Buffer));
  return new Promise((resolve, reject) => {
    client.on('open', () => resolve(client));
    client.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
    client.on('error', reject);
  });
}

async function client(url: string, options: Parameters<typeof connect>[1] = {}): Promise<WebSocket> {
  const connected = await connect(url, options);
  if (typeof connected === 'number') throw new Error(`refused with ${connected}`);
  return connected;
}

test('addresses', () => {
  expect(parseCharacterAddress('ws=127.0.0.1:8123')).toEqual({
    kind: 'websocket',
    host: '127.0.0.1',
    port: 8123,
    token: undefined,
    origins: [],
  });
  expect(parseCharacterAddress('ws=[::1]:0?token=abc&origin=https://a.example&origin=https://b.example')).toEqual({
    kind: 'websocket',
    host: '::1',
    port: 0,
    token: 'abc',
    origins: ['https://a.example', 'https://b.example'],
  });
  // Without an address only this machine.
  expect(parseCharacterAddress('ws=:1')).toMatchObject({ host: '127.0.0.1' });
  expect(() => parseCharacterAddress('ws=somewhere')).toThrow('ws=somewhere: not ADDRESS:PORT');
});

test('a token is needed, and a page must come from an allowed origin', async () => {
  const { url } = await listen('ws=127.0.0.1:0?origin=https://friend.example');
  const bare = url.replace(/\?.*/, '');
  expect(url).toMatch(/\?token=[0-9a-f]{32}$/);
  expect(await connect(bare)).toBe(403);
  expect(await connect(`${bare}?token=${'0'.repeat(32)}`)).toBe(403);
  expect(await connect(url, { origin: 'https://elsewhere.example' })).toBe(403);
  expect(await connect(url, { origin: 'http://localhost.evil.example' })).toBe(403);
  for (const origin of ['http://localhost:8080', 'http://127.0.0.1', 'https://friend.example', undefined]) {
    const connected = await client(url, origin === undefined ? {} : { origin });
    connected.terminate();
    await expect.poll(async () => (await fetch(bare.replace('ws:', 'http:'))).status).toBe(426);
    // The line is free again.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test('bytes go both ways, one client at a time, and what nobody reads is kept', async () => {
  const backend = await listen('ws=127.0.0.1:0');
  const port = recorder();
  backend.open(port);
  expect(backend.write(new TextEncoder().encode('before anybody came\n'))).toBe(true);
  let heard = '';
  const first = await client(backend.url, { heard: (bytes) => (heard += bytes.toString()) });
  await expect.poll(() => heard).toBe('before anybody came\n');
  backend.write(new Uint8Array([0x68, 0x69, 0]));
  await expect.poll(() => heard).toBe('before anybody came\nhi\0');
  first.send(Buffer.from('typed\r'));
  await expect.poll(() => port.received).toBe('typed\r');

  const second = await client(backend.url);
  const reason = await new Promise<string>((resolve) => second.on('close', (_code, text) => resolve(String(text))));
  expect(reason).toBe('another client has the line');

  first.close();
  await new Promise((resolve) => first.on('close', resolve));
  await expect
    .poll(async () => {
      return await new Promise((resolve, reject) => {
        client(backend.url, { heard: (bytes) => resolve(bytes.toString()) }).then((third) => {
          third.on('close', () => resolve('turned away'));
          backend.write(new TextEncoder().encode('again'));
        }, reject);
      });
    })
    .toBe('again');
});

test('a client that acknowledges nothing makes the guest wait, and none of it is lost', async () => {
  const backend = await listen('ws=127.0.0.1:0');
  const port = recorder();
  backend.open(port);
  let heardBytes = 0;
  const slow = await client(backend.url, {
    protocol: CONSOLE_PROTOCOL,
    heard: (bytes) => (heardBytes += bytes.length),
  });
  const piece = new Uint8Array(16 * 1024);
  let writtenBytes = 0;
  for (let more = true; more && writtenBytes < 16 * 2 ** 20;) {
    more = backend.write(piece);
    writtenBytes += piece.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(writtenBytes).toBeLessThan(2 * 2 ** 20);
  expect(port.drains).toBe(0);
  await expect.poll(() => heardBytes).toBeGreaterThan(256 * 1024);
  slow.send(String(heardBytes));
  await expect.poll(() => port.drains).toBe(1);
  // Numbers that are none change nothing.
  for (const text of ['-1', 'x', '1e99', '']) slow.send(text);
  await expect
    .poll(() => {
      slow.send(String(2 ** 30));
      return heardBytes;
    })
    .toBe(writtenBytes);
});

test('a client that types faster than the guest reads is held back', async () => {
  const backend = await listen('ws=127.0.0.1:0');
  const port = recorder();
  backend.open(port);
  const typist = await client(backend.url);
  backend.hold(true);
  typist.send(Buffer.from('held'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(port.received).toBe('');
  backend.hold(false);
  await expect.poll(() => port.received).toBe('held');
});
