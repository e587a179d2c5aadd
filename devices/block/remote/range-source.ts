/**
 * A file on a server, read by range requests (RFC 9110, 14) as its bytes are wanted, in blocks that are kept for a while. A server that
 * answers none has its file read whole.
 */
import { FileError, type ByteSource } from './byte-source.ts';
import { fetchOrExplain, promisedBytes, readBody, type DownloadHost } from './download.ts';

const BLOCK_BYTES = 128 * 1024;
/** Blocks kept in memory: 64 MiB. */
const MAX_BLOCKS = 512;
/** Most bytes asked for in one request. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;

function contentRangeTotal(response: Response, url: URL): number {
  const header = response.headers.get('content-range');
  if (header === null) {
    throw new FileError(
      `${url.href}: its server answers range requests but hides Content-Range from web pages ` +
        '(it must send Access-Control-Expose-Headers: Content-Range)',
    );
  }
  const total = Number(/^bytes \d+-\d+\/(\d+)$/.exec(header)?.[1]);
  if (!Number.isSafeInteger(total)) throw new FileError(`${url.href}: Content-Range: ${header} tells no size`);
  return total;
}

/** ETag or date of a response: what changes when the file does. */
function validatorOf(response: Response): string {
  return response.headers.get('etag') ?? response.headers.get('last-modified') ?? '';
}

export class RangeSource implements ByteSource {
  fetchedBytes = 0;
  /** By block number; the least recently used first. */
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

  private constructor(
    private readonly url: URL,
    private readonly host: DownloadHost,
    readonly sizeBytes: number,
    private readonly etag: string,
    /** The whole file, from a server that knows no ranges. */
    private readonly whole: Uint8Array | undefined,
  ) {
    this.fetchedBytes = whole?.length ?? 0;
  }

  get validator(): string {
    return `${this.sizeBytes} ${this.etag}`;
  }

  /** Asks for the first block, which also shows whether there is a file and whether its server knows ranges. */
  static async open(url: URL, host: DownloadHost): Promise<RangeSource> {
    const response = await fetchOrExplain(url, host, { headers: { Range: `bytes=0-${BLOCK_BYTES - 1}` } });
    if (response.status !== 206) {
      const whole = await readBody(response, url, host, promisedBytes(response));
      host.message(`${url.href}: its server answers no range requests, so the whole file was loaded`);
      return new RangeSource(url, host, whole.length, validatorOf(response), whole);
    }
    const sizeBytes = contentRangeTotal(response, url);
    const source = new RangeSource(url, host, sizeBytes, validatorOf(response), undefined);
    const first = new Uint8Array(await response.arrayBuffer());
    if (first.length !== Math.min(BLOCK_BYTES, sizeBytes)) {
      throw new FileError(`${url.href}: its server answered ${first.length} bytes for a range of ${BLOCK_BYTES}`);
    }
    source.fetchedBytes = first.length;
    source.#blocks.set(0, Promise.resolve(first));
    return source;
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    if (this.whole) return this.whole.subarray(offset, offset + lengthBytes);
    const bytes = new Uint8Array(lengthBytes);
    if (lengthBytes === 0) return bytes;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((offset + lengthBytes - 1) / BLOCK_BYTES);
    const blocks = this.#request(first, last);
    for (const [i, block] of (await Promise.all(blocks)).entries()) {
      const start = (first + i) * BLOCK_BYTES;
      const from = Math.max(0, offset - start);
      const to = Math.min(block.length, offset + lengthBytes - start);
      bytes.set(block.subarray(from, to), start + from - offset);
    }
    return bytes;
  }

  /** The blocks [first, last], those that are missing fetched by as few requests as the limit allows. */
  #request(first: number, last: number): Promise<Uint8Array>[] {
    const blocks: Promise<Uint8Array>[] = [];
    for (let index = first; index <= last; index++) {
      let block = this.#blocks.get(index);
      if (!block) {
        let end = index + 1;
        const limit = Math.min(last + 1, index + MAX_REQUEST_BYTES / BLOCK_BYTES);
        while (end < limit && !this.#blocks.has(end)) end++;
        this.#fetch(index, end);
        block = this.#blocks.get(index) ?? Promise.reject(new Error('no block'));
      } else {
        this.#blocks.delete(index);
        this.#blocks.set(index, block);
      }
      blocks.push(block);
    }
    for (const index of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_BLOCKS) break;
      if (index < first || index > last) this.#blocks.delete(index);
    }
    return blocks;
  }

  /** Starts fetching blocks [index, end). A failure is forgotten, so that the guest's next try asks again. */
  #fetch(index: number, end: number): void {
    const bytes = this.#fetchRange(index * BLOCK_BYTES, Math.min(this.sizeBytes, end * BLOCK_BYTES));
    for (let at = index; at < end; at++) {
      const from = (at - index) * BLOCK_BYTES;
      const block = bytes.then((all) => all.subarray(from, from + BLOCK_BYTES));
      this.#blocks.set(at, block);
      block.catch(() => this.#blocks.delete(at));
    }
  }

  async #fetchRange(from: number, to: number): Promise<Uint8Array> {
    const response = await fetchOrExplain(this.url, this.host, { headers: { Range: `bytes=${from}-${to - 1}` } });
    if (response.status !== 206 || validatorOf(response) !== this.etag) {
      await response.body?.cancel();
      throw new FileError(`${this.url.href}: the file has changed on its server`);
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length !== to - from) throw new FileError(`${this.url.href}: its server cut a range short`);
    this.fetchedBytes += bytes.length;
    return bytes;
  }
}
