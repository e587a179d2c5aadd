/** Opens what the path of a disk names: a raw image or a block device, a qcow2 image, or a file on a web server. */
import { dirname, resolve } from 'node:path';
import { inflateRaw } from 'node:zlib';
import type { BlockBackend, BlockSettings } from '../../devices/backends/block.ts';
import type { ImageFile } from '../../devices/block/image-file.ts';
import { OverlayBackend } from '../../devices/block/overlay-backend.ts';
import { isQcow2, Qcow2Error } from '../../devices/block/qcow2/header.ts';
import { Qcow2Backend } from '../../devices/block/qcow2/backend.ts';
import { FileError, SourceBackend, type ByteSource } from '../../devices/block/remote/byte-source.ts';
import { openSource } from '../../devices/block/remote/open-source.ts';
import { SourceImageFile } from '../../devices/block/remote/source-image-file.ts';
import { errnoText } from '../../devices/config/index.ts';
import { BackingFileError, FileBackend } from './file-backend.ts';
import { FileLockedError } from './file-lock.ts';
import { NodeImageFile } from './image-file.ts';

/** Images based on images based on images: none of the user's, and no circle. */
const MAX_BACKING_DEPTH = 16;

/** A line for the user. */
type Message = (text: string) => void;

/** An address on a web server; undefined for a path. */
function remoteUrl(path: string): URL | undefined {
  return /^https?:\/\//i.test(path) ? new URL(path) : undefined;
}

function openRemote(url: URL, message: Message): Promise<ByteSource> {
  return openSource(url, { progress: () => undefined, message });
}

/** `format=`, or what the name says. The contents are not asked: a guest writes those of a raw disk. */
function isQcow2Path({ format, path }: BlockSettings): boolean {
  return format === undefined ? /\.qcow2?$/i.test(remoteUrl(path)?.pathname ?? path) : format === 'qcow2';
}

/** As many bytes as the cluster has; what follows the compressed stream in its last sector is ignored. */
function inflate(bytes: Uint8Array, lengthBytes: number): Promise<Uint8Array> {
  return new Promise((done, failed) => {
    inflateRaw(bytes, { maxOutputLength: lengthBytes }, (error, result) => (error ? failed(error) : done(result)));
  });
}

/** Where an image names its base: beside itself, unless it says more. */
function beside(path: string, name: string): string {
  if (remoteUrl(name)) return name;
  const url = remoteUrl(path);
  return url ? new URL(name, url).href : resolve(dirname(path), name);
}

async function openBackingImage(path: string, message: Message, depth: number): Promise<BlockBackend> {
  if (depth > MAX_BACKING_DEPTH) throw new Qcow2Error('too many backing files');
  const url = remoteUrl(path);
  const source = url ? await openRemote(url, message) : undefined;
  const file = source ? new SourceImageFile(source) : await NodeImageFile.open(path, true);
  const magic = new Uint8Array(4);
  try {
    await file.read(0, [magic]);
    if (isQcow2(magic)) return await openQcow2(file, path, message, depth);
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return source ? new SourceBackend(source) : FileBackend.open({ ...READ_ONLY, path });
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

function openQcow2(file: ImageFile, path: string, message: Message, depth: number): Promise<Qcow2Backend> {
  return Qcow2Backend.open(file, {
    inflateRaw: inflate,
    openBacking: (name) => openBackingImage(beside(path, name), message, depth + 1),
  });
}

async function openImage(settings: BlockSettings, message: Message): Promise<BlockBackend> {
  const { path } = settings;
  const url = remoteUrl(path);
  const hasFormat = isQcow2Path(settings);
  if (!url && !hasFormat) return FileBackend.open(settings);
  if (settings.nocache) {
    const whose = url ? 'files of this host' : 'raw images';
    throw new BackingFileError(`Could not open backing file: ${path}: nocache is for ${whose}`);
  }
  let file: ImageFile | undefined;
  try {
    const source = url ? await openRemote(url, message) : undefined;
    if (source && !hasFormat) return new SourceBackend(source, settings.sectorsize);
    file = source ? new SourceImageFile(source) : await NodeImageFile.open(path, settings.ro);
    return await openQcow2(file, path, message, 0);
  } catch (error) {
    await file?.close();
    // The message of a file on a server begins with its address.
    if (error instanceof FileError) throw new BackingFileError(`Could not open backing file: ${error.message}`);
    const known = error instanceof Qcow2Error || error instanceof FileLockedError;
    throw new BackingFileError(`Could not open backing file: ${path}: ${known ? error.message : errnoText(error)}`, {
      cause: error,
    });
  }
}

/** Opens a disk. Rejects with BackingFileError, whose message is for the user. */
export async function openDisk(settings: BlockSettings, message: Message = () => undefined): Promise<BlockBackend> {
  // Changes that are thrown away leave the image as it is: others may read it meanwhile.
  if (settings.snapshot && !settings.ro) return new OverlayBackend(await openImage({ ...settings, ro: true }, message));
  return openImage(settings, message);
}
