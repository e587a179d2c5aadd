/**
 * What a file's name in the command line means in a page:
 *
 * - a name that the page gave a file to (dropped, picked): that file;
 * - `opfs:NAME`: an image that this browser keeps; `opfs:NAME?size=64M` makes an empty one first;
 * - `opfs:NAME?base=URL`: changes over a read-only image, kept in the browser;
 * - everything else is an address, relative to the page: `https:`, `http:`, `blob:`, `data:`. One that ends in `.chunks.json` is a
 *   published file (webhyve-site).
 */
import { parseMemorySize } from '../../devices/config/index.ts';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import { OverlayBackend } from '../../devices/block/overlay-backend.ts';
import type { DiskActivity } from '../port/protocol.ts';
import { FileError, SourceBackend, type ByteSource } from '../../devices/block/remote/byte-source.ts';
import { ChunkSource } from '../../devices/block/remote/chunk-source.ts';
import {
  fetchOrExplain,
  promisedBytes,
  readBody,
  type DownloadHost,
  type Progress,
} from '../../devices/block/remote/download.ts';
import { openSource } from '../../devices/block/remote/open-source.ts';
import { ReadAheadSource } from '../../devices/block/remote/read-ahead.ts';
import { CHUNK_INDEX_SUFFIX } from '../../devices/publish/chunk-index.ts';
import { BytesSource, type SnapshotSource } from '../../devices/snapshot.ts';
import { BlobSource } from './blob-source.ts';
import { CountedBackend } from './counted-backend.ts';
import { OpfsBackend, checkOpfsName, opfsFolder } from './opfs.ts';
import { OpfsOverlay } from './opfs-overlay.ts';

const PROTOCOLS: readonly string[] = ['https:', 'http:', 'blob:', 'data:'];

export interface FileSpaceOptions {
  /** Relative names are resolved against this address. */
  readonly base: string;
  readonly files: Readonly<Record<string, Blob>>;
  readonly progress: Progress;
  readonly message: (text: string) => void;
}

/** `opfs:NAME[?size=SIZE|?base=URL]`. */
interface OpfsName {
  readonly name: string;
  readonly createBytes: number | undefined;
  readonly base: string | undefined;
}

/** Takes an `opfs:` name apart; undefined when it is none. Throws {@link FileError} when it is not well formed. */
export function parseOpfsName(path: string): OpfsName | undefined {
  const match = /^opfs:([^?]*)(?:\?(size|base)=(.*))?$/s.exec(path);
  if (!match) {
    if (path.startsWith('opfs:'))
      throw new FileError(`${path}: it must be opfs:NAME, opfs:NAME?size=SIZE or opfs:NAME?base=URL`);
    return undefined;
  }
  const [, name = '', option, value = ''] = match;
  checkOpfsName(name);
  let createBytes: number | undefined;
  if (option === 'size') {
    createBytes = parseMemorySize(value);
    if (createBytes === undefined || createBytes <= 0) throw new FileError(`${path}: ${value} is no size`);
  }
  return { name, createBytes, base: option === 'base' ? value : undefined };
}

/** A page learns nothing of why another origin's server did not answer. */
function crossOriginReason(url: URL): string | undefined {
  if (!url.protocol.startsWith('http') || url.origin === globalThis.location.origin) return undefined;
  return 'its server cannot be reached or does not let this page read it (it must send Access-Control-Allow-Origin)';
}

export class FileSpace {
  readonly #disks = new Map<string, CountedBackend>();

  readonly #host: DownloadHost;

  constructor(private readonly options: FileSpaceOptions) {
    const { progress, message } = options;
    this.#host = { progress, message, unreachable: crossOriginReason };
  }

  #url(path: string): URL {
    let url: URL;
    try {
      url = new URL(path, this.options.base);
    } catch (error) {
      throw new FileError(`${path}: this is no address`, { cause: error });
    }
    if (PROTOCOLS.includes(url.protocol)) return url;
    throw new FileError(`${path}: a page cannot open ${url.protocol} addresses`);
  }

  #given(path: string): Blob | undefined {
    return Object.hasOwn(this.options.files, path) ? this.options.files[path] : undefined;
  }

  /** The whole of a file: kernels, initial RAM disks, boot ROMs, snapshots. */
  async readFile(path: string): Promise<Uint8Array> {
    const given = this.#given(path);
    if (given) return new Uint8Array(await given.arrayBuffer());
    const opfs = parseOpfsName(path);
    if (opfs) {
      const file = await (await opfsFolder()).getFileHandle(opfs.name).catch((error: unknown) => {
        throw new FileError(`opfs:${opfs.name}: there is no such file`, { cause: error });
      });
      return new Uint8Array(await (await file.getFile()).arrayBuffer());
    }
    const url = this.#url(path);
    if (url.pathname.endsWith(CHUNK_INDEX_SUFFIX)) {
      const source = await ChunkSource.open(url, this.#host);
      return (await source.read(0, source.sizeBytes)).slice();
    }
    const response = await fetchOrExplain(url, this.#host);
    return readBody(response, url, this.#host, promisedBytes(response));
  }

  /** A snapshot, read from its beginning to its end while it is still on its way. */
  async openSnapshot(path: string): Promise<SnapshotSource> {
    const given = this.#given(path);
    if (given) return new ReadAheadSource(new BlobSource(given));
    const url = path.startsWith('opfs:') ? undefined : this.#url(path);
    if (url?.pathname.endsWith(CHUNK_INDEX_SUFFIX)) return new ReadAheadSource(await ChunkSource.open(url, this.#host));
    return new BytesSource(await this.readFile(path));
  }

  /** A disk, with the options `ro` and `sectorsize` of bhyve_config(5). What is only read gets its changes kept in memory. */
  async openBlock({ path, ro, sectorsize, snapshot }: BlockSettings): Promise<BlockBackend> {
    if (this.#disks.has(path)) throw new FileError(`${path}: another disk of this machine has it open`);
    const { backend, source } = await this.#open(path, ro);
    // Without snapshot=1 a file that is only read elsewhere has its changes in a file there, and no state.
    const contents = snapshot ? backend.volatileBlocks : undefined;
    const disk = new CountedBackend(backend, sectorsize, () => source?.fetchedBytes ?? 0, contents);
    this.#disks.set(path, disk);
    return disk;
  }

  async #open(path: string, readOnly: boolean): Promise<{ backend: BlockBackend; source?: ByteSource }> {
    const { message } = this.options;
    const opfs = parseOpfsName(path);
    if (opfs && opfs.base === undefined)
      return { backend: await OpfsBackend.open(opfs.name, { ...opfs, readOnly }, message) };
    const source = await this.#source(opfs?.base ?? path);
    const base = new SourceBackend(source);
    if (readOnly) return { backend: base, source };
    if (opfs) {
      const origin = { url: opfs.base ?? '', validator: source.validator };
      return { backend: await OpfsOverlay.open(opfs.name, base, origin, message), source };
    }
    message(`${path}: changes stay in memory and go with the machine`);
    return { backend: new OverlayBackend(base), source };
  }

  async #source(path: string): Promise<ByteSource> {
    const given = this.#given(path);
    if (given) return new BlobSource(given);
    return openSource(this.#url(path), this.#host);
  }

  /** Disks of this machine by the name that the command line has for them. */
  get disks(): ReadonlyMap<string, BlockBackend> {
    return this.#disks;
  }

  activity(): DiskActivity[] {
    return [...this.#disks].map(([path, disk]) => ({
      path,
      readBytes: disk.readBytes,
      writtenBytes: disk.writtenBytes,
      fetchedBytes: disk.fetchedBytes,
    }));
  }
}
