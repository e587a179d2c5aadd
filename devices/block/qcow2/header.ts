/** The header of a qcow2 image (QEMU, docs/interop/qcow2.txt), versions 2 and 3. Every number is checked before it is used. */

const MAGIC = 0x514649fb;
const HEADER_BYTES_V2 = 72;
const HEADER_BYTES_V3 = 104;
export const HEADER_PROBE_BYTES = 4096;
const MIN_CLUSTER_BITS = 9;
const MAX_CLUSTER_BITS = 21;
/** QEMU's own bounds: 32 MiB of L1 table, 8 MiB of refcount table, 1023 bytes of backing file name. */
const MAX_L1_ENTRIES = (32 << 20) / 8;
const MAX_REFTABLE_BYTES = 8 << 20;
const MAX_BACKING_NAME = 1023;

const INCOMPATIBLE_DIRTY = 1n << 0n;
const INCOMPATIBLE_CORRUPT = 1n << 1n;
/** Autoclear bits mean something that a writer that does not know them must clear. */
const AUTOCLEAR_OFFSET = 88;

/** An image that is none, is damaged, or has features that are not understood. The message is for the user. */
export class Qcow2Error extends Error {
  override readonly name = 'Qcow2Error';
}

export interface Qcow2Header {
  readonly version: number;
  readonly clusterBits: number;
  readonly sizeBytes: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableEntries: number;
  /** Bits of a refcount: 1, 2, 4 ... 64. */
  readonly refcountBits: number;
  /** File name of the image that clusters without data come from, as it stands in the header. */
  readonly backingFile: string | undefined;
  /** The refcounts may be wrong: the image may be read, and written only after a repair. */
  readonly isDirty: boolean;
  readonly snapshotCount: number;
}

/** True for the first bytes of a qcow2 image. */
export function isQcow2(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) === MAGIC;
}

/** Reads the header out of the file's first bytes (at least HEADER_PROBE_BYTES of them, zeros beyond the end). Throws Qcow2Error. */
export function parseHeader(bytes: Uint8Array): Qcow2Header {
  if (bytes.length < HEADER_BYTES_V3 || !isQcow2(bytes)) throw new Qcow2Error('not a qcow2 image');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw new Qcow2Error(`qcow2 version ${version} is not supported`);
  const u64 = (offset: number): number => {
    const value = view.getBigUint64(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Qcow2Error('damaged qcow2 header');
    return Number(value);
  };
  const clusterBits = view.getUint32(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS)
    throw new Qcow2Error('damaged qcow2 header: cluster size');
  const clusterBytes = 2 ** clusterBits;
  const sizeBytes = u64(24);
  if (view.getUint32(32) !== 0) throw new Qcow2Error('encrypted qcow2 images are not supported');
  const l1Entries = view.getUint32(36);
  const l1Offset = u64(40);
  const clustersPerL2 = clusterBytes / 8;
  const neededL1 = Math.ceil(sizeBytes / (clusterBytes * clustersPerL2));
  if (l1Entries > MAX_L1_ENTRIES || l1Entries < neededL1 || l1Offset % clusterBytes !== 0) {
    throw new Qcow2Error('damaged qcow2 header: L1 table');
  }
  const refcountTableOffset = u64(48);
  const refcountTableBytes = view.getUint32(56) * clusterBytes;
  if (refcountTableBytes > MAX_REFTABLE_BYTES || refcountTableOffset % clusterBytes !== 0) {
    throw new Qcow2Error('damaged qcow2 header: refcount table');
  }
  const incompatible = version === 3 ? view.getBigUint64(72) : 0n;
  if (incompatible & INCOMPATIBLE_CORRUPT) throw new Qcow2Error('the qcow2 image is marked as corrupt');
  const unknown = incompatible & ~INCOMPATIBLE_DIRTY;
  if (unknown !== 0n) throw new Qcow2Error(`qcow2 features 0x${unknown.toString(16)} are not supported`);
  const refcountOrder = version === 3 ? view.getUint32(96) : 4;
  if (refcountOrder > 6) throw new Qcow2Error('damaged qcow2 header: refcount width');
  const headerBytes = version === 3 ? view.getUint32(100) : HEADER_BYTES_V2;
  if (headerBytes > clusterBytes) throw new Qcow2Error('damaged qcow2 header: length');
  const backingOffset = u64(8);
  const backingLength = view.getUint32(16);
  let backingFile: string | undefined;
  if (backingOffset !== 0) {
    if (backingLength > MAX_BACKING_NAME || backingOffset + backingLength > bytes.length) {
      throw new Qcow2Error('damaged qcow2 header: backing file name');
    }
    backingFile = new TextDecoder().decode(bytes.slice(backingOffset, backingOffset + backingLength));
  }
  return {
    version,
    clusterBits,
    sizeBytes,
    l1Entries,
    l1Offset,
    refcountTableOffset,
    refcountTableEntries: refcountTableBytes / 8,
    refcountBits: 2 ** refcountOrder,
    backingFile,
    isDirty: (incompatible & INCOMPATIBLE_DIRTY) !== 0n,
    snapshotCount: view.getUint32(60),
  };
}

/** Where a writer clears the autoclear features of a version 3 image; undefined for version 2. */
export function autoclearOffset({ version }: Qcow2Header): number | undefined {
  return version === 3 ? AUTOCLEAR_OFFSET : undefined;
}
