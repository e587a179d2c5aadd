/** The display backend of Node: RFB over TCP, UNIX sockets and WebSocket. */
import { connect, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { DisplayBackend, DisplaySettings, RfbAddress } from '../../devices/backends/display.ts';
import { Display } from '../../devices/display/display.ts';
import { vncKey } from '../../devices/display/rfb/handshake.ts';
import { InputRouter } from '../../devices/input/input-router.ts';
import { desEncrypt } from '../../host-node/display/des.ts';
import { openDisplay } from '../../host-node/display/open-display.ts';
import { serveWeb } from '../../host-node/display/rfb-web.ts';
import { RfbServer } from '../../devices/display/rfb/server.ts';
import { freePort } from '../support/free-port.ts';
import { RfbClient } from '../support/rfb-client.ts';
import { viewerOver } from '../support/rfb-viewer.ts';

let folder = '';
const ends: (() => Promise<void> | void)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'webhyve-rfb-'));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  rmSync(folder, { recursive: true });
});

function newDisplay(): Display {
  const pixels = new Uint32Array(640 * 480).map((_, at) => (at * 2654435761) & 0xffffff);
  const display = new Display({ width: 640, height: 480, pixels, takeDirty: () => [] }, new InputRouter());
  ends.push(() => display.close());
  return display;
}

async function backendAt(rfb: RfbAddress, more: Partial<DisplaySettings> = {}): Promise<[DisplayBackend, Display]> {
  const display = newDisplay();
  const settings: DisplaySettings = { rfb, web: undefined, password: undefined, viewers: 1, ...more };
  const backend = await openDisplay(settings, () => undefined);
  ends.push(() => backend.close());
  backend.show(display);
  return [backend, display];
}

function overSocket(socket: Socket): RfbClient {
  const client = viewerOver(socket);
  ends.push(() => void socket.destroy());
  return client;
}

async function look(client: RfbClient, display: Display): Promise<void> {
  await client.init();
  client.setEncodings(16, 0);
  client.request(false);
  await client.update();
  expect(client.pixels.findIndex((pixel, at) => pixel !== display.frame.pixels[at])).toBe(-1);
}

test.each(['127.0.0.1', '::1'])('TCP at %s', async (host) => {
  const port = await freePort();
  const [backend, display] = await backendAt({ kind: 'tcp', host, port });
  let seen = false;
  void backend.firstViewer.then(() => (seen = true));
  const client = overSocket(connect({ host, port }));
  expect(await client.open()).toBeUndefined();
  await look(client, display);
  expect(seen).toBe(true);
  await expect(
    openDisplay({ rfb: { kind: 'tcp', host, port }, web: undefined, password: undefined, viewers: 1 }, () => {}),
  ).rejects.toThrow(`fbuf: cannot listen at ${host}:${port}`);
});

test('a UNIX socket, and a password', async () => {
  const path = join(folder, 'vnc');
  const [, display] = await backendAt({ kind: 'unix', path }, { password: 'geheim' });
  const wrong = overSocket(connect({ path }));
  expect(await wrong.open('RFB 003.008\n', (challenge) => desEncrypt(vncKey('Geheim'), challenge))).toBe(
    'Auth Failed: Invalid Password.',
  );
  await expect(wrong.read(1)).rejects.toThrow('closed');
  const right = overSocket(connect({ path }));
  expect(await right.open('RFB 003.008\n', (challenge) => desEncrypt(vncKey('geheim'), challenge))).toBeUndefined();
  await look(right, display);
});

test('DES is DES', () => {
  // FIPS 81's example: key 0123456789ABCDEF, "Now is t".
  const block = Buffer.from('4e6f772069732074', 'hex');
  const key = Buffer.from('0123456789abcdef', 'hex');
  expect(Buffer.from(desEncrypt(key, Buffer.concat([block, block]))).toString('hex')).toBe(
    '3fa40e8a984d4815'.repeat(2),
  );
});

test('a client that reads nothing holds a bounded number of bytes, and nobody else up', async () => {
  const path = join(folder, 'vnc');
  const [, display] = await backendAt({ kind: 'unix', path }, { viewers: 2 });
  const deaf = connect({ path });
  ends.push(() => void deaf.destroy());
  deaf.pause();
  deaf.write('RFB 003.008\n');
  deaf.write(Uint8Array.of(1, 1));
  const request = Buffer.from([3, 0, 0, 0, 0, 0, 2, 128, 1, 224]);
  for (let i = 0; i < 2000; i++) deaf.write(request);
  const client = overSocket(connect({ path }));
  await client.open();
  await look(client, display);
});

test('WebSocket and a page, with the token alone', async () => {
  const display = newDisplay();
  const rfb = new RfbServer(display);
  ends.push(() => rfb.close());
  const script = new URL(import.meta.url);
  const web = await serveWeb({ kind: 'tcp', host: '127.0.0.1', port: 0 }, () => rfb, script);
  ends.push(() => web.close());
  const url = new URL(web.url);
  const page = await fetch(url);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('viewer.js')]);
  expect((await fetch(new URL('/viewer.js', url))).status).toBe(200);
  for (const path of ['/', '/?token=', '/?token=x', '/etc/passwd']) {
    expect((await fetch(new URL(path, url))).status).toBe(path === '/etc/passwd' ? 404 : 403);
  }
  const refused = new WebSocket(`ws://${url.host}/rfb?token=${'0'.repeat(32)}`);
  await expect(
    new Promise((_, reject) => {
      refused.on('error', reject);
    }),
  ).rejects.toThrow('403');
  const socket = new WebSocket(`ws://${url.host}/rfb${url.search}`);
  const client = new RfbClient((bytes) => socket.send(bytes));
  socket.on('message', (data) => client.receive(new Uint8Array(data as ArrayBuffer)));
  socket.binaryType = 'arraybuffer';
  await new Promise((resolve) => socket.once('open', resolve));
  expect(await client.open()).toBeUndefined();
  await client.init();
  client.request(false);
  await client.update();
  expect(client.pixels[5]).toBe(display.frame.pixels[5]);
});
