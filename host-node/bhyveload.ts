/** bhyveload(8): finds a FreeBSD kernel on a disk image, or in a folder (-h), and leaves it for bhyve under the machine's name. */
import { open, readdir, readFile, type FileHandle } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { Getopt } from '../devices/config/getopt.ts';
import { errnoText, parseMemorySize } from '../devices/config/index.ts';
import { LoaderError } from '../devices/firmware/loaders/boot-image.ts';
import { loadFreebsd } from '../devices/firmware/loaders/freebsd.ts';
import { openImage } from '../devices/images/disk.ts';
import { readFreebsdBoot, type FreebsdBoot } from '../devices/images/freebsd-boot.ts';
import { ImageError, type ImageFiles, type ReadRange } from '../devices/images/image.ts';
import { leaveLoaded } from './loaded.ts';
import { NameError, Registry } from './registry/registry.ts';
import { openRuntimeDir } from './registry/runtime-dir.ts';

const OPTSTRING = 'CSc:d:e:h:l:m:';
const MAX_DISKS = 32;
const DEFAULT_MEMORY = '256M';
const LOWMEM_LIMIT = 0xc000_0000;

interface Options {
  readonly disks: string[];
  readonly environment: Map<string, string>;
  hostFolder: string | undefined;
  memorySize: string;
  name: string;
}

/** What ends the run: a text for standard error and a status. */
class LoadFailure extends Error {
  constructor(
    message: string,
    readonly status = 1,
  ) {
    super(message);
  }
}

function usage(programName: string): LoadFailure {
  const indent = ' '.repeat(`usage: ${programName} `.length);
  return new LoadFailure(
    `usage: ${programName} [-C][-S][-c <console-device>] [-d <disk-path>] [-e <name=value>]\n` +
      `${indent}[-h <host-path>] [-m memsize[K|k|M|m|G|g|T|t]] <vmname>`,
  );
}

function parse(argv: readonly string[], programName: string): Options {
  const options: Options = {
    disks: [],
    environment: new Map(),
    hostFolder: undefined,
    memorySize: DEFAULT_MEMORY,
    name: '',
  };
  const getopt = new Getopt(argv, OPTSTRING);
  for (let event = getopt.next(); event; event = getopt.next()) {
    if (event.kind === 'error')
      throw new LoadFailure(`${programName}: ${event.message}\n${usage(programName).message}`);
    const { option, argument } = event;
    if (option === 'd') {
      options.disks.push(argument);
      if (options.disks.length > MAX_DISKS) throw new LoadFailure(`Maximum number of disks (${MAX_DISKS}) exceeded`);
    } else if (option === 'e') {
      const equals = argument.indexOf('=');
      if (equals < 1) throw new LoadFailure(`-e ${argument}: name=value is expected`);
      options.environment.set(argument.slice(0, equals), argument.slice(equals + 1));
    } else if (option === 'h') {
      options.hostFolder = argument;
    } else if (option === 'm') {
      if (parseMemorySize(argument) === undefined) throw new LoadFailure(`Invalid memsize '${argument}'`, 64);
      options.memorySize = argument;
    } else if (option === 'l' && argument !== '/boot/userboot.so') {
      throw new LoadFailure(`-l ${argument}: other loaders cannot run here; this one reads loader.conf itself`);
    }
    // -C and -S are bhyve's to heed, and -c has nothing to show: this loader asks nothing.
  }
  const [name, ...surplus] = getopt.operands;
  if (name === undefined || surplus.length > 0) throw usage(programName);
  options.name = name;
  return options;
}

function rangeOf(handle: FileHandle, sizeBytes: number): ReadRange {
  return async (offset, lengthBytes) => {
    if (!(offset >= 0) || !(lengthBytes >= 0) || offset + lengthBytes > sizeBytes) {
      throw new ImageError('The image is shorter than its file system.');
    }
    const bytes = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const { bytesRead } = await handle.read(bytes, done, lengthBytes - done, offset + done);
      if (bytesRead === 0) throw new ImageError('The image is shorter than it was.');
      done += bytesRead;
    }
    return bytes;
  };
}

/** A folder of this host as the loader's file system. */
function folderFiles(folder: string): ImageFiles {
  const root = resolve(folder);
  const place = (path: string): string | undefined => {
    const full = join(root, path);
    return full === root || full.startsWith(root + sep) ? full : undefined;
  };
  return {
    kind: 'folder',
    async read(path) {
      const full = place(path);
      return full === undefined ? undefined : readFile(full).catch(() => undefined);
    },
    async list(path) {
      const full = place(path);
      return full === undefined ? undefined : readdir(full).catch(() => undefined);
    },
  };
}

async function findBoot({ disks, environment, hostFolder }: Options): Promise<FreebsdBoot> {
  const searched: string[] = [];
  if (hostFolder !== undefined) {
    const boot = await readFreebsdBoot(folderFiles(hostFolder), environment);
    if (boot) return boot;
    searched.push(hostFolder);
  }
  for (const path of disks) {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      throw new LoadFailure(`Could not open '${path}': ${errnoText(error)}`);
    }
    try {
      const { size } = await handle.stat();
      const found = await openImage(rangeOf(handle, size));
      for (const files of found) {
        const boot = await readFreebsdBoot(files, environment);
        if (boot) return boot;
      }
      searched.push(`${path} (${found.map(({ kind }) => kind).join(', ') || 'no UFS2 or ISO 9660 file system'})`);
    } finally {
      await handle.close();
    }
  }
  if (searched.length === 0) throw new LoadFailure('no bootable device: name a disk with -d, or a folder with -h');
  throw new LoadFailure(`no FreeBSD kernel in ${searched.join(', ')}`);
}

/** Tries what bhyve will do, so that a kernel that cannot be booted is refused now. */
function check(boot: FreebsdBoot, memorySize: string): void {
  const bytes = parseMemorySize(memorySize) ?? 0;
  loadFreebsd({
    kernel: boot.kernel,
    commandLine: '',
    modules: boot.modules.map(({ name, bytes: module, type }) => ({
      name,
      bytes: module,
      commandLine: type === undefined ? undefined : `type=${type}`,
    })),
    lowmemBytes: Math.min(bytes, LOWMEM_LIMIT),
    highmemBytes: Math.max(0, bytes - LOWMEM_LIMIT),
  });
}

/** Runs the command; resolves with its status. */
export async function runBhyveload(
  argv: readonly string[],
  programName: string,
  stderr: (text: string) => void,
): Promise<number> {
  try {
    const options = parse(argv, programName);
    const boot = await findBoot(options);
    check(boot, options.memorySize);
    await leaveLoaded(new Registry(openRuntimeDir()), options.name, boot, options.memorySize);
    return 0;
  } catch (error) {
    if (error instanceof LoadFailure) {
      stderr(`${error.message}\n`);
      return error.status;
    }
    if (error instanceof NameError) stderr(`vm_create: ${error.message}\n`);
    else if (error instanceof ImageError || error instanceof LoaderError) stderr(`${programName}: ${error.message}\n`);
    else throw error;
    return 1;
  }
}
