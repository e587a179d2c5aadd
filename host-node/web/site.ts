/**
 * `webhyve-site`: a folder with a page, the core and the files that a command line names, cut into chunks, which boots on any static server.
 * A snapshot that is made here lets the page begin where the snapshot was taken.
 */
import { mkdir, open, rm, writeFile, copyFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { OverlayBackend } from '../../devices/block/overlay-backend.ts';
import type { BlockBackend } from '../../devices/backends/block.ts';
import { CHUNK_INDEX_SUFFIX } from '../../devices/publish/chunk-index.ts';
import { formatCheckpointMeta } from '../../devices/machine/checkpoint.ts';
import { FileBackend } from '../disk/file-backend.ts';
import { machineFromArgs, type HostOptions } from '../index.ts';
import { writeChunks, type ChunkCounts, type ChunkInput } from './chunks.ts';
import { replaceLocalFiles, type LocalFile } from './local-files.ts';
import { browserFolder, contentSecurityPolicy, pageAssets, renderIndex } from './page-files.ts';

/** Disks are read here and there, everything else from its beginning to its end. */
const DISK_CHUNK_BYTES = 256 * 1024;
const FILE_CHUNK_BYTES = 1024 * 1024;
/** A snapshot is read as a whole: each request costs more than its bytes. */
const SNAPSHOT_CHUNK_BYTES = 4 * 1024 * 1024;
const FILES_FOLDER = 'files';
const SNAPSHOT_NAME = 'snapshot';

export interface SiteOptions {
  /** The folder to fill. What an earlier run wrote there is replaced. */
  readonly folder: string;
  readonly argv: readonly string[];
  /** Where relative names are looked up. */
  readonly directory: string;
  readonly title?: string | undefined;
  /** The machine starts with the page. */
  readonly autostart?: boolean | undefined;
  /** Boots the machine here until its first console prints this, and publishes a snapshot of it. */
  readonly snapshotAt?: string | undefined;
  /** How long that may take, in milliseconds. */
  readonly bootLimitMs?: number | undefined;
  readonly progress?: ((text: string) => void) | undefined;
  readonly browserFolder?: string | undefined;
  /** How the machine is run here; for tests. */
  readonly host?: HostOptions | undefined;
}

export interface SiteReport {
  readonly files: number;
  readonly chunks: number;
  readonly writtenBytes: number;
}

/** A disk that is still to be read when its machine has ended. */
class KeptOverlay extends OverlayBackend {
  override close(): Promise<void> {
    return Promise.resolve();
  }

  release(): Promise<void> {
    return super.close();
  }
}

/** The machine at the text, and its disks as it has left them. */
interface BootedMachine {
  readonly snapshot: Uint8Array;
  readonly meta: string;
  readonly disks: ReadonlyMap<string, KeptOverlay>;
}

async function bootUntil(options: SiteOptions, text: string): Promise<BootedMachine> {
  const disks = new Map<string, KeptOverlay>();
  const machine = await machineFromArgs(options.argv, {
    ...options.host,
    message: options.progress,
    backends: {
      // The published disk is what the guest has made of it; the file itself stays as it is.
      block: async (settings) => {
        const base = await FileBackend.open({ ...settings, path: resolve(options.directory, settings.path), ro: true });
        const disk = new KeptOverlay(base);
        disks.set(resolve(options.directory, settings.path), disk);
        return disk;
      },
    },
  });
  try {
    const console = Object.values(machine.consoles)[0];
    if (!console) throw new Error('the machine has no console whose text could be waited for (-l com1,stdio)');
    machine.start();
    await console.expect(text, { timeout: options.bootLimitMs ?? 300_000 });
    const snapshot = await machine.snapshot();
    const { vcpus } = machine.plan;
    const meta = formatCheckpointMeta({ name: machine.name, vcpus, memoryBytes: machine.settings.memoryBytes });
    return { snapshot, meta, disks };
  } finally {
    await machine.destroy();
  }
}

async function fileInput(path: string): Promise<ChunkInput & { close(): Promise<void> }> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  return {
    sizeBytes: size,
    async read(offset, lengthBytes) {
      const bytes = new Uint8Array(lengthBytes);
      for (let at = 0; at < lengthBytes;) {
        const { bytesRead } = await handle.read(bytes, at, lengthBytes - at, offset + at);
        if (bytesRead === 0) throw new Error(`${path}: the file became shorter while it was read`);
        at += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

function bytesInput(bytes: Uint8Array): ChunkInput {
  return {
    sizeBytes: bytes.length,
    read: (offset, lengthBytes) => Promise.resolve(bytes.subarray(offset, offset + lengthBytes)),
  };
}

function diskInput(disk: BlockBackend): ChunkInput {
  return {
    sizeBytes: disk.sizeBytes,
    async read(offset, lengthBytes) {
      const bytes = new Uint8Array(lengthBytes);
      await disk.read(offset, [bytes]);
      return bytes;
    },
  };
}

/** Origins of addresses in the command line, which the page must be allowed to fetch from. */
function namedOrigins(argv: readonly string[]): string[] {
  const found = argv.flatMap((word) => word.match(/\b(?:https?|wss?):\/\/[^/,\s?#]+/g) ?? []);
  return [...new Set(found)];
}

/** Removes what an earlier run wrote; other files of the folder stay. */
async function clear(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(folder)) {
    if (/^chunk-\w+\.js$/.test(name)) await rm(join(folder, name));
  }
  await rm(join(folder, FILES_FOLDER), { recursive: true, force: true });
  await mkdir(join(folder, FILES_FOLDER));
}

/** Writes the site. Rejects with a message for the user. */
export async function writeSite(options: SiteOptions): Promise<SiteReport> {
  const { folder, directory, progress = () => undefined } = options;
  const source = options.browserFolder ?? browserFolder();
  const address = ({ name }: LocalFile): string => `${FILES_FOLDER}/${name}${CHUNK_INDEX_SUFFIX}`;
  const { argv, files } = replaceLocalFiles(options.argv, directory, address);
  const booted = options.snapshotAt === undefined ? undefined : await bootUntil(options, options.snapshotAt);
  await clear(folder);
  const target = join(folder, FILES_FOLDER);
  const counts: ChunkCounts = { chunks: 0, writtenBytes: 0 };
  for (const { path, name, disk, snapshot } of files) {
    progress(`cutting ${name} into chunks`);
    const written = booted?.disks.get(path);
    const input = written ? { ...diskInput(written), close: () => written.release() } : await fileInput(path);
    try {
      await writeChunks(input, target, name, disk ? DISK_CHUNK_BYTES : FILE_CHUNK_BYTES, counts);
    } finally {
      await input.close();
    }
    if (snapshot)
      await copyFile(`${path}.meta`, join(target, `${name}${CHUNK_INDEX_SUFFIX}.meta`)).catch(() => undefined);
  }
  if (booted) {
    progress('cutting the snapshot into chunks');
    const name = await writeChunks(bytesInput(booted.snapshot), target, SNAPSHOT_NAME, SNAPSHOT_CHUNK_BYTES, counts);
    await writeFile(join(target, `${name}.meta`), booted.meta);
    argv.unshift('-r', `${FILES_FOLDER}/${name}`);
  }
  for (const name of pageAssets(source)) await copyFile(join(source, name), join(folder, name));
  const data = {
    argv,
    ...(options.title === undefined ? {} : { title: options.title }),
    autostart: options.autostart ?? false,
    serviceWorker: 'service-worker.js',
  };
  await writeFile(join(folder, 'index.html'), renderIndex(source, data, contentSecurityPolicy(namedOrigins(argv))));
  return { files: files.length + (booted ? 1 : 0), ...counts };
}
