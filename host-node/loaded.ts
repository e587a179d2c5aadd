/**
 * What bhyveload leaves for bhyve: on FreeBSD a kernel in the memory of a machine that exists already, here the files, kept with the
 * machine's name until bhyve takes them or `bhyvectl --destroy` removes both.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigTree } from '../devices/config/index.ts';
import type { FreebsdBoot } from '../devices/images/freebsd-boot.ts';
import type { MachineRecord, Registry } from './registry/registry.ts';

const DESCRIPTION = 'boot.json';

interface Description {
  readonly memorySize: string;
  readonly environment: readonly (readonly [name: string, value: string])[];
  readonly modules: readonly { readonly name: string; readonly type?: string | undefined }[];
}

/** Keeps what is to be booted under a name. Throws NameError when the name is taken (`vm_create`). */
export async function leaveLoaded(
  registry: Registry,
  name: string,
  boot: FreebsdBoot,
  memorySize: string,
): Promise<void> {
  const { id } = registry.newLife();
  const record: MachineRecord = { id, state: 'ended', pid: 0, socket: '', reason: 'loaded' };
  const folder = registry.bootFolder(record);
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, 'kernel'), boot.kernel);
  for (const [index, { bytes }] of boot.modules.entries()) writeFileSync(join(folder, `module${index}`), bytes);
  const description: Description = {
    memorySize,
    environment: [...boot.environment],
    modules: boot.modules.map(({ name: module, type }) => ({ name: module, type })),
  };
  writeFileSync(join(folder, DESCRIPTION), JSON.stringify(description));
  try {
    await registry.claim(name, record, true);
  } catch (error) {
    registry.removeSocket(record);
    throw error;
  }
}

/** Files of the host by path, in memory: they are gone from the disk when the machine takes its name. */
export type LoadedFiles = ReadonlyMap<string, Uint8Array>;

/**
 * Sets the variables by which a machine boots what bhyveload left, unless the configuration names something to boot itself. Returns
 * the files that they name.
 */
export function takeLoaded(registry: Registry, name: string, tree: ConfigTree): LoadedFiles | undefined {
  if (['loader.kernel', 'lpc.bootrom', 'bootrom'].some((path) => tree.getRaw(path) !== undefined)) return undefined;
  const record = registry.read(name);
  const folder = record && registry.bootFolder(record);
  if (folder === undefined || !existsSync(join(folder, DESCRIPTION))) return undefined;
  const { environment, modules } = JSON.parse(readFileSync(join(folder, DESCRIPTION), 'utf8')) as Description;
  const files = new Map<string, Uint8Array>();
  const add = (file: string): string => {
    const path = join(folder, file);
    files.set(path, new Uint8Array(readFileSync(path)));
    return path.replace(/[\\%]/g, '\\$&');
  };
  tree.set('loader.protocol', 'freebsd');
  tree.set('loader.kernel', add('kernel'));
  tree.set(
    'loader.cmdline',
    environment
      .map(([key, value]) => `${key}=${value}`)
      .join('\n')
      .replace(/[\\%]/g, '\\$&'),
  );
  for (const [index, { name: module, type }] of modules.entries()) {
    tree.set(`loader.module.${index}.path`, add(`module${index}`));
    tree.set(
      `loader.module.${index}.args`,
      `name=${module}${type === undefined ? '' : ` type=${type}`}`.replace(/%/g, '\\%'),
    );
  }
  return files;
}
