/** A published file in chunks: every byte in its place, and chunks that are not what the index says. */
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test, vi } from 'vitest';
import { ChunkSource } from '../../devices/block/remote/chunk-source.ts';

const CHUNK_BYTES = 100_000;
const SIZE_BYTES = 3 * CHUNK_BYTES + 123;
const CONTENT = Uint8Array.from({ length: SIZE_BYTES }, (_, at) => {
  const isHole = Math.floor(at / CHUNK_BYTES) === 1;
  return isHole ? 0 : ((at * 7) ^ (at >>> 9)) & 0xff;
});
const NAMES = ['00000000000000000000000000000000', null, '2'.repeat(32), '3'.repeat(32)];

interface Asked {
  readonly path: string;
  readonly cache: string | undefined;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A server whose chunks `change` may change, and what it was asked. */
function serve(change: (path: string, packed: Uint8Array, cache: string | undefined) => Uint8Array): Asked[] {
  const asked: Asked[] = [];
  vi.stubGlobal('fetch', (url: URL, options: { readonly cache?: string } = {}) => {
    const path = url.pathname;
    if (path.endsWith('.json')) {
      const index = { format: 'webhyve-chunks-1', sizeBytes: SIZE_BYTES, chunkBytes: CHUNK_BYTES, chunks: NAMES };
      return Promise.resolve(new Response(JSON.stringify(index)));
    }
    asked.push({ path, cache: options.cache });
    const number = NAMES.indexOf(path.slice(1, -'.chunk'.length));
    if (number < 0) return Promise.resolve(new Response('', { status: 404 }));
    const packed = gzipSync(CONTENT.subarray(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES));
    return Promise.resolve(new Response(new Uint8Array(change(path, packed, options.cache))));
  });
  return asked;
}

function open(): Promise<ChunkSource> {
  return ChunkSource.open(new URL('http://server/disk.chunks.json'), {
    progress: () => undefined,
    message: () => undefined,
  });
}

test('ranges in one chunk and over several, also over one that is all zeros', async () => {
  const asked = serve((_, packed) => packed);
  const source = await open();
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
  expect(new Set(asked.map(({ cache }) => cache))).toEqual(new Set(['force-cache']));
});

test('a damaged chunk in the browser is asked for again, past what the browser has kept', async () => {
  const asked = serve((_, packed, cache) => (cache === 'reload' ? packed : packed.subarray(0, packed.length / 2)));
  const source = await open();
  const bytes = await source.read(0, 50);
  expect(Buffer.compare(bytes, CONTENT.subarray(0, 50))).toBe(0);
  expect(asked.map(({ cache }) => cache)).toEqual(['force-cache', 'reload']);
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
  serve((_, packed) => sent ?? packed);
  const source = await open();
  for (sent of bad) {
    await expect(source.read(0, 10)).rejects.toThrow(/0{32}\.chunk: the chunk is damaged/);
  }
  sent = undefined;
  expect(Buffer.compare(await source.read(0, 10), CONTENT.subarray(0, 10))).toBe(0);
});
