/** Cuts files into chunks that any static server can send (devices/publish/chunk-index.ts). */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { CHUNK_INDEX_SUFFIX, type ChunkIndex } from '../../devices/publish/chunk-index.ts';

const compress = promisify(gzip);
/** Hexadecimal digits of a chunk's SHA-256 in its name: 128 bits. */
const NAME_DIGITS = 32;

/** What is cut. */
export interface ChunkInput {
  readonly sizeBytes: number;
  read(offset: number, lengthBytes: number): Promise<Uint8Array>;
}

export interface ChunkCounts {
  chunks: number;
  /** Bytes of the files that were written. */
  writtenBytes: number;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Writes the chunks and the index NAME.chunks.json into a folder; chunks that are there already are left. Resolves to the index's name. */
export async function writeChunks(
  input: ChunkInput,
  folder: string,
  name: string,
  chunkBytes: number,
  counts: ChunkCounts,
): Promise<string> {
  const chunks: (string | null)[] = [];
  for (let offset = 0; offset < input.sizeBytes; offset += chunkBytes) {
    const bytes = await input.read(offset, Math.min(chunkBytes, input.sizeBytes - offset));
    if (isZero(bytes)) {
      chunks.push(null);
      continue;
    }
    const digest = createHash('sha256').update(bytes).digest('hex').slice(0, NAME_DIGITS);
    chunks.push(digest);
    counts.chunks++;
    const path = join(folder, `${digest}.chunk`);
    if (existsSync(path)) continue;
    const packed = await compress(bytes, { level: 6 });
    counts.writtenBytes += packed.length;
    await writeFile(path, packed);
  }
  const index: ChunkIndex = { format: 'webhyve-chunks-1', sizeBytes: input.sizeBytes, chunkBytes, chunks };
  const indexName = `${name}${CHUNK_INDEX_SUFFIX}`;
  await writeFile(join(folder, indexName), JSON.stringify(index));
  return indexName;
}
