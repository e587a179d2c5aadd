/** The file system of a disk image from which a loader boots: the whole image, or the partitions of a GPT or an MBR. */
import { ImageError, type ImageFiles, type ReadRange } from './image.ts';
import { openIso9660 } from './iso9660.ts';
import { openUfs } from './ufs.ts';

const SECTOR_BYTES = 512;
const GPT_SIGNATURE = 'EFI PART';
const MAX_GPT_ENTRIES = 256;
const MBR_ENTRIES = 4;
const MBR_TABLE = 446;

interface Partition {
  readonly offset: number;
  readonly lengthBytes: number;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function gptPartitions(readRange: ReadRange): Promise<Partition[]> {
  const header = await readRange(SECTOR_BYTES, SECTOR_BYTES);
  if (String.fromCharCode(...header.subarray(0, 8)) !== GPT_SIGNATURE) return [];
  const view = viewOf(header);
  const table = Number(view.getBigUint64(72, true)) * SECTOR_BYTES;
  const count = Math.min(view.getUint32(80, true), MAX_GPT_ENTRIES);
  const entryBytes = view.getUint32(84, true);
  if (entryBytes < 128 || entryBytes > 4096) throw new ImageError('The GPT of the image is damaged.');
  const entries = viewOf(await readRange(table, count * entryBytes));
  const partitions: Partition[] = [];
  for (let index = 0; index < count; index++) {
    const at = index * entryBytes;
    if (entries.getBigUint64(at, true) === 0n && entries.getBigUint64(at + 8, true) === 0n) continue;
    const first = Number(entries.getBigUint64(at + 32, true));
    const last = Number(entries.getBigUint64(at + 40, true));
    if (last >= first)
      partitions.push({ offset: first * SECTOR_BYTES, lengthBytes: (last - first + 1) * SECTOR_BYTES });
  }
  return partitions;
}

async function mbrPartitions(readRange: ReadRange): Promise<Partition[]> {
  const sector = await readRange(0, SECTOR_BYTES);
  const view = viewOf(sector);
  if (view.getUint16(510, true) !== 0xaa55) return [];
  return Array.from({ length: MBR_ENTRIES }, (_, index) => ({
    offset: view.getUint32(MBR_TABLE + 16 * index + 8, true) * SECTOR_BYTES,
    lengthBytes: view.getUint32(MBR_TABLE + 16 * index + 12, true) * SECTOR_BYTES,
  })).filter(({ offset, lengthBytes }) => offset > 0 && lengthBytes > 0);
}

function within(readRange: ReadRange, { offset, lengthBytes }: Partition): ReadRange {
  return (at, count) => {
    if (at + count > lengthBytes) return Promise.reject(new ImageError('The image is shorter than its file system.'));
    return readRange(offset + at, count);
  };
}

/** Every file system that can be read, in the order of the partitions. */
export async function openImage(readRange: ReadRange): Promise<ImageFiles[]> {
  const none = (): Partition[] => [];
  const partitions = [...(await gptPartitions(readRange).catch(none)), ...(await mbrPartitions(readRange).catch(none))];
  const found: ImageFiles[] = [];
  for (const range of [readRange, ...partitions.map((partition) => within(readRange, partition))]) {
    const files = (await openUfs(range)) ?? (await openIso9660(range));
    if (files) found.push(files);
  }
  return found;
}
