/**
 * A published file (webhyve-site): an index that names chunks by what they hold. Each chunk is a gzip file NAME.chunk beside the index;
 * chunks of zeros have none.
 */

/** How the address of such an index ends. */
export const CHUNK_INDEX_SUFFIX = '.chunks.json';

/** The index. */
export interface ChunkIndex {
  readonly format: 'webhyve-chunks-1';
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  /** One name for each chunk: the beginning of the SHA-256 of its bytes in hexadecimal; null: zeros. */
  readonly chunks: readonly (string | null)[];
}

/** Bounds for an index that somebody else wrote. */
const MAX_CHUNK_BYTES = 16 * 1024 * 1024;
const MAX_CHUNK_COUNT = 1 << 20;

/** Whether a value that was parsed from JSON is a sound index. */
export function isChunkIndex(value: unknown): value is ChunkIndex {
  if (typeof value !== 'object' || value === null) return false;
  const { format, sizeBytes, chunkBytes, chunks } = value as Partial<ChunkIndex>;
  return (
    format === 'webhyve-chunks-1' &&
    typeof sizeBytes === 'number' &&
    Number.isSafeInteger(sizeBytes) &&
    typeof chunkBytes === 'number' &&
    Number.isSafeInteger(chunkBytes) &&
    chunkBytes > 0 &&
    chunkBytes <= MAX_CHUNK_BYTES &&
    Array.isArray(chunks) &&
    chunks.length <= MAX_CHUNK_COUNT &&
    chunks.length === Math.ceil(sizeBytes / chunkBytes) &&
    chunks.every((name: unknown) => name === null || (typeof name === 'string' && /^[0-9a-f]{16,64}$/.test(name)))
  );
}
