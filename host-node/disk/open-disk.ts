/** Opens what the path of a disk names: a raw image or a block device, a qcow2 image, or a file on a web server. */
import { dirname, resolve } from 'node:path';
import { inflateRaw } from 'node:zlib';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import { OverlayBackend } from '../../devices/block/overlay-backend.ts';
import { isQcow2, Qcow2Error } from '../../devices/block/qcow2/header.ts';
import { Qcow2Backend } from '../../devices/block/qcow2/backend.ts';
import { errnoText } from '../../devices/config/index.ts';
import { BackingFileError, FileBackend } from './file-backend.ts';
import { FileLockedError } from './file-lock.ts';
import { NodeImageFile } from './image-file.ts';

/** Images based on images based on images: none of the user's, and no circle. */
const MAX_BACKING_DEPTH = 16;

/** `format=`, or what the name says. The contents are not asked: a guest writes those of a raw disk. */
function isQcow2Path({ format, path }: BlockSettings): boolean {
  return format === undefined ? /\.qcow2?$/i.test(path) : format === 'qcow2';
}

/** As many bytes as the cluster has; what follows the compressed stream in its last sector is ignored. */
function inflate(bytes: Uint8Array, lengthBytes: number): Promise<Uint8Array> {
  return new Promise((done, failed) => {
    inflateRaw(bytes, { maxOutputLength: lengthBytes }, (error, result) => (error ? failed(error) : done(result)));
  });
}

async function openBackingImage(path: string, depth: number): Promise<BlockBackend> {
  if (depth > MAX_BACKING_DEPTH) throw new Qcow2Error('too many backing files');
  const file = await NodeImageFile.open(path, true);
  const magic = new Uint8Array(4);
  try {
    await file.read(0, [magic]);
    if (isQcow2(magic)) return await openQcow2(file, path, depth);
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return FileBackend.open({ ...READ_ONLY, path });
}

const READ_ONLY = {
  ro: true,
  nocache: false,
  nodelete: true,
  sync: false,
  direct: false,
  snapshot: false,
  format: 'raw',
  sectorsize: undefined,
  bootindex: undefined,
} as const;

function openQcow2(file: NodeImageFile, path: string, depth: number): Promise<Qcow2Backend> {
  return Qcow2Backend.open(file, {
    inflateRaw: inflate,
    openBacking: (name) => openBackingImage(resolve(dirname(path), name), depth + 1),
  });
}

async function openImage(settings: BlockSettings): Promise<BlockBackend> {
  if (!isQcow2Path(settings)) return FileBackend.open(settings);
  const { path } = settings;
  if (settings.nocache) throw new BackingFileError(`Could not open backing file: ${path}: nocache is for raw images`);
  let file: NodeImageFile | undefined;
  try {
    file = await NodeImageFile.open(path, settings.ro);
    return await openQcow2(file, path, 0);
  } catch (error) {
    await file?.close();
    const known = error instanceof Qcow2Error || error instanceof FileLockedError;
    throw new BackingFileError(`Could not open backing file: ${path}: ${known ? error.message : errnoText(error)}`, {
      cause: error,
    });
  }
}

/** Opens a disk. Rejects with BackingFileError, whose message is for the user. */
export async function openDisk(settings: BlockSettings): Promise<BlockBackend> {
  // Changes that are thrown away leave the image as it is: others may read it meanwhile.
  if (settings.snapshot && !settings.ro) return new OverlayBackend(await openImage({ ...settings, ro: true }));
  return openImage(settings);
}
