/** Sizes of block devices of the host, which their inodes do not tell: Linux has them in sysfs. */
import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const SYSFS_UNIT_BYTES = 512;

export interface DeviceSizes {
  readonly sizeBytes: number;
  readonly logicalBytes: number;
  readonly physicalBytes: number;
}

async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  const value = Number(text?.trim());
  return text === undefined || !Number.isSafeInteger(value) ? undefined : value;
}

/** Sizes of the device at a path (symbolic links are followed). A partition has the queue of its disk. */
export async function blockDeviceSizes(path: string): Promise<DeviceSizes> {
  const name = basename(await realpath(path));
  const directory = await realpath(join('/sys/class/block', name)).catch(() => undefined);
  if (directory === undefined) return { sizeBytes: 0, logicalBytes: 512, physicalBytes: 512 };
  const queueNumber = async (file: string): Promise<number | undefined> =>
    (await readNumber(join(directory, 'queue', file))) ?? readNumber(join(dirname(directory), 'queue', file));
  const logicalBytes = (await queueNumber('logical_block_size')) ?? 512;
  const physicalBytes = (await queueNumber('physical_block_size')) ?? logicalBytes;
  const sizeBytes = ((await readNumber(join(directory, 'size'))) ?? 0) * SYSFS_UNIT_BYTES;
  return { sizeBytes, logicalBytes, physicalBytes };
}
