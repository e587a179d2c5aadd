/** Disks on a web server: read by ranges, kept for a while, never written. The same code serves pages (host-browser/storage). */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import { BLOCK_OPTIONS } from '../../devices/config/declarations/block.ts';
import { readSettings } from '../../devices/config/settings-of.ts';
import { openDisk } from '../../host-node/disk/open-disk.ts';
import { FakeRandom } from '../support/fake-random.ts';

const SIZE = 3 << 20;
const hasQemuImg = spawnSync('qemu-img', ['--version']).status === 0;

let server: Server;
let origin: string;
let files: Map<string, Uint8Array>;
let requests: string[];
let messages: string[];
let knowsRanges: boolean;
let etag: string;
let isDown: boolean;

beforeEach(async () => {
  files = new Map();
  requests = [];
  messages = [];
  knowsRanges = true;
  etag = '"1"';
  isDown = false;
  server = createServer((request, response) => {
    const { url = '', headers } = request;
    const bytes = files.get(url);
    requests.push(`${url} ${headers.range ?? ''}`);
    if (isDown) {
      response.writeHead(503).end();
      return;
    }
    if (!bytes) {
      response.writeHead(404).end();
      return;
    }
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    if (!knowsRanges || from === undefined) {
      response.writeHead(200, { etag }).end(bytes);
      return;
    }
    const end = Math.min(bytes.length, Number(to) + 1);
    response.writeHead(206, { etag, 'content-range': `bytes ${from}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(Number(from), end));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

function open(path: string, settings: Partial<BlockSettings> = {}): Promise<BlockBackend> {
  const defaults = readSettings(BLOCK_OPTIONS, () => undefined);
  return openDisk({ ...defaults, ...settings, path: `${origin}${path}` }, (text) => messages.push(text));
}

function pattern(): Uint8Array {
  const random = new FakeRandom(0x4775);
  const words = new Uint32Array(SIZE / 4);
  for (let i = 0; i < words.length; i++) words[i] = random.u32();
  return new Uint8Array(words.buffer);
}

async function expectContents(disk: BlockBackend, expected: Uint8Array): Promise<void> {
  const bytes = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [bytes.subarray(0, 1000), bytes.subarray(1000, 300_000), bytes.subarray(300_000)]);
  expect(Buffer.compare(bytes, expected)).toBe(0);
}

test('is read by ranges, each block once', async () => {
  const bytes = pattern();
  files.set('/a.img', bytes);
  const disk = await open('/a.img', { sectorsize: { logicalBytes: 512, physicalBytes: 4096 } });
  expect(disk).toMatchObject({ sizeBytes: SIZE, readOnly: true, canDiscard: false, physicalSectorBytes: 4096 });
  const sector = new Uint8Array(512);
  await disk.read(2 << 20, [sector]);
  await disk.read((2 << 20) + 4096, [sector]);
  expect(sector).toEqual(bytes.subarray((2 << 20) + 4096, (2 << 20) + 4096 + 512));
  expect(requests).toHaveLength(2);
  await expectContents(disk, bytes);
  const asked = requests.length;
  await expectContents(disk, bytes);
  expect(requests).toHaveLength(asked);
  await expect(disk.write(0, [sector])).rejects.toThrow('read-only');
  await disk.close();
  await expect(disk.read(0, [sector])).rejects.toThrow('closed');
});

test('snapshot=1 keeps changes in memory', async () => {
  const bytes = pattern();
  files.set('/a.img', bytes);
  const disk = await open('/a.img', { snapshot: true });
  expect(disk.readOnly).toBe(false);
  const changed = new Uint8Array(512).fill(7);
  await disk.write(1024, [changed]);
  const expected = bytes.slice();
  expected.set(changed, 1024);
  await expectContents(disk, expected);
  await disk.close();
});

test('a server without ranges has its file read whole, and the user is told', async () => {
  knowsRanges = false;
  files.set('/a.img', pattern());
  const disk = await open('/a.img');
  await expectContents(disk, pattern());
  expect(requests).toHaveLength(1);
  expect(messages).toEqual([`${origin}/a.img: its server answers no range requests, so the whole file was loaded`]);
});

test('a file that changes, and a server that goes away, fail the request alone', async () => {
  files.set('/a.img', pattern());
  const disk = await open('/a.img');
  const sector = new Uint8Array(512);
  etag = '"2"';
  await expect(disk.read(1 << 20, [sector])).rejects.toThrow('the file has changed on its server');
  etag = '"1"';
  isDown = true;
  await expect(disk.read(1 << 20, [sector])).rejects.toThrow('the server answers 503');
  isDown = false;
  await disk.read(1 << 20, [sector]);
  expect(sector).toEqual(pattern().subarray(1 << 20, (1 << 20) + 512));
});

test('what cannot be opened is said in one sentence', async () => {
  await expect(open('/none.img')).rejects.toThrow(
    `Could not open backing file: ${origin}/none.img: the server answers 404 Not Found`,
  );
  await expect(open('/a.img', { nocache: true })).rejects.toThrow('nocache is for files of this host');
  const { port } = server.address() as AddressInfo;
  const closed = createServer();
  closed.listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port: nobody } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  origin = origin.replace(`${port}`, `${nobody}`);
  await expect(open('/a.img')).rejects.toThrow(/its server cannot be reached \(.*ECONNREFUSED.*\)$/);
});

test.skipIf(!hasQemuImg)('qcow2 images on a server, and local ones over a base on a server', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'webhyve-remote-'));
  const qemuImg = (...args: string[]): string => execFileSync('qemu-img', args, { cwd: folder, encoding: 'utf8' });
  try {
    const bytes = pattern();
    files.set('/base.img', bytes);
    qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', 'base.img', '-F', 'raw', 'top.qcow2', `${SIZE}`);
    files.set('/top.qcow2', readFileSync(join(folder, 'top.qcow2')));
    const remote = await open('/top.qcow2');
    expect(remote.readOnly).toBe(true);
    await expectContents(remote, bytes);
    await remote.close();

    qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', `${origin}/base.img`, '-F', 'raw', 'local.qcow2', `${SIZE}`);
    const defaults = readSettings(BLOCK_OPTIONS, () => undefined);
    const local = await openDisk({ ...defaults, path: join(folder, 'local.qcow2') });
    const changed = new Uint8Array(1536).fill(9);
    await local.write(512, [changed]);
    const expected = bytes.slice();
    expected.set(changed, 512);
    await expectContents(local, expected);
    await local.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
