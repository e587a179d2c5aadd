/** A published file in chunks: every byte in its place, and chunks that are not what the index says. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test } from 'vitest';
import { ChunkSource } from '../../devices/block/remote/chunk-source.ts';

const CHUNK_BYTES = 100_000;
const SIZE_BYTES = 3 * CHUNK_BYTES + 123;
const CONTENT = Uint8Array.from({ length: SIZE_BYTES }, (_, at) => {
  const isHole = Math.floor(at / CHUNK_BYTES) === 1;
  return isHole ? 0 : ((at * 7) ^ (at >>> 9)) & 0xff;
});
const NAMES = ['00000000000000000000000000000000', null, '2'.repeat(32), '3'.repeat(32)];

/** A chunk that was asked for; `reload`: past every cache. */
interface Asked {
  readonly path: string;
  readonly reload: boolean;
}

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server whose chunks `change` may change, what it was asked, and the file that it has. */
async function serve(
  change: (packed: Uint8Array, reload: boolean) => Uint8Array,
): Promise<{ readonly source: ChunkSource; readonly asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(({ url: path = '', headers }, response) => {
    if (path.endsWith('.json')) {
      const index = { format: 'webhyve-chunks-1', sizeBytes: SIZE_BYTES, chunkBytes: CHUNK_BYTES, chunks: NAMES };
      response.end(JSON.stringify(index));
      return;
    }
    // What fetch() sends with cache: 'reload' (Fetch Standard, HTTP-network-or-cache fetch).
    const reload = headers['cache-control'] === 'no-cache';
    asked.push({ path, reload });
    const number = NAMES.indexOf(path.slice(1, -'.chunk'.length));
    if (number < 0) response.writeHead(404).end();
    else {
      const packed = gzipSync(CONTENT.subarray(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES));
      response.end(change(packed, reload));
    }
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const source = await ChunkSource.open(new URL(`http://127.0.0.1:${port}/disk.chunks.json`), {
    progress: () => undefined,
    message: () => undefined,
  });
  return { source, asked };
}

test('ranges in one chunk and over several, also over one that is all zeros', async () => {
  const { source, asked } = await serve((packed) => packed);
  expect(source.sizeBytes).toBe(SIZE_BYTES);
  for (const [from, to] of [
    [0, 0],
    [10, 1000],
    [0, CHUNK_BYTES],
    [CHUNK_BYTES + 5, CHUNK_BYTES + 6],
    [CHUNK_BYTES - 1, 2 * CHUNK_BYTES + 1],
    [SIZE_BYTES - 200, SIZE_BYTES],
    [0, SIZE_BYTES],
  ] as const) {
    const bytes = await source.read(from, to - from);
    expect(Buffer.compare(bytes, CONTENT.subarray(from, to)), `${from} to ${to}`).toBe(0);
  }
  // Each chunk once, from wherever the browser has kept it; the one of zeros not at all.
  expect(asked.map(({ path }) => path)).toEqual([0, 3, 2].map((number) => `/${NAMES[number] ?? ''}.chunk`).sort());
  expect(asked.map(({ reload }) => reload)).toEqual([false, false, false]);
});

test('a damaged chunk in the browser is asked for again, past what the browser has kept', async () => {
  const { source, asked } = await serve((packed, reload) => (reload ? packed : packed.subarray(0, packed.length / 2)));
  const bytes = await source.read(0, 50);
  expect(Buffer.compare(bytes, CONTENT.subarray(0, 50))).toBe(0);
  expect(asked.map(({ reload }) => reload)).toEqual([false, true]);
});

test('chunks that hold more, less or something else are refused, and tried anew by the next read', async () => {
  const bad: readonly Uint8Array[] = [
    gzipSync(new Uint8Array(CHUNK_BYTES + 1)),
    // Would fill memory if it were unpacked to its end.
    gzipSync(new Uint8Array(64 * 1024 * 1024)),
    gzipSync(new Uint8Array(CHUNK_BYTES - 1)),
    Uint8Array.from([1, 2, 3, 4]),
    new Uint8Array(0),
  ];
  let sent: Uint8Array | undefined;
  const { source } = await serve((packed) => sent ?? packed);
  for (sent of bad) {
    await expect(source.read(0, 10)).rejects.toThrow(/0{32}\.chunk: the chunk is damaged/);
  }
  sent = undefined;
  expect(Buffer.compare(await source.read(0, 10), CONTENT.subarray(0, 10))).toBe(0);
});
