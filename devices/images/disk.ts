/** The file system of a disk image from which a loader boots: the whole image, or the partitions of a GPT or an MBR. */
import { openExt2 } from './ext2.ts';
import { ImageError, viewOf, type ImageFiles, type ReadRange } from './image.ts';
import { openIso9660 } from './iso9660.ts';
import { openUfs } from './ufs.ts';

const SECTOR_BYTES = 512;
const GPT_SIGNATURE = 'EFI PART';
const MAX_GPT_ENTRIES = 256;
const MBR_ENTRIES = 4;
const MBR_TABLE = 446;
const EXTENDED_TYPES: ReadonlySet<number> = new Set([0x05, 0x0f, 0x85]);
const MAX_LOGICAL = 64;

interface Partition {
  /** As GRUB counts it: `gpt2`, `msdos1`. */
  readonly name: string;
  readonly offset: number;
  readonly lengthBytes: number;
}

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
      partitions.push({
        name: `gpt${index + 1}`,
        offset: first * SECTOR_BYTES,
        lengthBytes: (last - first + 1) * SECTOR_BYTES,
      });
  }
  return partitions;
}

/** Entries of a partition table in a sector; none without its signature. */
function mbrEntries(
  sector: Uint8Array,
): { readonly type: number; readonly offset: number; readonly lengthBytes: number }[] {
  const view = viewOf(sector);
  if (view.getUint16(510, true) !== 0xaa55) return [];
  return Array.from({ length: MBR_ENTRIES }, (_, index) => {
    const at = MBR_TABLE + 16 * index;
    return {
      type: view.getUint8(at + 4),
      offset: view.getUint32(at + 8, true) * SECTOR_BYTES,
      lengthBytes: view.getUint32(at + 12, true) * SECTOR_BYTES,
    };
  });
}

async function mbrPartitions(readRange: ReadRange): Promise<Partition[]> {
  const partitions: Partition[] = [];
  let extended = 0;
  for (const [index, { type, offset, lengthBytes }] of mbrEntries(await readRange(0, SECTOR_BYTES)).entries()) {
    if (offset === 0 || lengthBytes === 0) continue;
    if (EXTENDED_TYPES.has(type)) extended = offset;
    else partitions.push({ name: `msdos${index + 1}`, offset, lengthBytes });
  }
  // Logical partitions: each has a table of its own, which leads to the next one.
  for (let count = 0, at = extended; at !== 0 && count < MAX_LOGICAL; count++) {
    const [logical, next] = mbrEntries(await readRange(at, SECTOR_BYTES));
    if (!logical) break;
    const name = `msdos${MBR_ENTRIES + 1 + count}`;
    if (logical.lengthBytes > 0)
      partitions.push({ name, offset: at + logical.offset, lengthBytes: logical.lengthBytes });
    at = next && next.offset !== 0 ? extended + next.offset : 0;
  }
  return partitions;
}

function within(readRange: ReadRange, { offset, lengthBytes }: Partition): ReadRange {
  return (at, count) => {
    if (at + count > lengthBytes) return Promise.reject(new ImageError('The image is shorter than its file system.'));
    return readRange(offset + at, count);
  };
}

/** A file system and the partition that it lies in, as GRUB names it; empty: the whole image. */
export interface Volume {
  readonly partition: string;
  readonly files: ImageFiles;
}

/** Every file system that can be read, in the order of the partitions. Rejects when there are only damaged ones. */
export async function openVolumes(readRange: ReadRange): Promise<Volume[]> {
  const none = (): Partition[] => [];
  const partitions = [...(await gptPartitions(readRange).catch(none)), ...(await mbrPartitions(readRange).catch(none))];
  const ranges = partitions.map((partition) => ({ name: partition.name, range: within(readRange, partition) }));
  const found: Volume[] = [];
  let damage: unknown;
  for (const { name, range } of [{ name: '', range: readRange }, ...ranges]) {
    try {
      const files = (await openUfs(range)) ?? (await openIso9660(range)) ?? (await openExt2(range));
      if (files) found.push({ partition: name, files });
    } catch (error) {
      damage ??= error;
    }
  }
  // One that cannot be read is no reason to leave the others alone.
  if (found.length === 0 && damage !== undefined) throw damage;
  return found;
}

/** The same without the partitions' names. */
export async function openImage(readRange: ReadRange): Promise<ImageFiles[]> {
  return (await openVolumes(readRange)).map(({ files }) => files);
}
