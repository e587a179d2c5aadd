/**
 * A published file (webhyve-site): an index that names chunks by what they hold, each a small file beside it that every static
 * server can send and every cache can keep. Chunks of zeros have no file.
 */
import { md5 } from '../../bus/md5.ts';
import { isChunkIndex, type ChunkIndex } from '../../publish/chunk-index.ts';
import { FileError, type ByteSource } from './byte-source.ts';
import { fetchOrExplain, type DownloadHost } from './download.ts';

/** Bytes of chunks kept in memory. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** Undoes the compression of a chunk's file. */
async function gunzip(bytes: ArrayBuffer): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
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
    const bytes = new Uint8Array(lengthBytes);
    if (lengthBytes === 0) return bytes;
    const { chunkBytes } = this.index;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.floor((offset + lengthBytes - 1) / chunkBytes);
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
    const response = await fetchOrExplain(url, this.host);
    const packed = await response.arrayBuffer();
    this.fetchedBytes += packed.byteLength;
    const bytes = await gunzip(packed).catch((error: unknown) => {
      throw new FileError(`${url.href}: the chunk is damaged`, { cause: error });
    });
    if (bytes.length !== Math.min(chunkBytes, sizeBytes - number * chunkBytes)) {
      throw new FileError(`${url.href}: the chunk has the wrong length`);
    }
    const total = this.index.chunks.filter((other) => other !== null).length * chunkBytes;
    this.host.progress({
      url: this.url.href,
      doneBytes: Math.min(total, this.#chunks.size * chunkBytes),
      totalBytes: total,
    });
    return bytes;
  }
}
