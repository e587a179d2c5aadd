/** bhyveload(8): finds a FreeBSD kernel on a disk image, or in a folder (-h), and leaves it for bhyve under the machine's name. */
import { Getopt } from '../devices/config/getopt.ts';
import { parseMemorySize } from '../devices/config/index.ts';
import { LoaderError } from '../devices/firmware/loaders/boot-image.ts';
import { loadFreebsd } from '../devices/firmware/loaders/freebsd.ts';
import { readFreebsdBoot, type FreebsdBoot } from '../devices/images/freebsd-boot.ts';
import { ImageError } from '../devices/images/image.ts';
import { leaveLoaded } from './loaded.ts';
import { folderFiles, LoadFailure, openImageFile } from './loader-files.ts';
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

async function findBoot({ disks, environment, hostFolder }: Options): Promise<FreebsdBoot> {
  const searched: string[] = [];
  if (hostFolder !== undefined) {
    const boot = await readFreebsdBoot(folderFiles(hostFolder), environment);
    if (boot) return boot;
    searched.push(hostFolder);
  }
  for (const path of disks) {
    const image = await openImageFile(path);
    try {
      for (const { files } of image.volumes) {
        const boot = await readFreebsdBoot(files, environment);
        if (boot) return boot;
      }
      const kinds = image.volumes.map(({ files }) => files.kind).join(', ');
      searched.push(`${path} (${kinds || 'no UFS2 or ISO 9660 file system'})`);
    } finally {
      await image.close();
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
    await leaveLoaded(new Registry(openRuntimeDir()), options.name, {
      protocol: 'freebsd',
      kernel: boot.kernel,
      initrd: undefined,
      commandLine: [...boot.environment].map(([key, value]) => `${key}=${value}`).join('\n'),
      modules: boot.modules,
    });
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
