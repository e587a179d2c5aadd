/** What an address names: a published file in chunks, or any other file on a server. */
import { CHUNK_INDEX_SUFFIX } from '../../publish/chunk-index.ts';
import type { ByteSource } from './byte-source.ts';
import { ChunkSource } from './chunk-source.ts';
import type { DownloadHost } from './download.ts';
import { RangeSource } from './range-source.ts';

/** Rejects with FileError when there is no such file, or its server does not give it. */
export function openSource(url: URL, host: DownloadHost): Promise<ByteSource> {
  return url.pathname.endsWith(CHUNK_INDEX_SUFFIX) ? ChunkSource.open(url, host) : RangeSource.open(url, host);
}
