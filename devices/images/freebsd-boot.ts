/**
 * What FreeBSD's loader does with a disk before it enters the kernel, without its scripts: /boot/loader.conf and its neighbours, device.hints, the
 * kernel, and the modules that these ask for.
 */
import { ImageError, type ImageFiles } from './image.ts';

const CONFIGURATION_FILES = [
  '/boot/defaults/loader.conf',
  '/boot/device.hints',
  '/boot/loader.conf',
  '/boot/loader.conf.local',
];
const MAX_MODULES = 64;

export interface FreebsdModule {
  /** As the metadata names it. */
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Its type, for what is no ELF module. */
  readonly type: string | undefined;
}

export interface FreebsdBoot {
  readonly kernelName: string;
  readonly kernel: Uint8Array;
  readonly modules: readonly FreebsdModule[];
  /** The kernel's environment. */
  readonly environment: ReadonlyMap<string, string>;
}

/** `name="value"` lines (loader.conf(5)); comments and what is no assignment are left out. */
export function parseLoaderConf(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, quoted, plain] = /^\s*([\w.%-]+)\s*=\s*(?:"([^"]*)"|([^\s#]*))/.exec(line) ?? [];
    if (name !== undefined) values.set(name, quoted ?? plain ?? '');
  }
  return values;
}

/** The device that /etc/fstab mounts at the root, as `vfs.root.mountfrom` names it. */
export function rootFromFstab(text: string): string | undefined {
  for (const line of text.split('\n')) {
    const [device, mount, type] = line.trim().split(/\s+/);
    if (device !== undefined && !device.startsWith('#') && mount === '/' && type !== undefined)
      return `${type}:${device}`;
  }
  return undefined;
}

const isYes = (value: string | undefined): boolean => value?.toLowerCase() === 'yes';

/** Reads what is to be booted. `extra` are variables of the command line (-e), which win. Undefined: no kernel there. */
export async function readFreebsdBoot(
  files: ImageFiles,
  extra: ReadonlyMap<string, string>,
): Promise<FreebsdBoot | undefined> {
  const text = async (path: string): Promise<string> => {
    const bytes = await files.read(path);
    return bytes ? new TextDecoder().decode(bytes) : '';
  };
  const environment = new Map<string, string>();
  for (const path of CONFIGURATION_FILES) {
    for (const [name, value] of parseLoaderConf(await text(path))) environment.set(name, value);
  }
  for (const [name, value] of extra) environment.set(name, value);
  const kernelFolder = `/boot/${environment.get('kernel') ?? 'kernel'}`;
  const kernelName = `${kernelFolder}/${environment.get('bootfile')?.split(';')[0] ?? 'kernel'}`;
  const kernel = await files.read(kernelName);
  if (!kernel) return undefined;
  if (!environment.has('vfs.root.mountfrom')) {
    const root = rootFromFstab(await text('/etc/fstab'));
    if (root !== undefined) environment.set('vfs.root.mountfrom', root);
  }
  environment.set('kernelname', kernelName);
  const modules: FreebsdModule[] = [];
  for (const [variable, value] of environment) {
    const module = /^(\S+)_load$/.exec(variable)?.[1];
    if (module === undefined || !isYes(value)) continue;
    if (modules.length >= MAX_MODULES) throw new ImageError('loader.conf asks for too many modules.');
    modules.push(await readModule(files, environment, kernelFolder, module));
  }
  return { kernelName, kernel, modules, environment };
}

async function readModule(
  files: ImageFiles,
  environment: ReadonlyMap<string, string>,
  kernelFolder: string,
  module: string,
): Promise<FreebsdModule> {
  const name = environment.get(`${module}_name`) ?? module;
  const type = environment.get(`${module}_type`);
  const candidates = name.startsWith('/')
    ? [name]
    : [`${kernelFolder}/${name}.ko`, `/boot/modules/${name}.ko`, `${kernelFolder}/${name}`, `/boot/${name}`];
  for (const path of candidates) {
    const bytes = await files.read(path);
    if (bytes) return { name: path, bytes, type };
  }
  throw new ImageError(`The module ${name} that loader.conf asks for is not there.`);
}
