/**
 * A published file (webhyve-site): an index that names chunks by what they hold, each a small file beside it that every static
 * server can send and every cache can keep. Chunks of zeros have no file.
 */
import { md5 } from '../../bus/md5.ts';
import { isChunkIndex, type ChunkIndex } from '../../publish/chunk-index.ts';
import { FileError, type ByteSource } from './byte-source.ts';
import { fetchOrExplain, promisedBytes, type DownloadHost } from './download.ts';

/** Bytes of chunks kept in memory. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/** Unpacks the file of a chunk of `lengthBytes` bytes while it arrives; undefined when it holds more, or less. */
async function unpack(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  lengthBytes: number,
): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(lengthBytes);
  const reader = body.pipeThrough(new DecompressionStream('gzip')).getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return at === lengthBytes ? bytes : undefined;
    if (at + value.length > lengthBytes) {
      await reader.cancel();
      return undefined;
    }
    bytes.set(value, at);
    at += value.length;
  }
}

export class ChunkSource implements ByteSource {
  fetchedBytes = 0;
  readonly sizeBytes: number;
  readonly validator: string;
  /** By chunk number; the least recently used first. */
  readonly #chunks = new Map<number, Promise<Uint8Array>>();

  private constructor(
    private readonly url: URL,
    private readonly index: ChunkIndex,
    private readonly host: DownloadHost,
  ) {
    this.sizeBytes = index.sizeBytes;
    this.validator = `${index.sizeBytes} ${md5(new TextEncoder().encode(index.chunks.join())).join('')}`;
  }

  static async open(url: URL, host: DownloadHost): Promise<ChunkSource> {
    const response = await fetchOrExplain(url, host);
    const value: unknown = await response.json().catch(() => undefined);
    if (!isChunkIndex(value)) throw new FileError(`${url.href}: this is no index of webhyve-site`);
    return new ChunkSource(url, value, host);
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    if (lengthBytes === 0) return new Uint8Array(0);
    const { chunkBytes } = this.index;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.floor((offset + lengthBytes - 1) / chunkBytes);
    if (first === last) {
      const content = await this.#chunk(first);
      const from = offset - first * chunkBytes;
      return content?.subarray(from, from + lengthBytes) ?? new Uint8Array(lengthBytes);
    }
    const bytes = new Uint8Array(lengthBytes);
    const copies: Promise<void>[] = [];
    for (let number = first; number <= last; number++) {
      const chunk = this.#chunk(number);
      if (!chunk) continue;
      const start = number * chunkBytes;
      copies.push(
        chunk.then((content) => {
          const from = Math.max(0, offset - start);
          const to = Math.min(content.length, offset + lengthBytes - start);
          bytes.set(content.subarray(from, to), start + from - offset);
        }),
      );
    }
    await Promise.all(copies);
    return bytes;
  }

  /** Undefined: zeros. */
  #chunk(number: number): Promise<Uint8Array> | undefined {
    const name = this.index.chunks[number];
    if (name === null || name === undefined) return undefined;
    let chunk = this.#chunks.get(number);
    if (chunk) this.#chunks.delete(number);
    else {
      chunk = this.#fetch(number, name);
      chunk.catch(() => this.#chunks.delete(number));
    }
    this.#chunks.set(number, chunk);
    for (const old of this.#chunks.keys()) {
      if (this.#chunks.size * this.index.chunkBytes <= MAX_KEPT_BYTES) break;
      this.#chunks.delete(old);
    }
    return chunk;
  }

  async #fetch(number: number, name: string): Promise<Uint8Array> {
    const { sizeBytes, chunkBytes } = this.index;
    const url = new URL(`${name}.chunk`, this.url);
    const lengthBytes = Math.min(chunkBytes, sizeBytes - number * chunkBytes);
    // Its name says what it holds: a browser that has kept it need not ask its server again, unless what it has kept is damaged.
    const bytes =
      (await this.#unpacked(url, lengthBytes, 'force-cache')) ?? (await this.#unpacked(url, lengthBytes, 'reload'));
    if (!bytes) throw new FileError(`${url.href}: the chunk is damaged, or came only in part`);
    const total = this.index.chunks.filter((other) => other !== null).length * chunkBytes;
    this.host.progress({
      url: this.url.href,
      doneBytes: Math.min(total, this.#chunks.size * chunkBytes),
      totalBytes: total,
    });
    return bytes;
  }

  async #unpacked(url: URL, lengthBytes: number, cache: 'force-cache' | 'reload'): Promise<Uint8Array | undefined> {
    const response = await fetchOrExplain(url, this.host, { cache });
    if (!response.body) return undefined;
    const bytes = await unpack(response.body, lengthBytes).catch(() => undefined);
    if (bytes) this.fetchedBytes += promisedBytes(response) ?? lengthBytes;
    return bytes;
  }
}
